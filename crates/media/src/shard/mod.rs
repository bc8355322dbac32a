//! A shard: the owner of legs and conferences. One [`turn`](Shard::turn) carries out commands, runs the conferences that
//! are due (each receives, mixes and sends) and looks after some of its legs. Time and datagrams come through
//! [`ShardIo`](crate::io::ShardIo), so a turn is the same in a test and on its thread.
//!
//! In a turn: no lock, no logging, no allocation; in mixing no system call either.
//!
//! A socket is read by the tick that wants its packet, without asking first whether there is one: at a packet per tick the
//! asking costs more than it saves, and what the packet touches is still in the cache when its leg is mixed and sent to.

pub(crate) mod command;
pub(crate) mod conference;
pub(crate) mod group;
pub(crate) mod key;
mod stagger;
pub(crate) mod thread;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crossbeam_queue::ArrayQueue;

use crate::arrival::{ArrivalClock, ClockPair};
use crate::event::MediaEvent;
use crate::io::{Channel, ShardIo};
use crate::leg::input::MAX_FRAME_SAMPLES;
use crate::leg::notices::EventSink;
use crate::leg::{Leg, Received};
use crate::metrics::{DropReason, ShardCounters};
use crate::sys::Datagram;
use command::{Command, Garbage, Returned};
use confab_rtp::packet::HEADER_LEN;
use conference::{ConferenceAudio, TickTime};
use key::{ConferenceKey, LegKey, Tenants};
use stagger::Timetable;

/// The time between two turns when no conference is due before: how long a command waits at most.
pub(crate) const QUANTUM_NS: u64 = 5_000_000;

/// Ticks that a conference makes up for in one turn before it leaves out the rest.
const MAX_CATCH_UP_TICKS: u32 = 4;

/// Quanta from one reading of a leg without conference to the next.
const LOOSE_QUANTA: u32 = 4;

/// Datagrams taken from one socket at a time; more stay in its buffer, and beyond that the kernel drops them.
const MAX_BACKLOG: u32 = 32;

/// Commands carried out in one turn.
const MAX_COMMANDS: usize = 1024;

/// Every leg is looked after once in this time.
const LOOK_AFTER_NS: u64 = 500_000_000;

/// Octets of the longest datagram that is used.
const MAX_DATAGRAM: usize = 2048;

/// Legs that are received for, or sent to, one after the other.
pub(crate) const BATCH: usize = 64;

/// Octets of the longest packet that is sent.
const MAX_PACKET: usize = 1024;

/// What the outside shares with a shard.
pub(crate) struct ShardQueues<S> {
    /// Commands in; when it is full, the control side waits.
    pub(crate) commands: ArrayQueue<Command<S>>,
    pub(crate) counters: ShardCounters,
    /// Nobody carries out commands any more.
    stopped: AtomicBool,
}

impl<S> ShardQueues<S> {
    pub(crate) fn new(commands: usize) -> Self {
        ShardQueues {
            commands: ArrayQueue::new(commands),
            counters: ShardCounters::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Marks the shard as gone and drops what was queued, so that nobody waits for it.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        while self.commands.pop().is_some() {}
    }

    /// Returns whether the shard is gone. Whoever queued a command just before must then call [`stop`](Self::stop)
    /// again.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }
}

/// The outgoing rings of a shard.
pub(crate) struct Outbox<S> {
    /// Events; when it is full, legs keep their state and levels are left out.
    pub(crate) events: rtrb::Producer<MediaEvent>,
    /// What is to be freed or handed on; when it is full, commands wait.
    pub(crate) returned: rtrb::Producer<Returned<S>>,
}

impl<S> EventSink for Outbox<S> {
    fn event(&mut self, event: MediaEvent) -> bool {
        self.events.push(event).is_ok()
    }

    fn level(&mut self, event: MediaEvent) -> bool {
        self.events.slots() > self.events.buffer().capacity() / 2 && self.event(event)
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
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Scratch {
            received: std::array::from_fn(|_| ReceiveSlot {
                datagram: None,
                bytes: [0; MAX_DATAGRAM],
            }),
            to_send: std::array::from_fn(|_| SendSlot {
                leg: 0,
                length: 0,
                bytes: [0; MAX_PACKET],
            }),
            packed: 0,
            frame: [0; MAX_FRAME_SAMPLES],
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
    /// It was not wanted, or the one after it is due: another may stand behind it.
    MoreBehind,
}

/// How many legs and conferences a shard has places for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) legs: u32,
    pub(crate) conferences: u32,
}

/// What the parts of a turn work with.
pub(crate) struct Bench<I: ShardIo> {
    pub(crate) io: I,
    pub(crate) queues: Arc<ShardQueues<I::Sockets>>,
    pub(crate) outbox: Outbox<I::Sockets>,
    pub(crate) scratch: Box<Scratch>,
    arrivals: ArrivalClock,
}

impl<I: ShardIo> Bench<I> {
    pub(crate) fn counters(&self) -> &ShardCounters {
        &self.queues.counters
    }

