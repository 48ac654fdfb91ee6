//! A table's columns as the binlog itself describes them (`binlog_row_metadata=FULL`), for a table that has been
//! altered since its rows were written. Pure.

use std::collections::HashMap;

use dt_common::schema::Column;

use super::binlog::TableMap;

/// A character set and collation by the collation's number.
pub type Collations = HashMap<u64, (String, String)>;

/// The columns of the table at the moment of the map; `None` if the map does not name them, or holds a type or
/// collation that is not known.
pub fn columns(map: &TableMap, collations: &Collations) -> Option<Vec<Column>> {
    let names = map.names.as_ref()?;
    if names.len() != map.columns.len() {
        return None;
    }
    let mut columns = Vec::with_capacity(names.len());
    for (at, (wire, name)) in map.columns.iter().zip(names).enumerate() {
        let collation = map.collations.get(at).copied().flatten();
        let binary = collation == Some(BINARY_COLLATION);
        let text = collation.filter(|_| !binary).map(|id| collations.get(&id)).transpose_known()?;
        let unsigned = match map.unsigned.as_ref().and_then(|unsigned| unsigned.get(at)) {
            Some(true) => " unsigned",
            Some(false) | None => "",
        };
        let meta = wire.meta;
        let fsp = |word: &str| if meta == 0 { word.to_owned() } else { format!("{word}({meta})") };
        let data_type = match wire.kind {
            1 => format!("tinyint{unsigned}"),
            2 => format!("smallint{unsigned}"),
            9 => format!("mediumint{unsigned}"),
            3 => format!("int{unsigned}"),
            8 => format!("bigint{unsigned}"),
            4 => format!("float{unsigned}"),
            5 => format!("double{unsigned}"),
            246 => format!("decimal({},{}){unsigned}", meta >> 8, meta & 0xff),
            16 => format!("bit({})", u32::from(meta >> 8) * 8 + u32::from(meta & 0xff)),
            13 => "year".to_owned(),
            10 | 14 => "date".to_owned(),
            11 => "time".to_owned(),
            12 => "datetime".to_owned(),
            7 => "timestamp".to_owned(),
            19 => fsp("time"),
            18 => fsp("datetime"),
            17 => fsp("timestamp"),
            15 | 253 if binary => format!("varbinary({meta})"),
            15 | 253 => format!("varchar({meta})"),
            254 if binary => format!("binary({})", meta & 0xff),
            254 => "char(1)".to_owned(),
            252 => match (meta, binary) {
                (1, true) => "tinyblob".to_owned(),
                (3, true) => "mediumblob".to_owned(),
                (4, true) => "longblob".to_owned(),
                (_, true) => "blob".to_owned(),
                (1, false) => "tinytext".to_owned(),
                (3, false) => "mediumtext".to_owned(),
                (4, false) => "longtext".to_owned(),
                (_, false) => "text".to_owned(),
            },
            247 => format!("enum({})", labels(map.enum_values.as_ref()?.get(at)?)?),
            248 => format!("set({})", labels(map.set_values.as_ref()?.get(at)?)?),
            245 => "json".to_owned(),
            255 => "geometry".to_owned(),
            242 => "vector".to_owned(),
            _ => return None,
        };
        columns.push(Column {
            name: name.clone(),
            data_type,
            nullable: wire.nullable,
            charset: text.map(|(charset, _)| charset.clone()),
            collation: text.map(|(_, collation)| collation.clone()),
            binary_form: None,
        });
    }
    Some(columns)
}

/// The collation `binary`, which has this number in every server.
const BINARY_COLLATION: u64 = 63;

fn labels(labels: &[Vec<u8>]) -> Option<String> {
    let quoted: Option<Vec<String>> = labels
        .iter()
        .map(|label| std::str::from_utf8(label).ok().map(|label| format!("'{}'", label.replace('\'', "''"))))
        .collect();
    quoted.map(|quoted| quoted.join(","))
}

/// A collation that is named must be known.
trait Known<T> {
    /// `None` inside means that something was named and is not known.
    fn transpose_known(self) -> Option<Option<T>>;
}

impl<T> Known<T> for Option<Option<T>> {
    fn transpose_known(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(Some(value)) => Some(Some(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::binlog::WireColumn;
    use super::*;

    fn map(columns: &[(u8, u16, &str, Option<u64>)]) -> TableMap {
        TableMap {
            table_id: 1,
            schema: "d".into(),
            table: "t".into(),
            columns: columns.iter().map(|&(kind, meta, ..)| WireColumn { kind, meta, nullable: true }).collect(),
            names: Some(columns.iter().map(|&(_, _, name, _)| name.to_owned()).collect()),
            unsigned: None,
            collations: columns.iter().map(|&(.., collation)| collation).collect(),
            enum_values: None,
            set_values: None,
            geometry_types: vec![None; columns.len()],
            primary_key: None,
            visible: None,
            dimensions: vec![None; columns.len()],
        }
    }

    fn collations() -> Collations {
        HashMap::from([(45, ("utf8mb4".to_owned(), "utf8mb4_general_ci".to_owned()))])
    }

    #[test]
    fn columns_are_named_and_typed_as_they_were() {
        let map =
            map(&[(3, 0, "id", None), (15, 40, "name", Some(45)), (252, 2, "raw", Some(63)), (18, 6, "at", None)]);
        let types: Vec<String> =
            columns(&map, &collations()).expect("known").into_iter().map(|column| column.data_type).collect();
        assert_eq!(types, ["int", "varchar(40)", "blob", "datetime(6)"]);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert_eq!(columns(&map(&[(15, 40, "name", Some(999))]), &collations()), None, "a collation");
        assert_eq!(columns(&map(&[(200, 0, "odd", None)]), &collations()), None, "a type");
        let nameless = TableMap { names: None, ..map(&[(3, 0, "id", None)]) };
        assert_eq!(columns(&nameless, &collations()), None, "without names");
    }
}
