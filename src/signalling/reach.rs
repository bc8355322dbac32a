//! Which way a request of ours goes: from a URI to an address, and from which of this server's own.
//!
//! Owns the way from a URI to the addresses of its servers, beside the endpoint's task. `resolver` asks the DNS. Decides nothing about calls.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use confab_sip::{Flow, Host, Route, Service, SipUri, SrvRecord, Transport, in_order};
use futures_util::future::{join, join_all};

use super::{local::LocalAddresses, resolver::Resolver, tcp::PeerNames};

/// How long all look-ups for one URI may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Ways to one URI that are tried, one after the other.
const MOST_WAYS: usize = 8;

/// Addresses that SIP is bound to, ports resolved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listens {
    /// UDP.
    pub(crate) udp: Vec<SocketAddr>,
    /// TCP.
    pub(crate) tcp: Vec<SocketAddr>,
    /// TLS.
    pub(crate) tls: Vec<SocketAddr>,
    /// The names that certificates of peers have to show.
    pub(crate) names: PeerNames,
    /// Asks the DNS.
    pub(crate) resolver: Resolver,
}

/// Why there is no way to a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWay {
    /// It asks for a transport that this server has not, or for one that is not secure in a `sips` URI.
    #[error("no such transport")]
    Transport,
    /// Nobody takes a connection there, or not one with the certificate that he should have.
    #[error("no connection")]
    Connection,
    /// Its host has no address, or none that anything may be sent to.
    #[error("no such host")]
    Host,
    /// It leads to this server.
    #[error("it leads to this server")]
    Ourselves,
}

impl Listens {
    /// Finds the ways to a URI, the best first; at least one.
    ///
    /// # Errors
    /// See [`NoWay`].
    pub(crate) async fn ways_to(&self, uri: &SipUri, local: &LocalAddresses) -> Result<Vec<Flow>, NoWay> {
        let available = self.available();
        let server = uri.server_host().ok_or(NoWay::Host)?;
        let route = Route::of(uri, &available).ok_or(NoWay::Transport)?;
        let targets = self.targets(&server, &route, &available);
        let targets = tokio::time::timeout(LOOK_UP, targets).await.unwrap_or_else(|_| {
            tracing::debug!("a look-up of a host name takes too long");
            Vec::new()
        });
        let mut found = Err(NoWay::Host);
        let mut ways = Vec::new();
        for (transport, target) in targets {
            if ways.len() >= MOST_WAYS {
                break;
            }
            match self.way(transport, target, local) {
                Ok(way) => ways.push(Flow {
                    name: self.name(transport, uri)?,
                    ..way
                }),
                Err(no_way) => found = Err(no_way),
            }
        }
        if ways.is_empty() { found } else { Ok(ways) }
    }

    /// The transports that requests can be sent by, the preferred one first.
    fn available(&self) -> Vec<Transport> {
        let bound = [
            (Transport::Udp, !self.udp.is_empty()),
            (Transport::Tcp, !self.tcp.is_empty()),
            (Transport::Tls, true),
        ];
        let there = bound.into_iter().filter(|(_, is_there)| *is_there);
        there.map(|(transport, _)| transport).collect()
    }

    /// Finds the addresses of a URI's servers, by the host that it is sent to, in the order in which they are tried (RFC 3263 §4).
    async fn targets(
        &self,
        server: &Host,
        route: &Route,
        available: &[Transport],
    ) -> Vec<(Transport, SocketAddr)> {
        if let Some(ip) = server.ip() {
            return vec![(route.transport, SocketAddr::new(ip.to_canonical(), route.port))];
        }
        let host = server.to_string();
        // What would be asked next is asked at the same time: few domains have rules.
        let guessed = self.servers(&route.services);
        let (rules, guessed) = match route.asks_naptr {
            true => join(self.resolver.naptr(&host), guessed).await,
            false => (Vec::new(), guessed.await),
        };
        let services = route.by_rules(rules, available);
        let servers = match services.is_empty() {
            true => guessed,
            false => self.servers(&services).await,
        };
        let Some(servers) = servers else {
            let found = self.resolver.addresses(&host).await;
            let own = found.into_iter();
            return own
                .map(|ip| (route.transport, SocketAddr::new(ip, route.port)))
                .collect();
        };
        let addresses = servers
            .into_iter()
            .take(MOST_WAYS)
            .map(async |(transport, server)| {
                let found = self.resolver.addresses(&server.target).await;
                found
                    .into_iter()
                    .map(move |ip| (transport, SocketAddr::new(ip, server.port)))
            });
        join_all(addresses).await.into_iter().flatten().collect()
    }

