//! URIs of SIP: `sip:` and `sips:` in full (RFC 3261 §19.1), any other scheme kept as it came.
//!
//! Owns parsing, printing and comparison. It never resolves a host and never decides whether a scheme is acceptable:
//! an unknown one reaches the endpoint, which answers 416.

mod compare;
mod host;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

pub(crate) use host::print as print_host;
pub use host::{Host, HostPort};

use crate::byte_str::ByteStr;
use crate::param::Params;
use crate::scan::{Problem, Scanner};

/// A URI that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad URI at byte {offset}: {problem}")]
pub struct UriError {
    /// Offset in bytes from the start of the URI.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// The URI of a request line. Kept whatever its scheme, so that 416 can be answered.
pub type RequestUri = Uri;

/// Any URI a SIP message may carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Uri {
    /// `sip:` or `sips:`.
    Sip(SipUri),
    /// Another scheme (`tel:`, `urn:`, …), not looked into.
    Other(OtherUri),
}

/// A URI of a scheme other than `sip` and `sips`, kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherUri {
    /// The scheme as received, without its colon.
    pub scheme: ByteStr,
    /// Everything behind the first colon.
    pub rest: ByteStr,
}

/// The two schemes of RFC 3261 §19.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SipScheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
}

/// A `sip:` or `sips:` URI. Text parts are kept with their `%HH` escapes; [`SipUri::user_decoded`] takes them off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SipUri {
    /// `sip` or `sips`.
    pub scheme: SipScheme,
    /// User part as received, `None` when there is no `@`.
    pub user: Option<ByteStr>,
    /// Password as received.
    pub password: Option<ByteStr>,
    /// Host name or address.
    pub host: Host,
    /// Port when given; its absence is not the same as 5060 (RFC 3261 §19.1.4).
    pub port: Option<u16>,
    /// `;name=value` parameters.
    pub params: Params,
    /// `?name=value&…` header components, escaped as received.
    pub headers: Params,
}

impl Uri {
    /// Reads a URI that fills `text` completely. Slices of `text` are shared, nothing is copied.
    ///
    /// # Errors
    /// [`UriError`] when there is no scheme, when white space, quotes, angle brackets or control characters are in it,
    /// or when the scheme is `sip`/`sips` and the rest does not follow RFC 3261 §19.1.1.
    pub fn parse(text: impl Into<Bytes>) -> Result<Uri, UriError> {
        parse::uri(&text.into())
    }

    /// Reads a URI up to the end of the cursor; on failure the cursor stands where the fault is.
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<Uri, Problem> {
        parse::scan(scanner)
    }

    /// The SIP URI inside, when it is one.
    pub fn as_sip(&self) -> Option<&SipUri> {
        match self {
            Uri::Sip(uri) => Some(uri),
            Uri::Other(_) => None,
        }
    }

    /// The scheme in the spelling received; `sip`/`sips` in lower case.
    pub fn scheme(&self) -> &[u8] {
        match self {
            Uri::Sip(uri) => uri.scheme.as_str().as_bytes(),
            Uri::Other(uri) => uri.scheme.as_bytes(),
        }
    }

    /// Compares by RFC 3261 §19.1.4; URIs of other schemes byte by byte with a case-insensitive scheme.
    pub fn is_equivalent(&self, other: &Uri) -> bool {
        match (self, other) {
            (Uri::Sip(left), Uri::Sip(right)) => left.is_equivalent(right),
            (Uri::Other(left), Uri::Other(right)) => {
                left.scheme.eq_ignore_case(&right.scheme) && left.rest == right.rest
            }
            _ => false,
        }
    }

    /// The URI as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        self.print(&mut out);
        out.freeze()
    }

    pub(crate) fn print(&self, out: &mut BytesMut) {
        match self {
            Uri::Sip(uri) => uri.print(out),
            Uri::Other(uri) => {
                out.put_slice(uri.scheme.as_bytes());
                out.put_u8(b':');
                out.put_slice(uri.rest.as_bytes());
            }
        }
    }
}

