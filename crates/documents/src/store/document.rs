//! Owns documents of every kind in the database: reading, saving with revisions, deleting, sealing. What a kind has beside its
//! document, such as the index of numbers, is saved in the same transaction by the modules beside this.

use confab_conference::{AccountId, ConferenceId, GregorianSeconds, Settings};
use serde::Deserialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::credentials::Hashed;
use super::{Store, Write, wall_clock};
use crate::conference::{AccountDefaults, settings_with, shown_caller};
use crate::document::{Body, Document, Expected, Revision, is_id, merge, random_id};
use crate::error::{SaveError, StoreError};
use crate::kind::{CONFERENCES_CONFIGURATION, Kind};
use crate::prepare::{owner, prepare, prompt_id, sealing_place, secrets, sort_key, storable};
use crate::schema::{Rule, Violation};

/// The columns that [`Store::read_document`] reads.
pub(super) const COLUMNS: &str =
    "documents.account_id, documents.id, documents.saves, documents.hash, documents.created,
     documents.modified, documents.deleted, documents.body";

/// Which revision of which document stands in a row, in the order of [`COLUMNS_OF_PLACES`].
#[derive(Deserialize)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) id: String,
    pub(super) saves: i64,
    pub(super) hash: String,
    pub(super) created: i64,
    pub(super) modified: i64,
}

/// The columns of [`Place`].
pub(super) const COLUMNS_OF_PLACES: &str = "documents.account_id, documents.id, documents.saves, documents.hash, documents.created, documents.modified";

/// A document as it stands in the database, deleted ones included.
pub(super) struct Stored {
    pub(super) document: Document,
    pub(super) deleted: bool,
}

/// A prepared document, to be written as the `saves`-th revision.
pub(super) struct Draft {
    pub(super) account: AccountId,
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) saves: u32,
    pub(super) created: GregorianSeconds,
    pub(super) body: Body,
    pub(super) deleted: bool,
    /// What it was before, where it was there.
    pub(super) before: Option<Body>,
    /// The user's new password.
    pub(super) hashed: Option<Hashed>,
}

/// What is to become of a body.
#[derive(Clone)]
enum Change {
    Replace(Body),
    Merge(Body),
}

impl Change {
    fn of(self, mut body: Body) -> Body {
        match self {
            Change::Replace(new) => new,
            Change::Merge(change) => {
                merge(&mut body, change);
                body
            }
        }
    }
}

impl Store {
    /// Makes a document; accounts are made by [`Store::create_account`]. A free `id` in the body is honoured, else one is
    /// drawn. A media document with a `prompt_id` gets the id of that prompt.
    pub async fn create(&self, account: &AccountId, kind: Kind, body: Body) -> Result<Document, SaveError> {
        let chosen = chosen_id(&body)?;
        let mut body = prepare(kind, "", body).map_err(SaveError::Invalid)?;
        let prompt = (kind == Kind::Media).then(|| prompt_id(&body)).flatten();
        let id = prompt.or(chosen).unwrap_or_else(random_id);
        let hashed = self.hash_password(kind, &mut body).await?;
        let mut write = self.write().await?;
        let document = self.insert(&mut write, account, kind, id, body, hashed).await?;
        self.commit(write).await?;
        Ok(document)
    }

    /// Writes the first revision of a document, or the next one of a deleted one.
    pub(super) async fn insert(
        &self,
        write: &mut Write,
        account: &AccountId,
        kind: Kind,
        id: String,
        body: Body,
        hashed: Option<Hashed>,
    ) -> Result<Document, SaveError> {
        // A deleted document's id is free; its revision goes on counting.
        let saves = match self.stored(write, account, kind, &id).await? {
            Some(stored) if !stored.deleted => return Err(SaveError::Conflict),
            Some(stored) => stored.document.revision.saves + 1,
            None => 1,
        };
        let draft = Draft {
            account: account.clone(),
            kind,
            id,
            saves,
            created: wall_clock::now(),
            body,
            deleted: false,
            before: None,
            hashed,
        };
        self.save(write, draft).await
    }

