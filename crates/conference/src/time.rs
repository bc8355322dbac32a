//! Owns the units of time: the wall clock of the outside interface, and what waits are measured by. Never reads a clock.

use std::fmt;

/// Whole seconds since the start of the year 0 in the proleptic Gregorian calendar (UTC): the Unix time plus
/// [`GregorianSeconds::UNIX_EPOCH`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GregorianSeconds(pub u64);

impl GregorianSeconds {
    /// 1970-01-01T00:00:00Z in Gregorian seconds.
    pub const UNIX_EPOCH: u64 = 62_167_219_200;

    /// Returns the Gregorian seconds of `unix` seconds since 1970-01-01T00:00:00Z.
    pub fn from_unix(unix: u64) -> GregorianSeconds {
        GregorianSeconds(unix.saturating_add(Self::UNIX_EPOCH))
    }

    /// Returns the seconds from `earlier` to `self`; 0 when the wall clock was set back in between.
    pub fn seconds_since(self, earlier: GregorianSeconds) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A reading of a clock that never goes back, in milliseconds since whatever moment its owner began to count at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the moment so many milliseconds later.
    pub fn after_ms(self, milliseconds: u64) -> Moment {
        Moment(self.0.saturating_add(milliseconds))
    }
}

impl fmt::Display for GregorianSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
