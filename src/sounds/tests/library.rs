//! Media documents as sounds, and an account's own prompts, over a real store.

use confab_api::NoRecordings;
use confab_conference::AccountId;
use confab_documents::{Body, BootstrapConfig, Expected, Kind, Store};
use serde_json::{Value, json};

use super::*;
use crate::sounds::Audible;
use crate::sounds::library::Library;

struct World {
    folder: tempfile::TempDir,
    store: Store,
    account: AccountId,
    sounds: Sounds,
}

fn body(value: Value) -> Body {
    value.as_object().cloned().unwrap_or_default()
}

/// A file of a tenth of a second whose samples tell it from others, and what it sounds like.
fn file(value: i16) -> (Vec<u8>, Vec<Sound>) {
    let samples = vec![value; 1600];
    let clip = Clip::new(16_000, samples.clone()).expect("a rate");
    (wav(16_000, &samples), vec![Sound::clip(clip)])
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), "").await.expect("a store");
        let first = store
            .bootstrap(BootstrapConfig::default())
            .await
            .expect("works")
            .expect("empty");
        let sounds = Sounds::new(&permissive()).with_library(store.clone(), Arc::new(NoRecordings));
        World {
            folder,
            store,
            account: first.account_id,
            sounds,
        }
    }

    fn own(&self) -> Sounds {
        self.sounds.of(&self.account)
    }

    async fn child(&self) -> AccountId {
        let made = self
            .store
            .create_account(&self.account, body(json!({"name": "child"})));
        made.await.expect("made").account_id
    }

    async fn put(&self, account: &AccountId, document: Value, value: i16) -> String {
        let (bytes, _) = file(value);
        let made = self
            .store
            .create_media(account, body(document), "audio/wav", &bytes);
        made.await.expect("made").id
    }

    async fn medium(&self, account: &AccountId, value: i16) -> String {
        self.put(account, json!({"name": "m"}), value).await
    }

    async fn prompt(&self, language: &str, id: &str, value: i16) {
        let document = json!({"name": id, "prompt_id": id, "language": language});
        self.put(&self.account, document, value).await;
    }

    async fn replace(&self, store: &Store, id: &str, bytes: &[u8]) {
        let put = store.put_media_bytes(&self.account, id, "audio/wav", bytes, &Expected::Anything);
        put.await.expect("put");
    }

    async fn delete(&self, id: &str) {
        let deleted = self
            .store
            .delete(&self.account, Kind::Media, id, &Expected::Anything);
        deleted.await.expect("deleted");
    }

    fn library(&self) -> &Library {
        self.sounds.library.as_deref().expect("there is one")
    }
}

async fn heard(sounds: &Sounds, name: &str) -> Result<Audible, FetchError> {
    match sounds.resolve(&MediaName::from(name)) {
        Ok(Media::Here(audible)) => Ok(audible),
        Ok(Media::Later(source)) => sounds.fetch(&source).await,
        Err(problem) => panic!("{name}: {problem:?}"),
    }
}

fn is_here(sounds: &Sounds, name: &str) -> bool {
    matches!(sounds.resolve(&MediaName::from(name)), Ok(Media::Here(_)))
}

async fn check(sounds: &Sounds, name: &str) -> Result<(), MediaProblem> {
    sounds.check(&MediaName::from(name)).await.map(drop)
}

#[tokio::test]
async fn media_are_heard_by_their_ids_and_at_once_when_they_were_heard_before() {
    let world = World::new().await;
    let sounds = world.own();
    let id = world.medium(&world.account, 5).await;
    let whole = format!("/{}/{id}", world.account);
    for name in [&id, &whole] {
        assert_eq!(check(&sounds, name).await, Ok(()));
        assert!(!is_here(&sounds, name) || name == &whole);
        assert_eq!(
            heard(&sounds, name).await.map(|heard| heard.sounds),
            Ok(file(5).1)
        );
        assert!(is_here(&sounds, name));
        assert_eq!(sounds.check_tone(&name.as_str().into()).await, Ok(()));
    }
    assert_eq!(world.library().holds().0, 1, "one file, however it is named");
    // Without an account, nobody's media are meant.
    assert!(matches!(
        world.sounds.resolve(&id.as_str().into()),
        Err(MediaProblem::Unknown)
    ));

    let unknown = "0123456789abcdef0123456789abcdef";
    assert_eq!(check(&sounds, unknown).await, Err(MediaProblem::Unknown));
    assert_eq!(heard(&sounds, unknown).await, Err(FetchError::Missing));
    let empty = world
        .store
        .create(&world.account, Kind::Media, body(json!({"name": "e"})));
    let empty = empty.await.expect("made").id;
    let told = check(&sounds, &empty).await;
    assert!(
        matches!(&told, Err(MediaProblem::Invalid(why)) if why.contains("no file")),
        "{told:?}"
    );

    world.delete(&id).await;
    assert_eq!(check(&sounds, &id).await, Err(MediaProblem::Unknown));
    assert_eq!(heard(&sounds, &id).await, Err(FetchError::Missing));
}

