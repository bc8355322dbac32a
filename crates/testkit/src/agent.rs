//! Owns the SIP half of a test participant: a small user agent client that calls the server over real sockets.
//!
//! Shares nothing with the server's SIP stack: it prints and reads SIP as plain text. It places calls, acknowledges, cancels, changes and
//! ends them, answers BYE and OPTIONS from the server, and keeps every message for the test to look at; a [`Callee`] is called. It never talks to anything but
//! the one server it was made for.

mod call;
mod callee;
mod device;
pub mod digest;
mod message;
mod participant;
mod phone;
mod sdp;

pub use call::{Call, Invite};
pub use callee::{Callee, Incoming};
pub use device::Device;
pub use message::SipMessage;
pub use participant::{Joining, Participant};
pub use phone::{OutOfDialog, Phone};
pub use sdp::{AudioOffer, Direction, RemoteAudio};

use std::time::Duration;

/// Retransmission interval T1 of RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
/// Longest retransmission interval T2 of RFC 3261 §17.1.2.2.
const T2: Duration = Duration::from_secs(4);

/// Why something an agent was asked to do did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A socket could not be opened, written or read.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
    /// The server did not do what was waited for in the given time.
    #[error("nothing within {waited:?}: {what}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The server refused the request.
    #[error("refused: {0}")]
    Refused(String),
    /// The server's session description could not be used.
    #[error("unusable session description: {0}")]
    BadDescription(String),
}
