//! Owns what this crate asks of whoever places calls. Never places one.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use confab_conference::{AccountId, ConferenceId, Settings};
use confab_documents::{Body, Document, StoreError, Violations};
use serde_json::{Map, Value};
use thiserror::Error;

/// Places calls for conferences. Implemented by the server's dialler.
#[async_trait]
pub trait Dialer: Send + Sync {
    /// Calls every endpoint and answers when each has joined, failed, or rung for its time. Goes on when nobody waits for the answer
    /// any more.
    ///
    /// # Errors
    /// An endpoint cannot be called at all: then nothing rings.
    async fn dial(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        request: DialRequest,
    ) -> Result<DialAnswer, DialRefusal>;

    /// Returns what stands for the document of a running conference that a dial has made and that is not stored.
    fn ad_hoc(&self, account: &AccountId, conference: &ConferenceId) -> Option<Body>;
}

/// A dial whose arguments keep every rule that they could break by themselves.
#[derive(Clone, Debug)]
pub struct DialRequest {
    /// Whom to call, in the order of the request.
    pub endpoints: Vec<DialEndpoint>,
    /// The caller's name that is shown, if the request says one.
    pub caller_id_name: Option<String>,
    /// The caller's number that is shown, if the request says one.
    pub caller_id_number: Option<String>,
    /// How who answers joins.
    pub flags: ParticipantFlags,
    /// Tags that a trunk has to have to be used.
    pub outbound_flags: Vec<String>,
    /// How long each endpoint rings.
    pub ring_time: Duration,
    /// Call-ID of the first call.
    pub call_id: Option<String>,
    /// Variables that the participants carry.
    pub application_vars: BTreeMap<String, String>,
    /// The conference: its document with what this dial changes of it, or what stands for one.
    pub conference: Document,
    /// There is no such document.
    pub is_ad_hoc: bool,
    /// What it runs with when this dial starts it.
    pub settings: Settings,
    /// The arguments as listeners of commands are told, without anybody's password.
    pub told: Map<String, Value>,
}

/// Whom to call, as the request says it.
#[derive(Clone, Debug, PartialEq)]
pub enum DialEndpoint {
    /// A SIP URI, the id of a device or user, or a number.
    Named(String),
    /// A device as a document of its own would be.
    Device(Box<Document>),
}

/// How a participant who was called joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParticipantFlags {
    /// Unable to speak.
    pub mute: bool,
    /// Unable to hear.
    pub deaf: bool,
    /// The keys he presses are sent on to all others, and control nothing.
    pub distribute_dtmf: bool,
    /// As a moderator.
    pub is_moderator: bool,
    /// Without hold music while he is alone.
    pub disable_moh: bool,
    /// Mixed, but not counted.
    pub ghost: bool,
    /// Only where somebody is.
    pub join_existing: bool,
}

impl ParticipantFlags {
    /// Adds the flag of this name. Video is nowhere, so that muting it changes nothing.
    pub(crate) fn raise(&mut self, name: &str) {
        match name {
            "mute" => self.mute = true,
            "deaf" => self.deaf = true,
            "distribute_dtmf" => self.distribute_dtmf = true,
            "is_moderator" => self.is_moderator = true,
            "disable_moh" => self.disable_moh = true,
            "ghost" => self.ghost = true,
            "join_existing" => self.join_existing = true,
            _ => {}
        }
    }
}

/// What became of a dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialAnswer {
    /// One entry for each leg, in the order of the request.
    Endpoints(Vec<EndpointAnswer>),
    /// The server is ending and calls nobody.
    NoServer,
}

/// What became of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointAnswer {
    /// The endpoint as the request has it.
    pub endpoint_id: String,
    /// The device, where the endpoint is a user.
    pub device_id: Option<String>,
    /// Names this leg among all that were ever dialled.
    pub job_id: String,
    /// The Call-ID of who has joined, or why he has not, in the contract's words.
    pub outcome: Result<String, String>,
}

/// Why nothing rings.
#[derive(Debug, Error)]
pub enum DialRefusal {
    /// Endpoints that cannot be called.
    #[error("endpoints that cannot be called")]
    Invalid(Violations),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Nobody can be called: the server places no calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDialer;

#[async_trait]
impl Dialer for NoDialer {
    async fn dial(&self, _: &AccountId, _: &ConferenceId, _: DialRequest) -> Result<DialAnswer, DialRefusal> {
        Ok(DialAnswer::NoServer)
    }

    fn ad_hoc(&self, _: &AccountId, _: &ConferenceId) -> Option<Body> {
        None
    }
}
