//! Owns one stream: its socket, what it sends and what it has heard. The engine's thread and the test share it behind a lock that is
//! held for one packet at a time.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::source::Packets;
use super::syscall::{self, ClockOffset};
use super::{Capture, RtpView, Source};
use crate::codec::Codec;
use crate::random::SeededRandom;

/// Shortest and longest packet time in ms.
const PTIME_MS: std::ops::RangeInclusive<u32> = 10..=60;
/// How many sends are remembered for delay measurements: five minutes at 20 ms.
const SENT_LOG: usize = 15_000;

/// How much of what arrives is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureMode {
    /// Packets are counted only.
    #[default]
    Count,
    /// Packets are kept with payload and time of arrival.
    Full,
}

/// What a stream has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// RTP packets sent.
    pub sent: u64,
    /// Sends that the kernel refused.
    pub send_errors: u64,
    /// RTP packets received.
    pub received: u64,
    /// Datagrams received that were no RTP.
    pub not_rtp: u64,
    /// Sequence numbers skipped in what was received.
    pub missing: u64,
    /// Arrival of the latest packet in monotonic nanoseconds, 0 when none came yet.
    pub last_arrival_ns: u64,
}

/// A participant's RTP stream. Clones are handles to the same stream; it ends when the engine stops or [`Stream::close`] is called.
#[derive(Clone)]
pub struct Stream {
    pub(super) local: SocketAddr,
    pub(super) state: Arc<Mutex<StreamState>>,
}

pub(super) struct StreamState {
    socket: Option<UdpSocket>,
    remote: Option<SocketAddr>,
    source: Option<Source>,
    /// What `source` sends with the present packet time.
    packets: Option<Packets>,
    /// Codec of the latest source: the media clock goes on in its units while there is none.
    codec: Codec,
    formats: Vec<(u8, Codec)>,
    payload_type: Option<u8>,
    marker: bool,
    ptime_ms: u32,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Milliseconds of the source sent.
    position_ms: u64,
    mode: CaptureMode,
    capture: Capture,
    counts: StreamCounts,
    last_sequence: Option<u16>,
    paused: bool,
    /// Of so many packets one is lost; 0 for none.
    loses_one_in: u16,
    logs_sends: bool,
    sent: Vec<(u16, u64)>,
    packet: Vec<u8>,
}

