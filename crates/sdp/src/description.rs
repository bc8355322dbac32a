//! The session description as a value, and its strict text form (RFC 8866 §5).
//!
//! Owns the types that stand for the lines of an SDP body and how they are printed. It never decides what an
//! offer means: that is the `answer` and `offer` modules' part. Lines that play no role in SIP offer/answer
//! (`i=`, `u=`, `e=`, `p=`, `r=`, `z=`, `k=`) are not kept.

use std::fmt;
use std::net::IpAddr;

use crate::direction::Direction;

/// A session description: the body of type `application/sdp` of an INVITE, its answer or an ACK.
///
/// [`SessionDescription::parse`] reads leniently what peers send; the [`Display`](fmt::Display) form is strict:
/// RFC 8866 line order, CRLF line ends, no control characters, no empty mandatory field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// The `o=` line (RFC 8866 §5.2).
    pub origin: OriginLine,
    /// The `s=` line (§5.3); `-` when the sender left it out or empty.
    pub session_name: String,
    /// The session-level `c=` line (§5.7), the default of every media description without its own.
    pub connection: Option<Connection>,
    /// Session-level `b=` lines (§5.8), kept and not acted on.
    pub bandwidths: Vec<Bandwidth>,
    /// The `t=` lines (§5.9). Empty prints as `t=0 0`. An answer repeats those of its offer (RFC 3264 §6).
    pub timings: Vec<Timing>,
    /// Session-level `a=` lines (§5.13) in order.
    pub attributes: Vec<Attribute>,
    /// Media descriptions in order. The order is part of the meaning: an answer has the same number of them in
    /// the same order (RFC 3264 §6).
    pub media: Vec<MediaDescription>,
}

/// The `o=` line: who made the session, and which version of it this is (RFC 8866 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginLine {
    /// User name on the originating host, `-` when unknown.
    pub username: String,
    /// Numeric string that stays the same through the session. Text, because peers exceed 64 bits.
    pub session_id: String,
    /// Version of the description; grows by one with each change (RFC 3264 §8).
    pub version: u64,
    /// Network type, `IN`.
    pub net_type: String,
    /// Address type, `IP4` or `IP6`.
    pub addr_type: String,
    /// Address or host name of the originating machine; never a media address.
    pub address: String,
}

impl OriginLine {
    /// Builds the line for a session of ours at `address`.
    pub fn new(session_id: u64, version: u64, address: IpAddr) -> Self {
        OriginLine {
            username: "-".to_owned(),
            session_id: session_id.to_string(),
            version,
            net_type: "IN".to_owned(),
            addr_type: addr_type(address).to_owned(),
            address: address.to_string(),
        }
    }

    /// The stand-in for a missing or unreadable `o=` line.
    pub fn unknown() -> Self {
        OriginLine::new(0, 0, IpAddr::from([0, 0, 0, 0]))
    }
}

/// A `c=` line (RFC 8866 §5.7), kept as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Network type, `IN`.
    pub net_type: String,
    /// Address type, `IP4` or `IP6`.
    pub addr_type: String,
    /// Address with its optional `/ttl` and `/count`, or a host name.
    pub address: String,
}

impl Connection {
    /// Builds the line for an IP address.
    pub fn new(address: IpAddr) -> Self {
        Connection {
            net_type: "IN".to_owned(),
            addr_type: addr_type(address).to_owned(),
            address: address.to_string(),
        }
    }

    /// Returns the IP address, without `/ttl` or `/count`, an IPv4-mapped IPv6 address as IPv4. The address type
    /// written beside it is not consulted: it is sometimes wrong and the address itself is unambiguous.
    ///
    /// `None` for a host name, a scoped address, or a network type other than `IN`.
    pub fn ip(&self) -> Option<IpAddr> {
        if !self.net_type.eq_ignore_ascii_case("IN") {
            return None;
        }
        let bare = self.address.split('/').next().unwrap_or_default();
        bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    }

    /// Whether the address says "send nothing here": `0.0.0.0` (RFC 3264 §8.4), `::`, or a name under the
    /// top-level domain `.invalid`, which RFC 6157 §5.1 uses in place of `::`.
    pub fn is_hold(&self) -> bool {
        match self.ip() {
            Some(ip) => ip.is_unspecified(),
            None => {
                let name = self.address.trim_end_matches('.').to_ascii_lowercase();
                name == "invalid" || name.ends_with(".invalid")
            }
        }
    }
}

/// A `b=` line (RFC 8866 §5.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// `AS`, `CT`, `TIAS`, `RS`, `RR` …
    pub kind: String,
    /// In the unit of the kind: kbit/s for `AS` and `CT`, bit/s for `TIAS`, `RS` and `RR`.
    pub value: u64,
}

/// A `t=` line: start and stop in NTP seconds, both 0 for a session without bounds (RFC 8866 §5.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Start, NTP seconds.
    pub start: u64,
    /// Stop, NTP seconds.
    pub stop: u64,
}

/// An `a=` line: `name` or `name:value` (RFC 8866 §5.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Attribute name as written; names compare without regard to case here, as some peers need.
    pub name: String,
    /// What follows the first colon; `None` for a property attribute.
    pub value: Option<String>,
}

impl Attribute {
    /// Builds `a=name`.
    pub fn flag(name: &str) -> Self {
        Attribute {
            name: name.to_owned(),
            value: None,
        }
    }

    /// Builds `a=name:value`.
    pub fn with_value(name: &str, value: impl Into<String>) -> Self {
        Attribute {
            name: name.to_owned(),
            value: Some(value.into()),
        }
    }
}

