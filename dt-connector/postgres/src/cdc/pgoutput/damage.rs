//! Messages that are damaged, and any bytes: each is an error or a message, and the rows in it are lines or errors.

use dt_common::damage::damaged;
use proptest::prelude::*;

use super::*;
use crate::cdc::image::ImagePlan;
use crate::rows;

/// One message of each kind, with rows that hold every kind of value: those of the fuzzer, which have their length in two
/// bytes in front and the form in the highest bit.
fn messages() -> Vec<(Within, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/pgoutput");
    let mut messages = Vec::new();
    for file in std::fs::read_dir(folder).expect("fuzz/corpus/pgoutput") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
        let mut rest = &bytes[..];
        while let Some((length, behind)) = rest.split_first_chunk() {
            let length = u16::from_be_bytes(*length);
            let within = if length & 0x8000 == 0 { Within::Committed } else { Within::Streamed };
            let (message, behind) = behind.split_at(usize::from(length & 0x7fff));
            messages.push((within, message.to_vec()));
            rest = behind;
        }
    }
    messages
}

fn relation() -> Relation {
    let found = messages().into_iter().find_map(|(within, message)| match parse(&message, within) {
        Ok(Message::Relation(relation)) => Some(relation),
        Ok(_) | Err(_) => None,
    });
    found.expect("a relation")
}

/// Reads a message and the rows in it.
fn read_through(message: &[u8], within: Within, plan: &ImagePlan) {
    if within == Within::Streamed && parse(message, within).is_ok() {
        assert!(subtransaction(message).is_ok(), "what can be read can be sorted by its subtransaction");
    }
    let mut out = Vec::new();
    let line = match parse(message, within) {
        Ok(Message::Insert { new, .. }) => plan.inserted(&mut out, &new),
        Ok(Message::Update { old, new, .. }) => plan.updated(&mut out, &new, old.as_ref()),
        Ok(Message::Delete { old, .. }) => plan.was(&mut out, &old),
        Ok(_) => return,
        Err(bad) => return assert!(!bad.to_string().is_empty()),
    };
    if line.is_ok() {
        let (end, line) = out.split_last().expect("a line");
        assert!(*end == b'\n' && !line.contains(&b'\n'), "a row is one line");
        assert_eq!(rows::text_fields(line).count(), 2, "of as many fields as columns");
        rows::text_fields(line).flatten().for_each(|field| drop(rows::unescaped(field)));
    }
}

#[test]
fn every_seed_is_a_message_and_every_cut_of_it_is_an_error() {
    let messages = messages();
    let kinds: std::collections::BTreeSet<u8> = messages.iter().map(|(_, message)| message[0]).collect();
    assert_eq!(kinds.iter().copied().collect::<Vec<u8>>(), b"ABCDEIMORSTUYc", "one of each kind");
    for (within, message) in messages {
        assert!(parse(&message, within).is_ok(), "{}", message.escape_ascii());
        for end in 0..message.len() {
            assert!(parse(&message[..end], within).is_err(), "{} {end}", message.escape_ascii());
        }
    }
}

#[test]
fn every_byte_of_a_message_can_be_any_other() {
    let plan = ImagePlan::new(&relation(), |_| true);
    for (within, message) in messages() {
        for at in 0..message.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = message.clone();
                damaged[at] = byte;
                read_through(&damaged, within, &plan);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_damaged_message_is_an_error_or_a_message(
        of in any::<prop::sample::Index>(),
        damages in prop::collection::vec(any::<(u8, u16, u8, u8)>(), 1..6),
        within in prop::sample::select(vec![Within::Committed, Within::Streamed]),
    ) {
        thread_local!(static ALL: (Vec<(Within, Vec<u8>)>, ImagePlan) = (messages(), ImagePlan::new(&relation(), |_| true)));
        ALL.with(|(messages, plan)| read_through(&damaged(&of.get(messages).1, &damages), within, plan));
    }

    #[test]
    fn any_bytes_of_any_kind_are_an_error_or_a_message(
        kind in prop::sample::select(b"ABCDEIMORSTUYc".to_vec()),
        body in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8, prop::sample::select(b"KNOntu".to_vec())], 0..60),
    ) {
        let plan = ImagePlan::new(&relation(), |_| true);
        let message = [&[kind][..], &body].concat();
        for within in [Within::Committed, Within::Streamed] {
            read_through(&message, within, &plan);
        }
    }
}
