//! A signal like speech, the same at every run.

/// Deterministic noise in −1 to 1.
pub(crate) struct Noise(pub(crate) u32);

impl Noise {
    pub(crate) fn next(&mut self) -> f32 {
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
    fn new(hz: f32, bandwidth_hz: f32, rate_hz: f32) -> Self {
        let radius = (-std::f32::consts::PI * bandwidth_hz / rate_hz).exp();
        let angle = std::f32::consts::TAU * hz / rate_hz;
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

/// Speech, nearly: glottal pulses of wandering pitch (100 to 160 Hz, up to 47 Hz/s) through three formants, syllables of 250 ms
/// with a noisy consonant at the head of each and a pause after every eighth.
pub(crate) fn speech_like(rate_hz: u32, samples: usize) -> Vec<i16> {
    let rate_hz = rate_hz as f32;
    let mut noise = Noise(7);
    let mut formants = [
        Resonator::new(600.0, 80.0, rate_hz),
        Resonator::new(1300.0, 110.0, rate_hz),
        Resonator::new(2500.0, 160.0, rate_hz),
    ];
    let mut fricative = Resonator::new(2800.0, 900.0, rate_hz);
    let (mut phase, mut carried, mut glottis) = (0.0_f32, 0.0_f32, 0.0_f32);
    let mut signal: Vec<f32> = (0..samples)
        .map(|n| {
            let time = n as f32 / rate_hz;
            let (syllable, within) = ((time / 0.25) as u32, (time / 0.25).fract());
            let pitch = 130.0 + 25.0 * (time * 1.1).sin() + 6.0 * (time * 3.3).sin();
            phase += pitch / rate_hz;
            // A pulse between two samples is split between them (and both held back by one); the glottis falls off by 6 dB per
            // octave from 200 Hz on.
            let since_pulse = if phase >= 1.0 {
                (phase - 1.0) / (pitch / rate_hz)
            } else {
                0.0
            };
            let pulse = carried + since_pulse;
            carried = if phase >= 1.0 { 1.0 - since_pulse } else { 0.0 };
            phase = phase.fract();
            glottis += 1200.0 / rate_hz * (pulse - glottis);
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
