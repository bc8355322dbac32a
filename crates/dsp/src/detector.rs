//! Hears the digits of tone dialling in a leg's audio, for peers that send them no other way. Never changes a sample.
//!
//! The eight frequencies are correlated with pieces of 5 ms; four pieces make a window of 20 ms that moves on by one
//! piece at a time. From piece to piece the phase of a true tone advances steadily and by little more or less than its
//! nominal frequency says, which speech does not do: this, and that the two tones hold nearly all energy of the window,
//! is what keeps voices from being taken for digits. Levels, twist and times follow ITU-T Q.24.

use crate::dtmf::{DTMF_COLUMNS_HZ, DTMF_ROWS_HZ, DtmfSymbol};

/// Length of a piece in milliseconds.
const PIECE_MS: u32 = 5;

/// Pieces of a window.
const WINDOW: usize = 4;

/// Windows in a row that make a digit: 35 ms of tone. A digit of 40 ms holds that many wherever the pieces fall.
const HITS: u32 = 4;

/// Windows in a row without the digit that end it: gaps of 10 ms, which spoil 6 windows, do not make two digits of one.
const MISSES: u32 = 7;

/// Mean square per sample below which a tone is too weak: −40 dBFS, about −36 dBm0.
const WEAKEST: f32 = 53_685.0;

/// Louder the higher tone may be than the lower one, and the other way round, as ratios of power: 6 and 9 dB.
const TWIST_HIGH: f32 = 3.98;
const TWIST_LOW: f32 = 7.94;

/// What the two tones must hold of a window's energy, at least.
const SHARE: f32 = 0.9;

/// How far a frequency may be off, as a share of it and in Hz beyond that for the error of measurement.
const OFF_SHARE: f32 = 0.018;
const OFF_HZ: f32 = 5.0;

const TONES: usize = 8;

/// What a detector reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtmfSound {
    /// A digit sounds, for some 35 ms already.
    Began(DtmfSymbol),
    /// It sounds no more.
    Ended {
        /// The digit.
        symbol: DtmfSymbol,
        /// How long it was heard, to 5 ms.
        duration_ms: u32,
    },
}

/// Finds digits in one stream.
///
/// Digits of 40 ms and more are found, at the latest 45 ms after their beginning; what is shorter than 30 ms is not. All
/// memory is taken at creation.
#[derive(Debug, Clone)]
pub struct DtmfDetector {
    rate_hz: u32,
    /// Cosines and sines of the eight frequencies for each sample of a piece.
    waves: Box<[Wave]>,
    /// How far the phase of each frequency advances in a piece.
    turn: [Complex; TONES],
    /// Samples of the piece that is being filled.
    piece: Sums,
    filled: usize,
    /// The last pieces, oldest first.
    window: [Sums; WINDOW],
    state: State,
}

#[derive(Debug, Clone, Copy)]
struct Wave {
    cos: [f32; TONES],
    sin: [f32; TONES],
}

/// What a piece amounts to.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    cos: [f32; TONES],
    sin: [f32; TONES],
    energy: f32,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The digit that was reported as begun, with the pieces it has been heard in.
    sounding: Option<(DtmfSymbol, u32)>,
    /// The digit of the last windows, and their number.
    candidate: Option<DtmfSymbol>,
    hits: u32,
    /// Windows since the sounding digit was last found.
    misses: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Complex {
    re: f32,
    im: f32,
}

impl DtmfDetector {
    /// Creates a detector for a stream at `rate_hz`, 8000..=48000.
    pub fn new(rate_hz: u32) -> Self {
        let length = rate_hz * PIECE_MS / 1000;
        let frequencies: [f64; TONES] = std::array::from_fn(|tone| f64::from(frequency_hz(tone)));
        let angle = |tone: usize, n: u32| {
            std::f64::consts::TAU * frequencies[tone] * f64::from(n) / f64::from(rate_hz)
        };
        let waves = (0..length).map(|n| Wave {
            cos: std::array::from_fn(|tone| angle(tone, n).cos() as f32),
            sin: std::array::from_fn(|tone| angle(tone, n).sin() as f32),
        });
        DtmfDetector {
            rate_hz,
            waves: waves.collect(),
            turn: std::array::from_fn(|tone| Complex {
                re: angle(tone, length).cos() as f32,
                im: angle(tone, length).sin() as f32,
            }),
            piece: Sums::default(),
            filled: 0,
            window: [Sums::default(); WINDOW],
            state: State::default(),
        }
    }

    /// Returns the digit that sounds, if one does.
    pub fn sounding(&self) -> Option<DtmfSymbol> {
        self.state.sounding.map(|(symbol, _)| symbol)
    }

    /// Takes in samples and reports what was heard in them, in its order.
    pub fn process(&mut self, samples: &[i16], mut report: impl FnMut(DtmfSound)) {
        let mut rest = samples;
        while !rest.is_empty() {
            let length = (self.waves.len() - self.filled).min(rest.len());
            let (now, later) = rest.split_at(length);
            self.piece.add(now, &self.waves[self.filled..]);
            self.filled += length;
            rest = later;
            if self.filled == self.waves.len() {
                self.filled = 0;
                self.window.rotate_left(1);
                self.window[WINDOW - 1] = std::mem::take(&mut self.piece);
                let found = self.judge();
                self.state.update(found, &mut report);
            }
        }
    }

