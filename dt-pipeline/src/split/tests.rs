use super::*;

fn table(name: &str) -> Arc<RoutedTable> {
    let id = TableId::new("db", name);
    let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
    Arc::new(RoutedTable { source, target: id, target_columns: vec![] })
}

fn place(at: u64) -> Option<Position> {
    Some(Position::MysqlCdc(dt_common::position::MysqlCdc {
        server_id: String::new(),
        binlog_filename: String::new(),
        next_event_position: at,
        gtid_set: String::new(),
        timestamp: String::new(),
        behind: None,
        lineage: dt_common::position::Lineage::default(),
    }))
}

/// A block of inserts of these keys; of `a>b` an update that moves a key, of `!` a TRUNCATE.
fn block(table: &Arc<RoutedTable>, keys: &[&str], checkpoint: Option<u64>, behind: u64) -> Block {
    let (mut data, mut changes) = (Vec::new(), Vec::new());
    let mut row = |key: &str| {
        let start = data.len();
        data.extend_from_slice(format!("{key}\tv\n").as_bytes());
        start..data.len()
    };
    for key in keys {
        let op = match key.split_once('>') {
            _ if *key == "!" => Op::Truncate { restart_identity: false },
            Some((before, after)) => Op::Update { before: row(before), after: row(after) },
            None => Op::Insert { after: row(key) },
        };
        changes.push(Change { table: table.clone(), op });
    }
    Block {
        lane: LaneId(9),
        rows: changes.len() as u64,
        contents: BlockContents::Changes(changes),
        format: RowFormat::MysqlText,
        data: Bytes::from(data),
        progress: place(100),
        checkpoint: checkpoint.and_then(place),
        behind,
        spread: Spread::default(),
    }
}

