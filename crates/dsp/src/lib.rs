//! Signal blocks of the mixer: level measurement, talk gate, talking state, limiter.
//!
//! Each block is a small value that is fed one frame after the other. None knows about packets, participants or time of
//! day, none allocates, and a frame may have any length: what counts in frames elsewhere counts in milliseconds here, so
//! that every mixing interval from 10 to 120 ms behaves alike.
//!
//! What is deliberately not here: codecs and concealment (`confab-codec`), deciding who hears whom (`confab-mixer`),
//! rate conversion (every codec of this version is narrowband).
//!
//! Main types: [`TalkGate`] decides which frames are mixed, [`TalkingState`] which participant counts as talking,
//! [`Limiter`] narrows a sum of voices to 16 bits, [`LevelMeter`] and [`score`] measure.
//!
//! Levels: a *score* is the mean absolute sample (0..=32768) and is what the HTTP contract's `energy-level` is compared
//! with; dBFS take a full-scale sine as reference (AES17), so a sine of peak 32767 measures 0 dBFS.
//!
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

pub use detector::{DtmfDetector, DtmfSound};
pub use dtmf::{DTMF_COLUMNS_HZ, DTMF_ROWS_HZ, DtmfSymbol};
pub use gain::{GAIN_RAMP_MS, GAIN_RANGE_DB, Gain, volume_level_db};
pub use gate::{CLOSE_AFTER_MS, FADE_MS, GateFrame, TalkGate};
pub use level::{LevelMeter, SILENCE_DBFS, peak, score};
pub use limiter::{CEILING, Limiter, RECOVERY_DB_PER_S};
pub use noise::{ComfortNoise, NoiseLevel};
pub use resampler::{RESAMPLER_DELAY, RESAMPLER_RATES_HZ, Resampler, ResamplerTable};
pub use talking::{LOUD_MS, QUIET_MS, STRONG_EXCESS, TalkingState};
pub use timescale::TimeScale;
pub use tone::{ToneError, ToneGenerator, ToneProblem, ToneScript};
