//! The outside's grip on a leg and on a conference's audio.

use std::net::SocketAddr;

use crate::config::{JoinOptions, LegMedia};
use crate::error::ControlError;
use crate::event::{ConferenceAudioId, LegId};
use crate::stats::{LegReport, LegStats};

/// One leg: two sockets, a jitter buffer, a decoder and an encoder, living on a shard.
///
/// Methods take `&self`, so an `Arc<LegHandle>` may be shared; calls for one leg are carried out one after the other.
/// Dropping the handle closes the leg.
#[derive(Debug)]
pub struct LegHandle {
    id: LegId,
    rtp_addr: SocketAddr,
    rtcp_addr: SocketAddr,
}

impl LegHandle {
    /// Returns the leg's identity, as it appears in events.
    pub fn id(&self) -> LegId {
        self.id
    }

    /// Returns the local address of RTP, with its even port.
    pub fn rtp_addr(&self) -> SocketAddr {
        self.rtp_addr
    }

    /// Returns the local address of RTCP, one port above RTP.
    pub fn rtcp_addr(&self) -> SocketAddr {
        self.rtcp_addr
    }

    /// Sets the leg's media after an offer/answer exchange; again after each re-INVITE. Sequence numbers, timestamps
    /// and SSRC of what we send go on.
    pub async fn start(&self, media: LegMedia) -> Result<(), ControlError> {
        let _ = media;
        Err(ControlError::Stopped)
    }

    /// Moves the leg to the conference's shard, if it lives on another, and mixes it in from the next tick on. A leg
    /// that was in another conference leaves that first.
    pub async fn join(
        &self,
        conference: &ConferenceMediaHandle,
        options: JoinOptions,
    ) -> Result<(), ControlError> {
        let _ = (conference, options);
        Err(ControlError::Stopped)
    }

    /// Takes the leg out of its conference; it sends nothing until it joins again.
    pub async fn leave(&self) -> Result<(), ControlError> {
        Err(ControlError::Stopped)
    }

    /// Mutes or unmutes the leg from the next tick on.
    pub async fn set_muted(&self, muted: bool) -> Result<(), ControlError> {
        let _ = muted;
        Err(ControlError::Stopped)
    }

    /// Makes the leg deaf or hearing from the next tick on.
    pub async fn set_deaf(&self, deaf: bool) -> Result<(), ControlError> {
        let _ = deaf;
        Err(ControlError::Stopped)
    }

    /// Returns the leg's measurements, at most a quarter of a second old.
    pub fn stats(&self) -> LegStats {
        LegStats::default()
    }

    /// Closes the leg: RTCP BYE, out of its conference, sockets and ports freed. Idempotent.
    pub async fn close(&self) -> LegReport {
        LegReport::default()
    }
}

/// The audio of one running conference. Dropping the handle ends it; legs still in it stop sending.
#[derive(Debug)]
pub struct ConferenceMediaHandle {
    id: ConferenceAudioId,
}

impl ConferenceMediaHandle {
    /// Returns the identity of this audio, as it appears in [`MediaEvent::Floor`](crate::MediaEvent::Floor).
    pub fn id(&self) -> ConferenceAudioId {
        self.id
    }

    /// Sets the score above which participants are mixed, 0..=1800, from the next tick on.
    pub async fn set_energy_level(&self, energy_level: u16) -> Result<(), ControlError> {
        let _ = energy_level;
        Err(ControlError::Stopped)
    }

    /// Ends the conference's audio, as dropping the handle does.
    pub fn close(self) {}
}
