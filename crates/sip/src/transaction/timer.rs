//! Owns the names and lengths of every timer this crate runs, and the small table a state machine keeps its deadlines in.
//!
//! Never reads a clock: a deadline is always computed from a `now` that the caller hands in.

use std::time::{Duration, Instant};

/// RFC 3261 §17.1.1.1: estimate of the round-trip time, the base of all retransmission.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2: longest interval between retransmissions of non-INVITE requests and of final INVITE responses.
pub const T2: Duration = Duration::from_secs(4);
/// RFC 3261 §17.1.2.2: longest time a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64·T1: how long a transaction, or the core waiting for an ACK, tries before it gives up.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(32);
/// RFC 3261 §17.1.1.2, timer D on unreliable transports: at least 32 s.
pub(crate) const TIMER_D: Duration = Duration::from_secs(32);
/// RFC 3261 §17.2.1: a server INVITE transaction sends 100 (Trying) when its user has not answered for this long.
pub(crate) const TRYING_DELAY: Duration = Duration::from_millis(200);

/// Why the endpoint wants to be woken. The letters are those of RFC 3261 table 4 and RFC 6026 §8.4; the others belong to the user
/// agent core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TimerKind {
    /// Client INVITE, unreliable transport: repeat the INVITE; starts at T1, doubles.
    A,
    /// Client INVITE: give up after 64·T1 without any response.
    B,
    /// Client INVITE in Completed: absorb repeated final responses; 32 s, or 0 on a reliable transport.
    D,
    /// Client non-INVITE, unreliable transport: repeat the request; starts at T1, doubles up to T2.
    E,
    /// Client non-INVITE: give up after 64·T1.
    F,
    /// Server INVITE in Completed, unreliable transport: repeat the final response; starts at T1, doubles up to T2.
    G,
    /// Server INVITE in Completed: give up waiting for the ACK after 64·T1.
    H,
    /// Server INVITE in Confirmed: absorb repeated ACKs; T4, or 0 on a reliable transport.
    I,
    /// Server non-INVITE in Completed: absorb repeated requests; 64·T1, or 0 on a reliable transport.
    J,
    /// Client non-INVITE in Completed: absorb repeated responses; T4, or 0 on a reliable transport.
    K,
    /// Server INVITE in Accepted (RFC 6026): absorb repeated INVITEs after a 2xx; 64·T1.
    L,
    /// Client INVITE in Accepted (RFC 6026): take repeated and forked 2xx responses; 64·T1.
    M,
    /// Server INVITE in Proceeding: send 100 (Trying) 200 ms after the request (RFC 3261 §17.2.1).
    Trying,
    /// Client INVITE after a CANCEL: forget the transaction when no final response came within 64·T1 (RFC 3261 §9.1).
    CancelWait,
    /// UAS core: repeat the 2xx until its ACK arrives; starts at T1, doubles up to T2 (RFC 3261 §13.3.1.4).
    Repeat2xx,
    /// UAS core: end the call with BYE when a 2xx got no ACK for 64·T1 (RFC 3261 §13.3.1.4).
    AckWait,
    /// UAS core: repeat the last provisional response every minute so that proxies keep the call (RFC 3261 §13.3.1.1).
    RefreshProvisional,
    /// UAS core: repeat a reliable provisional response until its PRACK arrives; starts at T1, doubles (RFC 3262 §3).
    RepeatReliable,
    /// UAS core: refuse the INVITE when a reliable provisional response got no PRACK for 64·T1 (RFC 3262 §3).
    PrackWait,
    /// UAS core: the INVITE's Expires ran out, or its user did not answer in time; the call is refused.
    AnswerWait,
    /// UAC core: no final response to our INVITE in time; it is cancelled.
    RingWait,
    /// UAC core: a 491 was received; the wait before the next try is over (RFC 3261 §14.1).
    GlareWait,
    /// UAC core: our user was asked for the answer to an offer in a 2xx and has not given it; the call is ended.
    LateAnswerWait,
    /// Session timer: half of the time is over and we refresh (RFC 4028 §7.2).
    SessionRefresh,
    /// Session timer: nobody has refreshed the session, the call is ended (RFC 4028 §10).
    SessionExpiry,
    /// Notifier: a subscription is over (RFC 6665 §4.2.2), or its last NOTIFY has not come.
    SubscriptionExpiry,
}

/// Doubles a retransmission interval, up to `cap`.
pub(crate) fn back_off(interval: Duration, cap: Duration) -> Duration {
    (interval * 2).min(cap)
}

/// At most `N` running timers of one state machine, one per kind.
#[derive(Debug, Clone)]
pub(crate) struct Timers<const N: usize> {
    slots: [Option<(Instant, TimerKind)>; N],
}

impl<const N: usize> Timers<N> {
    pub(crate) fn new() -> Self {
        Self { slots: [None; N] }
    }

    /// Starts `kind`, or moves it when it is running already.
    pub(crate) fn set(&mut self, kind: TimerKind, at: Instant) {
        self.clear(kind);
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        debug_assert!(
            free.is_some(),
            "a state machine runs no more timers than its table holds"
        );
        if let Some(slot) = free {
            *slot = Some((at, kind));
        }
    }

    pub(crate) fn clear(&mut self, kind: TimerKind) {
        for slot in &mut self.slots {
            if slot.is_some_and(|(_, running)| running == kind) {
                *slot = None;
            }
        }
    }

    pub(crate) fn clear_all(&mut self) {
        self.slots = [None; N];
    }

    pub(crate) fn is_running(&self, kind: TimerKind) -> bool {
        self.slots.iter().flatten().any(|(_, running)| *running == kind)
    }

    /// Returns the earliest deadline; of equal ones the kind that is declared first.
    pub(crate) fn next(&self) -> Option<(Instant, TimerKind)> {
        self.slots.iter().flatten().min().copied()
    }

    /// Takes out the earliest timer that is due at `now`.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<TimerKind> {
        let (at, kind) = self.next()?;
        if at > now {
            return None;
        }
        self.clear(kind);
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_timer_comes_first_and_only_when_due() {
        let start = Instant::now();
        let mut timers = Timers::<3>::new();
        assert_eq!(timers.next(), None);
        timers.set(TimerKind::H, start + TIMEOUT);
        timers.set(TimerKind::G, start + T1);
        assert_eq!(timers.next(), Some((start + T1, TimerKind::G)));
        assert_eq!(timers.expire(start), None);
        assert_eq!(timers.expire(start + T1), Some(TimerKind::G));
        assert_eq!(timers.expire(start + T1), None);
        timers.set(TimerKind::H, start + T1);
        assert_eq!(
            timers.next(),
            Some((start + T1, TimerKind::H)),
            "setting again moves the timer"
        );
        timers.clear(TimerKind::H);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn equal_deadlines_expire_in_the_order_of_the_enum() {
        let start = Instant::now();
        let mut timers = Timers::<2>::new();
        timers.set(TimerKind::B, start);
        timers.set(TimerKind::A, start);
        assert_eq!(timers.expire(start), Some(TimerKind::A));
        assert_eq!(timers.expire(start), Some(TimerKind::B));
    }

    #[test]
    fn intervals_double_up_to_their_cap() {
        let mut interval = T1;
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(interval.as_millis());
            interval = back_off(interval, T2);
        }
        assert_eq!(seen, [500, 1000, 2000, 4000, 4000]);
    }
}
