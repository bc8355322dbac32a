//! One leg as its shard owns it: sockets, session, receiving half, sending half, reports, notices. It moves between
//! shards as one value. This file joins the parts; each part keeps its own state.

mod decode;
pub(crate) mod dialling;
pub(crate) mod digits;
pub(crate) mod input;
mod lull;
pub(crate) mod notices;
pub(crate) mod output;
pub(crate) mod processing;
mod receiving;
pub(crate) mod reports;
mod rest;
pub(crate) mod security;
pub(crate) mod session;
mod skipped;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use confab_mixer::SlotId;
use confab_rtp::rtcp::ReceivedRtcp;
use confab_rtp::{
    DtmfDigit, DtmfSource, RejectReason, RtpPacket, RtpSender, RtpTimestamp, SequenceNumber, SourceGuard,
    Ssrc, Verdict, is_rtcp,
};

use crate::arrival::ClockPair;
use crate::event::LegId;
use crate::io::{Channel, Destination, ShardIo};
use crate::metrics::DropReason;
use crate::shard::key::ConferenceKey;
use crate::stats::StatsCell;
use crate::sys;
use crate::tap::TapSource;
use dialling::{Dialler, Dialling, event_payload_type};
use digits::Press;
use input::Input;
use notices::{EventSink, Notices};
use output::Output;
use receiving::Receiving;
use reports::{REPORT_ROOM, Reports};
use security::Security;
use session::Session;

/// Keys that wait to be sent on: more than are pressed in a tick.
const DISTRIBUTED: usize = 4;

/// The random and configured values that a leg starts with.
#[derive(Debug, Clone)]
pub(crate) struct LegSeed {
    pub(crate) ssrc: u32,
    pub(crate) first_sequence: u16,
    pub(crate) first_timestamp: u32,
    pub(crate) cname: Box<str>,
    pub(crate) report_seed: u32,
    pub(crate) timeout: Duration,
}

/// By what a received packet is known to be the peer's.
#[derive(Debug, Clone, Copy)]
enum Trust {
    /// Where it comes from.
    Address,
    /// It authenticated.
    Key,
}

/// A leg's place in a conference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Membership {
    pub(crate) conference: ConferenceKey,
    pub(crate) slot: SlotId,
    /// Index of its encode group.
    pub(crate) group: usize,
}

/// One leg.
pub(crate) struct Leg<S> {
    pub(crate) id: LegId,
    pub(crate) sockets: S,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) session: Option<Session>,
    /// Score of the last block, as last told to `stats`.
    energy: u16,
    guard: Option<SourceGuard>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Boxed, as is all that most ticks do not touch.
    reports: Box<Reports>,
    pub(crate) notices: Notices,
    /// The conference sends this leg's keys on to its other legs.
    pub(crate) distributes_digits: bool,
    /// Keys that wait for that.
    distributed: [Option<Press>; DISTRIBUTED],
    pub(crate) membership: Option<Membership>,
    /// Takes what the leg is heard to say.
    pub(crate) tap: Option<Box<TapSource>>,
    /// Where RTP goes; `None` while the source rules forbid sending.
    pub(crate) rtp_to: Option<Destination>,
    rtcp_to: Option<Destination>,
    rejected: u64,
}

/// One received datagram with the times that belong to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) from: SocketAddr,
    /// Arrival on the monotonic clock.
    pub(crate) arrival_ns: u64,
    /// The clocks when it was read.
    pub(crate) now: ClockPair,
}

impl Received<'_> {
    /// Returns the arrival on the wall clock.
    pub(crate) fn arrival_wall_ns(&self) -> u64 {
        let waited_ns = self.now.monotonic_ns.saturating_sub(self.arrival_ns);
        self.now.wall_ns.saturating_sub(waited_ns)
    }
}

