//! The driver's binlog stream: what is asked of it, its events put together again as they were on the wire, and what
//! its errors mean.

use std::time::Duration;

use bytes::Bytes;
use dt_common::{Error, ErrorClass, Result};
use futures_util::StreamExt;
use mysql_async::BinlogStream;

use super::gtid::MysqlGtidSet;
use crate::error::{classify, code};

/// A piece of the set for each origin, as the driver reads it: `uuid:tag:1-5:7-7`.
pub fn sids(set: &MysqlGtidSet) -> Vec<String> {
    set.origins()
        .map(|(origin, intervals)| {
            let ranges = intervals.iter().map(|range| format!(":{}-{}", range.start, range.end - 1));
            format!("{origin}{}", ranges.collect::<String>())
        })
        .collect()
}

/// An event as the driver hands it out.
pub type DriverEvent = mysql_async::binlog::events::Event;

/// Waits for the next event; a server that says nothing for so long, not even its heartbeat, is gone.
pub async fn next_event(stream: &mut BinlogStream, timeout: Duration) -> Result<DriverEvent> {
    match tokio::time::timeout(timeout, stream.next()).await {
        Ok(event) => taken(event),
        Err(_) => Err(Error::new(
            ErrorClass::Reconnect,
            format!("the source has sent nothing for {} s, not even a heartbeat", timeout.as_secs()),
        )),
    }
}

/// What the stream has handed out.
pub fn taken(event: Option<mysql_async::Result<DriverEvent>>) -> Result<DriverEvent> {
    match event {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => Err(refused(error)),
        None => Err(Error::new(ErrorClass::Reconnect, "the source has ended the stream")),
    }
}

/// 1236 is every reason a server has for ending a dump; its text tells which.
fn refused(error: mysql_async::Error) -> Error {
    let doing = "reading the source's binlog";
    // MariaDB has a number of its own, 4052, for a server_id that another replica uses.
    let (Some(1236 | 4052), mysql_async::Error::Server(server)) = (code(&error), &error) else {
        return classify(doing, error);
    };
    let text = server.message.to_ascii_lowercase();
    let ours = Error::user(doing).caused_by(server.message.clone());
    if text.contains("same server_uuid/server_id") || text.contains("same server_id") || text.contains("same server-id")
    {
        return ours.hint(
            "another replica, or another task, uses this server_id: set [extractor] server_id to a number of its own",
        );
    }
    if text.contains("purged") || text.contains("could not find first log file") || text.contains("not find") {
        return ours.hint("the source no longer has what is to be read: copy the tables again with a snapshot, and follow the changes from there");
    }
    ours.hint("the server's words say why; after mending it, start again with resume_type=from_log")
}

/// The event as it was on the wire. The driver cuts it into pieces, and leaves the checksum to the reader.
pub fn whole(event: &DriverEvent, inner: bool) -> Bytes {
    let header = event.header();
    let mut raw = Vec::with_capacity(header.event_size() as usize);
    raw.extend_from_slice(&header.timestamp().to_le_bytes());
    raw.push(header.event_type_raw());
    raw.extend_from_slice(&header.server_id().to_le_bytes());
    raw.extend_from_slice(&header.event_size().to_le_bytes());
    raw.extend_from_slice(&header.log_pos().to_le_bytes());
    raw.extend_from_slice(&header.flags_raw().to_le_bytes());
    raw.extend_from_slice(event.data());
    if !inner {
        // What the driver has cut off the end is put back: the algorithm's number, of a format description, and the
        // checksum.
        let missing = (header.event_size() as usize).saturating_sub(raw.len());
        if missing == 5 {
            let algorithm = event.footer().get_checksum_alg().ok().flatten().map_or(0, |algorithm| algorithm as u8);
            raw.push(algorithm);
        }
        if missing >= 4 {
            raw.extend_from_slice(&event.checksum().unwrap_or_default());
        }
    }
    Bytes::from(raw)
}
