//! Owns conference documents in the database: reading, listing, saving with revisions, the number index, sealing.

use std::collections::BTreeMap;

use confab_conference::{AccountId, ConferenceId, GregorianSeconds};
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, Write, wall_clock};
use crate::conference::{NumberList, SEALED_KEY, numbers, prepare};
use crate::document::{Body, Document, Expected, Revision, is_id, merge, random_id};
use crate::error::{SaveError, StoreError};
use crate::schema::{Rule, Violation};

/// In which order a list comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// By ascending id.
    Ascending,
    /// By descending id.
    #[default]
    Descending,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// The order.
    pub order: ListOrder,
    /// The id to begin with, that one included; the list's beginning when `None`.
    pub start: Option<String>,
    /// The most documents returned.
    pub limit: u32,
}

/// A document as it stands in the database, deleted ones included.
struct Stored {
    document: Document,
    deleted: bool,
}

impl Store {
    /// Makes a conference. A free `id` in the body is honoured, else one is drawn.
    pub async fn create_conference(&self, account: &AccountId, body: Body) -> Result<Document, SaveError> {
        let id = chosen_id(&body)?;
        let body = prepare(body).map_err(SaveError::Invalid)?;
        let mut write = self.write().await?;
        let id = id.unwrap_or_else(random_id);
        // A deleted document's id is free; its revision goes on counting.
        let saves = match self.stored(&mut write, account, &id).await? {
            Some(stored) if !stored.deleted => return Err(SaveError::Conflict),
            Some(stored) => stored.document.revision.saves + 1,
            None => 1,
        };
        let now = wall_clock::now();
        let document = self
            .save(&mut write, account, id, saves, now, body, false)
            .await?;
        self.commit(write).await?;
        Ok(document)
    }

