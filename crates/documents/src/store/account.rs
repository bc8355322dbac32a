//! Owns accounts in the database: lookup by id, realm and API key, who may act on whom, and what of an account's document
//! others look it up by.

use std::time::Duration;

use confab_conference::AccountId;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::document::{Draft, chosen_id};
use super::{Store, Write, wall_clock};
use crate::account::{API_KEY_LENGTH, Account, USUAL_MAX_CALL, random_api_key, random_realm};
use crate::document::{Body, Document, random_id};
use crate::error::{SaveError, StoreError};
use crate::kind::Kind;
use crate::prepare::{name_key, prepare, storable};
use crate::schema::{Rule, Violation};

/// The fact that names the bootstrap account.
pub(super) const BOOTSTRAP_ACCOUNT: &str = "bootstrap_account";

impl Store {
    /// Returns the account of that id.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("SELECT * FROM accounts WHERE deleted = 0 AND id = $1");
        let row = query
            .bind(storable(id.as_str()))
            .fetch_optional(self.pool())
            .await;
        self.optional_account(row)
    }

    /// Returns the account whose realm is `host`, compared without regard to case.
    pub async fn account_by_realm(&self, host: &str) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("SELECT * FROM accounts WHERE deleted = 0 AND realm = $1");
        let row = query
            .bind(storable(&host.to_ascii_lowercase()))
            .fetch_optional(self.pool())
            .await;
        self.optional_account(row)
    }

    /// Returns the account that an API key belongs to.
    pub async fn account_by_api_key(&self, api_key: &str) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("SELECT * FROM accounts WHERE deleted = 0 AND api_key_sha256 = $1");
        let row = query.bind(fingerprint(api_key)).fetch_optional(self.pool()).await;
        self.optional_account(row)
    }

    /// Returns the account made at the first start, to which calls to this server's own address belong. `None` before
    /// [`Store::bootstrap`].
    pub async fn bootstrap_account(&self) -> Result<Option<Account>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM accounts WHERE id = (SELECT value FROM server_facts WHERE name = $1)");
        let row = query.bind(BOOTSTRAP_ACCOUNT).fetch_optional(self.pool()).await;
        self.optional_account(row)
    }

    /// Returns whether `actor` is `target` or stands above it in the tree of accounts.
    pub async fn may_act_on(&self, actor: &AccountId, target: &AccountId) -> Result<bool, StoreError> {
        if actor == target {
            return Ok(true);
        }
        // UNION, not UNION ALL: a loop in the tree, made from outside, ends the walk.
        let found = sqlx::query(
            "WITH RECURSIVE above (id) AS (
                 SELECT parent_id FROM accounts WHERE id = $1
                 UNION
                 SELECT accounts.parent_id FROM accounts JOIN above ON accounts.id = above.id
             )
             SELECT id FROM above WHERE id = $2",
        )
        .bind(storable(target.as_str()))
        .bind(storable(actor.as_str()))
        .fetch_optional(self.pool())
        .await
        .map_err(|error| self.error(error))?;
        Ok(found.is_some())
    }

    /// Makes an account below another one, with a random API key, and returns its document. A realm is drawn where the
    /// body has none.
    pub async fn create_account(&self, parent: &AccountId, body: Body) -> Result<Document, SaveError> {
        let id = chosen_id(&body)?.unwrap_or_else(random_id);
        let body = prepare(Kind::Account, &id, body).map_err(SaveError::Invalid)?;
        let mut write = self.write().await?;
        let query = sqlx::query("SELECT id FROM accounts WHERE id = $1 AND deleted = 0");
        if !self
            .exists(&mut write, query.bind(storable(parent.as_str())))
            .await?
        {
            return Err(SaveError::NotFound);
        }
        // Tokens and sealed secrets may name an id that was: it is not given again.
        let query = sqlx::query("SELECT id FROM accounts WHERE id = $1");
        if self.exists(&mut write, query.bind(id.clone())).await? {
            return Err(SaveError::Conflict);
        }
        let id = AccountId::from(id);
        self.insert_account(&mut write, &id, Some(parent), &random_api_key())
            .await?;
        let document = self.save(&mut write, account_draft(&id, body)).await?;
        self.commit(write).await?;
        Ok(document)
    }

    /// Returns an account's API key.
    pub async fn api_key(&self, id: &AccountId) -> Result<Option<String>, StoreError> {
        let sealed: Option<String> =
            sqlx::query_scalar("SELECT api_key_sealed FROM accounts WHERE id = $1 AND deleted = 0")
                .bind(storable(id.as_str()))
                .fetch_optional(self.pool())
                .await
                .map_err(|error| self.error(error))?;
        let Some(sealed) = sealed else { return Ok(None) };
        let key = self.shared.sealer.open(&api_key_place(id), &sealed);
        key.map(Some).map_err(|_| StoreError::UnreadableDocument {
            id: id.to_string(),
            detail: "its API key does not open".into(),
        })
    }

    /// Gives an account a new API key and returns it. The old one is good for nothing from here on. `None` when there is
    /// no such account.
    pub async fn renew_api_key(&self, id: &AccountId) -> Result<Option<String>, StoreError> {
        let key = random_api_key();
        let mut write = self.write().await?;
        let query = sqlx::query(
            "UPDATE accounts SET api_key_sha256 = $2, api_key_sealed = $3 WHERE id = $1 AND deleted = 0",
        )
        .bind(storable(id.as_str()))
        .bind(fingerprint(&key))
        .bind(self.shared.sealer.seal(&api_key_place(id), &key));
        let done = query.execute(write.connection()).await;
        let found = done.map_err(|error| self.error(error))?.rows_affected() == 1;
        self.commit(write).await?;
        Ok(found.then_some(key))
    }

    /// Makes the row of a new account. What stands in its document follows when that is saved.
    pub(super) async fn insert_account(
        &self,
        write: &mut Write,
        id: &AccountId,
        parent: Option<&AccountId>,
        api_key: &str,
    ) -> Result<(), StoreError> {
        let now = wall_clock::now().0.cast_signed();
        let query = sqlx::query(
            "INSERT INTO accounts
             (id, parent_id, name, realm, language, api_key_sha256, api_key_sealed, created, modified)
             VALUES ($1, $2, '', $1, '', $3, $4, $5, $5)",
        )
        .bind(id.as_str())
        .bind(parent.map(|parent| parent.as_str().to_owned()))
        .bind(fingerprint(api_key))
        .bind(self.shared.sealer.seal(&api_key_place(id), api_key))
        .bind(now);
        self.execute(write, query).await
    }

    /// Refuses a realm that others use, and completes the body with one: the one it had, or a new one.
    pub(super) async fn check_account(&self, write: &mut Write, draft: &mut Draft) -> Result<(), SaveError> {
        if draft.deleted {
            return Ok(());
        }
        let before = draft
            .before
            .as_ref()
            .and_then(|body| body.get("realm"))
            .and_then(Value::as_str);
        let realm = match draft.body.get("realm").and_then(Value::as_str) {
            Some(realm) => realm.to_ascii_lowercase(),
            None => before.map_or_else(random_realm, str::to_owned),
        };
        let own = sqlx::query("SELECT id FROM accounts WHERE realm = $1 AND id <> $2");
        let mut taken = self
            .exists(write, own.bind(realm.clone()).bind(draft.account.as_str()))
            .await?;
        // Devices of others may be there: calls to them would come here.
        let keys = sqlx::query("SELECT id FROM document_keys WHERE scope = $1 AND account_id <> $2");
        taken |= self
            .exists(write, keys.bind(realm.clone()).bind(draft.account.as_str()))
            .await?;
        if taken {
            let violation = Violation::new("realm", Rule::Unique, "Account realm already in use");
            return Err(SaveError::Invalid(violation.with_cause(realm.into()).into()));
        }
        if draft.body.get("enabled") == Some(&Value::Bool(false))
            && self.is_first(write, &draft.account).await?
        {
            let violation = Violation::new("enabled", Rule::Invalid, "The first account cannot be disabled");
            return Err(SaveError::Invalid(violation.into()));
        }
        draft.body.insert("realm".into(), realm.into());
        Ok(())
    }

    /// Brings the row of an account in line with its document.
    pub(super) async fn save_account(&self, write: &mut Write, draft: &Draft) -> Result<(), SaveError> {
        let (account, body) = (&draft.account, &draft.body);
        if draft.deleted {
            // Realm and key are free for others; so is what its devices have.
            let query = sqlx::query(
                "UPDATE accounts SET deleted = 1, realm = id, api_key_sha256 = id, api_key_sealed = '' WHERE id = $1",
            );
            self.execute(write, query.bind(account.as_str())).await?;
            let query = sqlx::query("DELETE FROM document_keys WHERE account_id = $1");
            return Ok(self.execute(write, query.bind(account.as_str())).await?);
        }
        let text = |key: &str| storable(body.get(key).and_then(Value::as_str).unwrap_or_default());
        let max_call = body.get("max_call_duration").and_then(Value::as_u64);
        let enabled = body.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        let query = sqlx::query(
            "UPDATE accounts SET name = $2, realm = $3, language = $4, name_key = $5, enabled = $6, modified = $7, max_call_s = $8
             WHERE id = $1",
        )
        .bind(account.as_str())
        .bind(text("name"))
        .bind(text("realm"))
        .bind(text("language"))
        .bind(name_key(&text("name")))
        .bind(i64::from(enabled))
        .bind(wall_clock::now().0.cast_signed())
        .bind(max_call.unwrap_or(USUAL_MAX_CALL.as_secs()).cast_signed());
        self.execute(write, query).await?;
        match &draft.before {
            Some(before) if before.get("realm") != body.get("realm") => {
                self.rekey_devices(write, account, &text("realm")).await
            }
            _ => Ok(()),
        }
    }

    /// Refuses to delete the first account, and one with others below it.
    pub(super) async fn check_may_delete(&self, write: &mut Write, id: &AccountId) -> Result<(), SaveError> {
        let refuse = |message: &str| {
            Err(SaveError::Invalid(
                Violation::new("account", Rule::Invalid, message).into(),
            ))
        };
        if self.is_first(write, id).await? {
            return refuse("The first account cannot be deleted");
        }
        let query = sqlx::query("SELECT id FROM accounts WHERE parent_id = $1 AND deleted = 0 LIMIT 1");
        if self.exists(write, query.bind(id.as_str())).await? {
            return refuse("There are accounts below this one: delete them first");
        }
        Ok(())
    }

    async fn is_first(&self, write: &mut Write, id: &AccountId) -> Result<bool, StoreError> {
        let first = self.fact(write, BOOTSTRAP_ACCOUNT).await?;
        Ok(first.as_deref() == Some(id.as_str()))
    }

    fn optional_account(
        &self,
        row: Result<Option<AnyRow>, sqlx::Error>,
    ) -> Result<Option<Account>, StoreError> {
        row.and_then(|row| row.map(|row| read(&row)).transpose())
            .map_err(|error| self.error(error))
    }
}

fn read(row: &AnyRow) -> Result<Account, sqlx::Error> {
    Ok(Account {
        id: AccountId::from(row.try_get::<String, _>("id")?),
        parent: row
            .try_get::<Option<String>, _>("parent_id")?
            .map(AccountId::from),
        name: row.try_get("name")?,
        realm: row.try_get("realm")?,
        language: row.try_get("language")?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        max_call: Duration::from_secs(row.try_get::<i64, _>("max_call_s")?.max(1).cast_unsigned()),
    })
}

/// Returns the first revision of an account's document.
pub(super) fn account_draft(id: &AccountId, body: Body) -> Draft {
    Draft {
        account: id.clone(),
        kind: Kind::Account,
        id: id.to_string(),
        saves: 1,
        created: wall_clock::now(),
        body,
        deleted: false,
        before: None,
        hashed: None,
    }
}

/// Returns what an API key is looked up by. A key of the wrong length has none that is stored.
fn fingerprint(api_key: &str) -> String {
    if api_key.len() != API_KEY_LENGTH {
        return String::new();
    }
    hex::encode(Sha256::digest(api_key))
}

fn api_key_place(id: &AccountId) -> String {
    format!("{id}/api_key")
}
