//! A running dt-main.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{Task, read_log};
use crate::deadline;

/// How long dt-main may run; longer is a hang, and a failure that shows the log.
const PATIENCE: Duration = Duration::from_secs(300);

/// A command that dies with the thread that starts it, so that a test that panics leaves nothing behind.
pub(super) fn guarded(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A dt-main that has been started. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log_dir: PathBuf,
    _folder: Arc<TempDir>,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// A dt-main that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; 128 + n if signal n ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// The text of default.log.
    pub log: String,
}

impl Finished {
    /// Everything that it said, for the message of a failed assertion.
    pub fn said(&self) -> String {
        let log: Vec<&str> = self.log.lines().collect();
        let tail = log[log.len().saturating_sub(30)..].join("\n");
        format!("exit code {}\n{}\n{}\ndefault.log ends with:\n{tail}", self.code, self.stdout, self.stderr)
    }

    /// Fails unless it ended with this code.
    ///
    /// # Errors
    /// The code is another one; the message holds everything that it said.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        if self.code != code {
            bail!("dt-main should have ended with exit code {code}: {}", self.said());
        }
        Ok(self)
    }

    /// The number that follows `name` in the summary line, `snapshot done: tables: 3, rows: 12, …` or
    /// `stream stopped: changes: 12, …`; `None` if there is no such line.
    pub fn summary(&self, name: &str) -> Option<u64> {
        let mut lines = self.stdout.lines().chain(self.stderr.lines()).chain(self.log.lines().rev());
        let begins = ["snapshot done:", "snapshot stopped:", "stream done:", "stream stopped:"];
        let line = lines.find(|line| begins.iter().any(|begin| line.contains(begin)))?;
        let after = line.split_once(&format!("{name}: "))?.1;
        after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

impl Running {
    pub(super) fn start(mut command: Command, task: &Task) -> Result<Self> {
        let mut child = command.spawn().context("start dt-main")?;
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        Ok(Running { child, log_dir: task.log_dir(), _folder: task.folder.clone(), stdout, stderr })
    }

    pub(super) fn start_and_type(mut command: Command, task: &Task, line: &str) -> Result<Self> {
        let mut child = command.spawn().context("start dt-main on a terminal")?;
        let mut input = child.stdin.take().context("no standard input")?;
        // Taken from the terminal when it is asked for; the terminal stays until the end.
        writeln!(input, "{line}")?;
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        Ok(Running { child, log_dir: task.log_dir(), _folder: task.folder.clone(), stdout, stderr })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The text of default.log.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn log(&self) -> Result<String> {
        read_log(&self.log_dir, "default.log")
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// The system does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it has ended by itself, or for so long.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ends_within(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while !self.has_ended()? && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// The system does not say.
    pub fn kill9(mut self) -> Result<Finished> {
        // It may have ended just before: then its own exit code comes out.
        let _ = self.child.kill();
        self.wait()
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// It has ended already.
    pub fn sigterm(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// Sends SIGINT.
    ///
    /// # Errors
    /// It has ended already.
    pub fn sigint(&mut self) -> Result<()> {
        self.signal("INT")
    }

    /// Lets its files grow again: see [`Task::spawn_with_room`].
    ///
    /// # Errors
    /// It has ended already.
    pub fn give_room(&mut self) -> Result<()> {
        let pid = format!("--pid={}", self.child.id());
        let given = Command::new("prlimit").args([&pid, "--fsize=unlimited:"]).status()?;
        if !given.success() {
            bail!("dt-main has ended already");
        }
        Ok(())
    }

    /// Lets it stand still for so long (SIGSTOP, SIGCONT).
    ///
    /// # Errors
    /// It has ended already.
    pub fn asleep(&mut self, time: Duration) -> Result<()> {
        self.signal("STOP")?;
        std::thread::sleep(time);
        self.signal("CONT")
    }

    fn signal(&mut self, name: &str) -> Result<()> {
        // Not waited for yet, so the process id is still its own.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status()?;
        if !sent.success() {
            bail!("SIG{name} did not reach dt-main: it has ended already");
        }
        Ok(())
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// It runs for minutes: then it is killed, and the message holds what it said.
    pub fn wait(mut self) -> Result<Finished> {
        let ended = deadline::until("dt-main ends", PATIENCE, || Ok(self.child.try_wait()?));
        let status = match ended {
            Ok(status) => status,
            Err(late) => {
                let _ = self.child.kill();
                let status = self.child.wait()?;
                let finished = self.finished(status)?;
                return Err(late.context(finished.said()));
            }
        };
        self.finished(status)
    }

    /// Waits until a file of the log_dir holds a text; fails if dt-main ends before.
    ///
    /// # Errors
    /// The text does not come.
    pub fn until_log_holds(&mut self, name: &str, text: &str) -> Result<()> {
        let log_dir = self.log_dir.clone();
        self.until(&format!("{name} holds `{text}`"), || Ok(read_log(&log_dir, name)?.contains(text)))
    }

    /// Waits until a fact is true; fails if dt-main ends before.
    ///
    /// # Errors
    /// It does not come true.
    pub fn until(&mut self, what: &str, mut is_true: impl FnMut() -> Result<bool>) -> Result<()> {
        let waited = deadline::until(what, PATIENCE, || {
            let ended = self.has_ended()?;
            match (is_true()?, ended) {
                (true, _) => Ok(Some(())),
                (false, false) => Ok(None),
                (false, true) => bail!("dt-main ended before {what}"),
            }
        });
        waited.with_context(|| format!("default.log:\n{}", self.log().unwrap_or_else(|error| error.to_string())))
    }

    fn finished(&mut self, status: ExitStatus) -> Result<Finished> {
        let text =
            |reader: Option<JoinHandle<String>>| reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ok(Finished {
            code: status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1),
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
            log: read_log(&self.log_dir, "default.log")?,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it was waited for, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks off still says what came before.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
