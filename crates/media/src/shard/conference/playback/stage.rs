//! What one audience has to hear: its queue and its background. Decides what is heard in a tick; what the samples are is the
//! play's own business.

use confab_mixer::{Audience, Mixer, SourceId};

use super::chain::Chain;
use super::playing::Playing;
use crate::event::{ConferenceAudioId, LegId, MediaEvent};
use crate::leg::notices::EventSink;
use crate::playback::{Lane, PlayChange, PlayEnd, PlayId, StopPlay};

/// What a stage works with in one tick.
pub(super) struct PlayTick<'a> {
    pub(super) mixer: &'a mut Mixer,
    /// One block of the mix; working memory.
    pub(super) block: &'a mut [i16],
    /// The rate is about to be raised: what has to wait for that may.
    pub(super) raises: bool,
    /// The queue of everybody plays.
    pub(super) all_hear: bool,
    /// The announcement that it plays.
    pub(super) announces: Option<PlayId>,
}

/// The plays of one audience.
pub(crate) struct Stage {
    pub(super) audience: Audience,
    /// Place of the leg that hears it alone.
    pub(super) leg: Option<u32>,
    /// Keys that it had pressed by the last tick.
    presses: u64,
    /// The announcement that the next prompt waits for.
    waits_for: Option<PlayId>,
    /// The latest announcement that this leg does not hear.
    hidden: Option<PlayId>,
    /// That it does not is still to be told.
    untold: Option<(LegId, PlayId)>,
    /// Something of the queue is heard in this tick, and does not fade away: by whom, when that is one alone.
    is_told: Option<Option<LegId>>,
    /// What plays, and behind it what waits.
    queue: Chain,
    /// The background; before it those whose place it took, while they fade.
    background: Chain,
}

impl Stage {
    pub(super) fn new(audience: Audience, leg: Option<u32>, presses: u64) -> Self {
        Stage {
            audience,
            leg,
            presses,
            waits_for: None,
            hidden: None,
            untold: None,
            is_told: None,
            queue: Chain::default(),
            background: Chain::default(),
        }
    }

