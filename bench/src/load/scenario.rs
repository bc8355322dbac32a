//! Owns the description of a run: how many participants, in how many rooms, speaking what.

use confab_testkit::codec::{Codec, OpusEncoding};
use confab_testkit::rtp::Source;

const TALKER_DBFS: f64 = -20.0;

/// What somebody sends who is not among a room's talkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Silence in continuous packets.
    Silence,
    /// Silence as Opus sends it in discontinuous transmission: packets of an octet or two.
    Dtx,
    /// No packets.
    Nothing,
    /// A tone in continuous packets, muted by the server.
    Muted,
}

/// Somebody who is not among a room's talkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// What is sent and heard.
    pub codec: Codec,
    /// What is sent.
    pub manner: Manner,
}

/// How participants are spread over conferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Conferences.
    pub rooms: usize,
    /// Participants in each.
    pub per_room: usize,
    /// How many of each room's participants send a tone.
    pub talkers: usize,
    /// Codecs of the talkers, in turn.
    pub voices: Vec<Codec>,
    /// The others, in turn.
    pub listeners: Vec<Listener>,
}

/// What one participant does.
#[derive(Debug, Clone)]
pub struct Part {
    /// The codec that is offered.
    pub codec: Codec,
    /// What is sent.
    pub source: Option<Source>,
    /// The server is to mute this one.
    pub muted: bool,
}

impl Scenario {
    /// Makes a scenario of PCMU alone.
    pub fn pcmu(rooms: usize, per_room: usize, talkers: usize) -> Self {
        Self {
            rooms,
            per_room,
            talkers,
            voices: vec![Codec::Pcmu],
            listeners: vec![Listener {
                codec: Codec::Pcmu,
                manner: Manner::Silence,
            }],
        }
    }

    /// Returns the number of all participants.
    pub fn participants(&self) -> usize {
        self.rooms * self.per_room
    }

    /// Reads `ROOMSxPARTICIPANTS:TALKERS[:CODECS[:LISTENERS]]`, such as `50x20:2` or `1x1000:3:pcmu:opus-dtx+pcma`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let (rooms, per_room) = fields.next()?.split_once('x')?;
        let mut scenario = Self::pcmu(
            rooms.parse().ok()?,
            per_room.parse().ok()?,
            fields.next()?.parse().ok()?,
        );
        if let Some(voices) = fields.next() {
            scenario.voices = voices.split('+').map(codec).collect::<Option<_>>()?;
        }
        if let Some(listeners) = fields.next() {
            scenario.listeners = listeners.split('+').map(listener).collect::<Option<_>>()?;
        }
        let is_whole = scenario.participants() > 0 && scenario.talkers <= scenario.per_room;
        (is_whole && fields.next().is_none()).then_some(scenario)
    }

    /// Returns what the participants of a room do, by their place in it. Those who do the same share their prepared packets.
    pub fn parts(&self) -> Vec<Part> {
        let talkers = (0..self.talkers).map(|place| {
            let codec = self.voices[place % self.voices.len()];
            Part {
                codec,
                source: Some(Source::tone(codec, 400.0 + 100.0 * place as f64, TALKER_DBFS)),
                muted: false,
            }
        });
        let listeners: Vec<Part> = self.listeners.iter().map(Listener::part).collect();
        let listeners =
            (0..self.per_room - self.talkers).map(|place| listeners[place % listeners.len()].clone());
        talkers.chain(listeners).collect()
    }
}

impl Listener {
    fn part(&self) -> Part {
        let Self { codec, manner } = *self;
        let source = match manner {
            Manner::Silence => Some(Source::silence(codec)),
            Manner::Dtx => Some(Source::silence(codec).opus(OpusEncoding {
                dtx: true,
                ..OpusEncoding::default()
            })),
            Manner::Nothing => None,
            Manner::Muted => Some(Source::tone(codec, 300.0, TALKER_DBFS)),
        };
        Part {
            codec,
            source,
            muted: manner == Manner::Muted,
        }
    }
}

/// Codecs by the names that scenarios have for them.
const CODECS: [(&str, Codec); 5] = [
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
    ("g722", Codec::G722),
    ("opus", Codec::Opus),
    ("l16", Codec::L16(16_000)),
];

/// What follows a listener's codec, after a hyphen.
const MANNERS: [(&str, Manner); 3] = [
    ("dtx", Manner::Dtx),
    ("nothing", Manner::Nothing),
    ("muted", Manner::Muted),
];

fn codec(name: &str) -> Option<Codec> {
    let (_, codec) = CODECS.iter().find(|(known, _)| *known == name)?;
    Some(*codec)
}

fn listener(text: &str) -> Option<Listener> {
    let (name, manner) = match text.split_once('-') {
        Some((name, manner)) => {
            let (_, manner) = MANNERS.iter().find(|(known, _)| *known == manner)?;
            (name, *manner)
        }
        None => (text, Manner::Silence),
    };
    let codec = codec(name)?;
    (manner != Manner::Dtx || codec == Codec::Opus).then_some(Listener { codec, manner })
}

fn name(codec: Codec) -> &'static str {
    CODECS
        .iter()
        .find(|(_, known)| *known == codec)
        .map_or("other", |(name, _)| name)
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(name(self.codec))?;
        match MANNERS.iter().find(|(_, manner)| *manner == self.manner) {
            Some((manner, _)) => write!(f, "-{manner}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}:{}", self.rooms, self.per_room, self.talkers)?;
        let usual = Self::pcmu(self.rooms, self.per_room, self.talkers);
        if *self == usual {
            return Ok(());
        }
        let voices: Vec<_> = self.voices.iter().map(|codec| name(*codec)).collect();
        write!(f, ":{}", voices.join("+"))?;
        if self.listeners == usual.listeners {
            return Ok(());
        }
        let listeners: Vec<_> = self.listeners.iter().map(ToString::to_string).collect();
        write!(f, ":{}", listeners.join("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_reads_back_as_it_prints() {
        for text in [
            "1x1000:3",
            "50x20:2",
            "3x1:0",
            "1x9:2:opus",
            "1x9:2:opus+pcma:pcmu+opus-dtx+g722-nothing+l16-muted",
        ] {
            assert_eq!(
                Scenario::parse(text).map(|s| s.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "1x1000",
            "0x5:0",
            "2x2:3",
            "ax2:1",
            "1x2:1:",
            "1x2:1:gsm",
            "1x2:1:pcmu:pcmu-dtx",
            "1x2:1:pcmu:opus-loud",
            "1x2:1:pcmu:opus:",
        ] {
            assert_eq!(Scenario::parse(text), None, "{text}");
        }
    }

    #[test]
    fn parts_are_dealt_out_in_turn() {
        let scenario = Scenario::parse("1x5:2:opus+pcma:pcmu-nothing+opus-muted").expect("a scenario");
        let parts = scenario.parts();
        let seen: Vec<_> = parts
            .iter()
            .map(|part| (name(part.codec), part.source.is_some(), part.muted))
            .collect();
        let expected = [
            ("opus", true, false),
            ("pcma", true, false),
            ("pcmu", false, false),
            ("opus", true, true),
            ("pcmu", false, false),
        ];
        assert_eq!(seen, expected);
    }
}
