//! The thread of a shard: turns on an absolute schedule, real-time priority as long as it is deserved, rest when there
//! is nothing to do.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, fence};

use super::Shard;
use crate::io::KernelIo;
use crate::load::{LoadFigures, LoadMeter};
use crate::metrics::ShardCounters;
use crate::sys::{self, Waker};

/// Real-time priority asked for: above ordinary threads, below the kernel's own.
const REALTIME_PRIORITY: u8 = 20;

/// Above this load (work in 1/1000 of the last second) the thread gives its real-time priority up, so that it cannot starve
/// the rest of the machine; below the other one it takes it back.
const REALTIME_UP_TO: u32 = 700;
const REALTIME_AGAIN_BELOW: u32 = 500;

/// What the outside uses to steer the thread.
#[derive(Debug)]
pub(crate) struct ThreadSignals {
    /// Wakes the thread out of its rest.
    pub(crate) waker: Waker,
    /// The thread rests, or is about to.
    resting: AtomicBool,
    stop: AtomicBool,
}

impl ThreadSignals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(ThreadSignals {
            waker: Waker::new()?,
            resting: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        })
    }

    /// To be called after a command was queued.
    pub(crate) fn queued(&self) {
        fence(SeqCst); // the command is visible before `resting` is looked at
        if self.resting.load(SeqCst) {
            self.waker.wake();
        }
    }

    /// Ends the thread after its current turn.
    pub(crate) fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.waker.wake();
    }
}

/// Runs a shard until it is stopped.
pub(crate) fn run(mut shard: Shard<KernelIo>, signals: &Arc<ThreadSignals>, number: usize) {
    confab_dsp::Denoiser::prepare_thread(); // its tables are the thread's: none is made in a turn
    let queues = Arc::clone(&shard.bench.queues);
    let counters = &queues.counters;
    let mut priority = Priority::ask(counters, number);
    let mut load = LoadMeter::new(sys::monotonic_ns());
    while !signals.stop.load(Relaxed) {
        let due_ns = shard.next_turn_ns();
        sys::sleep_until(due_ns);
        let start_ns = sys::monotonic_ns();
        let late_ns = start_ns.saturating_sub(due_ns);
        shard.turn();
        let end_ns = sys::monotonic_ns();
        let busy_ns = end_ns - start_ns;
        counters.turn_duration.record_us(busy_ns / 1000);
        if let Some(figures) = load.record(end_ns, late_ns / 1000, busy_ns) {
            publish(counters, Some(figures));
            priority.follow(figures.load_permille, counters);
        }
        if shard.is_idle() {
            publish(counters, None);
            rest(&shard, signals);
            shard.resume();
            load.restart(sys::monotonic_ns());
        }
    }
}

/// Waits for a command.
fn rest(shard: &Shard<KernelIo>, signals: &ThreadSignals) {
    signals.resting.store(true, SeqCst);
    fence(SeqCst); // `resting` is visible before the queue is looked at
    if shard.is_idle() && !signals.stop.load(SeqCst) {
        signals.waker.wait();
    }
    signals.resting.store(false, SeqCst);
}

fn publish(counters: &ShardCounters, figures: Option<LoadFigures>) {
    counters
        .load_permille
        .store(figures.map_or(0, |figures| figures.load_permille), Relaxed);
    counters
        .lateness_p99_us
        .store(figures.map_or(0, |figures| figures.lateness_p99_us), Relaxed);
}

/// The scheduling class of the thread.
struct Priority {
    allowed: bool,
    realtime: bool,
}

impl Priority {
    /// Asks for real-time priority, and says in the log what came of it.
    fn ask(counters: &ShardCounters, shard: usize) -> Self {
        let result = sys::set_realtime(Some(REALTIME_PRIORITY));
        match &result {
            Ok(()) => tracing::info!(
                shard,
                priority = REALTIME_PRIORITY,
                "media shard runs with real-time priority"
            ),
            Err(error) => tracing::warn!(
                shard,
                %error,
                "media shard runs without real-time priority: expect late ticks when the machine is busy \
                 (CAP_SYS_NICE or a real-time priority limit grants it)"
            ),
        }
        let allowed = result.is_ok();
        counters.realtime.store(allowed, Relaxed);
        Priority {
            allowed,
            realtime: allowed,
        }
    }

    fn follow(&mut self, load_permille: u32, counters: &ShardCounters) {
        let wanted = if self.realtime {
            load_permille <= REALTIME_UP_TO
        } else {
            load_permille < REALTIME_AGAIN_BELOW
        };
        if !self.allowed || wanted == self.realtime {
            return;
        }
        if sys::set_realtime(wanted.then_some(REALTIME_PRIORITY)).is_ok() {
            self.realtime = wanted;
            counters.realtime.store(wanted, Relaxed);
        }
    }
}
