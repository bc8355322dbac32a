//! What is known of a recording beside its audio: `recording.json` in its folder. Owns its form, where folders lie, and how it is written:
//! whole or not at all. Never looks into audio.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name.
const FILE: &str = "recording.json";

/// How far a recording has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    /// It goes on, or its server was interrupted.
    Recording,
    /// All of its files are whole.
    Written,
    /// It has a media document.
    Listed,
}

/// One audio file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AudioFile {
    /// Its name in the folder.
    pub(crate) name: String,
    /// Whose audio: `mix`, `server`, or `participant`.
    pub(crate) of: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) participant_id: Option<u64>,
    /// Where it lies in the recording: later parts of one track begin where the one before ends.
    pub(crate) begin_ms: u64,
    pub(crate) duration_ms: u64,
    pub(crate) octets: u64,
}

/// What is known of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sheet {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) conference_id: String,
    pub(crate) instance_id: String,
    pub(crate) name: String,
    /// When it began, in milliseconds since 1970.
    pub(crate) started_ms: u64,
    pub(crate) rate_hz: u32,
    pub(crate) tracks: bool,
    /// As what the mix is kept in the end.
    pub(crate) format: String,
    pub(super) stage: Stage,
    /// It was interrupted, and ended by a later start of the server.
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// Milliseconds of audio; known from [`Stage::Written`] on, as the files.
    #[serde(default)]
    pub(crate) duration_ms: u64,
    #[serde(default)]
    pub(crate) files: Vec<AudioFile>,
}

/// Returns the folder of a recording.
pub(super) fn folder(root: &Path, account: &str, id: &str) -> PathBuf {
    root.join(account).join(id)
}

impl Sheet {
    /// Reads that of a folder.
    pub(super) fn read(folder: &Path) -> io::Result<Sheet> {
        let bytes = std::fs::read(folder.join(FILE))?;
        serde_json::from_slice(&bytes).map_err(io::Error::from)
    }

    /// Writes it in the place of the one that is there.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        replace(folder, FILE, &text)
    }
}

/// Writes a file that is there as a whole or as it was, whenever the machine stops.
pub(super) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join(name))?;
    sync_folder(folder)
}

/// Makes sure that names in a folder outlast the machine's stop.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
