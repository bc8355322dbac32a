//! A network in CIDR notation, as in `sip.local_nets` and `http.trusted_proxies`.

use std::{fmt, net::IpAddr, str::FromStr};

/// An address with a prefix length; no bit is set beyond the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// The lowest address of the network.
    pub(crate) fn address(self) -> IpAddr {
        self.address
    }

    /// Returns whether an address lies in it; an IPv4 address written as IPv6 is that IPv4 address.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Prefix length in bits, up to 32 or 128.
    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }
}

impl FromStr for IpNetwork {
    type Err = String;

    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone for a network of one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("'{text}' is no network, such as 10.0.0.0/8 or 2001:db8::/32"))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| format!("'{text}': the prefix length goes from 0 to {bits}"))?,
        };
        let network = IpNetwork {
            address: masked(address, prefix),
            prefix,
        };
        if network.address == address {
            Ok(network)
        } else {
            Err(format!(
                "'{text}' has bits set beyond its prefix, write {network}"
            ))
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `address` with all bits beyond `prefix` cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::IpNetwork;

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "192.0.2.2", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
        ];
        for (network, address, within) in rows {
            let network: IpNetwork = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                within,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        let rows = [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("192.0.2.1", Ok("192.0.2.1/32")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("2001:db8::1", Ok("2001:db8::1/128")),
            ("10.1.2.3/8", Err("write 10.0.0.0/8")),
            ("2001:db8::1/64", Err("write 2001:db8::/64")),
            ("10.0.0.0/33", Err("from 0 to 32")),
            ("::/129", Err("from 0 to 128")),
            ("10.0.0.0/", Err("from 0 to 32")),
            ("10.0.0.0/-1", Err("from 0 to 32")),
            ("10.0/8", Err("no network")),
            ("lan", Err("no network")),
            ("", Err("no network")),
        ];
        for (text, expected) in rows {
            match (text.parse::<IpNetwork>(), expected) {
                (Ok(network), Ok(expected)) => assert_eq!(network.to_string(), expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
    }
}
