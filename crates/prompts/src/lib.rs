//! What the server says to callers: the built-in prompts and hold music, the languages, numbers and digits as sequences of
//! prompts, and the names by which all of it is asked for.
//!
//! The audio is part of the program: files of the folder `media` of the repository, made there by `media/generate` from texts.
//!
//! # What it does not do
//! It decodes nothing, plays nothing and does no I/O. Prompts that an operator puts in the place of the built-in ones are no
//! business of this crate: whoever looks up a prompt follows [`languages`] and asks his own store first at each step.
//!
//! # Names
//! What is played has a name. These are the names of what is said ([`Phrase`]):
//!
//! | Name | Meaning |
//! |---|---|
//! | `conf-muted` | the prompt, in the language of whoever hears it |
//! | `prompt:conf-muted` | the same |
//! | `prompt:de-de/conf-muted` | the prompt in this language |
//! | `prompt:en-us/conf-there_are+say:number:12+conf-callers` | several parts one behind another |
//! | `say:number:12`, `say:digits:40*7#` | a number, digits one by one |
//! | `prompt://<account>/conf-muted/de-de` | the form that KAZOO uses; the language may be left out |
//! | `system_media/conf-muted`, `/system_media/en-us%2Fconf-muted` | another one |
//!
//! and these of hold music ([`music_name`]): `moh:default`, `local_stream://default` (or `local_stream://moh`).
//!
//! # Example
//! A conference tells somebody how many are there, in a language of which one has to know nothing:
//! ```
//! use confab_prompts::{Phrase, find};
//!
//! let phrase = Phrase::new()
//!     .prompt("conf-there_are")
//!     .number(121)
//!     .prompt("conf-callers")
//!     .in_language("de-at");
//! let name = phrase.to_string();
//! assert_eq!(name, "prompt:de-at/conf-there_are+say:number:121+conf-callers");
//!
//! // Whoever plays it:
//! let phrase = Phrase::parse(&name).expect("a name of something said")?;
//! assert_eq!(phrase.ids(), ["conf-there_are", "number-100", "number-21", "conf-callers"]);
//! let said: Vec<_> = phrase.ids().iter().filter_map(|id| find(phrase.language()?, id)).map(|prompt| prompt.text).collect();
//! assert_eq!(said, ["Es sind", "einhundert", "einundzwanzig", "Personen in dieser Konferenz."]);
//! # Ok::<(), confab_prompts::PhraseError>(())
//! ```

#[doc(hidden)]
pub mod fuzz;
mod language;
mod numbers;
mod phrase;

pub use language::{DEFAULT_LANGUAGE, is_language, languages};
pub use numbers::{digits, number};
pub use phrase::{MAX_PARTS, Phrase, PhraseError, is_id, music_name};

/// One built-in prompt.
#[derive(Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The language it is spoken in, such as `en-us`.
    pub language: &'static str,
    /// Its name, the same in every language.
    pub id: &'static str,
    /// What is said.
    pub text: &'static str,
    /// An Ogg Vorbis file: one channel, 16 kHz, −23 LUFS.
    pub audio: &'static [u8],
}

/// A built-in piece of hold music, to be repeated without end.
#[derive(Debug, PartialEq, Eq)]
pub struct Music {
    /// Its name.
    pub name: &'static str,
    /// A FLAC file: one channel, 16 kHz, −30 LUFS, as quiet at its end as at its beginning.
    pub audio: &'static [u8],
}

/// The prompts of one language, in the order of their ids.
pub(crate) struct BuiltIn {
    language: &'static str,
    prompts: &'static [Prompt],
}

mod table {
    use super::{BuiltIn, Music, Prompt};

    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}

/// Returns the built-in prompt of exactly this language.
pub fn built_in(language: &str, id: &str) -> Option<&'static Prompt> {
    let of_language = table::LANGUAGES
        .iter()
        .find(|built_in| built_in.language == language)?;
    let at = of_language
        .prompts
        .binary_search_by(|prompt| prompt.id.cmp(id))
        .ok()?;
    of_language.prompts.get(at)
}

/// Returns the built-in prompt in the language or in the next best, see [`languages`].
pub fn find(language: &str, id: &str) -> Option<&'static Prompt> {
    languages(language, &built_in_languages())
        .iter()
        .find_map(|language| built_in(language, id))
}

/// Returns the languages that have built-in prompts, sorted.
pub fn built_in_languages() -> Vec<&'static str> {
    table::LANGUAGES
        .iter()
        .map(|built_in| built_in.language)
        .collect()
}

/// Returns the ids of the built-in prompts, sorted: those of [`DEFAULT_LANGUAGE`], which has them all.
pub fn ids() -> impl Iterator<Item = &'static str> {
    let prompts = table::LANGUAGES
        .iter()
        .find(|built_in| built_in.language == DEFAULT_LANGUAGE)
        .map_or(&[][..], |built_in| built_in.prompts);
    prompts.iter().map(|prompt| prompt.id)
}

/// Returns built-in hold music by its name; `default` is always there.
pub fn music(name: &str) -> Option<&'static Music> {
    table::MUSIC.iter().find(|music| music.name == name)
}

#[cfg(test)]
mod tests;
