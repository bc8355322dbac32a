//! Owns accounts as resources: making them, what is told about them beside their document, the tree, API keys. Never
//! checks who asks.

use axum::http::StatusCode;
use confab_documents::{Body, Document, Kind, ListScope};
use serde_json::{Value, json};

use super::document::{list_in, told};
use crate::answer::{Answer, TagBuilder};
use crate::dispatch::Call;
use crate::error::{ApiError, save_error};

/// `PUT /accounts/{A}` and `PUT /accounts`: makes an account below the path's, or else below the token's own.
pub(super) async fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let parent = call.account()?;
    let body = call.envelope.data_object()?;
    let made = call.state.store.create_account(parent, body).await;
    let document = made.map_err(|error| save_error(parent.as_str(), error))?;
    Ok(Answer {
        location: Some(format!("/v2/accounts/{}", document.id)),
        status: StatusCode::CREATED,
        ..told(call, &document).await?
    })
}

/// Returns what is told about an account and stands not in its document.
pub(super) async fn facts(call: &Call<'_>, document: &Document) -> Result<Body, ApiError> {
    let master = call.state.store.bootstrap_account().await?;
    let master = master.map_or_else(String::new, |master| master.id.to_string());
    let facts = [
        ("is_reseller", Value::Bool(false)),
        ("superduper_admin", Value::Bool(document.id == master)),
        ("reseller_id", master.into()),
        ("created", document.created.0.into()),
    ];
    Ok(facts
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect())
}

/// `GET /accounts/{A}/children`.
pub(super) async fn children(call: &Call<'_>) -> Result<Answer, ApiError> {
    list_in(
        call,
        Kind::Account,
        ListScope::Children(call.account()?.clone()),
        None,
    )
    .await
}

/// `GET /accounts/{A}/descendants`.
pub(super) async fn descendants(call: &Call<'_>) -> Result<Answer, ApiError> {
    list_in(
        call,
        Kind::Account,
        ListScope::Descendants(call.account()?.clone()),
        None,
    )
    .await
}

/// `GET /accounts/{A}/parents`.
pub(super) async fn parents(call: &Call<'_>) -> Result<Answer, ApiError> {
    list_in(
        call,
        Kind::Account,
        ListScope::Parents(call.account()?.clone()),
        None,
    )
    .await
}

/// `GET /accounts/{A}/api_key`.
pub(super) async fn show_api_key(call: &Call<'_>) -> Result<Answer, ApiError> {
    let account = call.account()?;
    let key = call.state.store.api_key(account).await?;
    api_key(account.as_str(), key)
}

/// `PUT /accounts/{A}/api_key`: makes a new one.
pub(super) async fn renew_api_key(call: &Call<'_>) -> Result<Answer, ApiError> {
    let account = call.account()?;
    let key = call.state.store.renew_api_key(account).await?;
    // Whoever had the old one is out; who asks for a new one goes on.
    let own = call.login.as_ref().map_or("", |(token, _)| token);
    call.state.tokens.revoke_key(account, own);
    api_key(account.as_str(), key)
}

fn api_key(account: &str, key: Option<String>) -> Result<Answer, ApiError> {
    let key = key.ok_or_else(|| ApiError::UnknownId(account.to_owned()))?;
    Ok(Answer {
        etag: Some(TagBuilder::default().text(&key).finish()),
        ..Answer::ok(json!({ "api_key": key }))
    })
}
