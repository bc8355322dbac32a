//! Owns the count of wrong PINs over all calls: per source, which it refuses after too many, and per conference, where it only
//! makes every answer slower. Never sees a PIN.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;

/// Sources, and conferences, that are remembered at most. The table of sources then takes about 2 MB.
const MOST_KNOWN: usize = 10_000;
/// What an answer is delayed by for each try beyond what a conference may have, in milliseconds.
const DELAY_STEP_MS: u32 = 500;
/// The longest delay of an answer, in milliseconds.
const MOST_DELAY_MS: u32 = 10_000;
/// Tries beyond the limit of a conference that are told apart: with so many the delay is at its longest.
const STEPS: usize = (MOST_DELAY_MS / DELAY_STEP_MS) as usize;

/// Where a PIN comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An IPv4 address, or the first 64 bits of an IPv6 address: one subscriber has them all.
    Address(IpAddr),
    /// A caller whose number a trusted trunk vouches for.
    Trunk {
        /// The trunk.
        trunk: String,
        /// The caller's number.
        number: String,
    },
}

impl Source {
    /// Returns the source that an address stands for.
    pub fn of(address: IpAddr) -> Source {
        Source::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
            address => address,
        })
    }
}

impl fmt::Display for Source {
    /// Writes an address, a network of 64 bits, or a trunk and the number that called through it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Address(address @ IpAddr::V4(_)) => write!(f, "{address}"),
            Source::Address(address) => write!(f, "{address}/64"),
            Source::Trunk { trunk, number } => write!(f, "{trunk}/{number}"),
        }
    }
}

/// How many wrong PINs are suffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLimits {
    /// Wrong PINs of one source after which it is refused.
    pub source_tries: u32,
    /// The time within which they count, in milliseconds, those of conferences too.
    pub window_ms: u64,
    /// For how long a source is refused, in milliseconds.
    pub block_ms: u64,
    /// Wrong PINs for one conference beyond which every answer is delayed.
    pub conference_tries: u32,
}

impl Default for GuardLimits {
    fn default() -> Self {
        GuardLimits {
            source_tries: 10,
            window_ms: 600_000,
            block_ms: 900_000,
            conference_tries: 60,
        }
    }
}

/// What becomes of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller is told whether it was right, after this delay in milliseconds.
    Pass {
        /// 0..=10,000.
        delay_ms: u32,
    },
    /// It does not count, right or wrong: the source has tried too often.
    Blocked,
}

/// What a guard has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardCounts {
    /// Wrong PINs.
    pub wrong: u64,
    /// Sources that came to be refused.
    pub blocks: u64,
    /// Tries, and calls, of refused sources.
    pub refused: u64,
    /// Answers that were delayed.
    pub delayed: u64,
    /// Sources and conferences that were forgotten before their time to make room.
    pub forgotten: u64,
}

/// The guard over all calls of a server.
#[derive(Debug)]
pub struct PinGuard {
    limits: GuardLimits,
    sources: BTreeMap<Source, Wrong>,
    /// By account and id.
    conferences: BTreeMap<(String, String), Wrong>,
    counts: GuardCounts,
}

/// The latest wrong PINs of a source, or for a conference.
#[derive(Debug, Default)]
struct Wrong {
    /// Their times, oldest first.
    times: VecDeque<u64>,
    blocked_until: u64,
}

impl Wrong {
    /// Forgets what lies too far back.
    fn forget(&mut self, now_ms: u64, window_ms: u64) {
        while self
            .times
            .front()
            .is_some_and(|time| now_ms.saturating_sub(*time) >= window_ms)
        {
            self.times.pop_front();
        }
    }

    /// Adds one, of which at most `most` are kept, and returns how many there are.
    fn add(&mut self, now_ms: u64, most: usize) -> usize {
        if self.times.len() >= most {
            self.times.pop_front();
        }
        self.times.push_back(now_ms);
        self.times.len()
    }

    fn is_idle(&self, now_ms: u64) -> bool {
        self.times.is_empty() && self.blocked_until <= now_ms
    }
}