impl<S> Leg<S> {
    /// Allocates everything that the leg will need but its session.
    pub(crate) fn new(id: LegId, sockets: S, stats: Arc<StatsCell>, seed: LegSeed) -> Self {
        let sender = RtpSender::new(
            Ssrc(seed.ssrc),
            SequenceNumber(seed.first_sequence),
            RtpTimestamp(seed.first_timestamp),
        );
        let dialler = Box::new(Dialler::new(Arc::clone(&stats)));
        Leg {
            id,
            sockets,
            stats,
            session: None,
            energy: 0,
            guard: None,
            input: Input::new(),
            output: Output::new(sender, dialler),
            reports: Box::new(Reports::new(seed.cname, seed.report_seed)),
            notices: Notices::new(id, seed.timeout),
            distributes_digits: false,
            distributed: [None; DISTRIBUTED],
            membership: None,
            tap: None,
            rtp_to: None,
            rtcp_to: None,
            rejected: 0,
        }
    }

    /// Begins to load what receiving and decoding touch of the leg itself.
    pub(crate) fn preload_receiving(&self) {
        sys::prefetch(self);
    }

    /// Begins to load what decoding touches beyond the leg; the leg itself has been loaded.
    pub(crate) fn preload_stream(&self) {
        if let Some(session) = &self.session {
            session.receiving.preload();
        }
    }

    /// Begins to load what packing and sending touch.
    pub(crate) fn preload_sending(&self) {
        sys::prefetch(&self.sockets);
        sys::prefetch(&self.membership);
        sys::prefetch(&self.output);
        sys::prefetch(&self.rtp_to);
        if let Some(session) = &self.session {
            session.preload_sending();
        }
    }

    /// Begins the first session. Frees and allocates, so it is for a leg that is not on a shard yet.
    pub(crate) fn begin(&mut self, mut session: Session, now_ns: u64) {
        self.guard = session.rules.take().map(|rules| SourceGuard::new(now_ns, *rules));
        self.input.begin(&session);
        self.input.digits.begin(session.event_clock);
        self.output.dialler.begin(&session);
        self.session = Some(session);
        self.notices.heard(now_ns);
        self.refresh_destinations(now_ns);
    }

    /// Goes on with a re-negotiated session; what is left in the box, the session of before, is to be freed elsewhere.
    pub(crate) fn renegotiate(&mut self, session: &mut Session, now_ns: u64) {
        let (Some(before), Some(guard)) = (&mut self.session, &mut self.guard) else {
            return;
        };
        // A peer that names no address (c=0.0.0.0) holds the call: it is known by the address of before when it goes on, and what it
        // sends meanwhile is not a stranger's.
        if let Some(rules) = &mut session.rules
            && !rules.remote.ip().is_unspecified()
        {
            guard.reset(now_ns, rules);
        }
        std::mem::swap(before, session);
        let (now, before) = (before, session);
        if let (Some(now), Some(before)) = (&mut now.security, &mut before.security) {
            now.go_on_from(before);
        }
        self.input.digits.begin(now.event_clock);
        self.output.dialler.begin(now);
        if now.receiving.kind == before.receiving.kind {
            // The stream goes on: so does what the codec remembers of it.
            now.go_on_from(before);
        } else {
            self.input.begin(now);
        }
        self.notices.heard(now_ns);
        self.refresh_destinations(now_ns);
    }

    /// Returns whether the stream plays and its next packet is not here.
    pub(crate) fn lacks_next_packet(&self) -> bool {
        self.membership.is_some()
            && self
                .session
                .as_ref()
                .is_some_and(|session| session.receiving.playout.lacks_next())
    }

    /// Takes a datagram from the RTP socket.
    pub(crate) fn receive_rtp(&mut self, received: &Received<'_>) -> Result<(), DropReason> {
        let result = if is_rtcp(received.bytes) {
            self.open_rtcp(received)
        } else {
            self.open_rtp(received)
        };
        self.rejected += u64::from(result.is_err());
        result
    }

