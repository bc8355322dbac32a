//! Which addresses and names are this server's own, and which of them a peer should see.
//!
//! Owns a small cache of route look-ups; sends nothing (connecting a UDP socket only asks the kernel for a route).

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Look-ups kept before the cache starts anew.
const CACHE_LIMIT: usize = 4096;

/// How long a look-up is believed: addresses come and go with interfaces.
const CACHE_TIME: Duration = Duration::from_secs(30);

type Cache<T> = Mutex<HashMap<IpAddr, (Instant, T)>>;

/// This server's own addresses and names.
pub(crate) struct LocalAddresses {
    advertised: Option<Advertised>,
    names: BTreeSet<String>,
    routes: Cache<Option<IpAddr>>,
    own: Cache<bool>,
}

/// The configured address that peers outside the local networks see.
#[derive(Debug, Clone)]
pub(crate) struct Advertised {
    /// As configured: an IP address or a host name.
    pub(crate) host: String,
    /// The address itself, or what the name resolved to at start; put into SDP.
    pub(crate) ip: IpAddr,
}

impl LocalAddresses {
    /// `advertised` from `sip.advertised_address`; `host_name` is the machine's.
    pub(crate) fn new(advertised: Option<Advertised>, host_name: Option<String>) -> Self {
        let mut names: BTreeSet<String> = ["localhost".to_owned()].into();
        names.extend(host_name.map(|name| name.to_ascii_lowercase()));
        names.extend(
            advertised
                .as_ref()
                .map(|advertised| advertised.host.to_ascii_lowercase()),
        );
        Self {
            advertised,
            names,
            routes: Mutex::default(),
            own: Mutex::default(),
        }
    }

    /// The configured advertised address.
    pub(crate) fn advertised(&self) -> Option<&Advertised> {
        self.advertised.as_ref()
    }

    /// Whether a request URI's host (`name`, or an address, brackets removed) means this server.
    pub(crate) fn is_own_host(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(ip) => self.is_own_address(ip),
            Err(_) => self
                .names
                .contains(host.trim_end_matches('.').to_ascii_lowercase().as_str()),
        }
    }

    fn is_own_address(&self, ip: IpAddr) -> bool {
        if self
            .advertised
            .as_ref()
            .is_some_and(|advertised| advertised.ip == ip)
        {
            return true;
        }
        self.is_on_this_machine(ip)
    }

    /// Whether a socket can be bound to this address.
    pub(crate) fn is_on_this_machine(&self, ip: IpAddr) -> bool {
        cached(&self.own, ip, || {
            // Only an address of this machine can be bound (any port, released at once).
            !ip.is_unspecified() && !ip.is_multicast() && UdpSocket::bind((ip, 0)).is_ok()
        })
    }

    /// The address under which the network reaches this machine: the advertised one, `bound` when it is no wildcard,
    /// else the source address of the default route (nothing is sent), else loopback.
    pub(crate) fn towards_network(&self, bound: IpAddr) -> IpAddr {
        // TEST-NET-1 (RFC 5737): routed like any far address, never a real host.
        const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let advertised = self.advertised.as_ref().map(|advertised| advertised.ip);
        advertised
            .or_else(|| self.towards(bound, FAR))
            .unwrap_or(Ipv4Addr::LOCALHOST.into())
    }

    /// The source address that this machine uses towards `peer`; `bound` itself unless that is a wildcard.
    /// `None` when there is no route.
    pub(crate) fn towards(&self, bound: IpAddr, peer: IpAddr) -> Option<IpAddr> {
        if !bound.is_unspecified() {
            return Some(bound);
        }
        let peer = peer.to_canonical();
        cached(&self.routes, peer, || {
            let any: IpAddr = if peer.is_ipv4() {
                [0, 0, 0, 0].into()
            } else {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(SocketAddr::new(peer, 9)).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
    }
}

fn cached<T: Copy>(cache: &Cache<T>, key: IpAddr, make: impl FnOnce() -> T) -> T {
    let now = Instant::now();
    let mut cache = cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((since, value)) = cache.get(&key)
        && now.saturating_duration_since(*since) < CACHE_TIME
    {
        return *value;
    }
    if cache.len() >= CACHE_LIMIT {
        cache.clear();
    }
    let value = make();
    cache.insert(key, (now, value));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> LocalAddresses {
        let advertised = Advertised {
            host: "conf.example.com".to_owned(),
            ip: "192.0.2.10".parse().unwrap(),
        };
        LocalAddresses::new(Some(advertised), Some("Box1".to_owned()))
    }

    #[test]
    fn own_hosts_are_interface_addresses_the_host_name_and_the_advertised_address() {
        let local = local();
        for (host, own) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("localhost", true),
            ("BOX1", true),
            ("box1.", true),
            ("conf.example.com", true),
            ("192.0.2.10", true),
            ("192.0.2.11", false),
            ("0.0.0.0", false),
            ("239.1.1.1", false),
            ("other.example.com", false),
            ("", false),
        ] {
            assert_eq!(local.is_own_host(host), own, "{host}");
        }
    }

    #[test]
    fn a_wildcard_socket_shows_the_address_of_the_route() {
        let local = local();
        let any = "0.0.0.0".parse().unwrap();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(local.towards(any, loopback), Some(loopback));
        assert_eq!(
            local.towards(loopback, "192.0.2.1".parse().unwrap()),
            Some(loopback)
        );
    }
}
