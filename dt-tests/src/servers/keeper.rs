//! Who holds a server's process: a small shell that outlives us by the moment it takes to clean up.
//!
//! The shell is the server's parent, so the process id it signals is never another's. It takes `start`, `stop` and
//! `kill` on its standard input; when that closes, because the [`Keeper`] was dropped or because this process is
//! gone (a panic, SIGKILL, the end of a test binary whose statics are never dropped), it kills the server and
//! deletes its folder.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

const SCRIPT: &str = r#"
dir=$0
stop=$1; shift
pid=
# When we are gone while the server is halted (see `end`), the kernel hangs up on this group.
trap '' HUP
gone() { [ -z "$pid" ] || wait "$pid" 2>/dev/null; pid=; }
# A server of several processes dies as a whole, as it would with the machine.
end() {
  [ -n "$pid" ] || return 0
  kill -STOP "$pid" 2>/dev/null
  children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
  kill -KILL "$pid" $children 2>/dev/null
  gone
  for child in $children; do
    while grep -qs '^State:[[:space:]]*[RSDTtIKPW]' "/proc/$child/status"; do sleep 0.01; done
  done
}
while read -r what; do
  case $what in
    start) "$@" </dev/null >>"$dir/log" 2>&1 & pid=$!; echo "started $pid" ;;
    stop) [ -z "$pid" ] || kill "-$stop" "$pid" 2>/dev/null; gone; echo gone ;;
    kill) end; echo gone ;;
  esac
done
end
rm -rf -- "$dir"
"#;

/// A server's process, started and stopped on demand.
#[derive(Debug)]
pub(super) struct Keeper {
    shell: Child,
    // One order at a time.
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    pid: Option<u32>,
}

impl Keeper {
    /// A keeper of `command`, not started yet; `dir` is deleted at the end. `stop` names the signal that shuts the
    /// server down cleanly.
    pub(super) fn new(dir: &Path, stop: &str, command: &[String]) -> Result<Self> {
        let mut shell = Command::new("sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg(dir)
            .arg(stop)
            .args(command)
            // A group of its own: Ctrl-C in a terminal reaches the test, not the shell that cleans up after it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start sh")?;
        let orders = shell.stdin.take();
        let lines = BufReader::new(shell.stdout.take().context("sh has no standard output")?).lines();
        let (send, answers) = channel();
        std::thread::spawn(move || lines.map_while(|line| line.ok()).try_for_each(|line| send.send(line)));
        Ok(Keeper { shell, line: Mutex::new(Line { orders, answers, pid: None }) })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self) -> Result<()> {
        let mut line = self.line();
        if line.pid.is_some() {
            bail!("the server is running already");
        }
        let answer = line.order("start", Duration::from_secs(30))?;
        let pid = answer.strip_prefix("started ").and_then(|pid| pid.parse().ok());
        line.pid = Some(pid.ok_or_else(|| anyhow!("the keeper answered `{answer}`"))?);
        Ok(())
    }

    /// The signal that shuts it down, and waits until the process is gone.
    pub(super) fn stop(&self, patience: Duration) -> Result<()> {
        let mut line = self.line();
        line.pid = None;
        line.order("stop", patience).map(drop)
    }

    /// SIGKILL to it and to its children, and waits until they are gone.
    pub(super) fn kill(&self, patience: Duration) -> Result<()> {
        let mut line = self.line();
        line.pid = None;
        line.order("kill", patience).map(drop)
    }

    /// Whether the process was started and has ended by itself.
    pub(super) fn has_ended(&self) -> Result<bool> {
        let Some(pid) = self.line().pid else { return Ok(true) };
        let status = PathBuf::from(format!("/proc/{pid}/status"));
        // The shell has not waited for it, so it is a zombie, and its id is still its own.
        let status = std::fs::read_to_string(&status).with_context(|| format!("read {}", status.display()))?;
        Ok(status.lines().any(|line| line.starts_with("State:") && line.contains('Z')))
    }
}

impl Line {
    fn order(&mut self, order: &str, patience: Duration) -> Result<String> {
        let orders = self.orders.as_mut().context("the keeper has been dismissed")?;
        writeln!(orders, "{order}").context("the server's keeper is gone")?;
        self.answers.recv_timeout(patience).with_context(|| format!("the server did not {order}"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Closing its input is what tells the shell to clean up.
        self.line().orders = None;
        let _ = self.shell.wait();
    }
}
