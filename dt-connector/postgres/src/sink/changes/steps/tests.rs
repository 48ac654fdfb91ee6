use super::*;

fn traits() -> Traits {
    Traits {
        target: 0,
        key: Some(KeyPlaces::new(vec![0])),
        meets_itself: true,
        unique_elsewhere: false,
        keeps_columns: false,
    }
}

fn insert(after: &[u8]) -> Done<'_> {
    Done::Row(RowChange::Insert { after })
}

fn update<'a>(before: &'a [u8], after: &'a [u8]) -> Done<'a> {
    Done::Row(RowChange::Update { before, after })
}

fn delete(before: &[u8]) -> Done<'_> {
    Done::Row(RowChange::Delete { before })
}

fn of<'a>(traits: &Traits, changes: &[Done<'a>], duplicates: Duplicates, mode: Mode) -> Vec<Step<'a>> {
    steps(std::slice::from_ref(traits), changes.iter().map(|&change| (0, change)), duplicates, mode)
}

fn folded_steps<'a>(traits: &Traits, changes: &[Done<'a>]) -> Vec<Step<'a>> {
    of(traits, changes, Duplicates::Replace, Mode::Folded)
}

fn rows<'a>(rows: &[&'a [u8]]) -> Vec<Cow<'a, [u8]>> {
    rows.iter().map(|row| Cow::Borrowed(*row)).collect()
}

fn writes<'a>(these: &[&'a [u8]]) -> Step<'a> {
    Step::Write { table: 0, rows: rows(these) }
}

fn deletes<'a>(rows: &[&'a [u8]]) -> Step<'a> {
    Step::DeleteKeys { table: 0, rows: rows.to_vec() }
}

#[test]
fn deletes_come_first_and_writes_last() {
    let changes = [insert(b"1\ta"), update(b"2\tx", b"2\ty"), delete(b"3\t\\T"), update(b"4\tp", b"5\tp")];
    assert_eq!(
        folded_steps(&traits(), &changes),
        [deletes(&[b"2\ty", b"3\t\\T", b"4\tp"]), writes(&[b"1\ta", b"2\ty", b"5\tp"])],
        "a row that is new is not looked for"
    );
}

#[test]
fn a_row_with_columns_of_the_targets_own_is_written_over() {
    let kept = Traits { keeps_columns: true, ..traits() };
    let changes = [update(b"2\tx", b"2\ty"), delete(b"3\tz")];
    assert_eq!(folded_steps(&kept, &changes), [deletes(&[b"3\tz"]), writes(&[b"2\ty"])]);
    let nothing_to_meet = Traits { meets_itself: false, ..traits() };
    assert_eq!(
        folded_steps(&nothing_to_meet, &[insert(b"1\ta")]),
        [deletes(&[b"1\ta"]), writes(&[b"1\ta"])],
        "without a unique key the row that may be there is deleted"
    );
    assert_eq!(
        of(&traits(), &[insert(b"1\ta"), update(b"2\tx", b"2\ty")], Duplicates::Refuse, Mode::Folded),
        [deletes(&[b"2\ty"]), writes(&[b"1\ta", b"2\ty"])]
    );
}

#[test]
fn rows_that_are_not_said_whole_are_patched_by_what_they_say() {
    let changes =
        [update(b"1\t\\T\ta", b"1\t\\T\ta"), update(b"2\tb\t\\T", b"2\tb\t\\T"), update(b"3\t\\T\tc", b"3\t\\T\tc")];
    assert_eq!(
        folded_steps(&traits(), &changes),
        [
            Step::Patch { table: 0, kept: vec![1], rows: rows(&[b"1\t\\T\ta", b"3\t\\T\tc"]) },
            Step::Patch { table: 0, kept: vec![2], rows: rows(&[b"2\tb\t\\T"]) },
        ]
    );
}

#[test]
fn a_row_that_moves_with_unsaid_values_separates_what_was_before() {
    let changes = [insert(b"1\ta"), update(b"2\t\\T", b"3\t\\T"), update(b"3\tb", b"3\tb")];
    assert_eq!(
        folded_steps(&traits(), &changes),
        [
            writes(&[b"1\ta"]),
            Step::Move { table: 0, before: b"2\t\\T", after: b"3\t\\T" },
            deletes(&[b"3\tb"]),
            writes(&[b"3\tb"]),
        ]
    );
}

#[test]
fn a_truncate_separates_and_tables_of_one_statement_stay_together() {
    let other = Traits { target: 1, ..traits() };
    let truncate = Done::Truncate { restart_identity: false };
    let changes = [(0, insert(b"1\ta")), (0, truncate), (1, truncate), (0, insert(b"1\tb"))];
    assert_eq!(
        steps(&[traits(), other], changes, Duplicates::Replace, Mode::Folded),
        [writes(&[b"1\ta"]), Step::Truncate { tables: vec![0, 1], restart_identity: false }, writes(&[b"1\tb"]),]
    );
}

#[test]
fn rows_without_a_key_are_changed_one_by_one() {
    let keyless = Traits { key: None, meets_itself: false, ..traits() };
    let changes = [insert(b"a"), update(b"a", b"b"), delete(b"b"), insert(b"c"), insert(b"c")];
    let one_by_one = [
        writes(&[b"a"]),
        Step::UpdateRow { table: 0, before: b"a", after: b"b" },
        Step::DeleteRow { table: 0, before: b"b" },
        writes(&[b"c", b"c"]),
    ];
    for mode in [Mode::Folded, Mode::InOrder] {
        assert_eq!(of(&keyless, &changes, Duplicates::Replace, mode), one_by_one);
    }
    let unique = Traits { unique_elsewhere: true, ..keyless };
    assert_eq!(
        folded_steps(&unique, &[update(b"a", b"b")]),
        [Step::DeleteRow { table: 0, before: b"a" }, writes(&[b"b"])]
    );
}

#[test]
fn in_order_each_change_is_what_it_was() {
    let changes = [
        insert(b"1\ta"),
        insert(b"2\ta"),
        update(b"1\ta", b"1\tb"),
        delete(b"2\ta"),
        update(b"1\tb", b"3\tb"),
        update(b"3\t\\T", b"3\t\\T"),
    ];
    assert_eq!(
        of(&traits(), &changes, Duplicates::Update, Mode::InOrder),
        [
            writes(&[b"1\ta", b"2\ta"]),
            writes(&[b"1\tb"]),
            deletes(&[b"2\ta"]),
            Step::Move { table: 0, before: b"1\tb", after: b"3\tb" },
            writes(&[b"3\tb"]),
            Step::Patch { table: 0, kept: vec![1], rows: rows(&[b"3\t\\T"]) },
        ],
        "and no statement writes one key twice"
    );
}
