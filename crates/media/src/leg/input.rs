//! A leg's receiving half: reception statistics, digits, jitter buffer, decoding to blocks. Knows nothing of sockets,
//! sources or the mix.

use confab_codec::Decoder;
use confab_rtp::{
    Adjust, ClockRate, Content, DtmfEvent, FrameRef, PayloadType, Pull, Reception, ReceptionStatistics,
    Rejected, RtpPacket, TelephoneEventReceiver, Tick,
};

use super::session::{Receiving, Scale, Session};
use crate::metrics::DropReason;

/// Samples of the longest packet that is decoded: 120 ms at 48 kHz.
pub(crate) const MAX_FRAME_SAMPLES: usize = 5760;

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

/// The receiving half: what outlives a change of codec.
pub(crate) struct Input {
    pub(crate) reception: ReceptionStatistics,
    digits: TelephoneEventReceiver,
    /// Audio in the last packet, in nanoseconds: when to look for the next.
    packet_ns: u64,
    /// Concealed audio, in nanoseconds.
    concealed_ns: u64,
    pub(crate) digits_received: u64,
}

impl Input {
    pub(crate) fn new() -> Self {
        let clock_rate = ClockRate::HZ_8000;
        Input {
            reception: ReceptionStatistics::new(clock_rate, 0),
            digits: TelephoneEventReceiver::new(clock_rate),
            packet_ns: USUAL_PACKET_NS,
            concealed_ns: 0,
            digits_received: 0,
        }
    }

    /// Begins with a session's first stream, or with another codec; the session gets the digit reader of before.
    pub(crate) fn begin(&mut self, session: &mut Session) {
        self.reception.set_clock_rate(session.receiving.clock_rate());
        std::mem::swap(&mut self.digits, &mut session.digits);
    }

    /// Takes an accepted packet; `playing` tells whether its audio is wanted. Returns a digit that it completed.
    pub(crate) fn push(
        &mut self,
        session: &mut Session,
        arrival_ns: u64,
        packet: &RtpPacket<'_>,
        playing: bool,
    ) -> Result<Option<DtmfEvent>, DropReason> {
        let content = self.content(session, packet)?;
        let receiving = &mut session.receiving;
        if let Some(samples) = content.samples() {
            self.packet_ns = receiving.clock_rate().nanoseconds(u64::from(samples));
        }
        if content == Content::NoAudio {
            self.reception.received_untimed(packet);
        } else if self.reception.received(arrival_ns, packet) == Reception::Duplicate {
            return Err(DropReason::Duplicate);
        }
        if playing {
            receiving
                .playout
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

    /// Says what a packet carries, by its payload type.
    fn content(&mut self, session: &mut Session, packet: &RtpPacket<'_>) -> Result<Content, DropReason> {
        let payload_type = packet.payload_type();
        if Some(payload_type) == session.telephone_event_pt {
            return Ok(Content::NoAudio);
        }
        if !session.receiving.payload_types.contains(payload_type) {
            if payload_type == PayloadType::COMFORT_NOISE {
                return Ok(Content::ComfortNoise);
            }
            if !session.change_codec(payload_type) {
                return Err(DropReason::PayloadType);
            }
            session.receiving.restart();
            self.reception.set_clock_rate(session.receiving.clock_rate());
        }
        let receiving = &session.receiving;
        let samples = receiving
            .decoder
            .samples(packet.payload())
            .map_err(|_| DropReason::Malformed)?;
        if samples > receiving.kind.max_frame_samples().min(MAX_FRAME_SAMPLES) {
            return Err(DropReason::Oversized);
        }
        Ok(Content::Audio {
            samples: receiving.scale().units(samples),
        })
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

    /// Fills one block at the codec's rate with what is due. Frames whose score is not above `silence` may be shortened or
    /// stretched.
    pub(crate) fn fill(
        &mut self,
        receiving: &mut Receiving,
        tick: Tick,
        out: &mut [i16],
        frame: &mut [i16; MAX_FRAME_SAMPLES],
        silence: u16,
    ) -> Block {
        let silence = silence.max(SILENCE_SCORE);
        let clock = receiving.scale();
        let Receiving {
            decoder,
            playout,
            rest,
            ..
        } = receiving;
        let mut filled = rest.take(out);
        let mut heard = filled > 0;
        while filled < out.len() {
            let missing = out.len() - filled;
            match playout.pull(tick, clock.units(missing)) {
                // As a rule a packet is a block: it is decoded where it is wanted, and measured once.
                Pull::Frame(packet)
                    if filled == 0 && packet.skip == 0 && clock.samples(packet.samples) == missing =>
                {
                    decode(&mut **decoder, clock, &packet, out);
                    let score = confab_dsp::score(out);
                    if score > silence {
                        return Block::Audio { score };
                    }
                    heard = true;
                    filled = match playout.adjust_in_silence(clock.units(missing)) {
                        Adjust::Keep => return Block::Audio { score },
                        Adjust::Drop { samples } => {
                            frame[..missing].copy_from_slice(out);
                            rest.place(&frame[clock.samples(samples).min(missing)..missing], out)
                        }
                        Adjust::Insert { samples } => {
                            frame[..missing].copy_from_slice(out);
                            rest.place_after(clock.samples(samples), &frame[..missing], out)
                        }
                    };
                }
                Pull::Frame(packet) => {
                    heard = true;
                    let skip = clock.samples(packet.skip);
                    let samples = decode(&mut **decoder, clock, &packet, frame);
                    let frame = &frame[skip.min(samples)..samples];
                    let adjust = if confab_dsp::score(frame) <= silence {
                        playout.adjust_in_silence(clock.units(frame.len()))
                    } else {
                        Adjust::Keep
                    };
                    let out = &mut out[filled..];
                    filled += match adjust {
                        Adjust::Keep => rest.place(frame, out),
                        Adjust::Drop { samples } => {
                            rest.place(&frame[clock.samples(samples).min(frame.len())..], out)
                        }
                        Adjust::Insert { samples } => rest.place_after(clock.samples(samples), frame, out),
                    };
                }
                Pull::Lost { samples, .. } => {
                    heard = true;
                    let end = filled + clock.samples(samples).clamp(1, missing);
                    decoder.conceal(&mut out[filled..end]);
                    let rate_hz = u64::from(decoder.sample_rate_hz());
                    self.concealed_ns += (end - filled) as u64 * 1_000_000_000 / rate_hz.max(1);
                    filled = end;
                }
                Pull::Quiet { samples } | Pull::ComfortNoise { samples, .. } => {
                    decoder.reset();
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

    /// Returns the milliseconds of audio made up for lost packets.
    pub(crate) fn concealed_ms(&self) -> u64 {
        self.concealed_ns / 1_000_000
    }
}

impl Receiving {
    /// Forgets the stream's audio: the leg joins a conference, or the codec begins anew.
    pub(crate) fn restart(&mut self) {
        self.playout.restart(self.clock_rate());
        self.rest.clear();
        self.decoder.reset();
    }
}

/// Decodes a frame; one that cannot be decoded is concealed at its announced length.
fn decode(decoder: &mut dyn Decoder, clock: Scale, packet: &FrameRef<'_>, frame: &mut [i16]) -> usize {
    decoder.decode(packet.payload, frame).unwrap_or_else(|_| {
        let samples = clock.samples(packet.samples).min(frame.len());
        decoder.conceal(&mut frame[..samples]);
        samples
    })
}
