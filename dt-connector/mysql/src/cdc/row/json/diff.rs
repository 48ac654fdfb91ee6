//! Lists of differences: what `binlog_row_value_options=PARTIAL_JSON` writes instead of a document.

use std::borrow::Cow;

use super::super::flaw::Flaw;
use super::jsonb::{Container, Value};
use super::path::{self, Leg};
use super::text::{Left, check_depth, push_key, push_value};

const SHORT: Flaw = Flaw::Malformed("a list of JSON differences that ends before its last one does");
const NOT_THERE: Flaw = Flaw::Unapplicable("its path leads nowhere in the document before");
const THERE_ALREADY: Flaw = Flaw::Unapplicable("what it adds is in the document before");
const ROOT: Flaw = Flaw::Unapplicable("it is about the whole document");

/// A document of which only what changes has been taken apart.
#[derive(Debug)]
enum Node<'a> {
    Whole(Value<'a>),
    Array(Vec<Node<'a>>),
    /// Ordered as the server orders members: by the names' lengths, then by their bytes.
    Object(Members<'a>),
}

type Members<'a> = Vec<(Cow<'a, [u8]>, Node<'a>)>;

/// Appends the text of the document that the differences make of the one before.
pub(super) fn push_changed(out: &mut Vec<u8>, before: &[u8], differences: &[u8]) -> Result<(), Flaw> {
    let mut document = Node::Whole(Value::of_document(before)?);
    let mut rest = differences;
    while !rest.is_empty() {
        let operation = take(&mut rest, 1)?[0];
        let path = counted(&mut rest)?;
        let legs = path::parse(path)?;
        match operation {
            0 => *document.seek(&legs)? = Node::Whole(Value::of_document(counted(&mut rest)?)?),
            1 => document.insert(&legs, Node::Whole(Value::of_document(counted(&mut rest)?)?))?,
            2 => document.remove(&legs)?,
            _ => return Err(Flaw::Malformed("a JSON difference of a kind that dt does not know")),
        }
    }
    document.push(out, 1, &mut Left(before.len() + differences.len() + 1))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Flaw> {
    let (taken, after) = rest.split_at_checked(length).ok_or(SHORT)?;
    *rest = after;
    Ok(taken)
}

/// Bytes after their length.
fn counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Flaw> {
    let length = packed(rest).ok_or(SHORT)?;
    take(rest, usize::try_from(length).map_err(|_| SHORT)?)
}

/// The protocol's packed integer: one byte up to 250, else 2, 3 or 8 bytes after a mark.
pub(in super::super) fn packed(rest: &mut &[u8]) -> Option<u64> {
    let (&first, after) = rest.split_first()?;
    let width = match first {
        0..=250 => {
            *rest = after;
            return Some(u64::from(first));
        }
        252 => 2,
        253 => 3,
        254 => 8,
        251 | 255 => return None,
    };
    let (bytes, after) = after.split_at_checked(width)?;
    *rest = after;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn members<'a>(object: &Container<'a>) -> Result<Members<'a>, Flaw> {
    (0..object.len()).map(|at| Ok((Cow::Borrowed(object.key(at)?), Node::Whole(object.value(at)?)))).collect()
}

fn elements<'a>(array: &Container<'a>) -> Result<Vec<Node<'a>>, Flaw> {
    (0..array.len()).map(|at| Ok(Node::Whole(array.value(at)?))).collect()
}

/// The server's order of members.
fn place(members: &[(Cow<'_, [u8]>, Node<'_>)], key: &[u8]) -> Result<usize, usize> {
    members.binary_search_by(|(name, _)| name.len().cmp(&key.len()).then_with(|| name.as_ref().cmp(key)))
}

/// An element's place; `None` if the array has none such.
fn index(leg: &Leg<'_>, length: usize) -> Option<usize> {
    match leg {
        Leg::Element(at) => Some(*at),
        Leg::FromLast(back) => length.checked_sub(back + 1),
        Leg::Member(_) => None,
    }
}

