//! Owns what a conference document means for a running conference. Never knows the document's shape.

use crate::MediaName;

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
/// The defaults are those of an empty conference document: members join muted, moderators do not, nobody joins deaf,
/// no limit on participants, a little comfort noise, tones when somebody comes or goes, nothing done to what talkers send.
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
}

impl Settings {
    /// Returns how participants of `role` enter.
    pub fn role(&self, role: crate::Role) -> RoleSettings {
        match role {
            crate::Role::Member => self.member,
            crate::Role::Moderator => self.moderator,
        }
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
        }
    }
}
