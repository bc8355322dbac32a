//! Owns the registrar's bindings as rows: kept over a restart, written many at a time. Never reads what is in them.

use confab_conference::{AccountId, GregorianSeconds};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};

use super::{Store, wall_clock};
use crate::error::StoreError;

/// Rows written by one statement.
const AT_A_TIME: usize = 1000;

/// Which binding of which device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationKey {
    /// The device's account.
    pub account: AccountId,
    /// The device.
    pub device: String,
    /// The registrar's number for the binding.
    pub binding: u64,
}

/// A binding that rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which.
    pub key: RegistrationKey,
    /// Its end.
    pub expires: GregorianSeconds,
    /// JSON.
    pub body: String,
}

impl Store {
    /// Returns the bindings of this server, of devices that are there, in the order of their keys. Those whose time is over are deleted.
    pub async fn registrations(&self) -> Result<Vec<Registration>, StoreError> {
        let mut write = self.write().await?;
        let over = sqlx::query("DELETE FROM registrations WHERE server = $1 AND expires <= $2");
        let over = over
            .bind(self.shared.server.as_str())
            .bind(wall_clock::now().0.cast_signed());
        self.execute(&mut write, over).await?;
        self.commit(write).await?;
        let rows = sqlx::query(
            "SELECT rested.account_id, device_id, binding, expires, rested.body AS contact
             FROM registrations AS rested JOIN documents
               ON documents.account_id = rested.account_id AND documents.kind = 'device' AND documents.id = device_id
             WHERE server = $1 AND documents.deleted = 0
             ORDER BY rested.account_id, device_id, binding",
        )
        .bind(self.shared.server.as_str())
        .fetch_all(self.pool())
        .await
        .map_err(|error| self.error(error))?;
        let mut registrations = Vec::with_capacity(rows.len());
        for row in rows {
            let text = |name: &str| row.try_get::<String, _>(name).map_err(|error| self.error(error));
            let number = |name: &str| {
                let number = row.try_get::<i64, _>(name).map_err(|error| self.error(error));
                number.map(i64::cast_unsigned)
            };
            registrations.push(Registration {
                key: RegistrationKey {
                    account: AccountId::from(text("account_id")?),
                    device: text("device_id")?,
                    binding: number("binding")?,
                },
                expires: GregorianSeconds(number("expires")?),
                body: text("contact")?,
            });
        }
        Ok(registrations)
    }

    /// Writes bindings that are new or have changed, and deletes those that are gone, all in one transaction.
    pub async fn save_registrations(
        &self,
        changed: &[Registration],
        gone: &[RegistrationKey],
    ) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        let each = self.shared.dialect.each("$2");
        let key = |key: &RegistrationKey| {
            let RegistrationKey {
                account,
                device,
                binding,
            } = key;
            [json!(account.as_str()), json!(device), json!(binding.to_string())]
        };
        let sql = format!(
            "INSERT INTO registrations (server, account_id, device_id, binding, expires, body)
             SELECT $1, each.value ->> 0, each.value ->> 1, CAST(each.value ->> 2 AS BIGINT),
                    CAST(each.value ->> 3 AS BIGINT), each.value ->> 4
             FROM {each} WHERE true
             ON CONFLICT (server, account_id, device_id, binding)
               DO UPDATE SET expires = excluded.expires, body = excluded.body"
        );
        for rows in changed.chunks(AT_A_TIME) {
            let rows = rows.iter().map(|row| {
                let rest = [json!(row.expires.0.to_string()), json!(row.body)];
                key(&row.key).into_iter().chain(rest).collect::<Value>()
            });
            let query = sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(self.shared.server.as_str())
                .bind(rows.collect::<Value>().to_string());
            self.execute(&mut write, query).await?;
        }
        let sql = format!(
            "DELETE FROM registrations WHERE server = $1 AND (account_id, device_id, binding) IN
               (SELECT each.value ->> 0, each.value ->> 1, CAST(each.value ->> 2 AS BIGINT) FROM {each})"
        );
        for keys in gone.chunks(AT_A_TIME) {
            let keys: Value = keys.iter().map(|gone| Value::from(key(gone).to_vec())).collect();
            let query = sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(self.shared.server.as_str())
                .bind(keys.to_string());
            self.execute(&mut write, query).await?;
        }
        self.commit(write).await
    }
}
