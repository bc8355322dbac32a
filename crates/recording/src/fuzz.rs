//! The entry for fuzzing. Also run by an ordinary test on the committed seeds.

use std::time::Duration;

use crate::{ImportLimits, RATES_HZ, import};

/// Reads arbitrary bytes as a file. Panics when what comes out breaks a promise.
pub fn fuzz_import(data: &[u8]) {
    let limits = ImportLimits {
        bytes: 1 << 20,
        duration: Duration::from_secs(20),
    };
    match import(data, limits) {
        Ok(audio) => {
            assert!(RATES_HZ.contains(&audio.rate_hz));
            assert!(!audio.samples.is_empty());
            assert!(audio.samples.len() <= 20 * audio.rate_hz as usize + 1);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
