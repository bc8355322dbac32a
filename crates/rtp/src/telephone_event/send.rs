//! DTMF digits as RTP packets (RFC 4733 §2.5.1, sending side). Owns the queue of digits and pauses and the state of what sounds;
//! numbers no packets and knows no sockets.

use super::{DtmfDigit, SEGMENT_UNITS};
use crate::ids::{ClockRate, RtpTimestamp};

/// Digits and pauses that can wait, the one that sounds not counted.
pub const MAX_QUEUED_DIGITS: usize = 32;
/// Shortest digit sent in ms: what ITU-T Q.24 asks receivers to recognise.
pub const MIN_DIGIT_MS: u32 = 40;
/// Longest digit sent in ms.
pub const MAX_DIGIT_MS: u32 = 60_000;

/// Time between two digits. Gateways turn events back into tones, whose receivers want a pause of 40 ms or more (ITU-T Q.24).
const PAUSE_MS: u32 = 100;
/// The last packet of an event is sent this often (RFC 4733 §2.5.1.4).
const LAST_PACKETS: u8 = 3;
const END: u8 = 0x80;
const MAX_VOLUME: u8 = 63;

/// There is no room for another digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_QUEUED_DIGITS} digits are waiting to be sent")]
pub struct QueueFull;

/// One packet to send in place of audio or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// When the event (its segment) began: not the media time of the slot.
    pub timestamp: RtpTimestamp,
    /// Set on the first packet of an event.
    pub marker: bool,
    /// RFC 4733 §2.3.
    pub payload: [u8; 4],
}

/// What goes out in one packet slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSlot {
    packets: [EventPacket; 2],
    count: usize,
    /// A digit sounds: audio of this slot is not sent. Otherwise the packets are copies, sent beside the audio.
    pub replaces_audio: bool,
}

impl EventSlot {
    /// The packets in the order to send them: one or two.
    #[must_use]
    pub fn packets(&self) -> &[EventPacket] {
        &self.packets[..self.count]
    }

    const fn one(packet: EventPacket, replaces_audio: bool) -> Self {
        Self {
            packets: [packet, packet],
            count: 1,
            replaces_audio,
        }
    }
}

/// A digit that begins soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextDigit {
    /// Nothing but the caller's own wish keeps it from beginning in this very slot.
    pub at_once: bool,
}

#[derive(Debug, Clone, Copy)]
struct Digit {
    digit: DtmfDigit,
    duration_ms: u32,
    volume: u8,
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy)]
enum Queued {
    Digit(Digit),
    /// Silence of this many ms, beside the pause between digits.
    Pause(u32),
}

#[derive(Debug, Clone, Copy)]
struct Sounding {
    digit: Digit,
    /// Units of the whole digit that are still to come, this slot's included.
    left: u32,
    /// Start and duration of the segment.
    timestamp: RtpTimestamp,
    units: u32,
    marker: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing sounds; the next digit may begin after this many ms.
    Silent {
        pause_ms: u32,
    },
    Sounding(Sounding),
}

/// Sends digits to one peer, one after the other.
///
/// A leg asks it once per packet slot, and sends what it says instead of audio or along with it:
/// ```
/// use confab_rtp::{ClockRate, DtmfDigit, PayloadType, RtpSender, RtpTimestamp, SequenceNumber, Ssrc, TelephoneEventSender};
/// let mut rtp = RtpSender::new(Ssrc(1), SequenceNumber(9), RtpTimestamp(1000));
/// let mut digits = TelephoneEventSender::new(ClockRate::HZ_8000);
/// digits.send(DtmfDigit::from_key('5').expect("a key"), 100, 10)?;
///
/// let mut sent = Vec::new();
/// for _ in 0..8 {
///     let slot = digits.slot(rtp.timestamp(), 20);
///     for packet in slot.iter().flat_map(|slot| slot.packets()) {
///         sent.push(rtp.event_packet(PayloadType::from_low_bits(101), packet.timestamp, packet.marker, 4));
///     }
///     if slot.is_some_and(|slot| slot.replaces_audio) {
///         rtp.skip(160);
///     } else {
///         rtp.next_packet(PayloadType::PCMU, 160, 160);
///     }
/// }
/// assert_eq!(sent.len(), 5 + 2, "five packets of 20 ms, the last of them three times");
/// assert!(sent.iter().all(|header| header.timestamp == RtpTimestamp(1000)));
/// # Ok::<(), confab_rtp::telephone_event::QueueFull>(())
/// ```
#[derive(Debug, Clone)]
pub struct TelephoneEventSender {
    clock_rate: ClockRate,
    queue: [Queued; MAX_QUEUED_DIGITS],
    first: usize,
    queued: usize,
    state: State,
    /// The last packet of a digit and how often it is still to be sent.
    last: Option<(EventPacket, u8)>,
}

