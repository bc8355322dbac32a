//! How the delay follows the network and the sender's clock, with a leg that changes the time scale of speech: learning of jitter,
//! a day of clock skew, recovery from a stall, room for repair. Simulated time; every failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod listener;

use std::time::{Duration, Instant};

use confab_rtp::jitter::PlayoutCounters;
use confab_rtp::{
    Adjust, ClockRate, Content, Playout, PlayoutConfig, Pull, RtpHeader, RtpPacket, RtpTimestamp,
    SequenceNumber, SpeechAdjust, Ssrc, Tick,
};
use confab_testkit::clock::VirtualClock;
use confab_testkit::netem::{Loss, NetworkPath, PathConfig};
use listener::{MS, PAYLOAD};

const T0: u64 = 10_000 * MS;

/// A packet on its way: when it was sent, its number, and whether it carries speech.
#[derive(Debug, Clone, Copy)]
struct Sent {
    sent_ns: u64,
    number: u64,
    speech: bool,
}

/// A leg that hears: it keeps figures, not samples.
struct Ear {
    playout: Playout,
    tick_ms: u64,
    packet_ms: u64,
    next_tick_ns: u64,
    fifo: u32,
    /// Samples concealed, and stretches of concealment.
    concealed: u64,
    gaps: u64,
    in_gap: bool,
    /// Stretches of loss whose next packet was there in time to repair all of the last packet lost.
    repairable: u64,
    /// When each packet was sent, by sequence number.
    sent_ns: Vec<u64>,
    /// Shortest and longest time from sending a packet to hearing it, in nanoseconds.
    delay_ns: (u64, u64),
    /// Varies the length of a pitch period.
    periods: u64,
}

impl Ear {
    fn new(tick_ms: u64, packet_ms: u64) -> Self {
        Self {
            playout: Playout::new(PlayoutConfig::new(ClockRate::HZ_8000)),
            tick_ms,
            packet_ms,
            next_tick_ns: T0,
            fifo: 0,
            concealed: 0,
            gaps: 0,
            in_gap: false,
            repairable: 0,
            sent_ns: vec![0; 1 << 16],
            delay_ns: (u64::MAX, 0),
            periods: 0,
        }
    }

    fn arrive(&mut self, arrival_ns: u64, sent: Sent) {
        while self.next_tick_ns < arrival_ns {
            self.tick();
        }
        let number = sent.number as u16;
        let samples = self.packet_ms as u32 * 8;
        self.sent_ns[usize::from(number)] = sent.sent_ns;
        let header = RtpHeader {
            marker: sent.number == 0,
            payload_type: PAYLOAD,
            sequence_number: SequenceNumber(number),
            timestamp: RtpTimestamp((sent.number as u32).wrapping_mul(samples)),
            ssrc: Ssrc(7),
        };
        let mut bytes = [u8::from(sent.speech); 12 + 480];
        header.write(bytes.first_chunk_mut().unwrap());
        let packet = RtpPacket::parse(&bytes[..12 + samples as usize]).unwrap();
        let _ = self.playout.push(arrival_ns, &packet, Content::Audio { samples });
    }

    fn tick(&mut self) {
        let tick = Tick {
            at_ns: self.next_tick_ns,
            samples: self.tick_ms as u32 * 8,
        };
        while self.fifo < tick.samples {
            let missing = tick.samples - self.fifo;
            let mut heard = true;
            let samples = match self.playout.pull(tick, missing) {
                Pull::Frame(frame) => {
                    let speech = frame.payload[0] != 0;
                    let heard_ns = tick.at_ns + u64::from(self.fifo) * 125_000;
                    let sent_ns = self.sent_ns[usize::from(frame.sequence_number.0)];
                    let delay = heard_ns - sent_ns - u64::from(frame.skip) * 125_000;
                    self.delay_ns = (self.delay_ns.0.min(delay), self.delay_ns.1.max(delay));
                    let left = frame.samples - frame.skip;
                    if speech {
                        self.scale(left)
                    } else {
                        self.adjust(left)
                    }
                }
                Pull::Lost { samples, next } => {
                    heard = false;
                    self.concealed += u64::from(samples);
                    self.repairable += u64::from(next.is_some_and(|next| next.samples == samples));
                    samples
                }
                Pull::Quiet { samples } | Pull::ComfortNoise { samples, .. } => samples,
                Pull::Idle => missing,
            };
            self.gaps += u64::from(!heard && !self.in_gap);
            self.in_gap = !heard;
            self.fifo += samples;
        }
        self.fifo -= tick.samples;
        self.next_tick_ns += self.tick_ms * MS;
    }

