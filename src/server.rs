//! The whole server: builds the parts, joins them, tells the outside when it is ready, and takes it all down again.
//!
//! Owns the order of start and end. On SIGTERM or SIGINT: new calls get 503, conferences end, every call gets its BYE,
//! then listeners and store close; a second signal exits at once.

mod figures;
mod settings;
mod shutdown;

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use confab_api::event::EventBus;
use confab_api::websocket::{self, WebSocketConfig};
use confab_api::{ApiConfig, ApiState, CommandDesk, Probes, Readiness};
use confab_documents::Store;
use confab_media::{MediaAdmission, MediaError, MediaPlane, OverloadReason};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use self::settings::{event_config, local_addresses, node, registrar_config, signalling_config, sounds};
use crate::{
    admission::Admission,
    amqp::{self, AmqpStats},
    cdr::Cdr,
    conferences::{MediaDispatch, Registry, log_events, start_transfers},
    config::{Config, TlsUse},
    data_lock::DataLock,
    dialling::Dialler,
    first_start,
    http::{self, Limits},
    listen,
    reception::Desk,
    recordings::{self, Recordings, Shelf},
    registrar::{self, Bindings, Registrar},
    signalling::{CallServer, CallStats, Calls, Pass, RunningCalls, Signalling},
    sounds::address,
    telemetry::LogLevel,
    tls::{ServerCertificate, TlsFiles},
    trunks::{self, Trunks},
    webhooks,
};

/// How often the media plane's guard is asked whether new calls may come.
const GUARD_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that runs.
struct Server {
    admission: Admission,
    registry: Registry<MediaPlane>,
    media: Arc<MediaPlane>,
    signalling: Signalling,
    calls: Calls,
    call_server: Arc<CallServer>,
    cdr: Cdr,
    cdr_writer: JoinHandle<()>,
    store: Store,
    /// What TLS shows, where it is switched on.
    certificates: Vec<(TlsUse, ServerCertificate)>,
    /// Ends listeners and background tasks.
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// Writes what the store does not know yet at its end.
    registrar_task: JoinHandle<()>,
    /// Tells the carriers that this server is gone.
    trunks_task: JoinHandle<()>,
    recordings: Recordings,
    /// Ends when the last recording has its document.
    shelf_task: JoinHandle<()>,
}

/// Listeners that are bound and not served yet.
struct Listeners {
    http: TcpListener,
    websocket: Option<TcpListener>,
    https: Option<(TcpListener, ServerCertificate)>,
    websocket_tls: Option<TcpListener>,
    admin: Option<TcpListener>,
}

/// What the API shows and changes.
struct ApiParts<'a> {
    store: &'a Store,
    registry: &'a Registry<MediaPlane>,
    registrar: Registrar,
    trunks: Trunks,
    hook_attempts: Arc<webhooks::Attempts>,
    dialler: Dialler,
    shelf: Shelf,
}

/// Runs the server until it is told to end.
///
/// # Errors
/// Whatever keeps it from starting, in one line that says what and what to do.
pub(crate) async fn run(
    mut config: Config,
    reload: impl Fn() -> anyhow::Result<Config>,
    log: LogLevel,
) -> anyhow::Result<()> {
    let _lock = DataLock::take(&config.data_dir)?;
    if !listen::has_ipv6() {
        let keys = config.without_ipv6();
        if !keys.is_empty() {
            tracing::info!(
                keys = keys.join(", "),
                "this machine has no IPv6: [::] is left out"
            );
        }
    }
    // Before the ready line: who reads it may signal at once.
    let mut signals = shutdown::Signals::listen()?;
    let server = tokio::select! {
        server = Server::start(&config) => server?,
        () = signals.told_to_end() => {
            tracing::info!("told to end while starting");
            return Ok(());
        }
    };
    let outcome = shutdown::wait(config, reload, &log, &server, signals).await;
    server.end().await;
    outcome
}