#[tokio::test]
async fn media_of_other_accounts_are_heard_by_those_above_them_alone() {
    let world = World::new().await;
    let (child, other) = (world.child().await, world.child().await);
    let (of_child, own) = (
        world.medium(&child, 1).await,
        world.medium(&world.account, 2).await,
    );
    let (of_child, own) = (
        format!("/{child}/{of_child}"),
        format!("/{}/{own}", world.account),
    );
    let above = world.own();
    assert_eq!(check(&above, &of_child).await, Ok(()));
    assert_eq!(
        heard(&above, &of_child).await.map(|heard| heard.sounds),
        Ok(file(1).1)
    );
    for (account, name) in [(&child, &own), (&other, &own), (&other, &of_child)] {
        let sounds = world.sounds.of(account);
        assert_eq!(check(&sounds, name).await, Err(MediaProblem::Unknown), "{name}");
        assert_eq!(heard(&sounds, name).await, Err(FetchError::Missing), "{name}");
    }
    // What one account has heard is not there for another who asks.
    assert!(is_here(&above, &of_child) && !is_here(&world.sounds.of(&other), &of_child));
}

#[tokio::test]
async fn another_file_is_heard_at_once_and_that_of_another_server_soon() {
    let world = World::new().await;
    let sounds = world.own();
    let id = world.medium(&world.account, 1).await;
    assert_eq!(heard(&sounds, &id).await.map(|heard| heard.sounds), Ok(file(1).1));
    world.replace(&world.store, &id, &file(2).0).await;
    assert!(!is_here(&sounds, &id));
    assert_eq!(heard(&sounds, &id).await.map(|heard| heard.sounds), Ok(file(2).1));

    let other = Store::open(world.folder.path(), "")
        .await
        .expect("another server");
    world.replace(&other, &id, &file(3).0).await;
    world.library().age();
    assert_eq!(heard(&sounds, &id).await.map(|heard| heard.sounds), Ok(file(3).1));
    other
        .delete(&world.account, Kind::Media, &id, &Expected::Anything)
        .await
        .expect("deleted");
    assert_eq!(
        check(&sounds, &id).await,
        Err(MediaProblem::Unknown),
        "who is told to play it asks the store"
    );
    assert_eq!(heard(&sounds, &id).await, Err(FetchError::Missing));
}

#[tokio::test]
async fn samples_have_so_much_room_and_many_who_wait_share_them() {
    let world = World::new().await;
    // Each takes 6464 bytes: two have room.
    let library = Library::with_room(world.store.clone(), Arc::new(NoRecordings), 15_000);
    let sounds = Sounds {
        library: Some(Arc::new(library)),
        ..world.own()
    };
    let library = sounds.library.as_deref().expect("there is one");
    let mut ids = Vec::new();
    for value in 1..=3 {
        ids.push(world.medium(&world.account, value).await);
    }
    let many = (0..20).map(|_| heard(&sounds, &ids[0]));
    for heard in futures_util::future::join_all(many).await {
        assert_eq!(heard.map(|heard| heard.sounds), Ok(file(1).1));
    }
    assert_eq!(library.holds().0, 1);
    for at in [1, 0, 2] {
        heard(&sounds, &ids[at]).await.expect("heard");
    }
    let (count, size) = library.holds();
    assert!(count == 2 && size <= 15_000, "{count} of {size} bytes");
    assert!(
        is_here(&sounds, &ids[0]) && is_here(&sounds, &ids[2]) && !is_here(&sounds, &ids[1]),
        "the least used went"
    );
    let large = world
        .store
        .create_media(
            &world.account,
            body(json!({"name": "l"})),
            "audio/wav",
            &wav(16_000, &[1; 5000]),
        )
        .await
        .expect("made")
        .id;
    heard(&sounds, &large).await.expect("heard all the same");
    assert!(
        !is_here(&sounds, &large) && library.holds().0 == 2,
        "what has no room drives nothing out"
    );
    // What cannot be decoded leaves nothing behind.
    world.replace(&world.store, &large, b"no audio").await;
    assert!(matches!(heard(&sounds, &large).await, Err(FetchError::Audio(_))));
    assert_eq!(library.holds().0, 2);
}

