//! What the command line asks for.

use anyhow::{Context, Result, bail};

/// What `--help` says.
pub(crate) const USAGE: &str = "\
quickstart [mysql|pg|mongo] [--rows N] [--kills K]

  mysql      from one MySQL server to another (the default)
  pg         from PostgreSQL 15 to PostgreSQL 18
  mongo      from one MongoDB replica set to another
  --rows N   rows of the database that is copied (400,000; pg: 1,000,000)
  --kills K  kills of each part (2)

A database is copied, and one that is in use is followed while a writer changes it. Both are killed with SIGKILL,
resumed, and proved equal by the servers. The exit code tells.";

/// Between which servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// Two of MySQL.
    Mysql,
    /// PostgreSQL 15 and PostgreSQL 18.
    Postgres,
    /// Two replica sets of MongoDB.
    Mongo,
}

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Between which servers.
    pub(crate) between: Between,
    /// Rows of the database that is copied.
    pub(crate) rows: u64,
    /// Kills of each part.
    pub(crate) kills: u32,
}

/// Reads the arguments; `None` if they ask for help.
///
/// # Errors
/// One of them is not known, or no number.
pub(crate) fn read(words: impl IntoIterator<Item = String>) -> Result<Option<Plan>> {
    let (mut between, mut rows, mut kills) = (None, None, 2);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse().ok()).context(format!("{word} needs a number"));
        match word.as_str() {
            "mysql" if between.is_none() => between = Some(Between::Mysql),
            "pg" if between.is_none() => between = Some(Between::Postgres),
            "mongo" if between.is_none() => between = Some(Between::Mongo),
            "--rows" => rows = Some(number()?),
            "--kills" => kills = u32::try_from(number()?)?,
            "--help" | "-h" => return Ok(None),
            other => bail!("unknown argument `{other}`\n\n{USAGE}"),
        }
    }
    let between = between.unwrap_or(Between::Mysql);
    let rows = rows.unwrap_or(match between {
        Between::Mysql | Between::Mongo => 400_000,
        Between::Postgres => 1_000_000,
    });
    if rows < 1000 {
        bail!("--rows must be 1000 or more");
    }
    Ok(Some(Plan { between, rows, kills }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<Plan>> {
        read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_a_word_it_is_mysql() -> Result<()> {
        assert_eq!(of("")?, Some(Plan { between: Between::Mysql, rows: 400_000, kills: 2 }));
        assert_eq!(of("--kills 4 pg")?, Some(Plan { between: Between::Postgres, rows: 1_000_000, kills: 4 }));
        assert_eq!(of("pg --rows 300000")?.map(|plan| plan.rows), Some(300_000));
        assert_eq!(of("mongo")?.map(|plan| plan.between), Some(Between::Mongo));
        assert_eq!(of("pg --help")?, None);
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        for line in ["oracle", "pg mysql", "--rows", "--rows x", "--rows 1", "--kills -1"] {
            assert!(of(line).is_err(), "{line}");
        }
        assert!(of("oracle").is_err_and(|error| error.to_string().contains("--kills K")));
    }
}
