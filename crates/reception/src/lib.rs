//! A caller's way from the answer to the mix: welcome, conference number, PIN, refusals, name, joining prompt.
//!
//! [`Reception`] is the state machine of one caller. Keys, ends of plays, answers of look-ups and the time go in; what is to be
//! played, looked up, reserved or ended comes out as [`Output`]s. [`PinGuard`] counts wrong PINs over all calls and says who has
//! to wait or may not try any more.
//!
//! # What it does not do
//! It plays and records nothing, asks no store, reads no clock and knows no SIP. Prompts are names ([`Prompt`]); what they sound like, and in
//! which language there is one, is decided elsewhere. It lets nobody in: it says [`Output::Enter`] once the conference itself has
//! granted the place.
//!
//! # The rule of use
//! Mutate, then drain: after every input call [`Reception::poll_output`] until it returns `None`, then ask
//! [`Reception::poll_timeout`] when to call [`Reception::handle_timeout`]. Times are milliseconds of any clock that never goes back.
//!
//! # Secrets
//! PINs and what is typed appear in no `Debug` output, are compared in constant time over all PINs of both roles, and leave the
//! machine in no output.
//!
//! # Example
//! ```
//! use confab_reception::*;
//! use confab_conference::Role;
//!
//! let flow = CallFlow { welcome: false, moderator: RoleFlow { pins: Pins::new(["4711"]), says_joining: false }, ..CallFlow::default() };
//! let mut reception = Reception::new(Start::Conference(Candidate::new(RoleSoFar::Moderator, flow)));
//! reception.start(0);
//! let Some(Output::Play { sayings, .. }) = reception.poll_output() else { panic!() };
//! assert_eq!(sayings, [Saying::Prompt(Prompt::EnterPin)]);
//! for key in "4711#".chars() {
//!     reception.key(100, key);
//! }
//! assert_eq!(reception.poll_output(), Some(Output::StopPlaying));
//! assert_eq!(reception.poll_output(), Some(Output::Judge { right: true }));
//! reception.judged(100, Verdict::Pass { delay_ms: 0 });
//! assert_eq!(reception.poll_output(), Some(Output::Reserve(Role::Moderator)));
//! reception.reserved(110, Reservation::Granted);
//! assert_eq!(reception.poll_output(), Some(Output::Enter(Role::Moderator)));
//! ```

mod flow;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod pin;
mod prompt;
mod reception;

pub use flow::{CallFlow, Candidate, DEFAULT_TIMEOUT_MS, NameFlow, RoleFlow, RoleSoFar, ServiceFlow};
pub use guard::{GuardCounts, GuardLimits, PinGuard, Source, Verdict};
pub use pin::{Entry, Pins};
pub use prompt::{Prompt, Saying};
pub use reception::{
    Cause, LONGEST_NAME_MS, LONGEST_PLAY_MS, LONGEST_STAY_MS, Output, Reception, Refused, Reservation, Start,
    TRIES,
};
