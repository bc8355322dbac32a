//! SIP messages: requests and responses, their headers, reading and printing (RFC 3261 §7).
//!
//! Owns everything one message says. It never knows about transactions, sockets or time.

mod error;
mod header_name;
mod headers;
mod line;
mod method;
mod parse;
mod request;
mod response;
mod start_line;
mod status;
#[cfg(test)]
mod tests;
mod typed;
mod value;

use bytes::Bytes;

pub use error::{ErrorAnswer, HeaderError, ParseError, ParseErrorKind};
pub use header_name::HeaderName;
pub use headers::{Header, Headers};
pub(crate) use line::{Lines, declared_length};
pub use method::Method;
pub(crate) use parse::refuse;
pub use parse::{MAX_HEADER_LINES, MAX_LINE_BYTES, MAX_MESSAGE_BYTES};
pub use request::Request;
pub use response::Response;
pub(crate) use start_line::may_start_message;
pub use status::StatusCode;
pub use typed::{Essentials, MAX_LIST_VALUES};
pub use value::{
    Branch, CSeq, CallId, MediaType, NameAddr, Reason, Refresher, RetryAfter, SessionExpires, Tag, Via,
};

/// One SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// Reads a datagram, or a message cut out of a stream by [`crate::StreamFramer`]. Headers and body share its
    /// buffer.
    ///
    /// What comes back has exactly one readable From, To, Call-ID and CSeq, a readable topmost Via, readable Contact,
    /// Route, Record-Route, Max-Forwards and Content-Length where present, a body of the declared length, and, for a
    /// request of a known method, the CSeq of that method. Nothing else is judged here: unknown methods, schemes, headers
    /// and types pass.
    ///
    /// # Errors
    /// [`ParseError`], with the response to send when one is owed.
    pub fn parse(datagram: Bytes) -> Result<Message, ParseError> {
        parse::message(&datagram)
    }

    /// The message as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }
}
