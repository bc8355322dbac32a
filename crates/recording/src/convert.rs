//! Owns bringing a file's samples to 16 bits and to a rate that conferences mix in. Never reads a file.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

/// The rates that conferences mix in, in Hz, ascending.
pub const RATES_HZ: [u32; 7] = [8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000];

/// Input samples that are converted at a time, about; the library rounds it to what the ratio asks for.
const CHUNK: usize = 1024;

/// Chunks of silence after which a conversion must have given everything: several seconds at any rate.
const MAX_FLUSH: usize = 1000;

/// Full scale of 16 bits.
const FULL_SCALE: f32 = 32_768.0;

/// Returns the rate that audio of `rate_hz` is brought to: the next that is not lower, or the highest.
fn target(rate_hz: u32) -> u32 {
    RATES_HZ
        .into_iter()
        .find(|&known| known >= rate_hz)
        .unwrap_or(48_000)
}

/// Takes samples of one rate as they come, −1..=1, and gives 16 bits at a known rate.
pub(crate) struct Converter {
    rate_hz: u32,
    /// Samples taken in.
    taken: u64,
    samples: Vec<i16>,
    /// `None` when the rate is kept.
    conversion: Option<Conversion>,
}

struct Conversion {
    resampler: Fft<f32>,
    from_hz: u32,
    /// Taken in, not converted yet.
    waiting: Vec<f32>,
    out: Vec<f32>,
    /// Samples at the beginning of the output that are the filter's delay.
    delay: usize,
}

impl Converter {
    /// Returns a converter from `from_hz`, which is above 0.
    pub(crate) fn new(from_hz: u32) -> Converter {
        let rate_hz = target(from_hz);
        Converter {
            rate_hz,
            taken: 0,
            samples: Vec::new(),
            conversion: (rate_hz != from_hz).then(|| Conversion::new(from_hz, rate_hz)),
        }
    }

    pub(crate) fn push(&mut self, block: &[f32]) {
        self.taken += block.len() as u64;
        match &mut self.conversion {
            None => self.samples.extend(block.iter().copied().map(narrow)),
            Some(conversion) => {
                conversion.waiting.extend_from_slice(block);
                conversion.run(&mut self.samples);
            }
        }
    }

    /// Returns the rate and everything that was taken in, as long as it was.
    pub(crate) fn finish(mut self) -> (u32, Vec<i16>) {
        if let Some(conversion) = &mut self.conversion {
            let due = (self.taken * u64::from(self.rate_hz)).div_ceil(u64::from(conversion.from_hz)) as usize;
            conversion.flush(&mut self.samples, due);
            self.samples.truncate(due);
        }
        (self.rate_hz, self.samples)
    }
}

impl Conversion {
    fn new(from_hz: u32, to_hz: u32) -> Conversion {
        let resampler = Fft::new(from_hz as usize, to_hz as usize, CHUNK, 1, FixedSync::Input)
            .expect("rates and chunk are above zero");
        Conversion {
            from_hz,
            waiting: Vec::new(),
            out: vec![0.0; resampler.output_frames_max()],
            delay: resampler.output_delay(),
            resampler,
        }
    }

    /// Converts whole chunks of what waits.
    fn run(&mut self, samples: &mut Vec<i16>) {
        let mut done = 0;
        while self.waiting.len() - done >= self.resampler.input_frames_next() {
            done += self.chunk(done, None, samples);
        }
        self.waiting.drain(..done);
    }

    /// Converts the rest, and silence behind it until `due` samples are there.
    fn flush(&mut self, samples: &mut Vec<i16>, due: usize) {
        self.run(samples);
        let mut rest = self.waiting.len();
        // Rates without a common divisor are converted in blocks of up to a second: many chunks go in before one comes out.
        for _ in 0..MAX_FLUSH {
            if samples.len() >= due {
                break;
            }
            self.chunk(0, Some(rest), samples);
            rest = 0;
        }
    }

    /// Converts one chunk from `offset` on, of which only `partial` samples are there; returns how many it took.
    fn chunk(&mut self, offset: usize, partial: Option<usize>, samples: &mut Vec<i16>) -> usize {
        let (present, room) = (self.waiting.len(), self.out.len());
        let indexing = Indexing {
            input_offset: offset,
            partial_len: partial,
            ..Indexing::default()
        };
        let input = InterleavedSlice::new(&self.waiting, 1, present).expect("one channel of this length");
        let mut output =
            InterleavedSlice::new_mut(&mut self.out, 1, room).expect("one channel of this length");
        let (read, written) = self
            .resampler
            .process_into_buffer(&input, &mut output, Some(&indexing))
            .expect("both buffers are as long as the resampler asks");
        let skipped = self.delay.min(written);
        self.delay -= skipped;
        samples.extend(self.out[skipped..written].iter().copied().map(narrow));
        read
    }
}

/// Rounds to 16 bits; what is beyond them is clipped, and no number is silence.
fn narrow(sample: f32) -> i16 {
    (sample * FULL_SCALE).round() as i16
}
