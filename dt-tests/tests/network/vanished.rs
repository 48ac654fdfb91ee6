//! A machine that vanishes in mid-transaction: the server does not hear of it, and would hold its locks for hours. Another
//! machine goes on all the same.

use std::thread;

use anyhow::{Context, Result, ensure};
use dt_common::Failpoint;
use dt_tests::copies::{Copies, Parts, Promise};
use dt_tests::positions::Positions;
use dt_tests::proxy::Proxy;
use dt_tests::servers::Kind;
use dt_tests::task::Task;

const ROWS: u64 = 20_000;

#[test]
fn whoever_goes_on_for_a_machine_that_vanished_does_not_wait_for_hours() -> Result<()> {
    // What they do is wait.
    thread::scope(|scope| {
        let all = [Kind::Mysql, Kind::Mariadb, Kind::Postgres15, Kind::Postgres18];
        let running: Vec<_> = all.map(|kind| (kind, scope.spawn(move || goes_on(kind)))).into();
        for (kind, running) in running {
            running.join().expect("vanished: a thread panicked").with_context(|| kind.to_string())?;
        }
        Ok(())
    })
}

fn goes_on(kind: Kind) -> Result<()> {
    let copies = Copies::of(kind, "vanished".to_owned(), ROWS)?;
    let positions = Positions::in_target(&copies.pair.target, copies.name())?;
    let task = || -> Result<Task> {
        let task = positions.of_target(copies.task(1, Parts::Tables)?).set("sinker", "replace", "false");
        Ok(task.set("global", "task_id", "vanished").set("pipeline", "buffer_size", "500"))
    };
    let proxy = Proxy::start(copies.pair.target.port())?;
    let vanished = match kind {
        Kind::Mysql | Kind::Mariadb => task()?.address("sinker", proxy.port()),
        Kind::Postgres15 | Kind::Postgres18 => task()?.postgres_address("sinker", proxy.port(), copies.name()),
    };
    proxy.vanish();
    // It has written rows and their position, and holds what both have locked.
    let ended = vanished.spawn_armed(Failpoint::TargetPosition, 3)?.wait()?.expect_code(128 + 6)?;
    ensure!(proxy.connections() > 0, "it went another way: {}", ended.said());
    // From another folder, as on another machine.
    let next = task()?.spawn_with(&["--take-over"])?.wait()?.expect_code(0)?;
    let waited = next.log.contains("stands in the way") || next.log.contains("tried again");
    ensure!(waited, "nothing was in its way: {}", next.said());
    copies.judge(Promise::Exactly).map(drop)
}