    /// Returns the servers of these services, in order; `None` when the DNS knows none of the services.
    async fn servers(&self, services: &[Service]) -> Option<Vec<(Transport, SrvRecord)>> {
        let asked = services.iter().map(|service| self.resolver.srv(&service.name));
        let answers = join_all(asked).await;
        if answers.iter().all(Vec::is_empty) {
            return None;
        }
        let mut draw = |bound: u32| rand::random_range(0..bound);
        let mut servers = Vec::new();
        for (service, records) in services.iter().zip(answers) {
            let ordered = in_order(records, &mut draw);
            servers.extend(ordered.into_iter().map(|server| (service.transport, server)));
        }
        Some(servers)
    }

    /// The number of the name that the certificate has to show: the URI's, whatever it leads to (RFC 5922 §7.1).
    fn name(&self, transport: Transport, uri: &SipUri) -> Result<u64, NoWay> {
        match uri.host.ip() {
            None if transport == Transport::Tls => {
                let number = self.names.number(&uri.host.to_string());
                number.ok_or(NoWay::Host)
            }
            _ => Ok(0),
        }
    }

    fn way(&self, transport: Transport, remote: SocketAddr, local: &LocalAddresses) -> Result<Flow, NoWay> {
        if !is_usable(remote) {
            return Err(NoWay::Host);
        }
        if self.is_ourselves(remote, local) {
            return Err(NoWay::Ourselves);
        }
        let from = self.from(transport, remote).ok_or(NoWay::Transport)?;
        let own = local.towards(from.ip(), remote.ip()).ok_or(NoWay::Host)?;
        Ok(Flow {
            transport,
            local: SocketAddr::new(own, from.port()),
            remote,
            connection: 0,
            name: 0,
        })
    }

