//! The command line and the task file, before any server is spoken to: what is wrong is said at once, all of it, with
//! a way out, in the right exit code, and without a secret.

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use dt_tests::task::{Finished, Task, dt_main};

/// Nobody listens there: a test that got as far as connecting would fail with another exit code.
const NOWHERE: &str = "mysql://127.0.0.1:1";

fn dt(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(dt_main()?).args(arguments).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A whole and valid task between two servers that are not there.
fn task() -> Result<Task> {
    Ok(Task::empty()?
        .set("extractor", "db_type", "mysql")
        .set("extractor", "extract_type", "snapshot")
        .set("extractor", "url", NOWHERE)
        .set("sinker", "db_type", "mysql")
        .set("sinker", "url", NOWHERE)
        .set("filter", "do_dbs", "shop"))
}

/// Exit code 2, all of the texts on standard error, and no log_dir made.
fn refused(task: &Task, texts: &[&str]) -> Result<Finished> {
    let refused = task.run()?.expect_code(2)?;
    for text in texts {
        ensure!(refused.stderr.contains(text), "`{text}` is not said: {}", refused.said());
    }
    Ok(refused)
}

#[test]
fn help_shows_a_task_file_the_files_it_writes_and_the_exit_codes() -> Result<()> {
    let help = dt(&["--help"])?;
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout);
    for needed in ["[extractor]", "extract_type=snapshot", "[resumer]", "--check", "--config", "position.log"] {
        ensure!(help.contains(needed), "{needed}: {help}");
    }
    for code in ["0  done", "1  failed", "2  the configuration is wrong", "3  source, target or position", "128+n"] {
        ensure!(help.contains(code), "{code}: {help}");
    }
    Ok(())
}

#[test]
fn the_task_file_of_the_help_is_a_valid_one() -> Result<()> {
    let help = text(&dt(&["--help"])?.stdout);
    let lines = help.lines().skip_while(|line| line.trim() != "[extractor]").map(str::trim);
    let lines: Vec<&str> = lines.take_while(|line| line.starts_with('[') || line.contains('=')).collect();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("help.ini");
    let ini = lines.join("\n").replace("10.0.0.1:3306", "127.0.0.1:1").replace("10.0.0.2:3306", "127.0.0.1:1");
    ensure!(ini.contains("resume_type=from_log") && ini.contains("127.0.0.1:1"), "{help}");
    std::fs::write(&file, ini)?;
    let run = Command::new(dt_main()?).arg("--check").arg(&file).current_dir(folder.path()).output()?;
    assert_eq!(run.status.code(), Some(3), "it should get as far as connecting: {}", text(&run.stderr));
    Ok(())
}