    /// Forgets the stream, as after a gap. A digit that sounds is not reported as ended.
    pub fn reset(&mut self) {
        self.piece = Sums::default();
        self.filled = 0;
        self.window = [Sums::default(); WINDOW];
        self.state = State::default();
    }

    /// Returns the digit of the present window.
    fn judge(&self) -> Option<DtmfSymbol> {
        let energy: f32 = self.window.iter().map(|piece| piece.energy).sum();
        let samples = (WINDOW * self.waves.len()) as f32;
        if energy < 2.0 * WEAKEST * samples {
            return None;
        }
        let row = self.strongest(0..4)?;
        let column = self.strongest(4..8)?;
        let (low, high) = (self.tone(row)?, self.tone(column)?);
        let strong = low.min(high) >= WEAKEST * samples;
        let even = high <= low * TWIST_HIGH && low <= high * TWIST_LOW;
        let pure = low + high >= SHARE * energy;
        (strong && even && pure).then(|| DtmfSymbol::at(row, column - 4))
    }

    /// Returns the strongest of four tones.
    fn strongest(&self, tones: std::ops::Range<usize>) -> Option<usize> {
        let power = |tone: usize| -> f32 { self.window.iter().map(|piece| piece.at(tone).power()).sum() };
        tones.max_by(|&a, &b| power(a).total_cmp(&power(b)))
    }

    /// Returns the energy that one tone has in the window if its frequency is steady and near the nominal one.
    fn tone(&self, tone: usize) -> Option<f32> {
        // What the phase of the tone is ahead of the nominal frequency's, from piece to piece.
        let pieces: [Complex; WINDOW] = std::array::from_fn(|n| self.window[n].at(tone));
        let mut advance = Complex::default();
        for pair in pieces.windows(2) {
            let expected = pair[0].times(self.turn[tone]);
            advance = advance.plus(pair[1].times(expected.conjugate()));
        }
        let length = advance.power().sqrt();
        if length == 0.0 {
            return None;
        }
        let unit = Complex {
            re: advance.re / length,
            im: advance.im / length,
        };
        let piece_s = self.waves.len() as f32 / self.rate_hz as f32;
        let off_hz = unit.im.atan2(unit.re) / (std::f32::consts::TAU * piece_s);
        if off_hz.abs() > frequency_hz(tone) * OFF_SHARE + OFF_HZ {
            return None;
        }
        // The pieces in step with the true frequency add up to its whole energy.
        let back = self.turn[tone].times(unit);
        let mut sum = Complex::default();
        for piece in pieces {
            sum = sum.times(back).plus(piece);
        }
        Some(2.0 * sum.power() / (WINDOW * self.waves.len()) as f32)
    }
}

impl State {
    fn update(&mut self, found: Option<DtmfSymbol>, report: &mut impl FnMut(DtmfSound)) {
        self.hits = match found {
            Some(_) if found == self.candidate => self.hits + 1,
            Some(_) => 1,
            None => 0,
        };
        self.candidate = found;
        if let Some((symbol, pieces)) = &mut self.sounding {
            self.misses = if found == Some(*symbol) {
                0
            } else {
                self.misses + 1
            };
            *pieces += 1;
            let other = found.is_some() && found != Some(*symbol) && self.hits >= HITS;
            if self.misses >= MISSES || other {
                let heard = *pieces - self.misses;
                report(DtmfSound::Ended {
                    symbol: *symbol,
                    duration_ms: heard * PIECE_MS,
                });
                self.sounding = None;
            }
        }
        if let (None, Some(symbol)) = (self.sounding, found)
            && self.hits >= HITS
        {
            self.sounding = Some((symbol, WINDOW as u32 + self.hits - 1));
            self.misses = 0;
            report(DtmfSound::Began(symbol));
        }
    }
}

impl Sums {
    fn add(&mut self, samples: &[i16], waves: &[Wave]) {
        for (&sample, wave) in samples.iter().zip(waves) {
            let sample = f32::from(sample);
            self.energy += sample * sample;
            for tone in 0..TONES {
                self.cos[tone] += sample * wave.cos[tone];
                self.sin[tone] += sample * wave.sin[tone];
            }
        }
    }

    /// The correlation with one tone: its phase is that of the tone at the beginning of the piece.
    fn at(&self, tone: usize) -> Complex {
        Complex {
            re: self.cos[tone],
            im: -self.sin[tone],
        }
    }
}

impl Complex {
    fn power(self) -> f32 {
        self.re * self.re + self.im * self.im
    }

    fn times(self, other: Complex) -> Complex {
        Complex {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }

    fn plus(self, other: Complex) -> Complex {
        Complex {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }

    fn conjugate(self) -> Complex {
        Complex {
            re: self.re,
            im: -self.im,
        }
    }
}

fn frequency_hz(tone: usize) -> f32 {
    if tone < 4 {
        DTMF_ROWS_HZ[tone]
    } else {
        DTMF_COLUMNS_HZ[tone - 4]
    }
}
