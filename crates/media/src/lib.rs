//! The media plane: shards, sockets, legs.

mod config;
mod error;
mod event;
mod handle;
mod metrics;
mod plane;
mod stats;

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
