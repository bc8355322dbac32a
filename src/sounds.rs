//! What the names of sounds mean: tone scripts and silence at once, prompts and hold music by decoding them, URLs by
//! fetching them.
//!
//! Owns the one client that fetches media, its limits and its cache, and what is said (see [`confab_prompts`] for the names
//! of prompts, of sequences of them with numbers and digits, and of hold music). Never plays anything; who asks gets
//! [`Sound`]s, or the reason why there are none. There is no library of media documents in this version: an account
//! cannot have prompts of its own yet, and every other name is unknown.
//!
//! A name may leave its language open. Whoever knows in which language it is to be said completes it before it comes here, with
//! [`confab_prompts::Phrase::in_language`]; what comes without one is said in English.
//!
//! Decoding blocks, so it runs on the blocking pool. Whatever is fetched is bounded: its size, its duration, the time it takes,
//! the redirects on the way, how many are fetched at a time ([`fetch::AT_A_TIME`]), how many are waited for ([`cache::MOST_UNDER_WAY`]), and the
//! memory of what is kept.

pub(crate) mod address;
mod cache;
mod fetch;
pub(crate) mod outbound;
mod own_prompts;
mod prompts;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use confab_api::MediaProblem;
use confab_conference::MediaName;
use confab_dsp::ToneScript;
use confab_media::{Repeat, Sound};

pub(crate) use self::fetch::FetchError;
use self::{
    cache::Cache,
    fetch::{Fetcher, Link},
    own_prompts::Own,
    prompts::{Prompts, Stored},
};
use crate::config;

/// The longest script that may stand for somebody's coming or going.
const LONGEST_TONE: Duration = Duration::from_secs(60);

/// Where sounds come from. Clones share client, cache and prompts.
#[derive(Clone)]
pub(crate) struct Sounds {
    cache: Arc<Cache>,
    prompts: Arc<Prompts>,
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
    /// In the program, to be decoded.
    Stored(Stored),
}

impl fmt::Display for Source {
    /// Without what may be secret in a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Remote(link) => link.fmt(f),
            Source::Stored(_) => f.write_str("a built-in prompt"),
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
        }
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
        let stored = self.prompts.find(text).unwrap_or(Err(MediaProblem::Unknown))?;
        Ok(match self.prompts.ready(&stored) {
            Some(audible) => Media::Here(audible),
            None => Media::Later(Source::Stored(stored)),
        })
    }

    /// Says whether a name can stand for a tone when somebody comes or goes.
    ///
    /// # Errors
    /// As for [`Sounds::resolve`]; and it is something without an end, or a script of more than a minute.
    pub(crate) fn check_tone(&self, name: &MediaName) -> Result<(), MediaProblem> {
        let length = match self.resolve(name)? {
            Media::Here(audible) if audible.repeat == Repeat::Forever => None,
            Media::Here(audible) => audible.sounds.iter().map(Sound::duration).sum(),
            Media::Later(Source::Stored(stored)) if stored.is_endless() => None,
            Media::Later(_) => Some(Duration::ZERO),
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

    /// Fetches what a URL names, from the cache if it may, or decodes a prompt. Who else waits for a URL shares the one fetch; it
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
            Source::Stored(stored) => self.prompts.decode(stored).await,
        }
    }

    /// Returns which built-in prompts were decoded.
    #[cfg(test)]
    fn prompts_decoded(&self) -> Vec<(&'static str, &'static str)> {
        self.prompts.decoded()
    }
}
