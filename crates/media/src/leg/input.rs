//! A leg's receiving half: reception statistics, digits, jitter buffer, decoding to blocks. Knows nothing of sockets,
//! sources or the mix.

use confab_rtp::{
    Adjust, ClockRate, Content, DtmfEvent, FrameRef, PayloadType, Playout, PlayoutConfig, Pull, Reception,
    ReceptionStatistics, Rejected, RtpPacket, TelephoneEventReceiver, Tick,
};

use super::session::{Scale, Session};
use crate::metrics::DropReason;

/// Samples of the longest packet that is decoded: 120 ms at 8 kHz.
pub(crate) const MAX_FRAME_SAMPLES: usize = 960;

/// Audio in a packet before one was seen, in nanoseconds.
const USUAL_PACKET_NS: u64 = 20_000_000;

/// Mean absolute sample up to which a frame counts as silence that may be shortened or stretched unheard.
const SILENCE_SCORE: u16 = 8;

/// What a block was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Decoded or concealed audio, at least in part.
    Audio {
        /// Mean absolute sample of the block.
        score: u16,
    },
    /// Silence: the sender pauses or there is no stream.
    Quiet,
}

/// The receiving half.
pub(crate) struct Input {
    playout: Playout,
    pub(crate) reception: ReceptionStatistics,
    digits: TelephoneEventReceiver,
    /// Decoded samples beyond the last block.
    rest: Rest,
    /// Audio in the last packet, in nanoseconds: when to look for the next.
    packet_ns: u64,
    /// Concealed audio, in units of the RTP clock.
    concealed: u64,
    pub(crate) digits_received: u64,
}

/// Decoded samples that wait for the next block.
struct Rest {
    samples: Box<[i16]>,
    start: usize,
    end: usize,
}

impl Input {
    /// Allocates everything that the leg's stream will need.
    pub(crate) fn new(config: PlayoutConfig) -> Self {
        let clock_rate = config.clock_rate;
        Input {
            playout: Playout::new(config),
            reception: ReceptionStatistics::new(clock_rate, 0),
            digits: TelephoneEventReceiver::new(clock_rate),
            rest: Rest {
                samples: vec![0; 2 * MAX_FRAME_SAMPLES].into_boxed_slice(),
                start: 0,
                end: 0,
            },
            packet_ns: USUAL_PACKET_NS,
            concealed: 0,
            digits_received: 0,
        }
    }

    /// Forgets the stream's audio: the leg joins a conference, or its codec changed.
    pub(crate) fn restart(&mut self, clock_rate: ClockRate) {
        self.playout.restart(clock_rate);
        self.reception.set_clock_rate(clock_rate);
        self.rest.clear();
    }

    /// Takes an accepted packet; `playing` tells whether its audio is wanted. Returns a digit that it completed.
    pub(crate) fn push(
        &mut self,
        session: &Session,
        arrival_ns: u64,
        packet: &RtpPacket<'_>,
        playing: bool,
    ) -> Result<Option<DtmfEvent>, DropReason> {
        let content = content(session, packet)?;
        if let Some(samples) = content.samples() {
            self.packet_ns = session.clock_rate().nanoseconds(u64::from(samples));
        }
        if content == Content::NoAudio {
            self.reception.received_untimed(packet);
        } else if self.reception.received(arrival_ns, packet) == Reception::Duplicate {
            return Err(DropReason::Duplicate);
        }
        if playing {
            self.playout
                .push(arrival_ns, packet, content)
                .map_err(|rejected| self.drop_reason(rejected))?;
        }
        let digit = match content {
            Content::NoAudio => self.digits.push(arrival_ns, packet),
            Content::Audio { .. } | Content::Dtx { .. } | Content::ComfortNoise => None,
        };
        self.digits_received += u64::from(digit.is_some());
        Ok(digit)
    }

    /// Returns the time from one packet of the stream to the next.
    pub(crate) fn packet_ns(&self) -> u64 {
        self.packet_ns
    }

    fn drop_reason(&mut self, rejected: Rejected) -> DropReason {
        match rejected {
            Rejected::Duplicate => DropReason::Duplicate,
            Rejected::Late => {
                self.reception.record_late();
                DropReason::Late
            }
            Rejected::Overflow => DropReason::Overflow,
            Rejected::SequenceJump => DropReason::SequenceJump,
            Rejected::TooLarge | Rejected::Empty => DropReason::Malformed,
        }
    }

    /// Returns a digit whose end packets were all lost.
    pub(crate) fn overdue_digit(&mut self, now_ns: u64) -> Option<DtmfEvent> {
        let digit = self.digits.tick(now_ns);
        self.digits_received += u64::from(digit.is_some());
        digit
    }

