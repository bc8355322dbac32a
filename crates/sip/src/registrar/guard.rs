//! Owns the count of wrong passwords over all requests: per source and user, and per source over all users. Never sees a password.
//!
//! A phone with an old password tries it for ever, and others are behind the same address: it blocks itself and not them. Who tries
//! many users is refused as a source; those who are registered from there already go on.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Pairs of source and user, and sources, that are remembered at most. Each table then takes some 3 MB.
const MOST_KNOWN: usize = 10_000;
/// Characters of a user's name that are told apart.
const NAME: usize = 64;

/// How many wrong passwords are suffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordLimits {
    /// Wrong passwords of one source for one user after which both together are refused.
    pub user_tries: u32,
    /// Wrong passwords of one source after which it is refused.
    pub source_tries: u32,
    /// The time within which they count.
    pub window: Duration,
    /// For how long is refused.
    pub block: Duration,
}

impl Default for PasswordLimits {
    fn default() -> Self {
        PasswordLimits {
            user_tries: 10,
            source_tries: 50,
            window: Duration::from_secs(600),
            block: Duration::from_secs(900),
        }
    }
}

/// Who comes to be refused by a wrong password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// This user from this source.
    User,
    /// The source, whichever user it names.
    Source,
}

/// What a guard has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordGuardCounts {
    /// Wrong passwords.
    pub wrong: u64,
    /// Users of a source, and sources, that came to be refused.
    pub blocks: u64,
    /// Requests that were refused without a look at their password.
    pub refused: u64,
    /// Those that were forgotten before their time to make room.
    pub forgotten: u64,
}

/// The guard over all requests of a server.
#[derive(Debug)]
pub struct PasswordGuard {
    limits: PasswordLimits,
    users: BTreeMap<(IpAddr, String), Wrong>,
    sources: BTreeMap<IpAddr, Wrong>,
    counts: PasswordGuardCounts,
}

/// The latest wrong passwords, oldest first, and until when is refused.
#[derive(Debug, Default)]
struct Wrong {
    times: VecDeque<Instant>,
    blocked_until: Option<Instant>,
}

impl Wrong {
    fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| until > now)
    }

    fn forget(&mut self, now: Instant, window: Duration) {
        while let Some(time) = self.times.front()
            && now.saturating_duration_since(*time) >= window
        {
            self.times.pop_front();
        }
    }

    /// Counts one more; says whether it is one too many.
    fn add(&mut self, now: Instant, limits: &PasswordLimits, tries: u32) -> bool {
        self.forget(now, limits.window);
        self.times.push_back(now);
        if self.times.len() < tries.max(1) as usize {
            return false;
        }
        self.times.clear();
        self.blocked_until = Some(now + limits.block);
        true
    }
}

/// Makes room in a full table for one more: what has lost its meaning goes, or else who is refused for the shortest time, or has not
/// tried for longest. Returns whether something went before its time.
fn make_room<K: Ord + Clone>(table: &mut BTreeMap<K, Wrong>, now: Instant, window: Duration) -> bool {
    if table.len() < MOST_KNOWN {
        return false;
    }
    table.retain(|_, wrong| {
        wrong.forget(now, window);
        wrong.is_blocked(now) || !wrong.times.is_empty()
    });
    if table.len() < MOST_KNOWN {
        return false;
    }
    let worth = |wrong: &Wrong| (wrong.blocked_until.max(Some(now)), wrong.times.back().copied());
    let least = table.iter().min_by_key(|(_, wrong)| worth(wrong));
    let least = least.map(|(key, _)| key.clone());
    least.is_some_and(|key| table.remove(&key).is_some())
}

/// What is counted by: an IPv4 address, or the first 64 bits of an IPv6 address, which are one subscriber's.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

fn name(user: &str) -> String {
    user.chars().take(NAME).collect::<String>().to_lowercase()
}

impl PasswordGuard {
    /// Returns a guard that knows nobody.
    pub fn new(limits: PasswordLimits) -> PasswordGuard {
        PasswordGuard {
            limits,
            users: BTreeMap::new(),
            sources: BTreeMap::new(),
            counts: PasswordGuardCounts::default(),
        }
    }

    /// Whether a password of `user` from this address is not looked at. `is_known`: the user is registered from there.
    pub fn refuses(&mut self, now: Instant, address: IpAddr, user: &str, is_known: bool) -> bool {
        let source = source(address);
        let is_blocked = |wrong: Option<&Wrong>| wrong.is_some_and(|wrong| wrong.is_blocked(now));
        let source_blocked = !is_known && is_blocked(self.sources.get(&source));
        let refused = source_blocked || is_blocked(self.users.get(&(source, name(user))));
        self.counts.refused += u64::from(refused);
        refused
    }