    fn adjust(&mut self, samples: u32) -> u32 {
        match self.playout.adjust_in_silence(samples) {
            Adjust::Keep => samples,
            Adjust::Drop { samples: dropped } => samples - dropped,
            Adjust::Insert { samples: inserted } => samples + inserted,
        }
    }

    /// Takes out or puts in a pitch period of 3 to 12 ms where it fits, as time-scale modification does.
    fn scale(&mut self, samples: u32) -> u32 {
        self.periods += 1;
        let period = 24 + (self.periods * 37 % 72) as u32;
        match self.playout.adjust_in_speech() {
            SpeechAdjust::Keep => samples,
            SpeechAdjust::Shorten { samples: at_most } => {
                let period = if period <= at_most.min(samples) { period } else { 0 };
                self.playout.adjusted_in_speech(-period.cast_signed());
                samples - period
            }
            SpeechAdjust::Lengthen { .. } => {
                self.playout.adjusted_in_speech(period.cast_signed());
                samples + period
            }
        }
    }

    fn counters(&self) -> PlayoutCounters {
        *self.playout.counters()
    }

    /// The shortest and longest delay since the last call, in ms.
    fn take_delay_ms(&mut self) -> (f64, f64) {
        let (least, most) = std::mem::replace(&mut self.delay_ns, (u64::MAX, 0));
        (least as f64 / 1e6, most as f64 / 1e6)
    }
}

/// A sender, a path and an ear.
struct Call {
    ear: Ear,
    path: NetworkPath<Sent>,
    epoch: Instant,
    skew_ppm: i64,
    sent: u64,
}

impl Call {
    fn new(config: PathConfig, seed: u64) -> Self {
        Self::of_shape(20, 20, config, seed)
    }

    fn of_shape(tick_ms: u64, packet_ms: u64, config: PathConfig, seed: u64) -> Self {
        Self {
            ear: Ear::new(tick_ms, packet_ms),
            path: NetworkPath::new(config, seed),
            epoch: VirtualClock::new().now(),
            skew_ppm: 0,
            sent: 0,
        }
    }

    fn send(&mut self, duration_ms: u64, speech: bool) {
        let packet_ms = self.ear.packet_ms;
        for _ in 0..duration_ms / packet_ms {
            // A fast clock (positive skew) takes less time for each packet.
            let since_ns = self.sent * packet_ms * (1_000_000 - self.skew_ppm).cast_unsigned();
            let at = self.epoch + Duration::from_nanos(since_ns);
            self.deliver_until(at);
            let sent = Sent {
                sent_ns: T0 + since_ns,
                number: self.sent,
                speech,
            };
            self.path.send(at, sent);
            self.sent += 1;
        }
    }

    fn deliver_until(&mut self, now: Instant) {
        while let Some(at) = self.path.next_at().filter(|at| *at <= now) {
            let Some(sent) = self.path.poll(at) else { break };
            let arrival_ns = T0 + u64::try_from((at - self.epoch).as_nanos()).unwrap();
            self.ear.arrive(arrival_ns, sent);
        }
    }
}

fn jittered(jitter_us: u64, reorders: bool) -> PathConfig {
    PathConfig {
        delay: Duration::from_millis(10),
        jitter: Duration::from_micros(jitter_us),
        jitter_reorders: reorders,
        ..PathConfig::default()
    }
}

#[test]
fn forty_milliseconds_of_jitter_are_learnt_within_a_second_of_speech() {
    for reorders in [false, true] {
        let (mut early, mut later, mut concealed_ms) = (0, 0, 0);
        let (mut inserted_ms, mut dropped_ms) = (0, 0);
        for seed in 0..200 {
            let mut call = Call::new(jittered(40_000, reorders), seed);
            call.send(1_000, true);
            let learning = call.ear.gaps;
            call.send(30_000, true);
            let counters = call.ear.counters();
            let context = format!("seed {seed}, reordering {reorders}: {counters:?}");
            assert!(learning <= 2, "{context}");
            assert!(counters.inserted_samples <= 8 * 80, "{context}");
            dropped_ms += counters.dropped_samples / 8;
            concealed_ms += call.ear.concealed / 8;
            early += learning;
            later += call.ear.gaps - learning;
            inserted_ms += counters.inserted_samples / 8;
        }
        // In 200 calls.
        let context = format!(
            "reordering {reorders}: {early} gaps, {later} later, {concealed_ms} ms made up, {inserted_ms} ms in, {dropped_ms} ms out"
        );
        assert!(
            early <= 190 && later <= 2 && concealed_ms <= 200 * 22,
            "{context}"
        );
    }
}

