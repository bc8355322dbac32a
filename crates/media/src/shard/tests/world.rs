//! A world for one shard: a virtual clock, sockets in memory, phones that send numbered RTP. Nothing here allocates while
//! turns run, so that what the allocation test counts is the shard's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use confab_codec::g711::Law;
use confab_mixer::{MixFormat, Room};
use confab_rtp::RtpPacket;
use tokio::sync::oneshot;

use crate::arrival::ClockPair;
use crate::config::{
    CodecKind, Coding, ConferenceMedia, ExtendedReports, JoinOptions, Latch, LegMedia, MediaDirection,
    TelephoneEventMedia,
};
use crate::event::{ConferenceAudioId, LegId, MediaEvent};
use crate::io::{Channel, Destination, ShardIo};
use crate::leg::processing::Wishes;
use crate::leg::session::{Session, SessionRules, fit_ptime};
use crate::leg::{Leg, LegSeed};
use crate::metrics::{DropReason, ShardMetrics};
use crate::shard::bus::{LISTENER_RATES, RateSet, prepare_rates};
use crate::shard::command::{Brought, Command, Renegotiation, Returned};
use crate::shard::conference::{ConferenceAudio, ConferenceStorage, RateChange, Track};
use crate::shard::group::EncodeGroup;
use crate::shard::key::{ConferenceKey, LegKey};
use crate::shard::queues::{Outbox, ShardQueues};
use crate::shard::{Capacity, QUANTUM_NS, Shard};
use crate::stats::{LegStats, StatsCell};
use crate::sys::Datagram;

pub(super) const MS: u64 = 1_000_000;
const WALL_AT_START: u64 = 1_700_000_000_000 * MS;
const ROOM: usize = 1500;

/// A datagram on its way.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    pub(super) bytes: [u8; ROOM],
    pub(super) len: usize,
    /// Source of what is received, destination of what is sent.
    pub(super) peer: SocketAddr,
    pub(super) wall_ns: u64,
}

impl Packet {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

struct Socket {
    inbox: [VecDeque<Packet>; 2],
    outbox: [VecDeque<Packet>; 2],
}

pub(super) struct Net {
    pub(super) clocks: ClockPair,
    sockets: Vec<Socket>,
}

#[derive(Clone)]
pub(super) struct SimIo(Rc<RefCell<Net>>);

fn lane(channel: Channel) -> usize {
    usize::from(channel == Channel::Rtcp)
}

impl ShardIo for SimIo {
    type Sockets = usize;

    fn clocks(&self) -> ClockPair {
        self.0.borrow().clocks
    }

    fn receive(&mut self, sockets: &usize, channel: Channel, buffer: &mut [u8]) -> Option<Datagram> {
        let packet = self.0.borrow_mut().sockets[*sockets].inbox[lane(channel)].pop_front()?;
        let length = packet.len.min(buffer.len());
        buffer[..length].copy_from_slice(&packet.bytes()[..length]);
        Some(Datagram {
            length,
            truncated: length < packet.len,
            from: packet.peer,
            wall_ns: Some(packet.wall_ns),
        })
    }

    fn send(&mut self, sockets: &usize, channel: Channel, bytes: &[u8], to: &Destination) -> bool {
        let net = &mut *self.0.borrow_mut();
        let wall_ns = net.clocks.wall_ns;
        let mut packet = Packet {
            bytes: [0; ROOM],
            len: bytes.len(),
            peer: to.address,
            wall_ns,
        };
        packet.bytes[..bytes.len()].copy_from_slice(bytes);
        let outbox = &mut net.sockets[*sockets].outbox[lane(channel)];
        if outbox.len() == outbox.capacity() {
            outbox.pop_front(); // a test that does not look keeps the last ones
        }
        outbox.push_back(packet);
        true
    }
}

/// The far end of one leg: where it is, and the numbering of what it sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phone {
    pub(super) leg: LegKey,
    pub(super) socket: usize,
    pub(super) address: SocketAddr,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) payload_type: u8,
    coding: Coding,
    ptime_ms: u16,
}

