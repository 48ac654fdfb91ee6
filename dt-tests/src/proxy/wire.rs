//! What is to happen to all connections of a proxy, and to which of them it happens.

use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::link::{Death, Direction, Link};

/// What happens to a reply of the server's, and to everything after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost with the connection.
    Lost,
    /// It is held up, and the connection stands, until [`Proxy::reopen`](super::Proxy::reopen).
    HeldUp,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) to: AtomicU16,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// How many more replies come through, and what happens to the next one.
    pub(super) replies: Option<(u64, Fate)>,
    /// What is not answered any more.
    pub(super) question: Option<Vec<u8>>,
    /// How many more commits are answered.
    pub(super) commits: Option<u64>,
    /// How many more bytes come through in a direction, until their connection is reset.
    pub(super) reset: Option<(Direction, u64)>,
    /// New connections are born so.
    pub(super) dead: Option<Direction>,
    /// How long each direction takes.
    pub(super) latency: Duration,
    /// Bytes a second of each direction of each connection; `None` for all that there is.
    pub(super) bandwidth: Option<u32>,
    /// Who leaves is not heard to leave.
    pub(super) vanishing: bool,
    pub(super) links: Vec<Arc<Link>>,
    pub(super) listening: bool,
    pub(super) black_hole: bool,
    pub(super) connections: u64,
}

impl State {
    /// Whether something is announced.
    pub(super) fn is_armed(&self) -> bool {
        self.replies.is_some() || self.question.is_some() || self.reset.is_some() || self.commits.is_some()
    }

    /// Takes back what is announced.
    pub(super) fn disarm(&mut self) {
        (self.replies, self.question, self.reset, self.commits) = (None, None, None, None);
    }
}

impl Wire {
    pub(super) fn new(to: u16) -> Self {
        let state = Mutex::new(State { listening: true, ..State::default() });
        Wire { to: AtomicU16::new(to), state, changed: Condvar::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cut(&self) {
        for link in self.state().links.drain(..) {
            link.cut();
        }
    }

    /// Takes a connection in.
    pub(super) fn join(&self, link: &Arc<Link>) {
        let mut state = self.state();
        state.connections += 1;
        if let Some(direction) = state.dead {
            link.die(direction, Death::Silent);
        }
        state.links.push(link.clone());
    }

    /// Lets go of a connection.
    pub(super) fn leave(&self, link: &Arc<Link>) {
        self.state().links.retain(|other| !Arc::ptr_eq(other, link));
    }

    /// Lets a reply through, or has its fate happen; whether it goes on.
    pub(super) fn reply(&self) -> bool {
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

    /// Something is asked, of which nobody may hear the answer.
    pub(super) fn asked(&self, bytes: &[u8]) {
        let mut state = self.state();
        let is_it = |text: &Vec<u8>| bytes.windows(text.len()).any(|part| part == text.as_slice());
        if state.question.as_ref().is_some_and(is_it) {
            state.question = None;
            for link in &state.links {
                link.die(Direction::Replies, Death::Silent);
            }
        }
    }

    /// Whether the answer to one of these commits is to be lost.
    pub(super) fn loses(&self, commits: u64) -> bool {
        let mut state = self.state();
        match state.commits {
            Some(left) if left < commits => {
                state.commits = None;
                true
            }
            Some(left) => {
                state.commits = Some(left - commits);
                false
            }
            None => false,
        }
    }

    /// How many of so many bytes come through before their connection is reset; `None` if it is not.
    pub(super) fn resets_after(&self, direction: Direction, bytes: usize) -> Option<usize> {
        let mut state = self.state();
        match state.reset {
            Some((of, left)) if of == direction => {
                let through = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
                state.reset = if through < bytes { None } else { Some((of, left - bytes as u64)) };
                (through < bytes).then_some(through)
            }
            Some(_) | None => None,
        }
    }

    /// How long everything takes, and how many bytes a second there may be.
    pub(super) fn pace(&self) -> (Duration, Option<u32>) {
        let state = self.state();
        (state.latency, state.bandwidth)
    }

    /// Waits while everything is swallowed.
    pub(super) fn pass(&self) {
        let mut state = self.state();
        while state.black_hole {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
