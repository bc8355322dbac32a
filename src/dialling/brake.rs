//! The brake against toll fraud: where calls may be placed to, how many at a time and how many in a minute (`[outbound]`).
//!
//! Owns the counts of each account. What is not held any more is forgotten, so that it has no more accounts than place calls.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use confab_conference::AccountId;
use confab_sip::{Host, SipUri};

use super::number::{E164, bare};

/// The time within which `outbound.per_minute` counts.
const MINUTE: Duration = Duration::from_secs(60);

/// What may be called, and how much.
#[derive(Debug, Clone)]
pub(crate) struct OutboundLimits {
    /// What may be called; empty: everything.
    pub(crate) allow: Vec<Pattern>,
    /// What may not, though it is allowed.
    pub(crate) deny: Vec<Pattern>,
    /// Numbers that emergency trunks take first, digits each.
    pub(crate) emergency: Vec<String>,
    /// Calls that one account places within a minute; 0: no calls.
    pub(crate) per_minute: u32,
    /// Calls of one account at a time; 0: no calls.
    pub(crate) concurrent: u32,
}

/// Some destinations: numbers by their beginning (`+49`), or the hosts of SIP URIs (`@example.com`, `@*.example.com`, `@*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Numbers that begin so, in their international form with a `+`.
    Number(String),
    /// One host.
    Host(String),
    /// All hosts below a domain; of the empty one, all there are.
    Below(String),
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Pattern, String> {
        if let Some(host) = text.strip_prefix('@') {
            let is_name = |name: &str| {
                !name.is_empty()
                    && name
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
            };
            return match host.strip_prefix('*') {
                Some("") => Ok(Pattern::Below(String::new())),
                Some(domain) if domain.starts_with('.') && is_name(&domain[1..]) => {
                    Ok(Pattern::Below(domain.to_ascii_lowercase()))
                }
                None if is_name(host) => Ok(Pattern::Host(plain_host(host))),
                _ => Err(format!(
                    "'{text}' must be a host such as @example.com, or @*.example.com"
                )),
            };
        }
        match text.strip_prefix('+') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Pattern::Number(text.to_owned()))
            }
            _ => Err(format!(
                "'{text}' must be the beginning of a number such as +49, or a host such as @example.com"
            )),
        }
    }

    /// Says whether it is meant when it allows: a number by what it is, and nothing else.
    fn allows(&self, called: &Called<'_>) -> bool {
        match self {
            Pattern::Number(beginning) => {
                international(called.user).is_some_and(|number| number.starts_with(beginning))
            }
            _ => self.fits_host(called),
        }
    }

    /// Says whether it is meant when it forbids: a number by whatever somebody on the way may take it for. Carriers overlook digits too many, signs
    /// and a missing `+`.
    fn forbids(&self, called: &Called<'_>) -> bool {
        match self {
            Pattern::Number(beginning) => taken_for(called.user)
                .iter()
                .any(|number| number.starts_with(beginning)),
            _ => self.fits_host(called),
        }
    }

    fn fits_host(&self, called: &Called<'_>) -> bool {
        let Some(called) = called.host.map(plain_host) else {
            return false;
        };
        match self {
            Pattern::Host(host) => called == *host,
            Pattern::Below(domain) => called.ends_with(domain.as_str()),
            Pattern::Number(_) => false,
        }
    }
}

/// Digits from which on a number without a `+` may be one of the world: what is shorter is an extension.
const LEAST_DIGITS: usize = 7;

/// Returns the international form of a number, however long; `None` for what is no number.
fn international(user: &str) -> Option<String> {
    let bare = bare(user);
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match bare.strip_prefix('+') {
        Some(digits) => is_number(digits).then(|| bare.clone()),
        None => E164::parse(&bare).map(|number| number.as_str().to_owned()),
    }
}

/// Returns the international numbers that somebody may take a user part for: what is behind the digits left out.
fn taken_for(user: &str) -> Vec<String> {
    let bare = bare(user);
    let signed = bare.trim_start_matches('+');
    let digits: String = signed.chars().take_while(char::is_ascii_digit).collect();
    let mut found: Vec<String> = international(&digits).into_iter().collect();
    if signed.len() < bare.len() || digits.len() >= LEAST_DIGITS {
        found.push(format!("+{digits}"));
    }
    for exit in ["00", "011"] {
        let abroad = digits.strip_prefix(exit).filter(|abroad| !abroad.is_empty());
        found.extend(abroad.map(|abroad| format!("+{abroad}")));
    }
    found
}

