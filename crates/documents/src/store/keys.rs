//! Owns what belongs to one document alone: the numbers of conferences, the users and addresses of devices. Kept in tables
//! beside the documents, in the same transaction.

use std::collections::BTreeMap;

use confab_conference::AccountId;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::document::Draft;
use super::{ListPage, Store, Write};
use crate::conference::{NumberList, numbers};
use crate::document::Body;
use crate::error::{SaveError, StoreError};
use crate::kind::Kind;
use crate::prepare::{DEVICE_USERNAME, UniqueKey, drop_own_realm, storable, unique_keys};
use crate::schema::{Rule, Violation, Violations};

impl Store {
    /// Checks what a draft takes against what others have, and completes it with what only the database knows. Whatever
    /// is not deleted needs an account that is there.
    pub(super) async fn check_beside(&self, write: &mut Write, draft: &mut Draft) -> Result<(), SaveError> {
        if draft.kind == Kind::Account {
            return self.check_account(write, draft).await;
        }
        let realm = self
            .realm(write, &draft.account)
            .await?
            .ok_or(SaveError::NotFound)?;
        if draft.deleted {
            return Ok(());
        }
        match draft.kind {
            Kind::Conference => self.check_numbers(write, draft).await,
            Kind::User => self.check_username(write, draft).await,
            Kind::Device => {
                drop_own_realm(&mut draft.body, &realm);
                self.check_device_realm(write, draft).await?;
                self.check_keys(write, draft, &realm).await
            }
            Kind::Media => self.check_file(write, draft).await,
            _ => Ok(()),
        }
    }

    /// Writes what a kind has beside its document.
    pub(super) async fn save_beside(&self, write: &mut Write, draft: &Draft) -> Result<(), SaveError> {
        match draft.kind {
            Kind::Account => self.save_account(write, draft).await,
            Kind::Conference => Ok(self.index_numbers(write, draft).await?),
            Kind::User => Ok(self.save_password(write, draft).await?),
            Kind::Device => {
                let realm = self.realm(write, &draft.account).await?.unwrap_or_default();
                Ok(self.index_keys(write, draft, &realm).await?)
            }
            Kind::Media => Ok(self.save_file(write, draft).await?),
            _ => Ok(()),
        }
    }

