//! Owns the one reading of the wall clock in this crate: documents carry when they were saved.

use std::time::{SystemTime, UNIX_EPOCH};

use confab_conference::GregorianSeconds;

/// Returns the present time; the epoch when the clock stands before 1970.
pub(super) fn now() -> GregorianSeconds {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    GregorianSeconds::from_unix(unix.as_secs())
}
