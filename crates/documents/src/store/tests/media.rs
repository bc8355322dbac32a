//! The files of media documents.

use proptest::prelude::*;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::*;
use crate::store::media::{MAX_MEDIA_BYTES, MediaFile};

/// Bytes that differ from place to place and from one `seed` to the next.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

impl Fixture {
    async fn media(&self, body: Value) -> String {
        let made = self.store.create(&self.account, Kind::Media, map(body)).await;
        made.unwrap().id
    }

    async fn put(&self, id: &str, content_type: &str, bytes: &[u8]) -> Result<Document, SaveError> {
        self.store
            .put_media_bytes(&self.account, id, content_type, bytes, &Expected::Anything)
            .await
    }

    async fn file(&self, id: &str) -> Option<MediaFile> {
        self.store.media_file(&self.account, id).await.unwrap()
    }

    async fn whole(&self, id: &str) -> Option<Vec<u8>> {
        let file = self.file(id).await?;
        self.store.media_bytes(&file, 0..u64::MAX).await.unwrap()
    }

    async fn count(&self, table: &str) -> i64 {
        let query = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        sqlx::query_scalar(query)
            .fetch_one(self.store.pool())
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_file_is_kept_as_it_is_and_its_document_says_what_it_is() {
    let fixture = Fixture::new().await;
    let id = fixture
        .media(json!({"name": "Jingle", "media_source": "recording", "custom": 1}))
        .await;
    assert_eq!((fixture.file(&id).await, fixture.whole(&id).await), (None, None));

    let bytes = noise(1, 700_001);
    let changes = fixture.store.media_changes();
    let put = fixture.put(&id, "audio/wav", &bytes).await.unwrap();
    assert!(fixture.store.media_changes() > changes);
    assert_eq!(put.revision.saves, 2);
    for (key, value) in [
        ("content_type", json!("audio/wav")),
        ("content_length", json!(700_001)),
        ("media_source", json!("upload")),
        ("custom", json!(1)),
    ] {
        assert_eq!(put.body[key], value, "{key}");
    }
    let file = fixture.file(&id).await.unwrap();
    assert_eq!((file.length, &*file.content_type), (700_001, "audio/wav"));
    assert!(fixture.whole(&id).await.unwrap() == bytes);
    assert_eq!(fixture.count("media_parts").await, 3);

    // What a client writes about the file is no fact; a new body does not lose it.
    let body = map(json!({"name": "Other", "content_length": 5, "content_type": "audio/mp3"}));
    let replaced = fixture
        .store
        .replace(&fixture.account, Kind::Media, &id, body, &Expected::Anything)
        .await
        .unwrap();
    assert_eq!(
        (&replaced.body["content_type"], &replaced.body["content_length"]),
        (&json!("audio/wav"), &json!(700_001))
    );

    // Another file takes its place as a whole.
    let shorter = noise(2, 300_000);
    fixture.put(&id, "audio/mpeg", &shorter).await.unwrap();
    assert!(fixture.whole(&id).await.unwrap() == shorter);
    assert_eq!(fixture.count("media_parts").await, 2);
    // Who still reads the first one is told that it is gone.
    assert_eq!(fixture.store.media_bytes(&file, 0..10).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_file_is_not_taken() {
    let fixture = Fixture::new().await;
    let id = fixture.media(json!({"name": "Jingle"})).await;
    let refused = violations(fixture.put(&id, "audio/wav", &[]).await);
    assert!(refused["file"]["required"].is_object(), "{refused}");
    let refused = violations(
        fixture
            .put(&id, "audio/wav", &noise(1, MAX_MEDIA_BYTES + 1))
            .await,
    );
    assert!(refused["content_length"]["maximum"].is_object(), "{refused}");
    let refused = violations(fixture.put(&id, "text/html", b"x").await);
    assert!(refused["content_type"]["enum"].is_object(), "{refused}");
    let unknown = fixture.put(&"0".repeat(32), "audio/wav", b"x").await;
    assert!(matches!(unknown, Err(SaveError::NotFound)));
    let old = Expected::OneOf(vec![Revision::of("x", 1, "")]);
    let stale = fixture
        .store
        .put_media_bytes(&fixture.account, &id, "audio/wav", b"x", &old)
        .await;
    assert!(matches!(stale, Err(SaveError::Conflict)));
    assert_eq!(fixture.file(&id).await, None);

    let largest = noise(3, MAX_MEDIA_BYTES);
    fixture.put(&id, "audio/ogg", &largest).await.unwrap();
    assert!(fixture.whole(&id).await.unwrap() == largest);
    assert!(
        violations(
            fixture
                .store
                .create(
                    &fixture.account,
                    Kind::Media,
                    map(json!({"name": "t", "media_source": "tts"}))
                )
                .await
        )["media_source"]["invalid"]
            .is_object()
    );
}

#[tokio::test]
async fn a_document_is_made_with_its_file_in_one_step() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let owner = "a".repeat(32);
    let body = map(json!({"name": "Ada", "owner_id": owner, "media_source": "recording"}));
    let made = store
        .create_media(account, body, "audio/wav", b"RIFF")
        .await
        .unwrap();
    assert_eq!(
        (
            made.revision.saves,
            &made.body["owner_id"],
            &made.body["media_source"]
        ),
        (1, &json!(owner), &json!("recording"))
    );
    assert_eq!(fixture.whole(&made.id).await.unwrap(), b"RIFF");
    let nameless = store
        .create_media(account, map(json!({})), "audio/wav", b"RIFF")
        .await;
    assert!(violations(nameless)["name"]["required"].is_object());

    let prompt = map(json!({"name": "p", "prompt_id": "conf-welcome", "language": "fr-FR"}));
    let made = store
        .create_media(account, prompt.clone(), "audio/wav", b"RIFF")
        .await
        .unwrap();
    assert_eq!(made.id, "fr-fr/conf-welcome");
    let again = store.create_media(account, prompt, "audio/wav", b"RIFF").await;
    assert!(matches!(again, Err(SaveError::Conflict)));
    let prompts = store.media_prompts(account).await.unwrap();
    assert_eq!(prompts, [fixture.file(&made.id).await.unwrap()]);
}

#[tokio::test]
async fn a_deleted_document_leaves_no_bytes() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let wanted = "0123456789abcdef0123456789abcdef";
    for hard in [false, true] {
        fixture.media(json!({"name": "m", "id": wanted})).await;
        fixture
            .put(wanted, "audio/wav", &noise(1, 600_000))
            .await
            .unwrap();
        let changes = store.media_changes();
        let deleted = if hard {
            store
                .erase(account, Kind::Media, wanted, &Expected::Anything)
                .await
        } else {
            store
                .delete(account, Kind::Media, wanted, &Expected::Anything)
                .await
        };
        deleted.unwrap();
        assert!(store.media_changes() > changes);
        assert_eq!(
            (
                fixture.count("media_files").await,
                fixture.count("media_parts").await
            ),
            (0, 0),
            "hard: {hard}"
        );
    }
    // Made anew, it has no file.
    fixture.media(json!({"name": "m", "id": wanted})).await;
    assert_eq!(fixture.file(wanted).await, None);
}

#[tokio::test]
async fn a_deleted_account_leaves_no_bytes() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let child = store
        .create_account(&fixture.account, map(json!({"name": "child"})))
        .await
        .unwrap();
    let child = confab_conference::AccountId::from(child.id);
    for at in 0..40 {
        let body = map(json!({"name": format!("m{at}")}));
        store
            .create_media(&child, body, "audio/wav", &noise(at, 100))
            .await
            .unwrap();
    }
    let own = store
        .create_media(
            &fixture.account,
            map(json!({"name": "own"})),
            "audio/wav",
            b"RIFF",
        )
        .await
        .unwrap();
    store
        .delete(&child, Kind::Account, child.as_str(), &Expected::Anything)
        .await
        .unwrap();
    assert_eq!(fixture.count("media_parts").await, 1);
    assert_eq!(fixture.whole(&own.id).await.unwrap(), b"RIFF");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn any_range_is_those_bytes(length in 1usize..900_000, ranges in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let bytes = noise(length as u64, length);
            let id = fixture.media(json!({"name": "m"})).await;
            fixture.put(&id, "audio/wav", &bytes).await.unwrap();
            let file = fixture.file(&id).await.unwrap();
            for (from, to, near) in ranges {
                let within = |at: u64| if near { at % (length as u64 + 3) } else { at };
                let (from, to) = (within(from), within(to));
                let expected = bytes.get(from.min(length as u64) as usize..to.min(length as u64) as usize).unwrap_or_default();
                let found = fixture.store.media_bytes(&file, from..to).await.unwrap().unwrap();
                assert!(found == expected, "{from}..{to} of {length}");
            }
        });
    }
}
