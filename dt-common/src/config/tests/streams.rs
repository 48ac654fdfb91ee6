//! Files with `extract_type=cdc`.

use super::*;

const CDC: &str = "\
[extractor]
db_type=mysql
extract_type=cdc
url=mysql://root:hunter2@127.0.0.1:3307?ssl-mode=disabled

[sinker]
db_type=mysql
sink_type=write
url=mysql://root:hunter2@127.0.0.1:3308

[filter]
do_dbs=test_db

[extractor]
";

fn stream(lines: &str) -> MysqlCdcOptions {
    match parsed(&format!("{CDC}{lines}")).config.extractor.extract_type {
        ExtractType::MysqlCdc(options) => *options,
        ExtractType::Snapshot | ExtractType::PgCdc(_) | ExtractType::MongoCdc(_) => {
            panic!("not a MySQL stream:\n{lines}")
        }
    }
}

fn problems_of(lines: &str) -> Vec<String> {
    problems(&format!("{CDC}{lines}"))
}

#[test]
fn a_stream_begins_now_and_has_the_documented_defaults() {
    let expected = MysqlCdcOptions {
        start: CdcStart::Now,
        gtid_enabled: false,
        end_time: None,
        server_id: None,
        binlog_heartbeat_interval: Duration::from_secs(10),
        binlog_timeout: Duration::from_secs(60),
        heartbeat: None,
        fail_over: Vec::new(),
    };
    assert_eq!(stream(""), expected);
    assert_eq!(parsed(CDC).notes, Vec::<String>::new());
    let older = stream("binlog_position=0\nbinlog_filename=\nserver_id=2000\ngtid_set=\n");
    assert_eq!(older, MysqlCdcOptions { server_id: Some(2000), ..expected });
}

#[test]
fn every_value_of_a_stream_arrives_where_it_belongs() {
    let lines = "\
binlog_filename=mysql-bin.000004
binlog_position=73351
server_id=4294967295
end_time_utc=2024-02-28 09:21:51
binlog_heartbeat_interval_secs=1
binlog_timeout_secs=5
heartbeat_interval_secs=2
heartbeat_tb=heartbeat_db.`ape.dts`
max_rps=7
";
    let expected = MysqlCdcOptions {
        start: CdcStart::Place { binlog_filename: "mysql-bin.000004".into(), binlog_position: 73_351 },
        gtid_enabled: false,
        end_time: Some(1_709_112_111),
        server_id: Some(u32::MAX),
        binlog_heartbeat_interval: Duration::from_secs(1),
        binlog_timeout: Duration::from_secs(5),
        heartbeat: Some(Heartbeat { table: TableId::new("heartbeat_db", "ape.dts"), interval: Duration::from_secs(2) }),
        fail_over: Vec::new(),
    };
    assert_eq!(stream(lines), expected);
}