/// One `m=` line and what belongs to it (RFC 8866 §5.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDescription {
    /// `audio`, `video`, `image`, `application` … as written.
    pub kind: String,
    /// Transport port; 0 refuses or disables the stream (RFC 3264 §6, §8.2).
    pub port: u16,
    /// The `/count` after the port, kept and not acted on.
    pub port_count: Option<u16>,
    /// Transport protocol and profile, such as `RTP/AVP`.
    pub protocol: String,
    /// Formats in order of preference; payload type numbers when the protocol is RTP. The grammar wants at least
    /// one: `-` stands for none, which is no payload type.
    pub formats: Vec<String>,
    /// `c=` lines of this stream. More than one only occurs with multicast layers.
    pub connections: Vec<Connection>,
    /// `b=` lines of this stream, kept and not acted on.
    pub bandwidths: Vec<Bandwidth>,
    /// `a=` lines of this stream in order.
    pub attributes: Vec<Attribute>,
}

impl MediaDescription {
    /// Whether this is an `m=audio` line, whatever its state.
    pub fn is_audio(&self) -> bool {
        self.kind.eq_ignore_ascii_case("audio")
    }

    /// Returns the value of the first attribute `name`; `Some("")` when it has none.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find_attribute(&self.attributes, name)
    }

    /// Returns the values of all attributes `name` in order, those without a value as `""`.
    pub fn attributes_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes
            .iter()
            .filter(move |attribute| attribute.name.eq_ignore_ascii_case(name))
            .map(|attribute| attribute.value.as_deref().unwrap_or_default())
    }

    /// The same stream refused: port 0, formats kept, no attributes (RFC 3264 §6).
    pub fn refused(&self) -> MediaDescription {
        MediaDescription {
            kind: self.kind.clone(),
            port: 0,
            port_count: None,
            protocol: self.protocol.clone(),
            formats: self.formats.clone(),
            connections: Vec::new(),
            bandwidths: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

impl SessionDescription {
    /// Returns the value of the first session-level attribute `name`; `Some("")` when it has none.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find_attribute(&self.attributes, name)
    }

    /// Returns the `c=` line that holds for `media`: its own first, else the session's.
    pub fn connection_of<'a>(&'a self, media: &'a MediaDescription) -> Option<&'a Connection> {
        media.connections.first().or(self.connection.as_ref())
    }

    /// Returns the direction that holds for `media`, from the sender's point of view: its own attribute, else
    /// the session's, else `sendrecv` (RFC 8866 §6.7).
    pub fn direction_of(&self, media: &MediaDescription) -> Direction {
        Direction::among(&media.attributes)
            .or_else(|| Direction::among(&self.attributes))
            .unwrap_or(Direction::SendRecv)
    }

    /// Returns the address at which the sender wants the first enabled audio stream that names one, so that the
    /// caller can choose a local address of the same family before it answers. `None` on hold addresses too.
    pub fn audio_address(&self) -> Option<IpAddr> {
        self.media
            .iter()
            .filter(|media| media.is_audio() && media.port != 0)
            .filter_map(|media| self.connection_of(media)?.ip())
            .find(|ip| !ip.is_unspecified())
    }
}

/// Returns `IP4` or `IP6`.
fn addr_type(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

fn find_attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
        .map(|attribute| attribute.value.as_deref().unwrap_or_default())
}

/// Free text of a line: control characters would end the line or the body early, so they are left out.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split(['\0', '\r', '\n']) {
            f.write_str(piece)?;
        }
        Ok(())
    }
}

/// A space-separated field: white space would make two of it, nothing at all would make none.
struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut empty = true;
        for piece in self
            .0
            .split(['\0', '\r', '\n', ' ', '\t'])
            .filter(|piece| !piece.is_empty())
        {
            f.write_str(piece)?;
            empty = false;
        }
        if empty { f.write_str("-") } else { Ok(()) }
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=0\r\n")?;
        let origin = &self.origin;
        write!(f, "o={} {}", Field(&origin.username), Field(&origin.session_id))?;
        write!(f, " {} {}", origin.version, Field(&origin.net_type))?;
        write!(f, " {} {}\r\n", Field(&origin.addr_type), Field(&origin.address))?;
        let name = if self.session_name.is_empty() {
            "-"
        } else {
            &self.session_name
        };
        write!(f, "s={}\r\n", Text(name))?;
        if let Some(connection) = &self.connection {
            write!(f, "{connection}")?;
        }
        for bandwidth in &self.bandwidths {
            write!(f, "{bandwidth}")?;
        }
        if self.timings.is_empty() {
            f.write_str("t=0 0\r\n")?;
        }
        for timing in &self.timings {
            write!(f, "t={} {}\r\n", timing.start, timing.stop)?;
        }
        for attribute in &self.attributes {
            write!(f, "{attribute}")?;
        }
        for media in &self.media {
            write!(f, "{media}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "c={} {} {}\r\n",
            Field(&self.net_type),
            Field(&self.addr_type),
            Field(&self.address)
        )
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b={}:{}\r\n", Field(&self.kind), self.value)
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "a={}:{}\r\n", Text(&self.name), Text(value)),
            None => write!(f, "a={}\r\n", Text(&self.name)),
        }
    }
}

impl fmt::Display for MediaDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {}", Field(&self.kind), self.port)?;
        if let Some(count) = self.port_count {
            write!(f, "/{count}")?;
        }
        write!(f, " {}", Field(&self.protocol))?;
        if self.formats.is_empty() {
            f.write_str(" -")?;
        }
        for format in &self.formats {
            write!(f, " {}", Field(format))?;
        }
        f.write_str("\r\n")?;
        for connection in &self.connections {
            write!(f, "{connection}")?;
        }
        for bandwidth in &self.bandwidths {
            write!(f, "{bandwidth}")?;
        }
        for attribute in &self.attributes {
            write!(f, "{attribute}")?;
        }
        Ok(())
    }
}
