//! Owns where messages go: responses by RFC 3261 §18.2.2 and RFC 3581, requests within dialogs by route set and remote target.
//!
//! Never resolves names: a host name leads to the address the peer was heard from.

use std::net::{IpAddr, SocketAddr};

use super::config::Network;
use super::flow::{Flow, Transport};
use crate::message::Via;
use crate::uri::{Host, SipScheme, Uri};

/// Where the responses of one transaction go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseRoute {
    /// The flow in use.
    pub(crate) flow: Flow,
    /// For connections: where to go when the connection is closed.
    pub(crate) fallback: Option<Flow>,
}

/// Notes in the topmost Via where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4).
///
/// `received` is added for every request, as RFC 3581 asks for those with `rport`; the value of `rport` is filled in when the
/// parameter is there.
pub(crate) fn note_source(via: &mut Via, source: SocketAddr) {
    via.set_received(source.ip().to_canonical());
    if via.wants_rport() {
        via.set_rport(source.port());
    }
}

/// Finds the way back for a request's responses. `None` when it leads to an address nothing may be sent to.
///
/// On UDP the address is always the one the request came from. The port is
/// - that of the source when `rport` is there (RFC 3581);
/// - that of the source when sent-by is an address other than the source's: such a client is behind a NAT, which would
///   let nothing else through;
/// - that of sent-by otherwise (RFC 3261 §18.2.2).
///
/// `maddr` is not followed: it lets anybody aim our responses at third parties.
pub(crate) fn response_route(via: &Via, flow: &Flow) -> Option<ResponseRoute> {
    let source = flow.remote;
    let sent_by_port = via.sent_by.port.unwrap_or(flow.transport.default_port());
    match flow.transport {
        Transport::Udp => {
            let behind_nat = via
                .sent_by
                .host
                .ip()
                .is_some_and(|ip| ip != source.ip().to_canonical());
            let port = if via.wants_rport() || behind_nat {
                source.port()
            } else {
                sent_by_port
            };
            let remote = SocketAddr::new(source.ip(), port);
            is_usable(remote).then_some(ResponseRoute {
                flow: Flow { remote, ..*flow },
                fallback: None,
            })
        }
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
            let remote = SocketAddr::new(source.ip(), sent_by_port);
            let is_reachable = is_usable(remote) && !flow.transport.is_one_way();
            let fallback = is_reachable.then_some(Flow {
                remote,
                connection: 0,
                ..*flow
            });
            Some(ResponseRoute {
                flow: *flow,
                fallback,
            })
        }
    }
}

/// The way back for a request whose Via cannot be read.
pub(crate) fn source_route(flow: &Flow) -> Option<ResponseRoute> {
    let route = ResponseRoute {
        flow: *flow,
        fallback: None,
    };
    is_usable(flow.remote).then_some(route)
}

/// Finds where a request within a dialog goes, given the URI of the next hop (first route or remote target) and the flow
/// over which the peer was last heard.
///
/// The URI's address, which is that of its `maddr` if it has one, is followed unless
/// - it is a name (there is no DNS here) or an address nothing may be sent to;
/// - it is a private address, differs from the one the peer was heard from and lies in none of `local_nets`: the peer is
///   behind a NAT and only the way it came is open;
/// - the peer was heard from over the loopback interface, which leads nowhere else;
/// - a WebSocket is what the peer has or is to be reached by: nobody else can open one (RFC 7118 §5.3).
///
/// In these cases the request goes to the peer's side of `flow`. A connection to the same address is used again while it is
/// open; a closed one has number 0.
pub(crate) fn next_hop(target: &Uri, flow: &Flow, local_nets: &[Network]) -> Flow {
    let Some(uri) = target.as_sip() else { return *flow };
    let server = uri.server_host();
    let Some(ip) = server.and_then(|server| server.ip()) else {
        return *flow;
    };
    let source = flow.remote.ip().to_canonical();
    let transport = match uri.transport() {
        Some(value) => Transport::from_uri_value(value.as_bytes()).unwrap_or(flow.transport),
        // Without the parameter UDP is meant, but a peer that reached us over a connection is best answered on it.
        None if ip == source => flow.transport,
        None if uri.scheme == SipScheme::Sips => Transport::Tls,
        None => Transport::Udp,
    };
    let no_connection = transport.is_one_way() || flow.transport.is_one_way();
    let behind_nat = is_private(ip) && ip != source && !local_nets.iter().any(|net| net.contains(ip));
    let unreachable = behind_nat || (source.is_loopback() && !ip.is_loopback());
    let port = uri.port.unwrap_or(transport.default_port());
    let remote = SocketAddr::new(ip, port);
    let same_connection = flow.connection != 0 && flow.transport == transport && ip == source;
    let other_family = remote.is_ipv4() != flow.local.ip().to_canonical().is_ipv4();
    if no_connection || unreachable || same_connection || other_family || !is_usable(remote) {
        return *flow;
    }
    Flow {
        transport,
        local: flow.local,
        remote: like(flow.remote, remote),
        connection: 0,
        // Who it is has not changed: the certificate has to show the same.
        name: if transport == Transport::Tls { flow.name } else { 0 },
    }
}