impl Stream {
    pub(super) fn new(socket: UdpSocket, local: SocketAddr, random: &mut SeededRandom) -> Self {
        let state = StreamState {
            socket: Some(socket),
            remote: None,
            source: None,
            packets: None,
            codec: Codec::Pcmu,
            formats: Vec::new(),
            payload_type: None,
            marker: true,
            ptime_ms: 20,
            ssrc: random.next_u32(),
            sequence: random.next_u32() as u16,
            timestamp: random.next_u32(),
            position_ms: 0,
            mode: CaptureMode::Count,
            capture: Capture::default(),
            counts: StreamCounts::default(),
            last_sequence: None,
            paused: false,
            loses_one_in: 0,
            logs_sends: false,
            sent: Vec::new(),
            packet: Vec::with_capacity(1500),
        };
        Self {
            local,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Returns the address this stream sends from and receives on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the synchronisation source of what is sent.
    pub fn ssrc(&self) -> u32 {
        self.lock().ssrc
    }

    /// Sets where packets go. Nothing is sent before.
    pub fn set_remote(&self, remote: SocketAddr) {
        self.lock().remote = Some(remote);
    }

    /// Starts sending `source` from its beginning with a marker bit; `None` stops sending, as a muted phone does. Codecs with a memory
    /// are encoded here, before the first packet.
    pub fn set_source(&self, source: Option<Source>) {
        let ptime_ms = self.lock().ptime_ms;
        let packets = source.as_ref().map(|source| source.packets(ptime_ms));
        let mut state = self.lock();
        if state.source.is_none() {
            // A pause on the wire: the media clock has gone on, the sequence number has not (RFC 3551 §4.1).
            state.marker = true;
        }
        if let Some(source) = &source {
            state.codec = source.codec();
        }
        state.source = source;
        state.packets = packets;
        state.position_ms = 0;
    }

    /// Stops sending for a while, and goes on where it stopped; the media clock goes on meanwhile.
    pub fn set_paused(&self, paused: bool) {
        let mut state = self.lock();
        state.paused = paused;
        state.marker = true;
    }

    /// Loses every packet whose sequence number is a multiple of `one_in` on its way; 0 loses none.
    pub fn set_losing(&self, one_in: u16) {
        self.lock().loses_one_in = one_in;
    }

    /// Says what payload types stand for, as agreed in session descriptions; others stand for what RFC 3551 says.
    pub fn set_formats(&self, formats: &[(u8, Codec)]) {
        let mut state = self.lock();
        state.formats = formats.to_vec();
        state.capture.set_formats(formats);
    }

    /// Sends with this payload type in place of the source's own, for tests of wrong ones.
    pub fn set_payload_type(&self, payload_type: Option<u8>) {
        self.lock().payload_type = payload_type;
    }

    /// Sends packets of `ptime_ms` (10 to 60).
    pub fn set_ptime(&self, ptime_ms: u32) {
        let ptime_ms = ptime_ms.clamp(*PTIME_MS.start(), *PTIME_MS.end());
        let source = self.lock().source.clone();
        let packets = source.map(|source| source.packets(ptime_ms));
        let mut state = self.lock();
        state.ptime_ms = ptime_ms;
        state.packets = packets;
    }

    /// Sends from another synchronisation source from here on.
    pub fn set_ssrc(&self, ssrc: u32) {
        self.lock().ssrc = ssrc;
    }

    /// Chooses how much of what arrives is kept, and forgets what was kept so far.
    pub fn set_capture(&self, mode: CaptureMode) {
        let mut state = self.lock();
        state.mode = mode;
        state.capture = Capture::with_formats(state.formats.clone());
    }

    /// Returns what was captured since the last call, and goes on capturing.
    pub fn take_capture(&self) -> Capture {
        let mut state = self.lock();
        let next = Capture::with_formats(state.formats.clone());
        std::mem::replace(&mut state.capture, next)
    }

    /// Remembers when each packet is handed to the kernel from here on.
    pub fn log_sends(&self) {
        self.lock().logs_sends = true;
    }

    /// Returns sequence number and monotonic send time in nanoseconds of the packets sent since logging began, and empties the log.
    pub fn take_sends(&self) -> Vec<(u16, u64)> {
        std::mem::take(&mut self.lock().sent)
    }

    /// Returns what happened so far.
    pub fn counts(&self) -> StreamCounts {
        self.lock().counts
    }

    /// Sends one datagram as it is from this stream's socket.
    pub fn send_raw(&self, datagram: &[u8], to: SocketAddr) -> std::io::Result<()> {
        let state = self.lock();
        let socket = state.socket.as_ref().ok_or(std::io::ErrorKind::NotConnected)?;
        socket.send_to(datagram, to).map(drop)
    }

    /// Presses a key of the telephone: sends it as a telephone-event (RFC 4733) of five packets of 20 ms, the last one three times,
    /// beside what the stream sends. Returns when all are sent.
    pub fn press(&self, payload_type: u8, event: u8) -> std::io::Result<()> {
        let timestamp = self.lock().timestamp;
        for step in 1..=7_u16 {
            let [high, low] = (step.min(5) * 160).to_be_bytes();
            let flags = if step >= 5 { 0x8a } else { 0x0a };
            let payload = [event, flags, high, low];
            self.lock()
                .send_event(payload_type, step == 1, timestamp, &payload)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Closes the socket. Counts and capture stay readable.
    pub fn close(&self) {
        let mut state = self.lock();
        state.socket = None;
        (state.source, state.packets) = (None, None);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamState {
    pub(super) fn is_closed(&self) -> bool {
        self.socket.is_none()
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Returns the time between two packets.
    pub(super) fn period(&self) -> Duration {
        Duration::from_millis(u64::from(self.ptime_ms))
    }

    /// Sends the packet that is due; without source or remote address only the media clock goes on.
    pub(super) fn send_due(&mut self) {
        let units = u64::from(self.codec.rtp_clock_hz()) * u64::from(self.ptime_ms) / 1000;
        let timestamp = self.timestamp;
        self.timestamp = self.timestamp.wrapping_add(units as u32);
        if self.paused {
            return;
        }
        let (Some(packets), Some(remote), Some(socket)) = (&self.packets, self.remote, &self.socket) else {
            return;
        };
        let Some(payload) = packets.get(self.position_ms / u64::from(self.ptime_ms)) else {
            (self.source, self.packets) = (None, None);
            return;
        };
        let payload_type = self.payload_type.unwrap_or_else(|| self.codec.payload_type());
        let (marker, sequence, ssrc) = (self.marker, self.sequence, self.ssrc);
        RtpView {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc,
            payload,
        }
        .write(&mut self.packet);
        let is_lost = self.loses_one_in > 0 && sequence.is_multiple_of(self.loses_one_in);
        let result = if is_lost {
            Ok(0)
        } else {
            socket.send_to(&self.packet, remote)
        };
        match result {
            Ok(0) => {}
            Ok(_) => self.counts.sent += 1,
            Err(_) => self.counts.send_errors += 1,
        }
        if self.logs_sends && self.sent.len() < SENT_LOG {
            self.sent.push((sequence, syscall::monotonic_ns()));
        }
        self.marker = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.position_ms += u64::from(self.ptime_ms);
    }

    /// Sends a packet of its own timestamp in the stream's sequence.
    fn send_event(
        &mut self,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let (Some(remote), Some(socket)) = (self.remote, &self.socket) else {
            return Err(std::io::ErrorKind::NotConnected.into());
        };
        RtpView {
            marker,
            payload_type,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            payload,
        }
        .write(&mut self.packet);
        self.sequence = self.sequence.wrapping_add(1);
        socket.send_to(&self.packet, remote).map(drop)
    }

    /// Reads one datagram; says whether there was one.
    pub(super) fn receive(&mut self, buffer: &mut [u8], offset: ClockOffset) -> bool {
        let Some(socket) = &self.socket else { return false };
        let Ok((length, arrival_ns)) = syscall::receive(socket.as_raw_fd(), buffer, offset) else {
            return false;
        };
        let Some(view) = RtpView::parse(&buffer[..length]) else {
            self.counts.not_rtp += 1;
            return true;
        };
        self.counts.received += 1;
        self.counts.last_arrival_ns = arrival_ns;
        let step = self
            .last_sequence
            .map_or(1, |last| view.sequence.wrapping_sub(last));
        if (1..0x8000).contains(&step) {
            self.counts.missing += u64::from(step) - 1;
            self.last_sequence = Some(view.sequence);
        }
        if self.mode == CaptureMode::Full {
            self.capture.push(arrival_ns, &view);
        }
        true
    }
}
