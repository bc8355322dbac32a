//! The ports of legs: even for RTP, the next for RTCP, taken from the configured range.
//!
//! The search starts at a random pair and goes on from the last one given out, so that a freed port rests as long as
//! possible before stray packets of its old call can reach a new one. A pair that another program holds is passed over.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::error::{MediaError, OpenLegError};
use crate::sys;

/// Receive buffer of a media socket: about a second of packets, so that a flood costs little memory.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// All port pairs of the media plane, by address.
#[derive(Debug)]
pub(crate) struct Ports {
    addresses: Vec<AddressPorts>,
    range: RangeInclusive<u16>,
    first_port: u16,
    pairs: u32,
    dscp: u8,
    in_use: AtomicU32,
    opened: AtomicU64,
    closed: AtomicU64,
}

#[derive(Debug)]
struct AddressPorts {
    ip: IpAddr,
    pool: Mutex<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// Which pairs are given out.
    taken: Vec<bool>,
    /// Where the next search begins.
    next: usize,
}

/// The two sockets of a leg. The pair is free again when they are closed.
#[derive(Debug)]
pub(crate) struct LegSockets {
    pub(crate) rtp: OwnedFd,
    pub(crate) rtcp: OwnedFd,
    /// Freed after the sockets are closed: fields are dropped in their order.
    lease: Lease,
}

impl Drop for LegSockets {
    fn drop(&mut self) {
        self.lease.ports.closed.fetch_add(1, Relaxed);
    }
}

impl LegSockets {
    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((local_address(&self.rtp)?, local_address(&self.rtcp)?))
    }
}

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?;
    address
        .as_socket()
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}

#[derive(Debug)]
struct Lease {
    ports: Arc<Ports>,
    address: usize,
    pair: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let pool = &self.ports.addresses[self.address].pool;
        pool.lock().unwrap_or_else(PoisonError::into_inner).taken[self.pair] = false;
        self.ports.in_use.fetch_sub(1, Relaxed);
    }
}

impl Ports {
    /// Lays out the range for every address; `random` chooses where each search begins. Tries each address once.
    pub(crate) fn new(
        addresses: &[IpAddr],
        range: RangeInclusive<u16>,
        dscp: u8,
        mut random: impl FnMut() -> u32,
    ) -> Result<Self, MediaError> {
        if addresses.is_empty() {
            return Err(MediaError::NoBindAddress);
        }
        let first_port = (*range.start()).max(2).next_multiple_of(2);
        let pairs = (u32::from(*range.end()) + 1).saturating_sub(u32::from(first_port)) / 2;
        if range.is_empty() || pairs == 0 {
            return Err(MediaError::EmptyPortRange(range));
        }
        for &address in addresses {
            open_socket(SocketAddr::new(address, 0), dscp)
                .map_err(|source| MediaError::Bind { address, source })?;
        }
        let mut pool = || Pool {
            taken: vec![false; pairs as usize],
            next: (random() % pairs) as usize,
        };
        let addresses = addresses
            .iter()
            .map(|&ip| AddressPorts {
                ip,
                pool: Mutex::new(pool()),
            })
            .collect::<Vec<_>>();
        Ok(Ports {
            addresses,
            range,
            first_port,
            pairs,
            dscp,
            in_use: AtomicU32::new(0),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        })
    }

    /// Returns the pairs given out.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }

    /// Returns how often a pair of sockets was opened, and how often closed.
    pub(crate) fn opened_and_closed(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.closed.load(Relaxed))
    }

    /// Returns all pairs of all addresses.
    pub(crate) fn total(&self) -> u32 {
        self.pairs * self.addresses.len() as u32
    }

    /// Returns whether every pair of every address is given out.
    pub(crate) fn exhausted(&self) -> bool {
        self.in_use() >= self.total()
    }

    /// Binds the next free pair of one of the configured addresses on `ip`: that address itself, or, when it is a
    /// wildcard, any of this machine's.
    pub(crate) fn open(self: &Arc<Self>, configured: IpAddr, ip: IpAddr) -> Result<LegSockets, OpenLegError> {
        let address = self
            .addresses
            .iter()
            .position(|address| address.ip == configured)
            .filter(|_| ip == configured || configured.is_unspecified())
            .ok_or(OpenLegError::UnknownAddress(ip))?;
        for _ in 0..self.pairs {
            let Some(lease) = self.lease(address) else { break };
            let rtp_port = self.first_port + 2 * lease.pair as u16;
            match self.bind_pair(ip, rtp_port) {
                Ok((rtp, rtcp)) => {
                    self.opened.fetch_add(1, Relaxed);
                    let (rtp, rtcp) = (rtp.into(), rtcp.into());
                    return Ok(LegSockets { rtp, rtcp, lease });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                // Privileged ports of the range are as good as taken.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(OpenLegError::Socket(error)),
            }
        }
        Err(OpenLegError::PortsExhausted {
            address: configured,
            range: self.range.clone(),
        })
    }

    /// Takes the next free pair.
    fn lease(self: &Arc<Self>, address: usize) -> Option<Lease> {
        let mut pool = self.addresses[address]
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pairs = pool.taken.len();
        let start = pool.next;
        let pair = (start..start + pairs)
            .map(|pair| pair % pairs)
            .find(|&pair| !pool.taken[pair])?;
        pool.taken[pair] = true;
        pool.next = (pair + 1) % pairs;
        self.in_use.fetch_add(1, Relaxed);
        Some(Lease {
            ports: Arc::clone(self),
            address,
            pair,
        })
    }

    fn bind_pair(&self, ip: IpAddr, rtp_port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
        let rtp = open_socket(SocketAddr::new(ip, rtp_port), self.dscp)?;
        let rtcp = open_socket(SocketAddr::new(ip, rtp_port + 1), self.dscp)?;
        Ok((rtp, rtcp))
    }
}

