//! The workspace's own rules, held by reading the sources: who depends on whom, who may mint what, what every file
//! looks like. Each failure says what to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dt_common::Failpoint;
use serde_json::Value;

/// The longest source file; beyond it, split by concept.
const LINES_MAX: usize = 600;

/// Who may depend on which crates of ours, directly. A new crate needs a line here and a word in ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 9] = [
    ("dt-common", &[]),
    ("dt-connector", &["dt-common"]),
    ("dt-connector-mongo", &["dt-connector", "dt-common"]),
    ("dt-connector-mysql", &["dt-connector", "dt-common"]),
    ("dt-connector-postgres", &["dt-connector", "dt-common"]),
    ("dt-resumer", &["dt-common"]),
    ("dt-pipeline", &["dt-connector", "dt-resumer", "dt-common"]),
    (
        "dt-main",
        &[
            "dt-connector-mongo",
            "dt-connector-mysql",
            "dt-connector-postgres",
            "dt-connector",
            "dt-pipeline",
            "dt-resumer",
            "dt-common",
        ],
    ),
    ("dt-tests", &["dt-connector-mysql", "dt-connector", "dt-resumer", "dt-common"]),
];

/// Crates that know no database, and the packages that would teach them one.
const KNOW_NO_DATABASE: [&str; 3] = ["dt-common", "dt-connector", "dt-pipeline"];
const DRIVERS: [&str; 9] =
    ["mysql_async", "mysql_common", "mysql", "tokio-postgres", "postgres-protocol", "mongodb", "bson", "redis", "sqlx"];

/// dt-common is pure: no runtime, no clock, no log.
const IMPURE: [&str; 6] = ["tokio", "chrono", "tracing", "log", "async-trait", "futures-util"];

/// The four calls that mint a rung of the ladder, and the places that may make them.
const MINTS: [(&str, &[&str]); 5] = [
    ("Ticket::issue(", &["dt-pipeline/src/ledger"]),
    ("Applied::after_commit(", &["dt-connector/src/batch.rs"]),
    ("Recordable::of_applied(", &["dt-pipeline/src/recorder", "dt-resumer/src/testkit.rs", "dt-resumer/examples/"]),
    ("Saved::after_sync(", &["dt-resumer/src/"]),
    (
        ".committed()",
        &[
            "dt-connector/mongo/src/sink",
            "dt-connector/mysql/src/sink",
            "dt-connector/postgres/src/sink",
            "dt-connector/src/dummy.rs",
        ],
    ),
];

fn root() -> PathBuf {
    dt_tests::workspace::folder()
}

/// A text file of the project.
struct File {
    /// From the workspace's root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The lines outside `mod tests { … }` with their numbers; none for a file of tests.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test = self.path.contains("/tests/") || self.path.ends_with("/tests.rs");
        let end = if is_test { 0 } else { self.tests_start() };
        self.text.lines().enumerate().take(end).map(|(at, line)| (at + 1, line))
    }

    fn tests_start(&self) -> usize {
        let is_start = |line: &str| line.trim_start().starts_with("#[cfg(test)]") && !line.starts_with(' ');
        self.text.lines().position(is_start).unwrap_or(usize::MAX)
    }

    fn is_source(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Every text file that is, or would be, under version control.
fn files() -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let listed = git.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut paths: Vec<String> = listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    if paths.is_empty() {
        // Sources without a repository, as in an archive.
        collect(&root(), &mut paths)?;
    }
    let files = paths.into_iter().filter_map(|path| {
        let text = String::from_utf8(std::fs::read(root().join(&path)).ok()?).ok()?;
        Some(File { path, text })
    });
    let files: Vec<File> = files.collect();
    ensure!(files.iter().any(|file| file.path == "Cargo.toml"), "the workspace's files are not to be found");
    Ok(files)
}

fn collect(dir: &Path, paths: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !["target", ".git", "logs"].contains(&name) {
                collect(&path, paths)?;
            }
        } else if let Ok(relative) = path.strip_prefix(root()) {
            paths.push(relative.display().to_string());
        }
    }
    Ok(())
}

fn packages() -> Result<Vec<Value>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    Ok(packages.clone())
}

fn name_of(package: &Value) -> &str {
    package["name"].as_str().unwrap_or_default()
}

/// Names of the dependencies of the crate; `tests` says whether those of its tests count.
fn dependencies(package: &Value, tests: bool) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    all.filter(|dependency| tests || dependency["kind"].as_str() != Some("dev"))
        .filter_map(|dependency| dependency["name"].as_str())
        .collect()
}

