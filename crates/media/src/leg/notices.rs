//! What a leg has to tell and has not told yet. State is kept until the event ring takes it; of levels only the last
//! one counts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::{LegId, MediaEvent};

/// Digits that may wait for the event ring; it is full for a few milliseconds at worst, a digit takes 40 ms.
const DIGITS: usize = 16;

/// Shortest time between two level events of one leg.
const ENERGY_INTERVAL_NS: u64 = 500_000_000;

/// Where events go; returns whether there was room.
pub(crate) trait EventSink {
    /// Hands an event over.
    fn event(&mut self, event: MediaEvent) -> bool;

    /// Hands over an event that may as well be left out when others are waiting.
    fn level(&mut self, event: MediaEvent) -> bool;
}

/// The untold state of one leg.
#[derive(Debug)]
pub(crate) struct Notices {
    leg: LegId,
    talking: bool,
    talking_told: bool,
    energy_told_ns: u64,
    digits: Box<[Option<(char, u32)>; DIGITS]>,
    latched: Option<SocketAddr>,
    timeout_ns: u64,
    heard_ns: u64,
    /// How many times the timeout has passed since the leg was heard, as told.
    timeouts_told: u64,
    /// Something but a timeout or level waits to be told.
    pub(crate) waiting: bool,
}

impl Notices {
    pub(crate) fn new(leg: LegId, timeout: Duration) -> Self {
        Notices {
            leg,
            talking: false,
            talking_told: false,
            energy_told_ns: 0,
            digits: Box::new([None; DIGITS]),
            latched: None,
            timeout_ns: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1),
            heard_ns: 0,
            timeouts_told: 0,
            waiting: false,
        }
    }

    /// Media, or the beginning of a session, was seen.
    pub(crate) fn heard(&mut self, now_ns: u64) {
        self.heard_ns = self.heard_ns.max(now_ns);
        self.waiting |= self.timeouts_told > 0;
    }

    pub(crate) fn is_talking(&self) -> bool {
        self.talking
    }

    pub(crate) fn talking(&mut self, talking: bool) {
        self.talking = talking;
        self.waiting |= talking != self.talking_told;
    }

    /// Keeps a digit; beyond [`DIGITS`] untold ones the newest is lost.
    pub(crate) fn digit(&mut self, digit: char, duration_ms: u32) {
        if let Some(free) = self.digits.iter_mut().find(|waiting| waiting.is_none()) {
            *free = Some((digit, duration_ms));
            self.waiting = true;
        }
    }

    pub(crate) fn latched(&mut self, remote: SocketAddr) {
        self.latched = Some(remote);
        self.waiting = true;
    }

    /// Tells the level of a talker, if it is time.
    pub(crate) fn level(&mut self, now_ns: u64, score: u16, sink: &mut impl EventSink) {
        if now_ns.saturating_sub(self.energy_told_ns) >= ENERGY_INTERVAL_NS
            && sink.level(MediaEvent::Energy { leg: self.leg, score })
        {
            self.energy_told_ns = now_ns;
        }
    }

    /// Tells a timeout that passed since the leg was last heard.
    pub(crate) fn check_timeout(&mut self, now_ns: u64, sink: &mut impl EventSink) {
        let silent_ns = now_ns.saturating_sub(self.heard_ns);
        let passed = silent_ns / self.timeout_ns;
        let silent = Duration::from_nanos(passed.saturating_mul(self.timeout_ns));
        if passed > self.timeouts_told
            && sink.event(MediaEvent::MediaTimeout {
                leg: self.leg,
                silent,
            })
        {
            self.timeouts_told = passed;
        }
    }

    /// Tells what waits, as far as there is room.
    pub(crate) fn tell(&mut self, now_ns: u64, sink: &mut impl EventSink) {
        self.waiting = !self.tell_all(now_ns, sink);
    }

    fn tell_all(&mut self, now_ns: u64, sink: &mut impl EventSink) -> bool {
        let leg = self.leg;
        if self.timeouts_told > 0 && now_ns.saturating_sub(self.heard_ns) < self.timeout_ns {
            if !sink.event(MediaEvent::MediaResumed { leg }) {
                return false;
            }
            self.timeouts_told = 0;
        }
        if let Some(remote) = self.latched {
            if !sink.event(MediaEvent::Latched { leg, remote }) {
                return false;
            }
            self.latched = None;
        }
        if self.talking != self.talking_told {
            if !sink.event(MediaEvent::Talking {
                leg,
                talking: self.talking,
            }) {
                return false;
            }
            self.talking_told = self.talking;
        }
        self.tell_digits(sink)
    }

    fn tell_digits(&mut self, sink: &mut impl EventSink) -> bool {
        while let Some((digit, duration_ms)) = self.digits[0] {
            if !sink.event(MediaEvent::Dtmf {
                leg: self.leg,
                digit,
                duration_ms,
            }) {
                return false;
            }
            self.digits.copy_within(1.., 0);
            self.digits[DIGITS - 1] = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEG: LegId = LegId(1);
    const SECOND: u64 = 1_000_000_000;

    /// Takes as many events as it has room for.
    struct Taker {
        room: usize,
        taken: Vec<MediaEvent>,
    }

    impl EventSink for Taker {
        fn event(&mut self, event: MediaEvent) -> bool {
            let fits = self.taken.len() < self.room;
            if fits {
                self.taken.push(event);
            }
            fits
        }

        fn level(&mut self, event: MediaEvent) -> bool {
            self.event(event)
        }
    }

    fn notices() -> (Notices, Taker) {
        (
            Notices::new(LEG, Duration::from_secs(60)),
            Taker {
                room: 100,
                taken: Vec::new(),
            },
        )
    }

    #[test]
    fn state_waits_for_room_and_only_its_last_value_is_told() {
        let (mut notices, mut taker) = notices();
        taker.room = 0;
        notices.talking(true);
        notices.digit('1', 100);
        notices.digit('2', 90);
        notices.tell(0, &mut taker);
        assert!(notices.waiting);
        notices.talking(false);
        notices.talking(true);
        taker.room = 2;
        notices.tell(0, &mut taker);
        assert!(notices.waiting);
        taker.room = 9;
        notices.tell(0, &mut taker);
        assert!(!notices.waiting);
        let digit = |digit, duration_ms| MediaEvent::Dtmf {
            leg: LEG,
            digit,
            duration_ms,
        };
        let talking = MediaEvent::Talking {
            leg: LEG,
            talking: true,
        };
        assert_eq!(taker.taken, [talking, digit('1', 100), digit('2', 90)]);
        notices.talking(false);
        notices.talking(true);
        assert!(
            !notices.waiting || {
                notices.tell(0, &mut taker);
                taker.taken.len() == 3
            },
            "no change, no event"
        );
    }

    #[test]
    fn silence_is_told_each_time_the_timeout_passes_and_its_end_once() {
        let (mut notices, mut taker) = notices();
        notices.heard(SECOND);
        let mut check = |notices: &mut Notices, second: u64| {
            taker.taken.clear();
            notices.check_timeout(second * SECOND, &mut taker);
            notices.tell(second * SECOND, &mut taker);
            taker.taken.clone()
        };
        let timeout = |seconds| MediaEvent::MediaTimeout {
            leg: LEG,
            silent: Duration::from_secs(seconds),
        };
        assert_eq!(check(&mut notices, 60), []);
        assert_eq!(check(&mut notices, 61), [timeout(60)]);
        assert_eq!(check(&mut notices, 120), []);
        assert_eq!(check(&mut notices, 200), [timeout(180)]);
        notices.heard(201 * SECOND);
        assert!(notices.waiting);
        assert_eq!(check(&mut notices, 202), [MediaEvent::MediaResumed { leg: LEG }]);
        assert_eq!(check(&mut notices, 203), []);
        assert_eq!(check(&mut notices, 261), [timeout(60)]);
    }

    #[test]
    fn levels_come_at_most_twice_a_second() {
        let (mut notices, mut taker) = notices();
        for tick in 1..=100 {
            notices.level(SECOND + tick * SECOND / 50, 7, &mut taker);
        }
        assert_eq!(taker.taken.len(), 4);
    }
}
