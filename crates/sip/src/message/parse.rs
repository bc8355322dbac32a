//! The message parser: head, body, the checks every message must pass, and the answer to one that fails them.
//!
//! Owns the limits and the order in which faults are reported. A fault never stops the collection of the headers an
//! answer needs. It never looks into the body.

use bytes::Bytes;

use super::Message;
use super::error::{ErrorAnswer, HeaderError, ParseError, ParseErrorKind, header_reason};
use super::header_name::HeaderName;
use super::headers::Headers;
use super::line::{Lines, header};
use super::method::Method;
use super::request::Request;
use super::response::Response;
use super::start_line::{Start, start_line};
use super::status::StatusCode;
use super::typed::Essentials;
use super::value::NameAddr;
use crate::scan::{Problem, Scanner};

/// Largest message accepted, in bytes with body. A UDP datagram cannot be larger; on streams it bounds the buffer.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
/// Most header lines accepted, folded continuations not counted.
pub const MAX_HEADER_LINES: usize = 256;
/// Longest start line or header line accepted, in bytes, folded continuations included.
pub const MAX_LINE_BYTES: usize = 8_192;

/// Most lines of Contact that are kept of a response; the rest is passed over.
const MAX_CONTACT_LINES: usize = 64;

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
        // A response is used for what can be read of it: there is nobody to tell, and who waits for it would wait in vain.
        let is_response = matches!(head.start, Start::Response { .. });
        if is_response && line.end - line.start > MAX_LINE_BYTES {
            continue;
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
            Some(header) if is_response && is_one_contact_too_many(&head.headers, &header.name) => {}
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

fn is_one_contact_too_many(headers: &Headers, name: &HeaderName) -> bool {
    *name == HeaderName::Contact && headers.get_all(name).count() >= MAX_CONTACT_LINES
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

/// The headers without which no message can be processed, and of a request those a dialog is built from.
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
    if matches!(head.start, Start::Response { .. }) {
        return Ok(());
    }
    headers.max_forwards()?;
    if !headers.contact_is_star() {
        headers.check_list(HeaderName::Contact, NameAddr::scan)?;
    }
    headers.check_list(HeaderName::RecordRoute, NameAddr::scan)?;
    headers.check_list(HeaderName::Route, NameAddr::scan)
}

fn refusal(head: &Head, kind: ParseErrorKind, offset: usize) -> ParseError {
    let (header, offset) = match &kind {
        ParseErrorKind::BadHeader(error) => (Some(error.header.clone()), 0),
        _ => (None, offset),
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
        ParseErrorKind::BadHeader(error) => (bad, header_reason(error)),
        _ => (bad, bad.default_reason()),
    }
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
