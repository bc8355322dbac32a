//! The configuration: defaults, then a TOML file, then the environment, then the command line.
//!
//! Owns the keys, their defaults (`config/default.toml` is the one list of both) and the checks of their values; a
//! mistake is named with its place, its key and what to write instead, and all mistakes are named at once. It opens
//! no socket, resolves no name and touches nothing but the one file it is told to read.

mod convert;
mod error;
mod network;
mod parse;
mod read;
mod together;
mod values;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use confab_api::event::EventFilter;
use confab_media::Latch;
use confab_reception::GuardLimits;
use confab_sdp::SrtpPolicy;
use confab_sip::{DigestAlgorithm, PasswordLimits};

use crate::{
    dialling::OutboundLimits,
    recordings::Limits,
    tls::{TlsFile, TlsFiles, TlsFilesError, authorities},
};

pub(crate) use self::{
    error::{ConfigError, Place, Problem},
    network::IpNetwork,
    together::{Carrier, Idle},
};
use self::{read::Reader, values::Values};

/// Every key with its default; also the documentation for operators.
const DEFAULT_TOML: &str = include_str!("config/default.toml");

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Folder of database, media, recordings and key file. Default: `confab-data` in the working directory.
    pub(crate) data_dir: PathBuf,
    /// Section `[http]`.
    pub(crate) http: Http,
    /// Section `[sip]`.
    pub(crate) sip: Sip,
    /// Section `[media]`.
    pub(crate) media: Media,
    /// Section `[recording]`.
    pub(crate) recording: Recording,
    /// Section `[events]`.
    pub(crate) events: Events,
    /// Section `[amqp]`; `None` when it names no broker.
    pub(crate) amqp: Option<Amqp>,
    /// Section `[fetch]`.
    pub(crate) fetch: Fetch,
    /// Section `[pin_guard]`.
    /// Where calls may be placed to, and how many.
    pub(crate) outbound: OutboundLimits,
    pub(crate) pin_guard: GuardLimits,
    /// `store.url`: a PostgreSQL database, password and all; empty for SQLite in the data directory.
    pub(crate) store_url: Secret,
    /// Section `[registrar]`.
    pub(crate) registrar: Registrar,
    /// Section `[password_guard]`.
    pub(crate) password_guard: PasswordLimits,
    /// Section `[bootstrap]`.
    pub(crate) bootstrap: Bootstrap,
    /// Section `[log]`.
    pub(crate) log: Log,
    /// All keys as they were given, for comparison.
    values: Values,
}

/// HTTP listeners and API access.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// Where the API listens.
    pub(crate) bind: SocketAddr,
    /// Where WebSockets are served; `None` switches them off.
    pub(crate) websocket_bind: Option<SocketAddr>,
    /// The same over TLS; only with `tls`.
    pub(crate) websocket_tls_bind: Option<SocketAddr>,
    /// WebSockets of one address; 0 sets no number.
    pub(crate) max_connections_per_ip: usize,
    /// The same over TLS.
    pub(crate) tls: Option<HttpTls>,
    /// Where `/metrics` is served without a token; `None` switches it off.
    pub(crate) admin_bind: Option<SocketAddr>,
    /// Whether requests are limited per client address and account.
    pub(crate) rate_limit: bool,
    /// Proxies whose word on who the client is counts.
    pub(crate) trusted_proxies: Vec<IpNetwork>,
    /// Life of an API token, seconds, at least 1.
    pub(crate) token_ttl_s: u32,
}

/// Recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recording {
    /// Samples per second of what is recorded, Hz.
    pub(crate) rate_hz: u32,
    /// Participants are told that they are recorded.
    pub(crate) announce: bool,
    /// Days that a recording is kept; 0: for ever.
    pub(crate) retention_days: u32,
    /// What all recordings may take, GB; 0: any amount.
    pub(crate) max_gb: u32,
}

impl Recording {
    /// How long and how much is kept.
    pub(crate) fn limits(self) -> Limits {
        let set = |value: u32| (value > 0).then_some(u64::from(value));
        Limits {
            age: set(self.retention_days).map(|days| Duration::from_secs(days * 86_400)),
            bytes: set(self.max_gb).map(|gb| gb * 1_000_000_000),
        }
    }
}

/// HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpTls {
    /// Where it listens.
    pub(crate) bind: SocketAddr,
    /// Certificate and key; not read yet.
    pub(crate) files: TlsFiles,
}

