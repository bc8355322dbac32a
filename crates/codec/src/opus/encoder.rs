//! Encoding of one outgoing Opus stream, 10 to 60 ms of mono per packet.

use super::raw::{AUTO, CELT, RawEncoder, SILK, Setting};
use super::settings::{Bandwidth, OpusSettings};
use super::{MAX_PAYLOAD, RATE_HZ, TEN_MS};

/// Most pieces of 10 ms in a packet.
const MAX_PIECES: usize = 6;

/// libopus's effort, 0 to 10. From 7 on it tells speech from music, at 8 it searches as widely as at 10. What a conference sends
/// was coded before, so that every error counts twice: coded twice at 40 kbit/s, speech loses 0.17 of PESQ at 5 against 8 (24
/// voices), and takes a fifth less time.
const COMPLEXITY: i32 = 8;

/// The least loss that redundancy is made for, if at all: for less, libopus repeats too little and too coarsely to help (PESQ of
/// wideband speech at 5 % loss: 2.2 when told 5 %, 2.8 when told 10 %, at 24 kbit/s).
const LEAST_LOSS_PERCENT: u8 = 10;

/// From this bit rate on joined frames are coded by CELT, as libopus would decide for speech; below it by SILK, up to the wide band,
/// or by both.
const CELT_FROM_BPS: u32 = 64_000;

/// Encoder for one outgoing Opus stream.
#[derive(Debug, Clone)]
pub(crate) struct OpusEncoder {
    raw: RawEncoder,
    settings: OpusSettings,
    bandwidth: Bandwidth,
    loss_percent: u8,
    /// What libopus was told.
    bitrate_bps: u32,
    /// Libopus has a bandwidth for joined frames.
    has_joined: bool,
}

impl OpusEncoder {
    /// Makes an encoder; allocates its state at once.
    pub(crate) fn new(settings: OpusSettings) -> Self {
        let mut raw = RawEncoder::new();
        raw.set(Setting::Complexity, COMPLEXITY);
        raw.set(Setting::Vbr, i32::from(!settings.cbr));
        raw.set(Setting::InbandFec, i32::from(settings.inband_fec));
        raw.set(Setting::Dtx, i32::from(settings.dtx));
        let mut encoder = Self {
            raw,
            settings,
            bandwidth: Bandwidth::for_rate(settings.max_playback_rate_hz),
            loss_percent: settings.loss_percent.min(100),
            bitrate_bps: 0,
            has_joined: false,
        };
        encoder.apply();
        encoder
    }

    pub(crate) fn set_mix_rate(&mut self, rate_hz: u32) {
        let bandwidth = Bandwidth::for_rate(
            rate_hz
                .clamp(8000, RATE_HZ)
                .min(self.settings.max_playback_rate_hz),
        );
        if bandwidth != self.bandwidth {
            self.bandwidth = bandwidth;
            self.apply();
        }
    }

    pub(crate) fn set_loss(&mut self, percent: u8) {
        let percent = percent.min(100);
        if percent != self.loss_percent {
            self.loss_percent = percent;
            self.apply();
        }
    }

    pub(crate) fn copy_state_from(&mut self, other: &Self) {
        self.raw.copy_from(&other.raw);
        self.settings = other.settings;
        self.bandwidth = other.bandwidth;
        self.loss_percent = other.loss_percent;
        self.bitrate_bps = other.bitrate_bps;
        self.has_joined = other.has_joined;
    }

    /// Returns the loss in percent that libopus makes redundancy for, 0 for none.
    fn loss_percent_told(&self) -> u8 {
        if self.settings.inband_fec && self.loss_percent > 0 {
            self.loss_percent.max(LEAST_LOSS_PERCENT)
        } else {
            0
        }
    }

    fn apply(&mut self) {
        let loss_percent = self.loss_percent_told();
        let redundant = loss_percent > 0;
        let bitrate_bps = match (self.settings.bitrate_bps, redundant) {
            (0, redundant) => self.bandwidth.usual_bitrate_bps(redundant),
            (asked, _) => asked,
        };
        self.raw.set(Setting::LossPercent, i32::from(loss_percent));
        self.raw.set(Setting::MaxBandwidth, self.bandwidth.opus());
        self.raw.set(Setting::BitrateBps, bitrate_bps.cast_signed());
        self.bitrate_bps = bitrate_bps;
    }

