use super::*;

/// Level in dB below overload.
fn level(samples: &[i16]) -> f32 {
    let sum: f32 = samples.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
    -10.0 * (sum / samples.len() as f32 / (32_768.0 * 32_768.0)).log10()
}

/// Correlation of each sample with the next, −1 to 1.
fn neighbours(samples: &[i16]) -> f32 {
    let of = |lag: usize| -> f32 {
        samples[lag..]
            .iter()
            .zip(samples)
            .map(|(&a, &b)| f32::from(a) * f32::from(b))
            .sum()
    };
    of(1) / of(0)
}

/// Level and number of coefficients.
type Summary = Option<(u8, usize)>;

#[test]
fn payloads_are_read_leniently() {
    let rows: [(&[u8], Summary); 6] = [
        (&[], None),
        (&[60], Some((60, 0))),
        (&[0xff], Some((127, 0))),
        (&[60, 127, 0, 254], Some((60, 3))),
        (&[60, 255], Some((60, 1))),
        (&[33; 60], Some((33, MAX_ORDER))),
    ];
    for (payload, expected) in rows {
        let read = NoiseDescription::parse(payload);
        assert_eq!(
            read.map(|d| (d.level(), d.reflection().len())),
            expected,
            "{payload:?}"
        );
        if let Some(description) = read {
            assert!(description.reflection().iter().all(|k| k.abs() < 1.0));
        }
    }
    let description = NoiseDescription::parse(&[60, 127, 0, 254]).unwrap();
    assert!((description.reflection()[1] + 0.99994).abs() < 1e-4);
    assert!((description.reflection()[2] - 0.99994).abs() < 1e-4);
    assert!(description.reflection()[0].abs() < 1e-9);
}

#[test]
fn every_payload_that_can_be_written_reads_back_the_same() {
    for octet in 0..=254 {
        let payload = [octet / 2, octet, 254 - octet];
        let mut written = [0; 3];
        assert_eq!(NoiseDescription::parse(&payload).unwrap().write(&mut written), 3);
        assert_eq!(written, payload);
    }
    assert_eq!(NoiseDescription::white(200).write(&mut [0; 9]), 1);
    assert_eq!(NoiseDescription::white(60).write(&mut []), 0);
}

#[test]
fn noise_has_the_level_described_whatever_its_spectrum() {
    for dbov in [20, 40, 60, 70] {
        for coefficients in [&[][..], &[60, 150], &[200, 100, 140, 90]] {
            let payload: Vec<u8> = std::iter::once(dbov)
                .chain(coefficients.iter().copied())
                .collect();
            let mut noise = ComfortNoise::new(1);
            noise.receive(&payload);
            let mut out = [0; 16_000];
            noise.fill(&mut out);
            let heard = level(&out[800..]);
            assert!((heard - f32::from(dbov)).abs() < 1.0, "{payload:?}: {heard}");
        }
    }
}

#[test]
fn measured_noise_sounds_again_at_its_level_and_colour() {
    for (payload, correlated) in [(&[40_u8, 40, 127][..], true), (&[40, 214, 127], false)] {
        let mut noise = ComfortNoise::new(7);
        noise.receive(payload);
        let mut original = [0; 8000];
        noise.fill(&mut original);
        let measured = NoiseDescription::measure(&original, 10);
        assert!((i32::from(measured.level()) - 40).abs() <= 1, "{measured:?}");
        let mut again = ComfortNoise::new(99);
        let mut octets = [0; 11];
        assert_eq!(measured.write(&mut octets), 11);
        again.receive(&octets);
        let mut heard = [0; 8000];
        again.fill(&mut heard);
        let correlation = neighbours(&heard);
        assert_eq!(correlation > 0.5, correlated, "{correlation}");
        assert_eq!(correlation < -0.5, !correlated, "{correlation}");
        assert!((correlation - neighbours(&original)).abs() < 0.1);
    }
}

#[test]
fn silence_is_described_and_made_as_silence() {
    let described = NoiseDescription::measure(&[0; 160], 10);
    assert_eq!((described.level(), described.reflection().len()), (127, 0));
    assert_eq!(NoiseDescription::measure(&[], 10).level(), 127);
    let mut noise = ComfortNoise::new(0);
    let mut out = [1; 160];
    noise.fill(&mut out);
    assert_eq!(out, [0; 160]);
    noise.describe(described);
    noise.fill(&mut out);
    assert_eq!(out, [0; 160]);
}

#[test]
fn a_new_level_is_reached_without_a_step() {
    let mut noise = ComfortNoise::new(3);
    let mut out = [0; 800];
    noise.receive(&[40]);
    noise.fill(&mut out);
    noise.receive(&[70]);
    noise.fill(&mut out);
    assert!(level(&out[..40]) < 43.0);
    noise.fill(&mut out);
    noise.fill(&mut out);
    noise.fill(&mut out);
    assert!((level(&out) - 70.0).abs() < 1.5, "{}", level(&out));
}

#[test]
fn the_most_resonant_description_stays_within_bounds() {
    let mut noise = ComfortNoise::new(5);
    for payload in [
        [0, 0, 254, 0, 254, 0, 254],
        [0, 254, 254, 254, 254, 254, 254],
        [0; 7],
    ] {
        noise.receive(&payload);
        let mut out = [0; 4800];
        noise.fill(&mut out);
        noise.receive(&[60]);
        noise.fill(&mut out);
        noise.fill(&mut out);
        assert!(level(&out) > 55.0, "{}", level(&out));
    }
}
