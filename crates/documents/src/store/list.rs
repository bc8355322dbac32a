//! Owns reading parts of lists of documents. Never decides which of them a client wants to see.

use confab_conference::AccountId;
use sqlx::{AssertSqlSafe, Row as _};

use super::Store;
use super::document::{COLUMNS_OF_LISTS, Columns};
use crate::document::Document;
use crate::error::StoreError;
use crate::kind::Kind;
use crate::prepare::storable;

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
    /// The id to begin with, that one included; the list's beginning when `None`.
    pub start: Option<String>,
    /// The most documents returned.
    pub limit: u32,
    /// Only documents that this user owns.
    pub owner: Option<String>,
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
    ) -> Result<Vec<Document>, StoreError> {
        self.list(&ListScope::Account(account.clone()), kind, page).await
    }

    /// Returns a part of the documents of a kind in a scope.
    pub async fn list(
        &self,
        scope: &ListScope,
        kind: Kind,
        page: &ListPage,
    ) -> Result<Vec<Document>, StoreError> {
        let (direction, relation) = match page.order {
            ListOrder::Ascending => ("ASC", ">="),
            ListOrder::Descending => ("DESC", "<="),
        };
        let mut sql = format!(
            "SELECT {} FROM (SELECT {COLUMNS_OF_LISTS} FROM documents WHERE {} AND kind = $2 AND deleted = 0",
            self.shared.dialect.list(COLUMNS_OF_LISTS),
            scope.condition()
        );
        if page.start.is_some() {
            // Deleted documents keep their place, so that a page may begin with one.
            sql.push_str(&format!(
                " AND (sort_key, id) {relation} (COALESCE((SELECT place.sort_key FROM documents AS place
                     WHERE place.account_id = $1 AND place.kind = $2 AND place.id = $4), ''), $4)"
            ));
        }
        if page.owner.is_some() {
            sql.push_str(if page.start.is_some() {
                " AND owner_id = $5"
            } else {
                " AND owner_id = $4"
            });
        }
        sql.push_str(&format!(
            " ORDER BY sort_key {direction}, id {direction} LIMIT $3) AS page"
        ));
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(storable(scope.account().as_str()))
            .bind(kind.name())
            .bind(i64::from(page.limit));
        for text in page.start.iter().chain(&page.owner) {
            query = query.bind(storable(text));
        }
        // All in one row: each further one costs two tasks a turn, and 50 of them more than everything else about a list.
        let row = query
            .fetch_one(self.pool())
            .await
            .map_err(|error| self.error(error))?;
        let all: Option<String> = row.try_get(0).map_err(|error| self.error(error))?;
        let all: Vec<Columns> = serde_json::from_str(all.as_deref().unwrap_or("[]"))
            .map_err(|error| self.error(sqlx::Error::Decode(error.into())))?;
        all.into_iter()
            .map(|columns| self.open_document(kind, columns))
            .collect()
    }
}
