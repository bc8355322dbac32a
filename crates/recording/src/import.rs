//! Owns the way from the bytes of a file to mono samples. Never keeps the file.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as DecodeError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use crate::convert::Converter;
use crate::unfinished::finished;

/// Lowest and highest sample rate that is taken, in Hz.
const RATES_TAKEN_HZ: std::ops::RangeInclusive<u32> = 8000..=192_000;

/// Most channels that are mixed down.
const MAX_CHANNELS: usize = 32;

/// Most faulty packets of a file that are left out before the rest is given up.
const MAX_FAULTS: usize = 100;

/// How much is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportLimits {
    /// Length of the file, in bytes.
    pub bytes: usize,
    /// Duration of the audio.
    pub duration: Duration,
}

impl Default for ImportLimits {
    /// 50 MB and 10 minutes.
    fn default() -> Self {
        ImportLimits {
            bytes: 50_000_000,
            duration: Duration::from_secs(600),
        }
    }
}

/// What a file sounds like, in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Samples per second, one of [`RATES_HZ`](crate::RATES_HZ).
    pub rate_hz: u32,
    /// At least one sample.
    pub samples: Vec<i16>,
}

/// Why a file cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is longer than the limit.
    #[error("the file has {bytes} bytes, {limit} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It plays longer than the limit.
    #[error("the audio lasts longer than {} s", .limit.as_secs())]
    TooLong {
        /// The limit.
        limit: Duration,
    },
    /// The content is none of the known kinds. Often a page of HTML, or another kind of media.
    #[error("neither WAV, MP3, Ogg Vorbis nor FLAC")]
    UnknownFormat,
    /// The container is known and what is in it is not, such as ADPCM in WAV or Opus in Ogg.
    #[error("the audio coding within the file is not supported ({0})")]
    UnsupportedCoding(String),
    /// The file says a sample rate that is not taken, or none.
    #[error("sample rate {0} Hz is not within 8000 to 192000")]
    Rate(u32),
    /// The file has no channel or more than are mixed down.
    #[error("{0} channels are not within 1 to {MAX_CHANNELS}")]
    Channels(usize),
    /// The audio changes its rate or its channels on the way.
    #[error("the audio changes its format on the way")]
    Changes,
    /// There is no sample in it.
    #[error("there is no audio in the file")]
    Empty,
    /// The content contradicts itself.
    #[error("the file is damaged: {0}")]
    Damaged(String),
}

/// Turns a file into mono samples. Blocks while it computes.
///
/// Rates that conferences mix in are kept, others are raised to the next of them, and what is above is brought down to
/// 48 kHz. Samples of 16 bits at a kept rate come out as they are. A file whose end is missing, or whose lengths
/// were never written, gives what is there.
///
/// # Errors
/// [`ImportError`] says what is wrong with the file.
pub fn import(bytes: &[u8], limits: ImportLimits) -> Result<Audio, ImportError> {
    if bytes.len() > limits.bytes {
        return Err(ImportError::TooLarge {
            bytes: bytes.len(),
            limit: limits.bytes,
        });
    }
    // Nothing of what is in there is used again after a panic.
    catch_unwind(AssertUnwindSafe(|| read(&finished(bytes), limits.duration)))
        .unwrap_or_else(|_| Err(ImportError::Damaged("its decoder gave up".to_owned())))
}

fn read(bytes: &[u8], duration: Duration) -> Result<Audio, ImportError> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(not_understood)?;
    let (track, mut decoder) = decoder(format.as_ref())?;
    let mut intake = Intake::new(duration);
    let mut faults = 0;
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // What a file lacks at its end, or what follows behind the first of several streams, is left out.
            Err(_) if intake.has_begun() => break,
            Err(error) => return Err(damaged(error)),
        };
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(block) => {
                let spec = block.spec();
                let (rate_hz, channels) = (spec.rate(), block.num_planes());
                let mut interleaved = std::mem::take(&mut intake.interleaved);
                block.copy_to_vec_interleaved(&mut interleaved);
                intake.interleaved = interleaved;
                if !intake.interleaved.is_empty() {
                    intake.take(rate_hz, channels)?;
                }
            }
            Err(error @ (DecodeError::DecodeError(_) | DecodeError::IoError(_))) => {
                faults += 1;
                if faults > MAX_FAULTS {
                    return Err(damaged(error));
                }
            }
            Err(_) if intake.has_begun() => break,
            Err(error) => return Err(damaged(error)),
        }
    }
    intake.finish()
}

