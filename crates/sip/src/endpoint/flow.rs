//! Owns the path a message came over or goes to: transport, both addresses, and the connection for stream transports.
//!
//! Never opens or closes anything: connection numbers are given out by whoever owns the sockets.

use std::fmt;
use std::net::SocketAddr;

/// A transport protocol of SIP (RFC 3261 §18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// One message per datagram; the transactions repeat what may be lost.
    Udp,
    /// A byte stream, messages framed by Content-Length.
    Tcp,
    /// The same, encrypted (RFC 3261 §26.2.1).
    Tls,
    /// One message per WebSocket message (RFC 7118).
    Ws,
    /// The same over TLS.
    Wss,
}

impl Transport {
    /// True when the transport itself repeats what was lost, so transactions do not (RFC 3261 §17.1.1.1).
    pub fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The port when none is given (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }

    /// True when nobody between the two ends reads along: what a `sips` URI asks for (RFC 3261 §26.2.2).
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// True when only who opened a connection can be reached over it: nobody listens for one at the other end (RFC 7118 §5.3).
    pub fn is_one_way(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// The token of the Via header field: `UDP`, `TCP`, `TLS`, `WS`, `WSS`.
    pub fn via_token(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The value of the `transport` URI parameter: `udp`, `tcp`, `tls`, `ws`, which stands for both kinds (RFC 7118 §4.2).
    pub fn uri_value(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws | Transport::Wss => "ws",
        }
    }

    /// The transport that a `transport` URI parameter names, if this crate speaks it.
    pub fn from_uri_value(value: &[u8]) -> Option<Self> {
        match value {
            _ if value.eq_ignore_ascii_case(b"udp") => Some(Transport::Udp),
            _ if value.eq_ignore_ascii_case(b"tcp") => Some(Transport::Tcp),
            _ if value.eq_ignore_ascii_case(b"tls") => Some(Transport::Tls),
            _ if value.eq_ignore_ascii_case(b"ws") => Some(Transport::Ws),
            _ if value.eq_ignore_ascii_case(b"wss") => Some(Transport::Wss),
            _ => None,
        }
    }
}

/// Where a message came from, or where it has to go.
///
/// For UDP `connection` is always 0. For the others a number other than 0 names a connection that exists; 0 asks the shell to use
/// its connection to `remote`, or to open one, and to report [`Endpoint::handle_send_failed`](crate::Endpoint::handle_send_failed)
/// when it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Protocol.
    pub transport: Transport,
    /// Our address. It goes into Via and Contact unless an advertised one is configured, so it must be one the peer can
    /// use: a concrete address, not the unspecified one.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Number of the connection, 0 for none.
    pub connection: u64,
    /// For TLS: number of the name that the peer's certificate has to show, given out by whoever owns the sockets. 0 for a peer that
    /// opened the connection itself, and for one of which nothing but its address is known.
    pub name: u64,
}

impl Flow {
    /// A UDP flow.
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Flow {
            transport: Transport::Udp,
            local,
            remote,
            connection: 0,
            name: 0,
        }
    }

    /// A TCP flow over an existing connection.
    pub fn tcp(local: SocketAddr, remote: SocketAddr, connection: u64) -> Self {
        Flow {
            transport: Transport::Tcp,
            local,
            remote,
            connection,
            name: 0,
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} → {}",
            self.transport.via_token(),
            self.local,
            self.remote
        )
    }
}
