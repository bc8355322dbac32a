//! Digits that a leg sends its peer as telephone-events (RFC 4733): what was asked for as text, the queue, and what is due in the
//! packet that is being completed. Numbers no packets and encodes no audio.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use confab_rtp::telephone_event::{EventSlot, MAX_QUEUED_DIGITS};
use confab_rtp::{ClockRate, DtmfDigit, PayloadType, RtpTimestamp, TelephoneEventSender};

use super::session::Session;
use crate::error::ControlError;
use crate::stats::StatsCell;

/// How long a digit sounds when nothing else is asked for: what phones send at a short press.
pub(crate) const USUAL_DIGIT_MS: u32 = 100;

/// Longest digit, in ms: at 8000 Hz it needs no second segment, whose timestamp would count in the clock of the events.
const LONGEST_DIGIT_MS: u32 = 6000;

/// −10 dBm0, as phones send.
const VOLUME: u8 = 10;

/// Audio fades out before a digit and in after it over this part of a second, 2 ms: it ends and begins anywhere in a waveform.
const FADES_PER_SECOND: u32 = 500;

/// Silence that follows the fade, for codecs that keep the end of a packet for the next one, as a part of a second: 8 ms, where
/// Opus keeps 6.5.
const TAILS_PER_SECOND: u32 = 125;

/// One thing to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialled {
    Digit(DtmfDigit),
    PauseMs(u32),
}

/// Digits and pauses to send, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialling {
    sequence: Vec<Dialled>,
    duration_ms: u32,
}

impl Dialling {
    /// Reads `0`–`9`, `*`, `#`, `A`–`D` (in either case), and the pauses `w` (0.5 s), `W` (1 s) and `,` (2 s).
    pub(crate) fn parse(text: &str, duration_ms: u32) -> Result<Self, ControlError> {
        let read = |key: char| {
            Some(match key {
                'w' => Dialled::PauseMs(500),
                'W' => Dialled::PauseMs(1000),
                ',' => Dialled::PauseMs(2000),
                key => Dialled::Digit(DtmfDigit::from_key(key)?),
            })
        };
        let sequence: Option<Vec<_>> = text.chars().take(MAX_QUEUED_DIGITS + 1).map(read).collect();
        let sequence = sequence.ok_or(ControlError::NoDigit)?;
        if sequence.len() > MAX_QUEUED_DIGITS {
            return Err(ControlError::DigitsFull);
        }
        Ok(Dialling {
            sequence,
            duration_ms: duration_ms.clamp(1, LONGEST_DIGIT_MS),
        })
    }

    /// Returns how many places of the queue it takes.
    pub(crate) fn len(&self) -> u32 {
        self.sequence.len() as u32 // at most MAX_QUEUED_DIGITS
    }
}

/// What becomes of the audio of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audio {
    /// It is sent as ever.
    Sent,
    /// It is sent, begins softly or makes way for a digit; the packet is the leg's own.
    Faded { fades_in: bool, fades_out: bool },
    /// It is left out.
    LeftOut,
}

/// A leg's digits on their way out.
pub(crate) struct Dialler {
    sender: TelephoneEventSender,
    clock: ClockRate,
    stats: Arc<StatsCell>,
    /// What goes out in the packet being completed.
    pub(crate) slot: Option<EventSlot>,
    /// The packet before was not audio: what comes next has to begin softly.
    resumes: bool,
    /// The audio has made way for the next digit.
    made_way: bool,
}

impl Dialler {
    pub(crate) fn new(stats: Arc<StatsCell>) -> Self {
        Dialler {
            sender: TelephoneEventSender::new(ClockRate::HZ_8000),
            clock: ClockRate::HZ_8000,
            stats,
            slot: None,
            resumes: false,
            made_way: false,
        }
    }

    /// Goes on with a session: digits of another clock, or without a payload type, are not sent any more.
    pub(crate) fn begin(&mut self, session: &Session) {
        match session.event_clock {
            Some(clock) if clock == self.clock && session.event_send_pt.is_some() => {}
            clock => {
                self.clock = clock.unwrap_or(self.clock);
                self.forget();
            }
        }
    }

    /// Queues what was asked for.
    pub(crate) fn dial(&mut self, dialling: &Dialling) {
        for &dialled in &dialling.sequence {
            let queued = match dialled {
                Dialled::Digit(digit) => self.sender.send(digit, dialling.duration_ms, VOLUME),
                Dialled::PauseMs(ms) => self.sender.pause(ms),
            };
            if queued.is_err() {
                self.stats.dialling.fetch_sub(1, Relaxed);
            }
        }
    }

    /// Queues a digit that another leg's owner pressed; without room it is left out.
    pub(crate) fn pass_on(&mut self, digit: DtmfDigit, duration_ms: u32) {
        let duration_ms = match duration_ms {
            0 => USUAL_DIGIT_MS,
            known => known.min(LONGEST_DIGIT_MS),
        };
        if self.stats.reserve_dialling(1) && self.sender.send(digit, duration_ms, VOLUME).is_err() {
            self.stats.dialling.fetch_sub(1, Relaxed);
        }
    }