    /// Takes a datagram from the RTCP socket.
    pub(crate) fn receive_rtcp(&mut self, received: &Received<'_>) -> Result<(), DropReason> {
        let result = self.open_rtcp(received);
        self.rejected += u64::from(result.is_err());
        result
    }

    /// Decrypts RTP where the leg has keys, and takes it.
    fn open_rtp(&mut self, received: &Received<'_>) -> Result<(), DropReason> {
        let Some(mut security) = self.take_security() else {
            return self.accept_rtp(received, Trust::Address);
        };
        let result = security
            .open_rtp(received.bytes)
            .and_then(|bytes| self.accept_rtp(&Received { bytes, ..*received }, Trust::Key));
        self.put_security(security);
        result
    }

    /// Decrypts RTCP where the leg has keys, and takes it.
    fn open_rtcp(&mut self, received: &Received<'_>) -> Result<(), DropReason> {
        let Some(mut security) = self.take_security() else {
            return self.accept_rtcp(received, Trust::Address);
        };
        let result = security
            .open_rtcp(received.bytes)
            .and_then(|bytes| self.accept_rtcp(&Received { bytes, ..*received }, Trust::Key));
        self.put_security(security);
        result
    }

    fn take_security(&mut self) -> Option<Box<Security>> {
        self.session.as_mut()?.security.take()
    }

    fn put_security(&mut self, security: Box<Security>) {
        if let Some(session) = &mut self.session {
            session.security = Some(security);
        }
    }

    fn accept_rtp(&mut self, received: &Received<'_>, trust: Trust) -> Result<(), DropReason> {
        let (Some(session), Some(guard)) = (&mut self.session, &mut self.guard) else {
            return Err(DropReason::NotStarted);
        };
        let packet = RtpPacket::parse(received.bytes).map_err(|_| DropReason::Malformed)?;
        let (ssrc, sequence) = (packet.ssrc(), packet.sequence_number());
        let verdict = match trust {
            Trust::Address => guard.check(
                received.arrival_ns,
                received.from,
                ssrc,
                sequence,
                packet.payload_type(),
            ),
            Trust::Key => guard.authenticated(received.arrival_ns, received.from, ssrc, sequence),
        };
        match verdict {
            Verdict::Accept => {}
            Verdict::Latched => self.notices.latched(received.from),
            Verdict::Reject(RejectReason::PayloadType) => return Err(DropReason::PayloadType),
            Verdict::Reject(_) => return Err(DropReason::Source),
        }
        self.notices.heard(received.arrival_ns);
        let result = if session.receives {
            let playing = self.membership.is_some();
            let times = (received.arrival_ns, received.now.monotonic_ns);
            self.input.push(session, times, &packet, playing)
        } else {
            // It came, though it is not used: it is not lost.
            self.input.reception.received_untimed(&packet);
            Err(DropReason::Direction)
        };
        if verdict == Verdict::Latched {
            self.refresh_destinations(received.arrival_ns);
        }
        self.tell_digits();
        result
    }

    /// Takes a digit that signalling brought (SIP INFO), unless it was told otherwise already.
    pub(crate) fn digit_by_info(&mut self, now_ns: u64, digit: DtmfDigit, duration_ms: u32) {
        self.input
            .digits
            .report(now_ns, DtmfSource::Info, digit, duration_ms);
        self.tell_digits();
    }

    /// Queues digits to send; without a conference, or when nothing may be sent, they are left out.
    pub(crate) fn dial(&mut self, dialling: &Dialling) {
        let sends = self.session.as_ref().is_some_and(|session| {
            session.sends && event_payload_type(session).is_some() && self.membership.is_some()
        });
        if sends {
            self.output.dialler.dial(dialling);
            self.output.dials = true;
        } else {
            self.stats.dialling.fetch_sub(dialling.len(), Relaxed);
        }
    }

