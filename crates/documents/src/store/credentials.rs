//! Owns the passwords of users in the database, and logins with them. Never stores or returns a password.

use std::sync::Arc;

use confab_conference::AccountId;
use sqlx::Row;

use super::document::Draft;
use super::{Store, Write};
use crate::account::Account;
use crate::document::{Body, Document};
use crate::error::{SaveError, StoreError};
use crate::kind::Kind;
use crate::prepare::{name_key, storable};
use crate::schema::{Rule, Violation};
use crate::secret::{Credentials, PasswordVerifier};

/// The most users whose verifiers one login asks.
const MAX_CANDIDATES: i64 = 64;

/// A new password, hashed for the user of that name.
pub(super) struct Hashed {
    username: String,
    verifier: PasswordVerifier,
    hints: [i64; 2],
}

/// How a login names the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountName {
    /// By its name: letters and digits count, in any case. Several accounts may have it.
    Name(String),
    /// By its realm.
    Realm(String),
    /// By a number of one of its conferences.
    PhoneNumber(String),
}

/// Who logged in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account.
    pub account: Account,
    /// The user.
    pub user: Document,
}

impl Store {
    /// Finds the user of an account whose credentials these are. `None` when there is none, or he may not log in; whether
    /// the account may is for the caller to see.
    pub async fn login(
        &self,
        account: &AccountName,
        credentials: &Credentials,
    ) -> Result<Option<Login>, StoreError> {
        let condition = match account {
            AccountName::Name(_) => "accounts.name_key = $1",
            AccountName::Realm(_) => "accounts.realm = $1",
            AccountName::PhoneNumber(_) => {
                "accounts.id IN (SELECT account_id FROM conference_numbers WHERE number = $1)"
            }
        };
        let wanted = match account {
            AccountName::Name(name) => name_key(name),
            AccountName::Realm(realm) => storable(&realm.to_ascii_lowercase()),
            AccountName::PhoneNumber(number) => storable(number.trim_start_matches('+')),
        };
        if wanted.is_empty() {
            return Ok(None);
        }
        let (column, hint) = match credentials {
            Credentials::Md5(_) => ("md5_hint", self.hint(credentials.digest())),
            Credentials::Sha1(_) => ("sha1_hint", self.hint(credentials.digest())),
        };
        let sql = format!(
            "SELECT user_passwords.account_id, user_id, md5_verifier, sha1_verifier
             FROM user_passwords JOIN accounts ON accounts.id = user_passwords.account_id
             WHERE {condition} AND accounts.deleted = 0 AND ({column} IS NULL OR {column} = $2) LIMIT $3"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(wanted)
            .bind(hint)
            .bind(MAX_CANDIDATES)
            .fetch_all(self.pool())
            .await
            .map_err(|error| self.error(error))?;
        for row in rows {
            let text = |name: &str| row.try_get::<String, _>(name).map_err(|error| self.error(error));
            let verifier = PasswordVerifier {
                md5: text("md5_verifier")?,
                sha1: text("sha1_verifier")?,
            };
            let presented = credentials.clone();
            if !self.hashing(move || verifier.accepts(&presented)).await? {
                continue;
            }
            let id = AccountId::from(text("account_id")?);
            let user = self.document(&id, Kind::User, &text("user_id")?).await?;
            let may = |user: &Document| {
                user.body.get("enabled").and_then(serde_json::Value::as_bool) != Some(false)
            };
            if let (Some(account), Some(user)) = (self.account(&id).await?, user.filter(may)) {
                return Ok(Some(Login { account, user }));
            }
        }
        Ok(None)
    }

    /// Takes the password out of a prepared user and hashes it; `None` of other kinds, and where there is none.
    pub(super) async fn hash_password(
        &self,
        kind: Kind,
        body: &mut Body,
    ) -> Result<Option<Hashed>, StoreError> {
        if kind != Kind::User {
            return Ok(None);
        }
        let text =
            |value: Option<serde_json::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let password = text(body.shift_remove("password"));
        match (text(body.get("username").cloned()), password) {
            (Some(username), Some(password)) => self.hashed(username, password).await.map(Some),
            _ => Ok(None),
        }
    }

    pub(super) async fn hashed(&self, username: String, password: String) -> Result<Hashed, StoreError> {
        let hints = [
            Credentials::md5_of(&username, &password),
            Credentials::sha1_of(&username, &password),
        ]
        .map(|credentials| self.hint(credentials.digest()));
        let name = username.clone();
        let verifier = self
            .hashing(move || PasswordVerifier::new(&name, &password))
            .await??;
        Ok(Hashed {
            username,
            verifier,
            hints,
        })
    }

    fn hint(&self, digest: &str) -> i64 {
        self.shared.sealer.hint("login", digest).into()
    }

    /// Runs what takes long beside the tasks of the runtime, one at a time.
    async fn hashing<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let failed = |detail: String| StoreError::Hashing { detail };
        let _turn = shared
            .hashing
            .acquire()
            .await
            .map_err(|error| failed(error.to_string()))?;
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| failed(error.to_string()))
    }

    /// Refuses a name that another user of the account has, and one that has no password.
    pub(super) async fn check_username(&self, write: &mut Write, draft: &Draft) -> Result<(), SaveError> {
        let name = |body: &Body| {
            body.get("username")
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned)
        };
        let Some(username) = name(&draft.body) else {
            return Ok(());
        };
        let query = sqlx::query(
            "SELECT 1 FROM user_passwords WHERE account_id = $1 AND username = $2 AND user_id <> $3",
        )
        .bind(draft.account.as_str())
        .bind(storable(&username.to_lowercase()))
        .bind(draft.id.as_str());
        if self.exists(write, query).await? {
            let message = "Username must be unique within account";
            let violation = Violation::new("username", Rule::Unique, message);
            return Err(SaveError::Invalid(violation.with_cause(username.into()).into()));
        }
        match &draft.hashed {
            Some(hashed) if hashed.username == username => Ok(()),
            // Another writer has changed the name since the password was hashed for it.
            Some(_) => Err(SaveError::Conflict),
            None if draft.before.as_ref().and_then(name).as_ref() == Some(&username) => Ok(()),
            None => {
                let message = "The password must be given with a new username";
                Err(SaveError::Invalid(
                    Violation::new("password", Rule::Required, message).into(),
                ))
            }
        }
    }

    /// Writes or deletes a user's verifiers.
    pub(super) async fn save_password(&self, write: &mut Write, draft: &Draft) -> Result<(), StoreError> {
        let named = draft.body.contains_key("username");
        if draft.deleted || !named || draft.hashed.is_some() {
            let query = sqlx::query("DELETE FROM user_passwords WHERE account_id = $1 AND user_id = $2")
                .bind(draft.account.as_str())
                .bind(draft.id.as_str());
            self.execute(write, query).await?;
        }
        let Some(hashed) = draft.hashed.as_ref().filter(|_| !draft.deleted && named) else {
            return Ok(());
        };
        let query = sqlx::query(
            "INSERT INTO user_passwords
               (account_id, user_id, username, md5_verifier, sha1_verifier, md5_hint, sha1_hint)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(draft.account.as_str())
        .bind(draft.id.as_str())
        .bind(storable(&hashed.username.to_lowercase()))
        .bind(hashed.verifier.md5.clone())
        .bind(hashed.verifier.sha1.clone())
        .bind(hashed.hints[0])
        .bind(hashed.hints[1]);
        self.execute(write, query).await
    }
}
