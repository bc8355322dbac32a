//! The outside's grip on a leg: where it is, and the commands that concern it alone.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use confab_codec::Coding;
use confab_rtp::DtmfDigit;
use tokio::sync::{Mutex, MutexGuard, oneshot};

use super::conference::{Attendance, ConferenceControl, ConferenceMediaHandle};
use crate::config::{JoinOptions, LegMedia, LegSetting};
use crate::control::{PlaneShared, ShardControl};
use crate::error::ControlError;
use crate::event::LegId;
use crate::keeper::Task;
use crate::leg::Leg;
use crate::leg::dialling::{Dialling, event_payload_type};
use crate::leg::processing::{Processing, Wishes};
use crate::leg::session::{Session, SessionRules};
use crate::ports::LegSockets;
use crate::shard::bus::RateSet;
use crate::shard::command::{Brought, Command, MixChange, Renegotiation};
use crate::shard::group::EncodeGroup;
use crate::shard::key::LegKey;
use crate::stats::{LegReport, LegStats, StatsCell};
use crate::sys;
use crate::tap::{self, HIGHEST_RATE_HZ, Tap};

/// Stale datagrams thrown away at most when a leg begins.
const MAX_STALE: usize = 256;

/// One leg: two sockets, a jitter buffer, a decoder and an encoder, living on a shard.
///
/// Methods take `&self`, so an `Arc<LegHandle>` may be shared; calls for one leg are carried out one after the other. A
/// command takes effect at the first mixing tick after it was queued. Dropping the handle closes the leg, as does
/// dropping the future of [`start`](Self::start) or [`join`](Self::join) before it is done.
pub struct LegHandle {
    id: LegId,
    rtp_addr: SocketAddr,
    rtcp_addr: SocketAddr,
    stats: Arc<StatsCell>,
    plane: Arc<PlaneShared>,
    state: Mutex<LegState>,
}

/// Where a leg is.
enum LegState {
    /// Not started: here.
    Opened(Box<Leg<LegSockets>>),
    /// On a shard.
    Placed(Placed),
    Closed(LegReport),
}

struct Placed {
    shard: usize,
    at: LegKey,
    encoding: Encoding,
    wishes: Wishes,
    conference: Option<Attendance>,
}

/// A leg in its conference, which it cannot leave while this is held.
pub(super) struct Seat<'a> {
    pub(super) id: LegId,
    pub(super) at: LegKey,
    _still: MutexGuard<'a, LegState>,
}

/// How a leg is sent to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoding {
    pub(super) coding: Coding,
    /// Rates of all codecs that the peer may send or be sent.
    pub(super) rates: RateSet,
    ptime_ms: u16,
    /// The peer takes telephone-events.
    takes_events: bool,
}

impl Encoding {
    fn of(session: &Session) -> Self {
        Encoding {
            coding: session.coding,
            rates: session.rates(),
            ptime_ms: session.ptime_ms,
            takes_events: event_payload_type(session).is_some(),
        }
    }

    /// Makes the encode group that serves the leg in a mix of this rate in Hz.
    fn group(self, mix_rate_hz: u32) -> Option<Box<EncodeGroup>> {
        Some(Box::new(EncodeGroup::new(
            self.coding,
            self.ptime_ms,
            mix_rate_hz,
        )))
    }
}

impl LegHandle {
    pub(crate) fn new(
        id: LegId,
        addresses: (SocketAddr, SocketAddr),
        leg: Box<Leg<LegSockets>>,
        plane: Arc<PlaneShared>,
    ) -> Self {
        let (rtp_addr, rtcp_addr) = addresses;
        let stats = Arc::clone(&leg.stats);
        LegHandle {
            id,
            rtp_addr,
            rtcp_addr,
            stats,
            plane,
            state: Mutex::new(LegState::Opened(leg)),
        }
    }

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
    ///
    /// # Errors
    /// [`ControlError::LegClosed`], [`ControlError::Full`] when no shard has room, [`ControlError::Stopped`].
    pub async fn start(&self, media: LegMedia) -> Result<(), ControlError> {
        let mut state = self.state.lock().await;
        let wishes = match &*state {
            LegState::Placed(placed) => placed.wishes,
            LegState::Opened(_) | LegState::Closed(_) => Wishes::default(),
        };
        let shared = SessionRules {
            latch: self.plane.latch,
            local_nets: &self.plane.local_nets,
            max_delay: self.plane.max_delay,
            wishes,
        };
        let session = Session::new(&media, shared);
        match &mut *state {
            LegState::Closed(_) => Err(ControlError::LegClosed),
            LegState::Placed(placed) => {
                let encoding = Encoding::of(&session);
                let group = match &placed.conference {
                    Some(attendance) => encoding.group(attendance.suit(encoding).await?),
                    None => None,
                };
                let command = Command::Renegotiate {
                    at: placed.at,
                    new: Box::new(Renegotiation { session, group }),
                };
                self.plane.shards[placed.shard].command(command).await?;
                placed.encoding = encoding;
                Ok(())
            }
            LegState::Opened(_) => self.settle(&mut state, session).await,
        }
    }

