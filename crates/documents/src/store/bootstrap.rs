//! Owns the first start: one account, one user and one ready conference in an empty store. Never changes a store that
//! has been started before.

use std::fmt;

use confab_conference::{AccountId, ConferenceId};
use serde_json::{Value, json};

use super::account::{BOOTSTRAP_ACCOUNT, account_draft};
use super::credentials::Hashed;
use super::document::Draft;
use super::{Store, Write};
use crate::account::{API_KEY_LENGTH, is_realm, random_api_key, random_realm};
use crate::document::{Body, is_id, random_id};
use crate::error::{SaveError, StoreError};
use crate::kind::Kind;
use crate::prepare::prepare;

/// What the configuration says about the first account. An empty text is generated, except where noted.
#[derive(Clone, Default)]
pub struct BootstrapConfig {
    /// 32 lower-case hex characters.
    pub account_id: String,
    /// The account's name; "default" when empty.
    pub account_name: String,
    /// The account's SIP realm.
    pub realm: String,
    /// 64 characters.
    pub api_key: String,
    /// The first user; "admin" when empty.
    pub username: String,
    /// His password.
    pub password: String,
    /// The number of the ready conference; no conference is made when empty.
    pub conference_number: String,
}

impl fmt::Debug for BootstrapConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootstrapConfig")
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

/// What the first start made. To be shown to the operator once: the password cannot be read back.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstStart {
    /// The account.
    pub account_id: AccountId,
    /// Its name.
    pub account_name: String,
    /// Its SIP realm.
    pub realm: String,
    /// Its API key.
    pub api_key: String,
    /// The first user.
    pub username: String,
    /// His password.
    pub password: String,
    /// The ready conference and its number.
    pub conference: Option<(ConferenceId, String)>,
}

impl fmt::Debug for FirstStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstStart")
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

/// Characters of generated passwords: none that look alike.
const PASSWORD_ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY34679";
/// Twenty of fifty characters: 112 bits.
const PASSWORD_LENGTH: usize = 20;

impl Store {
    /// Makes the first account, its user and its ready conference when the store is empty, all or nothing. Returns
    /// what was made, or `None` when the store has been started before; the configuration is then not looked at.
    pub async fn bootstrap(&self, config: BootstrapConfig) -> Result<Option<FirstStart>, StoreError> {
        if self.bootstrap_account().await?.is_some() {
            return Ok(None);
        }
        let first = plan(config)?;
        let hashed = self
            .hashed(first.username.clone(), first.password.clone())
            .await?;
        let mut write = self.write().await?;
        // Another process may have been faster since the look above.
        if self.fact(&mut write, BOOTSTRAP_ACCOUNT).await?.is_some() {
            return Ok(None);
        }
        let made = self.make_first(&mut write, &first, hashed).await;
        made.map_err(|error| match error {
            SaveError::Store(error) => error,
            error => StoreError::Bootstrap {
                key: "conference_number",
                problem: format!("cannot be used: {error}"),
            },
        })?;
        self.commit(write).await?;
        Ok(Some(first))
    }

    async fn make_first(
        &self,
        write: &mut Write,
        first: &FirstStart,
        hashed: Hashed,
    ) -> Result<(), SaveError> {
        let account = &first.account_id;
        self.set_fact(write, BOOTSTRAP_ACCOUNT, account.as_str()).await?;
        self.insert_account(write, account, None, &first.api_key).await?;
        let named = json!({ "name": first.account_name, "realm": first.realm });
        let draft = draft_of(account, Kind::Account, account.to_string(), named)?;
        self.save(write, draft).await?;
        let user = json!({
            "username": first.username, "first_name": "Account", "last_name": "Admin", "priv_level": "admin"
        });
        let mut draft = draft_of(account, Kind::User, random_id(), user)?;
        draft.hashed = Some(hashed);
        self.save(write, draft).await?;
        if let Some((id, number)) = &first.conference {
            let conference = json!({
                "name": "First conference", "conference_numbers": [number], "member": { "join_muted": false }
            });
            let draft = draft_of(account, Kind::Conference, id.to_string(), conference)?;
            self.save(write, draft).await?;
        }
        Ok(())
    }
}

/// Returns the first revision of a document.
fn draft_of(account: &AccountId, kind: Kind, id: String, body: Value) -> Result<Draft, SaveError> {
    let body = match body {
        Value::Object(body) => body,
        _ => Body::new(),
    };
    let body = prepare(kind, &id, body).map_err(SaveError::Invalid)?;
    Ok(Draft {
        kind,
        id,
        ..account_draft(account, body)
    })
}

/// Fills what the configuration leaves out, and refuses what cannot be used.
fn plan(config: BootstrapConfig) -> Result<FirstStart, StoreError> {
    let refuse = |key, problem: &str| {
        Err(StoreError::Bootstrap {
            key,
            problem: problem.to_owned(),
        })
    };
    let or = |given: String, default: &dyn Fn() -> String| if given.is_empty() { default() } else { given };
    let account_id = or(config.account_id, &random_id);
    let account_name = or(config.account_name, &|| "default".into());
    let realm = or(config.realm.to_ascii_lowercase(), &random_realm);
    let api_key = or(config.api_key, &random_api_key);
    let username = or(config.username, &|| "admin".into());
    let password = or(config.password, &random_password);
    if !is_id(&account_id) {
        return refuse("account_id", "must be 32 lower-case hex characters");
    }
    if account_name.chars().count() > 128 {
        return refuse("account_name", "must have at most 128 characters");
    }
    if !is_realm(&realm) {
        return refuse(
            "realm",
            "must be a domain name: letters, digits, '.', '-', '_', at most 253 characters",
        );
    }
    if api_key.len() != API_KEY_LENGTH || !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("api_key", "must be 64 printable ASCII characters without blanks");
    }
    let named = |c: char| c.is_alphanumeric() || matches!(c, '+' | '@' | '.' | '_' | '-');
    if username.chars().count() > 256 || !username.chars().all(named) {
        return refuse(
            "username",
            "must be letters, digits, '+', '@', '.', '_' or '-', at most 256 characters",
        );
    }
    let number = config.conference_number;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse("conference_number", "must be digits only");
    }
    let conference = (!number.is_empty()).then(|| (ConferenceId::from(random_id()), number));
    Ok(FirstStart {
        account_id: AccountId::from(account_id),
        account_name,
        realm,
        api_key,
        username,
        password,
        conference,
    })
}

fn random_password() -> String {
    let pick = || PASSWORD_ALPHABET[rand::random_range(0..PASSWORD_ALPHABET.len())];
    (0..PASSWORD_LENGTH).map(|_| char::from(pick())).collect()
}
