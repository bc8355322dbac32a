//! One sub-band's adaptive quantiser and predictor: ITU-T G.722 §3 and §4, whose block names are given. Encoder and decoder
//! hold the same state, so both use this.

/// Weights and codes of one band's quantiser.
#[derive(Debug)]
pub(super) struct Quantiser {
    /// Ends of the decision intervals, relative to the scale factor (QUANTL, QUANTH).
    decisions: &'static [i32],
    /// Codes of the intervals for differences from 0 up.
    positive: &'static [u8],
    /// Codes of the intervals for differences below 0.
    negative: &'static [u8],
    /// What drives the predictor, by code (INVQAL, INVQAH).
    inverse: &'static [i16],
    /// What is added to the logarithm of the scale factor, by code (LOGSCL, LOGSCH).
    log_steps: &'static [i16],
    /// Bits by which a code is shortened for `inverse` and `log_steps`.
    shift: u32,
    /// Upper limit of the logarithm of the scale factor.
    log_limit: i32,
    /// Position of the binary point of the logarithm's whole part against the scale factor (SCALEL, SCALEH).
    log_base: i32,
}

/// The low band: 30 decision intervals of either sign, six bits, of which the predictor sees four.
pub(super) const LOW: &Quantiser = &Quantiser {
    decisions: &[
        35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121,
        1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
    ],
    positive: &[
        61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37,
        36, 35, 34, 33, 32,
    ],
    negative: &[
        63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8,
        7, 6, 5, 4,
    ],
    inverse: &[
        0, -2557, -1612, -1121, -786, -530, -323, -150, 2557, 1612, 1121, 786, 530, 323, 150, 0,
    ],
    log_steps: &[
        -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
    ],
    shift: 2,
    log_limit: 18_432,
    log_base: 8,
};

/// The high band: two bits.
pub(super) const HIGH: &Quantiser = &Quantiser {
    decisions: &[564],
    positive: &[3, 2],
    negative: &[1, 0],
    inverse: &[-926, -202, 926, 202],
    log_steps: &[798, -214, 798, -214],
    shift: 0,
    log_limit: 22_528,
    log_base: 10,
};

/// Output levels of the low band's six-bit codes (INVQBL at 64 kbit/s).
const LOW_OUTPUT: [i16; 64] = [
    -17, -17, -17, -17, -3101, -2738, -2376, -2088, -1873, -1689, -1535, -1399, -1279, -1170, -1072, -982,
    -899, -822, -750, -682, -618, -558, -501, -447, -396, -347, -300, -254, -211, -170, -130, -91, 3101,
    2738, 2376, 2088, 1873, 1689, 1535, 1399, 1279, 1170, 1072, 982, 899, 822, 750, 682, 618, 558, 501, 447,
    396, 347, 300, 254, 211, 170, 130, 91, 54, 17, -54, -17,
];

/// Powers of two with five bits after the point, scaled by 2048: table ILB.
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// How much further than its own code a steered one may be from the sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    /// The scale factor is shifted right by this.
    shift: u32,
    /// What is allowed at any scale.
    least: u16,
    /// What is allowed at most.
    most: u16,
}

impl Tolerance {
    /// What the low band is allowed after steering in vain for `octets`: at first a third of the quantiser's smallest step,
    /// which does for speech. Half of that takes three times as long; four times that raises the noise by 3 dB until both
    /// agree. Only purer tones need more.
    pub(super) fn low(octets: u32) -> Self {
        Self {
            shift: 6 - (octets / PATIENCE).min(6),
            least: LEAST,
            most: u16::MAX,
        }
    }

    /// Never more than half of how loud it is: what a tone covers would be heard in the pause behind it.
    pub(super) fn within(self, loudness: u16) -> Self {
        Self {
            most: loudness / 2,
            ..self
        }
    }

    /// The high band's is a third of its two levels' distance. Without the least, two encoders of a band with hardly anything in it
    /// stay apart for minutes.
    pub(super) const HIGH: Self = Self {
        shift: 4,
        least: LEAST,
        most: u16::MAX,
    };
}

