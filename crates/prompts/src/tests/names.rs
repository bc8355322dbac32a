//! Names of phrases and music, well and badly formed.

use proptest::prelude::*;

use crate::*;

fn parsed(name: &str) -> (Option<String>, Vec<String>) {
    let phrase = Phrase::parse(name).unwrap_or_else(|| panic!("{name} is no phrase"));
    let phrase = phrase.unwrap_or_else(|error| panic!("{name}: {error}"));
    (phrase.language().map(str::to_owned), phrase.ids())
}

fn error(name: &str) -> PhraseError {
    Phrase::parse(name).expect("meant as a phrase").expect_err(name)
}

#[test]
fn all_forms_are_understood() {
    for (name, language, ids) in [
        ("conf-muted", None, "conf-muted"),
        ("CONF-Muted", None, "conf-muted"),
        ("prompt:conf-muted", None, "conf-muted"),
        ("prompt:de-DE/conf-muted", Some("de-de"), "conf-muted"),
        (
            "prompt:en-us/conf-there_are+say:number:112+conf-callers",
            Some("en-us"),
            "conf-there_are number-100 number-12 conf-callers",
        ),
        ("prompt:say:digits:0*", None, "digit-0 digit-star"),
        ("prompt:fr/say:number:7", Some("fr"), "number-7"),
        ("prompt:english/conf-muted", Some("en-us"), "conf-muted"),
        ("prompt:/conf-muted", Some("en-us"), "conf-muted"),
        (
            "prompt://account/conf-muted/de utsch",
            Some("en-us"),
            "conf-muted",
        ),
        ("say:number:0", None, "number-0"),
        ("say:number:007", None, "number-7"),
        ("say:digits:40#", None, "digit-4 digit-0 digit-pound"),
        (
            "prompt://0123456789abcdef0123456789abcdef/conf-muted/de-de",
            Some("de-de"),
            "conf-muted",
        ),
        ("prompt://system_media/conf-muted", None, "conf-muted"),
        ("system_media/conf-muted", None, "conf-muted"),
        ("/system_media/en-us%2Fconf-muted", Some("en-us"), "conf-muted"),
        ("/system_media/en-us/conf-muted", Some("en-us"), "conf-muted"),
    ] {
        let ids = ids.split(' ').map(str::to_owned).collect();
        assert_eq!(parsed(name), (language.map(str::to_owned), ids), "{name}");
    }
}

#[test]
fn other_names_are_left_alone() {
    for name in [
        "",
        "http://example.com/conf-muted",
        "tone_stream://%(500,0,440)",
        "local_stream://moh",
        "moh:default",
        "/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef",
        "two words",
        "ümlaut",
        "file.wav",
    ] {
        assert_eq!(Phrase::parse(name), None, "{name}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    for (name, expected) in [
        ("prompt:", PhraseError::Id(String::new())),
        ("prompt:en-us/", PhraseError::Id(String::new())),
        ("prompt:a+", PhraseError::Id(String::new())),
        ("prompt:../../etc/passwd", PhraseError::Id("../etc/passwd".into())),
        ("prompt:en/../passwd", PhraseError::Id("../passwd".into())),
        ("say:hello", PhraseError::Say("hello".into())),
        ("say:number:", PhraseError::Number("number:".into())),
        ("say:number:+1", PhraseError::Number("number:+1".into())),
        (
            "say:number:4294967296",
            PhraseError::Number("number:4294967296".into()),
        ),
        ("say:digits:", PhraseError::Digits(String::new())),
        ("say:digits:1 2", PhraseError::Digits("1 2".into())),
        ("prompt://account", PhraseError::Id("account".into())),
    ] {
        assert_eq!(error(name), expected, "{name}");
    }
    let long = format!("prompt:{}", vec!["a"; MAX_PARTS + 1].join("+"));
    assert_eq!(error(&long), PhraseError::TooLong);
    assert_eq!(
        parsed(&format!("prompt:{}", vec!["a"; MAX_PARTS].join("+")))
            .1
            .len(),
        MAX_PARTS
    );
    assert!(matches!(
        error(&format!("say:digits:{}", "1".repeat(33))),
        PhraseError::Digits(_)
    ));
    assert_eq!(Phrase::parse(&"a".repeat(65)), None);
}

#[test]
fn a_language_is_given_only_where_there_is_none() {
    let phrase = Phrase::new().prompt("conf-muted").in_language("de_DE");
    assert_eq!(phrase.to_string(), "prompt:de-de/conf-muted");
    assert_eq!(phrase.in_language("fr").language(), Some("de-de"));
    let mistyped = Phrase::new().prompt("conf-muted").in_language("de/de+");
    assert_eq!(mistyped.language(), Some("en-us"));
}

#[test]
fn music_has_two_kinds_of_names() {
    assert_eq!(music_name("moh:default"), Some("default"));
    assert_eq!(music_name("local_stream://moh"), Some("default"));
    assert_eq!(music_name("local_stream://jazz"), Some("jazz"));
    assert_eq!(music_name("default"), None);
}

#[test]
fn the_seeds_of_the_fuzz_target_pass() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/media_name");
    let seeds = std::fs::read_dir(corpus).expect("a corpus");
    let count = seeds.map(|seed| fuzz::fuzz_media_name(&std::fs::read(seed.unwrap().path()).unwrap()));
    assert!(count.count() >= 10);
}

proptest! {
    #[test]
    fn no_name_brings_the_parser_down(name in ".{0,80}", rest in "[a-z+:/0-9%*#_-]{0,60}") {
        for name in [name.clone(), format!("prompt:{rest}"), format!("say:{rest}"), format!("prompt://{rest}"), rest] {
            if let Some(Ok(phrase)) = Phrase::parse(&name) {
                prop_assert!(phrase.ids().len() <= 32 * MAX_PARTS);
                prop_assert_eq!(Phrase::parse(&phrase.to_string()), Some(Ok(phrase)));
            }
        }
    }

    #[test]
    fn what_is_built_is_understood(
        parts in prop::collection::vec((0..3, "[a-z][a-z0-9_-]{0,20}", any::<u32>(), "[0-9*#]{1,20}"), 1..10),
        language in prop::option::of("[a-z]{2}(-[a-z]{2})?"),
    ) {
        let mut phrase = Phrase::new();
        for (kind, id, number, digits) in &parts {
            phrase = match kind {
                0 => phrase.prompt(id),
                1 => phrase.number(*number),
                _ => phrase.digits(digits),
            };
        }
        if let Some(language) = &language {
            phrase = phrase.in_language(language);
        }
        prop_assert_eq!(Phrase::parse(&phrase.to_string()), Some(Ok(phrase)));
    }
}
