//! Joins that cannot be heard, and blocks of any content and length.

use std::f64::consts::TAU;

use confab_dsp::TimeScale;
use proptest::prelude::*;

/// A voice with ten harmonics, without an end.
fn voice(rate_hz: u32, pitch_hz: f64, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| {
            let phase = TAU * pitch_hz * n as f64 / f64::from(rate_hz);
            let sum: f64 = (1..=10)
                .map(|k| (phase * f64::from(k) + f64::from(k * k)).cos() / f64::from(k))
                .sum();
            (5000.0 * sum) as i16
        })
        .collect()
}

fn noise(samples: usize) -> Vec<i16> {
    let mut state = 1u32;
    (0..samples)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16 / 4
        })
        .collect()
}

/// The largest change of slope: what a click would raise.
fn roughness(pcm: &[i16]) -> i32 {
    pcm.windows(3)
        .map(|w| (i32::from(w[0]) - 2 * i32::from(w[1]) + i32::from(w[2])).abs())
        .max()
        .unwrap_or(0)
}

const RATES: [u32; 7] = [8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000];

#[test]
fn a_voice_loses_or_gains_whole_periods_without_a_click() {
    for rate_hz in RATES {
        for pitch_hz in [75.0, 100.0, 133.0, 210.0, 333.0] {
            for block_ms in [20, 30, 40, 60] {
                let block = (rate_hz * block_ms / 1000) as usize;
                let pcm = voice(rate_hz, pitch_hz, block);
                let name = format!("{pitch_hz} Hz at {rate_hz} Hz, {block_ms} ms");
                let period = f64::from(rate_hz) / pitch_hz;
                let whole = |samples: usize| {
                    let periods = samples as f64 / period;
                    (periods - periods.round()).abs() * period
                };
                let mut scale = TimeScale::new(rate_hz);
                let mut shorter = pcm.clone();
                let removed = scale.shorten(&mut shorter, block);
                assert!(
                    removed > 0 && whole(removed) <= 1.0,
                    "{name}: {removed} of {period}"
                );
                shorter.truncate(block - removed);
                assert!(roughness(&shorter) <= roughness(&pcm) * 5 / 4, "{name}: a click");
                let mut longer = pcm.clone();
                longer.resize(2 * block, 0);
                let added = scale.lengthen(&mut longer, block, block);
                assert!(added > 0 && whole(added) <= 1.0, "{name}: {added} of {period}");
                longer.truncate(block + added);
                assert!(roughness(&longer) <= roughness(&pcm) * 5 / 4, "{name}: a click");
                assert_eq!(
                    longer[block + added - 1],
                    pcm[block - 1],
                    "{name}: the end is kept"
                );
            }
        }
    }
}

#[test]
fn noise_is_refused_at_first_and_not_for_ever() {
    let mut scale = TimeScale::new(16_000);
    let mut refusals = 0;
    while scale.shorten(&mut noise(320), 320) == 0 {
        refusals += 1;
        assert!(refusals < 6);
    }
    assert!(refusals > 0);
    assert_eq!(scale.shorten(&mut noise(320), 320), 0, "a success starts anew");
}

#[test]
fn silence_gives_the_longest_period_there_is_room_for() {
    let rows = [(8000, 160, 160, 119), (8000, 80, 80, 39), (48_000, 960, 300, 295)];
    for (rate_hz, block, at_most, expected) in rows {
        let removed = TimeScale::new(rate_hz).shorten(&mut vec![0; block], at_most);
        assert!(removed <= at_most);
        assert!(
            removed.abs_diff(expected) <= 6,
            "{removed} of {block} at {rate_hz} Hz"
        );
    }
}

#[test]
fn small_amounts_are_single_samples_at_the_smoothest_place() {
    let mut scale = TimeScale::new(8000);
    let mut pcm = [0, 500, 1000, 1001, 1002, 2000, 4000];
    assert_eq!(scale.shorten(&mut pcm, 3), 1);
    assert_eq!(pcm[..6], [0, 500, 1000, 1002, 2000, 4000]);
    let mut pcm = [0, 500, 1000, 1000, 1000, 2000, 4000, -1];
    assert_eq!(scale.lengthen(&mut pcm, 7, 1), 1);
    assert_eq!(pcm, [0, 500, 1000, 1000, 1000, 1000, 2000, 4000]);
    assert_eq!(scale.shorten(&mut [1, 2], 1), 0);
    assert_eq!(scale.lengthen(&mut [1, 2, 3], 2, 1), 0);
    assert_eq!(scale.lengthen(&mut [1, 2, 3], 3, 5), 0, "no room");
    assert_eq!(scale.shorten(&mut [1; 160], 0), 0);
}

proptest! {
    #[test]
    fn any_block_is_survived_and_its_ends_are_kept(
        rate_hz in prop::sample::select(RATES.to_vec()),
        pcm in prop::collection::vec(any::<i16>(), 0..2000),
        at_most in 0usize..3000,
        tries in 1usize..8,
    ) {
        let mut scale = TimeScale::new(rate_hz);
        for _ in 0..tries {
            let mut shorter = pcm.clone();
            let removed = scale.shorten(&mut shorter, at_most);
            prop_assert!(removed <= at_most && removed <= pcm.len());
            let kept = pcm.len() - removed;
            if removed > 1 {
                prop_assert_eq!(shorter[0], pcm[0]);
                prop_assert_eq!(shorter[kept - 1], pcm[pcm.len() - 1]);
            }
            let mut longer = pcm.clone();
            longer.resize(pcm.len() + 900, 7);
            let added = scale.lengthen(&mut longer, pcm.len(), at_most);
            prop_assert!(added <= at_most && added <= 900);
            if added > 1 {
                prop_assert_eq!(longer[0], pcm[0]);
                prop_assert_eq!(longer[pcm.len() + added - 1], pcm[pcm.len() - 1]);
            }
            prop_assert!(longer[pcm.len() + added..].iter().all(|&room| room == 7) || added > 0);
        }
    }
}
