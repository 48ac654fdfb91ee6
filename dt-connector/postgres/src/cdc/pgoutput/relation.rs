//! A table as the stream describes it, before its first row and after each change of its definition. Pure.

use super::BadMessage;
use super::input::Input;

/// What a table is like at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its OID, by which rows name it.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// What its rows are identified by.
    pub identity: Identity,
    /// Its published columns, in order.
    pub columns: Vec<RelationColumn>,
}

/// `REPLICA IDENTITY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key, if there is one.
    Default,
    /// Nothing.
    Nothing,
    /// All columns.
    Full,
    /// A unique index.
    Index,
}

/// One of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Whether it belongs to the replica identity.
    pub in_key: bool,
    /// Its name.
    pub name: String,
    /// Its type's OID.
    pub type_oid: u32,
    /// Its type's modifier (`atttypmod`).
    pub type_modifier: i32,
}

impl Relation {
    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, BadMessage> {
        let oid = input.number()?;
        let schema = match input.string()? {
            // An empty name stands for the catalog's own schema.
            "" => "pg_catalog",
            schema => schema,
        };
        let (schema, table) = (schema.to_owned(), input.string()?.to_owned());
        let identity = match input.byte()? {
            b'd' => Identity::Default,
            b'n' => Identity::Nothing,
            b'f' => Identity::Full,
            b'i' => Identity::Index,
            _ => return Err(input.bad("an unknown replica identity")),
        };
        let count = input.count()?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let in_key = match input.byte()? {
                0 => false,
                1 => true,
                _ => return Err(input.bad("unknown flags of a column")),
            };
            let name = input.string()?.to_owned();
            columns.push(RelationColumn { in_key, name, type_oid: input.number()?, type_modifier: input.signed()? });
        }
        Ok(Relation { oid, schema, table, identity, columns })
    }
}