#[test]
fn every_way_to_begin_is_understood() {
    let place = |binlog_filename: &str, binlog_position| CdcStart::Place {
        binlog_filename: binlog_filename.into(),
        binlog_position,
    };
    let set = "6d3960f6-4b36-11ef-8614-0242ac110002:1-10,787d08c4-4b36-11ef-8614-0242ac110006:1-5";
    for (lines, start) in [
        ("gtid_enabled=true\ngtid_set=\n".to_owned(), CdcStart::Now),
        (format!("gtid_enabled=true\ngtid_set={set}\n"), CdcStart::AfterGtids(set.into())),
        ("binlog_filename=b.000001\n".to_owned(), place("b.000001", 4)),
        ("binlog_filename=b.000001\nbinlog_position=0\n".to_owned(), place("b.000001", 4)),
        ("binlog_filename=b.000001\nbinlog_position=5000000000\n".to_owned(), place("b.000001", 5_000_000_000)),
        ("start_time_utc=1970-01-02 00:00:00\n".to_owned(), CdcStart::Time(86_400)),
        ("start_time_utc=1970-01-02 00:00:00\ngtid_enabled=true\n".to_owned(), CdcStart::Time(86_400)),
    ] {
        assert_eq!(stream(&lines).start, start, "{lines}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (lines, message) in [
        (
            "gtid_enabled=true\nbinlog_filename=b.000001",
            "line 16: `binlog_filename` of [extractor] contradicts `gtid_enabled=true`: set `gtid_set` instead, or take `gtid_enabled` out",
        ),
        (
            "gtid_set=0-1-5",
            "line 15: `gtid_set` of [extractor] contradicts `gtid_enabled=false`: set `gtid_enabled=true`, or take it out",
        ),
        ("binlog_position=5", "line 15: `binlog_position` of [extractor] is a place in no file: set `binlog_filename`"),
        (
            "start_time_utc=2024-02-28 09:21:51\nbinlog_filename=b.000001",
            "line 15: `start_time_utc` of [extractor] and `binlog_filename` both say where the stream begins: keep one",
        ),
        (
            "start_time_utc=2024-02-28 09:21:51\nend_time_utc=2024-02-28 09:21:51",
            "line 16: `end_time_utc` of [extractor] must be later than `start_time_utc`",
        ),
        (
            "binlog_heartbeat_interval_secs=60",
            "line 15: `binlog_timeout_secs` of [extractor] must be longer than `binlog_heartbeat_interval_secs`, or an idle server would be taken for dead",
        ),
        (
            "start_time_utc=yesterday",
            "line 15: `start_time_utc` of [extractor] must be a time in UTC like `2024-02-28 09:21:51`, not `yesterday`",
        ),
        ("server_id=0", "line 15: `server_id` of [extractor] must be a whole number from 1 to 4294967295, not `0`"),
        (
            "heartbeat_tb=hb_*.t",
            "line 15: `heartbeat_tb` of [extractor] must be one table, `schema.table`, without wildcards, not `hb_*.t`",
        ),
        (
            "heartbeat_tb=t",
            "line 15: `heartbeat_tb` of [extractor] must be one table, `schema.table`, without wildcards, not `t`",
        ),
        ("slot_name=s", "line 15: `slot_name` of [extractor] is for `db_type=pg` only"),
        (
            "[filter]\ndo_ddls=*",
            "line 16: `do_ddls` of [filter] is not available yet: DDL is not replicated; take it out",
        ),
        (
            "[filter]\ndo_dcls=grant",
            "line 16: `do_dcls` of [filter] is not available yet: DCL is not replicated; take it out",
        ),
        (
            "[filter]\nwhere_conditions=json:[{\"db\":\"a\",\"tb\":\"b\",\"condition\":\"x\"}]",
            "line 16: `where_conditions` of [filter] is for a snapshot only: a change stream has no server that could tell which changed rows meet it",
        ),
    ] {
        assert_eq!(problems_of(lines), [message]);
    }
}

#[test]
fn keys_that_a_stream_does_not_use_are_noted() {
    let lines = "batch_size=7\nparallel_size=2\nheartbeat_interval_secs=1\nkeepalive_interval_secs=1\n[filter]\ndo_ddls=none\ndo_events=update,delete\n";
    let Parsed { config, notes } = parsed(&format!("{CDC}{lines}"));
    assert_eq!(
        notes,
        [
            "line 15: `batch_size` of [extractor] has no effect: a change stream does not use it",
            "line 16: `parallel_size` of [extractor] has no effect: a change stream does not use it",
            "line 17: `heartbeat_interval_secs` of [extractor] has no effect without `heartbeat_tb`",
            "line 18: `keepalive_interval_secs` of [extractor] has no effect: dt keeps its connections alive by itself",
        ]
    );
    assert_eq!(config.filter.do_events, Events { insert: false, update: true, delete: true });
}

#[test]
fn a_snapshot_notes_the_lists_of_ddl_and_dcl() {
    assert_eq!(
        with("[filter]\ndo_ddls=*\ndo_dcls=*\n").notes,
        [
            "line 14: `do_ddls` of [filter] has no effect: a snapshot does not use it",
            "line 15: `do_dcls` of [filter] has no effect: a snapshot does not use it",
        ]
    );
}

#[test]
fn a_stream_of_mongodb_applies_the_kinds_of_ddl_that_are_asked_for() {
    let read = |list: &str| parsed(&mongo(&format!("[filter]\ndo_ddls={list}"))).config.filter.do_ddls;
    for none in ["none", "NONE", ""] {
        assert!(read(none).is_empty(), "{none}");
    }
    assert_eq!(read("*"), Ddls::of(&DdlKind::ALL));
    let all = DdlKind::ALL.map(DdlKind::name).join(", ");
    assert_eq!(read(&all), Ddls::of(&DdlKind::ALL));
    assert_eq!(read("drop_database,create_index"), Ddls::of(&[DdlKind::DropDatabase, DdlKind::CreateIndex]));
    let of_tables = [DdlKind::CreateCollection, DdlKind::RenameCollection, DdlKind::ModifyCollection];
    assert_eq!(read("create_table,rename_table,alter_table"), Ddls::of(&of_tables));
    for (list, named) in [("drop", "`drop_index`"), ("*,drop_index", "must be"), ("rename_collection", "add it")] {
        let found = problems(&mongo(&format!("[filter]\ndo_ddls={list}")));
        assert!(found.len() == 1 && found[0].contains(named), "{found:?}");
    }
}

#[test]
fn streams_of_other_databases_are_refused_by_name() {
    let text = CDC.replacen("mysql", "redis", 1).replacen("mysql://", "redis://", 1);
    assert_eq!(problems(&text), ["line 3: `extract_type=cdc` of [extractor] is not available yet for `db_type=redis`"]);
}

fn mongo(lines: &str) -> String {
    let text =
        CDC.replacen("mysql", "mongo", 1).replacen("mysql://", "mongodb://", 1).replacen("ssl-mode=disabled", "", 1);
    format!("{text}{lines}")
}

#[test]
fn a_stream_of_mongodb_begins_once_and_reads_the_change_stream_by_itself() {
    let read = |lines: &str| match parsed(&mongo(lines)).config.extractor.extract_type {
        ExtractType::MongoCdc(options) => *options,
        ExtractType::Snapshot | ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) => {
            panic!("not a MongoDB stream:\n{lines}")
        }
    };
    let plain = read("");
    assert_eq!((plain.source, plain.start), (MongoStreamSource::ChangeStream, MongoCdcStart::Now));
    assert_eq!(read("source=op_log\nstart_timestamp=1709113643").start, MongoCdcStart::Time(1_709_113_643));
    assert_eq!(read("start_timestamp=0").start, MongoCdcStart::Now);
    assert_eq!(read("resume_token={\"_data\":\"82\"}").start, MongoCdcStart::AfterToken("{\"_data\":\"82\"}".into()));
    assert_eq!(
        problems(&mongo("start_timestamp=5\nresume_token=x")),
        ["line 15: `start_timestamp` of [extractor] and `resume_token` both say where the stream begins: keep one"]
    );
    assert_eq!(problems(&mongo("source=op_log\nresume_token=x")).len(), 1);
}

