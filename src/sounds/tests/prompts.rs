//! Prompts, phrases and hold music: the built-in ones, and the operator's in front of them.

use std::path::{Path, PathBuf};

use confab_media::Repeat;

use super::*;
use crate::sounds::Audible;

/// A folder of its own, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("confab-prompts-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("below")).expect("a folder");
        std::fs::write(path, content).expect("written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn heard(sounds: &Sounds, name: &str) -> Audible {
    match sounds.resolve(&MediaName::from(name)) {
        Ok(Media::Here(audible)) => audible,
        Ok(Media::Later(source)) => sounds.fetch(&source).await.expect("decoded"),
        Err(problem) => panic!("{name}: {problem:?}"),
    }
}

/// The same, of built-in prompts by language and id.
async fn built_in(sounds: &Sounds, language: &str, ids: &[&str]) -> Vec<Sound> {
    let mut all = Vec::new();
    for id in ids {
        let prompt = confab_prompts::built_in(language, id).expect("built in");
        let import = confab_recording::import(prompt.audio, Default::default()).expect("decodes");
        all.push(Sound::clip(
            Clip::new(import.rate_hz, import.samples).expect("a rate"),
        ));
    }
    assert!(!sounds.prompts_decoded().is_empty() || ids.is_empty());
    all
}

#[tokio::test]
async fn names_of_prompts_are_heard_in_their_language() {
    let sounds = Sounds::new(&permissive());
    for (name, language, ids) in [
        ("conf-muted", "en-us", &["conf-muted"][..]),
        ("prompt:de-de/conf-muted", "de-de", &["conf-muted"]),
        ("prompt:de-at/conf-muted", "de-de", &["conf-muted"]),
        ("prompt:xx-yy/conf-muted", "en-us", &["conf-muted"]),
        ("prompt:english/conf-muted", "en-us", &["conf-muted"]),
        (
            "prompt://0123456789abcdef0123456789abcdef/conf-muted/de-de",
            "de-de",
            &["conf-muted"],
        ),
        ("system_media/conf-muted", "en-us", &["conf-muted"]),
        (
            "prompt:de-de/conf-there_are+say:number:121+conf-callers",
            "de-de",
            &["conf-there_are", "number-100", "number-21", "conf-callers"],
        ),
        ("say:digits:0*", "en-us", &["digit-0", "digit-star"]),
    ] {
        let audible = heard(&sounds, name).await;
        assert_eq!(audible.repeat, Repeat::Once, "{name}");
        assert!(audible.sounds == built_in(&sounds, language, ids).await, "{name}");
    }
}

