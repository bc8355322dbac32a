//! Packets in: where in media time a packet belongs, whether it can still be heard, and when the line must move to it.

use super::super::buffer::{Content, PacketInfo, Rejected};
use super::super::timeline::{MediaPosition, Newest};
use super::read::{Filler, Reader};
use super::{Phase, Playout};
use crate::ids::{ExtendedSequenceNumber, RtpTimestamp};
use crate::packet::RtpPacket;
use crate::sequence::{SequenceExtender, SequenceStep};

/// Packets that come this long after the last pull find nobody listening: what is stored is stale.
const UNHEARD_AFTER_NS: u64 = 250_000_000;
/// How long packets must be off the line, in arrivals, before the line moves to them.
const OFF_LINE_NS: u64 = 60_000_000;

impl Playout {
    pub(super) fn accept(
        &mut self,
        arrival_ns: u64,
        packet: &RtpPacket<'_>,
        content: Content,
    ) -> Result<(), Rejected> {
        if content.samples() == Some(0) {
            return Err(Rejected::Empty);
        }
        if self.ssrc.replace(packet.ssrc()) != Some(packet.ssrc()) {
            self.drift.forget();
            self.extender = SequenceExtender::new();
            self.end_stream();
        } else if self.is_unheard(arrival_ns) {
            self.end_stream();
        }
        let sequence = match self.extender.extend(packet.sequence_number()) {
            SequenceStep::First(number) | SequenceStep::Ahead(number) | SequenceStep::Behind(number) => {
                number
            }
            SequenceStep::Jump => return Err(Rejected::SequenceJump),
            SequenceStep::Restarted(number) => {
                self.end_stream();
                number
            }
        };
        if let Err(reason @ (Rejected::Duplicate | Rejected::TooLarge)) =
            self.buffer.check(sequence, packet.payload().len())
        {
            return Err(reason);
        }
        let position = match content.samples() {
            Some(samples) => {
                let place = Newest {
                    sequence,
                    position: self.reader.position,
                    samples,
                };
                self.place_audio(arrival_ns, place, packet)?
            }
            None => match self.place_other(arrival_ns, sequence, packet, content) {
                Some(position) => position,
                // Nothing is playing: there is no audio whose place this could take.
                None => return Ok(()),
            },
        };
        let info = PacketInfo {
            sequence,
            position,
            content,
            payload_type: packet.payload_type(),
            marker: packet.marker(),
            timestamp: packet.timestamp(),
        };
        if let Some(samples) = content.samples() {
            self.bound_depth(position.plus(i64::from(samples)), samples);
        }
        let payload = match content {
            Content::NoAudio => &[],
            _ => packet.payload(),
        };
        self.buffer.insert(info, payload)?;
        if let (Phase::Idle, Some(samples)) = (self.phase, content.samples()) {
            self.counters.streams += 1;
            let start_ns = arrival_ns.saturating_add(self.policy.start_margin_ns());
            self.phase = Phase::Waiting { start_ns, samples };
        }
        Ok(())
    }

    /// Makes room for audio up to `end`: when more would wait than the bound allows, the oldest goes. On the line this never
    /// happens; it takes a burst, such as one that follows a stall in which the stream was given up.
    fn bound_depth(&mut self, end: MediaPosition, samples: u32) {
        let bound = self
            .config
            .clock_rate
            .units(self.config.max_delay_ns)
            .cast_signed();
        let slack = 2 * i64::from(self.policy.tick_samples()) + i64::from(samples);
        let Some(oldest) = self.buffer.front().map(|front| front.position) else {
            return;
        };
        if end.since(oldest.max(self.reader.position)) <= bound + slack {
            return;
        }
        let keep_from = end.plus(-bound);
        while self
            .buffer
            .front()
            .is_some_and(|front| front.position < keep_from)
        {
            self.bursts.missing(self.buffer.missing_before_front() + 1);
            self.buffer.pop_front();
            self.counters.overtaken += 1;
        }
        if self.phase == Phase::Playing {
            let keep_from = self.buffer.front().map_or(keep_from, |front| front.position);
            let dropped = keep_from.since(self.reader.position).max(0);
            self.reader = Reader {
                position: self.reader.position.plus(dropped),
                ..self.reader
            };
            self.reader.last_end = self.reader.position;
            if dropped > 0 {
                self.counters.dropped_samples += dropped.unsigned_abs();
                self.policy.cut_short(dropped);
            }
        }
    }

