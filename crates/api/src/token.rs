//! Owns login tokens: opaque random text, good for a fixed time, revocable. Never outlives the process.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::rights::Rights;
use confab_conference::AccountId;

/// The most tokens kept. When more are issued, the oldest go.
const CAPACITY: usize = 100_000;

/// How a login was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginMethod {
    ApiKey,
    Credentials,
}

impl LoginMethod {
    /// Returns the name clients know.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LoginMethod::ApiKey => "cb_api_auth",
            LoginMethod::Credentials => "cb_user_auth",
        }
    }
}

/// Who a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) account: AccountId,
    /// The user who logged in; none with an API key.
    pub(crate) owner: Option<String>,
    /// How far the login reaches.
    pub(crate) rights: Rights,
    pub(crate) method: LoginMethod,
    /// When the token ends.
    pub(crate) expires: Instant,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// Never issued, or forgotten since.
    Unknown,
    /// Its time is over, or it was revoked.
    Ended,
}

/// The tokens issued. Ended ones are remembered for one more lifetime, so that a client is told why.
pub(crate) struct Tokens {
    lifetime: Duration,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    by_token: HashMap<String, Entry>,
    /// In order of issue, which is the order of expiry as every token lives equally long.
    order: VecDeque<(String, Instant)>,
}

struct Entry {
    identity: Identity,
    revoked: bool,
}

impl Tokens {
    pub(crate) fn new(lifetime: Duration) -> Tokens {
        Tokens {
            lifetime,
            issued: Mutex::default(),
        }
    }

    /// Issues a token for an account.
    pub(crate) fn issue(&self, now: Instant, account: AccountId, method: LoginMethod) -> String {
        self.issue_to(now, account, None, Rights::Administrator, method)
    }

    /// Issues a token for an account, and a user of it.
    pub(crate) fn issue_to(
        &self,
        now: Instant,
        account: AccountId,
        owner: Option<String>,
        rights: Rights,
        method: LoginMethod,
    ) -> String {
        let token = random_text();
        let identity = Identity {
            account,
            owner,
            rights,
            method,
            expires: now + self.lifetime,
        };
        let mut issued = self.lock();
        issued.forget(now, self.lifetime);
        issued.order.push_back((token.clone(), identity.expires));
        issued.by_token.insert(
            token.clone(),
            Entry {
                identity,
                revoked: false,
            },
        );
        token
    }

    /// Returns who the token stands for.
    pub(crate) fn identify(&self, now: Instant, token: &str) -> Result<Identity, BadToken> {
        let issued = self.lock();
        let entry = issued.by_token.get(token).ok_or(BadToken::Unknown)?;
        if entry.revoked || now >= entry.identity.expires {
            return Err(BadToken::Ended);
        }
        Ok(entry.identity.clone())
    }

    /// Returns whether the token was ended before its time, as far as that is remembered.
    pub(crate) fn is_revoked(&self, token: &str) -> bool {
        self.lock().by_token.get(token).is_some_and(|entry| entry.revoked)
    }

    /// Ends the token.
    pub(crate) fn revoke(&self, token: &str) {
        if let Some(entry) = self.lock().by_token.get_mut(token) {
            entry.revoked = true;
        }
    }

    /// Ends all tokens of a user.
    pub(crate) fn revoke_user(&self, account: &AccountId, user: &str) {
        for entry in self.lock().by_token.values_mut() {
            let identity = &entry.identity;
            if identity.owner.as_deref() == Some(user) && identity.account == *account {
                entry.revoked = true;
            }
        }
    }

    /// Ends all tokens that an account's API key gave, but for one.
    pub(crate) fn revoke_key(&self, account: &AccountId, but: &str) {
        for (token, entry) in &mut self.lock().by_token {
            let identity = &entry.identity;
            if identity.owner.is_none() && identity.account == *account && token != but {
                entry.revoked = true;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Issued> {
        // A panic while the lock is held leaves complete entries: the map stays usable.
        self.issued
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Issued {
    fn forget(&mut self, now: Instant, remembered: Duration) {
        while let Some((token, expires)) = self.order.front() {
            if self.order.len() < CAPACITY && now < *expires + remembered {
                break;
            }
            self.by_token.remove(token);
            self.order.pop_front();
        }
    }
}

/// Returns 256 random bits as hex.
pub(crate) fn random_text() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_is_good_until_its_time_is_over() {
        let (tokens, start) = (Tokens::new(HOUR), Instant::now());
        let token = tokens.issue(start, AccountId::from("a"), LoginMethod::ApiKey);
        let at = |offset| {
            tokens
                .identify(start + offset, &token)
                .map(|identity| identity.account)
        };
        assert_eq!(at(Duration::ZERO), Ok(AccountId::from("a")));
        assert_eq!(at(HOUR - Duration::from_millis(1)), Ok(AccountId::from("a")));
        assert_eq!(at(HOUR), Err(BadToken::Ended));
        assert_eq!(tokens.identify(start, "x"), Err(BadToken::Unknown));
    }

    #[test]
    fn a_revoked_token_is_bad_and_says_so() {
        let (tokens, start) = (Tokens::new(HOUR), Instant::now());
        let token = tokens.issue(start, AccountId::from("a"), LoginMethod::ApiKey);
        tokens.revoke(&token);
        tokens.revoke("unknown");
        assert_eq!(tokens.identify(start, &token), Err(BadToken::Ended));
    }

    #[test]
    fn the_tokens_of_a_user_end_together_and_those_of_others_stay() {
        let (tokens, start) = (Tokens::new(HOUR), Instant::now());
        let issue = |account: &str, owner: Option<&str>| {
            let owner = owner.map(str::to_owned);
            tokens.issue_to(
                start,
                AccountId::from(account),
                owner,
                Rights::User,
                LoginMethod::Credentials,
            )
        };
        let ended = [issue("a", Some("u")), issue("a", Some("u"))];
        let others = [issue("a", Some("v")), issue("b", Some("u")), issue("a", None)];
        tokens.revoke_user(&AccountId::from("a"), "u");
        assert!(
            ended
                .iter()
                .all(|token| tokens.identify(start, token) == Err(BadToken::Ended))
        );
        assert!(others.iter().all(|token| tokens.identify(start, token).is_ok()));
    }

    #[test]
    fn ended_tokens_are_forgotten_after_another_lifetime() {
        let (tokens, start) = (Tokens::new(HOUR), Instant::now());
        let old = tokens.issue(start, AccountId::from("a"), LoginMethod::ApiKey);
        tokens.issue(start + HOUR, AccountId::from("a"), LoginMethod::ApiKey);
        assert_eq!(tokens.identify(start + HOUR, &old), Err(BadToken::Ended));
        tokens.issue(start + 2 * HOUR, AccountId::from("a"), LoginMethod::ApiKey);
        assert_eq!(tokens.identify(start + HOUR, &old), Err(BadToken::Unknown));
        let issued = tokens.lock();
        assert_eq!(issued.by_token.len(), issued.order.len());
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let (tokens, start) = (Tokens::new(HOUR), Instant::now());
        let first = tokens.issue(start, AccountId::from("a"), LoginMethod::ApiKey);
        for _ in 0..CAPACITY {
            tokens.issue(start, AccountId::from("a"), LoginMethod::ApiKey);
        }
        assert_eq!(tokens.lock().by_token.len(), CAPACITY);
        assert_eq!(tokens.identify(start, &first), Err(BadToken::Unknown));
    }
}
