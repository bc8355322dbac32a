//! The message parser: lines, folding, start line, body, and the checks every message must pass.
//!
//! Owns the limits and the order in which faults are reported. A fault never stops the collection of the headers an
//! answer needs. It never looks into the body.

use bytes::Bytes;

use super::Message;
use super::error::{ErrorAnswer, HeaderError, ParseError, ParseErrorKind, header_reason};
use super::header_name::HeaderName;
use super::headers::{Header, Headers};
use super::method::Method;
use super::request::Request;
use super::response::Response;
use super::status::StatusCode;
use super::typed::Essentials;
use super::value::NameAddr;
use crate::scan::{Problem, Scanner, is_space, is_token, number, trim};
use crate::uri::Uri;

/// Largest message accepted, in bytes with body. A UDP datagram cannot be larger; on streams it bounds the buffer.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
/// Most header lines accepted, folded continuations not counted.
pub const MAX_HEADER_LINES: usize = 256;
/// Longest start line or header line accepted, in bytes, folded continuations included.
pub const MAX_LINE_BYTES: usize = 8_192;

/// What the first line says, as far as it can be read.
enum Start {
    Request {
        method: Method,
        uri: Option<Uri>,
    },
    Response {
        status: Option<StatusCode>,
        reason: Bytes,
    },
    Foreign,
}

/// A message up to its empty line, with the first fault found.
struct Head {
    start: Start,
    headers: Headers,
    body_start: usize,
    fault: Option<(ParseErrorKind, usize)>,
}

pub(super) fn message(datagram: &Bytes) -> Result<Message, ParseError> {
    let mut head = head(datagram)?;
    if datagram.len() > MAX_MESSAGE_BYTES {
        head.fault = Some((ParseErrorKind::MessageTooLarge, MAX_MESSAGE_BYTES));
    }
    if let Some((kind, offset)) = head.fault.take() {
        return Err(refusal(&head, kind, offset));
    }
    let body = match body(&head, datagram) {
        Ok(body) => body,
        Err(kind) => return Err(refusal(&head, kind, head.body_start)),
    };
    if let Err(error) = check(&head) {
        return Err(refusal(&head, ParseErrorKind::BadHeader(error), 0));
    }
    match head.start {
        Start::Request {
            method,
            uri: Some(uri),
        } => Ok(Message::Request(Request {
            method,
            uri,
            headers: head.headers,
            body,
        })),
        Start::Response {
            status: Some(status),
            reason,
        } => Ok(Message::Response(Response {
            status,
            reason,
            headers: head.headers,
            body,
        })),
        _ => Err(ParseError {
            kind: ParseErrorKind::NotSip,
            offset: 0,
            header: None,
            answer: None,
        }),
    }
}

/// The error for a message that is refused for `kind` from outside, with the answer its head (whole or cut) allows.
pub(crate) fn refuse(received: &Bytes, kind: ParseErrorKind) -> ParseError {
    match head(received) {
        Ok(head) => refusal(&head, kind, received.len()),
        Err(error) => ParseError { kind, ..error },
    }
}

/// Reads start line and header lines. Fails only where nothing can be answered.
fn head(datagram: &Bytes) -> Result<Head, ParseError> {
    let silent = |kind, offset| ParseError {
        kind,
        offset,
        header: None,
        answer: None,
    };
    let mut lines = Lines::new(datagram);
    let Some(first) = lines.skip_empty() else {
        return Err(silent(ParseErrorKind::Empty, datagram.len()));
    };
    let (start, fault) = start_line(&datagram.slice(first.start..first.end));
    if matches!(start, Start::Foreign) {
        return Err(silent(ParseErrorKind::NotSip, first.start));
    }
    let mut head = Head {
        start,
        headers: Headers::with_capacity(24),
        body_start: datagram.len(),
        fault: None,
    };
    head.fault = fault.map(|kind| (kind, first.start));
    header_lines(&mut head, &mut lines, datagram);
    Ok(head)
}

fn header_lines(head: &mut Head, lines: &mut Lines<'_>, datagram: &Bytes) {
    let mut fault = None;
    loop {
        let Some(line) = lines.folded() else {
            fault.get_or_insert((ParseErrorKind::UnterminatedHeaders, datagram.len()));
            break;
        };
        if line.is_empty() {
            head.body_start = lines.position;
            break;
        }
        if head.headers.len() >= MAX_HEADER_LINES {
            fault.get_or_insert((ParseErrorKind::TooManyHeaders, line.start));
            break;
        }
        if line.end - line.start > MAX_LINE_BYTES {
            fault.get_or_insert((ParseErrorKind::LineTooLong, line.start));
            continue;
        }
        match header(datagram, &line) {
            Some(header) => head.headers.push_header(header),
            None => {
                fault.get_or_insert((ParseErrorKind::BadHeaderLine, line.start));
            }
        }
    }
    if head.fault.is_none() {
        head.fault = fault;
    }
}

