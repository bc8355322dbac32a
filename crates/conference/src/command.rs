//! Owns the way in: commands, controls, replies and refusals. Never changes state itself.

use std::sync::Arc;

use thiserror::Error;

use crate::{
    Audience, Caller, DigitString, Entry, MediaName, Moment, OwedKey, ParticipantId, ParticipantState,
    PlayFailure, PlayNumber, Relationship, Role, Settings, Snapshot, StopPlay, Volume,
};

/// Everything a conference can be asked or told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Holds a place for a caller who is about to join. Answered by [`Reply::Reserved`].
    Reserve {
        /// Who wants to join.
        caller: Caller,
        /// In which role.
        role: Role,
        /// On which way.
        entry: Entry,
    },
    /// Turns a reservation into a participant. Answered by [`Reply::Joined`].
    Join {
        /// The id that the reservation was given.
        participant: ParticipantId,
    },
    /// Gives a reservation back that will not be used.
    Release {
        /// The id that the reservation was given.
        participant: ParticipantId,
    },
    /// Takes a participant off the roster whose call has ended.
    Leave {
        /// Who left.
        participant: ParticipantId,
        /// Why.
        cause: LeaveCause,
    },
    /// Shows another caller as a participant from now on: he has taken over the leg.
    Replace {
        /// Whose place he has taken.
        participant: ParticipantId,
        /// Who he is.
        caller: Caller,
    },
    /// Performs an operator's control.
    Control(Control),
    /// Reports that a participant started or stopped talking.
    Talking {
        /// Whose state changed.
        participant: ParticipantId,
        /// Whether he talks from here on.
        talking: bool,
    },
    /// Reports a participant's last energy score. Only the last one is kept.
    Energy {
        /// Whose score.
        participant: ParticipantId,
        /// Mean of absolute 16-bit samples over the last frame.
        score: u16,
    },
    /// Reports that the floor has passed to another participant, or to nobody.
    Floor {
        /// The loudest sustained talker, by the mixer's judgement.
        holder: Option<ParticipantId>,
    },
    /// Reports that digits which were asked for are on their way to a participant.
    DigitsSent {
        /// Whose phone gets them.
        participant: ParticipantId,
    },
    /// Tells how late it is: what was due by then happens. See [`Conference::deadline`](crate::Conference::deadline).
    Advance {
        /// Never earlier than the last one.
        now: Moment,
    },
    /// Tells that a caller whose place is held may press a key yet that belongs to what was asked of him before.
    Owes {
        /// The id that the reservation was given.
        participant: ParticipantId,
        /// Which.
        key: OwedKey,
    },
    /// Gives a caller whose place is held the name that is announced when he comes and goes.
    Name {
        /// The id that the reservation was given.
        participant: ParticipantId,
        /// What says it.
        name: MediaName,
    },
    /// Says who takes a place that was held before that was known.
    Identify {
        /// The id that the reservation was given.
        participant: ParticipantId,
        /// Who he is.
        caller: Caller,
    },
    /// Reports that a participant has pressed a key of his phone, and does what the key means to him.
    KeyPressed {
        /// Whose phone.
        participant: ParticipantId,
        /// `0`..`9`, `*`, `#`, `A`..`D`.
        key: char,
    },
    /// Reports that a play can be heard from now on.
    PlayStarted {
        /// Which play, as [`Effect::Play`](crate::Effect::Play) named it.
        play: PlayNumber,
    },
    /// Reports that a play is over: played to its end, or stopped, be it before it began.
    PlayEnded {
        /// Which play.
        play: PlayNumber,
    },
    /// Reports that a play will not be heard because what it names cannot be had.
    PlayFailed {
        /// Which play.
        play: PlayNumber,
        /// Why.
        failure: PlayFailure,
    },
    /// Reports that a participant does not hear an announcement to everybody, because something plays to him alone.
    PlayMissed {
        /// The announcement.
        play: PlayNumber,
        /// Who does not hear it.
        participant: ParticipantId,
    },
    /// Reports that the recording that was asked for has begun.
    RecordingStarted {
        /// Under which id it is kept.
        id: Arc<str>,
    },
    /// Reports that the recording that was asked for cannot be made.
    RecordingFailed {
        /// Why.
        problem: Arc<str>,
    },
    /// Reports that nothing of the recording can be written at the moment, or that it can again.
    RecordingTrouble {
        /// Why; `None` when it can.
        problem: Option<Arc<str>>,
    },
    /// Replaces the settings: joiners from here on and the participant limit follow them, the running mix does not.
    Update(Settings),
    /// Asks for a reading of the state. Answered by [`Reply::Snapshot`].
    Snapshot,
    /// Ends the conference: everybody is hung up, reservations lapse.
    End {
        /// The cause given to each participant.
        cause: LeaveCause,
    },
}