    /// Returns a conference.
    pub async fn conference(
        &self,
        account: &AccountId,
        id: &ConferenceId,
    ) -> Result<Option<Document>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM documents WHERE account_id = ? AND kind = 'conference' AND id = ? AND deleted = 0",
        )
        .bind(account.as_str())
        .bind(id.as_str())
        .fetch_optional(self.pool())
        .await
        .map_err(|error| self.error(error))?;
        row.map(|row| self.read_document(&row)).transpose()
    }

    /// Returns a part of the account's conferences.
    pub async fn conferences(
        &self,
        account: &AccountId,
        page: &ListPage,
    ) -> Result<Vec<Document>, StoreError> {
        let query = match page.order {
            ListOrder::Ascending => sqlx::query(
                "SELECT * FROM documents WHERE account_id = ?1 AND kind = 'conference' AND deleted = 0
                 AND (?2 IS NULL OR id >= ?2) ORDER BY id ASC LIMIT ?3",
            ),
            ListOrder::Descending => sqlx::query(
                "SELECT * FROM documents WHERE account_id = ?1 AND kind = 'conference' AND deleted = 0
                 AND (?2 IS NULL OR id <= ?2) ORDER BY id DESC LIMIT ?3",
            ),
        };
        let rows = query
            .bind(account.as_str())
            .bind(&page.start)
            .bind(page.limit)
            .fetch_all(self.pool())
            .await
            .map_err(|error| self.error(error))?;
        rows.iter().map(|row| self.read_document(row)).collect()
    }

    /// Replaces every public key of a conference; absent keys vanish and defaults apply anew.
    pub async fn replace_conference(
        &self,
        account: &AccountId,
        id: &ConferenceId,
        body: Body,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        self.change(account, id, expected, |_| body).await
    }

    /// Merges `change` into a conference: objects recursively, `null` deletes a key, lists are replaced whole. The
    /// result is validated as a whole.
    pub async fn patch_conference(
        &self,
        account: &AccountId,
        id: &ConferenceId,
        change: Body,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        self.change(account, id, expected, |mut body| {
            merge(&mut body, change);
            body
        })
        .await
    }

    /// Deletes a conference and returns what it was. Its numbers are free from here on.
    pub async fn delete_conference(
        &self,
        account: &AccountId,
        id: &ConferenceId,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        let mut write = self.write().await?;
        let current = self.current(&mut write, account, id, expected).await?;
        let (saves, created) = (current.revision.saves + 1, current.created);
        let deleted = self
            .save(
                &mut write,
                account,
                current.id,
                saves,
                created,
                current.body,
                true,
            )
            .await?;
        self.commit(write).await?;
        Ok(deleted)
    }

    async fn change(
        &self,
        account: &AccountId,
        id: &ConferenceId,
        expected: &Expected,
        make: impl FnOnce(Body) -> Body,
    ) -> Result<Document, SaveError> {
        let mut write = self.write().await?;
        let current = self.current(&mut write, account, id, expected).await?;
        let body = prepare(make(current.body)).map_err(SaveError::Invalid)?;
        let (saves, created) = (current.revision.saves + 1, current.created);
        let document = self
            .save(&mut write, account, current.id, saves, created, body, false)
            .await?;
        self.commit(write).await?;
        Ok(document)
    }

    /// Returns the document that a change applies to.
    async fn current(
        &self,
        write: &mut Write,
        account: &AccountId,
        id: &ConferenceId,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        let stored = self
            .stored(write, account, id.as_str())
            .await?
            .filter(|stored| !stored.deleted);
        let document = stored.ok_or(SaveError::NotFound)?.document;
        if expected.allows(&document.revision) {
            Ok(document)
        } else {
            Err(SaveError::Conflict)
        }
    }

    async fn stored(
        &self,
        write: &mut Write,
        account: &AccountId,
        id: &str,
    ) -> Result<Option<Stored>, StoreError> {
        let row =
            sqlx::query("SELECT * FROM documents WHERE account_id = ? AND kind = 'conference' AND id = ?")
                .bind(account.as_str())
                .bind(id)
                .fetch_optional(write.connection())
                .await
                .map_err(|error| self.error(error))?;
        let Some(row) = row else { return Ok(None) };
        let deleted = row.try_get("deleted").map_err(|error| self.error(error))?;
        Ok(Some(Stored {
            document: self.read_document(&row)?,
            deleted,
        }))
    }

    /// Writes a prepared body as the `saves`-th revision, and its numbers into the index.
    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    pub(super) async fn save(
        &self,
        write: &mut Write,
        account: &AccountId,
        id: String,
        saves: u32,
        created: GregorianSeconds,
        body: Body,
        deleted: bool,
    ) -> Result<Document, SaveError> {
        if !deleted {
            self.check_numbers(write, account, &id, &body).await?;
        }
        let content = Value::Object(body.clone()).to_string();
        let revision = Revision::of(&id, saves, &content);
        let modified = wall_clock::now();
        sqlx::query(
            "INSERT INTO documents (account_id, kind, id, saves, hash, created, modified, deleted, body)
             VALUES (?, 'conference', ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (account_id, kind, id) DO UPDATE SET saves = excluded.saves, hash = excluded.hash,
               created = excluded.created, modified = excluded.modified, deleted = excluded.deleted,
               body = excluded.body",
        )
        .bind(account.as_str())
        .bind(&id)
        .bind(saves)
        .bind(&revision.hash)
        .bind(created.0.cast_signed())
        .bind(modified.0.cast_signed())
        .bind(deleted)
        .bind(Value::Object(self.sealed(account, &id, body.clone())).to_string())
        .execute(write.connection())
        .await
        .map_err(|error| self.error(error))?;
        self.index_numbers(write, account, &id, &body, deleted).await?;
        Ok(Document {
            account_id: account.clone(),
            id,
            revision,
            created,
            modified,
            body,
        })
    }

    /// Refuses numbers that another conference of the account has.
    async fn check_numbers(
        &self,
        write: &mut Write,
        account: &AccountId,
        id: &str,
        body: &Body,
    ) -> Result<(), SaveError> {
        let wanted: Vec<String> = index_of(body).into_keys().map(str::to_owned).collect();
        let taken: Vec<String> = sqlx::query_scalar(
            "SELECT number FROM conference_numbers
             WHERE account_id = ? AND conference_id <> ? AND number IN (SELECT value FROM json_each(?))
             ORDER BY number",
        )
        .bind(account.as_str())
        .bind(id)
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

    async fn index_numbers(
        &self,
        write: &mut Write,
        account: &AccountId,
        id: &str,
        body: &Body,
        deleted: bool,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM conference_numbers WHERE account_id = ? AND conference_id = ?")
            .bind(account.as_str())
            .bind(id)
            .execute(write.connection())
            .await
            .map_err(|error| self.error(error))?;
        if deleted {
            return Ok(());
        }
        let rows: Vec<Value> = index_of(body)
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
        sqlx::query(
            "INSERT INTO conference_numbers
               (account_id, conference_id, number, for_anyone, for_members, for_moderators)
             SELECT ?, ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)",
        )
        .bind(account.as_str())
        .bind(id)
        .bind(Value::from(rows).to_string())
        .execute(write.connection())
        .await
        .map(drop)
        .map_err(|error| self.error(error))
    }

    /// Reads a row of `documents`, opening what is sealed.
    pub(super) fn read_document(&self, row: &SqliteRow) -> Result<Document, StoreError> {
        let column = |error| self.error(error);
        let id: String = row.try_get("id").map_err(column)?;
        let account_id = AccountId::from(row.try_get::<String, _>("account_id").map_err(column)?);
        let unreadable = |detail: String| StoreError::UnreadableDocument {
            id: id.clone(),
            detail,
        };
        let text: &str = row.try_get("body").map_err(column)?;
        let mut body: Body = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        if let Some(Value::String(sealed)) = body.get_mut(SEALED_KEY) {
            let place = sealing_place(&account_id, &id);
            *sealed = self
                .shared
                .sealer
                .open(&place, sealed)
                .map_err(|_| unreadable(format!("{SEALED_KEY} does not open")))?;
        }
        let time = |name: &str| {
            row.try_get::<i64, _>(name)
                .map(|seconds| GregorianSeconds(seconds.cast_unsigned()))
        };
        Ok(Document {
            account_id,
            revision: Revision {
                saves: row.try_get("saves").map_err(column)?,
                hash: row.try_get("hash").map_err(column)?,
            },
            created: time("created").map_err(column)?,
            modified: time("modified").map_err(column)?,
            body,
            id,
        })
    }

    fn sealed(&self, account: &AccountId, id: &str, mut body: Body) -> Body {
        if let Some(Value::String(secret)) = body.get_mut(SEALED_KEY) {
            *secret = self.shared.sealer.seal(&sealing_place(account, id), secret);
        }
        body
    }
}

/// Returns the id that the client asks for, if it does.
fn chosen_id(body: &Body) -> Result<Option<String>, SaveError> {
    match body.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if is_id(id) => Ok(Some(id.clone())),
        Some(value) => {
            let violation = Violation::new("id", Rule::Pattern, "Failed to match pattern '^[0-9a-f]{32}$'");
            let violation = violation.with_target("^[0-9a-f]{32}$".into()).with_value(value);
            Err(SaveError::Invalid(violation.into()))
        }
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

fn sealing_place(account: &AccountId, id: &str) -> String {
    format!("{account}/{id}/{SEALED_KEY}")
}
