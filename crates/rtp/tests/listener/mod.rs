//! A sender and a listener around one `Playout`, on simulated time. Each octet of payload is one sample whose value is known from
//! its place in the stream, so what is heard can be compared with what was said.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test helper")]

use std::collections::VecDeque;

use confab_rtp::jitter::{PlayoutCounters, Rejected};
use confab_rtp::{
    Adjust, ClockRate, Content, PayloadType, Playout, PlayoutConfig, Pull, RtpHeader, RtpPacket,
    RtpTimestamp, SequenceNumber, Ssrc, Tick,
};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const PAYLOAD: PayloadType = PayloadType::PCMU;

/// One sample as it reaches the listener's ear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Sample(u8),
    Concealed,
    /// Made from the packet behind it.
    Repaired,
    Silence,
    /// Comfort noise of this level.
    Noise(u8),
}

/// The sample that a speaker says at `position`; 0 is kept for silence.
pub(crate) fn said(position: u64) -> u8 {
    let mut x = position.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    (x.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8 | 1
}

/// Builds packets of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Speaker {
    pub(crate) ssrc: Ssrc,
    pub(crate) sequence: SequenceNumber,
    pub(crate) timestamp: RtpTimestamp,
    /// Samples said so far; indexes `said`.
    pub(crate) position: u64,
}

impl Speaker {
    pub(crate) fn new(sequence: u16, timestamp: u32) -> Self {
        Self {
            ssrc: Ssrc(1),
            sequence: SequenceNumber(sequence),
            timestamp: RtpTimestamp(timestamp),
            position: 0,
        }
    }

    /// The next packet of speech.
    pub(crate) fn packet(&mut self, samples: u32) -> Vec<u8> {
        let payload: Vec<u8> = (0..u64::from(samples)).map(|n| said(self.position + n)).collect();
        self.position += u64::from(samples);
        self.build(&payload, samples, false)
    }

    /// The next packet of audible silence.
    pub(crate) fn silent_packet(&mut self, samples: u32) -> Vec<u8> {
        self.build(&vec![0; samples as usize], samples, false)
    }

    /// A packet without audio; its timestamp does not move on.
    pub(crate) fn other_packet(&mut self) -> Vec<u8> {
        self.build(&[0; 4], 0, false)
    }

