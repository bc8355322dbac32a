//! What the names of sounds mean: tone scripts and silence at once, prompts and hold music by decoding them, media documents by
//! reading them from the store, URLs by fetching them.
//!
//! Owns the one client that fetches media, its limits and its cache, and what is said (see [`confab_prompts`] for the names
//! of prompts, of sequences of them with numbers and digits, and of hold music). Never plays anything; who asks gets
//! [`Sound`]s, or the reason why there are none. Names mean what they mean for an account ([`Sounds::of`]): its media documents, those
//! of accounts below it, and its own prompts ([`library`]) in front of all others.
//!
//! A name may leave its language open. Whoever knows in which language it is to be said completes it before it comes here, with
//! [`confab_prompts::Phrase::in_language`]; what comes without one is said in English.
//!
//! Decoding blocks, so it runs on the blocking pool. Whatever is fetched is bounded: its size, its duration, the time it takes,
//! the redirects on the way, how many are fetched at a time ([`fetch::AT_A_TIME`]), how many are waited for ([`cache::MOST_UNDER_WAY`]), and the
//! memory of what is kept. So is what comes from the store.

pub(crate) mod address;
mod cache;
mod fetch;
mod library;
pub(crate) mod outbound;
mod own_prompts;
mod prompts;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use confab_api::{MediaProblem, RecordingFiles};
use confab_conference::{AccountId, MediaName};
use confab_documents::Store;
use confab_dsp::ToneScript;
use confab_media::{Repeat, Sound};
use confab_prompts::music_name;

pub(crate) use self::fetch::FetchError;
use self::{
    cache::Cache,
    fetch::{Fetcher, Link},
    library::{AccountPrompts, Asked, Library},
    own_prompts::Own,
    prompts::Prompts,
};
use crate::config;

/// The longest script that may stand for somebody's coming or going.
const LONGEST_TONE: Duration = Duration::from_secs(60);

/// Where sounds come from. Clones share client, caches and prompts.
#[derive(Clone)]
pub(crate) struct Sounds {
    cache: Arc<Cache>,
    prompts: Arc<Prompts>,
    library: Option<Arc<Library>>,
    /// Whose names are meant; without one, no names of the library are understood.
    account: Option<AccountId>,
}

/// What a name of media comes to.
#[derive(Clone, Debug)]
pub(crate) enum Media {
    /// It is there.
    Here(Audible),
    /// It has to be fetched or decoded, by [`Sounds::fetch`].
    Later(Source),
}

/// What is to be heard: sounds one behind another, and how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Audible {
    pub(crate) sounds: Vec<Sound>,
    /// Once, but for hold music, which goes on until it is stopped.
    pub(crate) repeat: Repeat,
}

/// Where sounds are that are not there yet.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// With a web server.
    Remote(Link),
    /// In the store.
    Library(Asked),
    /// A phrase or music: prompts that have to be looked for, or decoded.
    Said(MediaName),
}

impl fmt::Display for Source {
    /// Without what may be secret in a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Remote(link) => link.fmt(f),
            Source::Library(asked) => asked.fmt(f),
            Source::Said(name) => f.write_str(name.as_str()),
        }
    }
}

impl Audible {
    /// Puts something behind it. What goes on for ever makes it do so.
    pub(crate) fn append(&mut self, behind: Audible) {
        self.sounds.extend(behind.sounds);
        if behind.repeat != Repeat::Once {
            self.repeat = behind.repeat;
        }
    }

    fn once(sound: Sound) -> Audible {
        Audible {
            sounds: vec![sound],
            repeat: Repeat::Once,
        }
    }
}

impl Sounds {
    /// Returns what plays URLs and the built-in prompts.
    pub(crate) fn new(config: &config::Fetch) -> Sounds {
        Sounds {
            cache: Arc::new(Cache::new(Fetcher::new(config), config.cache_mb * 1_000_000)),
            prompts: Arc::default(),
            library: None,
            account: None,
        }
    }

    /// Plays the media of a store too.
    pub(crate) fn with_library(self, store: Store, recordings: Arc<dyn RecordingFiles>) -> Sounds {
        Sounds {
            library: Some(Arc::new(Library::new(store, recordings))),
            ..self
        }
    }

    /// Returns what names mean for an account.
    pub(crate) fn of(&self, account: &AccountId) -> Sounds {
        Sounds {
            account: Some(account.clone()),
            ..self.clone()
        }
    }

    fn library(&self) -> Option<(&Library, &AccountId)> {
        self.library.as_deref().zip(self.account.as_ref())
    }

    /// Puts the operator's prompts before the built-in ones. Blocks while it reads and decodes them.
    ///
    /// # Errors
    /// The folder cannot be read. What is wrong with a file in it is told to the log.
    pub(crate) fn with_own_prompts(self, folder: &Path) -> std::io::Result<Sounds> {
        Ok(Sounds {
            prompts: Arc::new(Prompts::new(Own::read(folder)?)),
            ..self
        })
    }

