//! Addresses and ports: whether they can be listened on, whether peers can reach what they are told, and whether the ports for media are free.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs as _, UdpSocket},
    ops::RangeInclusive,
};

use super::Finding;
use crate::{
    config::{Carrier, Config},
    listen,
    signalling::is_private,
    sounds::address::is_public,
};

/// Where the kernel says which ports it gives to whoever asks for any.
const OWN_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Media ports that are tried.
const TRIED: usize = 64;

pub(super) fn look(config: &Config, running: bool, findings: &mut Vec<Finding>) {
    if !running {
        listeners(config, findings);
    }
    addresses(config, findings);
    media(config, running, findings);
}

fn listeners(config: &Config, findings: &mut Vec<Finding>) {
    for listener in config.listeners() {
        let (key, address) = (listener.key, listener.address);
        let bound = match listener.carrier {
            Carrier::Udp => UdpSocket::bind(address).map(drop),
            Carrier::Tcp | Carrier::TcpOfBothFamilies => TcpListener::bind(address).map(drop),
        };
        findings.push(match bound {
            Ok(()) => Finding::fine(key, format!("{address} is free")),
            Err(error) => Finding::wrong(key, listen::failure(key, address, &error)),
        });
    }
}

/// Says what addresses peers are told, and whether they can reach them.
fn addresses(config: &Config, findings: &mut Vec<Finding>) {
    let key = "sip.advertised_address";
    let mut told: Vec<IpAddr> = Vec::new();
    for name in &config.sip.advertised_address {
        let resolved = (name.as_str(), 0)
            .to_socket_addrs()
            .map(Iterator::collect::<Vec<_>>);
        match resolved {
            Ok(found) if !found.is_empty() => {
                for ip in found.iter().map(|found| found.ip().to_canonical()) {
                    if told.iter().all(|other| other.is_ipv4() != ip.is_ipv4()) {
                        findings.push(advertised(config, ip));
                        told.push(ip);
                    }
                }
            }
            Ok(_) => findings.push(Finding::wrong(key, format!("'{name}' has no address"))),
            Err(error) => findings.push(Finding::wrong(
                key,
                format!("'{name}' does not resolve ({error}): use an IP address, or mend DNS"),
            )),
        }
    }
    let names_failed = told.is_empty() && !config.sip.advertised_address.is_empty();
    for is_ipv4 in [true, false] {
        let is_told = told.iter().any(|ip| ip.is_ipv4() == is_ipv4);
        if !is_told && !names_failed && listens(config, is_ipv4) {
            findings.extend(own_address(is_ipv4, told.is_empty()));
        }
    }
    let has_public = told.iter().any(|ip| !is_private(*ip));
    if has_public && !config.sip.advertised_to_private {
        findings.push(Finding::fine(
            "sip.advertised_to_private",
            "false: peers in private networks are told the local address",
        ));
    }
}

/// Says whether an advertised address is one that peers can reach.
fn advertised(config: &Config, ip: IpAddr) -> Finding {
    let key = "sip.advertised_address";
    if !listens(config, ip.is_ipv4()) {
        let text = format!("{ip} is told to nobody: SIP is not listened for at any address of its family");
        return Finding::doubtful(key, text);
    }
    let here = UdpSocket::bind((ip, 0)).is_ok();
    if here {
        Finding::fine(key, format!("{ip}, an address of this machine"))
    } else if is_public(ip) {
        Finding::fine(
            key,
            format!(
                "{ip}, not an address of this machine: the ports of SIP and media have to be forwarded to it"
            ),
        )
    } else {
        Finding::doubtful(
            key,
            format!("{ip} is neither public nor an address of this machine"),
        )
    }
}

