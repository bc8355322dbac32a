//! DTMF digits in RTP (RFC 4733). Owns the assembly of one event from its packets; sending stands in `send`. Knows no dial plan.
//!
//! All packets of one event carry the timestamp of its start, so the timestamp is the event's key: start packets,
//! updates, the usual three end packets and any duplicate or reordered copy are one digit. A digit is reported once, when
//! its end is known: by an end packet, by the first packet of the next digit, or by [`TelephoneEventReceiver::tick`]
//! when all end packets were lost.

use crate::ids::{ClockRate, RtpTimestamp, Ssrc};
use crate::packet::RtpPacket;

mod fuzz;
mod send;

pub use fuzz::fuzz_telephone_event;
pub use send::{
    EventPacket, EventSlot, MAX_DIGIT_MS, MAX_QUEUED_DIGITS, MIN_DIGIT_MS, NextDigit, QueueFull,
    TelephoneEventSender,
};

/// Silence after which an event without an end packet is taken as ended: four updates at the usual 50 ms.
pub const END_TIMEOUT_NS: u64 = 200_000_000;

/// The duration field's end: longer events go on in a new segment (RFC 4733 §2.5.1.3).
const SEGMENT_UNITS: u32 = 0xffff;

/// One of the sixteen DTMF digits (RFC 4733 §3.2, events 0 to 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DtmfDigit(u8);

impl DtmfDigit {
    /// Returns the digit of an event code, or `None` above 15.
    #[must_use]
    pub const fn from_event(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// Returns the digit of a key (`0`–`9`, `*`, `#`, `A`–`D`, `a`–`d`), or `None`.
    #[must_use]
    pub fn from_key(key: char) -> Option<Self> {
        let key = u8::try_from(key.to_ascii_uppercase()).ok()?;
        let code = KEYS.iter().position(|&k| k == key)?;
        u8::try_from(code).ok().map(Self)
    }

    /// The event code, 0 to 15.
    #[must_use]
    pub const fn event(self) -> u8 {
        self.0
    }

    /// The key: `0`–`9`, `*`, `#`, `A`–`D`.
    #[must_use]
    pub const fn key(self) -> char {
        KEYS[self.0 as usize] as char
    }
}

const KEYS: [u8; 16] = *b"0123456789*#ABCD";

/// How the end of a digit was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtmfEnd {
    /// A packet with the E bit.
    Marked,
    /// The next digit began; every end packet was lost.
    NextDigit,
    /// Nothing more came for [`END_TIMEOUT_NS`].
    Timeout,
}

/// A complete digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtmfEvent {
    /// Which key.
    pub digit: DtmfDigit,
    /// Longest duration seen, over all segments.
    pub duration_ms: u32,
    /// Power of the tone in −dBm0, 0 to 63; 0 is loudest.
    pub volume: u8,
    /// Timestamp of the start of the event (of its last segment, for digits beyond the duration field).
    pub timestamp: RtpTimestamp,
    /// How the end was seen.
    pub end: DtmfEnd,
}

/// What arrived, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TelephoneEventCounters {
    /// Packets of a DTMF event.
    pub packets: u64,
    /// Packets shorter than the four octets of an event.
    pub malformed: u64,
    /// Events above 15: flash, fax and modem signals.
    pub not_dtmf: u64,
    /// Packets of a digit already reported or older: retransmitted ends, reordered copies.
    pub repeated: u64,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    digit: DtmfDigit,
    timestamp: RtpTimestamp,
    volume: u8,
    /// Duration of the segments before this one, in units of the RTP clock.
    earlier: u32,
    duration: u16,
    last_arrival_ns: u64,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Sounding,
    Ended,
    Reported,
}

/// Assembles the DTMF digits of one stream.
#[derive(Debug, Clone)]
pub struct TelephoneEventReceiver {
    clock_rate: ClockRate,
    ssrc: Option<Ssrc>,
    event: Option<Event>,
    counters: TelephoneEventCounters,
}

impl TelephoneEventReceiver {
    /// Makes a receiver; `clock_rate` is that of the telephone-event payload type.
    #[must_use]
    pub const fn new(clock_rate: ClockRate) -> Self {
        Self {
            clock_rate,
            ssrc: None,
            event: None,
            counters: TelephoneEventCounters {
                packets: 0,
                malformed: 0,
                not_dtmf: 0,
                repeated: 0,
            },
        }
    }