    /// Returns a document.
    pub async fn document(
        &self,
        account: &AccountId,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Document>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM documents WHERE account_id = $1 AND kind = $2 AND id = $3 AND deleted = 0",
        )
        .bind(storable(account.as_str()))
        .bind(kind.name())
        .bind(storable(id))
        .fetch_optional(self.pool())
        .await
        .map_err(|error| self.error(error))?;
        row.map(|row| self.read_document(kind, &row)).transpose()
    }

    /// Returns a conference.
    pub async fn conference(
        &self,
        account: &AccountId,
        id: &ConferenceId,
    ) -> Result<Option<Document>, StoreError> {
        self.document(account, Kind::Conference, id.as_str()).await
    }

    /// Returns the account's configuration of conferences.
    pub async fn conferences_configuration(
        &self,
        account: &AccountId,
    ) -> Result<Option<Document>, StoreError> {
        self.document(account, Kind::Configuration, CONFERENCES_CONFIGURATION)
            .await
    }

    /// Returns what a conference document says about a running conference, and what its account says about all of them.
    pub async fn settings(&self, conference: &Document) -> Result<Settings, StoreError> {
        let configuration = self.conferences_configuration(&conference.account_id).await?;
        let account = self
            .document(
                &conference.account_id,
                Kind::Account,
                conference.account_id.as_str(),
            )
            .await?;
        let language = account.as_ref().and_then(|account| account.body.get("language"));
        Ok(settings_with(
            conference,
            AccountDefaults {
                configuration: configuration.as_ref(),
                language: language.and_then(serde_json::Value::as_str),
            },
        ))
    }

    /// Returns the name and the number that a conference's profile shows of it when it calls somebody, where it says so.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn shown_caller(
        &self,
        conference: &Document,
    ) -> Result<(Option<String>, Option<String>), StoreError> {
        let configuration = self.conferences_configuration(&conference.account_id).await?;
        Ok(shown_caller(conference, configuration.as_ref()))
    }

    /// Replaces every public key of a document; absent keys vanish and defaults apply anew. A configuration that is not
    /// there is made.
    pub async fn replace(
        &self,
        account: &AccountId,
        kind: Kind,
        id: &str,
        body: Body,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        self.change(account, kind, id, expected, Change::Replace(body))
            .await
    }

    /// Merges `change` into a document: objects recursively, `null` deletes a key, lists are replaced whole. The
    /// result is validated as a whole. A configuration that is not there is made.
    pub async fn patch(
        &self,
        account: &AccountId,
        kind: Kind,
        id: &str,
        change: Body,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        self.change(account, kind, id, expected, Change::Merge(change))
            .await
    }

    /// Deletes a document and returns what it was. What it alone might have, such as its numbers, is free from here on.
    /// Of prompts, nothing is left; of others, a mark that the id was there.
    pub async fn delete(
        &self,
        account: &AccountId,
        kind: Kind,
        id: &str,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        let erase = kind == Kind::Media && !is_id(id);
        self.remove(account, kind, id, expected, erase).await
    }

    /// Deletes a document as [`Store::delete`] does and leaves no mark of it: a document made anew under its id begins at
    /// its first revision.
    pub async fn erase(
        &self,
        account: &AccountId,
        kind: Kind,
        id: &str,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        self.remove(account, kind, id, expected, true).await
    }

    async fn remove(
        &self,
        account: &AccountId,
        kind: Kind,
        id: &str,
        expected: &Expected,
        erase: bool,
    ) -> Result<Document, SaveError> {
        let mut write = self.write().await?;
        let current = self.current(&mut write, account, kind, id, expected).await?;
        if kind == Kind::Account {
            self.check_may_delete(&mut write, account).await?;
        }
        let draft = Draft {
            account: account.clone(),
            kind,
            saves: current.revision.saves + 1,
            created: current.created,
            body: current.body,
            deleted: true,
            before: None,
            hashed: None,
            id: current.id,
        };
        let deleted = self.save(&mut write, draft).await?;
        if erase {
            let query = sqlx::query("DELETE FROM documents WHERE account_id = $1 AND kind = $2 AND id = $3");
            let query = query.bind(account.as_str()).bind(kind.name()).bind(storable(id));
            self.execute(&mut write, query).await?;
        }
        self.commit(write).await?;
        if kind == Kind::Account
            && let Err(error) = self.delete_orphaned_files().await
        {
            tracing::warn!(%error, "media of a deleted account stay until the next start");
        }
        Ok(deleted)
    }

    async fn change(
        &self,
        account: &AccountId,
        kind: Kind,
        id: &str,
        expected: &Expected,
        change: Change,
    ) -> Result<Document, SaveError> {
        if kind == Kind::Configuration && !is_configuration_name(id) {
            return Err(SaveError::NotFound);
        }
        // Before the turn to write is taken: hashing is slow.
        let hashed = if kind == Kind::User {
            let before = self
                .document(account, kind, id)
                .await?
                .ok_or(SaveError::NotFound)?;
            let body = prepare(kind, id, change.clone().of(before.body)).map_err(SaveError::Invalid)?;
            self.hash_password(kind, &mut { body }).await?
        } else {
            None
        };
        let mut write = self.write().await?;
        let current = match self.current(&mut write, account, kind, id, expected).await {
            Err(SaveError::NotFound) if kind == Kind::Configuration && *expected == Expected::Anything => {
                None
            }
            current => Some(current?),
        };
        let saves = match &current {
            Some(current) => current.revision.saves,
            None => self
                .stored(&mut write, account, kind, id)
                .await?
                .map_or(0, |stored| stored.document.revision.saves),
        };
        let (created, before) = match current {
            Some(current) => (current.created, Some(current.body)),
            None => (wall_clock::now(), None),
        };
        let body = change.of(before.clone().unwrap_or_default());
        let mut body = prepare(kind, id, body).map_err(SaveError::Invalid)?;
        if kind == Kind::User {
            body.shift_remove("password");
        }
        let draft = Draft {
            account: account.clone(),
            kind,
            id: id.to_owned(),
            saves: saves + 1,
            created,
            body,
            deleted: false,
            before,
            hashed,
        };
        let document = self.save(&mut write, draft).await?;
        self.commit(write).await?;
        Ok(document)
    }

    /// Returns the document that a change applies to.
    pub(super) async fn current(
        &self,
        write: &mut Write,
        account: &AccountId,
        kind: Kind,
        id: &str,
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        let stored = self
            .stored(write, account, kind, id)
            .await?
            .filter(|stored| !stored.deleted);
        let document = stored.ok_or(SaveError::NotFound)?.document;
        if expected.allows(&document.revision) {
            Ok(document)
        } else {
            Err(SaveError::Conflict)
        }
    }

    pub(super) async fn stored(
        &self,
        write: &mut Write,
        account: &AccountId,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Stored>, StoreError> {
        let row = sqlx::query("SELECT * FROM documents WHERE account_id = $1 AND kind = $2 AND id = $3")
            .bind(storable(account.as_str()))
            .bind(kind.name())
            .bind(storable(id))
            .fetch_optional(write.connection())
            .await
            .map_err(|error| self.error(error))?;
        let Some(row) = row else { return Ok(None) };
        let deleted: i64 = row.try_get("deleted").map_err(|error| self.error(error))?;
        Ok(Some(Stored {
            document: self.read_document(kind, &row)?,
            deleted: deleted != 0,
        }))
    }

    /// Writes a draft, and what its kind has beside the document.
    pub(super) async fn save(&self, write: &mut Write, mut draft: Draft) -> Result<Document, SaveError> {
        self.check_beside(write, &mut draft).await?;
        let Draft {
            account,
            kind,
            id,
            saves,
            created,
            body,
            deleted,
            ..
        } = &draft;
        let text = Value::Object(self.sealed(account, *kind, id, body.clone())).to_string();
        // Over what is sealed: a hash of secrets in the clear would let guesses at them be tried.
        let revision = Revision::of(id, *saves, &text);
        let modified = wall_clock::now();
        let query = sqlx::query(
            "INSERT INTO documents
               (account_id, kind, id, saves, hash, created, modified, deleted, body, sort_key, owner_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (account_id, kind, id) DO UPDATE SET saves = excluded.saves, hash = excluded.hash,
               created = excluded.created, modified = excluded.modified, deleted = excluded.deleted,
               body = excluded.body, sort_key = excluded.sort_key, owner_id = excluded.owner_id",
        )
        .bind(account.as_str())
        .bind(kind.name())
        .bind(id.as_str())
        .bind(i64::from(*saves))
        .bind(revision.hash.clone())
        .bind(created.0.cast_signed())
        .bind(modified.0.cast_signed())
        .bind(i64::from(*deleted))
        .bind(text)
        .bind(sort_key(*kind, body))
        .bind(owner(body));
        self.execute(write, query).await?;
        self.save_beside(write, &draft).await?;
        Ok(Document {
            account_id: draft.account,
            kind: draft.kind,
            id: draft.id,
            revision,
            created: draft.created,
            modified,
            body: draft.body,
        })
    }

    /// Reads a row of `documents`, opening what is sealed.
    pub(super) fn read_document(&self, kind: Kind, row: &AnyRow) -> Result<Document, StoreError> {
        let text = |name: &str| row.try_get::<String, _>(name).map_err(|error| self.error(error));
        let number = |name: &str| row.try_get::<i64, _>(name).map_err(|error| self.error(error));
        let place = Place {
            account: text("account_id")?,
            id: text("id")?,
            saves: number("saves")?,
            hash: text("hash")?,
            created: number("created")?,
            modified: number("modified")?,
        };
        self.open_document(kind, place, &text("body")?)
    }

    /// Makes a document of what stands in its row, opening what is sealed.
    pub(super) fn open_document(&self, kind: Kind, place: Place, body: &str) -> Result<Document, StoreError> {
        let Place { id, saves, .. } = place;
        let account_id = AccountId::from(place.account);
        let unreadable = |detail: String| StoreError::UnreadableDocument {
            id: id.clone(),
            detail,
        };
        let mut body: Body = serde_json::from_str(body).map_err(|error| unreadable(error.to_string()))?;
        secrets(kind, &mut body, |path, sealed| {
            let place = sealing_place(&account_id, &id, path);
            *sealed = self
                .shared
                .sealer
                .open(&place, sealed)
                .map_err(|_| unreadable(format!("{path} does not open")))?;
            Ok(())
        })?;
        let time = |seconds: i64| GregorianSeconds(seconds.cast_unsigned());
        Ok(Document {
            account_id,
            kind,
            revision: Revision {
                saves: u32::try_from(saves).map_err(|_| unreadable(format!("{saves} saves")))?,
                hash: place.hash,
            },
            created: time(place.created),
            modified: time(place.modified),
            body,
            id,
        })
    }

    fn sealed(&self, account: &AccountId, kind: Kind, id: &str, mut body: Body) -> Body {
        let done: Result<(), std::convert::Infallible> = secrets(kind, &mut body, |path, secret| {
            *secret = self.shared.sealer.seal(&sealing_place(account, id, path), secret);
            Ok(())
        });
        match done {
            Ok(()) => body,
        }
    }
}

/// Returns the id that the client asks for, if it does.
pub(super) fn chosen_id(body: &Body) -> Result<Option<String>, SaveError> {
    match body.get("id") {
        None | Some(Value::Null) => Ok(None),
        // As good as none: forms of user interfaces have it so.
        Some(Value::String(id)) if id.is_empty() => Ok(None),
        Some(Value::String(id)) if is_id(id) => Ok(Some(id.clone())),
        Some(value) => {
            let violation = Violation::new("id", Rule::Pattern, "Failed to match pattern '^[0-9a-f]{32}$'");
            let violation = violation.with_target("^[0-9a-f]{32}$".into()).with_value(value);
            Err(SaveError::Invalid(violation.into()))
        }
    }
}

/// Returns whether a configuration can have this name.
fn is_configuration_name(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
    let is_ours = name.starts_with(['_', '.']) || name.starts_with("pvt_");
    (1..=128).contains(&name.len()) && name.bytes().all(fits) && !is_ours
}
