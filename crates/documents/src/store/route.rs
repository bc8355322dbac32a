//! Owns finding the conference behind a dialled number. Never decides who may dial it.

use confab_conference::{AccountId, Role};
use sqlx::{AssertSqlSafe, Row};

use super::Store;
use super::document::COLUMNS;
use crate::document::Document;
use crate::error::StoreError;
use crate::kind::Kind;
use crate::prepare::storable;

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
    /// Returns the role of a caller who need not enter a PIN.
    pub fn without_pin(self) -> Role {
        match self {
            RouteRole::Undecided | RouteRole::Member => Role::Member,
            RouteRole::Moderator => Role::Moderator,
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
        let Some(number) = normalised(user) else {
            return Ok(None);
        };
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

/// Returns the digits of a dialled user part, `None` when something else is left once `+`, visual separators
/// (RFC 3966 §5.1.1) and parameters are off.
fn normalised(user: &str) -> Option<String> {
    let user = user.split(';').next().unwrap_or_default();
    let user = user.strip_prefix('+').unwrap_or(user);
    let digits: String = user
        .chars()
        .filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' '))
        .collect();
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_compared_without_its_dressing() {
        let table = [
            ("3000", Some("3000")),
            ("+3000", Some("3000")),
            ("3000;phone-context=x", Some("3000")),
            ("+1 (555) 12-34.5", Some("155512345")),
            ("0", Some("0")),
            ("", None),
            ("+", None),
            ("-.()", None),
            ("++1", None),
            ("alice", None),
            ("3000a", None),
            ("3000#", None),
            ("３０００", None),
            (";3000", None),
        ];
        for (user, number) in table {
            assert_eq!(normalised(user).as_deref(), number, "{user:?}");
        }
    }
}