/// A built-in prompt, as it sounds.
async fn built_in(language: &str, id: &str) -> Vec<Sound> {
    let sounds = Sounds::new(&permissive());
    let name = format!("prompt:{language}/{id}");
    heard(&sounds, &name).await.expect("built in").sounds
}

#[tokio::test]
async fn an_accounts_prompts_come_first_in_each_language() {
    let world = World::new().await;
    let sounds = world.own();
    let (fr, us) = ("prompt:fr/conf-muted", "prompt:en-us/conf-muted");
    // Line 183: without a French prompt, English is said.
    let english = built_in("en-us", "conf-muted").await;
    assert_eq!(
        heard(&sounds, fr).await.map(|heard| heard.sounds),
        Ok(english.clone())
    );
    assert!(is_here(&sounds, fr));
    world.prompt("fr", "conf-muted", 1).await;
    assert!(!is_here(&sounds, fr), "its making is known at once");
    assert_eq!(heard(&sounds, fr).await.map(|heard| heard.sounds), Ok(file(1).1));
    assert!(is_here(&sounds, fr));
    assert_eq!(
        heard(&sounds, us).await.map(|heard| heard.sounds),
        Ok(english.clone())
    );

    world.prompt("EN-US", "conf-muted", 2).await;
    world.prompt("de", "conf-deaf", 3).await;
    world.prompt("de-de", "conf-undeaf", 4).await;
    world.prompt("en-us", "jingle", 5).await;
    world.prompt("fr-fr", "bonjour", 6).await;
    world.prompt("de-de", "Digit-7", 7).await;
    for (name, expected) in [
        ("conf-muted", file(2).1),
        ("prompt:es/conf-muted", file(2).1),
        ("prompt:fr-ca/conf-muted", file(1).1),
        ("prompt:fr/bonjour", file(6).1),
        ("jingle", file(5).1),
        ("prompt:fr/jingle", file(5).1),
        // In German, what is in German.
        ("prompt:de-de/conf-muted", built_in("de-de", "conf-muted").await),
        ("prompt:de-de/conf-deaf", built_in("de-de", "conf-deaf").await),
        ("prompt:de/conf-deaf", file(3).1),
        ("prompt:de-de/conf-undeaf", file(4).1),
        ("prompt:de-de/say:digits:7", file(7).1),
        ("say:digits:7", built_in("en-us", "digit-7").await),
        ("fr%2Fconf-muted", file(1).1),
        (
            "prompt:de-de/conf-undeaf+conf-muted",
            [file(4).1, built_in("de-de", "conf-muted").await].concat(),
        ),
    ] {
        assert_eq!(check(&sounds, name).await, Ok(()), "{name}");
        assert_eq!(
            heard(&sounds, name).await.map(|heard| heard.sounds),
            Ok(expected),
            "{name}"
        );
    }
    // Of another account, nothing of it.
    let child = world.sounds.of(&world.child().await);
    assert_eq!(
        heard(&child, us).await.map(|heard| heard.sounds),
        Ok(english.clone())
    );
    assert_eq!(check(&child, "jingle").await, Err(MediaProblem::Unknown));

    // A file that cannot be decoded, though none is taken, and one that is gone.
    world.replace(&world.store, "en-us/conf-muted", b"no audio").await;
    assert_eq!(
        heard(&sounds, us).await.map(|heard| heard.sounds),
        Ok(english.clone())
    );
    world.delete("fr/conf-muted").await;
    world.delete("en-us/conf-muted").await;
    assert_eq!(heard(&sounds, fr).await.map(|heard| heard.sounds), Ok(english));
}

#[tokio::test]
async fn something_is_said_also_when_the_store_does_not_answer() {
    let world = World::new().await;
    let sounds = world.own();
    let (id, name) = (world.medium(&world.account, 1).await, "prompt:fr/conf-muted");
    world.prompt("fr", "conf-muted", 2).await;
    assert_eq!(
        heard(&sounds, name).await.map(|heard| heard.sounds),
        Ok(file(2).1)
    );
    world.store.close().await;
    world.library().age();
    assert_eq!(
        heard(&sounds, name).await.map(|heard| heard.sounds),
        Ok(file(2).1),
        "what was known last"
    );
    assert!(matches!(heard(&sounds, &id).await, Err(FetchError::Store(_))));
    let fresh = Sounds::new(&permissive())
        .with_library(world.store.clone(), Arc::new(NoRecordings))
        .of(&world.account);
    let english = built_in("en-us", "conf-muted").await;
    assert_eq!(heard(&fresh, name).await.map(|heard| heard.sounds), Ok(english));
}
