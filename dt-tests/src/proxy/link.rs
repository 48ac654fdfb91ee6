//! One connection through the proxy: its two ends, and which of its directions are dead.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From who has connected to the server.
    Requests,
    /// From the server back.
    Replies,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::Requests, Direction::Replies];
}

/// How one direction of a connection dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its end is told to who reads it (FIN).
    Closed,
    /// What is sent is taken, and never arrives.
    Silent,
}

/// A connection. Both sockets are closed when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    near: TcpStream,
    far: TcpStream,
    dead: [AtomicBool; 2],
    is_reset: AtomicBool,
    is_over: AtomicBool,
    unheard: AtomicU64,
}

impl Link {
    pub(super) fn new(near: TcpStream, far: TcpStream) -> Self {
        // What is small must not wait for an answer to what was sent before; if it does, it is only slower.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        Link {
            near,
            far,
            dead: Default::default(),
            is_reset: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            unheard: AtomicU64::new(0),
        }
    }

    /// Where a direction comes from.
    pub(super) fn from(&self, direction: Direction) -> &TcpStream {
        match direction {
            Direction::Requests => &self.near,
            Direction::Replies => &self.far,
        }
    }

    /// Where it goes.
    pub(super) fn to(&self, direction: Direction) -> &TcpStream {
        match direction {
            Direction::Requests => &self.far,
            Direction::Replies => &self.near,
        }
    }

    /// Closes both directions in order (FIN).
    pub(super) fn cut(&self) {
        for stream in [&self.near, &self.far] {
            // The other end may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Has both ends told that the connection is broken (RST). It is, once the last thread lets go of it: a socket that does
    /// not linger is reset when it is closed (socket(7), `SO_LINGER`).
    pub(super) fn reset(&self) {
        self.is_reset.store(true, Ordering::SeqCst);
        for stream in [&self.near, &self.far] {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            // Nothing is sent by this; who waits for bytes is woken.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    pub(super) fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::SeqCst)
    }

    /// Lets one direction die; the other stays.
    pub(super) fn die(&self, direction: Direction, death: Death) {
        self.dead[direction as usize].store(true, Ordering::SeqCst);
        match death {
            Death::Closed => drop(self.to(direction).shutdown(Shutdown::Write)),
            Death::Silent => {}
        }
    }

    pub(super) fn is_dead(&self, direction: Direction) -> bool {
        self.dead[direction as usize].load(Ordering::SeqCst)
    }

    /// One of the ends says no more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Something was sent in a direction that is dead.
    pub(super) fn swallow(&self) {
        self.unheard.fetch_add(1, Ordering::SeqCst);
    }

    /// How often.
    pub(super) fn swallowed(&self) -> u64 {
        self.unheard.load(Ordering::SeqCst)
    }
}
