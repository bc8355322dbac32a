//! Owns what every request handler is given. Never handles one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use confab_conference::GregorianSeconds;
use confab_documents::Store;
use tokio::sync::Semaphore;

use crate::dialling::{Dialer, NoDialer};
use crate::event::EventBus;
use crate::intake::Intake;
use crate::live::{
    LiveConferences, NoAttempts, NoRegistrations, NoTrunks, Registrations, TrunkStates, WebhookAttempts,
};
use crate::rate_limit::RateLimit;
use crate::recordings::{NoRecordings, RecordingFiles};
use crate::token::Tokens;
use crate::websocket::sessions::Sessions;

/// Files that are decoded at a time to see whether they can be: each takes up to 60 MB of samples meanwhile.
const DECODED_AT_A_TIME: usize = 2;

/// What the configuration says about the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// The name of this server in answers (`node`, `switch_hostname`).
    pub node: String,
    /// The SIP URI of this server as others reach it, where known (`switch_url`).
    pub switch_url: Option<String>,
    /// The address of this server as others reach it, where known (`switch_external_ip`).
    pub switch_external_ip: Option<String>,
    /// The version told to authenticated clients.
    pub version: String,
    /// How long a login is good for.
    pub token_ttl: Duration,
    /// Whether requests are limited per client address and account.
    pub rate_limit: bool,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            node: "confab".into(),
            switch_url: None,
            switch_external_ip: None,
            version: env!("CARGO_PKG_VERSION").into(),
            token_ttl: Duration::from_secs(3600),
            rate_limit: true,
        }
    }
}

/// Whether the server takes calls and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, for the reason given.
    NotReady(String),
}

/// How the health and metrics routes find out about the server. Called on every request: answer quickly.
#[derive(Clone)]
pub struct Probes {
    /// Says whether the server takes calls and requests.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Returns the metrics in the Prometheus text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Default for Probes {
    fn default() -> Self {
        Probes {
            readiness: Arc::new(|| Readiness::Ready),
            metrics: Arc::new(String::new),
        }
    }
}

/// Tells the time. The handlers read no clock of their own.
pub trait Clock: Send + Sync {
    /// Returns a time that never runs backwards, for token lives and rate limits.
    fn monotonic(&self) -> Instant;

    /// Returns the wall-clock time as the duration since 1970-01-01T00:00:00Z.
    fn unix(&self) -> Duration;

    /// Returns the wall-clock time in Gregorian seconds.
    fn gregorian(&self) -> GregorianSeconds {
        GregorianSeconds::from_unix(self.unix().as_secs())
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Everything the handlers need. Cheap to clone; clones share tokens and rate limits.
#[derive(Clone)]
pub struct ApiState {
    pub(crate) config: Arc<ApiConfig>,
    pub(crate) store: Store,
    pub(crate) conferences: Arc<dyn LiveConferences>,
    pub(crate) registrations: Arc<dyn Registrations>,
    pub(crate) trunks: Arc<dyn TrunkStates>,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) webhooks: Arc<dyn WebhookAttempts>,
    pub(crate) recordings: Arc<dyn RecordingFiles>,
    pub(crate) probes: Probes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) limits: Arc<RateLimit>,
    pub(crate) intake: Arc<Intake>,
    /// Leave to decode a file that was uploaded.
    pub(crate) decoding: Arc<Semaphore>,
    pub(crate) events: EventBus,
    pub(crate) sockets: Sessions,
}

impl ApiState {
    /// Returns the state over the machine's clocks.
    pub fn new(
        config: ApiConfig,
        store: Store,
        conferences: Arc<dyn LiveConferences>,
        probes: Probes,
    ) -> ApiState {
        ApiState::with_clock(config, store, conferences, probes, Arc::new(SystemClock))
    }

    /// Returns the state over the given clock.
    pub fn with_clock(
        config: ApiConfig,
        store: Store,
        conferences: Arc<dyn LiveConferences>,
        probes: Probes,
        clock: Arc<dyn Clock>,
    ) -> ApiState {
        ApiState {
            tokens: Arc::new(Tokens::new(config.token_ttl)),
            limits: Arc::new(RateLimit::new(config.rate_limit)),
            intake: Arc::default(),
            decoding: Arc::new(Semaphore::new(DECODED_AT_A_TIME)),
            config: Arc::new(config),
            store,
            conferences,
            registrations: Arc::new(NoRegistrations),
            trunks: Arc::new(NoTrunks),
            dialer: Arc::new(NoDialer),
            webhooks: Arc::new(NoAttempts),
            recordings: Arc::new(NoRecordings),
            probes,
            clock,
            events: EventBus::default(),
            sockets: Sessions::default(),
        }
    }

    /// Takes the events of that bus to clients; without it there are none.
    #[must_use]
    pub fn with_events(self, events: EventBus) -> ApiState {
        ApiState { events, ..self }
    }

    /// Returns the state with what is known of requests to webhooks; without it, none was made.
    #[must_use]
    pub fn with_webhooks(mut self, webhooks: Arc<dyn WebhookAttempts>) -> ApiState {
        self.webhooks = webhooks;
        self
    }

    /// Returns the state with a registrar to ask which devices are registered; without one, none is.
    #[must_use]
    pub fn with_registrations(mut self, registrations: Arc<dyn Registrations>) -> ApiState {
        self.registrations = registrations;
        self
    }

    /// Returns the state with the files of recordings; without them, there are none.
    #[must_use]
    pub fn with_recordings(mut self, recordings: Arc<dyn RecordingFiles>) -> ApiState {
        self.recordings = recordings;
        self
    }

    /// Returns the state with somebody to ask about trunks; without one, nothing is known of them.
    #[must_use]
    pub fn with_trunks(mut self, trunks: Arc<dyn TrunkStates>) -> ApiState {
        self.trunks = trunks;
        self
    }

    /// Returns the state with what places calls; without it, none can be placed.
    #[must_use]
    pub fn with_dialer(mut self, dialer: Arc<dyn Dialer>) -> ApiState {
        self.dialer = dialer;
        self
    }
}
