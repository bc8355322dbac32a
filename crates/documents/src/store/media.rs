//! Owns the files of media documents: their bytes, and what is known of them. Never looks into the bytes: who stores some has
//! made sure that they can be played.
//!
//! They are rows of the database, so that all servers on one database have them, a backup of the database is a backup of
//! everything, and a file and its document change in one transaction. A file is kept in parts of [`PART_BYTES`].

use std::ops::Range;
use std::sync::atomic::Ordering;

use confab_conference::AccountId;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::document::{Draft, chosen_id};
use super::{Store, Write};
use crate::document::{Body, Document, Expected, random_id};
use crate::error::{SaveError, StoreError};
use crate::kind::Kind;
use crate::prepare::{prepare, prompt_id, storable};
use crate::schema::Violation;

/// Bytes that the file of a media document has at most.
pub const MAX_MEDIA_BYTES: usize = 11_534_336;

/// Bytes of every part of a file but the last one, which has the rest.
const PART_BYTES: usize = 262_144;

/// Files that are deleted in one transaction when their account is gone.
const FILES_PER_TURN: i64 = 16;

/// What is known of the file of a media document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaFile {
    /// The account that the document belongs to.
    pub account_id: AccountId,
    /// The document's id.
    pub id: String,
    /// Its type, such as `audio/wav`.
    pub content_type: String,
    /// Bytes that it has.
    pub length: u64,
    /// SHA-256 of its bytes, in lower-case hex: another file has another one.
    pub sha256: String,
}

impl Store {
    /// Makes a media document with its file, and returns it: `Document::id` is what plays it. `body` is that of
    /// [`Store::create`] (`name` is required; `owner_id` says whose it is, `media_source` is `upload` unless it is given);
    /// `content_type` is one of those of the schema, such as `audio/wav`. The bytes are stored as they are and have to be
    /// audio that can be played.
    ///
    /// # Errors
    /// As [`Store::create`]; [`SaveError::Invalid`] also for no bytes and for more than [`MAX_MEDIA_BYTES`].
    pub async fn create_media(
        &self,
        account: &AccountId,
        body: Body,
        content_type: &str,
        bytes: &[u8],
    ) -> Result<Document, SaveError> {
        let chosen = chosen_id(&body)?;
        let body = with_file(body, content_type, bytes)?;
        let body = prepare(Kind::Media, "", body).map_err(SaveError::Invalid)?;
        let id = prompt_id(&body).or(chosen).unwrap_or_else(random_id);
        let mut write = self.write().await?;
        let document = self
            .insert(&mut write, account, Kind::Media, id, body, None)
            .await?;
        self.write_file(&mut write, account, &document.id, content_type, bytes)
            .await?;
        self.commit(write).await?;
        Ok(document)
    }

    /// Gives a media document its file, in the place of the one it has, and returns the document: `media_source` is
    /// `upload`, `content_type` and `content_length` are those of the file. The bytes are stored as they are and have to be
    /// audio that can be played.
    ///
    /// # Errors
    /// As [`Store::patch`]; [`SaveError::Invalid`] also for no bytes, for more than [`MAX_MEDIA_BYTES`], and for a type that the
    /// schema does not have.
    pub async fn put_media_bytes(
        &self,
        account: &AccountId,
        id: &str,
        content_type: &str,
        bytes: &[u8],
        expected: &Expected,
    ) -> Result<Document, SaveError> {
        let mut write = self.write().await?;
        let current = self
            .current(&mut write, account, Kind::Media, id, expected)
            .await?;
        let mut body = with_file(current.body, content_type, bytes)?;
        body.insert("media_source".into(), "upload".into());
        let body = prepare(Kind::Media, id, body).map_err(SaveError::Invalid)?;
        self.write_file(&mut write, account, id, content_type, bytes)
            .await?;
        let draft = Draft {
            account: account.clone(),
            kind: Kind::Media,
            id: current.id,
            saves: current.revision.saves + 1,
            created: current.created,
            body,
            deleted: false,
            before: None,
            hashed: None,
        };
        let document = self.save(&mut write, draft).await?;
        self.commit(write).await?;
        Ok(document)
    }

    /// Returns what is known of a document's file. `None` when there is no such document, or no file to it.
    pub async fn media_file(&self, account: &AccountId, id: &str) -> Result<Option<MediaFile>, StoreError> {
        let row = sqlx::query(FILE)
            .bind(storable(account.as_str()))
            .bind(storable(id))
            .fetch_optional(self.pool())
            .await;
        row.and_then(|row| row.map(|row| read(account, &row)).transpose())
            .map_err(|error| self.error(error))
    }

    /// Returns bytes of a file; what of the range is beyond its end is left out. `None` when the file is not there any more,
    /// or another one is.
    pub async fn media_bytes(
        &self,
        file: &MediaFile,
        range: Range<u64>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let part_bytes = PART_BYTES as u64;
        let range = range.start.min(file.length)..range.end.min(file.length);
        if range.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let parts = range.start / part_bytes..(range.end - 1) / part_bytes + 1;
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        for part in parts {
            let found: Option<Vec<u8>> = sqlx::query_scalar(
                "SELECT media_parts.bytes FROM media_parts JOIN media_files
                   ON media_files.account_id = media_parts.account_id AND media_files.media_id = media_parts.media_id
                 WHERE media_parts.account_id = $1 AND media_parts.media_id = $2 AND media_parts.part = $3
                   AND media_files.sha256 = $4",
            )
            .bind(storable(file.account_id.as_str()))
            .bind(storable(&file.id))
            .bind(part.cast_signed())
            .bind(storable(&file.sha256))
            .fetch_optional(self.pool())
            .await
            .map_err(|error| self.error(error))?;
            let Some(found) = found else { return Ok(None) };
            // Where in this part the range begins and ends.
            let begin = part * part_bytes;
            let within = |at: u64| {
                usize::try_from(at.saturating_sub(begin)).map_or(found.len(), |at| at.min(found.len()))
            };
            bytes.extend_from_slice(&found[within(range.start)..within(range.end)]);
        }
        Ok(Some(bytes))
    }

