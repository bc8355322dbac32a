//! Owns the ears of the tests: tone levels, loudness, continuity of sequence numbers and exact comparison of sample streams.
//!
//! Levels are dBFS with a full-scale sine as reference (AES17): a sine of peak 32767 measures 0 dBFS by tone level and by RMS alike.
//! Never adapts, smooths or guesses: the same samples always give the same figure.

use std::f64::consts::TAU;

/// Level reported for pure digital silence.
pub const SILENCE_DBFS: f64 = -120.0;

/// Mean square of a full-scale sine.
const FULL_SCALE_SINE_POWER: f64 = 32_767.0 * 32_767.0 / 2.0;

/// Returns the peak amplitude in sample units of a sine with the given level in dBFS.
pub fn sine_amplitude(level_dbfs: f64) -> f64 {
    32_767.0 * 10f64.powf(level_dbfs / 20.0)
}

/// Returns the samples of a sine that starts at phase 0; `first_sample` lets callers produce one endless tone in blocks.
pub fn sine(frequency_hz: f64, level_dbfs: f64, rate_hz: u32, first_sample: u64, samples: usize) -> Vec<i16> {
    let amplitude = sine_amplitude(level_dbfs);
    (0..samples as u64)
        .map(|offset| {
            let cycles = (first_sample + offset) as f64 * frequency_hz / f64::from(rate_hz);
            (amplitude * (TAU * cycles.fract()).sin()).round() as i16
        })
        .collect()
}

/// Returns the level in dBFS of everything in `samples` (root mean square); [`SILENCE_DBFS`] for silence or an empty slice.
pub fn rms_dbfs(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return SILENCE_DBFS;
    }
    let power = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum::<f64>()
        / samples.len() as f64;
    power_dbfs(power)
}

/// Returns the usual level in dBFS of the sine of `frequency_hz` over time: the median of [`tone_dbfs`] over blocks of 20 ms. A jump
/// in the tone's phase, which a listener does not mind and which takes decibels off a long measurement, counts for one block.
///
/// Tones that are whole multiples of 50 Hz do not disturb each other.
pub fn median_tone_dbfs(samples: &[i16], rate_hz: u32, frequency_hz: f64) -> f64 {
    let blocks = samples.chunks_exact(rate_hz as usize / 50);
    let mut levels: Vec<f64> = blocks
        .map(|block| tone_dbfs(block, rate_hz, frequency_hz))
        .collect();
    levels.sort_by(f64::total_cmp);
    levels.get(levels.len() / 2).copied().unwrap_or(SILENCE_DBFS)
}

/// Returns the level in dBFS of the sine of `frequency_hz` in `samples`, by Goertzel's algorithm over the whole slice.
///
/// Exact when the slice holds a whole number of periods; tones that are apart by a multiple of `rate / samples.len()` do not
/// disturb each other at all.
pub fn tone_dbfs(samples: &[i16], rate_hz: u32, frequency_hz: f64) -> f64 {
    if samples.is_empty() {
        return SILENCE_DBFS;
    }
    let omega = TAU * frequency_hz / f64::from(rate_hz);
    let coefficient = 2.0 * omega.cos();
    let (mut previous, mut before) = (0.0f64, 0.0f64);
    for sample in samples {
        let current = f64::from(*sample) + coefficient * previous - before;
        before = previous;
        previous = current;
    }
    let power = previous * previous + before * before - coefficient * previous * before;
    let amplitude = 2.0 * power.max(0.0).sqrt() / samples.len() as f64;
    power_dbfs(amplitude * amplitude / 2.0)
}

fn power_dbfs(power: f64) -> f64 {
    (10.0 * (power / FULL_SCALE_SINE_POWER).log10()).max(SILENCE_DBFS)
}

/// What a stream of RTP sequence numbers looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequenceReport {
    /// Packets seen.
    pub received: u64,
    /// Numbers skipped, counted at the moment of the jump and not taken back by a late arrival.
    pub missing: u64,
    /// Packets whose number is the one before or older.
    pub reordered_or_repeated: u64,
    /// Packets whose timestamp did not advance by the expected step from the one before.
    pub timestamp_jumps: u64,
}

impl SequenceReport {
    /// Says whether every packet followed its predecessor by one number and one timestamp step.
    pub fn is_continuous(&self) -> bool {
        self.missing == 0 && self.reordered_or_repeated == 0 && self.timestamp_jumps == 0
    }
}

/// Checks sequence numbers and timestamps of one RTP stream as they arrive.
#[derive(Debug, Clone)]
pub struct SequenceMeter {
    samples_per_packet: u32,
    last: Option<(u16, u32)>,
    report: SequenceReport,
}