    /// Takes a packet of the negotiated telephone-event payload type; returns a digit whose end it brought.
    ///
    /// A packet that ends one digit by beginning the next and also ends that one leaves the second digit to the next
    /// `push` or [`tick`](Self::tick).
    pub fn push(&mut self, arrival_ns: u64, packet: &RtpPacket<'_>) -> Option<DtmfEvent> {
        let &[code, flags, high, low, ..] = packet.payload() else {
            self.counters.malformed += 1;
            return self.take_ended();
        };
        let Some(digit) = DtmfDigit::from_event(code) else {
            self.counters.not_dtmf += 1;
            return self.take_ended();
        };
        self.counters.packets += 1;
        let update = Event {
            digit,
            timestamp: packet.timestamp(),
            volume: flags & 0x3f,
            earlier: 0,
            duration: u16::from_be_bytes([high, low]),
            last_arrival_ns: arrival_ns,
            progress: if flags & 0x80 == 0 {
                Progress::Sounding
            } else {
                Progress::Ended
            },
        };
        let same_source = self.ssrc.replace(packet.ssrc()) == Some(packet.ssrc());
        match &mut self.event {
            Some(event) if same_source && update.timestamp == event.timestamp => {
                if event.progress == Progress::Reported || event.digit != digit {
                    self.counters.repeated += 1;
                } else {
                    event.take_update(&update);
                }
                self.take_ended()
            }
            Some(event) if same_source && update.timestamp.signed_since(event.timestamp) < 0 => {
                self.counters.repeated += 1;
                self.take_ended()
            }
            Some(event) if same_source && !packet.marker() && event.continues_in(&update) => {
                event.next_segment(&update);
                self.take_ended()
            }
            _ => self.begin(update),
        }
    }

    /// Reports a digit that ended without notice; call it at every mix tick.
    pub fn tick(&mut self, now_ns: u64) -> Option<DtmfEvent> {
        let event = self.event.as_mut()?;
        match event.progress {
            Progress::Reported => None,
            Progress::Ended => self.take_ended(),
            Progress::Sounding if now_ns.saturating_sub(event.last_arrival_ns) < END_TIMEOUT_NS => None,
            Progress::Sounding => {
                event.progress = Progress::Reported;
                Some(event.report(self.clock_rate, DtmfEnd::Timeout))
            }
        }
    }

    /// The digit that sounds at `now_ns` as far as is known: its audio is not for the mix. From the first packet of an event until
    /// one says that it ended, or until [`END_TIMEOUT_NS`] after the last.
    #[must_use]
    pub fn sounding(&self, now_ns: u64) -> Option<DtmfDigit> {
        self.event
            .filter(|event| event.progress == Progress::Sounding)
            .filter(|event| now_ns.saturating_sub(event.last_arrival_ns) < END_TIMEOUT_NS)
            .map(|event| event.digit)
    }

    /// Forgets the event being assembled, for a new clock; counters stay.
    pub fn restart(&mut self, clock_rate: ClockRate) {
        self.clock_rate = clock_rate;
        self.ssrc = None;
        self.event = None;
    }

    /// Packets by kind since construction.
    #[must_use]
    pub const fn counters(&self) -> &TelephoneEventCounters {
        &self.counters
    }

    fn begin(&mut self, next: Event) -> Option<DtmfEvent> {
        let previous = self.event.replace(next);
        match previous {
            Some(event) if event.progress == Progress::Ended => {
                Some(event.report(self.clock_rate, DtmfEnd::Marked))
            }
            Some(event) if event.progress == Progress::Sounding => {
                Some(event.report(self.clock_rate, DtmfEnd::NextDigit))
            }
            _ => self.take_ended(),
        }
    }

    fn take_ended(&mut self) -> Option<DtmfEvent> {
        let event = self
            .event
            .as_mut()
            .filter(|event| event.progress == Progress::Ended)?;
        event.progress = Progress::Reported;
        Some(event.report(self.clock_rate, DtmfEnd::Marked))
    }
}

impl Event {
    fn take_update(&mut self, update: &Self) {
        // An update that was overtaken by a later one is shorter.
        self.duration = self.duration.max(update.duration);
        self.last_arrival_ns = update.last_arrival_ns;
        if update.progress == Progress::Ended {
            self.progress = Progress::Ended;
        }
    }

    fn continues_in(&self, next: &Self) -> bool {
        let step = next.timestamp.0.wrapping_sub(self.timestamp.0);
        self.progress == Progress::Sounding
            && self.digit == next.digit
            && (step == SEGMENT_UNITS || (self.duration > 0 && step == u32::from(self.duration)))
    }

    fn next_segment(&mut self, next: &Self) {
        let step = next.timestamp.0.wrapping_sub(self.timestamp.0);
        let earlier = self.earlier.saturating_add(step);
        *self = Self { earlier, ..*next };
    }

    fn report(&self, clock_rate: ClockRate, end: DtmfEnd) -> DtmfEvent {
        let units = u64::from(self.earlier) + u64::from(self.duration);
        DtmfEvent {
            digit: self.digit,
            duration_ms: u32::try_from(clock_rate.nanoseconds(units) / 1_000_000).unwrap_or(u32::MAX),
            volume: self.volume,
            timestamp: self.timestamp,
            end,
        }
    }
}

#[cfg(test)]
mod tests;
