//! Owns the few lines of SDP an agent needs: an audio offer or answer, and where the other side wants its audio.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::AgentError;
use crate::g711::Law;

/// The direction attribute of a stream, from the view of who sends the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Sends and receives.
    SendRecv,
    /// Sends only: the peer is on hold.
    SendOnly,
    /// Receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// One audio stream as an agent offers or answers it. `Display` prints the session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioOffer {
    /// Where the agent receives RTP.
    pub address: SocketAddr,
    /// The codecs, best first.
    pub laws: Vec<Law>,
    /// Direction.
    pub direction: Direction,
    /// Wanted packet time in ms; `None` leaves the attribute out.
    pub ptime_ms: Option<u32>,
    /// Version number of the `o=` line; counts up with each change.
    pub version: u32,
    /// Lines put after the audio stream as they are, for descriptions with more streams or odd attributes.
    pub extra_lines: Vec<String>,
}

impl AudioOffer {
    /// Offers both laws, µ-law first, with telephone-event, 20 ms.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            laws: vec![Law::Mu, Law::A],
            direction: Direction::SendRecv,
            ptime_ms: Some(20),
            version: 1,
            extra_lines: Vec::new(),
        }
    }

    /// Offers one law only.
    #[must_use]
    pub fn only(mut self, law: Law) -> Self {
        self.laws = vec![law];
        self
    }

    /// Changes the direction and counts the version up.
    #[must_use]
    pub fn directed(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self.version += 1;
        self
    }
}

impl fmt::Display for AudioOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.address.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        write!(
            f,
            "v=0\r\no=agent 1 {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n",
            self.version
        )?;
        write!(f, "m=audio {} RTP/AVP", self.address.port())?;
        for law in &self.laws {
            write!(f, " {}", law.payload_type())?;
        }
        write!(f, " 101\r\n")?;
        for law in &self.laws {
            write!(f, "a=rtpmap:{} {}/8000\r\n", law.payload_type(), law.name())?;
        }
        write!(f, "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n")?;
        if let Some(ptime) = self.ptime_ms {
            write!(f, "a=ptime:{ptime}\r\n")?;
        }
        write!(f, "a={}\r\n", self.direction.name())?;
        self.extra_lines
            .iter()
            .try_for_each(|line| write!(f, "{line}\r\n"))
    }
}

/// What the other side's description says about its first audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAudio {
    /// Where it receives RTP.
    pub address: SocketAddr,
    /// Payload types in its order.
    pub payload_types: Vec<u8>,
    /// Its direction; sendrecv when not given.
    pub direction: Direction,
    /// Its packet time in ms.
    pub ptime_ms: Option<u32>,
    /// The port of every media line in order; 0 means rejected.
    pub media_ports: Vec<(String, u16)>,
}

impl RemoteAudio {
    /// Reads a session description.
    pub fn parse(body: &[u8]) -> Result<Self, AgentError> {
        let text = String::from_utf8_lossy(body);
        let bad = |what: &str| AgentError::BadDescription(format!("{what} in\n{text}"));
        let mut ip: Option<IpAddr> = None;
        let mut media_ports: Vec<(String, u16)> = Vec::new();
        let mut audio: Option<(u16, Vec<u8>)> = None;
        let mut audio_index = 0;
        let (mut direction, mut ptime_ms) = (Direction::SendRecv, None);
        for line in text.lines() {
            let in_first_audio = audio.is_some() && audio_index + 1 == media_ports.len();
            if let Some(rest) = line.strip_prefix("m=") {
                let mut words = rest.split(' ');
                let kind = words.next().unwrap_or_default().to_owned();
                let port = words
                    .next()
                    .and_then(|word| word.parse().ok())
                    .ok_or_else(|| bad("no port"))?;
                if kind == "audio" && audio.is_none() {
                    audio_index = media_ports.len();
                    audio = Some((port, words.skip(1).filter_map(|word| word.parse().ok()).collect()));
                }
                media_ports.push((kind, port));
            } else if let Some(rest) = line.strip_prefix("c=IN IP") {
                if media_ports.is_empty() || in_first_audio {
                    ip = rest.get(2..).and_then(|word| word.trim().parse().ok());
                }
            } else if media_ports.is_empty() || in_first_audio {
                match line {
                    "a=sendrecv" => direction = Direction::SendRecv,
                    "a=sendonly" => direction = Direction::SendOnly,
                    "a=recvonly" => direction = Direction::RecvOnly,
                    "a=inactive" => direction = Direction::Inactive,
                    _ => {
                        ptime_ms = line
                            .strip_prefix("a=ptime:")
                            .and_then(|v| v.parse().ok())
                            .or(ptime_ms)
                    }
                }
            }
        }
        let (port, payload_types) = audio.ok_or_else(|| bad("no audio stream"))?;
        let ip = ip.ok_or_else(|| bad("no connection address"))?;
        Ok(Self {
            address: SocketAddr::new(ip, port),
            payload_types,
            direction,
            ptime_ms,
            media_ports,
        })
    }

    /// Returns the G.711 law that the first usable payload type names.
    pub fn law(&self) -> Option<Law> {
        self.payload_types
            .iter()
            .find_map(|payload_type| match payload_type {
                0 => Some(Law::Mu),
                8 => Some(Law::A),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_reads_back_as_it_was_made() {
        let address: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
        let offer = AudioOffer::new(address)
            .only(Law::A)
            .directed(Direction::SendOnly);
        let read = RemoteAudio::parse(offer.to_string().as_bytes()).expect("readable");
        assert_eq!(read.address, address);
        assert_eq!(read.payload_types, [8, 101]);
        assert_eq!(
            (read.law(), read.direction, read.ptime_ms),
            (Some(Law::A), Direction::SendOnly, Some(20))
        );
    }

    #[test]
    fn the_media_level_wins_and_other_streams_do_not_disturb() {
        let text = "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nc=IN IP4 1.1.1.1\r\na=inactive\r\nt=0 0\r\n\
            m=audio 4000 RTP/AVP 8\r\nc=IN IP4 2.2.2.2\r\na=recvonly\r\nm=video 0 RTP/AVP 99\r\nc=IN IP4 3.3.3.3\r\na=sendonly\r\n";
        let read = RemoteAudio::parse(text.as_bytes()).expect("readable");
        assert_eq!(read.address.to_string(), "2.2.2.2:4000");
        assert_eq!(read.direction, Direction::RecvOnly);
        assert_eq!(
            read.media_ports,
            [("audio".to_owned(), 4000), ("video".to_owned(), 0)]
        );
    }

    #[test]
    fn a_description_without_audio_or_address_is_refused() {
        for text in [
            "",
            "v=0\r\nm=video 1 RTP/AVP 99\r\n",
            "m=audio 4000 RTP/AVP 0\r\n",
            "m=audio x RTP/AVP 0\r\n",
        ] {
            assert!(RemoteAudio::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
