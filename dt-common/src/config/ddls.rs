//! `[filter] do_ddls`: which kinds of DDL a change stream applies.

use super::keys::Key;
use super::reader::{Reader, Task};
use crate::ids::DbType;

/// A kind of DDL of MongoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DdlKind {
    /// A collection is made.
    CreateCollection,
    /// A collection is dropped.
    DropCollection,
    /// A collection gets another name, perhaps in the place of another one.
    RenameCollection,
    /// A database is dropped.
    DropDatabase,
    /// Indexes are made.
    CreateIndex,
    /// Indexes are dropped.
    DropIndex,
    /// The options of a collection, or of an index, are changed.
    ModifyCollection,
}

impl DdlKind {
    /// Every kind.
    pub const ALL: [DdlKind; 7] = [
        DdlKind::CreateCollection,
        DdlKind::DropCollection,
        DdlKind::RenameCollection,
        DdlKind::DropDatabase,
        DdlKind::CreateIndex,
        DdlKind::DropIndex,
        DdlKind::ModifyCollection,
    ];

    /// The word for it in a task file.
    pub fn name(self) -> &'static str {
        match self {
            DdlKind::CreateCollection => "create_collection",
            DdlKind::DropCollection => "drop_collection",
            DdlKind::RenameCollection => "rename_collection",
            DdlKind::DropDatabase => "drop_database",
            DdlKind::CreateIndex => "create_index",
            DdlKind::DropIndex => "drop_index",
            DdlKind::ModifyCollection => "modify_collection",
        }
    }

    /// The kind of that name, or of the name that tools for tables have for it.
    fn of(word: &str) -> Option<Self> {
        match word {
            "create_table" => Some(DdlKind::CreateCollection),
            "drop_table" => Some(DdlKind::DropCollection),
            "rename_table" => Some(DdlKind::RenameCollection),
            "alter_table" => Some(DdlKind::ModifyCollection),
            _ => DdlKind::ALL.into_iter().find(|kind| kind.name() == word),
        }
    }
}

/// Kinds of DDL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ddls(u8);

impl Ddls {
    /// No kind.
    pub const NONE: Ddls = Ddls(0);

    /// These kinds.
    pub fn of(kinds: &[DdlKind]) -> Self {
        Ddls(kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u8))
    }

    /// Whether the kind is one of them.
    pub fn hold(self, kind: DdlKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self == Ddls::NONE
    }

    /// Reads the list; what cannot be is reported, and none of it holds.
    pub(super) fn read(reader: &mut Reader<'_>, key: &Key, db_type: DbType) -> Self {
        let Some(text) = reader.text(key).map(str::to_ascii_lowercase) else { return Ddls::NONE };
        if text == "none" || reader.task() == Task::Snapshot {
            return Ddls::NONE;
        }
        match db_type {
            DbType::Mongo => {}
            DbType::Mysql | DbType::Pg | DbType::Redis => {
                reader.problem_of(key, "is not available yet: DDL is not replicated; take it out");
                return Ddls::NONE;
            }
        }
        if text == "*" {
            return Ddls::of(&DdlKind::ALL);
        }
        let kinds: Option<Vec<DdlKind>> = text.split(',').map(|word| DdlKind::of(word.trim())).collect();
        let Some(kinds) = kinds else {
            let names: Vec<String> = DdlKind::ALL.iter().map(|kind| format!("`{}`", kind.name())).collect();
            reader.refuse(key, &format!("`*`, `none`, or a list of {}", names.join(", ")));
            return Ddls::NONE;
        };
        let ddls = Ddls::of(&kinds);
        // An empty collection is not on the target unless it is made there, and its new name would keep what it had.
        if ddls.hold(DdlKind::RenameCollection) && !ddls.hold(DdlKind::CreateCollection) {
            reader.problem_of(
                key,
                "has `rename_collection` without `create_collection`: a collection without documents would be missing when it is renamed; add it",
            );
            return Ddls::NONE;
        }
        ddls
    }
}
