//! A shard: the owner of legs and conferences. One [`turn`](Shard::turn) receives what came, carries out commands, runs
//! the conferences that are due, sends, and looks after some of its legs. Time and datagrams come through
//! [`ShardIo`](crate::io::ShardIo), so a turn is the same in a test and on its thread.
//!
//! In a turn: no lock, no logging, no allocation; in the mixing of a conference no system call either.

pub(crate) mod command;
pub(crate) mod conference;
pub(crate) mod group;
pub(crate) mod key;
pub(crate) mod thread;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crossbeam_queue::ArrayQueue;

use crate::arrival::{ArrivalClock, ClockPair};
use crate::event::MediaEvent;
use crate::io::{Channel, Readable, ShardIo};
use crate::leg::input::MAX_FRAME_SAMPLES;
use crate::leg::notices::EventSink;
use crate::leg::{Leg, Received};
use crate::metrics::{DropReason, ShardCounters};
use command::{Command, Garbage, Returned};
use conference::{ConferenceAudio, TickTime};
use key::{ConferenceKey, LegKey, Tenants};

/// The time between two turns. All mixing blocks are multiples of it.
pub(crate) const QUANTUM_NS: u64 = 5_000_000;

/// Ticks that a conference makes up for in one turn before it leaves out the rest.
const MAX_CATCH_UP_TICKS: u32 = 4;

/// Datagrams beyond the first that are taken from one socket in a turn after a late start.
const MAX_EXTRA_ROUNDS: u64 = 7;

/// Commands carried out in one turn.
const MAX_COMMANDS: usize = 1024;

/// Every leg is looked after once in this time.
const LOOK_AFTER_NS: u64 = 250_000_000;

/// Octets of the longest datagram that is used.
const MAX_DATAGRAM: usize = 2048;

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

/// Working memory of a turn, used for one leg after the other.
pub(crate) struct Scratch {
    receive: [u8; MAX_DATAGRAM],
    /// One packet to send.
    pub(crate) packet: [u8; MAX_PACKET],
    /// One decoded frame.
    pub(crate) frame: [i16; MAX_FRAME_SAMPLES],
}

/// How many legs and conferences a shard has places for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) legs: u32,
    pub(crate) conferences: u32,
}

/// The state of one shard.
pub(crate) struct Shard<I: ShardIo> {
    io: I,
    queues: Arc<ShardQueues<I::Sockets>>,
    outbox: Outbox<I::Sockets>,
    legs: Tenants<Leg<I::Sockets>>,
    conferences: Tenants<ConferenceAudio>,
    /// When the conference at each place ticks next; never for an empty place.
    due_ns: Vec<u64>,
    /// A point in time that turns and ticks lie whole quanta from.
    origin_ns: u64,
    arrivals: ArrivalClock,
    /// Place of the next leg to look after.
    next_leg: u32,
    scratch: Box<Scratch>,
}

impl<I: ShardIo> Shard<I> {
    /// Allocates a shard whose turns begin at whole quanta from now.
    pub(crate) fn new(
        io: I,
        queues: Arc<ShardQueues<I::Sockets>>,
        outbox: Outbox<I::Sockets>,
        capacity: Capacity,
    ) -> Self {
        let clocks = io.clocks();
        Shard {
            io,
            queues,
            outbox,
            legs: Tenants::new(capacity.legs),
            conferences: Tenants::new(capacity.conferences),
            due_ns: vec![u64::MAX; capacity.conferences as usize],
            origin_ns: clocks.monotonic_ns,
            arrivals: ArrivalClock::new(clocks),
            next_leg: 0,
            scratch: Box::new(Scratch {
                receive: [0; MAX_DATAGRAM],
                packet: [0; MAX_PACKET],
                frame: [0; MAX_FRAME_SAMPLES],
            }),
        }
    }

    /// Returns the first time after `now_ns` at which a turn is due.
    pub(crate) fn next_turn_ns(&self, now_ns: u64) -> u64 {
        let since = now_ns.saturating_sub(self.origin_ns);
        self.origin_ns + (since / QUANTUM_NS + 1) * QUANTUM_NS
    }