    /// Hands the presses that were taken over to be told.
    pub(crate) fn tell_digits(&mut self) {
        while let Some(press) = self.input.digits.take() {
            self.notices.digit(press.digit.key(), press.duration_ms);
            if self.distributes_digits
                && let Some(free) = self.distributed.iter_mut().find(|waiting| waiting.is_none())
            {
                *free = Some(press);
            }
        }
    }

    /// Takes the oldest key that is to be sent on.
    pub(crate) fn take_distributed(&mut self) -> Option<Press> {
        let press = self.distributed[0].take()?;
        self.distributed.rotate_left(1);
        Some(press)
    }

    /// Sends a key on that the owner of another leg pressed.
    pub(crate) fn pass_digit_on(&mut self, press: Press) {
        let takes = |session: &Session| session.sends && event_payload_type(session).is_some();
        if self.session.as_ref().is_some_and(takes) {
            self.output.dialler.pass_on(press.digit, press.duration_ms);
            self.output.dials = true;
        }
    }

    fn accept_rtcp(&mut self, received: &Received<'_>, trust: Trust) -> Result<(), DropReason> {
        let Some(guard) = &mut self.guard else {
            return Err(DropReason::NotStarted);
        };
        let ours = self.output.sender.ssrc();
        let rtcp = ReceivedRtcp::parse(received.bytes, ours).map_err(|_| DropReason::MalformedRtcp)?;
        let sender = rtcp.sender.unwrap_or(Ssrc(0));
        let verdict = match trust {
            Trust::Address => guard.check_rtcp(received.arrival_ns, received.from, sender),
            Trust::Key => guard.authenticated_rtcp(received.arrival_ns, received.from, sender),
        };
        if let Verdict::Reject(_) = verdict {
            return Err(DropReason::RtcpSource);
        }
        self.notices.heard(received.arrival_ns);
        if let Some((ssrc, info)) = rtcp.sender_report {
            self.input
                .reception
                .record_sender_report(received.arrival_ns, ssrc, info.ntp);
        }
        if let Some(block) = rtcp.report {
            self.reports.heard(&block, received.arrival_wall_ns());
            self.output.wants_protection = self.reports.is_lossy;
        }
        let has_round_trip = rtcp.report.is_some_and(|block| block.last_sender_report != 0);
        self.reports
            .heard_extended(sender, &rtcp.extended, received, has_round_trip);
        Ok(())
    }

    /// Asks the source rules anew where to send: the answer changes with time and with what is received.
    pub(crate) fn refresh_destinations(&mut self, now_ns: u64) {
        let (Some(guard), Some(session)) = (&self.guard, &self.session) else {
            return;
        };
        let rtp = guard.rtp_destination(now_ns).ok();
        let rtcp = if session.rtcp_mux {
            rtp
        } else {
            guard.rtcp_destination(now_ns).ok()
        };
        renew(&mut self.rtp_to, rtp);
        renew(&mut self.rtcp_to, rtcp);
    }

    /// Sends a report when one is due, and a BYE when `leaving`. A leg that never joined anything has nothing to report.
    pub(crate) fn report<I: ShardIo<Sockets = S>>(
        &mut self,
        io: &mut I,
        clocks: ClockPair,
        leaving: bool,
    ) -> bool {
        let Some(session) = &mut self.session else {
            return false;
        };
        let takes_part = self.membership.is_some() || self.output.last_block_ns.is_some();
        if !takes_part || !(self.reports.is_due(clocks.monotonic_ns) || leaving) {
            return false;
        }
        let Some(to) = &self.rtcp_to else { return false };
        let channel = if session.rtcp_mux {
            Channel::Rtp
        } else {
            Channel::Rtcp
        };
        let mut buffer = [0; REPORT_ROOM + confab_srtp::MAX_OVERHEAD];
        let (room, _) = buffer.split_first_chunk_mut().expect("shorter than the buffer");
        let reception = &mut self.input.reception;
        let written = self
            .reports
            .write(room, clocks, session, &self.output, reception, leaving);
        let Ok(length) = written.map(<[u8]>::len) else {
            return false;
        };
        let length = match &mut session.security {
            Some(security) => security.protector.protect_rtcp(&mut buffer, length).ok(),
            None => Some(length),
        };
        length.is_some_and(|length| io.send(&self.sockets, channel, &buffer[..length], to))
    }

