//! Owns the way of events from conferences to subscribers. Never waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use confab_conference::{AccountId, ConferenceId, Control, Event};
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::filter::EventFilter;
use super::message::{Command, CommandMessage, EventMessage, Origin, Writer};
use super::news::NewsSubscription;
use super::registration::{Registration, RegistrationMessage};
use super::topics::{After, Gone, Joined, Mailbox, Topic, Topics};

/// Events kept for a [`Subscription`] that is slow.
pub const EVENTS: usize = 4096;

/// What the configuration says about events.
#[derive(Clone, Debug)]
pub struct EventBusConfig {
    /// Who tells of them.
    pub origin: Origin,
    /// Which are published.
    pub filter: EventFilter,
    /// How many published events of each instance are kept for subscribers that resume.
    pub history: usize,
}

impl Default for EventBusConfig {
    fn default() -> Self {
        EventBusConfig {
            origin: Origin::default(),
            filter: EventFilter::default(),
            history: 1000,
        }
    }
}

/// Where conferences publish and whence everybody gets events. Clones share one bus.
#[derive(Clone, Debug)]
pub struct EventBus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    filter: EventFilter,
    writer: Arc<Writer>,
    everything: broadcast::Sender<Arc<EventMessage>>,
    registrations: broadcast::Sender<Arc<RegistrationMessage>>,
    topics: Topics,
    missed: AtomicU64,
}

impl Default for EventBus {
    fn default() -> Self {
        EventBus::new(EventBusConfig::default())
    }
}

impl EventBus {
    /// Returns a bus without subscribers.
    pub fn new(config: EventBusConfig) -> EventBus {
        EventBus(Arc::new(Shared {
            filter: config.filter,
            writer: Arc::new(Writer::new(config.origin)),
            everything: broadcast::Sender::new(EVENTS),
            registrations: broadcast::Sender::new(EVENTS),
            topics: Topics::new(config.history),
            missed: AtomicU64::new(0),
        }))
    }

    /// Hands the event to every subscriber; without subscribers it is gone. Never waits. The events of one instance have to come in
    /// their order, from one task.
    pub fn publish(&self, event: Arc<Event>) {
        let is_published = self.0.filter.publishes(event.kind);
        let message = Arc::new(EventMessage::new(event, Arc::clone(&self.0.writer), is_published));
        self.0.topics.event(&message);
        // Refused when nobody has subscribed.
        let _ = self.0.everything.send(message);
    }

    /// Tells those who listen for the commands of a conference that one was carried out. Never waits.
    pub fn publish_command(&self, account: &AccountId, conference: &ConferenceId, control: Control) {
        self.tell_command(account, conference, Command::Control(control));
    }

    /// Tells the same listeners that others are called to a conference, with these arguments. Never waits.
    pub fn publish_dial(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        arguments: Map<String, Value>,
    ) {
        self.tell_command(account, conference, Command::Dial(arguments));
    }

    /// Tells those who follow the registrations of an account what became of one. Never waits.
    pub fn publish_registration(&self, registration: Registration) {
        let writer = Arc::clone(&self.0.writer);
        let message = Arc::new(RegistrationMessage::new(registration, writer));
        self.0.topics.registration(&message);
        // Refused when nobody has subscribed.
        let _ = self.0.registrations.send(message);
    }

    fn tell_command(&self, account: &AccountId, conference: &ConferenceId, command: Command) {
        let writer = Arc::clone(&self.0.writer);
        let message = CommandMessage::new(account.clone(), conference.clone(), command, writer);
        self.0.topics.command(message);
    }

    pub(crate) fn join(
        &self,
        topic: &Topic,
        mailbox: &Arc<Mailbox>,
        after: Option<&After>,
    ) -> Result<Joined, Gone> {
        self.0.topics.join(topic, mailbox, after)
    }

    pub(crate) fn leave(&self, topic: &Topic, mailbox: &Arc<Mailbox>) {
        self.0.topics.leave(topic, mailbox);
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize, usize) {
        self.0.topics.size()
    }

    /// Returns an end that receives what is published from here on.
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            unpublished_too: false,
            ..self.subscribe_all()
        }
    }

    /// Returns an end that receives what is published from here on, and what becomes of registrations.
    pub fn subscribe_news(&self) -> NewsSubscription {
        NewsSubscription {
            conferences: self.subscribe(),
            registrations: self.0.registrations.subscribe(),
        }
    }

    /// Returns an end that receives every event from here on, published or not.
    pub fn subscribe_all(&self) -> Subscription {
        Subscription {
            bus: Arc::downgrade(&self.0),
            receiver: self.0.everything.subscribe(),
            unpublished_too: true,
        }
    }

    /// Returns how many events slow subscribers have missed, summed over all of them.
    pub fn missed(&self) -> u64 {
        self.0.missed.load(Ordering::Relaxed)
    }

    /// Returns how often a subscriber's queue was full, which ends his subscription.
    pub fn overruns(&self) -> u64 {
        self.0.topics.overruns()
    }

    /// Returns how many messages have been written as text.
    pub fn written(&self) -> u64 {
        self.0.writer.written()
    }
}

/// One subscriber's end of the bus, for the events of all conferences.
#[derive(Debug)]
pub struct Subscription {
    /// Weak: the end of the bus ends its subscriptions.
    bus: std::sync::Weak<Shared>,
    receiver: broadcast::Receiver<Arc<EventMessage>>,
    unpublished_too: bool,
}

impl Subscription {
    /// Waits for the next event; `None` when the bus is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Arc<EventMessage>> {
        loop {
            match self.receiver.recv().await {
                Ok(message) if message.is_published() || self.unpublished_too => return Some(message),
                Ok(_) => {}
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(count)) => self.has_missed(count),
            }
        }
    }

    /// Counts events that went by.
    pub(super) fn has_missed(&self, count: u64) {
        if let Some(bus) = self.bus.upgrade() {
            bus.missed.fetch_add(count, Ordering::Relaxed);
        }
        tracing::warn!(count, "an event subscriber is too slow and missed events");
    }
}
