//! Asking a source for what [`resume`](super::resume) decides by.

use std::collections::{BTreeMap, HashMap};

use dt_common::{Error, Result, TableId};
use dt_connector::filter::Filter;

use super::lsn::Lsn;
use super::resume::facts::{Checkpointed, Published};
use super::resume::{Publication, Role, ServerFacts, Slot, TableFacts};
use crate::connect::{Conn, Server, flag, number, text};
use crate::sql;
use crate::wire::Wire;

const DOING: &str = "asking the source about its log";

/// What is asked after.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The slot.
    pub slot: &'a str,
    /// The publication.
    pub publication: &'a str,
    /// Which tables are followed.
    pub filter: &'a Filter,
}

/// What the server says of itself now.
pub async fn facts(conn: &Conn, wire: &mut Wire, server: &Server, question: Question<'_>) -> Result<ServerFacts> {
    let system = wire.command("IDENTIFY_SYSTEM", DOING).await?;
    let timeline = system.first().and_then(|row| row.get(1)?.as_ref()?.parse().ok());
    let timeline = timeline.ok_or_else(|| Error::fatal(DOING).caused_by("no timeline in the answer"))?;
    let managed = "'rds_replication', 'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin'";
    let statement = format!(
        "SELECT current_database(), current_setting('wal_level'), current_setting('max_replication_slots'), \
         (SELECT count(*) FROM pg_replication_slots), {WAL_END}, \
         (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'), \
         current_user, r.rolsuper, r.rolreplication OR EXISTS (SELECT FROM pg_roles m WHERE m.rolname IN ({managed}) \
         AND pg_has_role(m.oid, 'USAGE')), has_database_privilege(current_database(), 'CREATE'), {CLOCK} \
         FROM pg_roles r WHERE r.rolname = current_user"
    );
    let rows = conn.rows(&statement, DOING).await?;
    let row = rows.first().ok_or_else(|| Error::fatal(DOING).caused_by("no answer"))?;
    let (tables, tables_without_identity) = tables(conn, server, question).await?;
    Ok(ServerFacts {
        identity: server.identity.clone(),
        version_number: server.version_number,
        database: text(row, 0),
        timeline,
        is_in_recovery: server.is_in_recovery,
        wal_level: text(row, 1),
        slots_max: number(row, 2),
        slots: number(row, 3),
        wal_end: lsn(row.get(4)).unwrap_or_default(),
        clock: number(row, 10),
        checkpointed: checkpointed(conn).await?,
        wal_sender_timeout_ms: number(row, 5),
        role: Role {
            name: text(row, 6),
            is_superuser: flag(row, 7),
            may_replicate: flag(row, 8),
            may_create: flag(row, 9),
        },
        slot: slot(conn, server, question.slot).await?,
        publication: publication(conn, server, question.publication).await?,
        tables,
        tables_without_identity,
    })
}

/// The end of the log: on a standby, of what it has replayed.
const WAL_END: &str = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";

/// The server's clock, in whole seconds since 1970.
const CLOCK: &str = "floor(extract(epoch FROM clock_timestamp()))::bigint";

/// The server's clock, in whole seconds since 1970, and the end of its log at that moment or later.
pub async fn clock(conn: &Conn) -> Result<(u64, Lsn)> {
    let statement = format!("SELECT {CLOCK}, {WAL_END}");
    let rows = conn.rows(&statement, DOING).await?;
    let row = rows.first().ok_or_else(|| Error::fatal(DOING).caused_by("no answer"))?;
    Ok((number(row, 0), lsn(row.get(1)).unwrap_or_default()))
}

/// The last checkpoint.
async fn checkpointed(conn: &Conn) -> Result<Option<Checkpointed>> {
    let may = "SELECT has_function_privilege('pg_catalog.pg_control_checkpoint()', 'execute')";
    if !conn.rows(may, DOING).await?.first().is_some_and(|row| flag(row, 0)) {
        return Ok(None);
    }
    let statement =
        "SELECT redo_lsn, floor(extract(epoch FROM checkpoint_time))::bigint FROM pg_catalog.pg_control_checkpoint()";
    let rows = conn.rows(statement, DOING).await?;
    let found = rows.first().and_then(|row| Some((lsn(row.get(0))?, row.get(1)?.parse().ok()?)));
    Ok(found.map(|(redo, at)| Checkpointed { redo, at }))
}

