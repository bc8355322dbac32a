//! What plays in one conference: to everybody, to those who wait, to single legs. Plays come and go as boxes that are made
//! and freed outside the shard; in between they are moved from chain to chain.

mod chain;
mod playing;
mod stage;

use confab_mixer::{Audience, Mixer, SlotId};

use super::ConferenceAudio;
use crate::event::ConferenceAudioId;
use crate::leg::Leg;
use crate::playback::{PlayChange, PlayEnd, PlayId, StopPlay};
use crate::shard::key::Tenants;
use crate::shard::queues::Outbox;
use chain::Chain;
pub(crate) use playing::Playing;
use stage::PlayTick;
pub(crate) use stage::Stage;

/// Audiences that are no single legs.
const COMMON_AUDIENCES: usize = 2;

/// Returns room for what plays in a conference of so many legs.
pub(super) fn stages_for(capacity: usize) -> Vec<Stage> {
    Vec::with_capacity(capacity + COMMON_AUDIENCES)
}

/// Everything that plays in one conference.
pub(super) struct Playback {
    /// Those that have anything to play. There is room for every audience.
    stages: Vec<Stage>,
    /// What has ended and is not told, or not given back, yet.
    ended: Chain,
}

impl Playback {
    pub(super) fn new(capacity: usize) -> Self {
        Playback {
            stages: stages_for(capacity),
            ended: Chain::default(),
        }
    }

    /// Moves into larger room; returns the old.
    pub(super) fn grow(&mut self, mut stages: Vec<Stage>) -> Vec<Stage> {
        if stages.capacity() >= self.stages.len() {
            stages.clear();
            stages.append(&mut self.stages);
            std::mem::swap(&mut stages, &mut self.stages);
        }
        stages
    }

    fn stage_of(&mut self, audience: Audience) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.audience == audience)
    }

    fn add(&mut self, playing: Box<Playing>, audience: Audience, leg: Option<(u32, u64)>) {
        let found = self.stages.iter().position(|stage| stage.audience == audience);
        let index = found.unwrap_or(self.stages.len());
        if found.is_none() {
            if index == self.stages.capacity() {
                return self.refuse(playing); // there is room for every audience
            }
            let presses = leg.map_or(0, |(_, presses)| presses);
            self.stages
                .push(Stage::new(audience, leg.map(|(place, _)| place), presses));
        }
        self.stages[index].add(playing, &mut self.ended);
    }

    /// Ends a play that nobody can hear.
    fn refuse(&mut self, mut playing: Box<Playing>) {
        playing.end(PlayEnd::Gone);
        self.ended.push(playing);
    }

    /// Ends what plays to a leg that leaves.
    pub(super) fn leave(&mut self, slot: SlotId) {
        if let Some(stage) = self.stage_of(Audience::One(slot)) {
            let mut stage = std::mem::replace(stage, Stage::new(Audience::One(slot), None, 0));
            stage.close(&mut self.ended);
            self.forget_empty();
        }
    }

    fn forget_empty(&mut self) {
        self.stages.retain(|stage| !stage.is_empty());
    }

    /// Goes on in a mix of another rate.
    pub(super) fn raise(&mut self, to_hz: u32, scratch: &mut [i16]) {
        for stage in &mut self.stages {
            stage.raise(to_hz, scratch);
        }
    }

    /// Gives the mixer what is heard in this tick. `block` is working memory, and `raises` tells that the rate is about to be
    /// raised.
    pub(super) fn play<S>(
        &mut self,
        mixer: &mut Mixer,
        block: &mut [i16],
        raises: bool,
        legs: &mut Tenants<Leg<S>>,
    ) {
        // What ended in the last tick was heard in it.
        self.ended.all(|playing| {
            if let Some(source) = playing.source.take() {
                mixer.remove_source(source);
            }
            true
        });
        let to_all = self.stages.iter().find(|stage| stage.audience == Audience::All);
        let all_hear = to_all.is_some_and(Stage::queue_plays);
        let announces = to_all.and_then(Stage::announcement).map(|(play, _)| play);
        let mut tick = PlayTick {
            mixer,
            block,
            raises,
            all_hear,
            announces,
        };
        for stage in &mut self.stages {
            if let Some(leg) = stage.leg.and_then(|place| legs.at(place)) {
                stage.note_presses(leg.input.digits.count);
            }
            stage.play(&mut tick, &mut self.ended);
        }
        self.keep_apart(mixer);
        self.forget_empty();
    }

    /// Keeps what plays to others as well from those who are told something of their own: for as long as they are, and announcements
    /// for as long as those last.
    fn keep_apart(&mut self, mixer: &mut Mixer) {
        let to_all = self.stages.iter().find(|stage| stage.audience == Audience::All);
        let announced = to_all.and_then(Stage::announcement);
        for stage in &mut self.stages {
            let Audience::One(listener) = stage.audience else {
                continue;
            };
            if stage.is_told() {
                mixer.keep_apart(listener);
            }
            if let Some((announcement, Some(source))) = announced
                && stage.leaves_out(announcement)
            {
                mixer.hide_source(source, listener);
            }
        }
    }

    /// Tells what has begun and what has ended, in this order of time, and gives back what is done with, as far as there is
    /// room; the rest waits.
    pub(super) fn tell<S>(&mut self, conference: ConferenceAudioId, outbox: &mut Outbox<S>) {
        // Before the end of what was missed.
        let mut stages = self.stages.iter_mut();
        let told = stages.all(|stage| stage.tell_missed(conference, outbox));
        if told && self.ended.all(|playing| playing.tell(conference, outbox)) {
            for stage in &mut self.stages {
                if !stage.each(|playing| playing.tell(conference, outbox)) {
                    break;
                }
            }
        }
        while let Some(first) = self.ended.first_mut()
            && first.is_done()
            && outbox.has_room_to_give_back()
        {
            outbox.give_back(&mut self.ended.take_first());
        }
    }
}

impl ConferenceAudio {
    /// Plays something to all who hear the mix, or to those who wait.
    pub(crate) fn play(&mut self, playing: Box<Playing>, audience: Audience) {
        self.playback.add(playing, audience, None);
    }

    /// Plays something to one leg, which must be in this conference; else nobody hears it.
    pub(crate) fn play_to<S>(&mut self, playing: Box<Playing>, listener: Option<(u32, &Leg<S>)>) {
        let seat = listener.and_then(|(place, leg)| Some((place, leg, leg.membership?.slot)));
        match seat {
            Some((place, leg, slot)) => {
                let keys = (place, leg.input.digits.count);
                self.playback.add(playing, Audience::One(slot), Some(keys));
            }
            None => self.playback.refuse(playing),
        }
    }

    /// Changes a play of one audience.
    pub(crate) fn change_play(&mut self, audience: Audience, id: PlayId, change: PlayChange) {
        if let Some(stage) = self.playback.stage_of(audience) {
            stage.change(id, change, &mut self.mixer);
        }
    }

    /// Stops plays of one audience.
    pub(crate) fn stop_play(&mut self, audience: Audience, what: StopPlay) {
        let Playback { stages, ended } = &mut self.playback;
        if let Some(stage) = stages.iter_mut().find(|stage| stage.audience == audience) {
            stage.stop(what, ended);
        }
        self.playback.forget_empty();
    }
}
