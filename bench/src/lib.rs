//! The load bench: real calls over loopback against the real binary, beside a bare RTP reflector in the same run.
//!
//! [`load`] holds the parts: what a run looks like, the crowd of participants, the measured windows and the report. The program around
//! it is `src/bin/load.rs`; the criterion kernels are in `benches/`. README.md beside this folder says how to read the figures.
//!
//! It deliberately knows nothing of the server but its outside interface: the same SIP, HTTP, `/metrics` and `/proc` that an operator has.

pub mod api_load;
pub mod delay;
pub mod load;