fn lsn(text: Option<&str>) -> Option<Lsn> {
    text?.parse().ok()
}

/// The slot, if it is there.
pub async fn slot(conn: &Conn, server: &Server, name: &str) -> Result<Option<Slot>> {
    let (status, safe) = match server.version_number >= 130_000 {
        true => ("wal_status", "safe_wal_size"),
        false => ("''", "NULL"),
    };
    let reason = if server.version_number >= 170_000 { "invalidation_reason" } else { "''" };
    let statement = format!(
        "SELECT plugin, database, active_pid, confirmed_flush_lsn, restart_lsn, {status}, {safe}, {reason} \
         FROM pg_replication_slots WHERE slot_name = {}",
        sql::string(name)
    );
    let rows = conn.rows(&statement, DOING).await?;
    Ok(rows.first().map(|row| Slot {
        plugin: row.get(0).map(str::to_owned),
        database: row.get(1).map(str::to_owned),
        active_pid: row.get(2).and_then(|pid| pid.parse().ok()),
        confirmed_flush: lsn(row.get(3)),
        restart: lsn(row.get(4)),
        wal_status: text(row, 5),
        safe_wal_size: row.get(6).and_then(|bytes| bytes.parse().ok()),
        invalidation_reason: text(row, 7),
    }))
}

async fn publication(conn: &Conn, server: &Server, name: &str) -> Result<Option<Publication>> {
    let truncate = if server.version_number >= 110_000 { "pubtruncate" } else { "true" };
    let root = if server.version_number >= 130_000 { "pubviaroot" } else { "false" };
    let statement = format!(
        "SELECT puballtables, pubinsert, pubupdate, pubdelete, {truncate}, {root} FROM pg_publication \
         WHERE pubname = {}",
        sql::string(name)
    );
    let rows = conn.rows(&statement, DOING).await?;
    Ok(rows.first().map(|row| Publication {
        all_tables: flag(row, 0),
        insert: flag(row, 1),
        update: flag(row, 2),
        delete: flag(row, 3),
        truncate: flag(row, 4),
        via_root: flag(row, 5),
    }))
}

/// A table of the database.
struct Listed {
    id: TableId,
    oid: u32,
    is_partitioned: bool,
    parent: Option<u32>,
    is_unlogged: bool,
    is_owned: bool,
    has_identity: bool,
}

/// The tables that pass the filter; and how many of the whole database have no replica identity.
async fn tables(conn: &Conn, server: &Server, question: Question<'_>) -> Result<(Vec<TableFacts>, u64)> {
    let listed = listed(conn).await?;
    let without = listed.iter().filter(|table| !table.has_identity && !table.is_unlogged && !table.is_partitioned);
    let without = without.count() as u64;
    let mut without_identity: HashMap<u32, Vec<TableId>> = HashMap::new();
    let mut passing: BTreeMap<&TableId, &Listed> = BTreeMap::new();
    for (table, root) in passing_roots(&listed, question.filter) {
        if root == table.oid {
            passing.insert(&table.id, table);
        }
        if !table.has_identity && !table.is_partitioned && !table.is_unlogged {
            without_identity.entry(root).or_default().push(table.id.clone());
        }
    }
    let mut columns = columns(conn, server, passing.values().map(|table| table.oid)).await?;
    let mut published = published(conn, server, question.publication).await?;
    let facts = passing.into_values().map(|table| {
        let ignored = question.filter.ignored_columns(&table.id);
        let mut copied = columns.remove(&table.oid).unwrap_or_default();
        copied.retain(|name| !ignored.contains(name));
        TableFacts {
            id: table.id.clone(),
            is_partitioned: table.is_partitioned,
            is_partition: table.parent.is_some(),
            is_unlogged: table.is_unlogged,
            is_owned: table.is_owned,
            without_identity: without_identity.remove(&table.oid).unwrap_or_default(),
            copied,
            published: published.remove(&table.id),
        }
    });
    Ok((facts.collect(), without))
}

/// The tables whose rows are followed, each with what they come under: itself, or the root that passes.
fn passing_roots<'t>(listed: &'t [Listed], filter: &Filter) -> impl Iterator<Item = (&'t Listed, u32)> {
    let by_oid: HashMap<u32, &Listed> = listed.iter().map(|table| (table.oid, table)).collect();
    listed.iter().filter_map(move |table| {
        let (mut at, mut found) = (Some(table), None);
        while let Some(ancestor) = at {
            if filter.passes(&ancestor.id) {
                found = Some(ancestor.oid);
            }
            at = ancestor.parent.and_then(|oid| by_oid.get(&oid).copied());
        }
        found.map(|root| (table, root))
    })
}