/// SIP over TLS, plain or in WebSockets.
#[derive(Debug, Clone)]
pub(crate) struct SipTls {
    /// Where it listens; with `wss` at least one address.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where it listens for WebSockets.
    pub(crate) wss: Vec<SocketAddr>,
    /// Certificate and key; not read yet.
    pub(crate) files: TlsFiles,
    /// Authorities one of which has to vouch for whoever connects; `None`: nobody has to show a certificate. Not read yet.
    pub(crate) clients: Option<PathBuf>,
}

/// Connections over TLS that this server opens.
#[derive(Debug, Clone)]
pub(crate) struct SipTlsOut {
    /// Authorities that servers are believed by; `None`: those of the machine. Not read yet.
    pub(crate) authorities: Option<PathBuf>,
    /// What is shown to a server that asks for a certificate; not read yet.
    pub(crate) files: Option<TlsFiles>,
}

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsUse {
    /// HTTPS and the WebSocket port.
    Http,
    /// SIP.
    Sip,
    /// SIP, to servers that this one connects to.
    SipClient,
}

/// SIP transports and admission.
#[derive(Debug, Clone)]
pub(crate) struct Sip {
    /// UDP listeners; with `tcp`, `ws` and `tls` at least one.
    pub(crate) udp: Vec<SocketAddr>,
    /// TCP listeners.
    pub(crate) tcp: Vec<SocketAddr>,
    /// Listeners for WebSockets without TLS.
    pub(crate) ws: Vec<SocketAddr>,
    /// TLS, if it is switched on.
    pub(crate) tls: Option<SipTls>,
    /// What connections over TLS are opened with.
    pub(crate) tls_out: SipTlsOut,
    /// Who is asked for names, the port 53 where none is given; empty: whom the machine asks.
    pub(crate) name_servers: Vec<SocketAddr>,
    /// Host names or IP addresses that peers are told, IPv6 without brackets, the first one of a family for that family; empty: the address a
    /// peer is reached from.
    pub(crate) advertised_address: Vec<String>,
    /// Whether peers in private networks are told a public one as well.
    pub(crate) advertised_to_private: bool,
    /// Networks that are reached without the advertised address.
    pub(crate) local_nets: Vec<IpNetwork>,
    /// Whether callers without credentials may reach conference numbers.
    pub(crate) anonymous_dial_in: bool,
    /// What credentials may be made with, at least one, in the order in which it is offered.
    pub(crate) digest: Vec<DigestAlgorithm>,
    /// Numbers that ask for the number of the conference, digits each.
    pub(crate) service_numbers: Vec<String>,
    /// Seconds within which calls that are placed want to be refreshed; 0: for ever.
    pub(crate) session_timer_s: u32,
    /// Most calls at a time; 0 sets no number.
    pub(crate) max_calls: usize,
}

/// How devices register.
#[derive(Debug, Clone)]
pub(crate) struct Registrar {
    /// The shortest life of a registration, seconds.
    pub(crate) min_expires_s: u32,
    /// The longest one, seconds; not below the shortest.
    pub(crate) max_expires_s: u32,
    /// Contacts of one device.
    pub(crate) max_contacts: usize,
    /// How often the way to a device behind a NAT is used, seconds; 0: never.
    pub(crate) keep_alive_s: u32,
}

/// The media plane.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    /// Local addresses for RTP, at least one.
    pub(crate) bind: Vec<IpAddr>,
    /// Ports for RTP and RTCP; holds at least one even port with its successor.
    pub(crate) ports: RangeInclusive<u16>,
    /// Mixing threads; 0 means one less than the cores, at least one.
    pub(crate) shards: usize,
    /// Codecs in our order of preference, at least one.
    pub(crate) codecs: Vec<Codec>,
    /// Whose order of codecs decides when a caller offers several.
    pub(crate) codec_order: CodecOrder,
    /// Who may become the source of a leg's audio.
    pub(crate) latch: Latch,
    /// When calls are secured by SRTP.
    pub(crate) srtp: SrtpPolicy,
    /// Comfort noise is agreed on and sent in place of silence (RFC 3389).
    pub(crate) silence_suppression: bool,
    /// Upper bound of the jitter buffer, ms.
    pub(crate) max_delay_ms: u16,
    /// Silence on RTP and RTCP after which a call is probed, seconds.
    pub(crate) timeout_s: u32,
    /// Lateness of mixing turns, 99th percentile over 5 s in ms, above which new calls are refused; 0 sets no bound.
    pub(crate) max_lateness_ms: u16,
    /// Differentiated services code point of RTP, 0 to 63.
    pub(crate) dscp: u8,
    /// Folder of the operator's prompts, if any.
    pub(crate) prompts: Option<PathBuf>,
}

