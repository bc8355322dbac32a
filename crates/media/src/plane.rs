//! The media plane as a whole: starting and stopping its threads, opening legs and conferences.

use std::net::IpAddr;

use crate::config::{ConferenceMedia, MediaConfig};
use crate::error::{ControlError, MediaError, OpenLegError};
use crate::event::MediaEvent;
use crate::handle::{ConferenceMediaHandle, LegHandle};
use crate::metrics::{MediaAdmission, MediaMetrics};

/// All shards and what they share. Dropping it stops the threads; legs and conferences are dead from then on.
#[derive(Debug)]
pub struct MediaPlane {}

impl MediaPlane {
    /// Starts the shard threads. Needs no async runtime.
    pub fn start(config: MediaConfig) -> Result<(MediaPlane, MediaEvents), MediaError> {
        let _ = config;
        Err(MediaError::NoBindAddress)
    }

    /// Opens a leg on one of the configured addresses: binds its two sockets and puts it on the least loaded shard. It
    /// receives from then on, and sends once it is started and has joined a conference.
    pub fn open_leg(&self, bind: IpAddr) -> Result<LegHandle, OpenLegError> {
        let _ = bind;
        Err(OpenLegError::Stopped)
    }

    /// Creates the audio of a conference on the least loaded shard.
    pub fn create_conference(&self, media: ConferenceMedia) -> Result<ConferenceMediaHandle, ControlError> {
        let _ = media;
        Err(ControlError::Stopped)
    }

    /// Returns whether another leg can be taken in without harm to those that run.
    pub fn admission(&self) -> MediaAdmission {
        MediaAdmission::Open
    }

    /// Returns the figures of all shards.
    pub fn metrics(&self) -> MediaMetrics {
        MediaMetrics {
            shards: Vec::new(),
            ports_in_use: 0,
            ports_total: 0,
            legs_opened: 0,
            legs_closed: 0,
        }
    }
}

/// The receiving end of the media plane's events. There is one per plane.
#[derive(Debug)]
pub struct MediaEvents {}

impl MediaEvents {
    /// Waits for the next event; `None` when the media plane has stopped.
    pub async fn recv(&mut self) -> Option<MediaEvent> {
        None
    }
}
