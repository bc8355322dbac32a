//! Owns the gain of a participant's audio as operators set it. Never touches audio.

use std::fmt;

/// Gains of the levels −4..=4 in tenths of a decibel: the factors 0.2, 0.4, 0.6, 0.8, 1, 1.3, 2.3, 3.3, 4.3 that
/// FreeSWITCH's conference applies at these levels.
const LEVELS: [i16; 9] = [-140, -80, -44, -19, 0, 23, 72, 104, 127];

/// A gain, to a tenth of a decibel. The default is 0 dB.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    tenths_db: i16,
}

impl Volume {
    /// The lowest gain in dB.
    pub const LOWEST_DB: f64 = -40.0;
    /// The highest gain in dB.
    pub const HIGHEST_DB: f64 = 20.0;
    /// The lowest level.
    pub const LOWEST_LEVEL: i64 = -4;
    /// The highest level.
    pub const HIGHEST_LEVEL: i64 = 4;

    /// Returns the gain of a level; `None` outside −4..=4.
    pub fn from_level(level: i64) -> Option<Volume> {
        let index = level.checked_sub(Self::LOWEST_LEVEL)?;
        let tenths_db = *LEVELS.get(usize::try_from(index).ok()?)?;
        Some(Volume { tenths_db })
    }

    /// Returns a gain given in dB, rounded to a tenth; `None` outside −40..=20.
    pub fn from_db(decibels: f64) -> Option<Volume> {
        (Self::LOWEST_DB..=Self::HIGHEST_DB)
            .contains(&decibels)
            .then(|| Volume {
                tenths_db: (decibels * 10.0).round() as i16,
            })
    }

    /// Returns the gain of the next level above, or below: of the outermost one where there is none beyond.
    pub(crate) fn step(self, louder: bool) -> Volume {
        let mut levels = LEVELS.iter().copied();
        let next = if louder {
            levels.find(|&level| level > self.tenths_db)
        } else {
            levels.rfind(|&level| level < self.tenths_db)
        };
        next.map_or(self, |tenths_db| Volume { tenths_db })
    }

    /// Returns the gain in tenths of a decibel, −400..=200.
    pub fn tenths_db(self) -> i16 {
        self.tenths_db
    }

    /// Returns the gain in dB.
    pub fn db(self) -> f32 {
        f32::from(self.tenths_db) / 10.0
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dB", self.db())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_decibels_have_their_ranges() {
        let levels = [(-4, -140), (-1, -19), (0, 0), (1, 23), (4, 127)];
        for (level, tenths) in levels {
            assert_eq!(Volume::from_level(level).map(Volume::tenths_db), Some(tenths));
        }
        for level in [-5, 5, i64::MIN, i64::MAX] {
            assert_eq!(Volume::from_level(level), None, "{level}");
        }
        let decibels = [
            (-40.0, Some(-400)),
            (20.0, Some(200)),
            (0.0, Some(0)),
            (-0.04, Some(0)),
            (3.16, Some(32)),
            (-40.01, None),
            (20.01, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ];
        for (db, tenths) in decibels {
            assert_eq!(Volume::from_db(db).map(Volume::tenths_db), tenths, "{db}");
        }
        assert_eq!(Volume::from_level(1).map(Volume::db), Some(2.3));
    }
}
