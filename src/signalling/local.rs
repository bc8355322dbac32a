//! Which addresses and names are this server's own, and which of them a peer should see.
//!
//! Owns a small cache of route look-ups; sends nothing (connecting a UDP socket only asks the kernel for a route).

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Mutex,
    time::{Duration, Instant},
};

use confab_sip::Network;

use super::network::Networks;

/// Look-ups kept before the cache starts anew.
const CACHE_LIMIT: usize = 4096;

/// How long a look-up is believed: addresses come and go with interfaces.
const CACHE_TIME: Duration = Duration::from_secs(30);

type Cache<T> = Mutex<HashMap<IpAddr, (Instant, T)>>;

/// Networks whose addresses mean something only within: RFC 1918, RFC 6598, link-local (RFC 3927, RFC 4291), RFC 4193.
const PRIVATE: [([u16; 8], u8); 7] = [
    ([0, 0, 0, 0, 0, 0xFFFF, 0x0A00, 0], 8),
    ([0, 0, 0, 0, 0, 0xFFFF, 0xAC10, 0], 12),
    ([0, 0, 0, 0, 0, 0xFFFF, 0xC0A8, 0], 16),
    ([0, 0, 0, 0, 0, 0xFFFF, 0x6440, 0], 10),
    ([0, 0, 0, 0, 0, 0xFFFF, 0xA9FE, 0], 16),
    ([0xFE80, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xFC00, 0, 0, 0, 0, 0, 0, 0], 7),
];

/// This server's own addresses and names.
pub(crate) struct LocalAddresses {
    /// One of each family at most.
    advertised: Vec<Advertised>,
    /// Networks that are told the local address.
    local: Networks,
    /// Networks that are told it when their media stays within as well.
    private: Networks,
    names: BTreeSet<String>,
    routes: Cache<Option<IpAddr>>,
    own: Cache<bool>,
}

/// The configured address of one family that peers outside the local networks see.
#[derive(Debug, Clone)]
pub(crate) struct Advertised {
    /// As configured: an IP address or a host name.
    pub(crate) host: String,
    /// The address itself, or what the name resolved to at start; put into SDP.
    pub(crate) ip: IpAddr,
}

impl LocalAddresses {
    /// `advertised` from `sip.advertised_address`, one of each family at most; `host_name` is the machine's.
    pub(crate) fn new(advertised: impl IntoIterator<Item = Advertised>, host_name: Option<String>) -> Self {
        let advertised: Vec<Advertised> = advertised.into_iter().collect();
        let mut names: BTreeSet<String> = ["localhost".to_owned()].into();
        names.extend(host_name.map(|name| name.to_ascii_lowercase()));
        names.extend(advertised.iter().map(|one| one.host.to_ascii_lowercase()));
        Self {
            advertised,
            local: Networks::default(),
            private: Networks::default(),
            names,
            routes: Mutex::default(),
            own: Mutex::default(),
        }
    }

    /// The same, told the local address in these networks, and, unless `to_private`, in private ones of the families whose advertised
    /// address is not private itself.
    pub(crate) fn inside(self, local_nets: Networks, to_private: bool) -> Self {
        let is_told = |network: &Network| {
            !to_private
                && self.advertised.iter().any(|advertised| {
                    advertised.ip.is_ipv4() == network.address.is_ipv4() && !is_private(advertised.ip)
                })
        };
        let private: Vec<Network> = private().filter(is_told).collect();
        Self {
            local: local_nets,
            private: Networks::from(private),
            ..self
        }
    }

    /// The configured advertised address for peers of a family.
    pub(crate) fn advertised(&self, is_ipv4: bool) -> Option<&Advertised> {
        self.advertised
            .iter()
            .find(|advertised| advertised.ip.is_ipv4() == is_ipv4)
    }

    /// The networks whose peers are shown the local address in Via and Contact, this machine apart.
    pub(crate) fn inner_networks(&self) -> Vec<Network> {
        self.local.iter().chain(self.private.iter()).copied().collect()
    }

