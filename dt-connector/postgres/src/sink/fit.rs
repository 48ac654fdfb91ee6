//! Whether the values of a source's column survive in the target's, and whether they travel in binary. Pure.
//!
//! What the target's server would refuse (a text too long, a number out of range, a label that its enum lacks) is left
//! for it to say. What it would change in silence (digits rounded away, a time zone dropped) is a misfit.

use dt_common::schema::Column;
use dt_connector::RowFormat;

use crate::catalog::CatalogColumn;

/// Why values of the source's column would not survive in the target's; `None` if they do.
pub fn misfit(source: &Column, target: &CatalogColumn) -> Option<String> {
    if source.data_type == target.column.data_type {
        return None;
    }
    let (from, to) = (Type::read(&source.data_type), Type::read(&target.column.data_type));
    let is_enum = |form: &Option<String>| form.as_deref().is_some_and(|form| form.starts_with("enum "));
    let fits = from.array == to.array
        && if from.name == to.name {
            keeps_precision(&from, &to)
        } else if from.array {
            false
        } else {
            converts(&from, &to)
                || (is_enum(&target.column.binary_form) && (is_enum(&source.binary_form) || from.is_text()))
                || (is_enum(&source.binary_form) && to.holds_any_text())
                // A type of the users' own, or of an extension, in another schema.
                || (from.name.contains('.') && bare(&from.name) == bare(&to.name))
        };
    match fits {
        true => None,
        false => Some(format!(
            "another type: `{}` on the source, `{}` on the target",
            source.data_type, target.column.data_type
        )),
    }
}

/// Why a key that tells two rows apart on the source would not do so on the target; `None` if it does.
pub fn key_misfit(source: &Column, target: &CatalogColumn) -> Option<String> {
    let lenient = |name: &str, deterministic: bool| name == "citext" || !deterministic;
    let same = source.data_type == target.column.data_type && source.collation == target.column.collation;
    let was_citext = bare(&source.data_type) == "citext";
    (!same && lenient(&target.type_name, target.deterministic) && !(was_citext && target.deterministic)).then(|| {
        format!(
            "texts of its key that differ on the source ({}) may be the same on the target ({}): two rows would become one",
            source.collation.as_deref().unwrap_or(&source.data_type),
            target.column.collation.as_deref().filter(|_| !target.deterministic).unwrap_or(&target.column.data_type)
        )
    })
}

/// The best of the offered formats for rows of these columns; `whole` is the whole target table, for the server reads
/// nothing in binary into a table of which any column has no such form.
pub fn format<'a>(
    pairs: impl Iterator<Item = (&'a Column, &'a CatalogColumn)>,
    whole: &[CatalogColumn],
    offered: &[RowFormat],
) -> RowFormat {
    let mut same =
        pairs.map(|(source, target)| source.binary_form.is_some() && source.binary_form == target.column.binary_form);
    let binary = whole.iter().all(|column| column.receives_binary) && same.all(|same| same);
    let fits = |format: &&RowFormat| match format {
        RowFormat::PgBinary => binary,
        RowFormat::PgText => true,
        RowFormat::MysqlText | RowFormat::Bson => false,
    };
    offered.iter().find(fits).copied().unwrap_or(RowFormat::PgText)
}

/// A type as the server writes it, taken apart: `timestamp(3) without time zone[]`.
#[derive(Debug, PartialEq, Eq)]
struct Type {
    name: String,
    modifiers: Vec<i64>,
    array: bool,
}

impl Type {
    fn read(text: &str) -> Self {
        let array = text.ends_with("[]");
        let text = text.trim_end_matches("[]");
        // A name in quotes may hold parentheses: it has no modifiers that matter here.
        let parts = text.split_once('(').filter(|_| !text.contains('"'));
        let Some((head, rest)) = parts else {
            return Type { name: text.to_owned(), modifiers: Vec::new(), array };
        };
        let (inside, tail) = rest.split_once(')').unwrap_or((rest, ""));
        let modifiers = inside.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        Type { name: format!("{head}{tail}"), modifiers, array }
    }

    fn is_text(&self) -> bool {
        matches!(self.name.as_str(), "text" | "character varying" | "character" | "bpchar" | "name" | "\"char\"")
            || bare(&self.name) == "citext"
    }

    fn holds_any_text(&self) -> bool {
        matches!(self.name.as_str(), "text" | "character varying") || bare(&self.name) == "citext"
    }
}

/// Whether a type of the same name keeps every digit.
fn keeps_precision(from: &Type, to: &Type) -> bool {
    match from.name.as_str() {
        "numeric" => match (from.modifiers.get(1), to.modifiers.get(1)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(from), Some(to)) => to >= from,
        },
        name if name.starts_with("time") || name.starts_with("interval") => {
            let precision = |found: &Type| found.modifiers.first().copied().unwrap_or(6);
            precision(to) >= precision(from)
        }
        _ => true,
    }
}

