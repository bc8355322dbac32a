//! Why a description could not be read or agreed to, and how to say so in SIP.
//!
//! One place maps each reason to a status code and to a warning code and text (RFC 3261 §20.43).

use std::net::IpAddr;

/// What is wrong with a session description, or why no audio could be agreed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// The body is larger than [`MAX_BYTES`](crate::MAX_BYTES).
    #[error("session description of {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Size of the body, bytes.
        bytes: usize,
        /// Largest size that is read, bytes.
        limit: usize,
    },
    /// More lines, media descriptions or formats than a call can use; junk or an attack.
    #[error("session description with more than {limit} {what}")]
    TooMany {
        /// What there is too much of: `lines`, `media descriptions`, `formats`.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The body does not begin with a `v=` line: it is empty or no session description.
    #[error("no v= line at the start of the session description")]
    NotSdp,
    /// The `v=` line names another version than 0.
    #[error("session description version is not 0")]
    Version,
    /// A line that offer/answer needs (`m=`, `c=`, `a=`) cannot be read.
    #[error("session description: {problem}")]
    Syntax {
        /// What is wrong, with the line number.
        problem: String,
    },
    /// No enabled audio stream: only video, fax or data, or everything at port 0.
    #[error("no audio stream in the session description")]
    NoAudio,
    /// The audio stream uses a profile that is not served, such as RTP/SAVPF.
    #[error("transport {protocol} is not supported, use RTP/AVP")]
    Protocol {
        /// The profile asked for.
        protocol: String,
    },
    /// The audio stream has to be secured, and offers or answers no `crypto` attribute that is known.
    #[error("the audio stream has no crypto attribute that can be used")]
    NotSecured,
    /// Offerer and server have no codec in common.
    #[error("no common codec among {}", offered.join(", "))]
    NoCommonCodec {
        /// The audio formats of the peer as `name/rate`, or payload type numbers without a known meaning.
        offered: Vec<String>,
    },
    /// The audio stream has no `c=` line, neither its own nor the session's.
    #[error("no c= line for the audio stream")]
    NoConnection,
    /// The `c=` line has a host name or another kind of address; only IP addresses are taken.
    #[error("media address {address} is not an IP address")]
    NotAnIpAddress {
        /// The address as written.
        address: String,
    },
    /// The address family of the media address cannot be reached from the local media address.
    #[error("media address {remote} cannot be reached from {local}")]
    AddressFamily {
        /// The peer's media address.
        remote: IpAddr,
        /// Ours.
        local: IpAddr,
    },
    /// The media address is a multicast or broadcast address.
    #[error("media address {address} is not unicast")]
    NotUnicast {
        /// The address.
        address: IpAddr,
    },
    /// The answer refuses the audio stream that was offered (port 0, or no media description for it).
    #[error("the peer refused the audio stream")]
    Refused,
    /// An answer arrived and no offer is open.
    #[error("session description answers no offer")]
    NoOpenOffer,
}

impl SdpError {
    /// The SIP status code that says this: 400 for what cannot be read, 513 for what is too large, 488 for what
    /// cannot be agreed to.
    pub fn status(&self) -> u16 {
        match self {
            SdpError::TooLarge { .. } => 513,
            SdpError::TooMany { .. }
            | SdpError::NotSdp
            | SdpError::Version
            | SdpError::Syntax { .. }
            | SdpError::NoConnection
            | SdpError::NoOpenOffer => 400,
            SdpError::NoAudio
            | SdpError::Protocol { .. }
            | SdpError::NotSecured
            | SdpError::NoCommonCodec { .. }
            | SdpError::NotAnIpAddress { .. }
            | SdpError::AddressFamily { .. }
            | SdpError::NotUnicast { .. }
            | SdpError::Refused => 488,
        }
    }

    /// The warning code of RFC 3261 §20.43.
    pub fn warning_code(&self) -> u16 {
        match self {
            SdpError::NotAnIpAddress { .. } | SdpError::AddressFamily { .. } => 301,
            SdpError::Protocol { .. } | SdpError::NotSecured => 302,
            SdpError::NoAudio | SdpError::Refused => 304,
            SdpError::NoCommonCodec { .. } => 305,
            SdpError::Version | SdpError::Syntax { .. } | SdpError::NoConnection => 307,
            SdpError::NotUnicast { .. } => 330,
            SdpError::TooLarge { .. }
            | SdpError::TooMany { .. }
            | SdpError::NotSdp
            | SdpError::NoOpenOffer => 399,
        }
    }

    /// The value of a `Warning` header: code, `agent` (host or pseudonym of this server, a token or `host:port`)
    /// and the quoted text. What the peer wrote is cut to printable ASCII, so that the value is always one valid
    /// quoted string of at most 200 characters.
    pub fn warning(&self, agent: &str) -> String {
        let text: String = self
            .to_string()
            .chars()
            .map(|c| if c == '"' || c == '\\' { '\'' } else { c })
            .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
            .take(200)
            .collect();
        format!("{} {agent} \"{text}\"", self.warning_code())
    }
}