impl Server {
    async fn start(config: &Config) -> anyhow::Result<Self> {
        config.check_files()?;
        let store = Store::open(&config.data_dir, &config.store_url.0).await?;
        let listeners = Listeners::bind(config).await?;
        let local = Arc::new(local_addresses(config).await?);
        let admission = Admission::new(config.sip.max_calls);
        let load = |files: Option<&TlsFiles>| files.map(ServerCertificate::load).transpose();
        let sip_certificate = load(config.sip.tls.as_ref().map(|tls| &tls.files))?;
        let client_certificate = load(config.sip.tls_out.files.as_ref())?;
        let bindings = Bindings::new(registrar_config(config));
        let certificates = (sip_certificate.as_ref(), client_certificate.clone());
        let signalling = signalling_config(config, &local, certificates)?;
        let mut signalling = Signalling::start(signalling, &local, admission.clone(), bindings.clone())?;
        let (cdr, cdr_writer) = Cdr::open(&config.data_dir).await?;
        // After everything else that may be refused: its threads write to the log.
        let (media, media_events) = MediaPlane::start(config.media_config()).map_err(media_failure)?;
        let media = Arc::new(media);
        // Only now: what is shown once must not be made by a start that fails.
        let first = store.bootstrap(config.bootstrap_config()).await?;

        let (stop, _) = watch::channel(false);
        let dispatch = MediaDispatch::default();
        let bus = EventBus::new(event_config(config));
        let mut tasks = vec![
            tokio::spawn(dispatch.clone().run(media_events)),
            tokio::spawn(log_events(bus.subscribe_all())),
            tokio::spawn(guard(Arc::clone(&media), admission.clone())),
        ];
        let (recordings, shelf, shelf_task) = record(config, &store).await?;
        let sounds = sounds(config, &store, &shelf).await?;
        let (amqp_events, hook_events) = (bus.subscribe_news(), bus.subscribe_news());
        let registry = Registry::new(
            Arc::clone(&media),
            dispatch.clone(),
            bus,
            sounds.clone(),
            Some(recordings.clone()),
        );
        let amqp_stats = Arc::new(AmqpStats::default());
        tasks.push(start_transfers(registry.clone(), store.clone()));
        let hook_attempts = Arc::new(webhooks::Attempts::default());
        let allow_private = config.fetch.allow_private;
        tasks.push(webhooks::start(
            store.clone(),
            allow_private,
            hook_events,
            &hook_attempts,
        ));
        let desk = Desk::new(
            store.clone(),
            registry.clone(),
            Arc::clone(&media),
            sounds,
            config.pin_guard,
        );
        let devices = Arc::new(registrar::devices::Devices::new(
            store.clone(),
            Arc::clone(&local),
        ));
        let gate = registrar::gate::Gate::new(config.password_guard, config.sip.digest.clone());
        let endpoint = signalling.endpoint.clone();
        let (registrar, registrar_task) = Registrar::start(
            bindings,
            devices,
            gate,
            (endpoint, registry.bus().clone()),
            stop.subscribe(),
        )
        .await?;
        let trunks = Trunks::new(store.clone());
        let call_server = Arc::new(CallServer {
            endpoint: signalling.endpoint.clone(),
            store: store.clone(),
            registry: registry.clone(),
            dispatch,
            listens: signalling.listens(),
            media: Arc::clone(&media),
            media_binds: config.media.bind.clone(),
            media_timeout: Duration::from_secs(config.media.timeout_s.into()),
            local: Arc::clone(&local),
            pass: Pass::new(),
            anonymous_dial_in: config.sip.anonymous_dial_in,
            service_numbers: config.sip.service_numbers.clone(),
            desk: Arc::new(desk),
            registrar: registrar.clone(),
            trunks: trunks.clone(),
            capabilities: Arc::new(config.capabilities()),
            admission: admission.clone(),
            cdr: cdr.clone(),
            stats: CallStats::default(),
            running: RunningCalls::default(),
            refers: std::sync::OnceLock::new(),
            redirects: std::sync::OnceLock::new(),
        });
        let reach = trunks::Reach {
            endpoint: signalling.endpoint.clone(),
            listens: signalling.listens(),
            local: Arc::clone(&local),
        };
        let trunks_task = trunks::keeper::start(trunks.clone(), reach, stop.subscribe());
        let calls = signalling
            .serve(Arc::clone(&call_server))
            .context("signalling was started twice")?;
        let dialler = Dialler::new(
            &call_server,
            calls.orders(),
            Arc::new(registrar.clone()),
            trunks.clone(),
            config.outbound.clone(),
        );
        // There is one dialler, and nobody before it.
        let _ = call_server.refers.set(Arc::new(dialler.clone()));
        let _ = call_server.redirects.set(Arc::new(dialler.clone()));

        if let Some(broker) = &config.amqp {
            let desk = CommandDesk {
                conferences: Arc::new(registry.clone()),
                store: store.clone(),
                dialer: Arc::new(dialler.clone()),
            };
            tasks.extend(amqp::start(broker, amqp_events, desk, &amqp_stats));
        }

        let websocket_address = match &listeners.websocket {
            Some(listener) => Some(listener.local_addr()?),
            None => None,
        };
        let (http_address, sip_address) = (listeners.http.local_addr()?, signalling.first_address());
        let reached_at = local.towards_network(sip_address.ip());
        let page = figures::page(&call_server, &signalling, amqp_stats, Arc::clone(&hook_attempts));
        let probes = Probes {
            readiness: Arc::new(readiness(&admission, &media)),
            metrics: Arc::new(page),
        };
        let reached = SocketAddr::new(reached_at, sip_address.port());
        let http = listeners
            .certificate()
            .map(|certificate| (TlsUse::Http, certificate));
        let sip = sip_certificate.map(|certificate| (TlsUse::Sip, certificate));
        let client = client_certificate.map(|certificate| (TlsUse::SipClient, certificate));
        let certificates = http.into_iter().chain(sip).chain(client).collect();
        let parts = ApiParts {
            store: &store,
            registry: &registry,
            registrar,
            trunks,
            hook_attempts,
            dialler,
            shelf,
        };
        warn_of_open_doors(config);
        tasks.extend(listeners.serve(config, parts, probes, reached, &stop));
        if let Some(first) = first {
            eprint!(
                "{}",
                first_start::notice(&first, http_address, sip_address, reached_at)
            );
        }
        announce(http_address, sip_address, websocket_address)?;
        Ok(Self {
            admission,
            registry,
            media,
            signalling,
            calls,
            call_server,
            cdr,
            cdr_writer,
            store,
            certificates,
            stop,
            tasks,
            registrar_task,
            trunks_task,
            recordings,
            shelf_task,
        })
    }
}

