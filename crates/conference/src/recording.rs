//! Owns what is known of a conference's recording, as it is shown. Never writes one.

use std::sync::Arc;

/// What is recorded, and as what it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordingChoice {
    /// Beside the full mix, a track of each participant and one of what the server plays.
    pub tracks: bool,
    /// As what the mix is kept in the end.
    pub format: RecordingFormat,
}

/// File formats of recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordingFormat {
    /// Linear samples of 16 bits.
    #[default]
    Wav,
    /// The same samples in about half the space.
    Flac,
    /// Lossy, in about a tenth of the space.
    Opus,
}

impl RecordingFormat {
    /// All of them.
    pub const ALL: [RecordingFormat; 3] =
        [RecordingFormat::Wav, RecordingFormat::Flac, RecordingFormat::Opus];

    /// Returns its name: `wav`, `flac`, `opus`.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordingFormat::Wav => "wav",
            RecordingFormat::Flac => "flac",
            RecordingFormat::Opus => "opus",
        }
    }
}

/// A recording that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingState {
    /// The id under which it is kept.
    pub id: Arc<str>,
    /// Nothing is taken in for the time being.
    pub paused: bool,
    /// Why nothing can be written at the moment.
    pub problem: Option<Arc<str>>,
}
