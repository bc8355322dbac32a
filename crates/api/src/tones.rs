//! Owns which sounds a conference document may name. Never plays one, and does not judge the rest of
//! the document.

use confab_conference::AccountId;
use confab_documents::{Body, Rule, Violation, Violations, named_sound};
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

/// The keys that name a sound which may go on for ever: music, and what is broken off after a while.
const ENDLESS: &[&[&str]] = &[
    &["max_members_media"],
    &["profile", "moh-sound"],
    &["profile", "perpetual-sound"],
    &["profile", "member-enter-sound"],
    &["profile", "locked-sound"],
    &["profile", "max-members-sound"],
];

/// The keys that may hold a switch in the place of a sound.
const SWITCHES: &[&[&str]] = &[&["play_entry_tone"], &["play_exit_tone"]];

/// The keys of an account's configuration that name a sound of coming and going.
const OF_CONFIGURATION: &[&[&str]] = &[
    &["entry_tone"],
    &["exit_tone"],
    &["moderator_entry_tone"],
    &["moderator_exit_tone"],
];

/// Returns what is wrong with the sounds that a document, or a change of one, names: each has to be something that can be heard in
/// the language of the conference, but for what it names already as it is stored: a medium that is gone since keeps nobody from saving. A value that
/// is no text is for the schema to judge.
pub(crate) async fn check(
    live: &dyn LiveConferences,
    account: &AccountId,
    language: &str,
    document: &Body,
    stored: Option<&Body>,
) -> Violations {
    let mut keys = [KEYS, ENDLESS].concat();
    keys.retain(|path| {
        let before = stored.and_then(|stored| value(stored, path));
        before.is_none() || before != value(document, path)
    });
    check_keys(live, account, language, document, &keys).await
}

/// As [`check`], of an account's configuration without its profiles.
pub(crate) async fn check_configuration(
    live: &dyn LiveConferences,
    account: &AccountId,
    language: &str,
    configuration: &Body,
) -> Violations {
    check_keys(live, account, language, configuration, OF_CONFIGURATION).await
}

/// Returns whether any sound is named that [`check`] would look at.
pub(crate) fn names_any(document: &Body) -> bool {
    let mut keys = [KEYS, ENDLESS].concat().into_iter();
    keys.any(|path| matches!(value(document, path), Some(Value::String(_))))
}

fn value<'a>(document: &'a Body, path: &[&str]) -> Option<&'a Value> {
    let [first, rest @ ..] = path else { return None };
    rest.iter()
        .try_fold(document.get(*first)?, |value, key| value.get(key))
}

async fn check_keys(
    live: &dyn LiveConferences,
    account: &AccountId,
    language: &str,
    document: &Body,
    keys: &[&[&str]],
) -> Violations {
    let mut violations = Violations::default();
    for path in keys {
        let Some(given @ Value::String(name)) = value(document, path) else {
            continue;
        };
        if SWITCHES.contains(path) && ["true", "false"].contains(&name.as_str()) {
            continue;
        }
        let Some(media) = named_sound(name, language) else {
            continue;
        };
        let checked = if ENDLESS.contains(path) {
            live.check_media(account, &media).await
        } else {
            live.check_tone(account, &media).await
        };
        let message = match checked {
            Ok(()) => continue,
            Err(MediaProblem::Invalid(why)) => why,
            Err(MediaProblem::Unknown) => {
                "Neither a tone or silence, nor an http or https URL, nor the id of a medium or prompt that there is".to_owned()
            }
        };
        violations.push(Violation::new(path.join("."), Rule::Invalid, message).with_value(given));
    }
    violations
}
