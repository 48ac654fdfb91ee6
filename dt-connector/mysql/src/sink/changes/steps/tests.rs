use proptest::prelude::*;

use super::*;

fn traits(key: Option<&[usize]>) -> Traits {
    Traits {
        target: 0,
        key: key.map(|places| KeyPlaces::new(places.to_vec())),
        meets_itself: true,
        unique_elsewhere: false,
    }
}

fn insert(after: &str) -> RowChange<'_> {
    RowChange::Insert { after: after.as_bytes() }
}

fn update<'a>(before: &'a str, after: &'a str) -> RowChange<'a> {
    RowChange::Update { before: before.as_bytes(), after: after.as_bytes() }
}

fn delete(before: &str) -> RowChange<'_> {
    RowChange::Delete { before: before.as_bytes() }
}

fn rows<'a>(rows: &[&'a str]) -> Vec<&'a [u8]> {
    rows.iter().map(|row| row.as_bytes()).collect()
}

#[test]
fn a_table_is_deleted_from_before_it_is_written_to_and_tables_do_not_wait_for_each_other() {
    let tables = [traits(Some(&[0])), Traits { target: 1, ..traits(Some(&[0])) }];
    let changes = [
        (0, insert("1\ta")),
        (1, insert("9\tz")),
        (0, update("2\tb", "2\tc")),
        (1, delete("8\ty")),
        (0, delete("3\td")),
    ];
    assert_eq!(
        steps(&tables, changes, Duplicates::Replace, false),
        [
            Step::DeleteKeys { table: 0, rows: rows(&["3\td"]) },
            Step::Write { table: 0, rows: rows(&["1\ta", "2\tc"]) },
            Step::DeleteKeys { table: 1, rows: rows(&["8\ty"]) },
            Step::Write { table: 1, rows: rows(&["9\tz"]) },
        ]
    );
}

#[test]
fn tables_that_are_merged_into_one_keep_their_order() {
    let tables = [traits(Some(&[0])), traits(Some(&[0]))];
    let changes = [(0, insert("1\ta")), (0, delete("2\tb")), (1, insert("2\tb"))];
    assert_eq!(
        steps(&tables, changes, Duplicates::Replace, false),
        [
            Step::DeleteKeys { table: 0, rows: rows(&["2\tb"]) },
            Step::Write { table: 0, rows: rows(&["1\ta"]) },
            Step::Write { table: 1, rows: rows(&["2\tb"]) },
        ]
    );
}

#[test]
fn rows_without_a_key_are_changed_one_by_one_in_order() {
    let changes = [(0, insert("a")), (0, insert("b")), (0, delete("a")), (0, update("b", "c"))];
    assert_eq!(
        steps(&[traits(None)], changes, Duplicates::Replace, false),
        [
            Step::Write { table: 0, rows: rows(&["a", "b"]) },
            Step::DeleteRow { table: 0, before: b"a", by: By::Image },
            Step::UpdateRow { table: 0, before: b"b", after: b"c", by: By::Image },
        ]
    );
}

#[test]
fn a_row_without_a_key_takes_the_place_of_one_that_moves_away_in_another_unique_key() {
    let tables = [Traits { unique_elsewhere: true, ..traits(Some(&[0])) }];
    let changes = [(0, update("1\ta", "1\tb")), (0, update("\\N\tz", "\\N\ta"))];
    assert_eq!(
        steps(&tables, changes, Duplicates::Replace, false),
        [
            Step::DeleteRow { table: 0, before: b"\\N\tz", by: By::Image },
            Step::Write { table: 0, rows: rows(&["\\N\ta", "1\tb"]) },
        ]
    );
}

#[test]
fn where_no_unique_key_makes_a_row_meet_itself_it_is_deleted_first() {
    let tables = [Traits { meets_itself: false, ..traits(Some(&[0])) }];
    let changes = [(0, insert("1\ta")), (0, update("2\tb", "2\tc"))];
    assert_eq!(
        steps(&tables, changes, Duplicates::Replace, false),
        [
            Step::DeleteKeys { table: 0, rows: rows(&["1\ta", "2\tc"]) },
            Step::Write { table: 0, rows: rows(&["1\ta", "2\tc"]) },
        ]
    );
}

#[test]
fn where_duplicates_are_refused_only_rows_that_the_source_had_go_first() {
    let changes = [(0, insert("1\ta")), (0, update("2\tb", "2\tc"))];
    assert_eq!(
        steps(&[traits(Some(&[0]))], changes, Duplicates::Refuse, false),
        [Step::DeleteKeys { table: 0, rows: rows(&["2\tc"]) }, Step::Write { table: 0, rows: rows(&["1\ta", "2\tc"]) },]
    );
}

