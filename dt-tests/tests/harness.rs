//! The harness itself: servers live and die as told, the judge sees what is wrong, the proxy cuts.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use dt_tests::db::{Db, Dialect};
use dt_tests::deadline;
use dt_tests::judge::{Judge, Verdict};
use dt_tests::mongo::Mongo;
use dt_tests::proxy::{Death, Direction, Proxy};
use dt_tests::sample;
use dt_tests::servers::{self, Kind, Options, PASSWORD, Server, USER};
use mongodb::bson::doc;

const BOTH: [Kind; 2] = [Kind::Mysql, Kind::Mariadb];
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_pair_is_two_servers_of_the_kind_that_was_asked_for() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let versions = [&pair.source, &pair.target].map(|server| -> Result<_> {
            let db = server.db()?;
            Ok((db.value("SELECT VERSION()")?.unwrap_or_default(), db.number("SELECT @@server_id")?))
        });
        let [(version, source_id), (_, target_id)] =
            <[_; 2]>::try_from(versions.into_iter().collect::<Result<Vec<_>>>()?).unwrap();
        assert_eq!(version.contains("MariaDB"), kind == Kind::Mariadb, "{version}");
        assert_ne!(source_id, target_id);
    }
    let pair = servers::pair(Kind::Mysql)?;
    let uuid = |server: &Server| server.db()?.value("SELECT @@server_uuid");
    assert_ne!(uuid(&pair.source)?, uuid(&pair.target)?, "copies of one template must not share an identity");
    Ok(())
}

#[test]
fn the_task_user_logs_in_with_a_password_full_of_special_characters() -> Result<()> {
    for kind in BOTH {
        let port = servers::pair(kind)?.source.port();
        Db::connect(port, USER, Some(PASSWORD))?.exec("SELECT 1")?;
        assert!(Db::connect(port, USER, Some("wrong")).is_err());
    }
    Ok(())
}

#[test]
fn a_server_keeps_its_rows_and_its_port_through_a_restart_and_a_kill() -> Result<()> {
    for kind in BOTH {
        let server = Server::start(kind, &Options { durable: true, ..Options::default() })?;
        let port = server.port();
        server.db()?.exec_all([
            "CREATE DATABASE a",
            "CREATE TABLE a.t (id int PRIMARY KEY)",
            "INSERT INTO a.t VALUES (1)",
        ])?;
        server.restart()?;
        server.db()?.exec("INSERT INTO a.t VALUES (2)")?;
        server.kill9()?;
        assert!(server.db().is_err(), "a killed server still answers");
        server.up()?;
        assert_eq!((server.port(), server.db()?.number("SELECT COUNT(*) FROM a.t")?), (port, 2));
    }
    Ok(())
}

#[test]
fn a_dropped_server_leaves_neither_process_nor_folder() -> Result<()> {
    let server = servers::mariadb(&Options::default())?;
    let (folder, port) = (server.socket(), server.port());
    let folder = folder.parent().unwrap().to_owned();
    assert!(folder.exists());
    drop(server);
    assert!(!folder.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    Ok(())
}

#[test]
fn local_infile_and_the_binlog_can_be_turned_off() -> Result<()> {
    for kind in BOTH {
        let server = Server::start(kind, &Options { local_infile: false, binlog: false, ..Options::default() })?;
        let db = server.db()?;
        assert_eq!(db.value("SELECT CONCAT(@@local_infile + 0, @@log_bin + 0)")?.as_deref(), Some("00"));
        assert_eq!(
            servers::pair(kind)?.source.db()?.value("SELECT CONCAT(@@local_infile + 0, @@log_bin + 0)")?.as_deref(),
            Some("11")
        );
    }
    Ok(())
}

#[test]
fn the_judge_finds_a_copy_of_the_sample_equal_also_across_kinds() -> Result<()> {
    let (mysql, _) = servers::pair(Kind::Mysql)?.database("judge_sample")?;
    let (mariadb, other) = servers::pair(Kind::Mariadb)?.database("judge_sample")?;
    for db in [&mysql, &mariadb, &other] {
        sample::create_and_fill(db, 2000)?;
    }
    for (table, verdict) in Judge::new(&mariadb, &other).database("judge_sample")? {
        assert!(verdict.is_equal() && verdict.rows > 0, "{table}: {verdict}");
    }
    let judge = Judge::new(&mysql, &mariadb).column("customers", "settings", "JSON_EXTRACT({}, '$.n')");
    for (table, verdict) in judge.database("judge_sample")? {
        assert!(verdict.is_equal() && verdict.rows > 0, "{table}: {verdict}");
    }
    Ok(())
}

/// Runs `change` on the target's copy of a table of three rows and asks the judge.
fn verdict_after(database: &str, create: &str, insert: &str, change: &str) -> Result<Verdict> {
    let mut verdicts = Vec::new();
    for kind in BOTH {
        let (source, target) = servers::pair(kind)?.database(database)?;
        for db in [&source, &target] {
            db.exec_all([create, insert])?;
        }
        let judge = Judge::new(&source, &target);
        assert!(judge.table(database, "t")?.is_equal(), "two equal tables");
        target.exec(change)?;
        verdicts.push(judge.table(database, "t")?);
    }
    assert_eq!(verdicts[0], verdicts[1]);
    Ok(verdicts[0])
}

const KEYED: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v varchar(10), f float, b blob, e enum('x','y'), d datetime(6))";
const THREE: &str = "INSERT INTO t VALUES (1, 'a', 16777216, 'abc', 'x', '2020-01-01'), (2, '', 0.1, '', 'y', NULL), (3, NULL, NULL, NULL, NULL, NULL)";

