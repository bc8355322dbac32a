//! How long to wait between two reports (RFC 3550 §6.2, A.7) on a leg with one peer.

/// Least mean interval, before randomisation (RFC 3550 §6.2).
const MEAN_NS: u64 = 5_000_000_000;

/// Returns the time until the next report: 5 s (2.5 s before the first) times a random factor of 0.5 to 1.5, divided by
/// e − 3/2 (RFC 3550 §6.3.1), so 2.05 s to 6.16 s.
///
/// With one peer the bandwidth rule never asks for more than the 5 s minimum at telephony rates. `random` is uniform over
/// all of `u32`.
#[must_use]
pub const fn report_interval_ns(first: bool, random: u32) -> u64 {
    let mean = if first { MEAN_NS / 2 } else { MEAN_NS };
    let randomised = mean / 2 + ((mean as u128 * random as u128) >> 32) as u64;
    // e − 3/2 = 1.21828
    (randomised as u128 * 100_000 / 121_828) as u64
}
