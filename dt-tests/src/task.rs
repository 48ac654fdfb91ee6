//! A task file for dt-main, and dt-main itself: run to the end, killed, run again.

mod binary;
mod mongo;
mod postgres;
mod progress;
mod run;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use dt_common::Failpoint;
use tempfile::TempDir;

use crate::servers::{PASSWORD, Pair, Server, USER};

pub use binary::dt_main;
pub use progress::{Progress, RecordedKey};
pub use run::{Finished, Running};

/// A task: its file and its log_dir in a temporary folder of its own. Running it again resumes it.
#[derive(Debug)]
pub struct Task {
    // There for as long as the task or a run of it.
    folder: Arc<TempDir>,
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

impl Task {
    /// A task file with nothing but its log_dir.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn empty() -> Result<Self> {
        let folder = TempDir::with_prefix("dt-task-")?;
        let log_dir = folder.path().join("logs").display().to_string();
        let task = Task { folder: Arc::new(folder), sections: BTreeMap::new() };
        Ok(task.set("runtime", "log_dir", log_dir))
    }

    /// A snapshot from one server to the other, of nothing yet: [`Task::databases`] or `[filter]` keys say what. It
    /// resumes from its log_dir, and records its position each second.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn snapshot(source: &Server, target: &Server) -> Result<Self> {
        let mut task = Task::empty()?
            .set("extractor", "db_type", "mysql")
            .set("extractor", "extract_type", "snapshot")
            .set("sinker", "db_type", "mysql")
            .set("sinker", "sink_type", "write")
            .set("pipeline", "checkpoint_interval_secs", "1")
            .set("resumer", "resume_type", "from_log");
        for (section, server) in [("extractor", source), ("sinker", target)] {
            task = task.address(section, server.port());
        }
        Ok(task)
    }

    /// [`Task::snapshot`] of some databases of a pair.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn of_pair(pair: &Pair, databases: &[&str]) -> Result<Self> {
        Ok(Task::snapshot(&pair.source, &pair.target)?.databases(databases))
    }

    /// Where the server of `[extractor]` or `[sinker]` is, with dt-main's user and password.
    #[must_use]
    pub fn address(self, section: &str, port: u16) -> Self {
        self.set(section, "url", format!("mysql://127.0.0.1:{port}"))
            .set(section, "username", USER)
            .set(section, "password", PASSWORD)
    }

    /// The databases that are copied, by their exact names.
    #[must_use]
    pub fn databases(self, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        self.set("filter", "do_dbs", names.join(","))
    }

    /// Sets a key, as it is to stand in the file.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: impl Into<String>) -> Self {
        self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), value.into());
        self
    }

    /// A key's value.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(String::as_str)
    }

    /// Leaves a key out.
    #[must_use]
    pub fn unset(mut self, section: &str, key: &str) -> Self {
        if let Some(keys) = self.sections.get_mut(section) {
            keys.remove(key);
        }
        self
    }

    /// The folder of position.log, finished.log and default.log.
    pub fn log_dir(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// The text of the task file.
    pub fn ini(&self) -> String {
        let mut text = String::new();
        for (section, keys) in &self.sections {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[{section}]");
            for (key, value) in keys {
                let _ = writeln!(text, "{key}={value}");
            }
        }
        text
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The temporary folder is gone or full.
    pub fn write(&self) -> Result<PathBuf> {
        let file = self.folder.path().join("task.ini");
        std::fs::write(&file, self.ini()).with_context(|| format!("write {}", file.display()))?;
        Ok(file)
    }

    /// The command that runs dt-main on this file, in the task's folder, with its output piped.
    ///
    /// # Errors
    /// dt-main cannot be built or found.
    pub fn command(&self) -> Result<Command> {
        let mut command = run::guarded(&dt_main()?);
        command.arg(self.write()?).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Starts dt-main with this file.
    ///
    /// # Errors
    /// dt-main cannot be built, found or started.
    pub fn spawn(&self) -> Result<Running> {
        self.spawn_with::<&str>(&[])
    }

    /// Starts dt-main with this file, to die when it comes to the point for the `nth` time.
    ///
    /// # Errors
    /// dt-main cannot be built, found or started.
    pub fn spawn_armed(&self, point: Failpoint, nth: u32) -> Result<Running> {
        let mut command = self.command()?;
        command.env("DT_FAILPOINT", format!("{}:{nth}", point.name()));
        Running::start(command, self)
    }

    /// Starts dt-main with this file. No file that it writes grows beyond so many bytes, as on a disk that is full; see
    /// [`Running::give_room`].
    ///
    /// # Errors
    /// dt-main cannot be built, found or started.
    pub fn spawn_with_room(&self, bytes: u64) -> Result<Running> {
        let inner = self.command()?;
        let mut command = Command::new("sh");
        // Who writes beyond the limit is told so, instead of being killed.
        command.args(["-c", "trap '' XFSZ; exec prlimit --fsize=\"$0\": \"$@\"", &bytes.to_string()]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command, self)
    }

    /// Starts dt-main with this file and these further arguments.
    ///
    /// # Errors
    /// dt-main cannot be built, found or started.
    pub fn spawn_with<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Running> {
        let mut command = self.command()?;
        command.args(arguments.iter().map(|argument| argument.as_ref()));
        Running::start(command, self)
    }

    /// Runs dt-main to its end.
    ///
    /// # Errors
    /// dt-main cannot be built, found or started. That it fails is no error: see [`Finished::code`].
    pub fn run(&self) -> Result<Finished> {
        self.spawn()?.wait()
    }

    /// Runs `dt-main position` with these arguments on this file, and without a terminal.
    ///
    /// # Errors
    /// dt-main cannot be built, found or started.
    pub fn position<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Finished> {
        let mut command = run::guarded(&dt_main()?);
        command.arg("position").args(arguments.iter().map(|argument| argument.as_ref()));
        command.arg("-c").arg(self.write()?).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command, self)?.wait()
    }

    /// Runs `dt-main position` with these arguments on this file, on a terminal on which one line is typed. What it says
    /// on standard error is on the terminal too.
    ///
    /// # Errors
    /// As [`Task::position`]; there is no `script`.
    pub fn position_on_a_terminal(&self, arguments: &str, typed: &str) -> Result<Finished> {
        let line = format!("'{}' position {arguments} -c '{}'", dt_main()?.display(), self.write()?.display());
        let mut command = run::guarded(Path::new("script"));
        command.args(["--quiet", "--return", "--flush", "--echo", "never", "--command", &line, "/dev/null"]);
        command.current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start_and_type(command, self, typed)?.wait()
    }

    /// The text of a file in the log_dir; empty if it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn log(&self, name: &str) -> Result<String> {
        read_log(&self.log_dir(), name)
    }
}

fn read_log(dir: &Path, name: &str) -> Result<String> {
    match std::fs::read(dir.join(name)) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("read {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_each_key_once_and_values_as_they_are() -> Result<()> {
        let task = Task::empty()?
            .set("filter", "do_dbs", "a")
            .set("filter", "do_dbs", "b")
            .set("sinker", "password", r#"a;#="b"#)
            .set("sinker", "gone", "1")
            .unset("sinker", "gone");
        let ini = task.ini();
        assert!(ini.starts_with("[filter]\ndo_dbs=b\n[runtime]\nlog_dir="), "{ini}");
        assert!(ini.ends_with("[sinker]\npassword=a;#=\"b\n"), "{ini}");
        Ok(())
    }
}