fn open_socket(address: SocketAddr, dscp: u8) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    sys::enable_receive_times(socket.as_fd())?;
    sys::set_traffic_class(socket.as_fd(), address.is_ipv6(), dscp)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use confab_testkit::ports::PortLease;

    use super::*;

    const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Ports that belong to this test alone.
    fn free_range(pairs: u16) -> PortLease {
        PortLease::take(2 * pairs).unwrap()
    }

    fn ports(range: RangeInclusive<u16>) -> Arc<Ports> {
        Arc::new(Ports::new(&[LOCALHOST], range, 46, || 5).unwrap())
    }

    fn open(ports: &Arc<Ports>) -> Result<LegSockets, OpenLegError> {
        ports.open(LOCALHOST, LOCALHOST)
    }

    #[test]
    fn ranges_are_checked() {
        let rows = [
            (10_000..=10_001, Some(1)),
            (10_001..=10_003, Some(1)),
            (10_001..=10_002, None),
            (0..=1, None),
        ];
        for (range, pairs) in rows {
            let found = Ports::new(&[LOCALHOST], range.clone(), 0, || 0)
                .ok()
                .map(|ports| ports.total());
            assert_eq!(found, pairs, "{range:?}");
        }
        assert_eq!(
            Ports::new(&[LOCALHOST], 65_534..=65_535, 0, || 9)
                .unwrap()
                .total(),
            1
        );
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 20..=10;
        assert!(matches!(
            Ports::new(&[LOCALHOST], reversed, 0, || 0),
            Err(MediaError::EmptyPortRange(_))
        ));
        assert!(matches!(
            Ports::new(&[], 10_000..=10_010, 0, || 0),
            Err(MediaError::NoBindAddress)
        ));
        let foreign = IpAddr::from([192, 0, 2, 1]);
        assert!(matches!(
            Ports::new(&[foreign], 10_000..=10_010, 0, || 0),
            Err(MediaError::Bind { .. })
        ));
    }

    #[test]
    fn pairs_are_even_and_odd_and_come_back_when_closed() {
        let range = free_range(8);
        let ports = ports(range.range());
        let opened: Vec<_> = std::iter::from_fn(|| open(&ports).ok()).collect();
        assert_eq!((ports.in_use(), opened.len()), (8, 8));
        for sockets in &opened {
            let (rtp, rtcp) = sockets.addresses().unwrap();
            assert!(rtp.port().is_multiple_of(2) && rtcp.port() == rtp.port() + 1);
        }
        assert!(matches!(open(&ports), Err(OpenLegError::PortsExhausted { .. })));
        drop(opened);
        assert_eq!(ports.in_use(), 0);
        assert!(open(&ports).is_ok());
        assert!(matches!(
            ports.open(LOCALHOST, IpAddr::from([127, 0, 0, 9])),
            Err(OpenLegError::UnknownAddress(_))
        ));
    }

    #[test]
    fn a_wildcard_has_its_pairs_on_any_address_of_the_machine() {
        let any = IpAddr::from([0, 0, 0, 0]);
        let range = free_range(2);
        let ports = Arc::new(Ports::new(&[any], range.range(), 46, || 0).unwrap());
        assert!(!ports.exhausted());
        let second = IpAddr::from([127, 0, 0, 2]);
        let opened = [ports.open(any, any).unwrap(), ports.open(any, second).unwrap()];
        let ips = opened
            .each_ref()
            .map(|sockets| sockets.addresses().unwrap().0.ip());
        assert_eq!(ips, [any, second]);
        assert!(ports.exhausted());
        assert!(matches!(
            ports.open(any, second),
            Err(OpenLegError::PortsExhausted { address, .. }) if address == any
        ));
    }

    #[test]
    fn a_freed_pair_rests_while_others_are_free() {
        let range = free_range(4);
        let ports = ports(range.range());
        let first = open(&ports).unwrap().addresses().unwrap().0;
        let second = open(&ports).unwrap().addresses().unwrap().0;
        assert_ne!(first, second);
    }

    #[test]
    fn pairs_of_other_programs_are_passed_over() {
        let range = free_range(4);
        let foreign = UdpSocket::bind(range.address(1)).unwrap(); // only the RTCP half
        let ports = ports(range.range());
        let opened: Vec<_> = std::iter::from_fn(|| open(&ports).ok()).collect();
        assert_eq!(opened.len(), 3);
        let taken = foreign.local_addr().unwrap().port();
        assert!(
            opened
                .iter()
                .all(|sockets| sockets.addresses().unwrap().1.port() != taken)
        );
    }
}
