//! The first line of a message (RFC 3261 §7.1, §7.2): what it says, and what is still known of it when it is wrong.
//!
//! Owns the difference between a faulty SIP message, which is answered, and bytes of something else, which are not.

use bytes::Bytes;

use super::error::ParseErrorKind;
use super::method::Method;
use super::parse::MAX_LINE_BYTES;
use super::status::StatusCode;
use crate::scan::{Problem, is_space, is_token, number};
use crate::uri::{Uri, UriError};

/// What the first line says, as far as it can be read.
pub(super) enum Start {
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

/// Reads a first line without its line end.
pub(super) fn start_line(line: &Bytes) -> (Start, Option<ParseErrorKind>) {
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
                ParseErrorKind::BadRequestUri(UriError { offset: 0, problem }),
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

/// True when every byte so far can belong to the first line of a SIP message or the line ends before it. Streams use it
/// to turn away other protocols early.
pub(crate) fn may_start_message(line: &[u8]) -> bool {
    !matches!(start_line(&Bytes::copy_from_slice(line)).0, Start::Foreign)
}
