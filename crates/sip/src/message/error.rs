//! What goes wrong with messages, and the answer a refused request still gets.
//!
//! Owns the error types. It never sends: the endpoint decides whether an answer goes out.

use super::header_name::HeaderName;
use super::headers::Headers;
use super::method::Method;
use super::request::Request;
use super::response::Response;
use super::status::StatusCode;
use crate::scan::Problem;
use crate::uri::UriError;

/// A header whose value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad {header}: {problem} at byte {offset}")]
pub struct HeaderError {
    /// Which header.
    pub header: HeaderName,
    /// Offset in bytes within its value.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// Why bytes are not an acceptable message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Nothing but line ends: a keep-alive (RFC 5626 §3.5.1), not a message.
    #[error("no message, only line ends")]
    Empty,
    /// The first line belongs to no SIP message.
    #[error("not a SIP message")]
    NotSip,
    /// A request line without exactly method, URI and version with one space between them (RFC 3261 §7.1).
    #[error("malformed request line")]
    BadRequestLine,
    /// The Request-URI cannot be read.
    #[error("Request-URI: {0}")]
    BadRequestUri(UriError),
    /// A version other than SIP/2.0; 505.
    #[error("SIP version not supported")]
    UnsupportedVersion,
    /// A status line without a code between 100 and 699.
    #[error("malformed status line")]
    BadStatusLine,
    /// A line without name and colon in the header section.
    #[error("malformed header line")]
    BadHeaderLine,
    /// No empty line behind the headers.
    #[error("header section does not end")]
    UnterminatedHeaders,
    /// A header that must be right to process the message is not.
    #[error("{0}")]
    BadHeader(HeaderError),
    /// Fewer body bytes than Content-Length says (RFC 3261 §18.3).
    #[error("body of {received} bytes where Content-Length says {declared}")]
    TruncatedBody {
        /// Content-Length.
        declared: u64,
        /// Bytes that were there.
        received: usize,
    },
    /// More than [`crate::MAX_MESSAGE_BYTES`]; 513.
    #[error("message too large")]
    MessageTooLarge,
    /// More than [`crate::MAX_HEADER_LINES`]; 513.
    #[error("too many header lines")]
    TooManyHeaders,
    /// A request line above [`crate::MAX_LINE_BYTES`]; 414.
    #[error("request line too long")]
    RequestLineTooLong,
    /// Another line, with its folded continuation, above [`crate::MAX_LINE_BYTES`]; 513.
    #[error("line too long")]
    LineTooLong,
}

/// Why a message was refused, where, and what to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset})")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Offset in bytes from the start of the datagram to the line or body at fault; 0 for a header value, whose own
    /// offset is in [`HeaderError`].
    pub offset: usize,
    /// The header at fault, if one is.
    pub header: Option<HeaderName>,
    /// The response to send. `None` when none can or may be sent: for responses, ACK, keep-alives, bytes that are no
    /// SIP request, and requests without a Via.
    pub answer: Option<Box<ErrorAnswer>>,
}

/// The response owed for a request that could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// Status to answer with.
    pub status: StatusCode,
    /// Phrase that says what was wrong.
    pub reason: &'static str,
    /// Method of the refused request.
    pub method: Method,
    /// Its Via, From, To, Call-ID and CSeq fields, byte for byte, as far as they are there.
    pub headers: Headers,
}

impl ErrorAnswer {
    /// Collects what a response to this request needs.
    pub(crate) fn new(
        status: StatusCode,
        reason: &'static str,
        method: Method,
        received: &Headers,
    ) -> ErrorAnswer {
        let mut headers = Headers::with_capacity(8);
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            headers.copy_all(received, &name);
        }
        ErrorAnswer {
            status,
            reason,
            method,
            headers,
        }
    }

    /// The answer for a request that parses but has a header the caller cannot read: 400 with the header's name.
    pub fn for_header(request: &Request, error: &HeaderError) -> ErrorAnswer {
        ErrorAnswer::new(
            StatusCode::BAD_REQUEST,
            header_reason(error),
            request.method.clone(),
            &request.headers,
        )
    }

    /// The response, without a To tag; add one with [`Response::with_to_tag`].
    pub fn into_response(self) -> Response {
        let mut response = Response::new(self.status, self.reason);
        response.headers = self.headers;
        response
    }
}

/// The phrase of a 400 for this header.
pub(crate) fn header_reason(error: &HeaderError) -> &'static str {
    if error.problem == Problem::Missing {
        return match error.header {
            HeaderName::Via => "Missing Via",
            HeaderName::From => "Missing From",
            HeaderName::To => "Missing To",
            HeaderName::CallId => "Missing Call-ID",
            HeaderName::CSeq => "Missing CSeq",
            HeaderName::ContentLength => "Missing Content-Length",
            HeaderName::Contact => "Missing Contact",
            _ => "Missing Header",
        };
    }
    match error.header {
        HeaderName::Via => "Bad Via",
        HeaderName::From => "Bad From",
        HeaderName::To => "Bad To",
        HeaderName::CallId => "Bad Call-ID",
        HeaderName::CSeq => "Bad CSeq",
        HeaderName::MaxForwards => "Bad Max-Forwards",
        HeaderName::ContentLength => "Bad Content-Length",
        HeaderName::ContentType => "Bad Content-Type",
        HeaderName::Contact => "Bad Contact",
        HeaderName::Route => "Bad Route",
        HeaderName::RecordRoute => "Bad Record-Route",
        _ => "Bad Header",
    }
}
