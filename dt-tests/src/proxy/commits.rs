//! Commits on their way to a server, recognised by their words alone. Pure.

/// What a client says to commit: in SQL (MySQL and MariaDB in COM_QUERY, PostgreSQL in a simple query, by itself or as the
/// last of several statements), and the command of MongoDB.
const WORDS: [&[u8]; 2] = [b"COMMIT", b"commitTransaction"];

/// Where `READ COMMITTED` goes on.
const GOES_ON: u8 = b'T';

/// Counts the commits of one connection, also those that arrive in two pieces.
#[derive(Debug, Default)]
pub(super) struct Commits {
    // The end of what was seen, shorter than the longest word.
    end: Vec<u8>,
}

impl Commits {
    /// How many commits end in these bytes.
    pub(super) fn seen_in(&mut self, bytes: &[u8]) -> u64 {
        let seen_before = self.end.len();
        let mut window = std::mem::take(&mut self.end);
        window.extend_from_slice(bytes);
        let ends_here = |word: &[u8], at: usize| {
            let end = at + word.len();
            end > seen_before && window[at..].starts_with(word) && window.get(end) != Some(&GOES_ON)
        };
        let seen = (0..window.len()).filter(|&at| WORDS.iter().any(|word| ends_here(word, at))).count();
        let longest = WORDS.iter().map(|word| word.len()).max().unwrap_or(1);
        self.end = window.split_off(window.len().saturating_sub(longest - 1));
        seen as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_seen_however_they_are_cut_and_each_once() {
        let said = b"\x07\0\0\0\x03COMMIT Q\0\0\0\x0bCOMMIT\0 SET x READ COMMITTED; \x02commitTransaction\0 commit";
        assert_eq!(Commits::default().seen_in(said), 3);
        for at in 0..said.len() {
            // A word that is cut off before its last letters may go on.
            let is_within_committed = said[..at].ends_with(b"READ COMMIT");
            let mut commits = Commits::default();
            let seen = commits.seen_in(&said[..at]) + commits.seen_in(&said[at..]);
            assert_eq!(seen, 3 + u64::from(is_within_committed), "cut at {at}");
        }
        let mut commits = Commits::default();
        assert_eq!(said.iter().map(|byte| commits.seen_in(&[*byte])).sum::<u64>(), 4);
    }
}