/// Makes room in a full table for one more: what has lost its meaning goes, or else who is refused for the shortest time, the one
/// with the oldest last try first. Returns whether something went before its time.
fn make_room<K: Ord + Clone>(table: &mut BTreeMap<K, Wrong>, now_ms: u64, window_ms: u64) -> bool {
    if table.len() < MOST_KNOWN {
        return false;
    }
    table.retain(|_, wrong| {
        wrong.forget(now_ms, window_ms);
        !wrong.is_idle(now_ms)
    });
    if table.len() < MOST_KNOWN {
        return false;
    }
    let worth = |wrong: &Wrong| (wrong.blocked_until.max(now_ms), wrong.times.back().copied());
    let least = table
        .iter()
        .min_by_key(|(_, wrong)| worth(wrong))
        .map(|(key, _)| key.clone());
    least.is_some_and(|key| table.remove(&key).is_some())
}

impl PinGuard {
    /// Returns a guard that knows nobody.
    pub fn new(limits: GuardLimits) -> PinGuard {
        PinGuard {
            limits,
            sources: BTreeMap::new(),
            conferences: BTreeMap::new(),
            counts: GuardCounts::default(),
        }
    }

    /// Returns whether a source is refused at this time.
    pub fn is_blocked(&self, now_ms: u64, source: &Source) -> bool {
        self.sources
            .get(source)
            .is_some_and(|wrong| wrong.blocked_until > now_ms)
    }

    /// Notes that a call of a refused source was turned away.
    pub fn turned_away(&mut self) {
        self.counts.refused += 1;
    }

    /// Judges a try of a source for a conference of an account. The try that makes one too many is refused already.
    pub fn tried(
        &mut self,
        now_ms: u64,
        source: &Source,
        (account, conference): (&str, &str),
        right: bool,
    ) -> Verdict {
        if self.is_blocked(now_ms, source) {
            self.counts.refused += 1;
            return Verdict::Blocked;
        }
        let window_ms = self.limits.window_ms;
        let key = (account.to_owned(), conference.to_owned());
        let limit = self.limits.conference_tries as usize;
        let tries = if right {
            self.conferences.get_mut(&key).map_or(0, |wrong| {
                wrong.forget(now_ms, window_ms);
                wrong.times.len()
            })
        } else {
            self.counts.wrong += 1;
            if !self.conferences.contains_key(&key) && make_room(&mut self.conferences, now_ms, window_ms) {
                self.counts.forgotten += 1;
            }
            let wrong = self.conferences.entry(key).or_default();
            wrong.forget(now_ms, window_ms);
            wrong.add(now_ms, limit + STEPS)
        };
        if !right && self.count_against(now_ms, source) {
            return Verdict::Blocked;
        }
        let beyond = u32::try_from(tries.saturating_sub(limit)).unwrap_or(u32::MAX);
        let delay_ms = beyond.saturating_mul(DELAY_STEP_MS).min(MOST_DELAY_MS);
        self.counts.delayed += u64::from(delay_ms > 0);
        Verdict::Pass { delay_ms }
    }

    /// Counts a wrong PIN against its source; says whether it is refused from here on.
    fn count_against(&mut self, now_ms: u64, source: &Source) -> bool {
        let limits = self.limits;
        if !self.sources.contains_key(source) && make_room(&mut self.sources, now_ms, limits.window_ms) {
            self.counts.forgotten += 1;
        }
        let most = limits.source_tries.max(1) as usize;
        let wrong = self.sources.entry(source.clone()).or_default();
        wrong.forget(now_ms, limits.window_ms);
        if wrong.add(now_ms, most) < most {
            return false;
        }
        wrong.times.clear();
        wrong.blocked_until = now_ms.saturating_add(limits.block_ms);
        self.counts.blocks += 1;
        true
    }

    /// Returns what was counted.
    pub fn counts(&self) -> GuardCounts {
        self.counts
    }

    /// Returns how many sources are refused at this time.
    pub fn blocked(&self, now_ms: u64) -> usize {
        let blocked = |wrong: &&Wrong| wrong.blocked_until > now_ms;
        self.sources.values().filter(blocked).count()
    }
}

#[cfg(test)]
mod tests;
