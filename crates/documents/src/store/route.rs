//! Owns finding the conference behind a dialled number. Never decides who may dial it.

use confab_conference::AccountId;
use confab_reception::RoleSoFar;
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::document::COLUMNS;
use crate::document::Document;
use crate::error::StoreError;
use crate::kind::Kind;
use crate::prepare::storable;
use crate::reception::normalised;

/// Which role a dialled number gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteRole {
    /// The PIN decides; without PINs, a member.
    Undecided,
    /// A member's number.
    Member,
    /// A moderator's number.
    Moderator,
}

impl RouteRole {
    /// Returns what is known about the role of a caller before he has entered a PIN.
    pub fn so_far(self) -> RoleSoFar {
        match self {
            RouteRole::Undecided => RoleSoFar::Undecided,
            RouteRole::Member => RoleSoFar::Member,
            RouteRole::Moderator => RoleSoFar::Moderator,
        }
    }
}

/// Where a number leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The conference.
    pub document: Document,
    /// The role that the number gives.
    pub role: RouteRole,
}

impl Store {
    /// Returns the conference of the account that `user`, the user part of a request URI, reaches. A leading `+`,
    /// separators and parameters are ignored; a text that is no number then reaches nothing.
    pub async fn route(&self, account: &AccountId, user: &str) -> Result<Option<Route>, StoreError> {
        match normalised(user) {
            Some(number) => self.route_number(account, &number).await,
            None => Ok(None),
        }
    }

    /// Returns the conference of the account that has the first of these numbers that any has.
    pub async fn route_first(
        &self,
        account: &AccountId,
        numbers: &[String],
    ) -> Result<Option<Route>, StoreError> {
        for number in numbers {
            if let Some(route) = self.route_number(account, number).await? {
                return Ok(Some(route));
            }
        }
        Ok(None)
    }

    async fn route_number(&self, account: &AccountId, number: &str) -> Result<Option<Route>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, for_anyone, for_members, for_moderators
             FROM conference_numbers AS numbers JOIN documents
               ON documents.account_id = numbers.account_id AND documents.kind = numbers.kind
                  AND documents.id = numbers.conference_id
             WHERE numbers.account_id = $1 AND numbers.number = $2 AND documents.deleted = 0"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(storable(account.as_str()))
            .bind(number)
            .fetch_optional(self.pool())
            .await
            .map_err(|error| self.error(error))?;
        let Some(row) = row else { return Ok(None) };
        let flag = |name: &str| {
            let flag = row.try_get::<i64, _>(name);
            flag.map(|flag| flag != 0).map_err(|error| self.error(error))
        };
        let role = match (flag("for_anyone")?, flag("for_members")?, flag("for_moderators")?) {
            (false, true, false) => RouteRole::Member,
            (false, false, true) => RouteRole::Moderator,
            _ => RouteRole::Undecided,
        };
        Ok(Some(Route {
            document: self.read_document(Kind::Conference, &row)?,
            role,
        }))
    }
}
