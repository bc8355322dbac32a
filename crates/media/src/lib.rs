//! The media plane: shards, sockets, legs.

mod arrival;
mod config;
mod control;
mod error;
mod event;
mod handle;
mod io;
mod keeper;
mod leg;
mod load;
mod metrics;
mod plane;
mod ports;
mod shard;
mod stats;
mod sys;

pub use config::{CodecKind, ConferenceMedia, JoinOptions, Latch, LegMedia, MediaConfig, MediaDirection};
pub use error::{ControlError, MediaError, OpenLegError};
pub use event::{ConferenceAudioId, LegId, MediaEvent};
pub use handle::{ConferenceMediaHandle, LegHandle};
pub use metrics::{
    BUCKET_BOUNDS_US, DropReason, HistogramSnapshot, MediaAdmission, MediaMetrics, OverloadReason,
    ShardMetrics,
};
pub use plane::{MediaEvents, MediaPlane};
pub use stats::{LegReport, LegStats};