/// Finds the first track of audio, and who reads it.
fn decoder(format: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), ImportError> {
    let track = format.default_track(TrackType::Audio).ok_or(ImportError::Empty)?;
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|parameters| parameters.audio())
        .ok_or_else(|| ImportError::UnsupportedCoding("not named".to_owned()))?;
    if let Some(rate_hz) = parameters.sample_rate
        && !RATES_TAKEN_HZ.contains(&rate_hz)
    {
        return Err(ImportError::Rate(rate_hz));
    }
    if let Some(channels) = &parameters.channels
        && !(1..=MAX_CHANNELS).contains(&channels.count())
    {
        return Err(ImportError::Channels(channels.count()));
    }
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| ImportError::UnsupportedCoding(error.to_string()))?;
    Ok((track.id, decoder))
}

/// What has been decoded so far.
struct Intake {
    duration: Duration,
    /// Decoded samples that were not mixed down yet.
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    begun: Option<Begun>,
}

struct Begun {
    rate_hz: u32,
    channels: usize,
    /// How many samples of a channel may still come.
    room: usize,
    converter: Converter,
}

impl Intake {
    fn new(duration: Duration) -> Intake {
        Intake {
            duration,
            interleaved: Vec::new(),
            mono: Vec::new(),
            begun: None,
        }
    }

    fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Takes what is in `interleaved`.
    fn take(&mut self, rate_hz: u32, channels: usize) -> Result<(), ImportError> {
        let begun = match &mut self.begun {
            Some(begun) => begun,
            None => self.begun.insert(Begun::new(rate_hz, channels, self.duration)?),
        };
        if (begun.rate_hz, begun.channels) != (rate_hz, channels) {
            return Err(ImportError::Changes);
        }
        let frames = self.interleaved.chunks_exact(channels);
        begun.room = begun
            .room
            .checked_sub(frames.len())
            .ok_or(ImportError::TooLong { limit: self.duration })?;
        let share = 1.0 / channels as f32;
        self.mono.clear();
        self.mono
            .extend(frames.map(|frame| bounded(frame.iter().sum::<f32>() * share)));
        begun.converter.push(&self.mono);
        Ok(())
    }

    fn finish(self) -> Result<Audio, ImportError> {
        let begun = self.begun.ok_or(ImportError::Empty)?;
        let (rate_hz, samples) = begun.converter.finish();
        if samples.is_empty() {
            return Err(ImportError::Empty);
        }
        Ok(Audio { rate_hz, samples })
    }
}

impl Begun {
    fn new(rate_hz: u32, channels: usize, duration: Duration) -> Result<Begun, ImportError> {
        if !RATES_TAKEN_HZ.contains(&rate_hz) {
            return Err(ImportError::Rate(rate_hz));
        }
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(ImportError::Channels(channels));
        }
        let room = duration.as_millis().saturating_mul(u128::from(rate_hz)) / 1000;
        Ok(Begun {
            rate_hz,
            channels,
            room: usize::try_from(room).unwrap_or(usize::MAX),
            converter: Converter::new(rate_hz),
        })
    }
}

/// Clips what is beyond full scale; what is no number is silence. The converter takes nothing else.
fn bounded(sample: f32) -> f32 {
    if sample.is_nan() {
        0.0
    } else {
        sample.clamp(-1.0, 1.0)
    }
}

fn not_understood(error: DecodeError) -> ImportError {
    match error {
        DecodeError::Unsupported(_) | DecodeError::IoError(_) => ImportError::UnknownFormat,
        error => damaged(error),
    }
}

fn damaged(error: DecodeError) -> ImportError {
    match error {
        DecodeError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImportError::Damaged("its end is missing".to_owned())
        }
        error => ImportError::Damaged(error.to_string()),
    }
}