/// Returns a host as patterns have it: in lower case, without the dot of the root, an address in its plain form.
fn plain_host(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inside.unwrap_or(&host).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host,
    }
}

/// Who is called, as the patterns see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called<'a> {
    /// The user part of the URI, or the number.
    pub(super) user: &'a str,
    /// The host of the URI; none for a number that goes to a trunk.
    pub(super) host: Option<&'a str>,
}

/// Counts the calls of each account.
#[derive(Clone)]
pub(crate) struct Brake {
    limits: Arc<OutboundLimits>,
    accounts: Arc<Mutex<HashMap<AccountId, Account>>>,
}

#[derive(Default)]
struct Account {
    running: u32,
    /// When each call of the last minute began.
    begun: VecDeque<Instant>,
}

impl Account {
    fn forget(&mut self, now: Instant) {
        while self
            .begun
            .front()
            .is_some_and(|begun| now.saturating_duration_since(*begun) >= MINUTE)
        {
            self.begun.pop_front();
        }
    }
}

/// One call's share; given back on drop.
pub(crate) struct Permit {
    brake: Brake,
    account: AccountId,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut accounts = self.brake.accounts();
        if let Some(account) = accounts.get_mut(&self.account) {
            account.running = account.running.saturating_sub(1);
        }
    }
}

impl Brake {
    pub(crate) fn new(limits: OutboundLimits) -> Brake {
        Brake {
            limits: Arc::new(limits),
            accounts: Arc::default(),
        }
    }

    /// Says whether anybody may be called there at all.
    pub(super) fn bars(&self, called: &Called<'_>) -> bool {
        let limits = &self.limits;
        let is_allowed = limits.allow.is_empty() || limits.allow.iter().any(|pattern| pattern.allows(called));
        !is_allowed || self.denies(called)
    }

    /// Says whether a URI may be called: by its host, and by the one that it is sent to in its place (`maddr`).
    pub(super) fn bars_target(&self, target: &SipUri) -> bool {
        let user = target.user_decoded().map(|user| user.to_str_lossy().into_owned());
        let bars = |host: &Host| {
            self.bars(&Called {
                user: user.as_deref().unwrap_or_default(),
                host: Some(&host.to_string()),
            })
        };
        bars(&target.host) || target.server_host().is_none_or(|server| bars(&server))
    }

    /// The numbers of emergency services.
    pub(super) fn emergency(&self) -> &[String] {
        &self.limits.emergency
    }

    /// Says whether a pattern forbids it by name.
    pub(super) fn denies(&self, called: &Called<'_>) -> bool {
        self.limits.deny.iter().any(|pattern| pattern.forbids(called))
    }

