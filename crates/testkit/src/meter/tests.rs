//! Checks the meters against signals whose figures are known beforehand.

use super::*;

const RATE: u32 = 8000;

fn mix(parts: &[Vec<i16>]) -> Vec<i16> {
    (0..parts[0].len())
        .map(|i| parts.iter().map(|part| part[i]).sum())
        .collect()
}

#[test]
fn a_sine_measures_its_level_by_tone_and_by_rms() {
    for level in [0.0, -6.0, -28.0, -40.0, -60.0] {
        let samples = sine(1000.0, level, RATE, 0, 8000);
        let tolerance = if level < -50.0 { 0.2 } else { 0.02 };
        assert!(
            (tone_dbfs(&samples, RATE, 1000.0) - level).abs() < tolerance,
            "{level}"
        );
        assert!((rms_dbfs(&samples) - level).abs() < tolerance, "{level}");
    }
}

#[test]
fn silence_and_emptiness_measure_as_silence() {
    for samples in [&[0i16; 800][..], &[][..]] {
        assert_eq!(rms_dbfs(samples), SILENCE_DBFS);
        assert_eq!(tone_dbfs(samples, RATE, 440.0), SILENCE_DBFS);
    }
}

#[test]
fn tones_on_the_grid_do_not_disturb_each_other() {
    let frequencies: Vec<f64> = (0..12).map(|n| 350.0 + 250.0 * f64::from(n)).collect();
    let tones: Vec<_> = frequencies
        .iter()
        .map(|f| sine(*f, -28.0, RATE, 0, 8000))
        .collect();
    let all_but_one = mix(&tones[1..]);
    assert!(tone_dbfs(&all_but_one, RATE, frequencies[0]) < -85.0);
    for frequency in &frequencies[1..] {
        assert!(
            (tone_dbfs(&all_but_one, RATE, *frequency) + 28.0).abs() < 0.05,
            "{frequency}"
        );
    }
}

#[test]
fn blocks_of_one_sine_join_without_a_step() {
    let whole = sine(1003.7, -20.0, RATE, 0, 480);
    let joined: Vec<i16> = (0..3)
        .flat_map(|n| sine(1003.7, -20.0, RATE, n * 160, 160))
        .collect();
    assert_eq!(whole, joined);
}

#[test]
fn sequence_meter_counts_each_kind_of_break() {
    type Packets = &'static [(u16, u32)];
    let cases: &[(&str, Packets, SequenceReport)] = &[
        ("continuous", &[(1, 160), (2, 320), (3, 480)], report(3, 0, 0, 0)),
        (
            "sequence and timestamp wrap",
            &[(65_535, u32::MAX - 159), (0, 0), (1, 160)],
            report(3, 0, 0, 0),
        ),
        ("one missing", &[(1, 160), (3, 480)], report(2, 1, 0, 0)),
        ("repeated", &[(1, 160), (1, 160), (2, 320)], report(3, 0, 1, 0)),
        (
            "swapped",
            &[(1, 160), (3, 480), (2, 320), (4, 640)],
            report(4, 1, 1, 0),
        ),
        (
            "inserted silence shows as a timestamp jump",
            &[(1, 160), (2, 480)],
            report(2, 0, 0, 1),
        ),
        ("nothing", &[], report(0, 0, 0, 0)),
    ];
    for (name, packets, expected) in cases {
        let mut meter = SequenceMeter::new(160);
        for (sequence, timestamp) in *packets {
            meter.push(*sequence, *timestamp);
        }
        assert_eq!(meter.report(), *expected, "{name}");
    }
}

#[test]
fn comparison_finds_an_inserted_a_missing_and_a_changed_frame() {
    let sent = sine(1003.7, -20.0, RATE, 0, 16_000);
    let received = sent[4000..12_000].to_vec();
    assert_eq!(
        compare(&sent, &received, 400),
        Comparison::Identical {
            offset: 4000,
            compared: 8000
        }
    );

    let mut inserted = received.clone();
    inserted.splice(1600..1600, [0; 160]);
    assert!(matches!(
        compare(&sent, &inserted, 400),
        Comparison::Differs { at: 1600..=1601, .. }
    ));

    let mut missing = received.clone();
    missing.drain(1600..1760);
    assert!(matches!(
        compare(&sent, &missing, 400),
        Comparison::Differs { at: 1600..=1610, .. }
    ));

    let mut changed = received.clone();
    changed[7000] += 1;
    assert_eq!(
        compare(&sent, &changed, 400),
        Comparison::Differs {
            offset: 4000,
            at: 7000,
            differing: 1
        }
    );

    assert_eq!(compare(&sent, &[1; 500], 400), Comparison::NotFound);
    assert_eq!(compare(&sent, &[], 400), Comparison::NotFound);
}

#[test]
fn a_sound_is_found_where_it_was_put_with_its_gain() {
    let mut random = crate::random::SeededRandom::new(5);
    let noise = |count: usize, random: &mut crate::random::SeededRandom| -> Vec<i16> {
        (0..count).map(|_| random.next_u32() as i16 / 8).collect()
    };
    let sound = noise(400, &mut random);
    let mut recording = noise(3000, &mut random);
    for (place, sample) in recording[1234..].iter_mut().zip(&sound) {
        *place = sample / 2;
    }
    let found = find(&sound, &recording).expect("it is there");
    assert_eq!(found.offset, 1234);
    assert!(
        found.correlation > 0.99 && (found.gain_db + 6.0).abs() < 0.1,
        "{found:?}"
    );
    assert!(find(&sound, &noise(3000, &mut random)).is_none_or(|found| found.correlation < 0.3));
    assert_eq!(find(&sound, &[0; 1000]), None);
    assert_eq!(find(&sound, &sound[1..]), None);
}

fn report(received: u64, missing: u64, reordered_or_repeated: u64, timestamp_jumps: u64) -> SequenceReport {
    SequenceReport {
        received,
        missing,
        reordered_or_repeated,
        timestamp_jumps,
    }
}

#[test]
fn the_usual_level_is_not_moved_by_a_jump_or_a_gap() {
    let mut samples = sine(1000.0, -20.0, RATE, 0, 8000);
    samples.drain(3000..3004); // half a period
    samples[6000..6800].fill(0);
    assert!((median_tone_dbfs(&samples, RATE, 1000.0) + 20.0).abs() < 0.1);
    assert!(tone_dbfs(&samples, RATE, 1000.0) < -23.0);
    assert!(median_tone_dbfs(&samples, RATE, 1500.0) < -60.0);
    assert_eq!(median_tone_dbfs(&samples[..100], RATE, 1000.0), SILENCE_DBFS);
}