    /// The address that a peer is told to reach this server by.
    fn from(&self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr> {
        let bound = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
            Transport::Tls if self.tls.is_empty() => {
                // Nobody can open a connection to here; the one that is opened from here leads both ways all the same (RFC 5923).
                let any: IpAddr = match remote {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                return Some(SocketAddr::new(any, transport.default_port()));
            }
            Transport::Tls => &self.tls,
            _ => return None,
        };
        let own_family: Vec<SocketAddr> = bound
            .iter()
            .copied()
            .filter(|bound| bound.is_ipv4() == remote.is_ipv4())
            .collect();
        // Who is bound to loopback alone reaches nobody else, and who is not, this machine all the same.
        let fits = |bound: &&SocketAddr| bound.ip().is_loopback() == remote.ip().is_loopback();
        let from = own_family.iter().find(|bound| bound.ip().is_unspecified());
        from.or_else(|| own_family.iter().find(fits))
            .or(own_family.first())
            .copied()
    }

    /// Finds the way back in, for a call from one conference into another.
    pub(crate) fn to_ourselves(&self) -> Option<Flow> {
        let udp = self.udp.iter().map(|bound| (Transport::Udp, *bound));
        let tcp = self.tcp.iter().map(|bound| (Transport::Tcp, *bound));
        let (transport, bound) = udp.chain(tcp).next()?;
        let ip: IpAddr = match bound.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let own = SocketAddr::new(ip, bound.port());
        Some(Flow {
            transport,
            local: own,
            remote: own,
            connection: 0,
            name: 0,
        })
    }

    /// Whether a request sent there would come back to this server (RFC 3261 §16.3 has proxies look for that).
    fn is_ourselves(&self, remote: SocketAddr, local: &LocalAddresses) -> bool {
        let mut bound = self.udp.iter().chain(&self.tcp).chain(&self.tls);
        bound.any(|bound| {
            let is_own = bound.ip() == remote.ip()
                || (bound.ip().is_unspecified() && local.is_on_this_machine(remote.ip()))
                || local.is_advertised(remote.ip());
            bound.port() == remote.port() && is_own
        })
    }
}

/// Whether anything may be sent there.
fn is_usable(remote: SocketAddr) -> bool {
    let ip = remote.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listens(udp: &[&str], tcp: &[&str]) -> Listens {
        let addresses = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
        Listens {
            udp: addresses(udp),
            tcp: addresses(tcp),
            ..Listens::default()
        }
    }

    async fn way(listens: &Listens, uri: &str) -> Result<Flow, NoWay> {
        let local = LocalAddresses::new(None, None);
        let uri = SipUri::parse(uri.to_owned()).unwrap();
        listens.ways_to(&uri, &local).await.map(|ways| ways[0])
    }

    #[tokio::test]
    async fn a_uri_with_an_address_is_reached_from_the_socket_of_its_family() {
        let both = listens(&["0.0.0.0:5060", "[::1]:5062"], &["127.0.0.1:5070"]);
        for (uri, transport, local, remote) in [
            (
                "sip:a@127.0.0.1:5080",
                Transport::Udp,
                "127.0.0.1:5060",
                "127.0.0.1:5080",
            ),
            (
                "sip:a@127.0.0.1:5080;transport=tcp",
                Transport::Tcp,
                "127.0.0.1:5070",
                "127.0.0.1:5080",
            ),
            ("sip:[::1]:5080", Transport::Udp, "[::1]:5062", "[::1]:5080"),
            (
                "sip:a@localhost:5080",
                Transport::Udp,
                "127.0.0.1:5060",
                "127.0.0.1:5080",
            ),
        ] {
            let flow = way(&both, uri)
                .await
                .unwrap_or_else(|error| panic!("{uri}: {error}"));
            let expected = (transport, local.parse().unwrap(), remote.parse().unwrap(), 0);
            assert_eq!(
                (flow.transport, flow.local, flow.remote, flow.connection),
                expected,
                "{uri}"
            );
        }
        let tcp = listens(&[], &["0.0.0.0:5070"]);
        let flow = way(&tcp, "sip:a@127.0.0.1").await.unwrap();
        assert_eq!((flow.transport, flow.remote.port()), (Transport::Tcp, 5060));
    }

    #[tokio::test]
    async fn a_secure_uri_is_reached_over_tls_by_its_name() {
        let mut listens = listens(&["0.0.0.0:5060"], &["0.0.0.0:5060"]);
        for (uri, port) in [
            ("sips:a@localhost", 5061),
            ("sip:a@localhost;transport=tls", 5061),
            ("sips:a@localhost;transport=tcp", 5061),
            ("sips:a@LOCALHOST:5063;transport=tls", 5063),
        ] {
            let flow = way(&listens, uri)
                .await
                .unwrap_or_else(|error| panic!("{uri}: {error}"));
            assert_eq!(
                (flow.transport, flow.remote.port()),
                (Transport::Tls, port),
                "{uri}"
            );
            assert_eq!(flow.local, "127.0.0.1:5061".parse().unwrap(), "{uri}");
            assert_eq!(
                listens.names.name(flow.name).unwrap().to_str(),
                "localhost",
                "{uri}"
            );
        }
        let flow = way(&listens, "sips:a@127.0.0.1").await.unwrap();
        assert_eq!(flow.name, 0, "its address has to be in the certificate");
        listens.tls = vec!["127.0.0.1:5071".parse().unwrap()];
        let flow = way(&listens, "sips:a@localhost").await.unwrap();
        assert_eq!(flow.local.port(), 5071);
        let own = way(&listens, "sips:a@localhost:5071").await;
        assert_eq!(own.err(), Some(NoWay::Ourselves));
    }

    #[tokio::test]
    async fn what_cannot_be_reached_says_why() {
        let udp = listens(&["0.0.0.0:5060"], &[]);
        for (uri, why) in [
            ("sips:a@127.0.0.1;transport=udp", NoWay::Transport),
            ("sip:a@127.0.0.1;transport=ws", NoWay::Transport),
            ("sips:a@-;transport=tls", NoWay::Host),
            ("sip:a@127.0.0.1:5080;transport=tcp", NoWay::Transport),
            ("sip:a@[::1]:5080", NoWay::Transport),
            ("sip:a@0.0.0.0:5080", NoWay::Host),
            ("sip:a@255.255.255.255", NoWay::Host),
            ("sip:a@224.0.0.1", NoWay::Host),
            ("sip:a@127.0.0.1:0", NoWay::Host),
            ("sip:a@no-such-host.invalid", NoWay::Host),
            ("sip:a@127.0.0.1", NoWay::Ourselves),
            ("sip:a@127.0.0.1:5060", NoWay::Ourselves),
        ] {
            assert_eq!(way(&udp, uri).await.err(), Some(why), "{uri}");
        }
    }
}
