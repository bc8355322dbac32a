//! Owns the measuring of delay by sound: what each talker says, and where a listener hears it. Knows no server.

use confab_testkit::codec::{Codec, Decoder};
use confab_testkit::rtp::Capture;

/// Length of a mark in ms.
pub const MARK_MS: u32 = 10;
/// From one talker's mark to the next one's, in packets of 20 ms.
const SPACING: usize = 3;
/// Level of a mark, as a part of full scale.
const AMPLITUDE: f64 = 0.25;
const TONES: u64 = 12;
/// Correlation from which a mark is taken to be heard.
const HEARD: f64 = 0.5;
/// How long after it was sent a mark is looked for.
const LONGEST_MS: f64 = 190.0;

/// The sound of one talker: tones of random frequency and phase, as different from those of the others as can be.
fn mark(talker: usize, rate_hz: u32) -> Vec<f64> {
    let mut state = 0x9e37_79b9_u64.wrapping_mul(talker as u64 + 1);
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let tones: Vec<(f64, f64)> = (0..TONES)
        .map(|_| (500.0 + 2500.0 * random(), std::f64::consts::TAU * random()))
        .collect();
    let length = rate_hz * MARK_MS / 1000;
    (0..length)
        .map(|n| {
            let seconds = f64::from(n) / f64::from(rate_hz);
            let shape = (std::f64::consts::PI * (f64::from(n) + 0.5) / f64::from(length)).sin();
            let sum: f64 = tones
                .iter()
                .map(|(hz, phase)| (std::f64::consts::TAU * hz * seconds + phase).sin())
                .sum();
            shape * sum / (TONES as f64 / 2.0).sqrt()
        })
        .collect()
}

/// Packets of 20 ms after which `talkers` begin anew.
pub fn period(talkers: usize) -> usize {
    (talkers * SPACING).max(10)
}

/// The packet of a talker's loop that begins with its mark.
pub fn place(talker: usize) -> usize {
    talker * SPACING
}

/// What a talker says over and over: a mark at the start of one packet, and silence while the others have theirs.
pub fn loop_of(talker: usize, talkers: usize, codec: Codec) -> Vec<i16> {
    let mut samples = vec![0; codec.samples_in(20) * period(talkers)];
    let begin = codec.samples_in(20) * place(talker);
    for (sample, value) in samples[begin..].iter_mut().zip(mark(talker, codec.rate_hz())) {
        *sample = (value * AMPLITUDE * f64::from(i16::MAX)).clamp(-32768.0, 32767.0) as i16;
    }
    samples
}

/// What a listener received, as sound with the time at which each packet came.
pub struct Heard {
    rate_hz: u32,
    samples: Vec<f64>,
    packets: Vec<(u64, usize)>,
}

impl Heard {
    /// Decodes a capture.
    pub fn new(capture: &Capture, codec: Codec) -> Self {
        let mut decoder = Decoder::new(codec);
        let (mut samples, mut packets, mut block) = (Vec::new(), Vec::new(), Vec::new());
        for packet in capture.packets() {
            packets.push((packet.arrival_ns, samples.len()));
            block.clear();
            decoder.decode_into(capture.payload(packet), &mut block);
            samples.extend(block.iter().map(|sample| f64::from(*sample)));
        }
        Self {
            rate_hz: codec.rate_hz(),
            samples,
            packets,
        }
    }

    /// Finds a talker's mark in what came after `sent_ns`: the time from there to the arrival of the packet that the mark begins
    /// in, and from that packet's start to the mark.
    pub fn find(&self, talker: usize, sent_ns: u64) -> Option<Hit> {
        let first = self
            .packets
            .partition_point(|(arrival_ns, _)| *arrival_ns < sent_ns);
        let (_, from) = *self.packets.get(first)?;
        let mark = mark(talker, self.rate_hz);
        let range = (LONGEST_MS / 1000.0 * f64::from(self.rate_hz)) as usize;
        let sound = self.samples.get(from..from + range + mark.len())?;
        let energy: f64 = mark.iter().map(|value| value * value).sum();
        let (mut best, mut at) = (0.0, 0);
        for offset in 0..range {
            let part = &sound[offset..offset + mark.len()];
            let (mut product, mut power) = (0.0, 1.0);
            for (a, b) in part.iter().zip(&mark) {
                product += a * b;
                power += a * a;
            }
            let correlation = product / (power * energy).sqrt();
            if correlation > best {
                (best, at) = (correlation, offset);
            }
        }
        if best < HEARD {
            return None;
        }
        let start = from + at;
        let index = self.packets.partition_point(|(_, begins)| *begins <= start) - 1;
        let (arrival_ns, begins) = self.packets[index];
        let within_ms = (start - begins) as f64 * 1000.0 / f64::from(self.rate_hz);
        let before_ns = index
            .checked_sub(1)
            .map_or(arrival_ns, |before| self.packets[before].0);
        Some(Hit {
            delay_ms: arrival_ns.saturating_sub(sent_ns) as f64 / 1e6 + within_ms,
            gap_ns: arrival_ns.saturating_sub(before_ns),
            at_ns: arrival_ns,
        })
    }
}

/// A mark that was heard.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// From sending to hearing, without the time that a packet lasts.
    pub delay_ms: f64,
    /// From the packet before to that one.
    pub gap_ns: u64,
    /// When it came.
    pub at_ns: u64,
}

/// Which of a talker's packets were sent when they should have been: within `slack_ns` of the grid that the earliest define.
pub fn punctual(sends: &[(u16, u64)], period_ns: u64, slack_ns: u64) -> Vec<bool> {
    let offset = |index: usize, sent_ns: u64| sent_ns.wrapping_sub(index as u64 * period_ns).cast_signed();
    let earliest = sends
        .iter()
        .enumerate()
        .map(|(index, (_, sent_ns))| offset(index, *sent_ns))
        .min()
        .unwrap_or(0);
    sends
        .iter()
        .enumerate()
        .map(|(index, (_, sent_ns))| offset(index, *sent_ns) - earliest <= slack_ns.cast_signed())
        .collect()
}

/// Returns the value that `share` of the values do not exceed; they are sorted here.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_differ_at_any_rate() {
        for rate_hz in [8000, 48_000] {
            for talker in 1..40 {
                let (a, b) = (mark(0, rate_hz), mark(talker, rate_hz));
                let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let alike = product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt();
                assert!(alike.abs() < HEARD, "{talker}: {alike}");
            }
        }
    }

    #[test]
    fn a_packet_behind_its_time_is_not_punctual() {
        let sends = [(7, 1_000_000), (8, 21_000_000), (9, 44_000_000), (10, 61_000_000)];
        assert_eq!(punctual(&sends, 20_000_000, 1_000_000), [true, true, false, true]);
    }
}
