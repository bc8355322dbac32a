//! Owns the seeded network emulator: one direction of a path that loses, delays, duplicates and reorders what is sent over it.
//!
//! Knows nothing about sockets, packets or the machine's clock: it carries any `T: Clone` and is told the time. Two of them back to back
//! make a two-way path. The same seed, settings and calls give the same deliveries.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::random::SeededRandom;

/// How a path loses what is sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Loss {
    /// Nothing is lost.
    #[default]
    None,
    /// Each packet is lost with this probability (0 to 1), independently of the others.
    Uniform(f64),
    /// Gilbert–Elliott: a good and a bad state with a loss probability each. Losses come in bursts of mean length
    /// `1 / leave_bad` packets when `loss_bad` is 1.
    GilbertElliott {
        /// Probability to go from good to bad before a packet.
        enter_bad: f64,
        /// Probability to go from bad to good before a packet.
        leave_bad: f64,
        /// Loss probability in the good state.
        loss_good: f64,
        /// Loss probability in the bad state.
        loss_bad: f64,
    },
    /// Exactly the packets with these numbers are lost; the first one sent is number 0. For tests that lose one given message.
    Numbers(BTreeSet<u64>),
}

impl Loss {
    /// Returns the Gilbert–Elliott model with a clean good state and a bad state that loses everything, that has the wanted mean loss
    /// `rate` (0 to below 1) and mean `burst` length in packets (at least 1).
    pub fn bursts(rate: f64, burst: f64) -> Self {
        let leave_bad = 1.0 / burst.max(1.0);
        let enter_bad = (rate * leave_bad / (1.0 - rate)).min(1.0);
        Self::GilbertElliott {
            enter_bad,
            leave_bad,
            loss_good: 0.0,
            loss_bad: 1.0,
        }
    }
}

/// What one direction of a path does. The default is a perfect path: no loss, no delay.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PathConfig {
    /// Which packets never arrive.
    pub loss: Loss,
    /// Probability (0 to 1) that a packet arrives twice; the copy draws its own delay.
    pub duplicate: f64,
    /// Delay that every packet has.
    pub delay: Duration,
    /// Upper bound of a further delay, drawn uniformly for each packet.
    pub jitter: Duration,
    /// Jitter alone keeps the order in which packets were sent, as a queue in a router does, unless this is set.
    pub jitter_reorders: bool,
    /// Probability (0 to 1) that a packet is held back by `reorder_by` and overtaken by those behind it.
    pub reorder: f64,
    /// How long a packet drawn by `reorder` is held back.
    pub reorder_by: Duration,
}

/// What happened to the packets so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathCounters {
    /// Packets given to `send`.
    pub sent: u64,
    /// Packets that will never arrive.
    pub lost: u64,
    /// Extra copies made.
    pub duplicated: u64,
    /// Packets held back so that others may overtake them.
    pub held_back: u64,
    /// Packets handed out by `poll`, copies included.
    pub delivered: u64,
}

/// One direction of an emulated path.
#[derive(Debug, Clone)]
pub struct NetworkPath<T> {
    config: PathConfig,
    random: SeededRandom,
    in_bad_state: bool,
    /// Ordered by due time, then by a running number so that equal times keep the order of sending.
    queue: BTreeMap<(Instant, u64), T>,
    queued: u64,
    last_in_order: Option<Instant>,
    counters: PathCounters,
}

impl<T: Clone> NetworkPath<T> {
    /// Makes a path with the given behaviour and seed.
    pub fn new(config: PathConfig, seed: u64) -> Self {
        Self {
            config,
            random: SeededRandom::new(seed),
            in_bad_state: false,
            queue: BTreeMap::new(),
            queued: 0,
            last_in_order: None,
            counters: PathCounters::default(),
        }
    }

    /// Changes the behaviour for packets sent from here on; packets under way stay under way.
    pub fn set_config(&mut self, config: PathConfig) {
        self.config = config;
    }

    /// Puts a packet on the path at `now`.
    pub fn send(&mut self, now: Instant, packet: T) {
        let number = self.counters.sent;
        self.counters.sent += 1;
        if self.loses(number) {
            self.counters.lost += 1;
            return;
        }
        if self.random.chance(self.config.duplicate) {
            self.counters.duplicated += 1;
            self.enqueue(now, packet.clone());
        }
        self.enqueue(now, packet);
    }

    /// Returns the next packet that has arrived by `now`, in order of arrival, or `None`.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        let first = self.queue.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        self.counters.delivered += 1;
        Some(first.remove())
    }

    /// Returns when the next packet arrives, or `None` when nothing is under way.
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Returns the number of packets under way.
    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    /// Returns what happened so far.
    pub fn counters(&self) -> PathCounters {
        self.counters
    }

    fn loses(&mut self, number: u64) -> bool {
        match &self.config.loss {
            Loss::None => false,
            Loss::Uniform(probability) => self.random.chance(*probability),
            Loss::GilbertElliott {
                enter_bad,
                leave_bad,
                loss_good,
                loss_bad,
            } => {
                let turn = if self.in_bad_state { *leave_bad } else { *enter_bad };
                self.in_bad_state ^= self.random.chance(turn);
                self.random
                    .chance(if self.in_bad_state { *loss_bad } else { *loss_good })
            }
            Loss::Numbers(numbers) => numbers.contains(&number),
        }
    }

    fn enqueue(&mut self, now: Instant, packet: T) {
        let jitter_ns = u64::try_from(self.config.jitter.as_nanos()).unwrap_or(u64::MAX);
        let mut due = now + self.config.delay + Duration::from_nanos(self.random.below(jitter_ns));
        if self.random.chance(self.config.reorder) {
            self.counters.held_back += 1;
            due += self.config.reorder_by;
        } else if !self.config.jitter_reorders {
            due = self.last_in_order.map_or(due, |last| due.max(last));
            self.last_in_order = Some(due);
        }
        self.queue.insert((due, self.queued), packet);
        self.queued += 1;
    }
}

#[cfg(test)]
mod tests;
