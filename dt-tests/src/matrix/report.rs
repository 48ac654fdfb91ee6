//! What came of the cells, as a page. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dt_common::Failpoint;

use super::cell::{Database, Phase, Store};
use super::run::Outcome;

/// One line: how many kills, and how many failures.
pub fn summary(outcomes: &[Outcome]) -> String {
    let points: std::collections::BTreeSet<Failpoint> = outcomes.iter().map(|outcome| outcome.cell.point).collect();
    let failures = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    let failures = match failures {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        many => format!("{many} failures"),
    };
    format!("{} kills at {} instants: {failures}", outcomes.len(), points.len())
}

/// README's text with the summary in the line that is kept for it; `None` if there is no such line.
pub fn with_summary(readme: &str, outcomes: &[Outcome]) -> Option<String> {
    let line = readme.lines().find(|line| line.contains("](docs/crash-matrix.md): **"))?;
    let (before, _) = line.split_once(": **")?;
    Some(readme.replace(line, &format!("{before}: **{}**.", summary(outcomes))))
}

/// The page.
pub fn page(outcomes: &[Outcome], seed: u64) -> String {
    let mut text = format!("# Crash matrix\n\n**{}.** Seed {seed}.\n{INTRODUCTION}\n", summary(outcomes));
    kills(&mut text, outcomes);
    redone(&mut text, outcomes);
    failures(&mut text, outcomes);
    text
}

const INTRODUCTION: &str = "
`./scripts/crash-matrix` writes this page. In each cell the real dt-main runs from one real server to another and dies, as by
SIGKILL, at the named instant; it is started again, and then the target is held to what was written to the source: by a
ledger that the load keeps, row for row, and by the servers' own hashes. Tables are keyed by int, two columns, text (ignoring
case on MySQL and MariaDB), bytes, enum, the largest numbers there are, a nullable unique column, and nothing, with equal rows.
Each cell is run for each store of positions that comes to the instant, with one lane and with four. The source's log goes on in
a new file within each load, and after each judgement it loses the files that no stream needs.

With `from_target` every row must be there exactly once, those without a key too. With `from_log` and `from_db`, rows that no
key tells apart may come twice and may not be missing.
";

fn columns() -> impl Iterator<Item = (Database, Phase)> {
    Database::ALL.into_iter().flat_map(|database| Phase::ALL.into_iter().map(move |phase| (database, phase)))
}

fn header(text: &mut String, first: &str) {
    let names: Vec<String> = columns().map(|(database, phase)| format!("{database} {phase}")).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| {first} | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
}

fn kills(text: &mut String, outcomes: &[Outcome]) {
    text.push_str("\n## Kills\n\nKills that ended well, of those that were made.\n\n");
    header(text, "instant");
    for point in Failpoint::ALL {
        let cells: Vec<String> = columns()
            .map(|(database, phase)| {
                let here = outcomes.iter().filter(|outcome| {
                    let cell = outcome.cell;
                    cell.point == *point && (cell.setting.database, cell.setting.phase) == (database, phase)
                });
                let (all, good) = here.fold((0, 0), |(all, good), it| (all + 1, good + u32::from(it.result.is_ok())));
                match all {
                    0 => "–".to_owned(),
                    all => format!("{good}/{all}"),
                }
            })
            .collect();
        let _ = writeln!(text, "| {} | {} |", point.name(), cells.join(" | "));
    }
}

fn redone(text: &mut String, outcomes: &[Outcome]) {
    text.push_str(
        "\n## Work done again\n\nThe most rows or changes that a start after a kill wrote again, and the bound it was held to: for \
         a snapshot, the rows of tables that were not recorded as finished; with `from_target`, those of tables without a key only, \
         which are taken back and copied again. For a stream, what was written since the last clean stop; what was not applied \
         before the kill is in these numbers too.\n\n",
    );
    header(text, "positions");
    for store in Store::ALL {
        let mut most: BTreeMap<(Database, Phase), (u64, u64)> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.cell.setting.store == store) {
            if let Ok(redone) = outcome.result {
                let most = most.entry((outcome.cell.setting.database, outcome.cell.setting.phase)).or_default();
                *most = (*most).max((redone.rows, redone.bound));
            }
        }
        let cells = columns().map(|column| match most.get(&column) {
            Some((rows, bound)) => format!("{rows} of {bound}"),
            None => "–".to_owned(),
        });
        let _ = writeln!(text, "| {store} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

fn failures(text: &mut String, outcomes: &[Outcome]) {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
    if failed.is_empty() {
        return;
    }
    text.push_str("\n## Failures\n");
    for outcome in failed {
        if let Err(why) = &outcome.result {
            let _ = writeln!(text, "\n`{}`\n\n```text\n{why}\n```", outcome.again());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Redone;
    use super::super::cell;
    use super::*;

    #[test]
    fn the_page_tells_what_failed_and_how_to_see_it_again() {
        let mut outcomes: Vec<Outcome> = cell::all()
            .into_iter()
            .map(|cell| Outcome { cell, seed: 7, result: Ok(Redone { rows: 2, bound: 9 }), took: Duration::ZERO })
            .collect();
        let all = outcomes.len();
        assert!(summary(&outcomes).ends_with(&format!("at {} instants: no failure", Failpoint::ALL.len())));
        outcomes[0].result = Err("a row is missing".to_owned());
        let page = page(&outcomes, 7);
        assert!(page.contains(&format!("**{all} kills at ")) && page.contains(": 1 failure.**"), "{page}");
        assert!(page.contains(&format!("./scripts/crash-matrix {} --seed 7", outcomes[0].cell)), "{page}");
        assert!(page.contains("| from_log | 2 of 9 |"), "{page}");
        let readme = "# dt\nThe [crash matrix](docs/crash-matrix.md): **nothing yet**.\n";
        let readme = with_summary(readme, &outcomes).expect("a line for it");
        assert!(
            readme.starts_with(&format!("# dt\nThe [crash matrix](docs/crash-matrix.md): **{all} kills")),
            "{readme}"
        );
    }
}
