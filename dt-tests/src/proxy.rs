//! A wire between two programs that can be cut, closed and made to swallow everything.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use anyhow::{Context, Result};

/// Forwards connections to a port of 127.0.0.1.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

#[derive(Debug)]
struct Wire {
    to: AtomicU16,
    state: Mutex<State>,
    changed: Condvar,
}

/// What happens to a reply of the server's, and to everything after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost with the connection.
    Lost,
    /// It is held up, and the connection stands, until [`Proxy::reopen`].
    HeldUp,
}

#[derive(Debug, Default)]
struct State {
    /// How many more replies come through, and what happens to the next one.
    replies: Option<(u64, Fate)>,
    /// Both ends of every connection.
    streams: Vec<TcpStream>,
    listening: bool,
    black_hole: bool,
    connections: u64,
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn cut(&self) {
        for stream in self.state().streams.drain(..) {
            // The other end may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets a reply through, or has its fate happen; whether it goes on.
    fn reply(&self) -> bool {
        let mut state = self.state();
        match &mut state.replies {
            None => true,
            Some((left, _)) if *left > 0 => {
                *left -= 1;
                true
            }
            Some((_, fate)) => {
                let fate = *fate;
                state.replies = None;
                match fate {
                    Fate::Lost => {
                        drop(state);
                        self.cut();
                        false
                    }
                    Fate::HeldUp => {
                        state.black_hole = true;
                        true
                    }
                }
            }
        }
    }

    /// Waits while everything is swallowed.
    fn pass(&self) {
        let mut state = self.state();
        while state.black_hole {
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

impl Proxy {
    /// A proxy to `to`, on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("bind a proxy")?;
        let port = listener.local_addr()?.port();
        let state = Mutex::new(State { listening: true, ..State::default() });
        let wire = Arc::new(Wire { to: AtomicU16::new(to), state, changed: Condvar::new() });
        let proxy = Proxy { port, wire };
        proxy.accept(listener);
        Ok(proxy)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.wire.state().connections
    }

    /// Cuts every connection, now. New ones are served.
    pub fn cut(&self) {
        self.wire.cut();
    }

    /// Something that cuts every connection when it is called, from wherever.
    pub fn cutter(&self) -> impl FnOnce() + Send + use<> {
        let wire = self.wire.clone();
        move || wire.cut()
    }

    /// Cuts every connection and refuses new ones (connection refused), until [`Proxy::reopen`].
    pub fn refuse(&self) {
        if std::mem::take(&mut self.wire.state().listening) {
            // Wakes the accepting thread, which sees that it is over and closes the port.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
        }
        self.cut();
    }

    /// Serves connections again.
    ///
    /// # Errors
    /// Somebody else has taken the port.
    pub fn reopen(&self) -> Result<()> {
        self.black_hole(false);
        if self.wire.state().listening {
            return Ok(());
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port)).context("open the proxy's port again")?;
        self.wire.state().listening = true;
        self.accept(listener);
        Ok(())
    }

    /// Lets so many more replies of the server through, of whichever connection; then this happens. A reply is what is
    /// read at once: a short answer to a statement is one.
    pub fn after_replies(&self, replies: u64, fate: Fate) {
        self.wire.state().replies = Some((replies, fate));
    }

    /// From now on, new connections go to this port: another server has taken over the address.
    pub fn redirect(&self, to: u16) {
        self.wire.to.store(to, Ordering::Relaxed);
    }

    /// Lets connections stand and be made, and carries nothing (true), or carries on (false).
    pub fn black_hole(&self, on: bool) {
        self.wire.state().black_hole = on;
        self.wire.changed.notify_all();
    }

    fn accept(&self, listener: TcpListener) {
        let wire = self.wire.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if !wire.state().listening {
                    break;
                }
                let Ok(near) = near else { continue };
                // A server that is down: the caller sees its connection closed.
                let Ok(far) = TcpStream::connect(("127.0.0.1", wire.to.load(Ordering::Relaxed))) else { continue };
                connect(&wire, near, far);
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.black_hole(false);
        self.refuse();
    }
}

fn connect(wire: &Arc<Wire>, near: TcpStream, far: TcpStream) {
    let clones = [near.try_clone(), far.try_clone(), near.try_clone(), far.try_clone()];
    let [Ok(from_near), Ok(to_far), Ok(near_end), Ok(far_end)] = clones else { return };
    let mut state = wire.state();
    state.connections += 1;
    state.streams.extend([near_end, far_end]);
    drop(state);
    for (from, to, replies) in [(from_near, to_far, false), (far, near, true)] {
        let wire = wire.clone();
        std::thread::spawn(move || pump(&wire, from, to, replies));
    }
}

fn pump(wire: &Wire, mut from: TcpStream, mut to: TcpStream, replies: bool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        if replies && !wire.reply() {
            break;
        }
        wire.pass();
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // Half of a connection is of no use to these protocols.
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
