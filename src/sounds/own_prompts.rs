//! The operator's folder of prompts and hold music (`media.prompts`), read once at start.
//!
//! Its files are `<folder>/<language>/<id>.<kind>` and `<folder>/music/<name>.<kind>`, the kind being one of [`KINDS`]. Files of
//! other kinds are left alone. An id need not be one of the built-in prompts: what is there can be played by its name.

use std::collections::{HashMap, hash_map::Entry};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use confab_media::Clip;
use confab_prompts::{DEFAULT_LANGUAGE, built_in, is_id, is_language};
use confab_recording::ImportLimits;

use super::prompts::to_clip;

/// Kinds of files that are taken, as their names end. What they are is found out from the content.
const KINDS: [&str; 4] = ["wav", "flac", "ogg", "mp3"];

/// How large and how long one file may be.
const LIMITS: ImportLimits = ImportLimits {
    bytes: 20_000_000,
    duration: Duration::from_secs(600),
};

/// Samples that all files have together at most: half an hour at 48 kHz, an hour and a half at 16 kHz.
const MOST_SAMPLES: usize = 86_400_000;

/// What the folder has.
#[derive(Default)]
pub(super) struct Own {
    /// By language, or [`Own::MUSIC`], and by id.
    files: HashMap<String, HashMap<String, Clip>>,
}

impl Own {
    /// Folder of the hold music among those of the languages.
    pub(super) const MUSIC: &str = "music";

    /// Reads the folder. What cannot be used is told to the log, file by file, and left out: the built-in prompt is heard in
    /// its place. Blocks.
    ///
    /// # Errors
    /// The folder itself cannot be read.
    pub(super) fn read(folder: &Path) -> io::Result<Own> {
        let mut reading = Reading::default();
        for (name, path) in entries(folder)? {
            let tag = name.to_ascii_lowercase().replace('_', "-");
            if !path.is_dir() {
                continue;
            }
            if tag != Own::MUSIC && !is_language(&tag) {
                reading.refuse(&path, "is no language such as en-us, nor music");
                continue;
            }
            match entries(&path) {
                Ok(files) => reading.take(&tag, files),
                Err(error) => reading.refuse(&path, &error.to_string()),
            }
        }
        let own = reading.own;
        let count: usize = own.files.values().map(HashMap::len).sum();
        let (folder, refused) = (folder.display(), reading.refused);
        if refused > 0 {
            tracing::warn!(%folder, count, refused, "own prompts are there, some files are not used");
        } else {
            tracing::info!(%folder, count, "own prompts are there");
        }
        Ok(own)
    }

    pub(super) fn get(&self, language: &str, id: &str) -> Option<Clip> {
        self.files.get(language)?.get(id).cloned()
    }

    /// Returns the languages that have files.
    pub(super) fn languages(&self) -> impl Iterator<Item = &str> {
        self.files
            .keys()
            .map(String::as_str)
            .filter(|name| *name != Own::MUSIC)
    }
}

#[derive(Default)]
struct Reading {
    own: Own,
    samples: usize,
    refused: usize,
}

impl Reading {
    fn take(&mut self, tag: &str, files: Vec<(String, PathBuf)>) {
        for (name, path) in files {
            let Some((id, kind)) = name.rsplit_once('.') else {
                continue;
            };
            if !KINDS.contains(&kind.to_ascii_lowercase().as_str()) {
                continue;
            }
            let id = id.to_ascii_lowercase();
            if !is_id(&id) {
                self.refuse(&path, "its name is no id of a prompt (letters, digits, - and _)");
                continue;
            }
            // Perhaps a jingle, perhaps a misspelt id.
            if tag != Own::MUSIC && built_in(DEFAULT_LANGUAGE, &id).is_none() {
                tracing::info!(path = %path.display(), "no built-in prompt has this id: it is heard where it is asked for by name");
            }
            match self.clip(&path) {
                Ok(clip) => {
                    if let Entry::Vacant(place) = self.own.files.entry(tag.to_owned()).or_default().entry(id)
                    {
                        self.samples += clip.samples().len();
                        place.insert(clip);
                    } else {
                        self.refuse(&path, "there is another file of this name before it");
                    }
                }
                Err(why) => self.refuse(&path, &why),
            }
        }
    }

    fn clip(&self, path: &Path) -> Result<Clip, String> {
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(|error| error.to_string())?;
        file.take(LIMITS.bytes as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        let clip = to_clip(&bytes, LIMITS).map_err(|error| error.to_string())?;
        if self.samples + clip.samples().len() > MOST_SAMPLES {
            return Err(format!(
                "there are more than {MOST_SAMPLES} samples before it and in it"
            ));
        }
        Ok(clip)
    }

    fn refuse(&mut self, path: &Path, why: &str) {
        self.refused += 1;
        tracing::warn!(path = %path.display(), why, "a file of media.prompts is not used");
    }
}

/// Returns what a folder holds, sorted by name. Names that are not UTF-8 are left out.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            entries.push((name.to_owned(), path));
        }
    }
    entries.sort();
    Ok(entries)
}
