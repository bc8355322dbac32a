//! Owns what this crate asks of running conferences. Never runs one.

use async_trait::async_trait;
use confab_conference::{
    AccountId, ConferenceId, Control, MediaName, ParticipantId, Refusal, Settings, Snapshot,
};
use serde_json::Value;
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

    /// Ends all running conferences of an account that is no more.
    async fn end_all(&self, account: &AccountId);

    /// Returns whose conference of this id runs; `None` when none does, or those of several accounts.
    async fn account_of(&self, conference: &ConferenceId) -> Option<AccountId>;

    /// Moves a participant to another conference of the account, which is started with `settings` when it is not running. Returns
    /// who he is there, once he is in. Refused, he is still where he was.
    async fn move_participant(
        &self,
        account: &AccountId,
        from: &ConferenceId,
        participant: ParticipantId,
        to: &ConferenceId,
        settings: Settings,
    ) -> Result<ParticipantId, ControlError>;

    /// Says whether a name of media means something that the account can have played. Waits for no fetch: what a URL leads to
    /// turns out when it is played.
    async fn check_media(&self, account: &AccountId, media: &MediaName) -> Result<(), MediaProblem>;

    /// Says whether a name of media can stand for the tone when somebody comes or goes: it means something, and it comes to an
    /// end, or nothing behind it would ever be heard.
    async fn check_tone(&self, account: &AccountId, media: &MediaName) -> Result<(), MediaProblem>;

    /// Tells a conference, running or not, that its document says something else from here on.
    async fn updated(&self, account: &AccountId, conference: &ConferenceId, settings: Settings);
}

/// Which devices are registered. Implemented by the server's registrar.
#[async_trait]
pub trait Registrations: Send + Sync {
    /// Returns the ids of the account's devices that have a registration, in a steady order.
    async fn registered(&self, account: &AccountId) -> Vec<String>;
}

/// No device is ever registered: the server has no registrar.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRegistrations;

#[async_trait]
impl Registrations for NoRegistrations {
    async fn registered(&self, _: &AccountId) -> Vec<String> {
        Vec::new()
    }
}

/// What is known of a trunk's gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayState {
    /// Host and port.
    pub server: String,
    /// Whether it answers; `None`: it was not asked yet, or is not to be.
    pub answers: Option<bool>,
    /// How the registration with it stands: `trying`, `registered`, `failed`; `None`: there is none.
    pub registration: Option<&'static str>,
    /// The status with which it refused the registration.
    pub refusal: Option<u16>,
}

/// What is known of trunks. Implemented by the server.
pub trait TrunkStates: Send + Sync {
    /// Returns the account's trunks that are switched on, by id, each with its gateways, in a steady order.
    fn of(&self, account: &AccountId) -> Vec<(String, Vec<GatewayState>)>;
}

/// Nothing is known of any trunk.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrunks;

impl TrunkStates for NoTrunks {
    fn of(&self, _: &AccountId) -> Vec<(String, Vec<GatewayState>)> {
        Vec::new()
    }
}

/// What became of the requests to webhooks.
pub trait WebhookAttempts: Send + Sync {
    /// Returns the last requests to an account's webhook as they are shown, the newest first.
    fn attempts(&self, account: &AccountId, webhook: &str) -> Vec<Value>;
}

/// Nothing was sent to a webhook.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAttempts;

impl WebhookAttempts for NoAttempts {
    fn attempts(&self, _: &AccountId, _: &str) -> Vec<Value> {
        Vec::new()
    }
}

/// Why a name of media cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MediaProblem {
    /// It names nothing.
    #[error("unknown media")]
    Unknown,
    /// It is a tone script, a URL or a phrase of prompts with a fault, told to the client.
    #[error("{0}")]
    Invalid(String),
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
    /// The conference that the participant is to be moved to is locked.
    #[error("the conference is locked")]
    Locked,
    /// The conference that the participant is to be moved to is full.
    #[error("the conference is full")]
    Full,
    /// The participant is in the conference that he is to be moved to.
    #[error("participant {0} is in this conference already")]
    MovedToSame(ParticipantId),
    /// As many plays wait as may.
    #[error("too many plays are waiting")]
    TooManyPlays,
    /// The participant's phone has agreed to no telephone-events.
    #[error("participant {0} takes no digits")]
    NoTelephoneEvents(ParticipantId),
    /// Digits sent before are still waiting.
    #[error("too many digits are waiting for participant {0}")]
    TooManyDigits(ParticipantId),
    /// There is no recording to be paused or to go on.
    #[error("the conference is not recorded")]
    NotRecording,
    /// The recording could not be begun: the disk does not take it.
    #[error("the recording cannot be written")]
    Recording,
    /// The server is going down, or the conference did not answer.
    #[error("the conference does not answer")]
    Unavailable,
}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> ControlError {
        match refusal {
            Refusal::UnknownParticipant(id) => ControlError::UnknownParticipant(id),
            Refusal::Locked => ControlError::Locked,
            Refusal::Full => ControlError::Full,
            Refusal::MovedToSame(id) => ControlError::MovedToSame(id),
            Refusal::TooManyPlays => ControlError::TooManyPlays,
            Refusal::NoTelephoneEvents(id) => ControlError::NoTelephoneEvents(id),
            Refusal::TooManyDigits(id) => ControlError::TooManyDigits(id),
            Refusal::NotRecording => ControlError::NotRecording,
            Refusal::Recording => ControlError::Recording,
            Refusal::Ended | Refusal::NotRunning => ControlError::NotRunning,
            _ => ControlError::Unavailable,
        }
    }
}
