//! Tells one hook its events, one after the other. Owns when a request is sent again, and when the hook has failed too often.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use confab_api::event::EventMessage;
use confab_conference::GregorianSeconds;
use confab_documents::Revision;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::attempts::Attempt;
use super::hook::Hook;
use super::{Shared, body};

/// Without anything to tell for so long, a worker goes.
const IDLE: Duration = Duration::from_secs(60);

/// The pause before the second try; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// So many requests that failed within this time disable the hook.
pub(super) const FAILURES: usize = 6;
const WITHIN: Duration = Duration::from_secs(60);

/// An event for a hook.
pub(super) struct Job {
    pub(super) hook: Arc<Hook>,
    pub(super) event: Arc<EventMessage>,
}

/// Tells a hook its events until none have come for a while.
pub(super) async fn run(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    let mut worker = Worker {
        shared,
        failures: VecDeque::new(),
        disabled: None,
    };
    loop {
        match timeout(IDLE, jobs.recv()).await {
            Ok(Some(job)) => worker.tell(&job).await,
            Ok(None) => return,
            // What comes in this moment is still told; nothing can come after.
            Err(_) => jobs.close(),
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    /// When the last requests failed.
    failures: VecDeque<Instant>,
    /// The state of the document in which the hook was disabled.
    disabled: Option<Revision>,
}

impl Worker {
    async fn tell(&mut self, job: &Job) {
        let Job { hook, event } = job;
        // Found before it was disabled.
        if self.disabled.as_ref() == Some(&hook.revision) {
            return;
        }
        let body = body::told(hook, event.value());
        let mut pause = FIRST_PAUSE;
        for retries_left in (0..hook.tries).rev() {
            let outcome = {
                let _turn = self.shared.turns.acquire().await;
                self.shared.transport.send(hook, &body).await
            };
            let attempt = Attempt {
                timestamp: now(),
                event: event.event().kind.name(),
                msg_id: event.id(),
                outcome,
                retries_left,
            };
            let succeeded = attempt.succeeded();
            self.shared.attempts.note(&hook.account, &hook.id, attempt);
            if succeeded {
                return self.shared.attempts.told(true);
            }
            if self.has_failed_too_often() {
                self.disable(hook).await;
                break;
            }
            if retries_left > 0 {
                sleep(pause).await;
                pause *= 2;
            }
        }
        self.shared.attempts.told(false);
    }

    /// Notes a failure.
    fn has_failed_too_often(&mut self) -> bool {
        let now = Instant::now();
        self.failures.push_back(now);
        self.failures
            .retain(|failed| now.duration_since(*failed) < WITHIN);
        self.failures.len() >= FAILURES
    }

    async fn disable(&mut self, hook: &Hook) {
        self.failures.clear();
        self.disabled = Some(hook.revision.clone());
        let message = format!(
            "{FAILURES} requests failed within {} s; see the attempts",
            WITHIN.as_secs()
        );
        match self.shared.source.disable(hook, &message).await {
            Ok(()) => {
                self.shared.attempts.disabled();
                tracing::warn!(hook = hook.id, account = %hook.account, "a webhook failed too often and was disabled");
            }
            // Who changed it meanwhile may have mended it.
            Err(confab_documents::SaveError::Conflict | confab_documents::SaveError::NotFound) => {}
            Err(error) => {
                self.disabled = None;
                tracing::warn!(hook = hook.id, %error, "a webhook failed too often and could not be disabled");
            }
        }
    }
}

fn now() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    GregorianSeconds::from_unix(unix.map_or(0, |time| time.as_secs())).0
}
