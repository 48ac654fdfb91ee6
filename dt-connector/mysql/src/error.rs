//! What an error of the driver or the server means for the task, and its text without a row's values.

use dt_common::{Error, ErrorClass};
use mysql_async::{DriverError, Error as DriverFailure, ServerError};

/// The error as ours: classified, with a hint where there is one, row values blotted out (invariant 11).
pub fn classify(doing: impl Into<String>, error: DriverFailure) -> Error {
    let doing = doing.into();
    match error {
        DriverFailure::Server(server) => server_error(doing, &server),
        DriverFailure::Io(io) => Error::new(ErrorClass::Reconnect, doing).caused_by(io.to_string()),
        DriverFailure::Driver(driver) => driver_error(doing, &driver),
        DriverFailure::Other(other) => Error::new(ErrorClass::Reconnect, doing).caused_by(other.to_string()),
        DriverFailure::Url(_) => Error::fatal(doing).caused_by("the driver refused the connection options"),
    }
}

/// The server's error code, if it is the server's error.
pub fn code(error: &DriverFailure) -> Option<u16> {
    match error {
        DriverFailure::Server(server) => Some(server.code),
        DriverFailure::Io(_) | DriverFailure::Driver(_) | DriverFailure::Other(_) | DriverFailure::Url(_) => None,
    }
}

fn driver_error(doing: String, error: &DriverError) -> Error {
    match error {
        // These two hold a row or a value in their text.
        DriverError::FromRow { .. } | DriverError::FromValue { .. } => {
            Error::fatal(doing).caused_by("the server's answer has an unexpected form")
        }
        DriverError::UnknownAuthPlugin { .. } | DriverError::CantParseServerVersion { .. } => {
            Error::user(doing).caused_by(error.to_string())
        }
        other => Error::new(ErrorClass::Reconnect, doing).caused_by(other.to_string()),
    }
}

fn server_error(doing: String, error: &ServerError) -> Error {
    let (class, hint) = meaning(error.code);
    let ours = Error::new(class, doing).caused_by(format!(
        "ERROR {} ({}): {}",
        error.code,
        error.state,
        without_values(error.code, &error.message)
    ));
    match hint {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}

/// Codes from the servers' own lists (mysqld_error.h, MariaDB's errmsg).
fn meaning(code: u16) -> (ErrorClass, Option<&'static str>) {
    match code {
        // Lock wait timeout, deadlock, interrupted query.
        1205 | 1213 | 1317 | 1020 => (ErrorClass::Retry, None),
        // Too many connections, shutdown, aborted and killed connections, read-only while a fail-over is under way.
        1040
        | 1041
        | 1053
        | 1077
        | 1079
        | 1080
        | 1152
        | 1154..=1161
        | 1184
        | 1203
        | 1226
        | 1290
        | 1836
        | 1927
        | 2006
        | 2013
        | 3032
        | 4031 => (ErrorClass::Reconnect, None),
        1045 | 1698 => {
            (ErrorClass::User, Some("check username and password, and from which hosts the account may connect"))
        }
        1044 | 1142 | 1143 | 1227 | 1370 => {
            (ErrorClass::User, Some("grant the account the privilege that the server names"))
        }
        1129 | 1130 => (ErrorClass::User, Some("allow this host to connect to the server")),
        1049 | 1146 | 1054 | 1176 => (
            ErrorClass::User,
            Some("something that was there when the task started is not there now; run the task with --check"),
        ),
        1153 => (ErrorClass::User, Some("raise max_allowed_packet on that server")),
        1452 => (
            ErrorClass::User,
            Some(
                "rows come in the order of the tables' names, parents after children too: set [sinker] disable_foreign_key_checks=true",
            ),
        ),
        1021 | 1114 => (ErrorClass::User, Some("make room on that server's disk")),
        _ => (ErrorClass::Fatal, None),
    }
}

/// Blots out the quoted value in messages that quote one.
fn without_values(code: u16, message: &str) -> String {
    let quotes_a_value = matches!(
        code,
        1062 | 1064 | 1452 | 1264 | 1265 | 1292 | 1366 | 1367 | 1411 | 1426 | 1586 | 1761 | 1762 | 3140 | 3141 | 3156
    );
    if !quotes_a_value {
        return message.to_owned();
    }
    // A parse error quotes the statement, which may hold values, up to its end.
    if code == 1064 {
        return "the server does not understand the statement".to_owned();
    }
    let Some(start) = ["entry '", "value: '", "value '", "text: \""]
        .iter()
        .find_map(|mark| message.find(mark).map(|at| at + mark.len()))
    else {
        return message.to_owned();
    };
    // The value may itself hold quotes: it ends with the last ` for ` (`for key`, `for column`), or with the message.
    let rest = &message[start..];
    let end = [" for key ", " for column ", " for ", " in value for "]
        .iter()
        .filter_map(|mark| rest.rfind(mark))
        .min()
        .unwrap_or(rest.len());
    format!("{}***'{}", &message[..start], &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> Error {
        classify("writing", DriverFailure::Server(ServerError { code, message: message.into(), state: "23000".into() }))
    }

    #[test]
    fn a_duplicate_entry_does_not_show_the_row() {
        let text = server(1062, "Duplicate entry 'it's secret for key x' for key 't.PRIMARY'").to_string();
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("for key 't.PRIMARY'"), "{text}");
    }

    #[test]
    fn an_incorrect_value_does_not_show_itself() {
        let text = server(1366, "Incorrect string value: '\\xF0\\x9F' for column 'c' at row 1").to_string();
        assert!(!text.contains("xF0"), "{text}");
        assert!(text.contains("for column 'c'"), "{text}");
    }

    #[test]
    fn classes_say_what_is_to_be_done() {
        assert_eq!(server(1213, "Deadlock found").class(), ErrorClass::Retry);
        assert_eq!(server(1053, "Server shutdown in progress").class(), ErrorClass::Reconnect);
        assert_eq!(server(1045, "Access denied for user 'x'").class(), ErrorClass::User);
        assert_eq!(server(1062, "Duplicate entry").class(), ErrorClass::Fatal);
        let io = DriverFailure::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!(classify("reading", io).class(), ErrorClass::Reconnect);
    }
}