/// Starts what records, and what keeps it; those that an earlier run has left get their documents.
async fn record(config: &Config, store: &Store) -> anyhow::Result<(Recordings, Shelf, JoinHandle<()>)> {
    let data_dir = config.data_dir.clone();
    let left = tokio::task::spawn_blocking(move || recordings::adopt(&data_dir)).await?;
    let (ended, to_list) = tokio::sync::mpsc::unbounded_channel();
    for one in left {
        // The receiver is here.
        let _ = ended.send(one);
    }
    let recording = config.recording;
    let recordings = Recordings::start(&config.data_dir, recording.rate_hz, recording.announce, ended)
        .context("starting the threads of recordings")?;
    let shelf = Shelf::new(&config.data_dir, store.clone(), recording.limits());
    let task = tokio::spawn(shelf.clone().run(to_list));
    Ok((recordings, shelf, task))
}

/// Writes the ready line, the only thing on standard output.
fn announce(http: SocketAddr, sip: SocketAddr, websocket: Option<SocketAddr>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let websocket = websocket.map_or_else(String::new, |address| format!(" websocket={address}"));
    writeln!(out, "confab ready http={http} sip={sip}{websocket}")
        .and_then(|()| out.flush())
        .context("standard output")
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let http = http::bind("http.bind", config.http.bind).await?;
        let https = match &config.http.tls {
            Some(tls) => {
                let listener = http::bind("http.tls_bind", tls.bind).await?;
                Some((listener, ServerCertificate::load(&tls.files)?))
            }
            None => None,
        };
        let bind = async |key, address| match address {
            Some(address) => http::bind(key, address).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            http,
            websocket: bind("http.websocket_bind", config.http.websocket_bind).await?,
            https,
            websocket_tls: bind("http.websocket_tls_bind", config.http.websocket_tls_bind).await?,
            admin: bind("http.admin_bind", config.http.admin_bind).await?,
        })
    }

    fn certificate(&self) -> Option<ServerCertificate> {
        self.https.as_ref().map(|(_, certificate)| certificate.clone())
    }

    fn serve(
        self,
        config: &Config,
        parts: ApiParts<'_>,
        probes: Probes,
        reached_at: SocketAddr,
        stop: &watch::Sender<bool>,
    ) -> Vec<JoinHandle<()>> {
        let api = ApiConfig {
            node: node(),
            switch_url: Some(format!("sip:{reached_at}")),
            switch_external_ip: Some(reached_at.ip().to_string()),
            token_ttl: Duration::from_secs(config.http.token_ttl_s.into()),
            rate_limit: config.http.rate_limit,
            ..ApiConfig::default()
        };
        let conferences = Arc::new(parts.registry.clone());
        let state = ApiState::new(api, parts.store.clone(), conferences, probes)
            .with_events(parts.registry.bus().clone())
            .with_webhooks(parts.hook_attempts)
            .with_registrations(Arc::new(parts.registrar))
            .with_recordings(Arc::new(parts.shelf))
            .with_trunks(Arc::new(parts.trunks))
            .with_dialer(Arc::new(parts.dialler));
        let proxies = &config.http.trusted_proxies;
        let mut tasks = vec![http::serve(
            self.http,
            Limits::HTTP,
            None,
            proxies,
            confab_api::router(state.clone()),
            stop.subscribe(),
        )];
        let sessions = WebSocketConfig {
            max_connections_per_ip: config.http.max_connections_per_ip,
            ..WebSocketConfig::new(stop.subscribe())
        };
        let sockets = websocket::router(state.clone(), sessions);
        if let Some(listener) = self.websocket {
            let stop = stop.subscribe();
            tasks.push(http::serve(
                listener,
                Limits::WEBSOCKET,
                None,
                proxies,
                sockets.clone(),
                stop,
            ));
        }
        if let Some((listener, certificate)) = self.https {
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "HTTPS");
            }
            let tls = Some(certificate.server_config(&http::PROTOCOLS, None));
            let router = confab_api::router(state.clone());
            tasks.push(http::serve(
                listener,
                Limits::HTTP,
                tls,
                proxies,
                router,
                stop.subscribe(),
            ));
            if let Some(listener) = self.websocket_tls {
                let tls = Some(certificate.server_config(&http::PROTOCOLS, None));
                tasks.push(http::serve(
                    listener,
                    Limits::WEBSOCKET,
                    tls,
                    proxies,
                    sockets,
                    stop.subscribe(),
                ));
            }
        }
        if let Some(admin) = self.admin {
            tasks.push(http::serve(
                admin,
                Limits::HTTP,
                None,
                proxies,
                confab_api::admin_router(state),
                stop.subscribe(),
            ));
        }
        tasks
    }
}