#[test]
fn a_clean_path_is_left_alone() {
    for (seed, jitter_us) in [(1, 0), (2, 500), (3, 1_900), (4, 1_900)] {
        let mut call = Call::new(jittered(jitter_us, false), seed);
        call.send(600_000, true);
        let counters = call.ear.counters();
        assert_eq!(
            (counters.inserted_samples, counters.dropped_samples, call.ear.gaps),
            (0, 0, 0),
            "seed {seed}, {jitter_us} µs: {counters:?}"
        );
        assert!(call.ear.playout.skew_ppm().is_some_and(|ppm| ppm.abs() <= 3));
    }
}

/// Runs a day and returns the counters and the span of the delay in ms.
fn a_day(skew_ppm: i64, pauses: bool) -> (PlayoutCounters, f64) {
    let mut call = Call::new(jittered(1_000, false), 1);
    call.skew_ppm = skew_ppm;
    // Six seconds of talk, a second of silence.
    for _ in 0..24 * 3600 / 7 {
        call.send(6_000, true);
        call.send(1_000, !pauses);
    }
    let counters = call.ear.counters();
    let (least, most) = call.ear.take_delay_ms();
    let context = format!("{skew_ppm} ppm: {least} to {most} ms, {counters:?}");
    assert_eq!(call.ear.gaps, 0, "{context}");
    assert_eq!(counters.rejected, [0; 6], "{context}");
    let found = i64::from(call.ear.playout.skew_ppm().unwrap());
    assert!((found - skew_ppm).abs() <= 2, "{context}: {found} ppm");
    let drift = skew_ppm * 86_400 / 125;
    let grown = counters.inserted_samples.cast_signed() - counters.dropped_samples.cast_signed();
    assert!(
        (grown + drift).abs() <= 320,
        "{context}: {drift} samples of drift"
    );
    (counters, most - least)
}

/// A tick is the least that can be corrected, as deadlines move by whole ticks; the rest is the time in which a pause may come.
const ONE_FRAME_MS: f64 = 20.0 + 2.5;

#[test]
fn a_day_of_a_slow_clock_stays_within_one_frame_of_delay() {
    let (counters, span_ms) = a_day(-200, true);
    assert!(span_ms <= ONE_FRAME_MS, "{span_ms} ms");
    assert_eq!((counters.speech_adjustments, counters.dropped_samples), (0, 0));
}

#[test]
fn a_day_of_a_fast_clock_stays_within_one_frame_of_delay() {
    let (counters, span_ms) = a_day(200, true);
    assert!(span_ms <= ONE_FRAME_MS, "{span_ms} ms");
    assert_eq!((counters.speech_adjustments, counters.inserted_samples), (0, 0));
}

#[test]
fn a_day_of_a_slow_clock_without_a_pause_is_made_up_for_in_speech() {
    let (counters, span_ms) = a_day(-200, false);
    // Until it is taken back, a pitch period more than asked for.
    assert!(span_ms <= ONE_FRAME_MS + 12.0, "{span_ms} ms");
    assert!(counters.speech_adjustments <= 864 * 4, "{counters:?}");
}

#[test]
fn a_day_of_a_fast_clock_without_a_pause_is_made_up_for_in_speech() {
    let (counters, span_ms) = a_day(200, false);
    assert!(span_ms <= ONE_FRAME_MS + 3.0, "{span_ms} ms");
    assert!(counters.speech_adjustments <= 864 * 4, "{counters:?}");
}

