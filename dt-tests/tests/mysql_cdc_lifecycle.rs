//! What a running stream does when it is told to stop, when connections break, and when servers go away and come back.

mod streams;

use anyhow::{Context, Result, ensure};
use dt_tests::binlog;
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::proxy::Proxy;
use dt_tests::servers::{self, Kind, Options, Pair, Server};
use dt_tests::task::Running;
use streams::{BOTH, checkpoint, follow, starts, stop, stream, until_rows};

/// A table without a key: what is applied twice is there twice.
fn keyless(source: &Server, target: &Server, database: &str, column: &str) -> Result<(Db, Db)> {
    let dbs = (source.db()?, target.db()?);
    for db in [&dbs.0, &dbs.1] {
        db.exec_all([
            format!("DROP DATABASE IF EXISTS {database}"),
            format!("CREATE DATABASE {database}"),
            format!("USE {database}"),
            format!("CREATE TABLE t ({column}, v varchar(40))"),
        ])?;
    }
    Ok(dbs)
}

fn add(source: &Db, ids: std::ops::RangeInclusive<u64>) -> Result<()> {
    ids.into_iter().try_for_each(|id| source.exec(format!("INSERT INTO t VALUES ({id}, 'v{id}')")))
}

/// All tables of the database hold the same rows.
fn equal(database: &str, source: &Db, target: &Db) -> Result<()> {
    for (table, verdict) in Judge::new(source, target).database(database)? {
        ensure!(verdict.is_equal(), "`{database}`.`{table}`: {verdict}");
    }
    Ok(())
}

#[test]
fn sigterm_drains_and_records_and_the_resume_redoes_nothing() -> Result<()> {
    for (kind, by_gtid) in BOTH.into_iter().flat_map(|kind| [(kind, "false"), (kind, "true")]) {
        let pair = servers::pair(kind)?;
        let (source, target) = keyless(&pair.source, &pair.target, "stream_sigterm", "id int")?;
        let task = stream(&pair.source, &pair.target, "stream_sigterm")?.set("extractor", "gtid_enabled", by_gtid).set(
            "pipeline",
            "checkpoint_interval_secs",
            "3600",
        );
        for round in 0..2 {
            let mut running = follow(&task)?;
            add(&source, round * 100 + 1..=round * 100 + 100)?;
            running.until("some rows are there", || Ok(target.number("SELECT COUNT(*) FROM t")? > round * 100))?;
            let ended = stop(running)?;
            ensure!(ended.log.contains("stream stopped: "), "{}", ended.said());
        }
        let mut running = follow(&task)?;
        until_rows(&mut running, &target, "t", 200)?;
        stop(running)?;
        equal("stream_sigterm", &source, &target)?;
        ensure!(checkpoint(&task)?.is_some() && !binlog::end(&source)?.gtids.is_empty(), "nothing is recorded");
        ensure!(!binlog::end(&source)?.file.is_empty(), "no binlog");
    }
    Ok(())
}

/// Adds rows, and in between does something to the connections.
fn survives(running: &mut Running, source: &Db, target: &Db, mut blow: impl FnMut() -> Result<()>) -> Result<()> {
    for round in 0..4 {
        add(source, round * 50 + 1..=round * 50 + 25)?;
        blow()?;
        add(source, round * 50 + 26..=round * 50 + 50)?;
        until_rows(running, target, "t", (round + 1) * 50)?;
    }
    Ok(())
}

#[test]
fn cut_connections_at_either_end_are_made_again() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        for end in ["extractor", "sinker"] {
            let (source, target) = keyless(&pair.source, &pair.target, "stream_cut", "id int PRIMARY KEY")?;
            let proxy = Proxy::start(if end == "extractor" { pair.source.port() } else { pair.target.port() })?;
            let task = stream(&pair.source, &pair.target, "stream_cut")?.address(end, proxy.port());
            let mut running = follow(&task)?;
            survives(&mut running, &source, &target, || {
                proxy.cut();
                Ok(())
            })?;
            stop(running)?;
            equal("stream_cut", &source, &target)?;
        }
    }
    Ok(())
}

