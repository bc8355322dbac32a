//! The names of what is said.

use std::fmt;

use crate::{DEFAULT_LANGUAGE, digits, is_language, number};

/// Parts that a phrase has at most.
pub const MAX_PARTS: usize = 32;

/// Digits that one part has at most.
const MAX_DIGITS: usize = 32;

/// Characters that the id of a prompt has at most.
const LONGEST_ID: usize = 64;

/// Why a name that should be something said is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhraseError {
    /// A part is neither the id of a prompt nor one of the forms of `say:`.
    #[error("{0:?} is no id of a prompt (letters, digits, - and _)")]
    Id(String),
    /// `say:number:` without a number.
    #[error("{0:?} is no number from 0 to 4294967295")]
    Number(String),
    /// `say:digits:` with other characters than `0` to `9`, `*` and `#`, with none or with too many.
    #[error("{0:?} is not 1 to {MAX_DIGITS} of 0-9, * and #")]
    Digits(String),
    /// `say:` with something else: there is no speech from free text.
    #[error("{0:?} cannot be said: only say:number:… and say:digits:… can")]
    Say(String),
    /// More than [`MAX_PARTS`] parts.
    #[error("more than {MAX_PARTS} parts")]
    TooLong,
}

/// Something said: prompts, numbers and digits one behind another, perhaps in a certain language.
///
/// Its [`Display`](fmt::Display) is its name, which [`parse`](Phrase::parse) understands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Phrase {
    language: Option<String>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Prompt(String),
    Number(u32),
    Digits(String),
}

impl Phrase {
    /// Returns a phrase that says nothing yet.
    pub fn new() -> Phrase {
        Phrase::default()
    }

    /// Adds a prompt by its id.
    #[must_use]
    pub fn prompt(mut self, id: &str) -> Phrase {
        self.parts.push(Part::Prompt(id.to_ascii_lowercase()));
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u32) -> Phrase {
        self.parts.push(Part::Number(number));
        self
    }

    /// Adds digits that are read out one by one: `0` to `9`, `*` and `#`; others are not said.
    #[must_use]
    pub fn digits(mut self, digits: &str) -> Phrase {
        self.parts.push(Part::Digits(digits.to_owned()));
        self
    }

    /// Gives the phrase a language unless it has one. What is no tag of a language counts as [`DEFAULT_LANGUAGE`].
    #[must_use]
    pub fn in_language(mut self, language: &str) -> Phrase {
        self.language.get_or_insert_with(|| tidy(language));
        self
    }

    /// Returns the language it is to be said in, `None` where that is left to whoever plays it.
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    /// Returns the ids of the prompts to be played one behind another.
    pub fn ids(&self) -> Vec<String> {
        let ids = self.parts.iter().map(|part| match part {
            Part::Prompt(id) => vec![id.clone()],
            Part::Number(value) => number(*value),
            Part::Digits(text) => digits(text),
        });
        ids.flatten().collect()
    }

    /// Reads a name, of the forms that the crate's description lists. `None` for a name that means something else, such as
    /// a URL or a script of tones. Any word that could be the id of a prompt counts as one.
    ///
    /// # Errors
    /// [`PhraseError`] for a name that is meant as something said and is not understood.
    pub fn parse(name: &str) -> Option<Result<Phrase, PhraseError>> {
        if let Some(rest) = name.strip_prefix("prompt://") {
            return Some(kazoo(rest));
        }
        if let Some(rest) = name.strip_prefix("prompt:") {
            return Some(sequence(rest));
        }
        if name.starts_with("say:") {
            return Some(part(name).map(Phrase::of));
        }
        if let Some(rest) = name
            .strip_prefix('/')
            .unwrap_or(name)
            .strip_prefix("system_media/")
        {
            return Some(sequence(&rest.replace("%2F", "/").replace("%2f", "/")));
        }
        is_id(name).then(|| Ok(Phrase::new().prompt(name)))
    }

    fn of(part: Part) -> Phrase {
        Phrase {
            language: None,
            parts: vec![part],
        }
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("prompt:")?;
        if let Some(language) = &self.language {
            write!(f, "{language}/")?;
        }
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                f.write_str("+")?;
            }
            match part {
                Part::Prompt(id) => f.write_str(id)?,
                Part::Number(number) => write!(f, "say:number:{number}")?,
                Part::Digits(digits) => write!(f, "say:digits:{digits}")?,
            }
        }
        Ok(())
    }
}

/// Returns whether a text can be the id of a prompt: 1 to 64 letters, digits, `-` and `_`.
pub fn is_id(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(may)
}

/// Returns the name of the hold music that a name of media stands for, `None` if it is none.
pub fn music_name(name: &str) -> Option<&str> {
    match name.strip_prefix("moh:") {
        Some(music) => Some(music),
        None => match name.strip_prefix("local_stream://")? {
            "moh" => Some("default"),
            music => Some(music),
        },
    }
}

/// `[language/]part[+part…]`
fn sequence(text: &str) -> Result<Phrase, PhraseError> {
    let (language, text) = match text.split_once('/') {
        Some((language, text)) => (Some(tidy(language)), text),
        None => (None, text),
    };
    let mut parts = Vec::new();
    for text in text.split('+') {
        if parts.len() == MAX_PARTS {
            return Err(PhraseError::TooLong);
        }
        parts.push(part(text)?);
    }
    Ok(Phrase { language, parts })
}

/// `account/id[/language]`. The account says whose prompt takes the place of the built-in one: here, that of whoever has it
/// played.
fn kazoo(text: &str) -> Result<Phrase, PhraseError> {
    let (_, text) = text
        .split_once('/')
        .ok_or_else(|| PhraseError::Id(shortened(text)))?;
    let (id, language) = match text.split_once('/') {
        Some((id, language)) => (id, Some(tidy(language))),
        None => (text, None),
    };
    let parts = vec![part(id)?];
    Ok(Phrase { language, parts })
}

fn part(text: &str) -> Result<Part, PhraseError> {
    if let Some(said) = text.strip_prefix("say:") {
        return if let Some(number) = said.strip_prefix("number:") {
            let all_digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = all_digits.then(|| number.parse().ok()).flatten();
            number
                .map(Part::Number)
                .ok_or_else(|| PhraseError::Number(shortened(said)))
        } else if let Some(digits) = said.strip_prefix("digits:") {
            let sayable = digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"*#".contains(&byte));
            ((1..=MAX_DIGITS).contains(&digits.len()) && sayable)
                .then(|| Part::Digits(digits.to_owned()))
                .ok_or_else(|| PhraseError::Digits(shortened(digits)))
        } else {
            Err(PhraseError::Say(shortened(said)))
        };
    }
    if !is_id(text) {
        return Err(PhraseError::Id(shortened(text)));
    }
    Ok(Part::Prompt(text.to_ascii_lowercase()))
}

/// Returns the tag of a language as it is looked up. What is no tag at all, such as a mistyped setting of a conference, is a language
/// that is not there: the default one is spoken in its place.
fn tidy(language: &str) -> String {
    if !is_language(language) {
        return DEFAULT_LANGUAGE.to_owned();
    }
    language.to_ascii_lowercase().replace('_', "-")
}

/// What is quoted of a name in an error.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_ID).collect()
}
