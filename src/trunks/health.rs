//! What is known of gateways: which were not there when they were last needed, and are tried after the others for a while.
//!
//! Owns the memory. It never keeps a call from being tried: when all are away, they are tried in their order.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use confab_sip::RegistrationState;

use super::{choice::Choice, trunk::GatewayKey, watch::name_of};

/// How long a gateway that was not there is tried last, unless it says for how long it has no room.
const AWAY: Duration = Duration::from_secs(30);
/// The longest time for which it may say so.
const LONGEST: Duration = Duration::from_secs(300);
/// Gateways that are remembered to be away; of more, those that are back first are forgotten.
const MOST: usize = 10_000;

/// Why a gateway took no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// It said nothing, or could not be reached.
    Silent,
    /// It has no room (503), for as long as it says.
    Full(Option<Duration>),
}

/// What is known of gateways.
#[derive(Default)]
pub(crate) struct Health {
    /// When each is tried as others are again.
    away: Mutex<HashMap<GatewayKey, Instant>>,
    /// What the watch over each has found.
    watched: Mutex<HashMap<GatewayKey, Found>>,
    passed_over: AtomicU64,
}

/// What the watch over a gateway has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether it answers; `None`: it was not asked yet, or is not to be.
    pub(crate) answers: Option<bool>,
    /// How our registration with it stands; `None`: there is none.
    pub(crate) registration: Option<RegistrationState>,
}

impl Health {
    /// A gateway took no call.
    pub(crate) fn absent(&self, now: Instant, gateway: &GatewayKey, why: Absence) {
        let lasts = match why {
            Absence::Silent | Absence::Full(None) => AWAY,
            Absence::Full(Some(told)) => told.min(LONGEST),
        };
        let mut away = self.away();
        if away.len() >= MOST {
            away.retain(|_, until| *until > now);
            let first = away.iter().min_by_key(|(_, until)| **until);
            if away.len() >= MOST
                && let Some(first) = first.map(|(key, _)| key.clone())
            {
                away.remove(&first);
            }
        }
        if away
            .insert(gateway.clone(), now + lasts)
            .is_none_or(|until| until <= now)
        {
            tracing::warn!(account = %gateway.account, trunk = gateway.trunk, ?why, "a gateway of a trunk takes no calls");
        }
    }

    /// A gateway took a call, or refused one for reasons that are not its own.
    pub(crate) fn present(&self, gateway: &GatewayKey) {
        if self.away().remove(gateway).is_some() {
            tracing::info!(account = %gateway.account, trunk = gateway.trunk, "a gateway of a trunk is back");
        }
    }

    /// It answers when it is asked.
    pub(super) fn answers(&self, gateway: &GatewayKey) {
        let before = self
            .watched()
            .entry(gateway.clone())
            .or_default()
            .answers
            .replace(true);
        if before == Some(false) {
            tracing::info!(account = %gateway.account, trunk = gateway.trunk, "a gateway of a trunk answers again");
        }
    }

    /// It has not answered for a while.
    pub(super) fn is_down(&self, gateway: &GatewayKey) {
        let before = self
            .watched()
            .entry(gateway.clone())
            .or_default()
            .answers
            .replace(false);
        if before != Some(false) {
            tracing::warn!(account = %gateway.account, trunk = gateway.trunk, "a gateway of a trunk does not answer");
        }
    }

    /// Our registration with it stands so.
    pub(super) fn registered(&self, gateway: &GatewayKey, state: RegistrationState) {
        let before = self
            .watched()
            .entry(gateway.clone())
            .or_default()
            .registration
            .replace(state);
        let (before, now) = (before.map(name_of), name_of(state));
        if before == Some(now) {
            return;
        }
        let (account, trunk) = (gateway.account.as_str(), gateway.trunk.as_str());
        match state {
            RegistrationState::Failed(why) => {
                tracing::warn!(account, trunk, ?why, "a trunk is not registered");
            }
            RegistrationState::Registered(_) => tracing::info!(account, trunk, "trunk registered"),
            _ => {}
        }
    }

    /// It is watched no more.
    pub(super) fn forget(&self, gateway: &GatewayKey) {
        self.watched().remove(gateway);
    }

    /// What the watch over a gateway has found.
    pub(super) fn found(&self, gateway: &GatewayKey) -> Found {
        self.watched().get(gateway).copied().unwrap_or_default()
    }

    /// How many gateways are up, down, not known; and how many registrations stand in which way.
    pub(crate) fn totals(&self) -> [[(&'static str, u64); 3]; 2] {
        let watched = self.watched();
        let count = |wanted| watched.values().filter(|found| found.answers == wanted).count() as u64;
        let answers = [
            ("up", count(Some(true))),
            ("down", count(Some(false))),
            ("unknown", count(None)),
        ];
        let states = ["trying", "registered", "failed"].map(|name| {
            let of = watched
                .values()
                .filter_map(|found| found.registration.map(name_of));
            (name, of.filter(|state| *state == name).count() as u64)
        });
        [answers, states]
    }

    /// A call went on to the next gateway.
    pub(crate) fn passed_over(&self) {
        self.passed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a call went on to the next gateway, and how many gateways are away.
    pub(crate) fn figures(&self, now: Instant) -> (u64, usize) {
        let away = self.away().values().filter(|until| **until > now).count();
        (self.passed_over.load(Ordering::Relaxed), away)
    }

    /// Puts those that are away behind the others.
    pub(super) fn sort(&self, now: Instant, choices: &mut [Choice]) {
        let (away, watched) = (self.away(), self.watched());
        let is_away = |key: &GatewayKey| away.get(key).is_some_and(|until| *until > now);
        let is_down = |key: &GatewayKey| watched.get(key).is_some_and(|found| found.answers == Some(false));
        choices.sort_by_key(|Choice { gateway, .. }| is_away(&gateway.key) || is_down(&gateway.key));
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<GatewayKey, Found>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away(&self) -> MutexGuard<'_, HashMap<GatewayKey, Instant>> {
        // Held for single operations.
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use confab_conference::AccountId;

    use super::*;

    fn key(number: usize) -> GatewayKey {
        GatewayKey {
            account: AccountId::from("a"),
            trunk: "t".into(),
            address: format!("sip:gw{number}.example"),
        }
    }

    #[test]
    fn who_was_away_is_for_a_while_and_as_long_as_it_says() {
        let health = Health::default();
        let start = Instant::now();
        let count = |after_s: u64| health.figures(start + Duration::from_secs(after_s)).1;
        health.absent(start, &key(1), Absence::Silent);
        health.absent(start, &key(2), Absence::Full(Some(Duration::from_secs(100))));
        health.absent(start, &key(3), Absence::Full(Some(Duration::from_secs(86_400))));
        assert_eq!([0, 29, 31, 99, 101, 299, 301].map(count), [3, 3, 2, 2, 1, 1, 0]);
        health.present(&key(2));
        assert_eq!(count(0), 2);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let health = Health::default();
        let start = Instant::now();
        for number in 0..MOST + 50 {
            health.absent(
                start + Duration::from_millis(number as u64),
                &key(number),
                Absence::Silent,
            );
        }
        assert_eq!(health.away().len(), MOST);
        assert!(!health.away().contains_key(&key(0)) && health.away().contains_key(&key(MOST + 49)));
    }
}
