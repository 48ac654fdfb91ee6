//! Waiting for a fact, never for a duration.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a fact is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks until the answer is `Some`, and gives it back.
///
/// # Errors
/// What `ask` fails with, or, after `limit`, that `what` did not come true.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain until {what}", limit.as_secs_f64());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_never_comes_true_is_an_error_that_names_it() {
        let error = until::<()>("pigs fly", Duration::ZERO, || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("pigs fly"), "{error}");
    }

    #[test]
    fn the_answer_comes_back_as_soon_as_it_is_there() {
        let mut asked = 0;
        let answer = until("third time", Duration::from_secs(60), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(answer.unwrap(), 3);
    }
}
