//! Networks in CIDR form, as configured in `sip.local_nets`.

use std::net::IpAddr;

use confab_sip::Network;

/// A set of networks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(Vec<Network>);

impl Networks {
    /// The networks given as address and prefix length.
    pub(crate) fn new(networks: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        Self(
            networks
                .into_iter()
                .map(|(address, prefix_bits)| Network { address, prefix_bits })
                .collect(),
        )
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }

    /// Whether `ip` lies in one of them.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(ip))
    }
}

impl From<Vec<Network>> for Networks {
    fn from(networks: Vec<Network>) -> Self {
        Self(networks)
    }
}
