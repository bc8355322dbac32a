//! The talking state: what start and stop talking events, the flag of the roster and the floor go by. Whether audio is
//! mixed is the gate's business (`gate`), not this module's.

/// How far above the level a score must be to count as talking at once.
pub const STRONG_EXCESS: u16 = 400;

/// Accumulated loud time that makes a participant talk: 5 frames of 20 ms.
pub const LOUD_MS: u32 = 100;

/// Accumulated quiet time that ends the talking: 40 frames of 20 ms.
pub const QUIET_MS: u32 = 800;

/// The talking state of one participant.
///
/// Loud time adds up and quiet frames take their length back, until [`LOUD_MS`] are reached or one frame exceeds the
/// level by [`STRONG_EXCESS`]; then the other way round, until [`QUIET_MS`] of quiet are reached. Counting time instead
/// of frames makes other intervals than 20 ms behave alike.
#[derive(Debug, Clone, Copy, Default)]
pub struct TalkingState {
    talking: bool,
    loud_ms: u32,
    quiet_ms: u32,
}

impl TalkingState {
    /// Creates the state of a participant who is not talking.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether the participant is talking.
    pub fn is_talking(&self) -> bool {
        self.talking
    }

    /// Takes in one frame's score, against `level`, for its length in milliseconds. Returns whether the state changed.
    pub fn update(&mut self, score: u16, level: u16, duration_ms: u32) -> bool {
        let before = self.talking;
        if score > level {
            self.quiet_ms = self.quiet_ms.saturating_sub(duration_ms);
            self.loud_ms = self.loud_ms.saturating_add(duration_ms);
            if score - level >= STRONG_EXCESS || self.loud_ms >= LOUD_MS {
                self.become_talking(true);
            }
        } else {
            self.loud_ms = self.loud_ms.saturating_sub(duration_ms);
            if self.talking {
                self.quiet_ms = self.quiet_ms.saturating_add(duration_ms);
                if self.quiet_ms >= QUIET_MS {
                    self.become_talking(false);
                }
            }
        }
        self.talking != before
    }

    /// Ends the talking at once, as muting does. Returns whether the state changed.
    pub fn stop(&mut self) -> bool {
        let was_talking = self.talking;
        self.become_talking(false);
        was_talking
    }

    fn become_talking(&mut self, talking: bool) {
        *self = TalkingState {
            talking,
            loud_ms: 0,
            quiet_ms: 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds scores at level 20 and returns the numbers (from 1) of the frames in which the state changed.
    fn changes(duration_ms: u32, scores: &[u16]) -> Vec<usize> {
        let mut state = TalkingState::new();
        (1..)
            .zip(scores)
            .filter(|&(_, &score)| state.update(score, 20, duration_ms))
            .map(|(n, _)| n)
            .collect()
    }

    #[test]
    fn follows_the_accumulation_rule() {
        let quiet = [0; 45];
        let rows: [(&str, Vec<u16>, Vec<usize>); 8] = [
            ("silence", vec![0; 100], vec![]),
            ("at the level is quiet", vec![20; 100], vec![]),
            ("the fifth loud frame", vec![21; 10], vec![5]),
            ("400 above the level at once", vec![420], vec![1]),
            ("399 above is not at once", vec![419, 0], vec![]),
            (
                "quiet frames take loud ones back",
                vec![30, 30, 0, 30, 30, 0, 30, 30, 30],
                vec![9],
            ),
            (
                "loud, then forty quiet frames",
                [&[420][..], &quiet].concat(),
                vec![1, 41],
            ),
            (
                "a strong frame clears the quiet account",
                [&[420], &[0; 39][..], &[420], &quiet].concat(),
                vec![1, 81],
            ),
        ];
        for (name, scores, expected) in rows {
            assert_eq!(changes(20, &scores), expected, "{name}");
        }
    }

    #[test]
    fn other_intervals_count_the_same_time() {
        for (duration_ms, talks_at, quiet_frames) in [(10, 10, 80), (40, 3, 20), (120, 1, 7)] {
            let scores = [vec![21; talks_at], vec![0; 100]].concat();
            assert_eq!(
                changes(duration_ms, &scores),
                [talks_at, talks_at + quiet_frames],
                "{duration_ms} ms"
            );
        }
    }

    #[test]
    fn stopping_reports_a_change_once() {
        let mut state = TalkingState::new();
        assert!(state.update(1000, 20, 20));
        assert!(state.stop());
        assert!(!state.stop());
        assert!(!state.is_talking());
    }
}
