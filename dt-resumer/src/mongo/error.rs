//! What an error of the driver means for a save, without what the server says of documents.
//!
//! Error codes: MongoDB documentation, Error Codes.

use dt_common::{Error, ErrorClass};
use mongodb::error::{Error as DriverFailure, ErrorKind, TRANSIENT_TRANSACTION_ERROR};

/// The account may not.
pub(crate) const UNAUTHORIZED: i32 = 13;
/// A document of this `_id` is there.
pub(crate) const DUPLICATE_KEY: i32 = 11000;
/// A collection of this name is there.
pub(crate) const NAMESPACE_EXISTS: i32 = 48;

/// The error as ours.
pub(crate) fn classify(doing: impl Into<String>, error: &DriverFailure) -> Error {
    let ours = by_kind(doing.into(), error);
    match ours.class() {
        ErrorClass::Fatal if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => ours.with_class(ErrorClass::Retry),
        _ => ours,
    }
}

fn by_kind(doing: String, error: &DriverFailure) -> Error {
    match error.kind.as_ref() {
        ErrorKind::Command(failure) => by_code(doing, failure.code, &failure.code_name),
        ErrorKind::Authentication { .. } => Error::user(doing)
            .caused_by("the server does not accept the login")
            .hint("check username, password and authSource"),
        ErrorKind::Io(cause) => Error::new(ErrorClass::Reconnect, doing).caused_by(cause.to_string()),
        ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. } => {
            Error::new(ErrorClass::Reconnect, doing).caused_by("no server that can serve this answers")
        }
        ErrorKind::InvalidTlsConfig { message, .. } => Error::config(doing).caused_by(message.clone()),
        // What the others say may hold a document.
        _ => Error::fatal(doing).caused_by("an error of the driver that is not expected here"),
    }
}

/// An error that the server has answered with.
pub(crate) fn by_code(doing: String, code: i32, name: &str) -> Error {
    let class = match code {
        // Conflicts, time limits, what was ended or killed.
        24 | 46 | 50 | 112 | 175 | 202 | 225 | 237 | 244 | 246 | 251 | 262 | 290 | 11601 => ErrorClass::Retry,
        // Unreachable, shutting down, no longer primary, not on enough members.
        6 | 7 | 64 | 89 | 91 | 133 | 134 | 189 | 279 | 384 | 9001 | 10058 | 10107 | 11600 | 11602 | 13435 | 13436 => {
            ErrorClass::Reconnect
        }
        11 | 18 | 20 | 79 | 100 | 166 | 10334 | 14031 | 17419 | 17420 | UNAUTHORIZED => ErrorClass::User,
        _ => ErrorClass::Fatal,
    };
    Error::new(class, doing).caused_by(format!("error {code} ({name})"))
}

/// Whether an error is one that [`by_code`] has made of this code.
pub(crate) fn is(error: &Error, code: i32) -> bool {
    error.to_string().contains(&format!("error {code} ("))
}

/// The server's error code, if it is the server's error.
pub(crate) fn code(error: &DriverFailure) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(failure) => Some(failure.code),
        _ => None,
    }
}
