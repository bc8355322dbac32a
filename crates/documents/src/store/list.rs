//! Owns reading parts of lists of documents. Never decides which of them a client wants to see.

use std::collections::HashMap;
use std::sync::Arc;

use confab_conference::AccountId;
use serde::de::DeserializeOwned;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row as _};

use super::Store;
use super::document::{COLUMNS_OF_PLACES, Place};
use crate::document::Document;
use crate::error::StoreError;
use crate::kind::Kind;
use crate::prepare::{sort_key, storable};

/// In which order a list comes. Users are sorted by last and first name and then by id, others by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// Ascending.
    Ascending,
    /// Descending.
    #[default]
    Descending,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The order.
    pub order: ListOrder,
    /// The place to begin with ([`ListPage::place_of`]), or the id, that document included; the list's beginning when `None`.
    pub start: Option<String>,
    /// The most documents returned.
    pub limit: u32,
    /// Only documents that this user owns.
    pub owner: Option<String>,
}

/// Between the id and what a list is sorted by, in hex, in the place of a document.
const PLACE_SEPARATOR: char = '.';

impl ListPage {
    /// Returns the place of a document as a page's beginning. It stays where it is when the document is changed or
    /// deleted, so that a walk over all pages meets each of the others once.
    pub fn place_of(document: &Document) -> String {
        let sorted_by = sort_key(document.kind, &document.body);
        if sorted_by.is_empty() {
            return document.id.clone();
        }
        format!("{}{PLACE_SEPARATOR}{}", document.id, hex::encode(sorted_by))
    }
}

/// Returns the id in a place, and what the list is sorted by there if it says so.
fn place(kind: Kind, text: &str) -> (&str, Option<String>) {
    if kind != Kind::User {
        return (text, None);
    }
    let read = text.split_once(PLACE_SEPARATOR).and_then(|(id, sorted_by)| {
        let sorted_by = String::from_utf8(hex::decode(sorted_by).ok()?).ok()?;
        Some((id, Some(sorted_by)))
    });
    read.unwrap_or((text, None))
}

/// Whose documents a list is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListScope {
    /// Those of an account.
    Account(AccountId),
    /// Those of the accounts directly below one.
    Children(AccountId),
    /// Those of all accounts below one.
    Descendants(AccountId),
    /// Those of all accounts above one.
    Parents(AccountId),
}

impl ListScope {
    fn account(&self) -> &AccountId {
        match self {
            ListScope::Account(id)
            | ListScope::Children(id)
            | ListScope::Descendants(id)
            | ListScope::Parents(id) => id,
        }
    }

    /// Returns the condition on `account_id`, the account being `$1`. UNION, not UNION ALL: a loop in the tree, made from
    /// outside, ends the walk.
    fn condition(&self) -> &'static str {
        match self {
            ListScope::Account(_) => "account_id = $1",
            ListScope::Children(_) => "account_id IN (SELECT accounts.id FROM accounts WHERE parent_id = $1)",
            ListScope::Descendants(_) => {
                "account_id IN (WITH RECURSIVE below (id) AS (
                     SELECT accounts.id FROM accounts WHERE parent_id = $1
                     UNION SELECT accounts.id FROM accounts JOIN below ON accounts.parent_id = below.id
                 ) SELECT below.id FROM below)"
            }
            ListScope::Parents(_) => {
                "account_id IN (WITH RECURSIVE above (id) AS (
                     SELECT parent_id FROM accounts WHERE accounts.id = $1
                     UNION SELECT accounts.parent_id FROM accounts JOIN above ON accounts.id = above.id
                 ) SELECT above.id FROM above)"
            }
        }
    }
}

impl Store {
    /// Returns a part of the account's documents of a kind.
    pub async fn documents(
        &self,
        account: &AccountId,
        kind: Kind,
        page: &ListPage,
    ) -> Result<Vec<Arc<Document>>, StoreError> {
        self.list(&ListScope::Account(account.clone()), kind, page).await
    }

