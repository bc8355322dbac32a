//! Wall-clock time for records and events. Nothing here drives a timer.

use std::time::SystemTime;

use confab_conference::GregorianSeconds;
use jiff::{Timestamp, Unit};

/// `time` as `2026-01-31T12:00:00.250Z` (RFC 3339); a time outside years −9999 to 9999 is shown as the epoch.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let stamp = Timestamp::try_from(time)
        .and_then(|stamp| stamp.round(Unit::Millisecond))
        .unwrap_or_default();
    format!("{stamp:.3}")
}

/// This second, as events tell it.
pub(crate) fn gregorian_now() -> GregorianSeconds {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    GregorianSeconds::from_unix(unix.map_or(0, |time| time.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::rfc3339;

    #[test]
    fn records_carry_milliseconds_and_utc() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_305_600_250);
        assert_eq!(rfc3339(time), "2026-11-22T00:00:00.250Z");
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
