//! When media is due, and by how much the delay should change. Owns what was learnt of arrivals, and when the line between
//! media time and ticks ([`line`]) moves; stores no packets.
//!
//! The line is fixed by the stream's first packet and from then on moves only when the owner of this policy carries out one of
//! its wishes and says so. A packet that starts within a tick's span must be there when the tick begins, so its deadline is the
//! start of that tick: deadlines move by whole ticks. So wishes are for whole ticks' worth of samples; a shift by less adds
//! delay without moving any deadline. Such slack stems from changes in speech, which take the length that the voice gives
//! them, and is counted against the next wish.

mod line;

use self::line::Line;
use super::histogram::LatenessHistogram;
use super::timeline::MediaPosition;

/// Share of packets that may miss their deadline before the delay grows: 1 in 100. Concealment of single packets is
/// hardly heard, added delay hurts everybody all the time.
const MAY_BE_LATE: u32 = 100;
/// Packets needed before the delay shrinks: one second of the usual 20 ms.
const SHRINK_AFTER_PACKETS: u32 = 50;
/// Packets between two looks at the histogram while nothing is late.
const REVIEW_PACKETS: u32 = 25;
/// Time to spare below which the latest packets count as about to be late, in ms.
const GUARD_MS: i64 = 1;
/// Clock skew below which nothing is done about it, in parts per million.
const SKEW_PPM: i32 = 10;
/// How far ahead of need a slow clock is made up for when there is silence to do it in, and how much more than a tick must be
/// spare before speech is shortened for it: time for a pause to come.
const FORESIGHT_NS: i64 = 2 * MS;
/// Slack that is worth a change in speech: about a pitch period.
const MUCH_SLACK_NS: i64 = 5 * MS;
/// Nanoseconds in a millisecond.
const MS: i64 = 1_000_000;
/// Media time per histogram window.
const WINDOW_NS: u64 = 5_000_000_000;

pub use self::line::Due;

/// Bounds of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyConfig {
    /// Safety between arrival and deadline at the start of a stream, and what shrinking leaves.
    pub margin_ns: u64,
    /// Most delay that growing may build up, against the earliest packets.
    pub max_delay_ns: u64,
}

/// What the policy wants to happen to the delay, in samples; it grows or shrinks, never both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Samples to add: packets are late or about to be, or there must be time for repair.
    pub grow: u32,
    /// The part of `grow` that late packets need: worth adding even as concealment.
    pub urgent: u32,
    /// Samples to add if there is silence to add: the sender's slow clock will make packets late before long.
    pub grow_in_silence: u32,
    /// Samples to take away: even the latest packets wait longer than needed.
    pub shrink: u32,
    /// It is enough to change the time scale of speech for.
    pub in_speech: bool,
    /// The delay is beyond its bound: leave audio out, even speech.
    pub at_once: bool,
}

/// Playout policy of one stream.
#[derive(Debug, Clone)]
pub struct PlayoutPolicy {
    config: PolicyConfig,
    line: Option<Line>,
    lateness: LatenessHistogram,
    window_ns: u64,
    since_review: u32,
    wish: Wish,
    learnt_margin_ns: u64,
    /// Samples, less than a tick, by which everything is heard later than its deadlines need.
    slack: u32,
    /// Speech is being shortened: slack goes with it.
    shortening: bool,
    /// Time that packets should wait beyond what their lateness asks for.
    reserve_ns: u64,
    skew_ppm: i32,
    /// Arrival of the packet before, if that was late.
    last_late_ns: Option<u64>,
}

impl PlayoutPolicy {
    /// Makes a policy that has seen nothing.
    #[must_use]
    pub fn new(config: PolicyConfig) -> Self {
        Self {
            config,
            line: None,
            lateness: LatenessHistogram::new(),
            window_ns: 0,
            since_review: 0,
            wish: Wish::default(),
            learnt_margin_ns: 0,
            slack: 0,
            shortening: false,
            reserve_ns: 0,
            skew_ppm: 0,
            last_late_ns: None,
        }
    }

    /// Time from the arrival of a stream's first packet to the earliest tick that may play it: the configured margin plus
    /// what the latest packets of the stream before needed more than the median, at most half the delay bound.
    #[must_use]
    pub fn start_margin_ns(&self) -> u64 {
        self.config.margin_ns + self.learnt_margin_ns.min(self.config.max_delay_ns / 2)
    }