/// A shard, its world, and the control side of both.
pub(super) struct World {
    pub(super) net: Rc<RefCell<Net>>,
    pub(super) shard: Shard<SimIo>,
    pub(super) queues: Arc<ShardQueues<usize>>,
    pub(super) events: rtrb::Consumer<MediaEvent>,
    pub(super) returned: rtrb::Consumer<Returned<usize>>,
    conferences: u32,
    /// Of the conferences to come.
    pub(super) comfort_noise: u16,
}

/// What a leg of a test negotiates: PCMU, 20 ms, both ways, from an address of its own.
pub(super) fn media(number: usize) -> LegMedia {
    let ip = [10, 0, (number / 250) as u8, (number % 250 + 1) as u8];
    let remote = SocketAddr::from((ip, 4000));
    LegMedia {
        remote,
        remote_rtcp: SocketAddr::from((ip, 4001)),
        rtcp_mux: false,
        srtp: None,
        extended_reports: ExtendedReports::default(),
        coding: CodecKind::Pcmu.into(),
        send_pt: 0,
        recv_pts: vec![0],
        alternatives: Vec::new(),
        telephone_event: Some(TelephoneEventMedia {
            send_pt: 101,
            recv_pt: 101,
            clock_rate_hz: 8000,
        }),
        comfort_noise: None,
        ptime_ms: 20,
        direction: MediaDirection::SendRecv,
        signalling_ip: remote.ip(),
        trusted_ips: Vec::new(),
    }
}

pub(super) fn session(media: &LegMedia) -> Session {
    let shared = SessionRules {
        latch: Latch::Signalling,
        local_nets: &[],
        max_delay: Duration::from_millis(200),
        wishes: Wishes::default(),
    };
    Session::new(media, shared)
}

/// The command of a re-INVITE in a mix at 8 kHz.
pub(super) fn renegotiate(leg: LegKey, media: &LegMedia) -> Command<usize> {
    let new = Renegotiation {
        session: session(media),
        group: group_for(media.coding, media.ptime_ms),
    };
    Command::Renegotiate {
        at: leg,
        new: Box::new(new),
    }
}

/// Builds the tables for legs of every rate, and for a raise from every rate.
pub(super) fn prepare_all(mix_rate_hz: u32) {
    let mut all = RateSet::default();
    for rate_hz in LISTENER_RATES {
        all.insert(rate_hz);
        prepare_rates(mix_rate_hz, RateSet::default(), Some(rate_hz));
    }
    prepare_rates(mix_rate_hz, all, None);
}

