//! MariaDB's UUID, INET4 and INET6: bytes on the wire, text to everyone else.

use super::number::push_unsigned;

const HEX: &[u8; 16] = b"0123456789abcdef";

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

/// A UUID as it lies in a record: those of versions 1 to 5 have their groups in reverse, so that they sort by time.
pub(super) fn push_uuid(out: &mut Vec<u8>, record: &[u8; 16]) {
    // As the server tells them apart: a variant's bit where the fourth group lies, a version where the third does.
    let reversed = record[6] & record[8].wrapping_neg() & 0x80 != 0;
    let groups = if reversed { [12..16, 10..12, 8..10, 6..8, 0..6] } else { [0..4, 4..6, 6..8, 8..10, 10..16] };
    for (at, group) in groups.into_iter().enumerate() {
        if at > 0 {
            out.push(b'-');
        }
        push_hex(out, &record[group]);
    }
}

/// Four numbers with points between them.
pub(super) fn push_inet4(out: &mut Vec<u8>, address: &[u8; 4]) {
    for (at, &byte) in address.iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        push_unsigned(out, u64::from(byte));
    }
}

/// The server's own short form: the first of the longest runs of zeros, even of a single one, is left out, and
/// addresses that hold an IPv4 one end in it.
pub(super) fn push_inet6(out: &mut Vec<u8>, address: &[u8; 16]) {
    let mut words = [0_u16; 8];
    for (word, pair) in words.iter_mut().zip(address.chunks_exact(2)) {
        *word = u16::from(pair[0]) << 8 | u16::from(pair[1]);
    }
    let (gap, length) = longest_gap(&words);
    let mut at = 0;
    while at < 8 {
        if length > 0 && at == gap {
            if at == 0 {
                out.push(b':');
            }
            out.push(b':');
            at += length;
            continue;
        }
        if at == 6 && gap == 0 && (length == 6 || (length == 5 && words[5] == 0xffff)) {
            push_inet4(out, &[address[12], address[13], address[14], address[15]]);
            return;
        }
        push_short_hex(out, words[at]);
        at += 1;
        if at < 8 {
            out.push(b':');
        }
    }
}

fn longest_gap(words: &[u16; 8]) -> (usize, usize) {
    let (mut best, mut best_length) = (0, 0);
    let mut at = 0;
    while at < 8 {
        let length = words[at..].iter().take_while(|&&word| word == 0).count();
        if length > best_length {
            (best, best_length) = (at, length);
        }
        at += length.max(1);
    }
    (best, best_length)
}

fn push_short_hex(out: &mut Vec<u8>, word: u16) {
    let digits = (4 - word.leading_zeros() / 4).max(1);
    for digit in (0..digits).rev() {
        out.push(HEX[usize::from(word >> (4 * digit) & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet6(address: &str) -> String {
        let address: std::net::Ipv6Addr = address.parse().expect("an address");
        let mut out = Vec::new();
        push_inet6(&mut out, &address.octets());
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn addresses_are_shortened_as_the_server_does() {
        for text in ["::", "::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4", "::1.2.3.4", "fe80::", "1::3:4:5:6:7:8"] {
            assert_eq!(inet6(text).parse::<std::net::Ipv6Addr>(), text.parse());
        }
        assert_eq!(inet6("1:2:3:0:5:6:7:8"), "1:2:3::5:6:7:8");
        assert_eq!(inet6("::ffff:1.2.3.4"), "::ffff:1.2.3.4");
        assert_eq!(inet6("1:0:0:4:0:0:7:8"), "1::4:0:0:7:8");
        assert_eq!(inet6("ffff:10:a0:ab:abc:1:0:f"), "ffff:10:a0:ab:abc:1::f");
    }

    #[test]
    fn a_uuid_of_version_1_lies_in_reverse() {
        let text = "123e4567-e89b-12d3-a456-426655440000";
        let reversed = [0x42, 0x66, 0x55, 0x44, 0, 0, 0xa4, 0x56, 0x12, 0xd3, 0xe8, 0x9b, 0x12, 0x3e, 0x45, 0x67];
        let mut out = Vec::new();
        push_uuid(&mut out, &reversed);
        assert_eq!(out, text.as_bytes());

        let mut out = Vec::new();
        push_uuid(&mut out, &[0xff; 16]);
        assert_eq!(out, b"ffffffff-ffff-ffff-ffff-ffffffffffff");
    }
}
