//! Owns which sounds a conference document may name. Never plays one, and does not judge the rest of
//! the document.

use confab_conference::{AccountId, MediaName};
use confab_documents::{Body, Rule, Violation, Violations};
use serde_json::Value;

use crate::live::{LiveConferences, MediaProblem};

/// The keys that name a sound which has to come to an end: something is to be heard behind it.
const KEYS: &[&[&str]] = &[
    &["play_entry_tone"],
    &["play_exit_tone"],
    &["profile", "enter-sound"],
    &["profile", "exit-sound"],
    &["profile", "alone-sound"],
    &["profile", "muted-sound"],
    &["profile", "unmuted-sound"],
    &["profile", "deaf-sound"],
    &["profile", "undeaf-sound"],
    &["profile", "kicked-sound"],
];

/// The keys that name a sound which may go on for ever.
const ENDLESS: &[&[&str]] = &[&["profile", "moh-sound"], &["profile", "perpetual-sound"]];

/// The keys of an account's configuration that name a sound of coming and going.
const OF_CONFIGURATION: &[&[&str]] = &[
    &["entry_tone"],
    &["exit_tone"],
    &["moderator_entry_tone"],
    &["moderator_exit_tone"],
];

/// Returns what is wrong with the sounds that a document, or a change of one, names. A value that is no text is for the schema to
/// judge.
pub(crate) async fn check(live: &dyn LiveConferences, account: &AccountId, document: &Body) -> Violations {
    check_keys(live, account, document, &[KEYS, ENDLESS].concat()).await
}

/// As [`check`], of an account's configuration without its profiles.
pub(crate) async fn check_configuration(
    live: &dyn LiveConferences,
    account: &AccountId,
    configuration: &Body,
) -> Violations {
    check_keys(live, account, configuration, OF_CONFIGURATION).await
}

async fn check_keys(
    live: &dyn LiveConferences,
    account: &AccountId,
    document: &Body,
    keys: &[&[&str]],
) -> Violations {
    let mut violations = Violations::default();
    for path in keys {
        let [first, rest @ ..] = path else { continue };
        let value = rest
            .iter()
            .try_fold(document.get(*first), |value, key| {
                value.map(|value| value.get(key))
            })
            .flatten();
        let Some(given @ Value::String(name)) = value else {
            continue;
        };
        // The words switch the tone on and off, and no text is no sound.
        if ["", "true", "false"].contains(&name.as_str()) || is_of_library(name) {
            continue;
        }
        let media = MediaName::from(name.as_str());
        let checked = if ENDLESS.contains(path) {
            live.check_media(account, &media).await
        } else {
            live.check_tone(account, &media).await
        };
        let message = match checked {
            Ok(()) => continue,
            Err(MediaProblem::Invalid(why)) => why,
            Err(MediaProblem::Unknown) => {
                "Neither a tone or silence, nor an http or https URL, nor a media or prompt id".to_owned()
            }
        };
        violations.push(Violation::new(path.join("."), Rule::Invalid, message).with_value(given));
    }
    violations
}

/// Returns whether a name has the form of something that a library of media holds: an id, with or without its account, a prompt's
/// id, or a text to be spoken. They are kept whether there is such a thing or not: KAZOO keeps them too, and what is there when they are
/// to be heard is heard.
fn is_of_library(name: &str) -> bool {
    let is_id = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if let Some(path) = name.strip_prefix('/') {
        return path
            .split_once('/')
            .is_some_and(|(account, id)| is_id(account) && (is_id(id) || is_prompt(id, is_word)));
    }
    let spoken = name
        .strip_prefix("say:")
        .is_some_and(|text| !text.trim().is_empty());
    let system = name.strip_prefix("system_media/").is_some_and(is_word);
    spoken || system || is_id(name) || is_prompt(name, is_word)
}

/// A prompt's id begins with the word for its group: `conf-muted`, `vm-greeting`.
fn is_prompt(name: &str, is_word: impl Fn(&str) -> bool) -> bool {
    name.split_once('-')
        .is_some_and(|(group, rest)| is_word(group) && is_word(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_holds_has_its_forms() {
        let id = "0123456789abcdef0123456789abcdef";
        for name in [
            id,
            &format!("/{id}/{id}"),
            &format!("/{id}/conf-muted"),
            "conf-muted",
            "conf-enter_conf_pin",
            "system_media/en-us",
            "say:Somebody has come",
        ] {
            assert!(is_of_library(name), "{name}");
        }
        for name in [
            "x",
            "beep",
            "-",
            "conf-",
            "say:",
            "say: ",
            "/x/y",
            "file:///etc/passwd",
            "local_stream://moh",
            "ftp://conf-muted",
            "tone_stream:%(1,2,3)",
            "conf muted",
            &id[1..],
        ] {
            assert!(!is_of_library(name), "{name}");
        }
    }
}
