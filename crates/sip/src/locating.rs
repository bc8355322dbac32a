//! Where the servers of a URI are (RFC 3263): which services are asked for in the DNS, and in which order what it says is tried.
//!
//! Owns the choice. Never asks the DNS itself: the answers are handed in, and nothing here waits.

#[cfg(test)]
mod tests;

use crate::endpoint::Transport;
use crate::uri::{SipScheme, SipUri};

/// Records of one kind that are looked at.
const MOST_RECORDS: usize = 32;

/// A rule that leads from a domain to one of its services (RFC 3403).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NaptrRecord {
    /// The lowest comes first, and others only where none of it can be used.
    pub order: u16,
    /// Among those of one order the lowest comes first.
    pub preference: u16,
    /// `s` where the replacement names SRV records.
    pub flags: String,
    /// `SIP+D2U` and the like.
    pub service: String,
    /// The name that is asked next.
    pub replacement: String,
}

/// A server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// The lowest comes first.
    pub priority: u16,
    /// Its share among those of one priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its host name; the root where there is decidedly no such service.
    pub target: String,
}

/// A name that has SRV records, and what its servers speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The transport.
    pub transport: Transport,
    /// The name to ask for.
    pub name: String,
}

/// How the servers of a URI are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// NAPTR records of the host are asked for first: what they name takes the place of `services`, if that is anything.
    pub asks_naptr: bool,
    /// Services whose SRV records are asked for, the preferred one first; empty where the URI says port or address.
    pub services: Vec<Service>,
    /// The transport at the host's own addresses, where no service is known.
    pub transport: Transport,
    /// The port there.
    pub port: u16,
    is_secure: bool,
}

impl Route {
    /// Finds out how to look for the servers of `uri` (RFC 3263 §4.1, §4.2), reached by the transports of `available`, the preferred one
    /// first. `None` when it asks for one that is not among them, or for one that is not secure in a `sips` URI.
    pub fn of(uri: &SipUri, available: &[Transport]) -> Option<Route> {
        let is_secure = uri.scheme == SipScheme::Sips;
        let may_use =
            |transport: &Transport| available.contains(transport) && (!is_secure || transport.is_secure());
        let named = match uri.transport() {
            None => None,
            // RFC 3261 §26.2.2: TCP under the TLS that the scheme asks for.
            Some(value) => match Transport::from_uri_value(value.as_bytes())? {
                Transport::Tcp if is_secure => Some(Transport::Tls),
                named => Some(named),
            },
        };
        let mut unnamed = available.iter().copied();
        let transport = match named {
            Some(named) => Some(named),
            None if is_secure => Some(Transport::Tls),
            // TLS is what a domain may say it wants, not what is guessed.
            None => unnamed.find(|transport| *transport != Transport::Tls),
        };
        let transport = transport.filter(may_use)?;
        let server = uri.server_host()?;
        let is_settled = server.ip().is_some() || uri.port.is_some();
        let guessed: Vec<Transport> = match named {
            _ if is_settled => Vec::new(),
            Some(named) => vec![named],
            None if is_secure => vec![Transport::Tls],
            None => available
                .iter()
                .copied()
                .filter(|transport| *transport != Transport::Tls)
                .collect(),
        };
        let host = server.to_string();
        let host = host.trim_end_matches('.');
        let services = guessed.into_iter().filter_map(|transport| {
            let label = label(transport)?;
            let name = format!("{label}.{host}");
            Some(Service { transport, name })
        });
        Some(Route {
            asks_naptr: named.is_none() && !is_settled,
            services: services.collect(),
            transport,
            port: uri.port.unwrap_or(transport.default_port()),
            is_secure,
        })
    }

    /// Returns the services that a domain's rules name, in their order; those that cannot be used are left out, and with the first order of
    /// which something can be used the rest (RFC 3403 §4.1).
    pub fn by_rules(&self, mut rules: Vec<NaptrRecord>, available: &[Transport]) -> Vec<Service> {
        rules.truncate(MOST_RECORDS);
        rules.sort_by_key(|rule| (rule.order, rule.preference));
        let mut found: Vec<Service> = Vec::new();
        let mut order = None;
        for rule in rules {
            if order.is_some_and(|order| order != rule.order) {
                break;
            }
            let transport = transport_of(&rule.service);
            let usable = transport.filter(|transport| {
                let is_secure = !self.is_secure || transport.is_secure();
                available.contains(transport) && is_secure
            });
            let name = rule.replacement.trim_end_matches('.');
            let Some(transport) = usable.filter(|_| rule.flags.eq_ignore_ascii_case("s") && !name.is_empty())
            else {
                continue;
            };
            order = Some(rule.order);
            let service = Service {
                transport,
                name: name.to_owned(),
            };
            if !found.contains(&service) {
                found.push(service);
            }
        }
        found
    }
}

/// Puts the servers of a service in the order in which they are tried (RFC 2782): by priority, and within one by lot, where the weight is the share
/// of the tickets. `random` draws a number below its argument, which is never 0. Entries that say that there is no server are left out.
pub fn in_order(mut servers: Vec<SrvRecord>, random: &mut dyn FnMut(u32) -> u32) -> Vec<SrvRecord> {
    servers.truncate(MOST_RECORDS);
    servers.retain(|server| !server.target.trim_end_matches('.').is_empty() && server.port != 0);
    // Those without weight come first, so that they have a chance at all.
    servers.sort_by_key(|server| (server.priority, server.weight != 0));
    let mut ordered = Vec::with_capacity(servers.len());
    while let Some(priority) = servers.first().map(|server| server.priority) {
        let equals = servers
            .iter()
            .take_while(|server| server.priority == priority)
            .count();
        let tickets: u32 = servers[..equals]
            .iter()
            .map(|server| u32::from(server.weight))
            .sum();
        let drawn = random(tickets + 1);
        let mut sum = 0;
        let winner = servers[..equals].iter().position(|server| {
            sum += u32::from(server.weight);
            sum >= drawn
        });
        ordered.push(servers.remove(winner.unwrap_or(0)));
    }
    ordered
}

/// The first two labels of a service (RFC 3263 §4.1).
fn label(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Udp => Some("_sip._udp"),
        Transport::Tcp => Some("_sip._tcp"),
        Transport::Tls => Some("_sips._tcp"),
        // RFC 7118 has none: nobody looks for a WebSocket's other end.
        Transport::Ws | Transport::Wss => None,
    }
}

/// What the servers of a rule's service speak (RFC 3263 §4.1, its table).
fn transport_of(service: &str) -> Option<Transport> {
    match service {
        _ if service.eq_ignore_ascii_case("SIP+D2U") => Some(Transport::Udp),
        _ if service.eq_ignore_ascii_case("SIP+D2T") => Some(Transport::Tcp),
        _ if service.eq_ignore_ascii_case("SIPS+D2T") => Some(Transport::Tls),
        _ => None,
    }
}
