//! What may happen to bytes on their way, for the tests of what reads them: a byte becomes another, a piece is lost, a
//! piece comes in between, a piece comes twice. Pure; nothing but tests has a use for it.

/// One damage, as numbers that a test makes up: what happens, where, to how many bytes, and with which byte. Every four
/// numbers are one.
pub type Damage = (u8, u16, u8, u8);

/// The bytes after each of `damages` has happened to them in turn.
pub fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for &(what, at, count, byte) in damages {
        let at = usize::from(at) % (bytes.len() + 1);
        let end = (at + usize::from(count)).min(bytes.len());
        match what % 8 {
            0 | 1 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
            2 | 3 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old ^= 1 << (byte % 8)),
            4 => drop(bytes.drain(at..end)),
            5 => bytes.truncate(at),
            6 => drop(bytes.splice(at..at, std::iter::repeat_n(byte, usize::from(count)))),
            _ => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(end..end, piece));
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_damage_does_what_it_says() {
        let after = |damage| String::from_utf8(damaged(b"abcdef", &[damage])).expect("letters");
        assert_eq!(after((0, 1, 0, b'x')), "axcdef");
        assert_eq!(after((2, 0, 0, 5)), "Abcdef");
        assert_eq!(after((4, 1, 2, 0)), "adef");
        assert_eq!(after((5, 2, 0, 0)), "ab");
        assert_eq!(after((6, 2, 2, b'-')), "ab--cdef");
        assert_eq!(after((7, 1, 2, 0)), "abcbcdef");
        assert_eq!(damaged(b"", &[(0, 9, 9, 9), (4, 9, 9, 9), (7, 9, 9, 9)]), b"");
        assert_eq!(damaged(b"ab", &[(4, 0, 9, 0), (6, 0, 1, b'x')]), b"x");
    }
}