/// The manifests of the workspace's members; the fuzzer is none.
fn manifests() -> Result<Vec<File>> {
    let members = files()?.into_iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    let members = members.filter(|file| file.path != "fuzz/Cargo.toml");
    Ok(members.collect())
}

/// Fails with all findings at once.
fn none(findings: Vec<String>, what_to_do: &str) -> Result<()> {
    ensure!(findings.is_empty(), "{what_to_do}\n  {}", findings.join("\n  "));
    Ok(())
}

#[test]
fn crates_depend_on_each_other_along_the_arrows_only() -> Result<()> {
    let packages = packages()?;
    let ours: BTreeSet<&str> = packages.iter().map(name_of).collect();
    let mut findings = Vec::new();
    for package in &packages {
        let name = name_of(package);
        match ARROWS.iter().find(|(from, _)| *from == name) {
            None => findings.push(format!("{name}: no line in ARROWS")),
            Some((_, allowed)) => {
                let drawn = dependencies(package, true).into_iter().filter(|to| ours.contains(to));
                findings.extend(drawn.filter(|to| !allowed.contains(to)).map(|to| format!("{name} -> {to}")));
            }
        }
    }
    none(
        findings,
        "these arrows are not in the design: move the code to where it may live, or change ARCHITECTURE.md first",
    )
}

#[test]
fn the_middle_knows_no_database_and_dt_common_is_pure() -> Result<()> {
    let mut findings = Vec::new();
    for package in &packages()? {
        let (name, needs) = (name_of(package), dependencies(package, false));
        let pure = name == "dt-common";
        let banned = DRIVERS.iter().filter(|_| KNOW_NO_DATABASE.contains(&name)).chain(IMPURE.iter().filter(|_| pure));
        findings.extend(banned.filter(|banned| needs.contains(*banned)).map(|banned| format!("{name} -> {banned}")));
    }
    for file in files()?.iter().filter(|file| file.path.starts_with("dt-common/src/")) {
        let clocks = ["SystemTime::now", "Instant::now", "std::fs", "std::net", "std::env", "std::thread"];
        let lines = file.production().filter(|(_, line)| clocks.iter().any(|clock| line.contains(clock)));
        findings.extend(lines.map(|(at, line)| format!("{}:{at}: {}", file.path, line.trim())));
    }
    none(findings, "the middle gets time, bytes and text as arguments; a driver belongs in its connector's crate")
}

#[test]
fn a_rung_of_the_ladder_is_minted_only_where_the_rung_below_is_spent() -> Result<()> {
    let mut findings = Vec::new();
    for file in files()?.iter().filter(|file| file.is_source()) {
        for (call, places) in MINTS {
            let lines =
                file.production().filter(|(_, line)| line.contains(call) && !line.trim_start().starts_with("//"));
            let here = places.iter().any(|place| file.path.starts_with(place));
            findings.extend(lines.filter(|_| !here).map(|(at, _)| format!("{}:{at}: {call}", file.path)));
        }
    }
    none(findings, "only the place that spent the rung below may mint the next one (dt-common/src/ladder.rs)")
}

#[test]
fn production_code_neither_unwraps_nor_leaves_gaps_nor_silences_lints() -> Result<()> {
    let banned = [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "#[allow(", "#![allow(", "#[ignore", "unsafe {"];
    let mut findings = Vec::new();
    // The allocator's options are reached through its C interface only: the one place that calls C.
    let calls_c = "dt-main/src/allocator.rs";
    for file in files()?.iter().filter(|file| file.is_source()) {
        let granted: &[&str] = if file.path == calls_c { &["#[allow(unsafe_code)]", "unsafe {"] } else { &[] };
        let code = file.production().filter(|(_, line)| !line.trim_start().starts_with("//"));
        let lines = code.filter(|(_, line)| banned.iter().any(|banned| line.contains(banned)));
        let lines = lines.filter(|(_, line)| !granted.iter().any(|granted| line.contains(granted)));
        findings.extend(lines.map(|(at, line)| format!("{}:{at}: {}", file.path, line.trim())));
    }
    none(findings, "return an error, or state the broken invariant: expect(\"component: what cannot be\")")
}

#[test]
fn every_source_file_begins_with_what_it_is_for_and_is_short() -> Result<()> {
    let mut findings = Vec::new();
    for file in files()?.iter().filter(|file| file.is_source()) {
        // A module's own tests say what they are for by their names.
        let is_tests = file.path.ends_with("/tests.rs");
        let first = file.text.lines().next().unwrap_or_default();
        let says_something = first.strip_prefix("//!").is_some_and(|doc| doc.trim().len() > 10);
        if !says_something && !is_tests {
            findings.push(format!("{}: begin with a `//!` line that says what the file is for", file.path));
        }
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{}: {lines} lines, more than {LINES_MAX}; split it by concept", file.path));
        }
    }
    none(findings, "a file is a concept, a page or three:")
}