/// Whether a value of another type is the same value, or is refused.
fn converts(from: &Type, to: &Type) -> bool {
    const INTEGERS: &[&str] = &["smallint", "integer", "bigint"];
    let (a, b) = (from.name.as_str(), to.name.as_str());
    match (a, b) {
        _ if INTEGERS.contains(&a) && (INTEGERS.contains(&b) || b == "numeric") => {
            to.modifiers.get(1).is_none_or(|scale| *scale >= 0)
        }
        ("smallint", "real" | "double precision") | ("integer" | "real", "double precision") => true,
        ("oid", "bigint" | "numeric") => true,
        ("date", "timestamp without time zone") | ("cidr", "inet") | ("bit", "bit varying") => true,
        ("json", "jsonb") | ("jsonb", "json") => true,
        ("json" | "jsonb" | "xml" | "uuid" | "inet" | "macaddr" | "macaddr8", _) => to.holds_any_text(),
        // An interval of fewer fields.
        _ if a.starts_with("interval") && b == "interval" => keeps_precision(from, to),
        _ if bare(a) == "ltree" => to.holds_any_text(),
        // The server checks what it is given.
        _ if from.is_text() => to.holds_any_text() || matches!(b, "json" | "jsonb" | "xml" | "uuid"),
        _ => false,
    }
}

fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str, form: Option<&str>) -> CatalogColumn {
        CatalogColumn {
            column: Column {
                name: "c".into(),
                data_type: data_type.into(),
                nullable: false,
                charset: None,
                collation: None,
                binary_form: form.map(Into::into),
            },
            number: 1,
            type_oid: 0,
            base_oid: 0,
            cast: data_type.into(),
            type_name: bare(data_type).into(),
            generated: false,
            identity_always: false,
            optional: false,
            receives_binary: true,
            deterministic: true,
            may_select: true,
            may_insert: true,
        }
    }

    #[test]
    fn types_that_would_change_values_in_silence_are_misfits() {
        let cases = [
            ("integer", "bigint", true),
            ("bigint", "integer", true),
            ("bigint", "double precision", false),
            ("integer", "text", false),
            ("numeric(10,2)", "numeric(12,2)", true),
            ("numeric(10,2)", "numeric(12,1)", false),
            ("numeric", "numeric(12,1)", false),
            ("numeric(10,2)", "numeric", true),
            ("double precision", "real", false),
            ("timestamp(3) without time zone", "timestamp without time zone", true),
            ("timestamp without time zone", "timestamp(3) without time zone", false),
            ("timestamp with time zone", "timestamp without time zone", false),
            ("character varying(9)", "character varying(3)", true),
            ("text", "character(9)", false),
            ("character(9)", "text", true),
            ("json", "jsonb", true),
            ("uuid", "text", true),
            ("bytea", "text", false),
            ("text", "bytea", false),
            ("integer[]", "integer", false),
            ("numeric(10,2)[]", "numeric(10,1)[]", false),
            ("a.addr", "b.addr", true),
            ("interval(3)", "interval", true),
        ];
        for (from, to, fits) in cases {
            let found = misfit(&column(from, None).column, &column(to, None));
            assert_eq!(found.is_none(), fits, "{from} → {to}: {found:?}");
        }
        let mood = column("a.mood", Some("enum a.mood"));
        assert_eq!(misfit(&mood.column, &column("text", None)), None);
        assert_eq!(misfit(&mood.column, &column("b.feeling", Some("enum b.feeling"))), None);
    }

    #[test]
    fn a_key_must_tell_as_much_apart_on_the_target() {
        let text = column("text", None);
        assert!(key_misfit(&text.column, &column("public.citext", None)).is_some());
        assert!(key_misfit(&column("x.citext", None).column, &column("public.citext", None)).is_none());
        let mut lenient = column("text", None);
        lenient.deterministic = false;
        lenient.column.collation = Some("public.ci".into());
        assert!(key_misfit(&text.column, &lenient).is_some());
        assert!(key_misfit(&lenient.column, &lenient).is_none());
    }

    #[test]
    fn rows_travel_in_binary_where_every_column_has_the_same_form_on_both_sides() {
        const BOTH: &[RowFormat] = &[RowFormat::PgBinary, RowFormat::PgText];
        let int = column("integer", Some("pg_catalog.int4"));
        let long = column("bigint", Some("pg_catalog.int8"));
        let xml = column("xml", None);
        let chosen = |source: &CatalogColumn, target: &CatalogColumn, whole: &[CatalogColumn]| {
            format([(&source.column, target)].into_iter(), whole, BOTH)
        };
        assert_eq!(chosen(&int, &int, &[]), RowFormat::PgBinary);
        assert_eq!(chosen(&int, &long, &[]), RowFormat::PgText);
        assert_eq!(chosen(&xml, &xml, &[]), RowFormat::PgText);
        let acl = CatalogColumn { receives_binary: false, ..column("aclitem", None) };
        assert_eq!(chosen(&int, &int, &[acl]), RowFormat::PgText);
    }
}
