//! Requests: their parts, and building our own (RFC 3261 §7.1, §8.1.1).

use bytes::{BufMut, Bytes, BytesMut};

use super::header_name::HeaderName;
use super::headers::Headers;
use super::method::Method;
use crate::uri::RequestUri;

/// A SIP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// Of whom.
    pub uri: RequestUri,
    /// Header fields in order.
    pub headers: Headers,
    /// Body, exactly as long as Content-Length said, or all the rest of a datagram without one.
    pub body: Bytes,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, uri: impl Into<RequestUri>) -> Request {
        Request {
            method,
            uri: uri.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The same request with one more header at the end.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<Bytes>) -> Request {
        self.headers.push(name, value);
        self
    }

    /// The same request with this body and its Content-Type.
    #[must_use]
    pub fn with_body(mut self, content_type: impl Into<Bytes>, body: impl Into<Bytes>) -> Request {
        self.headers.replace(HeaderName::ContentType, content_type);
        self.body = body.into();
        self
    }

    /// The request as it goes on the wire. Content-Length is always printed and always right.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(1024 + self.body.len());
        out.put_slice(self.method.as_bytes());
        out.put_u8(b' ');
        self.uri.print(&mut out);
        out.put_slice(b" SIP/2.0\r\n");
        self.headers.print(self.body.len(), &mut out);
        out.put_slice(b"\r\n");
        out.put_slice(&self.body);
        out.freeze()
    }
}
