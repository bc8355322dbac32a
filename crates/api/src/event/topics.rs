//! Owns which mailboxes get which messages, and the last events of each instance, so that a subscriber can go on where he left off.
//! Never waits for a subscriber: a mailbox that is full loses its places and its owner is told.
//!
//! Of each conference the last run is kept, also when it is over, until the next run begins or [`ENDED`] others have ended since.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use confab_conference::{AccountId, ConferenceId, EventKind, InstanceId};
use dashmap::DashMap;
use tokio::sync::{Notify, mpsc};

use super::message::{CommandMessage, EventMessage};
use super::registration::RegistrationMessage;

/// Runs that are over whose events are kept.
const ENDED: usize = 64;

/// What a mailbox can be put on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// One conference.
    Conference(AccountId, ConferenceId),
    /// Every conference of an account.
    Account(AccountId),
    /// Every conference of the server.
    Everything,
}

/// By which topic a message came. Who is on several gets a message by each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Conference,
    Account,
    Everything,
}

impl Topic {
    pub(crate) fn reach(&self) -> Reach {
        match self {
            Topic::Conference(..) => Reach::Conference,
            Topic::Account(_) => Reach::Account,
            Topic::Everything => Reach::Everything,
        }
    }
}

/// What is delivered.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Event(Arc<EventMessage>),
    Command(Arc<CommandMessage>),
    Registration(Arc<RegistrationMessage>),
}

impl Notice {
    fn account(&self) -> &AccountId {
        match self {
            Notice::Event(message) => &message.event().account,
            Notice::Command(message) => message.account(),
            Notice::Registration(message) => &message.registration().account,
        }
    }
}

/// The end into which a subscriber's messages are put.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: mpsc::Sender<(Reach, Notice)>,
    overrun: Notify,
}

impl Mailbox {
    /// Returns a mailbox for so many messages, and the end where they are read.
    pub(crate) fn new(messages: usize) -> (Arc<Mailbox>, mpsc::Receiver<(Reach, Notice)>) {
        let (queue, receiver) = mpsc::channel(messages);
        let overrun = Notify::new();
        (Arc::new(Mailbox { queue, overrun }), receiver)
    }

    /// Waits until a message found no room. Cancel-safe.
    pub(crate) async fn overrun(&self) {
        self.overrun.notified().await;
    }
}

/// From where a subscriber goes on: the last event that he has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) instance: InstanceId,
    pub(crate) sequence: u64,
}

/// What came of putting a mailbox on a topic.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// The last event before those that the mailbox gets.
    pub(crate) covered: Option<After>,
    /// The events after the one asked for, up to `covered`.
    pub(crate) backlog: Vec<Arc<EventMessage>>,
}

/// The events asked for are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

#[derive(Debug)]
pub(super) struct Topics {
    history: usize,
    conferences: DashMap<(AccountId, ConferenceId), Room>,
    accounts: DashMap<AccountId, Vec<Arc<Mailbox>>>,
    everything: Mutex<Vec<Arc<Mailbox>>>,
    ended: Mutex<VecDeque<((AccountId, ConferenceId), InstanceId)>>,
    overruns: AtomicU64,
}

/// One conference: its last run, and who listens.
#[derive(Debug, Default)]
struct Room {
    run: Option<Run>,
    mailboxes: Vec<Arc<Mailbox>>,
}

#[derive(Debug)]
struct Run {
    instance: InstanceId,
    last: u64,
    /// The last published event that is not kept any more.
    forgotten: u64,
    kept: VecDeque<Arc<EventMessage>>,
}

impl Topics {
    pub(super) fn new(history: usize) -> Topics {
        Topics {
            history,
            conferences: DashMap::new(),
            accounts: DashMap::new(),
            everything: Mutex::default(),
            ended: Mutex::default(),
            overruns: AtomicU64::new(0),
        }
    }

    pub(super) fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

    /// Keeps an event and delivers it, both as one step to whoever joins its conference. One that is no part of a run is not kept.
    pub(super) fn event(&self, message: &Arc<EventMessage>) {
        let event = message.event();
        let key = (event.account.clone(), event.conference.clone());
        let notice = Notice::Event(Arc::clone(message));
        if !event.is_of_run() {
            if message.is_published() {
                if let Some(mut room) = self.conferences.get_mut(&key) {
                    self.deliver(&mut room.mailboxes, Reach::Conference, &notice);
                }
                self.deliver_widely(&notice);
            }
            return;
        }
        {
            let mut room = self.conferences.entry(key.clone()).or_default();
            room.keep(message, self.history);
            if message.is_published() {
                self.deliver(&mut room.mailboxes, Reach::Conference, &notice);
            }
        }
        if message.is_published() {
            self.deliver_widely(&notice);
        }
        if event.kind == EventKind::ConferenceDestroy {
            self.run_ended(key, event.instance_id.clone());
        }
    }

    pub(super) fn command(&self, message: CommandMessage) {
        let key = (message.account().clone(), message.conference().clone());
        if let Some(mut room) = self.conferences.get_mut(&key)
            && !room.mailboxes.is_empty()
        {
            let notice = Notice::Command(Arc::new(message));
            self.deliver(&mut room.mailboxes, Reach::Conference, &notice);
        }
    }

    pub(super) fn registration(&self, message: &Arc<RegistrationMessage>) {
        self.deliver_widely(&Notice::Registration(Arc::clone(message)));
    }

