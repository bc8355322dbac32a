//! What a login may do. Owns the difference between administrators and users; whose account is whose is the store's.
//!
//! An API key's login and that of a user whose `priv_level` is `admin` may do everything in their account and in those below it. The
//! login of any other user sees his own account, controls its conferences and manages conferences and media. What would give him
//! more is not his to change: accounts, API keys, users (but himself), devices, trunks, configurations, webhooks. Nor does he see
//! the passwords of trunks, webhooks and the devices of others.

use confab_conference::AccountId;
use confab_documents::{Body, Kind};
use serde_json::Value;

use crate::body::Envelope;
use crate::error::ApiError;
use crate::route::Operation;
use crate::token::Identity;

/// How far a login reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything in the account and below.
    Administrator,
    /// What a user needs who is no administrator.
    User,
}

impl Rights {
    /// Returns the rights of a user with this `priv_level`.
    pub(crate) fn of(priv_level: Option<&Value>) -> Rights {
        match priv_level.and_then(Value::as_str) {
            Some("admin") => Rights::Administrator,
            _ => Rights::User,
        }
    }
}

/// Checks that a login may do this to `account`. `user` is who the path names, if anybody.
///
/// # Errors
/// [`ApiError::Forbidden`].
pub(crate) fn check(
    identity: &Identity,
    operation: Operation,
    account: &AccountId,
    user: &str,
    envelope: &Envelope,
) -> Result<(), ApiError> {
    if identity.rights == Rights::Administrator {
        return Ok(());
    }
    let is_self = identity.owner.as_deref() == Some(user);
    let may = *account == identity.account
        && match operation {
            Operation::CreateAccount
            | Operation::CreateChildAccount
            | Operation::ShowApiKey
            | Operation::RenewApiKey => false,
            // Himself, but no further than he is.
            Operation::Replace(Kind::User) | Operation::Patch(Kind::User) => is_self && !promotes(envelope),
            // They hold passwords of others.
            Operation::Show(Kind::Resource | Kind::Webhook) | Operation::ShowResourceStatus => false,
            Operation::Create(kind)
            | Operation::Replace(kind)
            | Operation::Patch(kind)
            | Operation::Delete(kind) => kind == Kind::Media,
            _ => true,
        };
    if may { Ok(()) } else { Err(ApiError::Forbidden) }
}

/// Takes out of a document what a login is not to see of it.
pub(crate) fn withhold(identity: &Identity, kind: Kind, body: &mut Body) {
    if identity.rights == Rights::Administrator || kind != Kind::Device {
        return;
    }
    let owner = body.get("owner_id").and_then(Value::as_str);
    if owner.is_some() && owner == identity.owner.as_deref() {
        return;
    }
    if let Some(Value::Object(sip)) = body.get_mut("sip") {
        sip.shift_remove("password");
    }
}

fn promotes(envelope: &Envelope) -> bool {
    let level = match envelope.get("data") {
        Some(Value::Object(data)) => data.get("priv_level"),
        _ => None,
    };
    level.is_some_and(|level| level != "user")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::token::{LoginMethod, Tokens};

    #[test]
    fn a_user_reaches_what_is_his_and_an_administrator_everything() {
        let tokens = Tokens::new(Duration::from_secs(60));
        let now = std::time::Instant::now();
        let login = |rights| {
            let owner = Some("u1".to_owned());
            let token = tokens.issue_to(now, AccountId::from("a"), owner, rights, LoginMethod::Credentials);
            tokens.identify(now, &token).unwrap()
        };
        let (user, admin) = (login(Rights::User), login(Rights::Administrator));
        let body = |text: &str| Envelope::parse(&axum::http::HeaderMap::new(), text.as_bytes()).unwrap();
        let nothing = body("");
        let rows = [
            (Operation::Show(Kind::User), "a", "u2", true),
            (Operation::Patch(Kind::User), "a", "u1", true),
            (Operation::Patch(Kind::User), "a", "u2", false),
            (Operation::Delete(Kind::User), "a", "u1", false),
            (Operation::ControlConference, "a", "c1", true),
            (Operation::PatchConference, "a", "c1", true),
            (Operation::ListConferences, "b", "", false),
            (Operation::ShowApiKey, "a", "", false),
            (Operation::RenewApiKey, "a", "", false),
            (Operation::CreateChildAccount, "a", "", false),
            (Operation::Delete(Kind::Account), "a", "a", false),
            (Operation::Create(Kind::Webhook), "a", "", false),
            (Operation::Show(Kind::Resource), "a", "r1", false),
            (Operation::ShowResourceStatus, "a", "", false),
            (Operation::Show(Kind::Webhook), "a", "w1", false),
            (Operation::Create(Kind::Media), "a", "", true),
            (Operation::Patch(Kind::Configuration), "a", "conferences", false),
        ];
        for (operation, account, id, may) in rows {
            let account = AccountId::from(account);
            let check = |who| check(who, operation, &account, id, &nothing).is_ok();
            assert_eq!(check(&user), may, "{operation:?} {id}");
            assert!(check(&admin), "{operation:?} {id}");
        }
        for (owner, sees) in [(Some("u1"), true), (Some("u2"), false), (None, false)] {
            let device =
                serde_json::json!({"owner_id": owner, "sip": {"username": "x", "password": "secret"}});
            let seen_by = |identity: &Identity| {
                let mut body = device.as_object().unwrap().clone();
                withhold(identity, Kind::Device, &mut body);
                assert_eq!(body["sip"]["username"], "x");
                body["sip"].get("password").is_some()
            };
            assert_eq!(seen_by(&user), sees, "{owner:?}");
            assert!(seen_by(&admin));
        }
        for (data, may) in [
            (r#"{"data":{"priv_level":"admin"}}"#, false),
            (r#"{"data":{"priv_level":"user","first_name":"Ada"}}"#, true),
        ] {
            let account = AccountId::from("a");
            let found = check(&user, Operation::Patch(Kind::User), &account, "u1", &body(data));
            assert_eq!(found.is_ok(), may, "{data}");
        }
    }
}
