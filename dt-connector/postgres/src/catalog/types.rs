//! The server's data types, and which of them look the same in binary on any server. Pure but for the reading.

use std::collections::HashMap;

use dt_common::Result;

use crate::connect::{Conn, Server, flag, number, text};

/// The data types of a database, by OID; those of tables' rows are left out.
#[derive(Clone, Debug, Default)]
pub struct Types(HashMap<u32, Type>);

/// A data type, from `pg_type` (PostgreSQL documentation, 53.64 pg_type).
#[derive(Clone, Debug, Default)]
pub struct Type {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `b`ase, `d`omain, `e`num, `r`ange, `m`ultirange, `p`seudo.
    pub kind: char,
    /// `typcategory`; `A` for arrays.
    pub category: char,
    /// The element's type, of an array.
    pub element: u32,
    /// The type that a domain is over.
    pub base: u32,
    /// The type that a range or multirange is of.
    pub subtype: u32,
    /// Can be written in binary.
    pub sends: bool,
    /// Can be read in binary.
    pub receives: bool,
    /// The extension that it belongs to.
    pub extension: Option<String>,
}

/// OIDs below this one are the same on every server of a version, and are never given to another type.
const FIRST_USER_OID: u32 = 16384;

/// Types whose binary form is another object's OID, or that the server writes and refuses to read (of the vectors and of
/// tsquery the empty ones), or whose binary form says more than the text (xml: its encoding).
const NOT_PORTABLE: &[&str] = &[
    "aclitem",
    "int2vector",
    "oidvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    "regclass",
    "regcollation",
    "regconfig",
    "regdatabase",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "tsquery",
    "xml",
];

/// Types of extensions whose binary form is known to hold no OIDs.
const PORTABLE_OF_EXTENSIONS: &[(&str, &str)] =
    &[("citext", "citext"), ("hstore", "hstore"), ("ltree", "ltree"), ("ltree", "lquery"), ("ltree", "ltxtquery")];

impl Types {
    /// Reads `pg_type`.
    pub async fn read(conn: &Conn, server: &Server) -> Result<Self> {
        let (multirange, subtype) = match server.version_number >= 140_000 {
            true => ("LEFT JOIN pg_range m ON m.rngmultitypid = t.oid", "COALESCE(r.rngsubtype, m.rngsubtype, 0)"),
            false => ("", "COALESCE(r.rngsubtype, 0)"),
        };
        let statement = format!(
            "SELECT t.oid, n.nspname, t.typname, t.typtype, t.typcategory, \
             CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0 END, t.typbasetype, {subtype}, \
             t.typsend <> 0, t.typreceive <> 0, e.extname \
             FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
             LEFT JOIN pg_range r ON r.rngtypid = t.oid {multirange} \
             LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e' \
             AND d.refclassid = 'pg_extension'::regclass \
             LEFT JOIN pg_extension e ON e.oid = d.refobjid \
             LEFT JOIN pg_type el ON t.typcategory = 'A' AND el.oid = t.typelem \
             WHERE t.typtype <> 'c' AND COALESCE(el.typtype, 'b') <> 'c'"
        );
        let letter = |text: String| text.chars().next().unwrap_or(' ');
        let rows = conn.rows(&statement, "reading the catalog's types").await?;
        let types = rows.iter().map(|row| {
            let found = Type {
                schema: text(row, 1),
                name: text(row, 2),
                kind: letter(text(row, 3)),
                category: letter(text(row, 4)),
                element: number(row, 5),
                base: number(row, 6),
                subtype: number(row, 7),
                sends: flag(row, 8),
                receives: flag(row, 9),
                extension: row.get(10).map(str::to_owned),
            };
            (number(row, 0), found)
        });
        Ok(Types(types.collect()))
    }

    /// A type; `None` for the type of a table's rows.
    pub fn get(&self, oid: u32) -> Option<&Type> {
        self.0.get(&oid)
    }

    /// The type that a domain is over in the end; any other type itself.
    pub fn base(&self, oid: u32) -> u32 {
        match self.get(oid) {
            Some(found) if found.kind == 'd' => self.base(found.base),
            Some(_) | None => oid,
        }
    }

    /// What the type's binary form is, the same text for the same form on any server; `None` where there is none that
    /// another server is sure to understand.
    pub fn binary_form(&self, oid: u32) -> Option<String> {
        let found = self.get(oid)?;
        let qualified = || format!("{}.{}", found.schema, found.name);
        if !found.sends || !found.receives {
            return None;
        }
        match found.kind {
            'd' => self.binary_form(found.base),
            // Its label.
            'e' => Some(format!("enum {}", qualified())),
            'r' | 'm' => Some(format!("{} of {}", qualified(), self.binary_form(found.subtype)?)),
            'b' if oid < FIRST_USER_OID && found.schema == "pg_catalog" => {
                if NOT_PORTABLE.contains(&found.name.as_str()) {
                    return None;
                }
                // An array names its elements' type by OID, which for these is the same everywhere.
                if found.category == 'A' {
                    self.binary_form(found.element)?;
                }
                Some(qualified())
            }
            'b' => {
                let extension = found.extension.as_deref()?;
                let portable = PORTABLE_OF_EXTENSIONS.contains(&(extension, found.name.as_str()));
                portable.then(|| format!("{extension}.{}", found.name))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(schema: &str, name: &str) -> Type {
        Type {
            schema: schema.into(),
            name: name.into(),
            kind: 'b',
            category: 'N',
            sends: true,
            receives: true,
            ..Type::default()
        }
    }

    fn types() -> Types {
        let extension = |name: &str| Some(name.to_owned());
        Types(HashMap::from([
            (23, base("pg_catalog", "int4")),
            (1007, Type { category: 'A', element: 23, ..base("pg_catalog", "_int4") }),
            (2205, base("pg_catalog", "regclass")),
            (2210, Type { category: 'A', element: 2205, ..base("pg_catalog", "_regclass") }),
            (1033, Type { sends: false, receives: false, ..base("pg_catalog", "aclitem") }),
            (3904, Type { kind: 'r', subtype: 23, ..base("pg_catalog", "int4range") }),
            (20000, Type { kind: 'd', base: 20001, ..base("public", "small") }),
            (20001, Type { kind: 'd', base: 23, ..base("public", "smaller") }),
            (20002, Type { kind: 'e', ..base("public", "mood") }),
            (20003, Type { category: 'A', element: 20002, ..base("public", "_mood") }),
            (20004, Type { extension: extension("citext"), ..base("x", "citext") }),
            (20005, Type { extension: extension("postgis"), ..base("x", "geometry") }),
        ]))
    }

    #[test]
    fn the_server_s_own_types_and_what_is_made_of_them_have_a_binary_form() {
        let types = types();
        let forms = [
            (23, Some("pg_catalog.int4")),
            (1007, Some("pg_catalog._int4")),
            (3904, Some("pg_catalog.int4range of pg_catalog.int4")),
            (20000, Some("pg_catalog.int4")),
            (20002, Some("enum public.mood")),
            (20004, Some("citext.citext")),
        ];
        for (oid, form) in forms {
            assert_eq!(types.binary_form(oid).as_deref(), form, "{oid}");
        }
        assert_eq!(types.base(20000), 23);
    }

    #[test]
    fn what_holds_oids_or_cannot_be_read_has_none() {
        let types = types();
        for oid in [2205, 2210, 1033, 20003, 20005, 99999] {
            assert_eq!(types.binary_form(oid), None, "{oid}");
        }
    }
}