impl<'a> Node<'a> {
    /// Takes a container apart, one level deep.
    fn open(&mut self) -> Result<(), Flaw> {
        let opened = match self {
            Node::Whole(Value::Array(array)) => Node::Array(elements(array)?),
            Node::Whole(Value::Object(object)) => Node::Object(members(object)?),
            Node::Whole(_) | Node::Array(_) | Node::Object(_) => return Ok(()),
        };
        *self = opened;
        Ok(())
    }

    fn seek(&mut self, legs: &[Leg<'_>]) -> Result<&mut Node<'a>, Flaw> {
        let Some((leg, rest)) = legs.split_first() else { return Ok(self) };
        self.open()?;
        match (self, leg) {
            (Node::Object(members), Leg::Member(key)) => {
                let at = place(members, key).map_err(|_| NOT_THERE)?;
                members[at].1.seek(rest)
            }
            (Node::Array(elements), Leg::Element(_) | Leg::FromLast(_)) => {
                let at = index(leg, elements.len());
                at.and_then(|at| elements.get_mut(at)).ok_or(NOT_THERE)?.seek(rest)
            }
            // The server takes what is no array for an array of itself.
            (node @ (Node::Whole(_) | Node::Object(_)), Leg::Element(0) | Leg::FromLast(0)) => node.seek(rest),
            (Node::Whole(_) | Node::Object(_) | Node::Array(_), _) => Err(NOT_THERE),
        }
    }

    fn insert(&mut self, legs: &[Leg<'_>], value: Node<'a>) -> Result<(), Flaw> {
        let (leg, parents) = legs.split_last().ok_or(ROOT)?;
        let parent = self.seek(parents)?;
        parent.open()?;
        match (parent, leg) {
            (Node::Object(members), Leg::Member(key)) => match place(members, key) {
                Ok(_) => Err(THERE_ALREADY),
                Err(at) => {
                    members.insert(at, (Cow::Owned(key.to_vec()), value));
                    Ok(())
                }
            },
            (Node::Array(elements), Leg::Element(_) | Leg::FromLast(_)) => {
                // Beyond the end is the end, and before the beginning the beginning.
                let at = index(leg, elements.len()).unwrap_or(0).min(elements.len());
                elements.insert(at, value);
                Ok(())
            }
            (Node::Whole(_) | Node::Object(_) | Node::Array(_), _) => Err(NOT_THERE),
        }
    }

    fn remove(&mut self, legs: &[Leg<'_>]) -> Result<(), Flaw> {
        let (leg, parents) = legs.split_last().ok_or(ROOT)?;
        let parent = self.seek(parents)?;
        parent.open()?;
        match (parent, leg) {
            (Node::Object(members), Leg::Member(key)) => {
                let at = place(members, key).map_err(|_| NOT_THERE)?;
                members.remove(at);
                Ok(())
            }
            (Node::Array(elements), Leg::Element(_) | Leg::FromLast(_)) => {
                let at = index(leg, elements.len()).filter(|at| *at < elements.len()).ok_or(NOT_THERE)?;
                elements.remove(at);
                Ok(())
            }
            (Node::Whole(_) | Node::Object(_) | Node::Array(_), _) => Err(NOT_THERE),
        }
    }

    fn push(&self, out: &mut Vec<u8>, depth: usize, left: &mut Left) -> Result<(), Flaw> {
        match self {
            Node::Whole(value) => push_value(out, value, depth, left)?,
            Node::Array(elements) => {
                check_depth(depth)?;
                out.push(b'[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b", ");
                    }
                    element.push(out, depth + 1, left)?;
                }
                out.push(b']');
            }
            Node::Object(members) => {
                check_depth(depth)?;
                out.push(b'{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b", ");
                    }
                    push_key(out, key);
                    value.push(out, depth + 1, left)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}
