//! What the target may have from a snapshot already, though the stream comes to it only now. Pure.
//!
//! A stream that follows a snapshot begins before it. A document's changes may be applied twice, but a rename may not: a
//! collection of which only the latest changes are in the stream would take the place of the one that was copied whole
//! under its new name. So a rename that replaces another collection is executed only if the stream has seen the renamed
//! one being made, or if it was done after the stream was started.

use std::collections::HashSet;

use dt_common::{Error, Result, TableId};

use super::place::Time;
use super::row::{Action, Ddl};

/// The part of a stream that may lie before a snapshot.
#[derive(Debug)]
pub struct Overlap {
    until: Time,
    made: HashSet<TableId>,
}

impl Overlap {
    /// What is done up to this time may have been done before a snapshot was taken.
    pub fn new(until: Time) -> Self {
        Overlap { until, made: HashSet::new() }
    }

    /// The stream comes to something that is to be done on the target.
    ///
    /// # Errors
    /// It would replace a collection by one that is perhaps not whole.
    pub fn comes_to(&mut self, ddl: &Ddl<'_>, time: Option<Time>) -> Result<()> {
        if time.is_some_and(|time| time > self.until) {
            return Ok(());
        }
        let Some(collection) = ddl.collection else { return Ok(()) };
        let id = TableId::new(ddl.database, collection);
        match (&ddl.action, ddl.to) {
            (Action::Create(_), _) => drop(self.made.insert(id)),
            (Action::Drop, _) => drop(self.made.remove(&id)),
            (Action::Rename { drop_target }, Some((database, collection))) => {
                let to = TableId::new(database, collection);
                if self.made.remove(&id) {
                    self.made.insert(to);
                } else if *drop_target {
                    return Err(Error::user(format!("{id} was renamed to {to}, in the place of another collection, before this stream was first started; a snapshot may have copied it under its new name already"))
                        .hint("if the target was copied before that rename, start the task again: it goes on from its position and does it; if it was copied later, take the snapshot again, and begin the stream at a time after which no such rename was done"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ddl<'a>(collection: &'a str, to: Option<&'a str>, action: Action<'a>) -> Ddl<'a> {
        Ddl { what: "it", database: "d", collection: Some(collection), to: to.map(|to| ("d", to)), action }
    }

    #[test]
    fn only_what_was_made_in_the_stream_replaces_another_collection() {
        let time = |seconds| Some(Time { seconds, increment: 1 });
        let rename = |from, to| ddl(from, Some(to), Action::Rename { drop_target: true });
        let mut overlap = Overlap::new(Time { seconds: 9, increment: 1 });
        overlap.comes_to(&ddl("tmp", None, Action::Create(&[])), time(5)).expect("made");
        overlap.comes_to(&rename("tmp", "a"), time(5)).expect("made in the stream");
        overlap.comes_to(&rename("a", "b"), time(6)).expect("made under another name");
        overlap.comes_to(&ddl("b", None, Action::Drop), time(6)).expect("dropped");
        let error = overlap.comes_to(&rename("b", "c"), time(9)).expect_err("another one").to_string();
        assert!(error.contains("snapshot"), "{error}");
        overlap.comes_to(&rename("b", "c"), time(10)).expect("after the start");
        overlap
            .comes_to(&ddl("x", Some("y"), Action::Rename { drop_target: false }), time(9))
            .expect("nothing to lose");
    }
}