#[test]
fn a_stall_is_recovered_from_within_five_seconds() {
    for (seed, stall_ms) in [
        (0, 60),
        (1, 150),
        (2, 500),
        (3, 1_200),
        (4, 2_000),
        (5, 2_000),
        (6, 5_000),
    ] {
        let mut call = Call::new(jittered(2_000, false), seed);
        call.send(20_000, true);
        let before = call.ear.take_delay_ms();
        call.path.set_config(PathConfig {
            delay: Duration::from_millis(stall_ms),
            ..jittered(2_000, false)
        });
        call.send(20, true);
        // In order behind the delayed one: all that is sent meanwhile arrives with it.
        call.path.set_config(jittered(2_000, false));
        call.send(stall_ms + 4_000, true);
        call.ear.take_delay_ms();
        let gaps = call.ear.gaps;
        call.send(20_000, true);
        let after = call.ear.take_delay_ms();
        let context = format!(
            "seed {seed}, {stall_ms} ms: {before:?}, {after:?} {:?}",
            call.ear.counters()
        );
        assert!(after.1 <= before.1 + 2.0, "{context}");
        assert_eq!(call.ear.gaps, gaps, "{context}");
    }
}

#[test]
fn while_packets_are_lost_the_one_behind_comes_in_time_for_repair() {
    for seed in 0..5 {
        let clean = jittered(2_000, false);
        let lossy = PathConfig {
            loss: Loss::Uniform(0.05),
            ..clean.clone()
        };
        let mut call = Call::new(clean.clone(), seed);
        call.ear.playout.set_fec(true);
        call.send(5_000, true);
        let before = call.ear.take_delay_ms();
        call.path.set_config(lossy);
        call.send(5_000, true);
        call.ear.take_delay_ms();
        let (gaps, repairable) = (call.ear.gaps, call.ear.repairable);
        call.send(60_000, true);
        let during = call.ear.take_delay_ms();
        let context = format!("seed {seed}: {before:?}, {during:?}, {:?}", call.ear.counters());
        assert_eq!(
            call.ear.repairable - repairable,
            call.ear.gaps - gaps,
            "{context}"
        );
        assert!(during.1 <= before.1 + 20.0 + 12.0, "{context}");
        call.path.set_config(clean);
        call.send(12_000, true);
        call.ear.take_delay_ms();
        call.send(5_000, true);
        let after = call.ear.take_delay_ms();
        assert!(after.1 <= before.1 + 12.0, "{context}: {after:?}");
    }
}

#[test]
fn skew_is_made_up_for_at_every_size_of_tick_and_packet() {
    for (tick_ms, packet_ms) in [
        (10, 10),
        (10, 20),
        (20, 10),
        (20, 30),
        (20, 60),
        (30, 20),
        (60, 20),
        (5, 60),
    ] {
        for (skew_ppm, pauses) in [(-200, true), (200, true), (-200, false), (200, false)] {
            let mut call = Call::of_shape(tick_ms, packet_ms, jittered(1_000, false), 1);
            call.skew_ppm = skew_ppm;
            for _ in 0..2 * 3600 / 7 {
                call.send(6_000, true);
                call.send(1_000, !pauses);
            }
            let counters = call.ear.counters();
            let (least, most) = call.ear.take_delay_ms();
            let context = format!(
                "{tick_ms} ms ticks, {packet_ms} ms packets, {skew_ppm} ppm: {least} to {most} ms, {counters:?}"
            );
            assert_eq!(call.ear.gaps, 0, "{context}");
            // The places of packets within ticks differ by up to a tick by themselves.
            let period_ms = if pauses { 3.0 } else { 15.0 };
            assert!(most - least <= 2.0 * tick_ms as f64 + period_ms, "{context}");
        }
    }
}

#[test]
fn jitter_is_learnt_at_every_size_of_tick_and_packet() {
    for (tick_ms, packet_ms) in [
        (10, 10),
        (10, 20),
        (20, 10),
        (20, 30),
        (20, 60),
        (30, 20),
        (60, 20),
    ] {
        for reorders in [false, true] {
            let (mut early, mut later) = (0, 0);
            for seed in 0..20 {
                let mut call = Call::of_shape(tick_ms, packet_ms, jittered(40_000, reorders), seed);
                call.send(2_000, true);
                let learning = call.ear.gaps;
                call.send(20_000, true);
                early += learning;
                later += call.ear.gaps - learning;
            }
            let context = format!(
                "{tick_ms} ms ticks, {packet_ms} ms packets, reordering {reorders}: {early}, later {later}"
            );
            // In 20 calls.
            assert!(early <= 40 && later <= 4, "{context}");
        }
    }
}
