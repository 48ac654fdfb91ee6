//! MariaDB's `COMPRESSED` columns: a header, and the value as it is or deflated.

use std::io::Read as _;

use super::flaw::Flaw;

const BROKEN: Flaw = Flaw::Malformed("a compressed value that cannot be inflated");

/// The first byte says how the value was compressed (the upper four bits: 0 not at all, 8 by zlib), whether it goes
/// without zlib's own header (bit 3), and how many bytes tell the value's length, the highest first
/// (the lower three).
pub(super) fn inflate(stored: &[u8], scratch: &mut Vec<u8>) -> Result<(), Flaw> {
    scratch.clear();
    let Some((&header, rest)) = stored.split_first() else { return Ok(()) };
    match header >> 4 {
        0 => scratch.extend_from_slice(rest),
        8 => {
            let (length, deflated) = rest.split_at_checked(usize::from(header & 7)).ok_or(Flaw::Short)?;
            if length.len() > 4 {
                return Err(BROKEN);
            }
            let length = length.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
            let plain = header & 8 == 0;
            deflated_into(deflated, plain, length, scratch)?;
        }
        _ => return Err(Flaw::Malformed("a value compressed in a way that dt does not know")),
    }
    Ok(())
}

/// Grows with what comes out, not with what the header promises.
fn deflated_into(deflated: &[u8], zlib_header: bool, length: u64, out: &mut Vec<u8>) -> Result<(), Flaw> {
    let read = if zlib_header {
        flate2::read::ZlibDecoder::new(deflated).take(length + 1).read_to_end(out)
    } else {
        flate2::read::DeflateDecoder::new(deflated).take(length + 1).read_to_end(out)
    };
    match read {
        Ok(read) if read as u64 == length => Ok(()),
        Ok(_) | Err(_) => Err(BROKEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn deflated(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    #[test]
    fn a_value_comes_out_as_it_went_in() {
        let text = vec![b'x'; 300];
        let stored = [&[0x82, 0x01, 0x2c][..], &deflated(&text)].concat();
        let mut out = Vec::new();
        inflate(&stored, &mut out).expect("whole");
        assert_eq!(out, text);
        inflate(b"\x00plain", &mut out).expect("not compressed");
        assert_eq!(out, b"plain");
        inflate(b"", &mut out).expect("empty");
        assert_eq!(out, b"");
    }

    #[test]
    fn a_length_that_is_not_the_values_is_refused() {
        for length in [299_u16, 301] {
            let stored = [&[0x82][..], &length.to_be_bytes(), &deflated(&[b'x'; 300])].concat();
            assert_eq!(inflate(&stored, &mut Vec::new()), Err(BROKEN));
        }
        assert_eq!(inflate(&[0x82, 1], &mut Vec::new()), Err(Flaw::Short));
    }
}