impl TelephoneEventSender {
    /// Makes a sender; `clock_rate` is that of the telephone-event payload type, and should be that of the audio beside it
    /// (RFC 4733 §2.1): timestamps come from there.
    #[must_use]
    pub fn new(clock_rate: ClockRate) -> Self {
        Self {
            clock_rate,
            queue: [Queued::Pause(0); MAX_QUEUED_DIGITS],
            first: 0,
            queued: 0,
            state: State::Silent { pause_ms: 0 },
            last: None,
        }
    }

    /// Queues a digit of `duration_ms` (held to [`MIN_DIGIT_MS`]–[`MAX_DIGIT_MS`]) at `volume` −dBm0 (held to 63; RFC 4733 wants
    /// 0 to 36 for DTMF).
    ///
    /// # Errors
    /// [`QueueFull`]; nothing was queued.
    pub fn send(&mut self, digit: DtmfDigit, duration_ms: u32, volume: u8) -> Result<(), QueueFull> {
        self.push(Queued::Digit(Digit {
            digit,
            duration_ms: duration_ms.clamp(MIN_DIGIT_MS, MAX_DIGIT_MS),
            volume: volume.min(MAX_VOLUME),
        }))
    }

    /// Queues a pause of `duration_ms` (at most [`MAX_DIGIT_MS`]), in which audio is sent.
    ///
    /// # Errors
    /// [`QueueFull`]; nothing was queued.
    pub fn pause(&mut self, duration_ms: u32) -> Result<(), QueueFull> {
        self.push(Queued::Pause(duration_ms.min(MAX_DIGIT_MS)))
    }

    fn push(&mut self, queued: Queued) -> Result<(), QueueFull> {
        if self.queued == MAX_QUEUED_DIGITS {
            return Err(QueueFull);
        }
        self.queue[(self.first + self.queued) % MAX_QUEUED_DIGITS] = queued;
        self.queued += 1;
        Ok(())
    }

    /// Returns how many digits and pauses wait.
    #[must_use]
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// Returns what to send in the slot of `slot_ms` that begins at media time `timestamp`; `None` when it is audio's alone.
    pub fn slot(&mut self, timestamp: RtpTimestamp, slot_ms: u32) -> Option<EventSlot> {
        let copy = self.copy_of_last();
        match self.state {
            State::Silent { pause_ms } if pause_ms > 0 || copy.is_some() || self.queued == 0 => {
                let pause_ms = pause_ms.saturating_sub(slot_ms);
                self.state = State::Silent { pause_ms };
                copy.map(|packet| EventSlot::one(packet, false))
            }
            State::Silent { .. } => match self.take_queued() {
                Queued::Digit(digit) => {
                    let sounding = Sounding {
                        digit,
                        left: self.units(digit.duration_ms),
                        timestamp,
                        units: 0,
                        marker: true,
                    };
                    Some(self.sound(sounding, slot_ms))
                }
                Queued::Pause(pause_ms) => {
                    let pause_ms = pause_ms.saturating_sub(slot_ms);
                    self.state = State::Silent { pause_ms };
                    None
                }
            },
            State::Sounding(sounding) => Some(self.sound(sounding, slot_ms)),
        }
    }

    /// Tells whether a digit can begin in the slot after this one of `slot_ms`, so that the audio can make way for it. With
    /// `at_once` it could begin in this one.
    #[must_use]
    pub fn next_begins(&self, slot_ms: u32) -> Option<NextDigit> {
        let State::Silent { pause_ms } = self.state else {
            return None;
        };
        let copies = self.last.map_or(0, |(_, left)| left);
        let is_digit = self.queued > 0 && matches!(self.queue[self.first], Queued::Digit(_));
        (is_digit && pause_ms <= slot_ms && copies <= 1).then_some(NextDigit {
            at_once: pause_ms == 0 && copies == 0,
        })
    }