    /// Reads one datagram of a leg's RTP socket into a slot, for [`use_received`](Self::use_received).
    pub(crate) fn receive_into(&mut self, slot: usize, leg: &Leg<I::Sockets>) {
        let ReceiveSlot { datagram, bytes } = &mut self.scratch.received[slot];
        *datagram = self.io.receive(&leg.sockets, Channel::Rtp, bytes);
    }

    /// Gives a leg the datagram of a slot. As a rule a socket holds one packet per tick, and looking for a second one would
    /// cost a system call: it is looked for when the next packet should have come already, or when this one was not wanted,
    /// so that a flood from elsewhere does not hold up the caller's audio.
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
    fn receive_rtcp(&mut self, leg: &mut Leg<I::Sockets>) {
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
            Ok(()) => Read::Fresh,
        }
    }

    /// Returns the place for a leg's packet, to be sent by the next [`send_packed`](Self::send_packed). There is room for
    /// [`BATCH`] packets.
    pub(crate) fn packet_for(&mut self, leg: u32, length: usize) -> &mut [u8] {
        let slot = &mut self.scratch.to_send[self.scratch.packed];
        self.scratch.packed += 1;
        (slot.leg, slot.length) = (leg, length);
        &mut slot.bytes[..length]
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
                leg.output.octets_sent += (slot.length - HEADER_LEN) as u64;
            } else {
                self.queues.counters.dropped(DropReason::SendFailed);
            }
        }
        self.queues.counters.packets_out.add(sent);
    }
}

/// The state of one shard.
pub(crate) struct Shard<I: ShardIo> {
    bench: Bench<I>,
    legs: Tenants<Leg<I::Sockets>>,
    conferences: Tenants<ConferenceAudio>,
    /// When the conference at each place ticks next; never for an empty place.
    due_ns: Vec<u64>,
    /// Places of the legs that are in no conference.
    loose: Vec<u32>,
    /// A point in time that everything is scheduled from.
    origin_ns: u64,
    /// When legs are looked after next, and when they were last.
    next_care_ns: u64,
    last_care_ns: u64,
    /// Number of the reading of legs without conference.
    round: u32,
    /// Place of the next leg to look after.
    next_leg: u32,
}

impl<I: ShardIo> Shard<I> {
    /// Allocates a shard with the given places; its schedule begins now.
    pub(crate) fn new(
        io: I,
        queues: Arc<ShardQueues<I::Sockets>>,
        outbox: Outbox<I::Sockets>,
        capacity: Capacity,
    ) -> Self {
        let clocks = io.clocks();
        let scratch = Scratch::new();
        Shard {
            bench: Bench {
                io,
                queues,
                outbox,
                scratch,
                arrivals: ArrivalClock::new(clocks),
            },
            legs: Tenants::new(capacity.legs),
            conferences: Tenants::new(capacity.conferences),
            due_ns: vec![u64::MAX; capacity.conferences as usize],
            loose: Vec::with_capacity(capacity.legs as usize),
            origin_ns: clocks.monotonic_ns,
            next_care_ns: clocks.monotonic_ns,
            last_care_ns: clocks.monotonic_ns,
            round: 0,
            next_leg: 0,
        }
    }

    /// Returns when the next turn is due: when the next conference is, and at the next whole quantum at the latest. It is in
    /// the past when something is due already.
    pub(crate) fn next_turn_ns(&self) -> u64 {
        let due = self.due_ns[..self.conferences.end()].iter().copied().min();
        due.unwrap_or(u64::MAX).min(self.next_care_ns)
    }

