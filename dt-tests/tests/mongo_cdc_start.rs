//! Where a stream of MongoDB begins: now, after a token, at a time; and after a stored position, in the forms that older
//! tools wrote as well.

mod mongo_streams;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use dt_tests::deadline;
use dt_tests::mongo::Mongo;
use dt_tests::servers::mongo;
use dt_tests::task::Task;
use mongo_streams::{BOTH, caught_up, equal, follow, position, set_up, stop, store, stream, time, write};
use mongodb::bson::{Document, doc};
use serde_json::json;

/// The clock that the servers have as well, in seconds since 1970.
fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// Waits until the clock shows a later second; which.
fn next_second() -> Result<u64> {
    let before = now()?;
    deadline::until("the clock shows a later second", Duration::from_secs(10), || {
        let now = now()?;
        Ok((now > before).then_some(now))
    })
}

fn utc(seconds: u64) -> String {
    let millis = i64::try_from(seconds * 1000).unwrap_or(0);
    let text = mongodb::bson::DateTime::from_millis(millis).try_to_rfc3339_string().unwrap_or_default();
    text.trim_end_matches('Z').replace('T', " ")
}

fn add(source: &Mongo, database: &str, id: i32) -> Result<Document> {
    write(source, database, doc! {"insert": "t", "documents": [{"_id": id}]})
}

fn ids(server: &Mongo, database: &str) -> Result<Vec<i32>> {
    let documents = server.documents(database, "t")?;
    documents.iter().map(|document| Ok(Document::from_reader(&document[..])?.get_i32("_id")?)).collect()
}

/// Starts a task, adds a document, and says which documents came.
fn came(task: &Task, source: &Mongo, target: &Mongo, database: &str, last: i32) -> Result<Vec<i32>> {
    let mut running = follow(task)?;
    add(source, database, last)?;
    caught_up(&mut running, source, target, database)?;
    stop(running)?;
    ids(target, database)
}

#[test]
fn without_a_position_a_stream_begins_now() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_now", by)?;
        add(&source, "m_now", 1)?;
        ensure!(came(&task, &source, &target, "m_now", 2)? == [2], "{by}");
    }
    Ok(())
}

#[test]
fn a_stream_begins_and_ends_at_a_time() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        for key in ["start_timestamp", "start_time_utc"] {
            let (source, target, task) = set_up(pair, "m_times", by)?;
            add(&source, "m_times", 1)?;
            let begin = next_second()?;
            add(&source, "m_times", 2)?;
            let begin_text = if key == "start_timestamp" { begin.to_string() } else { utc(begin) };
            let end = next_second()?;
            add(&source, "m_times", 3)?;
            let task = task.set("extractor", key, begin_text).set("extractor", "end_time_utc", utc(end));
            next_second()?;
            add(&source, "m_times", 4)?;
            let ended = task.run()?.expect_code(0)?;
            ensure!(ids(&target, "m_times")? == [2, 3], "{by}, {key}: {}", ended.said());
            // What is recorded is the end: a later start without it brings what is left.
            let later = task.unset("extractor", "end_time_utc");
            target.command("m_times", doc! {"drop": "t"})?;
            ensure!(came(&later, &source, &target, "m_times", 6)? == [4, 6], "{by}, {key}");
        }
    }
    Ok(())
}

#[test]
fn a_stream_begins_after_a_token_that_somebody_has_kept() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target, task) = set_up(pair, "m_token", "change_stream")?;
    came(&task, &source, &target, "m_token", 1)?;
    let token = position(&task)?.context("no position")?["resume_token"].as_str().context("no token")?.to_owned();
    add(&source, "m_token", 2)?;
    let begins = stream(pair, "m_token", "change_stream")?.set("extractor", "resume_token", token);
    ensure!(came(&begins, &source, &target, "m_token", 3)? == [1, 2, 3]);
    equal(&source, &target, "m_token").map(drop)
}

#[test]
fn positions_of_all_forms_are_gone_on_from_and_the_new_form_is_written() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let database = &format!("m_forms_{by}");
        let (source, target, first) = set_up(pair, database, by)?;
        came(&first, &source, &target, database, 1)?;
        let written = position(&first)?.context("no position")?;
        let seconds = time(&written)?.0;
        let token = written["resume_token"].as_str().context("no token")?;
        ensure!(written["type"] == "MongoCdc" && token.is_empty() == (by == "op_log"), "{written}");
        ensure!(written["timestamp"].as_str().is_some_and(|text| text.ends_with(".000")), "{written}");
        ensure!(written["source"].as_str().is_some_and(|set| set.starts_with("rs0/")), "{written}");
        let old = utc(seconds);
        let forms = [
            json!({"MongoCdc": {"resume_token": token, "operation_time": seconds, "timestamp": format!("{old}.000 UTC-0000")}}),
            json!({"MongoCdc": {"resume_token": "", "operation_time": seconds, "timestamp": format!("{old}.000 UTC-0000")}}),
            json!({"type": "MongoCdc", "resume_token": token, "operation_time": seconds, "timestamp": format!("{old}.000")}),
            json!({"type": "MongoCdc", "resume_token": "", "operation_time": seconds, "timestamp": ""}),
            written.clone(),
        ];
        for (at, form) in (0..).zip(forms) {
            // By either way to follow: who has changed over goes on by the time.
            for other in BOTH {
                let (source, target) = (pair.source.client()?, pair.target.client()?);
                target.command(database, doc! {"dropDatabase": 1})?;
                let task = stream(pair, database, other)?;
                store(&task, &form.to_string())?;
                let id = at * 2 + 10 + i32::from(other == "op_log");
                let mut came = came(&task, &source, &target, database, id)?;
                came.retain(|&id| id >= 10);
                let all: Vec<i32> = ids(&source, database)?.into_iter().filter(|&id| id >= 10).collect();
                ensure!(came == all, "{by}, then {other}, from {form}: {came:?} instead of {all:?}");
                let again = position(&task)?.context("no position")?;
                ensure!(again["type"] == "MongoCdc" && time(&again)? > (seconds, 0), "{again}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_changed_filter_goes_on_from_the_same_position() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_filter", by)?;
        pair.without(&["m_filter_more"])?;
        came(&task, &source, &target, "m_filter", 1)?;
        add(&source, "m_filter_more", 2)?;
        add(&source, "m_filter", 2)?;
        let task = task.databases(&["m_filter", "m_filter_more"]);
        ensure!(came(&task, &source, &target, "m_filter", 3)? == [1, 2, 3], "{by}");
        ensure!(ids(&target, "m_filter_more")? == [2], "{by}");
    }
    Ok(())
}
