//! Whatever voices are summed, the limiter keeps its promises.

use confab_dsp::{CEILING, Limiter};
use proptest::prelude::*;

proptest! {
    /// Past the first millisecond of a block the ceiling holds; recovery keeps its pace; one voice at unity is untouched.
    #[test]
    fn ceiling_and_recovery_hold(
        blocks in prop::collection::vec((prop::collection::vec(-200_000i32..200_000, 160), 2usize..6), 1..20),
    ) {
        let mut limiter = Limiter::new(8000);
        for (sum, contributions) in blocks {
            let before = limiter.gain();
            let mut out = vec![0i16; sum.len()];
            limiter.process(&sum, contributions, &mut out);
            for &sample in &out[8..] {
                prop_assert!(f32::from(sample).abs() <= CEILING + 2.0);
            }
            prop_assert!(limiter.gain() <= before * 1.0476, "20 dB/s are 0.4 dB in 20 ms");
        }
    }

    #[test]
    fn one_voice_is_never_changed(voice in prop::collection::vec(any::<i16>(), 0..400)) {
        let sum: Vec<i32> = voice.iter().map(|&s| i32::from(s)).collect();
        let mut out = vec![0i16; sum.len()];
        Limiter::new(8000).process(&sum, 1, &mut out);
        prop_assert_eq!(out, voice);
    }
}