    /// Returns what a name means, without waiting for anything.
    ///
    /// # Errors
    /// The name means nothing, or is no good script or URL, or names an address that may not be asked.
    pub(crate) fn resolve(&self, name: &MediaName) -> Result<Media, MediaProblem> {
        let text = name.as_str();
        if ToneScript::is_script(text) {
            return match ToneScript::parse(text) {
                Ok(script) => Ok(Media::Here(Audible::once(Sound::tones(script)))),
                Err(error) => Err(MediaProblem::Invalid(error.to_string())),
            };
        }
        if Link::is_meant(text) {
            return match self.cache.fetcher().link(text) {
                Ok(link) => Ok(Media::Later(Source::Remote(link))),
                Err(error) => Err(MediaProblem::Invalid(error.to_string())),
            };
        }
        if let Some((library, asked)) = self.asked(text) {
            return Ok(match library.ready(&asked) {
                Some(clip) => Media::Here(Audible::once(Sound::clip(clip))),
                None => Media::Later(Source::Library(asked)),
            });
        }
        let of_account = match self.library() {
            // Whether it is known which prompts the account has.
            Some((library, account)) if music_name(text).is_none() => library.prompts_ready(account),
            _ => Some(Arc::default()),
        };
        let later = || Media::Later(Source::Said(name.clone()));
        let Some(of_account) = of_account else {
            // What is no phrase, or one with a fault, is none with other prompts either.
            return match self.prompts.find(text, &AccountPrompts::default()) {
                None => Err(MediaProblem::Unknown),
                Some(Err(problem @ MediaProblem::Invalid(_))) => Err(problem),
                Some(_) => Ok(later()),
            };
        };
        let found = self.prompts.find(text, &of_account);
        let stored = found.unwrap_or(Err(MediaProblem::Unknown))?;
        let ready = self.prompts.ready(&stored, self.library.as_deref());
        Ok(ready.map_or_else(later, Media::Here))
    }

    fn asked(&self, name: &str) -> Option<(&Library, Asked)> {
        let (library, account) = self.library()?;
        Some((library, Asked::parse(account, name)?))
    }

    /// Says whether a name means something that the account can have played; the store is asked, URLs are not.
    ///
    /// # Errors
    /// As for [`Sounds::resolve`]; and there is no such medium, or no file to it.
    pub(crate) async fn check(&self, name: &MediaName) -> Result<Media, MediaProblem> {
        // Not by what was known a moment ago: another server may have taken in the file.
        if let Some((library, asked)) = self.asked(name.as_str()) {
            match library.file(&asked).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(match library.has_document(&asked).await {
                        Ok(true) => {
                            MediaProblem::Invalid("The media document has no file: upload one".to_owned())
                        }
                        Ok(false) | Err(_) => MediaProblem::Unknown,
                    });
                }
                // It turns out when it is played.
                Err(error) => tracing::warn!(%error, "the store does not say whether there is a medium"),
            }
        }
        match self.resolve(name)? {
            Media::Later(source @ Source::Said(_)) => {
                if let Some((library, account)) = self.library() {
                    let of_account = library.prompts(account).await;
                    let found = self.prompts.find(name.as_str(), &of_account);
                    found.unwrap_or(Err(MediaProblem::Unknown))?;
                }
                Ok(Media::Later(source))
            }
            media => Ok(media),
        }
    }

    /// Says whether a name can stand for a tone when somebody comes or goes.
    ///
    /// # Errors
    /// As for [`Sounds::check`]; and it is something without an end, or a script of more than a minute.
    pub(crate) async fn check_tone(&self, name: &MediaName) -> Result<(), MediaProblem> {
        let is_script = ToneScript::is_script(name.as_str());
        let length = match self.check(name).await? {
            Media::Here(audible) if audible.repeat == Repeat::Forever => None,
            Media::Here(audible) if is_script => audible.sounds.iter().map(Sound::duration).sum(),
            Media::Later(Source::Said(name)) if music_name(name.as_str()).is_some() => None,
            Media::Here(_) | Media::Later(_) => Some(Duration::ZERO),
        };
        match length {
            None => Err("It never ends: nothing that is played behind it would be heard".to_owned()),
            Some(length) if length > LONGEST_TONE => {
                let (most, length) = (LONGEST_TONE.as_secs(), length.as_secs());
                Err(format!(
                    "It lasts {length} s, and nothing behind it would be heard before: {most} s at most"
                ))
            }
            Some(_) => Ok(()),
        }
        .map_err(MediaProblem::Invalid)
    }

    /// Fetches what a URL names, from the cache if it may, or reads and decodes what is stored. Who else waits for a URL shares the one fetch; it
    /// ends when nobody waits any more.
    ///
    /// # Errors
    /// [`FetchError`] says why there is nothing to hear.
    pub(crate) async fn fetch(&self, source: &Source) -> Result<Audible, FetchError> {
        match source {
            Source::Remote(link) => {
                let clip = self.cache.get(link).await?;
                Ok(Audible::once(Sound::clip(clip)))
            }
            Source::Library(asked) => {
                let library = self.library.as_deref().ok_or(FetchError::Missing)?;
                let clip = library.get(asked).await?;
                Ok(Audible::once(Sound::clip(clip)))
            }
            Source::Said(name) => self.say(name).await,
        }
    }

    async fn say(&self, name: &MediaName) -> Result<Audible, FetchError> {
        let of_account = match self.library() {
            Some((library, account)) => library.prompts(account).await,
            None => Arc::default(),
        };
        let find = |of_account: &AccountPrompts| {
            let found = self.prompts.find(name.as_str(), of_account);
            found.and_then(Result::ok).ok_or(FetchError::Missing)
        };
        let stored = find(&of_account)?;
        match self.prompts.decode(&stored, self.library.as_deref()).await {
            Err(error) if stored.is_of_account() => {
                tracing::warn!(%error, name = name.as_str(), "an account's own prompt cannot be had: the built-in one is heard");
                let stored = find(&AccountPrompts::default())?;
                self.prompts.decode(&stored, None).await
            }
            decoded => decoded,
        }
    }

    /// Returns which built-in prompts were decoded.
    #[cfg(test)]
    fn prompts_decoded(&self) -> Vec<(&'static str, &'static str)> {
        self.prompts.decoded()
    }
}
