//! Any bytes as messages of pgoutput, the rows in them included.
//!
//! Each message has its length in two bytes in front (the highest bit: whether it is of a streamed transaction), and the
//! last takes what is left.
#![no_main]

use std::collections::HashMap;

use dt_connector_postgres::cdc::image::ImagePlan;
use dt_connector_postgres::cdc::pgoutput::{Message, Within, parse, subtransaction};
use dt_connector_postgres::rows;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let mut plans: HashMap<u32, ImagePlan> = HashMap::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u16::from_be_bytes(*length);
        let within = if length & 0x8000 == 0 { Within::Committed } else { Within::Streamed };
        let (message, behind) = behind.split_at(usize::from(length & 0x7fff).min(behind.len()));
        rest = behind;
        let of = subtransaction(message);
        let Ok(message) = parse(message, within) else { continue };
        assert!(of.is_ok() || within == Within::Committed, "a streamed message says whose it is");
        let mut out = Vec::new();
        match message {
            Message::Relation(relation) => {
                let copied = |name: &str| !name.starts_with('_');
                drop(plans.insert(relation.oid, ImagePlan::new(&relation, copied)));
            }
            Message::Insert { relation, new } => {
                if plans.get(&relation).is_some_and(|plan| plan.inserted(&mut out, &new).is_ok()) {
                    one_line(&out);
                }
            }
            Message::Update { relation, old, new } => {
                if plans.get(&relation).is_some_and(|plan| plan.updated(&mut out, &new, old.as_ref()).is_ok()) {
                    one_line(&out);
                }
            }
            Message::Delete { relation, old } => {
                if plans.get(&relation).is_some_and(|plan| plan.was(&mut out, &old).is_ok()) {
                    one_line(&out);
                }
            }
            _ => {}
        }
    }
});

/// Whatever a row's values are, it is one line, and its fields can be told apart and read.
fn one_line(out: &[u8]) {
    let (end, line) = out.split_last().expect("a line");
    assert!(*end == b'\n' && !line.contains(&b'\n'), "a row is a line");
    rows::text_fields(line).flatten().for_each(|field| drop(rows::unescaped(field)));
}