/// A codec of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus.
    Opus,
    /// Uncompressed samples at the given rate in Hz: 8000, 16,000, 44,100 or 48,000.
    L16(u32),
}

/// Whose order of codecs decides when a caller offers several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodecOrder {
    /// The caller's.
    Caller,
    /// Ours.
    Ours,
}

/// Events of conferences.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    /// Which are published.
    pub(crate) publish: EventFilter,
    /// How many of each instance are kept for subscribers that resume.
    pub(crate) history: usize,
}

/// A message broker.
#[derive(Debug, Clone)]
pub(crate) struct Amqp {
    /// Where it is, with user and password.
    pub(crate) url: Secret,
    /// Whether commands that come from it are obeyed.
    pub(crate) commands: bool,
}

/// Media that are played from URLs.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    /// Whether they are played at all.
    pub(crate) enabled: bool,
    /// Whether addresses that do not belong to the public network may be asked.
    pub(crate) allow_private: bool,
    /// Size of a file, megabytes.
    pub(crate) max_mb: usize,
    /// How long a file plays, minutes.
    pub(crate) max_minutes: u64,
    /// Time for all of a fetch, seconds.
    pub(crate) timeout_s: u64,
    /// Memory for files that were fetched, megabytes; 0 keeps none.
    pub(crate) cache_mb: usize,
}

/// What the first start makes; empty texts are generated.
#[derive(Debug, Clone)]
pub(crate) struct Bootstrap {
    /// 32 lower-case hex characters, or empty.
    pub(crate) account_id: String,
    /// Name of the account.
    pub(crate) account_name: String,
    /// SIP domain of the account, or empty.
    pub(crate) realm: String,
    /// 64 printable characters, or empty.
    pub(crate) api_key: Secret,
    /// Name of the first user.
    pub(crate) username: String,
    /// His password, or empty.
    pub(crate) password: Secret,
    /// Digits; empty for no ready conference.
    pub(crate) conference_number: String,
}

/// A text that must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

/// Logging.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// A level, or levels per target separated by commas.
    pub(crate) level: String,
    /// How lines are written.
    pub(crate) format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What the command line sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
}

impl TlsUse {
    /// Returns the key of the configuration that names a file.
    pub(crate) fn key_of(self, file: TlsFile) -> &'static str {
        match (self, file) {
            (TlsUse::Http, TlsFile::Certificate) => "http.tls_cert",
            (TlsUse::Http, TlsFile::Key) => "http.tls_key",
            (TlsUse::Sip, TlsFile::Certificate) => "sip.tls_cert",
            (TlsUse::Sip, TlsFile::Key) => "sip.tls_key",
            (TlsUse::SipClient, TlsFile::Certificate) => "sip.tls_client_cert",
            (TlsUse::SipClient, TlsFile::Key) => "sip.tls_client_key",
        }
    }

    /// Returns the key that switches it on.
    fn switch(self) -> &'static str {
        match self {
            TlsUse::Http => "http.tls_bind",
            TlsUse::Sip => "sip.tls or sip.wss",
            TlsUse::SipClient => "the other one of sip.tls_client_cert and sip.tls_client_key",
        }
    }
}

