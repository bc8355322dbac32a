//! Asks the DNS: rules, services and addresses of names, and remembers the answers for as long as they are good.
//!
//! Owns the resolver and its bounds. What the answers mean is decided in `confab_sip` and `reach`. Never on a media thread: its tasks are those of the
//! runtime.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use confab_sip::{NaptrRecord, SrvRecord};
use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{Name, RData, Record, RecordType},
};

/// How long one name server may take, and how often it is asked.
const ANSWER_TIME: Duration = Duration::from_millis(1500);
const ATTEMPTS: usize = 2;
/// Answers that are remembered.
const MOST_ANSWERS: u64 = 4096;
/// How long an answer is believed at most, and how long one that says that there is nothing.
const LONGEST_KNOWN: Duration = Duration::from_secs(3600);
const LONGEST_UNKNOWN: Duration = Duration::from_secs(60);

/// Asks the DNS; clones share what it has been told. The default asks the system, for addresses alone.
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    dns: Option<TokioResolver>,
    /// Whoever the machine asks: what the DNS does not know may be known to it by other means.
    asks_system: bool,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// Asks these servers, or those of the machine (`/etc/resolv.conf`).
    pub(crate) fn new(servers: &[SocketAddr]) -> Resolver {
        let builder = if servers.is_empty() {
            match TokioResolver::builder_tokio() {
                Ok(builder) => builder,
                Err(error) => {
                    tracing::warn!(%error, "the name servers of this machine are not known: calls go by addresses alone");
                    return Resolver {
                        dns: None,
                        asks_system: true,
                    };
                }
            }
        } else {
            let config =
                ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(name_server).collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let mut builder = builder;
        bound(builder.options_mut());
        let dns = builder.build();
        if let Err(error) = &dns {
            tracing::warn!(%error, "the DNS cannot be asked: calls go by addresses alone");
        }
        Resolver {
            dns: dns.ok(),
            asks_system: servers.is_empty(),
        }
    }

    /// Says whether a name server answers, whatever it says.
    pub(crate) async fn is_answered(&self) -> bool {
        let Some(dns) = &self.dns else { return false };
        match dns.lookup(Name::root(), RecordType::NS).await {
            Ok(_) => true,
            Err(error) => error.is_no_records_found(),
        }
    }

    /// Returns the rules of a domain; none where it has none, or nobody answers.
    pub(crate) async fn naptr(&self, domain: &str) -> Vec<NaptrRecord> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let read = |record: &Record| match &record.data {
            RData::NAPTR(rule) => Some(NaptrRecord {
                order: rule.order,
                preference: rule.preference,
                flags: text(&rule.flags),
                service: text(&rule.services),
                replacement: rule.replacement.to_ascii(),
            }),
            _ => None,
        };
        self.ask(domain, RecordType::NAPTR, read).await
    }

    /// Returns the servers of a service; none where there is no such service, or nobody answers.
    pub(crate) async fn srv(&self, service: &str) -> Vec<SrvRecord> {
        let read = |record: &Record| match &record.data {
            RData::SRV(server) => Some(SrvRecord {
                priority: server.priority,
                weight: server.weight,
                port: server.port,
                target: server.target.to_ascii(),
            }),
            _ => None,
        };
        self.ask(service, RecordType::SRV, read).await
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, read: impl Fn(&Record) -> Option<T>) -> Vec<T> {
        let Some(dns) = &self.dns else { return Vec::new() };
        // The root at the end: no search list for names of services.
        let Ok(mut name) = Name::from_ascii(name) else {
            return Vec::new();
        };
        name.set_fqdn(true);
        match dns.lookup(name, kind).await {
            Ok(found) => found.answers().iter().filter_map(read).collect(),
            Err(error) => {
                tracing::trace!(%error, ?kind, "no answer of the DNS");
                Vec::new()
            }
        }
    }

    /// Returns the addresses of a host, IPv4 first: that is what most phones have.
    pub(crate) async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let mut found = match &self.dns {
            None => Vec::new(),
            Some(dns) => match dns.lookup_ip(host).await {
                Ok(found) => found.iter().collect(),
                Err(error) => {
                    tracing::debug!(%error, "a host name was not found");
                    Vec::new()
                }
            },
        };
        if found.is_empty() && (self.asks_system || self.dns.is_none()) {
            found = ask_system(host).await;
        }
        for ip in &mut found {
            *ip = ip.to_canonical();
        }
        found.sort_by_key(|ip| !ip.is_ipv4());
        found.dedup();
        found
    }
}

async fn ask_system(host: &str) -> Vec<IpAddr> {
    match tokio::net::lookup_host((host, 0)).await {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => {
            tracing::debug!(%error, "a host name was not found");
            Vec::new()
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn bound(options: &mut ResolverOpts) {
    options.timeout = ANSWER_TIME;
    options.attempts = ATTEMPTS;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = MOST_ANSWERS;
    options.positive_max_ttl = Some(LONGEST_KNOWN);
    options.negative_max_ttl = Some(LONGEST_UNKNOWN);
}
