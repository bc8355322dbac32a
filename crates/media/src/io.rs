//! The door between a shard and the world: datagrams and clocks. A shard does nothing to the outside but through
//! [`ShardIo`], so that a test can be the world; the world of the server is [`KernelIo`].

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use crate::arrival::ClockPair;
use crate::ports::LegSockets;
use crate::sys::{self, Datagram, RawAddress};

/// One of a leg's two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Rtp,
    Rtcp,
}

/// An address to send to, in both forms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    raw: RawAddress,
}

impl Destination {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Destination {
            address,
            raw: RawAddress::new(address),
        }
    }
}

/// What a shard needs of the world.
pub(crate) trait ShardIo {
    /// The pair of sockets that a leg owns.
    type Sockets: Send + 'static;

    /// Reads both clocks, without a system call.
    fn clocks(&self) -> ClockPair;

    /// Receives one datagram, if there is one.
    fn receive(&mut self, sockets: &Self::Sockets, channel: Channel, buffer: &mut [u8]) -> Option<Datagram>;

    /// Sends one datagram; returns whether it was taken.
    fn send(&mut self, sockets: &Self::Sockets, channel: Channel, bytes: &[u8], to: &Destination) -> bool;
}

/// The Linux kernel as a shard's world.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KernelIo;

impl ShardIo for KernelIo {
    type Sockets = LegSockets;

    fn clocks(&self) -> ClockPair {
        ClockPair {
            monotonic_ns: sys::monotonic_ns(),
            wall_ns: sys::wall_ns(),
        }
    }

    fn receive(&mut self, sockets: &LegSockets, channel: Channel, buffer: &mut [u8]) -> Option<Datagram> {
        sys::receive(socket(sockets, channel).as_fd(), buffer)
    }

    fn send(&mut self, sockets: &LegSockets, channel: Channel, bytes: &[u8], to: &Destination) -> bool {
        sys::send(socket(sockets, channel).as_fd(), bytes, &to.raw)
    }
}

fn socket(sockets: &LegSockets, channel: Channel) -> &OwnedFd {
    match channel {
        Channel::Rtp => &sockets.rtp,
        Channel::Rtcp => &sockets.rtcp,
    }
}
