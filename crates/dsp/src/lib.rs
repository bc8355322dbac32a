//! Signal blocks: everything that is done to samples between decoding and encoding, and the tones.
//!
//! # What it is for
//! Each block is a small value that is fed one frame after the other. None knows about packets, participants or time of
//! day, and a frame may have any length: what counts in frames elsewhere counts in milliseconds here, so that every
//! mixing interval from 10 to 120 ms behaves alike.
//!
//! - Mixing: [`TalkGate`] decides which frames are mixed, [`TalkingState`] which participant counts as talking, [`Limiter`]
//!   narrows a sum of voices to 16 bits, [`ComfortNoise`] fills a mix in which nobody speaks.
//! - A participant's audio: [`Resampler`] converts it to another rate, [`Gain`] makes it louder or quieter at will,
//!   [`Agc`] by itself, [`Denoiser`] removes noise, [`TimeScale`] makes speech shorter or longer.
//! - Measuring: [`LevelMeter`], [`score`] and [`peak`]; [`DtmfDetector`] hears digits.
//! - Tones: [`ToneScript`] and [`ToneGenerator`] play descriptions, see the module [`tone`].
//!
//! # What it does not do
//! Codecs and concealment are `confab-codec`'s, deciding who hears whom is `confab-mixer`'s. There is no clock, no thread
//! and no I/O. The same input gives the same output, on every machine but for the last bit of what is computed with
//! floating point.
//!
//! # Costs
//! All memory is taken when a block is made; working with it allocates and locks nothing (`tests/allocation.rs`). Two
//! things are made once and shared, away from where time matters: [`ResamplerTable::get`] per pair of rates, and
//! [`Denoiser::prepare_thread`] per thread.
//!
//! # Levels
//! A *score* is the mean absolute sample (0..=32768) and is what the HTTP contract's `energy-level` is compared
//! with; dBFS take a full-scale sine as reference (AES17), so a sine of peak 32767 measures 0 dBFS.
//!
//! # Example
//! ```
//! use confab_dsp::{GateFrame, TalkGate, score};
//!
//! let mut gate = TalkGate::new(20);
//! let mut voice = [500i16; 160];
//! let frame = gate.update(score(&voice), 20);
//! assert_eq!(frame, GateFrame::Opening); // the very frame that is loud enough is mixed
//! frame.shape(&mut voice, 8000); // with its first 2 ms faded in
//! assert!(voice[0] < 50 && voice[159] == 500);
//! ```
//!
//! # Standards
//! ITU-T Q.23 and Q.24 (tone dialling), G.711 (what 0 dBm0 is), RFC 4733 §3.2 (event codes of the digits).

mod agc;
mod denoiser;
mod detector;
mod dtmf;
mod gain;
mod gate;
mod level;
mod limiter;
mod noise;
mod resampler;
mod talking;
mod timescale;
pub mod tone;

pub use agc::Agc;
pub use denoiser::Denoiser;
pub use detector::{DtmfDetector, DtmfSound};
pub use dtmf::{DTMF_COLUMNS_HZ, DTMF_ROWS_HZ, DtmfSymbol};
pub use gain::{GAIN_RAMP_MS, GAIN_RANGE_DB, Gain, volume_level_db};
pub use gate::{CLOSE_AFTER_MS, FADE_MS, GateFrame, TalkGate};
pub use level::{LevelMeter, SILENCE_DBFS, peak, score};
pub use limiter::{CEILING, Limiter, RECOVERY_DB_PER_S};
pub use noise::{ComfortNoise, NoiseLevel};
pub use resampler::{RECORDING_RATES_HZ, RESAMPLER_RATES_HZ, Resampler, ResamplerTable};
pub use talking::{LOUD_MS, QUIET_MS, STRONG_EXCESS, TalkingState};
pub use timescale::TimeScale;
pub use tone::{ToneError, ToneGenerator, TonePlace, ToneProblem, ToneScript};
