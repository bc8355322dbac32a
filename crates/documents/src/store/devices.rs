//! Owns finding devices by what they show: the user and realm of their credentials, or their address. Never compares a password.

use std::net::IpAddr;

use confab_conference::{AccountId, GregorianSeconds};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row};

use super::document::COLUMNS;
use super::{Store, wall_clock};
use crate::account::Account;
use crate::document::Document;
use crate::error::StoreError;
use crate::kind::Kind;
use crate::prepare::{DEVICE_IP, DEVICE_USERNAME, storable};

/// How far a reading of changes goes back beyond the one before, in seconds: clocks of servers on one database differ.
const OVERLAP_S: u64 = 5;

/// A device with what decides whether it may register and call.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// Its document, password included.
    pub device: Document,
    /// Its account.
    pub account: Account,
    /// The realm of its credentials: its own, or its account's.
    pub realm: String,
    /// Device, account and owner are switched on.
    pub enabled: bool,
}

/// A document that was saved or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Its account.
    pub account: AccountId,
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// How often it has been saved.
    pub saves: u64,
}

impl Store {
    /// Returns the device that has this user in this realm, in any case.
    pub async fn device_by_username(
        &self,
        realm: &str,
        username: &str,
    ) -> Result<Option<DeviceLogin>, StoreError> {
        self.device_by_key(DEVICE_USERNAME, &realm.to_lowercase(), &username.to_lowercase())
            .await
    }

    /// Returns the device that is known by this address (`sip.method` is `ip`).
    pub async fn device_by_address(&self, address: IpAddr) -> Result<Option<DeviceLogin>, StoreError> {
        self.device_by_key(DEVICE_IP, "", &address.to_canonical().to_string())
            .await
    }

    async fn device_by_key(
        &self,
        name: &str,
        scope: &str,
        value: &str,
    ) -> Result<Option<DeviceLogin>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM document_keys AS keys JOIN documents
               ON documents.account_id = keys.account_id AND documents.kind = keys.kind AND documents.id = keys.id
             WHERE keys.name = $1 AND keys.scope = $2 AND keys.value = $3 AND documents.deleted = 0"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(name)
            .bind(storable(scope))
            .bind(storable(value))
            .fetch_optional(self.pool())
            .await
            .map_err(|error| self.error(error))?;
        match row {
            Some(row) => self.login_of(self.read_document(Kind::Device, &row)?).await,
            None => Ok(None),
        }
    }

    /// Returns a device by its id.
    pub async fn device_login(
        &self,
        account: &AccountId,
        device: &str,
    ) -> Result<Option<DeviceLogin>, StoreError> {
        match self.document(account, Kind::Device, device).await? {
            Some(device) => self.login_of(device).await,
            None => Ok(None),
        }
    }

    async fn login_of(&self, device: Document) -> Result<Option<DeviceLogin>, StoreError> {
        let Some(account) = self.account(&device.account_id).await? else {
            return Ok(None);
        };
        let is_on = |document: &Document| document.body.get("enabled") != Some(&Value::Bool(false));
        let owner = match device.body.get("owner_id").and_then(Value::as_str) {
            Some(owner) => self.document(&account.id, Kind::User, owner).await?,
            None => None,
        };
        let own_realm = device.body.get("sip").and_then(|sip| sip.get("realm")?.as_str());
        Ok(Some(DeviceLogin {
            realm: own_realm.map_or_else(|| account.realm.clone(), str::to_lowercase),
            enabled: account.enabled && is_on(&device) && owner.as_ref().is_none_or(is_on),
            account,
            device,
        }))
    }

    /// Returns whether an account or a device is in this realm.
    pub async fn serves_realm(&self, realm: &str) -> Result<bool, StoreError> {
        let asked = sqlx::query(
            "SELECT 1 FROM accounts WHERE deleted = 0 AND realm = $1
             UNION ALL SELECT 1 FROM document_keys WHERE name = $2 AND scope = $1 LIMIT 1",
        )
        .bind(storable(&realm.to_lowercase()))
        .bind(DEVICE_USERNAME)
        .fetch_optional(self.pool())
        .await;
        asked.map(|row| row.is_some()).map_err(|error| self.error(error))
    }

    /// Returns the documents of some kinds that were saved or deleted since a time, by whichever server, and the time to ask with
    /// next. Some come more than once.
    pub async fn changes_since(
        &self,
        since: GregorianSeconds,
        kinds: &[Kind],
    ) -> Result<(Vec<Change>, GregorianSeconds), StoreError> {
        let now = wall_clock::now();
        // A clock that was set back must not hide what is saved from here on.
        let from = since.0.min(now.0).saturating_sub(OVERLAP_S);
        let named: Vec<String> = kinds.iter().map(|kind| format!("'{}'", kind.name())).collect();
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT account_id, kind, id, saves FROM documents WHERE kind IN ({}) AND modified >= $1",
            named.join(", ")
        )))
        .bind(from.cast_signed())
        .fetch_all(self.pool())
        .await
        .map_err(|error| self.error(error))?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let text = |name: &str| row.try_get::<String, _>(name).map_err(|error| self.error(error));
            let name = text("kind")?;
            let Some(kind) = kinds.iter().find(|kind| kind.name() == name) else {
                continue;
            };
            changes.push(Change {
                account: AccountId::from(text("account_id")?),
                kind: *kind,
                id: text("id")?,
                saves: row
                    .try_get::<i64, _>("saves")
                    .map_err(|error| self.error(error))?
                    .cast_unsigned(),
            });
        }
        Ok((changes, now))
    }
}
