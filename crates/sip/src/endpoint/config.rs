//! Owns what an endpoint is told at its start: names, addresses and limits.
//!
//! Never reads a file or the environment.

use std::net::IpAddr;
use std::time::Duration;

use crate::uri::HostPort;

/// How an endpoint presents itself and how much it takes on.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// What is put into Via and Contact instead of the local address of the flow.
    pub advertised: Advertised,
    /// Networks whose peers are shown the local address of the flow all the same; this machine always is.
    pub inside: Vec<Network>,
    /// Networks that are trusted not to forge addresses, and whose private addresses in a Contact are reached directly.
    pub local_nets: Vec<Network>,
    /// Value of Server in responses and of User-Agent in requests; empty leaves both out.
    pub server_name: String,
    /// Media types of bodies that are understood, in lower case; anything else in an INVITE gets 415.
    pub accept: Vec<String>,
    /// Option tags that are understood (RFC 3261 §19.2), in lower case; others in Require get 420.
    pub supported: Vec<String>,
    /// Least seconds between refreshes of a session that are agreed to (RFC 4028 §5): at least 90.
    pub min_session_expires_s: u32,
    /// Seconds that sessions of our own calls live without a refresh (RFC 4028 §7.1): our INVITEs ask for it, what the far side makes of it
    /// holds. 0 asks for nothing.
    pub session_expires_s: u32,
    /// Whether the user is asked about OPTIONS outside of calls ([`Event::Options`](crate::Event::Options)): the answer is to be
    /// the one that an INVITE would get (RFC 3261 §11.2), which only the user knows. Otherwise 200 is sent.
    pub asks_about_options: bool,
    /// Whether REGISTER reaches the user ([`Event::Register`](crate::Event::Register)); otherwise 405 is sent.
    pub takes_registrations: bool,
    /// What can be subscribed to ([`Event::Subscribe`](crate::Event::Subscribe)); without any, SUBSCRIBE gets 405.
    pub event_packages: Vec<EventPackage>,
    /// How long the user of the endpoint may take to answer an INVITE before it is refused with 480.
    pub answer_timeout: Duration,
    /// How long the far side may ring before our INVITE is cancelled.
    pub ring_timeout: Duration,
    /// Caps on what is kept in memory.
    pub limits: Limits,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            advertised: Advertised::default(),
            inside: Vec::new(),
            local_nets: Vec::new(),
            server_name: format!("confab/{}", env!("CARGO_PKG_VERSION")),
            accept: vec!["application/sdp".to_owned()],
            supported: ["timer", "replaces"].map(str::to_owned).to_vec(),
            min_session_expires_s: 90,
            session_expires_s: 0,
            asks_about_options: false,
            takes_registrations: false,
            event_packages: Vec::new(),
            answer_timeout: Duration::from_secs(180),
            ring_timeout: Duration::from_secs(180),
            limits: Limits::default(),
        }
    }
}

/// How this side is reached from outside of its own networks, by peers of each family. `None`: at the local address of the flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Host, and port if it differs, for peers over IPv4.
    pub ipv4: Option<HostPort>,
    /// The same for peers over IPv6.
    pub ipv6: Option<HostPort>,
}

impl Advertised {
    /// Returns what a peer at this address is told.
    pub(super) fn towards(&self, peer: IpAddr) -> Option<&HostPort> {
        let own_family = if peer.to_canonical().is_ipv4() {
            &self.ipv4
        } else {
            &self.ipv6
        };
        own_family.as_ref()
    }
}

/// Something that is told to subscribers (RFC 6665 §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPackage {
    /// Its name in Event, in lower case.
    pub name: String,
    /// Media type of what is told.
    pub content_type: String,
}

/// Caps on what one endpoint keeps in memory. What does not fit is refused with 503 or dropped, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls, from the INVITE until the last message of the ending call was answered or given up.
    pub calls: usize,
    /// Transactions of all four kinds together. Finished ones linger for 5 to 32 s, so about 40 times the calls per second.
    /// Requests of our own are never held back by this cap, only those that arrive.
    pub transactions: usize,
    /// INVITEs of one source whose final response was not acknowledged yet: each costs up to eleven repetitions, which a
    /// forged source address would aim at somebody else. A source is an IPv4 address or an IPv6 network of 64 bits;
    /// loopback and `local_nets` are not limited.
    pub unacknowledged_per_source: usize,
    /// OPTIONS that wait for the user's answer.
    pub queries: usize,
    /// REGISTERs that wait for the user's reply.
    pub registers: usize,
    /// Subscriptions, those that wait for the user's consent included.
    pub subscriptions: usize,
    /// Different 2xx responses to one INVITE of ours that are answered with ACK and BYE; further ones are ignored.
    pub forks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            calls: 20_000,
            transactions: 100_000,
            unacknowledged_per_source: 256,
            queries: 256,
            registers: 2048,
            subscriptions: 1000,
            forks: 8,
        }
    }
}

/// An IP network: every address whose first `prefix_bits` bits equal those of `address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Any address of the network.
    pub address: IpAddr,
    /// Length of the prefix: 0 to 32 for IPv4, 0 to 128 for IPv6; larger values match one address only.
    pub prefix_bits: u8,
}

impl Network {
    /// True when `ip` is in this network. Addresses of the other family never are.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix_bits.min(32));
                u64::from(network.to_bits()) >> shift == u64::from(ip.to_bits()) >> shift
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix_bits.min(128));
                network.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// Whether new work is taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// New INVITEs reach the user.
    #[default]
    Open,
    /// New INVITEs and OPTIONS are answered 503 (RFC 3261 §21.5.4); running calls are served as ever.
    Refusing {
        /// Value of Retry-After in seconds.
        retry_after_s: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_of_its_prefix() {
        let rows = [
            ("10.0.0.0", 8, "10.255.1.2", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("192.168.1.7", 32, "192.168.1.7", true),
            ("192.168.1.7", 32, "192.168.1.8", false),
            ("192.168.1.7", 200, "192.168.1.7", true),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("0.0.0.0", 0, "::1", false),
            ("fd00::", 8, "fdab::1", true),
            ("fd00::", 8, "fe80::1", false),
            ("::", 0, "2001:db8::1", true),
        ];
        for (address, prefix_bits, ip, inside) in rows {
            let network = Network {
                address: address.parse().expect("address"),
                prefix_bits,
            };
            assert_eq!(
                network.contains(ip.parse().expect("ip")),
                inside,
                "{address}/{prefix_bits} {ip}"
            );
        }
    }
}
