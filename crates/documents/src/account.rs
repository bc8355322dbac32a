//! Owns what an account is. Never touches the database.

use std::time::Duration;

use confab_conference::AccountId;

/// A tenant: the owner of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// 32 lower-case hex characters.
    pub id: AccountId,
    /// The account above it; `None` for the bootstrap account, which may act on every account.
    pub parent: Option<AccountId>,
    /// The display name.
    pub name: String,
    /// The SIP realm, lower case, unique in the store.
    pub realm: String,
    /// The language of prompts, as `en-us`.
    pub language: String,
    /// Whether it may log in and be called.
    pub enabled: bool,
    /// How long one of its calls may last.
    pub max_call: Duration,
}

/// How long a call may last of an account that says nothing about it.
pub const USUAL_MAX_CALL: Duration = Duration::from_secs(24 * 3600);

/// The length of an API key in characters.
pub const API_KEY_LENGTH: usize = 64;

/// Returns a random API key: hex characters.
pub(crate) fn random_api_key() -> String {
    hex::encode(rand::random::<[u8; API_KEY_LENGTH / 2]>())
}

/// Returns a random realm under the top-level domain that is reserved for private use.
pub(crate) fn random_realm() -> String {
    format!("{}.confab.internal", hex::encode(rand::random::<[u8; 4]>()))
}

/// Returns whether `realm` can stand as the host of a SIP URI and as a digest realm.
pub(crate) fn is_realm(realm: &str) -> bool {
    (1..=253).contains(&realm.len())
        && realm
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}
