//! Owns what is played into a conference: which plays were asked for, who hears them, which of them sound. Never plays
//! anything, and does not know what the names of media mean.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::ParticipantId;

/// How a client names what is to be played: a URL, a tone script, an id. Not judged here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaName(Arc<str>);

impl MediaName {
    /// The tone when somebody joins, unless the settings name another.
    pub const ENTRY_TONE: &str =
        "tone_stream://v=-7;>=2;+=.1;%(300,0,523,659);v=-7;>=3;+=.1;%(800,0,659,783)";
    /// The tone when somebody leaves, unless the settings name another.
    pub const EXIT_TONE: &str = "tone_stream://v=-7;>=2;+=.1;%(300,0,523,440);v=-7;>=3;+=.1;%(800,0,349,440)";

    /// Hold music, unless the settings name another.
    pub const HOLD_MUSIC: &str = "moh:default";

    /// Returns the name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for MediaName {
    fn from(text: &str) -> MediaName {
        MediaName(text.into())
    }
}

impl fmt::Debug for MediaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who hears a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// All who hear the mix.
    Everybody,
    /// All who are out of the mix: on hold, or waiting for a moderator.
    Waiting,
    /// One participant alone, deaf or held as he may be.
    One(ParticipantId),
}

/// How a play stands to what else plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manner {
    /// Behind what plays to the same audience.
    Queue,
    /// The same, for something short to everybody that prompts wait for.
    Announcement,
    /// The same, for a prompt to one: it does not begin during an announcement.
    Prompt,
    /// Again and again, while nothing else plays to the same audience; where that is one alone, nor to everybody.
    Background,
}

/// Which plays of an audience are to be stopped, of those that operators asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopPlay {
    /// The one that sounds, or is to sound next; those behind it follow.
    Current,
    /// All of them.
    All,
}

/// Why something that was to be played is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlayFailure {
    /// The name means nothing here, or is no good script or URL.
    Unknown,
    /// This server may not ask the address, or plays no URLs.
    Forbidden,
    /// The server of the URL was not reached, or broke off.
    Unreachable,
    /// It did not give the file in time.
    Timeout,
    /// It answered with another status than success, or redirected without end.
    Refused,
    /// The file is larger, or plays longer, than may be.
    TooLarge,
    /// The file is of a kind, or of a coding, that is not played.
    Unsupported,
    /// The file is damaged, or has no audio in it.
    Unreadable,
    /// Too much is fetched at the moment.
    Busy,
    /// The media plane did not take it.
    Media,
}

impl PlayFailure {
    /// All of them, in the order of their numbers.
    pub const ALL: [PlayFailure; 10] = [
        PlayFailure::Unknown,
        PlayFailure::Forbidden,
        PlayFailure::Unreachable,
        PlayFailure::Timeout,
        PlayFailure::Refused,
        PlayFailure::TooLarge,
        PlayFailure::Unsupported,
        PlayFailure::Unreadable,
        PlayFailure::Busy,
        PlayFailure::Media,
    ];

    /// Returns the reason as one lower-case word with underscores, for events, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            PlayFailure::Unknown => "unknown",
            PlayFailure::Forbidden => "forbidden",
            PlayFailure::Unreachable => "unreachable",
            PlayFailure::Timeout => "timeout",
            PlayFailure::Refused => "refused",
            PlayFailure::TooLarge => "too_large",
            PlayFailure::Unsupported => "unsupported",
            PlayFailure::Unreadable => "unreadable",
            PlayFailure::Busy => "busy",
            PlayFailure::Media => "media",
        }
    }
}

/// One play, in the order in which an instance was asked for them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayNumber(pub u64);

impl fmt::Debug for PlayNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "play {}", self.0)
    }
}

/// Why something is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// An operator asked for it. Its beginning and its end are told.
    Asked,
    /// Somebody joined.
    Entry,
    /// Somebody left.
    Exit,
    /// The conference is about to end.
    Ending,
    /// Everybody is told something.
    Notice,
    /// One participant is told something.
    Prompt,
    /// It goes on until it is stopped.
    Background,
}

