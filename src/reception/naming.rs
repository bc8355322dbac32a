//! From what a caller says into his tap to his name; and the names of callers whose user is known.

use std::sync::Arc;
use std::time::Duration;

use confab_conference::{AccountId, Caller, MediaName};
use confab_documents::{Body, Expected, Kind, SaveError, Store, StoreError, is_id};
use confab_recording::{Utterance, wav};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::lobby::Lobby;
use crate::names::SpokenName;

/// How often what was said is taken out of the tap.
const READ_EVERY: Duration = Duration::from_millis(50);

/// The variable of a caller's channel that says whose device it is.
const OWNER: &str = "owner_id";

/// The longest display name of a medium.
const LONGEST_MEDIA_NAME: usize = 128;

/// Records what a caller says until he is told to stop, or falls silent. Returns his name, unless he has said none.
///
/// Dropping it ends the tap; what was recorded so far is freed with it.
pub(super) async fn record(lobby: Arc<Lobby>, stop: Arc<Notify>) -> Option<SpokenName> {
    let mut tap = match lobby.tap().await {
        Ok(tap) => tap,
        Err(error) => {
            tracing::warn!(%error, "a caller's name is not recorded");
            return None;
        }
    };
    let mut utterance = Utterance::new();
    let mut samples = Vec::new();
    let mut is_stopped = false;
    while !is_stopped && !utterance.is_over() && !tap.is_over() {
        tokio::select! {
            () = stop.notified() => is_stopped = true,
            () = tokio::time::sleep(READ_EVERY) => {}
        }
        while let Some(block) = tap.next(&mut samples) {
            utterance.take(block.at_ms, block.rate_hz, &samples);
        }
    }
    lobby.untap().await;
    utterance.finish().map(SpokenName::new)
}

/// Returns the recording of a caller's name, if his device's user has one.
pub(crate) async fn known(store: &Store, account: &AccountId, caller: &Caller) -> Option<MediaName> {
    let user = caller.channel_vars.get(OWNER)?;
    match recording(store, account, user).await {
        Ok(name) => name,
        Err(error) => {
            // He can say it himself.
            tracing::warn!(%error, "the store does not say whether a user's name is known");
            None
        }
    }
}

async fn recording(store: &Store, account: &AccountId, user: &str) -> Result<Option<MediaName>, StoreError> {
    let Some(document) = store.document(account, Kind::User, user).await? else {
        return Ok(None);
    };
    let Some(media) = media_id(&document.body) else {
        return Ok(None);
    };
    // A document that has lost its audio is no recording.
    if is_id(media) && store.media_file(account, media).await?.is_none() {
        return Ok(None);
    }
    Ok(Some(MediaName::from(media)))
}

/// Returns what a user's document says his name sounds like: `pronounced_name.media_id`, or as older clients write it.
fn media_id(user: &Body) -> Option<&str> {
    let of = |key: &str| {
        user.get(key)?
            .get("media_id")?
            .as_str()
            .filter(|id| !id.is_empty())
    };
    of("pronounced_name").or_else(|| of("name_pronounced"))
}

/// Keeps a recorded name with the caller's user, where that is known.
pub(super) async fn save(store: &Store, account: &AccountId, caller: &Caller, name: &SpokenName) {
    let Some(user) = caller.channel_vars.get(OWNER) else {
        return;
    };
    match store_recording(store, account, user, name).await {
        Ok(()) => {}
        // He is no user any more; his name was heard all the same.
        Err(SaveError::NotFound) => tracing::debug!("the user of a recorded name is gone"),
        Err(error) => tracing::warn!(%error, "a user's name is not kept"),
    }
}

async fn store_recording(
    store: &Store,
    account: &AccountId,
    user: &str,
    name: &SpokenName,
) -> Result<(), SaveError> {
    let Some(document) = store.document(account, Kind::User, user).await? else {
        return Err(SaveError::NotFound);
    };
    let audio = name.audio();
    let Ok(file) = wav(audio.rate_hz, &audio.samples) else {
        return Ok(()); // its rate is one of those that a mix has
    };
    let text = |key: &str| document.body.get(key).and_then(Value::as_str).unwrap_or_default();
    let title = format!("{} {}", text("first_name"), text("last_name"));
    let title: String = title.trim().chars().take(LONGEST_MEDIA_NAME).collect();
    let body = json!({
        "name": if title.is_empty() { "name" } else { &title },
        "description": "The name as its user has spoken it",
        "media_source": "recording", "source_type": "user", "source_id": user, "owner_id": user,
        "content_type": "audio/wav", "content_length": file.len(),
    });
    let medium = store
        .create_media(account, object(body), "audio/wav", &file)
        .await?;
    let change = object(json!({"pronounced_name": {"media_id": medium.id}}));
    let changed = store
        .patch(account, Kind::User, user, change, &Expected::Anything)
        .await;
    if changed.is_err() {
        // Nobody would ever ask for it.
        let _ = store
            .delete(account, Kind::Media, &medium.id, &Expected::Anything)
            .await;
    }
    changed.map(drop)
}

