//! What is not as a server wrote it: an error, never a panic, and never a great amount of memory.

use bytes::Bytes;
use proptest::prelude::*;

use super::golden::{FILES, events_of};
use super::*;

/// Formats under which damage is not found by its checksum.
const PLAIN: [Format; 2] =
    [Format { checksum: Checksum::None, mariadb: false }, Format { checksum: Checksum::None, mariadb: true }];

/// Reads an event, and all that is in it, as far as it goes.
fn read_through(event: Bytes, format: Format) {
    if let Ok(Event { body: Body::TransactionPayload(payload), .. }) = Event::parse(event, format)
        && let Ok(events) = payload.events()
    {
        events.take_while(Result::is_ok).for_each(drop);
    }
}

/// An event with that body, and a header that fits it.
fn event_of(kind: u8, flags: u16, body: &[u8]) -> Bytes {
    let size = u32::try_from(HEADER_BYTES + body.len()).expect("a small body");
    let mut event = vec![0; HEADER_BYTES];
    event[4] = kind;
    event[9..13].copy_from_slice(&size.to_le_bytes());
    event[17..].copy_from_slice(&flags.to_le_bytes());
    event.extend_from_slice(body);
    event.into()
}

fn parsed(event: Bytes) -> Result<Body, Problem> {
    Event::parse(event, PLAIN[0]).map(|event| event.body).map_err(|bad| bad.problem)
}

#[test]
fn every_flipped_bit_of_a_protected_file_is_found() {
    for file in FILES.into_iter().filter(|file| !file.contains("no-checksum") && *file != "mariadb-compressed.binlog") {
        for event in events_of(file) {
            let format = Format { checksum: Checksum::Crc32, mariadb: file.starts_with("mariadb") };
            let description = event[4] == EventType::FORMAT_DESCRIPTION.0;
            for at in 0..event.len() {
                let mut damaged = event.to_vec();
                damaged[at] ^= 1 << (at % 8);
                // The version decides whether there is a checksum at all.
                if description && (21..71).contains(&at) {
                    continue;
                }
                assert!(Event::parse(damaged.into(), format).is_err(), "{file}, {}, byte {at}", event[4]);
            }
        }
    }
}

#[test]
fn a_file_that_is_being_written_is_as_good_as_a_closed_one() {
    let closed = events_of("mysql-full.binlog").remove(0);
    let mut open = closed.to_vec();
    open[17] |= 1;
    let [closed, open] = [closed, open.into()].map(|event| Event::parse(event, Format::UNANNOUNCED).expect("an event"));
    assert!(open.header.is_in_use() && !closed.header.is_in_use());
    assert_eq!(open.body, closed.body);
}

#[test]
fn every_truncation_is_an_error_or_an_event_and_never_a_panic() {
    for event in FILES.into_iter().flat_map(events_of) {
        for length in 0..event.len() {
            let cut = event.slice(..length);
            assert!(Event::parse(cut.clone(), PLAIN[0]).is_err(), "the header's size is no longer right");
            if length >= HEADER_BYTES {
                for format in PLAIN {
                    read_through(event_of(event[4], 0, &cut[HEADER_BYTES..]), format);
                }
            }
        }
    }
}

#[test]
fn no_flipped_byte_of_an_unprotected_event_panics() {
    for event in FILES.into_iter().flat_map(events_of) {
        for at in HEADER_BYTES..event.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = event.to_vec();
                damaged[at] ^= flip;
                PLAIN.into_iter().for_each(|format| read_through(damaged.clone().into(), format));
            }
        }
    }
}

#[test]
fn an_unknown_event_is_an_error_unless_it_says_that_it_may_be_passed_over() {
    assert_eq!(parsed(event_of(99, 0, b"?")), Err(Problem::NotUnderstood("an event of this type")));
    assert_eq!(parsed(event_of(99, 0x80, b"?")), Ok(Body::Note));
    assert_eq!(parsed(event_of(20, 0, b"")), Err(Problem::NotUnderstood("an event of this type")));
    let bad = Event::parse(event_of(99, 0, b"?"), PLAIN[0]).expect_err("unknown");
    assert_eq!(bad.to_string(), "binlog event of unknown type (99), byte 19: an event of this type is not understood");
}

#[test]
fn before_the_first_format_description_a_checksum_may_be_there_or_not() {
    let plain = event_of(EventType::ROTATE.0, 0x20, b"\x04\0\0\0\x01\0\0\0binlog.000007");
    let expected = Body::Rotate(Rotate { position: 4 | 1 << 32, file: "binlog.000007".to_owned() });
    let event = Event::parse(plain.clone(), Format::UNANNOUNCED).expect("a rotation");
    assert!(event.body == expected && event.header.is_artificial());
    let mut protected = plain.to_vec();
    protected[9] += 4;
    protected.extend(crc32fast::hash(&protected).to_le_bytes());
    let event = Event::parse(protected.into(), Format::UNANNOUNCED).expect("a rotation");
    assert_eq!(event.body, expected);
}