    /// Returns the realm of an account that is not deleted.
    async fn realm(&self, write: &mut Write, account: &AccountId) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT realm FROM accounts WHERE id = $1 AND deleted = 0")
            .bind(storable(account.as_str()))
            .fetch_optional(write.connection())
            .await
            .map_err(|error| self.error(error))
    }

    /// Refuses numbers that another conference of the account has.
    async fn check_numbers(&self, write: &mut Write, draft: &Draft) -> Result<(), SaveError> {
        let wanted: Vec<Vec<&str>> = index_of(&draft.body)
            .into_keys()
            .map(|number| vec![number])
            .collect();
        let each = self.shared.dialect.each("$3");
        let taken: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT number FROM conference_numbers
             WHERE account_id = $1 AND conference_id <> $2 AND number IN (SELECT each.value ->> 0 FROM {each})
             ORDER BY number"
        )))
        .bind(draft.account.as_str())
        .bind(draft.id.as_str())
        .bind(Value::from(wanted).to_string())
        .fetch_all(write.connection())
        .await
        .map_err(|error| self.error(error))?;
        if taken.is_empty() {
            return Ok(());
        }
        let violation = Violation::new("numbers", Rule::Unique, "Numbers already in use");
        Err(SaveError::Invalid(
            violation.with_cause(taken.join(", ").into()).into(),
        ))
    }

    async fn index_numbers(&self, write: &mut Write, draft: &Draft) -> Result<(), StoreError> {
        let query =
            sqlx::query("DELETE FROM conference_numbers WHERE account_id = $1 AND conference_id = $2")
                .bind(draft.account.as_str())
                .bind(draft.id.as_str());
        self.execute(write, query).await?;
        let index = index_of(&draft.body);
        if draft.deleted || index.is_empty() {
            return Ok(());
        }
        let rows: Vec<Value> = index
            .into_iter()
            .map(|(number, lists)| {
                let listed = |list| i64::from(lists.contains(&list));
                Value::from(vec![
                    Value::from(number),
                    listed(NumberList::Anyone).into(),
                    listed(NumberList::Members).into(),
                    listed(NumberList::Moderators).into(),
                ])
            })
            .collect();
        let each = self.shared.dialect.each("$3");
        let sql = format!(
            "INSERT INTO conference_numbers
               (account_id, conference_id, number, for_anyone, for_members, for_moderators)
             SELECT $1, $2, each.value ->> 0, CAST(each.value ->> 1 AS BIGINT),
               CAST(each.value ->> 2 AS BIGINT), CAST(each.value ->> 3 AS BIGINT) FROM {each}"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(draft.account.as_str())
            .bind(draft.id.as_str())
            .bind(Value::from(rows).to_string());
        self.execute(write, query).await
    }

    /// Refuses a realm that is another account's: its phones would be found in there.
    async fn check_device_realm(&self, write: &mut Write, draft: &Draft) -> Result<(), SaveError> {
        let realm = draft
            .body
            .get("sip")
            .and_then(|sip| sip.get("realm"))
            .and_then(Value::as_str);
        let Some(realm) = realm else { return Ok(()) };
        let query = sqlx::query("SELECT 1 FROM accounts WHERE realm = $1").bind(realm.to_ascii_lowercase());
        if self.exists(write, query).await? {
            let violation = Violation::new("sip.realm", Rule::Unique, "The realm is another account's");
            return Err(SaveError::Invalid(violation.with_cause(realm.into()).into()));
        }
        Ok(())
    }

    /// Refuses what another document has.
    async fn check_keys(&self, write: &mut Write, draft: &Draft, realm: &str) -> Result<(), SaveError> {
        let mut found = Violations::default();
        for key in unique_keys(draft.kind, &draft.body, realm) {
            let query = sqlx::query(
                "SELECT 1 FROM document_keys WHERE name = $1 AND scope = $2 AND value = $3
                 AND NOT (account_id = $4 AND kind = $5 AND id = $6)",
            )
            .bind(key.name)
            .bind(key.scope.clone())
            .bind(key.value.clone())
            .bind(draft.account.as_str())
            .bind(draft.kind.name())
            .bind(draft.id.as_str());
            if self.exists(write, query).await? {
                found.push(key.violation(&draft.body));
            }
        }
        if found.is_empty() {
            Ok(())
        } else {
            Err(SaveError::Invalid(found))
        }
    }

    async fn index_keys(&self, write: &mut Write, draft: &Draft, realm: &str) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM document_keys WHERE account_id = $1 AND kind = $2 AND id = $3")
            .bind(draft.account.as_str())
            .bind(draft.kind.name())
            .bind(draft.id.as_str());
        self.execute(write, query).await?;
        if draft.deleted {
            return Ok(());
        }
        for key in unique_keys(draft.kind, &draft.body, realm) {
            self.insert_key(write, &draft.account, draft.kind, &draft.id, key)
                .await?;
        }
        Ok(())
    }

    async fn insert_key(
        &self,
        write: &mut Write,
        account: &AccountId,
        kind: Kind,
        id: &str,
        key: UniqueKey,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO document_keys (name, scope, value, account_id, kind, id) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(key.name)
        .bind(key.scope)
        .bind(key.value)
        .bind(account.as_str())
        .bind(kind.name())
        .bind(id);
        self.execute(write, query).await
    }

    /// Indexes the users of an account's devices anew, after its realm has changed. Refused when two devices would share
    /// one.
    pub(super) async fn rekey_devices(
        &self,
        write: &mut Write,
        account: &AccountId,
        realm: &str,
    ) -> Result<(), SaveError> {
        let query = sqlx::query("DELETE FROM document_keys WHERE account_id = $1 AND name = $2")
            .bind(account.as_str())
            .bind(DEVICE_USERNAME);
        self.execute(write, query).await?;
        let page = ListPage {
            limit: u32::MAX,
            ..ListPage::default()
        };
        let mut taken = BTreeMap::new();
        // The write is not seen by this read, and changes no device.
        for device in self.documents(account, Kind::Device, &page).await? {
            let keys = unique_keys(Kind::Device, &device.body, realm);
            for key in keys.into_iter().filter(|key| key.name == DEVICE_USERNAME) {
                if taken.insert((key.scope.clone(), key.value.clone()), ()).is_some() {
                    let message = "SIP credentials already in use in that realm";
                    let violation = Violation::new("realm", Rule::Unique, message);
                    return Err(SaveError::Invalid(violation.with_cause(key.value.into()).into()));
                }
                self.insert_key(write, account, Kind::Device, &device.id, key)
                    .await?;
            }
        }
        Ok(())
    }
}

/// Returns every number of a conference with the lists it stands in.
fn index_of(body: &Body) -> BTreeMap<&str, Vec<NumberList>> {
    let mut index: BTreeMap<&str, Vec<NumberList>> = BTreeMap::new();
    for list in [NumberList::Anyone, NumberList::Members, NumberList::Moderators] {
        for number in numbers(body, list) {
            index.entry(number).or_default().push(list);
        }
    }
    index
}
