//! `dt-main position` on the positions of a snapshot: shown, explained, verified, rewound, and carried between stores.

use std::fs;

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::positions::Positions;
use dt_tests::servers::{self, Kind};
use dt_tests::task::{Finished, Task};
use serde_json::Value;

/// Two tables: `a` with 10 rows, `b` with many.
fn tables(database: &str) -> Result<(Db, Db, Task)> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE a (id int PRIMARY KEY, v varchar(200))")?;
        db.exec("CREATE TABLE b (id int PRIMARY KEY, v varchar(200))")?;
    }
    source.exec("SET SESSION cte_max_recursion_depth = 100000")?;
    let numbers = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 4000) SELECT i FROM n";
    source.exec(format!("INSERT INTO b SELECT i, repeat('x', 150) FROM ({numbers}) n"))?;
    source.exec("INSERT INTO a SELECT id, v FROM b WHERE id <= 10")?;
    Ok((source, target, Task::of_pair(pair, &[database])?))
}

fn slowly(task: Task) -> Task {
    task.set("extractor", "max_rps", "400").set("extractor", "batch_size", "100")
}

/// The task with `a` finished and `b` in progress; the key up to which it is.
fn interrupted(database: &str) -> Result<(Db, Db, Task, u64)> {
    let (source, target, task) = tables(database)?;
    let slow = slowly(task);
    let mut running = slow.spawn()?;
    running.until("`b` is under way", || Ok(slow.progress()?.of(database, "b").is_some()))?;
    running.kill9()?;
    let key = slow.progress()?.of(database, "b").context("no position")?;
    let at = key.0[0].1.as_ref().context("a null")?.parse()?;
    ensure!(slow.progress()?.is_finished(database, "a"), "`a` is not finished");
    Ok((source, target, slow.set("extractor", "max_rps", "0"), at))
}

fn json(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.stdout).with_context(|| format!("no JSON: {}", finished.said()))
}

fn says(finished: &Finished, texts: &[&str]) -> Result<()> {
    for text in texts {
        ensure!(finished.said().contains(text), "`{text}` is not said: {}", finished.said());
    }
    Ok(())
}

#[test]
fn what_is_stored_is_shown_without_source_or_target() -> Result<()> {
    let (_, _, task, at) = interrupted("pos_show")?;
    let nowhere = task.address("extractor", 1).address("sinker", 1);
    let shown = nowhere.position(&["show"])?.expect_code(0)?;
    says(&shown, &["tables: 1 finished, 1 in progress", "`pos_show`.`a`: finished; written", "s ago), "])?;
    says(
        &shown,
        &[&format!("`pos_show`.`b`: in progress, after id={at}"), "finished.log, line 1", "position.log, line "],
    )?;
    let shown = json(&nowhere.position(&["show", "--json"])?.expect_code(0)?)?;
    ensure!(shown["store"]["resume_type"] == "from_log" && shown["streams"] == serde_json::json!([]), "{shown}");
    let (a, b) = (&shown["tables"][0], &shown["tables"][1]);
    ensure!(a["state"] == "finished" && a["age_secs"].as_u64().is_some_and(|age| age < 300), "{shown}");
    ensure!(b["state"] == "in_progress" && b["position"]["value"].as_str() == Some(at.to_string().as_str()), "{shown}");
    Ok(())
}

#[test]
fn a_start_is_explained_table_by_table() -> Result<()> {
    let (_, _, task, _) = interrupted("pos_explain")?;
    let told = task.position(&["explain"])?.expect_code(0)?;
    says(&told, &["`pos_explain`.`a`: finished, skipped; written", "after the row last recorded, by its key (id)"])?;
    let told = json(&task.position(&["explain", "--json"])?.expect_code(0)?)?;
    ensure!(told["would"] == "copy" && told["tables"][0]["reads"] == "skip", "{told}");
    ensure!(told["tables"][1]["reads"] == "after" && told["tables"][1]["rows_estimate"].is_u64(), "{told}");
    // What would stop the start is what is told.
    let stopped = task.set("extractor", "db_type", "mysql").set("filter", "do_dbs", "pos_explain_none");
    let stopped = stopped.position(&["explain"])?.expect_code(2)?;
    says(&stopped, &["a start would stop at once: no table of the source passes the filter", "what to do: "])
}

