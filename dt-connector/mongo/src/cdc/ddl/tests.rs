//! What becomes of each kind, by filter and router.

use bson::{Document, doc};
use dt_common::DbType;
use dt_common::config::{Ddls, FilterConfig, RouterConfig, TablePattern, Token};

use super::*;

fn exact(name: &str) -> Token {
    Token::Exact(name.into())
}

/// Follows `d`, `part.a`, `s1` and `s2`; `d` goes to `e`, `s1` and `s2` go to `s`.
fn planned(kinds: &[DdlKind], ddl: &Ddl<'_>) -> Result<Plan> {
    let mut filter = FilterConfig::new(DbType::Mongo);
    filter.do_dbs = vec![exact("d"), exact("s1"), exact("s2"), exact("whole")];
    filter.do_tbs = vec![TablePattern { schema: exact("part"), table: exact("a") }];
    filter.do_ddls = Ddls::of(kinds);
    let to = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let router = RouterConfig {
        db_map: vec![to("d", "e"), to("s1", "s"), to("s2", "s")],
        tb_map: vec![(TableId::new("d", "moved"), TableId::new("far", "moved"))],
        ..RouterConfig::default()
    };
    plan(&Filter::new(&filter).expect("a filter"), &Router::new(&router).expect("a router"), ddl)
}

fn ddl<'a>(name: &'a str, action: Action<'a>) -> Ddl<'a> {
    let (database, collection) = name.split_once('.').unwrap_or((name, ""));
    Ddl { what: "it", database, collection: Some(collection).filter(|name| !name.is_empty()), to: None, action }
}

fn renamed<'a>(from: &'a str, to: &'a str) -> Ddl<'a> {
    Ddl { to: to.split_once('.'), ..ddl(from, Action::Rename { drop_target: true }) }
}

/// The target's database and the command.
#[track_caller]
fn command(kinds: &[DdlKind], ddl: &Ddl<'_>) -> (String, Document) {
    match planned(kinds, ddl).unwrap_or_else(|error| panic!("{error}")) {
        Plan::Apply(Planned { table, command, .. }) => {
            (table.target.schema.clone(), Document::from_reader(&command[..]).expect("a document"))
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(ddl: &Ddl<'_>, wanted: Document) {
    assert_eq!(command(&DdlKind::ALL, ddl), ("e".to_owned(), wanted));
    assert_eq!(planned(&[], ddl).expect("a plan"), Plan::Tell);
}

#[test]
fn what_is_asked_for_becomes_the_target_s_command() {
    let bytes = |document: Document| document.to_vec().expect("bytes");
    let options = bytes(doc! {"create": "a", "capped": true, "size": 4096, "temp": true, "idIndex": {"v": 2}});
    check(&ddl("d.a", Action::Create(&options)), doc! {"create": "a", "capped": true, "size": 4096});
    check(&ddl("d.a.b", Action::Drop), doc! {"drop": "a.b"});
    check(&renamed("d.a", "d.b"), doc! {"renameCollection": "e.a", "to": "e.b", "dropTarget": true});
    let plain = bytes(doc! {"createIndexes": "a", "v": 2, "key": {"x": 1}, "name": "x_1", "unique": true});
    let collated = bytes(doc! {"key": {"y": 1}, "name": "y_1", "collation": {"locale": "en"}});
    check(
        &ddl("d.a", Action::CreateIndexes(vec![&plain, &collated])),
        doc! {"createIndexes": "a", "indexes": [
            {"v": 2, "key": {"x": 1}, "name": "x_1", "unique": true, "collation": {"locale": "simple"}},
            {"key": {"y": 1}, "name": "y_1", "collation": {"locale": "en"}},
        ]},
    );
    check(&ddl("d.a", Action::DropIndexes(vec!["x_1"])), doc! {"dropIndexes": "a", "index": ["x_1"]});
    let changes = bytes(doc! {"collMod": "a", "validator": {"x": 1}});
    check(&ddl("d.a", Action::Modify(&changes)), doc! {"collMod": "a", "validator": {"x": 1}});
}

#[test]
fn a_database_is_dropped_by_its_collections_or_whole_or_not() {
    let only = [DdlKind::DropDatabase];
    let dropped = |name| ddl(name, Action::DropDatabase);
    assert_eq!(command(&only, &dropped("whole")), ("whole".to_owned(), doc! {"dropDatabase": 1}));
    for partly in ["part", "s1", "d"] {
        let error = planned(&only, &dropped(partly)).expect_err(partly).to_string();
        assert!(error.contains("drop_collection"), "{error}");
        assert_eq!(planned(&DdlKind::ALL, &dropped(partly)).expect("a plan"), Plan::Nothing);
    }
    assert_eq!(planned(&only, &dropped("others")).expect("a plan"), Plan::Tell);
}

#[test]
fn what_is_not_copied_is_left_alone() {
    let options = doc! {}.to_vec().expect("bytes");
    let view = doc! {"viewOn": "a", "pipeline": []}.to_vec().expect("bytes");
    for ddl in [
        ddl("others.a", Action::Drop),
        ddl("part.b", Action::Create(&options)),
        ddl("d.system.views", Action::Create(&options)),
        ddl("d.v", Action::Create(&view)),
        ddl("d.tmpAbCdE.convertToCapped.a", Action::Create(&options)),
        renamed("part.b", "part.c"),
        ddl("d.a", Action::Other),
    ] {
        assert_eq!(planned(&DdlKind::ALL, &ddl).expect("a plan"), Plan::Tell, "{ddl:?}");
    }
    assert_eq!(planned(&DdlKind::ALL, &ddl("d.a", Action::Progress)).expect("a plan"), Plan::Nothing);
}

#[test]
fn what_changes_alone_cannot_say_stops_with_a_way_out() {
    for (ddl, named) in [
        (renamed("part.a", "part.b"), "only one of them"),
        (renamed("part.b", "part.a"), "snapshot"),
        (renamed("d.tmpAbCdE.convertToCapped.a", "d.a"), "convertToCapped"),
        (renamed("d.a", "d.moved"), "another database"),
        (renamed("s1.a", "s1.b"), "`s2`.`a`"),
        (ddl("s2.a", Action::Drop), "`s1`.`a`"),
        (ddl("s2.a", Action::DropIndexes(vec!["x"])), "do_ddls"),
    ] {
        let error = planned(&DdlKind::ALL, &ddl).expect_err(named);
        assert_eq!(error.class(), dt_common::ErrorClass::User);
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(planned(&[DdlKind::CreateIndex], &ddl).expect("a plan"), Plan::Tell);
    }
}
