//! Owns logins and tokens as resources. Never stores a token itself.

use axum::http::StatusCode;
use confab_documents::{API_KEY_LENGTH, Account, Violation};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::token::LoginMethod;

/// `PUT /v2/api_auth`: exchanges an API key for a token.
pub(super) async fn login_with_api_key(call: &Call<'_>) -> Result<Answer, ApiError> {
    let key = api_key(call)?;
    let account = call.state.store.account_by_api_key(&key).await?;
    let account = account.ok_or(ApiError::UnknownApiKey(key))?;
    let data = account_data(call.state, &account).await?;
    let token = call
        .state
        .tokens
        .issue(call.state.clock.monotonic(), account.id, LoginMethod::ApiKey);
    Ok(Answer {
        new_token: Some(token),
        ..Answer::new(StatusCode::CREATED, data)
    })
}

fn api_key(call: &Call<'_>) -> Result<String, ApiError> {
    let data = call.envelope.data_object()?;
    let value = data
        .get("api_key")
        .ok_or_else(|| ApiError::from(Violation::required("api_key")))?;
    let Value::String(key) = value else {
        return Err(Violation::wrong_type("api_key", "string", value).into());
    };
    match key.chars().count() {
        length if length < API_KEY_LENGTH => {
            Err(Violation::too_short("api_key", API_KEY_LENGTH as u64, value).into())
        }
        length if length > API_KEY_LENGTH => {
            Err(Violation::too_long("api_key", API_KEY_LENGTH as u64, value).into())
        }
        _ => Ok(key.clone()),
    }
}

async fn account_data(state: &ApiState, account: &Account) -> Result<Value, ApiError> {
    let master = state.store.bootstrap_account().await?;
    Ok(json!({
        "account_id": account.id.as_str(),
        "account_name": account.name,
        "is_reseller": false,
        "reseller_id": master.map_or_else(|| account.id.to_string(), |master| master.id.to_string()),
        "language": account.language,
        "apps": []
    }))
}

/// `GET /v2/token_auth`: says what the token of the request stands for.
pub(super) async fn show_token(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (_, identity) = call.login.as_ref().ok_or(ApiError::InvalidCredentials)?;
    let account = call.state.store.account(&identity.account).await?;
    let account = account.ok_or_else(|| ApiError::UnknownId(identity.account.to_string()))?;
    let mut data = account_data(call.state, &account).await?;
    let left = identity
        .expires
        .saturating_duration_since(call.state.clock.monotonic());
    data["method"] = identity.method.name().into();
    data["expires"] = (call.state.clock.gregorian().0 + left.as_secs()).into();
    Ok(Answer::ok(data))
}

/// `DELETE /v2/token_auth`: ends the token of the request.
pub(super) fn revoke_token(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (token, _) = call.login.as_ref().ok_or(ApiError::InvalidCredentials)?;
    call.state.tokens.revoke(token);
    Ok(Answer::ok(json!({})))
}
