//! Minutes and hours of call over an emulated network path, in milliseconds of real time. Every failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod listener;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use confab_rtp::Content;
use confab_rtp::jitter::{PlayoutCounters, Rejected};
use confab_testkit::clock::VirtualClock;
use confab_testkit::netem::{Loss, NetworkPath, PathConfig};
use listener::{Heard, Listener, MS, Speaker, runs, said};

const T0: u64 = 1_000 * MS;
const TICK_MS: u64 = 20;

/// A sender at `skew_ppm` against the listener's clock, a path between them, and what was heard.
struct Call {
    listener: Listener,
    speaker: Speaker,
    path: NetworkPath<Vec<u8>>,
    /// The path's clock; `T0` of the simulation is its zero.
    epoch: Instant,
    skew_ppm: i64,
    sent: u64,
    packet_ms: u64,
    rejected: BTreeMap<&'static str, u64>,
    /// Largest and smallest media time waiting in the buffer, looked at every second.
    depth_ms: (u64, u64),
}

impl Call {
    fn new(config: PathConfig, seed: u64, packet_ms: u64) -> Self {
        Self {
            listener: Listener::new(TICK_MS, T0),
            speaker: Speaker::new(65_000, u32::MAX - 50_000),
            path: NetworkPath::new(config, seed),
            epoch: VirtualClock::new().now(),
            skew_ppm: 0,
            sent: 0,
            packet_ms,
            rejected: BTreeMap::new(),
            depth_ms: (0, u64::MAX),
        }
    }

    fn say(&mut self, duration_ms: u64) {
        self.transmit(duration_ms, false);
    }

    fn be_silent(&mut self, duration_ms: u64) {
        self.transmit(duration_ms, true);
    }

    fn transmit(&mut self, duration_ms: u64, silent: bool) {
        let samples = (self.packet_ms * 8) as u32;
        for _ in 0..duration_ms / self.packet_ms {
            let packet = if silent {
                self.speaker.silent_packet(samples)
            } else {
                self.speaker.packet(samples)
            };
            // A fast clock (positive skew) takes less time for each packet.
            let nominal_ns = (self.sent * self.packet_ms * MS).cast_signed();
            let sent_ns = nominal_ns - nominal_ns / 1_000_000 * self.skew_ppm;
            let sent_at = self.epoch + Duration::from_nanos(sent_ns.cast_unsigned());
            self.deliver_until(sent_at);
            self.path.send(sent_at, packet);
            self.sent += 1;
        }
    }

    fn deliver_until(&mut self, now: Instant) {
        while let Some(at) = self.path.next_at().filter(|at| *at <= now) {
            let Some(packet) = self.path.poll(at) else { break };
            let arrival_ns = T0 + u64::try_from((at - self.epoch).as_nanos()).unwrap();
            let samples = (packet.len() - 12) as u32;
            if let Err(reason) = self
                .listener
                .arrive_as(arrival_ns, &packet, Content::Audio { samples })
            {
                *self.rejected.entry(reason.name()).or_default() += 1;
            }
            if self.sent.is_multiple_of(1000 / self.packet_ms) {
                let depth = self.listener.playout.buffered_ns() / MS;
                self.depth_ms = (self.depth_ms.0.max(depth), self.depth_ms.1.min(depth));
            }
        }
    }

    fn finish(&mut self) -> PlayoutCounters {
        self.deliver_until(self.epoch + Duration::from_secs(100_000));
        self.listener.run_ticks(30);
        self.listener.counters()
    }
}