/// A part as text: `lane: keys`, and what is said with it.
fn told(part: &Block) -> String {
    let row =
        |row: &Range<usize>| String::from_utf8_lossy(&part.data[row.clone()]).split('\t').next().map(str::to_owned);
    let changes: Vec<String> = changes(part)
        .iter()
        .map(|change| match &change.op {
            Op::Insert { after } => row(after).unwrap_or_default(),
            Op::Update { before, after } => {
                format!("{}>{}", row(before).unwrap_or_default(), row(after).unwrap_or_default())
            }
            Op::Truncate { .. } => "!".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    let Spread { serial, index, barrier, ruled, .. } = &part.spread;
    let positions = if part.progress.is_some() { " at" } else { "" };
    let checkpoint = if part.checkpoint.is_some() { " checkpoint" } else { "" };
    let alone = if *barrier { " alone" } else { "" };
    let ruled = ruled.as_ref().map_or(String::new(), |ruled| format!(" rule {:?}", ruled.rule));
    let before = index - part.behind;
    format!("{}:{}{alone}{ruled} #{serial} {before}..{index}{positions}{checkpoint}", part.lane.0, changes.join(","))
}

fn split(splitter: &mut Splitter, block: Block) -> Vec<String> {
    let parts = splitter.split(block).expect("a source that counts right");
    assert!(parts.iter().all(|part| part.rows == changes(part).len() as u64));
    parts.iter().map(told).collect()
}

fn lanes(count: u32) -> Lanes {
    Lanes { count, ..Lanes::default() }
}

fn by_key() -> Rule {
    Rule::ByKey(vec![0])
}

/// A splitter over two lanes that knows a table, and two keys for each lane.
fn of_two(lanes: Lanes) -> (Splitter, Arc<RoutedTable>, [[String; 2]; 2]) {
    let mut splitter = Splitter::new(lanes);
    let table = table("t");
    splitter.learn(table.clone(), by_key());
    let mut keys: [Vec<String>; 2] = Default::default();
    for key in 0..20 {
        let block = block(&table, &[&key.to_string()], None, 0);
        match splitter.spread(&changes(&block)[0], &by_key(), block.format, &block.data) {
            Way::Lane(lane) => keys[lane as usize].push(key.to_string()),
            other => panic!("{other:?}"),
        }
    }
    let two = |keys: &Vec<String>| [keys[0].clone(), keys[1].clone()];
    let keys = [two(&keys[0]), two(&keys[1])];
    (splitter, table, keys)
}

#[test]
fn every_lane_gets_a_part_of_every_block_with_its_positions() {
    let (mut splitter, table, [[a, _], [b, d]]) = of_two(lanes(2));
    let parts = split(&mut splitter, block(&table, &[&a, &b, &d], Some(1), 1));
    assert_eq!(parts, [format!("0:{a} #1 2..3 at checkpoint"), format!("1:{b},{d} #1 2..3 at checkpoint")]);
    let parts = split(&mut splitter, block(&table, &[&b], None, 2));
    assert_eq!(parts, ["0: #2 2..4 at".to_owned(), format!("1:{b} #2 2..4 at")]);
}

#[test]
fn what_belongs_to_two_lanes_or_to_all_goes_alone_between_what_is_before_it_and_behind_it() {
    let (mut splitter, table, [[a, c], [b, d]]) = of_two(lanes(2));
    let _ = split(&mut splitter, block(&table, &[], Some(1), 0));
    let moves = format!("{a}>{b}");
    let parts = split(&mut splitter, block(&table, &[&a, &b, &moves, &c], Some(2), 1));
    let expected = [
        format!("0:{a} #1 0..2"),
        format!("1:{b} #1 0..2"),
        format!("0:{moves} alone #1 0..3"),
        format!("0:{c} #2 3..4 at checkpoint"),
        "1: #2 3..4 at checkpoint".to_owned(),
    ];
    assert_eq!(parts, expected);
    let stays = format!("{b}>{d}");
    assert_eq!(split(&mut splitter, block(&table, &[&stays], None, 2))[1], format!("1:{stays} #3 3..5 at"));
    let parts = split(&mut splitter, block(&table, &["!", "!", &d], Some(9), 0));
    assert_eq!(parts[..2], ["0:!,! alone #3 3..7".to_owned(), "0: #4 8..8 at checkpoint".to_owned()]);
}

#[test]
fn a_change_that_a_lane_has_is_left_out_and_counted() {
    let rules = HashMap::from([(TableId::new("db", "t"), Told { rule: by_key(), since: 1 })]);
    let ahead = Lanes { count: 2, begin: 10, reached: vec![13, 11], rules, counts: true };
    let (mut splitter, table, [[a, c], [b, d]]) = of_two(ahead);
    let parts = split(&mut splitter, block(&table, &[], Some(1), 0));
    assert_eq!(parts, ["0: #1 10..10 at checkpoint", "1: #1 10..10 at checkpoint"]);
    // Numbers 11 to 15: the first lane is past 13, the second past 11.
    let parts = split(&mut splitter, block(&table, &[&b, &a, &d, &c, &b], Some(2), 0));
    assert_eq!(parts, [format!("0:{c} #2 15..15 at checkpoint"), format!("1:{d},{b} #2 15..15 at checkpoint")]);
}

#[test]
fn a_barrier_that_has_been_is_told_by_the_first_lane() {
    let rules = HashMap::from([(TableId::new("db", "t"), Told { rule: by_key(), since: 1 })]);
    let (_, _, [[a, _], [b, _]]) = of_two(lanes(2));
    let moves = format!("{a}>{b}");
    for (reached, left) in [(vec![0, 9], 2), (vec![1, 0], 1), (vec![2, 1], 0)] {
        let ahead = Lanes { count: 2, reached, rules: rules.clone(), counts: true, ..Lanes::default() };
        let (mut splitter, table, _) = of_two(ahead);
        let parts = split(&mut splitter, block(&table, &["!", &moves], Some(2), 0));
        assert_eq!(parts.iter().filter(|part| part.contains("alone")).count(), left, "{parts:?}");
    }
}

#[test]
fn a_rule_is_told_before_the_first_change_that_is_spread_by_it() {
    let (mut splitter, table, [[a, _], [b, _]]) = of_two(Lanes { counts: true, ..lanes(2) });
    let _ = split(&mut splitter, block(&table, &[], Some(1), 0));
    let parts = split(&mut splitter, block(&table, &[&a, &b], Some(2), 0));
    assert_eq!(parts[0], "0: alone rule ByKey([0]) #1 0..0");
    assert_eq!(parts.len(), 3);
    assert_eq!(split(&mut splitter, block(&table, &[&a], Some(3), 0)).len(), 2, "it is told once");
}

#[test]
fn a_table_that_is_spread_in_another_way_by_now_stays_in_its_old_lanes_until_all_are_past_it() {
    let whole = Told { rule: Rule::Whole, since: 3 };
    let rules = HashMap::from([(TableId::new("db", "t"), whole)]);
    let (probe, table, [[a, _], [b, _]]) = of_two(lanes(2));
    let all = block(&table, &[&a], None, 0);
    let Way::Lane(lane) = probe.spread(&changes(&all)[0], &Rule::Whole, all.format, &all.data) else {
        panic!("a whole table is in one lane")
    };
    let mut reached = vec![7, 7];
    reached[lane as usize] = 5;
    let (mut splitter, table, _) = of_two(Lanes { count: 2, begin: 1, reached, rules, counts: true });
    let _ = split(&mut splitter, block(&table, &[], Some(1), 0));
    // Numbers 2 to 8: all before 3 are there, of the others those up to 5, and beyond 7 nothing is.
    let parts = split(&mut splitter, block(&table, &[&a, &b, &a, &b, &a, &b, &b], Some(2), 0));
    let expected = [
        format!("{lane}:{a} alone #1 1..6"),
        format!("{lane}:{b} alone #1 1..7"),
        "0: alone rule ByKey([0]) #1 1..7".to_owned(),
        "0: #2 8..8 at checkpoint".to_owned(),
        format!("1:{b} #2 8..8 at checkpoint"),
    ];
    assert_eq!(parts, expected);
}

#[test]
fn a_source_that_counts_in_another_way_is_not_followed() {
    let counted = || Lanes { counts: true, ..lanes(2) };
    let (mut splitter, table, [[a, _], _]) = of_two(counted());
    let _ = split(&mut splitter, block(&table, &[&a, &a], Some(1), 0));
    assert!(splitter.split(block(&table, &[&a], None, 0)).is_err(), "a checkpoint that moved was not said");
    let (mut splitter, _, _) = of_two(lanes(2));
    assert!(splitter.split(block(&table, &[&a], Some(1), 0)).is_ok());
    assert!(splitter.split(block(&table, &[&a], None, 0)).is_ok(), "nothing depends on it");
    let (mut splitter, table, _) = of_two(counted());
    assert!(splitter.split(block(&table, &[&a], None, 2)).is_err(), "more changes than there were");
}

#[test]
fn ddl_is_said_last_by_its_own_lane() {
    let (mut splitter, table, _) = of_two(lanes(2));
    let mut ddl = block(&table, &["x"], Some(1), 0);
    ddl.contents = BlockContents::Changes(vec![Change { table, op: Op::Ddl { command: 0..3 } }]);
    let parts = splitter.split(ddl).expect("a source that counts right");
    let said: Vec<(u32, bool, bool)> =
        parts.iter().map(|part| (part.lane.0, part.spread.barrier, part.checkpoint.is_some())).collect();
    assert_eq!(said, [(1, false, true), (0, true, true)]);
}

#[test]
fn a_tables_rule_is_asked_for_once_for_each_shape() {
    let (splitter, known, _) = of_two(lanes(2));
    let (again, other) = (table("t"), table("u"));
    assert!(splitter.unknown(&block(&known, &["1"], None, 0)).is_empty());
    assert!(splitter.unknown(&block(&again, &["1"], None, 0)).is_empty(), "the same shape");
    assert_eq!(splitter.unknown(&block(&other, &["1", "2"], None, 0)).len(), 1);
    assert!(splitter.unknown(&block(&other, &["!"], None, 0)).is_empty());
}

#[test]
fn memory_is_shared_and_none_is_lost() {
    let (mut splitter, table, [[a, c], [b, _]]) = of_two(lanes(2));
    let parts = splitter.split(block(&table, &[&a, &b, &c], Some(1), 0)).expect("a source that counts right");
    let budget = Arc::new(tokio::sync::Semaphore::new(7));
    let memory = budget.clone().try_acquire_many_owned(7).expect("all is free");
    let shares = share(Some(memory), &parts);
    let units: Vec<usize> = shares.iter().map(|share| share.as_ref().map_or(0, |share| share.num_permits())).collect();
    assert!(units.iter().sum::<usize>() == 7 && units[0] > units[1] && units[1] > 0, "{units:?}");
    drop(shares);
    assert_eq!(budget.available_permits(), 7);
}

#[test]
fn a_table_in_another_shape_comes_after_all_that_was_in_the_last() {
    let (mut splitter, first, [[a, _], [b, _]]) = of_two(lanes(2));
    let _ = split(&mut splitter, block(&first, &[&a, &b], Some(1), 0));
    let mut second = RoutedTable::clone(&first);
    second.source.key = Some(dt_common::schema::Key { name: "k".to_owned(), columns: vec![0], nullable: false });
    let second = Arc::new(second);
    splitter.learn(second.clone(), by_key());
    let parts = split(&mut splitter, block(&second, &[&a], Some(2), 0));
    assert_eq!(parts[0], "0: alone #1 2..2");
    assert_eq!(split(&mut splitter, block(&second, &[&a], Some(3), 0)).len(), 2, "it is so from then on");
}

fn behind(before: u64, changes: u64, share: Share) -> Behind {
    let counted = Some(Box::new(dt_common::position::Counted { before, share }));
    Behind { changes, filter: String::new(), counted }
}

#[test]
fn the_number_of_lanes_changes_only_where_none_is_ahead() {
    let lane = |no, of, reached: u64| behind(reached - 1, 1, Share::Lane { no, of });
    let rows = [lane(0, 2, 30), lane(1, 2, 20), lane(2, 3, 10)];
    let at = |changes| Lanes::resumed(Some(&behind(10, changes, Share::All)), &rows, 4);
    let ahead = at(5);
    assert_eq!((ahead.count, ahead.begin, ahead.reached.as_slice()), (2, 15, &[30, 20][..]));
    let one = at(10);
    assert_eq!((one.count, one.begin, one.reached.as_slice()), (2, 20, &[30, 0][..]));
    let none = at(20);
    assert_eq!((none.count, none.begin, none.are_ahead()), (4, 30, false));
}

#[test]
fn what_lanes_have_left_of_another_count_means_nothing() {
    let rows = [
        behind(20, 10, Share::Lane { no: 0, of: 2 }),
        behind(4, 0, Share::Table { table: TableId::new("db", "t"), by: Some(vec![0]) }),
    ];
    let one_lane = Behind { changes: 7, filter: String::new(), counted: None };
    for (stream, begin) in [(None, 30), (Some(&one_lane), 37)] {
        let lanes = Lanes::resumed(stream, &rows, 3);
        assert_eq!((lanes.count, lanes.begin, lanes.are_ahead(), lanes.rules.len()), (3, begin, false, 0));
    }
    let counted = Lanes::resumed(Some(&behind(1, 0, Share::All)), &rows, 3);
    assert_eq!(counted.rules[&TableId::new("db", "t")], Told { rule: by_key(), since: 5 });
}