    /// Returns whether there is nothing to own and nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.legs.count() == 0 && self.conferences.count() == 0 && self.queues.commands.is_empty()
    }

    /// Does everything that is due, `late_ns` after schedule.
    pub(crate) fn turn(&mut self, late_ns: u64) {
        let clocks = self.io.clocks();
        self.arrivals.turn(clocks);
        self.carry_out_commands(clocks);
        self.receive(late_ns, clocks.wall_ns);
        self.tick_conferences(clocks.monotonic_ns);
        self.look_after_legs(clocks, late_ns);
    }

    /// Reads one datagram of every readable socket, and after a late start more, so that no backlog stays.
    fn receive(&mut self, late_ns: u64, wall_ns: u64) {
        let rounds = 1 + (late_ns / QUANTUM_NS).min(MAX_EXTRA_ROUNDS);
        let mut polls = 2 * self.legs.count() / 64 + rounds as u32 + 1;
        let mut received = 0;
        for _ in 0..rounds {
            let mut found = 0;
            loop {
                let (count, more) = self.io.poll();
                found += count;
                for index in 0..count {
                    if let Some(readable) = self.io.readable(index) {
                        received += u64::from(self.receive_one(readable, wall_ns));
                    }
                }
                polls = polls.saturating_sub(1);
                if !more || polls == 0 {
                    break;
                }
            }
            if found == 0 {
                break;
            }
        }
        self.queues.counters.packets_in.add(received);
    }

    /// Reads one datagram; returns whether there was one.
    fn receive_one(&mut self, readable: Readable, wall_ns: u64) -> bool {
        let LegKey { index, generation } = readable.leg;
        let Some(leg) = self.legs.get(index, generation) else {
            return false;
        };
        let Some(datagram) = self
            .io
            .receive(&leg.sockets, readable.channel, &mut self.scratch.receive)
        else {
            return false;
        };
        let counters = &self.queues.counters;
        let stamped = datagram
            .wall_ns
            .and_then(|stamp| self.arrivals.monotonic_ns(stamp));
        let arrival_ns = stamped.unwrap_or_else(|| {
            counters.arrivals_unstamped.add(1);
            self.arrivals.now_ns()
        });
        let bytes = &self.scratch.receive[..datagram.length];
        let received = Received {
            bytes,
            from: datagram.from,
            arrival_ns,
            wall_ns,
        };
        let result = match readable.channel {
            _ if datagram.truncated => Err(DropReason::Oversized),
            Channel::Rtp => leg.receive_rtp(&received),
            Channel::Rtcp => leg.receive_rtcp(&received),
        };
        if let Err(reason) = result {
            counters.dropped(reason);
        }
        true
    }

    /// Runs the conferences that are due: at most a few ticks of each, then media time goes on without them.
    fn tick_conferences(&mut self, now_ns: u64) {
        for index in 0..self.conferences.end() {
            let mut due_ns = self.due_ns[index];
            if due_ns > now_ns {
                continue;
            }
            let Some(conference) = self.conferences.at(index as u32) else {
                continue;
            };
            let counters = &self.queues.counters;
            for _ in 0..MAX_CATCH_UP_TICKS {
                let start_ns = self.io.clocks().monotonic_ns;
                counters
                    .lateness
                    .record_us(start_ns.saturating_sub(due_ns) / 1000);
                let time = TickTime { due_ns, now_ns };
                conference.mix(&mut self.legs, &mut self.scratch, time, &mut self.outbox);
                conference.send(&mut self.legs, &mut self.scratch, &mut self.io, counters);
                let end_ns = self.io.clocks().monotonic_ns;
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
                counters.ticks_skipped.add(behind);
                due_ns += behind * conference.block_ns();
            }
            self.due_ns[index] = due_ns;
        }
    }

    /// Looks after as many legs as must be so that each has its turn in time.
    fn look_after_legs(&mut self, clocks: ClockPair, late_ns: u64) {
        let end = self.legs.end() as u64;
        let share = (QUANTUM_NS + late_ns).min(LOOK_AFTER_NS);
        let mut sent = 0;
        for _ in 0..(end * share).div_ceil(LOOK_AFTER_NS) {
            if u64::from(self.next_leg) >= end {
                self.next_leg = 0;
            }
            if let Some(leg) = self.legs.at(self.next_leg) {
                sent += u64::from(leg.look_after(&mut self.io, clocks, &mut self.outbox));
            }
            self.next_leg += 1;
        }
        self.queues.counters.packets_out.add(sent);
    }

    fn carry_out_commands(&mut self, clocks: ClockPair) {
        for _ in 0..MAX_COMMANDS {
            if self.outbox.returned.is_full() {
                break; // what a command leaves over must have somewhere to go
            }
            let Some(command) = self.queues.commands.pop() else {
                break;
            };
            if let Some(returned) = self.carry_out(command, clocks) {
                // There was room, and this is the only producer.
                drop(self.outbox.returned.push(returned));
            }
        }
        let counters = &self.queues.counters;
        counters.legs.store(self.legs.count(), Relaxed);
        counters.conferences.store(self.conferences.count(), Relaxed);
    }

    /// Carries out one command; returns what is left over.
    fn carry_out(&mut self, command: Command<I::Sockets>, clocks: ClockPair) -> Option<Returned<I::Sockets>> {
        let now_ns = clocks.monotonic_ns;
        let left_over = match command {
            Command::AddLeg { at, leg } => self.legs.insert(at.index, at.generation, leg).map(garbage),
            Command::TakeLeg { at, bye, reply } => {
                let Some(leg) = self.take_leg(at, bye, clocks) else {
                    return Some(Returned::NoLeg { reply });
                };
                return Some(Returned::Leg { leg, reply });
            }
            Command::Negotiate { at, session } => {
                let Some(leg) = self.legs.get(at.index, at.generation) else {
                    return Some(Returned::Garbage(session));
                };
                if let Some(conference) = conference_of(leg, &mut self.conferences) {
                    conference.renegotiate(leg, &session);
                }
                leg.negotiate(session, now_ns).map(garbage)
            }
            Command::Join {
                leg: at,
                conference: key,
                options,
            } => {
                self.leave(at);
                if let Some(leg) = self.legs.get(at.index, at.generation)
                    && let Some(conference) = self.conferences.get(key.index, key.generation)
                {
                    conference.join(key, at.index, leg, options, now_ns);
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
        if bye && leg.report(&mut self.io, clocks, true) {
            self.queues.counters.packets_out.add(1);
        }
        leg.publish();
        Some(leg)
    }

    fn leave(&mut self, at: LegKey) {
        self.in_conference(at, ConferenceAudio::leave);
    }

    fn in_conference(&mut self, at: LegKey, act: impl FnOnce(&mut ConferenceAudio, &mut Leg<I::Sockets>)) {
        if let Some(leg) = self.legs.get(at.index, at.generation)
            && let Some(conference) = conference_of(leg, &mut self.conferences)
        {
            act(conference, leg);
        }
    }

    /// Takes a conference in; its first tick is at the quantum that has the least to do.
    fn add_conference(
        &mut self,
        at: ConferenceKey,
        conference: Box<ConferenceAudio>,
        now_ns: u64,
    ) -> Option<Box<ConferenceAudio>> {
        let due_ns = self.least_loaded_quantum(conference.block_ns(), now_ns);
        if let Some(due) = self.due_ns.get_mut(at.index as usize) {
            *due = due_ns;
        }
        self.conferences.insert(at.index, at.generation, conference)
    }

    /// Returns the quantum within the next `period_ns` in which the fewest legs are served.
    fn least_loaded_quantum(&mut self, period_ns: u64, now_ns: u64) -> u64 {
        let first_ns = self.next_turn_ns(now_ns);
        let candidates = (0..period_ns / QUANTUM_NS).map(|quantum| first_ns + quantum * QUANTUM_NS);
        let weight = |candidate_ns: u64| -> usize {
            (0..self.conferences.end())
                .filter_map(|index| Some((self.due_ns[index], self.conferences.peek(index as u32)?)))
                .filter(|(due_ns, conference)| {
                    candidate_ns
                        .abs_diff(*due_ns)
                        .is_multiple_of(conference.block_ns())
                })
                .map(|(_, conference)| conference.weight())
                .sum()
        };
        candidates
            .min_by_key(|&candidate_ns| weight(candidate_ns))
            .unwrap_or(first_ns)
    }

    fn remove_conference(&mut self, at: ConferenceKey) -> Option<Box<ConferenceAudio>> {
        let mut conference = self.conferences.remove(at.index, at.generation)?;
        conference.dismiss(&mut self.legs);
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