#[test]
fn with_foreign_keys_checked_everything_stays_in_the_sources_order() {
    let tables = [traits(Some(&[0])), Traits { target: 1, ..traits(Some(&[0])) }];
    let changes = [
        (0, insert("1\ta")),
        (0, update("2\tb", "2\tc")),
        (1, insert("7\t1")),
        (0, update("1\ta", "5\ta")),
        (1, delete("7\t1")),
        (0, delete("2\tc")),
    ];
    assert_eq!(
        steps(&tables, changes, Duplicates::Update, true),
        [
            Step::Write { table: 0, rows: rows(&["1\ta", "2\tc"]) },
            Step::Write { table: 1, rows: rows(&["7\t1"]) },
            Step::UpdateRow { table: 0, before: b"1\ta", after: b"5\ta", by: By::Key },
            Step::Write { table: 0, rows: rows(&["5\ta"]) },
            Step::DeleteRow { table: 1, before: b"7\t1", by: By::Key },
            Step::DeleteRow { table: 0, before: b"2\tc", by: By::Key },
        ]
    );
}

/// A table as a server keeps it: key (equal whatever its case, may be null where the table lets it), a second unique
/// column, a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model(Vec<[String; 3]>);

const NULL: &str = "\\N";

fn conflict(a: &[String; 3], b: &[String; 3]) -> bool {
    let keys = a[0] != NULL && a[0].to_lowercase() == b[0].to_lowercase();
    keys || (a[1] != NULL && a[1] == b[1])
}

fn text(row: &[String; 3]) -> String {
    row.join("\t")
}

fn parsed(row: &[u8]) -> [String; 3] {
    let text = std::str::from_utf8(row).expect("utf-8");
    let fields: Vec<String> = text.split('\t').map(str::to_owned).collect();
    fields.try_into().expect("three columns")
}

/// A change as texts, so that a history owns its rows.
#[derive(Clone, Debug)]
enum Done {
    Insert(String),
    Update(String, String),
    Delete(String),
}

impl Done {
    fn change(&self) -> RowChange<'_> {
        match self {
            Done::Insert(after) => insert(after),
            Done::Update(before, after) => update(before, after),
            Done::Delete(before) => delete(before),
        }
    }
}

/// What somebody wants to do: which row (by a number, if there is one), and the row it becomes.
type Wish = (u8, usize, [String; 3]);

impl Model {
    /// Does what was wished for if a server would let it.
    fn wish(&mut self, (what, nth, row): &Wish) -> Option<Done> {
        let at = (!self.0.is_empty()).then(|| nth % self.0.len());
        let free = |except: Option<usize>| {
            self.0.iter().enumerate().all(|(at, other)| Some(at) == except || !conflict(other, row))
        };
        match (what % 4, at) {
            (0, _) | (_, None) => free(None).then(|| {
                self.0.push(row.clone());
                Done::Insert(text(row))
            }),
            (1, Some(at)) => Some(Done::Delete(text(&self.0.remove(at)))),
            (_, Some(at)) => free(Some(at)).then(|| {
                let before = std::mem::replace(&mut self.0[at], row.clone());
                Done::Update(text(&before), text(row))
            }),
        }
    }

    fn sorted(&self) -> Vec<[String; 3]> {
        let mut rows = self.0.clone();
        rows.sort();
        rows
    }

    /// Executes a step as a server would.
    fn execute(&mut self, step: &Step<'_>, duplicates: Duplicates) {
        match step {
            Step::DeleteKeys { rows, .. } => {
                for row in rows {
                    let key = parsed(row)[0].to_lowercase();
                    self.0.retain(|other| other[0].to_lowercase() != key);
                }
            }
            Step::Write { rows, .. } => rows.iter().for_each(|row| self.write(parsed(row), duplicates)),
            Step::DeleteRow { before, by, .. } => {
                if let Some(at) = self.find(before, *by) {
                    self.0.remove(at);
                }
            }
            Step::UpdateRow { before, after, by, .. } => {
                if let Some(at) = self.find(before, *by) {
                    let after = parsed(after);
                    let free = self.0.iter().enumerate().all(|(other, row)| other == at || !conflict(row, &after));
                    assert!(free, "a duplicate");
                    self.0[at] = after;
                }
            }
        }
    }

    fn find(&self, before: &[u8], by: By) -> Option<usize> {
        let before = parsed(before);
        self.0.iter().position(|row| match by {
            By::Key => row[0].to_lowercase() == before[0].to_lowercase(),
            By::Image => *row == before,
        })
    }

