//! Owns ranges of ports for parts that want a range of their own: each belongs to one test of this machine at a time.
//!
//! The ports lie below those that the system gives out by itself and below the server's default range for media, so neither a
//! socket bound to port 0 nor a server beside it takes one. Tests, also of other processes, keep out of each other's way by locked
//! files; ports that any other program holds are passed over. Never holds a port open.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::random::SeededRandom;

/// First port that is given out; below it are those of known services.
const FIRST: u16 = 10_000;
/// Ports that are given out together, at least.
const BLOCK: u16 = 16;
/// Up to the server's default range for media (`media.ports`).
const BLOCKS: usize = (16_384 - FIRST as usize) / BLOCK as usize;

/// A range of ports of 127.0.0.1, free for TCP and UDP alike, until it is dropped.
#[derive(Debug)]
pub struct PortLease {
    first: u16,
    ports: u16,
    _locks: Vec<File>,
}

impl PortLease {
    /// Takes a range of `ports` ports that begins with an even one.
    ///
    /// # Errors
    /// There is no such range, or no place for the files that say so.
    pub fn take(ports: u16) -> io::Result<Self> {
        // From a place of its own in each process, and then from where the one before ended: what was just given back rests.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let count = blocks_of(ports);
        Self::take_from(*PROCESS_START + NEXT.fetch_add(count, Ordering::Relaxed), ports)
    }

    /// Takes the next range from a block on.
    fn take_from(start: usize, ports: u16) -> io::Result<Self> {
        let count = blocks_of(ports);
        let places = (BLOCKS + 1).saturating_sub(count);
        let directory = std::env::temp_dir().join("confab-test-ports");
        fs::create_dir_all(&directory)?;
        let lock = |block: usize| {
            let path = directory.join(block.to_string());
            let file = File::options().create(true).append(true).open(path).ok()?;
            file.try_lock().ok().map(|()| file)
        };
        for place in 0..places {
            let block = (start + place) % places;
            let locks: Option<Vec<File>> = (block..block + count).map(lock).collect();
            let first = FIRST + block as u16 * BLOCK;
            if let Some(locks) = locks
                && (first..first + ports).all(is_free)
            {
                return Ok(Self {
                    first,
                    ports,
                    _locks: locks,
                });
            }
        }
        let text = format!("no {ports} ports in a row are free from {FIRST} on");
        Err(io::Error::new(io::ErrorKind::AddrInUse, text))
    }

    /// Returns the range.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.first..=self.first + (self.ports - 1)
    }

    /// Returns the address of one of the ports, counted from 0.
    ///
    /// # Panics
    /// The range has no such port.
    pub fn address(&self, index: u16) -> SocketAddr {
        assert!(index < self.ports, "the range has {} ports", self.ports);
        (Ipv4Addr::LOCALHOST, self.first + index).into()
    }
}

static PROCESS_START: std::sync::LazyLock<usize> =
    std::sync::LazyLock::new(|| SeededRandom::from_process().next_u32() as usize % BLOCKS);

fn blocks_of(ports: u16) -> usize {
    usize::from(ports.max(1).div_ceil(BLOCK))
}

fn is_free(port: u16) -> bool {
    // On every address: who listens on all of them would take what is meant for this one.
    let everywhere = (Ipv4Addr::UNSPECIFIED, port);
    UdpSocket::bind(everywhere).is_ok() && TcpListener::bind(everywhere).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_leases_share_a_port_and_a_dropped_one_comes_back() {
        let leases: Vec<_> = [1, 16, 17, 200]
            .map(|ports| PortLease::take(ports).expect("free ports"))
            .into();
        let ports: Vec<_> = leases.iter().flat_map(PortLease::range).collect();
        assert_eq!(ports.len(), 1 + 16 + 17 + 200);
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        assert!(leases.iter().all(|lease| lease.range().start().is_multiple_of(2)));
        assert!(ports.iter().all(|port| (FIRST..16_384).contains(port)));
        drop(leases);
        // More than there are in all: only what was given back makes this possible.
        for _ in 0..100 {
            PortLease::take(100).expect("free ports");
        }
    }

    #[test]
    fn a_port_that_another_program_holds_is_passed_over() {
        let lease = PortLease::take(2).expect("free ports");
        let block = usize::from(lease.range().start() - FIRST) / usize::from(BLOCK);
        let held = UdpSocket::bind(lease.address(1)).expect("a free port");
        drop(lease);
        let next = PortLease::take_from(block, 2).expect("free ports");
        assert!(!next.range().contains(&held.local_addr().expect("bound").port()));
        assert!(!is_free(held.local_addr().expect("bound").port()));
    }
}
