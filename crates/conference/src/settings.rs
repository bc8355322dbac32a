//! Owns what a conference document means for a running conference. Never knows the document's shape.

use crate::{KeyMap, MediaName, RecordingFormat, Role, Sounds};

/// How participants of one role enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleSettings {
    /// Joins unable to speak.
    pub join_muted: bool,
    /// Joins unable to hear.
    pub join_deaf: bool,
}

/// The settings a conference runs with.
///
/// The defaults are those of an empty conference document, but for prompts and hold music ([`Sounds`]): members join muted, moderators do
/// not, nobody joins deaf, no limit on participants, a little comfort noise, tones when somebody comes or goes, nothing done to what
/// talkers send, nobody waits for a moderator, nothing is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The display name, empty when the document has none.
    pub name: String,
    /// The most participants admitted, ghosts not counted. `None`, 0 and 1 mean unlimited.
    pub max_participants: Option<u32>,
    /// How members enter.
    pub member: RoleSettings,
    /// How moderators enter.
    pub moderator: RoleSettings,
    /// The talk gate's threshold as a mean of absolute 16-bit samples, 0..=1800; 0 keeps the gate open.
    pub energy_level: u16,
    /// The fixed mixing rate in Hz, or `None` to follow the legs.
    pub rate_hz: Option<u32>,
    /// The mixing interval in milliseconds, 10..=120.
    pub interval_ms: u16,
    /// The comfort noise as the profile tells it, 0..=10000: 0 for none, else the larger the quieter.
    pub comfort_noise: u16,
    /// How far speech lowers what plays to everybody, in dB, 0..=30.
    pub duck_db: u8,
    /// What everybody hears when somebody joins others; `None` for nothing.
    pub entry_tone: Option<MediaName>,
    /// What those who stay hear when somebody leaves; `None` for nothing.
    pub exit_tone: Option<MediaName>,
    /// What joiners send is levelled out.
    pub auto_gain: bool,
    /// Steady noise is taken out of what joiners send.
    pub denoise: bool,
    /// Members wait outside the mix until the first moderator has joined.
    pub wait_for_moderator: bool,
    /// The same; and the conference ends when the last moderator has left.
    pub require_moderator: bool,
    /// How long it goes on after that, in milliseconds, at most.
    pub end_grace_ms: u32,
    /// It is recorded from the first join on.
    pub record: bool,
    /// Recordings have a track of each participant, unless who asks for one says otherwise.
    pub record_tracks: bool,
    /// As what their mix is kept.
    pub record_format: RecordingFormat,
    /// Participants are told that they are recorded.
    pub announces_recording: bool,
    /// What is heard beside the tones.
    pub sounds: Sounds,
    /// What keys do that members press.
    pub member_keys: KeyMap,
    /// What keys do that moderators press.
    pub moderator_keys: KeyMap,
}

impl Settings {
    /// Time between the last moderator's leaving and the end, unless the settings say otherwise: enough to say so.
    pub const END_GRACE_MS: u32 = 1800;

    /// Returns how participants of `role` enter.
    pub fn role(&self, role: Role) -> RoleSettings {
        match role {
            Role::Member => self.member,
            Role::Moderator => self.moderator,
        }
    }

    /// Returns what keys do that somebody of this role presses.
    pub fn keys(&self, role: Role) -> &KeyMap {
        match role {
            Role::Member => &self.member_keys,
            Role::Moderator => &self.moderator_keys,
        }
    }

    /// Returns whether members who come before the first moderator wait.
    pub fn waits_for_moderator(&self) -> bool {
        self.wait_for_moderator || self.require_moderator
    }

    /// Returns the tone when somebody of this role joins others.
    pub(crate) fn tone_of_entry(&self, role: Role) -> Option<MediaName> {
        own(&self.entry_tone, &self.sounds.moderator_entry, role)
    }

    /// Returns the tone when somebody of this role leaves others.
    pub(crate) fn tone_of_exit(&self, role: Role) -> Option<MediaName> {
        own(&self.exit_tone, &self.sounds.moderator_exit, role)
    }

    /// Returns the effective limit on participants, `None` when unlimited.
    pub fn participant_limit(&self) -> Option<usize> {
        self.max_participants
            .filter(|&limit| limit > 1)
            .map(|limit| limit as usize)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: String::new(),
            max_participants: None,
            member: RoleSettings {
                join_muted: true,
                join_deaf: false,
            },
            moderator: RoleSettings::default(),
            energy_level: 20,
            rate_hz: None,
            interval_ms: 20,
            comfort_noise: 1000,
            duck_db: 0,
            entry_tone: Some(MediaName::ENTRY_TONE.into()),
            exit_tone: Some(MediaName::EXIT_TONE.into()),
            auto_gain: false,
            denoise: false,
            wait_for_moderator: false,
            require_moderator: false,
            end_grace_ms: Settings::END_GRACE_MS,
            record: false,
            record_tracks: false,
            record_format: RecordingFormat::default(),
            announces_recording: true,
            sounds: Sounds::default(),
            member_keys: KeyMap::default(),
            moderator_keys: KeyMap::default(),
        }
    }
}

/// Returns a tone, or what moderators have in its place.
fn own(tone: &Option<MediaName>, of_moderators: &Option<MediaName>, role: Role) -> Option<MediaName> {
    let tone = tone.as_ref()?;
    let own = of_moderators.as_ref().filter(|_| role == Role::Moderator);
    Some(own.unwrap_or(tone).clone())
}
