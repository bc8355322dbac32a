//! Owns the request budget per client address and account: a token bucket each. Never refuses by itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Instant;

use confab_conference::AccountId;

/// What a full bucket holds.
const CAPACITY: f64 = 100.0;
/// What flows in per second.
const REFILL_PER_S: f64 = 10.0;
/// What a request costs.
pub(crate) const REQUEST_COST: u32 = 1;
/// What a login costs.
pub(crate) const LOGIN_COST: u32 = 35;
/// With this many buckets, those that are full again are dropped; when none is, the fullest tenth.
const MAX_BUCKETS: usize = 20_000;

/// What a request took and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) consumed: u32,
    pub(crate) remaining: u32,
}

/// The bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// Logins have buckets of their own: who asks much without a token does not lock out those who log in from the same address.
type Key = (Option<IpAddr>, Option<AccountId>, bool);

/// The buckets of all clients.
pub(crate) struct RateLimit {
    enabled: bool,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn level_at(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.level + elapsed * REFILL_PER_S).min(CAPACITY)
    }
}

impl RateLimit {
    pub(crate) fn new(enabled: bool) -> RateLimit {
        RateLimit {
            enabled,
            buckets: Mutex::default(),
        }
    }

    /// Takes `cost` from the bucket of this client and account. Returns `None` when limits are off.
    pub(crate) fn take(
        &self,
        now: Instant,
        client: Option<IpAddr>,
        account: Option<&AccountId>,
        cost: u32,
    ) -> Result<Option<Budget>, Exhausted> {
        if !self.enabled {
            return Ok(None);
        }
        let key = (client.map(client_network), account.cloned(), cost == LOGIN_COST);
        let mut buckets = self
            .buckets
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            make_room(&mut buckets, now);
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            level: CAPACITY,
            filled: now,
        });
        let level = bucket.level_at(now);
        *bucket = Bucket {
            level,
            filled: now.max(bucket.filled),
        };
        if level < f64::from(cost) {
            return Err(Exhausted);
        }
        bucket.level -= f64::from(cost);
        Ok(Some(Budget {
            consumed: cost,
            remaining: bucket.level as u32,
        }))
    }
}

/// Returns what counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Drops buckets that are full again, which say nothing, and the fullest of the rest when there are none.
fn make_room(buckets: &mut HashMap<Key, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.level_at(now) < CAPACITY);
    if buckets.len() < MAX_BUCKETS {
        return;
    }
    let mut levels: Vec<f64> = buckets.values().map(|bucket| bucket.level_at(now)).collect();
    let rank = levels.len() - levels.len() / 10;
    let (_, bound, _) = levels.select_nth_unstable_by(rank, f64::total_cmp);
    let bound = *bound;
    buckets.retain(|_, bucket| bucket.level_at(now) < bound);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_bucket_empties_and_refills() {
        let (limit, start) = (RateLimit::new(true), Instant::now());
        let take = |at, cost| limit.take(at, address(1), None, cost);
        assert_eq!(
            take(start, LOGIN_COST),
            Ok(Some(Budget {
                consumed: 35,
                remaining: 65
            }))
        );
        assert_eq!(
            take(start, LOGIN_COST),
            Ok(Some(Budget {
                consumed: 35,
                remaining: 30
            }))
        );
        assert_eq!(take(start, LOGIN_COST), Err(Exhausted));
        assert_eq!(
            take(start + Duration::from_millis(500), LOGIN_COST),
            Ok(Some(Budget {
                consumed: 35,
                remaining: 0
            }))
        );
        assert_eq!(
            take(start + Duration::from_millis(500), LOGIN_COST),
            Err(Exhausted)
        );
        for left in (0..100).rev() {
            // Other requests have their own.
            let remaining = take(start, REQUEST_COST).unwrap().unwrap().remaining;
            assert_eq!(remaining, left);
        }
        assert_eq!(take(start, REQUEST_COST), Err(Exhausted));
        let later = start + Duration::from_secs(3600);
        assert_eq!(
            take(later, REQUEST_COST),
            Ok(Some(Budget {
                consumed: 1,
                remaining: 99
            }))
        );
    }

    #[test]
    fn buckets_are_per_address_and_account() {
        let (limit, now) = (RateLimit::new(true), Instant::now());
        let account = AccountId::from("a");
        for _ in 0..100 {
            limit.take(now, address(1), Some(&account), 1).unwrap();
        }
        assert_eq!(limit.take(now, address(1), Some(&account), 1), Err(Exhausted));
        assert!(limit.take(now, address(2), Some(&account), 1).is_ok());
        assert!(limit.take(now, address(1), None, 1).is_ok());
        assert!(limit.take(now, None, Some(&account), 1).is_ok());
    }

    #[test]
    fn an_ipv6_client_is_its_64_bit_network() {
        let (limit, now) = (RateLimit::new(true), Instant::now());
        for last in 0..100_u16 {
            let client = Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]));
            limit.take(now, client, None, 1).unwrap();
        }
        let neighbour = Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]));
        assert_eq!(limit.take(now, neighbour, None, 1), Err(Exhausted));
        assert!(
            limit
                .take(
                    now,
                    Some(IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 0])),
                    None,
                    1
                )
                .is_ok()
        );
    }

    #[test]
    fn switched_off_it_never_refuses() {
        let (limit, now) = (RateLimit::new(false), Instant::now());
        assert!((0..1000).all(|_| limit.take(now, None, None, LOGIN_COST) == Ok(None)));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let (limit, now) = (RateLimit::new(true), Instant::now());
        for client in 0..(3 * MAX_BUCKETS as u32) {
            let address = IpAddr::from(client.to_be_bytes());
            limit.take(now, Some(address), None, 1 + client % 50).unwrap();
        }
        assert!(limit.buckets.lock().unwrap().len() <= MAX_BUCKETS);
    }
}
