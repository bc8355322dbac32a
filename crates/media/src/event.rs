//! What the media plane tells the outside without being asked.
//!
//! State events (talking, floor, digits, timeouts) are never lost: when the ring to the outside is full the shard keeps
//! the state and tells it later. Levels are coalesced: only the latest matters.

use std::fmt;
use std::time::Duration;

use crate::playback::{PlayEnd, PlayId};

/// Identity of one leg, unique within a run of the media plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg-{}", self.0)
    }
}

/// Identity of one conference's audio, unique within a run of the media plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConferenceAudioId(pub u64);

impl fmt::Display for ConferenceAudioId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mix-{}", self.0)
    }
}

/// One observation of the media plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MediaEvent {
    /// A participant began or ceased to talk, by the contract's accumulation rule. Muting a talker ends his talking.
    Talking {
        /// Whose state changed.
        leg: LegId,
        /// The state now.
        talking: bool,
    },
    /// The level of a talking participant, at most twice a second; one last time when the talking ends.
    Energy {
        /// Whose level it is.
        leg: LegId,
        /// Mean absolute sample of the last frame, 0..=32768.
        score: u16,
    },
    /// The loudest sustained talker changed.
    Floor {
        /// The conference.
        conference: ConferenceAudioId,
        /// The leg that holds the floor now, if any.
        leg: Option<LegId>,
    },
    /// A key was pressed. Told once for each press, at its end, whether it came as a telephone-event (RFC 4733), by SIP INFO
    /// or as a tone in the audio.
    Dtmf {
        /// Whose key it was.
        leg: LegId,
        /// `0`..`9`, `*`, `#`, `A`..`D`.
        digit: char,
        /// How long the key was held, in milliseconds; 0 when that is not known.
        duration_ms: u32,
    },
    /// Neither RTP nor RTCP came for the configured time; repeated after each further such time.
    MediaTimeout {
        /// The silent leg.
        leg: LegId,
        /// For how long nothing came.
        silent: Duration,
    },
    /// Media came again after a timeout.
    MediaResumed {
        /// The leg.
        leg: LegId,
    },
    /// The source of the leg's RTP moved to another address by the rules of latching.
    Latched {
        /// The leg.
        leg: LegId,
        /// The address that media comes from and goes to now.
        remote: std::net::SocketAddr,
    },
    /// A play is heard from this tick on.
    PlayStarted {
        /// Where it plays.
        conference: ConferenceAudioId,
        /// Who hears it, when that is one alone.
        leg: Option<LegId>,
        /// Which play.
        play: PlayId,
    },
    /// A leg does not hear an announcement that everybody else hears, because something plays to it alone. Told at most once for each
    /// announcement and leg, before the announcement's end.
    AnnouncementMissed {
        /// Where it plays.
        conference: ConferenceAudioId,
        /// Who does not hear it.
        leg: LegId,
        /// The announcement.
        play: PlayId,
    },
    /// A play is over. Told once for every play, also for one that was stopped before it was heard; no more once its
    /// conference is closed.
    PlayEnded {
        /// Where it played.
        conference: ConferenceAudioId,
        /// Who heard it, when that was one alone.
        leg: Option<LegId>,
        /// Which play.
        play: PlayId,
        /// Why it ended.
        how: PlayEnd,
    },
}
