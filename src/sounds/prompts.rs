//! What is said, and hold music: the built-in files and those of the operator's folder. Owns their decoded samples. An account's own
//! prompts come before them; their samples are the [`Library`]'s.
//!
//! The operator's files (`media.prompts`) are read and decoded at start, so that whatever is wrong with them is told then. The built-in
//! ones are decoded when they are first asked for, on the blocking pool, and kept: all of them together, and never more than them,
//! are about 19 MB of samples (and in proportion for each other rate of a mix they are played in).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use confab_api::MediaProblem;
use confab_documents::MediaFile;
use confab_media::{Clip, Repeat, Sound};
use confab_prompts::{DEFAULT_LANGUAGE, Phrase, built_in, built_in_languages, languages, music, music_name};
use confab_recording::{ImportError, ImportLimits, import};
use tokio::sync::OnceCell;

use super::library::{AccountPrompts, Library};
use super::{Audible, FetchError, own_prompts::Own};

/// All that can be said, and all hold music.
#[derive(Default)]
pub(super) struct Prompts {
    own: Own,
    /// The built-in files that were asked for, by the folder and the name of each.
    decoded: Mutex<HashMap<Key, Arc<OnceCell<Clip>>>>,
}

pub(super) type Key = (&'static str, &'static str);

/// Prompts or music that were found and may have to be decoded before they are heard.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    files: Vec<File>,
    repeat: Repeat,
}

#[derive(Clone, Debug)]
enum File {
    Own(Clip),
    Account(MediaFile),
    BuiltIn(Key, &'static [u8]),
}

impl Prompts {
    pub(super) fn new(own: Own) -> Prompts {
        Prompts {
            own,
            decoded: Mutex::default(),
        }
    }

    /// Returns what a name means for an account that has these prompts. `None` when it is no name of a prompt, a phrase or hold music.
    ///
    /// # Errors
    /// It is one, and there is nothing of this name, or the name is not understood.
    pub(super) fn find(&self, name: &str, account: &AccountPrompts) -> Option<Result<Stored, MediaProblem>> {
        if let Some(music) = music_name(name) {
            return Some(self.music(music).ok_or(MediaProblem::Unknown));
        }
        Some(match Phrase::parse(name)? {
            Ok(phrase) => self.phrase(&phrase, account).ok_or(MediaProblem::Unknown),
            Err(error) => Err(MediaProblem::Invalid(error.to_string())),
        })
    }

    fn music(&self, name: &str) -> Option<Stored> {
        let own = self.own.get(Own::MUSIC, name).map(File::Own);
        let built_in = || music(name).map(|music| File::BuiltIn((Own::MUSIC, music.name), music.audio));
        Some(Stored {
            files: vec![own.or_else(built_in)?],
            repeat: Repeat::Forever,
        })
    }

    /// Finds every part of a phrase in one language: what is missing in it is missing in all of the phrase, so that no sentence
    /// changes its language on the way. A phrase that no language has as a whole is put together from what there is.
    fn phrase(&self, phrase: &Phrase, account: &AccountPrompts) -> Option<Stored> {
        let mut available = built_in_languages();
        available.extend(self.own.languages());
        available.extend(account.languages());
        let steps = languages(phrase.language().unwrap_or(DEFAULT_LANGUAGE), &available);
        let ids = phrase.ids();
        let whole = |step: &String| ids.iter().map(|id| self.prompt(step, id, account)).collect();
        let pieces = || {
            let anywhere = |id: &String| steps.iter().find_map(|step| self.prompt(step, id, account));
            ids.iter().map(anywhere).collect()
        };
        Some(Stored {
            files: steps.iter().find_map(whole).or_else(pieces)?,
            repeat: Repeat::Once,
        })
    }

    /// Returns a prompt of exactly this language: the account's before the operator's before the built-in one.
    fn prompt(&self, language: &str, id: &str, account: &AccountPrompts) -> Option<File> {
        let of_account = account.get(language, id).cloned().map(File::Account);
        let own = of_account.or_else(|| self.own.get(language, id).map(File::Own));
        own.or_else(|| {
            built_in(language, id).map(|prompt| File::BuiltIn((prompt.language, prompt.id), prompt.audio))
        })
    }

    /// Returns what is to be heard if all of it is decoded.
    pub(super) fn ready(&self, stored: &Stored, library: Option<&Library>) -> Option<Audible> {
        let clip = |file: &File| match file {
            File::Own(clip) => Some(clip.clone()),
            File::Account(file) => library?.clip_ready(file),
            File::BuiltIn(key, _) => self.cell(*key).get().cloned(),
        };
        let clips: Option<Vec<Clip>> = stored.files.iter().map(clip).collect();
        Some(stored.audible(clips?))
    }

    /// Decodes what is not decoded, on the blocking pool.
    ///
    /// # Errors
    /// The decoder failed, or a file of an account cannot be had.
    pub(super) async fn decode(
        &self,
        stored: &Stored,
        library: Option<&Library>,
    ) -> Result<Audible, FetchError> {
        let mut clips = Vec::with_capacity(stored.files.len());
        for file in &stored.files {
            clips.push(match file {
                File::Own(clip) => clip.clone(),
                File::Account(file) => library.ok_or(FetchError::Missing)?.clip(file).await?,
                File::BuiltIn(key, bytes) => {
                    let cell = self.cell(*key);
                    cell.get_or_try_init(|| decode(bytes)).await?.clone()
                }
            });
        }
        Ok(stored.audible(clips))
    }

    #[cfg(test)]
    pub(super) fn decoded(&self) -> Vec<Key> {
        let decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<Key> = decoded
            .iter()
            .filter(|(_, cell)| cell.initialized())
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        keys
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<Clip>> {
        // Locked for plain changes of a map: what a panic leaves behind is whole.
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(decoded.entry(key).or_default())
    }
}

impl Stored {
    /// Returns whether a file of an account is in it.
    pub(super) fn is_of_account(&self) -> bool {
        self.files.iter().any(|file| matches!(file, File::Account(_)))
    }

    fn audible(&self, clips: Vec<Clip>) -> Audible {
        Audible {
            sounds: clips.into_iter().map(Sound::clip).collect(),
            repeat: self.repeat,
        }
    }
}

async fn decode(bytes: &'static [u8]) -> Result<Clip, FetchError> {
    let decoding = tokio::task::spawn_blocking(|| to_clip(bytes, ImportLimits::default()));
    Ok(decoding.await.map_err(|_| FetchError::Decoder)??)
}

/// Decodes a file. Blocks.
pub(super) fn to_clip(bytes: &[u8], limits: ImportLimits) -> Result<Clip, ImportError> {
    let audio = import(bytes, limits)?;
    Clip::new(audio.rate_hz, audio.samples).ok_or(ImportError::Rate(audio.rate_hz))
}
