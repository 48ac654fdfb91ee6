//! What a key is: its name, default and sentence, and where it stands with us.
//!
//! Every key is defined once, beside the struct that it fills. From that one line come the parsing with its default,
//! the finding of unknown keys, and the tables of `docs/config.md`.

use crate::ids::DbType;

/// A section of the task file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name, without brackets.
    pub name: &'static str,
    /// Its keys, in groups, in the order of the documentation.
    pub groups: &'static [&'static [Key]],
}

impl Section {
    /// All keys of the section.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().flat_map(|group| group.iter())
    }
}

/// A key of the task file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What holds if it is not given, or is given without a value.
    pub default: Absent,
    /// What it does, for the documentation.
    pub sentence: &'static str,
    /// What becomes of it.
    pub standing: Standing,
}

/// What holds if a key is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The file is refused.
    Refused,
    /// Nothing is set.
    Unset,
    /// This value, read exactly as if it stood in the file.
    Value(&'static str),
    /// A value that comes from elsewhere, as said here.
    Derived(&'static str),
}

/// What becomes of a key that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Works,
    /// It works, for this kind of source only; with another one it is refused.
    Only(DbType),
    /// It works on a change stream, of this kind of source or of any; on a snapshot a note says that it has no effect,
    /// and on a stream of another kind of source it is refused.
    OnStreams(Option<DbType>),
    /// It works on a snapshot; on a change stream a note says that it has no effect.
    OnSnapshots,
    /// An old name: it works, and a note names the new one.
    Old {
        /// The section of the new key.
        section: &'static str,
        /// The new key.
        key: &'static str,
    },
    /// It is accepted, and a note says why it has no effect.
    Idle(&'static str),
    /// It is known, and refused by name until it works.
    NotYet,
}

impl Key {
    const fn new(name: &'static str, default: Absent, sentence: &'static str) -> Self {
        Key { name, default, sentence, standing: Standing::Works }
    }

    /// A key without which there is no task.
    pub(super) const fn required(name: &'static str, sentence: &'static str) -> Self {
        Key::new(name, Absent::Refused, sentence)
    }

    /// A key that may be left unset.
    pub(super) const fn unset(name: &'static str, sentence: &'static str) -> Self {
        Key::new(name, Absent::Unset, sentence)
    }

    /// A key with a default value.
    pub(super) const fn value(name: &'static str, default: &'static str, sentence: &'static str) -> Self {
        Key::new(name, Absent::Value(default), sentence)
    }

    /// A key whose default comes from elsewhere.
    pub(super) const fn derived(name: &'static str, default: &'static str, sentence: &'static str) -> Self {
        Key::new(name, Absent::Derived(default), sentence)
    }

    /// The old name of another key.
    pub(super) const fn old(name: &'static str, section: &'static str, key: &'static str) -> Self {
        Key { standing: Standing::Old { section, key }, ..Key::unset(name, "") }
    }

    /// The same key for one kind of source only.
    pub(super) const fn only(self, db_type: DbType) -> Self {
        Key { standing: Standing::Only(db_type), ..self }
    }

    /// The same key for change streams.
    pub(super) const fn on_streams(self) -> Self {
        Key { standing: Standing::OnStreams(None), ..self }
    }

    /// The same key for change streams of one kind of source.
    pub(super) const fn on_streams_of(self, db_type: DbType) -> Self {
        Key { standing: Standing::OnStreams(Some(db_type)), ..self }
    }

    /// The same key for snapshots.
    pub(super) const fn on_snapshots(self) -> Self {
        Key { standing: Standing::OnSnapshots, ..self }
    }

    /// The same key without an effect, and why.
    pub(super) const fn idle(self, why: &'static str) -> Self {
        Key { standing: Standing::Idle(why), ..self }
    }

    /// The same key, refused by name until it works.
    pub(super) const fn not_yet(self) -> Self {
        Key { standing: Standing::NotYet, ..self }
    }

    /// The default as the documentation shows it.
    pub fn default_text(&self) -> &'static str {
        match self.default {
            Absent::Refused => "required",
            Absent::Unset => "",
            Absent::Value(text) | Absent::Derived(text) => text,
        }
    }

    /// What the documentation says: the sentence, and the standing if there is more to it than that it works.
    pub fn explanation(&self) -> String {
        let standing = match self.standing {
            Standing::Works => String::new(),
            Standing::Only(db_type) => format!("With `db_type={db_type}` only."),
            Standing::OnStreams(Some(db_type)) => format!("With `extract_type=cdc` and `db_type={db_type}` only."),
            Standing::OnStreams(None) => "With `extract_type=cdc` only.".to_owned(),
            Standing::OnSnapshots => "With `extract_type=snapshot` only.".to_owned(),
            Standing::Old { section, key } => format!("Old name of `[{section}] {key}`; works, with a note."),
            Standing::Idle(why) => format!("No effect: {why}."),
            Standing::NotYet => "Not available yet: refused.".to_owned(),
        };
        [self.sentence, &standing].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Defines keys as constants, and the list of all of them.
macro_rules! keys {
    ($list:ident: $($name:ident = $key:expr;)*) => {
        $(pub(super) const $name: $crate::config::keys::Key = $key;)*
        pub(super) const $list: &[$crate::config::keys::Key] = &[$($name),*];
    };
}
pub(super) use keys;
