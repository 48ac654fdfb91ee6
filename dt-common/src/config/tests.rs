//! Whole files: what users write, and what they get told.

use std::path::PathBuf;
use std::time::Duration;

mod damage;
mod streams;

use super::*;
use crate::ids::TableId;
use crate::secret::Secret;

const MINIMAL: &str = "\
[extractor]
db_type=mysql
extract_type=snapshot
url=mysql://root:hunter2@127.0.0.1:3307?ssl-mode=disabled

[sinker]
db_type=mysql
sink_type=write
url=mysql://root:hunter2@127.0.0.1:3308

[filter]
do_dbs=test_db
";

fn parsed(text: &str) -> Parsed {
    parse(text).unwrap_or_else(|errors| panic!("{errors}\n---\n{text}"))
}

/// The minimal file with more lines in a section of their own.
fn with(lines: &str) -> Parsed {
    parsed(&format!("{MINIMAL}{lines}"))
}

/// The problems of the minimal file with more lines.
fn problems_with(lines: &str) -> Vec<String> {
    problems(&format!("{MINIMAL}{lines}"))
}

fn problems(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("must be refused");
    errors.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn a_minimal_file_has_the_documented_defaults_and_no_notes() {
    let Parsed { config, notes } = parsed(MINIMAL);
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(config.extractor.endpoint.max_connections, 10);
    assert_eq!(config.extractor.endpoint.connection_timeout, Duration::from_secs(15));
    assert_eq!(config.extractor.endpoint.address, "mysql://127.0.0.1:3307");
    assert_eq!(config.extractor.parallel_size, 1);
    assert_eq!(config.extractor.page_rows(&config.pipeline), 16_000);
    assert_eq!((config.extractor.max_rps, config.extractor.max_mbps), (None, None));
    assert_eq!(config.extractor.mongo, None);
    assert_eq!(config.sinker.batch_size, 200);
    assert!(config.sinker.replace && config.sinker.disable_foreign_key_checks);
    assert_eq!(config.sinker.conflict_policy, ConflictPolicy::Interrupt);
    assert_eq!(config.sinker.transaction_isolation.as_sql(), None);
    assert_eq!(
        config.pipeline,
        PipelineConfig {
            buffer_size: 16_000,
            buffer_memory_mb: None,
            checkpoint_interval: Duration::from_secs(10),
            batch_sink_interval: None,
            max_retry: Duration::from_secs(300),
        }
    );
    assert_eq!(config.parallelizer, ParallelizerConfig { parallel_type: ParallelType::Serial, parallel_size: 1 });
    assert_eq!(config.runtime, RuntimeConfig { log_level: LogLevel::Info, log_dir: PathBuf::from("./logs") });
    assert_eq!(config.resumer, ResumerConfig::default());
    assert_eq!(config.router, RouterConfig::default());
    let filter = FilterConfig { do_dbs: vec![Token::Exact("test_db".into())], ..FilterConfig::new(DbType::Mysql) };
    assert_eq!(config.filter, filter);
}

#[test]
fn an_endpoint_by_its_url_alone_has_the_defaults_of_the_keys() {
    let config = parsed(MINIMAL).config;
    let url = Secret::new("mysql://root:hunter2@127.0.0.1:3307?ssl-mode=disabled");
    assert_eq!(Endpoint::new(DbType::Mysql, url), Ok(config.extractor.endpoint));
}

#[test]
fn an_empty_value_is_the_default() {
    let config =
        with("[pipeline]\nbuffer_size=\ncheckpoint_interval_secs=\n[resumer]\nresume_from_log=\nresume_log_dir=\n");
    assert_eq!(config, parsed(MINIMAL));
}

#[test]
fn every_value_arrives_where_it_belongs() {
    let text = "\
[global]
task_id=task1
[EXTRACTOR]
DB_TYPE=MySQL
extract_type=Snapshot
url=mysql://h
username=u;#=\\'\"
password= p;#=w`
ssl_mode=verify_ca
ssl_ca_path=/etc/ca.pem
max_connections=3
connection_timeout_secs=4
batch_size=5
parallel_size=6
parallel_type=table
max_rps=7
max_mbps=8
[sinker]
db_type=pg
sink_type=write
url=postgres://h2/db
batch_size=9
max_connections=10
replace=false
conflict_policy=ignore
disable_foreign_key_checks=false
transaction_isolation=read_committed
reverse=false
[pipeline]
buffer_size=11
buffer_memory_mb=12
checkpoint_interval_secs=13
batch_sink_interval_secs=14
max_retry_secs=15
[parallelizer]
parallel_type=rdb_merge
parallel_size=16
[runtime]
log_level=WARN
log_dir=/logs
[filter]
do_dbs=a*
ignore_dbs=`a*`
do_tbs=b.c
ignore_tbs=r#d,?#.e
ignore_cols=json:[{\"db\":\"a\",\"tb\":\"b\",\"ignore_cols\":[\"c\"]}]
where_conditions=json:[{\"db\":\"a\",\"tb\":\"b\",\"condition\":\"x > 'hunter2'\"}]
do_events=insert,delete
[router]
db_map=a:b
tb_map=`a.b`.c:\"d\".e
col_map=json:[{\"db\":\"d\",\"tb\":\"t\",\"col_map\":{\"a\":\"b\"}}]
[resumer]
resume_type=from_log
log_dir=/other_logs
config_file=./resume.config
allow_other_server=true
";
    let Parsed { config, notes } = parsed(text);
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(config.global.task_id.as_deref(), Some("task1"));
    assert_eq!(config.task_id(), "task1");
    let source = &config.extractor.endpoint;
    assert_eq!(source.username.as_deref(), Some("u;#=\\'\""));
    assert_eq!(source.password.as_ref().map(Secret::expose), Some("p;#=w`"));
    assert_eq!((source.ssl_mode, source.ssl_ca_path.clone()), (Some(SslMode::VerifyCa), Some("/etc/ca.pem".into())));
    assert_eq!((source.max_connections, source.connection_timeout), (3, Duration::from_secs(4)));
    assert_eq!((config.extractor.batch_size, config.extractor.parallel_size), (Some(5), 6));
    assert_eq!(config.extractor.page_rows(&config.pipeline), 5);
    assert_eq!((config.extractor.max_rps, config.extractor.max_mbps), (Some(7), Some(8)));
    let SinkTarget::Write(target) = &config.sinker.target else { panic!("a target") };
    assert_eq!((target.db_type, target.address.as_str()), (DbType::Pg, "pg://h2:5432/db"));
    assert!(!config.sinker.replace && !config.sinker.disable_foreign_key_checks);
    assert_eq!(config.sinker.conflict_policy, ConflictPolicy::Ignore);
    assert_eq!(config.sinker.transaction_isolation.as_sql(), Some("READ COMMITTED"));
    assert_eq!((config.pipeline.buffer_size, config.pipeline.buffer_memory_mb), (11, Some(12)));
    assert_eq!(config.pipeline.checkpoint_interval, Duration::from_secs(13));
    assert_eq!(config.pipeline.batch_sink_interval, Some(Duration::from_secs(14)));
    assert_eq!(config.pipeline.max_retry, Duration::from_secs(15));
    assert_eq!(config.parallelizer, ParallelizerConfig { parallel_type: ParallelType::RdbMerge, parallel_size: 16 });
    assert_eq!(config.runtime, RuntimeConfig { log_level: LogLevel::Warn, log_dir: "/logs".into() });
    assert_eq!(config.filter.do_dbs, [Token::Wildcard("a*".into())]);
    assert_eq!(config.filter.ignore_dbs, [Token::Exact("a*".into())]);
    assert_eq!(config.filter.ignore_tbs[0].schema, Token::Regex("d,?".into()));
    assert_eq!(config.filter.ignore_cols[0].columns, ["c"]);
    assert_eq!(config.filter.where_conditions[0].condition, "x > 'hunter2'");
    assert_eq!(config.filter.do_events, Events { insert: true, update: false, delete: true });
    assert_eq!(config.router.db_map, [("a".into(), "b".into())]);
    assert_eq!(config.router.tb_map, [(TableId::new("a.b", "c"), TableId::new("d", "e"))]);
    assert_eq!(config.router.col_map[0].columns, [("a".into(), "b".into())]);
    assert_eq!(
        config.resumer,
        ResumerConfig {
            kind: ResumeKind::FromLog,
            log_dir: Some("/other_logs".into()),
            config_file: Some("./resume.config".into()),
            allow_other_server: true,
        }
    );
    let debug = format!("{config:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("p;#"), "{debug}");
}

#[test]
fn a_page_is_an_equal_share_of_the_buffer_and_never_empty() {
    let config = with("[pipeline]\nbuffer_size=10\n[extractor]\nparallel_size=3\n").config;
    assert_eq!(config.extractor.page_rows(&config.pipeline), 3);
    let config = with("[pipeline]\nbuffer_size=2\n[extractor]\nparallel_size=3\n").config;
    assert_eq!(config.extractor.page_rows(&config.pipeline), 1);
}

#[test]
fn all_problems_are_reported_together_in_the_order_of_lines() {
    let text = "\
stray=1
[extractor]
db_type=mysq
extract_type=struct
parallel_size=0
[filter]
ingore_tbs=a.b
log_dir=/x
[sinkr]
url=mysql://root:hunter2@h
";
    assert_eq!(
        problems(text),
        [
            "line 1: `stray` is in no section: a `[section]` line must come first",
            "line 3: `db_type` of [extractor] must be one of `mysql`, `pg`, `mongo`, `redis`, not `mysq`",
            "line 4: `extract_type=struct` of [extractor] is not available yet",
            "line 5: `parallel_size` of [extractor] must be a whole number from 1 to 10000, not `0`",
            "line 7: `ingore_tbs` is not a key of [filter]; did you mean `ignore_tbs`?",
            "line 8: `log_dir` is not a key of [filter]; it belongs in [runtime] or [resumer]",
            "line 9: [sinkr] is not a known section; did you mean [sinker]?",
            "`url` is missing in [extractor]",
            "`db_type` is missing in [sinker]",
            "`url` is missing in [sinker]",
        ]
    );
}

#[test]
fn an_empty_file_is_told_what_it_lacks() {
    assert_eq!(problems("").len(), 5);
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let cases = [
        ("[pipeline]\nbufer_size=1", "`bufer_size` is not a key of [pipeline]; did you mean `buffer_size`?"),
        (
            "[pipeline]\nparalel_size=1",
            "`paralel_size` is not a key of [pipeline]; did you mean `parallel_size` of [extractor]?",
        ),
        ("[router]\nlog_level=1", "`log_level` is not a key of [router]; it belongs in [runtime]"),
        ("[router]\nxyzzy=1", "`xyzzy` is not a known key"),
        ("[router]\nmysql://u:hunter2@h?x=1", "this is not a known key"),
    ];
    for (lines, message) in cases {
        assert_eq!(problems_with(lines), [format!("line 14: {message}")]);
    }
}

#[test]
fn what_does_not_exist_yet_is_refused_by_name() {
    let cases = [
        (
            "[extractor]\npartition_cols=json:[]",
            "line 14: `partition_cols` of [extractor] is not available yet: take it out",
        ),
        ("[sinker]\nreverse=true", "line 14: `reverse=true` of [sinker] is not available yet"),
    ];
    for (lines, message) in cases {
        assert_eq!(problems_with(lines), [message]);
    }
    for word in ["struct", "check_log", "snapshot_and_cdc"] {
        let found = problems(&MINIMAL.replace("extract_type=snapshot", &format!("extract_type={word}")));
        assert_eq!(found, [format!("line 3: `extract_type={word}` of [extractor] is not available yet")]);
    }
    for word in ["struct", "check", "sql"] {
        let found = problems(&MINIMAL.replace("sink_type=write", &format!("sink_type={word}")));
        assert_eq!(found, [format!("line 8: `sink_type={word}` of [sinker] is not available yet")]);
    }
    for section in LATER_SECTIONS {
        let found = problems_with(&format!("[{section}]\nx=1\n"));
        assert_eq!(found, [format!("line 13: [{section}] is not available yet: take the section out")]);
    }
}

#[test]
fn keys_of_a_change_stream_are_noted_and_have_no_effect_on_a_snapshot() {
    let found = with("[extractor]\nbinlog_filename=mysql-bin.000004\nserver_id=\nslot_name=s\n");
    assert_eq!(
        found.notes,
        [
            "line 14: `binlog_filename` of [extractor] has no effect: a snapshot does not use it",
            "line 16: `slot_name` of [extractor] has no effect: a snapshot does not use it",
        ]
    );
    assert_eq!(found.config, parsed(MINIMAL).config);
}

#[test]
fn keys_of_another_kind_of_source_are_refused() {
    assert_eq!(
        problems_with("[extractor]\napp_name=x"),
        ["line 14: `app_name` of [extractor] is for `db_type=mongo` only"]
    );
    let mongo = MINIMAL.replace("mysql", "mongo").replace("mongo://", "mongodb://");
    let config = parsed(&format!("{mongo}[extractor]\nis_direct_connection=true\n")).config;
    let options = MongoOptions { app_name: "APE_DTS".into(), is_direct_connection: Some(true) };
    assert_eq!(config.extractor.mongo, Some(options));
}

#[test]
fn an_old_key_works_with_a_note_and_a_contradiction_is_refused() {
    let found = with("[runtime]\ntb_parallel_size=4\n");
    assert_eq!(found.config.extractor.parallel_size, 4);
    assert_eq!(found.notes, ["line 14: `tb_parallel_size` is the old name of `parallel_size` of [extractor]"]);
    with("[runtime]\ntb_parallel_size=4\n[extractor]\nparallel_size=4\n");
    with("[runtime]\ntb_parallel_size=4\n[extractor]\nparallel_size=\n");
    assert_eq!(
        problems_with("[runtime]\ntb_parallel_size=4\n[extractor]\nparallel_size=5\n"),
        [
            "line 14: `tb_parallel_size` is the old name of `parallel_size` of [extractor], which line 16 sets to something else: keep one"
        ]
    );
}

#[test]
fn the_documents_ways_to_resume_all_work() {
    let from_log = ResumerConfig { kind: ResumeKind::FromLog, ..ResumerConfig::default() };
    let cases = [
        ("resume_from_log=true\n", from_log.clone()),
        ("resume_from_log=true\nresume_log_dir=\n", from_log.clone()),
        (
            "resume_type=from_log\n//[Optional] Uses runtime.log_dir by default\nlog_dir=/other_logs\n",
            ResumerConfig { log_dir: Some("/other_logs".into()), ..from_log.clone() },
        ),
        (
            "resume_config_file=./resume.config\n",
            ResumerConfig { config_file: Some("./resume.config".into()), ..from_log.clone() },
        ),
        (
            "resume_log_dir=./resume_logs\nresume_config_file=./resume.config\n",
            ResumerConfig {
                log_dir: Some("./resume_logs".into()),
                config_file: Some("./resume.config".into()),
                ..from_log.clone()
            },
        ),
        (
            "resume_from_log=true\nresume_log_dir=./resume_logs\nresume_config_file=./resume.config\n",
            ResumerConfig {
                log_dir: Some("./resume_logs".into()),
                config_file: Some("./resume.config".into()),
                ..from_log.clone()
            },
        ),
        ("resume_type=dummy\nresume_from_log=false\n", ResumerConfig::default()),
    ];
    for (lines, expected) in cases {
        let found = with(&format!("[resumer]\n{lines}"));
        assert_eq!(found.config.resumer, expected, "{lines}");
        assert_eq!(found.notes.is_empty(), lines.starts_with("resume_type=from_log"), "{lines}: {:?}", found.notes);
    }
}

#[test]
fn positions_in_the_target_are_where_the_sinker_writes() {
    let documented = "[global]\n//[Optional]\ntask_id=task1\n[resumer]\nresume_type=from_target\n\
        //[Optional] Default value is apecloud_metadata.apedts_task_position\n\
        table_full_name=apecloud_resumer_test.ape_task_position\nmax_connections=1\n";
    let found = with(documented);
    let ResumeKind::FromTarget(table) = &found.config.resumer.kind else { panic!("from_target") };
    assert_eq!(table.table, TableId::new("apecloud_resumer_test", "ape_task_position"));
    let SinkTarget::Write(target) = &found.config.sinker.target else { panic!("a target") };
    assert_eq!(table.endpoint, **target);
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let elsewhere = with("[resumer]\nresume_type=from_target\nurl=mysql://h\nlog_dir=x\n");
    assert_eq!(elsewhere.notes.len(), 2, "{:?}", elsewhere.notes);

    let nowhere = problems(
        &MINIMAL
            .replace("sink_type=write", "sink_type=dummy")
            .replace("[filter]", "[resumer]\nresume_type=from_target\n[filter]"),
    );
    assert_eq!(nowhere.len(), 1, "{nowhere:?}");
    assert!(nowhere[0].contains("`sink_type=dummy` has none"), "{nowhere:?}");
}

#[test]
fn a_position_table_is_a_server_and_a_name() {
    let documented = "[global]\n//[Optional]\ntask_id=task1\n[resumer]\nresume_type=from_db\n\
        url=mysql://xxx:xxx@127.0.0.1:3306\ndb_type=mysql\n\
        //[Optional] Default value is apecloud_metadata.apedts_task_position\n\
        table_full_name=apecloud_resumer_test.ape_task_position\nmax_connections=1\n";
    let found = with(documented);
    let ResumeKind::FromDb(table) = found.config.resumer.kind else { panic!("from_db") };
    assert_eq!(table.table, TableId::new("apecloud_resumer_test", "ape_task_position"));
    assert_eq!((table.endpoint.address.as_str(), table.endpoint.max_connections), ("mysql://127.0.0.1:3306", 1));
    assert!(found.notes.is_empty(), "{:?}", found.notes);

    let short = "[resumer]\nresume_type=from_db\nurl=postgres://h/d\ndb_type=pg\nusername=u\nlog_dir=x\n";
    let found = with(short);
    let ResumeKind::FromDb(table) = found.config.resumer.kind else { panic!("from_db") };
    assert_eq!(table.table, TableId::new("apecloud_metadata", "apedts_task_position"));
    assert_eq!((table.endpoint.username.as_deref(), table.endpoint.max_connections), (Some("u"), 5));
    assert_eq!(found.notes, ["line 18: `log_dir` of [resumer] has no effect with `resume_type=from_db`"]);
}

#[test]
fn a_position_table_that_cannot_be_is_refused() {
    let with_table = |lines: &str| problems_with(&format!("[resumer]\nresume_type=from_db\n{lines}"));
    assert_eq!(with_table(""), ["`db_type` is missing in [resumer]", "`url` is missing in [resumer]"]);
    let mongo = with_table("db_type=mongo\nurl=mongodb://h\n");
    assert_eq!(
        mongo,
        [
            "line 15: `db_type` of [resumer] must be `mysql` or `pg`: MongoDB keeps positions only as the target (`resume_type=from_target`)"
        ]
    );
    for name in ["pos", "a.b.c", "a.", "."] {
        let found = with_table(&format!("db_type=mysql\nurl=mysql://h\ntable_full_name={name}\n"));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].starts_with("line 17: `table_full_name` of [resumer] must be"), "{found:?}");
    }
    let elsewhere = with("[resumer]\nresume_type=from_log\ndb_type=mysql\nurl=mysql://h\n");
    assert_eq!(elsewhere.config.resumer.kind, ResumeKind::FromLog);
    assert_eq!(elsewhere.notes.len(), 2, "{:?}", elsewhere.notes);
}

#[test]
fn old_resumer_keys_name_the_new_ones() {
    assert_eq!(
        with("[resumer]\nresume_from_log=true\nresume_log_dir=a\n").notes,
        [
            "line 14: `resume_from_log=true` is the old form of `resume_type=from_log`",
            "line 15: `resume_log_dir` is the old name of `log_dir` of [resumer]",
        ]
    );
}

#[test]
fn whether_to_resume_is_never_guessed() {
    assert_eq!(
        problems_with("[resumer]\nresume_type=dummy\nresume_from_log=true\n"),
        ["line 15: `resume_from_log` of [resumer] contradicts `resume_type`: keep `resume_type` alone"]
    );
    assert_eq!(problems_with("[resumer]\nresume_from_log=false\nresume_config_file=a\n").len(), 1);
    let found = with("[resumer]\nresume_type=dummy\nconfig_file=a\n");
    assert_eq!(found.config.resumer.kind, ResumeKind::Dummy);
    assert_eq!(found.notes, ["line 15: `config_file` of [resumer] has no effect with `resume_type=dummy`"]);
}

#[test]
fn values_out_of_range_say_what_is_wanted() {
    let cases = [
        ("[extractor]\nbatch_size=0", "`batch_size` of [extractor] must be a whole number of at least 1, not `0`"),
        (
            "[extractor]\nmax_connections=-1",
            "`max_connections` of [extractor] must be a whole number from 1 to 100000, not `-1`",
        ),
        ("[sinker]\nbatch_size=many", "`batch_size` of [sinker] must be a whole number from 1 to 1000000, not `many`"),
        ("[sinker]\nreplace=yes", "`replace` of [sinker] must be one of `true`, `false`, not `yes`"),
        (
            "[pipeline]\ncheckpoint_interval_secs=0",
            "`checkpoint_interval_secs` of [pipeline] must be a whole number from 1 to 31622400, not `0`",
        ),
        (
            "[runtime]\nlog_level=mysql://u:hunter2@h",
            "`log_level` of [runtime] must be one of `off`, `error`, `warn`, `info`, `debug`, `trace`",
        ),
    ];
    for (lines, message) in cases {
        assert_eq!(problems_with(lines), [format!("line 14: {message}")]);
    }
}

#[test]
fn a_url_that_cannot_be_used_is_refused_and_not_shown() {
    let found = problems(&MINIMAL.replace("hunter2", "hunt#er2"));
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("line 4: `url` of [extractor] has no port number"), "{}", found[0]);
    assert!(!found.concat().contains("er2@"), "{found:?}");
    let found = problems(&MINIMAL.replace("url=mysql", "url=postgres"));
    assert_eq!(found[0], "line 4: `url` of [extractor] must begin with mysql://");
}

#[test]
fn a_task_that_would_copy_nothing_is_refused() {
    assert_eq!(
        problems(&MINIMAL.replace("do_dbs=test_db", "ignore_dbs=a")),
        ["[filter] lets nothing pass: set `do_dbs` or `do_tbs` (`do_dbs=*` copies everything)"]
    );
    assert_eq!(
        problems_with("[filter]\ndo_events=update,delete\n"),
        ["line 14: `do_events` of [filter] lacks `insert`: a snapshot would copy nothing"]
    );
    assert_eq!(
        problems_with("[filter]\ndo_events=inserts\n"),
        ["line 14: `do_events` of [filter] must be a list of `insert`, `update`, `delete`, not `inserts`"]
    );
}

#[test]
fn malformed_lists_name_key_and_entry() {
    let cases = [
        (
            "[filter]\ndo_tbs=a",
            "`do_tbs` of [filter] is malformed: `a` must be `schema.table`; a name that holds a separator is put into quotes",
        ),
        ("[filter]\nignore_cols=[]", "`ignore_cols` of [filter] must be `json:` and a JSON array"),
        (
            "[filter]\nwhere_conditions=json:[{\"db\":\"a\",\"tb\":\"b\",\"cond\":\"hunter2\"}]",
            "`where_conditions` of [filter] lacks the field `condition` in entry 1",
        ),
        (
            "[filter]\nwhere_conditions=json:[{\"db\":\"a\",\"tb\":\"b\",\"condition\":\"x\"},{\"db\":\"a\",\"tb\":\"b\",\"condition\":\"y\"}]",
            "`where_conditions` of [filter] has `a`.`b` twice",
        ),
        ("[router]\ndb_map=a:b,a:c", "`db_map` of [router] maps `a` twice"),
        ("[router]\ntb_map=a.b:c.d,a.b:e.f", "`tb_map` of [router] maps `a`.`b` twice"),
        (
            "[router]\ncol_map=json:[{\"db\":\"d\",\"tb\":\"t\",\"col_map\":{\"a\":\"x\",\"b\":\"x\"}}]",
            "`col_map` of [router] maps two columns of `d`.`t` to `x`",
        ),
    ];
    for (lines, message) in cases {
        assert_eq!(problems_with(lines), [format!("line 14: {message}")]);
    }
}

#[test]
fn a_dummy_sink_needs_no_target() {
    let text =
        MINIMAL.replace("sink_type=write", "sink_type=dummy").replace("url=mysql://root:hunter2@127.0.0.1:3308", "");
    assert_eq!(parsed(&text).config.sinker.target, SinkTarget::Dummy);
}

#[test]
fn the_default_task_id_is_the_same_for_ever() {
    assert_eq!(parsed(MINIMAL).config.task_id(), "dt-6e39f2ea271600f0");
    let lists = "\
[filter]
do_tbs=`a.b`.c,d.e*
ignore_tbs=r#x#.y
ignore_dbs=z
ignore_cols=json:[{\"db\":\"a\",\"tb\":\"b\",\"ignore_cols\":[\"c\",\"d\"]}]
where_conditions=json:[{\"db\":\"a\",\"tb\":\"b\",\"condition\":\"f_0 > 1\"}]
[router]
db_map=a:b,c:d
tb_map=a.b:c.d
col_map=json:[{\"db\":\"d\",\"tb\":\"t\",\"col_map\":{\"a\":\"b\",\"c\":\"d\"}}]
";
    assert_eq!(with(lists).config.task_id(), "dt-993eb0a68e443927");
    let reordered = lists
        .replace("`a.b`.c,d.e*", "d.e* , `a.b`.c,d.e*")
        .replace("a:b,c:d", "c:d,a:b")
        .replace("[\"c\",\"d\"]", "[\"d\",\"c\"]")
        .replace("{\"a\":\"b\",\"c\":\"d\"}", "{\"c\":\"d\",\"a\":\"b\"}");
    assert_eq!(with(&reordered).config.task_id(), "dt-993eb0a68e443927");
}

#[test]
fn credentials_and_sizes_do_not_change_the_task_id_and_what_is_copied_does() {
    let id = parsed(MINIMAL).config.task_id();
    let same = [
        MINIMAL.replace("hunter2", "other"),
        MINIMAL.replace("root:hunter2@", ""),
        MINIMAL.replace("?ssl-mode=disabled", ""),
        format!(
            "{MINIMAL}[extractor]\nbatch_size=7\nmax_rps=9\nusername=x\n[pipeline]\nbuffer_size=5\n[runtime]\nlog_dir=x\n"
        ),
    ];
    for text in same {
        assert_eq!(parsed(&text).config.task_id(), id, "{text}");
    }
    let others = [
        MINIMAL.replace("3307", "3309"),
        MINIMAL.replace("3308", "3309"),
        MINIMAL.replace("do_dbs=test_db", "do_dbs=test_db,b"),
        MINIMAL.replace("do_dbs=test_db", "do_dbs=test_db*"),
        MINIMAL.replace("do_dbs=test_db", "do_dbs=`test_db*`"),
        MINIMAL.replace("do_dbs=test_db", "do_tbs=test_db.*"),
        format!("{MINIMAL}[filter]\ndo_events=insert\n"),
        format!("{MINIMAL}[router]\ndb_map=test_db:b\n"),
    ];
    let mut ids: Vec<String> = others.iter().map(|text| parsed(text).config.task_id()).collect();
    ids.push(id);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), others.len() + 1);
}
