//! Measurements that a machine which stalls may spoil: repeated while the machine itself was late, counted when it was not.

use crate::rtp::RtpEngine;
use crate::server::Server;

/// A virtual machine may stop all of its cores at once; what was then sent or mixed late says nothing of the server.
const ATTEMPTS: usize = 100;
/// Lateness of the senders, µs, that every playout margin covers.
const LATENESS_US: u64 = 3_000;

/// Repeats a measurement until it finds nothing wrong, and returns what it measured.
///
/// # Panics
/// The measurement found something wrong twice while senders and server kept their schedule, or they never did.
#[track_caller]
pub fn in_time<R>(
    server: &Server,
    engine: &RtpEngine,
    mut measure: impl FnMut() -> Result<R, Vec<String>>,
) -> R {
    let mut found_in_time = 0;
    for attempt in 1..=ATTEMPTS {
        let engine_before = engine.lateness();
        let before = server.metrics().expect("metrics");
        let wrong = match measure() {
            Ok(result) => return result,
            Err(wrong) => wrong,
        };
        let late_us = engine.lateness().since(&engine_before).quantile_us(1.0);
        let after = server.metrics().expect("metrics");
        let counted = |name: &str| after.sum(name).unwrap_or_default() - before.sum(name).unwrap_or_default();
        let late_ticks = counted("confab_ticks_late_total") + counted("confab_ticks_skipped_total");
        println!(
            "attempt {attempt}: {} findings, senders up to {late_us} µs late, {late_ticks} ticks late",
            wrong.len()
        );
        if late_us <= LATENESS_US && late_ticks == 0.0 {
            found_in_time += 1;
        }
        assert!(
            found_in_time < 2,
            "{} findings on a machine in time:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
    panic!("in {ATTEMPTS} attempts this machine never kept its schedule");
}
