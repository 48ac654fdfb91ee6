//! Events that the server has cut in pieces because they are larger than 16 MiB (MongoDB documentation,
//! `$changeStreamSplitLargeEvent`): each has `splitEvent: {fragment, of}`, and some of the event's fields. Pure.

use std::borrow::Cow;

use dt_common::{Error, Result};

use crate::raw::{self, RawValue, Writer};

/// The pieces of an event that is not whole yet.
#[derive(Debug, Default)]
pub struct Pieces {
    whole: Option<Writer>,
    seen: i64,
}

impl Pieces {
    /// Takes in what the server sent: an event, or a piece of one. The event, once it is whole; its token is that of the
    /// last piece.
    ///
    /// # Errors
    /// Pieces do not follow each other.
    pub fn take_in<'a>(&mut self, sent: &'a [u8]) -> Result<Option<Cow<'a, [u8]>>> {
        let Some(split) = raw::field(sent, "splitEvent").and_then(RawValue::document) else {
            return match self.whole {
                None => Ok(Some(Cow::Borrowed(sent))),
                Some(_) => Err(out_of_order()),
            };
        };
        let number = |name: &str| raw::field(split, name).and_then(RawValue::integer).ok_or_else(out_of_order);
        let (fragment, of) = (number("fragment")?, number("of")?);
        if fragment != self.seen + 1 || fragment > of {
            return Err(out_of_order());
        }
        self.seen = fragment;
        let is_last = fragment == of;
        let whole = self.whole.get_or_insert_with(Writer::new);
        for field in raw::fields(sent) {
            let field = field.map_err(|raw::Malformed| Error::fatal("an event of the change stream is damaged"))?;
            // The last piece's token stands for the event.
            if field.name != b"splitEvent" && (is_last || field.name != b"_id") {
                whole.put(field.name, field.value);
            }
        }
        if !is_last {
            return Ok(None);
        }
        self.seen = 0;
        Ok(self.whole.take().map(|whole| Cow::Owned(whole.finish())))
    }

    /// Whether an event has begun and is not whole.
    pub fn is_open(&self) -> bool {
        self.whole.is_some()
    }
}

fn out_of_order() -> Error {
    Error::fatal("pieces of a large event do not follow each other in the change stream")
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn piece(fragment: i32, of: i32, more: Document) -> Vec<u8> {
        let mut piece = doc! {"_id": {"_data": fragment.to_string()}, "splitEvent": {"fragment": fragment, "of": of}};
        piece.extend(more);
        piece.to_vec().expect("bytes")
    }

    #[test]
    fn pieces_become_the_event_with_the_last_token() {
        let mut pieces = Pieces::default();
        let plain = doc! {"_id": {"_data": "x"}}.to_vec().expect("bytes");
        assert_eq!(pieces.take_in(&plain).expect("an event").as_deref(), Some(&plain[..]));
        assert_eq!(pieces.take_in(&piece(1, 2, doc! {"a": 1})).expect("a piece"), None);
        assert!(pieces.is_open());
        let last = piece(2, 2, doc! {"b": 2});
        let whole = pieces.take_in(&last).expect("a piece").expect("an event");
        let whole = Document::from_reader(&whole[..]).expect("a document");
        assert_eq!(whole, doc! {"a": 1, "_id": {"_data": "2"}, "b": 2});
        assert!(!pieces.is_open());
    }

    #[test]
    fn what_is_out_of_order_is_an_error() {
        assert!(Pieces::default().take_in(&piece(2, 2, doc! {})).is_err());
        let mut pieces = Pieces::default();
        pieces.take_in(&piece(1, 3, doc! {})).expect("a piece");
        assert!(pieces.take_in(&piece(3, 3, doc! {})).is_err());
        let mut pieces = Pieces::default();
        pieces.take_in(&piece(1, 3, doc! {})).expect("a piece");
        assert!(pieces.take_in(&doc! {"_id": {}}.to_vec().expect("bytes")).is_err());
    }
}