/// Splits a header line. `None` without a colon, with a name that is no token, or with a lone CR inside.
fn header(datagram: &Bytes, line: &Line) -> Option<Header> {
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

fn start_line(line: &Bytes) -> (Start, Option<ParseErrorKind>) {
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return status_line(line);
    }
    request_line(line)
}

/// `Method SP Request-URI SP SIP-Version`, told from other text by a version that begins with `SIP/`.
fn request_line(line: &Bytes) -> (Start, Option<ParseErrorKind>) {
    let method_length = line
        .iter()
        .position(|byte| !is_token(*byte))
        .unwrap_or(line.len());
    let trimmed = line
        .iter()
        .rposition(|byte| !is_space(*byte))
        .map_or(0, |last| last + 1);
    let version_start = line[..trimmed]
        .iter()
        .rposition(|byte| is_space(*byte))
        .map_or(0, |space| space + 1);
    let version = &line[version_start..trimmed];
    let is_sip = version.len() >= 4 && version[..4].eq_ignore_ascii_case(b"SIP/");
    if method_length == 0 || method_length >= version_start || !is_space(line[method_length]) || !is_sip {
        return (Start::Foreign, None);
    }
    let method = Method::known(&line[..method_length])
        .unwrap_or_else(|| Method::Other(line.slice(..method_length).into()));
    let faulty = |method, kind| (Start::Request { method, uri: None }, Some(kind));
    if line.len() > MAX_LINE_BYTES {
        return faulty(method, ParseErrorKind::RequestLineTooLong);
    }
    if trimmed == line.len() && !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return faulty(method, ParseErrorKind::UnsupportedVersion);
    }
    let exact = trimmed == line.len()
        && line[method_length] == b' '
        && line[version_start - 1] == b' '
        && method_length + 1 < version_start - 1;
    if !exact
        || line[method_length + 1..version_start - 1]
            .iter()
            .any(|byte| is_space(*byte))
    {
        return faulty(method, ParseErrorKind::BadRequestLine);
    }
    match Uri::parse(line.slice(method_length + 1..version_start - 1)) {
        Ok(uri) if uri.as_sip().is_some_and(|uri| !uri.headers.is_empty()) => {
            let problem = Problem::UriHeaders;
            faulty(
                method,
                ParseErrorKind::BadRequestUri(crate::uri::UriError { offset: 0, problem }),
            )
        }
        Ok(uri) => (
            Start::Request {
                method,
                uri: Some(uri),
            },
            None,
        ),
        Err(error) => faulty(method, ParseErrorKind::BadRequestUri(error)),
    }
}

/// `SIP-Version SP Status-Code SP Reason-Phrase`; the phrase may be empty, and then its space may be missing.
fn status_line(line: &Bytes) -> (Start, Option<ParseErrorKind>) {
    let faulty = |kind| {
        (
            Start::Response {
                status: None,
                reason: Bytes::new(),
            },
            Some(kind),
        )
    };
    if line.len() > MAX_LINE_BYTES {
        return faulty(ParseErrorKind::LineTooLong);
    }
    let Some(space) = line.iter().position(|byte| *byte == b' ') else {
        return faulty(ParseErrorKind::BadStatusLine);
    };
    if !line[..space].eq_ignore_ascii_case(b"SIP/2.0") {
        return faulty(ParseErrorKind::UnsupportedVersion);
    }
    let code_end = line[space + 1..]
        .iter()
        .position(|byte| *byte == b' ')
        .map_or(line.len(), |at| space + 1 + at);
    let code = &line[space + 1..code_end];
    let status = if code.len() == 3 {
        number(code, 699).ok()
    } else {
        None
    };
    let Some(status) = status.and_then(|code| StatusCode::new(u16::try_from(code).ok()?)) else {
        return faulty(ParseErrorKind::BadStatusLine);
    };
    let reason = line.slice((code_end + 1).min(line.len())..);
    if reason.contains(&b'\r') {
        return faulty(ParseErrorKind::BadStatusLine);
    }
    (
        Start::Response {
            status: Some(status),
            reason,
        },
        None,
    )
}

/// Cuts the body to Content-Length; without one the rest of the datagram is the body (RFC 3261 §18.3).
fn body(head: &Head, datagram: &Bytes) -> Result<Bytes, ParseErrorKind> {
    let declared = head.headers.content_length().map_err(ParseErrorKind::BadHeader)?;
    let received = datagram.len() - head.body_start;
    match declared {
        None => Ok(datagram.slice(head.body_start..)),
        Some(declared) => match usize::try_from(declared) {
            Ok(length) if length <= received => Ok(datagram.slice(head.body_start..head.body_start + length)),
            _ => Err(ParseErrorKind::TruncatedBody { declared, received }),
        },
    }
}

