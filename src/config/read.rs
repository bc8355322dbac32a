//! From plain values to checked, typed settings.
//!
//! Owns the range and form of every key. A mistake is noted and the default used in its place, so that one run names
//! all mistakes.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use confab_api::event::EventFilter;
use confab_conference::EventKind;
use confab_media::Latch;
use confab_reception::GuardLimits;
use confab_sdp::SrtpPolicy;
use confab_sip::PasswordLimits;

use super::{
    Amqp, Bootstrap, CodecOrder, Config, Events, Fetch, Http, HttpTls, Log, LogFormat, Media, Recording,
    Registrar, Secret, Sip, SipTls, SipTlsOut, TlsUse,
    error::{Place, Problem},
    parse::{
        address_and_port, address_or_none, advertised, check, codecs, digest_algorithms, host, listeners,
        local_addresses, log_level, name_servers, numbers, ports,
    },
    values::{Value, Values},
};
use crate::{
    dialling::{OutboundLimits, Pattern},
    tls::{TlsFile, TlsFiles},
};

/// The rates that recordings may have, in Hz.
const RECORDING_RATES_HZ: [u32; 5] = [8000, 16_000, 24_000, 32_000, 48_000];

/// The shortest session timer that RFC 4028 §4 allows, seconds.
const LEAST_SESSION_TIMER_S: u32 = 90;