    /// Tells whether nobody has pulled for so long that what is stored is of no use.
    fn is_unheard(&self, arrival_ns: u64) -> bool {
        let since_ns = match (self.phase, self.policy.last_tick_ns()) {
            (Phase::Waiting { start_ns, .. }, _) => start_ns,
            (Phase::Playing, Some(at_ns)) => at_ns,
            _ => return false,
        };
        arrival_ns.saturating_sub(since_ns) > UNHEARD_AFTER_NS
    }

    /// Finds the place of a packet without audio: that of its timestamp if this fits the line, else after all audio so far.
    /// A telephone-event carries the timestamp of its start, which may be long past.
    fn place_other(
        &self,
        arrival_ns: u64,
        sequence: ExtendedSequenceNumber,
        packet: &RtpPacket<'_>,
        content: Content,
    ) -> Option<MediaPosition> {
        let newest = self.timeline.newest()?;
        let stated = self.timeline.position(sequence, packet.timestamp())?;
        let fits = self
            .policy
            .lateness_ns(stated, arrival_ns)
            .is_none_or(|late| self.policy.is_on_line(late));
        Some(if content == Content::ComfortNoise && fits {
            stated
        } else {
            newest.end()
        })
    }

    /// Finds the place of an audio packet; `packet_place.position` is where the first packet of a stream goes.
    fn place_audio(
        &mut self,
        arrival_ns: u64,
        place: Newest,
        packet: &RtpPacket<'_>,
    ) -> Result<MediaPosition, Rejected> {
        let (sequence, timestamp) = (place.sequence, packet.timestamp());
        let (Some(newest), Some(stated)) = (
            self.timeline.newest(),
            self.timeline.position(sequence, timestamp),
        ) else {
            self.timeline.advance(place, timestamp);
            return Ok(place.position);
        };
        if sequence <= newest.sequence {
            return self.admit(
                arrival_ns,
                Newest {
                    position: stated,
                    ..place
                },
                false,
            );
        }
        let position = snap(&newest, sequence, stated);
        let lateness_ns = self.policy.lateness_ns(position, arrival_ns);
        let on_line = lateness_ns.is_none_or(|late| self.policy.is_on_line(late));
        let goes_on = position == newest.expected(sequence);
        if position < newest.end() || (!on_line && !goes_on) {
            return Ok(self.bridge(arrival_ns, Newest { position, ..place }, timestamp));
        }
        if lateness_ns.is_some_and(|late| late > 0) && !on_line {
            return self.take_off_line(arrival_ns, Newest { position, ..place }, packet);
        }
        self.off_line = None;
        self.timeline.advance(Newest { position, ..place }, timestamp);
        self.admit(
            arrival_ns,
            Newest { position, ..place },
            position > newest.expected(sequence),
        )
    }

    /// Lets a packet on the line in, unless its place was filled already; a late one may move the line instead, the more readily
    /// when it begins a talkspurt after a pause.
    fn admit(
        &mut self,
        arrival_ns: u64,
        place: Newest,
        after_pause: bool,
    ) -> Result<MediaPosition, Rejected> {
        let Some(lateness_ns) = self.policy.lateness_ns(place.position, arrival_ns) else {
            return Ok(place.position);
        };
        let clock_rate = self.config.clock_rate;
        let media_ns = clock_rate.nanoseconds(place.position.0.max(0).cast_unsigned());
        self.drift.record(arrival_ns, media_ns);
        let duration_ns = clock_rate.nanoseconds(u64::from(place.samples));
        self.policy.record(arrival_ns, lateness_ns, duration_ns);
        if self.reader.position.since(place.position) > 0 {
            self.grow_for(place.position, after_pause);
        }
        if place.end() <= self.reader.position {
            Err(Rejected::Late)
        } else {
            Ok(place.position)
        }
    }

