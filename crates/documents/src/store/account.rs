//! Owns accounts in the database: lookup by id, realm and API key, and who may act on whom.

use confab_conference::AccountId;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, Write, wall_clock};
use crate::account::{
    API_KEY_LENGTH, Account, DEFAULT_LANGUAGE, NewAccount, is_realm, random_api_key, random_realm,
};
use crate::document::random_id;
use crate::error::{SaveError, StoreError};
use crate::schema::{Rule, Violation, Violations};

/// The fact that names the bootstrap account.
pub(super) const BOOTSTRAP_ACCOUNT: &str = "bootstrap_account";

impl Store {
    /// Returns the account of that id.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("SELECT id, parent_id, name, realm, language FROM accounts WHERE id = ?");
        let row = query.bind(id.as_str()).fetch_optional(self.pool()).await;
        self.optional_account(row)
    }

    /// Returns the account whose realm is `host`, compared without regard to case.
    pub async fn account_by_realm(&self, host: &str) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("SELECT id, parent_id, name, realm, language FROM accounts WHERE realm = ?");
        let row = query
            .bind(host.to_ascii_lowercase())
            .fetch_optional(self.pool())
            .await;
        self.optional_account(row)
    }

    /// Returns the account that an API key belongs to.
    pub async fn account_by_api_key(&self, api_key: &str) -> Result<Option<Account>, StoreError> {
        let query =
            sqlx::query("SELECT id, parent_id, name, realm, language FROM accounts WHERE api_key_sha256 = ?");
        let row = query.bind(fingerprint(api_key)).fetch_optional(self.pool()).await;
        self.optional_account(row)
    }

    /// Returns the account made at the first start, to which calls to this server's own address belong. `None` before
    /// [`Store::bootstrap`].
    pub async fn bootstrap_account(&self) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query(
            "SELECT id, parent_id, name, realm, language FROM accounts
             WHERE id = (SELECT value FROM server_facts WHERE name = ?)",
        );
        let row = query.bind(BOOTSTRAP_ACCOUNT).fetch_optional(self.pool()).await;
        self.optional_account(row)
    }

    /// Returns whether `actor` is `target` or stands above it in the tree of accounts.
    pub async fn may_act_on(&self, actor: &AccountId, target: &AccountId) -> Result<bool, StoreError> {
        if actor == target {
            return Ok(true);
        }
        // UNION, not UNION ALL: a loop in the tree, made from outside, ends the walk.
        let found: Option<i64> = sqlx::query_scalar(
            "WITH RECURSIVE above (id) AS (
                 SELECT parent_id FROM accounts WHERE id = ?
                 UNION
                 SELECT accounts.parent_id FROM accounts JOIN above ON accounts.id = above.id
             )
             SELECT 1 FROM above WHERE id = ?",
        )
        .bind(target.as_str())
        .bind(actor.as_str())
        .fetch_optional(self.pool())
        .await
        .map_err(|error| self.error(error))?;
        Ok(found.is_some())
    }

    /// Makes an account below another one, with a random id and API key.
    pub async fn create_account(&self, account: NewAccount) -> Result<Account, SaveError> {
        let NewAccount { parent, name, realm } = account;
        let realm = if realm.is_empty() {
            random_realm()
        } else {
            realm.to_ascii_lowercase()
        };
        if let Some(violations) = violations(&name, &realm) {
            return Err(SaveError::Invalid(violations));
        }
        let mut write = self.write().await?;
        if self.realm_is_taken(&mut write, &realm).await? {
            let violation = Violation::new("realm", Rule::Unique, "Account realm already in use");
            return Err(SaveError::Invalid(violation.with_cause(realm.into()).into()));
        }
        if !self.account_exists(&mut write, &parent).await? {
            return Err(SaveError::NotFound);
        }
        let account = Account {
            id: AccountId::from(random_id()),
            parent: Some(parent),
            name,
            realm,
            language: DEFAULT_LANGUAGE.to_owned(),
        };
        self.insert_account(&mut write, &account, &random_api_key())
            .await?;
        self.commit(write).await?;
        Ok(account)
    }

    /// Returns an account's API key.
    pub async fn api_key(&self, id: &AccountId) -> Result<Option<String>, StoreError> {
        let sealed: Option<String> = sqlx::query_scalar("SELECT api_key_sealed FROM accounts WHERE id = ?")
            .bind(id.as_str())
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

    pub(super) async fn insert_account(
        &self,
        write: &mut Write,
        account: &Account,
        api_key: &str,
    ) -> Result<(), StoreError> {
        let now = wall_clock::now().0.cast_signed();
        sqlx::query(
            "INSERT INTO accounts
             (id, parent_id, name, realm, language, api_key_sha256, api_key_sealed, created, modified)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(account.id.as_str())
        .bind(account.parent.as_ref().map(AccountId::as_str))
        .bind(&account.name)
        .bind(&account.realm)
        .bind(&account.language)
        .bind(fingerprint(api_key))
        .bind(self.shared.sealer.seal(&api_key_place(&account.id), api_key))
        .bind(now)
        .bind(now)
        .execute(write.connection())
        .await
        .map(drop)
        .map_err(|error| self.error(error))
    }

    async fn realm_is_taken(&self, write: &mut Write, realm: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM accounts WHERE realm = ?")
            .bind(realm)
            .fetch_optional(write.connection())
            .await
            .map_err(|error| self.error(error))?;
        Ok(found.is_some())
    }

    async fn account_exists(&self, write: &mut Write, id: &AccountId) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM accounts WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(write.connection())
            .await
            .map_err(|error| self.error(error))?;
        Ok(found.is_some())
    }

    fn optional_account(
        &self,
        row: Result<Option<SqliteRow>, sqlx::Error>,
    ) -> Result<Option<Account>, StoreError> {
        row.and_then(|row| row.map(|row| read(&row)).transpose())
            .map_err(|error| self.error(error))
    }
}

fn read(row: &SqliteRow) -> Result<Account, sqlx::Error> {
    Ok(Account {
        id: AccountId::from(row.try_get::<String, _>("id")?),
        parent: row
            .try_get::<Option<String>, _>("parent_id")?
            .map(AccountId::from),
        name: row.try_get("name")?,
        realm: row.try_get("realm")?,
        language: row.try_get("language")?,
    })
}

fn violations(name: &str, realm: &str) -> Option<Violations> {
    let mut violations = Violations::default();
    match name.chars().count() {
        0 => violations.push(Violation::too_short("name", 1, &name.into())),
        1..=128 => {}
        _ => violations.push(Violation::too_long("name", 128, &name.into())),
    }
    if !is_realm(realm) {
        let violation = Violation::new("realm", Rule::Pattern, "Failed to match pattern '^[.\\w_-]+$'");
        violations.push(
            violation
                .with_target(r"^[.\w_-]+$".into())
                .with_value(&realm.into()),
        );
    }
    (!violations.is_empty()).then_some(violations)
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