    /// Counts a wrong password; says who is refused from here on, when it was one too many.
    pub fn wrong(&mut self, now: Instant, address: IpAddr, user: &str) -> Option<Blocked> {
        let limits = self.limits;
        let source = source(address);
        let key = (source, name(user));
        self.counts.wrong += 1;
        let no_room_for_user =
            !self.users.contains_key(&key) && make_room(&mut self.users, now, limits.window);
        let no_room_for_source =
            !self.sources.contains_key(&source) && make_room(&mut self.sources, now, limits.window);
        self.counts.forgotten += u64::from(no_room_for_user) + u64::from(no_room_for_source);
        let of_user = self.users.entry(key).or_default();
        let user_blocked = of_user.add(now, &limits, limits.user_tries);
        let of_source = self.sources.entry(source).or_default();
        let source_blocked = of_source.add(now, &limits, limits.source_tries);
        self.counts.blocks += u64::from(user_blocked) + u64::from(source_blocked);
        match (source_blocked, user_blocked) {
            (true, _) => Some(Blocked::Source),
            (false, true) => Some(Blocked::User),
            (false, false) => None,
        }
    }

    /// Returns what was counted.
    pub fn counts(&self) -> PasswordGuardCounts {
        self.counts
    }

    /// Returns how many sources, and users of sources, are refused now.
    pub fn blocked(&self, now: Instant) -> usize {
        let sources = self.sources.values().filter(|wrong| wrong.is_blocked(now));
        let users = self.users.values().filter(|wrong| wrong.is_blocked(now));
        sources.count() + users.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    fn guard() -> (PasswordGuard, Instant) {
        let limits = PasswordLimits {
            user_tries: 3,
            source_tries: 6,
            window: Duration::from_secs(100),
            block: Duration::from_secs(200),
        };
        (PasswordGuard::new(limits), Instant::now())
    }

    #[test]
    fn a_phone_with_an_old_password_blocks_itself_and_nobody_beside_it() {
        let (mut guard, now) = guard();
        let office = address("192.0.2.7");
        assert_eq!(guard.wrong(now, office, "old"), None);
        assert_eq!(guard.wrong(now, office, "OLD"), None);
        assert_eq!(guard.wrong(now, office, "old"), Some(Blocked::User));
        assert!(guard.refuses(now, office, "Old", true), "known or not");
        assert!(!guard.refuses(now, office, "other", false));
        assert!(!guard.refuses(now, address("192.0.2.8"), "old", false));
        let later = now + Duration::from_secs(200);
        assert!(!guard.refuses(later, office, "old", false));
    }

    #[test]
    fn who_tries_many_users_is_refused_and_the_registered_go_on() {
        let (mut guard, now) = guard();
        let scanner = address("2001:db8::1");
        for user in 0..5 {
            assert_eq!(guard.wrong(now, scanner, &format!("u{user}")), None);
        }
        let same_network = address("2001:db8::ffff");
        assert_eq!(guard.wrong(now, same_network, "u5"), Some(Blocked::Source));
        assert!(guard.refuses(now, scanner, "u6", false));
        assert!(!guard.refuses(now, scanner, "u6", true), "registered from there");
        assert!(!guard.refuses(now, address("2001:db8:0:1::1"), "u6", false));
        let counts = guard.counts();
        assert_eq!((counts.wrong, counts.blocks, counts.refused), (6, 1, 1));
        assert_eq!(guard.blocked(now), 1);
    }

    #[test]
    fn what_lies_far_back_does_not_count() {
        let (mut guard, now) = guard();
        let source = address("192.0.2.7");
        for step in 0..20 {
            let at = now + Duration::from_secs(60 * step);
            assert_eq!(guard.wrong(at, source, "u"), None, "{step}");
        }
    }

    #[test]
    fn the_tables_are_bounded_and_keep_who_is_refused() {
        let (mut guard, now) = guard();
        let bad = address("198.51.100.1");
        for _ in 0..6 {
            guard.wrong(now, bad, "u");
        }
        for number in 0..2 * MOST_KNOWN as u32 {
            let at = now + Duration::from_millis(number.into());
            guard.wrong(at, IpAddr::V4((0x0A00_0000 + number).into()), "u");
        }
        assert!(guard.users.len() <= MOST_KNOWN && guard.sources.len() <= MOST_KNOWN);
        assert!(guard.counts().forgotten > 0);
        assert!(guard.refuses(now + Duration::from_secs(30), bad, "v", false));
    }
}
