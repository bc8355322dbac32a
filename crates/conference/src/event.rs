//! Owns the way out: events for whoever watches, effects for whoever acts. Never delivers them.

use std::sync::Arc;

use crate::{
    AccountId, Audience, ConferenceId, DigitString, GregorianSeconds, Hearing, InstanceId, LeaveCause,
    Manner, MediaName, ParticipantId, ParticipantState, PlayFailure, PlayNumber, RecordingChoice, StopPlay,
    Volume,
};

/// What happened. The names are those of the outside contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The first participant is joining; always sequence 1.
    ConferenceCreate,
    /// The last participant has left; always the last event.
    ConferenceDestroy,
    /// The conference was locked (or the lock asked for again).
    Lock,
    /// The conference was unlocked (or the unlock asked for again).
    Unlock,
    /// The floor passed to the participant carried here, or to nobody. Not sent when its holder leaves: `del-member`
    /// says so.
    FloorChange,
    /// A participant joined.
    AddMember,
    /// A participant left; his last state is carried here.
    DelMember(LeaveCause),
    /// An operator removes a participant; `del-member` follows at once.
    KickMember,
    /// The server hangs a participant up because the conference ends; `del-member` follows at once.
    HupMember,
    /// A participant began to talk.
    StartTalking,
    /// A participant stopped talking, or was muted while he talked.
    StopTalking,
    /// A participant was muted.
    MuteMember,
    /// A participant was unmuted.
    UnmuteMember,
    /// A participant was made deaf.
    DeafMember,
    /// A participant can hear again.
    UndeafMember,
    /// A participant was put on hold by an operator.
    HoldMember,
    /// A participant was let into the mix again.
    UnholdMember,
    /// The first moderator is there: a member who has waited for one is let into the mix.
    ReleaseMember,
    /// Somebody else has taken the place of a participant, on another phone: his name and number are carried here.
    ReplaceMember,
    /// The gain of what comes from a participant was set.
    VolumeInMember,
    /// The gain of what goes to a participant was set.
    VolumeOutMember,
    /// The threshold of a participant's talk gate was set.
    EnergyLevelMember,
    /// A participant's automatic gain was switched.
    AgcMember,
    /// A participant's noise suppression was switched.
    DenoiseMember,
    /// A participant raised his hand.
    RaiseHandMember,
    /// A participant's hand is down again.
    LowerHandMember,
    /// What an operator asked for begins to play to everybody.
    PlayFile,
    /// It is over.
    PlayFileDone,
    /// What an operator asked for begins to play to one participant.
    PlayFileMember,
    /// It is over. Told before the participant leaves.
    PlayFileMemberDone,
    /// What an operator asked to be played to everybody cannot be had: nothing was heard of it, and what is behind it is next.
    PlayFileFailed(PlayFailure),
    /// The same of what was asked to be played to one participant.
    PlayFileMemberFailed(PlayFailure),
    /// The tone of somebody's coming begins to play to everybody.
    EnterSound,
    /// The tone of somebody's leaving begins to play to everybody.
    ExitSound,
    /// The conference is recorded from here on.
    StartRecording,
    /// It is not recorded any more.
    StopRecording,
    /// The recording takes nothing in for the time being.
    PauseRecording,
    /// The recording goes on.
    ResumeRecording,
    /// A recording that was asked for could not be begun.
    RecordingFailed,
    /// Nothing of the recording can be written at the moment: the disk is full, too slow, or gone.
    RecordingFailing,
    /// It can be written again; what was not is silence in it.
    RecordingRecovered,
    /// Digits were sent to a participant's far end.
    DtmfMember,
    /// A participant pressed a key of his phone: `0`..`9`, `*`, `#`, `A`..`D`. Named like digits that were sent.
    KeyMember(char),
    /// A participant pressed keys that make an event with a text ([`Event::data`]).
    KeyEventMember,
    /// A source of calls has guessed too many PINs and is refused for a while ([`Event::guessed`]). No part of a run.
    PinGuardBlock {
        /// For how long, in seconds.
        seconds: u32,
    },
}