#[test]
fn heartbeats_of_both_versions_name_file_and_position() {
    let first = parsed(event_of(27, 0, b"binlog.000007"));
    assert_eq!(first, Ok(Body::Heartbeat(Heartbeat { file: "binlog.000007".to_owned(), position: None })));
    let second = parsed(event_of(41, 0, b"\x01\x0dbinlog.000007\x02\x09\xfe\0\0\0\0\x01\0\0\0\0"));
    let expected = Heartbeat { file: "binlog.000007".to_owned(), position: Some(1 << 32) };
    assert_eq!(second, Ok(Body::Heartbeat(expected)));
}

#[test]
fn an_incident_keeps_the_servers_words() {
    let lost = Body::Incident { number: 1, message: "lost".to_owned() };
    assert_eq!(parsed(event_of(26, 0, b"\x01\0\x04lost")), Ok(lost));
}

#[test]
fn a_small_event_cannot_claim_a_great_length() {
    // A mebibyte of zeros, compressed, of which a byte is announced; and a stream that announces a gibibyte.
    let zeros = zstd::encode_all(&[0; 1 << 20][..], 3).expect("zstd");
    let mut payload = b"\x02\x01\x00\x03\x01\x01\x00".to_vec();
    payload.extend(&zeros);
    let Ok(Body::TransactionPayload(payload)) = parsed(event_of(40, 0, &payload)) else { panic!("a payload") };
    let first = payload.events().expect("a decompressor").next();
    assert!(matches!(first, Some(Err(BadEvent { problem: Problem::Size { .. }, .. }))), "{first:?}");
    let rows = b"\x01\0\0\0\0\0\x01\0\x01\x01\x84\x40\0\0\0junk";
    assert!(matches!(parsed(event_of(166, 0, rows)), Err(Problem::Compression(_))));
}

#[test]
fn an_uncompressed_payload_is_read_and_its_announced_length_is_checked() {
    let inner = event_of(16, 0, &7u64.to_le_bytes());
    for (announced, ends) in [(27, true), (28, false)] {
        let mut payload = vec![1, 1, 27, 2, 3, 252, 255, 0, 3, 1, announced, 0];
        payload.extend_from_slice(&inner);
        let Ok(Body::TransactionPayload(payload)) = parsed(event_of(40, 0, &payload)) else { panic!("a payload") };
        let mut events = payload.events().expect("nothing to set up");
        assert_eq!(events.next().map(|event| event.map(|event| event.body)), Some(Ok(Body::Xid(7))));
        assert_eq!(events.next().is_none(), ends);
        assert!(events.next().is_none());
    }
}

#[test]
fn what_is_shown_of_an_event_holds_neither_rows_nor_statements() {
    for file in ["mysql-full.binlog", "mysql-minimal-no-checksum.binlog", "mysql-statement.binlog"] {
        for event in events_of(file) {
            let shown = format!("{:?}", Event::parse(event, PLAIN[0]));
            assert!(!shown.contains("eins") && !shown.contains("zwei") && !shown.contains("insert into"), "{shown}");
        }
    }
}

proptest! {
    #[test]
    fn an_event_with_pieces_that_are_lost_added_or_doubled_is_an_event_or_an_error(
        of in any::<prop::sample::Index>(),
        damages in prop::collection::vec(any::<(u8, u16, u8, u8)>(), 1..6),
    ) {
        thread_local!(static ALL: Vec<Bytes> = FILES.into_iter().flat_map(events_of).collect());
        ALL.with(|all| {
            let event = of.get(all);
            let body = dt_common::damage::damaged(&event[HEADER_BYTES..], &damages);
            PLAIN.into_iter().for_each(|format| read_through(event_of(event[4], 0, &body), format));
            // The header as well.
            let event = dt_common::damage::damaged(event, &damages);
            PLAIN.into_iter().for_each(|format| read_through(event.clone().into(), format));
        });
    }

    #[test]
    fn any_bytes_of_any_type_are_an_event_or_an_error(
        kind in 0u8..175,
        flags in any::<u16>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        PLAIN.into_iter().for_each(|format| read_through(event_of(kind, flags, &body), format));
        read_through(body.into(), Format::UNANNOUNCED);
    }

    #[test]
    fn any_small_bytes_of_any_type_are_an_event_or_an_error(
        kind in 0u8..175,
        body in prop::collection::vec(0u8..20, 0..200),
    ) {
        PLAIN.into_iter().for_each(|format| read_through(event_of(kind, 0, &body), format));
    }
}
