//! Owns the measured windows: what the server and the generator used and how punctual they were.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use confab_testkit::rtp::RtpEngine;
use confab_testkit::server::{Metrics, ProcessUsage, Server};

use super::Crowd;

const LATENESS: &str = "confab_tick_lateness_seconds";
const LATE_S: f64 = 0.005;

/// The generator's side of a window.
#[derive(Debug, Clone, Copy)]
pub struct GeneratorFigures {
    /// Share of one core that the generator used.
    pub core_share: f64,
    /// Lateness of its turns in µs: p99, p99.9, worst since the start.
    pub late_us: (u64, u64, u64),
    /// Packets sent in the window.
    pub sent: u64,
    /// Packets received in the window.
    pub received: u64,
    /// Sequence numbers missing in what was received in the window.
    pub missing: u64,
    /// Whether it ran with real-time priority.
    pub real_time: bool,
}

/// The server's punctuality in a window.
#[derive(Debug, Clone, Copy)]
pub struct ServerFigures {
    /// Bounds in seconds that hold p50, p99 and p99.9 of tick lateness.
    pub late_s: (f64, f64, f64),
    /// Share of ticks that began more than 5 ms late.
    pub late_share: f64,
    /// Bound in seconds that holds p99 of the mixing part of a tick.
    pub tick_s: f64,
    /// Ticks skipped.
    pub skipped: f64,
    /// Packets dropped, all reasons.
    pub dropped: f64,
    /// Packets sent by the server.
    pub sent: f64,
    /// Media threads under SCHED_FIFO, and all.
    pub real_time_shards: (f64, f64),
}

/// One window: process figures of the measured program and the generator's.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Length.
    pub length: Duration,
    /// Processor time of the measured process.
    pub cpu: Duration,
    /// Its resident memory at the end.
    pub resident_bytes: u64,
    /// The generator.
    pub generator: GeneratorFigures,
}

impl Window {
    /// Returns processor milliseconds per participant and second.
    pub fn cpu_ms_per_participant_second(&self, participants: usize) -> f64 {
        self.cpu.as_secs_f64() * 1000.0 / self.length.as_secs_f64() / participants as f64
    }
}

/// Measures a window of any process `id` under a crowd.
pub fn measure_generator(id: u32, crowd: &Crowd, engine: &RtpEngine, length: Duration) -> Result<Window> {
    let own = std::process::id();
    let before = (
        ProcessUsage::of(id)?,
        ProcessUsage::of(own)?,
        crowd.counts(),
        engine.lateness(),
    );
    let start = Instant::now();
    std::thread::sleep(length);
    let length = start.elapsed();
    let after = (
        ProcessUsage::of(id)?,
        ProcessUsage::of(own)?,
        crowd.counts(),
        engine.lateness(),
    );
    let lateness = after.3.since(&before.3);
    let generator = GeneratorFigures {
        core_share: (after.1.cpu.saturating_sub(before.1.cpu)).as_secs_f64() / length.as_secs_f64(),
        late_us: (
            lateness.quantile_us(0.99),
            lateness.quantile_us(0.999),
            lateness.max_us(),
        ),
        sent: after.2.0 - before.2.0,
        received: after.2.1 - before.2.1,
        missing: after.2.2 - before.2.2,
        real_time: engine.is_real_time(),
    };
    let cpu = after.0.cpu.saturating_sub(before.0.cpu);
    Ok(Window {
        length,
        cpu,
        resident_bytes: after.0.resident_bytes,
        generator,
    })
}

/// Measures a window of the server.
pub fn measure_server(
    server: &Server,
    crowd: &Crowd,
    engine: &RtpEngine,
    length: Duration,
) -> Result<(Window, ServerFigures)> {
    let before = server.metrics().context("reading /metrics")?;
    let window = measure_generator(server.id(), crowd, engine, length)?;
    let after = server.metrics().context("reading /metrics")?;
    Ok((window, figures(&before, &after)))
}

fn figures(before: &Metrics, after: &Metrics) -> ServerFigures {
    let quantile = |name, quantile| after.quantile_since(before, name, quantile).unwrap_or(f64::NAN);
    let gain = |name| after.sum(name).unwrap_or(f64::NAN) - before.sum(name).unwrap_or(0.0);
    let sent = |metrics: &Metrics| metrics.labelled("confab_rtp_packets_total", "direction", "out");
    ServerFigures {
        late_s: (
            quantile(LATENESS, 0.5),
            quantile(LATENESS, 0.99),
            quantile(LATENESS, 0.999),
        ),
        late_share: after
            .share_above_since(before, LATENESS, LATE_S)
            .unwrap_or(f64::NAN),
        tick_s: quantile("confab_tick_duration_seconds", 0.99),
        skipped: gain("confab_ticks_skipped_total"),
        dropped: gain("confab_rtp_dropped_total"),
        sent: sent(after) - sent(before),
        real_time_shards: (
            after.sum("confab_shards_realtime").unwrap_or(f64::NAN),
            after.sum("confab_shards").unwrap_or(f64::NAN),
        ),
    }
}