impl EventKind {
    /// The names of all events about one leg.
    pub const LEG_NAMES: &[&str] = &[
        "add-member",
        "del-member",
        "kick-member",
        "hup-member",
        "start-talking",
        "stop-talking",
        "mute-member",
        "unmute-member",
        "deaf-member",
        "undeaf-member",
        "hold-member",
        "unhold-member",
        "release-member",
        "replace-member",
        "volume-in-member",
        "volume-out-member",
        "energy-level-member",
        "agc-member",
        "denoise-member",
        "raise-hand-member",
        "lower-hand-member",
        "dtmf-member",
        "key-event-member",
        "play-file-member",
        "play-file-member-done",
        "play-file-member-failed",
    ];

    /// The names of all events about a conference.
    pub const CONFERENCE_NAMES: &[&str] = &[
        "conference-create",
        "conference-destroy",
        "lock",
        "unlock",
        "floor-change",
        "enter-sound",
        "exit-sound",
        "play-file",
        "play-file-done",
        "play-file-failed",
        "start-recording",
        "stop-recording",
        "pause-recording",
        "resume-recording",
        "recording-failed",
        "recording-failing",
        "recording-recovered",
        "pin-guard-block",
    ];

    /// Returns the name of the event in the outside contract, e.g. `add-member`.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::ConferenceCreate => "conference-create",
            EventKind::ConferenceDestroy => "conference-destroy",
            EventKind::Lock => "lock",
            EventKind::Unlock => "unlock",
            EventKind::FloorChange => "floor-change",
            EventKind::AddMember => "add-member",
            EventKind::DelMember(_) => "del-member",
            EventKind::KickMember => "kick-member",
            EventKind::HupMember => "hup-member",
            EventKind::StartTalking => "start-talking",
            EventKind::StopTalking => "stop-talking",
            EventKind::MuteMember => "mute-member",
            EventKind::UnmuteMember => "unmute-member",
            EventKind::DeafMember => "deaf-member",
            EventKind::UndeafMember => "undeaf-member",
            EventKind::HoldMember => "hold-member",
            EventKind::UnholdMember => "unhold-member",
            EventKind::ReleaseMember => "release-member",
            EventKind::ReplaceMember => "replace-member",
            EventKind::VolumeInMember => "volume-in-member",
            EventKind::VolumeOutMember => "volume-out-member",
            EventKind::EnergyLevelMember => "energy-level-member",
            EventKind::AgcMember => "agc-member",
            EventKind::DenoiseMember => "denoise-member",
            EventKind::RaiseHandMember => "raise-hand-member",
            EventKind::LowerHandMember => "lower-hand-member",
            EventKind::PlayFile => "play-file",
            EventKind::PlayFileDone => "play-file-done",
            EventKind::PlayFileMember => "play-file-member",
            EventKind::PlayFileMemberDone => "play-file-member-done",
            EventKind::PlayFileFailed(_) => "play-file-failed",
            EventKind::PlayFileMemberFailed(_) => "play-file-member-failed",
            EventKind::EnterSound => "enter-sound",
            EventKind::ExitSound => "exit-sound",
            EventKind::StartRecording => "start-recording",
            EventKind::StopRecording => "stop-recording",
            EventKind::PauseRecording => "pause-recording",
            EventKind::ResumeRecording => "resume-recording",
            EventKind::RecordingFailed => "recording-failed",
            EventKind::RecordingFailing => "recording-failing",
            EventKind::RecordingRecovered => "recording-recovered",
            EventKind::DtmfMember | EventKind::KeyMember(_) => "dtmf-member",
            EventKind::KeyEventMember => "key-event-member",
            EventKind::PinGuardBlock { .. } => "pin-guard-block",
        }
    }

    /// Returns whether the event is about one leg (and names its call) rather than about the conference.
    pub fn is_about_leg(self) -> bool {
        match self {
            EventKind::ConferenceCreate
            | EventKind::ConferenceDestroy
            | EventKind::Lock
            | EventKind::Unlock
            | EventKind::FloorChange
            | EventKind::PlayFile
            | EventKind::PlayFileDone
            | EventKind::PlayFileFailed(_)
            | EventKind::EnterSound
            | EventKind::ExitSound
            | EventKind::StartRecording
            | EventKind::StopRecording
            | EventKind::PauseRecording
            | EventKind::ResumeRecording
            | EventKind::RecordingFailed
            | EventKind::RecordingFailing
            | EventKind::RecordingRecovered
            | EventKind::PinGuardBlock { .. } => false,
            EventKind::AddMember
            | EventKind::DelMember(_)
            | EventKind::KickMember
            | EventKind::HupMember
            | EventKind::StartTalking
            | EventKind::StopTalking
            | EventKind::MuteMember
            | EventKind::UnmuteMember
            | EventKind::DeafMember
            | EventKind::UndeafMember
            | EventKind::HoldMember
            | EventKind::UnholdMember
            | EventKind::ReleaseMember
            | EventKind::ReplaceMember
            | EventKind::VolumeInMember
            | EventKind::VolumeOutMember
            | EventKind::EnergyLevelMember
            | EventKind::AgcMember
            | EventKind::DenoiseMember
            | EventKind::RaiseHandMember
            | EventKind::LowerHandMember
            | EventKind::DtmfMember
            | EventKind::KeyMember(_)
            | EventKind::KeyEventMember
            | EventKind::PlayFileMember
            | EventKind::PlayFileMemberDone
            | EventKind::PlayFileMemberFailed(_) => true,
        }
    }
}