    /// Says what is heard at the start of a tick: the line for all positions.
    pub fn set_anchor(&mut self, at_ns: u64, position: MediaPosition, tick_samples: u32, tick_ns: u64) {
        self.slack %= tick_samples.max(1);
        self.line = Some(Line::new(at_ns, position, tick_samples, tick_ns));
    }

    /// Start of the last tick in nanoseconds; `None` before the stream plays.
    #[must_use]
    pub fn last_tick_ns(&self) -> Option<u64> {
        self.line.map(|line| line.at_ns.cast_unsigned())
    }

    /// What the line says for a new tick; `None` for the last tick again and before the stream plays.
    ///
    /// The ticks between the last one and this are counted in lengths of the last.
    #[must_use]
    pub fn due_at(&self, at_ns: u64) -> Option<Due> {
        let line = self.line.filter(|line| line.at_ns != at_ns.cast_signed())?;
        Some(line.due_at(at_ns))
    }

    /// Samples of the last tick; 1 before the stream plays.
    #[must_use]
    pub fn tick_samples(&self) -> u32 {
        self.line
            .map_or(1, |line| u32::try_from(line.tick_samples).unwrap_or(u32::MAX))
    }

    /// By how much a packet that begins at `position` missed its deadline when it arrived at `arrival_ns`; negative is time
    /// to spare. `None` before the stream plays.
    #[must_use]
    pub fn lateness_ns(&self, position: MediaPosition, arrival_ns: u64) -> Option<i64> {
        Some(self.line?.lateness_ns(position, arrival_ns))
    }

    /// The position heard from the first tick at or after `at_ns`. `None` before the stream plays.
    #[must_use]
    pub fn position_at(&self, at_ns: u64) -> Option<MediaPosition> {
        Some(self.line?.position_at(at_ns))
    }

    /// Tells whether a lateness fits the line: neither later than growing could ever mend nor earlier than it could build up.
    #[must_use]
    pub fn is_on_line(&self, lateness_ns: i64) -> bool {
        let tick_ns = self.line.map_or(0, |line| line.tick_ns);
        let bound_ns = self.config.max_delay_ns.cast_signed() + 2 * tick_ns;
        (-bound_ns..=bound_ns).contains(&lateness_ns)
    }

    /// Learns from an audio packet of `duration_ns` that arrived at `arrival_ns`; looks at what was learnt now and then, and
    /// whenever a packet is late.
    ///
    /// Late packets that come in one burst behind a late one were held up by the same stall; they count as one, or a single
    /// stall would raise the delay for seconds.
    pub fn record(&mut self, arrival_ns: u64, lateness_ns: i64, duration_ns: u64) {
        let late_in_burst = self
            .last_late_ns
            .is_some_and(|last| arrival_ns.saturating_sub(last) < duration_ns / 4);
        self.last_late_ns = (lateness_ns > 0).then_some(arrival_ns);
        if lateness_ns > 0 && late_in_burst {
            return;
        }
        self.lateness.record(lateness_ns);
        self.window_ns += duration_ns;
        if self.window_ns >= WINDOW_NS {
            self.window_ns = 0;
            self.lateness.rotate();
        }
        self.since_review += 1;
        if lateness_ns > 0 || self.since_review >= REVIEW_PACKETS {
            self.review();
        }
    }

    /// What the next [`record`](Self::record) is likely to change, apart from the policy itself.
    pub(super) fn next_count(&self) -> &u16 {
        self.lateness.next_count()
    }

    /// Sets how long packets should wait beyond what their lateness asks for, so that a lost one can be repaired.
    pub fn set_reserve(&mut self, reserve_ns: u64) {
        let reserve_ns = reserve_ns.min(self.config.max_delay_ns);
        if std::mem::replace(&mut self.reserve_ns, reserve_ns) != reserve_ns {
            self.review();
        }
    }

    /// Sets how fast the sender's clock is known to be, in parts per million; 0 while it is not known.
    pub fn set_skew(&mut self, skew_ppm: i32) {
        self.skew_ppm = skew_ppm;
    }

    /// What should happen to the delay.
    #[must_use]
    pub const fn wish(&self) -> Wish {
        self.wish
    }