#[test]
fn ten_minutes_of_phase_jitter_without_loss_are_bit_exact() {
    for (seed, jitter_us, packet_ms) in [
        (1, 0, 20),
        (2, 500, 20),
        (3, 1900, 20),
        (4, 1900, 30),
        (5, 1900, 10),
    ] {
        let jitter = Duration::from_micros(jitter_us);
        let config = PathConfig {
            delay: Duration::from_millis(13),
            jitter,
            ..PathConfig::default()
        };
        let mut call = Call::new(config, seed, packet_ms);
        call.say(600_000);
        let counters = call.finish();
        let context = format!("seed {seed}, {jitter_us} µs, {packet_ms} ms packets");
        call.listener.assert_bit_exact(600_000 * 8, &context);
        assert_eq!(
            (counters.inserted_samples, counters.dropped_samples),
            (0, 0),
            "{context}: {counters:?}"
        );
        assert!(
            call.depth_ms.0 <= 20 + packet_ms + 20,
            "{context}: depth {:?} ms",
            call.depth_ms
        );
    }
}

#[test]
fn wider_jitter_is_learnt_and_then_costs_nothing() {
    for seed in 0..5 {
        let jitter = Duration::from_millis(60);
        let config = PathConfig {
            jitter,
            jitter_reorders: true,
            ..PathConfig::default()
        };
        let mut call = Call::new(config, seed, 20);
        call.say(30_000);
        let learnt = call.listener.counters();
        call.say(120_000);
        let counters = call.finish();
        let context = format!("seed {seed}: {learnt:?}, then {counters:?}");
        assert!(counters.inserted_samples <= 80 * 8, "{context}");
        assert!(
            counters.rejected_for(Rejected::Late) - learnt.rejected_for(Rejected::Late) <= 60,
            "{context}"
        );
        assert!(call.depth_ms.0 <= 140, "{context}: depth {:?} ms", call.depth_ms);
        assert_samples_are_in_order(&call.listener.heard, &context);
    }
}

#[test]
fn a_burst_of_delay_passes_and_leaves_no_delay_behind() {
    for (seed, burst_ms) in [(1, 40), (2, 100), (3, 180), (4, 400), (5, 1500)] {
        let mut call = Call::new(PathConfig::default(), seed, 20);
        call.say(20_000);
        call.path.set_config(PathConfig {
            delay: Duration::from_millis(burst_ms),
            ..PathConfig::default()
        });
        call.say(20);
        // In order behind the delayed one: those sent meanwhile arrive with it.
        call.path.set_config(PathConfig::default());
        call.say(20_000);
        call.be_silent(400);
        call.depth_ms = (0, u64::MAX);
        call.say(20_000);
        let counters = call.finish();
        let context = format!("seed {seed}, {burst_ms} ms: {counters:?}");
        assert_eq!(counters.inserted_samples, 0, "{context}");
        assert!(
            call.depth_ms.0 <= 43,
            "{context}: depth {:?} ms at the end",
            call.depth_ms
        );
        let missing = 60_020 * 8 - samples_heard(&call.listener.heard);
        assert!(
            missing <= (burst_ms + 20) * 8,
            "{context}: {missing} samples missing"
        );
        let tail = &call.listener.stretch()[call.listener.stretch().len() - 19_000 * 8..];
        assert_eq!(runs(tail).len(), 1, "{context}: {:?}", runs(tail));
        assert_samples_are_in_order(&call.listener.heard, &context);
    }
}

#[test]
fn an_hour_of_clock_skew_stays_within_one_frame_of_delay() {
    for skew_ppm in [-200, -20, 20, 200] {
        let mut call = Call::new(PathConfig::default(), 1, 20);
        call.skew_ppm = skew_ppm;
        // Speech with pauses: six seconds of talk, a second of silence.
        for _ in 0..3600 / 7 {
            call.say(6_000);
            call.be_silent(1_000);
        }
        let counters = call.finish();
        let context = format!(
            "{skew_ppm} ppm: {counters:?}, depth {:?} ms, {:?}",
            call.depth_ms, call.rejected
        );
        // One tick, one packet and the safety that a stream starts with.
        assert!(call.depth_ms.0 <= 20 + 20 + 23, "{context}");
        let drift = 3_600_000 * skew_ppm.unsigned_abs() / 1_000_000 * 8;
        let adapted = if skew_ppm < 0 {
            counters.inserted_samples
        } else {
            counters.dropped_samples
        };
        assert!(adapted.abs_diff(drift) <= 320, "{context}: drift {drift}");
        // All speech was heard. What was left out was silence; what was added was silence but for a few ticks, where six
        // seconds of speech ate up the time to spare before a pause came.
        assert_eq!(call.rejected.len(), 0, "{context}");
        let concealed = counters.lost_samples - trailing_concealment(&call.listener.heard);
        assert!(concealed <= if skew_ppm < 0 { 10 * 160 } else { 0 }, "{context}");
        assert_eq!(
            samples_heard(&call.listener.heard),
            call.speaker.position,
            "{context}"
        );
    }
}