    /// Notes the score of a block. Most legs are silent most of the time, and then nothing is touched.
    pub(crate) fn set_energy(&mut self, score: u16) {
        if std::mem::replace(&mut self.energy, score) != score {
            self.stats.set_energy(score);
        }
    }

    /// Notes the talking state, to be told and to be read.
    pub(crate) fn set_talking(&mut self, talking: bool) {
        self.notices.talking(talking);
        self.stats.set_talking(talking);
    }

    /// Does what is due a few times a second: the send rules, digits that never ended, silence, untold events, reports.
    pub(crate) fn look_after<I: ShardIo<Sockets = S>>(
        &mut self,
        io: &mut I,
        clocks: ClockPair,
        sink: &mut impl EventSink,
    ) -> bool {
        let now_ns = clocks.monotonic_ns;
        let mut reported = false;
        if self.session.is_some() {
            self.refresh_destinations(now_ns);
            self.input.digits.look_after(now_ns);
            self.tell_digits();
            self.notices.check_timeout(now_ns, sink);
            self.rate(now_ns);
            reported = self.report(io, clocks, false);
        }
        if self.notices.waiting {
            self.notices.tell(now_ns, sink);
        }
        self.publish();
        reported
    }

    /// Looks how the received stream sounds.
    fn rate(&mut self, now_ns: u64) {
        if let Some(session) = &mut self.session
            && self.membership.is_some()
        {
            let Receiving { quality, playout, .. } = &mut session.receiving;
            quality.update(now_ns, playout, self.reports.round_trip);
        }
    }

    /// Makes the measurements readable from outside.
    pub(crate) fn publish(&self) {
        let cell = &self.stats;
        let totals = self.input.reception.totals();
        cell.packets_received.store(totals.received, Relaxed);
        cell.octets_received.store(totals.octets, Relaxed);
        cell.packets_lost.store(totals.lost, Relaxed);
        cell.packets_late.store(totals.late, Relaxed);
        cell.packets_duplicated.store(totals.duplicated, Relaxed);
        cell.packets_reordered.store(totals.reordered, Relaxed);
        cell.packets_rejected.store(self.rejected, Relaxed);
        cell.packets_sent.store(self.output.packets_sent, Relaxed);
        cell.octets_sent.store(self.output.octets_sent, Relaxed);
        cell.digits_received.store(self.input.digits.count, Relaxed);
        cell.jitter_us.store(
            micros(Duration::from_nanos(self.input.reception.jitter_ns())),
            Relaxed,
        );
        cell.round_trip_us.store(
            self.reports.round_trip.map_or(0, |time| micros(time).max(1)),
            Relaxed,
        );
        cell.remote_fraction_lost
            .store(u16::from(self.reports.remote_fraction_lost), Relaxed);
        cell.concealed_ms.store(self.input.concealed_ms(), Relaxed);
        cell.repaired_ms.store(self.input.repaired_ms(), Relaxed);
        cell.set_remote_quality(self.reports.remote_quality);
        if let Some(session) = &self.session {
            cell.set_codec(session.receiving.kind);
            let delay = Duration::from_nanos(session.receiving.playout.buffered_ns());
            cell.playout_delay_us.store(micros(delay), Relaxed);
            cell.set_skew(session.receiving.playout.skew_ppm());
            cell.set_rating(session.receiving.quality.rating());
        }
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Converts an address only when it changed.
fn renew(destination: &mut Option<Destination>, address: Option<SocketAddr>) {
    if destination.map(|to| to.address) != address {
        *destination = address.map(Destination::new);
    }
}