    fn deliver_widely(&self, notice: &Notice) {
        if let Some(mut mailboxes) = self.accounts.get_mut(notice.account()) {
            self.deliver(&mut mailboxes, Reach::Account, notice);
        }
        self.deliver(&mut lock(&self.everything), Reach::Everything, notice);
    }

    fn deliver(&self, mailboxes: &mut Vec<Arc<Mailbox>>, reach: Reach, notice: &Notice) {
        mailboxes.retain(|mailbox| match mailbox.queue.try_send((reach, notice.clone())) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.overruns.fetch_add(1, Ordering::Relaxed);
                mailbox.overrun.notify_one();
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }

    /// Forgets the run that ended longest ago, when there are too many.
    fn run_ended(&self, key: (AccountId, ConferenceId), instance: InstanceId) {
        let oldest = {
            let mut ended = lock(&self.ended);
            ended.push_back((key, instance));
            (ended.len() > ENDED).then(|| ended.pop_front()).flatten()
        };
        if let Some((key, instance)) = oldest {
            if let Some(mut room) = self.conferences.get_mut(&key)
                && room.run.as_ref().is_some_and(|run| run.instance == instance)
            {
                room.run = None;
            }
            self.conferences.remove_if(&key, |_, room| room.is_idle());
        }
    }

    /// Puts a mailbox on a topic, once however often, and returns the events since `after`. Between those and what the mailbox gets
    /// nothing is missing, and nothing is twice.
    pub(super) fn join(
        &self,
        topic: &Topic,
        mailbox: &Arc<Mailbox>,
        after: Option<&After>,
    ) -> Result<Joined, Gone> {
        match topic {
            Topic::Conference(account, conference) => {
                let key = (account.clone(), conference.clone());
                let joined = {
                    let mut room = self.conferences.entry(key.clone()).or_default();
                    let joined = room.since(after);
                    if joined.is_ok() {
                        put(&mut room.mailboxes, mailbox);
                    }
                    joined
                };
                if joined.is_err() {
                    self.conferences.remove_if(&key, |_, room| room.is_idle());
                }
                joined
            }
            _ if after.is_some() => Err(Gone),
            Topic::Account(account) => {
                put(&mut self.accounts.entry(account.clone()).or_default(), mailbox);
                Ok(Joined::default())
            }
            Topic::Everything => {
                put(&mut lock(&self.everything), mailbox);
                Ok(Joined::default())
            }
        }
    }

    /// Takes a mailbox off a topic.
    pub(super) fn leave(&self, topic: &Topic, mailbox: &Arc<Mailbox>) {
        let others = |known: &Arc<Mailbox>| !Arc::ptr_eq(known, mailbox);
        match topic {
            Topic::Conference(account, conference) => {
                let key = (account.clone(), conference.clone());
                if let Some(mut room) = self.conferences.get_mut(&key) {
                    room.mailboxes.retain(others);
                }
                self.conferences.remove_if(&key, |_, room| room.is_idle());
            }
            Topic::Account(account) => {
                if let Some(mut mailboxes) = self.accounts.get_mut(account) {
                    mailboxes.retain(others);
                }
                self.accounts
                    .remove_if(account, |_, mailboxes| mailboxes.is_empty());
            }
            Topic::Everything => lock(&self.everything).retain(others),
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize, usize) {
        (
            self.conferences.len(),
            self.accounts.len(),
            lock(&self.everything).len(),
        )
    }
}

impl Room {
    fn is_idle(&self) -> bool {
        self.run.is_none() && self.mailboxes.is_empty()
    }

    fn keep(&mut self, message: &Arc<EventMessage>, history: usize) {
        let event = message.event();
        if self
            .run
            .as_ref()
            .is_none_or(|run| run.instance != event.instance_id)
        {
            self.run = Some(Run {
                instance: event.instance_id.clone(),
                last: 0,
                forgotten: event.sequence.saturating_sub(1),
                kept: VecDeque::new(),
            });
        }
        let Some(run) = &mut self.run else { return };
        run.last = event.sequence;
        if message.is_published() {
            run.kept.push_back(Arc::clone(message));
        }
        while run.kept.len() > history {
            if let Some(oldest) = run.kept.pop_front() {
                run.forgotten = oldest.event().sequence;
            }
        }
    }

    fn since(&self, after: Option<&After>) -> Result<Joined, Gone> {
        let covered = self.run.as_ref().map(|run| After {
            instance: run.instance.clone(),
            sequence: run.last,
        });
        let Some(after) = after else {
            return Ok(Joined {
                covered,
                backlog: Vec::new(),
            });
        };
        let run = self.run.as_ref().ok_or(Gone)?;
        if run.instance != after.instance || !(run.forgotten..=run.last).contains(&after.sequence) {
            return Err(Gone);
        }
        let missed = |message: &&Arc<EventMessage>| message.event().sequence > after.sequence;
        Ok(Joined {
            covered,
            backlog: run.kept.iter().filter(missed).cloned().collect(),
        })
    }
}

fn put(mailboxes: &mut Vec<Arc<Mailbox>>, mailbox: &Arc<Mailbox>) {
    if !mailboxes.iter().any(|known| Arc::ptr_eq(known, mailbox)) {
        mailboxes.push(Arc::clone(mailbox));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock is held leaves whole lists.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