    /// Forgets what is queued and what sounds.
    pub(crate) fn forget(&mut self) {
        self.stats
            .dialling
            .fetch_sub(self.sender.queued() as u32, Relaxed);
        self.sender.restart(self.clock);
        (self.slot, self.made_way, self.resumes) = (None, false, false);
    }

    /// Finds out what goes out in the packet of `ptime_ms` that began at `timestamp`.
    pub(crate) fn complete(&mut self, timestamp: RtpTimestamp, ptime_ms: u16) -> Audio {
        let slot_ms = u32::from(ptime_ms);
        let next = self.sender.next_begins(slot_ms).filter(|_| !self.made_way);
        self.slot = match next {
            Some(next) if next.at_once => None,
            _ => self.advance(timestamp, slot_ms),
        };
        let fades_in = std::mem::take(&mut self.resumes);
        if self.slot.is_some_and(|slot| slot.replaces_audio) {
            (self.resumes, self.made_way) = (true, false);
            return Audio::LeftOut;
        }
        let fades_out = next.is_some();
        self.made_way |= fades_out;
        if fades_in || fades_out {
            Audio::Faded { fades_in, fades_out }
        } else {
            Audio::Sent
        }
    }

    fn advance(&mut self, timestamp: RtpTimestamp, slot_ms: u32) -> Option<EventSlot> {
        let queued = self.sender.queued();
        let slot = self.sender.slot(timestamp, slot_ms);
        let taken = queued - self.sender.queued();
        self.stats.dialling.fetch_sub(taken as u32, Relaxed);
        if slot.is_some_and(|slot| slot.packets().iter().any(|packet| packet.marker)) {
            self.stats.digits_sent.fetch_add(1, Relaxed);
        }
        slot
    }

    /// Returns whether there is nothing to do for the packets to come.
    pub(crate) fn is_idle(&self) -> bool {
        self.sender.is_idle() && !self.resumes
    }
}

/// Returns the payload type of the telephone-events that a session sends.
pub(crate) fn event_payload_type(session: &Session) -> Option<PayloadType> {
    session.event_clock.and(session.event_send_pt)
}

/// Fades in what is heard after a digit.
pub(crate) fn fade_in(pcm: &mut [i16], rate_hz: u32) {
    let length = ((rate_hz / FADES_PER_SECOND) as usize).min(pcm.len());
    fade(pcm.iter_mut().take(length), length);
}

/// Fades out what is heard before a digit; with `tail` some silence follows.
pub(crate) fn fade_out(pcm: &mut [i16], rate_hz: u32, tail: bool) {
    let silent = if tail {
        (rate_hz / TAILS_PER_SECOND) as usize
    } else {
        0
    };
    let (audio, silence) = pcm.split_at_mut(pcm.len().saturating_sub(silent));
    silence.fill(0);
    let length = ((rate_hz / FADES_PER_SECOND) as usize).min(audio.len());
    fade(audio.iter_mut().rev().take(length), length);
}

/// Weighs samples with 0 to 1.
fn fade<'a>(samples: impl Iterator<Item = &'a mut i16>, length: usize) {
    for (step, sample) in samples.enumerate() {
        *sample = (i32::from(*sample) * step as i32 / length as i32) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_pauses_are_read_and_nothing_else() {
        let digit = |key| Dialled::Digit(DtmfDigit::from_key(key).unwrap());
        let parsed = Dialling::parse("1w#,*WaD", 0).unwrap();
        let pause = Dialled::PauseMs;
        let expected = [
            digit('1'),
            pause(500),
            digit('#'),
            pause(2000),
            digit('*'),
            pause(1000),
            digit('A'),
            digit('D'),
        ];
        assert_eq!(
            (parsed.sequence.as_slice(), parsed.duration_ms),
            (&expected[..], 1)
        );
        assert_eq!(Dialling::parse("", 5).unwrap().len(), 0);
        for text in ["1 2", "E", "p", "\u{661}", "-"] {
            assert_eq!(Dialling::parse(text, 100), Err(ControlError::NoDigit), "{text}");
        }
        assert!(Dialling::parse(&"1".repeat(32), 100).is_ok());
        assert_eq!(
            Dialling::parse(&"1".repeat(33), 100),
            Err(ControlError::DigitsFull)
        );
        assert_eq!(Dialling::parse("1", u32::MAX).unwrap().duration_ms, 6000);
    }

    #[test]
    fn audio_fades_in_from_nothing_and_out_to_it() {
        let mut pcm = [1000; 160];
        fade_in(&mut pcm, 8000);
        assert_eq!((pcm[0], pcm[8], pcm[16]), (0, 500, 1000));
        fade_out(&mut pcm, 8000, false);
        assert_eq!((pcm[143], pcm[151], pcm[159]), (1000, 500, 0));
        let mut pcm = [1000; 160];
        fade_out(&mut pcm, 8000, true);
        assert_eq!((pcm[79], pcm[87], pcm[95], pcm[96]), (1000, 500, 0, 0));
        for length in 0..20 {
            fade_in(&mut pcm[..length], 8000);
            fade_out(&mut pcm[..length], 8000, length % 2 == 0);
        }
    }
}