impl Config {
    /// Reads the configuration from the file at `path` if there is one to read, the variables of `environment` whose
    /// names begin with `CONFAB__`, and `overrides`; later ones win.
    ///
    /// # Errors
    /// Every mistake found, one line each: an unreadable file, TOML syntax, unknown keys, wrong types and values,
    /// and keys of features that this version does not have.
    pub(crate) fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &Overrides,
    ) -> Result<Config, ConfigError> {
        let defaults = Values::defaults(DEFAULT_TOML);
        let mut values = defaults.clone();
        let mut problems = Vec::new();
        if let Some(path) = path {
            let name = path.display().to_string();
            match std::fs::read(path) {
                Ok(bytes) => values.overlay_file(&name, &bytes, &mut problems),
                Err(error) => problems.push(Problem {
                    place: Place::WholeFile(name),
                    key: None,
                    text: format!("cannot be read ({error}); name a readable file with --config"),
                }),
            }
        }
        values.overlay_environment(environment, &mut problems);
        if let Some(data_dir) = &overrides.data_dir {
            values.overlay_data_dir(data_dir, &mut problems);
        }
        let mut reader = Reader::new(&values, &defaults, problems);
        let read = reader.config();
        reader.check_together(&read);
        let problems = reader.finish();
        if problems.is_empty() {
            Ok(read)
        } else {
            Err(ConfigError { problems })
        }
    }

    /// Leaves out what a machine without IPv6 cannot listen on, where there is something else to listen on; returns the keys that lose something.
    pub(crate) fn without_ipv6(&mut self) -> Vec<&'static str> {
        fn keep<T>(list: &mut Vec<T>, ip: impl Fn(&T) -> IpAddr) -> bool {
            let stays = |item: &T| ip(item) != IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            let loses = !list.iter().all(stays) && list.iter().any(stays);
            if loses {
                list.retain(stays);
            }
            loses
        }
        let (sip, media) = (&mut self.sip, &mut self.media);
        let mut keys = Vec::new();
        for (key, list) in [
            ("sip.udp", &mut sip.udp),
            ("sip.tcp", &mut sip.tcp),
            ("sip.ws", &mut sip.ws),
        ] {
            keys.extend(keep(list, SocketAddr::ip).then_some(key));
        }
        if let Some(tls) = &mut sip.tls {
            keys.extend(keep(&mut tls.listen, SocketAddr::ip).then_some("sip.tls"));
            keys.extend(keep(&mut tls.wss, SocketAddr::ip).then_some("sip.wss"));
        }
        keys.extend(keep(&mut media.bind, |ip| *ip).then_some("media.bind"));
        keys
    }

    /// Checks what the keys name beside the configuration: certificates. Reads those files.
    ///
    /// # Errors
    /// The key, its place and what is wrong with its file.
    pub(crate) fn check_files(&self) -> Result<(), ConfigError> {
        self.tls_files()
            .try_for_each(|(usage, files)| files.check().map_err(|error| self.faulty_file(usage, error)))?;
        self.authorities().try_for_each(|(key, file)| {
            let read = authorities(file);
            read.map(drop).map_err(|text| self.faulty_key(key, text))
        })
    }

    /// Returns the keys that name authorities, with their files.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let clients = self.sip.tls.as_ref().and_then(|tls| tls.clients.as_deref());
        let servers = self.sip.tls_out.authorities.as_deref();
        let clients = clients.map(|file| ("sip.tls_clients", file));
        clients
            .into_iter()
            .chain(servers.map(|file| ("sip.tls_ca", file)))
    }

    /// Returns what certificates there are, and what for.
    pub(crate) fn tls_files(&self) -> impl Iterator<Item = (TlsUse, &TlsFiles)> {
        let http = self.http.tls.as_ref().map(|tls| (TlsUse::Http, &tls.files));
        let sip = self.sip.tls.as_ref().map(|tls| (TlsUse::Sip, &tls.files));
        let client = self
            .sip
            .tls_out
            .files
            .as_ref()
            .map(|files| (TlsUse::SipClient, files));
        http.into_iter().chain(sip).chain(client)
    }

    /// Checks that the certificates are good now. A server with one that is not starts all the same.
    ///
    /// # Errors
    /// The key, its place and what is wrong with the certificate.
    pub(crate) fn check_times(&self) -> Result<(), ConfigError> {
        let now = SystemTime::now();
        self.tls_files().try_for_each(|(usage, files)| {
            files
                .check_time(now)
                .map_err(|error| self.faulty_file(usage, error))
        })
    }

    fn faulty_file(&self, usage: TlsUse, error: TlsFilesError) -> ConfigError {
        self.faulty_key(usage.key_of(error.file), error.text)
    }

    fn faulty_key(&self, key: &str, text: String) -> ConfigError {
        let problem = Problem {
            place: self.values.setting(key).place.clone(),
            key: Some(key.to_owned()),
            text,
        };
        ConfigError {
            problems: vec![problem],
        }
    }

    /// The keys whose values differ between `self` and `other`, without those of `except`.
    pub(crate) fn changed_sections(&self, other: &Config, except: &[&str]) -> Vec<String> {
        let keys: BTreeSet<&str> = self.values.keys().collect();
        keys.into_iter()
            .filter(|key| !except.contains(key) && self.values.get(key) != other.values.get(key))
            .map(str::to_owned)
            .collect()
    }
}
