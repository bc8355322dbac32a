//! Owns what plays in the background: hold music to who is alone and to those who are out of the mix, and what plays to all for
//! ever. Compares what should play with what does, after every change.

use super::Conference;
use crate::play::Occasion;
use crate::{Audience, ParticipantId, PlayNumber};

/// What plays in the background.
#[derive(Debug, Default)]
pub(super) struct Music {
    /// Who is the only one and not waiting, and what he is told about it.
    alone: Option<(ParticipantId, Option<PlayNumber>)>,
    to_him: Option<(ParticipantId, Option<PlayNumber>)>,
    to_waiting: Option<Option<PlayNumber>>,
    to_all: Option<Option<PlayNumber>>,
    /// Somebody has switched hold music off.
    pub(super) is_off: bool,
}

impl Conference {
    /// Lets play what is to play by now, and nothing else.
    pub(super) fn settle_music(&mut self) {
        self.settle_alone();
        let sounds = &self.settings.sounds;
        let hold_music = sounds.hold_music.clone().filter(|_| !self.music.is_off);
        let perpetual = sounds.perpetual.clone();

        let alone = self.music.alone.map(|(id, _)| id);
        let hears = |id: &ParticipantId| {
            let state = self.roster.get(id);
            let declines = self.persons.get(id).is_some_and(|person| person.no_hold_music);
            state.is_some_and(|state| !state.deaf && !state.is_out_of_mix()) && !declines
        };
        let to_him = alone.filter(|id| hold_music.is_some() && hears(id));
        if self.music.to_him.map(|(id, _)| id) != to_him {
            if let Some((_, Some(play))) = self.music.to_him.take() {
                self.cancel(play);
            }
            let media = hold_music.clone().into_iter().collect();
            self.music.to_him = to_him.map(|id| {
                let play = self.start(Audience::One(id), media, Occasion::Background);
                (id, play)
            });
        }

        let somebody_waits = self.roster.values().any(|state| state.is_out_of_mix());
        let to_waiting = hold_music.filter(|_| somebody_waits);
        if self.music.to_waiting.is_some() != to_waiting.is_some() {
            if let Some(Some(play)) = self.music.to_waiting.take() {
                self.cancel(play);
            }
            self.music.to_waiting =
                to_waiting.map(|media| self.start(Audience::Waiting, vec![media], Occasion::Background));
        }

        if self.music.to_all.is_some() != perpetual.is_some() {
            if let Some(Some(play)) = self.music.to_all.take() {
                self.cancel(play);
            }
            self.music.to_all =
                perpetual.map(|media| self.start(Audience::Everybody, vec![media], Occasion::Background));
        }
    }

    /// Tells somebody that he is the only one, once, and no longer than he is.
    fn settle_alone(&mut self) {
        let mut counted = self.roster.values().filter(|state| !state.ghost);
        let first = counted.next();
        let alone = first.filter(|state| counted.next().is_none() && !state.waiting);
        let now = alone.map(|state| state.id);
        if self.music.alone.map(|(id, _)| id) == now {
            return;
        }
        // At the end that is no matter any more.
        let hears = alone.is_some_and(|state| !state.deaf && !state.held) && self.ending.is_none();
        if let Some((_, Some(play))) = self.music.alone.take() {
            self.cancel(play);
        }
        self.music.alone = now.map(|id| {
            let said = self.settings.sounds.alone.clone().filter(|_| hears);
            (id, self.tell(id, said.into_iter().collect()))
        });
    }
}
