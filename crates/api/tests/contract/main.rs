//! The HTTP contract through the router, without a socket. Test names carry the numbers of the contract's checklist.
#![allow(clippy::unwrap_used)]

mod actions;
mod conferences;
mod conventions;
mod hostile;
mod lists;
mod participants;
mod plain_routes;
mod playing;
mod support;
