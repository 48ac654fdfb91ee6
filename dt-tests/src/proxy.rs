//! A wire between two programs that can be cut, closed, slowed down, half opened and made to swallow everything.
//!
//! - `wire`: what is to happen, and to which connection it does; `link`: one connection; `pump`: what carries it.
//! - `commits`: commits, recognised as they pass (pure).

mod commits;
mod link;
mod pump;
mod wire;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};

use self::link::Link;
use self::wire::Wire;

pub use self::link::{Death, Direction};
pub use self::wire::Fate;

/// Forwards connections to a port of 127.0.0.1.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

impl Proxy {
    /// A proxy to `to`, on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("bind a proxy")?;
        let port = listener.local_addr()?.port();
        let proxy = Proxy { port, wire: Arc::new(Wire::new(to)) };
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

    /// From here on, the server does not hear that who has connected is gone, as if that one's machine had lost its power. Such
    /// connections stand for as long as the proxy, or the server.
    pub fn vanish(&self) {
        self.wire.state().vanishing = true;
    }

    /// Serves connections again, whatever kept them away. What half a connection has lost stays lost: such a one carries
    /// nothing in that direction any more.
    ///
    /// # Errors
    /// Somebody else has taken the port.
    pub fn reopen(&self) -> Result<()> {
        self.black_hole(false);
        self.wire.state().dead = None;
        if self.wire.state().listening {
            return Ok(());
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port)).context("open the proxy's port again")?;
        self.wire.state().listening = true;
        self.accept(listener);
        Ok(())
    }

    /// Nothing is to happen any more, and nothing keeps connections away ([`Proxy::reopen`]).
    ///
    /// # Errors
    /// Somebody else has taken the port.
    pub fn heal(&self) -> Result<()> {
        self.latency(Duration::ZERO);
        self.bandwidth(None);
        self.wire.state().disarm();
        self.reopen()
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

    /// Everything takes so long from here on, in each direction, whatever else is under way.
    pub fn latency(&self, latency: Duration) {
        self.wire.state().latency = latency;
    }

    /// Each direction of each connection carries so many bytes a second from here on, or as many as it can.
    pub fn bandwidth(&self, bytes_per_second: Option<u32>) {
        self.wire.state().bandwidth = bytes_per_second;
    }

    /// Lets one direction of every connection die; the other stays.
    pub fn half_open(&self, direction: Direction, death: Death) {
        for link in &self.wire.state().links {
            link.die(direction, death);
        }
    }

    /// Until [`Proxy::reopen`], new connections carry nothing in that direction.
    pub fn half_open_anew(&self, direction: Direction) {
        self.wire.state().dead = Some(direction);
    }

    /// Once somebody asks something that holds this text, no connection that stands hears an answer any more; the server does
    /// not notice. New ones are served.
    pub fn silent_once_asked(&self, text: &str) {
        self.wire.state().question = Some(text.as_bytes().to_vec());
    }

    /// Lets so many more bytes through in a direction, of whichever connection; then that connection breaks (RST).
    pub fn reset_after(&self, direction: Direction, bytes: u64) {
        self.wire.state().reset = Some((direction, bytes));
    }

    /// Lets so many more commits be answered, of whichever connection. The next one reaches the server, and the connection is
    /// lost with the answer: it is committed, and who wanted it does not hear of it.
    pub fn after_commits(&self, commits: u64) {
        self.wire.state().commits = Some(commits);
    }

    /// Whether what [`Proxy::after_replies`], [`Proxy::silent_once_asked`], [`Proxy::reset_after`] or [`Proxy::after_commits`]
    /// has announced is still to come.
    pub fn is_armed(&self) -> bool {
        self.wire.state().is_armed()
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
                let link = Arc::new(Link::new(near, far));
                wire.join(&link);
                pump::carry(&wire, &link);
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