    /// Most samples the delay may still grow by, in whole ticks' worth.
    #[must_use]
    pub fn room_to_grow(&self) -> u32 {
        let (Some(line), Some(earliest_ms)) = (self.line, self.lateness.earliest_ms(MAY_BE_LATE)) else {
            return 0;
        };
        let spare_ns = (-earliest_ms).max(0) * 1_000_000;
        line.samples_in((self.config.max_delay_ns.cast_signed() - spare_ns).max(0) / line.tick_ns)
    }

    /// Told that everything from here on is heard `samples` later (earlier when negative).
    pub fn delayed_by(&mut self, samples: i64) {
        let Some(line) = &mut self.line else { return };
        line.position = line.position.plus(-samples);
        // Deadlines move by whole ticks; what is left of one is slack.
        let beyond = i64::from(self.slack).saturating_add(samples);
        let ticks = beyond.div_euclid(line.tick_samples);
        self.slack = u32::try_from(beyond.rem_euclid(line.tick_samples)).unwrap_or(0);
        self.lateness
            .shift(-ticks.saturating_mul(line.tick_ns) / 1_000_000);
        let done = u32::try_from(samples.unsigned_abs()).unwrap_or(u32::MAX);
        let wish = self.wish;
        self.wish = if samples > 0 {
            self.shortening = false;
            Wish {
                grow: wish.grow.saturating_sub(done),
                urgent: wish.urgent.saturating_sub(done),
                grow_in_silence: wish.grow_in_silence.saturating_sub(done),
                in_speech: wish.in_speech,
                ..Wish::default()
            }
        } else {
            let shrink = wish.shrink.saturating_sub(done);
            Wish {
                shrink,
                in_speech: wish.in_speech,
                at_once: wish.at_once && shrink > 0,
                ..Wish::default()
            }
        };
    }

    /// Told that `samples` were left out because a burst brought more than the bound allows: what was learnt before says nothing
    /// of the line from here on, on which the burst's own packets would all seem late.
    pub fn cut_short(&mut self, samples: i64) {
        self.delayed_by(-samples);
        self.lateness.clear();
        self.window_ns = 0;
        self.since_review = 0;
        self.wish = Wish::default();
        self.shortening = false;
        self.last_late_ns = None;
    }

    /// Told that ticks come `later_ns` later (earlier when negative) against the clock than before: all deadlines moved.
    pub fn ticks_moved(&mut self, later_ns: i64) {
        self.lateness.shift(-later_ns / 1_000_000);
    }

    /// Ends the stream: the line is gone, its spread of arrivals becomes the next one's start margin.
    pub fn end_stream(&mut self) {
        if self.lateness.len() >= SHRINK_AFTER_PACKETS {
            let latest = self.lateness.latest_ms(MAY_BE_LATE).unwrap_or(0);
            let median = self.lateness.latest_ms(2).unwrap_or(latest);
            // Neighbouring bins may be microseconds apart.
            self.learnt_margin_ns = (latest - median - 1).max(0).cast_unsigned() * 1_000_000;
        }
        self.lateness.clear();
        self.line = None;
        self.window_ns = 0;
        self.since_review = 0;
        self.wish = Wish::default();
        self.slack = 0;
        self.shortening = false;
        self.last_late_ns = None;
    }