    /// Returns whether there is nothing to own and nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.legs.count() == 0 && self.conferences.count() == 0 && self.bench.queues.commands.is_empty()
    }

    /// Begins the schedule anew after a rest.
    pub(crate) fn resume(&mut self) {
        self.next_care_ns = self.bench.io.clocks().monotonic_ns;
        self.last_care_ns = self.next_care_ns;
    }

    /// Does everything that is due.
    pub(crate) fn turn(&mut self) {
        let clocks = self.bench.io.clocks();
        self.bench.arrivals.turn(clocks);
        self.carry_out_commands(clocks);
        self.tick_conferences(clocks.monotonic_ns);
        if clocks.monotonic_ns >= self.next_care_ns {
            self.receive_for_loose_legs();
            self.look_after_legs(clocks.monotonic_ns);
            let since_origin = clocks.monotonic_ns.saturating_sub(self.origin_ns);
            self.next_care_ns = self.origin_ns + (since_origin / QUANTUM_NS + 1) * QUANTUM_NS;
        }
    }

    /// Runs the conferences that are due: at most a few ticks of each, then media time goes on without them.
    fn tick_conferences(&mut self, now_ns: u64) {
        for index in 0..self.conferences.end() {
            if self.due_ns[index] > now_ns {
                continue;
            }
            let Some(conference) = self.conferences.at(index as u32) else {
                continue;
            };
            let mut due_ns = self.due_ns[index];
            for number in 0..MAX_CATCH_UP_TICKS {
                let clocks = self.bench.io.clocks();
                self.bench.arrivals.refresh(clocks);
                let start_ns = clocks.monotonic_ns;
                let time = TickTime {
                    due_ns,
                    now_ns: start_ns,
                };
                conference.tick(&mut self.legs, &mut self.bench, time, number == 0);
                let end_ns = self.bench.io.clocks().monotonic_ns;
                let counters = self.bench.counters();
                counters
                    .lateness
                    .record_us(start_ns.saturating_sub(due_ns) / 1000);
                counters
                    .tick_duration
                    .record_us(end_ns.saturating_sub(start_ns) / 1000);
                counters.ticks.add(1);
                due_ns += conference.block_ns();
                if due_ns > now_ns {
                    break;
                }
            }
            if due_ns <= now_ns {
                let behind = (now_ns - due_ns) / conference.block_ns() + 1;
                conference.skip(&mut self.legs, behind);
                self.bench.counters().ticks_skipped.add(behind);
                due_ns += behind * conference.block_ns();
            }
            self.due_ns[index] = due_ns;
        }
    }

    /// Reads the sockets of legs that no tick reads, each every 20 ms.
    fn receive_for_loose_legs(&mut self) {
        self.round = self.round.wrapping_add(1);
        for &index in self
            .loose
            .iter()
            .filter(|&&index| index.wrapping_add(self.round).is_multiple_of(LOOSE_QUANTA))
        {
            if let Some(leg) = self.legs.at(index) {
                self.bench.receive_into(0, leg);
                self.bench.use_received(0, leg);
            }
        }
    }

    /// Looks after as many legs as must be so that each has its turn in time.
    fn look_after_legs(&mut self, now_ns: u64) {
        let end = self.legs.end() as u64;
        let share_ns = now_ns.saturating_sub(self.last_care_ns).min(LOOK_AFTER_NS);
        self.last_care_ns = now_ns;
        for _ in 0..(end * share_ns).div_ceil(LOOK_AFTER_NS) {
            if u64::from(self.next_leg) >= end {
                self.next_leg = 0;
            }
            if let Some(leg) = self.legs.at(self.next_leg) {
                self.bench.receive_rtcp(leg);
                let Bench {
                    io,
                    queues,
                    outbox,
                    arrivals,
                    ..
                } = &mut self.bench;
                if leg.look_after(io, arrivals.clocks(), outbox) {
                    queues.counters.packets_out.add(1);
                }
            }
            self.next_leg += 1;
        }
    }

    fn carry_out_commands(&mut self, clocks: ClockPair) {
        for _ in 0..MAX_COMMANDS {
            if self.bench.outbox.returned.is_full() {
                break; // what a command leaves over must have somewhere to go
            }
            let Some(command) = self.bench.queues.commands.pop() else {
                break;
            };
            if let Some(returned) = self.carry_out(command, clocks) {
                // There was room, and this is the only producer.
                drop(self.bench.outbox.returned.push(returned));
            }
        }
        let counters = self.bench.counters();
        counters.legs.store(self.legs.count(), Relaxed);
        counters.conferences.store(self.conferences.count(), Relaxed);
    }

    /// Carries out one command; returns what is left over.
    fn carry_out(&mut self, command: Command<I::Sockets>, clocks: ClockPair) -> Option<Returned<I::Sockets>> {
        let now_ns = clocks.monotonic_ns;
        let left_over = match command {
            Command::AddLeg { at, leg } => {
                self.loose.push(at.index); // one for each place at most, so there is room
                self.legs.insert(at.index, at.generation, leg).map(garbage)
            }
            Command::TakeLeg { at, bye, reply } => {
                let Some(leg) = self.take_leg(at, bye, clocks) else {
                    return Some(Returned::NoLeg { reply });
                };
                return Some(Returned::Leg { leg, reply });
            }
            Command::Renegotiate { at, mut session } => {
                if let Some(leg) = self.legs.get(at.index, at.generation) {
                    if let Some(conference) = conference_of(leg, &mut self.conferences) {
                        conference.renegotiate(leg, &session);
                    }
                    leg.renegotiate(&mut session, now_ns);
                }
                Some(garbage(session))
            }
            Command::Join {
                leg: at,
                conference: key,
                options,
            } => {
                self.leave(at);
                if let Some(leg) = self.legs.get(at.index, at.generation)
                    && let Some(conference) = self.conferences.get(key.index, key.generation)
                    && conference.join(key, at.index, leg, options, now_ns)
                {
                    self.loose.retain(|&index| index != at.index);
                }
                None
            }
            Command::Leave { leg } => {
                self.leave(leg);
                None
            }
            Command::SetMuted { leg: at, muted } => {
                self.in_conference(at, |conference, leg| conference.set_muted(leg, muted));
                None
            }
            Command::SetDeaf { leg: at, deaf } => {
                self.in_conference(at, |conference, leg| conference.set_deaf(leg, deaf));
                None
            }
            Command::AddConference { at, conference } => {
                self.add_conference(at, conference, now_ns).map(garbage)
            }
            Command::RemoveConference { at } => self.remove_conference(at).map(garbage),
            Command::Grow { at, storage } => {
                Some(garbage(match self.conferences.get(at.index, at.generation) {
                    Some(conference) => conference.grow(storage),
                    None => storage,
                }))
            }
            Command::SetEnergyLevel {
                conference: at,
                energy_level,
            } => {
                if let Some(conference) = self.conferences.get(at.index, at.generation) {
                    conference.set_energy_level(energy_level);
                }
                None
            }
        };
        left_over.map(Returned::Garbage)
    }

    fn take_leg(&mut self, at: LegKey, bye: bool, clocks: ClockPair) -> Option<Box<Leg<I::Sockets>>> {
        self.leave(at);
        let mut leg = self.legs.remove(at.index, at.generation)?;
        self.loose.retain(|&index| index != at.index);
        if bye && leg.report(&mut self.bench.io, clocks, true) {
            self.bench.counters().packets_out.add(1);
        }
        leg.publish();
        Some(leg)
    }

    fn leave(&mut self, at: LegKey) {
        let loose = &mut self.loose;
        if let Some(leg) = self.legs.get(at.index, at.generation)
            && let Some(conference) = conference_of(leg, &mut self.conferences)
        {
            conference.leave(leg);
            loose.push(at.index);
        }
    }

    fn in_conference(&mut self, at: LegKey, act: impl FnOnce(&mut ConferenceAudio, &mut Leg<I::Sockets>)) {
        if let Some(leg) = self.legs.get(at.index, at.generation)
            && let Some(conference) = conference_of(leg, &mut self.conferences)
        {
            act(conference, leg);
        }
    }

    /// Takes a conference in; it ticks when the least is to be done.
    fn add_conference(
        &mut self,
        at: ConferenceKey,
        conference: Box<ConferenceAudio>,
        now_ns: u64,
    ) -> Option<Box<ConferenceAudio>> {
        let mut timetable = Timetable::new(conference.block_ns());
        for index in 0..self.conferences.end() {
            if let Some(other) = self.conferences.peek(index as u32) {
                let due_ns = self.due_ns[index].saturating_sub(self.origin_ns);
                timetable.enter(due_ns, other.block_ns(), other.legs());
            }
        }
        let due_ns = self.origin_ns + timetable.quietest(now_ns.saturating_sub(self.origin_ns) + 1);
        if let Some(due) = self.due_ns.get_mut(at.index as usize) {
            *due = due_ns;
        }
        self.conferences.insert(at.index, at.generation, conference)
    }

    fn remove_conference(&mut self, at: ConferenceKey) -> Option<Box<ConferenceAudio>> {
        let mut conference = self.conferences.remove(at.index, at.generation)?;
        conference.dismiss(&mut self.legs, &mut self.loose);
        self.due_ns[at.index as usize] = u64::MAX;
        Some(conference)
    }
}

/// Hides what a box holds: it is only to be freed.
fn garbage<T: Send + 'static>(boxed: Box<T>) -> Garbage {
    boxed
}

/// Returns the conference that a leg is in.
fn conference_of<'c, S>(
    leg: &Leg<S>,
    conferences: &'c mut Tenants<ConferenceAudio>,
) -> Option<&'c mut ConferenceAudio> {
    let key = leg.membership?.conference;
    conferences.get(key.index, key.generation)
}
