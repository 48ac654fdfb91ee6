//! Exit codes are an interface: scripts and schedulers decide by them.

use dt_common::ErrorClass;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is done.
    Done,
    /// Something failed.
    Failed,
    /// The configuration is wrong.
    Config,
    /// Source, target or position need the user.
    User,
    /// Stopped by this signal, after a clean drain.
    Signal(u8),
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Config => 2,
            Exit::User => 3,
            Exit::Signal(number) => 128 + number,
        }
    }

    /// What an error of this class ends with.
    pub fn of(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Config => Exit::Config,
            ErrorClass::User => Exit::User,
            ErrorClass::Retry | ErrorClass::Reconnect | ErrorClass::Fatal => Exit::Failed,
        }
    }
}
