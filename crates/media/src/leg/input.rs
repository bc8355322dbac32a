//! A leg's receiving half: reception statistics, digits, and what a packet is to them and to the jitter buffer. Knows
//! nothing of sockets, sources or the mix; decoding stands in `decode`.

use confab_codec::CodecKind;
use confab_rtp::{ClockRate, Content, Reception, ReceptionStatistics, Rejected, RtpPacket, Tick};

pub(crate) use super::decode::{Block, MAX_FRAME_SAMPLES};
use super::decode::{OPUS_PAUSE_OCTETS, Substitutes};
use super::digits::Digits;
use super::receiving::Receiving;
use super::session::Session;
use crate::metrics::DropReason;

/// Audio in a packet before one was seen, in nanoseconds.
const USUAL_PACKET_NS: u64 = 20_000_000;

/// The receiving half: what outlives a change of codec.
pub(crate) struct Input {
    pub(crate) reception: ReceptionStatistics,
    pub(crate) digits: Digits,
    /// Audio in the last packet, in nanoseconds: when to look for the next.
    packet_ns: u64,
    substitutes: Substitutes,
}

impl Input {
    pub(crate) fn new() -> Self {
        Input {
            reception: ReceptionStatistics::new(ClockRate::HZ_8000, 0),
            digits: Digits::new(),
            packet_ns: USUAL_PACKET_NS,
            substitutes: Substitutes::default(),
        }
    }

    /// Begins with a session's first stream, or with another codec.
    pub(crate) fn begin(&mut self, session: &Session) {
        self.reception.set_clock_rate(session.receiving.clock_rate());
    }

    /// Takes an accepted packet that is read at `now_ns`; `playing` tells whether its audio is wanted.
    pub(crate) fn push(
        &mut self,
        session: &mut Session,
        (arrival_ns, now_ns): (u64, u64),
        packet: &RtpPacket<'_>,
        playing: bool,
    ) -> Result<(), DropReason> {
        let content = self.content(session, packet)?;
        let receiving = &mut session.receiving;
        if let Some(samples) = content.samples() {
            self.packet_ns = receiving.clock_rate().nanoseconds(u64::from(samples));
        }
        if content == Content::NoAudio {
            self.reception.received_untimed(packet);
            let heard_until_ns = now_ns.saturating_add(receiving.playout.buffered_ns());
            self.digits.event(arrival_ns, packet, heard_until_ns);
        } else if self.reception.received(arrival_ns, packet) == Reception::Duplicate {
            return Err(DropReason::Duplicate);
        }
        if playing {
            if receiving.kind == CodecKind::Opus && content != Content::NoAudio {
                receiving.note_fec(arrival_ns, packet.payload());
            }
            receiving
                .playout
                .push(arrival_ns, packet, content)
                .map_err(|rejected| self.drop_reason(rejected))?;
        } else if matches!(content, Content::Audio { .. }) {
            self.listen_at_once(receiving, arrival_ns, packet);
        }
        Ok(())
    }

    /// Looks for digits in a packet that nobody will hear.
    fn listen_at_once(&mut self, receiving: &mut Receiving, arrival_ns: u64, packet: &RtpPacket<'_>) {
        let Some(detector) = &mut receiving.detector else {
            return;
        };
        let mut frame = [0; MAX_FRAME_SAMPLES];
        if let Ok(samples) = receiving.decoder.decode(packet.payload(), &mut frame) {
            let digits = &mut self.digits;
            detector.process(&frame[..samples], |sound| digits.sound(arrival_ns, sound));
        }
    }

    /// Says what a packet carries, by its payload type.
    fn content(&mut self, session: &mut Session, packet: &RtpPacket<'_>) -> Result<Content, DropReason> {
        let payload_type = packet.payload_type();
        if Some(payload_type) == session.telephone_event_pt {
            return Ok(Content::NoAudio);
        }
        if !session.receiving.payload_types.contains(payload_type) {
            if session.is_comfort_noise(payload_type) {
                return Ok(Content::ComfortNoise);
            }
            if !session.change_codec(payload_type) {
                return Err(DropReason::PayloadType);
            }
            session.receiving.restart();
            self.begin(session);
        }
        let receiving = &session.receiving;
        let samples = receiving
            .decoder
            .samples(packet.payload())
            .map_err(|_| DropReason::Malformed)?;
        if samples > receiving.kind.max_frame_samples().min(MAX_FRAME_SAMPLES) {
            return Err(DropReason::Oversized);
        }
        let samples = receiving.scale().units(samples);
        let pauses = receiving.kind == CodecKind::Opus && packet.payload().len() <= OPUS_PAUSE_OCTETS;
        Ok(if pauses {
            Content::Dtx { samples }
        } else {
            Content::Audio { samples }
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

    /// Fills one block at the codec's rate with what is due, without the tones of digits. Frames whose score is not above
    /// `unheard` may be shortened or stretched.
    pub(crate) fn fill(
        &mut self,
        receiving: &mut Receiving,
        tick: Tick,
        out: &mut [i16],
        frame: &mut [i16; MAX_FRAME_SAMPLES],
        unheard: u16,
    ) -> Block {
        let block = receiving.fill(tick, out, frame, unheard, &mut self.substitutes);
        let digits = &mut self.digits;
        if let Some(detector) = &mut receiving.detector {
            detector.process(out, |sound| digits.sound(tick.at_ns, sound));
        }
        digits.keep_tones_out(tick.at_ns, receiving, out, block)
    }

    /// Returns the milliseconds of audio made up for lost packets.
    pub(crate) fn concealed_ms(&self) -> u64 {
        self.substitutes.concealed_ns / 1_000_000
    }

    /// Returns the milliseconds of lost audio that were restored from later packets.
    pub(crate) fn repaired_ms(&self) -> u64 {
        self.substitutes.repaired_ns / 1_000_000
    }
}