#[test]
fn no_file_is_a_drawer_for_leftovers() -> Result<()> {
    let drawers = ["utils", "util", "helpers", "helper", "manager", "misc", "common", "base"];
    let files = files()?;
    let sources = files.iter().filter(|file| file.is_source());
    let found = sources.filter(|file| {
        let path = Path::new(&file.path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = path.parent().and_then(|dir| dir.file_name()).and_then(|dir| dir.to_str()).unwrap_or_default();
        drawers.contains(&stem) || drawers.contains(&folder)
    });
    none(found.map(|file| file.path.clone()).collect(), "name the file for the concept that it holds")
}

#[test]
fn every_crate_takes_lints_licence_and_dependencies_from_the_workspace() -> Result<()> {
    let mut findings = Vec::new();
    for file in manifests()? {
        let mut section = "";
        for key in ["version", "edition", "rust-version", "license", "repository"] {
            if !file.text.contains(&format!("\n{key}.workspace = true\n")) {
                findings.push(format!("{}: {key}.workspace = true is missing", file.path));
            }
        }
        if !file.text.contains("[lints]\nworkspace = true") {
            findings.push(format!("{}: [lints] workspace = true is missing", file.path));
        }
        if !file.text.contains("\npublish = false\n") {
            findings.push(format!("{}: publish = false is missing", file.path));
        }
        for line in file.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
            } else if section.ends_with("dependencies]") && !line.contains("workspace = true") {
                findings.push(format!("{}: `{line}` is not taken from [workspace.dependencies]", file.path));
            }
        }
    }
    let text = std::fs::read_to_string(root().join("Cargo.toml"))?;
    for wanted in ["license = \"Apache-2.0\"", "unsafe_code = \"deny\"", "missing_docs = \"deny\""] {
        if !text.contains(wanted) {
            findings.push(format!("Cargo.toml: {wanted} is missing"));
        }
    }
    none(findings, "say it once, in the workspace's Cargo.toml:")
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() -> Result<()> {
    // In two halves, so that this file does not find itself.
    let halves = [
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/home", "/"),
        ("index.cra", "tes.io"),
        ("static.cra", "tes.io"),
        ("files.pytho", "nhosted"),
        ("registry.np", "mjs"),
        ("deb.debi", "an.org"),
    ];
    let banned = halves.map(|(one, other)| format!("{one}{other}"));
    let mut findings = Vec::new();
    for file in files()?.iter().filter(|file| file.path != "Cargo.lock") {
        for (at, line) in file.text.lines().enumerate() {
            let found = banned.iter().filter(|banned| line.contains(banned.as_str()));
            findings.extend(found.map(|banned| format!("{}:{}: {banned}", file.path, at + 1)));
        }
    }
    none(findings, "take the path from an argument or the environment, and hosts from the machine's own settings")
}

#[test]
fn every_failpoint_is_a_place_in_the_code() -> Result<()> {
    const LIST: &str = "dt-common/src/failpoint.rs";
    let files = files()?;
    let named = |point: &Failpoint, file: &File| {
        let name = format!("Failpoint::{point:?}");
        file.production()
            .any(|(_, line)| line.split(&name).skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric)))
    };
    let code: Vec<&File> = files
        .iter()
        .filter(|file| file.is_source() && file.path != LIST && !file.path.starts_with("dt-tests/"))
        .collect();
    let nowhere = Failpoint::ALL.iter().filter(|point| !code.iter().any(|file| named(point, file)));
    let findings = nowhere.map(|point| format!("{LIST}: {} is reached nowhere", point.name())).collect();
    none(findings, "put reach(Failpoint::…) where the instant is, or take it off the list")
}

#[test]
fn scripts_can_be_run_and_stop_at_the_first_error() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut findings = Vec::new();
    for file in files()?.iter().filter(|file| file.path.starts_with("scripts/") || file.path == ".ci/run") {
        if file.path.starts_with("scripts/lib/") {
            continue;
        }
        let mode = std::fs::metadata(root().join(&file.path))?.permissions().mode();
        if mode & 0o111 == 0 {
            findings.push(format!("{}: chmod +x", file.path));
        }
        if !file.text.starts_with("#!/usr/bin/env bash\n") || !file.text.contains("\nset -euo pipefail\n") {
            findings.push(format!("{}: #!/usr/bin/env bash and set -euo pipefail", file.path));
        }
    }
    none(findings, "a script that goes on after an error reports success for nothing:")
}