impl Occasion {
    pub(crate) fn manner(self, audience: Audience) -> Manner {
        match self {
            Occasion::Entry | Occasion::Exit if audience != Audience::Everybody => Manner::Prompt,
            Occasion::Asked => Manner::Queue,
            Occasion::Entry | Occasion::Exit | Occasion::Ending | Occasion::Notice => Manner::Announcement,
            Occasion::Prompt => Manner::Prompt,
            Occasion::Background => Manner::Background,
        }
    }
}

/// Plays that operators may have outstanding for one audience, the one that sounds included.
pub(crate) const MAX_ASKED: usize = 12;

/// A play that was asked for and is not over.
#[derive(Clone, Debug)]
pub(crate) struct Outstanding {
    pub(crate) audience: Audience,
    /// What is told of it: the first of what plays.
    pub(crate) media: MediaName,
    pub(crate) occasion: Occasion,
    pub(crate) sounds: bool,
}

/// The plays of one conference that are not over.
#[derive(Debug, Default)]
pub(crate) struct Plays {
    last: u64,
    outstanding: BTreeMap<PlayNumber, Outstanding>,
}

impl Plays {
    /// Takes note of a play; `None` when operators have too many of them with this audience.
    pub(crate) fn add(
        &mut self,
        audience: Audience,
        media: MediaName,
        occasion: Occasion,
    ) -> Option<PlayNumber> {
        let asked = |play: &&Outstanding| play.audience == audience && play.occasion == Occasion::Asked;
        if occasion == Occasion::Asked && self.outstanding.values().filter(asked).count() >= MAX_ASKED {
            return None;
        }
        self.last += 1;
        let number = PlayNumber(self.last);
        let play = Outstanding {
            audience,
            media,
            occasion,
            sounds: false,
        };
        self.outstanding.insert(number, play);
        Some(number)
    }

    /// Returns whether the play is not over.
    pub(crate) fn has(&self, number: PlayNumber) -> bool {
        self.outstanding.contains_key(&number)
    }

    /// Returns who hears a play, `None` when it is over.
    pub(crate) fn audience(&self, number: PlayNumber) -> Option<Audience> {
        self.outstanding.get(&number).map(|play| play.audience)
    }

    /// Returns what plays to everybody and to single participants, but for the background, the oldest first.
    pub(crate) fn of_those_in_the_mix(&self) -> Vec<PlayNumber> {
        let plays = self
            .outstanding
            .iter()
            .filter(|(_, play)| play.audience != Audience::Waiting && play.occasion != Occasion::Background);
        plays.map(|(number, _)| *number).collect()
    }

    /// Returns whether a play of this occasion to these is not over; or, of those, has not begun.
    pub(crate) fn any(&self, occasion: Occasion, audience: Audience, not_begun: bool) -> bool {
        let mut plays = self.outstanding.values();
        plays
            .any(|play| play.occasion == occasion && play.audience == audience && !(not_begun && play.sounds))
    }

    /// Takes note that a play sounds; returns it when that is new.
    pub(crate) fn started(&mut self, number: PlayNumber) -> Option<Outstanding> {
        let play = self.outstanding.get_mut(&number)?;
        (!std::mem::replace(&mut play.sounds, true)).then(|| play.clone())
    }

    /// Forgets a play and returns it.
    pub(crate) fn ended(&mut self, number: PlayNumber) -> Option<Outstanding> {
        self.outstanding.remove(&number)
    }

    /// Forgets all plays of an audience; returns those that sound and whose end is told.
    pub(crate) fn forget(&mut self, audience: Audience) -> Vec<Outstanding> {
        let gone = self
            .outstanding
            .extract_if(.., |_, play| play.audience == audience);
        gone.map(|(_, play)| play)
            .filter(|play| play.sounds && play.occasion == Occasion::Asked)
            .collect()
    }
}
