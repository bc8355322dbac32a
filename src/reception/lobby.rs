//! Where a leg is while its caller is not in a conference yet: alone in a mix of its own, heard by nobody.
//!
//! The mix gives the leg what it has in a conference: time, keys, and a queue of plays. It ends with its last holder; the leg has gone
//! on into a conference by then, or is closed.

use std::sync::Arc;
use std::time::Duration;

use confab_media::{
    ConferenceMedia, ConferenceMediaHandle, ControlError, Hearers, JoinOptions, Lane, LegHandle, MediaPlane,
    Play, PlayId, Sound, StopPlay, Tap,
};

/// What the tap of a caller holds until it is read: longer than this machine is ever held up.
const TAP: Duration = Duration::from_secs(2);

/// A leg and the mix that it is alone in.
pub(super) struct Lobby {
    leg: Arc<LegHandle>,
    mix: ConferenceMediaHandle,
}

impl Lobby {
    /// Takes a leg whose media flows into a mix of its own, at the rate of its codec.
    pub(super) async fn enter(media: &MediaPlane, leg: &Arc<LegHandle>) -> Result<Lobby, ControlError> {
        let mix = media.create_conference(ConferenceMedia {
            rate_hz: None,
            interval_ms: 20,
            energy_level: 0,
            comfort_noise: 0,
        })?;
        let options = JoinOptions {
            muted: true,
            deaf: true,
            ghost: false,
            held: false,
        };
        leg.join(&mix, options).await?;
        Ok(Lobby {
            leg: Arc::clone(leg),
            mix,
        })
    }

    /// Plays sounds one after another.
    pub(super) async fn play(&self, sounds: Vec<Sound>) -> Result<PlayId, ControlError> {
        let play = Play {
            sounds,
            ..Play::default()
        };
        self.mix.play(Hearers::One(&self.leg), Lane::Queue, play).await
    }

    /// Lets out what the caller says.
    pub(super) async fn tap(&self) -> Result<Tap, ControlError> {
        self.leg.tap(TAP).await
    }

    /// Lets it out no more.
    pub(super) async fn untap(&self) {
        if let Err(error) = self.leg.untap().await {
            tracing::debug!(%error, "a leg was not reached");
        }
    }

    /// Stops whatever plays.
    pub(super) async fn stop(&self) {
        if let Err(error) = self.mix.stop_play(Hearers::One(&self.leg), StopPlay::All).await {
            tracing::debug!(%error, "a leg was not reached");
        }
    }
}
