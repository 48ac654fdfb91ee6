//! What a refused row means for the task.

use dt_common::{Error, ErrorClass, TableId};
use mysql_async::Error as DriverFailure;

use crate::error::{classify, code};

/// The error of a statement that writes to this table, with the way out where the user has one.
pub fn failed_to_write(target: &TableId, error: DriverFailure) -> Error {
    let refused = code(&error);
    let error = classify(format!("writing to {target}"), error);
    match refused {
        Some(1062) => error.with_class(ErrorClass::User).hint(
            "a row with that key is in the target already. With replace=false, after an interruption or for a table that is not empty: use replace=true, or conflict_policy=ignore to keep the target's row. With disable_foreign_key_checks=false, changes that are repeated after an interruption can meet the rows that came after them: start with disable_foreign_key_checks=true until they are past",
        ),
        Some(1216 | 1217 | 1451 | 1452) => error.with_class(ErrorClass::User).hint(
            "a foreign key of the target refuses what the source has done: rows that it refers to are missing there, or are not copied; use disable_foreign_key_checks=true, or copy those tables too",
        ),
        Some(_) | None => error,
    }
}