    /// Returns whether the queue has anything to play.
    pub(super) fn queue_plays(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns what the queue announces, and its input once it has begun.
    pub(super) fn announcement(&self) -> Option<(PlayId, Option<SourceId>)> {
        let first = self.queue.first().filter(|play| play.asked().announces);
        first.map(|play| (play.id, play.source))
    }

    /// Returns whether the queue is heard in this tick.
    pub(super) fn is_told(&self) -> bool {
        self.is_told.is_some()
    }

    /// Returns whether an announcement is not for this one listener, because he is told something, or is about to be when the one
    /// before is over.
    pub(super) fn leaves_out(&mut self, announcement: PlayId) -> bool {
        let is_next = |play: &Playing| {
            let is_next = self.waits_for.is_some_and(|before| before != announcement);
            is_next && !play.is_leaving()
        };
        let next = self.queue.first().filter(|play| is_next(play));
        let Some(leg) = self.is_told.or_else(|| Some(next?.leg())) else {
            return false;
        };
        if self.hidden.replace(announcement) != Some(announcement) {
            self.untold = leg.map(|leg| (leg, announcement));
        }
        true
    }

    /// Tells which announcement the listener has missed, if that is to be told and there is room. Returns whether nothing is left to
    /// tell.
    pub(super) fn tell_missed(&mut self, conference: ConferenceAudioId, sink: &mut impl EventSink) -> bool {
        let told = self.untold.is_none_or(|(leg, play)| {
            sink.event(MediaEvent::AnnouncementMissed {
                conference,
                leg,
                play,
            })
        });
        if told {
            self.untold = None;
        }
        told
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.background.is_empty() && self.untold.is_none() && !self.is_told()
    }

    /// Takes a play in.
    pub(super) fn add(&mut self, playing: Box<Playing>, ended: &mut Chain) {
        match playing.lane {
            Lane::Queue => self.queue.push(playing),
            Lane::Background => {
                self.background
                    .move_to(ended, |_, before| dismiss(before, PlayEnd::Stopped));
                self.background.push(playing);
            }
        }
    }

    /// Stops plays.
    pub(super) fn stop(&mut self, what: StopPlay, ended: &mut Chain) {
        let stop = |hit: bool, playing: &mut Playing| hit && dismiss(playing, PlayEnd::Stopped);
        match what {
            StopPlay::Current => self.queue.move_to(ended, |before, play| stop(before == 0, play)),
            StopPlay::All => self.queue.move_to(ended, |_, play| stop(true, play)),
            StopPlay::Background => self.background.move_to(ended, |_, play| stop(true, play)),
            StopPlay::Id(id) => {
                for lane in [&mut self.queue, &mut self.background] {
                    lane.move_to(ended, |_, play| stop(play.id == id, play));
                }
            }
        }
    }

    /// Changes a play, if it is here.
    pub(super) fn change(&mut self, id: PlayId, change: PlayChange, mixer: &mut Mixer) {
        self.each(|play| {
            if play.id == id
                && let Some(gain_db) = play.change(change)
                && let Some(source) = play.source
            {
                mixer.set_source_gain(source, gain_db);
            }
            play.id != id
        });
    }

    /// Ends everything at once: nobody is there to hear a fade.
    pub(super) fn close(&mut self, ended: &mut Chain) {
        for lane in [&mut self.queue, &mut self.background] {
            lane.move_to(ended, |_, play| {
                play.end(PlayEnd::Gone);
                true
            });
        }
    }

    /// Takes in how many keys the listener has pressed by now: a new one ends what he may end.
    pub(super) fn note_presses(&mut self, presses: u64) {
        if std::mem::replace(&mut self.presses, presses) == presses {
            return;
        }
        for lane in [&mut self.queue, &mut self.background] {
            lane.all(|play| {
                if play.asked().barge_in && play.has_begun() && !play.is_paused() {
                    play.leave(PlayEnd::BargedIn);
                }
                true
            });
        }
    }

    /// Gives the mixer what is heard in this tick.
    pub(super) fn play(&mut self, tick: &mut PlayTick<'_>, ended: &mut Chain) {
        let queue_plays = self.play_queue(tick, ended);
        let audience = self.audience;
        self.background.move_to(ended, |_, play| {
            let pauses = queue_plays || (tick.all_hear && gives_way(audience, play));
            play.pause(pauses);
            let waits = !play.has_begun() && (pauses || !tick.begin(audience, play));
            if waits {
                return false;
            }
            if play.is_paused() {
                tick.pause(play);
            } else {
                tick.give(play, 0);
            }
            let is_over = play.is_over();
            if is_over {
                play.end(PlayEnd::Finished);
            }
            is_over
        });
    }

    /// Plays the queue; one that ends in this block is followed by the next at that very sample. Returns whether it has, or
    /// had, anything to play.
    fn play_queue(&mut self, tick: &mut PlayTick<'_>, ended: &mut Chain) -> bool {
        let plays = !self.queue.is_empty();
        if !plays {
            self.waits_for = None;
        }
        self.is_told = None;
        let mut from = 0;
        while from < tick.block.len()
            && let Some(first) = self.queue.first_mut()
            && (first.has_begun()
                || !waits(
                    self.audience,
                    first,
                    tick.announces,
                    self.hidden,
                    &mut self.waits_for,
                ))
            && tick.begin(self.audience, first)
        {
            self.waits_for = None;
            if !first.is_leaving() {
                self.is_told = Some(first.leg());
            }
            from += tick.give(first, from);
            if !first.is_over() {
                break;
            }
            first.end(PlayEnd::Finished);
            if let Some(first) = self.queue.take_first() {
                ended.push(first);
            }
        }
        plays
    }

    /// Goes on in a mix of another rate.
    pub(super) fn raise(&mut self, to_hz: u32, scratch: &mut [i16]) {
        self.each(|play| {
            play.raise(to_hz, scratch);
            true
        });
    }

    /// Calls for each play in turn, until it says no. Returns whether it never did.
    pub(super) fn each(&mut self, mut act: impl FnMut(&mut Playing) -> bool) -> bool {
        self.queue.all(&mut act) && self.background.all(&mut act)
    }
}

/// Lets a play fade away, or ends it when it has not begun. Returns whether it has ended.
fn dismiss(playing: &mut Playing, how: PlayEnd) -> bool {
    playing.leave(how);
    if playing.has_begun() && !playing.is_over() {
        return false;
    }
    playing.end(how);
    true
}

/// Returns whether a prompt waits for what is announced: for the announcement that it finds, if its listener hears that, and for no
/// further one.
fn waits(
    audience: Audience,
    playing: &Playing,
    announced: Option<PlayId>,
    hidden: Option<PlayId>,
    waits_for: &mut Option<PlayId>,
) -> bool {
    let Some(announced) = announced.filter(|_| gives_way(audience, playing)) else {
        return false;
    };
    hidden != Some(announced) && *waits_for.get_or_insert(announced) == announced
}

/// Returns whether a play to one leaves it to what plays to everybody.
fn gives_way(audience: Audience, playing: &Playing) -> bool {
    playing.asked().gives_way && matches!(audience, Audience::One(_))
}

impl PlayTick<'_> {
    /// Lets a play begin unless it has. Returns whether it is heard in this tick: not while it needs a rate that the mix is
    /// about to have, or an input that the mixer has not.
    fn begin(&mut self, audience: Audience, playing: &mut Playing) -> bool {
        if playing.has_begun() {
            return true;
        }
        let rate_hz = self.mixer.format().rate_hz();
        if self.raises && !playing.is_ready(rate_hz) {
            return false;
        }
        let asked = playing.asked();
        let source = self.mixer.add_source(audience, playing.gain_db(), asked.duck_db);
        if let Some(source) = source {
            playing.begin(source, rate_hz);
        }
        source.is_some()
    }

    /// Gives the mixer a play's next samples, `from` samples into the block. Returns how many there were.
    fn give(&mut self, playing: &mut Playing, from: usize) -> usize {
        let written = playing.fill(&mut self.block[from..]);
        self.block[..from].fill(0);
        self.block[from + written..].fill(0);
        let Some(source) = playing.source else {
            return written;
        };
        // A pause counts as nothing: who speaks meanwhile is alone in the mix.
        if self.block.iter().any(|&sample| sample != 0) {
            self.mixer.source_input(source, self.block);
        } else {
            self.mixer.source_quiet(source);
        }
        written
    }

    fn pause(&mut self, playing: &Playing) {
        if let Some(source) = playing.source {
            self.mixer.source_quiet(source);
        }
    }
}
