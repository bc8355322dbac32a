//! Audio files: what was uploaded or fetched becomes samples that can be played, and what was recorded becomes a file.
//!
//! [`import()`] reads WAV (PCM of 8 to 32 bits, float, A-law, µ-law), MP3, Ogg Vorbis and FLAC. The kind is found out from the
//! content: names and content types are often wrong; [`AudioKind`] tells by the first bytes which it should be. Several channels are mixed down to one. What comes out has one of the
//! rates that conferences mix in, so that converting it further is the media plane's ordinary business.
//!
//! [`WavWriter`] writes WAV files that can be played at every moment of their making. [`Utterance`] is what somebody says into a recording,
//! his name as a rule: it knows when he has done, and keeps what he said without the silence around it, about as loud as prompts are.
//!
//! # What it does not do
//! It opens no file and no connection, keeps nothing, and knows no media documents: bytes in, samples out, or the other way round. It computes for as
//! long as the audio is long (some hundred times faster than it plays), so callers run it where that may block.
//!
//! # Hostile input
//! Whatever the bytes are, the answer is samples or an [`ImportError`] within the bounds of [`ImportLimits`]. The decoders are
//! libraries written without unsafe code; should one of them panic nevertheless, that is an error of the file.
//!
//! # Example
//! ```
//! use confab_recording::{ImportLimits, import};
//!
//! // 10 ms of silence, 8 kHz, µ-law
//! let mut wav = b"RIFF\x76\0\0\0WAVEfmt \x12\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0\0\0data\x50\0\0\0".to_vec();
//! wav.extend([0xFF; 80]);
//! let audio = import(&wav, ImportLimits::default())?;
//! assert_eq!((audio.rate_hz, audio.samples), (8000, vec![0; 80]));
//! # Ok::<(), confab_recording::ImportError>(())
//! ```

mod convert;
#[doc(hidden)]
pub mod fuzz;
mod import;
mod kind;
mod track;
mod unfinished;
mod utterance;
mod wav;

#[cfg(test)]
mod tests;

pub use convert::RATES_HZ;
pub use import::{Audio, ImportError, ImportLimits, import};
pub use kind::AudioKind;
pub use track::{Stretch, Track};
pub use utterance::Utterance;
pub use wav::{WavOut, WavWriter, wav};
