//! Owns what a change of the account's configuration of conferences has beside the document: sounds are
//! checked, and conferences are told.

use confab_conference::{AccountId, ConferenceId};
use confab_documents::{Body, Kind, ListPage, language};
use serde_json::Value;

use crate::dispatch::Call;
use crate::error::ApiError;
use crate::tones;

/// Documents read at a time.
const BATCH: u32 = 128;

/// Checks the sounds that a configuration, or a change of one, names, those of its profiles among them.
pub(super) async fn check(call: &Call<'_>, account: &AccountId, body: &Body) -> Result<(), ApiError> {
    let language = language(&Body::new(), call.language_of(account).await?.as_deref());
    let live = &*call.state.conferences;
    let mut found = tones::check_configuration(live, account, &language, body).await;
    let profiles = body.get("profiles").and_then(Value::as_object);
    for (name, profile) in profiles.into_iter().flatten() {
        if found.is_full() {
            break;
        }
        let conference: Body = [("profile".to_owned(), profile.clone())].into_iter().collect();
        let wrong = tones::check(live, account, &language, &conference, None).await;
        let name = name.replace('.', "%2E");
        for violation in wrong.iter() {
            let mut violation = violation.clone();
            if let Some(key) = violation.field.strip_prefix("profile.") {
                violation.field = format!("profiles.{name}.{key}");
            }
            found.push(violation);
        }
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(found.into())
    }
}

/// Tells every conference of the account, running or not, what its document says from here on.
pub(super) async fn announce(call: &Call<'_>, account: &AccountId) -> Result<(), ApiError> {
    let store = &call.state.store;
    let mut page = ListPage {
        limit: BATCH + 1,
        ..ListPage::default()
    };
    loop {
        let mut batch = store.documents(account, Kind::Conference, &page).await?;
        let next = (batch.len() > BATCH as usize).then(|| batch.pop()).flatten();
        for document in batch {
            let id = ConferenceId::from(document.id.as_str());
            // Most are not running: what they would be told is not looked up.
            if call.state.conferences.snapshot(account, &id).await.is_some() {
                let settings = store.settings(&document).await?;
                call.state.conferences.updated(account, &id, settings).await;
            }
        }
        match next {
            Some(document) => page.start = Some(document.id.clone()),
            None => return Ok(()),
        }
    }
}
