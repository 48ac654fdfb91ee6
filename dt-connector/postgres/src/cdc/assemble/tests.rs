use dt_common::TableId;
use dt_common::schema::{Column, Key, TableSchema};

use super::super::pgoutput::{Identity, RelationColumn, Within, parse};
use super::*;

const ALL: Events = Events { insert: true, update: true, delete: true };

fn provenance() -> Provenance {
    let lineage = Lineage { source: Some("7/shop".into()), target: None };
    Provenance { slot: "dt_1".into(), timeline: 1, lineage }
}

fn assembler(events: Events, start_time: Option<Moment>) -> Assembler {
    assembler_with(events, start_time, false)
}

/// Of a source that can be asked for rows, or that cannot.
fn assembler_with(events: Events, start_time: Option<Moment>, asks: bool) -> Assembler {
    let mut assembler = Assembler::new(Lsn(0x100), events, start_time, provenance(), 0);
    let column = |name: &str, in_key| RelationColumn { in_key, name: name.into(), type_oid: 23, type_modifier: -1 };
    let relation = Relation {
        oid: 7,
        schema: "s".into(),
        table: "t".into(),
        identity: Identity::Default,
        columns: vec![column("id", true), column("v", false)],
    };
    let schema = |column: &RelationColumn| Column {
        name: column.name.clone(),
        data_type: "integer".into(),
        nullable: true,
        charset: None,
        collation: None,
        binary_form: None,
    };
    let source = TableSchema {
        id: TableId::new("s", "t"),
        columns: relation.columns.iter().map(schema).collect(),
        key: Some(Key { name: "t_pkey".into(), columns: vec![0], nullable: false }),
        rows_estimate: 0,
    };
    let table = RoutedTable { target: source.id.clone(), target_columns: vec!["id".into(), "v".into()], source };
    let lookup = asks.then(Lookup::sample);
    let followed = FollowedTable { table: Arc::new(table), plan: ImagePlan::new(&relation, |_| true), lookup };
    assembler.learn(7, Some(Arc::new(followed)));
    assembler.learn(8, None);
    // The first block says where the stream begins.
    let first = assembler.take_block().expect("the same stream").expect("says where it begins");
    assert_eq!((first.rows, lsn(first.checkpoint.as_ref())), (0, Some(Lsn(0x100))));
    assembler
}

fn lsn(position: Option<&Position>) -> Option<Lsn> {
    match position {
        Some(Position::PgCdc(cdc)) => cdc.lsn.parse().ok(),
        Some(_) | None => None,
    }
}

