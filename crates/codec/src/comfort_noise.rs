//! Comfort noise in RTP: what a CN payload says (RFC 3389), making it from audio, and making noise from it. Owns no timing:
//! when a stream is silent the caller knows.

/// Reflection coefficients that are used; the rest of a payload describes finer detail than noise needs.
pub const MAX_ORDER: usize = 16;

/// Samples over which the level of the noise follows a new description: 50 ms at 8 kHz.
const SETTLING: f32 = 400.0;

/// The content of a CN payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseDescription {
    /// Level below overload in dB, 0 to 127: −dBov, the overload point being a full-scale square wave.
    level: u8,
    reflection: [f32; MAX_ORDER],
    order: usize,
}

impl NoiseDescription {
    /// White noise of a level in −dBov, 0 (overload) to 127; higher values mean 127.
    #[must_use]
    pub fn white(level: u8) -> Self {
        Self {
            level: level.min(127),
            reflection: [0.0; MAX_ORDER],
            order: 0,
        }
    }

    /// Reads a CN payload. An empty one, which some senders use, has no description: none is returned and the caller keeps what
    /// he had.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&level, coefficients) = payload.split_first()?;
        // The first bit of the level is reserved and 0; a sender who sets it means the other seven.
        let mut description = Self::white(level & 0x7f);
        for (reflection, &octet) in description.reflection.iter_mut().zip(coefficients) {
            // 255 stands for no coefficient (RFC 3389 §3.2); it is taken as the largest.
            *reflection = (f32::from(octet.min(254)) - 127.0) * 258.0 / 32_768.0;
        }
        description.order = coefficients.len().min(MAX_ORDER);
        Some(description)
    }

    /// Measures a frame: its level and, by `order` coefficients (at most [`MAX_ORDER`]), its spectrum. 10 is usual.
    #[must_use]
    pub fn measure(frame: &[i16], order: usize) -> Self {
        let energy: f32 = frame
            .iter()
            .map(|&sample| f32::from(sample) * f32::from(sample))
            .sum();
        if energy == 0.0 {
            return Self::white(127);
        }
        let mean = energy / frame.len() as f32;
        let below = -10.0 * (mean / (32_768.0 * 32_768.0)).log10();
        let mut description = Self::white(below.round().clamp(0.0, 127.0) as u8);
        description.order = order.min(MAX_ORDER);
        reflect(frame, &mut description.reflection[..description.order]);
        description
    }

    /// Writes the payload into the front of `out` as far as there is room; returns the octets written.
    pub fn write(&self, out: &mut [u8]) -> usize {
        let coefficients = self.reflection[..self.order]
            .iter()
            .map(|reflection| (reflection * 32_768.0 / 258.0 + 127.0).round().clamp(0.0, 254.0) as u8);
        let octets = std::iter::once(self.level).chain(coefficients);
        out.iter_mut()
            .zip(octets)
            .map(|(octet, value)| *octet = value)
            .count()
    }

    /// Level below overload in dB, 0 to 127.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Reflection coefficients, each within −1 to 1, of a prediction error filter 1 + Σ aᵢ·z⁻ⁱ: the first is negative where low
    /// frequencies prevail.
    #[must_use]
    pub fn reflection(&self) -> &[f32] {
        &self.reflection[..self.order]
    }

    /// Amplitude of white noise, even in ±1, that filtered by the coefficients has the level.
    fn excitation(&self) -> f32 {
        // As loud as digital silence and below is silence.
        if self.level >= 96 {
            return 0.0;
        }
        let rms = 32_768.0 * 10_f32.powf(-f32::from(self.level) / 20.0);
        let gain: f32 = self.reflection().iter().map(|k| 1.0 - k * k).product();
        rms * (3.0 * gain).sqrt()
    }
}

/// Reflection coefficients of a frame by the Levinson recursion over its autocorrelation.
fn reflect(frame: &[i16], reflection: &mut [f32]) {
    let order = reflection.len();
    let mut correlation = [0.0_f64; MAX_ORDER + 1];
    for (lag, sum) in correlation[..=order].iter_mut().enumerate() {
        let earlier = frame.iter();
        let later = frame.iter().skip(lag);
        *sum = earlier
            .zip(later)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum();
    }
    // A floor of white noise, −40 dB, keeps the recursion stable whatever the frame.
    let mut error = correlation[0] * 1.0001 + 1.0;
    let mut predictor = [0.0_f64; MAX_ORDER + 1];
    predictor[0] = 1.0;
    for m in 1..=order {
        let sum: f64 = (0..m).map(|i| predictor[i] * correlation[m - i]).sum();
        let k = (-sum / error).clamp(-0.999, 0.999);
        let before = predictor;
        for i in 1..=m {
            predictor[i] = before[i] + k * before[m - i];
        }
        error *= 1.0 - k * k;
        reflection[m - 1] = k as f32;
    }
}

/// Makes noise as a description says, without an audible step from one description to the next. Allocates nothing.
#[derive(Debug, Clone)]
pub struct ComfortNoise {
    description: NoiseDescription,
    amplitude: f32,
    target: f32,
    /// Backward prediction errors of the lattice.
    lattice: [f32; MAX_ORDER],
    random: u32,
}

impl ComfortNoise {
    /// Makes a silent one; `seed` tells streams' noises apart.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self {
            description: NoiseDescription::white(127),
            amplitude: 0.0,
            target: 0.0,
            lattice: [0.0; MAX_ORDER],
            random: seed | 1,
        }
    }

    /// Takes a new description; the level follows within some 50 ms.
    pub fn describe(&mut self, description: NoiseDescription) {
        self.target = description.excitation();
        if self.amplitude == 0.0 {
            self.amplitude = self.target;
        }
        self.description = description;
    }

    /// Takes the description of a CN payload; one that says nothing changes nothing.
    pub fn receive(&mut self, payload: &[u8]) {
        if let Some(description) = NoiseDescription::parse(payload) {
            self.describe(description);
        }
    }

    /// Fills `out` with noise.
    pub fn fill(&mut self, out: &mut [i16]) {
        let order = self.description.order;
        for sample in out {
            self.amplitude += (self.target - self.amplitude) / SETTLING;
            // The xorshift of Marsaglia: any seed but 0 runs through all others.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            let white = self.random.cast_signed() as f32 / 2_147_483_648.0;
            let mut forward = white * self.amplitude;
            for m in (0..order).rev() {
                let k = self.description.reflection[m];
                forward -= k * self.lattice[m];
                if m + 1 < order {
                    self.lattice[m + 1] = self.lattice[m] + k * forward;
                }
            }
            if order > 0 {
                self.lattice[0] = forward;
            }
            *sample = forward as i16;
        }
    }

    /// Becomes silent and forgets.
    pub fn reset(&mut self) {
        *self = Self::new(self.random);
    }
}

#[cfg(test)]
mod tests;