fn group_for(coding: Coding, ptime_ms: u16) -> Option<Box<EncodeGroup>> {
    let ptime_ms = fit_ptime(coding.kind, ptime_ms);
    Some(Box::new(EncodeGroup::new(coding, ptime_ms, 48_000)))
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_rings(4096, 4096)
    }

    pub(super) fn with_rings(events: usize, returned: usize) -> Self {
        let clocks = ClockPair {
            monotonic_ns: 1000 * MS,
            wall_ns: WALL_AT_START,
        };
        let net = Net {
            clocks,
            sockets: Vec::new(),
        };
        let net = Rc::new(RefCell::new(net));
        let queues = Arc::new(ShardQueues::new(1024));
        let (events_in, events) = rtrb::RingBuffer::new(events);
        let (returned_in, returned) = rtrb::RingBuffer::new(returned);
        let outbox = Outbox {
            events: events_in,
            returned: returned_in,
        };
        let capacity = Capacity {
            legs: 256,
            conferences: 64,
        };
        let shard = Shard::new(SimIo(Rc::clone(&net)), Arc::clone(&queues), outbox, capacity);
        World {
            net,
            shard,
            queues,
            events,
            returned,
            conferences: 0,
            comfort_noise: 0,
        }
    }

    pub(super) fn command(&self, command: Command<usize>) {
        assert!(
            self.queues.commands.push(command).is_ok(),
            "the ring of the test is large enough"
        );
    }

    /// Opens a leg and starts it with `media`.
    pub(super) fn leg(&mut self, media: &LegMedia) -> Phone {
        let number = self.net.borrow().sockets.len();
        let at = LegKey {
            index: number as u32,
            generation: 1,
        };
        let queue = || VecDeque::with_capacity(256);
        let socket = Socket {
            inbox: [queue(), queue()],
            outbox: [queue(), queue()],
        };
        self.net.borrow_mut().sockets.push(socket);
        let seed = LegSeed {
            ssrc: 0x1000 + number as u32,
            first_sequence: 65_530,
            first_timestamp: u32::MAX - 1000,
            cname: "0123456789abcdef01234567".into(),
            report_seed: 99 + number as u32,
            timeout: Duration::from_secs(60),
        };
        let mut leg = Box::new(Leg::new(
            LegId(number as u64),
            number,
            Arc::new(StatsCell::default()),
            seed,
        ));
        leg.begin(session(media), self.now_ns());
        self.command(Command::AddLeg { at, leg });
        Phone {
            leg: at,
            socket: number,
            address: media.remote,
            ssrc: 0xbeef_0000 + number as u32,
            sequence: 65_000,
            timestamp: 7,
            payload_type: media.recv_pts.first().copied().unwrap_or(0),
            coding: media.coding,
            ptime_ms: media.ptime_ms,
        }
    }

    /// Opens `count` legs that differ only in their address.
    pub(super) fn legs(&mut self, count: usize) -> Vec<Phone> {
        (0..count).map(|_| self.next_leg()).collect()
    }

    fn next_leg(&mut self) -> Phone {
        let number = self.net.borrow().sockets.len();
        self.leg(&media(number))
    }

    pub(super) fn conference(
        &mut self,
        interval_ms: u16,
        energy_level: u16,
        capacity: usize,
    ) -> ConferenceKey {
        self.conference_at(8000, interval_ms, energy_level, capacity)
    }

    pub(super) fn conference_at(
        &mut self,
        rate_hz: u32,
        interval_ms: u16,
        energy_level: u16,
        capacity: usize,
    ) -> ConferenceKey {
        prepare_all(rate_hz);
        let at = ConferenceKey {
            index: self.conferences,
            generation: 1,
        };
        self.conferences += 1;
        let format = MixFormat::new(rate_hz, interval_ms).unwrap();
        let id = ConferenceAudioId(u64::from(at.index));
        let media = ConferenceMedia {
            energy_level,
            comfort_noise: self.comfort_noise,
            ..ConferenceMedia::default()
        };
        let conference = Box::new(ConferenceAudio::new(id, format, &media, capacity));
        self.command(Command::AddConference { at, conference });
        at
    }

    pub(super) fn storage(capacity: usize) -> Box<ConferenceStorage> {
        let format = MixFormat::new(8000, 20).unwrap();
        Box::new(ConferenceStorage::new(
            format,
            None,
            Room::for_participants(capacity),
        ))
    }

    /// Storage after a raise from 8000 Hz.
    pub(super) fn raised_storage(rate_hz: u32, capacity: usize) -> Box<ConferenceStorage> {
        let format = |rate_hz| MixFormat::new(rate_hz, 20).unwrap();
        let storage = ConferenceStorage::new(
            format(rate_hz),
            Some(format(8000)),
            Room::for_participants(capacity),
        );
        Box::new(storage)
    }

    /// Raises the rate of a conference with an interval of 20 ms.
    pub(super) fn raise(&self, at: ConferenceKey, rate_hz: u32, capacity: usize) {
        prepare_all(rate_hz);
        let format = MixFormat::new(rate_hz, 20).unwrap();
        let change = Box::new(RateChange::new(format, Room::for_participants(capacity)));
        self.command(Command::RaiseRate { at, change });
    }

    pub(super) fn join(&self, phone: &Phone, conference: ConferenceKey) {
        self.join_as(phone, conference, JoinOptions::default());
    }

    pub(super) fn join_as(&self, phone: &Phone, conference: ConferenceKey, options: JoinOptions) {
        self.join_with(phone, conference, options, None);
    }

    /// The same with a tap for the case that the conference is recorded.
    pub(super) fn join_with(
        &self,
        phone: &Phone,
        conference: ConferenceKey,
        options: JoinOptions,
        track: Option<Box<Track>>,
    ) {
        self.command(Self::command_to_join(phone, conference, options, track));
    }

    pub(super) fn command_to_join(
        phone: &Phone,
        conference: ConferenceKey,
        options: JoinOptions,
        track: Option<Box<Track>>,
    ) -> Command<usize> {
        Command::Join {
            leg: phone.leg,
            conference,
            options,
            brought: Brought {
                group: group_for(phone.coding, phone.ptime_ms),
                track,
            },
            reply: oneshot::channel().0,
        }
    }

    /// A conference of 20 ms with everybody in it, and the turn that carries that out.
    pub(super) fn room(&mut self, phones: &[Phone], energy_level: u16) -> ConferenceKey {
        let conference = self.conference(20, energy_level, phones.len());
        for phone in phones {
            self.join(phone, conference);
        }
        self.turn();
        conference
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.net.borrow().clocks.monotonic_ns
    }

    /// Lets time pass without a turn: the shard oversleeps.
    pub(super) fn oversleep(&self, ns: u64) {
        let clocks = &mut self.net.borrow_mut().clocks;
        clocks.monotonic_ns += ns;
        clocks.wall_ns += ns;
    }

    /// Lets one quantum pass, with a turn whenever one is due.
    pub(super) fn turn(&mut self) {
        self.run_until(self.now_ns() + QUANTUM_NS);
    }

    /// Lets time pass, with a turn whenever one is due.
    pub(super) fn run_until(&mut self, end_ns: u64) {
        loop {
            let due_ns = self.shard.next_turn_ns().max(self.now_ns());
            if due_ns > end_ns {
                break;
            }
            self.oversleep(due_ns - self.now_ns());
            self.shard.turn();
        }
        self.oversleep(end_ns.saturating_sub(self.now_ns()));
    }

    pub(super) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
        }
    }

    /// Puts a datagram into a leg's socket, as received `age_ns` ago.
    pub(super) fn deliver(
        &self,
        phone: &Phone,
        channel: Channel,
        from: SocketAddr,
        bytes: &[u8],
        age_ns: u64,
    ) {
        let net = &mut *self.net.borrow_mut();
        let wall_ns = net.clocks.wall_ns - age_ns;
        let mut packet = Packet {
            bytes: [0; ROOM],
            len: bytes.len(),
            peer: from,
            wall_ns,
        };
        packet.bytes[..bytes.len()].copy_from_slice(bytes);
        net.sockets[phone.socket].inbox[lane(channel)].push_back(packet);
    }

    /// Sends the phone's next RTP packet.
    pub(super) fn speak(&self, phone: &mut Phone, payload: &[u8]) {
        let mut bytes = [0; ROOM];
        let len = rtp(phone, phone.payload_type, false, payload, &mut bytes);
        self.deliver(phone, Channel::Rtp, phone.address, &bytes[..len], 0);
        phone.timestamp = phone.timestamp.wrapping_add(payload.len() as u32);
    }

    /// Takes the next packet that the shard sent to a phone.
    pub(super) fn heard(&self, phone: &Phone, channel: Channel) -> Option<Packet> {
        self.net.borrow_mut().sockets[phone.socket].outbox[lane(channel)].pop_front()
    }

    /// Takes all RTP packets sent to a phone, decoded.
    pub(super) fn audio(&self, phone: &Phone) -> Vec<Heard> {
        std::iter::from_fn(|| self.heard(phone, Channel::Rtp))
            .map(|packet| Heard::read(&packet))
            .collect()
    }

    /// Forgets what was sent to everybody.
    pub(super) fn forget(&self) {
        for socket in &mut self.net.borrow_mut().sockets {
            socket.outbox.iter_mut().for_each(VecDeque::clear);
        }
    }

    pub(super) fn metrics(&self) -> ShardMetrics {
        self.queues.counters.snapshot(0)
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.metrics().dropped[reason as usize]
    }

    pub(super) fn events(&mut self) -> Vec<MediaEvent> {
        std::iter::from_fn(|| self.events.pop().ok()).collect()
    }

    /// Returns a leg's measurements as they are now.
    pub(super) fn stats(&mut self, phone: &Phone) -> LegStats {
        let leg = self.shard.legs.get(phone.leg.index, phone.leg.generation);
        let leg = leg.expect("the leg is there");
        leg.publish();
        leg.stats.read()
    }

    /// Takes a leg away, as closing or moving it does.
    pub(super) fn take(&mut self, phone: &Phone, bye: bool) -> Option<Box<Leg<usize>>> {
        let (reply, _receiver) = oneshot::channel();
        self.command(Command::TakeLeg {
            at: phone.leg,
            bye,
            reply,
        });
        self.turn();
        std::iter::from_fn(|| self.returned.pop().ok()).find_map(|returned| match returned {
            Returned::Leg { leg, .. } => Some(leg),
            Returned::NoLeg { .. } | Returned::Joined { .. } | Returned::Garbage(_) => None,
        })
    }
}

