//! What an error of the driver or the server means for the task, and its text without a row's values.
//!
//! SQLSTATE codes: PostgreSQL documentation, Appendix A.

use std::error::Error as _;

use dt_common::{Error, ErrorClass};
use tokio_postgres::Error as DriverFailure;
use tokio_postgres::error::DbError;

/// The error as ours: classified, with a hint where there is one, row values blotted out (invariant 11).
pub fn classify(doing: impl Into<String>, error: DriverFailure) -> Error {
    let doing = doing.into();
    match error.as_db_error() {
        Some(server) => server_error(doing, server.code().code(), server.message(), names(server)),
        None => driver_error(doing, &error),
    }
}

/// The same for an error message that did not come by way of the driver: its SQLSTATE and its message.
pub fn classify_message(doing: impl Into<String>, state: &str, message: &str) -> Error {
    server_error(doing.into(), state, message, String::new())
}

/// The server's SQLSTATE, if it is the server's error.
pub fn state(error: &DriverFailure) -> Option<&str> {
    error.as_db_error().map(|error| error.code().code())
}

/// The constraint that a row broke, if that is what the error says.
pub fn constraint(error: &DriverFailure) -> Option<&str> {
    error.as_db_error().and_then(DbError::constraint)
}

fn driver_error(doing: String, error: &DriverFailure) -> Error {
    let cause = match error.source() {
        // The driver's own text and the cause's, which is of the network or of TLS and holds no values.
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let text = cause.to_lowercase();
    if text.contains("tls") || text.contains("certificate") || text.contains("authentication") {
        let hint = "check sslmode, the certificate authorities, username and password";
        return Error::user(doing).caused_by(cause).hint(hint);
    }
    Error::new(ErrorClass::Reconnect, doing).caused_by(cause)
}

/// The names that the server gives apart from its message. DETAIL and CONTEXT hold values and are left out.
fn names(error: &DbError) -> String {
    let named = [("constraint", error.constraint()), ("column", error.column())];
    let named = named.iter().filter_map(|(what, name)| Some(format!(", {what} \"{}\"", name.as_ref()?)));
    // What the message names itself is not said twice.
    named.filter(|text| !error.message().contains(text.rsplit(' ').next().unwrap_or_default())).collect()
}

fn server_error(doing: String, state: &str, message: &str, names: String) -> Error {
    let (class, hint) = meaning(state);
    let message = without_values(state, message);
    let ours = Error::new(class, doing).caused_by(format!("ERROR {state}: {message}{names}"));
    match hint {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}

fn meaning(state: &str) -> (ErrorClass, Option<&'static str>) {
    match state {
        // Serialization failure, deadlock, lock not available, query cancelled, out of memory.
        "40001" | "40P01" | "55P03" | "57014" | "53200" => (ErrorClass::Retry, None),
        // Shutdown, crash, starting up; a limit of idle time; too many connections; read-only while a fail-over is under way.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" | "25006" => (ErrorClass::Reconnect, None),
        "28000" | "28P01" => {
            (ErrorClass::User, Some("check username and password, and pg_hba.conf for this host, user and database"))
        }
        "42501" => (ErrorClass::User, Some("grant the account the privilege that the server names")),
        "3D000" => (ErrorClass::User, Some("check the database in the url")),
        "3F000" | "42P01" | "42703" | "42704" | "42883" => (
            ErrorClass::User,
            Some("something that was there when the task started is not there now; run the task with --check"),
        ),
        "23503" => (
            ErrorClass::User,
            Some(
                "rows come in the order of the tables' names, parents after children too: set [sinker] disable_foreign_key_checks=true",
            ),
        ),
        "23502" | "23514" | "23P01" => (
            ErrorClass::User,
            Some(
                "the target's table has a constraint that the source's rows do not keep: change it, or leave the table out",
            ),
        ),
        "53100" => (ErrorClass::User, Some("make room on that server's disk")),
        "XX001" | "XX002" => {
            (ErrorClass::User, Some("the server says that its data is damaged; pg_amcheck tells more"))
        }
        _ => match &state[..2.min(state.len())] {
            "08" => (ErrorClass::Reconnect, None),
            "22" => (
                ErrorClass::User,
                Some(
                    "a value of the source does not fit the column's type on the target: give it the source's type, or leave the column out with [filter] ignore_cols",
                ),
            ),
            _ => (ErrorClass::Fatal, None),
        },
    }
}

/// Blots out what a message quotes of a value: data exceptions and parse errors name it behind a colon or in quotes.
fn without_values(state: &str, message: &str) -> String {
    if state.starts_with("22") || state == "42601" {
        match message.find('"') {
            // `value too long for type character varying(3)` names no value; a name in quotes would come first.
            Some(at) => format!("{}***", &message[..at]),
            None => message.to_owned(),
        }
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(state: &str, message: &str) -> Error {
        classify_message("writing", state, message)
    }

    #[test]
    fn a_value_that_does_not_fit_does_not_show_itself() {
        let text = server("22P02", "invalid input syntax for type integer: \"secret\"").to_string();
        assert!(!text.contains("secret") && text.contains("type integer: ***"), "{text}");
    }

    #[test]
    fn a_broken_key_names_its_constraint() {
        let text = server("23505", "duplicate key value violates unique constraint \"t_pkey\"").to_string();
        assert!(text.contains("t_pkey"), "{text}");
    }

    #[test]
    fn classes_say_what_is_to_be_done() {
        for (state, class) in [
            ("40P01", ErrorClass::Retry),
            ("57P01", ErrorClass::Reconnect),
            ("08006", ErrorClass::Reconnect),
            ("28P01", ErrorClass::User),
            ("22001", ErrorClass::User),
            ("23505", ErrorClass::Fatal),
            ("", ErrorClass::Fatal),
        ] {
            assert_eq!(server(state, "x").class(), class, "{state}");
        }
    }
}