fn object(body: Value) -> Body {
    match body {
        Value::Object(body) => body,
        _ => Body::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use confab_documents::{BootstrapConfig, ListPage};
    use confab_recording::{Audio, ImportLimits, import};

    async fn store(folder: &tempfile::TempDir) -> (Store, AccountId) {
        let store = Store::open(folder.path(), "").await.expect("a store");
        let first = store
            .bootstrap(BootstrapConfig::default())
            .await
            .expect("works")
            .expect("empty");
        (store, first.account_id)
    }

    async fn user(store: &Store, account: &AccountId, more: Value) -> String {
        let mut body = object(json!({"first_name": "Ann", "last_name": "Lee"}));
        body.extend(object(more));
        store.create(account, Kind::User, body).await.expect("good").id
    }

    fn of(user: &str) -> Caller {
        let mut caller = Caller::new("call");
        caller.channel_vars.insert(OWNER.to_owned(), user.to_owned());
        caller
    }

    #[tokio::test]
    async fn a_recorded_name_is_kept_with_its_user_and_known_from_then_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, account) = store(&folder).await;
        let ann = of(&user(&store, &account, json!({"language": "de-de"})).await);
        assert_eq!(known(&store, &account, &ann).await, None);
        let audio = Audio {
            rate_hz: 16_000,
            samples: (0..20_000).map(|n: i32| (n * 31 % 5000) as i16).collect(),
        };
        save(&store, &account, &ann, &SpokenName::new(audio.clone())).await;
        let name = known(&store, &account, &ann).await.expect("he has said it");
        let file = store
            .media_file(&account, name.as_str())
            .await
            .expect("works")
            .expect("kept");
        assert_eq!(file.content_type, "audio/wav");
        let bytes = store
            .media_bytes(&file, 0..u64::MAX)
            .await
            .expect("works")
            .expect("there");
        assert_eq!(import(&bytes, ImportLimits::default()), Ok(audio));
        let medium = store
            .document(&account, Kind::Media, name.as_str())
            .await
            .expect("works")
            .expect("there");
        let user = ann.channel_vars.get(OWNER).expect("set");
        assert_eq!(
            (&medium.body["name"], &medium.body["owner_id"]),
            (&json!("Ann Lee"), &json!(user))
        );
        assert_eq!(medium.body["media_source"], "recording");
        let kept = store
            .document(&account, Kind::User, user)
            .await
            .expect("works")
            .expect("there");
        assert_eq!(kept.body["pronounced_name"], json!({"media_id": name.as_str()}));
        assert_eq!(kept.body["language"], "de-de", "nothing else has changed");
        // A recording that is gone is asked for again.
        store
            .delete(&account, Kind::Media, name.as_str(), &Expected::Anything)
            .await
            .expect("deleted");
        assert_eq!(known(&store, &account, &ann).await, None);
        store.close().await;
    }

    #[tokio::test]
    async fn a_users_document_says_what_is_played_for_him() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, account) = store(&folder).await;
        let url = "https://example.com/ann.wav";
        let rows = [
            (json!({"pronounced_name": {"media_id": url}}), Some(url)),
            (json!({"name_pronounced": {"media_id": url}}), Some(url)),
            (
                json!({"name_pronounced": {"media_id": "b"}, "pronounced_name": {"media_id": "a"}}),
                Some("a"),
            ),
            (json!({"pronounced_name": {"media_id": ""}}), None),
            (
                json!({"pronounced_name": {"media_id": "0123456789abcdef0123456789abcdef"}}),
                None,
            ),
            (json!({}), None),
        ];
        for (body, expected) in rows {
            let caller = of(&user(&store, &account, body.clone()).await);
            let found = known(&store, &account, &caller).await;
            assert_eq!(found, expected.map(MediaName::from), "{body}");
        }
        store.close().await;
    }

    #[tokio::test]
    async fn of_callers_whose_user_is_unknown_nothing_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, account) = store(&folder).await;
        let name = SpokenName::new(Audio {
            rate_hz: 8000,
            samples: vec![1; 8000],
        });
        for caller in [Caller::new("call"), of("0123456789abcdef0123456789abcdef")] {
            save(&store, &account, &caller, &name).await;
            assert_eq!(known(&store, &account, &caller).await, None);
        }
        let page = ListPage {
            limit: 10,
            ..ListPage::default()
        };
        let media = store
            .documents(&account, Kind::Media, &page)
            .await
            .expect("works");
        assert!(media.is_empty());
        store.close().await;
    }
}
