//! What the control side tells a shard, and what a shard gives back to be freed elsewhere. Commands carry everything
//! they need, allocated beforehand; carrying one out neither allocates nor frees.

use confab_rtp::DtmfDigit;
use tokio::sync::oneshot;

use super::conference::{ConferenceAudio, ConferenceStorage, Playing, RateChange, Recording, Track};
use super::group::EncodeGroup;
use super::key::{ConferenceKey, LegKey};
use crate::config::JoinOptions;
use crate::leg::Leg;
use crate::leg::dialling::Dialling;
use crate::leg::processing::Processing;
use crate::leg::session::Session;
use crate::metrics::JoinRefusal;
use crate::playback::{PlayChange, PlayId, StopPlay};
use crate::tap::TapSource;

/// A leg's new session, and an encode group for the case that its conference has none that serves it.
pub(crate) struct Renegotiation {
    pub(crate) session: Session,
    pub(crate) group: Option<Box<EncodeGroup>>,
}

/// What a leg that joins brings along, allocated beforehand.
pub(crate) struct Brought {
    /// For the case that the conference has none that serves the leg.
    pub(crate) group: Option<Box<EncodeGroup>>,
    /// For the case that the conference is recorded with tracks.
    pub(crate) track: Option<Box<Track>>,
}

/// One command to a shard. It takes effect before the shard's next tick.
pub(crate) enum Command<S> {
    /// Takes a leg in.
    AddLeg {
        at: LegKey,
        leg: Box<Leg<S>>,
    },
    /// Gives a leg back, out of its conference: to be closed (with an RTCP BYE) or to move to another shard.
    TakeLeg {
        at: LegKey,
        bye: bool,
        reply: oneshot::Sender<Box<Leg<S>>>,
    },
    /// Changes a leg's session.
    Renegotiate {
        at: LegKey,
        new: Box<Renegotiation>,
    },
    /// Mixes a leg into a conference of this shard.
    Join {
        leg: LegKey,
        conference: ConferenceKey,
        options: JoinOptions,
        brought: Brought,
        /// Told what came of it.
        reply: oneshot::Sender<Result<(), JoinRefusal>>,
    },
    /// Takes a leg out of its conference.
    Leave {
        leg: LegKey,
    },
    SetMuted {
        leg: LegKey,
        muted: bool,
    },
    SetDeaf {
        leg: LegKey,
        deaf: bool,
    },
    /// A digit that signalling brought.
    DigitByInfo {
        leg: LegKey,
        digit: DtmfDigit,
        duration_ms: u32,
    },
    /// Sends digits to a leg's peer; their places in its queue are taken already.
    Dial {
        leg: LegKey,
        dialling: Box<Dialling>,
    },
    /// Changes a leg in its conference's mix.
    Set {
        leg: LegKey,
        change: MixChange,
    },
    /// Changes what is done with a leg's audio before it is mixed.
    Process {
        leg: LegKey,
        processing: Box<Processing>,
    },
    /// Lets out what a leg is heard to say, or no more.
    Tap {
        leg: LegKey,
        tap: Option<Box<TapSource>>,
    },
    /// Lets one leg of a conference hear another, or not, until either leaves.
    SetHeard {
        conference: ConferenceKey,
        talker: LegKey,
        listener: LegKey,
        heard: bool,
    },
    AddConference {
        at: ConferenceKey,
        conference: Box<ConferenceAudio>,
    },
    RemoveConference {
        at: ConferenceKey,
    },
    /// Gives a conference room for more legs.
    Grow {
        at: ConferenceKey,
        storage: Box<ConferenceStorage>,
    },
    /// Raises the rate of a conference's mix.
    RaiseRate {
        at: ConferenceKey,
        change: Box<RateChange>,
    },
    SetEnergyLevel {
        conference: ConferenceKey,
        energy_level: u16,
    },
    Play {
        conference: ConferenceKey,
        to: Audience,
        play: Box<Playing>,
    },
    /// Changes what plays.
    ChangePlay {
        conference: ConferenceKey,
        to: Audience,
        play: PlayId,
        change: PlayChange,
    },
    /// Records a conference.
    Record {
        conference: ConferenceKey,
        recording: Box<Recording>,
    },
    StopPlay {
        conference: ConferenceKey,
        to: Audience,
        what: StopPlay,
    },
}

/// Who hears a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Everybody,
    Waiting,
    One(LegKey),
}

/// A change of one leg in the mix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MixChange {
    Held(bool),
    InputGainDb(f32),
    OutputGainDb(f32),
    EnergyLevel(u16),
    DistributeDigits(bool),
}

/// What leaves a shard.
pub(crate) enum Returned<S> {
    /// A leg and who waits for it.
    Leg {
        leg: Box<Leg<S>>,
        reply: oneshot::Sender<Box<Leg<S>>>,
    },
    /// Who waits for a leg that is not there.
    NoLeg { reply: oneshot::Sender<Box<Leg<S>>> },
    /// What came of a join, who waits for it, and what was not needed.
    Joined {
        reply: oneshot::Sender<Result<(), JoinRefusal>>,
        outcome: Result<(), JoinRefusal>,
        spare: Brought,
    },
    /// Something that is only to be freed.
    Garbage(Garbage),
}

/// Anything allocated that nobody wants any more.
pub(crate) type Garbage = Box<dyn Send>;
