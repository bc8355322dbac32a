//! Classes of IP addresses and networks in CIDR form. Owns no policy.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// An IP network, such as `192.168.0.0/16` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    prefix: u8,
}

/// The text is no IP network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an IP network (expected ADDRESS/PREFIX or ADDRESS)")]
pub struct IpNetError;

impl IpNet {
    /// Returns the network, or `None` when the prefix is longer than the address (32 or 128).
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Tells whether the address lies in the network; families never mix.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (net.to_bits() ^ ip.to_bits()) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (net.to_bits() ^ ip.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl FromStr for IpNet {
    type Err = IpNetError;

    fn from_str(text: &str) -> Result<Self, IpNetError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().map_err(|_| IpNetError)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpNetError)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        Self::new(address, prefix.unwrap_or(whole)).ok_or(IpNetError)
    }
}

/// A single host somewhere: not multicast, broadcast, unspecified or otherwise unusable as a destination.
pub(super) fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        // 240.0.0.0/4 is reserved (RFC 1112 §4) and holds the broadcast address; 0.0.0.0/8 is "this network" (RFC 1122).
        IpAddr::V4(ip) => !ip.is_multicast() && ip.octets()[0] < 240 && ip.octets()[0] != 0,
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    }
}

/// Not reachable across the public Internet: RFC 1918, carrier-grade NAT (RFC 6598), loopback, link-local, unique local
/// (RFC 4193).
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = Ipv4Addr::new(100, 64, 0, 0).to_bits() >> 22 == ip.to_bits() >> 22;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            ip.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}