#[test]
fn the_judge_sees_every_small_difference() -> Result<()> {
    let changes = [
        ("one byte of a blob", "UPDATE t SET b = 'abd' WHERE id = 1"),
        ("the case of a letter", "UPDATE t SET v = 'A' WHERE id = 1"),
        ("'' became null", "UPDATE t SET v = NULL WHERE id = 2"),
        ("null became ''", "UPDATE t SET v = '' WHERE id = 3"),
        ("the last digit of a float", "UPDATE t SET f = 16777215 WHERE id = 1"),
        ("a microsecond", "UPDATE t SET d = '2020-01-01 00:00:00.000001' WHERE id = 1"),
        ("an enum", "UPDATE t SET e = 'y' WHERE id = 1"),
        ("null instead of a date", "UPDATE t SET d = NULL WHERE id = 1"),
        ("a blob that is null", "UPDATE t SET b = NULL WHERE id = 2"),
    ];
    for (what, change) in changes {
        let verdict = verdict_after("judge_small", KEYED, THREE, change)?;
        let expected = Verdict { rows: 3, target_rows: 3, missing: 1, repeated: 0, foreign: 1 };
        assert_eq!(verdict, expected, "{what}");
        assert!(!verdict.nothing_lost());
    }
    Ok(())
}

#[test]
fn the_judge_tells_missing_repeated_and_foreign_rows_apart() -> Result<()> {
    let keyless = "CREATE TABLE t (a int, b varchar(10))";
    let rows = "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, NULL)";
    let after = |change| verdict_after("judge_rows", keyless, rows, change);
    let verdict =
        |target_rows, missing, repeated, foreign| Verdict { rows: 3, target_rows, missing, repeated, foreign };

    let lost = after("DELETE FROM t WHERE a = 2")?;
    assert_eq!((lost, lost.nothing_lost()), (verdict(2, 1, 0, 0), false));
    let lost_one_of_two = after("DELETE FROM t WHERE a = 1 LIMIT 1")?;
    assert_eq!((lost_one_of_two, lost_one_of_two.nothing_lost()), (verdict(2, 1, 0, 0), false));
    let twice = after("INSERT INTO t VALUES (2, NULL), (1, 'x')")?;
    assert_eq!((twice, twice.nothing_lost(), twice.is_equal()), (verdict(5, 0, 2, 0), true, false));
    let foreign = after("INSERT INTO t VALUES (3, 'y')")?;
    assert_eq!((foreign, foreign.nothing_lost()), (verdict(4, 0, 0, 1), false));
    let swapped = after("UPDATE t SET a = 2, b = NULL WHERE a = 1 LIMIT 1")?;
    assert_eq!((swapped, swapped.nothing_lost()), (verdict(3, 1, 1, 0), false));
    Ok(())
}

#[test]
fn the_judge_does_not_go_blind_on_a_value_larger_than_a_packet() -> Result<()> {
    let create = "CREATE TABLE t (id int PRIMARY KEY, b longblob)";
    let insert = "INSERT INTO t SELECT 1, REPEAT('0123456789', 600000)";
    let change = "UPDATE t SET b = CONCAT(LEFT(b, 5999999), 'x')";
    let verdict = verdict_after("judge_large", create, insert, change)?;
    assert_eq!((verdict.missing, verdict.foreign), (1, 1));
    Ok(())
}

#[test]
fn the_judge_refuses_to_compare_with_a_table_that_is_not_there() -> Result<()> {
    let (source, target) = servers::pair(Kind::Mariadb)?.database("judge_absent")?;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)")?;
    assert!(Judge::new(&source, &target).table("judge_absent", "t").is_err());
    assert!(Judge::new(&target, &source).table("judge_absent", "t").is_err());
    Ok(())
}