#[test]
fn one_table_is_rewound_and_it_alone_is_copied_again() -> Result<()> {
    let (source, target, task) = tables("pos_rewind")?;
    task.run()?.expect_code(0)?;
    target.exec_all(["DELETE FROM a", "DELETE FROM b WHERE id > 5"])?;
    let unasked = task.position(&["rewind", "--table", "pos_rewind.a"])?.expect_code(2)?;
    says(&unasked, &["there is no terminal to ask on", "--yes"])?;
    let unknown = task.position(&["rewind", "--yes", "--table", "pos_rewind.A"])?.expect_code(3)?;
    says(&unknown, &["no position of this table is stored", "`position show`"])?;
    let done = task.position(&["rewind", "--yes", "--table", "pos_rewind.a"])?.expect_code(0)?;
    says(&done, &["`pos_rewind`.`a`: copied again with the next start"])?;
    ensure!(!task.progress()?.is_finished("pos_rewind", "a"), "{}", task.log("finished.log")?);
    task.run()?.expect_code(0)?;
    let judge = Judge::new(&source, &target);
    ensure!(judge.table("pos_rewind", "a")?.is_equal(), "`a` was not copied again");
    ensure!(target.number("SELECT COUNT(*) FROM b")? == 5, "`b` was copied again");
    task.position(&["rewind", "--yes", "--all-tables", "--json"])?.expect_code(0)?;
    task.run()?.expect_code(0)?;
    ensure!(judge.table("pos_rewind", "b")?.is_equal(), "`b` was not copied again");
    Ok(())
}

#[test]
fn positions_are_not_changed_under_a_running_task() -> Result<()> {
    for kind in [None, Some(Kind::Mysql), Some(Kind::Postgres15)] {
        let (_, _, task) = tables("pos_running")?;
        let task = match kind {
            None => task,
            Some(kind) => Positions::on(kind, "at_running")?.of(task),
        };
        let slow = slowly(task);
        let mut running = slow.spawn()?;
        running.until("`b` is under way", || Ok(slow.progress()?.of("pos_running", "b").is_some()))?;
        let refused = slow.position(&["rewind", "--yes", "--all-tables"])?.expect_code(3)?;
        says(&refused, &["another task is running with this log directory"])?;
        slow.position(&["show"])?.expect_code(0)?;
        if let Some(kind) = kind {
            // On another machine it is the lease that tells.
            let positions = Positions::of_same(kind, "at_running")?;
            let elsewhere = positions.of(Task::of_pair(servers::pair(Kind::Mysql)?, &["pos_running"])?);
            let refused = elsewhere.position(&["rewind", "--yes", "--all-tables"])?.expect_code(3)?;
            says(&refused, &["another process is running this task"])?;
            says(&elsewhere.position(&["show"])?.expect_code(0)?, &["held:   by process", "tables: 1 finished"])?;
        }
        running.kill9()?;
    }
    Ok(())
}

