//! A shard: the owner of legs and conferences. One [`turn`](Shard::turn) carries out commands, runs the conferences that
//! are due (each receives, mixes and sends) and looks after some of its legs. Time and datagrams come through
//! [`ShardIo`](crate::io::ShardIo), so a turn is the same in a test and on its thread.
//!
//! In a turn: no lock, no logging, no allocation; in mixing no system call either.
//!
//! A socket is read by the tick that wants its packet, without asking first whether there is one: at a packet per tick the
//! asking costs more than it saves, and what the packet touches is still in the cache when its leg is mixed and sent to.

pub(crate) mod bus;
pub(crate) mod command;
pub(crate) mod conference;
pub(crate) mod group;
pub(crate) mod key;
mod orders;
pub(crate) mod queues;
mod stagger;
pub(crate) mod thread;
pub(crate) mod workbench;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::arrival::ArrivalClock;
use crate::io::ShardIo;
use crate::leg::Leg;
use conference::{ConferenceAudio, TickTime};
use key::Tenants;
use queues::{Outbox, ShardQueues};
use workbench::{Scratch, Workbench};

/// The time between two turns when no conference is due before: how long a command waits at most.
pub(crate) const QUANTUM_NS: u64 = 5_000_000;

/// Ticks that a conference makes up for in one turn before it leaves out the rest: with 20 ms as much as a receiver's jitter
/// buffer usually waits for.
const MAX_CATCH_UP_TICKS: u32 = 10;

/// Quanta from one reading of a leg without conference to the next.
const LOOSE_QUANTA: u32 = 4;

/// Every leg is looked after once in this time.
const LOOK_AFTER_NS: u64 = 500_000_000;

/// How many legs and conferences a shard has places for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) legs: u32,
    pub(crate) conferences: u32,
}

/// The state of one shard.
pub(crate) struct Shard<I: ShardIo> {
    bench: Workbench<I>,
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
            bench: Workbench {
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
                let Workbench {
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
}
