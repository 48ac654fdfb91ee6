//! Documents as the server prints them, escaped as a value of a row.

use super::super::decimal::Decimal;
use super::super::flaw::Flaw;
use super::super::number::{push_double, push_padded, push_signed, push_unsigned};
use super::super::temporal::{push_packed_date, push_packed_datetime, push_packed_time};
use super::jsonb::{Container, Value};

/// As deep as the servers let a document be.
pub(super) const DEPTH_MAX: usize = 100;

const TIMESTAMP: u8 = 7;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const NEWDECIMAL: u8 = 246;

/// How many more values there can be. Each takes at least a byte of its document, so that one whose offsets go round
/// in circles comes to an end.
pub(super) struct Left(pub(super) usize);

/// Appends a value that lies `depth` deep.
pub(super) fn push_value(out: &mut Vec<u8>, value: &Value<'_>, depth: usize, left: &mut Left) -> Result<(), Flaw> {
    left.0 = left.0.checked_sub(1).ok_or(Flaw::Malformed("a JSON document with more values than bytes"))?;
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(value) => push_signed(out, *value),
        Value::Uint(value) => push_unsigned(out, *value),
        Value::Double(value) => push_json_double(out, *value)?,
        Value::String(text) => push_string(out, text),
        Value::Opaque(kind, data) => push_opaque(out, *kind, data)?,
        Value::Array(array) => {
            check_depth(depth)?;
            out.push(b'[');
            push_elements(out, array, depth, left, |_, _| Ok(()))?;
            out.push(b']');
        }
        Value::Object(object) => {
            check_depth(depth)?;
            out.push(b'{');
            push_elements(out, object, depth, left, |out, at| {
                push_key(out, object.key(at)?);
                Ok(())
            })?;
            out.push(b'}');
        }
    }
    Ok(())
}

fn push_elements(
    out: &mut Vec<u8>,
    container: &Container<'_>,
    depth: usize,
    left: &mut Left,
    mut key: impl FnMut(&mut Vec<u8>, usize) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    for at in 0..container.len() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        key(out, at)?;
        push_value(out, &container.value(at)?, depth + 1, left)?;
    }
    Ok(())
}

/// Refuses documents deeper than the servers' own bound, so that none exhausts the stack.
pub(super) fn check_depth(depth: usize) -> Result<(), Flaw> {
    if depth > DEPTH_MAX {
        return Err(Flaw::Malformed("a JSON document deeper than the server allows"));
    }
    Ok(())
}

/// Appends a member's name and the colon.
pub(super) fn push_key(out: &mut Vec<u8>, key: &[u8]) {
    push_string(out, key);
    out.extend_from_slice(b": ");
}

/// A whole number keeps a point, so that it stays a double.
fn push_json_double(out: &mut Vec<u8>, value: f64) -> Result<(), Flaw> {
    if !value.is_finite() {
        return Err(Flaw::Malformed("a JSON number that is not finite"));
    }
    let start = out.len();
    push_double(out, value);
    if !out[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
    Ok(())
}

/// In quotes. A back-slash of JSON's is two in a row's text.
fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\\\\");
        match rest[at] {
            b'"' => out.push(b'"'),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.push(b'b'),
            b'\t' => out.push(b't'),
            b'\n' => out.push(b'n'),
            0x0c => out.push(b'f'),
            b'\r' => out.push(b'r'),
            control => {
                out.extend_from_slice(b"u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_opaque(out: &mut Vec<u8>, kind: u8, data: &[u8]) -> Result<(), Flaw> {
    match kind {
        NEWDECIMAL => push_decimal(out, data),
        DATE | TIME | DATETIME | TIMESTAMP => {
            let packed = data.try_into().map_err(|_| Flaw::Malformed("a JSON date or time of a wrong length"))?;
            push_temporal(out, kind, i64::from_le_bytes(packed));
            Ok(())
        }
        _ => {
            out.extend_from_slice(b"\"base64:type");
            push_unsigned(out, u64::from(kind));
            out.push(b':');
            push_base64(out, data);
            out.push(b'"');
            Ok(())
        }
    }
}

/// Precision, scale, and the number as a DECIMAL column has it. It is printed as a number.
fn push_decimal(out: &mut Vec<u8>, data: &[u8]) -> Result<(), Flaw> {
    let [precision, scale, value @ ..] = data else { return Err(Flaw::Short) };
    let decimal = Decimal::new(*precision, *scale).filter(|decimal| decimal.bytes() == value.len());
    decimal.ok_or(Flaw::Malformed("a JSON decimal number of a wrong length"))?.push(out, value)
}

/// Twenty-four bits of microseconds below what a date or a time is packed in.
fn push_temporal(out: &mut Vec<u8>, kind: u8, packed: i64) {
    out.push(b'"');
    if packed < 0 {
        out.push(b'-');
    }
    let packed = packed.unsigned_abs();
    match kind {
        DATE => push_packed_date(out, packed >> 24),
        TIME => push_packed_time(out, packed >> 24),
        _ => push_packed_datetime(out, packed >> 24),
    }
    if kind != DATE {
        out.push(b'.');
        push_padded(out, packed & 0xff_ffff, 6);
    }
    out.push(b'"');
}

/// The server breaks the text after each 76 characters, within the JSON string.
fn push_base64(out: &mut Vec<u8>, data: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (at, group) in data.chunks(3).enumerate() {
        if at > 0 && at % 19 == 0 {
            out.extend_from_slice(b"\\\\n");
        }
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let shown = digit <= group.len();
            out.push(if shown { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] } else { b'=' });
        }
    }
}
