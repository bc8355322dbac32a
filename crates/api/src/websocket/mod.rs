//! Live events over WebSocket: what clients subscribe to, and the sessions that bring it to them.
//!
//! # The protocol
//! Clients send text frames, one JSON object each: `{"action", "auth_token", "request_id", "data"}`; the actions are `subscribe`,
//! `unsubscribe` and `ping`. Each has a reply. Events come as frames of their own, one for each binding that they match, with
//! `subscribed_key` as the client wrote the binding.
//!
//! `data.after` with `instance_id` and `sequence` asks for the events of one conference after the one named: those that are kept come
//! first, then what happens from there on, none missing and none twice. The session goes on from a reading of the conference
//! (`_read_only.instance_id` and `.sequence`) or from the last event that it has seen.
//!
//! # The parts
//! - [`message`]: what a frame of a client says; anything at all may come in. [`binding`]: what a binding means and which events
//!   match it. [`session`]: the state of one client, messages in and replies out. None of them waits or asks the time.
//! - `connection`: one client's task. `sessions`: who is there, and how many of each address. [`router`]: the way in.
//!
//! # Slow clients
//! A session has a queue of [`QUEUE`] events. Whose queue is full, or who takes nothing for [`WRITE_TIMEOUT`], is closed with code 1013 and a reason:
//! he has missed something, and can connect again and go on with `after`. The others notice nothing: what publishes never waits.

pub(crate) mod binding;
mod connection;
mod fuzz;
pub(crate) mod message;
pub(crate) mod session;
pub(crate) mod sessions;
mod upgrade;

#[cfg(test)]
mod tests;

pub use fuzz::fuzz_client_messages;
pub use upgrade::{WebSocketConfig, router};

use std::time::Duration;

/// Messages that wait for one client.
pub(crate) const QUEUE: usize = 1024;
/// Octets of a message of a client.
pub(crate) const MESSAGE: usize = 65_536;
/// Bindings of one session.
pub(crate) const BINDINGS: usize = 256;
/// How long a client may take nothing of what is sent.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
