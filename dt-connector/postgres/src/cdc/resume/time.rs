//! `start_time_utc`: whether what was committed since then can be had. Only a stream without a stored position asks.
//!
//! A slot does not say when it was made. That its place is later than a time is known where a checkpoint lies in front
//! of the place and behind the time; that it is earlier shows only once the stream runs.

use dt_common::config::PgCdcOptions;
use dt_common::{Error, Result};

use super::facts::ServerFacts;
use super::start::Start;
use crate::cdc::lsn::{Lsn, Moment};

/// Refuses a time that lies before everything that the slot holds.
///
/// # Errors
/// The slot has yet to be made and the time has passed, or the slot's place is known to be later.
pub fn check(facts: &ServerFacts, options: &PgCdcOptions, start: &Start) -> Result<()> {
    let Some(start_time) = options.start_time else { return Ok(()) };
    match start {
        Start::NewSlot { .. } => check_new_slot(&options.slot_name, start_time, facts.clock),
        Start::At { lsn, .. } => match facts.checkpointed {
            Some(checkpoint) if checkpoint.redo < *lsn && checkpoint.at > start_time => {
                Err(Error::user("start_time_utc lies before the slot's place: what was committed between them cannot be had")
                    .with("slot", &options.slot_name)
                    .with("place", lsn)
                    .with("start_time_utc", text(start_time))
                    .with("the place is later than", text(checkpoint.at))
                    .hint("take start_time_utc out to begin at that place, and copy what was committed before it with a snapshot (extract_type=snapshot)"))
            }
            Some(_) | None => Ok(()),
        },
    }
}

/// Refuses a time that has passed when the slot is made: `clock` is the source's, before it is made or after.
///
/// # Errors
/// It has passed.
pub fn check_new_slot(slot: &str, start_time: u64, clock: u64) -> Result<()> {
    if start_time > clock {
        return Ok(());
    }
    Err(Error::user("start_time_utc has passed, and a new slot holds nothing that was committed before it is made")
        .with("slot", slot)
        .with("start_time_utc", text(start_time))
        .with("the source's clock", text(clock))
        .hint("take start_time_utc out to begin now, and copy what was committed before with a snapshot (extract_type=snapshot); a time in the future is accepted"))
}

/// What the user should know of a stream that begins at this place of a slot that was there: whether all is held that
/// was committed since the time is not known.
pub fn advice(facts: &ServerFacts, options: &PgCdcOptions, place: Lsn) -> Option<String> {
    let start_time = options.start_time.filter(|start_time| *start_time <= facts.clock)?;
    Some(format!(
        "slot {} is there, and does not say when it was made: what was committed before its place, {place}, cannot be had, even if it was committed after start_time_utc ({})",
        options.slot_name,
        text(start_time)
    ))
}

/// `2024-10-10 08:00:58`, as the configuration has it.
fn text(seconds: u64) -> String {
    let mut text = Moment::of_unix(seconds).text();
    text.truncate("2024-10-10 08:00:58".len());
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::facts::{Checkpointed, samples::server};
    use super::super::start::Begin;
    use super::*;

    const NOW: u64 = 1_728_547_258;

    fn at(start_time: u64) -> PgCdcOptions {
        PgCdcOptions {
            slot_name: "dt_1".into(),
            pub_name: "p".into(),
            start_lsn: None,
            start_time: Some(start_time),
            end_time: None,
            recreate_slot_if_exists: false,
            keepalive_interval: Duration::from_secs(10),
            heartbeat: None,
        }
    }

    #[test]
    fn a_time_that_has_passed_is_refused_where_the_slot_is_new() {
        for replaces in [false, true] {
            let start = Start::NewSlot { replaces };
            for start_time in [NOW - 60, NOW] {
                let error = check(&server(), &at(start_time), &start).expect_err("is refused").to_string();
                assert!(
                    error.contains("slot: dt_1") && error.contains("the source's clock: 2024-10-10 08:00:58"),
                    "{error}"
                );
            }
            check(&server(), &at(NOW + 1), &start).expect("a time in the future is fine");
        }
        check(&server(), &PgCdcOptions { start_time: None, ..at(0) }, &Start::NewSlot { replaces: false })
            .expect("now");
    }

    #[test]
    fn a_time_before_the_place_of_a_slot_is_refused_where_a_checkpoint_lies_between() {
        let start = Start::At { lsn: Lsn(0x1000), why: Begin::Slot };
        let with = |redo, at| ServerFacts { checkpointed: Some(Checkpointed { redo: Lsn(redo), at }), ..server() };
        let error = check(&with(0xFFF, NOW - 9), &at(NOW - 10), &start).expect_err("is refused").to_string();
        assert!(error.contains("place: 0/1000") && error.contains("later than: 2024-10-10 08:00:49"), "{error}");
        check(&with(0xFFF, NOW - 10), &at(NOW - 10), &start).expect("the place may be of that second");
        check(&with(0x1000, NOW - 9), &at(NOW - 10), &start).expect("nothing was written between the two");
        check(&server(), &at(NOW - 10), &start).expect("it is not known");
    }

    #[test]
    fn where_it_is_not_known_a_warning_names_the_place_and_the_time() {
        let said = advice(&server(), &at(NOW - 1), Lsn(0x1000)).expect("is said");
        assert!(
            said.contains("slot dt_1") && said.contains("0/1000") && said.contains("(2024-10-10 08:00:57)"),
            "{said}"
        );
        assert_eq!(advice(&server(), &at(NOW + 1), Lsn(0x1000)), None, "nothing of the future is lost");
    }
}
