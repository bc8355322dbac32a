//! What became of requests: the last ones of each hook, and the sums. In memory only: a restart forgets them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use confab_api::WebhookAttempts;
use confab_conference::AccountId;
use serde_json::{Value, json};

/// Attempts kept of one hook.
const OF_ONE: usize = 25;

/// Hooks of which attempts are kept; beyond, all are forgotten.
const HOOKS: usize = 4096;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// When, in Gregorian seconds.
    pub(super) timestamp: u64,
    pub(super) event: &'static str,
    /// Of the event.
    pub(super) msg_id: String,
    /// The status, or why there is none.
    pub(super) outcome: Result<u16, String>,
    pub(super) retries_left: u32,
}

impl Attempt {
    pub(super) fn succeeded(&self) -> bool {
        matches!(self.outcome, Ok(200..=299))
    }

    fn shown(&self, hook: &str) -> Value {
        let mut shown = json!({
            "hook_id": hook,
            "hook_event": self.event,
            "msg_id": self.msg_id,
            "timestamp": self.timestamp,
            "result": if self.succeeded() { "success" } else { "failure" },
            "retries_left": self.retries_left,
        });
        match &self.outcome {
            Ok(status) => {
                shown["response_code"] = (*status).into();
                if !self.succeeded() {
                    shown["reason"] = "bad response code".into();
                }
            }
            Err(why) => {
                shown["reason"] = "no response".into();
                shown["client_error"] = why.as_str().into();
            }
        }
        shown
    }
}

/// The attempts of all hooks.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    last: Mutex<HashMap<(AccountId, String), VecDeque<Attempt>>>,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    disabled: AtomicU64,
}

impl Attempts {
    pub(super) fn note(&self, account: &AccountId, hook: &str, attempt: Attempt) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account.clone(), hook.to_owned());
        if last.len() >= HOOKS && !last.contains_key(&key) {
            last.clear();
        }
        let of_hook = last.entry(key).or_default();
        of_hook.truncate(OF_ONE - 1);
        of_hook.push_front(attempt);
    }

    /// Counts an event of which a hook was told, or was not.
    pub(super) fn told(&self, succeeded: bool) {
        let count = if succeeded { &self.delivered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disabled(&self) {
        self.disabled.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many events for hooks became what.
    pub(crate) fn outcomes(&self) -> [(&'static str, u64); 3] {
        let counts = [
            ("delivered", &self.delivered),
            ("failed", &self.failed),
            ("dropped", &self.dropped),
        ];
        counts.map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// Returns how many hooks were disabled for failing.
    pub(crate) fn hooks_disabled(&self) -> u64 {
        self.disabled.load(Ordering::Relaxed)
    }
}

impl WebhookAttempts for Attempts {
    fn attempts(&self, account: &AccountId, hook: &str) -> Vec<Value> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let of_hook = last.get(&(account.clone(), hook.to_owned()));
        of_hook
            .into_iter()
            .flatten()
            .map(|attempt| attempt.shown(hook))
            .collect()
    }
}
