//! Events told to addresses that accounts have registered (KAZOO's webhooks).
//!
//! One task takes the events from the bus and finds the hooks of their account, and of those above it that ask for it; what it knows
//! of hooks is at most [`KNOWN_FOR`] old. Each hook that is told something has a [`worker`] with a bounded queue of its own: its
//! events come one after the other, in order, and a slow address holds up nobody else. A hook that fails too often is disabled in its
//! document, with the reason beside it.
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | events for one hook | [`WAITING`] | the event is left out, `confab_webhooks_total{outcome="dropped"}` |
//! | requests under way for one account's hooks | [`OF_ONE_ACCOUNT`] | the account's others wait |
//! | requests under way to one host | [`TO_ONE_HOST`] | the others to it wait |
//! | requests under way | [`AT_A_TIME`] | the others wait |

mod attempts;
mod body;
mod hook;
mod source;
#[cfg(test)]
mod tests;
mod transport;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use confab_api::event::NewsSubscription;
use confab_conference::AccountId;
use confab_documents::Store;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) use self::attempts::Attempts;
use self::hook::Hook;
use self::source::Source;
use self::transport::{Http, Transport};
use self::worker::Job;

/// For how long what is known of an account's hooks is taken as it is.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Accounts whose hooks are known at a time; beyond, all are forgotten.
const ACCOUNTS: usize = 4096;

/// Events that may wait for one hook.
const WAITING: usize = 256;

/// Requests under way.
const AT_A_TIME: usize = 256;

/// Requests under way for the hooks of one account: those that hang hold up only those beside them.
const OF_ONE_ACCOUNT: usize = 8;

/// Requests under way to one host: one that hangs has no more of them, however many accounts name it.
const TO_ONE_HOST: usize = 32;

/// What all parts share.
struct Shared {
    source: Box<dyn Source>,
    transport: Box<dyn Transport>,
    turns: Semaphore,
    turns_of_accounts: Turns<AccountId>,
    turns_of_hosts: Turns<String>,
    attempts: Arc<Attempts>,
}

/// Turns of each of many, which are there as long as somebody has them.
struct Turns<K> {
    each: usize,
    at_work: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Clone + Eq + std::hash::Hash> Turns<K> {
    fn new(each: usize) -> Turns<K> {
        Turns {
            each,
            at_work: Mutex::default(),
        }
    }

    /// Returns the turns of one.
    fn of(&self, key: &K) -> Arc<Semaphore> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = at_work.get(key).and_then(Weak::upgrade) {
            return turns;
        }
        at_work.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.each));
        at_work.insert(key.clone(), Arc::downgrade(&turns));
        turns
    }
}

impl Shared {
    fn new(source: Box<dyn Source>, transport: Box<dyn Transport>, attempts: Arc<Attempts>) -> Shared {
        Shared {
            source,
            transport,
            turns: Semaphore::new(AT_A_TIME),
            turns_of_accounts: Turns::new(OF_ONE_ACCOUNT),
            turns_of_hosts: Turns::new(TO_ONE_HOST),
            attempts,
        }
    }
}

/// Starts telling hooks what `events` brings.
pub(crate) fn start(
    store: Store,
    allow_private: bool,
    events: NewsSubscription,
    attempts: &Arc<Attempts>,
) -> JoinHandle<()> {
    let transport = Box::new(Http::new(allow_private));
    let shared = Shared::new(Box::new(store), transport, Arc::clone(attempts));
    tokio::spawn(Dispatcher::new(shared).run(events))
}

/// An account's hooks, and when they were read.
type Known = (Instant, Arc<[Arc<Hook>]>);

/// Brings events to the workers of the hooks that want them.
struct Dispatcher {
    shared: Arc<Shared>,
    known: HashMap<AccountId, Known>,
    /// By account and id: an id is chosen by who makes the hook, and one of another account may have it too.
    workers: HashMap<(AccountId, String), mpsc::Sender<Job>>,
}

impl Dispatcher {
    fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            known: HashMap::new(),
            workers: HashMap::new(),
        }
    }

    async fn run(mut self, mut events: NewsSubscription) {
        while let Some(event) = events.recv().await {
            let hooks = self.hooks(event.account()).await;
            for hook in hooks.iter().filter(|hook| hook.wants(&event)) {
                let job = Job {
                    hook: Arc::clone(hook),
                    event: event.clone(),
                };
                self.hand_over(job);
            }
        }
    }

    /// Returns the hooks that an account's events may concern.
    async fn hooks(&mut self, account: &AccountId) -> Arc<[Arc<Hook>]> {
        let now = Instant::now();
        if let Some((read, hooks)) = self.known.get(account)
            && now.duration_since(*read) < KNOWN_FOR
        {
            return Arc::clone(hooks);
        }
        let hooks: Arc<[Arc<Hook>]> = match self.shared.source.hooks(account).await {
            Ok(hooks) => hooks.into_iter().map(Arc::new).collect(),
            Err(error) => {
                tracing::warn!(%error, "webhooks could not be read: going on with those known before");
                self.known
                    .get(account)
                    .map_or_else(|| Arc::from([]), |(_, hooks)| Arc::clone(hooks))
            }
        };
        if self.known.len() >= ACCOUNTS {
            self.known.clear();
        }
        self.known.insert(account.clone(), (now, Arc::clone(&hooks)));
        hooks
    }

    fn hand_over(&mut self, job: Job) {
        let key = (job.hook.account.clone(), job.hook.id.clone());
        let refused = match self.workers.get(&key) {
            Some(worker) => worker.try_send(job),
            None => Err(mpsc::error::TrySendError::Closed(job)),
        };
        match refused {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.shared.attempts.dropped(),
            // Workers that had nothing to do have gone.
            Err(mpsc::error::TrySendError::Closed(job)) => {
                self.workers.retain(|_, worker| !worker.is_closed());
                let (sender, jobs) = mpsc::channel(WAITING);
                // There is room for the first.
                let _ = sender.try_send(job);
                let turns = self.shared.turns_of_accounts.of(&key.0);
                tokio::spawn(worker::run(Arc::clone(&self.shared), turns, jobs));
                self.workers.insert(key, sender);
            }
        }
    }
}