const PG: &str = "\
[extractor]
db_type=pg
extract_type=cdc
url=postgres://u:hunter2@127.0.0.1:5433/shop

[sinker]
db_type=pg
sink_type=write
url=postgres://u:hunter2@127.0.0.1:5434/shop

[filter]
do_dbs=public

[extractor]
";

fn pg_stream(lines: &str) -> PgCdcOptions {
    match parsed(&format!("{PG}{lines}")).config.extractor.extract_type {
        ExtractType::PgCdc(options) => *options,
        ExtractType::Snapshot | ExtractType::MysqlCdc(_) | ExtractType::MongoCdc(_) => {
            panic!("not a PostgreSQL stream:\n{lines}")
        }
    }
}

#[test]
fn a_postgresql_stream_reads_a_slot_and_a_publication() {
    let expected = PgCdcOptions {
        slot_name: "dt_1".into(),
        pub_name: "dt_1_publication_for_all_tables".into(),
        start_lsn: None,
        start_time: None,
        end_time: None,
        recreate_slot_if_exists: false,
        keepalive_interval: Duration::from_secs(10),
        heartbeat: None,
    };
    assert_eq!(pg_stream("slot_name=dt_1\nstart_lsn=\n"), expected);
    let lines = "slot_name=dt_1\npub_name=My Pub\nstart_lsn=16/B374d848\nstart_time_utc=1970-01-01 00:00:07\n\
        end_time_utc=1970-01-01 00:00:09\nkeepalive_interval_secs=3\nheartbeat_tb=\"Hb\".beat\n";
    assert_eq!(
        pg_stream(lines),
        PgCdcOptions {
            pub_name: "My Pub".into(),
            start_lsn: Some("16/B374d848".into()),
            start_time: Some(7),
            end_time: Some(9),
            keepalive_interval: Duration::from_secs(3),
            heartbeat: Some(Heartbeat { table: TableId::new("Hb", "beat"), interval: Duration::from_secs(10) }),
            ..expected
        }
    );
    assert_eq!(pg_stream(&format!("slot_name={}\n", "x".repeat(63))).pub_name.len(), 63);
}

#[test]
fn a_postgresql_stream_without_a_legal_slot_is_refused() {
    for (lines, message) in [
        ("", "`slot_name` of [extractor] is missing: the replication slot, a name of your choice for this task alone"),
        (
            "slot_name=My-Slot",
            "line 15: `slot_name` of [extractor] must be 1 to 63 lower-case letters, digits and underscores, not `My-Slot`",
        ),
        ("slot_name=s\nstart_lsn=7", "line 16: `start_lsn` of [extractor] must be a place like `0/406E2C30`, not `7`"),
        (
            "slot_name=s\nstart_lsn=0/7\nrecreate_slot_if_exists=true",
            "line 16: `start_lsn` of [extractor] contradicts `recreate_slot_if_exists=true`: a new slot begins now",
        ),
        ("slot_name=s\nserver_id=7", "line 16: `server_id` of [extractor] is for `db_type=mysql` only"),
    ] {
        assert_eq!(problems(&format!("{PG}{lines}")), [message]);
    }
}

