//! Tells one hook its events, one after the other. Owns when a request is sent again, and when the hook has failed too often.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use confab_api::event::News;
use confab_documents::Revision;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::attempts::Attempt;
use super::hook::Hook;
use super::{KNOWN_FOR, Shared, body};
use crate::wall_clock::gregorian_now;

/// Without anything to tell for so long, a worker goes.
const IDLE: Duration = Duration::from_secs(60);

/// The pause before the second try; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// So many requests that failed within this time disable the hook.
pub(super) const FAILURES: usize = 6;
const WITHIN: Duration = Duration::from_secs(60);

/// So many requests that failed one after the other disable it too, however long they took.
pub(super) const FAILURES_IN_A_ROW: usize = 24;

/// An event for a hook.
pub(super) struct Job {
    pub(super) hook: Arc<Hook>,
    pub(super) event: News,
}

/// Tells a hook its events until none have come for a while.
pub(super) async fn run(shared: Arc<Shared>, turns: Arc<Semaphore>, mut jobs: mpsc::Receiver<Job>) {
    let mut worker = Worker {
        shared,
        turns,
        failures: VecDeque::new(),
        in_a_row: 0,
        known: None,
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
    /// Those of the hook's account.
    turns: Arc<Semaphore>,
    /// When the last requests failed.
    failures: VecDeque<Instant>,
    /// Requests that failed since the last one that did not.
    in_a_row: usize,
    /// The hook as it was found, and when.
    known: Option<(Instant, Arc<Hook>)>,
    /// The state of the document in which the hook was disabled.
    disabled: Option<Revision>,
}

impl Worker {
    async fn tell(&mut self, job: &Job) {
        let event = &job.event;
        let mut pause = FIRST_PAUSE;
        let mut tried = 0;
        loop {
            let outcome = {
                let (turns, shared) = (Arc::clone(&self.turns), Arc::clone(&self.shared));
                let _turn = turns.acquire().await;
                let host = job.hook.uri.host_str().unwrap_or_default().to_owned();
                let turns_of_host = shared.turns_of_hosts.of(&host);
                let _turn_of_host = turns_of_host.acquire().await;
                let _turn_of_all = shared.turns.acquire().await;
                // Waiting takes its time: the hook may be another one by now, or none.
                let Some(hook) = self.current(&job.hook).await else {
                    return self.shared.attempts.dropped();
                };
                let body = body::told(&hook, event.value());
                (self.shared.transport.send(&hook, &body).await, hook)
            };
            let (outcome, hook) = outcome;
            tried += 1;
            let retries_left = hook.tries.saturating_sub(tried);
            let attempt = Attempt {
                timestamp: gregorian_now().0,
                event: event.event(),
                msg_id: event.id(),
                outcome,
                retries_left,
            };
            let succeeded = attempt.succeeded();
            self.shared.attempts.note(&hook.account, &hook.id, attempt);
            if succeeded {
                self.in_a_row = 0;
                return self.shared.attempts.told(true);
            }
            if self.has_failed_too_often() {
                self.disable(&hook).await;
                break;
            }
            if retries_left == 0 {
                break;
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.shared.attempts.told(false);
    }

    /// Returns the hook as it is now, asking no more often than [`KNOWN_FOR`]; `None` when it is not to be told anything any more.
    async fn current(&mut self, queued: &Arc<Hook>) -> Option<Arc<Hook>> {
        let now = Instant::now();
        if let Some((read, hook)) = &self.known
            && now.duration_since(*read) < KNOWN_FOR
        {
            return (self.disabled.as_ref() != Some(&hook.revision)).then(|| Arc::clone(hook));
        }
        let hook = match self.shared.source.hook(&queued.account, &queued.id).await {
            Ok(hook) => Arc::new(hook?),
            // As good as what is known.
            Err(error) => {
                tracing::debug!(hook = queued.id, %error, "a webhook could not be read again");
                Arc::clone(self.known.as_ref().map_or(queued, |(_, hook)| hook))
            }
        };
        self.known = Some((now, Arc::clone(&hook)));
        (self.disabled.as_ref() != Some(&hook.revision)).then_some(hook)
    }

    /// Notes a failure.
    fn has_failed_too_often(&mut self) -> bool {
        let now = Instant::now();
        self.in_a_row += 1;
        self.failures.push_back(now);
        self.failures
            .retain(|failed| now.duration_since(*failed) < WITHIN);
        self.failures.len() >= FAILURES || self.in_a_row >= FAILURES_IN_A_ROW
    }

    async fn disable(&mut self, hook: &Hook) {
        let message = if self.failures.len() >= FAILURES {
            let seconds = WITHIN.as_secs();
            format!("{FAILURES} requests failed within {seconds} s; see the attempts")
        } else {
            format!("{FAILURES_IN_A_ROW} requests failed one after the other; see the attempts")
        };
        self.failures.clear();
        self.in_a_row = 0;
        self.disabled = Some(hook.revision.clone());
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