    /// Adds the delay that the policy wishes, or that lets a talkspurt's first packet in: in silence that is not heard.
    fn grow_for(&mut self, position: MediaPosition, after_pause: bool) {
        let behind = self.reader.position.since(position).max(0).cast_unsigned();
        let to_cover = behind.next_multiple_of(u64::from(self.policy.tick_samples()));
        let in_silence =
            after_pause && self.reader.filler != Filler::Concealment && position >= self.reader.last_end;
        let wanted = self.policy.wish().urgent;
        let to_cover = u32::try_from(to_cover).unwrap_or(u32::MAX);
        let samples = i64::from(if in_silence {
            to_cover.max(wanted).min(self.policy.room_to_grow())
        } else if self.scales_speech {
            // What this packet needs has been heard already; the rest sounds better stretched than made up.
            to_cover.min(wanted)
        } else {
            wanted
        });
        // What was filled since the last packet turns into delay; only the rest has yet to be heard.
        let filled = self.reader.position.since(self.reader.last_end).clamp(0, samples);
        self.reader.position = self.reader.position.plus(-filled);
        self.reader.insert += u32::try_from(samples - filled).unwrap_or(0);
        self.delay_by(samples);
    }

    /// Timestamps broke off: the packet follows on what was received if that is in time, else it is due as a first packet is.
    fn bridge(&mut self, arrival_ns: u64, place: Newest, timestamp: RtpTimestamp) -> MediaPosition {
        self.counters.breaks += 1;
        self.drift.break_off();
        self.off_line = None;
        let newest_end = self
            .timeline
            .newest()
            .map_or(place.position, |newest| newest.end());
        let follows_on = newest_end.max(self.reader.position);
        let in_time = newest_end >= self.reader.position
            && self
                .policy
                .lateness_ns(follows_on, arrival_ns)
                .is_none_or(|late| late <= 0 && self.policy.is_on_line(late));
        let due_ns = arrival_ns.saturating_add(self.policy.start_margin_ns());
        let position = match self.policy.position_at(due_ns) {
            Some(position) if !in_time => position.max(follows_on),
            _ => follows_on,
        };
        self.timeline.break_off(Newest { position, ..place }, timestamp);
        position
    }

    /// A packet that is later than any adaptation could mend, though sequence and timestamp go on: after a stall of the network
    /// those behind it will be in time again; after a pause in which the sender's clock stood still they will not.
    fn take_off_line(
        &mut self,
        arrival_ns: u64,
        place: Newest,
        packet: &RtpPacket<'_>,
    ) -> Result<MediaPosition, Rejected> {
        let (since_ns, packets) = self
            .off_line
            .map_or((arrival_ns, 1), |(since, packets)| (since, packets + 1));
        self.off_line = Some((since_ns, packets));
        let stays_off = packets >= 3 && arrival_ns.saturating_sub(since_ns) >= OFF_LINE_NS;
        if packet.marker() || stays_off {
            return Ok(self.bridge(arrival_ns, place, packet.timestamp()));
        }
        self.timeline.advance(place, packet.timestamp());
        Err(Rejected::Late)
    }
}

/// Joins a packet to the one directly before it when its timestamp is off by less than half a packet: such a difference is
/// neither loss nor silence but a sender that reads its timestamps off a clock.
fn snap(newest: &Newest, sequence: ExtendedSequenceNumber, stated: MediaPosition) -> MediaPosition {
    let follows = sequence.0 == newest.sequence.0 + 1;
    let off = stated.since(newest.end()).unsigned_abs();
    if follows && off < u64::from(newest.samples) / 2 {
        newest.end()
    } else {
        stated
    }
}
