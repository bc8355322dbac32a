//! The media plane: shards, sockets, legs.
//!
//! A [`MediaPlane`] owns one thread per *shard*. A shard owns legs (two UDP sockets, jitter buffer, decoder, encoder
//! each) and the mixers of the conferences assigned to it. It sleeps until the next conference is due, 5 ms at most, on
//! an absolute schedule; a conference's tick reads the sockets of its legs, mixes, and sends. Conferences are spread over
//! their interval in steps of 1 ms. Nothing in a turn locks, allocates, logs or awaits. The outside holds a [`LegHandle`]
//! per leg and a [`ConferenceMediaHandle`] per conference; their methods put commands into a bounded lock-free ring, and
//! what a shard has to tell comes out of [`MediaEvents`].
//!
//! What is deliberately not here: SIP and SDP (a leg is told what was negotiated, see [`LegMedia`]), who may do what (the
//! conference decides, a shard does), files and what becomes of audio that was tapped.
//!
//! # The life of a leg
//!
//! 1. [`MediaPlane::open_leg`] binds an even port and the next. The addresses go into the session description.
//! 2. [`LegHandle::start`] gives it the result of offer and answer; from then on it receives. Again after a re-INVITE.
//! 3. [`LegHandle::join`] mixes it into a conference; from then on it sends a packet every packet time, silence included.
//!    [`LegHandle::set_muted`] and [`LegHandle::set_deaf`] act at the next tick.
//! 4. [`LegHandle::close`], or dropping the handle, says goodbye (RTCP BYE) and frees sockets and ports.
//!
//! ```no_run
//! use confab_media::{ConferenceMedia, JoinOptions, LegMedia, MediaConfig, MediaEvent, MediaPlane};
//! # async fn example(negotiated: LegMedia) -> Result<(), Box<dyn std::error::Error>> {
//! let (media, mut events) = MediaPlane::start(MediaConfig::default())?;
//! let conference = media.create_conference(ConferenceMedia::default())?;
//! let leg = media.open_leg("0.0.0.0".parse()?)?;
//! println!("media at {}", leg.rtp_addr());
//! leg.start(negotiated).await?;
//! leg.join(&conference, JoinOptions { muted: true, ..JoinOptions::default() }).await?;
//! leg.set_muted(false).await?;
//! while let Some(event) = events.recv().await {
//!     if let MediaEvent::Talking { leg, talking } = event {
//!         println!("{leg} talks: {talking}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Sound
//!
//! A conference mixes at the rate that was asked for, or at that of its first leg; then it rises with its legs, without a gap,
//! and never falls. Audio is converted where rates differ: per talker on the way in, once per rate for all who hear the
//! common mix, per listener for a mix of his own.
//!
//! Blocks are as long as the conference's interval; when a leg's packet time is no multiple of it, blocks become as short
//! as both divide (10 ms at least), and stay so while the conference lives. Listeners of one coding and packet time who hear the
//! same signal share one encoded payload; where the codec has a memory, a listener takes it along to his own encoder, and
//! comes back in a pause. A talker whose gate opens is faded in over 2 ms, once; otherwise a lone
//! talker's samples reach listeners of his codec unchanged.
//!
//! # Streams as they come
//!
//! What is lost is repaired from the packet behind it where the codec has that (Opus in-band FEC; then the delay makes room
//! for it while there is loss), otherwise made up. The delay changes in silence, or by periods of the voice where it must
//! change in speech: clocks that run apart and stalls leave no gap. Pauses sound as the peer says (RFC 3389, Opus). Opus that
//! nobody hears (a muted leg, pauses behind a closed gate) is not decoded; the last 100 ms are kept so that it is heard at
//! once when that changes. [`LegStats`] has what came of it: losses, delay, skew, and a rating by the E-model.
//!
//! A digit may come as a telephone-event, as a tone in the audio (looked for only where no telephone-events were negotiated,
//! also before the leg joins anything) or by SIP INFO ([`LegHandle::digit_by_info`]). They meet in the leg, on its shard,
//! because events and tones are there already: each press is one [`MediaEvent::Dtmf`], in one order. From its detection to its
//! end, and until the audio received meanwhile has been played, the leg is not mixed.
//!
//! # What plays
//!
//! [`ConferenceMediaHandle::play`] plays sounds to everybody, to those who wait or to one leg, through a queue or as a
//! background that pauses while the queue plays. Clips are converted to the rate of the mix once, outside the shards; tones are
//! made while they sound. Every play that was taken is told to have ended ([`MediaEvent::PlayEnded`]), until its conference is
//! closed. A leg outside of every conference hears nothing: a call flow that comes before has a conference of its own.
//!
//! ```no_run
//! use confab_media::{ConferenceMediaHandle, Hearers, Lane, LegHandle, Play, Repeat, Sound, StopPlay};
//! # async fn example(conference: ConferenceMediaHandle, leg: LegHandle, clip: confab_media::Clip)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let ringing = confab_dsp::ToneScript::parse("%(1000,4000,425);loops=-1")?;
//! conference.play(Hearers::Waiting, Lane::Background, Play::once(Sound::tones(ringing))).await?;
//! let prompt = Play { barge_in: true, repeat: Repeat::Times(3), ..Play::once(Sound::clip(clip)) };
//! conference.play(Hearers::One(&leg), Lane::Queue, prompt).await?;
//! conference.stop_play(Hearers::One(&leg), StopPlay::All).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Taps
//!
//! [`LegHandle::tap`] lets what a leg is heard to say out of the media plane, block by block with its place on the clock of the mix. The
//! shard writes into a ring and never waits for who reads: what finds no room is left out and counted.
//!
//! [`ConferenceMediaHandle::record`] does so with a mix before it is limited, and where asked for with its parts: what the server adds, and
//! what each leg does as it is added, those that join later included. The parts add up to the mix, sample for sample.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use confab_media::{ConferenceMediaHandle, TrackChoice};
//! # async fn example(conference: ConferenceMediaHandle) -> Result<(), Box<dyn std::error::Error>> {
//! let mut taps = conference.record(TrackChoice::MixAndTracks, Duration::from_millis(500)).await?;
//! let mut samples = Vec::new();
//! while !taps.mix.is_over() {
//!     while let Some(joined) = taps.tracks.as_mut().and_then(|tracks| tracks.next_leg()) {
//!         println!("{} is recorded", joined.leg); // and its tap is to be read like the others
//!     }
//!     while let Some(block) = taps.mix.next(&mut samples) {
//!         println!("{} samples at {} ms", samples.len(), block.at_ms);
//!     }
//!     tokio::time::sleep(Duration::from_millis(50)).await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Queues
//!
//! | queue | holds | when it is full |
//! |---|---|---|
//! | commands, per shard | 4096 | the async method waits |
//! | events, per shard | 8192 | legs keep their state and tell it later; levels are left out |
//! | events to the application | 16,384 | they stay in the shard's ring |
//! | what a shard gives back to be freed | 4096 | the shard carries out no commands until there is room |
//! | datagrams, per socket | 64 KiB | the kernel drops |
//! | audio of a tap | as long as asked for | blocks are left out, counted |
//! | legs that wait to be recorded | 256, and those at the start | a leg is recorded in the mix alone, counted |
//! | plays of one audience | 16 behind the one that is heard | [`ControlError::PlayQueueFull`] |
//!
//! # Overload
//!
//! [`MediaPlane::admission`] says `Overloaded` while turns start late (99th percentile over 5 s above 5 ms) or a shard
//! works more than 70 % of the time. A shard that is late runs at most ten ticks of a conference in one turn, then
//! leaves ticks out and counts them; media time goes on, so receivers see a pause and not a slip.
//!
//! # Cost
//!
//! A participant costs a receive and a send; the rest is about a microsecond and a half per tick, most of it waiting for
//! memory, because between its ticks a leg has left the processor's cache. That is why each step of a tick is done for a
//! batch of legs, and why an allocator that uses huge pages makes the whole about a tenth cheaper.
//!
//! # Standards
//!
//! RFC 3550 (RTP, RTCP: §5.1, §6.2–6.6), RFC 3551 (§4.1, §4.5.14), RFC 3264 §5.1 (directions, hold), RFC 3389 (comfort noise), RFC 3611 (§4.4, §4.5, §4.7: extended reports), RFC 4733 (telephone-event), RFC 7587 §3.1 (Opus: pauses,
//! FEC), RFC 5761 (RTCP multiplexing), RFC 7022 (CNAME), RFC 7362 (latching, restricted).
//!
//! Unsafe code is confined to one file, `sys.rs`.

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
mod playback;
mod ports;
mod shard;
mod stats;
mod sys;
mod tap;

pub use confab_srtp::{MasterKey, Mki};
pub use config::{
    CodecKind, Coding, ComfortNoiseMedia, ConferenceMedia, ExtendedReports, JoinOptions, Latch, LegMedia,
    LegSetting, MediaConfig, MediaDirection, OpusSettings, SrtpMedia, TelephoneEventMedia,
};
pub use error::{ControlError, MediaError, OpenLegError};
pub use event::{ConferenceAudioId, LegId, MediaEvent};
pub use handle::{ConferenceMediaHandle, LegHandle, LegTap, RecordingTaps, TrackChoice, TrackTaps};
pub use metrics::{
    BUCKET_BOUNDS_US, DropReason, HistogramSnapshot, JoinRefusal, MediaAdmission, MediaMetrics,
    OverloadReason, ShardMetrics,
};
pub use plane::{MediaEvents, MediaPlane};
pub use playback::{
    Clip, Hearers, Lane, PLAY_QUEUE, Play, PlayChange, PlayEnd, PlayId, Repeat, Sound, StopPlay,
};
pub use stats::{LegReport, LegStats};
pub use tap::{Tap, TapBlock};
