//! What single values mean: addresses, ports, lists of names. Notes no mistake: who reads the key does.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use confab_sip::DigestAlgorithm;

use super::Codec;

/// Rates of uncompressed audio in Hz, in our order of preference.
const L16_RATES: [u32; 4] = [48_000, 44_100, 16_000, 8000];

pub(super) fn check(text: &str, fits: bool) -> Result<String, ()> {
    if fits { Ok(text.to_owned()) } else { Err(()) }
}

pub(super) fn address_and_port(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is no IP address with a port, such as 0.0.0.0:5060 or [::]:5060"))
}

pub(super) fn address_or_none(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "" => Ok(None),
        text => address_and_port(text).map(Some),
    }
}

/// Addresses to listen on, none twice; port 0 may repeat, the system gives different ones.
pub(super) fn listeners(items: &[String]) -> Result<Vec<SocketAddr>, String> {
    let addresses = items
        .iter()
        .map(|item| address_and_port(item))
        .collect::<Result<Vec<_>, _>>()?;
    none_twice(addresses.iter().filter(|address| address.port() != 0))?;
    Ok(addresses)
}

pub(super) fn name_servers(items: &[String]) -> Result<Vec<SocketAddr>, String> {
    let parse = |item: &String| {
        let alone = item.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        alone.or_else(|_| item.parse()).map_err(|_| {
            format!(
                "'{item}' is no IP address, alone or with a port, such as 192.0.2.53 or [2001:db8::53]:5353"
            )
        })
    };
    let servers = items.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    none_twice(servers.iter())?;
    Ok(servers)
}

pub(super) fn local_addresses(items: &[String]) -> Result<Vec<IpAddr>, String> {
    let parse = |item: &String| {
        let ip = item.parse::<IpAddr>().ok().filter(|ip| !ip.is_multicast());
        ip.ok_or_else(|| format!("'{item}' is no IP address of this machine, such as 0.0.0.0 or ::"))
    };
    let addresses = items.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    none_twice(addresses.iter())?;
    if addresses.is_empty() {
        Err("is empty: name at least one address".to_owned())
    } else {
        Ok(addresses)
    }
}

pub(super) fn numbers(items: &[String]) -> Result<Vec<String>, String> {
    for item in items {
        if item.is_empty() || !item.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("'{item}' is no number: write digits only"));
        }
    }
    none_twice(items.iter())?;
    Ok(items.to_vec())
}

pub(super) fn digest_algorithms(items: &[String]) -> Result<Vec<DigestAlgorithm>, String> {
    if items.is_empty() {
        return Err("is empty: nobody could show who he is".to_owned());
    }
    none_twice(items.iter())?;
    let named = |item: &String| {
        let known = DigestAlgorithm::ALL
            .into_iter()
            .find(|known| known.name() == item);
        known.ok_or_else(|| format!("'{item}' is neither SHA-256 nor MD5"))
    };
    items.iter().map(named).collect()
}

pub(super) fn none_twice<T: Ord + std::fmt::Display>(
    mut items: impl Iterator<Item = T>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match items.find_map(|item| {
        if seen.contains(&item) {
            Some(item)
        } else {
            seen.insert(item);
            None
        }
    }) {
        Some(item) => Err(format!("{item} is there twice")),
        None => Ok(()),
    }
}

/// An IP address without brackets, a host name, or nothing.
pub(super) fn host(text: &str) -> Result<String, String> {
    let named = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_name = text.len() <= 253 && text.trim_end_matches('.').split('.').all(named);
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let fits = match text.parse::<IpAddr>() {
        Ok(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Err(_) => is_name && !numeric,
    };
    check(text, fits || text.is_empty()).map_err(|()| {
        format!("'{text}' is neither a host name nor a usable IP address (write it without port)")
    })
}

/// What peers are told: nothing, or an address of each family at most, or names, separated by commas.
pub(super) fn advertised(text: &str) -> Result<Vec<String>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let items = items.map(host).collect::<Result<Vec<_>, _>>()?;
    let families: Vec<bool> = items
        .iter()
        .filter_map(|item| item.parse::<IpAddr>().ok())
        .map(|ip| ip.is_ipv4())
        .collect();
    match items.len() {
        0..=1 => Ok(items),
        2 if families.len() < 2 || families[0] != families[1] => Ok(items),
        _ => Err(format!("'{text}' has more than one IPv4 and one IPv6 address")),
    }
}

pub(super) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let parse = |part: &str| part.trim().parse::<u16>().ok().filter(|port| *port != 0);
    let ends = text
        .split_once('-')
        .and_then(|(low, high)| Some((parse(low)?, parse(high)?)));
    let (low, high) = ends.ok_or_else(|| format!("'{text}' is no range of ports, such as 16384-32767"))?;
    let first_even = u32::from(low) + u32::from(low % 2);
    if first_even < u32::from(high) {
        Ok(low..=high)
    } else {
        Err(format!(
            "'{text}' has no even port followed by another one; a leg needs both"
        ))
    }
}

pub(super) fn codecs(items: &[String]) -> Result<Vec<Codec>, String> {
    let mut codecs = Vec::new();
    for item in items {
        let named = match item.to_ascii_uppercase().as_str() {
            "PCMU" => vec![Codec::Pcmu],
            "PCMA" => vec![Codec::Pcma],
            "G722" => vec![Codec::G722],
            "OPUS" => vec![Codec::Opus],
            "L16" => L16_RATES.map(Codec::L16).to_vec(),
            other => {
                let rate = other.strip_prefix("L16/").and_then(|rate| rate.parse().ok());
                let known = rate.filter(|rate| L16_RATES.contains(rate));
                vec![known.map(Codec::L16).ok_or_else(|| {
                    format!(
                        "'{item}' is no codec of this server; it has opus, G722, PCMU, PCMA and L16, the last also with a rate \
                         of 8000, 16000, 44100 or 48000 Hz, such as L16/16000"
                    )
                })?]
            }
        };
        if named.iter().any(|codec| codecs.contains(codec)) {
            return Err(format!("{item} is there twice"));
        }
        codecs.extend(named);
    }
    if codecs.is_empty() {
        Err("is empty: name at least one codec".to_owned())
    } else {
        Ok(codecs)
    }
}

/// A level, or comma-separated levels of which those with a target are written `target=level`.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    let is_level = |text: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].contains(&text.to_ascii_lowercase().as_str())
    };
    let is_target = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
    };
    let fits = text.split(',').all(|part| match part.trim().split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part.trim()),
    });
    check(text, fits).map_err(|()| {
        format!(
            "'{text}' is no level: off, error, warn, info, debug or trace, or such as info,confab_sip=debug"
        )
    })
}
