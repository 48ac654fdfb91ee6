//! What a program cost: processor seconds and the peak of its memory, from `/proc`.

use std::fs;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// What a program cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// By the clock.
    pub wall: Duration,
    /// User and system time of the program and of the children it waited for, in steps of 10 ms.
    pub cpu: Duration,
    /// The highest resident set seen, in bytes.
    pub peak_memory: u64,
}

impl Usage {
    /// One program after another.
    pub fn then(self, next: Usage) -> Usage {
        Usage {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak_memory: self.peak_memory.max(next.peak_memory),
        }
    }
}

/// How often the memory is looked at; the kernel keeps the peak, so only growth in the very last interval is missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The kernel's clock ticks in `/proc` (USER_HZ, 100 on every Linux that Rust runs on).
const TICK: Duration = Duration::from_millis(10);

/// Runs a command to its end and says what it cost. No other child may end meanwhile.
///
/// # Errors
/// It cannot be started.
pub fn of(command: &mut Command) -> Result<(ExitStatus, Usage)> {
    let before = children_cpu()?;
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("run {:?}", command.get_program()))?;
    let mut peak_memory = 0;
    let status = loop {
        peak_memory = peak_memory.max(peak_of(child.id()).unwrap_or(0));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    let wall = start.elapsed();
    Ok((status, Usage { wall, cpu: children_cpu()?.saturating_sub(before), peak_memory }))
}

/// `VmHWM`, in bytes; `None` once the process is gone.
fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The processor time of all children that have been waited for.
fn children_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?;
    // The second field is the program's name in parentheses and may hold anything; cutime and cstime are fields 16 and
    // 17 (proc(5)), the 14th and 15th after it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let (user, system) = ticks(13).zip(ticks(14)).ok_or_else(|| anyhow!("/proc/self/stat is not as proc(5) says"))?;
    Ok(TICK * (user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_works_and_fills_memory_is_seen_to() -> Result<()> {
        let script = "x=$(head -c 20000000 /dev/zero | tr '\\0' a); i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let (status, usage) = of(Command::new("sh").args(["-c", script]))?;
        assert!(status.success());
        assert!(usage.cpu >= Duration::from_millis(20), "{usage:?}");
        assert!(usage.cpu <= usage.wall * 16, "{usage:?}");
        assert!(usage.peak_memory > 15_000_000, "{usage:?}");
        Ok(())
    }
}
