//! MongoDB: SIGKILL at a random moment, ten times over, then to the end: every document exactly as it is on the source.
//! `DT_SEED=… cargo test …` plays the same moments again.

use anyhow::{Context, Result, ensure};
use dt_tests::copies::{self, Parts, ROWS_PER_SECOND};
use dt_tests::dice::Dice;
use dt_tests::judge::mongo::MongoJudge;
use dt_tests::mongo::{Mongo, bytes};
use dt_tests::positions::{Positions, without_files};
use dt_tests::servers::{Kind, mongo};
use dt_tests::task::Task;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, doc};

const ROWS_OF_EACH: u64 = 25_000;
const COLLECTIONS: [&str; 4] = ["ids of the driver", "mixed", "numbers", "texts"];

#[test]
fn a_copy_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(1, Parts::Tables, None)?);
    Ok(())
}

#[test]
fn a_copy_survives_ten_kills_with_four_collections_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(4, Parts::Tables, None)?);
    Ok(())
}

#[test]
fn a_copy_survives_ten_kills_with_four_chunks_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(4, Parts::Chunks, None)?);
    Ok(())
}

#[test]
fn a_copy_survives_ten_kills_with_positions_in_postgresql() -> Result<()> {
    println!("{}", survives_ten_kills(4, Parts::Chunks, Some(Kind::Postgres15))?);
    Ok(())
}

/// Documents that carry their collection's name, under keys of all kinds.
fn fill(source: &Mongo, database: &str) -> Result<()> {
    for collection in COLLECTIONS {
        let id = |at: u64| -> Result<Bson> {
            let number = i32::try_from(at)?;
            Ok(match (collection, at % 4) {
                ("ids of the driver", _) => Bson::ObjectId(ObjectId::new()),
                ("numbers", _) | ("mixed", 0) => Bson::Int32(number),
                ("texts", _) | ("mixed", 1) => format!("$key {:x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into(),
                ("mixed", 2) => doc! {"a": number, "b": {"c": number}}.into(),
                (_, _) => Bson::DateTime(mongodb::bson::DateTime::from_millis(i64::from(number))),
            })
        };
        let documents = (0..ROWS_OF_EACH).map(|at| {
            bytes(&doc! {"_id": id(at)?, "of": collection, "at": i64::try_from(at)?, "text": "x".repeat(100), "list": [1, {"a": 2}]})
        });
        source.insert(database, collection, &documents.collect::<Result<Vec<_>>>()?)?;
    }
    Ok(())
}

/// What happened, for whoever reads the test's output.
fn survives_ten_kills(parallel: u32, parts: Parts, positions: Option<Kind>) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{parallel} {parts:?}, positions in {positions:?}, DT_SEED={}", dice.seed());
    let story = killed_and_resumed(parallel, parts, positions, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {story}"))
}

fn killed_and_resumed(parallel: u32, parts: Parts, positions: Option<Kind>, dice: &mut Dice) -> Result<String> {
    let pair = mongo::pair()?;
    let place = if positions.is_some() { "db" } else { "log" };
    let database = format!("kill_{parallel}_{parts:?}_{place}").to_lowercase();
    let (source, target) = pair.without(&[&database])?;
    fill(&source, &database)?;
    let task = Task::of_mongo_pair(pair, &[&database])?
        // What is read waits for what is written, so that a kill meets every stage.
        .set("pipeline", "buffer_memory_mb", "2");
    let task = parts.at_a_time(parallel, task);
    let positions = positions.map(|kind| Positions::on(kind, "mongo_snapshot")).transpose()?;
    let task = match &positions {
        Some(positions) => positions.of(task),
        None => task,
    };

    let rows = ROWS_OF_EACH * COLLECTIONS.len() as u64;
    let (task, mut story) = copies::kill(task, rows, ROWS_PER_SECOND, dice, |task| match &positions {
        Some(_) => without_files(task),
        None => Ok(()),
    })?;
    task.run()?.expect_code(0)?;
    let verdicts = MongoJudge::new(&source, &target).database(&database)?;
    ensure!(verdicts.len() == COLLECTIONS.len(), "{} collections", verdicts.len());
    for (collection, verdict) in verdicts {
        story += &format!("; `{collection}` is {verdict}");
        ensure!(verdict.is_equal() && verdict.rows == ROWS_OF_EACH, "`{collection}`: {verdict}");
    }
    copies::is_done(&task)?;
    Ok(story)
}