#[test]
fn the_proxy_forwards_until_it_is_cut_and_refuses_until_it_is_reopened() -> Result<()> {
    let server = &servers::pair(Kind::Mariadb)?.source;
    let proxy = Proxy::start(server.port())?;
    let through = || Db::connect(proxy.port(), "root", None);
    let db = through()?;
    assert_eq!(db.number("SELECT 41 + 1")?, 42);
    proxy.cut();
    assert!(db.exec("SELECT 1").is_err(), "a cut connection still answers");
    assert!(through()?.exec("SELECT 1").is_ok(), "a new connection after the cut");
    proxy.refuse();
    let refused = deadline::until("the port is closed", SOON, || {
        Ok(TcpStream::connect(("127.0.0.1", proxy.port())).err().map(|error| error.kind()))
    })?;
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
    proxy.reopen()?;
    assert!(through()?.exec("SELECT 1").is_ok());
    assert!(proxy.connections() >= 3);
    Ok(())
}

#[test]
fn a_black_hole_keeps_connections_and_carries_nothing_until_it_ends() -> Result<()> {
    let echo = TcpListener::bind(("127.0.0.1", 0))?;
    let proxy = Proxy::start(echo.local_addr()?.port())?;
    let mut near = TcpStream::connect(("127.0.0.1", proxy.port()))?;
    let (mut far, _) = echo.accept()?;
    proxy.black_hole(true);
    near.write_all(b"x")?;
    far.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut byte = [0];
    assert!(far.read(&mut byte).is_err(), "a byte came through the black hole");
    proxy.black_hole(false);
    far.set_read_timeout(Some(SOON))?;
    far.read_exact(&mut byte)?;
    assert_eq!(&byte, b"x");
    Ok(())
}

/// A wire, and both its ends.
fn wire() -> Result<(Proxy, TcpListener, TcpStream, TcpStream)> {
    let echo = TcpListener::bind(("127.0.0.1", 0))?;
    let proxy = Proxy::start(echo.local_addr()?.port())?;
    let near = TcpStream::connect(("127.0.0.1", proxy.port()))?;
    let (far, _) = echo.accept()?;
    deadline::until("the connection is taken in", SOON, || Ok((proxy.connections() == 1).then_some(())))?;
    for end in [&near, &far] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(SOON))?;
    }
    Ok((proxy, echo, near, far))
}

#[test]
fn latency_delays_each_direction_and_keeps_order_and_throughput() -> Result<()> {
    const LATENCY: Duration = Duration::from_millis(20);
    let (proxy, _echo, mut near, mut far) = wire()?;
    proxy.latency(LATENCY);
    let began = Instant::now();
    let mut byte = [0];
    near.write_all(b"x")?;
    far.read_exact(&mut byte)?;
    far.write_all(b"y")?;
    near.read_exact(&mut byte)?;
    assert!(began.elapsed() >= 2 * LATENCY, "there and back in {:?}", began.elapsed());
    // A hundred pieces that were each waited for would take two seconds.
    let sent: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|at| (at / 251) as u8).collect();
    let began = Instant::now();
    let mut received = vec![0; sent.len()];
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| sent.chunks(80 * 1024).try_for_each(|piece| near.write_all(piece)));
        far.read_exact(&mut received)?;
        Ok(writer.join().expect("the writer panicked")?)
    })?;
    assert!(received == sent, "not the same bytes in the same order");
    assert!(began.elapsed() < Duration::from_secs(2), "8 MB took {:?}", began.elapsed());
    Ok(())
}

#[test]
fn a_narrow_wire_carries_so_many_bytes_a_second() -> Result<()> {
    let (proxy, _echo, mut near, mut far) = wire()?;
    proxy.bandwidth(Some(20_000));
    let began = Instant::now();
    near.write_all(&[7; 10_000])?;
    let mut received = [0; 10_000];
    far.read_exact(&mut received)?;
    assert!(began.elapsed() >= Duration::from_millis(450), "10 kB took {:?}", began.elapsed());
    proxy.bandwidth(None);
    near.write_all(&[8; 10_000])?;
    far.read_exact(&mut received)?;
    assert_eq!(received[9_999], 8);
    Ok(())
}

#[test]
fn a_direction_that_is_closed_ends_and_the_other_one_carries_on() -> Result<()> {
    for direction in Direction::BOTH {
        let (proxy, _echo, near, far) = wire()?;
        proxy.half_open(direction, Death::Closed);
        let (mut from, mut to) = if direction == Direction::Requests { (near, far) } else { (far, near) };
        let mut bytes = Vec::new();
        assert_eq!(to.read_to_end(&mut bytes)?, 0, "{direction:?}");
        to.write_all(b"still here")?;
        let mut told = [0; 10];
        from.read_exact(&mut told)?;
        assert_eq!(&told, b"still here");
    }
    Ok(())
}

