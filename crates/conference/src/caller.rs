//! Owns who is entering and how. Never decides whether he may.

use std::collections::BTreeMap;
use std::fmt;

use crate::{AccountId, MediaName, ParticipantId, Volume};

/// The part a participant plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes part; subject to the bulk controls.
    Member,
    /// Leads; exempt from bulk mute and deaf.
    Moderator,
}

/// How a participant comes into the conference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// The caller dialled the conference: the lock and the join settings of the role apply.
    #[default]
    DialIn,
    /// The server called the participant: the lock does not apply, the flags given here replace the join settings.
    DialOut {
        /// Joins unable to speak.
        muted: bool,
        /// Joins unable to hear.
        deaf: bool,
        /// Listed and mixed, but neither counted nor limited.
        ghost: bool,
        /// Hears no hold music while he is alone.
        no_hold_music: bool,
        /// Joins only a conference that somebody is in.
        join_existing: bool,
        /// The keys he presses are sent on to all others, and control nothing.
        distributes_keys: bool,
    },
    /// An operator moved the participant here from another conference: the lock applies, the join settings do not.
    Moved(Carried),
    /// The participant takes the place of this one, who leaves then, and is set as he was: neither lock nor limit applies.
    InPlaceOf(ParticipantId, Carried),
}

/// What a participant takes along from one conference into another. What else an operator did to him ends with the move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// He cannot speak.
    pub muted: bool,
    /// He cannot hear.
    pub deaf: bool,
    /// He is listed and mixed, but neither counted nor limited.
    pub ghost: bool,
    /// Gain of what comes from him.
    pub volume_in: Volume,
    /// Gain of what goes to him.
    pub volume_out: Volume,
    /// Automatic gain of what comes from him.
    pub agc: bool,
    /// Noise suppression of what comes from him.
    pub denoise: bool,
    /// The keys he presses are sent on to all others, and control nothing.
    pub distributes_keys: bool,
}

impl Entry {
    /// A participant whom the server called, without any flag.
    pub const CALLED: Entry = Entry::DialOut {
        muted: false,
        deaf: false,
        ghost: false,
        no_hold_music: false,
        join_existing: false,
        distributes_keys: false,
    };

    /// A ghost whom the server called.
    pub const CALLED_GHOST: Entry = Entry::DialOut {
        muted: false,
        deaf: false,
        ghost: true,
        no_hold_music: false,
        join_existing: false,
        distributes_keys: false,
    };

    /// Returns whether who enters so hears no hold music while he is alone.
    pub(crate) fn declines_hold_music(self) -> bool {
        matches!(
            self,
            Entry::DialOut {
                no_hold_music: true,
                ..
            }
        )
    }

    /// Returns whether the keys of who enters so are for the others.
    pub(crate) fn distributes_keys(self) -> bool {
        match self {
            Entry::DialIn => false,
            Entry::DialOut { distributes_keys, .. }
            | Entry::Moved(Carried { distributes_keys, .. })
            | Entry::InPlaceOf(_, Carried { distributes_keys, .. }) => distributes_keys,
        }
    }

    /// Returns whether a conference that nobody is in yet does not start for who enters so.
    pub fn needs_company(self) -> bool {
        matches!(
            self,
            Entry::DialOut {
                join_existing: true,
                ..
            }
        )
    }

    /// Returns whether a participant that enters so is a ghost.
    pub fn is_ghost(self) -> bool {
        match self {
            Entry::DialIn => false,
            Entry::DialOut { ghost, .. }
            | Entry::Moved(Carried { ghost, .. })
            | Entry::InPlaceOf(_, Carried { ghost, .. }) => ghost,
        }
    }

    /// Returns whether a locked conference refuses who enters so.
    pub fn heeds_lock(self) -> bool {
        match self {
            Entry::DialIn | Entry::Moved(_) => true,
            Entry::DialOut { .. } | Entry::InPlaceOf(..) => false,
        }
    }
}

/// Who is on the other end of a leg. Constant for the life of a participant, unless somebody else takes his place.
///
/// `Debug` shows the call id only: names and numbers stay out of logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The SIP Call-ID of the leg.
    pub call_id: String,
    /// His name as he, or somebody for him, has said it: announced when he comes and goes.
    pub spoken_name: Option<MediaName>,
    /// The display name, of the callee for a dialled-out leg; may be empty.
    pub caller_id_name: String,
    /// The number, of the callee for a dialled-out leg; may be empty.
    pub caller_id_number: String,
    /// The account the call is admitted under.
    pub account_id: Option<AccountId>,
    /// Channel variables (`authorizing_id`, `owner_id`, `realm`, …), those known.
    pub channel_vars: BTreeMap<String, String>,
    /// Variables set by the application that placed the call.
    pub application_vars: BTreeMap<String, String>,
}

impl Caller {
    /// Returns a caller of whom only the call id is known.
    pub fn new(call_id: impl Into<String>) -> Caller {
        Caller {
            call_id: call_id.into(),
            ..Caller::default()
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("call_id", &self.call_id)
            .finish_non_exhaustive()
    }
}
