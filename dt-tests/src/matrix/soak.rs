//! Hours under load: a stream of four lanes with its positions in the target, and whatever can go wrong, by dice.
//!
//! Half of the time one dt-main lives through lost connections, silent ones and servers that die; its memory, descriptors and
//! threads must not grow. The other half it is killed, at instants and at random. After each turn the target is held to the
//! ledger, row for row.

mod blow;
mod held;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dt_common::Failpoint;

use self::blow::Blow;
use self::held::Held;
use super::cell::{Database, Phase, Setting, Store};
use super::ends::End;
use super::load::Load;
use super::network::way::{through, with_deadlines};
use crate::dice::Dice;
use crate::proxy::Proxy;
use crate::task::{Running, Task};

/// Rows of each table at the beginning.
const ROWS: u64 = 200;
/// No kill comes later after its start than this.
const LATEST: Duration = Duration::from_millis(2500);
/// Kills in a row.
const KILLS: u64 = 8;

/// What has been lived through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lived {
    /// Faults of the network, and servers that were killed.
    pub blows: u64,
    /// Kills of dt-main.
    pub kills: u64,
    /// Changes that were written to the source.
    pub changes: u64,
    /// How often the target was compared, and found right.
    pub judged: u64,
    /// What the process that lived longest held at first and at last.
    pub held: Option<(Held, Held)>,
}

/// Runs one database's stream for so long.
///
/// # Errors
/// Anything that did not end as it should; the text has the last blow or kill, and what dt-main said.
pub fn run(database: Database, time: Duration, seed: u64, tell: impl Fn(&str)) -> Result<Lived> {
    let setting = Setting { database, phase: Phase::Cdc, store: Store::Target, lanes: 4 };
    let mut soak = Soak::open(setting, Dice::named(seed, &setting.to_string()))?;
    let end = Instant::now() + time;
    loop {
        soak.endure(Instant::now() + (time / 6).max(Duration::from_secs(40)), &tell)?;
        soak.die(&tell)?;
        soak.judge()?;
        let Lived { blows, kills, changes, judged, .. } = soak.lived;
        tell(&format!("{database}: {blows} blows, {kills} kills, {changes} changes, {judged} times equal"));
        if Instant::now() >= end {
            return Ok(soak.lived);
        }
    }
}

struct Soak {
    setting: Setting,
    load: Load,
    proxies: [Proxy; 2],
    task: Task,
    dice: Dice,
    lived: Lived,
}

impl Soak {
    fn open(setting: Setting, dice: Dice) -> Result<Self> {
        let name = format!("soak_{}", setting.database);
        let load = Load::open(setting, &name, ROWS)?;
        let proxies = [Proxy::start(load.ends.port(End::Source))?, Proxy::start(load.ends.port(End::Target))?];
        let mut task = load.ends.task()?;
        for (end, proxy) in [End::Source, End::Target].into_iter().zip(&proxies) {
            task = through(task, setting, end, proxy.port(), &name);
        }
        let task = with_deadlines(task, setting);
        Ok(Soak { setting, load, proxies, task, dice, lived: Lived::default() })
    }

    /// One process until `end`, whatever happens to its connections and servers.
    fn endure(&mut self, end: Instant, tell: &impl Fn(&str)) -> Result<()> {
        let mut running = self.task.spawn()?;
        self.load.catch_up(&mut running).context("at the start")?;
        let mut first = None;
        while Instant::now() < end {
            let blow = Blow::by(&mut self.dice);
            self.write()?;
            self.strike(blow, &mut running).with_context(|| format!("{blow:?}"))?;
            self.write()?;
            self.load.catch_up(&mut running).with_context(|| format!("after {blow:?}"))?;
            self.proxies.iter().for_each(|proxy| proxy.latency(Duration::ZERO));
            self.lived.blows += 1;
            tell(&format!("{}: {blow:?}", self.setting.database));
            // What is made when it is first needed is there by now.
            if self.lived.blows >= 3 {
                first.get_or_insert(Held::by(running.pid())?);
            }
        }
        let last = Held::by(running.pid())?;
        let first = first.unwrap_or(last);
        ensure!(last.is_about(first), "it holds more and more: {first}, then {last}");
        self.lived.held = Some((first, last));
        running.sigterm()?;
        running.wait()?.expect_code(128 + 15)?;
        self.judge()
    }

    fn strike(&mut self, blow: Blow, running: &mut Running) -> Result<()> {
        match blow {
            Blow::Network(end, fault) => {
                let proxy = match end {
                    End::Source => &self.proxies[0],
                    End::Target => &self.proxies[1],
                };
                fault.strike(proxy, || {
                    ensure!(!running.has_ended()?, "dt-main has ended: {}", running.log()?);
                    Ok(())
                })
            }
            Blow::Killed(end) => {
                self.load.ends.kill_server(end)?;
                self.load.ends.reconnect()
            }
            Blow::Asleep(time) => running.asleep(time),
        }
    }

    /// Kills, at random and at instants, each under load.
    fn die(&mut self, tell: &impl Fn(&str)) -> Result<()> {
        let points: Vec<Failpoint> = self.setting.cells().iter().map(|cell| cell.point).collect();
        for _ in 0..KILLS {
            self.write()?;
            let (point, times) = (points[self.dice.pick(0..points.len() as u64) as usize], self.dice.pick(1..4));
            let is_armed = self.dice.pick(0..2) == 0;
            let mut running = match is_armed {
                true => self.task.spawn_armed(point, u32::try_from(times)?)?,
                false => self.task.spawn()?,
            };
            self.write()?;
            std::thread::sleep(self.dice.moment(LATEST));
            // It may have died by now, at its instant.
            let ended = match running.has_ended()? {
                true => running.wait()?,
                false => running.kill9()?,
            };
            ensure!([128 + 6, 128 + 9].contains(&ended.code), "it ended by itself: {}", ended.said());
            self.lived.kills += 1;
        }
        tell(&format!("{}: {KILLS} kills", self.setting.database));
        let mut running = self.task.spawn()?;
        self.load.catch_up(&mut running).context("after kills")?;
        running.sigterm()?;
        running.wait()?.expect_code(128 + 15).map(drop)
    }

    fn write(&mut self) -> Result<()> {
        self.lived.changes += self.load.write(&mut self.dice)?;
        self.load.ends.rotate()
    }

    fn judge(&mut self) -> Result<()> {
        self.load.judge()?;
        self.load.forget_log()?;
        self.lived.judged += 1;
        Ok(())
    }
}