/// Writes an IPv4 address the way the socket of `pattern` does: mapped into IPv6 when that socket is an IPv6 one.
fn like(pattern: SocketAddr, address: SocketAddr) -> SocketAddr {
    match (pattern.ip(), address.ip()) {
        (IpAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        _ => address,
    }
}

/// True for this machine and what lies in one of the networks.
pub(crate) fn is_local(ip: IpAddr, local_nets: &[Network]) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || local_nets.iter().any(|net| net.contains(ip))
}

/// True when a unicast message can go to this address.
pub(crate) fn is_usable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// True for addresses that mean something only inside their own network: RFC 1918, shared (RFC 6598), link-local, loopback,
/// unique local (RFC 4193).
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local() || ip.is_unspecified()
        }
    }
}

/// The address as a host for Via and Contact, IPv4 never in its IPv6 mapping.
pub(crate) fn host_of(address: SocketAddr) -> Host {
    Host::from(address.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeaderName;
    use crate::message::Headers;

    fn via(value: &str) -> Via {
        let mut headers = Headers::new();
        headers.push(HeaderName::Via, format!("SIP/2.0/{value}"));
        headers.top_via().expect("readable").expect("there")
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn responses_over_udp_go_to_the_source_with_the_right_port() {
        let rows = [
            // Via, source, where to
            (
                "UDP 192.0.2.7:5070;branch=b",
                "192.0.2.7:5070",
                Some("192.0.2.7:5070"),
            ),
            (
                "UDP 192.0.2.7:5070;branch=b",
                "192.0.2.7:61000",
                Some("192.0.2.7:5070"),
            ),
            (
                "UDP 192.0.2.7;branch=b",
                "192.0.2.7:61000",
                Some("192.0.2.7:5060"),
            ),
            (
                "UDP 192.0.2.7:5070;branch=b;rport",
                "192.0.2.7:61000",
                Some("192.0.2.7:61000"),
            ),
            (
                "UDP 10.0.0.7:5070;branch=b",
                "192.0.2.7:61000",
                Some("192.0.2.7:61000"),
            ),
            (
                "UDP host.example:5070;branch=b",
                "192.0.2.7:61000",
                Some("192.0.2.7:5070"),
            ),
            (
                "UDP 192.0.2.7:5070;branch=b;maddr=198.51.100.1",
                "192.0.2.7:5070",
                Some("192.0.2.7:5070"),
            ),
            ("UDP 192.0.2.7:0;branch=b", "192.0.2.7:61000", None),
            (
                "UDP [2001:db8::7]:5070;branch=b",
                "[2001:db8::7]:5070",
                Some("[2001:db8::7]:5070"),
            ),
        ];
        for (value, source, expected) in rows {
            let flow = Flow::udp(address("192.0.2.1:5060"), address(source));
            let route = response_route(&via(value), &flow).map(|route| route.flow.remote);
            assert_eq!(route, expected.map(address), "{value} from {source}");
        }
    }

    #[test]
    fn responses_over_tcp_use_the_connection_and_then_the_via() {
        let flow = Flow::tcp(address("192.0.2.1:5060"), address("192.0.2.7:40000"), 3);
        let route = response_route(&via("TCP 192.0.2.7:5070;branch=b"), &flow).expect("a way back");
        assert_eq!(route.flow, flow);
        assert_eq!(
            route.fallback,
            Some(Flow::tcp(flow.local, address("192.0.2.7:5070"), 0))
        );
        let closed = response_route(&via("TCP 192.0.2.7:0;branch=b"), &flow).expect("a way back");
        assert_eq!(closed.fallback, None);
    }

    #[test]
    fn the_source_is_noted_in_the_via() {
        let mut with = via("UDP 10.0.0.7:5070;rport;branch=b");
        note_source(&mut with, address("192.0.2.7:61000"));
        assert_eq!(with.received(), Some(address("192.0.2.7:1").ip()));
        assert_eq!(with.rport(), Some(61000));
        let mut without = via("UDP 10.0.0.7:5070;branch=b");
        note_source(&mut without, address("[::ffff:192.0.2.7]:61000"));
        assert_eq!(without.received(), Some(address("192.0.2.7:1").ip()));
        assert!(!without.wants_rport());
    }

    #[test]
    fn requests_in_a_dialog_follow_the_contact_unless_a_nat_is_in_the_way() {
        let udp = Flow::udp(address("192.0.2.1:5060"), address("192.0.2.7:61000"));
        let tcp = Flow::tcp(address("192.0.2.1:5060"), address("192.0.2.7:61000"), 9);
        let loopback = Flow::udp(address("127.0.0.1:5060"), address("127.0.0.1:5070"));
        let lan = Flow::udp(address("10.0.0.1:5060"), address("10.0.0.7:5060"));
        let to = |transport, remote: &str| Flow {
            transport,
            local: udp.local,
            remote: address(remote),
            connection: 0,
            name: 0,
        };
        let rows = [
            ("sip:a@192.0.2.7:5070", udp, to(Transport::Udp, "192.0.2.7:5070")),
            ("sip:a@192.0.2.7", udp, to(Transport::Udp, "192.0.2.7:5060")),
            (
                "sip:a@198.51.100.9:5080",
                udp,
                to(Transport::Udp, "198.51.100.9:5080"),
            ),
            ("sip:a@10.0.0.7:5070", udp, udp),
            ("sip:a@127.0.0.1:5070", udp, udp),
            ("sip:a@phone.example", udp, udp),
            ("sip:a@224.0.0.1", udp, udp),
            ("sip:a@192.0.2.7:0", udp, udp),
            ("sip:a@[2001:db8::7]", udp, udp),
            ("tel:+4930123", udp, udp),
            // The server that the URI names besides, by whatever name it goes; nowhere that nothing may be sent to.
            (
                "sip:a@b.example:5070;maddr=192.0.2.7",
                udp,
                to(Transport::Udp, "192.0.2.7:5070"),
            ),
            (
                "sip:a@192.0.2.9;maddr=192.0.2.7",
                udp,
                to(Transport::Udp, "192.0.2.7:5060"),
            ),
            ("sip:a@192.0.2.9;maddr=239.1.1.1", udp, udp),
            ("sip:a@192.0.2.9;maddr=b.example", udp, udp),
            ("sip:a@192.0.2.9;maddr=a!b", udp, udp),
            (
                "sip:a@192.0.2.7:5070;transport=tcp",
                udp,
                to(Transport::Tcp, "192.0.2.7:5070"),
            ),
            ("sip:a@192.0.2.7:5070;transport=tcp", tcp, tcp),
            ("sip:a@192.0.2.7:5070", tcp, tcp),
            (
                "sip:a@192.0.2.7:5070;transport=udp",
                tcp,
                to(Transport::Udp, "192.0.2.7:5070"),
            ),
            (
                "sip:a@198.51.100.9:5080;transport=tcp",
                tcp,
                to(Transport::Tcp, "198.51.100.9:5080"),
            ),
            (
                "sip:a@10.0.0.7:5062",
                lan,
                Flow::udp(lan.local, address("10.0.0.7:5062")),
            ),
            ("sip:a@10.0.0.8", lan, lan),
            ("sip:a@198.51.100.9:5080", loopback, loopback),
            (
                "sip:a@127.0.0.1:5080",
                loopback,
                Flow::udp(loopback.local, address("127.0.0.1:5080")),
            ),
        ];
        for (target, flow, expected) in rows {
            let uri = Uri::parse(target).expect("uri");
            assert_eq!(next_hop(&uri, &flow, &[]), expected, "{target}");
        }
        let closed = Flow { connection: 0, ..tcp };
        let uri = Uri::parse("sip:a@192.0.2.7:5070;transport=tcp").expect("uri");
        assert_eq!(next_hop(&uri, &closed, &[]), to(Transport::Tcp, "192.0.2.7:5070"));
        let net = Network {
            address: address("10.0.0.0:1").ip(),
            prefix_bits: 8,
        };
        let uri = Uri::parse("sip:a@10.0.0.8").expect("uri");
        assert_eq!(
            next_hop(&uri, &lan, &[net]),
            Flow::udp(lan.local, address("10.0.0.8:5060"))
        );
    }
}