/// Says what peers of a family are told for which no address is advertised; `None` when nobody misses it.
fn own_address(is_ipv4: bool, is_all: bool) -> Option<Finding> {
    let key = "sip.advertised_address";
    let family = if is_ipv4 { "IPv4" } else { "IPv6" };
    let nothing = if is_all {
        "empty".to_owned()
    } else {
        format!("no {family} address")
    };
    match towards_the_world(is_ipv4) {
        Some(own) if is_public(own) => Some(Finding::fine(key, format!("{nothing}: peers are told {own}"))),
        Some(own) => Some(Finding::doubtful(
            key,
            format!(
                "{nothing}: peers are told {own}, which the public network does not reach; behind NAT set it to the public {family} \
                 address and forward the ports of SIP and media"
            ),
        )),
        None if is_ipv4 && is_all => {
            let text = "empty, and this machine has no route to other networks";
            Some(Finding::doubtful(key, text))
        }
        None => None,
    }
}

/// Whether SIP is listened for at addresses of a family.
fn listens(config: &Config, is_ipv4: bool) -> bool {
    let listeners = config.listeners();
    let mut sip = listeners
        .iter()
        .filter(|listener| listener.key.starts_with("sip."));
    sip.any(|listener| listener.address.is_ipv4() == is_ipv4)
}

/// Returns the address that this machine has towards other networks. Nothing is sent.
fn towards_the_world(is_ipv4: bool) -> Option<IpAddr> {
    // Of the ranges for documentation (RFC 5737, RFC 3849): routed like any far address, never a real host.
    let (any, far): (IpAddr, IpAddr) = if is_ipv4 {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
    } else {
        (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1).into(),
        )
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn media(config: &Config, running: bool, findings: &mut Vec<Finding>) {
    let (key, ports) = ("media.ports", &config.media.ports);
    let calls = pairs(ports);
    if config.sip.max_calls > calls {
        let most = config.sip.max_calls;
        findings.push(Finding::wrong(
            key,
            format!("room for {calls} calls, and sip.max_calls is {most}: widen it"),
        ));
    }
    let own = std::fs::read_to_string(OWN_PORTS)
        .ok()
        .and_then(|text| range(&text));
    if let Some(own) = own.filter(|own| overlap(own, ports)) {
        findings.push(Finding::doubtful(
            key,
            format!(
                "the system gives ports of {}-{} to other programs (net.ipv4.ip_local_port_range): a call may find its port taken",
                own.start(),
                own.end()
            ),
        ));
    }
    if running {
        return;
    }
    for bind in &config.media.bind {
        let even = ports.clone().filter(|port| port % 2 == 0);
        let step = (calls / TRIED).max(1);
        let taken: Vec<u16> = even
            .step_by(step)
            .filter(|port| UdpSocket::bind((*bind, *port)).is_err())
            .collect();
        findings.push(if taken.is_empty() {
            Finding::fine(
                key,
                format!(
                    "{}-{} on {bind}, room for {calls} calls",
                    ports.start(),
                    ports.end()
                ),
            )
        } else {
            Finding::doubtful(
                key,
                format!("on {bind} some are taken or not to be had, {} for one", taken[0]),
            )
        });
    }
}

/// Returns how many pairs of an even port and the next one there are.
fn pairs(ports: &RangeInclusive<u16>) -> usize {
    let first = u32::from(*ports.start()).next_multiple_of(2);
    let last = u32::from(*ports.end());
    (last + 1).saturating_sub(first) as usize / 2
}

fn overlap(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_begin_with_even_ports() {
        for (ports, expected) in [
            (16384..=32767, 8192),
            (20001..=20003, 1),
            (20001..=20001, 0),
            (20000..=20000, 0),
            (65534..=65535, 1),
        ] {
            assert_eq!(pairs(&ports), expected, "{ports:?}");
        }
    }

    #[test]
    fn the_systems_ports_are_read_and_compared() {
        let own = range("32768\t60999\n").expect("a range");
        assert_eq!(own, 32768..=60999);
        assert!(!overlap(&own, &(16384..=32767)));
        assert!(overlap(&own, &(16384..=32768)));
        assert!(overlap(&own, &(40000..=40001)));
        assert_eq!(range("junk"), None);
        assert_eq!(range("1 70000"), None);
    }
}
