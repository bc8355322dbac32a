//! Lines: cutting a message into them, joining folded ones, and taking a header line apart (RFC 3261 §7.3.1).
//!
//! Owns what a line end is, for datagrams and streams alike, so that both see the same header section.

use bytes::Bytes;

use super::error::HeaderError;
use super::header_name::HeaderName;
use super::headers::Header;
use crate::scan::{Problem, is_token, number, trim};

/// One line without its line end.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) folded: bool,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// Walks the lines of a message. A line ends with LF, with or without CR before it.
pub(crate) struct Lines<'a> {
    source: &'a [u8],
    pub(crate) position: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(source: &'a [u8]) -> Self {
        Lines { source, position: 0 }
    }

    /// The next line; `None` when it has no end.
    pub(crate) fn single(&mut self) -> Option<Line> {
        let start = self.position;
        let length = memchr::memchr(b'\n', &self.source[start..])?;
        self.position = start + length + 1;
        let end = start + length;
        let end = if end > start && self.source[end - 1] == b'\r' {
            end - 1
        } else {
            end
        };
        Some(Line {
            start,
            end,
            folded: false,
        })
    }

    /// The next line with all lines that continue it, those that begin with SP or HTAB.
    pub(crate) fn folded(&mut self) -> Option<Line> {
        let mut line = self.single()?;
        if line.is_empty() {
            return Some(line);
        }
        while matches!(self.source.get(self.position), Some(b' ' | b'\t')) {
            line.end = self.single()?.end;
            line.folded = true;
        }
        Some(line)
    }

    /// The first line that is not empty (RFC 3261 §7.5); when the text ends before a line does, what there is.
    pub(super) fn skip_empty(&mut self) -> Option<Line> {
        let blank = self
            .source
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        self.position = blank;
        if blank == self.source.len() {
            return None;
        }
        Some(self.single().unwrap_or_else(|| {
            let start = self.position;
            self.position = self.source.len();
            Line {
                start,
                end: self.source.len(),
                folded: false,
            }
        }))
    }
}

/// Splits a header line. `None` without a colon, with a name that is no token, or with a lone CR inside.
pub(super) fn header(datagram: &Bytes, line: &Line) -> Option<Header> {
    let text = &datagram[line.start..line.end];
    let name_length = text.iter().position(|byte| !is_token(*byte))?;
    let gap = text[name_length..]
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))?;
    if name_length == 0 || text[name_length + gap] != b':' {
        return None;
    }
    let raw = trim(&text[name_length + gap + 1..]);
    let value = if line.folded {
        unfold(raw)?
    } else if memchr::memchr(b'\r', raw).is_some() {
        return None;
    } else {
        datagram.slice_ref(raw)
    };
    let name = HeaderName::known(&text[..name_length])
        .unwrap_or_else(|| HeaderName::Other(datagram.slice_ref(&text[..name_length]).into()));
    Some(Header::from_line(name, value))
}

/// Joins folded lines with one space each (RFC 3261 §7.3.1). `None` with a lone CR inside.
fn unfold(raw: &[u8]) -> Option<Bytes> {
    let mut joined = Vec::with_capacity(raw.len());
    for piece in raw.split(|byte| *byte == b'\n') {
        let piece = trim(piece);
        if piece.contains(&b'\r') {
            return None;
        }
        if !joined.is_empty() && !piece.is_empty() {
            joined.push(b' ');
        }
        joined.extend_from_slice(piece);
    }
    Some(Bytes::from(joined))
}

/// The Content-Length a stream is cut by, 0 without one. It must be there (RFC 3261 §18.3); where nothing is lost by its
/// absence it is forgiven: not in an INVITE, and not where Content-Type announces a body, of which nobody could tell the end.
pub(crate) fn declared_length(head: &[u8]) -> Result<u64, HeaderError> {
    let error = |problem| HeaderError {
        header: HeaderName::ContentLength,
        offset: 0,
        problem,
    };
    let mut declared = None;
    let mut has_type = false;
    let mut lines = Lines::new(head);
    lines.single();
    while let Some(line) = lines.folded() {
        let text = &head[line.start..line.end];
        let name_length = text
            .iter()
            .position(|byte| !is_token(*byte))
            .unwrap_or(text.len());
        let name = &text[..name_length];
        if !name.eq_ignore_ascii_case(b"l") && !name.eq_ignore_ascii_case(b"Content-Length") {
            has_type |= name.eq_ignore_ascii_case(b"c") || name.eq_ignore_ascii_case(b"Content-Type");
            continue;
        }
        let value = trim(&text[name_length..]).strip_prefix(b":").map(trim);
        let length = number(value.unwrap_or_default(), u64::MAX).map_err(error)?;
        if declared.is_some_and(|declared| declared != length) {
            return Err(error(Problem::Repeated));
        }
        declared = Some(length);
    }
    match declared {
        Some(length) => Ok(length),
        None if has_type || head.starts_with(b"INVITE ") => Err(error(Problem::Missing)),
        None => Ok(0),
    }
}
