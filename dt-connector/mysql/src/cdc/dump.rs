//! Asking a server for its binlog as a replica does, from a place on.

use std::time::Duration;

use dt_common::{Error, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Sid};

use super::gtid::GtidSet;
use super::place::Place;
use super::wire::sids;
use crate::alive::while_alive;
use crate::config::Address;
use crate::connect::{self, Flavor, Session};
use crate::error::{classify, code};

/// What the source is to take us for.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    /// The number that no other replica of the source has.
    pub server_id: u32,
    /// The kind of source.
    pub flavor: Flavor,
    /// How often an idle source sends a sign of life.
    pub heartbeat_interval: Duration,
}

impl Replica {
    /// The binlog from a place on.
    ///
    /// # Errors
    /// The source does not answer, or refuses.
    pub async fn dump(self, address: &Address, place: &Place, by_gtid: bool) -> Result<BinlogStream> {
        let doing = || format!("asking {} for its binlog", address.host_port());
        let mut conn = connect::connect(address, self.flavor, &Session::Read).await?;
        let id = conn.id();
        let setting_up =
            async { conn.query_drop(self.session(place, by_gtid)).await.map_err(|error| classify(doing(), error)) };
        while_alive(address, id, setting_up).await?;
        let file = place.file.clone().into_bytes();
        let request = BinlogStreamRequest::new(self.server_id);
        let request = match (&place.gtids, self.flavor, by_gtid) {
            (Some(GtidSet::Mysql(set)), Flavor::Mysql, true) => {
                let texts: Vec<String> = sids(set);
                let sids = texts.iter().map(|text| {
                    text.parse::<Sid<'static>>().map_err(|_| Error::fatal("a GTID set that the driver does not take"))
                });
                request.with_gtid().with_gtid_set(sids.collect::<Result<Vec<_>>>()?)
            }
            // MariaDB is told by the session's variables, and then takes no place.
            (Some(_), Flavor::Mariadb, true) => request,
            _ => request.with_filename(&file).with_pos(place.offset),
        };
        let asking = async {
            conn.get_binlog_stream(request).await.map_err(|error| {
                // After a log-in that worked this is not about the password.
                let refused = matches!(code(&error), Some(1045 | 1227));
                let error = classify(doing(), error);
                if refused { error.hint("grant the account REPLICATION SLAVE on *.*") } else { error }
            })
        };
        while_alive(address, id, asking).await
    }

    /// What the dump's session is to know (pure).
    fn session(self, place: &Place, by_gtid: bool) -> String {
        let nanos = self.heartbeat_interval.as_nanos();
        let mut set =
            vec![format!("@master_heartbeat_period = {nanos}"), format!("@source_heartbeat_period = {nanos}")];
        match self.flavor {
            Flavor::Mysql => {
                // Without one of its own, two replicas of one server_id could not be told apart.
                let uuid = format!("64740000-0000-4000-8000-{:012x}", self.server_id);
                set.push(format!("@slave_uuid = '{uuid}'"));
                set.push(format!("@replica_uuid = '{uuid}'"));
            }
            Flavor::Mariadb => {
                set.push("@mariadb_slave_capability = 4".to_owned());
                if let (Some(gtids), true) = (&place.gtids, by_gtid) {
                    set.push(format!("@slave_connect_state = '{gtids}'"));
                    set.push("@slave_gtid_strict_mode = 0".to_owned());
                    set.push("@slave_gtid_ignore_duplicates = 0".to_owned());
                }
            }
        }
        format!("SET {}", set.join(", "))
    }
}

/// A server_id for a task that was given none: the same at each start, so that a connection that the source still
/// keeps from a run that was killed is replaced; and above what people number their servers with.
pub fn server_id_of(task_id: &str) -> u32 {
    // FNV-1a.
    let hash = task_id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    1_000_000_000 + hash % 3_000_000_000
}
