//! Asking before positions are changed.

use std::io::{BufRead, IsTerminal, Write};

use dt_common::{Error, Result};

/// Refuses at once what could not be asked later.
///
/// # Errors
/// There is no terminal, and `--yes` was not given.
pub fn can_ask(yes: bool) -> Result<()> {
    if yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Error::config("this changes stored positions, and there is no terminal to ask on")
        .hint("give --yes if that is what you want"))
}

/// Shows what is to be done, and whether the user wants it.
///
/// # Errors
/// The terminal cannot be read.
pub async fn confirmed(yes: bool, lines: &[String]) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    let text = format!("{}\nType yes to go on: ", lines.join("\n"));
    let asking = tokio::task::spawn_blocking(move || {
        let mut terminal = std::io::stderr().lock();
        terminal.write_all(text.as_bytes())?;
        terminal.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    });
    let failed = "the terminal cannot be read";
    let answer: std::io::Result<String> = asking.await.map_err(|error| Error::fatal(failed).caused_by(error))?;
    Ok(is_yes(&answer.map_err(|error| Error::fatal(failed).caused_by(error))?))
}

fn is_yes(answer: &str) -> bool {
    answer.trim().eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_counts() {
        assert!(is_yes("yes\n") && is_yes(" YES \r\n"));
        for answer in ["", "\n", "y\n", "no\n", "yes!\n"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