#[test]
fn a_direction_that_is_silent_loses_everything_for_ever_and_new_connections_until_it_is_reopened() -> Result<()> {
    for direction in Direction::BOTH {
        let (proxy, echo, near, far) = wire()?;
        proxy.half_open(direction, Death::Silent);
        proxy.half_open_anew(direction);
        let anew = TcpStream::connect(("127.0.0.1", proxy.port()))?;
        let (anew_far, _) = echo.accept()?;
        deadline::until("it is taken in", SOON, || Ok((proxy.connections() == 2).then_some(())))?;
        proxy.reopen()?;
        for (near, far) in [(near, far), (anew, anew_far)] {
            let (mut from, mut to) = if direction == Direction::Requests { (near, far) } else { (far, near) };
            from.write_all(b"lost")?;
            to.write_all(b"told")?;
            let mut told = [0; 4];
            from.set_read_timeout(Some(SOON))?;
            from.read_exact(&mut told)?;
            assert_eq!(&told, b"told", "{direction:?}");
            to.set_read_timeout(Some(Duration::from_millis(200)))?;
            assert!(to.read(&mut told).is_err(), "{direction:?}: something came through");
        }
        let mut well = TcpStream::connect(("127.0.0.1", proxy.port()))?;
        let (mut well_far, _) = echo.accept()?;
        let mut byte = [0];
        well.write_all(b"x")?;
        well_far.read_exact(&mut byte)?;
        well_far.write_all(b"x")?;
        well.read_exact(&mut byte)?;
    }
    Ok(())
}

#[test]
fn a_connection_is_reset_after_so_many_bytes_and_others_are_not() -> Result<()> {
    for direction in Direction::BOTH {
        let (proxy, echo, near, far) = wire()?;
        let mut other = TcpStream::connect(("127.0.0.1", proxy.port()))?;
        let (mut other_far, _) = echo.accept()?;
        proxy.reset_after(direction, 1000);
        let (mut from, mut to) = if direction == Direction::Requests { (near, far) } else { (far, near) };
        from.write_all(&[7; 600])?;
        let mut bytes = [0; 600];
        to.read_exact(&mut bytes)?;
        assert!(proxy.is_armed());
        from.write_all(&[8; 600])?;
        to.read_exact(&mut bytes[..400])?;
        for end in [&mut to, &mut from] {
            let broken = end.read(&mut bytes).expect_err("the connection should be broken").kind();
            assert_eq!(broken, std::io::ErrorKind::ConnectionReset, "{direction:?}");
        }
        assert!(!proxy.is_armed());
        other.write_all(b"x")?;
        other_far.read_exact(&mut bytes[..1])?;
    }
    Ok(())
}

#[test]
fn a_commit_whose_answer_is_lost_is_committed() -> Result<()> {
    let create = "CREATE TABLE t (id int PRIMARY KEY)";
    for kind in [Kind::Mysql, Kind::Mariadb, Kind::Postgres15] {
        let (db, _) = servers::pair(kind)?.database("lost_commit")?;
        db.exec(create)?;
        let proxy = Proxy::start(servers::pair(kind)?.source.port())?;
        proxy.after_commits(1);
        let write = |id: u64| -> Result<()> {
            let through = match kind.dialect() {
                Dialect::Mysql => Db::connect(proxy.port(), "root", None)?,
                Dialect::Postgres => Db::connect_postgres(proxy.port(), "lost_commit", "postgres", None)?,
            };
            let table = if kind.dialect() == Dialect::Mysql { "lost_commit.t" } else { "t" };
            through.exec_all(["BEGIN".to_owned(), format!("INSERT INTO {table} VALUES ({id})"), "COMMIT".to_owned()])
        };
        write(1)?;
        assert!(write(2).is_err() && !proxy.is_armed(), "{kind}: the answer came");
        assert_eq!(db.number("SELECT COUNT(*) FROM t")?, 2, "{kind}");
        write(3)?;
    }
    let pair = dt_tests::servers::mongo::pair()?;
    let (source, _) = pair.without(&["lost_commit"])?;
    source.command("lost_commit", doc! {"create": "t"})?;
    let proxy = Proxy::start(pair.source.port())?;
    let through = Mongo::connect(proxy.port(), Some((USER, PASSWORD)))?;
    proxy.after_commits(0);
    // The driver asks again by itself, and learns that it is done.
    through.transaction(&[("lost_commit", doc! {"insert": "t", "documents": [{"_id": 1}]})], true)?;
    assert!(!proxy.is_armed());
    assert_eq!(source.count("lost_commit", "t")?, 1);
    Ok(())
}

#[test]
fn the_scripts_that_messages_name_are_there() {
    let root = dt_tests::workspace::folder();
    for script in ["install-servers", "test", "quickstart", "bench"] {
        assert!(root.join("scripts").join(script).is_file(), "scripts/{script}");
    }
}
