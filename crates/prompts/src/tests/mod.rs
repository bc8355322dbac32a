//! The table, the languages, the names and the audio itself.

mod audio;
mod names;
mod numbers;

use std::collections::BTreeSet;

use crate::*;

/// What the callers of a conference may have to be told, so that nothing of it is lost by a change of the texts.
const NEEDED: &str = "conf-welcome conf-enter_conf_number conf-bad_conf conf-enter_conf_pin conf-bad_pin conf-too_many_attempts \
    conf-joining_conference conf-alone conf-muted conf-unmuted conf-deaf conf-undeaf conf-max_participants \
    conf-announce_your_name conf-your_announcement conf-review conf-has_joined conf-has_left conf-there_are conf-callers \
    conf-one_caller conf-cannot_unmute conf-locked conf-kicked conf-moderator_left conf-ending conf-waiting_for_moderator \
    conf-moderator_arrived conf-people_have_joined conf-people_have_left conf-recording_started conf-recording_stopped \
    conf-hand_raised conf-hand_lowered conf-mute_all_on conf-mute_all_off conf-press_any_key conf-invalid_key conf-invited";

#[test]
fn every_language_has_every_prompt() {
    let all: Vec<&str> = ids().collect();
    for needed in NEEDED.split_whitespace() {
        assert!(all.contains(&needed), "{needed}");
    }
    assert_eq!(built_in_languages(), ["de-de", "en-us"]);
    for language in built_in_languages() {
        for id in &all {
            let prompt = built_in(language, id).unwrap_or_else(|| panic!("{language} has no {id}"));
            assert_eq!((prompt.language, prompt.id), (language, *id));
            assert!(
                prompt.text.len() >= 2 && prompt.audio.starts_with(b"OggS"),
                "{language} {id}"
            );
        }
        let own = table::LANGUAGES
            .iter()
            .find(|it| it.language == language)
            .unwrap();
        assert_eq!(
            own.prompts.len(),
            all.len(),
            "{language} has prompts that English lacks"
        );
        let sounds: BTreeSet<&[u8]> = own.prompts.iter().map(|prompt| prompt.audio).collect();
        // Only digits and numbers may sound the same.
        assert!(
            sounds.len() + 10 >= all.len(),
            "{language}: files are copies of each other"
        );
    }
    assert!(music("default").is_some());
    assert!(music("jazz").is_none());
    assert!(built_in("en-us", "conf-nothing").is_none());
    assert!(built_in("fr-fr", "conf-welcome").is_none());
}

#[test]
fn what_is_said_at_the_end_fits_the_time_for_it() {
    for language in built_in_languages() {
        let file = built_in(language, "conf-ending").expect("built in").audio;
        let audio =
            confab_recording::import(file, confab_recording::ImportLimits::default()).expect("decodes");
        let lasts_ms = audio.samples.len() * 1000 / audio.rate_hz as usize;
        assert!(lasts_ms <= 1600, "{language}: {lasts_ms} ms of 1800");
    }
}

#[test]
fn a_missing_language_is_replaced_by_the_next_best() {
    for (wanted, got) in [
        ("en-us", "en-us"),
        ("EN_US", "en-us"),
        ("de-de", "de-de"),
        ("de-DE", "de-de"),
        ("de", "de-de"),
        ("de-at", "de-de"),
        ("de-de-1996", "de-de"),
        ("en", "en-us"),
        ("en-gb", "en-us"),
        ("fr-fr", "en-us"),
        ("d", "en-us"),
        ("", "en-us"),
        ("-", "en-us"),
        ("dee-de", "en-us"),
    ] {
        let prompt = find(wanted, "conf-welcome").expect("English has it");
        assert_eq!(prompt.language, got, "{wanted}");
    }
    assert!(find("de-de", "conf-nothing").is_none());
    assert_eq!(
        find("de", "conf-welcome").unwrap().text,
        "Willkommen beim Konferenzdienst."
    );
}

#[test]
fn the_steps_are_in_order() {
    let available = ["de-ch", "de-at", "en-us", "en-au"];
    assert_eq!(
        languages("de-de", &available),
        ["de-de", "de", "de-at", "de-ch", "en-us"]
    );
    assert_eq!(languages("en-gb", &available), ["en-gb", "en", "en-au", "en-us"]);
    assert_eq!(
        languages("zh-hant-tw", &available),
        ["zh-hant-tw", "zh-hant", "zh", "en-us"]
    );
    assert_eq!(languages("en-us", &[]), ["en-us", "en"]);
}

#[test]
fn tags_of_languages_are_told_from_other_words() {
    for tag in ["en", "en-us", "EN_us", "deu", "zh-hant-tw", "es-419", "sl-rozaj"] {
        assert!(is_language(tag), "{tag}");
    }
    for other in [
        "",
        "e",
        "engl",
        "en-",
        "-us",
        "en--us",
        "e1",
        "en-u",
        "en us",
        "en-us-x-very-long",
        "ĝi",
        "..",
    ] {
        assert!(!is_language(other), "{other}");
    }
}