#[tokio::test]
async fn a_prompt_is_decoded_once_and_then_there_at_once() {
    let sounds = Sounds::new(&permissive());
    let name = MediaName::from("prompt:en-us/conf-welcome");
    assert!(matches!(sounds.resolve(&name), Ok(Media::Later(_))));
    assert!(
        sounds.prompts_decoded().is_empty(),
        "nothing is decoded before it is asked for"
    );
    let other = sounds.clone();
    let (first, second) = tokio::join!(heard(&sounds, name.as_str()), heard(&other, name.as_str()));
    assert_eq!(first, second);
    assert_eq!(sounds.prompts_decoded(), [("en-us", "conf-welcome")]);
    match sounds.resolve(&name) {
        Ok(Media::Here(audible)) => assert_eq!(audible, first),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn hold_music_has_no_end() {
    let sounds = Sounds::new(&permissive());
    for name in ["moh:default", "local_stream://moh", "local_stream://default"] {
        // Before and after it was decoded.
        for _ in 0..2 {
            let told = sounds.check_tone(&name.into()).await.expect_err("no tone");
            assert!(
                matches!(&told, MediaProblem::Invalid(why) if why.contains("never ends")),
                "{told:?}"
            );
            let audible = heard(&sounds, name).await;
            assert_eq!((audible.sounds.len(), audible.repeat), (1, Repeat::Forever));
            assert!(audible.sounds[0].duration() >= Some(Duration::from_secs(60)));
        }
    }
    assert_eq!(sounds.check_tone(&"conf-has_joined".into()).await, Ok(()));
    for unknown in [
        "moh:jazz",
        "moh:",
        "prompt:conf-nothing",
        "prompt:de-de/conf-muted+conf-nothing",
        "muted",
    ] {
        let told = sounds.resolve(&MediaName::from(unknown));
        assert!(matches!(told, Err(MediaProblem::Unknown)), "{unknown}: {told:?}");
    }
    assert!(invalid(&sounds, "say:hello").contains("say:number"));
    assert!(invalid(&sounds, "prompt:en-us/conf muted").contains("conf muted"));
}

/// A file of a tenth of a second whose samples tell it from others.
fn file(value: i16) -> (Vec<u8>, Vec<Sound>) {
    let samples = vec![value; 1600];
    (
        wav(16_000, &samples),
        vec![Sound::clip(Clip::new(16_000, samples).expect("a rate"))],
    )
}

#[tokio::test]
async fn own_prompts_come_first() {
    let folder = Folder::new("own");
    folder.put("en-us/conf-muted.wav", &file(1).0);
    folder.put("en-us/jingle.WAV", &file(2).0);
    folder.put("fr-FR/conf-muted.wav", &file(3).0);
    folder.put("fr-FR/conf-there_are.wav", &file(4).0);
    folder.put("fr-FR/bonjour.wav", &file(8).0);
    folder.put("de_de/conf-deaf.wav", &file(5).0);
    folder.put("music/default.wav", &file(6).0);
    folder.put("music/jazz.wav", &file(7).0);
    let sounds = Sounds::new(&permissive())
        .with_own_prompts(&folder.0)
        .expect("read");
    for (name, value) in [
        ("conf-muted", 1),
        ("prompt:es-es/conf-muted", 1),
        ("jingle", 2),
        ("prompt:de-de/jingle", 2),
        ("prompt:fr-fr/conf-muted", 3),
        ("prompt:fr-ca/conf-muted", 3),
        ("prompt:de-de/conf-deaf", 5),
        ("moh:default", 6),
        ("moh:jazz", 7),
    ] {
        assert!(heard(&sounds, name).await.sounds == file(value).1, "{name}");
    }
    assert_eq!(heard(&sounds, "moh:jazz").await.repeat, Repeat::Forever);
    // What the folder does not have is built in.
    let undeaf = heard(&sounds, "prompt:de-de/conf-undeaf").await.sounds;
    assert!(undeaf == built_in(&sounds, "de-de", &["conf-undeaf"]).await);
    // A phrase stays in one language: French has no number, so all of it is English.
    let phrase = heard(&sounds, "prompt:fr-fr/conf-there_are+say:number:2")
        .await
        .sounds;
    assert!(phrase == built_in(&sounds, "en-us", &["conf-there_are", "number-2"]).await);
    // No language has all of this one.
    let mixed = heard(&sounds, "prompt:fr-fr/bonjour+jingle").await.sounds;
    assert!(mixed == [file(8).1, file(2).1].concat());
}

#[tokio::test]
async fn what_is_wrong_with_the_folder_keeps_nothing_else_from_being_heard() {
    let folder = Folder::new("faulty");
    folder.put("en-us/conf-muted.wav", b"<html>not found</html>");
    folder.put("en-us/conf-deaf.wav", b"");
    folder.put("en-us/b\u{e4}d.wav", &file(1).0);
    folder.put("en-us/readme.txt", b"left alone");
    folder.put("english/conf-muted.wav", &file(2).0);
    folder.put("stray.wav", &file(2).0);
    folder.put("en-us/conf-undeaf.flac", &file(3).0);
    folder.put("en-us/conf-undeaf.wav", &file(4).0);
    let sounds = Sounds::new(&permissive())
        .with_own_prompts(&folder.0)
        .expect("read");
    let muted = heard(&sounds, "conf-muted").await.sounds;
    assert!(muted == built_in(&sounds, "en-us", &["conf-muted"]).await);
    assert!(
        heard(&sounds, "conf-undeaf").await.sounds == file(3).1,
        "the content says what it is, the first name counts"
    );
    let missing = Sounds::new(&permissive()).with_own_prompts(Path::new("/nowhere/at/all"));
    assert!(missing.is_err());
}
