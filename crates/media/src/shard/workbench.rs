//! What the parts of a turn work with: the door to the world, the rings, memory for a batch of datagrams. Receives and sends;
//! decides nothing about audio.

use std::sync::Arc;

use confab_rtp::packet::HEADER_LEN;
use confab_srtp::Protector;

use super::key::Tenants;
use super::queues::{Outbox, ShardQueues};
use crate::arrival::ArrivalClock;
use crate::io::{Channel, ShardIo};
use crate::leg::input::MAX_FRAME_SAMPLES;
use crate::leg::{Leg, Received};
use crate::metrics::{DropReason, ShardCounters};
use crate::sys::Datagram;

/// Datagrams taken from one socket at a time; more stay in its buffer, and beyond that the kernel drops them.
pub(super) const MAX_BACKLOG: u32 = 32;

/// Octets of the longest datagram that is used: 60 ms of stereo at 48 kHz, uncompressed, and the headers. No multiple of 4096, which
/// would put the beginnings of all slots into the same lines of the cache.
pub(crate) const MAX_DATAGRAM: usize = 11_648;

/// Legs that are received for, or sent to, one after the other.
pub(crate) const BATCH: usize = 64;

/// Packets that a leg sends in one tick at most: telephone-events, one of them at the end of a segment, or one beside the audio.
const PACKETS_PER_LEG: usize = 2;

/// Octets of the longest packet that is sent.
const MAX_PACKET: usize = 1500;

/// What the parts of a turn work with.
pub(crate) struct Workbench<I: ShardIo> {
    pub(crate) io: I,
    pub(crate) queues: Arc<ShardQueues<I::Sockets>>,
    pub(crate) outbox: Outbox<I::Sockets>,
    pub(crate) scratch: Box<Scratch>,
    pub(super) arrivals: ArrivalClock,
}

impl<I: ShardIo> Workbench<I> {
    pub(crate) fn counters(&self) -> &ShardCounters {
        &self.queues.counters
    }

    /// Reads one datagram of a leg's RTP socket into a slot, for [`use_received`](Self::use_received).
    pub(crate) fn receive_into(&mut self, slot: usize, leg: &Leg<I::Sockets>) {
        let ReceiveSlot { datagram, bytes } = &mut self.scratch.received[slot];
        *datagram = self.io.receive(&leg.sockets, Channel::Rtp, bytes);
    }

    /// Gives a leg the datagram of a slot. As a rule a socket holds one packet per tick, and looking for a second one would
    /// cost a system call: it is looked for when the next packet should have come already; when this one was not wanted,
    /// so that a flood from elsewhere does not hold up the caller's audio; and when the packet that is due has not come, as
    /// this one may have overtaken it.
    pub(crate) fn use_received(&mut self, slot: usize, leg: &mut Leg<I::Sockets>) {
        if self.accept(slot, leg, Channel::Rtp) == Read::MoreBehind {
            for _ in 1..MAX_BACKLOG {
                self.receive_into(slot, leg);
                if self.accept(slot, leg, Channel::Rtp) != Read::MoreBehind {
                    break;
                }
            }
        }
    }

    /// Reads what has come to a leg's RTCP socket.
    pub(super) fn receive_rtcp(&mut self, leg: &mut Leg<I::Sockets>) {
        for _ in 0..MAX_BACKLOG {
            let ReceiveSlot { datagram, bytes } = &mut self.scratch.received[0];
            *datagram = self.io.receive(&leg.sockets, Channel::Rtcp, bytes);
            if self.accept(0, leg, Channel::Rtcp) == Read::Nothing {
                break;
            }
        }
    }

    fn accept(&mut self, slot: usize, leg: &mut Leg<I::Sockets>, channel: Channel) -> Read {
        let ReceiveSlot { datagram, bytes } = &mut self.scratch.received[slot];
        let Some(datagram) = datagram.take() else {
            return Read::Nothing;
        };
        let counters = &self.queues.counters;
        counters.packets_in.add(1);
        let now_ns = self.arrivals.now_ns();
        let stamped = datagram
            .wall_ns
            .and_then(|stamp| self.arrivals.monotonic_ns(stamp));
        let arrival_ns = stamped.unwrap_or_else(|| {
            counters.arrivals_unstamped.add(1);
            now_ns
        });
        let bytes = &bytes[..datagram.length];
        let received = Received {
            bytes,
            from: datagram.from,
            arrival_ns,
            now: self.arrivals.clocks(),
        };
        let result = match channel {
            _ if datagram.truncated => Err(DropReason::Oversized),
            Channel::Rtp => leg.receive_rtp(&received),
            Channel::Rtcp => leg.receive_rtcp(&received),
        };
        match result {
            Err(reason) => {
                counters.dropped(reason);
                Read::MoreBehind
            }
            Ok(()) if arrival_ns + leg.input.packet_ns() <= now_ns => Read::MoreBehind,
            Ok(()) if channel == Channel::Rtp && leg.lacks_next_packet() => Read::MoreBehind,
            Ok(()) => Read::Fresh,
        }
    }

