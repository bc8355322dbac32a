//! Running conferences: one task each, found through the [`Registry`].
//!
//! A task owns the conference's state machine ([`confab_conference::Conference`]), its mix and the controls of its
//! legs. It decides nothing itself: it tells the core the time, performs the effects the core asks for, publishes the
//! events and only then answers. What it never does: SIP, documents, or waiting for either.
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | commands of a conference | [`task::COMMANDS`] | the sender waits |
//! | talking, levels and floor of a conference | one entry per leg and kind | the newer replaces the older |
//! | media events of a call | [`dispatch::CALL_EVENTS`] | the event is dropped and counted |
//! | events on the bus | [`EVENTS`](confab_api::event::EVENTS) | a slow subscriber misses the oldest, counted |

mod bus;
mod dispatch;
mod inbox;
mod live;
mod media;
mod registry;
mod seat;
mod task;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use bus::log_events;
pub(crate) use dispatch::MediaDispatch;
pub(crate) use registry::Registry;
pub(crate) use seat::{HangUp, Move, Participant, Seat};
pub(crate) use transfer::start as start_transfers;