/// One change of a conference's state, complete enough to follow the state by events alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts the events of this instance: 1, 2, 3, … without gaps. 0 for what is no part of a run.
    pub sequence: u64,
    /// The owning account.
    pub account: AccountId,
    /// The conference.
    pub conference: ConferenceId,
    /// The run of the conference that `sequence` counts in; for what is no part of a run, an id of this event alone.
    pub instance_id: InstanceId,
    /// When it happened, by the wall clock.
    pub at: GregorianSeconds,
    /// What happened.
    pub kind: EventKind,
    /// The participant it happened to, in the state after the event (for `del-member`: the last state). Present for
    /// every leg event, and for `floor-change` unless the floor is free.
    pub participant: Option<ParticipantState>,
    /// What plays (`file` outside), or as what it is recorded. Present for the `play-file` events, `enter-sound`, `exit-sound`, and
    /// those of a recording but `recording-failed`.
    pub file: Option<MediaName>,
    /// What the keys say, which source is refused, or why nothing can be recorded. Present for `key-event-member`, `pin-guard-block`,
    /// `recording-failed` and `recording-failing`, and no other.
    pub data: Option<Arc<str>>,
}

impl Event {
    /// Returns the event of a source that is refused for so many seconds because of what was tried last for this conference, running or
    /// not. `id` is unlike that of any other event and of any instance.
    pub fn guessed(
        account: AccountId,
        conference: ConferenceId,
        id: InstanceId,
        at: GregorianSeconds,
        source: &str,
        seconds: u32,
    ) -> Event {
        Event {
            sequence: 0,
            account,
            conference,
            instance_id: id,
            at,
            kind: EventKind::PinGuardBlock { seconds },
            participant: None,
            file: None,
            data: Some(Arc::from(source)),
        }
    }

    /// Returns whether the event belongs to a run of its conference, and has a place in the order of its events.
    pub fn is_of_run(&self) -> bool {
        self.sequence > 0
    }
}