/// What a steered code may always be off, 66 dB below full scale: so two encoders that differ agree within half a second of silence.
const LEAST: u16 = 8;

/// Octets steered in vain after which the tolerance doubles: 0.75 s.
const PATIENCE: u32 = 6000;

/// Taps of the predictor's zero section.
const ZEROS: usize = 6;

/// Adaptive quantiser and predictor of one sub-band.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Band {
    /// Logarithm of the scale factor (NBL, NBH).
    log_scale: i16,
    /// Scale factor (DETL, DETH).
    scale: i16,
    /// Predicted sample (SL, SH).
    predicted: i16,
    /// The zero section's part of it (SZL, SZH).
    zero_part: i16,
    /// Coefficients of the pole section (AL, AH).
    poles: [i16; 2],
    /// Coefficients of the zero section (BL, BH).
    zeros: [i16; ZEROS],
    /// Past quantised differences (DLT, DH), newest first.
    differences: [i16; ZEROS],
    /// Past reconstructed samples (RLT, RH), newest first.
    reconstructed: [i16; 2],
    /// Signs of the past partially reconstructed samples (PLT, PH), newest first.
    partial_negative: [bool; 2],
}

impl Band {
    fn with_scale(scale: i16) -> Self {
        Self {
            log_scale: 0,
            scale,
            predicted: 0,
            zero_part: 0,
            poles: [0; 2],
            zeros: [0; ZEROS],
            differences: [0; ZEROS],
            reconstructed: [0; 2],
            partial_negative: [false; 2],
        }
    }

    /// The low band after a reset.
    pub(super) fn low() -> Self {
        Self::with_scale(32)
    }

    /// The high band after a reset.
    pub(super) fn high() -> Self {
        Self::with_scale(8)
    }

    /// The code of a sample's difference from the prediction (SUBTRA, QUANTL, QUANTH).
    pub(super) fn quantise(&self, quantiser: &Quantiser, sample: i16) -> u8 {
        let difference = sample.saturating_sub(self.predicted);
        let negative = difference < 0;
        let magnitude = i32::from(if negative { !difference } else { difference });
        let scale = i32::from(self.scale);
        let interval = quantiser
            .decisions
            .partition_point(|decision| (decision * scale) >> 12 <= magnitude);
        if negative {
            quantiser.negative[interval]
        } else {
            quantiser.positive[interval]
        }
    }

    /// The low-band code that makes this predictor adapt as `wanted` makes another one, when it stands for nearly the sample;
    /// otherwise the sample's own code.
    pub(super) fn quantise_low_towards(&self, sample: i16, wanted: u8, tolerance: Tolerance) -> u8 {
        let own = self.quantise(LOW, sample);
        if (own ^ wanted) & 0x3c == 0 {
            return own;
        }
        let error = |code: u8| i32::from(self.reconstruct_low(code)).abs_diff(i32::from(sample));
        // The predictor does not see the last two bits, so they are free.
        let wanted = wanted & 0x3c;
        let nearest = (wanted..wanted + 4).min_by_key(|&code| error(code));
        self.nearly(own, nearest.unwrap_or(own), error, tolerance)
    }

    /// The same for the high band.
    pub(super) fn quantise_high_towards(&self, sample: i16, wanted: u8) -> u8 {
        let error = |code: u8| i32::from(self.reconstruct_high(code)).abs_diff(i32::from(sample));
        self.nearly(self.quantise(HIGH, sample), wanted & 3, error, Tolerance::HIGH)
    }

    /// `other` when it is not much further from the sample than `own`.
    fn nearly(&self, own: u8, other: u8, error: impl Fn(u8) -> u32, tolerance: Tolerance) -> u8 {
        let allowed = self.scale.unsigned_abs() >> tolerance.shift;
        let tolerance = allowed.min(tolerance.most).max(tolerance.least);
        if error(other) <= error(own) + u32::from(tolerance) {
            other
        } else {
            own
        }
    }

    /// The sample that a low-band code stands for (INVQBL, RECONS, LIMIT).
    pub(super) fn reconstruct_low(&self, code: u8) -> i16 {
        self.reconstruct(LOW_OUTPUT[usize::from(code & 0x3f)])
    }

