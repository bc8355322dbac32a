//! The entry for fuzzing. Also run by an ordinary test on the committed seeds.

use crate::{DEFAULT_LANGUAGE, MAX_PARTS, Phrase, find, languages, music, music_name};

/// Reads arbitrary bytes as a name of media. Panics when what comes out breaks a promise.
pub fn fuzz_media_name(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(known) = music_name(name) {
        let _ = music(known);
    }
    match Phrase::parse(name) {
        Some(Ok(phrase)) => {
            let ids = phrase.ids();
            assert!((1..=32 * MAX_PARTS).contains(&ids.len()));
            let language = phrase.language().unwrap_or(DEFAULT_LANGUAGE);
            assert!(languages(language, &[]).len() <= 10);
            for id in &ids {
                let _ = find(language, id);
            }
            assert_eq!(Phrase::parse(&phrase.to_string()), Some(Ok(phrase)));
        }
        Some(Err(error)) => assert!(error.to_string().len() < 1024),
        None => {}
    }
}
