//! Owns which sounds a conference document means, and in which language. Does not know whether there are such sounds.

use confab_conference::{MediaName, Sounds, Speech};
use serde_json::Value;

use super::profile::Profile;
use crate::document::Body;

/// The language of last resort.
const DEFAULT_LANGUAGE: &str = "en-us";

/// Returns the language of a conference's prompts: its own, that of its account, or English.
pub fn language(body: &Body, of_account: Option<&str>) -> String {
    let own = body.get("language").and_then(Value::as_str);
    let given = [own, of_account].into_iter().flatten();
    let tidy = given.map(|language| language.trim().to_lowercase().replace('_', "-"));
    let is_tag = |language: &String| {
        !language.is_empty()
            && language
                .split('-')
                .all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    tidy.into_iter()
        .find(is_tag)
        .unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned())
}

/// The tones of coming and going.
pub(super) struct Tones {
    pub(super) entry: Option<MediaName>,
    pub(super) exit: Option<MediaName>,
    /// What moderators have in their place.
    pub(super) of_moderators: (Option<MediaName>, Option<MediaName>),
}

/// Returns the tones. What the document itself names counts for all; otherwise the account may have tones of its own for
/// moderators.
pub(super) fn tones(
    body: &Body,
    profile: &Profile<'_>,
    configuration: Option<&Body>,
    language: &str,
) -> Tones {
    let configured = |key: &str| {
        let named = configuration.and_then(|configuration| configuration.get(key));
        named
            .and_then(Value::as_str)
            .map(|name| named_sound(name, language))
    };
    let one = |key: &str, sound: &str, of_account: &str, of_moderators: &str, default: &str| {
        let default = configured(of_account).unwrap_or_else(|| Some(default.into()));
        let key = body.get(key);
        let names_one = matches!(key, Some(Value::String(text)) if !is_switch(text));
        let moderators = configured(of_moderators).flatten().filter(|_| !names_one);
        (tone(key, profile.text(sound), default, language), moderators)
    };
    let (entry, moderator_entry) = one(
        "play_entry_tone",
        "enter-sound",
        "entry_tone",
        "moderator_entry_tone",
        MediaName::ENTRY_TONE,
    );
    let (exit, moderator_exit) = one(
        "play_exit_tone",
        "exit-sound",
        "exit_tone",
        "moderator_exit_tone",
        MediaName::EXIT_TONE,
    );
    Tones {
        entry,
        exit,
        of_moderators: (moderator_entry, moderator_exit),
    }
}

fn is_switch(text: &str) -> bool {
    ["true", "false"].contains(&text)
}

/// Returns the tone that a document's own key, the profile's sound and the default come to. The key switches it off,
/// or names another; else the profile's sound takes the place of the default, and an empty one is none.
fn tone(
    key: Option<&Value>,
    profile: Option<&str>,
    default: Option<MediaName>,
    language: &str,
) -> Option<MediaName> {
    match key {
        Some(Value::Bool(false)) => None,
        Some(Value::String(text)) if text == "false" => None,
        Some(Value::String(text)) if text != "true" => named_sound(text, language),
        _ => profile.map_or(default, |name| named_sound(name, language)),
    }
}

/// Returns whether a conference says who comes and goes by name: its document asks for it, and the account does not forbid it.
pub(crate) fn says_names(body: &Body, configuration: Option<&Body>) -> bool {
    let flag = |body: &Body, key: &str| body.get(key).and_then(Value::as_bool);
    let is_forbidden = configuration.and_then(|body| flag(body, "support_name_announcement")) == Some(false);
    flag(body, "play_name") == Some(true) && !is_forbidden
}

/// Returns everything else that is heard.
pub(super) fn sounds(
    body: &Body,
    profile: &Profile<'_>,
    configuration: Option<&Body>,
    language: &str,
    (moderator_entry, moderator_exit): (Option<MediaName>, Option<MediaName>),
) -> Sounds {
    let defaults = Sounds::speaking(language);
    // What an inline profile leaves out is silent.
    let sound = |key: &str, default: &Option<MediaName>| match profile.text(key) {
        Some(name) => named_sound(name, language),
        None if profile.is_inline() => None,
        None => default.clone(),
    };
    let is_silence = |name: &MediaName| name.as_str().starts_with("silence_stream:");
    Sounds {
        moderator_entry,
        moderator_exit,
        names: says_names(body, configuration),
        alone: sound("alone-sound", &defaults.alone),
        // Silence need not be played for ever.
        hold_music: sound("moh-sound", &defaults.hold_music).filter(|name| !is_silence(name)),
        perpetual: sound("perpetual-sound", &None).filter(|name| !is_silence(name)),
        muted: sound("muted-sound", &defaults.muted),
        unmuted: sound("unmuted-sound", &defaults.unmuted),
        deaf: sound("deaf-sound", &defaults.deaf),
        undeaf: sound("undeaf-sound", &defaults.undeaf),
        kicked: sound("kicked-sound", &None),
        announce_count: profile.integer("announce-count").unwrap_or(0),
        speech: Some(Speech::new(language)),
    }
}

/// Returns what the name of a sound means in a language: `None` for no sound. A prompt is named by its id.
pub fn named_sound(name: &str, language: &str) -> Option<MediaName> {
    if name.is_empty() {
        return None;
    }
    let is_media_id = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_word = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let said = match name.strip_prefix("prompt:") {
        Some(rest) => Some(rest).filter(|rest| !rest.contains('/')),
        None => Some(name).filter(|name| name.starts_with("say:") || (is_word(name) && !is_media_id)),
    };
    Some(match said {
        Some(said) => Speech::new(language).prompt(said),
        None => MediaName::from(name),
    })
}
