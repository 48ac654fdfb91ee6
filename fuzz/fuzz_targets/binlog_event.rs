//! Any bytes as events of a binlog without checksums, the rows in them included.
//!
//! The first byte says whose they are: odd for MariaDB. Events follow each other by the size in their headers; what is
//! left at the end is one event more, however long it is.
#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use dt_connector_mysql::cdc::binlog::{
    Body, Checksum, Event, Format, HEADER_BYTES, Header, RowsEvent, RowsKind, TableMap,
};
use dt_connector_mysql::cdc::{metadata, row::RowPlan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((whose, data)) = data.split_first() else { return };
    let format = Format { checksum: Checksum::None, mariadb: whose & 1 == 1 };
    let mut rest = Bytes::copy_from_slice(data);
    let mut maps = HashMap::new();
    while rest.len() >= HEADER_BYTES {
        let size = Header::parse(&rest).map_or(rest.len(), |header| header.event_size as usize);
        let event = rest.split_to(size.clamp(HEADER_BYTES, rest.len()));
        let Ok(event) = Event::parse(event, format) else { continue };
        match event.body {
            Body::TransactionPayload(payload) => {
                let Ok(events) = payload.events() else { continue };
                events.map_while(Result::ok).for_each(|event| take_in(event.body, &mut maps));
            }
            body => take_in(body, &mut maps),
        }
    }
});

fn take_in(body: Body, maps: &mut HashMap<u64, TableMap>) {
    match body {
        Body::TableMap(map) => drop(maps.insert(map.table_id, map)),
        Body::Rows(rows) => {
            if let Some(map) = maps.get(&rows.table_id) {
                read_rows(&rows, map);
            }
        }
        _ => {}
    }
}

/// The table's columns are what the map says of them; what a map without metadata lacks is made up.
fn read_rows(event: &RowsEvent, map: &TableMap) {
    let mut map = map.clone();
    let count = map.columns.len();
    map.names.get_or_insert_with(|| (0..count).map(|at| format!("c{at}")).collect());
    let labels = || vec![vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]; count];
    map.enum_values.get_or_insert_with(labels);
    map.set_values.get_or_insert_with(labels);
    let known = map.collations.iter().flatten().map(|id| (*id, ("utf8mb4".to_owned(), "utf8mb4_bin".to_owned())));
    let Some(columns) = metadata::columns(&map, &known.collect()) else { return };
    let copied: Vec<usize> = (0..columns.len()).collect();
    let Ok(plan) = RowPlan::new(&columns, &copied, &map) else { return };
    let plan = plan.with_key(&[0]);
    let before = event.present_before.as_ref().map(|present| plan.image(present));
    let after = event.present_after.as_ref().map(|present| plan.image(present));
    let mut rest = &event.rows[..];
    let mut out = Vec::new();
    while !rest.is_empty() {
        out.clear();
        let start = rest;
        let mut read = 0;
        if let Some(Ok(before)) = &before {
            let decoded = match event.kind {
                RowsKind::PartialUpdate => before.decode(&mut out, &mut rest),
                _ => before.decode_before(&mut out, &mut rest),
            };
            if decoded.is_err() {
                return;
            }
            read = start.len() - rest.len();
        }
        if let Some(Ok(after)) = &after {
            let decoded = match (event.kind, &before) {
                (RowsKind::PartialUpdate, Some(Ok(before))) => {
                    after.decode_partial(&mut out, &mut rest, (before, &start[..read]))
                }
                _ => after.decode(&mut out, &mut rest),
            };
            if decoded.is_err() {
                return;
            }
        }
        // An image of no column takes no byte.
        if rest.len() == start.len() {
            return;
        }
    }
}