impl SequenceMeter {
    /// Expects timestamps to advance by `samples_per_packet` (RTP clock units) with each sequence number.
    pub fn new(samples_per_packet: u32) -> Self {
        Self {
            samples_per_packet,
            last: None,
            report: SequenceReport::default(),
        }
    }

    /// Takes note of one packet in order of arrival.
    pub fn push(&mut self, sequence: u16, timestamp: u32) {
        self.report.received += 1;
        let Some((last_sequence, last_timestamp)) = self.last else {
            self.last = Some((sequence, timestamp));
            return;
        };
        let step = sequence.wrapping_sub(last_sequence);
        if step == 0 || step >= 0x8000 {
            self.report.reordered_or_repeated += 1;
            return;
        }
        self.report.missing += u64::from(step) - 1;
        let expected = self.samples_per_packet.wrapping_mul(u32::from(step));
        if timestamp.wrapping_sub(last_timestamp) != expected {
            self.report.timestamp_jumps += 1;
        }
        self.last = Some((sequence, timestamp));
    }

    /// Returns what was seen so far.
    pub fn report(&self) -> SequenceReport {
        self.report
    }
}

/// The result of comparing a received sample stream with the one that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Every compared sample is equal; `offset` is where in the sent stream the received part begins, in samples.
    Identical {
        /// Position in the sent stream of the first compared sample.
        offset: usize,
        /// Number of samples compared.
        compared: usize,
    },
    /// The streams agree up to this received sample and differ there.
    Differs {
        /// Position in the sent stream where the received stream begins.
        offset: usize,
        /// First received sample that differs.
        at: usize,
        /// How many samples differ in all, at this alignment.
        differing: usize,
    },
    /// The beginning of the received stream stands nowhere in the sent one.
    NotFound,
}

/// Compares `received` with `sent`, after finding where in `sent` the first `probe` samples of `received` stand.
///
/// The sent stream must not repeat within the searched range, else an inserted or lost period would go unnoticed.
pub fn compare(sent: &[i16], received: &[i16], probe: usize) -> Comparison {
    let probe = probe.min(received.len()).max(1);
    let Some(head) = received.get(..probe) else {
        return Comparison::NotFound;
    };
    let Some(offset) = sent.windows(probe).position(|window| window == head) else {
        return Comparison::NotFound;
    };
    let pairs = sent[offset..].iter().zip(received);
    let compared = pairs.len();
    let mut different = pairs.enumerate().filter(|(_, (sent, received))| sent != received);
    match different.next() {
        None => Comparison::Identical { offset, compared },
        Some((at, _)) => Comparison::Differs {
            offset,
            at,
            differing: 1 + different.count(),
        },
    }
}

/// Where a known stretch of sound stands in a recording, and how well it fits there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Position in the recording, in samples.
    pub offset: usize,
    /// Correlation coefficient, 0 to 1: 1 means nothing but the sound looked for.
    pub correlation: f64,
    /// Level of the sound in the recording against the original, in dB.
    pub gain_db: f64,
}

/// Finds the place in `recording` that is most like `sound`; `None` when the recording is shorter or silent all along.
pub fn find(sound: &[i16], recording: &[i16]) -> Option<Match> {
    let sound: Vec<f32> = sound.iter().map(|sample| f32::from(*sample)).collect();
    let recording: Vec<f32> = recording.iter().map(|sample| f32::from(*sample)).collect();
    let sound_power = dot(&sound, &sound);
    if sound_power <= 0.0 || recording.len() < sound.len() {
        return None;
    }
    // The power of each window by what enters and leaves it.
    let mut window_power = dot(&recording[..sound.len()], &recording[..sound.len()]);
    let mut best: Option<Match> = None;
    for (offset, window) in recording.windows(sound.len()).enumerate() {
        let product = dot(&sound, window);
        let correlation = product / (sound_power * window_power.max(1.0)).sqrt();
        if product > 0.0 && best.is_none_or(|best| correlation > best.correlation) {
            best = Some(Match {
                offset,
                correlation,
                gain_db: 20.0 * (product / sound_power).log10(),
            });
        }
        let entering = recording.get(offset + sound.len()).copied().unwrap_or(0.0);
        window_power += f64::from(entering).powi(2) - f64::from(window[0]).powi(2);
    }
    best
}

/// Returns the sum of products, in eight independent sums so that the processor need not wait for each addition.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f32; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_blocks.remainder().iter().zip(b_blocks.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    f64::from(sums.iter().sum::<f32>() + rest)
}

#[cfg(test)]
mod tests;
