//! The outside's grip on legs and on conferences' audio. Handles know where their half on a shard lives and put commands
//! into its ring; what is heard and sent is decided there.

mod conference;
mod leg;
mod plays;
mod recording;

pub use conference::ConferenceMediaHandle;
pub use leg::LegHandle;
pub use recording::{LegTap, RecordingTaps, TrackChoice, TrackTaps};
