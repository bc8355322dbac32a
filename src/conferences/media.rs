//! The edge towards the media plane: what a conference needs of it, and nothing else, so that tests can stand in.

use std::future::Future;
use std::time::Duration;

use confab_conference::{DigitString, MediaState, Quality, Volume};
use confab_media::{
    CodecKind, ConferenceAudioId, ConferenceMedia, ConferenceMediaHandle, ControlError, Hearers, JoinOptions,
    Lane, LegHandle, LegId, LegStats, MediaPlane, Play, PlayId, RecordingTaps, StopPlay, TrackChoice,
};

/// Something set on one leg in the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LegSetting {
    /// Out of the mix both ways, though the call goes on.
    Held(bool),
    /// Gain of what comes from it.
    VolumeIn(Volume),
    /// Gain of what goes to it.
    VolumeOut(Volume),
    /// Threshold of its talk gate, 0..=1800.
    EnergyLevel(u16),
    /// Automatic gain of what comes from it.
    Agc(bool),
    /// Noise suppression of what comes from it.
    Denoise(bool),
    /// Keys that are pressed on it are sent on to all others.
    DistributeDigits,
}

/// Who hears a play.
#[derive(Debug)]
pub(crate) enum To<'a, L> {
    /// All who hear the mix.
    Everybody,
    /// All who are out of it.
    Waiting,
    /// One leg alone.
    One(&'a L),
}

impl<L> Clone for To<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for To<'_, L> {}

/// How long each digit is that an operator has sent: a short press.
const DIGIT_MS: u32 = 100;

/// What a recording's taps hold when their reader is late.
const TAP_ROOM: Duration = Duration::from_secs(1);

/// What is shown of a leg's measurements.
fn shown(stats: &LegStats) -> MediaState {
    let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    let way = stats.round_trip.unwrap_or_default() / 2;
    MediaState {
        codec: stats.codec.map(CodecKind::name),
        quality: Quality {
            loss_hundredths: (stats.loss_percent() * 100.0).round() as u32, // 10,000 at most
            jitter_us: micros(stats.jitter),
            delay_us: micros(stats.playout_delay.saturating_add(way)),
            concealed_ms: stats.concealed_ms,
            skew_ppm: stats.skew_ppm,
            mos_hundredths: stats.mos_hundredths,
        },
    }
}