/// The tables that pass the filter and that the publication does not send, by their names. None where it is for all
/// tables, or is gone, which the stream itself will hear of.
pub async fn unpublished(conn: &Conn, server: &Server, question: Question<'_>) -> Result<Vec<TableId>> {
    let publication = publication(conn, server, question.publication).await?;
    if publication.is_none_or(|publication| publication.all_tables) {
        return Ok(Vec::new());
    }
    let listed = listed(conn).await?;
    let published = published(conn, server, question.publication).await?;
    let followed = passing_roots(&listed, question.filter).filter(|(table, root)| table.oid == *root);
    let mut missing: Vec<TableId> = followed
        .filter(|(table, _)| !table.is_unlogged && !published.contains_key(&table.id))
        .map(|(table, _)| table.id.clone())
        .collect();
    missing.sort();
    Ok(missing)
}

async fn listed(conn: &Conn) -> Result<Vec<Listed>> {
    // An identity is what an UPDATE of a published table asks for: a primary key that is not deferrable, or the index
    // that was chosen.
    let index = |which: &str| {
        format!(
            "EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.{which} AND x.indisvalid AND x.indimmediate)"
        )
    };
    let statement = format!(
        "SELECT n.nspname, c.relname, c.oid, c.relkind = 'p', h.inhparent, c.relpersistence = 'u', \
         pg_has_role(c.relowner, 'USAGE'), \
         CASE c.relreplident WHEN 'f' THEN true WHEN 'd' THEN {} WHEN 'i' THEN {} ELSE false END \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_inherits h ON c.relispartition AND h.inhrelid = c.oid \
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' \
         AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
        index("indisprimary"),
        index("indisreplident")
    );
    let rows = conn.rows(&statement, DOING).await?;
    Ok(rows
        .iter()
        .map(|row| Listed {
            id: TableId::new(text(row, 0), text(row, 1)),
            oid: number(row, 2),
            is_partitioned: flag(row, 3),
            parent: row.get(4).and_then(|oid| oid.parse().ok()),
            is_unlogged: flag(row, 5),
            is_owned: flag(row, 6),
            has_identity: flag(row, 7),
        })
        .collect())
}

/// The columns of these tables that are not generated.
async fn columns(conn: &Conn, server: &Server, oids: impl Iterator<Item = u32>) -> Result<HashMap<u32, Vec<String>>> {
    let oids: Vec<String> = oids.map(|oid| oid.to_string()).collect();
    let mut found: HashMap<u32, Vec<String>> = HashMap::new();
    if oids.is_empty() {
        return Ok(found);
    }
    let generated = if server.version_number >= 120_000 { "attgenerated = ''" } else { "true" };
    let statement = format!(
        "SELECT attrelid, attname FROM pg_attribute WHERE attrelid = ANY ('{{{}}}'::oid[]) AND attnum > 0 \
         AND NOT attisdropped AND {generated} ORDER BY attrelid, attnum",
        oids.join(",")
    );
    for row in conn.rows(&statement, DOING).await? {
        found.entry(number(&row, 0)).or_default().push(text(&row, 1));
    }
    Ok(found)
}

/// How tables are in the publication.
async fn published(conn: &Conn, server: &Server, publication: &str) -> Result<HashMap<TableId, Published>> {
    // A byte that no sane name holds; one that does would be taken for held back, which is refused and not lost.
    let (columns, filter) = match server.version_number >= 150_000 {
        true => ("array_to_string(attnames, E'\\x01')", "rowfilter IS NOT NULL"),
        false => ("NULL", "false"),
    };
    let statement = format!(
        "SELECT schemaname, tablename, {columns}, {filter} FROM pg_publication_tables WHERE pubname = {}",
        sql::string(publication)
    );
    let rows = conn.rows(&statement, DOING).await?;
    let published = rows.iter().map(|row| {
        let columns = row.get(2).map(|names| names.split('\x01').map(str::to_owned).collect());
        (TableId::new(text(row, 0), text(row, 1)), Published { columns, has_row_filter: flag(row, 3) })
    });
    Ok(published.collect())
}