#[test]
fn clock_skew_without_a_pause_stays_within_the_bound() {
    for skew_ppm in [-500, 500] {
        let mut call = Call::new(PathConfig::default(), 1, 20);
        call.skew_ppm = skew_ppm;
        call.say(1_800_000);
        let counters = call.finish();
        let context = format!("{skew_ppm} ppm: {counters:?}, depth {:?} ms", call.depth_ms);
        assert!(call.depth_ms.0 <= 200 + 60, "{context}");
        assert!(
            call.rejected.values().sum::<u64>() <= 2,
            "{context} {:?}",
            call.rejected
        );
        assert_samples_are_in_order(&call.listener.heard, &context);
    }
}

#[test]
fn on_a_bad_path_every_packet_in_time_is_heard_once_and_in_order() {
    for seed in 0..20 {
        let config = PathConfig {
            loss: Loss::bursts(0.05, 2.0),
            duplicate: 0.05,
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(15),
            jitter_reorders: true,
            reorder: 0.02,
            reorder_by: Duration::from_millis(30),
        };
        let packet_ms = [10, 20, 30, 60][seed as usize % 4];
        let mut call = Call::new(config, seed, packet_ms);
        call.say(60_000);
        let counters = call.finish();
        let path = call.path.counters();
        let context = format!("seed {seed}, {packet_ms} ms: {counters:?} {path:?}");
        let arrived = path.sent - path.lost;
        let late = counters.rejected_for(Rejected::Late) + counters.overtaken;
        assert_eq!(counters.frames + late, arrived, "{context}");
        assert!(late * 30 <= arrived, "{context}");
        assert_eq!(
            counters.rejected_for(Rejected::Duplicate),
            path.duplicated,
            "{context}"
        );
        assert!(call.depth_ms.0 <= 200, "{context}: depth {:?} ms", call.depth_ms);
        assert_samples_are_in_order(&call.listener.heard, &context);
    }
}

fn samples_heard(heard: &[Heard]) -> u64 {
    heard
        .iter()
        .filter(|heard| matches!(heard, Heard::Sample(_)))
        .count() as u64
}

/// Samples concealed after the last packet, while it was not yet known that none would follow.
fn trailing_concealment(heard: &[Heard]) -> u64 {
    heard
        .iter()
        .rev()
        .take_while(|heard| !matches!(heard, Heard::Sample(_)))
        .filter(|h| **h == Heard::Concealed)
        .count() as u64
}

/// Each stretch of speech must be a later piece of what was said than the stretch before.
fn assert_samples_are_in_order(heard: &[Heard], context: &str) {
    let mut position = 0;
    for stretch in heard
        .split(|heard| !matches!(heard, Heard::Sample(_)))
        .filter(|stretch| stretch.len() >= 16)
    {
        let found = (position..position + 40_000).find(|&from| {
            stretch
                .iter()
                .take(16)
                .zip(from..)
                .all(|(heard, at)| *heard == Heard::Sample(said(at)))
        });
        let Some(from) = found else {
            panic!(
                "{context}: a stretch of {} samples is out of order",
                stretch.len()
            )
        };
        position = from + stretch.len() as u64;
    }
}
