//! Owns readings of a conference's state and how a reading follows the events. Never decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::{
    AccountId, Caller, ConferenceId, Event, EventKind, GregorianSeconds, InstanceId, MediaState,
    ParticipantId, RecordingState, Role, Volume,
};

/// One participant as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantState {
    /// The participant.
    pub id: ParticipantId,
    /// Who he is.
    pub caller: Caller,
    /// His role.
    pub role: Role,
    /// When he joined.
    pub join_time: GregorianSeconds,
    /// He is not heard (`speak: false` outside).
    pub muted: bool,
    /// He does not hear (`hear: false` outside).
    pub deaf: bool,
    /// He is talking; never together with `muted`, `held` or `waiting`.
    pub talking: bool,
    /// He has the floor; at most one participant has.
    pub floor: bool,
    /// His talk gate's threshold, 0..=1800.
    pub energy_level: u16,
    /// His last energy score. Follows no event.
    pub current_energy: u16,
    /// Listed and mixed, but not counted.
    pub ghost: bool,
    /// Held until a moderator comes.
    pub waiting: bool,
    /// Put on hold by an operator: neither heard nor hearing the mix.
    pub held: bool,
    /// Gain of what comes from him.
    pub volume_in: Volume,
    /// Gain of what goes to him.
    pub volume_out: Volume,
    /// What comes from him is levelled out.
    pub agc: bool,
    /// Steady noise is taken out of what comes from him.
    pub denoise: bool,
    /// He asks for the floor.
    pub hand_raised: bool,
}

impl ParticipantState {
    /// Returns the SIP Call-ID of the participant's leg.
    pub fn call_id(&self) -> &str {
        &self.caller.call_id
    }

    /// Returns whether he is out of the mix both ways.
    pub fn is_out_of_mix(&self) -> bool {
        self.held || self.waiting
    }

    /// Returns whether nobody may hear him.
    pub fn is_silenced(&self) -> bool {
        self.muted || self.held || self.waiting
    }

    /// Returns whether the floor may be his.
    pub(crate) fn may_have_floor(&self) -> bool {
        !self.is_silenced() && !self.ghost
    }
}

/// A conference's state at one point of its event sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The owning account.
    pub account_id: AccountId,
    /// The conference.
    pub conference_id: ConferenceId,
    /// The run of the conference.
    pub instance_id: InstanceId,
    /// The sequence of the last event contained.
    pub sequence: u64,
    /// When the instance started.
    pub started: GregorianSeconds,
    /// Whether callers are refused.
    pub locked: bool,
    /// What is recorded.
    pub recording: Option<RecordingState>,
    /// Everybody on the roster, ghosts included, by ascending id.
    pub participants: Vec<ParticipantState>,
    /// Their media, for those about whom it is known. The core leaves it empty, and no event tells it.
    pub media: BTreeMap<ParticipantId, MediaState>,
}

/// Why a reading could not follow an event: it must be taken anew.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Discontinuity {
    /// The event belongs to another run.
    #[error("event of instance {found}, expected {expected}")]
    OtherInstance {
        /// The reading's instance.
        expected: InstanceId,
        /// The event's instance.
        found: InstanceId,
    },
    /// Events in between were missed, or this one was seen before.
    #[error("event {found}, expected {expected}")]
    Gap {
        /// The sequence that would have followed.
        expected: u64,
        /// The event's sequence.
        found: u64,
    },
}

impl Snapshot {
    /// Returns the reading that an instance's first event stands for, `None` for any other event.
    pub fn begin(first: &Event) -> Option<Snapshot> {
        (first.kind == EventKind::ConferenceCreate && first.sequence == 1).then(|| Snapshot {
            account_id: first.account.clone(),
            conference_id: first.conference.clone(),
            instance_id: first.instance_id.clone(),
            sequence: first.sequence,
            started: first.at,
            locked: false,
            recording: None,
            participants: Vec::new(),
            media: BTreeMap::new(),
        })
    }

    /// Advances the reading by the next event of the same instance.
    ///
    /// The result equals a fresh reading at that sequence, `current_energy` excepted, which no event announces. What is no part of a
    /// run changes nothing.
    pub fn follow(&mut self, event: &Event) -> Result<(), Discontinuity> {
        if !event.is_of_run() {
            return Ok(());
        }
        if event.instance_id != self.instance_id {
            return Err(Discontinuity::OtherInstance {
                expected: self.instance_id.clone(),
                found: event.instance_id.clone(),
            });
        }
        if event.sequence != self.sequence + 1 {
            return Err(Discontinuity::Gap {
                expected: self.sequence + 1,
                found: event.sequence,
            });
        }
        self.sequence = event.sequence;
        match event.kind {
            EventKind::ConferenceCreate
            | EventKind::PlayFile
            | EventKind::PlayFileDone
            | EventKind::PlayFileFailed(_)
            | EventKind::EnterSound
            | EventKind::ExitSound
            | EventKind::RecordingFailed
            | EventKind::PinGuardBlock { .. } => {}
            EventKind::ConferenceDestroy => self.participants.clear(),
            EventKind::Lock => self.locked = true,
            EventKind::Unlock => self.locked = false,
            EventKind::StartRecording => {
                self.recording = event.file.as_ref().map(|file| RecordingState {
                    id: Arc::from(file.as_str()),
                    paused: false,
                    problem: None,
                });
            }
            EventKind::StopRecording => self.recording = None,
            EventKind::PauseRecording | EventKind::ResumeRecording => {
                if let Some(recording) = &mut self.recording {
                    recording.paused = event.kind == EventKind::PauseRecording;
                }
            }
            EventKind::RecordingFailing | EventKind::RecordingRecovered => {
                if let Some(recording) = &mut self.recording {
                    recording.problem = event.data.clone();
                }
            }
            EventKind::FloorChange => {
                let holder = event.participant.as_ref().map(|state| state.id);
                for state in &mut self.participants {
                    state.floor = Some(state.id) == holder;
                }
            }
            EventKind::DelMember(_) => {
                if let Some(gone) = &event.participant {
                    self.participants.retain(|state| state.id != gone.id);
                }
            }
            EventKind::AddMember
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
            | EventKind::PlayFileMemberFailed(_) => {
                if let Some(state) = &event.participant {
                    self.put(state.clone());
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, state: ParticipantState) {
        match self
            .participants
            .binary_search_by_key(&state.id, |known| known.id)
        {
            Ok(index) => self.participants[index] = state,
            Err(index) => self.participants.insert(index, state),
        }
    }

    /// Returns the participant of that id.
    pub fn participant(&self, id: ParticipantId) -> Option<&ParticipantState> {
        self.participants
            .binary_search_by_key(&id, |state| state.id)
            .ok()
            .map(|index| &self.participants[index])
    }

    /// Returns how many members there are, ghosts not counted.
    pub fn members(&self) -> usize {
        self.count(Role::Member)
    }

    /// Returns how many moderators there are, ghosts not counted.
    pub fn moderators(&self) -> usize {
        self.count(Role::Moderator)
    }

    /// Returns how many participants there are, ghosts not counted.
    pub fn participant_count(&self) -> usize {
        self.participants.iter().filter(|state| !state.ghost).count()
    }

    fn count(&self, role: Role) -> usize {
        self.participants
            .iter()
            .filter(|state| !state.ghost && state.role == role)
            .count()
    }

    /// Returns the whole seconds the instance has been running at `wall`.
    pub fn duration_s(&self, wall: GregorianSeconds) -> u64 {
        wall.seconds_since(self.started)
    }
}