/// What an operator can do to a running conference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// Takes the participant's audio out of the mix. Repeating it repeats the event.
    Mute(ParticipantId),
    /// Lets the participant be heard again. Repeating it repeats the event.
    Unmute(ParticipantId),
    /// Sends the participant silence. Repeating it repeats the event.
    Deaf(ParticipantId),
    /// Lets the participant hear again. Repeating it repeats the event.
    Undeaf(ParticipantId),
    /// Removes the participant and hangs up his call.
    Kick(ParticipantId),
    /// Takes the participant out of the mix, neither heard nor hearing it. Repeating it repeats the event.
    Hold(ParticipantId),
    /// Lets the participant into the mix again. Repeating it repeats the event.
    Unhold(ParticipantId),
    /// Sets the gain of what comes from the participant. Repeating it repeats the event.
    SetVolumeIn(ParticipantId, Volume),
    /// Sets the gain of what goes to the participant. Repeating it repeats the event.
    SetVolumeOut(ParticipantId, Volume),
    /// Sets the threshold of the participant's talk gate, 0..=1800. Repeating it repeats the event.
    SetEnergy(ParticipantId, u16),
    /// Switches the automatic gain of what comes from the participant. Repeating it repeats the event.
    SetAgc(ParticipantId, bool),
    /// Switches the noise suppression of what comes from the participant. Repeating it repeats the event.
    SetDenoise(ParticipantId, bool),
    /// Sends digits to the participant's far end. Each time an event of its own, which does not tell them.
    SendDigits(ParticipantId, DigitString),
    /// Shows that the participant asks for the floor. Repeating it repeats the event.
    RaiseHand(ParticipantId),
    /// Shows that he no longer does. Repeating it repeats the event.
    LowerHand(ParticipantId),
    /// Replaces the participant's record about another one. No event tells it; both records end when either leaves.
    Relate {
        /// Whose record.
        participant: ParticipantId,
        /// About whom.
        other: ParticipantId,
        /// What it says from here on.
        relationship: Relationship,
    },
    /// Plays something to somebody, behind what plays to him already.
    Play {
        /// What.
        media: MediaName,
        /// To whom.
        audience: Audience,
    },
    /// Stops what plays to somebody. Nothing to stop is no error.
    StopPlay {
        /// Whose plays. What everybody hears goes on when one participant's are stopped, and the other way round.
        audience: Audience,
        /// Which of them.
        which: StopPlay,
    },
    /// Mutes every member who is not muted; moderators are left alone.
    MuteAll,
    /// Unmutes every muted member; moderators are left alone.
    UnmuteAll,
    /// Deafens every member who hears; moderators are left alone.
    DeafAll,
    /// Undeafens every deaf member; moderators are left alone.
    UndeafAll,
    /// Kicks everybody, moderators and ghosts included.
    KickAll,
    /// Ends the conference: everybody is hung up, and who is on his way in finds it gone.
    End,
    /// Records the conference from here on. Where it is recorded already, that goes on as it is.
    StartRecording {
        /// With a track of each participant, or not; `None`: as the settings say.
        tracks: Option<bool>,
    },
    /// Ends the recording. Nothing to end is no error.
    StopRecording,
    /// Takes nothing more into the recording for the time being. Repeating it repeats the event.
    PauseRecording,
    /// Lets the recording go on. Repeating it repeats the event.
    ResumeRecording,
    /// Refuses callers from here on. Repeating it repeats the event.
    Lock,
    /// Admits callers again. Repeating it repeats the event.
    Unlock,
}

/// Why a participant is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaveCause {
    /// The far end hung up.
    HungUp,
    /// An operator kicked the participant.
    Kicked,
    /// An operator moved the participant to another conference. His call goes on there.
    Moved,
    /// The conference was ended by an operator.
    ConferenceEnded,
    /// Nothing was heard of the far end any more: no media, no answer to the probes.
    MediaTimeout,
    /// The call broke down in signalling: no ACK, transport lost, failed re-negotiation.
    CallFailed,
    /// The server is going down.
    ServerShutdown,
}

impl LeaveCause {
    /// Returns the cause as one lower-case word with underscores, for logs and records.
    pub fn as_str(self) -> &'static str {
        match self {
            LeaveCause::HungUp => "hung_up",
            LeaveCause::Kicked => "kicked",
            LeaveCause::Moved => "moved",
            LeaveCause::ConferenceEnded => "conference_ended",
            LeaveCause::MediaTimeout => "media_timeout",
            LeaveCause::CallFailed => "call_failed",
            LeaveCause::ServerShutdown => "server_shutdown",
        }
    }
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A place is held under this id.
    Reserved(ParticipantId),
    /// The participant is in, with this state.
    Joined(ParticipantState),
    /// The state at this moment.
    Snapshot(Snapshot),
    /// Carried out; there is nothing to tell.
    Done,
}

/// Why a command was not carried out. The state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The conference is locked and the caller dialled in.
    #[error("the conference is locked")]
    Locked,
    /// As many participants as the settings allow are in or about to join.
    #[error("the conference is full")]
    Full,
    /// The instance has ended; the caller may start another one.
    #[error("the conference has ended")]
    Ended,
    /// Nobody has joined yet: there is nothing to control and nothing to show.
    #[error("the conference is not running")]
    NotRunning,
    /// No participant of this id is on the roster (or, for a join, no reservation).
    #[error("no participant {0}")]
    UnknownParticipant(ParticipantId),
    /// A participant was to be related to himself.
    #[error("participant {0} cannot be related to himself")]
    RelatedToSelf(ParticipantId),
    /// There is no recording to be paused or to go on.
    #[error("the conference is not recorded")]
    NotRecording,
    /// The recording could not be begun.
    #[error("the recording cannot be written")]
    Recording,
    /// As many plays wait for this audience as may.
    #[error("too many plays are waiting")]
    TooManyPlays,
    /// The participant's phone takes no keys: it has agreed to no telephone-events.
    #[error("participant {0} takes no digits: his phone has agreed to no telephone-events")]
    NoTelephoneEvents(ParticipantId),
    /// A participant was to be moved to the conference that he is in.
    #[error("participant {0} is in this conference already")]
    MovedToSame(ParticipantId),
    /// Keys sent before are still waiting.
    #[error("too many digits are waiting for participant {0}")]
    TooManyDigits(ParticipantId),
    /// The server is going down and starts nothing new.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The media plane did not take the leg or the conference.
    #[error("the media plane refused")]
    Media,
}
