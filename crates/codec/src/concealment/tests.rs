use super::*;

fn sine(hz: f32, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| ((n as f32 * hz * std::f32::consts::TAU / 8000.0).sin() * 8000.0) as i16)
        .collect()
}

fn rms(samples: &[i16]) -> f32 {
    let sum: f32 = samples.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
    (sum / samples.len() as f32).sqrt()
}

#[test]
fn a_periodic_signal_goes_on_as_if_nothing_were_lost() {
    for hz in [70.0, 100.0, 133.3, 180.0, 200.0, 440.0, 1000.0] {
        let signal = sine(hz, 1040);
        let mut concealment = Concealment::new(8000);
        concealment.good(&mut signal[..800].to_vec());
        let mut out = [0; 80];
        concealment.lost(&mut out);
        let wrong: Vec<i16> = out.iter().zip(&signal[800..]).map(|(a, b)| a - b).collect();
        let ratio_db = 20.0 * (rms(&signal) / rms(&wrong)).log10();
        assert!(ratio_db > 12.0, "{hz} Hz: {ratio_db} dB");
    }
}

#[test]
fn concealment_loses_7_db_in_20_ms_then_2_db_and_is_silent_from_160_ms_on() {
    let mut concealment = Concealment::new(8000);
    let mut signal = sine(200.0, 800);
    concealment.good(&mut signal);
    let mut out = [0; 1600];
    // Odd pieces: the schedule counts samples, not calls.
    for piece in out.chunks_mut(37) {
        concealment.lost(piece);
    }
    let level_db = |stage: &[i16]| 20.0 * (rms(stage) / rms(&signal)).log10();
    let levels: Vec<f32> = out[..1280].chunks(160).map(level_db).collect();
    for (stage, (level, expected)) in levels
        .iter()
        .zip([-3.4, -8.0, -10.0, -12.0, -14.0, -16.0, -18.0, -24.6])
        .enumerate()
    {
        assert!((level - expected).abs() < 1.5, "{stage}: {levels:?}");
    }
    assert!(out[1280..].iter().all(|&s| s == 0));
}

#[test]
fn a_sound_without_pitch_is_given_none() {
    for rate_hz in [8000, 16_000, 44_100, 48_000] {
        let mut random = 7_u32;
        let mut noise: Vec<i16> = (0..rate_hz / 5)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 20) as i16 - 2048
            })
            .collect();
        let mut concealment = Concealment::new(rate_hz);
        concealment.good(&mut noise);
        let mut out = vec![0; rate_hz as usize / 50];
        concealment.lost(&mut out);
        // Repeated at a shorter lag, half of its samples would be alike.
        let most = (rate_hz as usize / 400..rate_hz as usize / 100)
            .map(|lag| {
                let alike: f32 = out
                    .iter()
                    .zip(&out[lag..])
                    .map(|(&a, &b)| f32::from(a) * f32::from(b))
                    .sum();
                alike / (rms(&out).powi(2) * out.len() as f32)
            })
            .fold(0.0, f32::max);
        assert!(most < 0.35, "{rate_hz} Hz: {most}");
    }
}

#[test]
fn no_seam_jumps_more_than_the_signal_itself() {
    for hz in [83.0, 120.0, 150.0, 197.0] {
        let signal = sine(hz, 2000);
        let steepest = signal.windows(2).map(|w| (w[1] - w[0]).abs()).max().unwrap();
        for lost in [80, 160, 240, 480] {
            let mut concealment = Concealment::new(8000);
            let mut heard = signal[..800].to_vec();
            concealment.good(&mut heard);
            let mut gap = vec![0; lost];
            concealment.lost(&mut gap);
            let mut after = signal[800 + lost..960 + lost].to_vec();
            concealment.good(&mut after);
            heard.extend(gap);
            heard.extend(after);
            let jump = heard.windows(2).map(|w| (w[1] - w[0]).abs()).max().unwrap();
            assert!(
                jump <= steepest * 3 / 2,
                "{hz} Hz, {lost} lost: {jump} against {steepest}"
            );
        }
    }
}

#[test]
fn a_good_frame_is_left_alone_after_a_good_one_and_beyond_its_blend() {
    let signal = sine(150.0, 1280);
    let mut concealment = Concealment::new(8000);
    let mut frame = signal[..160].to_vec();
    concealment.good(&mut frame);
    assert_eq!(frame, signal[..160]);
    concealment.lost(&mut [0; 160]);
    let mut frame = signal[320..480].to_vec();
    concealment.good(&mut frame);
    assert_ne!(frame[..80], signal[320..400]);
    assert_eq!(frame[80..], signal[400..480]);
    let mut frame = signal[480..640].to_vec();
    concealment.good(&mut frame);
    assert_eq!(frame, signal[480..640]);
}

#[test]
fn after_a_reset_nothing_of_the_past_is_heard() {
    let mut concealment = Concealment::new(8000);
    concealment.good(&mut sine(150.0, 640));
    concealment.lost(&mut [0; 40]);
    concealment.reset();
    let mut frame = sine(300.0, 160);
    concealment.good(&mut frame);
    assert_eq!(frame, sine(300.0, 160));
    concealment.reset();
    let mut out = [1; 160];
    concealment.lost(&mut out);
    assert_eq!(out, [0; 160]);
}

#[test]
fn any_history_and_any_lengths_are_taken() {
    let extremes = [i16::MIN, i16::MAX, 0, -1];
    let mut concealment = Concealment::new(8000);
    for round in 0..200_usize {
        let len = round * 7 % 600;
        let mut frame: Vec<i16> = (0..len).map(|n| extremes[(n * n + round) % 4]).collect();
        concealment.good(&mut frame);
        concealment.lost(&mut vec![0; round * 13 % 700]);
    }
    concealment.lost(&mut []);
    concealment.good(&mut []);
}