/// A plane that mixes legs. The methods mean what those of the same name on [`MediaPlane`], [`LegHandle`] and
/// [`ConferenceMediaHandle`] mean.
pub(crate) trait MixPlane: Send + Sync + 'static {
    /// One conference's audio; dropping it ends it.
    type Mix: Send + Sync + 'static;
    /// One participant's media.
    type Leg: Send + Sync + 'static;

    fn create_conference(&self, media: ConferenceMedia) -> Result<Self::Mix, ControlError>;
    fn mix_id(mix: &Self::Mix) -> ConferenceAudioId;
    fn leg_id(leg: &Self::Leg) -> LegId;
    fn join(
        leg: &Self::Leg,
        mix: &Self::Mix,
        options: JoinOptions,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;
    fn leave(leg: &Self::Leg) -> impl Future<Output = Result<(), ControlError>> + Send;
    fn set_muted(leg: &Self::Leg, muted: bool) -> impl Future<Output = Result<(), ControlError>> + Send;
    fn set_deaf(leg: &Self::Leg, deaf: bool) -> impl Future<Output = Result<(), ControlError>> + Send;
    /// Sets something else on a leg that is in a mix.
    fn set(leg: &Self::Leg, setting: LegSetting) -> impl Future<Output = Result<(), ControlError>> + Send;
    /// Returns what is measured about the leg.
    fn media_state(leg: &Self::Leg) -> MediaState;
    /// Sends digits to its peer.
    fn send_digits(
        leg: &Self::Leg,
        digits: DigitString,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;
    /// Lets a listener hear a talker of the same mix, or not, until either leaves it.
    fn set_heard(
        mix: &Self::Mix,
        talker: &Self::Leg,
        listener: &Self::Leg,
        heard: bool,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;
    /// Plays something to these.
    fn play(
        mix: &Self::Mix,
        to: To<'_, Self::Leg>,
        lane: Lane,
        play: Play,
    ) -> impl Future<Output = Result<PlayId, ControlError>> + Send;
    /// Records the mix.
    fn record(
        mix: &Self::Mix,
        choice: TrackChoice,
    ) -> impl Future<Output = Result<RecordingTaps, ControlError>> + Send;
    /// Stops what plays to these.
    fn stop_play(
        mix: &Self::Mix,
        to: To<'_, Self::Leg>,
        what: StopPlay,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;
}

impl MixPlane for MediaPlane {
    type Mix = ConferenceMediaHandle;
    type Leg = LegHandle;

    fn create_conference(&self, media: ConferenceMedia) -> Result<ConferenceMediaHandle, ControlError> {
        MediaPlane::create_conference(self, media)
    }

    fn mix_id(mix: &ConferenceMediaHandle) -> ConferenceAudioId {
        mix.id()
    }

    fn leg_id(leg: &LegHandle) -> LegId {
        leg.id()
    }

    async fn join(
        leg: &LegHandle,
        mix: &ConferenceMediaHandle,
        options: JoinOptions,
    ) -> Result<(), ControlError> {
        leg.join(mix, options).await
    }

    async fn leave(leg: &LegHandle) -> Result<(), ControlError> {
        leg.leave().await
    }

    async fn set_muted(leg: &LegHandle, muted: bool) -> Result<(), ControlError> {
        leg.set_muted(muted).await
    }

    async fn set_deaf(leg: &LegHandle, deaf: bool) -> Result<(), ControlError> {
        leg.set_deaf(deaf).await
    }

    async fn set(leg: &LegHandle, setting: LegSetting) -> Result<(), ControlError> {
        leg.set(match setting {
            LegSetting::Held(held) => confab_media::LegSetting::Held(held),
            LegSetting::VolumeIn(volume) => confab_media::LegSetting::InputGainDb(volume.db()),
            LegSetting::VolumeOut(volume) => confab_media::LegSetting::OutputGainDb(volume.db()),
            LegSetting::EnergyLevel(level) => confab_media::LegSetting::EnergyLevel(level),
            LegSetting::Agc(on) => confab_media::LegSetting::AutoGain(on),
            LegSetting::Denoise(on) => confab_media::LegSetting::Denoise(on),
            LegSetting::DistributeDigits => confab_media::LegSetting::DistributeDigits(true),
        })
        .await
    }

    fn media_state(leg: &LegHandle) -> MediaState {
        shown(&leg.stats())
    }

    async fn send_digits(leg: &LegHandle, digits: DigitString) -> Result<(), ControlError> {
        leg.send_digits(digits.as_str(), DIGIT_MS).await
    }

    async fn set_heard(
        mix: &ConferenceMediaHandle,
        talker: &LegHandle,
        listener: &LegHandle,
        heard: bool,
    ) -> Result<(), ControlError> {
        mix.set_heard(talker, listener, heard).await
    }

    async fn play(
        mix: &ConferenceMediaHandle,
        to: To<'_, LegHandle>,
        lane: Lane,
        play: Play,
    ) -> Result<PlayId, ControlError> {
        mix.play(hearers(to), lane, play).await
    }

    async fn record(mix: &ConferenceMediaHandle, choice: TrackChoice) -> Result<RecordingTaps, ControlError> {
        mix.record(choice, TAP_ROOM).await
    }

    async fn stop_play(
        mix: &ConferenceMediaHandle,
        to: To<'_, LegHandle>,
        what: StopPlay,
    ) -> Result<(), ControlError> {
        mix.stop_play(hearers(to), what).await
    }
}

fn hearers(to: To<'_, LegHandle>) -> Hearers<'_> {
    match to {
        To::Everybody => Hearers::Everybody,
        To::Waiting => Hearers::Waiting,
        To::One(leg) => Hearers::One(leg),
    }
}
