//! Whether a source's binlog holds everything that a stream needs: whole rows, of every table that is followed.

use dt_common::{Error, Result};

use super::facts::ServerFacts;

/// Refuses a source whose binlog cannot be followed, naming every setting that stands against it.
pub fn check_followable(facts: &ServerFacts) -> Result<()> {
    if !facts.log_bin {
        return Err(Error::user("the source has no binlog: log_bin is OFF")
            .hint("start the server with log_bin=ON, binlog_format=ROW and a server_id of its own"));
    }
    let mut problems = Vec::new();
    let mut ways_out = Vec::new();
    let mut wants = |setting: &str, value: &str, wanted: &[&str], why: &str| {
        if !wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(value)) {
            problems.push(format!("{setting} is {value}: {why}"));
            ways_out.push(format!("SET GLOBAL {setting}={}", wanted[0]));
        }
    };
    wants("binlog_format", &facts.binlog_format, &["ROW"], "statements say nothing of the rows they change");
    wants("binlog_row_image", &facts.binlog_row_image, &["FULL"], "columns are missing from the logged rows");
    wants("binlog_checksum", &facts.binlog_checksum, &["CRC32", "NONE"], "this checksum is not known");
    if facts.server_id == 0 {
        problems.push("server_id is 0: the server does not serve replicas".to_owned());
        ways_out.push("SET GLOBAL server_id=1 or any other that is its own".to_owned());
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!("the source's binlog cannot be followed: {}", problems.join("; "))).hint(format!(
        "on the source: {}; in its configuration file too, to outlast a restart. Sessions that are open keep their old \
         settings until they reconnect, and what was logged before stays as it is",
        ways_out.join("; ")
    )))
}

/// Refuses a replication id that is the source's own: the server would cut the stream of one or the other.
pub fn check_server_id(facts: &ServerFacts, ours: u32) -> Result<()> {
    if facts.server_id != ours {
        return Ok(());
    }
    Err(Error::user(format!("[extractor] server_id={ours} is the source's own server_id"))
        .hint("choose a number that neither the source nor any of its replicas has, or take server_id out"))
}

/// Refuses schemas whose changes the source does not log (`binlog_do_db`, `binlog_ignore_db`).
pub fn check_logged<'a>(facts: &ServerFacts, schemas: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let is_logged = |schema: &str| {
        let is_in = |list: &[String]| list.iter().any(|name| name == schema);
        // The first list, if there is one, beats the second.
        if facts.binlog_do_db.is_empty() { !is_in(&facts.binlog_ignore_db) } else { is_in(&facts.binlog_do_db) }
    };
    let unlogged: Vec<&str> = schemas.into_iter().filter(|schema| !is_logged(schema)).collect();
    if unlogged.is_empty() {
        return Ok(());
    }
    Err(Error::user("the source does not log the changes of some of the schemas that are to be followed")
        .with("schemas", unlogged.join(", "))
        .hint("start the server without binlog_do_db and binlog_ignore_db, or leave the schemas out by [filter]"))
}

/// What the user should know although the source can be followed, one line each.
pub fn advice(facts: &ServerFacts) -> Vec<String> {
    let is_full = facts.binlog_row_metadata.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("FULL"));
    if is_full {
        return Vec::new();
    }
    let what = match &facts.binlog_row_metadata {
        Some(value) => format!("binlog_row_metadata is {value}"),
        None => "the source has no binlog_row_metadata".to_owned(),
    };
    vec![format!(
        "{what}: changes do not name their columns, which are taken from the tables as they are; with \
         binlog_row_metadata=FULL a table may be altered while a stream lags behind"
    )]
}

#[cfg(test)]
mod tests {
    use dt_common::ErrorClass;

    use super::super::facts::samples::mysql;
    use super::*;

    #[test]
    fn a_source_with_whole_rows_can_be_followed() {
        check_followable(&mysql()).expect("can be followed");
        for checksum in ["NONE", "crc32"] {
            let facts = ServerFacts { binlog_checksum: checksum.into(), binlog_format: "row".into(), ..mysql() };
            check_followable(&facts).expect("can be followed");
        }
    }

    #[test]
    fn what_stands_against_it_is_named_with_the_way_out() {
        let off = check_followable(&ServerFacts { log_bin: false, ..mysql() }).expect_err("no binlog");
        assert!(off.message().contains("log_bin is OFF"), "{off}");
        let facts = ServerFacts {
            binlog_format: "MIXED".into(),
            binlog_row_image: "FULL_NODUP".into(),
            binlog_checksum: "SHA1".into(),
            server_id: 0,
            ..mysql()
        };
        let error = check_followable(&facts).expect_err("cannot be followed");
        assert_eq!(error.class(), ErrorClass::User);
        for named in
            ["binlog_format is MIXED", "binlog_row_image is FULL_NODUP", "binlog_checksum is SHA1", "server_id"]
        {
            assert!(error.message().contains(named), "{error}");
        }
        let hint = error.hint_text().unwrap_or_default();
        for named in ["SET GLOBAL binlog_format=ROW", "binlog_row_image=FULL", "binlog_checksum=CRC32"] {
            assert!(hint.contains(named), "{hint}");
        }
    }

    #[test]
    fn the_sources_own_server_id_is_refused() {
        check_server_id(&mysql(), 2000).expect("is another");
        let error = check_server_id(&mysql(), 1).expect_err("is the source's");
        assert!(error.message().contains("server_id=1 "), "{error}");
    }

    #[test]
    fn schemas_that_are_not_logged_are_refused_by_name() {
        check_logged(&mysql(), ["a", "b"]).expect("all are logged");
        let only_a = ServerFacts { binlog_do_db: vec!["a".into()], binlog_ignore_db: vec!["a".into()], ..mysql() };
        check_logged(&only_a, ["a"]).expect("a is logged");
        let error = check_logged(&only_a, ["a", "b"]).expect_err("b is not logged");
        assert!(error.to_string().contains("(schemas: b)"), "{error}");
        let not_b = ServerFacts { binlog_ignore_db: vec!["b".into()], ..mysql() };
        assert!(check_logged(&not_b, ["a", "b"]).is_err());
    }

    #[test]
    fn rows_without_column_names_are_advised_against() {
        assert_eq!(advice(&mysql()), Vec::<String>::new());
        let minimal = ServerFacts { binlog_row_metadata: Some("MINIMAL".into()), ..mysql() };
        assert!(advice(&minimal)[0].starts_with("binlog_row_metadata is MINIMAL: "));
        assert_eq!(advice(&ServerFacts { binlog_row_metadata: None, ..mysql() }).len(), 1);
    }
}
