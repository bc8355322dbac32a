//! Owns what leaves the server other than by WebSocket: events of conferences and of registrations in one stream, for webhooks and message
//! brokers. Never waits for a subscriber.

use std::sync::Arc;

use confab_conference::AccountId;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::bus::Subscription;
use super::message::EventMessage;
use super::registration::RegistrationMessage;

/// One event of either kind. Clones share it.
#[derive(Clone, Debug)]
pub enum News {
    /// Of a conference.
    Conference(Arc<EventMessage>),
    /// Of a device's registration.
    Registration(Arc<RegistrationMessage>),
}

impl News {
    /// Returns whose it is.
    pub fn account(&self) -> &AccountId {
        match self {
            News::Conference(message) => &message.event().account,
            News::Registration(message) => &message.registration().account,
        }
    }

    /// Returns the name of the event, such as `add-member` or `device-registered`.
    pub fn event(&self) -> &'static str {
        match self {
            News::Conference(message) => message.event().kind.name(),
            News::Registration(message) => message.registration().event(),
        }
    }

    /// Returns the name for all events of its kind: `conference` or `registration`.
    pub fn category(&self) -> &'static str {
        match self {
            News::Conference(_) => "conference",
            News::Registration(_) => "registration",
        }
    }

    /// Returns the event's id, unlike that of any other event.
    pub fn id(&self) -> String {
        match self {
            News::Conference(message) => message.id(),
            News::Registration(message) => message.id().to_owned(),
        }
    }

    /// Returns the keys under which a broker routes it, the longest first.
    pub fn routing_keys(&self) -> Vec<String> {
        match self {
            News::Conference(message) => vec![message.routing_key(), message.short_routing_key()],
            News::Registration(message) => vec![message.registration().routing_key()],
        }
    }

    /// Returns it as a JSON object. Made anew each time.
    pub fn value(&self) -> Value {
        match self {
            News::Conference(message) => message.value(),
            News::Registration(message) => message.value(),
        }
    }
}

/// One subscriber's end for both kinds. Each has a queue of its own, so that many devices that register at once crowd out no conference's event.
#[derive(Debug)]
pub struct NewsSubscription {
    pub(super) conferences: Subscription,
    pub(super) registrations: broadcast::Receiver<Arc<RegistrationMessage>>,
}

impl NewsSubscription {
    /// Waits for the next event; `None` when the bus is gone. Cancel-safe. The events of conferences come in their order, and so do those of
    /// registrations.
    pub async fn recv(&mut self) -> Option<News> {
        loop {
            let registration = tokio::select! {
                event = self.conferences.recv() => return event.map(News::Conference),
                registration = self.registrations.recv() => registration,
            };
            match registration {
                Ok(message) => return Some(News::Registration(message)),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(count)) => self.conferences.has_missed(count),
            }
        }
    }
}