    fn review(&mut self) {
        self.since_review = 0;
        self.wish = Wish::default();
        let (Some(line), Some(latest_ms), Some(earliest_ms)) = (
            self.line,
            self.lateness.latest_ms(MAY_BE_LATE),
            self.lateness.earliest_ms(MAY_BE_LATE),
        ) else {
            return;
        };
        // Bins are rounded down: the latest packets lie below the next millisecond.
        let latest_ns = (latest_ms + 1) * MS;
        let late_ns = latest_ns + GUARD_MS * MS;
        let needed_ns = late_ns + self.reserve_ns.cast_signed();
        if needed_ns > 0 {
            // Few packets do not show the whole spread: of n spread evenly, the last is about the n-th part short of its end.
            let unseen_ns = (latest_ms - earliest_ms).max(0) * MS / i64::from(self.lateness.len().max(1));
            self.wish.grow = self.samples_to_grow(&line, needed_ns + unseen_ns);
            self.wish.urgent = if late_ns > 0 {
                self.samples_to_grow(&line, late_ns + unseen_ns)
            } else {
                0
            };
            self.wish.in_speech = true;
            return;
        }
        if self.skew_ppm <= -SKEW_PPM && needed_ns + FORESIGHT_NS > 0 {
            self.wish.grow_in_silence = self.samples_to_grow(&line, needed_ns + FORESIGHT_NS);
            return;
        }
        // What a slow clock will use up soon is not spare.
        let soon_ns = if self.skew_ppm <= -SKEW_PPM {
            FORESIGHT_NS
        } else {
            0
        };
        let kept_ns = self.reserve_ns.cast_signed() + self.config.margin_ns.cast_signed() + soon_ns;
        let spare_ns = -latest_ns - kept_ns;
        let ticks = spare_ns.div_euclid(line.tick_ns).max(0);
        if ticks == 0 || self.lateness.len() >= SHRINK_AFTER_PACKETS {
            self.wish.shrink = line.samples_in(ticks).saturating_add(self.slack);
        }
        // Slack of its own is worth touching speech for when the clocks have put it there and will do so again.
        let drifts = self.skew_ppm.abs() >= SKEW_PPM;
        self.shortening = if ticks > 0 {
            self.shortening || (self.wish.shrink > 0 && spare_ns >= line.tick_ns + FORESIGHT_NS)
        } else {
            self.slack > 0 && (self.shortening || (drifts && line.ns_in(self.slack) >= MUCH_SLACK_NS))
        };
        self.wish.in_speech = self.shortening;
        self.wish.at_once = ticks > 0 && -latest_ns > self.config.max_delay_ns.cast_signed();
    }

    /// Told that no part of the voice was short enough to take out: what is left of the wish waits for silence.
    pub fn not_shortened(&mut self) {
        if self.wish.shrink <= self.slack {
            self.shortening = false;
            self.wish.in_speech = false;
        }
    }