    /// Tells whether nothing waits, sounds or is still to be repeated.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.queued == 0 && self.last.is_none() && matches!(self.state, State::Silent { .. })
    }

    /// Forgets all digits, for a new payload type or clock. One that sounds stays without an end, as after a loss.
    pub fn restart(&mut self, clock_rate: ClockRate) {
        *self = Self::new(clock_rate);
    }

    fn take_queued(&mut self) -> Queued {
        let queued = self.queue[self.first];
        self.first = (self.first + 1) % MAX_QUEUED_DIGITS;
        self.queued -= 1;
        queued
    }

    fn copy_of_last(&mut self) -> Option<EventPacket> {
        let (packet, left) = self.last?;
        self.last = (left > 1).then_some((packet, left - 1));
        Some(packet)
    }

    /// Lets a slot of the digit pass.
    fn sound(&mut self, mut sounding: Sounding, slot_ms: u32) -> EventSlot {
        let units = self.units(slot_ms).min(sounding.left);
        sounding.left -= units;
        sounding.units += units;
        let end_of_segment = (sounding.units > SEGMENT_UNITS).then(|| {
            let packet = sounding.packet(SEGMENT_UNITS, false);
            sounding.timestamp = sounding.timestamp.wrapping_add(SEGMENT_UNITS);
            sounding.units -= SEGMENT_UNITS;
            packet
        });
        let ends = sounding.left == 0;
        let packet = sounding.packet(sounding.units, ends);
        sounding.marker = false;
        if ends {
            self.last = Some((packet, LAST_PACKETS - 1));
            self.state = State::Silent { pause_ms: PAUSE_MS };
        } else {
            self.state = State::Sounding(sounding);
        }
        match end_of_segment {
            Some(first) => EventSlot {
                packets: [first, packet],
                count: 2,
                replaces_audio: true,
            },
            None => EventSlot::one(packet, true),
        }
    }

    fn units(&self, ms: u32) -> u32 {
        let units = self.clock_rate.units(u64::from(ms) * 1_000_000);
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

impl Sounding {
    fn packet(&self, units: u32, end: bool) -> EventPacket {
        let [high, low] = u16::try_from(units).unwrap_or(u16::MAX).to_be_bytes();
        let flags = if end { END } else { 0 } | self.digit.volume;
        EventPacket {
            timestamp: self.timestamp,
            marker: self.marker,
            payload: [self.digit.digit.event(), flags, high, low],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PayloadType, SequenceNumber, Ssrc};
    use crate::packet::RtpPacket;
    use crate::sender::RtpSender;
    use crate::telephone_event::{DtmfEnd, DtmfEvent, TelephoneEventReceiver};

    struct Line {
        rtp: RtpSender,
        digits: TelephoneEventSender,
        receiver: TelephoneEventReceiver,
        clock_rate: ClockRate,
        now_ns: u64,
        slot_ms: u32,
        packets: Vec<EventPacket>,
        audio_slots: usize,
        heard: Vec<DtmfEvent>,
    }

    impl Line {
        fn new(hz: u32, slot_ms: u32) -> Self {
            let clock_rate = ClockRate::new(hz).unwrap();
            Self {
                rtp: RtpSender::new(Ssrc(1), SequenceNumber(65_530), RtpTimestamp(u32::MAX - 70_000)),
                digits: TelephoneEventSender::new(clock_rate),
                receiver: TelephoneEventReceiver::new(clock_rate),
                clock_rate,
                now_ns: 0,
                slot_ms,
                packets: Vec::new(),
                audio_slots: 0,
                heard: Vec::new(),
            }
        }

        fn dial(&mut self, keys: &str, duration_ms: u32) {
            for key in keys.chars() {
                self.digits
                    .send(DtmfDigit::from_key(key).unwrap(), duration_ms, 10)
                    .unwrap();
            }
        }

        /// Runs the slots of `ms`; packets whose number `lost` names do not arrive.
        fn run(&mut self, ms: u32, lost: impl Fn(usize) -> bool) {
            for _ in 0..ms / self.slot_ms {
                let slot = self.digits.slot(self.rtp.timestamp(), self.slot_ms);
                for packet in slot.iter().flat_map(|slot| slot.packets().iter().copied()) {
                    let header = self.rtp.event_packet(
                        PayloadType::from_low_bits(101),
                        packet.timestamp,
                        packet.marker,
                        4,
                    );
                    let mut bytes = [0; 16];
                    header.write(bytes.first_chunk_mut().unwrap());
                    bytes[12..].copy_from_slice(&packet.payload);
                    if !lost(self.packets.len()) {
                        let packet = RtpPacket::parse(&bytes).unwrap();
                        self.heard.extend(self.receiver.push(self.now_ns, &packet));
                    }
                    self.packets.push(packet);
                }
                let units = self.clock_rate.units(u64::from(self.slot_ms) * 1_000_000) as u32;
                if slot.is_some_and(|slot| slot.replaces_audio) {
                    self.rtp.skip(units);
                } else {
                    self.rtp.next_packet(PayloadType::PCMU, units, 160);
                    self.audio_slots += 1;
                }
                self.now_ns += u64::from(self.slot_ms) * 1_000_000;
                self.heard.extend(self.receiver.tick(self.now_ns));
            }
        }

        fn keys(&self) -> String {
            self.heard.iter().map(|event| event.digit.key()).collect()
        }
    }

    #[test]
    fn what_is_dialled_is_received_at_every_clock_and_packet_size() {
        for hz in [8000, 16_000, 48_000] {
            for slot_ms in [10, 20, 30, 60] {
                for lost in [
                    |_: usize| false,
                    |n: usize| n.is_multiple_of(3),
                    |n: usize| n % 2 == 1,
                ] {
                    let mut line = Line::new(hz, slot_ms);
                    line.dial("15500#*D0", 200);
                    line.run(6_000, lost);
                    let context = format!("{hz} Hz, {slot_ms} ms");
                    assert_eq!(line.keys(), "15500#*D0", "{context}");
                    assert!(line.digits.is_idle(), "{context}");
                }
            }
        }
    }

    #[test]
    fn durations_arrive_as_asked_for_even_beyond_one_segment() {
        for (hz, slot_ms, asked_ms, heard_ms) in [
            (8000, 20, 100, 100),
            (8000, 20, 1, 40),
            (8000, 20, 250, 250),
            (8000, 30, 8_000, 8_000),
            (8000, 20, 20_000, 20_000),
            (16_000, 60, 10_000, 10_000),
            (48_000, 60, 5_000, 5_000),
            (48_000, 20, u32::MAX, 60_000),
        ] {
            let mut line = Line::new(hz, slot_ms);
            line.dial("7", asked_ms);
            line.run(heard_ms + 1_000, |_| false);
            assert_eq!(line.heard.len(), 1, "{asked_ms} ms at {hz} Hz: {:?}", line.heard);
            assert!(
                line.heard[0].duration_ms.abs_diff(heard_ms) <= 1,
                "{asked_ms} ms at {hz} Hz: {:?}",
                line.heard
            );
            assert_eq!(line.heard[0].end, DtmfEnd::Marked);
        }
    }

    #[test]
    fn the_marker_is_on_the_first_packet_and_the_last_comes_three_times() {
        let mut line = Line::new(8000, 20);
        line.dial("9", 100);
        line.run(400, |_| false);
        let markers: Vec<_> = line.packets.iter().map(|packet| packet.marker).collect();
        assert_eq!(markers, [true, false, false, false, false, false, false]);
        let ends: Vec<_> = line.packets.iter().map(|packet| packet.payload[1] >> 7).collect();
        assert_eq!(ends, [0, 0, 0, 0, 1, 1, 1]);
        let durations: Vec<_> = line
            .packets
            .iter()
            .map(|packet| u16::from_be_bytes([packet.payload[2], packet.payload[3]]))
            .collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        assert_eq!(
            line.audio_slots,
            20 - 5,
            "only the digit itself takes the audio's place"
        );
    }

    #[test]
    fn pauses_wait_their_turn_and_a_digit_is_announced_a_slot_before() {
        let mut line = Line::new(8000, 20);
        line.dial("1", 60);
        line.digits.pause(200).unwrap();
        line.dial("2", 60);
        assert_eq!(line.digits.next_begins(20), Some(NextDigit { at_once: true }));
        line.digits.slot(line.rtp.timestamp(), 20);
        assert_eq!(line.digits.next_begins(20), None, "it sounds");
        let mut announced = Vec::new();
        for slot in 1..30 {
            if let Some(next) = line.digits.next_begins(20) {
                announced.push((slot, next.at_once));
            }
            line.digits.slot(line.rtp.timestamp(), 20);
        }
        // 60 ms of digit, 100 ms that lie between any two, 200 ms asked for: slot 18 is the first of the second digit.
        assert_eq!(announced, [(17, false), (18, true)]);
        assert_eq!(line.digits.queued(), 0);
    }

    #[test]
    fn between_two_digits_there_is_a_pause() {
        let mut line = Line::new(8000, 20);
        line.dial("11", 60);
        line.run(1_000, |_| false);
        let starts: Vec<_> = line
            .packets
            .iter()
            .filter(|packet| packet.marker)
            .map(|packet| packet.timestamp)
            .collect();
        assert_eq!(starts[1].signed_since(starts[0]), (60 + 100) * 8);
    }

    #[test]
    fn a_full_queue_refuses_and_a_restart_forgets() {
        let mut line = Line::new(8000, 20);
        line.dial(&"1".repeat(MAX_QUEUED_DIGITS), 100);
        let digit = DtmfDigit::from_key('2').unwrap();
        assert_eq!(line.digits.send(digit, 100, 10), Err(QueueFull));
        line.run(20, |_| false);
        assert_eq!(line.digits.send(digit, 100, 200), Ok(()));
        line.digits.restart(ClockRate::HZ_48000);
        assert!(line.digits.is_idle());
        assert_eq!(line.digits.slot(RtpTimestamp(0), 20), None);
    }
}
