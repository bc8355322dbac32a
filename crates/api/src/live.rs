//! Owns what this crate asks of running conferences. Never runs one.

use async_trait::async_trait;
use confab_conference::{AccountId, ConferenceId, Control, ParticipantId, Refusal, Settings, Snapshot};
use thiserror::Error;

/// The running conferences, as the HTTP interface sees them. Implemented by the server's registry; by a fake in tests.
#[async_trait]
pub trait LiveConferences: Send + Sync {
    /// Returns the state of a running conference, `None` when it is not running.
    async fn snapshot(&self, account: &AccountId, conference: &ConferenceId) -> Option<Snapshot>;

    /// Carries out a control in a running conference. Returns once the conference has taken it.
    async fn control(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        control: Control,
    ) -> Result<(), ControlError>;

    /// Tells a conference, running or not, that its document says something else from here on.
    async fn updated(&self, account: &AccountId, conference: &ConferenceId, settings: Settings);
}

/// Why a control was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The conference is not running: there is nothing to control.
    #[error("the conference is not running")]
    NotRunning,
    /// No such participant is in the conference.
    #[error("no participant {0}")]
    UnknownParticipant(ParticipantId),
    /// The server is going down, or the conference did not answer.
    #[error("the conference does not answer")]
    Unavailable,
}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> ControlError {
        match refusal {
            Refusal::UnknownParticipant(id) => ControlError::UnknownParticipant(id),
            Refusal::Ended | Refusal::NotRunning => ControlError::NotRunning,
            _ => ControlError::Unavailable,
        }
    }
}