#[test]
fn a_killed_dump_thread_is_started_again() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = keyless(&pair.source, &pair.target, "stream_kill", "id int PRIMARY KEY")?;
        let task = stream(&pair.source, &pair.target, "stream_kill")?;
        let mut running = follow(&task)?;
        survives(&mut running, &source, &target, || {
            for row in source.rows("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")? {
                // It may have gone by itself.
                let _ = source.exec(format!("KILL {}", row[0].as_deref().context("no id")?));
            }
            Ok(())
        })?;
        stop(running)?;
        ensure!(starts(&task)? > 1, "no dump was killed");
        equal("stream_kill", &source, &target)?;
    }
    Ok(())
}

fn survives_restarts(kind: Kind, by_gtid: &str) -> Result<()> {
    let pair = Pair::start(kind, &Options { durable: true, ..Options::default() })?;
    drop(keyless(&pair.source, &pair.target, "stream_restarts", "id int PRIMARY KEY")?);
    let task = stream(&pair.source, &pair.target, "stream_restarts")?.set("extractor", "gtid_enabled", by_gtid);
    let mut running = follow(&task)?;
    for (round, (of_source, kill)) in [(true, false), (false, false), (true, true), (false, true)].iter().enumerate() {
        let first = round as u64 * 100;
        let fill = |pair: &Pair, ids| {
            let source = pair.source.db()?;
            source.exec("USE stream_restarts")?;
            add(&source, ids)
        };
        fill(&pair, first + 1..=first + 50)?;
        let server = if *of_source { &pair.source } else { &pair.target };
        match kill {
            true => server.kill9().and_then(|()| server.up())?,
            false => server.restart()?,
        }
        fill(&pair, first + 51..=first + 100)?;
        until_rows(&mut running, &pair.target.db()?, "stream_restarts.t", first + 100)?;
    }
    stop(running)?;
    equal("stream_restarts", &pair.source.db()?, &pair.target.db()?)
}

#[test]
fn mysql_servers_may_restart_and_be_killed_in_mid_stream() -> Result<()> {
    survives_restarts(Kind::Mysql, "true")
}

#[test]
fn mariadb_servers_may_restart_and_be_killed_in_mid_stream() -> Result<()> {
    survives_restarts(Kind::Mariadb, "false")
}

#[test]
fn a_second_server_with_the_same_gtids_takes_over_once_it_has_caught_up() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let first = servers::mysql(&Options::default())?;
    let second = servers::mysql(&Options::default())?;
    let (one, target) = keyless(&first, &pair.target, "fail_over", "id int PRIMARY KEY")?;
    let uuid = one.value("SELECT @@server_uuid")?.context("null")?;
    let other = second.db()?;
    other.exec("RESET BINARY LOGS AND GTIDS")?;
    let done = binlog::end(&one)?.gtids;
    other.exec_all([
        "SET sql_log_bin = 0".to_owned(),
        "CREATE DATABASE fail_over".to_owned(),
        "USE fail_over".to_owned(),
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(40))".to_owned(),
        "SET sql_log_bin = 1".to_owned(),
        format!("SET GLOBAL gtid_purged = '{done}'"),
    ])?;
    let url = format!("mysql://127.0.0.1:{},mysql://127.0.0.1:{}", first.port(), second.port());
    let task = stream(&first, &pair.target, "fail_over")?.set("extractor", "gtid_enabled", "true").set(
        "extractor",
        "url",
        url,
    );
    let mut running = follow(&task)?;
    // The same transactions on both, as a replica has them.
    let next = done.rsplit(['-', ':']).next().and_then(|n| n.parse::<u64>().ok()).context("no number")?;
    let replicate = |id: u64| {
        other.exec(format!("SET gtid_next = '{uuid}:{}'", next + id))?;
        add(&other, id..=id)?;
        other.exec("SET gtid_next = 'AUTOMATIC'")
    };
    for id in 1..=10 {
        add(&one, id..=id)?;
    }
    until_rows(&mut running, &target, "t", 10)?;
    // A replica that lags is refused, and waited for: what it would commit next is done already.
    (1..=8).try_for_each(replicate)?;
    first.kill9()?;
    running.until_log_holds("default.log", "transactions that the source does not have")?;
    (9..=10).try_for_each(replicate)?;
    add(&other, 11..=20)?;
    until_rows(&mut running, &target, "t", 20)?;
    let ended = stop(running)?;
    ensure!(ended.log.contains("goes on here by GTID"), "{}", ended.said());
    equal("fail_over", &other, &target)
}
