//! G.722 at 64 kbit/s: 16 kHz audio in two sub-bands of ADPCM, encoder and decoder to the bit as ITU-T G.722 defines them,
//! with concealment of lost frames.
//!
//! The far encoder's predictors go on through a loss that our decoder does not see. After a loss both would disagree for tens
//! of milliseconds, so the concealed signal is encoded again, a filter delay ahead of what is heard, and its codes drive the
//! decoder's predictors and filter as the lost codes would have.

mod band;
mod qmf;

use band::{Band, HIGH, LOW, Tolerance};
use qmf::{Analysis, Synthesis as SynthesisFilter};

use crate::codec::{DecodeError, Decoder};
use crate::concealment::{Concealment, Synthesis};

/// Rate of the samples.
const RATE_HZ: u32 = 16_000;

/// Samples by which a signal is delayed when it is split and put together again.
const DELAY: usize = 22;

/// The loudness that steering goes by falls by this part of itself with each octet: to a tenth in 18 ms.
const LOUDNESS_FALL: u16 = 64;

/// Encoder for one outgoing G.722 stream.
#[derive(Debug, Clone)]
pub(crate) struct G722Encoder {
    split: Analysis,
    low: Band,
    high: Band,
    /// Octets in a row that were steered.
    steered: u32,
    /// Loudness of the low band's last milliseconds, kept while steering.
    loudness: u16,
}

impl G722Encoder {
    /// Makes an encoder in the state that the recommendation gives after a reset.
    pub(crate) fn new() -> Self {
        Self {
            split: Analysis::new(),
            low: Band::low(),
            high: Band::high(),
            steered: 0,
            loudness: 0,
        }
    }

    /// Returns whether both have adapted to the same: encoding the same from now on, they write the same octets.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.low == other.low && self.high == other.high
    }

    /// Encodes pairs of samples into an octet each; the shorter of the two slices decides how many. Returns that number.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        (self.steered, self.loudness) = (0, 0);
        let (pairs, _) = pcm.as_chunks::<2>();
        for (&pair, octet) in pairs.iter().zip(&mut *out) {
            let (low, high) = self.split.split(pair);
            let low = self.low.quantise(LOW, low);
            let high = self.high.quantise(HIGH, high);
            self.low.adapt(LOW, low);
            self.high.adapt(HIGH, high);
            *octet = (high << 6) | low;
        }
        pairs.len().min(out.len())
    }

    /// Encodes as [`encode`](Self::encode) does, but with the codes of `wanted`, another encoder's octets of the same samples,
    /// wherever they stand here too for nearly the right sample: so both adapt to the same. The shortest of the three slices
    /// decides how many.
    pub(crate) fn encode_towards(&mut self, pcm: &[i16], wanted: &[u8], out: &mut [u8]) -> usize {
        let (pairs, _) = pcm.as_chunks::<2>();
        let tolerance = Tolerance::low(self.steered);
        for ((&pair, &wanted), octet) in pairs.iter().zip(wanted).zip(&mut *out) {
            let (low, high) = self.split.split(pair);
            self.loudness -= self.loudness.div_ceil(LOUDNESS_FALL);
            self.loudness = self.loudness.max(low.unsigned_abs());
            let tolerance = tolerance.within(self.loudness);
            let low = self.low.quantise_low_towards(low, wanted, tolerance);
            let high = self.high.quantise_high_towards(high, wanted >> 6);
            self.low.adapt(LOW, low);
            self.high.adapt(HIGH, high);
            *octet = (high << 6) | low;
        }
        let octets = pairs.len().min(wanted.len()).min(out.len());
        self.steered = self.steered.saturating_add(octets as u32);
        octets
    }
}

/// Decoder for one incoming G.722 stream.
#[derive(Debug)]
pub struct G722Decoder {
    low: Band,
    high: Band,
    join: SynthesisFilter,
    concealment: Concealment,
    /// During a loss: the concealment, running [`DELAY`] samples ahead, and its analysis.
    ahead: Synthesis,
    split: Analysis,
}

impl G722Decoder {
    /// Makes a decoder in the state that the recommendation gives after a reset, with no history.
    #[must_use]
    pub fn new() -> Self {
        let concealment = Concealment::new(RATE_HZ);
        Self {
            low: Band::low(),
            high: Band::high(),
            join: SynthesisFilter::new(),
            ahead: concealment.synthesis().clone(),
            concealment,
            split: Analysis::new(),
        }
    }

    /// Lets the predictors live through `samples` lost samples as if the concealed signal had been received.
    fn follow(&mut self, samples: usize) {
        for _ in 0..samples / 2 {
            let pair = self.next_ahead();
            let (low, high) = self.split.split(pair);
            let low = self.low.quantise(LOW, low);
            let high = self.high.quantise(HIGH, high);
            let (rl, rh) = self.reconstruct(low, high);
            self.join.take(rl, rh);
        }
    }

    fn next_ahead(&mut self) -> [i16; 2] {
        [self.ahead.next_sample() as i16, self.ahead.next_sample() as i16]
    }

    /// Both bands' samples of one octet's codes.
    fn reconstruct(&mut self, low: u8, high: u8) -> (i16, i16) {
        let bands = (self.low.reconstruct_low(low), self.high.reconstruct_high(high));
        self.low.adapt(LOW, low);
        self.high.adapt(HIGH, high);
        bands
    }
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for G722Decoder {
    fn sample_rate_hz(&self) -> u32 {
        RATE_HZ
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, DecodeError> {
        if payload.is_empty() {
            Err(DecodeError::Empty)
        } else {
            Ok(2 * payload.len())
        }
    }

    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError> {
        let samples = self.samples(payload)?;
        let capacity = out.len();
        let Some(out) = out.get_mut(..samples) else {
            return Err(DecodeError::BufferTooSmall { samples, capacity });
        };
        let (pairs, _) = out.as_chunks_mut::<2>();
        for (pair, &octet) in pairs.iter_mut().zip(payload) {
            let (low, high) = self.reconstruct(octet & 0x3f, octet >> 6);
            self.join.take(low, high);
            *pair = self.join.pair();
        }
        self.concealment.good(out);
        Ok(samples)
    }

    fn conceal(&mut self, out: &mut [i16]) {
        if out.is_empty() {
            return;
        }
        if !self.concealment.in_loss() {
            self.concealment.begin();
            self.ahead.copy_from(self.concealment.synthesis());
            for _ in 0..DELAY / 2 {
                let pair = self.next_ahead();
                self.split.take(pair);
            }
        }
        self.concealment.lost(out);
        self.follow(out.len());
    }

    fn reset(&mut self) {
        // The predictors stay: the far encoder's ran on through its silence, or stopped where ours are.
        self.concealment.reset();
    }
}
