//! One conference as a state machine: roster, roles, admission, controls, events.
//!
//! A [`Conference`] is one running instance. Commands go in, a [`Reply`] or a [`Refusal`] comes back, and what the
//! outside has to do or to know comes out as [`Output`]s: an [`Event`] tells subscribers what happened, an
//! [`Effect`] asks the owner to act on media or signalling.
//!
//! # What it does not do
//! It opens no socket, reads no clock, draws no random number, mixes no audio and sends no SIP. It is handed the
//! time, the instance id and the source of participant ids. Who talks and who has the floor is heard by the mixer and
//! reported here: the core keeps it true to the roster (nobody muted talks, nobody gone has the floor). It never judges PINs or numbers: by the time a caller
//! reserves a place, the role is known.
//!
//! # The rule of use
//! Mutate, then drain: after every [`Conference::apply`] (or the plain method of the same meaning) call
//! [`Conference::poll_output`] until it returns `None`, and perform the outputs in that order.
//!
//! # Main types
//! - [`Conference`]: the state machine. [`Settings`]: what the conference document says about it.
//! - [`Command`], [`Control`], [`Reply`], [`Refusal`]: the way in. [`Output`], [`Event`], [`Effect`]: the way out.
//! - [`Relationship`]: the directional records of [`Control::Relate`]. Two participants hear each other as far as none
//!   of their records says otherwise; what changes in that comes out as [`Effect::SetHeard`].
//! - [`Control::Play`]: what a [`MediaName`] names, to an [`Audience`]. The core numbers the plays and asks for them by
//!   [`Effect::Play`]; [`Command::PlayStarted`], [`Command::PlayEnded`] and [`Command::PlayFailed`] tell it what became of each. Entry and exit tones are
//!   plays as well; of them only the beginning is told.
//! - [`Snapshot`], [`ParticipantState`]: a reading of the state. [`Snapshot::follow`] advances a reading by events
//!   alone; it equals a fresh reading at the same sequence (`current_energy` excepted).
//!
//! # Life of an instance
//! *Forming* while only reservations exist (no event yet), *running* from the first join (`conference-create`), *ended*
//! when nobody is left, ghosts included, and no reservation is outstanding (`conference-destroy`).
//!
//! # Example
//! ```
//! use confab_conference::*;
//!
//! let identity = Identity {
//!     account_id: AccountId::from("a1"),
//!     conference_id: ConferenceId::from("c1"),
//!     instance_id: InstanceId::from("i1"),
//! };
//! let mut conference = Conference::new(identity, Settings::default(), Box::new(SequentialIds::default()));
//! let wall = GregorianSeconds::from_unix(0);
//!
//! let alice = conference.reserve(Caller::new("call-1"), Role::Member, Entry::DialIn)?;
//! let state = conference.join(wall, alice)?;
//! assert!(state.muted, "members of a default conference join muted");
//! conference.control(wall, Control::Unmute(alice))?;
//!
//! let mut seen = Vec::new();
//! while let Some(output) = conference.poll_output() {
//!     if let Output::Event(event) = output {
//!         seen.push((event.sequence, event.kind.name()));
//!     }
//! }
//! assert_eq!(seen, [(1, "conference-create"), (2, "add-member"), (3, "unmute-member")]);
//! # Ok::<(), Refusal>(())
//! ```
//!
//! # References
//! Terms follow RFC 4353 (conference, participant, focus) and RFC 4575 (roster, roles, state by full and partial
//! notifications).

mod caller;
mod command;
mod conference;
mod digits;
mod event;
mod id;
mod keys;
mod media;
mod play;
mod recording;
mod relation;
mod settings;
mod snapshot;
mod sound;
mod time;
mod volume;

#[cfg(test)]
mod tests;

pub use caller::{Caller, Carried, Entry, Role};
pub use command::{Command, Control, LeaveCause, Refusal, Reply};
pub use conference::{Conference, JoinFlags};
pub use digits::{DigitString, NoDigits};
pub use event::{Effect, Event, EventKind, Output};
pub use id::{AccountId, ConferenceId, Identity, InstanceId, ParticipantId, ParticipantIds, SequentialIds};
pub use keys::{KeyAction, KeyMap, MOST_KEYS, OwedKey};
pub use media::{MediaState, Quality};
pub use play::{Audience, Manner, MediaName, PlayFailure, PlayNumber, StopPlay};
pub use recording::{RecordingChoice, RecordingFormat, RecordingState};
pub use relation::{Hearing, Relationship};
pub use settings::{RoleSettings, Settings};
pub use snapshot::{Discontinuity, ParticipantState, Snapshot};
pub use sound::{Sounds, Speech};
pub use time::{GregorianSeconds, Moment};
pub use volume::Volume;