/// What the owner of the conference has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Keep the leg's audio out of the mix, or let it in.
    SetMuted {
        /// Whose leg.
        participant: ParticipantId,
        /// The new state.
        muted: bool,
    },
    /// Send the leg silence, or the mix.
    SetDeaf {
        /// Whose leg.
        participant: ParticipantId,
        /// The new state.
        deaf: bool,
    },
    /// Take the leg out of the mix both ways without ending its call, or let it in again: it is on hold or waits.
    SetHeld {
        /// Whose leg.
        participant: ParticipantId,
        /// The new state.
        held: bool,
    },
    /// Let one leg hear another, or not. Ends when either leg leaves the mix; that is not asked for.
    SetHeard(Hearing),
    /// Amplify what comes from the leg.
    SetVolumeIn {
        /// Whose leg.
        participant: ParticipantId,
        /// The new gain.
        volume: Volume,
    },
    /// Amplify what goes to the leg.
    SetVolumeOut {
        /// Whose leg.
        participant: ParticipantId,
        /// The new gain.
        volume: Volume,
    },
    /// Send digits to the leg's peer.
    SendDigits {
        /// Whose leg.
        participant: ParticipantId,
        /// The digits.
        digits: DigitString,
    },
    /// Move the participant to the conference of the account that has this number. Where that cannot be done, he is told so by
    /// [`Conference::transfer_failed`](crate::Conference::transfer_failed).
    Transfer {
        /// Who.
        participant: ParticipantId,
        /// As it stands in the document.
        number: Arc<str>,
    },
    /// An application is asked for that no event can stand for: nothing runs it.
    Execute {
        /// For whom.
        participant: ParticipantId,
        /// As it stands in the document.
        application: Arc<str>,
    },
    /// Set the threshold of the leg's talk gate.
    SetEnergyLevel {
        /// Whose leg.
        participant: ParticipantId,
        /// The new threshold, 0..=1800.
        level: u16,
    },
    /// Switch the automatic gain of what comes from the leg.
    SetAgc {
        /// Whose leg.
        participant: ParticipantId,
        /// The new state.
        on: bool,
    },
    /// Send the keys that are pressed on the leg on to all others.
    DistributeKeys {
        /// Whose leg.
        participant: ParticipantId,
    },
    /// Switch the noise suppression of what comes from the leg.
    SetDenoise {
        /// Whose leg.
        participant: ParticipantId,
        /// The new state.
        on: bool,
    },
    /// Play something, and tell when it starts and when it is over. The core is told of the end of every play, except of those
    /// that end with their hearer or the conference.
    Play {
        /// What the play is called in later reports.
        play: PlayNumber,
        /// Who hears it.
        audience: Audience,
        /// What it is, one after the other. Of several, what cannot be had is left out.
        media: Vec<MediaName>,
        /// How it stands to what else plays.
        manner: Manner,
        /// How far speech lowers it, in dB, 0..=30.
        duck_db: u8,
    },
    /// Stop one play, be it heard or not. Its end is to be told as ever.
    CancelPlay {
        /// Which.
        play: PlayNumber,
        /// Who hears it.
        audience: Audience,
    },
    /// Stop what plays to the audience. The end of each play is to be told as ever.
    StopPlay {
        /// Whose plays.
        audience: Audience,
        /// Which of them.
        which: StopPlay,
    },
    /// Record the conference, and tell whether that has begun: [`Conference::recording_started`](crate::Conference::recording_started) and
    /// [`Conference::recording_failed`](crate::Conference::recording_failed).
    StartRecording(RecordingChoice),
    /// Take nothing into the recording, or go on.
    PauseRecording(bool),
    /// End the recording.
    StopRecording,
    /// Take the leg out of the mix and end its call. The participant is off the roster already.
    HangUp {
        /// Whose leg.
        participant: ParticipantId,
        /// Why.
        cause: LeaveCause,
        /// What he is to hear, alone and out of the mix, before his call ends.
        farewell: Option<MediaName>,
    },
    /// Free what belongs to the conference. Always the last output.
    Destroy,
}

/// One output of a conference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To be published; shared, because it goes to many subscribers.
    Event(Arc<Event>),
    /// To be performed.
    Effect(Effect),
}