    /// Takes the share of one call; `None` when there is none left.
    pub(super) fn enter(&self, now: Instant, account: &AccountId) -> Option<Permit> {
        let mut accounts = self.accounts();
        // Who has placed no call for a minute is as good as new.
        accounts.retain(|_, known| {
            known.forget(now);
            known.running > 0 || !known.begun.is_empty()
        });
        let known = accounts.entry(account.clone()).or_default();
        let begun = u32::try_from(known.begun.len()).unwrap_or(u32::MAX);
        let used_up = match () {
            () if known.running >= self.limits.concurrent => Some("outbound.concurrent"),
            () if begun >= self.limits.per_minute => Some("outbound.per_minute"),
            () => None,
        };
        if let Some(key) = used_up {
            tracing::info!(%account, key, "a call is not placed: the account's share is used up");
            return None;
        }
        known.running += 1;
        known.begun.push_back(now);
        Some(Permit {
            brake: self.clone(),
            account: account.clone(),
        })
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountId, Account>> {
        // Held for single operations.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brake(allow: &[&str], deny: &[&str], per_minute: u32, concurrent: u32) -> Brake {
        let patterns = |all: &[&str]| all.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        Brake::new(OutboundLimits {
            allow: patterns(allow),
            deny: patterns(deny),
            emergency: Vec::new(),
            per_minute,
            concurrent,
        })
    }

    #[test]
    fn an_account_has_its_share_at_a_time_and_in_a_minute() {
        let brake = brake(&[], &[], 3, 2);
        let (one, other) = (AccountId::from("1"), AccountId::from("2"));
        let start = Instant::now();
        let first = brake.enter(start, &one).unwrap();
        let second = brake.enter(start, &one).unwrap();
        assert!(brake.enter(start, &one).is_none());
        assert!(brake.enter(start, &other).is_some(), "its own share");
        drop(first);
        let third = brake.enter(start, &one).unwrap();
        drop((second, third));
        assert!(brake.enter(start, &one).is_none(), "three in a minute");
        let later = start + MINUTE;
        assert!(brake.enter(later, &one).is_some());
        assert_eq!(brake.accounts().len(), 1, "the other is forgotten");
    }

    #[test]
    fn no_form_of_a_number_or_a_host_gets_around_what_is_forbidden() {
        let brake = brake(
            &[],
            &["+4990", "+1900", "@evil.example", "@192.0.2.9", "@*.bad.example"],
            1,
            1,
        );
        for user in [
            "+4990123456",
            "+4990012",
            "+49901234567890123456789012345678901234567890",
            "+4990123456#",
            "+4990123456*1",
            "++4990123456",
            "4990123456",
            "004990123456",
            "0114990123456",
            "+190055512345",
            "00190055512345",
            "190055512345",
            "+1 900 555 1234 5",
            "9005551234",
            "+49-90-12",
            "+4990123456;phone-context=x",
        ] {
            let called = Called { user, host: None };
            assert!(brake.bars(&called), "{user}");
            let called = Called {
                user,
                host: Some("carrier.example"),
            };
            assert!(brake.bars(&called), "{user}@carrier");
        }
        for host in [
            "evil.example.",
            "EVIL.example",
            "[::ffff:192.0.2.9]",
            "::ffff:192.0.2.9",
            "x.bad.example.",
        ] {
            let called = Called {
                user: "x",
                host: Some(host),
            };
            assert!(brake.bars(&called), "{host}");
        }
        for user in ["4990", "+4930123456", "alice", "+49", "", "+", "0301234567"] {
            assert!(!brake.bars(&Called { user, host: None }), "{user}");
        }
    }

    #[test]
    fn short_numbers_are_allowed_as_long_ones_are() {
        let brake = brake(&["+49"], &[], 1, 1);
        let bars = |user| brake.bars(&Called { user, host: None });
        assert!(!bars("+4930123") && !bars("004930123456"));
        for user in ["+4930123#", "4930123456789", "+50123456", "alice"] {
            assert!(bars(user), "{user}");
        }
    }

    #[test]
    fn patterns_say_who_may_be_called() {
        let number = |user| Called { user, host: None };
        let uri = |user, host| Called {
            user,
            host: Some(host),
        };
        let open = brake(&[], &["+4990", "@bad.example"], 1, 1);
        let strict = brake(&["+49", "@*.pbx.example", "@192.0.2.7"], &["+4990"], 1, 1);
        for (called, barred_open, barred_strict) in [
            (number("+49301234567"), false, false),
            (number("0049301234567"), false, false),
            (number("+4990123456"), true, true),
            (number("004990123456"), true, true),
            (number("4158867900"), false, true),
            (uri("4158867900", "carrier.example"), false, true),
            (uri("alice", "a.pbx.example"), false, false),
            (uri("alice", "A.PBX.example"), false, false),
            (uri("alice", "pbx.example"), false, true),
            (uri("alice", "192.0.2.7"), false, false),
            (uri("alice", "bad.example"), true, true),
            (uri("+4990123456", "a.pbx.example"), true, true),
        ] {
            assert_eq!(open.bars(&called), barred_open, "{called:?}");
            assert_eq!(strict.bars(&called), barred_strict, "{called:?}");
        }
        assert!(!brake(&["@*"], &[], 1, 1).bars(&uri("a", "b.example")));
        for (uri, barred_open, barred_strict) in [
            ("sip:alice@a.pbx.example", false, false),
            ("sip:alice@a.pbx.example;maddr=192.0.2.7", false, false),
            ("sip:alice@a.pbx.example;maddr=bad.example", true, true),
            ("sip:alice@a.pbx.example;maddr=192.0.2.8", false, true),
            ("sip:alice@bad.example;maddr=192.0.2.7", true, true),
        ] {
            let target = SipUri::parse(uri).unwrap();
            assert_eq!(open.bars_target(&target), barred_open, "{uri}");
            assert_eq!(strict.bars_target(&target), barred_strict, "{uri}");
        }
        for wrong in ["", "49", "@", "@*x", "+4a", "a b", "@a b"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