    /// Fills one block with what is due. Frames whose score is not above `silence` may be shortened or stretched.
    pub(crate) fn fill(
        &mut self,
        session: &mut Session,
        tick: Tick,
        out: &mut [i16],
        frame: &mut [i16; MAX_FRAME_SAMPLES],
        silence: u16,
    ) -> Block {
        let silence = silence.max(SILENCE_SCORE);
        let mut filled = self.rest.take(out);
        let mut heard = filled > 0;
        let clock = session.scale();
        while filled < out.len() {
            let missing = out.len() - filled;
            match self.playout.pull(tick, clock.units(missing)) {
                // As a rule a packet is a block: it is decoded where it is wanted, and measured once.
                Pull::Frame(packet)
                    if filled == 0 && packet.skip == 0 && clock.samples(packet.samples) == missing =>
                {
                    decode(session, &packet, out);
                    let score = confab_dsp::score(out);
                    if score > silence {
                        return Block::Audio { score };
                    }
                    heard = true;
                    filled = match self.playout.adjust_in_silence(clock.units(missing)) {
                        Adjust::Keep => return Block::Audio { score },
                        adjust => {
                            frame[..missing].copy_from_slice(out);
                            self.rest.place(&frame[..missing], adjust, clock, out)
                        }
                    };
                }
                Pull::Frame(packet) => {
                    heard = true;
                    let skip = clock.samples(packet.skip);
                    let samples = decode(session, &packet, frame);
                    let frame = &frame[skip.min(samples)..samples];
                    let adjust = if confab_dsp::score(frame) <= silence {
                        self.playout.adjust_in_silence(clock.units(frame.len()))
                    } else {
                        Adjust::Keep
                    };
                    filled += self.rest.place(frame, adjust, clock, &mut out[filled..]);
                }
                Pull::Lost { samples, .. } => {
                    heard = true;
                    self.concealed += u64::from(samples);
                    let end = filled + clock.samples(samples).clamp(1, missing);
                    session.decoder.conceal(&mut out[filled..end]);
                    filled = end;
                }
                Pull::Quiet { samples } | Pull::ComfortNoise { samples, .. } => {
                    session.decoder.reset();
                    let end = filled + clock.samples(samples).clamp(1, missing);
                    out[filled..end].fill(0);
                    filled = end;
                }
                Pull::Idle => {
                    out[filled..].fill(0);
                    filled = out.len();
                }
            }
        }
        if heard {
            Block::Audio {
                score: confab_dsp::score(out),
            }
        } else {
            Block::Quiet
        }
    }

    /// Returns the received audio that waits to be heard, in nanoseconds.
    pub(crate) fn buffered_ns(&self) -> u64 {
        self.playout.buffered_ns()
    }

    /// Returns the milliseconds of audio made up for lost packets.
    pub(crate) fn concealed_ms(&self, clock_rate: ClockRate) -> u64 {
        clock_rate.nanoseconds(self.concealed) / 1_000_000
    }
}

/// Says what a packet carries, by its payload type.
fn content(session: &Session, packet: &RtpPacket<'_>) -> Result<Content, DropReason> {
    let payload_type = packet.payload_type();
    if Some(payload_type) == session.telephone_event_pt {
        Ok(Content::NoAudio)
    } else if session.receive_pts.contains(payload_type) {
        let samples = session
            .decoder
            .samples(packet.payload())
            .map_err(|_| DropReason::Malformed)?;
        if samples > MAX_FRAME_SAMPLES {
            return Err(DropReason::Oversized);
        }
        Ok(Content::Audio {
            samples: session.scale().units(samples),
        })
    } else if payload_type == PayloadType::COMFORT_NOISE {
        Ok(Content::ComfortNoise)
    } else {
        Err(DropReason::PayloadType)
    }
}

/// Decodes a frame; one that cannot be decoded is concealed at its announced length.
fn decode(session: &mut Session, packet: &FrameRef<'_>, frame: &mut [i16]) -> usize {
    session.decoder.decode(packet.payload, frame).unwrap_or_else(|_| {
        let samples = session.scale().samples(packet.samples).min(frame.len());
        session.decoder.conceal(&mut frame[..samples]);
        samples
    })
}

impl Rest {
    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Moves waiting samples into a block; returns how many.
    fn take(&mut self, out: &mut [i16]) -> usize {
        let count = (self.end - self.start).min(out.len());
        out[..count].copy_from_slice(&self.samples[self.start..self.start + count]);
        self.start += count;
        if self.start == self.end {
            self.clear();
        }
        count
    }

    /// Puts a decoded frame into what is left of a block, and what does not fit into the rest. Returns the samples
    /// placed in the block. The rest is empty when a frame is pulled.
    fn place(&mut self, frame: &[i16], adjust: Adjust, clock: Scale, out: &mut [i16]) -> usize {
        let (stretch, frame) = match adjust {
            Adjust::Keep => (0, frame),
            Adjust::Drop { samples } => (0, &frame[clock.samples(samples).min(frame.len())..]),
            Adjust::Insert { samples } => (clock.samples(samples).min(MAX_FRAME_SAMPLES), frame),
        };
        if stretch == 0 {
            let count = frame.len().min(out.len());
            out[..count].copy_from_slice(&frame[..count]);
            self.keep(0, &frame[count..]);
            return count;
        }
        self.keep(stretch, frame);
        self.take(out)
    }

    /// Keeps `silence` zero samples and then `frame`.
    fn keep(&mut self, silence: usize, frame: &[i16]) {
        self.samples[..silence].fill(0);
        self.samples[silence..silence + frame.len()].copy_from_slice(frame);
        (self.start, self.end) = (0, silence + frame.len());
    }
}
