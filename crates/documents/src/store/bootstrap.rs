//! Owns the first start: one account, one user and one ready conference in an empty store. Never changes a store that
//! has been started before.

use std::fmt;

use confab_conference::{AccountId, ConferenceId};
use serde_json::{Value, json};

use super::account::BOOTSTRAP_ACCOUNT;
use super::{Store, Write, wall_clock};
use crate::account::{API_KEY_LENGTH, Account, DEFAULT_LANGUAGE, is_realm, random_api_key, random_realm};
use crate::conference::prepare;
use crate::document::{Body, Revision, is_id, random_id};
use crate::error::{SaveError, StoreError};
use crate::secret::PasswordVerifier;

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
        let (username, password) = (first.username.clone(), first.password.clone());
        let verifier = tokio::task::spawn_blocking(move || PasswordVerifier::new(&username, &password))
            .await
            .map_err(|error| StoreError::Hashing {
                detail: error.to_string(),
            })??;
        let mut write = self.write().await?;
        // Another process may have been faster since the look above.
        if self.fact(&mut write, BOOTSTRAP_ACCOUNT).await?.is_some() {
            return Ok(None);
        }
        let account = Account {
            id: first.account_id.clone(),
            parent: None,
            name: first.account_name.clone(),
            realm: first.realm.clone(),
            language: DEFAULT_LANGUAGE.to_owned(),
        };
        self.insert_account(&mut write, &account, &first.api_key).await?;
        self.set_fact(&mut write, BOOTSTRAP_ACCOUNT, account.id.as_str())
            .await?;
        self.insert_user(&mut write, &account.id, &first.username, &verifier)
            .await?;
        if let Some((id, number)) = &first.conference {
            self.insert_ready_conference(&mut write, &account.id, id, number)
                .await?;
        }
        self.commit(write).await?;
        Ok(Some(first))
    }

    async fn insert_user(
        &self,
        write: &mut Write,
        account: &AccountId,
        username: &str,
        verifier: &PasswordVerifier,
    ) -> Result<(), StoreError> {
        let id = random_id();
        let body = json!({
            "username": username, "first_name": "Account", "last_name": "Admin", "priv_level": "admin", "enabled": true
        })
        .to_string();
        let now = wall_clock::now().0.cast_signed();
        sqlx::query(
            "INSERT INTO documents (account_id, kind, id, saves, hash, created, modified, body)
             VALUES (?, 'user', ?, 1, ?, ?, ?, ?)",
        )
        .bind(account.as_str())
        .bind(&id)
        .bind(Revision::of(&id, 1, &body).hash)
        .bind(now)
        .bind(now)
        .bind(&body)
        .execute(write.connection())
        .await
        .map_err(|error| self.error(error))?;
        sqlx::query(
            "INSERT INTO user_passwords (account_id, user_id, username, md5_verifier, sha1_verifier)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(account.as_str())
        .bind(&id)
        .bind(username.to_lowercase())
        .bind(&verifier.md5)
        .bind(&verifier.sha1)
        .execute(write.connection())
        .await
        .map(drop)
        .map_err(|error| self.error(error))
    }

    async fn insert_ready_conference(
        &self,
        write: &mut Write,
        account: &AccountId,
        id: &ConferenceId,
        number: &str,
    ) -> Result<(), StoreError> {
        let body: Body = [
            ("name".to_owned(), Value::from("First conference")),
            ("conference_numbers".to_owned(), json!([number])),
            ("member".to_owned(), json!({ "join_muted": false })),
        ]
        .into_iter()
        .collect();
        let unusable = || StoreError::Bootstrap {
            key: "conference_number",
            problem: "cannot be used as a conference number".into(),
        };
        let body = prepare(body).map_err(|_| unusable())?;
        let now = wall_clock::now();
        match self
            .save(write, account, id.to_string(), 1, now, body, false)
            .await
        {
            Ok(_) => Ok(()),
            Err(SaveError::Store(error)) => Err(error),
            Err(_) => Err(unusable()),
        }
    }
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
