//! What an error of the driver or the server means for the task, and its text without a document's values.
//!
//! Error codes: MongoDB documentation, Error Codes (`src/mongo/base/error_codes.yml` of the server).

use dt_common::{Error, ErrorClass};
use mongodb::error::{Error as DriverFailure, ErrorKind, TRANSIENT_TRANSACTION_ERROR};

/// A view of the past that the server no longer has, or has not yet for this collection.
pub const SNAPSHOT_GONE: [i32; 2] = [239, 246];
/// A document whose key is there already.
pub const DUPLICATE_KEY: i32 = 11000;
/// A document that replaces another may not have a name that begins with a dollar.
pub const DOLLAR_PREFIXED: i32 = 52;

/// `TransactionTooLargeForCache`: the server cannot keep all that a transaction writes until its end.
const TOO_LARGE: i32 = 388;

/// Whether an error is a transaction that the server cannot keep.
pub fn is_too_large(error: &Error) -> bool {
    error.to_string().contains(&format!("error {TOO_LARGE}"))
}

/// The error as ours: classified, with a hint where there is one, values blotted out (invariant 11).
pub fn classify(doing: impl Into<String>, error: &DriverFailure) -> Error {
    let ours = by_kind(doing.into(), error);
    match ours.class() {
        // The server says so itself (MongoDB documentation, Transactions in Applications).
        ErrorClass::Fatal if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => ours.with_class(ErrorClass::Retry),
        _ => ours,
    }
}

fn by_kind(doing: String, error: &DriverFailure) -> Error {
    match error.kind.as_ref() {
        ErrorKind::Command(failure) => server_error(doing, failure.code, &failure.code_name, &failure.message),
        ErrorKind::Authentication { .. } => Error::user(doing)
            .caused_by("the server does not accept the login")
            .hint("check username, password, and authSource of the url (the database that the user was made in, admin if it is left out)"),
        ErrorKind::Io(cause) => {
            let text = cause.to_string();
            let lower = text.to_lowercase();
            if lower.contains("certificate") || lower.contains("tls") || lower.contains("invalid peer") {
                return Error::user(doing).caused_by(text).hint("check ssl_mode, ssl_ca_path, and tls of the url");
            }
            Error::new(ErrorClass::Reconnect, doing).caused_by(text)
        }
        ErrorKind::ConnectionPoolCleared { .. } => {
            Error::new(ErrorClass::Reconnect, doing).caused_by("the connection was closed, for another one to the same server failed")
        }
        ErrorKind::ServerSelection { .. } => {
            Error::new(ErrorClass::Reconnect, doing).caused_by("no server that can serve this is known to answer")
        }
        ErrorKind::DnsResolve { message, .. } => {
            Error::new(ErrorClass::Reconnect, doing).caused_by(format!("the name is not resolved: {message}"))
        }
        ErrorKind::InvalidTlsConfig { message, .. } => Error::config(doing).caused_by(message.clone()).hint("check ssl_mode, ssl_ca_path, and the tls parameters of the url"),
        ErrorKind::IncompatibleServer { message, .. } => Error::user(doing).caused_by(message.clone()),
        // What the others say may hold a document.
        ErrorKind::InvalidResponse { .. } => Error::fatal(doing).caused_by("the server's answer is not understood"),
        ErrorKind::InvalidArgument { message, .. } => Error::fatal(doing).caused_by(without_values(message)),
        ErrorKind::SessionsNotSupported => Error::user(doing).caused_by("the server has no sessions"),
        ErrorKind::Transaction { message, .. } => Error::fatal(doing).caused_by(without_values(message)),
        _ => Error::fatal(doing).caused_by("an error of the driver that is not expected here"),
    }
}

/// The server's error code, if it is the server's error.
pub fn code(error: &DriverFailure) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(failure) => Some(failure.code),
        _ => None,
    }
}

/// An error that the server has answered with.
pub fn server_error(doing: String, code: i32, name: &str, message: &str) -> Error {
    let (class, hint) = meaning(code);
    let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
    let ours = Error::new(class, doing).caused_by(format!("error {code}{name}: {}", without_values(message)));
    match hint {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}

fn meaning(code: i32) -> (ErrorClass, Option<&'static str>) {
    match code {
        // Lock time-outs and conflicts; time limits; a cursor or a view of the past that was given up; a transaction that
        // was ended by the server; a command that somebody has killed; a collection that was dropped while it was read.
        24 | 43 | 46 | 50 | 112 | 175 | 202 | 225 | 237 | 239 | 246 | 251 | 262 | 290 | 11601 => {
            (ErrorClass::Retry, None)
        }
        // Unreachable, shutting down, stepping down, no longer primary, not yet in sync, a write not yet on enough members.
        6 | 7 | 64 | 89 | 91 | 133 | 134 | 189 | 279 | 384 | 9001 | 10058 | 10107 | 11600 | 11602 | 13435 | 13436 => {
            (ErrorClass::Reconnect, None)
        }
        11 | 18 => (
            ErrorClass::User,
            Some(
                "check username, password, and authSource of the url (the database that the user was made in, admin if it is left out)",
            ),
        ),
        13 => (
            ErrorClass::User,
            Some(
                "a source needs the role read on each database that is copied, or readAnyDatabase; a target readWrite, or readWriteAnyDatabase",
            ),
        ),
        79 | 100 => {
            (ErrorClass::User, Some("the write concern of the url (w) asks for what this replica set does not have"))
        }
        121 => (
            ErrorClass::User,
            Some(
                "the target's collection has a validator that the source's documents do not keep: change it, or leave the collection out",
            ),
        ),
        DUPLICATE_KEY => (ErrorClass::User, None),
        10334 | 17419 | 17420 => (ErrorClass::User, Some("a document is larger than the target allows")),
        166 | 20 | 73 | 72 | 59 | 115 => (ErrorClass::User, None),
        14031 => (ErrorClass::User, Some("make room on that server's disk")),
        _ => (ErrorClass::Fatal, None),
    }
}

/// What a message says up to the first document or quoted value in it.
fn without_values(message: &str) -> String {
    match message.find(['{', '"', '\'']) {
        Some(at) => format!("{}***", &message[..at]),
        None => message.chars().take(400).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_a_message_does_not_show_itself() {
        let message = "E11000 duplicate key error collection: a.b index: _id_ dup key: { _id: \"secret\" }";
        let text = server_error("writing".into(), DUPLICATE_KEY, "DuplicateKey", message).to_string();
        assert!(!text.contains("secret") && text.contains("index: _id_ dup key: ***"), "{text}");
    }

    #[test]
    fn a_transaction_that_is_too_large_is_known() {
        let of = |code| server_error("writing".into(), code, "", "transaction is too large");
        assert!(is_too_large(&of(TOO_LARGE)) && !is_too_large(&of(DUPLICATE_KEY)));
    }

    #[test]
    fn classes_say_what_is_to_be_done() {
        for (code, class) in [
            (112, ErrorClass::Retry),
            (43, ErrorClass::Retry),
            (10107, ErrorClass::Reconnect),
            (13, ErrorClass::User),
            (18, ErrorClass::User),
            (2, ErrorClass::Fatal),
        ] {
            assert_eq!(server_error("x".into(), code, "", "x").class(), class, "{code}");
        }
    }
}
