//! Events on their way out: their form as JSON, which of them are published, and the bus that brings them to whoever wants them.
//!
//! # The way of an event
//! A conference's task hands each [`Event`](confab_conference::Event) to [`EventBus::publish`], which never waits. The bus wraps it in
//! one [`EventMessage`] that all subscribers share. The message is written as JSON when the first of them asks for it, and only once,
//! however many there are; without subscribers never.
//!
//! # Subscribing
//! [`EventBus::subscribe`] gives an end that receives every published event of every conference, in order per instance: for what
//! sends them on elsewhere (webhooks, message brokers). It has to keep up: who falls [`EVENTS`] behind misses the oldest, which is
//! counted, and goes on with what is left; gaps show in `sequence`. [`EventBus::subscribe_all`] gives also what [`EventFilter`] keeps
//! from being published: for the log.
//!
//! WebSocket sessions have mailboxes instead, by conference or account (`topics`): a full one loses its places, and so neither delays nor
//! costs the others anything. The last events of each instance are kept for those who resume.
//!
//! # The form
//! - [`EventMessage::data`] is the event itself, a JSON object with lower-case names; the same bytes for everybody.
//!   [`EventMessage::value`] is the same as a value, for those who need other names.
//! - [`EventMessage::name`] is `participant_event` for what happens to one leg, `event` for what happens to the conference.
//! - [`EventMessage::routing_key`] is `conference.event.{event}.{account}.{conference}.{call}`, the last two as [`encode_segment`] writes
//!   them; events of the conference have its id in place of the call's. [`EventMessage::short_routing_key`] is the older
//!   `conference.event.{conference}.{call}`.
//! - [`EventMessage::id`] is one for each event and the same for everybody, so that who gets an event on two ways can tell.
//!
//! Registrations of devices ([`EventBus::publish_registration`]) go to WebSocket sessions by account, and beside the conferences' events to
//! webhooks and brokers ([`EventBus::subscribe_news`]): nothing of them is kept.
//!
//! What it does not do: it opens no connection and knows no subscriber's protocol.

mod body;
mod bus;
mod command;
mod filter;
#[cfg(test)]
mod following;
mod key;
mod message;
mod news;
mod registration;
#[cfg(test)]
mod tests;
mod topics;

pub use bus::{EVENTS, EventBus, EventBusConfig, Subscription};
pub use filter::EventFilter;
pub use key::encode_segment;
pub(crate) use key::subject;
pub use message::{EventMessage, Origin};
pub use news::{News, NewsSubscription};
pub use registration::{Registration, RegistrationMessage};
pub(crate) use topics::{After, Mailbox, Notice, Reach, Topic};
