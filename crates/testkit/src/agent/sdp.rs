//! Owns the few lines of SDP an agent needs: an audio offer or answer, and where the other side wants its audio.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::AgentError;
use crate::codec::Codec;
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

/// Payload type of the first telephone-event in an offer; further ones follow.
const FIRST_EVENT_TYPE: u8 = 101;

/// Codecs with the payload types that agents offer them with.
fn formats_of(codecs: &[Codec]) -> Vec<(u8, Codec)> {
    codecs
        .iter()
        .map(|codec| (codec.payload_type(), *codec))
        .collect()
}

/// One audio stream as an agent offers or answers it. `Display` prints the session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioOffer {
    /// Where the agent receives RTP.
    pub address: SocketAddr,
    /// Payload types and their codecs, best first.
    pub formats: Vec<(u8, Codec)>,
    /// Telephone-events are offered beside the codecs.
    pub telephone_events: bool,
    /// Parameters that Opus is offered with; empty for none.
    pub opus_parameters: String,
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
    /// Offers both laws of G.711, µ-law first, with telephone-event, 20 ms.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            formats: formats_of(&[Codec::Pcmu, Codec::Pcma]),
            telephone_events: true,
            opus_parameters: "useinbandfec=1".to_owned(),
            direction: Direction::SendRecv,
            ptime_ms: Some(20),
            version: 1,
            extra_lines: Vec::new(),
        }
    }

    /// Offers one codec only.
    #[must_use]
    pub fn only(self, codec: impl Into<Codec>) -> Self {
        self.codecs(&[codec.into()])
    }

    /// Offers these codecs, best first.
    #[must_use]
    pub fn codecs(mut self, codecs: &[Codec]) -> Self {
        self.formats = formats_of(codecs);
        self
    }

    /// Asks for this packet time.
    #[must_use]
    pub fn ptime(mut self, ptime_ms: u32) -> Self {
        self.ptime_ms = Some(ptime_ms);
        self
    }

    /// Makes it the answer to an offer: one codec, with the payload type that the offer gives it (RFC 3264 §6.1). A codec that was not
    /// offered keeps its own number.
    #[must_use]
    pub fn answering(mut self, offer: &RemoteAudio, codec: Codec) -> Self {
        let offered = offer.formats.iter().find(|(_, offered)| *offered == codec);
        self.formats = vec![*offered.unwrap_or(&(codec.payload_type(), codec))];
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
        // One telephone-event for each clock that a codec has (RFC 4733 §2.2).
        let mut clocks: Vec<u32> = self
            .formats
            .iter()
            .map(|(_, codec)| codec.rtp_clock_hz())
            .collect();
        clocks.sort_unstable();
        clocks.dedup();
        if !self.telephone_events {
            clocks.clear();
        }
        let events: Vec<(u8, u32)> = (FIRST_EVENT_TYPE..).zip(clocks).collect();
        for (payload_type, _) in &self.formats {
            write!(f, " {payload_type}")?;
        }
        for (payload_type, _) in &events {
            write!(f, " {payload_type}")?;
        }
        write!(f, "\r\n")?;
        for (payload_type, codec) in &self.formats {
            write!(f, "a=rtpmap:{payload_type} {}\r\n", codec.rtpmap())?;
            if *codec == Codec::Opus && !self.opus_parameters.is_empty() {
                write!(f, "a=fmtp:{payload_type} {}\r\n", self.opus_parameters)?;
            }
        }
        for (payload_type, clock) in &events {
            write!(
                f,
                "a=rtpmap:{payload_type} telephone-event/{clock}\r\na=fmtp:{payload_type} 0-15\r\n"
            )?;
        }
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
    /// Payload types and codecs of those that are known, in its order.
    pub formats: Vec<(u8, Codec)>,
    /// Parameters of payload types (`fmtp`).
    pub parameters: Vec<(u8, String)>,
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
        let (mut maps, mut parameters) = (Vec::new(), Vec::new());
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
                        maps.extend(of_payload_type(line, "a=rtpmap:"));
                        parameters.extend(of_payload_type(line, "a=fmtp:"));
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
        let codec_of = |payload_type: &u8| {
            let map = maps.iter().find(|(number, _)| number == payload_type);
            let codec = map.map_or_else(
                || Codec::of_static_type(*payload_type),
                |(_, map)| Codec::from_rtpmap(map),
            );
            Some((*payload_type, codec?))
        };
        Ok(Self {
            address: SocketAddr::new(ip, port),
            formats: payload_types.iter().filter_map(codec_of).collect(),
            parameters,
            payload_types,
            direction,
            ptime_ms,
            media_ports,
        })
    }

    /// Returns its first codec that is known.
    pub fn codec(&self) -> Option<Codec> {
        self.formats.first().map(|(_, codec)| *codec)
    }

    /// Returns the law when its first codec is G.711.
    pub fn law(&self) -> Option<Law> {
        match self.codec()? {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            _ => None,
        }
    }
}

/// Reads an attribute that belongs to a payload type.
fn of_payload_type(line: &str, prefix: &str) -> Option<(u8, String)> {
    let (number, value) = line.strip_prefix(prefix)?.split_once(' ')?;
    Some((number.parse().ok()?, value.trim().to_owned()))
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
    fn every_codec_is_offered_with_its_number_and_an_event_of_its_clock() {
        let offer = AudioOffer::new("127.0.0.1:4000".parse().expect("an address"))
            .codecs(&Codec::ALL)
            .ptime(30);
        let text = offer.to_string();
        let read = RemoteAudio::parse(text.as_bytes()).expect("readable");
        assert_eq!(read.formats, offer.formats);
        assert_eq!((read.codec(), read.ptime_ms), (Some(Codec::Pcmu), Some(30)));
        assert!(
            read.parameters.contains(&(111, "useinbandfec=1".to_owned())),
            "{text}"
        );
        for clock in [8000, 16_000, 44_100, 48_000] {
            assert!(text.contains(&format!(" telephone-event/{clock}\r\n")), "{text}");
        }
        let mut theirs = read;
        theirs.formats = vec![(96, Codec::Opus), (9, Codec::G722)];
        assert_eq!(
            offer.clone().answering(&theirs, Codec::Opus).formats,
            [(96, Codec::Opus)]
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