    /// Returns a part of the documents of a kind in a scope.
    pub async fn list(
        &self,
        scope: &ListScope,
        kind: Kind,
        page: &ListPage,
    ) -> Result<Vec<Arc<Document>>, StoreError> {
        let (direction, relation) = match page.order {
            ListOrder::Ascending => ("ASC", ">="),
            ListOrder::Descending => ("DESC", "<="),
        };
        let mut sql = format!(
            "SELECT {} FROM (SELECT {COLUMNS_OF_PLACES} FROM documents WHERE {} AND kind = $2 AND deleted = 0",
            self.shared.dialect.list(COLUMNS_OF_PLACES),
            scope.condition()
        );
        let mut texts = Vec::new();
        match page.start.as_deref().map(|text| place(kind, text)) {
            None => {}
            Some((id, Some(sorted_by))) => {
                sql.push_str(&format!(" AND (sort_key, id) {relation} ($5, $4)"));
                texts.extend([storable(id), storable(&sorted_by)]);
            }
            // Deleted documents keep their place, so that a page may begin with one.
            Some((id, None)) => {
                sql.push_str(&format!(
                    " AND (sort_key, id) {relation} (COALESCE((SELECT place.sort_key FROM documents AS place
                         WHERE place.account_id = $1 AND place.kind = $2 AND place.id = $4), ''), $4)"
                ));
                texts.push(storable(id));
            }
        }
        if let Some(owner) = &page.owner {
            sql.push_str(&format!(" AND owner_id = ${}", 4 + texts.len()));
            texts.push(storable(owner));
        }
        sql.push_str(&format!(
            " ORDER BY sort_key {direction}, id {direction} LIMIT $3) AS documents"
        ));
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(storable(scope.account().as_str()))
            .bind(kind.name())
            .bind(i64::from(page.limit));
        for text in texts {
            query = query.bind(text);
        }
        let places: Vec<Place> = self.in_one_row(query).await?;
        self.standing_at(kind, places).await
    }

    /// Returns the documents of which these are the rows, in their order; of one that was changed meanwhile its new
    /// revision, of one that was deleted meanwhile nothing.
    async fn standing_at(&self, kind: Kind, places: Vec<Place>) -> Result<Vec<Arc<Document>>, StoreError> {
        let recent = &self.shared.recent;
        let known: Vec<_> = places.iter().map(|place| recent.get(kind, place)).collect();
        let unknown = places.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<_> = unknown
            .map(|(place, _)| (place.account.as_str(), place.id.as_str()))
            .collect();
        let mut read = self.read_all(kind, &unknown).await?;
        let found = places.into_iter().zip(known);
        Ok(found
            .filter_map(|(place, known)| known.or_else(|| read.remove(&(place.account, place.id))))
            .collect())
    }

    /// Returns the documents with these accounts and ids that are there, and keeps them.
    async fn read_all(
        &self,
        kind: Kind,
        wanted: &[(&str, &str)],
    ) -> Result<HashMap<(String, String), Arc<Document>>, StoreError> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT {} FROM {}, documents WHERE documents.account_id = each.value ->> 0 AND documents.kind = $1
             AND documents.id = each.value ->> 1 AND documents.deleted = 0",
            self.shared.dialect.list(&format!("{COLUMNS_OF_PLACES}, documents.body")),
            self.shared.dialect.each("$2")
        );
        let wanted = serde_json::json!(wanted).to_string();
        let query = sqlx::query(AssertSqlSafe(sql)).bind(kind.name()).bind(wanted);
        let rows: Vec<(String, String, i64, String, i64, i64, String)> = self.in_one_row(query).await?;
        let mut read = HashMap::with_capacity(rows.len());
        for (account, id, saves, hash, created, modified, body) in rows {
            let key = (account.clone(), id.clone());
            let place = Place {
                account,
                id,
                saves,
                hash,
                created,
                modified,
            };
            let document = Arc::new(self.open_document(kind, place, &body)?);
            self.shared.recent.put(&document, body.len());
            read.insert(key, document);
        }
        Ok(read)
    }

    /// Runs a query that makes a list of all its rows ([`Dialect::list`](super::dialect::Dialect::list)): each further row of
    /// an answer costs two tasks a turn, and 50 of them more than everything else about a list.
    async fn in_one_row<T: DeserializeOwned>(
        &self,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<Vec<T>, StoreError> {
        let row = query
            .fetch_one(self.pool())
            .await
            .map_err(|error| self.error(error))?;
        let all: Option<String> = row.try_get(0).map_err(|error| self.error(error))?;
        serde_json::from_str(all.as_deref().unwrap_or("[]"))
            .map_err(|error| self.error(sqlx::Error::Decode(error.into())))
    }
}
