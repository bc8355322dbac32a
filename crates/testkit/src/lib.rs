//! Tools for testing confab: a virtual clock, a seeded network emulator and independent ears.
//!
//! # What it is for
//! - **Simulation**: [`clock::VirtualClock`] and [`netem::NetworkPath`] join two sans-IO cores, or a sender and a jitter buffer, over a
//!   path with loss, delay, jitter, duplication and reordering. Minutes of call pass in milliseconds, the same way for the same seed.
//! - **Measuring**: [`meter`] says how loud a tone or a whole stream is, whether a stream is continuous, and whether it is the one that
//!   was sent, sample by sample. [`codec`] turns payloads into samples; its G.711 ([`g711`]) is of
//!   its own making.
//! - **Hearing**: [`timeline::Recording`] finds known sounds in a recording: which, when, how loud.
//! - **Bearing a machine that stalls**: [`in_time::in_time`] repeats a measurement that a stall spoiled.
//! - **Calling**: [`agent::Phone`] and [`rtp::RtpEngine`] are phones on real sockets, from one to a thousand in a process;
//!   [`server::ServerBuilder`] starts the real binary beside them, [`peers`] other people's phones. [`wav`] reads what those recorded.
//!
//! # What it deliberately does not do
//! It depends on none of the server's crates. An error in the server's codec or parser cannot be hidden by the same error here. Only
//! libopus is the one that the server has as well: a program cannot link it twice.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use confab_testkit::{clock::VirtualClock, netem::{Loss, NetworkPath, PathConfig}};
//!
//! let mut clock = VirtualClock::new();
//! let config = PathConfig { loss: Loss::bursts(0.05, 3.0), delay: Duration::from_millis(40), ..PathConfig::default() };
//! let mut path = NetworkPath::new(config, 42);
//! for number in 0..100 {
//!     path.send(clock.now(), number);
//!     clock.advance(Duration::from_millis(20));
//! }
//! let mut arrived = 0;
//! while let Some(at) = path.next_at() {
//!     clock.advance_to(at);
//!     arrived += usize::from(path.poll(clock.now()).is_some());
//! }
//! assert_eq!(arrived as u64, 100 - path.counters().lost);
//! ```
//!
//! # RFC sections
//! RFC 3550 §5.1 (sequence numbers and timestamps, as the meters read them), RFC 3551 §4.5 and §6 (payloads of G.711, G.722 and L16), RFC 7587 (Opus), RFC 3261
//! §8, §9, §12–§15 and §17 as far as a calling user agent goes, RFC 3264 as an offerer and answerer of one audio stream.

pub mod agent;
pub mod allocation;
pub mod clock;
pub mod codec;
pub mod database;
pub mod dns;
pub mod g711;
pub mod in_time;
pub mod meter;
pub mod netem;
pub mod peers;
pub mod ports;
pub mod random;
pub mod rtp;
pub mod server;
pub mod timeline;
pub mod wav;
