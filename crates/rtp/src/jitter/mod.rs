//! Jitter buffer storage and playout policy.

mod buffer;
mod playout;

pub use buffer::Rejected;
pub use playout::{Adjust, Content, FrameRef, Playout, PlayoutConfig, Pull, Tick};