fn row(values: &[Option<&str>]) -> Vec<u8> {
    let mut bytes = (values.len() as i16).to_be_bytes().to_vec();
    for value in values {
        match value {
            None => bytes.push(b'u'),
            Some(text) => {
                bytes.push(b't');
                bytes.extend((text.len() as i32).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

fn on(assembler: &mut Assembler, message: &[u8]) -> Result<()> {
    let message = parse(message, Within::Committed).expect("is a message");
    assembler.on(message).map(|next| assert!(matches!(next, Next::Nothing)))
}

fn begin(assembler: &mut Assembler, commit: u64, at: i64) {
    on(assembler, &[&b"B"[..], &commit.to_be_bytes(), &at.to_be_bytes(), &[0; 4]].concat()).expect("begins");
}

fn commit(assembler: &mut Assembler, commit: u64, end: u64, at: i64) -> Result<()> {
    on(assembler, &[&b"C\0"[..], &commit.to_be_bytes(), &end.to_be_bytes(), &at.to_be_bytes()].concat())
}

fn insert(oid: u8, values: &[Option<&str>]) -> Vec<u8> {
    [&[b'I', 0, 0, 0, oid, b'N'][..], &row(values)].concat()
}

fn texts(block: &Block) -> Vec<String> {
    let BlockContents::Changes(changes) = &block.contents else { panic!("are changes") };
    let text =
        |range: &Range<usize>| String::from_utf8_lossy(&block.data[range.clone()]).trim_end_matches('\n').to_owned();
    changes
        .iter()
        .map(|change| match &change.op {
            Op::Insert { after } => format!("+{}", text(after)),
            Op::Update { before, after } => format!("{}>{}", text(before), text(after)),
            Op::Delete { before } => format!("-{}", text(before)),
            Op::Truncate { restart_identity } => format!("truncate {restart_identity}"),
            Op::Ddl { command } => format!("ddl {}", text(command)),
        })
        .collect()
}

#[test]
fn only_the_end_of_a_transaction_is_a_checkpoint() {
    let mut assembler = assembler(ALL, None);
    begin(&mut assembler, 0x200, 5);
    on(&mut assembler, &insert(7, &[Some("1"), Some("a")])).expect("is a row");
    assert!(assembler.in_transaction());
    let within = assembler.take_block().expect("the same stream").expect("has a row");
    assert_eq!(texts(&within), ["+1\ta"]);
    assert_eq!(within.checkpoint, None, "a transaction that is larger than a block goes on in the next");
    assert_eq!(lsn(within.progress.as_ref()), Some(Lsn(0x200)));
    on(&mut assembler, &insert(7, &[Some("2"), Some("b")])).expect("is a row");
    commit(&mut assembler, 0x200, 0x230, 5).expect("ends");
    let last = assembler.take_block().expect("the same stream").expect("has a row");
    assert_eq!((texts(&last), lsn(last.checkpoint.as_ref())), (vec!["+2\tb".to_owned()], Some(Lsn(0x230))));
    assert!(assembler.take_block().expect("the same stream").is_none(), "nothing has moved");
    let Some(Position::PgCdc(cdc)) = last.checkpoint else { panic!("is one") };
    assert_eq!(cdc.timestamp, "2000-01-01 00:00:00.000");
    assert_eq!(cdc.lineage.source.as_deref(), Some("7/shop"));
}

#[test]
fn changes_say_what_the_stream_says_and_no_more() {
    let mut assembler = assembler(ALL, None);
    begin(&mut assembler, 0x200, 5);
    for message in [
        [&[b'U', 0, 0, 0, 7, b'N'][..], &row(&[Some("1"), None])].concat(),
        [&[b'U', 0, 0, 0, 7, b'K'][..], &row(&[Some("1"), Some("")]), b"N", &row(&[Some("2"), None])].concat(),
        [&[b'D', 0, 0, 0, 7, b'K'][..], &row(&[Some("2"), Some("")])].concat(),
        vec![b'T', 0, 0, 0, 2, 2, 0, 0, 0, 8, 0, 0, 0, 7],
        insert(8, &[Some("a table that is not copied")]),
    ] {
        on(&mut assembler, &message).expect("is understood");
    }
    let block = assembler.take_block().expect("the same stream").expect("has changes");
    assert_eq!(texts(&block), ["1\t\\T>1\t\\T", "1\t\\T>2\t\\T", "-2\t\\T", "truncate true"]);
}

#[test]
fn a_row_that_moves_with_values_that_are_not_sent_is_asked_for() {
    let mut assembler = assembler_with(ALL, None, true);
    begin(&mut assembler, 0x200, 5);
    let moved = [&[b'U', 0, 0, 0, 7, b'K'][..], &row(&[Some("1"), Some("")]), b"N", &row(&[Some("2"), None])].concat();
    for now in [Some(&b"3\tlong"[..]), None] {
        let message = parse(&moved, Within::Committed).expect("is a message");
        let Next::Row(asked) = assembler.on(message).expect("is understood") else { panic!("is not asked for") };
        assert_eq!(asked.row, b"2\t\\T");
        assert!(on(&mut assembler, &insert(7, &[Some("4"), Some("a")])).is_err(), "nothing comes before the answer");
        assembler.complete(now);
    }
    for in_place in [
        [&[b'U', 0, 0, 0, 7, b'N'][..], &row(&[Some("1"), None])].concat(),
        // A key that is stored out of line is sent although it did not change.
        [&[b'U', 0, 0, 0, 7, b'K'][..], &row(&[Some("1"), Some("")]), b"N", &row(&[None, None])].concat(),
        [&[b'U', 0, 0, 0, 7, b'K'][..], &row(&[Some("1"), Some("")]), b"N", &row(&[Some("2"), Some("said")])].concat(),
    ] {
        on(&mut assembler, &in_place).expect("is not asked for");
    }
    let block = assembler.take_block().expect("the same stream").expect("has changes");
    let expected = ["1\t\\T>2\tlong", "1\t\\T>2\t\\T", "1\t\\T>1\t\\T", "1\t\\T>1\t\\T", "1\t\\T>2\tsaid"];
    assert_eq!(texts(&block), expected);
}

#[test]
fn kinds_of_changes_that_are_not_followed_are_left_out() {
    let mut assembler = assembler(Events { insert: false, update: true, delete: false }, None);
    begin(&mut assembler, 0x200, 5);
    for message in [
        insert(7, &[Some("1"), Some("a")]),
        [&[b'D', 0, 0, 0, 7, b'K'][..], &row(&[Some("2"), Some("")])].concat(),
        vec![b'T', 0, 0, 0, 1, 0, 0, 0, 0, 7],
    ] {
        on(&mut assembler, &message).expect("is understood");
    }
    commit(&mut assembler, 0x200, 0x230, 5).expect("ends");
    let block = assembler.take_block().expect("the same stream").expect("has moved");
    assert_eq!((texts(&block).len(), lsn(block.checkpoint.as_ref())), (0, Some(Lsn(0x230))));
}

#[test]
fn what_was_committed_before_start_time_is_left_out_and_passed() {
    let mut assembler = assembler(ALL, Some(Moment(10)));
    for (lsn, at) in [(0x200, 9), (0x300, 10)] {
        begin(&mut assembler, lsn, at);
        on(&mut assembler, &insert(7, &[Some(&at.to_string()), Some("")])).expect("is a row");
        commit(&mut assembler, lsn, lsn + 8, at).expect("ends");
    }
    let block = assembler.take_block().expect("the same stream").expect("has a row");
    assert_eq!((texts(&block), lsn(block.checkpoint.as_ref())), (vec!["+10\t".to_owned()], Some(Lsn(0x308))));
}

#[test]
fn an_idle_source_moves_the_checkpoint_but_never_within_a_transaction() {
    let mut assembler = assembler(ALL, None);
    assembler.idle(Lsn(0x180), Moment(3));
    let block = assembler.take_block().expect("the same stream").expect("has moved");
    assert_eq!((block.rows, lsn(block.checkpoint.as_ref())), (0, Some(Lsn(0x180))));
    assembler.idle(Lsn(0x150), Moment(4));
    assert!(assembler.take_block().expect("the same stream").is_none(), "it never goes back");
    begin(&mut assembler, 0x200, 5);
    assembler.idle(Lsn(0x500), Moment(6));
    assert!(assembler.take_block().expect("the same stream").is_none());
    assert_eq!(assembler.checkpoint(), Lsn(0x180));
}

#[test]
fn a_stream_out_of_order_is_refused() {
    let mut none = assembler(ALL, None);
    assert!(on(&mut none, &insert(7, &[Some("1"), Some("a")])).is_err(), "a row outside a transaction");
    assert!(commit(&mut none, 1, 2, 3).is_err());
    let mut open = assembler(ALL, None);
    begin(&mut open, 0x200, 5);
    assert!(open.begin(Lsn(0x300), Moment(6)).is_err());
    assert!(commit(&mut open, 0x300, 0x330, 6).is_err(), "the end of another one");
    let mut open = assembler(ALL, None);
    begin(&mut open, 0x200, 5);
    assert!(on(&mut open, &insert(9, &[Some("1")])).is_err(), "a table that was not described");
    let error = on(&mut open, &insert(7, &[Some("secret")])).expect_err("has too few values").to_string();
    assert!(error.contains("`s`.`t`") && !error.contains("secret"), "{error}");
}