#[test]
fn a_value_that_a_postgresql_stream_cannot_use_is_refused_by_its_name() {
    let long = "x".repeat(64);
    for (lines, named) in [
        (format!("slot_name={long}"), "line 15: `slot_name` of [extractor] must be 1 to 63 lower-case letters"),
        (
            format!("slot_name=s\npub_name={long}"),
            "line 16: `pub_name` of [extractor] must be a name of 63 bytes at most",
        ),
        ("slot_name=s\nstart_lsn=0/123456789".into(), "line 16: `start_lsn` of [extractor] must be a place like"),
        ("slot_name=s\nstart_lsn=0/+7".into(), "line 16: `start_lsn` of [extractor] must be a place like"),
        ("slot_name=s\nstart_time_utc=yesterday".into(), "line 16: `start_time_utc` of [extractor] "),
        (
            "slot_name=s\nstart_time_utc=1970-01-01 00:00:09\nend_time_utc=1970-01-01 00:00:09".into(),
            "line 17: `end_time_utc` of [extractor] must be later than `start_time_utc`",
        ),
        ("slot_name=s\nrecreate_slot_if_exists=maybe".into(), "line 16: `recreate_slot_if_exists` of [extractor] "),
        ("slot_name=s\nkeepalive_interval_secs=0".into(), "line 16: `keepalive_interval_secs` of [extractor] "),
        ("slot_name=s\nheartbeat_tb=beat".into(), "line 16: `heartbeat_tb` of [extractor] "),
        ("slot_name=s\nslot_nam=t".into(), "line 16: `slot_nam`"),
        ("slot_name=s\ngtid_enabled=true".into(), "line 16: `gtid_enabled` of [extractor] is for `db_type=mysql` only"),
    ] {
        let found = problems(&format!("{PG}{lines}"));
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert!(found[0].starts_with(named), "{lines}: {found:?}");
    }
    // DDL is not captured: the table for it is accepted, so that files of other tools work.
    assert_eq!(pg_stream("slot_name=s\nddl_meta_tb=public.ddl\n"), pg_stream("slot_name=s\n"));
    // It is a stream's: a snapshot has no use for it.
    let snapshot = PG.replace("extract_type=cdc", "extract_type=snapshot");
    assert_ne!(snapshot, PG);
    assert_eq!(
        parsed(&format!("{snapshot}slot_name=s\n")).notes,
        ["line 15: `slot_name` of [extractor] has no effect: a snapshot does not use it"]
    );
}

#[test]
fn a_list_of_servers_is_for_a_stream_that_follows_gtids() {
    let list = "@127.0.0.1:3307?ssl-mode=disabled, mysql://127.0.0.2,mysql://root:hun,ter@127.0.0.3:9";
    let text = CDC.replace("@127.0.0.1:3307?ssl-mode=disabled", list);
    let config = parsed(&format!("{text}gtid_enabled=true\nusername=x\n")).config;
    assert_eq!(config.extractor.endpoint.address, "mysql://127.0.0.1:3307");
    let one = parsed(&format!("{CDC}gtid_enabled=true\n")).config;
    assert_eq!(config.task_id(), one.task_id(), "an address more is not another task");
    let ExtractType::MysqlCdc(options) = config.extractor.extract_type else { panic!("not a stream") };
    let others: Vec<(&str, Option<&str>)> =
        options.fail_over.iter().map(|server| (server.address.as_str(), server.username.as_deref())).collect();
    assert_eq!(others, [("mysql://127.0.0.2:3306", Some("x")), ("mysql://127.0.0.3:9", Some("x"))]);
    assert_eq!(
        problems(&text),
        [
            "`url` of [extractor] names several servers: set `gtid_enabled=true`, for a file and place of one server's binlog mean nothing to another"
        ]
    );
    assert_eq!(
        problems(&text.replace("=cdc", "=snapshot")),
        ["line 4: `url` of [extractor] names several servers: only a change stream can fail over from one to another"]
    );
    let broken = text.replace("127.0.0.2", "127.0.0.2:hunter2");
    let found = problems(&format!("{broken}gtid_enabled=true\n"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("line 4: `url` of [extractor] has no port number"), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
}