    /// Whether a peer is told the local address of a leg: one of the local networks is, and one whose signalling and media are both within
    /// private ones. A proxy there speaks for peers elsewhere as well.
    pub(crate) fn is_inside(&self, signalling: IpAddr, media: IpAddr) -> bool {
        signalling.to_canonical().is_loopback()
            || self.local.contains(signalling)
            || (self.private.contains(signalling) && self.private.contains(media))
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
        self.is_advertised(ip) || self.is_on_this_machine(ip)
    }

    /// Whether this is one of the advertised addresses.
    pub(crate) fn is_advertised(&self, ip: IpAddr) -> bool {
        self.advertised.iter().any(|advertised| advertised.ip == ip)
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
        let own_family = self.advertised(bound.is_ipv4());
        let advertised = own_family.or(self.advertised.first());
        advertised
            .map(|advertised| advertised.ip)
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

/// The networks of [`PRIVATE`].
fn private() -> impl Iterator<Item = Network> {
    PRIVATE.into_iter().map(|(segments, prefix_bits)| Network {
        address: IpAddr::V6(Ipv6Addr::from(segments)).to_canonical(),
        prefix_bits,
    })
}

/// Whether an address means something only within its own network.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || private().any(|network| network.contains(ip))
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
    fn private_peers_are_told_the_local_address_where_a_public_one_is_advertised() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let advertised = |text: &str| Advertised {
            host: text.to_owned(),
            ip: ip(text),
        };
        let nets = || Networks::new([(ip("203.0.113.0"), 24)]);
        let both = [advertised("198.51.100.1"), advertised("2001:db8::1")];
        let local = LocalAddresses::new(both.clone(), None).inside(nets(), false);
        for (signalling, media, inside) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "192.168.7.7", true),
            ("172.31.0.1", "172.31.0.1", true),
            ("172.32.0.1", "172.32.0.1", false),
            ("100.64.0.1", "100.127.255.255", true),
            ("169.254.1.1", "169.254.1.1", true),
            ("fe80::1", "fe80::1", true),
            ("fd12::1", "fd12::2", true),
            ("2001:db8::7", "2001:db8::7", false),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            // A proxy of ours speaks for somebody outside.
            ("10.1.2.3", "192.0.2.7", false),
            ("192.0.2.7", "10.1.2.3", false),
            ("203.0.113.7", "192.0.2.7", true),
            ("127.0.0.1", "192.0.2.7", true),
        ] {
            assert_eq!(
                local.is_inside(ip(signalling), ip(media)),
                inside,
                "{signalling} {media}"
            );
        }
        assert_eq!(local.inner_networks().len(), 8);
        let told_all = LocalAddresses::new(both, None).inside(nets(), true);
        assert!(!told_all.is_inside(ip("10.1.2.3"), ip("10.1.2.3")));
        assert!(told_all.is_inside(ip("203.0.113.7"), ip("203.0.113.7")));
        // A private address that is advertised is meant for private networks; of the other family nothing is advertised.
        let inner = LocalAddresses::new([advertised("192.168.1.9")], None).inside(nets(), false);
        assert!(!inner.is_inside(ip("10.1.2.3"), ip("10.1.2.3")));
        assert!(!inner.is_inside(ip("fd12::1"), ip("fd12::1")));
    }

    #[test]
    fn each_family_has_its_advertised_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = |host: &str, address: &str| Advertised {
            host: host.to_owned(),
            ip: ip(address),
        };
        let all = [one("a.example", "2001:db8::1"), one("b.example", "192.0.2.1")];
        let local = LocalAddresses::new(all, None);
        assert_eq!(local.advertised(true).unwrap().host, "b.example");
        assert_eq!(local.advertised(false).unwrap().host, "a.example");
        assert!(local.is_own_host("a.example") && local.is_own_host("192.0.2.1"));
        assert!(local.is_advertised(ip("2001:db8::1")) && !local.is_advertised(ip("2001:db8::2")));
        assert_eq!(local.towards_network(ip("0.0.0.0")), ip("192.0.2.1"));
        assert_eq!(local.towards_network(ip("::")), ip("2001:db8::1"));
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