    /// The sample that a high-band code stands for (INVQAH, RECONS, LIMIT).
    pub(super) fn reconstruct_high(&self, code: u8) -> i16 {
        self.reconstruct(HIGH.inverse[usize::from(code & 3)])
    }

    fn reconstruct(&self, level: i16) -> i16 {
        limit(self.predicted.saturating_add(self.difference(level)))
    }

    fn difference(&self, level: i16) -> i16 {
        scaled(self.scale, level << 3)
    }

    /// Follows a code: quantiser and predictor adapt, and the next sample is predicted.
    pub(super) fn adapt(&mut self, quantiser: &Quantiser, code: u8) {
        let code = usize::from(code >> quantiser.shift);
        let difference = self.difference(quantiser.inverse[code]);
        self.adapt_scale(quantiser, quantiser.log_steps[code]);
        let partial = difference.saturating_add(self.zero_part);
        let reconstructed = self.predicted.saturating_add(difference);
        self.adapt_zeros(difference);
        self.adapt_poles(partial < 0);
        self.predict(difference, reconstructed);
    }

    /// LOGSCL or LOGSCH, then SCALEL or SCALEH.
    fn adapt_scale(&mut self, quantiser: &Quantiser, step: i16) {
        let log = i32::from(scaled(self.log_scale, 32_512)) + i32::from(step);
        let log = log.clamp(0, quantiser.log_limit);
        self.log_scale = log as i16;
        let power = POWERS[((log >> 6) & 31) as usize];
        let shift = quantiser.log_base - (log >> 11);
        let scale = if shift < 0 {
            power << -shift
        } else {
            power >> shift
        };
        self.scale = (scale << 2) as i16;
    }

    /// UPZERO: the coefficients follow the signs of the differences.
    fn adapt_zeros(&mut self, newest: i16) {
        let step = if newest == 0 { 0 } else { 128 };
        for (coefficient, &past) in self.zeros.iter_mut().zip(&self.differences) {
            let step = if (newest < 0) == (past < 0) { step } else { -step };
            *coefficient = scaled(*coefficient, 32_640).saturating_add(step);
        }
    }

    /// UPPOL2, then UPPOL1: the coefficients follow the signs of the partially reconstructed samples.
    fn adapt_poles(&mut self, negative: bool) {
        let [first, second] = self.partial_negative.map(|past| past == negative);
        let fourfold = self.poles[0].saturating_mul(4);
        let leaning = if first {
            0_i16.saturating_sub(fourfold)
        } else {
            fourfold
        };
        let step = if second { 128 } else { -128 };
        let second_pole = ((leaning >> 7) + step)
            .saturating_add(scaled(self.poles[1], 32_512))
            .clamp(-12_288, 12_288);
        let step = if first { 192 } else { -192 };
        let bound = 15_360 - second_pole;
        let first_pole = scaled(self.poles[0], 32_640)
            .saturating_add(step)
            .clamp(-bound, bound);
        self.poles = [first_pole, second_pole];
        self.partial_negative = [negative, self.partial_negative[0]];
    }

    /// FILTEZ, FILTEP and PREDIC, with the delays before them.
    fn predict(&mut self, difference: i16, reconstructed: i16) {
        self.differences.copy_within(..ZEROS - 1, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        let part = |coefficient: &i16, sample: &i16| scaled(sample.saturating_add(*sample), *coefficient);
        // The sums saturate, so their order counts: from the oldest.
        let oldest_first = self.zeros.iter().zip(&self.differences).rev();
        self.zero_part = oldest_first.fold(0, |sum: i16, (b, d)| sum.saturating_add(part(b, d)));
        let [newest, older] = [0, 1].map(|n| part(&self.poles[n], &self.reconstructed[n]));
        self.predicted = newest.saturating_add(older).saturating_add(self.zero_part);
    }
}

/// The product of two fractions of 15 bits, rounded down (MULT).
fn scaled(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 15) as i16
}

/// LIMIT.
pub(super) fn limit(sample: i16) -> i16 {
    sample.clamp(-16_384, 16_383)
}