    /// Samples that make packets wait longer by `needed_ns` or more, as far as there is room for them.
    fn samples_to_grow(&self, line: &Line, needed_ns: i64) -> u32 {
        let ticks = (needed_ns + line.tick_ns - 1) / line.tick_ns;
        line.samples_in(ticks)
            .min(self.room_to_grow())
            .saturating_sub(self.slack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_NS: u64 = 20_000_000;

    fn policy() -> PlayoutPolicy {
        let mut policy = PlayoutPolicy::new(PolicyConfig {
            margin_ns: 3_000_000,
            max_delay_ns: 200_000_000,
        });
        policy.set_anchor(1_000 * TICK_NS, MediaPosition(0), 160, TICK_NS);
        policy
    }

    fn record(policy: &mut PlayoutPolicy, lateness_ms: i64, packets: usize) {
        for n in 0..packets as u64 {
            policy.record(n * TICK_NS, lateness_ms * MS, TICK_NS);
        }
    }

    #[test]
    fn wishes_follow_the_latest_of_a_hundred_packets() {
        // (lateness in ms of most packets, of a few, how many of those in 100, grow, shrink)
        let rows = [
            (-10, -10, 0, 0, 0),
            (-23, -23, 0, 0, 0),
            (-24, -24, 0, 0, 1),
            (-100, -100, 0, 0, 4),
            (-10, 30, 1, 0, 0),
            (-10, 30, 2, 2, 0),
            (-10, 0, 2, 1, 0),
            (-1, -1, 0, 1, 0),
            (-2, -2, 0, 0, 0),
            (-150, 90, 2, 2, 0),
        ];
        for (most, few, count, grow, shrink) in rows {
            let mut policy = policy();
            record(&mut policy, most, 100 - count);
            record(&mut policy, few, count);
            policy.review();
            let wish = policy.wish();
            assert_eq!(
                (wish.grow, wish.shrink),
                (grow * 160, shrink * 160),
                "{most} ms, {count} at {few} ms"
            );
        }
    }

    #[test]
    fn carrying_out_a_wish_fulfils_it() {
        let mut policy = policy();
        record(&mut policy, -100, 100);
        assert_eq!(policy.wish().shrink, 640);
        policy.delayed_by(-80);
        assert_eq!(policy.wish().shrink, 560);
        policy.delayed_by(-560);
        policy.review();
        assert_eq!(policy.wish(), Wish::default());
        record(&mut policy, 50, 100);
        assert_eq!(policy.wish().grow, 480);
        policy.delayed_by(480);
        policy.review();
        assert_eq!(policy.wish(), Wish::default());
    }

    #[test]
    fn a_single_stall_counts_as_one_late_packet() {
        let mut policy = policy();
        record(&mut policy, -10, 200);
        for n in 0..10_u64 {
            policy.record(200 * TICK_NS + n, (200 - 20 * n.cast_signed()) * MS, TICK_NS);
        }
        assert_eq!(policy.wish(), Wish::default());
        for n in 0..10_u64 {
            policy.record((300 + n) * TICK_NS, 55 * MS, TICK_NS);
        }
        assert_eq!(policy.wish().grow, 480, "each for itself they count");
    }

    #[test]
    fn delay_beyond_the_bound_is_taken_away_at_once() {
        let mut policy = policy();
        record(&mut policy, -230, 100);
        assert!(policy.wish().at_once);
    }

    #[test]
    fn the_next_stream_starts_with_what_this_one_needed() {
        let mut policy = policy();
        assert_eq!(policy.start_margin_ns(), 3_000_000);
        record(&mut policy, -20, 60);
        record(&mut policy, -5, 40);
        policy.end_stream();
        assert_eq!(policy.start_margin_ns(), 17_000_000);
        assert_eq!(policy.lateness_ns(MediaPosition(0), 0), None);
    }

    #[test]
    fn a_change_by_less_than_a_tick_is_slack_and_counts_against_the_next() {
        let mut policy = policy();
        record(&mut policy, -100, 100);
        // Of four ticks, three and three quarters.
        policy.delayed_by(-600);
        policy.review();
        assert_eq!(policy.wish().shrink, 40, "no deadline goes with it");
        policy.delayed_by(-40);
        policy.review();
        assert_eq!(policy.wish(), Wish::default());
        // A pitch period more than wished for.
        record(&mut policy, 0, 200);
        assert_eq!(policy.wish().grow, 160);
        policy.delayed_by(200);
        policy.review();
        assert_eq!((policy.wish().grow, policy.wish().shrink), (0, 40));
        assert!(!policy.wish().in_speech, "not worth touching speech for");
    }

    #[test]
    fn a_reserve_is_added_to_what_lateness_asks_for_and_taken_back() {
        let mut policy = policy();
        record(&mut policy, -10, 100);
        policy.set_reserve(TICK_NS);
        let wish = policy.wish();
        assert_eq!((wish.grow, wish.urgent, wish.in_speech), (160, 0, true));
        policy.delayed_by(160);
        policy.review();
        assert_eq!(policy.wish(), Wish::default());
        policy.set_reserve(0);
        let wish = policy.wish();
        assert_eq!(
            (wish.shrink, wish.in_speech),
            (160, true),
            "seven ms more than a tick to spare"
        );
    }

    #[test]
    fn a_slow_clock_is_made_up_for_in_silence_before_it_is_needed() {
        // (skew in ppm, lateness in ms, grow, grow in silence)
        for (skew_ppm, lateness_ms, grow, in_silence) in [
            (0, -4, 0, 0),
            (-9, -4, 0, 0),
            (-10, -4, 0, 0),
            (-10, -3, 0, 160),
            (200, -3, 0, 0),
            (-10, -1, 160, 0),
        ] {
            let mut policy = policy();
            policy.set_skew(skew_ppm);
            record(&mut policy, lateness_ms, 100);
            policy.review();
            let wish = policy.wish();
            assert_eq!(
                (wish.grow, wish.grow_in_silence),
                (grow, in_silence),
                "{skew_ppm} ppm, {lateness_ms} ms"
            );
        }
    }

    #[test]
    fn what_speech_cannot_give_waits_for_silence() {
        let mut policy = policy();
        record(&mut policy, -30, 100);
        assert!(policy.wish().in_speech);
        policy.delayed_by(-150);
        policy.review();
        let wish = policy.wish();
        assert_eq!((wish.shrink, wish.in_speech), (10, true));
        policy.not_shortened();
        policy.review();
        let wish = policy.wish();
        assert_eq!((wish.shrink, wish.in_speech), (10, false));
    }
}
