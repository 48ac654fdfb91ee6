//! Paths within a document, as lists of differences write them: `$.a."b c"[3]`.

use std::borrow::Cow;

use super::super::flaw::Flaw;

const BROKEN: Flaw = Flaw::Malformed("a JSON path that cannot be read");

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leg<'a> {
    /// A member of an object.
    Member(Cow<'a, [u8]>),
    /// An element of an array, counted from the first.
    Element(usize),
    /// An element of an array, counted back from the last.
    FromLast(usize),
}

/// The steps from the root.
pub(super) fn parse(path: &[u8]) -> Result<Vec<Leg<'_>>, Flaw> {
    let mut rest = path.strip_prefix(b"$").ok_or(BROKEN)?;
    let mut legs = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] => return Ok(legs),
            [b'.', after @ ..] => {
                let (key, after) = member(after.trim_ascii_start())?;
                legs.push(Leg::Member(key));
                rest = after;
            }
            [b'[', after @ ..] => {
                let end = after.iter().position(|&byte| byte == b']').ok_or(BROKEN)?;
                legs.push(element(after[..end].trim_ascii())?);
                rest = &after[end + 1..];
            }
            _ => return Err(BROKEN),
        }
    }
}

fn element(text: &[u8]) -> Result<Leg<'_>, Flaw> {
    match text.strip_prefix(b"last") {
        None => Ok(Leg::Element(number(text)?)),
        Some(rest) => match rest.trim_ascii() {
            [] => Ok(Leg::FromLast(0)),
            [b'-', back @ ..] => Ok(Leg::FromLast(number(back.trim_ascii())?)),
            _ => Err(BROKEN),
        },
    }
}

fn number(text: &[u8]) -> Result<usize, Flaw> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(BROKEN)
}

/// A member's name and what follows it.
fn member(text: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Flaw> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b'.' | b'[' | b' ')).unwrap_or(text.len());
        let (key, rest) = text.split_at(end);
        return if key.is_empty() || key == b"*" { Err(BROKEN) } else { Ok((Cow::Borrowed(key), rest)) };
    };
    let mut end = 0;
    loop {
        match quoted.get(end).ok_or(BROKEN)? {
            b'"' => break,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    Ok((unescape(&quoted[..end])?, &quoted[end + 1..]))
}

/// A JSON string's text.
fn unescape(quoted: &[u8]) -> Result<Cow<'_, [u8]>, Flaw> {
    if !quoted.contains(&b'\\') {
        return Ok(Cow::Borrowed(quoted));
    }
    let mut out = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escaped, after) = rest.split_first().ok_or(BROKEN)?;
        rest = after;
        match escaped {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let mut unit = unit(&mut rest)?;
                if (0xd800..0xdc00).contains(&unit) {
                    rest = rest.strip_prefix(b"\\u").ok_or(BROKEN)?;
                    let low = self::unit(&mut rest)?.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(BROKEN)?;
                    unit = 0x1_0000 + ((unit - 0xd800) << 10) + low;
                }
                let c = char::from_u32(unit).ok_or(BROKEN)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => out.push(other),
        }
    }
    Ok(Cow::Owned(out))
}

fn unit(rest: &mut &[u8]) -> Result<u32, Flaw> {
    let (digits, after) = rest.split_at_checked(4).ok_or(BROKEN)?;
    *rest = after;
    let text = std::str::from_utf8(digits).map_err(|_| BROKEN)?;
    u32::from_str_radix(text, 16).map_err(|_| BROKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_told_apart() {
        let key = |text: &'static str| Leg::Member(Cow::Borrowed(text.as_bytes()));
        assert_eq!(parse(b"$"), Ok(vec![]));
        assert_eq!(parse(b"$.a[3].\"b c\"[last]"), Ok(vec![key("a"), Leg::Element(3), key("b c"), Leg::FromLast(0)]));
        assert_eq!(parse(b"$[last-2].x"), Ok(vec![Leg::FromLast(2), key("x")]));
        assert_eq!(parse(br#"$."a\"\\\u00e9\ud83e\udd80\n""#), Ok(vec![key("a\"\\é🦀\n")]));
        assert_eq!(parse(b"$.\"\""), Ok(vec![key("")]));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a", "$.", "$[", "$[x]", "$.*", "$.\"a", "$.\"\\", "$.\"\\ud800\"", "$**.a"] {
            assert_eq!(parse(text.as_bytes()), Err(BROKEN), "{text}");
        }
    }
}
