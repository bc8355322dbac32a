//! The HTTP contract through the router, without a socket. Test names carry the numbers of the contract's checklist.
#![allow(clippy::unwrap_used)]

mod accounts;
mod actions;
mod conferences;
mod conventions;
mod devices;
mod documents;
mod hostile;
mod lists;
mod media;
mod media_files;
mod participants;
mod plain_routes;
mod playing;
mod support;
mod users;
