//! Transactions: RFC 3261 §17 with the corrections of RFC 6026.
//!
//! [`timer`] names every timer; `server_invite`, `server`, `client_invite` and `client` are the four state machines, pure and
//! without tables; [`key`] matches messages to them; [`layer`] holds those that are alive, their deadlines and their
//! destinations. Nothing here knows about dialogs or calls beyond carrying the number of the owner.

mod client;
mod client_invite;
pub(crate) mod key;
pub(crate) mod layer;
mod server;
mod server_invite;
pub(crate) mod timer;