#[test]
fn the_version_is_one_line() -> Result<()> {
    let version = dt(&["--version"])?;
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), format!("dt-main {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[test]
fn wrong_arguments_end_with_2_and_say_what_is_right() -> Result<()> {
    for (arguments, said) in [
        (&[][..], "Usage:"),
        (&["a.ini", "b.ini"], "b.ini"),
        (&["a.ini", "-c", "b.ini"], "--config"),
        (&["a.ini", "--chekc"], "--check"),
    ] {
        let run = dt(arguments)?;
        assert_eq!(run.status.code(), Some(2), "{arguments:?}");
        let stderr = text(&run.stderr);
        ensure!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    Ok(())
}

#[test]
fn a_task_file_that_is_not_there_is_named() -> Result<()> {
    for arguments in
        [&["nowhere/task.ini"][..], &["-c", "nowhere/task.ini"], &["--check", "--config", "nowhere/task.ini"]]
    {
        let run = dt(arguments)?;
        assert_eq!(run.status.code(), Some(2), "{arguments:?}");
        let stderr = text(&run.stderr);
        ensure!(stderr.contains("nowhere/task.ini") && stderr.contains("cannot be read"), "{stderr}");
    }
    Ok(())
}

#[test]
fn a_task_file_that_is_no_text_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("task.ini");
    std::fs::write(&file, b"[extractor]\npassword=\xff\xfe\n")?;
    let run = Command::new(dt_main()?).arg(&file).current_dir(folder.path()).output()?;
    assert_eq!(run.status.code(), Some(2));
    ensure!(text(&run.stderr).contains("task.ini"), "{}", text(&run.stderr));
    Ok(())
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_name_and_nothing_is_made() -> Result<()> {
    let task = task()?.set("filter", "ingore_tbs", "shop.secret");
    refused(&task, &["`ingore_tbs` is not a key of [filter]", "`ignore_tbs`", "line ", "task.ini"])?;
    ensure!(!task.log_dir().exists(), "a refused file leaves a log_dir behind");
    Ok(())
}

#[test]
fn a_key_in_the_wrong_section_is_refused_with_the_right_one() -> Result<()> {
    refused(&task()?.set("sinker", "do_dbs", "x"), &["`do_dbs` is not a key of [sinker]", "[filter]"])?;
    Ok(())
}

#[test]
fn an_unknown_section_is_refused_with_the_nearest_name() -> Result<()> {
    refused(&task()?.set("fliter", "do_dbs", "x"), &["[fliter] is not a known section", "[filter]"])?;
    refused(&task()?.set("colours", "x", "y"), &["[colours] is not a known section", "[extractor]", "[resumer]"])?;
    Ok(())
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_line() -> Result<()> {
    let task = task()?
        .set("extractor", "batch_sise", "1")
        .set("filter", "do_tbs", "no_dot")
        .set("pipeline", "buffer_size", "many")
        .set("resumer", "resume_type", "from_logs")
        .unset("extractor", "extract_type");
    let said = refused(&task, &["5 problems", "`batch_sise`", "do_tbs", "buffer_size", "from_log", "extract_type"])?;
    let ini = task.ini();
    let line = |key: &str| ini.lines().position(|line| line.starts_with(key)).map_or(0, |at| at + 1);
    for key in ["batch_sise", "do_tbs", "buffer_size", "resume_type"] {
        ensure!(said.stderr.contains(&format!("line {}: ", line(key))), "{key}: {}", said.said());
    }
    Ok(())
}

#[test]
fn what_is_to_come_is_refused_by_name() -> Result<()> {
    for (section, key, value, named) in [
        ("extractor", "extract_type", "struct", "`extract_type=struct`"),
        ("extractor", "extract_type", "check_log", "`extract_type=check_log`"),
        ("extractor", "extract_type", "snapshot_and_cdc", "`extract_type=snapshot_and_cdc`"),
        (
            "extractor",
            "partition_cols",
            "json:[{\"db\":\"d\",\"tb\":\"t\",\"partition_col\":\"c\"}]",
            "`partition_cols`",
        ),
        ("sinker", "sink_type", "check", "`sink_type=check`"),
        ("sinker", "sink_type", "struct", "`sink_type=struct`"),
        ("sinker", "sink_type", "sql", "`sink_type=sql`"),
        ("sinker", "reverse", "true", "`reverse=true`"),
        ("checker", "enable", "true", "[checker]"),
        ("processor", "lua_code_file", "x.lua", "[processor]"),
        ("metrics", "http_port", "9090", "[metrics]"),
        ("data_marker", "topo_name", "x", "[data_marker]"),
        ("precheck", "do_struct_init", "true", "[precheck]"),
    ] {
        let refused = refused(&task()?.set(section, key, value), &[named, "not available yet"])?;
        ensure!(refused.stderr.contains("there is a problem"), "more than the one: {}", refused.said());
    }
    Ok(())
}

#[test]
fn databases_that_are_to_come_are_refused_by_name() -> Result<()> {
    let source = task()?.set("extractor", "db_type", "redis").set("extractor", "url", "redis://127.0.0.1:1");
    refused(&source, &["[extractor]", "db_type=redis", "not available yet"])?;
    Ok(())
}

#[test]
fn contradictions_about_resuming_are_refused_and_never_guessed() -> Result<()> {
    let both = task()?.set("resumer", "resume_type", "dummy").set("resumer", "resume_from_log", "true");
    refused(&both, &["resume_from_log", "contradicts", "resume_type"])?;
    let old = task()?.set("resumer", "resume_from_log", "false").set("resumer", "resume_config_file", "x");
    refused(&old, &["resume_from_log", "contradicts", "config_file"])?;
    Ok(())
}

#[test]
fn no_message_about_the_file_shows_a_password() -> Result<()> {
    const SECRET: &str = "hunter2";
    let tasks = [
        task()?.set("extractor", "pasword", SECRET),
        task()?.set("extractor", "url", format!("mysql://root:{SECRET}#@127.0.0.1:1")),
        task()?.set("extractor", "url", format!("mysql://root:a@{SECRET}@127.0.0.1:1")),
        task()?.set("extractor", "url", format!("mysql//root:{SECRET}@127.0.0.1:1")),
        task()?.set("extractor", "db_type", format!("mysql://root:{SECRET}@127.0.0.1:1")),
        task()?.set("extractor", "batch_size", format!("mysql://root:{SECRET}@127.0.0.1:1")),
        task()?.set("filter", "do_tbs", format!("mysql://root:{SECRET}@127.0.0.1:1")),
        task()?.set("router", "db_map", format!("mysql://root:{SECRET}@127.0.0.1:1")),
        task()?.set("extractor", "password", format!("x\n{SECRET}")),
    ];
    for (at, task) in tasks.iter().enumerate() {
        let refused = task.run()?;
        ensure!(refused.code == 2, "{at}: {}", refused.said());
        for output in [&refused.stdout, &refused.stderr, &refused.log] {
            ensure!(!output.contains(SECRET), "{at}: the password is shown: {output}");
        }
    }
    Ok(())
}

#[test]
fn a_check_of_a_wrong_file_ends_with_2_as_well() -> Result<()> {
    let task = task()?.set("filter", "ingore_tbs", "a.b");
    let checked = task.spawn_with(&["--check"])?.wait()?.expect_code(2)?;
    ensure!(checked.stderr.contains("`ignore_tbs`"), "{}", checked.said());
    Ok(())
}
