//! The HTTP interface: envelope, authentication, resources.
//!
//! [`router`] returns the public routes and [`admin_router`] those of the administrators' address, as functions: tests
//! call them without a socket. The interface is compatible with the KAZOO v2 conference API; `/v2/openapi.json`
//! describes it.
//!
//! # What it does not do
//! It opens no socket and runs no conference. Documents and their rules are `confab-documents`'; what runs is asked
//! for through [`LiveConferences`]. It reads the time from a [`Clock`] only.
//!
//! # The path of a request
//! Path → method (405) → account of the path (404) → token (401) → budget (429) → authorisation (403) → body (415, 400) →
//! operation. One enum names every failure, and one place maps it to status, error id and public data.
//!
//! # Main types
//! - [`ApiState`]: what the handlers are given. [`ApiConfig`]: what the configuration says about the interface.
//! - [`LiveConferences`], [`ControlError`], [`MediaProblem`]: the way to running conferences.
//! - [`BrokerCommand`]: what a message broker may ask running conferences for.
//! - [`event`]: events as JSON and the bus that brings them to subscribers.
//! - [`websocket`]: live events for clients, on an address of their own.
//! - [`Probes`], [`Readiness`]: where health and metrics come from.
//!
//! # Serving
//! The client's address is part of the rate limit: serve the router with
//! `into_make_service_with_connect_info::<SocketAddr>()`. Without it, all clients share one budget per account.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use confab_api::{ApiConfig, ApiState, ControlError, LiveConferences, MediaProblem, Probes, router};
//! use confab_conference::{AccountId, ConferenceId, Control, MediaName, ParticipantId, Settings, Snapshot};
//! use confab_documents::Store;
//!
//! struct NothingRuns;
//!
//! #[async_trait::async_trait]
//! impl LiveConferences for NothingRuns {
//!     async fn snapshot(&self, _: &AccountId, _: &ConferenceId) -> Option<Snapshot> {
//!         None
//!     }
//!     async fn control(&self, _: &AccountId, _: &ConferenceId, _: Control) -> Result<(), ControlError> {
//!         Err(ControlError::NotRunning)
//!     }
//!     async fn end_all(&self, _: &AccountId) {}
//!     async fn account_of(&self, _: &ConferenceId) -> Option<AccountId> {
//!         None
//!     }
//!     async fn move_participant(
//!         &self,
//!         _: &AccountId,
//!         _: &ConferenceId,
//!         _: ParticipantId,
//!         _: &ConferenceId,
//!         _: Settings,
//!     ) -> Result<ParticipantId, ControlError> {
//!         Err(ControlError::NotRunning)
//!     }
//!     async fn check_media(&self, _: &AccountId, _: &MediaName) -> Result<(), MediaProblem> {
//!         Err(MediaProblem::Unknown)
//!     }
//!     async fn check_tone(&self, _: &AccountId, _: &MediaName) -> Result<(), MediaProblem> {
//!         Err(MediaProblem::Unknown)
//!     }
//!     async fn updated(&self, _: &AccountId, _: &ConferenceId, _: Settings) {}
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let directory = tempfile::tempdir()?;
//! # let data_dir = directory.path();
//! # runtime.block_on(async {
//! use tower::ServiceExt;
//!
//! let store = Store::open(data_dir, "").await?;
//! let state = ApiState::new(ApiConfig::default(), store, Arc::new(NothingRuns), Probes::default());
//! let request = axum::http::Request::get("/v2/token_auth").body(axum::body::Body::empty())?;
//! let response = router(state).oneshot(request).await?;
//! assert_eq!(response.status(), 401);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # References
//! RFC 9110 (HTTP semantics: entity tags, conditional requests, 405 with Allow), RFC 6750 (bearer tokens).

mod action;
mod answer;
mod arguments;
mod body;
mod command;
mod dialling;
mod dispatch;
mod docs;
mod download;
mod error;
pub mod event;
mod health;
mod intake;
mod list;
mod live;
mod openapi;
mod query;
mod rate_limit;
mod recordings;
mod resource;
mod rights;
mod route;
mod state;
mod timestamp;
mod token;
mod tones;
mod upload;
mod view;
pub mod websocket;

use axum::Router;
use axum::routing::get;

pub use command::{BrokerCommand, CommandDesk, fuzz_broker_command};
pub use dialling::{
    DialAnswer, DialEndpoint, DialRefusal, DialRequest, Dialer, EndpointAnswer, NoDialer, ParticipantFlags,
};
pub use health::admin_router;
pub use live::{
    ControlError, GatewayState, LiveConferences, MediaProblem, NoAttempts, NoRegistrations, NoTrunks,
    Registrations, TrunkStates, WebhookAttempts,
};
pub use rate_limit::client_network;
pub use recordings::{NoRecordings, RecordingFile, RecordingFiles};
pub use resource::{MEDIA_LIMITS, fuzz_media};
pub use state::{ApiConfig, ApiState, Clock, Probes, Readiness, SystemClock};

/// Returns the router of the public address: `/v2`, the health routes, `/metrics` for the master account, and the
/// interface's own description.
pub fn router(state: ApiState) -> Router {
    health::routes()
        .route("/metrics", get(dispatch::metrics))
        .merge(docs::routes())
        .layer(axum::middleware::from_fn(dispatch::let_browsers_in))
        .method_not_allowed_fallback(dispatch::handle_plain)
        .fallback(dispatch::handle)
        .with_state(state)
}