impl SipScheme {
    /// `"sip"` or `"sips"`.
    pub fn as_str(self) -> &'static str {
        match self {
            SipScheme::Sip => "sip",
            SipScheme::Sips => "sips",
        }
    }
}

impl SipUri {
    /// `sip:host[:port]` without user or parameters.
    pub fn new(host: Host, port: Option<u16>) -> Self {
        SipUri {
            scheme: SipScheme::Sip,
            user: None,
            password: None,
            host,
            port,
            params: Params::new(),
            headers: Params::new(),
        }
    }

    /// `sip:address:port`, port always given.
    pub fn from_addr(addr: SocketAddr) -> Self {
        SipUri::new(Host::from(addr.ip()), Some(addr.port()))
    }

    /// The same URI with this user; characters that a user part cannot hold are escaped (RFC 3261 §25.1 `user`).
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        self.user = Some(parse::escape_user(user));
        self
    }

    /// The same URI with the parameter set.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value.map(ByteStr::from));
        self
    }

    /// Reads a URI that must be `sip:` or `sips:`.
    ///
    /// # Errors
    /// As [`Uri::parse`], and [`Problem::BadScheme`] for any other scheme.
    pub fn parse(text: impl Into<Bytes>) -> Result<SipUri, UriError> {
        match Uri::parse(text)? {
            Uri::Sip(uri) => Ok(uri),
            Uri::Other(_) => Err(UriError {
                offset: 0,
                problem: Problem::BadScheme,
            }),
        }
    }

    /// The user part with `%HH` escapes decoded; a stray `%` stays as it is.
    pub fn user_decoded(&self) -> Option<ByteStr> {
        self.user.as_ref().map(parse::unescape)
    }

    /// The value of a header field that the URI carries (`?name=value`), with `%HH` escapes decoded.
    pub fn header_decoded(&self, name: &str) -> Option<ByteStr> {
        self.headers.value(name).map(parse::unescape)
    }

    /// Host and port together.
    pub fn host_port(&self) -> HostPort {
        HostPort {
            host: self.host.clone(),
            port: self.port,
        }
    }

    /// The `transport` parameter.
    pub fn transport(&self) -> Option<&ByteStr> {
        self.params.value("transport")
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&ByteStr> {
        self.params.value("maddr")
    }

    /// The host that what goes to this URI is sent to: that of `maddr`, where it is there (RFC 3261 §19.1.1, RFC 3263 §4). `None` where
    /// `maddr` names none.
    pub fn server_host(&self) -> Option<Host> {
        match self.maddr() {
            Some(maddr) => Host::parse(maddr).ok(),
            None => Some(self.host.clone()),
        }
    }

    /// True with the `lr` parameter: the element behind this route is a loose router (RFC 3261 §19.1.1).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// Compares by RFC 3261 §19.1.4. Stricter than `==` in no point and wider in many: order of parameters, case of
    /// host and parameters, escapes of unreserved characters.
    pub fn is_equivalent(&self, other: &SipUri) -> bool {
        compare::sip_uris(self, other)
    }

    /// The URI as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        self.print(&mut out);
        out.freeze()
    }

    pub(crate) fn print(&self, out: &mut BytesMut) {
        out.put_slice(self.scheme.as_str().as_bytes());
        out.put_u8(b':');
        if let Some(user) = &self.user {
            out.put_slice(user.as_bytes());
            if let Some(password) = &self.password {
                out.put_u8(b':');
                out.put_slice(password.as_bytes());
            }
            out.put_u8(b'@');
        }
        host::print(&self.host, self.port, out);
        self.params.print(out);
        self.headers.print_with(out, b'?', b'&');
    }
}

impl From<SipUri> for Uri {
    fn from(uri: SipUri) -> Self {
        Uri::Sip(uri)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}