    /// Puts the opened leg on the least busy shard.
    async fn settle(&self, state: &mut LegState, session: Session) -> Result<(), ControlError> {
        let candidates = self.plane.least_busy();
        if candidates.is_empty() {
            return Err(ControlError::Stopped);
        }
        let found = candidates
            .into_iter()
            .find_map(|shard| Some((shard, self.plane.shards[shard].place_leg()?)));
        let (shard, at) = found.ok_or(ControlError::Full)?;
        // From here to the end the leg is on its way: who gives up waiting, gives up the leg.
        let LegState::Opened(mut leg) = std::mem::replace(state, LegState::Closed(LegReport::default()))
        else {
            return Err(ControlError::LegClosed);
        };
        drop_stale_datagrams(&leg.sockets);
        let encoding = Encoding::of(&session);
        leg.begin(session, sys::monotonic_ns());
        self.plane.shards[shard]
            .command(Command::AddLeg { at, leg })
            .await?;
        *state = LegState::Placed(Placed {
            shard,
            at,
            encoding,
            wishes: Wishes::default(),
            conference: None,
        });
        Ok(())
    }

    /// Moves the leg to the conference's shard, if it lives on another, and mixes it in from the next tick on. A leg
    /// that was in another conference leaves that first.
    ///
    /// # Errors
    /// [`ControlError::NotStarted`] before [`start`](Self::start), [`ControlError::LegClosed`],
    /// [`ControlError::ConferenceClosed`], [`ControlError::Full`] when the conference's shard has no room for the leg,
    /// [`ControlError::NotPlaced`] when the shard, asked, did not take it into the conference, [`ControlError::Stopped`].
    pub async fn join(
        &self,
        conference: &ConferenceMediaHandle,
        options: JoinOptions,
    ) -> Result<(), ControlError> {
        let mut state = self.state.lock().await;
        let encoding = match &*state {
            LegState::Opened(_) => return Err(ControlError::NotStarted),
            LegState::Closed(_) => return Err(ControlError::LegClosed),
            LegState::Placed(placed) => placed.encoding,
        };
        let control = &conference.control();
        let (attendance, mix_rate_hz) = control.attend(encoding).await?;
        self.move_to(&mut state, control.shard).await?;
        let LegState::Placed(placed) = &mut *state else {
            return Err(ControlError::LegClosed);
        };
        let (reply, outcome) = oneshot::channel();
        let (at, group) = (placed.at, encoding.group(mix_rate_hz));
        let command = |track| Command::Join {
            leg: at,
            conference: control.at,
            options,
            brought: Brought { group, track },
            reply,
        };
        attendance.join(self.id, at, command).await?;
        // Whoever gives up waiting for the answer leaves a leg that is where it was sent.
        placed.conference = Some(attendance);
        let refused = match outcome.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(refusal)) => ControlError::NotPlaced(refusal),
            Err(_) => ControlError::Stopped,
        };
        placed.conference = None;
        Err(refused)
    }

    /// Moves a placed leg to another shard, as one owned value.
    async fn move_to(&self, state: &mut LegState, shard: usize) -> Result<(), ControlError> {
        let LegState::Placed(placed) = &mut *state else {
            return Err(ControlError::LegClosed);
        };
        if placed.shard == shard {
            return Ok(());
        }
        let (from, to) = (&self.plane.shards[placed.shard], &self.plane.shards[shard]);
        let at = to.place_leg().ok_or(ControlError::Full)?;
        let (before, encoding, wishes) = (placed.at, placed.encoding, placed.wishes);
        let waiting = request_leg(from, before, false).await?;
        *state = LegState::Closed(LegReport::default());
        let leg = waiting.await.map_err(|_| ControlError::Stopped)?;
        to.command(Command::AddLeg { at, leg }).await?;
        *state = LegState::Placed(Placed {
            shard,
            at,
            encoding,
            wishes,
            conference: None,
        });
        Ok(())
    }

    /// Takes the leg out of its conference; it sends nothing until it joins again.
    ///
    /// # Errors
    /// As for [`set_muted`](Self::set_muted).
    pub async fn leave(&self) -> Result<(), ControlError> {
        let mut state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        shard.command(Command::Leave { leg }).await?;
        if let LegState::Placed(placed) = &mut *state {
            placed.conference = None;
        }
        Ok(())
    }

    /// Mutes or unmutes the leg from the next tick on. Without effect on a leg that is in no conference.
    ///
    /// # Errors
    /// [`ControlError::NotStarted`], [`ControlError::LegClosed`], [`ControlError::Stopped`].
    pub async fn set_muted(&self, muted: bool) -> Result<(), ControlError> {
        let state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        shard.command(Command::SetMuted { leg, muted }).await
    }

    /// Makes the leg deaf or hearing from the next tick on. Without effect on a leg that is in no conference.
    ///
    /// # Errors
    /// As for [`set_muted`](Self::set_muted).
    pub async fn set_deaf(&self, deaf: bool) -> Result<(), ControlError> {
        let state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        shard.command(Command::SetDeaf { leg, deaf }).await
    }

    /// Takes a digit that signalling brought (SIP INFO with `application/dtmf-relay` or `application/dtmf`), `duration_ms`
    /// being 0 when it is not known. It comes out as [`MediaEvent::Dtmf`](crate::MediaEvent::Dtmf), in its order, unless the
    /// same press was told in RTP. What is no key is left out.
    ///
    /// # Errors
    /// As for [`set_muted`](Self::set_muted).
    pub async fn digit_by_info(&self, key: char, duration_ms: u32) -> Result<(), ControlError> {
        let state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        let Some(digit) = DtmfDigit::from_key(key) else {
            return Ok(());
        };
        let command = Command::DigitByInfo {
            leg,
            digit,
            duration_ms,
        };
        shard.command(command).await
    }

    /// Sends digits to the leg's peer as telephone-events (RFC 4733), one after the other, each of `duration_ms` (40..=6000; 100 is
    /// usual) and 100 ms apart, in place of the audio: `0`–`9`, `*`, `#`, `A`–`D`, and the pauses `w` (0.5 s), `W` (1 s) and `,`
    /// (2 s). At most 32 digits and pauses wait. Digits that have not begun are given up when the leg leaves its conference, when a
    /// re-negotiation forbids to send them, and when it is in no conference.
    ///
    /// # Errors
    /// [`ControlError::NoTelephoneEvents`], [`ControlError::NoDigit`], [`ControlError::DigitsFull`], in which case nothing is
    /// sent; and as for [`set_muted`](Self::set_muted).
    pub async fn send_digits(&self, digits: &str, duration_ms: u32) -> Result<(), ControlError> {
        let dialling = Box::new(Dialling::parse(digits, duration_ms)?);
        let state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        if let LegState::Placed(placed) = &*state
            && !placed.encoding.takes_events
        {
            return Err(ControlError::NoTelephoneEvents);
        }
        if !self.stats.reserve_dialling(dialling.len()) {
            return Err(ControlError::DigitsFull);
        }
        shard.command(Command::Dial { leg, dialling }).await
    }

    /// Changes something else about the leg from the next tick on. What concerns the mix is without effect on a leg that is
    /// in no conference, and is forgotten when it leaves; what is done with the leg's own audio stays.
    ///
    /// # Errors
    /// As for [`set_muted`](Self::set_muted).
    pub async fn set(&self, setting: LegSetting) -> Result<(), ControlError> {
        let mut state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        let change = match setting {
            LegSetting::Held(held) => MixChange::Held(held),
            LegSetting::InputGainDb(decibels) => MixChange::InputGainDb(decibels),
            LegSetting::OutputGainDb(decibels) => MixChange::OutputGainDb(decibels),
            LegSetting::EnergyLevel(energy_level) => MixChange::EnergyLevel(energy_level),
            LegSetting::DistributeDigits(on) => MixChange::DistributeDigits(on),
            LegSetting::AutoGain(_) | LegSetting::Denoise(_) => {
                return self.process(&mut state, setting).await;
            }
        };
        shard.command(Command::Set { leg, change }).await
    }

    async fn process(&self, state: &mut LegState, setting: LegSetting) -> Result<(), ControlError> {
        let (shard, leg) = self.placed(state)?;
        let LegState::Placed(placed) = state else {
            return Err(ControlError::LegClosed);
        };
        match setting {
            LegSetting::AutoGain(on) => placed.wishes.auto_gain = on,
            LegSetting::Denoise(on) => placed.wishes.denoise = on,
            _ => {}
        }
        let rate_hz = placed.encoding.coding.kind.sample_rate_hz();
        let processing = Box::new(Processing::new(placed.wishes, rate_hz));
        shard.command(Command::Process { leg, processing }).await
    }

    /// Lets out what the leg is heard to say from the next tick on: decoded, in its time, before muting, gates, gains and noise suppression,
    /// and without the tones of digits. Nothing comes while it is in no conference. What is not read within `room` (10 ms..=10 s; room is
    /// made for it now) is left out and counted ([`MediaMetrics::tap_blocks_dropped`](crate::MediaMetrics::tap_blocks_dropped)). Another tap
    /// takes the place of this one, and [`untap`](Self::untap), or dropping the tap, ends it.
    ///
    /// # Errors
    /// As for [`set_muted`](Self::set_muted).
    pub async fn tap(&self, room: Duration) -> Result<Tap, ControlError> {
        let room_ms = usize::try_from(room.as_millis())
            .unwrap_or(usize::MAX)
            .clamp(10, 10_000);
        let state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        let (tap, source) = tap::tap(
            room_ms,
            HIGHEST_RATE_HZ,
            Arc::clone(&self.plane.tap_blocks_dropped),
        );
        let tap_it = Command::Tap {
            leg,
            tap: Some(source),
        };
        shard.command(tap_it).await?;
        Ok(tap)
    }

    /// Ends the leg's tap, if it has one, and frees what belongs to it.
    ///
    /// # Errors
    /// As for [`set_muted`](Self::set_muted).
    pub async fn untap(&self) -> Result<(), ControlError> {
        let state = self.state.lock().await;
        let (shard, leg) = self.placed(&state)?;
        shard.command(Command::Tap { leg, tap: None }).await
    }

    /// Returns the leg's measurements, at most half a second old; level and talking state are of the last tick.
    pub fn stats(&self) -> LegStats {
        self.stats.read()
    }

    /// Closes the leg: RTCP BYE, out of its conference, sockets and ports freed when this returns. Idempotent.
    pub async fn close(&self) -> LegReport {
        let mut state = self.state.lock().await;
        if let LegState::Closed(report) = &*state {
            return *report;
        }
        if let Ok((shard, at)) = self.placed(&state)
            && let Ok(waiting) = request_leg(shard, at, true).await
        {
            // A shard that is gone has closed its legs.
            drop(waiting.await);
        }
        let report = LegReport {
            stats: self.stats.read(),
        };
        *state = LegState::Closed(report);
        report
    }

    /// Returns the leg's place on its shard.
    pub(super) async fn place(&self) -> Result<LegKey, ControlError> {
        let state = self.state.lock().await;
        self.placed(&state).map(|(_, at)| at)
    }

    /// Holds the leg where it is, if that is in this conference.
    pub(super) async fn seat_in(
        &self,
        conference: &Arc<ConferenceControl>,
    ) -> Result<Seat<'_>, ControlError> {
        let state = self.state.lock().await;
        match &*state {
            LegState::Placed(Placed {
                at,
                conference: Some(attendance),
                ..
            }) if attendance.is_of(conference) => Ok(Seat {
                id: self.id,
                at: *at,
                _still: state,
            }),
            LegState::Placed(_) | LegState::Opened(_) => Err(ControlError::NotInConference),
            LegState::Closed(_) => Err(ControlError::LegClosed),
        }
    }

    fn placed(&self, state: &LegState) -> Result<(&ShardControl, LegKey), ControlError> {
        match state {
            LegState::Opened(_) => Err(ControlError::NotStarted),
            LegState::Closed(_) => Err(ControlError::LegClosed),
            LegState::Placed(placed) => Ok((&self.plane.shards[placed.shard], placed.at)),
        }
    }
}