/// The lines of an export without their times: a store that is given positions writes its own.
fn exported(task: &Task) -> Result<Vec<String>> {
    let text = task.position(&["export"])?.expect_code(0)?.stdout;
    let mut lines: Vec<String> =
        text.lines().filter_map(|line| line.split_once('{').map(|(_, json)| format!("{{{json}"))).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn positions_are_carried_from_store_to_store_and_nothing_is_copied_twice() -> Result<()> {
    let (source, target, mut task, at) = interrupted("pos_carry")?;
    let wanted = exported(&task)?;
    ensure!(wanted.len() == 2, "{wanted:?}");
    let folder = tempfile::tempdir()?;
    for (no, kind) in [Some(Kind::Mysql), Some(Kind::Postgres15), Some(Kind::Mariadb), None].into_iter().enumerate() {
        let file = folder.path().join(format!("{no}.config")).display().to_string();
        task.position(&["export", "--to", &file])?.expect_code(0)?;
        says(&task.position(&["export", "--to", &file])?.expect_code(3)?, &["cannot be written", &file])?;
        let next = Task::of_pair(servers::pair(Kind::Mysql)?, &["pos_carry"])?;
        let next = match kind {
            Some(kind) => Positions::on(kind, "at_carry")?.of(next),
            None => next,
        };
        says(&next.position(&["show"])?.expect_code(0)?, &["no position is stored"])?;
        let imported = next.position(&["import", "--yes", "--from", &file])?.expect_code(0)?;
        says(&imported, &["imported: 2 tables, 0 streams"])?;
        ensure!(exported(&next)? == wanted, "{kind:?}: {:?} instead of {wanted:?}", exported(&next)?);
        task = next;
    }
    // What is recorded as copied is gone from the target, and must not come again.
    target.exec_all(["DELETE FROM a", "DELETE FROM b"])?;
    task.run()?.expect_code(0)?;
    ensure!(target.number("SELECT COUNT(*) FROM a")? == 0, "a finished table was copied again");
    let rest = source.number(format!("SELECT COUNT(*) FROM b WHERE id > {at}"))?;
    let came = (target.number("SELECT COUNT(*) FROM b")?, target.number("SELECT MIN(id) FROM b")?);
    ensure!(came == (rest, at + 1), "{came:?} instead of {rest} after {at}");
    Ok(())
}

#[test]
fn positions_in_the_target_are_shown_carried_and_rewound_as_all_others() -> Result<()> {
    let (source, target, task, at) = interrupted("pos_in_target")?;
    let folder = task.log_dir().display().to_string();
    let positions = Positions::in_target(&servers::pair(Kind::Mysql)?.target, "pos_in_target")?;
    let task = positions.of_target(Task::of_pair(servers::pair(Kind::Mysql)?, &["pos_in_target"])?);
    task.position(&["import", "--yes", "--from", &folder])?.expect_code(0)?;
    let shown = json(&task.position(&["show", "--json"])?.expect_code(0)?)?;
    ensure!(shown["store"]["resume_type"] == "from_target", "{shown}");
    ensure!(shown["tables"][1]["position"]["value"].as_str() == Some(at.to_string().as_str()), "{shown}");
    task.position(&["verify"])?.expect_code(0)?;
    task.run()?.expect_code(0)?;
    let judge = Judge::new(&source, &target);
    ensure!(judge.table("pos_in_target", "b")?.is_equal(), "`b` differs");
    target.exec_all(["DELETE FROM a", "DELETE FROM b WHERE id > 5"])?;
    says(&task.position(&["verify"])?.expect_code(3)?, &["`pos_in_target`.`a` is recorded as finished"])?;
    task.position(&["rewind", "--yes", "--table", "pos_in_target.a"])?.expect_code(0)?;
    task.run()?.expect_code(0)?;
    ensure!(judge.table("pos_in_target", "a")?.is_equal(), "`a` was not copied again");
    ensure!(target.number("SELECT COUNT(*) FROM b")? == 5, "`b` was copied again");
    Ok(())
}

#[test]
fn what_an_earlier_run_has_left_in_log_dir_is_set_aside_before_others_are_imported() -> Result<()> {
    let (_, _, task, _) = interrupted("pos_aside")?;
    let folder = task.log_dir().display().to_string();
    let moved = Positions::on(Kind::Mysql, "at_aside")?.of(task);
    let imported = moved.position(&["import", "--yes", "--from", &folder])?.expect_code(0)?;
    says(&imported, &["imported: 2 tables", "holds positions of an earlier run; they are now in"])?;
    let told = json(&moved.position(&["explain", "--json"])?.expect_code(0)?)?;
    ensure!(told["tables"][0]["reads"] == "skip" && told["tables"][1]["reads"] == "after", "{told}");
    Ok(())
}

#[test]
fn a_terminal_is_asked_and_only_yes_counts() -> Result<()> {
    let (_, _, task) = tables("pos_ask")?;
    task.run()?.expect_code(0)?;
    for (answer, code) in [("no", 1), ("", 1), ("yes", 0)] {
        let asked = task.position_on_a_terminal("rewind --table pos_ask.a", answer)?;
        says(&asked, &["copied again from the beginning:", "`pos_ask`.`a`", "Type yes to go on: "])?;
        let asked = asked.expect_code(code)?;
        ensure!(asked.stdout.contains("nothing was changed") == (code == 1), "{}", asked.said());
        ensure!(task.progress()?.is_finished("pos_ask", "a") == (code == 1), "{answer}: {}", asked.said());
    }
    Ok(())
}

#[test]
fn what_would_move_backwards_is_not_imported_unless_it_replaces_everything() -> Result<()> {
    let (_, _, task, at) = interrupted("pos_conflict")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("older.config");
    let name = file.display().to_string();
    let line = |table: &str, value: u64| {
        format!(
            r#"{{"type":"RdbSnapshot","db_type":"mysql","schema":"pos_conflict","tb":"{table}","order_col":"id","value":"{value}"}}"#
        )
    };
    for (table, value, said) in [("a", 3, "`a` is finished here"), ("b", 3, "`b` is at another place here")] {
        fs::write(&file, line(table, value))?;
        let refused = task.position(&["import", "--yes", "--from", &name])?.expect_code(3)?;
        says(&refused, &["positions are stored already", said, "--replace"])?;
    }
    // A finished table is no step back, and others are left alone.
    fs::write(&file, r#"{"RdbSnapshotFinished":{"db_type":"mysql","schema":"pos_conflict","tb":"c"}}"#)?;
    task.position(&["import", "--yes", "--from", &name])?.expect_code(0)?;
    ensure!(exported(&task)?.len() == 3, "{:?}", exported(&task)?);
    ensure!(task.progress()?.of("pos_conflict", "b").is_some_and(|key| key.0[0].1 == Some(at.to_string())), "moved");
    fs::write(&file, line("b", 3))?;
    task.position(&["import", "--yes", "--replace", "--from", &name])?.expect_code(0)?;
    ensure!(exported(&task)?.len() == 1, "{:?}", exported(&task)?);
    let told = json(&task.position(&["explain", "--json"])?.expect_code(0)?)?;
    ensure!(told["tables"][0]["reads"] == "beginning" && told["tables"][1]["reads"] == "after", "{told}");
    Ok(())
}

#[test]
fn lines_of_all_three_generations_are_imported() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("pos_older")?;
    for db in [&source, &target] {
        for table in ["nested", "tagged", "keyed", "done", "done_nested", "fresh"] {
            db.exec(format!("CREATE TABLE {table} (id int, at int, PRIMARY KEY (id, at))"))?;
        }
    }
    let of = |table: &str| format!(r#""db_type":"mysql","schema":"pos_older","tb":"{table}""#);
    let old = tempfile::tempdir()?;
    fs::write(
        old.path().join("position.log"),
        format!(
            "2024-02-28 10:07:35.791465 | current_position | {{\"RdbSnapshot\":{{{},\"order_col\":\"id\",\"value\":\"9\"}}}}\n\
             2024-02-28 10:07:35.791466 | checkpoint_position | \"None\"\n\
             2024-03-29 07:02:24.463776 | current_position | {{\"type\":\"RdbSnapshot\",{},\"order_col\":\"id\",\"value\":\"6\"}}\n\
             2024-10-10 04:04:08.152044 | current_position | {{\"type\":\"RdbSnapshot\",{},\"order_key\":{{\"composite\":[[\"id\",\"1\"],[\"at\",\"30\"]]}}}}\n",
            of("nested"),
            of("tagged"),
            of("keyed")
        ),
    )?;
    fs::write(
        old.path().join("finished.log"),
        format!(
            "2024-10-10 04:04:07.803422 | {{\"type\":\"RdbSnapshotFinished\",{}}}\n\
             2024-02-28 10:07:35.791465 | {{\"RdbSnapshotFinished\":{{{}}}}}\n",
            of("done"),
            of("done_nested")
        ),
    )?;
    for kind in [None, Some(Kind::Mysql), Some(Kind::Postgres15)] {
        let task = Task::of_pair(pair, &["pos_older"])?;
        let task = match kind {
            Some(kind) => Positions::on(kind, "at_older_lines")?.of(task),
            None => task,
        };
        let folder = old.path().display().to_string();
        let imported = task.position(&["import", "--yes", "--json", "--from", &folder])?.expect_code(0)?;
        ensure!(json(&imported)?["tables"] == 5, "{}", imported.said());
        let told = json(&task.position(&["explain", "--json"])?.expect_code(0)?)?;
        let reads = told["tables"].as_array().context("no tables")?.iter();
        let reads: Vec<(&str, &str)> =
            reads.filter_map(|table| Some((table["tb"].as_str()?, table["reads"].as_str()?))).collect();
        let wanted = [
            ("done", "skip"),
            ("done_nested", "skip"),
            ("fresh", "beginning"),
            ("keyed", "after"),
            ("nested", "at_prefix"),
            ("tagged", "at_prefix"),
        ];
        ensure!(reads == wanted, "{kind:?}: {reads:?}");
    }
    fs::write(old.path().join("bad.config"), "{\"type\":\"RdbSnapsh\n")?;
    let bad = old.path().join("bad.config").display().to_string();
    let task = Task::of_pair(pair, &["pos_older"])?;
    says(&task.position(&["import", "--yes", "--from", &bad])?.expect_code(3)?, &["line: 1", "bad.config"])
}

#[test]
fn what_no_longer_holds_is_found_and_named_with_its_way_out() -> Result<()> {
    let (source, target, task, _) = interrupted("pos_verify")?;
    let holds = task.position(&["verify"])?.expect_code(0)?;
    says(&holds, &["the positions are of these servers", "2 of 2 tables hold rows", "all that is stored holds"])?;
    target.exec("TRUNCATE TABLE a")?;
    let empty = task.position(&["verify"])?.expect_code(3)?;
    says(&empty, &["does not hold: `pos_verify`.`a` is recorded as finished and holds rows in the source"])?;
    says(&empty, &["position rewind --table 'pos_verify.a'", "1 findings"])?;
    // Where the source has none either, all is well.
    source.exec("CREATE TABLE kept AS SELECT * FROM a")?;
    source.exec("TRUNCATE TABLE a")?;
    task.position(&["verify"])?.expect_code(0)?;
    target.exec("DROP TABLE a")?;
    says(&task.position(&["verify"])?.expect_code(3)?, &["`pos_verify`.`a` is not there in the target"])?;
    target.exec("CREATE TABLE a (id int PRIMARY KEY, v varchar(200))")?;
    source.exec("ALTER TABLE b DROP PRIMARY KEY, ADD PRIMARY KEY (v, id)")?;
    let changed = task.position(&["verify", "--json"])?.expect_code(3)?;
    let found = json(&changed)?;
    let what = found["findings"][0]["what"].as_str().unwrap_or_default();
    ensure!(what.contains("its position was stored by the column(s) (id), and now its key is (v, id)"), "{found}");
    ensure!(found["holds"] == false && found["findings"].as_array().map(Vec::len) == Some(1), "{found}");
    Ok(())
}

#[test]
fn positions_of_another_server_are_found() -> Result<()> {
    let (_, _, task, _) = interrupted("pos_moved")?;
    let other = servers::pair(Kind::Mariadb)?;
    let (source, _) = other.database("pos_moved")?;
    source.exec("CREATE TABLE a (id int PRIMARY KEY, v varchar(200))")?;
    source.exec("CREATE TABLE b (id int PRIMARY KEY, v varchar(200))")?;
    let moved = task.address("extractor", other.source.port());
    let found = moved.position(&["verify"])?.expect_code(3)?;
    says(&found, &["does not hold: the stored position is of another source server", "allow_other_server=true"])?;
    says(&moved.position(&["explain"])?.expect_code(3)?, &["a start would stop at once", "another source server"])
}

#[test]
fn a_task_that_keeps_no_positions_is_told_so_and_one_that_has_none_yet_too() -> Result<()> {
    let (_, _, task) = tables("pos_none")?;
    for command in ["show", "explain", "verify", "export"] {
        let none = task.position(&[command])?.expect_code(0)?;
        ensure!(
            command == "export"
                || none.stdout.contains("`pos_none`.`a`: from the beginning")
                || none.stdout.contains("no position is stored"),
            "{command}: {}",
            none.said()
        );
    }
    ensure!(!task.log_dir().exists(), "a look has made a log_dir");
    let dummy = task.set("resumer", "resume_type", "dummy");
    for command in [&["show"][..], &["verify"], &["rewind", "--yes", "--all-tables"]] {
        says(&dummy.position(command)?.expect_code(2)?, &["resume_type=dummy", "resume_type=from_log"])?;
    }
    let unreadable = dummy.set("resumer", "resume_type", "from_log");
    fs::create_dir_all(unreadable.log_dir())?;
    fs::write(unreadable.log_dir().join("position.log"), "what is this?\n{}\n")?;
    for command in ["show", "explain", "verify", "export"] {
        says(&unreadable.position(&[command])?.expect_code(3)?, &["position.log", "line: 1", "what to do: "])?;
    }
    Ok(())
}
