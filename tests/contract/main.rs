//! The contract's checklist against the real binary, over real HTTP, SIP and WebSocket. Each test is named by the number of its line;
//! `README.md` beside this file says what became of every line.
//!
//! The lines of one server configuration share one server, and each makes conferences of its own.

mod actions;
mod callers;
mod conventions;
mod devices;
mod dialled;
mod dialling;
mod documents;
mod ears;
mod examples;
mod fixture;
mod keys;
mod media;
mod moderators;
mod participants;
mod races;
mod reception;
mod recordings;
mod resources;
mod sounds;
mod table;
mod trunks;
mod websocket;
