//! What a file of positions says: its lines, and whether its end was cut short by a crash. Pure.

use dt_common::position::line::{Line, LineError};

/// A file, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Its lines with their numbers, counted from 1; blank lines and comments are left out.
    pub(crate) lines: Vec<(u64, Line)>,
    /// How many bytes of it are good: all, or all before a torn last line.
    pub(crate) good_len: u64,
    /// Whether the good bytes end with a line end (or there are none).
    pub(crate) is_terminated: bool,
    /// The number of a torn last line.
    pub(crate) torn: Option<u64>,
}

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The line, counted from 1.
    pub(crate) line: u64,
    /// Why.
    pub(crate) why: BadLine,
}

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadLine {
    /// It is not text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It is text that says something else.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// Reads a file that a store wrote: a last line without a line end that can't be read was cut short by a crash, and
/// is left out. One that can be read lacks nothing but its line end, and counts.
pub(crate) fn scan_log(bytes: &[u8]) -> Result<Scan, Unreadable> {
    let mut scan = Scan { lines: Vec::new(), good_len: 0, is_terminated: true, torn: None };
    for (number, text) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let is_terminated = text.ends_with(b"\n");
        match read_line(text) {
            Ok(line) => scan.lines.extend(line.map(|line| (number, line))),
            Err(_) if !is_terminated => {
                scan.torn = Some(number);
                return Ok(scan);
            }
            Err(why) => return Err(Unreadable { line: number, why }),
        }
        scan.good_len += text.len() as u64;
        scan.is_terminated = is_terminated;
    }
    Ok(scan)
}

/// Reads a file that a person wrote: every line must be readable.
pub(crate) fn scan_config(bytes: &[u8]) -> Result<Vec<(u64, Line)>, Unreadable> {
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let read = lines.filter_map(|(number, text)| match read_line(text) {
        Ok(line) => line.map(|line| Ok((number, line))),
        Err(why) => Some(Err(Unreadable { line: number, why })),
    });
    read.collect()
}

/// Whether a file holds any position, or anything that can't be read and may be one.
pub(crate) fn says_anything(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|text| match read_line(text) {
        Ok(line) => line.is_some_and(|line| line.position != dt_common::Position::None),
        Err(_) => true,
    })
}

fn read_line(text: &[u8]) -> Result<Option<Line>, BadLine> {
    let text = std::str::from_utf8(text).map_err(|_| BadLine::NotText)?;
    Ok(Line::parse(text)?)
}
