//! A leg's keys: telephone-events (RFC 4733), digits heard in the audio of peers that have no telephone-events, digits
//! told by SIP INFO. Each press comes out once, and its tone is kept out of the mix. Knows no dial plan and no event ring.

use confab_dsp::DtmfSound;
use confab_rtp::{
    ClockRate, DtmfDigit, DtmfEvent, DtmfMerger, DtmfSource, RtpPacket, TelephoneEventReceiver,
};

use super::decode::Block;
use super::receiving::Receiving;

/// Digits that may wait to be taken: more than end within a block.
const WAITING: usize = 4;

/// The tone's end is waited for no longer than this after the digit's: more than a jitter buffer ever holds.
const LONGEST_TAIL_NS: u64 = 500_000_000;

/// Fades at the edges of what is kept out last this part of a second: 2 ms.
const FADES_PER_SECOND: u32 = 500;

/// One press of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Press {
    pub(crate) digit: DtmfDigit,
    pub(crate) duration_ms: u32,
}

/// The digits of one leg.
pub(crate) struct Digits {
    events: TelephoneEventReceiver,
    event_clock: ClockRate,
    /// Boxed: it is touched when a digit ends.
    merger: Box<DtmfMerger>,
    waiting: [Option<Press>; WAITING],
    /// Presses, however they were told.
    pub(crate) count: u64,
    /// A digit began to be heard in the audio since the last block.
    began: bool,
    /// The tone of a telephone-event may be in the audio up to here.
    silent_until_ns: u64,
    /// The last block was kept out of the mix.
    silent: bool,
}

impl Digits {
    pub(super) fn new() -> Self {
        let event_clock = ClockRate::HZ_8000;
        Digits {
            events: TelephoneEventReceiver::new(event_clock),
            event_clock,
            merger: Box::new(DtmfMerger::new()),
            waiting: [None; WAITING],
            count: 0,
            began: false,
            silent_until_ns: 0,
            silent: false,
        }
    }

    /// Goes on with a session whose telephone-events count in this clock.
    pub(super) fn begin(&mut self, event_clock: Option<ClockRate>) {
        if let Some(clock) = event_clock.filter(|&clock| clock != self.event_clock) {
            self.event_clock = clock;
            self.events.restart(clock);
        }
    }

    /// Takes a telephone-event; the audio that came before it is heard until `heard_until_ns`.
    pub(super) fn event(&mut self, arrival_ns: u64, packet: &RtpPacket<'_>, heard_until_ns: u64) {
        let ended = self.events.push(arrival_ns, packet);
        if ended.is_some() || self.events.sounding(arrival_ns).is_some() {
            self.keep_out(arrival_ns, heard_until_ns);
        }
        if let Some(event) = ended {
            self.event_ended(arrival_ns, event);
        }
    }

    /// Ends a digit whose end packets were all lost.
    pub(super) fn look_after(&mut self, now_ns: u64) {
        if let Some(event) = self.events.tick(now_ns) {
            self.event_ended(now_ns, event);
        }
    }

    fn event_ended(&mut self, now_ns: u64, event: DtmfEvent) {
        self.report(now_ns, DtmfSource::Rtp, event.digit, event.duration_ms);
    }

    /// Takes what was heard in the audio.
    pub(super) fn sound(&mut self, now_ns: u64, sound: DtmfSound) {
        match sound {
            DtmfSound::Began(_) => self.began = true,
            DtmfSound::Ended { symbol, duration_ms } => {
                if let Some(digit) = DtmfDigit::from_event(symbol.event()) {
                    self.report(now_ns, DtmfSource::InBand, digit, duration_ms);
                }
            }
        }
    }

    /// Takes a digit from one of its sources, at its end.
    pub(crate) fn report(&mut self, now_ns: u64, source: DtmfSource, digit: DtmfDigit, duration_ms: u32) {
        if !self.merger.report(now_ns, source, digit, duration_ms) {
            return;
        }
        self.count += 1;
        if let Some(free) = self.waiting.iter_mut().find(|waiting| waiting.is_none()) {
            *free = Some(Press { digit, duration_ms });
        }
    }

    /// Takes the oldest press that was not taken yet.
    pub(crate) fn take(&mut self) -> Option<Press> {
        let press = self.waiting[0].take()?;
        self.waiting.rotate_left(1);
        Some(press)
    }

    /// Keeps the tone of a digit out of a block that the tick at `now_ns` made of a stream.
    pub(super) fn keep_tones_out(
        &mut self,
        now_ns: u64,
        receiving: &Receiving,
        out: &mut [i16],
        block: Block,
    ) -> Block {
        let detector = receiving.detector.as_ref();
        let heard = detector.is_some_and(|detector| detector.sounding().is_some());
        let told = self.events.sounding(now_ns).is_some();
        if told {
            let buffered_ns = receiving.playout.buffered_ns();
            self.keep_out(now_ns, now_ns.saturating_add(buffered_ns));
        }
        let silent = std::mem::take(&mut self.began) || heard || told || now_ns < self.silent_until_ns;
        let before = std::mem::replace(&mut self.silent, silent);
        if block == Block::Quiet || (!before && !silent) {
            return block;
        }
        if before && silent {
            out.fill(0);
            return Block::Quiet;
        }
        let rate_hz = receiving.kind.sample_rate_hz();
        let length = ((rate_hz / FADES_PER_SECOND) as usize).min(out.len());
        for (n, sample) in out.iter_mut().take(length).enumerate() {
            let weight = if silent { length - n } else { n };
            *sample = (i32::from(*sample) * weight as i32 / length as i32) as i16;
        }
        if silent {
            out[length..].fill(0);
        }
        Block::Audio {
            score: confab_dsp::score(out),
        }
    }

    fn keep_out(&mut self, now_ns: u64, until_ns: u64) {
        let until_ns = until_ns.min(now_ns.saturating_add(LONGEST_TAIL_NS));
        self.silent_until_ns = self.silent_until_ns.max(until_ns);
    }
}
