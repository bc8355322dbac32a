//! Via: where a request came from and where responses go (RFC 3261 §20.42, RFC 3581 for rport).

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::Branch;
use crate::byte_str::ByteStr;
use crate::param::Params;
use crate::scan::{Problem, Scanner};
use crate::uri::{Host, HostPort};

/// One Via value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Transport token as received: `UDP`, `TCP`, `TLS`, `WS`, `WSS` or anything else (RFC 4475 §3.1.1.10).
    pub transport: ByteStr,
    /// Host and port the sender gives for itself.
    pub sent_by: HostPort,
    /// `branch`, `received`, `rport`, `maddr`, `ttl` and others.
    pub params: Params,
}

impl Via {
    /// A Via of our own with the branch and an empty `rport` (RFC 3581 §3).
    pub fn new(transport: &str, sent_by: HostPort, branch: &Branch) -> Via {
        let mut params = Params::new();
        params.set("branch", Some(branch.clone().into()));
        params.set("rport", None);
        Via {
            transport: ByteStr::from(transport),
            sent_by,
            params,
        }
    }

    /// The branch parameter.
    pub fn branch(&self) -> Option<Branch> {
        self.params
            .value("branch")
            .map(|value| Branch::new(value.clone()))
    }

    /// The address a server saw the request come from, when it is one.
    pub fn received(&self) -> Option<IpAddr> {
        self.params
            .value("received")
            .and_then(|value| Host::parse(value).ok())
            .and_then(|host| host.ip())
    }

    /// True when the sender asks for answers to the port it sent from: `rport` is there, with or without a value.
    pub fn wants_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The value of `rport`, set by the server.
    pub fn rport(&self) -> Option<u16> {
        self.params
            .value("rport")
            .and_then(|value| value.as_str())
            .and_then(|digits| digits.parse().ok())
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<Host> {
        self.params
            .value("maddr")
            .and_then(|value| Host::parse(value).ok())
    }

    /// Sets `received`.
    pub fn set_received(&mut self, address: IpAddr) {
        self.params
            .set("received", Some(ByteStr::from(address.to_string())));
    }

    /// Sets the value of `rport`.
    pub fn set_rport(&mut self, port: u16) {
        self.params.set("rport", Some(ByteStr::from(port.to_string())));
    }

    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<Via, Problem> {
        let protocol = scanner.borrow_token().ok_or(Problem::UnexpectedByte)?;
        slash(scanner)?;
        let version = scanner.borrow_token().ok_or(Problem::UnexpectedByte)?;
        slash(scanner)?;
        if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return Err(Problem::WrongProtocol);
        }
        let transport = scanner.token().ok_or(Problem::UnexpectedByte)?;
        if !scanner.peek().is_some_and(crate::scan::is_space) {
            return Err(Problem::UnexpectedByte);
        }
        scanner.skip_space();
        let sent_by = HostPort::scan(scanner, true)?;
        let params = Params::scan(scanner)?;
        Ok(Via {
            transport,
            sent_by,
            params,
        })
    }

    /// The value as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(96);
        out.put_slice(b"SIP/2.0/");
        out.put_slice(self.transport.as_bytes());
        out.put_u8(b' ');
        crate::uri::print_host(&self.sent_by.host, self.sent_by.port, &mut out);
        self.params.print(&mut out);
        out.freeze()
    }
}

fn slash(scanner: &mut Scanner<'_>) -> Result<(), Problem> {
    scanner.skip_space();
    if !scanner.take(b'/') {
        return Err(Problem::UnexpectedByte);
    }
    scanner.skip_space();
    Ok(())
}
