//! Responses: their parts, and building our own from a request (RFC 3261 §7.2, §8.2.6).

use bytes::{BufMut, Bytes, BytesMut};

use super::header_name::HeaderName;
use super::headers::Headers;
use super::method::Method;
use super::request::Request;
use super::status::StatusCode;
use super::value::{NameAddr, Tag};

/// A SIP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Outcome.
    pub status: StatusCode,
    /// Phrase as received; may be empty and need not be UTF-8.
    pub reason: Bytes,
    /// Header fields in order.
    pub headers: Headers,
    /// Body, exactly as long as Content-Length said, or all the rest of a datagram without one.
    pub body: Bytes,
}

impl Response {
    /// A response without headers and body. An empty `reason` stands for the usual phrase of the code.
    pub fn new(status: StatusCode, reason: impl Into<Bytes>) -> Response {
        let mut response = Response {
            status,
            reason: Bytes::new(),
            headers: Headers::new(),
            body: Bytes::new(),
        };
        response.set_reason(reason);
        response
    }

    /// A response to `request` with the usual phrase: all Via, From, To, Call-ID and CSeq are copied byte for byte
    /// (RFC 3261 §8.2.6.2), Timestamp into a 100 (§8.2.6.1), and Record-Route into what may set up a dialog: 101 to 299
    /// for INVITE, SUBSCRIBE, REFER and NOTIFY (§12.1.1, RFC 6665 §4.4.1). The To tag is added by
    /// [`Response::with_to_tag`].
    pub fn to(request: &Request, status: StatusCode) -> Response {
        let mut response = Response::new(status, "");
        let headers = &mut response.headers;
        headers.copy_all(&request.headers, &HeaderName::Via);
        if (101..300).contains(&status.code())
            && matches!(
                request.method,
                Method::Invite | Method::Subscribe | Method::Refer | Method::Notify
            )
        {
            headers.copy_all(&request.headers, &HeaderName::RecordRoute);
        }
        for name in [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            headers.copy_all(&request.headers, &name);
        }
        if status == StatusCode::TRYING {
            headers.copy_all(&request.headers, &HeaderName::Timestamp);
        }
        response
    }

    /// The same response with `tag` in its To, unless To has a tag or cannot be read. Everything else in To stays byte
    /// for byte.
    #[must_use]
    pub fn with_to_tag(mut self, tag: &Tag) -> Response {
        let Some(to) = self.headers.get(&HeaderName::To) else {
            return self;
        };
        if NameAddr::parse(to.clone()).is_ok_and(|to| to.tag().is_none()) {
            let mut value = BytesMut::with_capacity(to.len() + 40);
            value.put_slice(to.strip_suffix(b";").unwrap_or(to));
            value.put_slice(b";tag=");
            value.put_slice(tag.as_bytes());
            self.headers.replace(HeaderName::To, value.freeze());
        }
        self
    }

    /// The same response with another phrase; line ends in it become spaces.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<Bytes>) -> Response {
        self.set_reason(reason);
        self
    }

    /// The same response with one more header at the end.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<Bytes>) -> Response {
        self.headers.push(name, value);
        self
    }

    /// The same response with this body and its Content-Type.
    #[must_use]
    pub fn with_body(mut self, content_type: impl Into<Bytes>, body: impl Into<Bytes>) -> Response {
        self.headers.replace(HeaderName::ContentType, content_type);
        self.body = body.into();
        self
    }

    /// The response as it goes on the wire. Content-Length is always printed and always right.
    pub fn to_bytes(&self) -> Bytes {
        use std::fmt::Write;
        let mut out = BytesMut::with_capacity(1024 + self.body.len());
        write!(out, "SIP/2.0 {} ", self.status).expect("a growing buffer takes any text");
        out.put_slice(&self.reason);
        out.put_slice(b"\r\n");
        self.headers.print(self.body.len(), &mut out);
        out.put_slice(b"\r\n");
        out.put_slice(&self.body);
        out.freeze()
    }

    fn set_reason(&mut self, reason: impl Into<Bytes>) {
        let reason = reason.into();
        self.reason = if reason.is_empty() {
            Bytes::from_static(self.status.default_reason().as_bytes())
        } else if reason.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            reason
                .iter()
                .map(|byte| {
                    if matches!(byte, b'\r' | b'\n') {
                        b' '
                    } else {
                        *byte
                    }
                })
                .collect()
        } else {
            reason
        };
    }
}
