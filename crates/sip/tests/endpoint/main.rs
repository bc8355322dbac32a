//! The endpoint from outside: named cases of calls, races, refusals and transports, and simulated calls by the thousand.
//!
//! `pair` joins two endpoints over the emulated network, `lone` plays the peer of one endpoint by hand.

mod asking;
mod authentication;
mod budgets;
mod callee;
mod caller;
mod fates;
mod info;
mod lone;
mod operations;
mod pair;
mod progress;
mod races;
mod referring;
mod refusals;
mod registering;
mod reinvite;
mod reliable;
mod session;
mod simulation;
mod subscribing;
mod transport;
