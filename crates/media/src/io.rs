//! The door between a shard and the world: readiness, datagrams, clocks. A shard does nothing to the outside but through
//! [`ShardIo`], so that a test can be the world; the world of the server is [`KernelIo`].

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::arrival::ClockPair;
use crate::ports::LegSockets;
use crate::shard::key::LegKey;
use crate::sys::{self, Datagram, Epoll, EventBuffer, RawAddress};

/// One of a leg's two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Rtp,
    Rtcp,
}

/// Which socket of which leg can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readable {
    pub(crate) leg: LegKey,
    pub(crate) channel: Channel,
}

/// Token of what wakes an idle shard.
const WAKER_TOKEN: u64 = u64::MAX;

impl Readable {
    /// Packs into the 64 bits that epoll carries: generation, index, channel.
    pub(crate) fn token(self) -> u64 {
        let channel = u64::from(self.channel == Channel::Rtcp);
        u64::from(self.leg.generation) << 32 | u64::from(self.leg.index) << 1 | channel
    }

    fn from_token(token: u64) -> Option<Self> {
        let leg = LegKey {
            generation: (token >> 32) as u32,
            index: (token as u32) >> 1,
        };
        let channel = if token & 1 == 0 {
            Channel::Rtp
        } else {
            Channel::Rtcp
        };
        (token != WAKER_TOKEN).then_some(Readable { leg, channel })
    }
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

    /// Looks which sockets can be read; returns how many [`readable`](Self::readable) tells of, and whether there may
    /// be more.
    fn poll(&mut self) -> (usize, bool);

    /// Returns one of those that the last [`poll`](Self::poll) found.
    fn readable(&self, index: usize) -> Option<Readable>;

    /// Receives one datagram, if there is one.
    fn receive(&mut self, sockets: &Self::Sockets, channel: Channel, buffer: &mut [u8]) -> Option<Datagram>;

    /// Sends one datagram; returns whether it was taken.
    fn send(&mut self, sockets: &Self::Sockets, channel: Channel, bytes: &[u8], to: &Destination) -> bool;
}

/// Sockets found readable at once; more are found by asking again.
const POLL_ROOM: usize = 1024;

/// The Linux kernel as a shard's world.
pub(crate) struct KernelIo {
    epoll: Arc<Epoll>,
    events: EventBuffer,
}

impl KernelIo {
    pub(crate) fn new(epoll: Arc<Epoll>) -> Self {
        KernelIo {
            epoll,
            events: EventBuffer::new(POLL_ROOM),
        }
    }

    /// Waits until a socket can be read or the waker is woken.
    pub(crate) fn wait(&mut self) {
        self.epoll.wait(&mut self.events, true);
    }
}

impl ShardIo for KernelIo {
    type Sockets = LegSockets;

    fn clocks(&self) -> ClockPair {
        ClockPair {
            monotonic_ns: sys::monotonic_ns(),
            wall_ns: sys::wall_ns(),
        }
    }

    fn poll(&mut self) -> (usize, bool) {
        let count = self.epoll.wait(&mut self.events, false);
        (count, count == self.events.room())
    }

    fn readable(&self, index: usize) -> Option<Readable> {
        Readable::from_token(self.events.token(index))
    }

    fn receive(&mut self, sockets: &LegSockets, channel: Channel, buffer: &mut [u8]) -> Option<Datagram> {
        sys::receive(socket(sockets, channel).as_fd(), buffer)
    }

    fn send(&mut self, sockets: &LegSockets, channel: Channel, bytes: &[u8], to: &Destination) -> bool {
        sys::send(socket(sockets, channel).as_fd(), bytes, &to.raw)
    }
}

/// Tells `epoll` about the sockets of a leg that lives, or is about to live, at `leg`.
pub(crate) fn watch(epoll: &Epoll, sockets: &LegSockets, leg: LegKey) -> std::io::Result<()> {
    epoll.add(
        sockets.rtp.as_fd(),
        Readable {
            leg,
            channel: Channel::Rtp,
        }
        .token(),
    )?;
    epoll.add(
        sockets.rtcp.as_fd(),
        Readable {
            leg,
            channel: Channel::Rtcp,
        }
        .token(),
    )
}

/// Makes `epoll` forget the sockets of a leg.
pub(crate) fn unwatch(epoll: &Epoll, sockets: &LegSockets) -> std::io::Result<()> {
    epoll.remove(sockets.rtp.as_fd())?;
    epoll.remove(sockets.rtcp.as_fd())
}

/// Lets `waker` end a [`KernelIo::wait`].
pub(crate) fn watch_waker(epoll: &Epoll, waker: &sys::Waker) -> std::io::Result<()> {
    epoll.add(waker.as_fd(), WAKER_TOKEN)
}

fn socket(sockets: &LegSockets, channel: Channel) -> &std::net::UdpSocket {
    match channel {
        Channel::Rtp => &sockets.rtp,
        Channel::Rtcp => &sockets.rtcp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_carry_leg_and_channel() {
        for (index, generation) in [
            (0, 0),
            (1, 7),
            (0x7fff_ffff, u32::MAX - 1),
            (0x7fff_fffe, u32::MAX),
        ] {
            for channel in [Channel::Rtp, Channel::Rtcp] {
                let readable = Readable {
                    leg: LegKey { index, generation },
                    channel,
                };
                assert_eq!(Readable::from_token(readable.token()), Some(readable));
            }
        }
        assert_eq!(Readable::from_token(WAKER_TOKEN), None);
    }
}