    /// Lets media time pass without a packet.
    pub(crate) fn pause(&mut self, samples: u32) {
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    /// Loses the next packet on the way.
    pub(crate) fn lose(&mut self, samples: u32) {
        drop(self.packet(samples));
    }

    fn build(&mut self, payload: &[u8], samples: u32, marker: bool) -> Vec<u8> {
        let header = RtpHeader {
            marker,
            payload_type: PAYLOAD,
            sequence_number: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut head = [0; 12];
        header.write(&mut head);
        self.sequence = self.sequence.next();
        self.timestamp = self.timestamp.wrapping_add(samples);
        [&head[..], payload].concat()
    }
}

/// A playout with the loop of a leg around it.
pub(crate) struct Listener {
    pub(crate) playout: Playout,
    pub(crate) heard: Vec<Heard>,
    /// The codec repairs a lost packet from the one behind it.
    pub(crate) repairs: bool,
    fifo: VecDeque<Heard>,
    tick_samples: u32,
    tick_ns: u64,
    next_tick_ns: u64,
}

impl Listener {
    /// Ticks every `tick_ms`, first at `first_tick_ns`.
    pub(crate) fn new(tick_ms: u64, first_tick_ns: u64) -> Self {
        Self {
            playout: Playout::new(PlayoutConfig::new(ClockRate::HZ_8000)),
            heard: Vec::new(),
            repairs: false,
            fifo: VecDeque::new(),
            tick_samples: (tick_ms * 8) as u32,
            tick_ns: tick_ms * MS,
            next_tick_ns: first_tick_ns,
        }
    }

    /// Runs all ticks before `arrival_ns`, then takes the packet as audio of its length.
    pub(crate) fn arrive(&mut self, arrival_ns: u64, packet: &[u8]) -> Result<(), Rejected> {
        let samples = (packet.len() - 12) as u32;
        self.arrive_as(arrival_ns, packet, Content::Audio { samples })
    }

    pub(crate) fn arrive_as(
        &mut self,
        arrival_ns: u64,
        packet: &[u8],
        content: Content,
    ) -> Result<(), Rejected> {
        self.run_until(arrival_ns);
        self.playout
            .push(arrival_ns, &RtpPacket::parse(packet).unwrap(), content)
    }

    /// Runs all ticks before `now_ns`.
    pub(crate) fn run_until(&mut self, now_ns: u64) {
        while self.next_tick_ns < now_ns {
            self.tick();
        }
    }

    pub(crate) fn run_ticks(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.tick();
        }
    }

    /// Ticks that the shard was too busy for.
    pub(crate) fn skip_ticks(&mut self, ticks: u64) {
        self.next_tick_ns += ticks * self.tick_ns;
    }

    fn tick(&mut self) {
        let tick = Tick {
            at_ns: self.next_tick_ns,
            samples: self.tick_samples,
        };
        let n = tick.samples as usize;
        while self.fifo.len() < n {
            let missing = (n - self.fifo.len()) as u32;
            match self.playout.pull(tick, missing) {
                Pull::Frame(frame) => {
                    let pcm = frame.payload[frame.skip as usize..].to_vec();
                    self.take_frame(&pcm);
                }
                Pull::Lost { samples, next } => {
                    let whole = next.map_or(0, |next| next.samples);
                    assert!((1..=missing.max(whole)).contains(&samples));
                    let repaired = self.repairs && next.is_some_and(|next| samples >= next.samples);
                    let kind = if repaired {
                        Heard::Repaired
                    } else {
                        Heard::Concealed
                    };
                    self.fifo.extend((0..samples).map(|_| kind));
                }
                Pull::Quiet { samples } => {
                    assert!((1..=missing).contains(&samples));
                    self.fifo.extend((0..samples).map(|_| Heard::Silence));
                }
                Pull::ComfortNoise { payload, samples } => {
                    assert!((1..=missing).contains(&samples));
                    let noise = Heard::Noise(payload[0]);
                    self.fifo.extend((0..samples).map(|_| noise));
                }
                Pull::Idle => self.fifo.resize(n, Heard::Silence),
            }
        }
        self.heard.extend(self.fifo.drain(..n));
        self.next_tick_ns += self.tick_ns;
    }

    fn take_frame(&mut self, mut pcm: &[u8]) {
        if pcm.iter().all(|&sample| sample == 0) {
            match self.playout.adjust_in_silence(pcm.len() as u32) {
                Adjust::Keep => {}
                Adjust::Drop { samples } => pcm = &pcm[samples as usize..],
                Adjust::Insert { samples } => self.fifo.extend((0..samples).map(|_| Heard::Silence)),
            }
        }
        self.fifo.extend(
            pcm.iter()
                .map(|&s| if s == 0 { Heard::Silence } else { Heard::Sample(s) }),
        );
    }

    pub(crate) fn counters(&self) -> PlayoutCounters {
        *self.playout.counters()
    }

    /// Everything from the first sample heard to the last.
    pub(crate) fn stretch(&self) -> &[Heard] {
        let is_sample = |heard: &Heard| matches!(heard, Heard::Sample(_));
        let first = self.heard.iter().position(is_sample).unwrap_or(0);
        let last = self.heard.iter().rposition(is_sample).map_or(0, |last| last + 1);
        &self.heard[first..last]
    }

    /// Asserts that exactly the samples `0..count` were heard, with nothing between.
    pub(crate) fn assert_bit_exact(&self, count: u64, context: &str) {
        let stretch = self.stretch();
        assert_eq!(stretch.len() as u64, count, "{context}: {:?}", self.counters());
        for (position, heard) in stretch.iter().enumerate() {
            assert_eq!(
                *heard,
                Heard::Sample(said(position as u64)),
                "{context}: sample {position}"
            );
        }
    }

    /// Samples of delay from `position` being said at `said_ns` to being heard, for the first such sample heard.
    pub(crate) fn index_of_first_sample(&self) -> usize {
        self.heard
            .iter()
            .position(|heard| matches!(heard, Heard::Sample(_)))
            .unwrap_or(usize::MAX)
    }
}

/// Runs of equal kind with their lengths: what the ear would notice.
pub(crate) fn runs(heard: &[Heard]) -> Vec<(&'static str, usize)> {
    let mut runs: Vec<(&'static str, usize)> = Vec::new();
    for sample in heard {
        let kind = match sample {
            Heard::Sample(_) => "speech",
            Heard::Concealed => "lost",
            Heard::Repaired => "repaired",
            Heard::Silence => "quiet",
            Heard::Noise(_) => "noise",
        };
        match runs.last_mut() {
            Some((last, count)) if *last == kind => *count += 1,
            _ => runs.push((kind, 1)),
        }
    }
    runs
}