impl Drop for LegHandle {
    fn drop(&mut self) {
        if let LegState::Placed(placed) = self.state.get_mut() {
            self.plane.leave_to_keeper(Task::CloseLeg {
                shard: placed.shard,
                at: placed.at,
            });
        }
    }
}

impl std::fmt::Debug for LegHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegHandle")
            .field("id", &self.id)
            .field("rtp_addr", &self.rtp_addr)
            .finish_non_exhaustive()
    }
}

/// Asks a shard for a leg; the place is free for others as soon as the command is queued.
async fn request_leg(
    shard: &ShardControl,
    at: LegKey,
    bye: bool,
) -> Result<oneshot::Receiver<Box<Leg<LegSockets>>>, ControlError> {
    let (reply, waiting) = oneshot::channel();
    shard.command(Command::TakeLeg { at, bye, reply }).await?;
    shard.leg_left(at);
    Ok(waiting)
}

/// Throws away what came before the leg's media was negotiated: its sources were not checked and its time has passed.
fn drop_stale_datagrams(sockets: &LegSockets) {
    let mut buffer = [0; 16];
    for socket in [&sockets.rtp, &sockets.rtcp] {
        for _ in 0..MAX_STALE {
            // A datagram longer than the buffer is taken off the queue all the same.
            if sys::receive(socket.as_fd(), &mut buffer).is_none() {
                break;
            }
        }
    }
}