    fn write(&mut self, row: [String; 3], duplicates: Duplicates) {
        match duplicates {
            Duplicates::Replace => {
                self.0.retain(|other| !conflict(other, &row));
                self.0.push(row);
            }
            Duplicates::Update => {
                match self.0.iter().position(|other| conflict(other, &row)) {
                    Some(at) => self.0[at] = row.clone(),
                    None => self.0.push(row.clone()),
                }
                assert!(self.0.iter().filter(|other| conflict(other, &row)).count() <= 1, "a duplicate");
            }
            Duplicates::Refuse => {
                assert!(self.0.iter().all(|other| !conflict(other, &row)), "a duplicate");
                self.0.push(row);
            }
            Duplicates::Leave => {
                if self.0.iter().all(|other| !conflict(other, &row)) {
                    self.0.push(row);
                }
            }
        }
    }

    fn apply(&mut self, history: &[Done], duplicates: Duplicates, checked: bool) {
        let changes = history.iter().map(|done| (0, done.change()));
        let table = Traits { unique_elsewhere: true, ..traits(Some(&[0])) };
        for step in steps(&[table], changes, duplicates, checked) {
            self.execute(&step, duplicates);
        }
    }
}

fn wishes(keys: Vec<&'static str>) -> impl Strategy<Value = Vec<Wish>> {
    let key = prop::sample::select(keys);
    let second = prop::sample::select(vec!["1", "2", "3", "4", NULL]);
    let row = (key, second, 0u8..3).prop_map(|(key, second, value)| [key.into(), second.into(), value.to_string()]);
    prop::collection::vec((any::<u8>(), any::<usize>(), row), 0..40)
}

const CASED: [&str; 8] = ["a", "A", "b", "B", "c", "C", "d", "e"];

/// The states of a history, the empty one first, and what was done between them.
fn history(wishes: &[Wish]) -> (Vec<Model>, Vec<Done>) {
    let (mut states, mut done) = (vec![Model::default()], Vec::new());
    for wish in wishes {
        let mut state = states[states.len() - 1].clone();
        if let Some(change) = state.wish(wish) {
            states.push(state);
            done.push(change);
        }
    }
    (states, done)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_folded_batch_leaves_the_state_that_its_history_left(wishes in wishes(CASED.to_vec()), from in any::<usize>()) {
        let (states, done) = history(&wishes);
        let from = from % states.len();
        for duplicates in [Duplicates::Replace, Duplicates::Refuse, Duplicates::Leave] {
            let mut target = states[from].clone();
            target.apply(&done[from..], duplicates, false);
            prop_assert_eq!(target.sorted(), states[states.len() - 1].sorted(), "{:?}", duplicates);
        }
    }

    #[test]
    fn a_target_that_is_ahead_is_right_again_once_the_stream_has_passed_it(
        wishes in wishes(CASED.to_vec()), from in any::<usize>(), ahead in any::<usize>(), cut in 1usize..12)
    {
        let (states, done) = history(&wishes);
        let from = from % states.len();
        let ahead = from + ahead % (states.len() - from);
        let mut target = states[ahead].clone();
        let mut at = from;
        for batch in done[from..].chunks(cut) {
            target.apply(batch, Duplicates::Replace, false);
            at += batch.len();
            if at >= ahead {
                prop_assert_eq!(target.sorted(), states[at].sorted());
            }
        }
    }

    #[test]
    fn a_batch_that_is_applied_twice_leaves_what_it_left(wishes in wishes(CASED.to_vec()), from in any::<usize>()) {
        let (states, done) = history(&wishes);
        let from = from % states.len();
        let mut target = states[from].clone();
        target.apply(&done[from..], Duplicates::Replace, false);
        target.apply(&done[from..], Duplicates::Replace, false);
        prop_assert_eq!(target.sorted(), states[states.len() - 1].sorted());
    }

    #[test]
    fn rows_with_null_keys_are_right_among_rows_with_keys(
        wishes in wishes(vec!["a", "A", "b", NULL, NULL]), from in any::<usize>())
    {
        let (states, done) = history(&wishes);
        let from = from % states.len();
        let mut target = states[from].clone();
        target.apply(&done[from..], Duplicates::Replace, false);
        prop_assert_eq!(target.sorted(), states[states.len() - 1].sorted());
    }

    #[test]
    fn in_the_sources_order_no_row_takes_anothers_place(
        wishes in wishes(vec!["a", "A", "b", "B", "c", NULL]), from in any::<usize>())
    {
        let (states, done) = history(&wishes);
        let from = from % states.len();
        for duplicates in [Duplicates::Update, Duplicates::Refuse, Duplicates::Leave] {
            let mut target = states[from].clone();
            target.apply(&done[from..], duplicates, true);
            prop_assert_eq!(target.sorted(), states[states.len() - 1].sorted(), "{:?}", duplicates);
        }
    }
}
