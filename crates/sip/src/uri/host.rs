//! Hosts and ports as URIs and Via carry them (RFC 3261 §25.1 `hostport`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};

use crate::byte_str::ByteStr;
use crate::scan::{Problem, Scanner, is_host, number};

/// A host name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name as received; names compare without regard to case in [`Host::is_same`].
    Name(ByteStr),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, in square brackets on the wire.
    V6(Ipv6Addr),
}

/// A host with an optional port: Via's sent-by, for example.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address.
    pub host: Host,
    /// Port when given.
    pub port: Option<u16>,
}

impl Host {
    /// Reads a host that fills `text` completely; IPv6 with or without brackets.
    ///
    /// # Errors
    /// [`Problem::BadHost`] when it is neither an address nor a name of letters, digits, `-`, `.`, `_`.
    pub fn parse(text: &ByteStr) -> Result<Host, Problem> {
        let mut scanner = Scanner::new(text.bytes());
        if scanner.peek() != Some(b'[') && text.as_bytes().contains(&b':') {
            return v6(text.as_bytes());
        }
        let host = Host::scan(&mut scanner)?;
        if scanner.at_end() {
            Ok(host)
        } else {
            Err(Problem::BadHost)
        }
    }

    /// The address when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// Compares names without regard to case and one trailing dot apart, addresses by value.
    pub fn is_same(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Name(left), Host::Name(right)) => {
                without_dot(left).eq_ignore_ascii_case(without_dot(right))
            }
            _ => self == other,
        }
    }

    /// Takes a host from the cursor: brackets, address or name.
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<Host, Problem> {
        let rest = scanner.rest();
        if rest.first() == Some(&b'[') {
            let close = rest
                .iter()
                .position(|byte| *byte == b']')
                .ok_or(Problem::BadHost)?;
            let host = v6(&rest[1..close])?;
            scanner.advance(close + 1);
            return Ok(host);
        }
        let length = scanner.run_length(is_host);
        match rest.first() {
            Some(first) if length > 0 => {
                if first.is_ascii_digit()
                    && let Some(address) = v4(&rest[..length])
                {
                    scanner.advance(length);
                    return Ok(Host::V4(address));
                }
                Ok(Host::Name(scanner.slice(length)))
            }
            _ => Err(Problem::BadHost),
        }
    }
}

fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn v6(text: &[u8]) -> Result<Host, Problem> {
    let address = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    address.map(Host::V6).ok_or(Problem::BadHost)
}

fn without_dot(name: &ByteStr) -> &[u8] {
    let bytes = name.as_bytes();
    bytes.strip_suffix(b".").unwrap_or(bytes)
}

impl HostPort {
    /// Takes `host [: port]` from the cursor. `spaced` allows white space around the colon, as Via does.
    pub(crate) fn scan(scanner: &mut Scanner<'_>, spaced: bool) -> Result<HostPort, Problem> {
        let host = Host::scan(scanner)?;
        let mut ahead = scanner.clone();
        if spaced {
            ahead.skip_space();
        }
        if !ahead.take(b':') {
            return Ok(HostPort { host, port: None });
        }
        if spaced {
            ahead.skip_space();
        }
        let digits = ahead.borrow_run(|byte| byte.is_ascii_digit());
        let port = number(digits, u64::from(u16::MAX)).map_err(|_| Problem::BadPort)?;
        *scanner = ahead;
        Ok(HostPort {
            host,
            port: u16::try_from(port).ok(),
        })
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6(address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => write!(f, "{name}"),
            Host::V4(address) => write!(f, "{address}"),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

pub(crate) fn print(host: &Host, port: Option<u16>, out: &mut BytesMut) {
    use fmt::Write;
    match host {
        Host::Name(name) => out.put_slice(name.as_bytes()),
        address => write!(out, "{address}").expect("a growing buffer takes any text"),
    }
    if let Some(port) = port {
        write!(out, ":{port}").expect("a growing buffer takes any text");
    }
}
