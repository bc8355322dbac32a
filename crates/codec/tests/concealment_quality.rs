//! What concealment is worth on a speech-like signal: nearer to the original than silence, in waveform and in spectrum.

use confab_codec::CodecKind;

const FRAME: usize = 160;
const FRAMES: usize = 1500;

/// Deterministic noise in −1 to 1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A resonance, as a formant is one.
struct Resonator {
    a: f32,
    b: f32,
    past: [f32; 2],
}

impl Resonator {
    fn new(hz: f32, bandwidth_hz: f32) -> Self {
        let radius = (-std::f32::consts::PI * bandwidth_hz / 8000.0).exp();
        let angle = std::f32::consts::TAU * hz / 8000.0;
        Self {
            a: 2.0 * radius * angle.cos(),
            b: -radius * radius,
            past: [0.0; 2],
        }
    }

    fn filter(&mut self, input: f32) -> f32 {
        let output = input + self.a * self.past[0] + self.b * self.past[1];
        self.past = [output, self.past[0]];
        output
    }
}

/// Thirty seconds like speech: glottal pulses of wandering pitch (100 to 160 Hz, up to 47 Hz/s) through three formants, syllables of 250 ms
/// with a noisy consonant at the head of each and a pause after every eighth.
fn speech_like() -> Vec<i16> {
    let mut noise = Noise(7);
    let mut formants = [
        Resonator::new(600.0, 80.0),
        Resonator::new(1300.0, 110.0),
        Resonator::new(2500.0, 160.0),
    ];
    let mut fricative = Resonator::new(2800.0, 900.0);
    let (mut phase, mut carried, mut glottis) = (0.0_f32, 0.0_f32, 0.0_f32);
    let mut signal: Vec<f32> = (0..FRAME * FRAMES)
        .map(|n| {
            let time = n as f32 / 8000.0;
            let (syllable, within) = ((time / 0.25) as u32, (time / 0.25).fract());
            let pitch = 130.0 + 25.0 * (time * 1.1).sin() + 6.0 * (time * 3.3).sin();
            phase += pitch / 8000.0;
            // A pulse between two samples is split between them (and both held back by one); the glottis falls off by 6 dB per
            // octave from 200 Hz on.
            let since_pulse = if phase >= 1.0 {
                (phase - 1.0) / (pitch / 8000.0)
            } else {
                0.0
            };
            let pulse = carried + since_pulse;
            carried = if phase >= 1.0 { 1.0 - since_pulse } else { 0.0 };
            phase = phase.fract();
            glottis += 0.15 * (pulse - glottis);
            let breath = glottis + 0.002 * noise.next();
            let voiced: f32 = formants.iter_mut().map(|f| f.filter(breath)).sum();
            let hiss = fricative.filter(noise.next());
            let vowel = (std::f32::consts::PI * ((within - 0.15) / 0.85).max(0.0)).sin();
            match (syllable % 9, within) {
                (8, _) => 0.002 * hiss,
                (_, ..0.15) => 0.15 * hiss,
                _ => vowel * voiced,
            }
        })
        .collect();
    let peak = signal.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
    signal.iter_mut().for_each(|s| *s *= 12_000.0 / peak);
    signal.into_iter().map(|s| s as i16).collect()
}

/// Mean signal-to-noise ratio over the frames picked out, each held to −10 … 35 dB.
fn segmental_snr_db(original: &[i16], heard: &[i16], picked: &[usize]) -> f32 {
    let of_frame = |&frame: &usize| {
        let range = frame * FRAME..(frame + 1) * FRAME;
        let (mut signal, mut error) = (1.0_f32, 1.0_f32);
        for (a, b) in original[range.clone()].iter().zip(&heard[range]) {
            signal += f32::from(*a).powi(2);
            error += (f32::from(*a) - f32::from(*b)).powi(2);
        }
        (10.0 * (signal / error).log10()).clamp(-10.0, 35.0)
    };
    picked.iter().map(of_frame).sum::<f32>() / picked.len() as f32
}

/// Mean distance of the power spectra in dB over the frames picked out, 100 to 3900 Hz.
fn log_spectral_distance_db(original: &[i16], heard: &[i16], picked: &[usize]) -> f32 {
    let of_frame = |&frame: &usize| {
        let range = frame * FRAME..(frame + 1) * FRAME;
        let (a, b) = (spectrum_db(&original[range.clone()]), spectrum_db(&heard[range]));
        let squares: f32 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
        (squares / a.len() as f32).sqrt()
    };
    picked.iter().map(of_frame).sum::<f32>() / picked.len() as f32
}

fn spectrum_db(frame: &[i16]) -> Vec<f32> {
    (2..78)
        .map(|bin| {
            let (mut re, mut im) = (0.0_f32, 0.0_f32);
            for (n, &sample) in frame.iter().enumerate() {
                let window = 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / FRAME as f32).cos();
                let angle = std::f32::consts::TAU * (bin * n) as f32 / FRAME as f32;
                re += window * f32::from(sample) * angle.cos();
                im -= window * f32::from(sample) * angle.sin();
            }
            10.0 * (re * re + im * im + 1.0).log10()
        })
        .collect()
}

/// Codes and decodes the signal, losing the frames picked out; `conceal` or silence takes their place.
fn transmit(original: &[i16], kind: CodecKind, lost: &[usize], conceal: bool) -> Vec<i16> {
    let (mut encoder, mut decoder) = (kind.encoder(), kind.decoder());
    let mut heard = Vec::with_capacity(original.len());
    for (number, frame) in original.chunks(FRAME).enumerate() {
        let (mut payload, mut out) = ([0; FRAME], [0; FRAME]);
        assert_eq!(encoder.encode(frame, &mut payload), FRAME);
        match (lost.contains(&number), conceal) {
            (false, _) => assert_eq!(decoder.decode(&payload, &mut out), Ok(FRAME)),
            (true, true) => decoder.conceal(&mut out),
            (true, false) => {}
        }
        heard.extend(out);
    }
    heard
}

#[test]
fn five_percent_loss_is_nearer_to_the_original_concealed_than_silent() {
    let original = speech_like();
    let mut noise = Noise(20);
    let lost: Vec<usize> = (10..FRAMES).filter(|_| noise.next() > 0.9).collect();
    let share = lost.len() as f32 / FRAMES as f32;
    assert!((0.04..0.06).contains(&share), "{share}");
    for kind in [CodecKind::Pcmu, CodecKind::Pcma] {
        let concealed = transmit(&original, kind, &lost, true);
        let silenced = transmit(&original, kind, &lost, false);
        let snr = [&concealed, &silenced].map(|heard| segmental_snr_db(&original, heard, &lost));
        let distance = [&concealed, &silenced].map(|heard| log_spectral_distance_db(&original, heard, &lost));
        println!("{kind:?}: SNR {snr:.1?} dB, log-spectral distance {distance:.1?} dB");
        assert!(snr[0] > snr[1] + 2.0, "{kind:?} SNR: {snr:?}");
        assert!(
            distance[0] < distance[1] / 2.0,
            "{kind:?} log-spectral distance: {distance:?}"
        );
    }
}