    /// Returns the files of the account's prompts: of the media documents with a `prompt_id`. Their ids are
    /// `language/prompt_id`, the language in lower case.
    pub async fn media_prompts(&self, account: &AccountId) -> Result<Vec<MediaFile>, StoreError> {
        let rows = sqlx::query(
            "SELECT media_id, content_type, length, sha256 FROM media_files
             WHERE account_id = $1 AND media_id LIKE '%/%' ORDER BY media_id",
        )
        .bind(storable(account.as_str()))
        .fetch_all(self.pool())
        .await
        .map_err(|error| self.error(error))?;
        let files: Result<_, sqlx::Error> = rows.iter().map(|row| read(account, row)).collect();
        files.map_err(|error| self.error(error))
    }

    /// Returns a count that is another one after every change of media that this process has made: what was read of them
    /// before is out of date. Changes by other servers on the same database are not in it.
    pub fn media_changes(&self) -> u64 {
        self.shared.media_changes.load(Ordering::Acquire)
    }

    /// Takes what the server knows of the file into the body of its document.
    pub(super) async fn check_file(&self, write: &mut Write, draft: &mut Draft) -> Result<(), SaveError> {
        let row = sqlx::query(FILE)
            .bind(draft.account.as_str())
            .bind(storable(&draft.id))
            .fetch_optional(write.connection())
            .await;
        let file = row
            .and_then(|row| row.map(|row| read(&draft.account, &row)).transpose())
            .map_err(|error| self.error(error))?;
        if let Some(file) = file {
            draft.body.insert("content_type".into(), file.content_type.into());
            draft.body.insert("content_length".into(), file.length.into());
        }
        Ok(())
    }

    /// Deletes the file of a document that is deleted: nothing brings it back.
    pub(super) async fn save_file(&self, write: &mut Write, draft: &Draft) -> Result<(), StoreError> {
        write.touches_media = true;
        if draft.deleted {
            self.delete_file(write, &draft.account, &draft.id).await?;
        }
        Ok(())
    }

    /// Deletes the files of accounts that are deleted, a few in each transaction: others who write are not held up for as
    /// long as all of them take. What a server that was stopped has left is deleted when the store is opened.
    pub(super) async fn delete_orphaned_files(&self) -> Result<(), StoreError> {
        let orphans = format!(
            "SELECT account_id, media_id FROM media_files
             WHERE account_id IN (SELECT id FROM accounts WHERE deleted = 1) LIMIT {FILES_PER_TURN}"
        );
        loop {
            let mut write = self.write().await?;
            let rows = sqlx::query(AssertSqlSafe(orphans.clone()))
                .fetch_all(write.connection())
                .await;
            let files: Result<Vec<(String, String)>, sqlx::Error> = rows.and_then(|rows| {
                let ids = |row: &AnyRow| Ok((row.try_get("account_id")?, row.try_get("media_id")?));
                rows.iter().map(ids).collect()
            });
            let files = files.map_err(|error| self.error(error))?;
            if files.is_empty() {
                return Ok(());
            }
            for (account, id) in files {
                self.delete_file(&mut write, &AccountId::from(account), &id)
                    .await?;
            }
            write.touches_media = true;
            self.commit(write).await?;
        }
    }

    async fn delete_file(&self, write: &mut Write, account: &AccountId, id: &str) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM media_files WHERE account_id = $1 AND media_id = $2");
        let query = query.bind(storable(account.as_str())).bind(storable(id));
        self.execute(write, query).await
    }

    async fn write_file(
        &self,
        write: &mut Write,
        account: &AccountId,
        id: &str,
        content_type: &str,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.delete_file(write, account, id).await?;
        let query = sqlx::query(
            "INSERT INTO media_files (account_id, media_id, content_type, length, sha256) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(account.as_str())
        .bind(id)
        .bind(content_type)
        .bind(bytes.len() as i64)
        .bind(hex::encode(Sha256::digest(bytes)));
        self.execute(write, query).await?;
        for (part, bytes) in bytes.chunks(PART_BYTES).enumerate() {
            let query = sqlx::query(
                "INSERT INTO media_parts (account_id, media_id, part, bytes) VALUES ($1, $2, $3, $4)",
            )
            .bind(account.as_str())
            .bind(id)
            .bind(part as i64)
            .bind(bytes.to_vec());
            self.execute(write, query).await?;
        }
        write.touches_media = true;
        Ok(())
    }
}

const FILE: &str =
    "SELECT media_id, content_type, length, sha256 FROM media_files WHERE account_id = $1 AND media_id = $2";

fn read(account: &AccountId, row: &AnyRow) -> Result<MediaFile, sqlx::Error> {
    Ok(MediaFile {
        account_id: account.clone(),
        id: row.try_get("media_id")?,
        content_type: row.try_get("content_type")?,
        length: row.try_get::<i64, _>("length")?.cast_unsigned(),
        sha256: row.try_get("sha256")?,
    })
}

/// Says in a body what its file is.
fn with_file(mut body: Body, content_type: &str, bytes: &[u8]) -> Result<Body, SaveError> {
    if bytes.is_empty() {
        return Err(SaveError::Invalid(Violation::required("file").into()));
    }
    body.insert("content_type".into(), content_type.into());
    body.insert("content_length".into(), Value::from(bytes.len()));
    Ok(body)
}
