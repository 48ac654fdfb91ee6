//! Values that begin with `json:`: an array of objects, read strictly.
//!
//! A field that is missing, unknown, given twice or of the wrong kind is an error that names the field and the
//! entry; no value is repeated, for a condition may hold data.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value that keeps the order and the repetitions of an object's fields.
#[derive(Debug, PartialEq)]
enum Json {
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// A number, a boolean or null: no key takes one.
    Other,
}

/// An object of the array; its fields are taken one by one.
pub(super) struct Object {
    /// Its place in the array, counted from 1.
    number: usize,
    fields: Vec<(String, Json)>,
}

/// The objects of a `json:[…]` value.
pub(super) fn objects(value: &str) -> Result<Vec<Object>, String> {
    let text = value.strip_prefix("json:").ok_or("must be `json:` and a JSON array")?;
    let json: Json = serde_json::from_str(text)
        .map_err(|error| format!("is not valid JSON, at character {} behind `json:`", error.column()))?;
    let Json::List(entries) = json else { return Err("must be a JSON array: `json:[…]`".to_owned()) };
    let numbered = entries.into_iter().zip(1..);
    numbered
        .map(|(entry, number)| match entry {
            Json::Object(fields) => {
                refuse_repetition(fields.iter().map(|(name, _)| name.as_str()))
                    .map_err(|name| format!("has the field `{name}` twice in entry {number}"))?;
                Ok(Object { number, fields })
            }
            Json::Text(_) | Json::List(_) | Json::Other => Err(format!("must hold objects; entry {number} is none")),
        })
        .collect()
}

/// The first name that is there twice, as an error.
pub(super) fn refuse_repetition<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), &'a str> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(name);
        }
    }
    Ok(())
}

impl Object {
    /// Takes a text that is not empty.
    pub(super) fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name)? {
            Json::Text(text) if !text.trim().is_empty() => Ok(text),
            Json::Text(_) | Json::List(_) | Json::Object(_) | Json::Other => self.refuse(name, "a text"),
        }
    }

    /// Takes a list of texts, at least one, none of them empty or twice.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        let Json::List(list) = self.take(name)? else { return self.refuse(name, "a list of texts") };
        let texts: Option<Vec<String>> = list.into_iter().map(Json::into_name).collect();
        match texts.filter(|texts| !texts.is_empty()) {
            Some(texts) => match refuse_repetition(texts.iter().map(String::as_str)) {
                Ok(()) => Ok(texts),
                Err(twice) => Err(format!("has `{twice}` twice in `{name}` of entry {}", self.number)),
            },
            None => self.refuse(name, "a list of texts"),
        }
    }

    /// Takes an object of texts, at least one, no field twice.
    pub(super) fn pairs(&mut self, name: &str) -> Result<Vec<(String, String)>, String> {
        let Json::Object(fields) = self.take(name)? else { return self.refuse(name, "an object of texts") };
        let pairs: Option<Vec<(String, String)>> =
            fields.into_iter().map(|(from, to)| Some((from, to.into_name()?))).collect();
        match pairs.filter(|pairs| !pairs.is_empty() && pairs.iter().all(|(from, _)| !from.is_empty())) {
            Some(pairs) => match refuse_repetition(pairs.iter().map(|(from, _)| from.as_str())) {
                Ok(()) => Ok(pairs),
                Err(twice) => Err(format!("has `{twice}` twice in `{name}` of entry {}", self.number)),
            },
            None => self.refuse(name, "an object of texts"),
        }
    }

    /// Refuses what was not taken.
    pub(super) fn end(self) -> Result<(), String> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("has an unknown field `{name}` in entry {}", self.number)),
        }
    }

    fn take(&mut self, name: &str) -> Result<Json, String> {
        match self.fields.iter().position(|(field, _)| field == name) {
            Some(at) => Ok(self.fields.remove(at).1),
            None => Err(format!("lacks the field `{name}` in entry {}", self.number)),
        }
    }

    fn refuse<T>(&self, name: &str, wanted: &str) -> Result<T, String> {
        Err(format!("must have {wanted}, not empty, as `{name}` in entry {}", self.number))
    }
}

impl Json {
    fn into_name(self) -> Option<String> {
        match self {
            Json::Text(text) if !text.is_empty() => Some(text),
            Json::Text(_) | Json::List(_) | Json::Object(_) | Json::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = access.next_element()? {
            list.push(entry);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(value: &str) -> String {
        let read = || {
            for mut object in objects(value)? {
                object.text("db")?;
                object.texts("cols")?;
                object.pairs("map")?;
                object.end()?;
            }
            Ok(())
        };
        read().expect_err("must be refused")
    }

    #[test]
    fn fields_are_taken_by_name_in_any_order() {
        let mut read = objects(r#"json: [{"map":{"b":"c","a":"d"},"cols":["x","y"],"db":"名 \" ,"}]"#).unwrap();
        let mut object = read.remove(0);
        assert_eq!(object.text("db").unwrap(), "名 \" ,");
        assert_eq!(object.texts("cols").unwrap(), ["x", "y"]);
        assert_eq!(object.pairs("map").unwrap(), [("b".into(), "c".into()), ("a".into(), "d".into())]);
        assert_eq!(object.end(), Ok(()));
    }

    #[test]
    fn everything_else_is_refused_and_no_value_is_shown() {
        let cases = [
            (r#"[{}]"#, "must be `json:` and a JSON array"),
            (r#"json:[{"db":"hunter2""#, "is not valid JSON, at character 16 behind `json:`"),
            (r#"json:{"db":"a"}"#, "must be a JSON array: `json:[…]`"),
            (r#"json:["a"]"#, "must hold objects; entry 1 is none"),
            (r#"json:[{"db":"a","db":"b"}]"#, "has the field `db` twice in entry 1"),
            (r#"json:[{"tb":"a"}]"#, "lacks the field `db` in entry 1"),
            (r#"json:[{"db":5}]"#, "must have a text, not empty, as `db` in entry 1"),
            (r#"json:[{"db":" "}]"#, "must have a text, not empty, as `db` in entry 1"),
            (r#"json:[{"db":"a","cols":"b"}]"#, "must have a list of texts, not empty, as `cols` in entry 1"),
            (r#"json:[{"db":"a","cols":[]}]"#, "must have a list of texts, not empty, as `cols` in entry 1"),
            (r#"json:[{"db":"a","cols":["b","b"]}]"#, "has `b` twice in `cols` of entry 1"),
            (
                r#"json:[{"db":"a","cols":["b"],"map":{"x":null}}]"#,
                "must have an object of texts, not empty, as `map` in entry 1",
            ),
            (r#"json:[{"db":"a","cols":["b"],"map":{"x":"y","x":"z"}}]"#, "has `x` twice in `map` of entry 1"),
            (r#"json:[{"db":"a","cols":["b"],"map":{"x":"y"},"q":1}]"#, "has an unknown field `q` in entry 1"),
        ];
        for (value, message) in cases {
            assert_eq!(error(value), message, "{value}");
        }
    }
}
