//! Owns logins and tokens as resources. Never stores a token itself.

use axum::http::StatusCode;
use confab_documents::{
    API_KEY_LENGTH, Account, AccountName, Body, Credentials, Login, Violation, Violations,
};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::rights::Rights;
use crate::state::ApiState;
use crate::token::LoginMethod;

/// The longest credentials taken, in characters.
const MAX_CREDENTIALS: usize = 64;

/// `PUT /v2/api_auth`: exchanges an API key for a token.
pub(super) async fn login_with_api_key(call: &Call<'_>) -> Result<Answer, ApiError> {
    let key = api_key(call)?;
    let account = call.state.store.account_by_api_key(&key).await?;
    let account = account.ok_or(ApiError::UnknownApiKey(key))?;
    if !account.enabled {
        return Err(ApiError::Locked);
    }
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

/// `PUT /v2/user_auth`: exchanges the hash of a user's name and password for a token.
pub(super) async fn login_with_credentials(call: &Call<'_>) -> Result<Answer, ApiError> {
    let data = call.envelope.data_object()?;
    if call.envelope.get("action").is_some() || data.contains_key("action") {
        return Err(ApiError::InvalidCredentials);
    }
    let (account, credentials) = credentials(&data)?;
    let account = account.ok_or(ApiError::InvalidCredentials)?;
    let login = call.state.store.login(&account, &credentials).await?;
    let Login { account, user } = login.ok_or(ApiError::InvalidCredentials)?;
    if !account.enabled {
        return Err(ApiError::Locked);
    }
    let mut data = account_data(call.state, &account).await?;
    data["owner_id"] = user.id.as_str().into();
    let (now, method) = (call.state.clock.monotonic(), LoginMethod::Credentials);
    let rights = Rights::of(user.body.get("priv_level"));
    let tokens = &call.state.tokens;
    let token = tokens.issue_to(now, account.id, Some(user.id), rights, method);
    Ok(Answer {
        new_token: Some(token),
        ..Answer::new(StatusCode::CREATED, data)
    })
}

/// Reads what a login presents. Without an account it is no fault, but leads nowhere.
fn credentials(data: &Body) -> Result<(Option<AccountName>, Credentials), ApiError> {
    let mut found = Violations::default();
    let mut text = |key: &str| match data.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => {
            found.push(Violation::wrong_type(key, "string", other));
            None
        }
    };
    let hash = text("credentials");
    let method = text("method").unwrap_or_else(|| "md5".into());
    let realm = text("account_realm").or_else(|| text("realm"));
    let (name, number) = (text("account_name"), text("phone_number"));
    let account = realm
        .map(AccountName::Realm)
        .or(name.map(AccountName::Name))
        .or(number.map(AccountName::PhoneNumber));
    if !data.contains_key("credentials") {
        found.push(Violation::required("credentials"));
    }
    let hash = hash.unwrap_or_default();
    match hash.chars().count() {
        0 if found.is_empty() => found.push(Violation::too_short("credentials", 1, &"".into())),
        length if length > MAX_CREDENTIALS => {
            found.push(Violation::too_long(
                "credentials",
                MAX_CREDENTIALS as u64,
                &hash.as_str().into(),
            ));
        }
        _ => {}
    }
    if !["md5", "sha"].contains(&method.as_str()) {
        found.push(Violation::not_in_list(
            "method",
            json!(["md5", "sha"]),
            &method.as_str().into(),
        ));
    }
    if !found.is_empty() {
        return Err(found.into());
    }
    let hash = hash.to_ascii_lowercase();
    let credentials = if method == "sha" {
        Credentials::Sha1(hash)
    } else {
        Credentials::Md5(hash)
    };
    Ok((account, credentials))
}

/// `GET /v2/user_auth/{TOKEN}`: says what the token stands for, which has to be that of the request.
pub(super) async fn show_login(call: &Call<'_>) -> Result<Answer, ApiError> {
    let wanted = call.matched.parameter("auth_token");
    match &call.login {
        Some((token, _)) if token == wanted => show_token(call).await,
        _ => Err(ApiError::UnknownId(wanted.to_owned())),
    }
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
    if let Some(owner) = &identity.owner {
        data["owner_id"] = owner.as_str().into();
    }
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