    /// Returns whether there is room for all packets that a leg may send in one tick.
    pub(crate) fn has_room(&self) -> bool {
        self.scratch.packed + PACKETS_PER_LEG <= BATCH
    }

    /// Returns the place for a leg's packet, to be sent by the next [`send_packed`](Self::send_packed), when there
    /// [is room](Self::has_room).
    pub(crate) fn packet_for(&mut self, leg: u32, length: usize) -> &mut [u8] {
        let slot = &mut self.scratch.to_send[self.scratch.packed];
        self.scratch.packed += 1;
        (slot.leg, slot.length, slot.added) = (leg, length, 0);
        &mut slot.bytes[..length]
    }

    /// Protects the packet that was packed last; without success it is not sent.
    pub(crate) fn protect_packed(&mut self, protector: &mut Protector) {
        let slot = &mut self.scratch.to_send[self.scratch.packed - 1];
        if let Ok(length) = protector.protect_rtp(&mut slot.bytes, slot.length) {
            (slot.added, slot.length) = (length - slot.length, length);
        } else {
            self.scratch.packed -= 1;
            self.queues.counters.dropped(DropReason::SendFailed);
        }
    }

    /// Sends the packets that were packed.
    pub(crate) fn send_packed(&mut self, legs: &mut Tenants<Leg<I::Sockets>>) {
        let Scratch { to_send, packed, .. } = &mut *self.scratch;
        let mut sent = 0;
        for slot in &to_send[..std::mem::take(packed)] {
            let Some(leg) = legs.at(slot.leg) else { continue };
            let Some(to) = &leg.rtp_to else { continue };
            if self
                .io
                .send(&leg.sockets, Channel::Rtp, &slot.bytes[..slot.length], to)
            {
                sent += 1;
                leg.output.packets_sent += 1;
                leg.output.octets_sent += (slot.length - slot.added - HEADER_LEN) as u64;
            } else {
                self.queues.counters.dropped(DropReason::SendFailed);
            }
        }
        self.queues.counters.packets_out.add(sent);
    }
}

/// A received datagram.
struct ReceiveSlot {
    datagram: Option<Datagram>,
    bytes: [u8; MAX_DATAGRAM],
}

/// A packet to send.
struct SendSlot {
    leg: u32,
    length: usize,
    /// Octets of it that SRTP has added.
    added: usize,
    bytes: [u8; MAX_PACKET],
}

/// Working memory of a turn. Datagrams of several legs are received one after the other, then used one after the other,
/// and so are packets sent: the code of each step stays in the processor's cache.
pub(crate) struct Scratch {
    received: [ReceiveSlot; BATCH],
    to_send: [SendSlot; BATCH],
    /// Packets waiting in `to_send`.
    packed: usize,
    /// One decoded frame.
    pub(crate) frame: [i16; MAX_FRAME_SAMPLES],
    /// One decoded block, before it gets the rate of the mix.
    pub(crate) decoded: [i16; MAX_FRAME_SAMPLES],
}

impl Scratch {
    pub(super) fn new() -> Box<Self> {
        Box::new(Scratch {
            received: std::array::from_fn(|_| ReceiveSlot {
                datagram: None,
                bytes: [0; MAX_DATAGRAM],
            }),
            to_send: std::array::from_fn(|_| SendSlot {
                leg: 0,
                length: 0,
                added: 0,
                bytes: [0; MAX_PACKET],
            }),
            packed: 0,
            frame: [0; MAX_FRAME_SAMPLES],
            decoded: [0; MAX_FRAME_SAMPLES],
        })
    }
}

/// What reading one datagram has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// There was none.
    Nothing,
    /// It was wanted, and the one after it is not due yet.
    Fresh,
    /// It was not wanted, or another one is due: that may stand behind it.
    MoreBehind,
}
