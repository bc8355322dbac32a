//! Plays a sequence of operations, encoded in bytes, on a [`Playout`] and asserts what must always hold. Called by the fuzz
//! target `jitter_buffer` and by the property tests.

use super::{Adjust, Content, Playout, PlayoutConfig, Pull, SpeechAdjust, Tick};
use crate::ids::{ClockRate, PayloadType, RtpTimestamp, SequenceNumber, Ssrc};
use crate::packet::{RtpHeader, RtpPacket};

/// Reads eight octets per operation: kind, packet size, and changes of time, sequence number and timestamp.
///
/// # Panics
/// When playout hands out more than was asked for, more than it received, or a frame that was not sent as such.
pub fn fuzz_jitter_buffer(data: &[u8]) {
    let mut playout = Playout::new(PlayoutConfig {
        slots: 16,
        payload_capacity: 480,
        ..PlayoutConfig::new(ClockRate::HZ_8000)
    });
    let mut world = World {
        now_ns: 1 << 40,
        sequence: 65_500,
        timestamp: u32::MAX - 4000,
        ssrc: 1,
        pushed: 0,
    };
    for operation in data.chunks_exact(8) {
        world.step(&mut playout, operation);
    }
    let counters = playout.counters();
    assert!(
        counters.frames + counters.overtaken <= world.pushed,
        "handed out more than was stored"
    );
    assert!(playout.buffered_ns() <= 1 << 50, "buffered media is not bounded");
    assert!(
        playout.skew_ppm().is_none_or(|ppm| ppm.abs() <= 5_000),
        "an absurd clock"
    );
}

struct World {
    now_ns: u64,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    pushed: u64,
}

impl World {
    fn step(&mut self, playout: &mut Playout, operation: &[u8]) {
        let [kind, size, time, jump, ..] = *operation else {
            return;
        };
        let far = u32::from_be_bytes([operation[4], operation[5], operation[6], operation[7]]);
        self.now_ns += u64::from(time) * 200_000;
        match kind % 8 {
            0..=2 => self.push(playout, u32::from(size), 0, 0),
            3 => self.push(
                playout,
                u32::from(size) * 2,
                u16::from(jump),
                u32::from(jump) * 160,
            ),
            4 => self.push(playout, 160, far as u16, far),
            5 => {
                self.ssrc = self.ssrc.wrapping_add(u32::from(jump % 2));
                self.push(playout, 160, u16::from(jump).wrapping_sub(128), 0);
            }
            6 if jump == 1 => playout.set_fec(size % 2 == 1),
            _ => self.pull(playout, u32::from(size) + 1),
        }
    }

    fn push(&mut self, playout: &mut Playout, samples: u32, sequence_step: u16, timestamp_step: u32) {
        self.sequence = self.sequence.wrapping_add(sequence_step);
        self.timestamp = self.timestamp.wrapping_add(timestamp_step);
        let header = RtpHeader {
            marker: sequence_step % 7 == 1,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(self.sequence),
            timestamp: RtpTimestamp(self.timestamp),
            ssrc: Ssrc(self.ssrc),
        };
        let mut bytes = [0; 12 + 512];
        let mut head = [0; 12];
        header.write(&mut head);
        bytes[..12].copy_from_slice(&head);
        bytes[12..].fill(samples as u8);
        let len = 12 + samples as usize;
        let content = match timestamp_step % 11 {
            3 => Content::ComfortNoise,
            4 => Content::NoAudio,
            5 => Content::Dtx { samples },
            _ => Content::Audio { samples },
        };
        let Ok(packet) = RtpPacket::parse(&bytes[..len]) else {
            return;
        };
        if playout.push(self.now_ns, &packet, content).is_ok() {
            self.pushed += 1;
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    fn pull(&mut self, playout: &mut Playout, samples: u32) {
        let tick = Tick {
            at_ns: self.now_ns,
            samples,
        };
        let mut missing = i64::from(samples);
        for _ in 0..1000 {
            let asked = missing as u32;
            let got = match playout.pull(tick, asked) {
                Pull::Frame(frame) => {
                    assert!(frame.skip < frame.samples, "a frame with nothing in it");
                    assert_eq!(
                        frame.payload.len() as u32,
                        frame.samples,
                        "a frame that was not sent"
                    );
                    assert!(
                        frame.payload.iter().all(|&octet| octet == frame.samples as u8),
                        "a mixed-up payload"
                    );
                    let left = frame.samples - frame.skip;
                    Self::adjust(playout, left)
                }
                Pull::Lost { samples, next } => {
                    let whole = next.map_or(0, |next| next.samples);
                    assert!(
                        samples > 0 && samples <= asked.max(whole),
                        "{samples} lost samples where {asked} were asked for"
                    );
                    samples
                }
                Pull::Quiet { samples } | Pull::ComfortNoise { samples, .. } => {
                    assert!(
                        samples > 0 && samples <= asked,
                        "{samples} samples where {asked} were asked for"
                    );
                    samples
                }
                Pull::Idle => return,
            };
            missing -= i64::from(got);
            if missing <= 0 {
                return;
            }
        }
        panic!("a tick without end");
    }

    /// Takes out or puts in up to 100 samples where that is wanted.
    fn adjust_speech(playout: &mut Playout, samples: u32) -> u32 {
        match playout.adjust_in_speech() {
            SpeechAdjust::Keep => samples,
            SpeechAdjust::Shorten { samples: at_most } => {
                let period = at_most.min(samples).min(100);
                playout.adjusted_in_speech(-period.cast_signed());
                samples - period
            }
            SpeechAdjust::Lengthen { .. } => {
                let period = samples.min(100);
                playout.adjusted_in_speech(period.cast_signed());
                samples + period
            }
        }
    }

    /// Every third frame is called silent; returns what is left to play.
    fn adjust(playout: &mut Playout, samples: u32) -> u32 {
        if !playout.counters().frames.is_multiple_of(3) {
            return Self::adjust_speech(playout, samples);
        }
        match playout.adjust_in_silence(samples) {
            Adjust::Keep => samples,
            Adjust::Drop { samples: dropped } => {
                assert!(dropped <= samples, "more was dropped than there is");
                samples - dropped
            }
            Adjust::Insert { samples: inserted } => samples + inserted,
        }
    }
}