/// Writes an RTP packet and moves the phone's sequence number on; returns its length.
pub(super) fn rtp(
    phone: &mut Phone,
    payload_type: u8,
    marker: bool,
    payload: &[u8],
    out: &mut [u8],
) -> usize {
    out[0] = 0x80;
    out[1] = payload_type | u8::from(marker) << 7;
    out[2..4].copy_from_slice(&phone.sequence.to_be_bytes());
    out[4..8].copy_from_slice(&phone.timestamp.to_be_bytes());
    out[8..12].copy_from_slice(&phone.ssrc.to_be_bytes());
    out[12..12 + payload.len()].copy_from_slice(payload);
    phone.sequence = phone.sequence.wrapping_add(1);
    12 + payload.len()
}

/// One packet that a phone got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    pub(super) samples: Vec<i16>,
}

impl Heard {
    pub(super) fn read(packet: &Packet) -> Self {
        let rtp = RtpPacket::parse(packet.bytes()).unwrap();
        let payload_type = rtp.payload_type().value();
        let law = if payload_type == 8 { Law::A } else { Law::Mu };
        let mut samples = vec![0; rtp.payload().len()];
        law.decode(rtp.payload(), &mut samples);
        Heard {
            sequence: rtp.sequence_number().0,
            timestamp: rtp.timestamp().0,
            marker: rtp.marker(),
            payload_type,
            ssrc: rtp.ssrc().0,
            samples,
        }
    }

    /// The one value that the whole packet consists of.
    pub(super) fn level(&self) -> i16 {
        assert!(
            self.samples.iter().all(|&sample| sample == self.samples[0]),
            "{:?}",
            self.samples
        );
        self.samples[0]
    }
}

/// Encodes samples as µ-law.
pub(super) fn mu_law(samples: &[i16]) -> Vec<u8> {
    let mut payload = vec![0; samples.len()];
    Law::Mu.encode(samples, &mut payload);
    payload
}

/// A frame of one value, which µ-law carries exactly when it is one of its 256.
pub(super) fn steady(value: i16) -> Vec<u8> {
    mu_law(&[value; 160])
}
