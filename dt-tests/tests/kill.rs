//! SIGKILL at a random moment, ten times over, then to the end: every row that a key identifies exactly once, and no
//! other row lost. Tables whole and in chunks. `DT_SEED=… cargo test …` plays the same moments again.

use anyhow::{Context, Result};
use dt_tests::copies::{Copies, Parts, Promise, is_done};
use dt_tests::dice::Dice;
use dt_tests::servers::Kind;

const ROWS: u64 = 100_000;

#[test]
fn mysql_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mysql, 1, Parts::Tables)?);
    Ok(())
}

#[test]
fn mysql_survives_ten_kills_with_four_tables_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mysql, 4, Parts::Tables)?);
    Ok(())
}

#[test]
fn mysql_survives_ten_kills_with_four_chunks_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mysql, 4, Parts::Chunks)?);
    Ok(())
}

#[test]
fn mariadb_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mariadb, 1, Parts::Tables)?);
    Ok(())
}

#[test]
fn mariadb_survives_ten_kills_with_four_tables_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mariadb, 4, Parts::Tables)?);
    Ok(())
}

#[test]
fn mariadb_survives_ten_kills_with_four_chunks_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mariadb, 4, Parts::Chunks)?);
    Ok(())
}

#[test]
fn postgresql_15_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres15, 1, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_15_survives_ten_kills_with_four_tables_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres15, 4, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_15_survives_ten_kills_with_four_chunks_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres15, 4, Parts::Chunks)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 1, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills_with_four_tables_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 4, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills_with_four_chunks_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 4, Parts::Chunks)?);
    Ok(())
}

/// What happened, for whoever reads the test's output.
fn survives_ten_kills(kind: Kind, parallel: u32, parts: Parts) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind}, {parallel} {parts:?}, DT_SEED={}", dice.seed());
    let story = killed_and_resumed(kind, parallel, parts, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {story}"))
}

fn killed_and_resumed(kind: Kind, parallel: u32, parts: Parts, dice: &mut Dice) -> Result<String> {
    let copies = Copies::of(kind, format!("kill_{parallel}_{parts:?}").to_lowercase(), ROWS)?;
    copies.task(parallel, parts)?.run()?.expect_code(0)?;
    copies.judge(Promise::Exactly).context("without any kill")?;
    copies.empty()?;
    let (task, kills) = copies.kill(copies.task(parallel, parts)?, dice, |_| Ok(()))?;
    task.run()?.expect_code(0)?;
    let story = kills + &copies.judge(Promise::ByKey)?;
    is_done(&task)?;
    Ok(story)
}