/// The headers without which no message can be processed, and those a dialog is built from.
fn check(head: &Head) -> Result<(), HeaderError> {
    let headers = &head.headers;
    let essentials = Essentials::of(headers)?;
    if let Start::Request { method, .. } = &head.start
        && !method.is_other()
        && *method != essentials.cseq.method
    {
        let header = HeaderName::CSeq;
        return Err(HeaderError {
            header,
            offset: 0,
            problem: Problem::MethodMismatch,
        });
    }
    headers.max_forwards()?;
    if !headers.contact_is_star() {
        headers.check_list(HeaderName::Contact, NameAddr::scan)?;
    }
    headers.check_list(HeaderName::RecordRoute, NameAddr::scan)?;
    headers.check_list(HeaderName::Route, NameAddr::scan)
}

fn refusal(head: &Head, kind: ParseErrorKind, offset: usize) -> ParseError {
    let header = match &kind {
        ParseErrorKind::BadHeader(error) => Some(error.header.clone()),
        _ => None,
    };
    let answer = match &head.start {
        Start::Request { method, .. } if *method != Method::Ack && head.headers.has(&HeaderName::Via) => {
            let (status, reason) = status_for(&kind);
            Some(Box::new(ErrorAnswer::new(
                status,
                reason,
                method.clone(),
                &head.headers,
            )))
        }
        _ => None,
    };
    ParseError {
        kind,
        offset,
        header,
        answer,
    }
}

/// The one place where a fault becomes a status and a phrase.
fn status_for(kind: &ParseErrorKind) -> (StatusCode, &'static str) {
    let bad = StatusCode::BAD_REQUEST;
    match kind {
        ParseErrorKind::UnsupportedVersion => (
            StatusCode::VERSION_NOT_SUPPORTED,
            StatusCode::VERSION_NOT_SUPPORTED.default_reason(),
        ),
        ParseErrorKind::MessageTooLarge => (
            StatusCode::MESSAGE_TOO_LARGE,
            StatusCode::MESSAGE_TOO_LARGE.default_reason(),
        ),
        ParseErrorKind::TooManyHeaders => (StatusCode::MESSAGE_TOO_LARGE, "Too Many Header Lines"),
        ParseErrorKind::RequestLineTooLong => (
            StatusCode::REQUEST_URI_TOO_LONG,
            StatusCode::REQUEST_URI_TOO_LONG.default_reason(),
        ),
        ParseErrorKind::LineTooLong => (StatusCode::MESSAGE_TOO_LARGE, "Line Too Long"),
        ParseErrorKind::BadRequestLine => (bad, "Malformed Request Line"),
        ParseErrorKind::BadRequestUri(_) => (bad, "Bad Request-URI"),
        ParseErrorKind::BadHeaderLine => (bad, "Malformed Header Line"),
        ParseErrorKind::UnterminatedHeaders => (bad, "Incomplete Message"),
        ParseErrorKind::TruncatedBody { .. } => (bad, "Body Shorter Than Content-Length"),
        ParseErrorKind::BadHeader(error) if error.problem == Problem::MethodMismatch => {
            (bad, "CSeq Method Mismatch")
        }
        ParseErrorKind::BadHeader(error) => (bad, header_reason(&error.header)),
        _ => (bad, bad.default_reason()),
    }
}

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
    fn skip_empty(&mut self) -> Option<Line> {
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

/// True when every byte so far can belong to the first line of a SIP message or the line ends before it. Streams use it
/// to turn away other protocols early.
pub(crate) fn may_start_message(line: &[u8]) -> bool {
    !matches!(start_line(&Bytes::copy_from_slice(line)).0, Start::Foreign)
}

/// The Content-Length a stream is cut by, 0 without one.
pub(crate) fn declared_length(head: &[u8]) -> Result<u64, HeaderError> {
    let mut declared = None;
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
            continue;
        }
        let error = |problem| HeaderError {
            header: HeaderName::ContentLength,
            offset: 0,
            problem,
        };
        let value = trim(&text[name_length..]).strip_prefix(b":").map(trim);
        let length = number(value.unwrap_or_default(), u64::MAX).map_err(error)?;
        if declared.is_some_and(|declared| declared != length) {
            return Err(error(Problem::Repeated));
        }
        declared = Some(length);
    }
    Ok(declared.unwrap_or(0))
}

impl Headers {
    /// Reads a comma list only to see that it can be read.
    fn check_list<T>(
        &self,
        name: HeaderName,
        read: impl Fn(&mut Scanner<'_>) -> Result<T, Problem>,
    ) -> Result<(), HeaderError> {
        if self.has(&name) {
            self.list(name, read).map(drop)
        } else {
            Ok(())
        }
    }
}