/// Tells the operator which keys do nothing, what clients will refuse, and where passwords and tokens cross networks in the clear.
fn warn_of_open_doors(config: &Config) {
    let http = &config.http;
    for idle in config.idle_keys() {
        tracing::warn!("{} is set, but {}", idle.key, idle.why);
    }
    for (_, files) in config.tls_files() {
        if let Err(error) = files.check_time(SystemTime::now()) {
            tracing::warn!("{error}");
        }
    }
    let doors = [
        ("http.bind", Some(http.bind), "http.tls_bind"),
        (
            "http.websocket_bind",
            http.websocket_bind,
            "http.websocket_tls_bind",
        ),
    ];
    for (key, bind, instead) in doors {
        if bind.is_some_and(|bind| is_open(bind.ip())) {
            tracing::warn!(
                "{key} is reached from other machines without TLS: passwords and tokens can be read on the way; bind it to \
                 127.0.0.1 and set {instead}, or put a proxy that speaks TLS before it"
            );
        }
    }
}

/// Returns whether an address is, or may be, reached from networks that are not the operator's own.
fn is_open(bind: IpAddr) -> bool {
    bind.is_unspecified() || address::is_public(bind)
}

/// Returns the function that says whether a new call would be taken.
fn readiness(
    admission: &Admission,
    media: &Arc<MediaPlane>,
) -> impl Fn() -> Readiness + Send + Sync + 'static {
    let admission = admission.clone();
    // Weak: whoever asks must not keep the media plane running at shutdown.
    let media = Arc::downgrade(media);
    move || {
        if let Some(overload) = admission.overload() {
            Readiness::NotReady(overload.as_str().to_owned())
        } else if media.upgrade().is_some_and(|media| media.ports_exhausted()) {
            Readiness::NotReady("media_ports".to_owned())
        } else {
            Readiness::Ready
        }
    }
}

/// Hands the media plane's overload guard to admission.
async fn guard(media: Arc<MediaPlane>, admission: Admission) {
    let mut interval = tokio::time::interval(GUARD_INTERVAL);
    let mut was_overloaded = false;
    loop {
        interval.tick().await;
        let state = media.admission();
        let overloaded = matches!(state, MediaAdmission::Overloaded { .. });
        if overloaded != was_overloaded {
            was_overloaded = overloaded;
            match state {
                MediaAdmission::Overloaded { reason } => {
                    tracing::warn!(
                        ?reason,
                        "media overloaded: new calls are refused ({})",
                        advice(reason)
                    );
                }
                MediaAdmission::Open => tracing::info!("media recovered: new calls are taken"),
            }
        }
        admission.set_media_overloaded(overloaded);
    }
}

/// What an operator can do about an overload.
fn advice(reason: OverloadReason) -> &'static str {
    match reason {
        OverloadReason::Lateness { .. } => {
            "mixing starts later than media.max_lateness_ms; give the machine more CPU, or the process the right to \
             SCHED_FIFO, or raise media.max_lateness_ms, 0 switches this off"
        }
        OverloadReason::Load { .. } => {
            "a media shard works more than 70 % of the time; give the machine more cores, or raise media.shards"
        }
    }
}

/// The line for a media plane that did not start: which key, what is wrong, what to do.
fn media_failure(error: MediaError) -> anyhow::Error {
    match error {
        MediaError::Bind { address, source } => {
            let text = listen::failure("media.bind", address, &source);
            anyhow::Error::new(source).context(text)
        }
        error => anyhow::Error::new(error).context("starting the media plane"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_names_its_key() {
        let rows = [
            (OverloadReason::Lateness { p99_us: 7500 }, "media.max_lateness_ms"),
            (OverloadReason::Load { permille: 800 }, "media.shards"),
        ];
        for (reason, key) in rows {
            assert!(advice(reason).contains(key), "{reason:?}");
        }
    }
}
