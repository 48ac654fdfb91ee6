//! What happens to a process that goes on.

use std::time::Duration;

use super::super::ends::End;
use super::super::network::fault::Fault;
use crate::dice::Dice;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    /// To the connections of one end.
    Network(End, Fault),
    /// A server is killed, and started again.
    Killed(End),
    /// The process itself stands still for so long.
    Asleep(Duration),
}

impl Blow {
    /// Whatever the dice give.
    pub(super) fn by(dice: &mut Dice) -> Self {
        let end = if dice.pick(0..2) == 0 { End::Source } else { End::Target };
        match dice.pick(0..10) {
            0..2 => Blow::Killed(end),
            2 => Blow::Asleep(Duration::from_millis(dice.pick(200..4000))),
            _ => Blow::Network(end, Fault::by(dice, end)),
        }
    }
}
