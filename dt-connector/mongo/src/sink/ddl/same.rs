//! Whether a collection of the target, or an index, is what it is to be. Pure.

use bson::{Bson, Document};

/// The first option that a collection has another value of than the command `create` asks for.
pub(super) fn another_option<'a>(create: &'a Document, found: &'a Document) -> Option<&'a str> {
    let is_option = |name: &&String| !matches!(name.as_str(), "create" | "uuid" | "autoIndexId");
    let names = create.keys().chain(found.keys()).filter(is_option);
    names.map(String::as_str).find(|&name| {
        // What holds if nothing is said (MongoDB documentation, `create`).
        let default = match name {
            "validationLevel" => Some(Bson::from("strict")),
            "validationAction" => Some(Bson::from("error")),
            _ => None,
        };
        !equal(create.get(name).or(default.as_ref()), found.get(name).or(default.as_ref()))
    })
}

/// Whether an index that is listed is the one that is asked for: by name, keys in their order, and every option.
pub(super) fn index(wanted: &Document, found: &Document) -> bool {
    // What the server adds by itself, and what older servers say.
    let is_option = |name: &&String| !matches!(name.as_str(), "v" | "ns" | "background");
    let mut names = wanted.keys().chain(found.keys()).filter(is_option);
    names.all(|name| match (name.as_str(), wanted.get(name), found.get(name)) {
        // In order.
        ("key", Some(Bson::Document(wanted)), Some(Bson::Document(found))) => {
            wanted.keys().eq(found.keys()) && equal_documents(wanted, found)
        }
        // The comparison of bytes is listed by saying none.
        ("collation", Some(Bson::Document(simple)), None) => {
            simple.get_str("locale").is_ok_and(|locale| locale == "simple")
        }
        (_, wanted, found) => equal(wanted, found),
    })
}

/// Whether two values are the same; numbers by their value, what is left out as what means the same.
fn equal(one: Option<&Bson>, other: Option<&Bson>) -> bool {
    match (one, other) {
        (None | Some(Bson::Boolean(false)), None | Some(Bson::Boolean(false))) => true,
        (Some(Bson::Document(one)), Some(Bson::Document(other))) => equal_documents(one, other),
        (Some(one), Some(other)) => match (number(one), number(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn equal_documents(one: &Document, other: &Document) -> bool {
    one.keys().chain(other.keys()).all(|name| equal(one.get(name), other.get(name)))
}

fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn a_collection_is_the_same_by_its_options() {
        let create = doc! {"create": "a", "capped": true, "size": 4096, "validator": {"x": {"$type": "int"}}};
        let found = doc! {"uuid": 1, "size": 4096.0, "capped": true, "validator": {"x": {"$type": "int"}}};
        assert_eq!(another_option(&create, &found), None);
        assert_eq!(another_option(&doc! {"create": "a"}, &found), Some("size"));
        let strict = |what: &str| doc! {"validationLevel": what};
        assert_eq!(another_option(&doc! {"create": "a"}, &strict("strict")), None);
        assert_eq!(another_option(&doc! {"create": "a"}, &strict("moderate")), Some("validationLevel"));
        assert_eq!(another_option(&create, &doc! {"capped": true, "size": 4096}), Some("validator"));
        assert_eq!(another_option(&doc! {"create": "a", "capped": false}, &doc! {}), None);
    }

    #[test]
    fn an_index_is_the_same_by_name_keys_and_options() {
        let simple = doc! {"locale": "simple"};
        let wanted = doc! {"v": 2, "key": {"a": 1, "b": -1}, "name": "n", "unique": true, "collation": simple};
        assert!(index(&wanted, &doc! {"v": 2, "key": {"a": 1.0, "b": -1}, "name": "n", "unique": true}));
        for other in [
            doc! {"v": 2, "key": {"b": -1, "a": 1}, "name": "n", "unique": true},
            doc! {"v": 2, "key": {"a": 1, "b": -1}, "name": "n"},
            doc! {"v": 2, "key": {"a": 1, "b": -1}, "name": "m", "unique": true},
            doc! {"v": 2, "key": {"a": 1, "b": -1}, "name": "n", "unique": true, "sparse": true},
            doc! {"v": 2, "key": {"a": 1, "b": -1}, "name": "n", "unique": true, "collation": {"locale": "en"}},
        ] {
            assert!(!index(&wanted, &other), "{other}");
        }
    }
}