/// Reads settings and collects what is wrong with them.
pub(super) struct Reader<'a> {
    values: &'a Values,
    defaults: &'a Values,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values, defaults: &'a Values, problems: Vec<Problem>) -> Self {
        Reader {
            values,
            defaults,
            problems,
        }
    }

    /// What is wrong, in the order of the layers and of the lines.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| match problem.place {
            Place::WholeFile(_) => (0, 0),
            Place::File { line, .. } => (0, line),
            Place::Environment(_) => (1, 0),
            Place::CommandLine(_) => (2, 0),
            Place::Default => (3, 0),
        });
        self.problems
    }

    /// Notes what the keys have against each other, as far as each is right by itself.
    pub(super) fn check_together(&mut self, config: &Config) {
        if self.problems.is_empty() {
            self.problems = config.shared_ports();
        }
    }

    pub(super) fn config(&mut self) -> Config {
        Config {
            data_dir: self.text("data_dir", |text| match text {
                "" => Err("is empty: name a folder".to_owned()),
                text => Ok(PathBuf::from(text)),
            }),
            http: self.http(),
            sip: self.sip(),
            media: self.media(),
            recording: self.recording(),
            events: self.events(),
            amqp: self.amqp(),
            fetch: self.fetch(),
            outbound: self.outbound(),
            pin_guard: self.pin_guard(),
            registrar: self.registrar(),
            password_guard: self.password_guard(),
            store_url: self.text("store.url", |text| {
                let schemes = ["postgres://", "postgresql://"];
                let fits = schemes.iter().any(|scheme| text.starts_with(scheme));
                check(text, text.is_empty() || fits)
                    .map(Secret)
                    .map_err(|()| "must begin with postgres://, or be \"\" for SQLite in data_dir".to_owned())
            }),
            bootstrap: self.bootstrap(),
            log: self.log(),
            values: self.values.clone(),
        }
    }

    fn http(&mut self) -> Http {
        Http {
            bind: self.text("http.bind", address_and_port),
            websocket_bind: self.text("http.websocket_bind", address_or_none),
            max_connections_per_ip: self.number("http.max_connections_per_ip", 0..=100_000),
            websocket_tls_bind: self.websocket_tls_bind(),
            tls: self.http_tls(),
            admin_bind: self.text("http.admin_bind", address_or_none),
            rate_limit: self.flag("http.rate_limit"),
            trusted_proxies: self.list("http.trusted_proxies", |items| {
                items.iter().map(|item| item.parse()).collect()
            }),
            token_ttl_s: self.number("http.token_ttl_s", 1..=31_536_000),
        }
    }

    fn http_tls(&mut self) -> Option<HttpTls> {
        let bind = self.text("http.tls_bind", address_or_none)?;
        let files = self.tls_files(TlsUse::Http);
        Some(HttpTls { bind, files })
    }

    /// Reads which files TLS wants for what it is used for.
    fn tls_files(&mut self, usage: TlsUse) -> TlsFiles {
        let mut file = |file| {
            let key = usage.key_of(file);
            let path = self.text(key, |text| Ok(PathBuf::from(text)));
            if path.as_os_str().is_empty() {
                let wanted_by = usage.switch();
                self.refuse(
                    key,
                    format!("is empty, and {wanted_by} wants it: name a PEM file"),
                );
            }
            path
        };
        TlsFiles {
            certificate: file(TlsFile::Certificate),
            key: file(TlsFile::Key),
        }
    }

    fn sip_tls(&mut self) -> Option<SipTls> {
        let listen = self.list("sip.tls", listeners);
        let wss = self.list("sip.wss", listeners);
        let clients = self.file("sip.tls_clients");
        if listen.is_empty() && clients.is_some() {
            // Who sets it means that strangers are kept out.
            self.refuse(
                "sip.tls_clients",
                "keeps nobody out while sip.tls is empty: who comes by sip.wss or without TLS shows no certificate"
                    .to_owned(),
            );
        }
        let is_on = !(listen.is_empty() && wss.is_empty());
        is_on.then(|| SipTls {
            listen,
            wss,
            files: self.tls_files(TlsUse::Sip),
            clients,
        })
    }

    fn sip_tls_out(&mut self) -> SipTlsOut {
        let names = [TlsFile::Certificate, TlsFile::Key].map(|file| TlsUse::SipClient.key_of(file));
        let shows = names.map(|key| self.file(key)).iter().any(Option::is_some);
        SipTlsOut {
            authorities: self.file("sip.tls_ca"),
            files: shows.then(|| self.tls_files(TlsUse::SipClient)),
        }
    }

    /// Reads a key that names a file, or none.
    fn file(&mut self, key: &'static str) -> Option<PathBuf> {
        self.text(key, |text| Ok((!text.is_empty()).then(|| PathBuf::from(text))))
    }

    fn websocket_tls_bind(&mut self) -> Option<SocketAddr> {
        let key = "http.websocket_tls_bind";
        let bind = self.text(key, address_or_none);
        if bind.is_some() && self.text("http.tls_bind", address_or_none).is_none() {
            self.refuse(
                key,
                "wants the certificate of http.tls_bind, which is empty".to_owned(),
            );
        }
        bind
    }

    fn sip(&mut self) -> Sip {
        let sip = Sip {
            udp: self.list("sip.udp", listeners),
            tcp: self.list("sip.tcp", listeners),
            ws: self.list("sip.ws", listeners),
            tls: self.sip_tls(),
            tls_out: self.sip_tls_out(),
            name_servers: self.list("sip.name_servers", name_servers),
            advertised_address: self.text("sip.advertised_address", advertised),
            advertised_to_private: self.flag("sip.advertised_to_private"),
            local_nets: self.list("sip.local_nets", |items| {
                items.iter().map(|item| item.parse()).collect()
            }),
            anonymous_dial_in: self.flag("sip.anonymous_dial_in"),
            digest: self.list("sip.digest", digest_algorithms),
            service_numbers: self.list("sip.service_numbers", numbers),
            session_timer_s: self.number("sip.session_timer_s", 0..=86_400),
            max_calls: self.number("sip.max_calls", 0..=1_000_000),
        };
        if (1..LEAST_SESSION_TIMER_S).contains(&sip.session_timer_s) {
            self.refuse(
                "sip.session_timer_s",
                format!("has to be 0 or at least {LEAST_SESSION_TIMER_S}"),
            );
        }
        if sip.udp.is_empty() && sip.tcp.is_empty() && sip.ws.is_empty() && sip.tls.is_none() {
            self.refuse(
                "sip.udp",
                "sip.udp, sip.tcp, sip.tls, sip.ws and sip.wss are all empty: no call could come in"
                    .to_owned(),
            );
        }
        sip
    }

    fn outbound(&mut self) -> OutboundLimits {
        let patterns = |items: &[String]| {
            items
                .iter()
                .map(|item| Pattern::parse(item))
                .collect::<Result<Vec<_>, _>>()
        };
        OutboundLimits {
            allow: self.list("outbound.allow", patterns),
            deny: self.list("outbound.deny", patterns),
            emergency: self.list("outbound.emergency", numbers),
            per_minute: self.number("outbound.per_minute", 0..=100_000),
            concurrent: self.number("outbound.concurrent", 0..=100_000),
        }
    }

    fn recording(&mut self) -> Recording {
        let rate_hz = self.number("recording.rate", 8000..=48_000);
        if !RECORDING_RATES_HZ.contains(&rate_hz) {
            let rates = RECORDING_RATES_HZ.map(|rate| rate.to_string()).join(", ");
            self.refuse("recording.rate", format!("must be one of {rates}"));
        }
        Recording {
            rate_hz,
            announce: self.flag("recording.announce"),
            retention_days: self.number("recording.retention_days", 0..=36_500),
            max_gb: self.number("recording.max_gb", 0..=1_000_000),
        }
    }

    fn pin_guard(&mut self) -> GuardLimits {
        let seconds = |seconds: u64| seconds * 1000;
        GuardLimits {
            source_tries: self.number("pin_guard.source_tries", 1..=10_000),
            window_ms: seconds(self.number("pin_guard.source_window_s", 1..=86_400)),
            block_ms: seconds(self.number("pin_guard.source_block_s", 1..=604_800)),
            conference_tries: self.number("pin_guard.conference_tries", 1..=10_000),
        }
    }

    fn registrar(&mut self) -> Registrar {
        let registrar = Registrar {
            min_expires_s: self.number("registrar.min_expires_s", 1..=3600),
            max_expires_s: self.number("registrar.max_expires_s", 1..=604_800),
            max_contacts: self.number("registrar.max_contacts", 1..=100),
            keep_alive_s: self.number("registrar.keep_alive_s", 0..=3600),
        };
        if registrar.max_expires_s < registrar.min_expires_s {
            let min = registrar.min_expires_s;
            self.refuse(
                "registrar.max_expires_s",
                format!("is below registrar.min_expires_s ({min})"),
            );
        }
        registrar
    }

    fn password_guard(&mut self) -> PasswordLimits {
        PasswordLimits {
            user_tries: self.number("password_guard.user_tries", 1..=10_000),
            source_tries: self.number("password_guard.source_tries", 1..=10_000),
            window: Duration::from_secs(self.number("password_guard.window_s", 1..=86_400)),
            block: Duration::from_secs(self.number("password_guard.block_s", 1..=604_800)),
        }
    }

    fn media(&mut self) -> Media {
        Media {
            bind: self.list("media.bind", local_addresses),
            ports: self.text("media.ports", ports),
            shards: self.number("media.shards", 0..=1024),
            codecs: self.list("media.codecs", codecs),
            codec_order: self.text("media.codec_order", |text| match text {
                "caller" => Ok(CodecOrder::Caller),
                "ours" => Ok(CodecOrder::Ours),
                other => Err(format!("'{other}' is neither caller nor ours")),
            }),
            latch: self.text("media.latch", |text| match text {
                "signalling" => Ok(Latch::Signalling),
                "any" => Ok(Latch::Any),
                other => Err(format!("'{other}' is neither signalling nor any")),
            }),
            srtp: self.text("media.srtp", |text| match text {
                "off" => Ok(SrtpPolicy::Off),
                "accept" => Ok(SrtpPolicy::Accept),
                "offer" => Ok(SrtpPolicy::Offer),
                "require" => Ok(SrtpPolicy::Require),
                other => Err(format!("'{other}' is none of off, accept, offer, require")),
            }),
            silence_suppression: self.flag("media.silence_suppression"),
            max_delay_ms: self.number("media.max_delay_ms", 20..=1000),
            timeout_s: self.number("media.timeout_s", 1..=86_400),
            max_lateness_ms: self.number("media.max_lateness_ms", 0..=1000),
            dscp: self.number("media.dscp", 0..=63),
            prompts: self.text("media.prompts", |text| {
                Ok((!text.is_empty()).then(|| PathBuf::from(text)))
            }),
        }
    }

    fn events(&mut self) -> Events {
        let names = |items: &[String], events: &[&str]| match items
            .iter()
            .find(|item| !events.contains(&item.as_str()))
        {
            Some(unknown) => Err(format!("'{unknown}' is none of {}", events.join(", "))),
            None => Ok(items.to_vec()),
        };
        let legs = self.list("events.publish_participant_event", |items| {
            names(items, EventKind::LEG_NAMES)
        });
        let conferences = self.list("events.publish_conference_event", |items| {
            names(items, EventKind::CONFERENCE_NAMES)
        });
        Events {
            // Both lists hold known names only.
            publish: EventFilter::new(&legs, &conferences).unwrap_or_default(),
            history: self.number("events.history", 0..=100_000),
        }
    }

    fn amqp(&mut self) -> Option<Amqp> {
        let commands = self.flag("amqp.commands");
        let url = self.text("amqp.url", |text| {
            let fits = text.is_empty() || text.parse::<lapin::uri::AMQPUri>().is_ok();
            // It may have a password in it: not repeated.
            check(text, fits).map(Secret).map_err(|()| {
                "is no address of a broker, such as amqp://user:password@host:5672/%2f (or amqps://)"
                    .to_owned()
            })
        });
        let is_off = matches!(&self.values.setting("amqp.url").value, Value::Text(text) if text.is_empty());
        if is_off && commands {
            self.refuse("amqp.commands", "wants a broker: set amqp.url".to_owned());
        }
        (!url.0.is_empty()).then_some(Amqp { url, commands })
    }

    fn fetch(&mut self) -> Fetch {
        Fetch {
            enabled: self.flag("fetch.enabled"),
            allow_private: self.flag("fetch.allow_private"),
            max_mb: self.number("fetch.max_mb", 1..=1000),
            max_minutes: self.number("fetch.max_minutes", 1..=240),
            timeout_s: self.number("fetch.timeout_s", 1..=300),
            cache_mb: self.number("fetch.cache_mb", 0..=100_000),
        }
    }

    fn bootstrap(&mut self) -> Bootstrap {
        Bootstrap {
            account_id: self.text("bootstrap.account_id", |text| {
                let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                check(
                    text,
                    text.is_empty() || (text.len() == 32 && text.bytes().all(hex)),
                )
                .map_err(|()| "must be 32 lower-case hex characters, or \"\" to generate it".to_owned())
            }),
            account_name: self.text("bootstrap.account_name", |text| {
                check(text, !text.trim().is_empty() && text.chars().count() <= 128)
                    .map_err(|()| "must have 1 to 128 characters".to_owned())
            }),
            realm: self.text("bootstrap.realm", host),
            api_key: self.text("bootstrap.api_key", |text| {
                let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_graphic());
                check(text, text.is_empty() || fits).map(Secret).map_err(|()| {
                    "must be 64 printable characters without blanks, or \"\" to generate it".to_owned()
                })
            }),
            username: self.text("bootstrap.username", |text| {
                let named = |c: char| c.is_alphanumeric() || "+@._-".contains(c);
                check(
                    text,
                    (1..=256).contains(&text.chars().count()) && text.chars().all(named),
                )
                .map_err(|()| "must be 1 to 256 letters, digits, '+', '@', '.', '_' or '-'".to_owned())
            }),
            password: self.text("bootstrap.password", |text| Ok(Secret(text.to_owned()))),
            conference_number: self.text("bootstrap.conference_number", |text| {
                check(
                    text,
                    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit()),
                )
                .map_err(|()| "must be digits, or \"\" for no ready conference".to_owned())
            }),
        }
    }

    fn log(&mut self) -> Log {
        Log {
            level: self.text("log.level", log_level),
            format: self.text("log.format", |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                other => Err(format!("'{other}' is neither text nor json")),
            }),
        }
    }

    fn text<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.read(key, |value| match value {
            Value::Text(text) => parse(text),
            _ => unreachable!("{key} is a string in the defaults, and types are checked against those"),
        })
    }

    fn list<T>(&mut self, key: &str, parse: impl Fn(&[String]) -> Result<T, String>) -> T {
        self.read(key, |value| match value {
            Value::List(items) => parse(items),
            _ => unreachable!("{key} is a list in the defaults, and types are checked against those"),
        })
    }

    fn flag(&mut self, key: &str) -> bool {
        self.read(key, |value| match value {
            Value::Flag(flag) => Ok(*flag),
            _ => unreachable!("{key} is a flag in the defaults, and types are checked against those"),
        })
    }

    fn number<T: TryFrom<i64>>(&mut self, key: &str, range: RangeInclusive<i64>) -> T {
        self.read(key, |value| match value {
            Value::Integer(number) => Some(*number)
                .filter(|number| range.contains(number))
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| format!("{number} is not within {} to {}", range.start(), range.end())),
            _ => unreachable!("{key} is a number in the defaults, and types are checked against those"),
        })
    }

    fn read<T>(&mut self, key: &str, parse: impl Fn(&Value) -> Result<T, String>) -> T {
        match parse(&self.values.setting(key).value) {
            Ok(read) => read,
            Err(text) => {
                self.refuse(key, text);
                parse(&self.defaults.setting(key).value).unwrap_or_else(|text| {
                    unreachable!("the built-in default of {key} is valid, and a test reads it: {text}")
                })
            }
        }
    }

    fn refuse(&mut self, key: &str, text: String) {
        let place: Place = self.values.setting(key).place.clone();
        self.problems.push(Problem {
            place,
            key: Some(key.to_owned()),
            text,
        });
    }
}
