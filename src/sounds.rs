//! What the names of sounds mean: tone scripts and silence at once, URLs by fetching them.
//!
//! Owns the one client that fetches media, its limits and its cache. Never plays anything; who asks gets
//! [`Sound`]s, or the reason why there are none. There is no library of media documents in this version: every other name is
//! unknown.
//!
//! Decoding blocks, so it runs on the blocking pool. Whatever is fetched is bounded: its size, its duration, the time it takes,
//! the redirects on the way, how many are fetched at a time ([`fetch::AT_A_TIME`]), how many are waited for ([`cache::MOST_UNDER_WAY`]), and the
//! memory of what is kept.

pub(crate) mod address;
mod cache;
mod fetch;
pub(crate) mod outbound;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use confab_api::MediaProblem;
use confab_conference::MediaName;
use confab_dsp::ToneScript;
use confab_media::Sound;

pub(crate) use self::fetch::FetchError;
use self::{
    cache::Cache,
    fetch::{Fetcher, Link},
};
use crate::config;

/// Where sounds come from. Clones share client and cache.
#[derive(Clone)]
pub(crate) struct Sounds {
    cache: Arc<Cache>,
}

/// What a name of media comes to.
#[derive(Clone, Debug)]
pub(crate) enum Media {
    /// It is there.
    Here(Vec<Sound>),
    /// It has to be fetched, by [`Sounds::fetch`].
    Remote(Link),
}

impl Sounds {
    pub(crate) fn new(config: &config::Fetch) -> Sounds {
        Sounds {
            cache: Arc::new(Cache::new(Fetcher::new(config), config.cache_mb * 1_000_000)),
        }
    }

    /// Returns what a name means, without waiting for anything.
    ///
    /// # Errors
    /// The name means nothing, or is no good script or URL, or names an address that may not be asked.
    pub(crate) fn resolve(&self, name: &MediaName) -> Result<Media, MediaProblem> {
        let text = name.as_str();
        if ToneScript::is_script(text) {
            return match ToneScript::parse(text) {
                Ok(script) => Ok(Media::Here(vec![Sound::tones(script)])),
                Err(error) => Err(MediaProblem::Invalid(error.to_string())),
            };
        }
        if Link::is_meant(text) {
            return match self.cache.fetcher().link(text) {
                Ok(link) => Ok(Media::Remote(link)),
                Err(error) => Err(MediaProblem::Invalid(error.to_string())),
            };
        }
        Err(MediaProblem::Unknown)
    }

    /// Says whether a name can stand for a tone when somebody comes or goes.
    ///
    /// # Errors
    /// As for [`Sounds::resolve`]; and it is a script without an end.
    pub(crate) fn check_tone(&self, name: &MediaName) -> Result<(), MediaProblem> {
        self.resolve(name)?;
        let text = name.as_str();
        let endless = |script: ToneScript| script.duration().is_none();
        if ToneScript::is_script(text) && ToneScript::parse(text).is_ok_and(endless) {
            let why = "It never ends: nothing that is played behind it would be heard";
            return Err(MediaProblem::Invalid(why.to_owned()));
        }
        Ok(())
    }

    /// Fetches what a URL names, from the cache if it may. Who else waits for it shares the one fetch; it ends when
    /// nobody waits any more.
    ///
    /// # Errors
    /// [`FetchError`] says why there is nothing to hear.
    pub(crate) async fn fetch(&self, link: &Link) -> Result<Vec<Sound>, FetchError> {
        self.cache.get(link).await.map(|clip| vec![Sound::clip(clip)])
    }
}