    /// Encodes whole multiples of 10 ms up to 60 ms; returns the octets written, 0 when there is nothing to encode or no room.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        let pieces = (pcm.len() / TEN_MS).min(MAX_PIECES);
        let pcm = &pcm[..pieces * TEN_MS];
        let room = out.len().min(MAX_PAYLOAD);
        let out = &mut out[..room];
        match pieces {
            0 => 0,
            1 | 2 | 4 | 6 => self.raw.encode(pcm, out).unwrap_or(0),
            _ => self.encode_joined(pcm, pieces, out).unwrap_or(0),
        }
    }

    /// 30 and 50 ms are no frames of Opus: frames of 10 ms are joined to a packet of code 3 (RFC 6716 §3.2.5). They must be of
    /// one kind. So the mode is ours, and libopus may change to another bandwidth at the last frame only: the change takes effect
    /// in the frame after it, which begins the next packet. A change that is called off, as libopus begins it anew in each
    /// packet, is heard every time.
    fn encode_joined(&mut self, pcm: &[i16], pieces: usize, out: &mut [u8]) -> Option<usize> {
        // First octet, number of frames, and up to two octets of size for each frame but the last.
        let header = 2 + 2 * (pieces - 1);
        let each = out.len().checked_sub(header)? / pieces;
        let mut ends = [0; MAX_PIECES];
        let mut end = header;
        let mut first = None;
        let celt = self.bitrate_bps >= CELT_FROM_BPS && self.loss_percent_told() == 0;
        self.raw.set(Setting::Mode, if celt { CELT } else { SILK });
        // CELT changes at once, and at such a rate there is nothing to decide.
        let held = if celt {
            Some(self.bandwidth.opus())
        } else {
            self.has_joined
                .then(|| self.raw.bandwidth().min(self.bandwidth.opus()))
        };
        self.raw.set(Setting::Bandwidth, held.unwrap_or(AUTO));
        for (piece, pcm) in pcm.chunks_exact(TEN_MS).enumerate() {
            let start = end;
            if piece + 1 == pieces && !celt {
                self.raw.set(Setting::Bandwidth, AUTO);
            }
            let octets = self.raw.encode(pcm, &mut out[start..start + each]).unwrap_or(0);
            let kind = out[start];
            match first {
                None => {
                    first = Some(kind);
                    if held.is_none() {
                        let bandwidth = self.raw.bandwidth();
                        self.raw.set(Setting::Bandwidth, bandwidth);
                        self.has_joined = true;
                    }
                }
                Some(first) if first != kind || octets == 0 => {
                    // Cannot be joined; an empty frame lets the far decoder conceal.
                    ends[piece] = end;
                    continue;
                }
                Some(_) => {}
            }
            // The frame without its first octet, which all have in common.
            out.copy_within(start + 1..start + octets.max(1), start);
            end = start + octets.max(1) - 1;
            ends[piece] = end;
        }
        self.raw.set(Setting::Mode, AUTO);
        self.raw.set(Setting::Bandwidth, AUTO);
        Some(join(&ends[..pieces], header, first?, out))
    }
}

/// Writes the header of a packet of code 3 with frames of their own sizes before the frames, which stand from `start` on;
/// returns the packet's length.
fn join(ends: &[usize], start: usize, first_octet: u8, out: &mut [u8]) -> usize {
    const CODE_3: u8 = 3;
    const OWN_SIZES: u8 = 0x80;
    out[0] = (first_octet & !3) | CODE_3;
    out[1] = OWN_SIZES | ends.len() as u8;
    let mut at = 2;
    let mut from = start;
    for &end in &ends[..ends.len() - 1] {
        at += put_size(end - from, &mut out[at..]);
        from = end;
    }
    let last = ends[ends.len() - 1];
    out.copy_within(start..last, at);
    at + last - start
}

/// Writes the size of a frame (RFC 6716 §3.2.1); returns its octets.
fn put_size(size: usize, out: &mut [u8]) -> usize {
    if size < 252 {
        out[0] = size as u8;
        1
    } else {
        out[0] = 252 + (size & 3) as u8;
        out[1] = ((size - usize::from(out[0])) >> 2) as u8;
        2
    }
}
