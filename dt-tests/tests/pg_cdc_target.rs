//! What a stream of PostgreSQL asks of its target: privileges, which are found missing before the first change, and that
//! tables can be truncated.

mod pg_streams;

use anyhow::{Result, ensure};
use dt_tests::servers::{self, Kind, Pair};
use dt_tests::task::Task;
use pg_streams::{BOTH, caught_up, drop_slot, equal, follow, followed, set_up, stop};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

/// A task that writes under a role that may read and insert, and no more.
fn written_by(pair: &Pair, task: Task, database: &str, role: &str) -> Result<Task> {
    let db = pair.target.database(database)?;
    // It may be left from another test of this run.
    db.exec(format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} LOGIN PASSWORD 'x'; END IF; END $$"
    ))?;
    db.exec(format!("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role}"))?;
    Ok(task.set("sinker", "username", role).set("sinker", "password", "x"))
}

#[test]
fn privileges_that_are_missing_are_listed_before_anything_is_made() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, task) = set_up(pair, "lacks_grants", &[T])?;
        let task = written_by(pair, task, "lacks_grants", "half_writer")?;
        target.exec("GRANT UPDATE ON t TO half_writer")?;
        let finished = task.run()?.expect_code(3)?;
        let text = finished.said();
        for said in [
            "lacks privileges on 2 of the target's tables",
            "`public`.`marks`: UPDATE, DELETE, TRUNCATE",
            "`public`.`t`: DELETE, TRUNCATE",
            "GRANT UPDATE, DELETE, TRUNCATE ON \"public\".\"marks\" TO \"half_writer\"",
            "GRANT DELETE, TRUNCATE ON \"public\".\"t\" TO \"half_writer\"",
        ] {
            ensure!(text.contains(said), "`{said}` is not said:\n{text}");
        }
        ensure!(source.number("SELECT count(*) FROM pg_publication")? == 0, "a publication was made");
        let check = task.spawn_with(&["--check"])?.wait()?.expect_code(3)?;
        ensure!(check.said().contains("lacks privileges"), "{}", check.said());
        // What the message says is enough.
        target.exec_all([
            "GRANT UPDATE, DELETE, TRUNCATE ON \"public\".\"marks\" TO \"half_writer\"",
            "GRANT DELETE, TRUNCATE ON \"public\".\"t\" TO \"half_writer\"",
        ])?;
        let changes = [
            "INSERT INTO t SELECT i, 'a' FROM generate_series(1, 100) i",
            "UPDATE t SET v = 'b' WHERE id < 50; UPDATE t SET id = id + 1000 WHERE id < 10; DELETE FROM t WHERE id = 50",
            "TRUNCATE t; INSERT INTO t VALUES (1, 'c')",
        ];
        followed(&task, &source, &target, &changes)?;
        drop_slot(pair, "lacks_grants")?;
    }
    Ok(())
}

#[test]
fn truncate_is_asked_for_only_where_it_is_published() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "no_truncate", &[T])?;
    let task = written_by(pair, task, "no_truncate", "careful_writer")?;
    target.exec("GRANT UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO careful_writer")?;
    let finished = task.run()?.expect_code(3)?;
    ensure!(finished.said().contains("`public`.`t`: TRUNCATE"), "{}", finished.said());
    source.exec("CREATE PUBLICATION no_truncate_publication_for_all_tables FOR ALL TABLES WITH (publish = 'insert, update, delete')")?;
    let mut running = follow(&task)?;
    source.exec("INSERT INTO t VALUES (1, 'stays'); TRUNCATE t; INSERT INTO t VALUES (2, 'new')")?;
    caught_up(&mut running, &source, &target)?;
    let finished = stop(running)?;
    ensure!(finished.said().contains("does not publish TRUNCATE"), "{}", finished.said());
    ensure!(target.number("SELECT count(*) FROM t")? == 2, "the row is gone");
    drop_slot(pair, "no_truncate")
}

#[test]
fn a_truncate_that_a_foreign_key_of_the_target_refuses_names_the_way_out() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, task) = set_up(pair, "referred_to", &[T])?;
        target.exec("CREATE SCHEMA own; CREATE TABLE own.notes (t int REFERENCES t)")?;
        let running = follow(&task)?;
        source.exec("INSERT INTO t VALUES (1, 'a'); TRUNCATE t; INSERT INTO t VALUES (2, 'b')")?;
        let finished = running.wait()?.expect_code(3)?;
        let text = finished.said();
        for said in ["writing to `public`.`t`", "0A000", "what to do: ", "drop that foreign key on the target"] {
            ensure!(text.contains(said), "`{said}` is not said:\n{text}");
        }
        target.exec("ALTER TABLE own.notes DROP CONSTRAINT notes_t_fkey")?;
        let mut running = follow(&task)?;
        caught_up(&mut running, &source, &target)?;
        stop(running)?;
        equal(&source, &target)?;
        drop_slot(pair, "referred_to")?;
    }
    Ok(())
}
