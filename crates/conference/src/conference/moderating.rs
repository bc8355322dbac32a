//! Owns what depends on moderators: who waits for the first of them, and the end when the last has left. Ghosts are none.

use super::{Conference, Phase};
use crate::play::Occasion;
use crate::{
    Audience, Effect, EventKind, GregorianSeconds, LeaveCause, Moment, ParticipantId, PlayNumber, Refusal,
    Role,
};

impl Conference {
    /// Returns when [`Conference::advance`] has something to do, if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let keys = self.persons.values().filter_map(|person| person.keys.deadline());
        keys.chain(self.ending.map(|(due, _)| due)).min()
    }

    /// Tells how late it is: what was due by then happens, in its order. A time before the last one is taken for that.
    pub fn advance(&mut self, wall: GregorianSeconds, now: Moment) -> Result<(), Refusal> {
        self.alive()?;
        while self.phase != Phase::Ended
            && let Some(due) = self.deadline().filter(|due| *due <= now)
        {
            self.now = self.now.max(due);
            if self.ending.is_some_and(|(end, _)| end == due) {
                // Refused at the end only.
                let _ = self.end(wall, LeaveCause::ConferenceEnded);
                break;
            }
            self.decide_keys(wall, due);
        }
        self.now = self.now.max(now);
        Ok(())
    }

    /// Returns whether members who join now wait.
    pub(super) fn awaits_moderator(&self) -> bool {
        self.settings.waits_for_moderator() && !self.moderated
    }

    /// Lets those in who need not wait any more, and begins or gives up the end.
    pub(super) fn settle_moderation(&mut self, wall: GregorianSeconds) {
        let leads = |role, ghost: bool| role == Role::Moderator && !ghost;
        let is_led = self.roster.values().any(|state| leads(state.role, state.ghost));
        self.moderated |= is_led;
        if !self.awaits_moderator() {
            self.release_all(wall);
        }
        let is_over = self.settings.require_moderator && self.moderated && !is_led && !self.roster.is_empty();
        match self.ending {
            None if is_over => self.begin_to_end(),
            Some((_, announcement)) if !is_over => {
                self.ending = None;
                if let Some(play) = announcement {
                    self.cancel(play);
                }
            }
            _ => {}
        }
    }

    /// Ends a conference once all have heard so.
    pub(super) fn end_as_announced(&mut self, wall: GregorianSeconds, play: PlayNumber) {
        if self
            .ending
            .is_some_and(|(_, announcement)| announcement == Some(play))
        {
            // Refused at the end only.
            let _ = self.end(wall, LeaveCause::ConferenceEnded);
        }
    }

    fn release_all(&mut self, wall: GregorianSeconds) {
        let waiting = self.roster.values().filter(|state| state.waiting);
        let waiting: Vec<ParticipantId> = waiting.map(|state| state.id).collect();
        for id in waiting {
            let Some(state) = self.roster.get_mut(&id) else {
                continue;
            };
            state.waiting = false;
            let state = state.clone();
            // No longer true.
            let told = self.persons.get_mut(&id).and_then(|person| person.waits.take());
            if let Some(told) = told {
                self.cancel(told);
            }
            if !state.held {
                self.ask(Effect::SetHeld {
                    participant: id,
                    held: false,
                });
            }
            self.publish(wall, EventKind::ReleaseMember, Some(state));
        }
    }

    /// The last moderator has left: says that the conference ends, and ends it when that is said, or the time for it is over.
    fn begin_to_end(&mut self) {
        let due = self.now.after_ms(u64::from(self.settings.end_grace_ms));
        // Nothing that plays may hold this up, no tone of who has just left either, and who is told something would not hear it.
        for play in self.plays.of_those_in_the_mix() {
            self.cancel(play);
        }
        self.announce_no_more();
        let speech = self.settings.sounds.speech.as_ref();
        let said = speech.map(|speech| speech.prompt("conf-ending"));
        let announcement = self.start(Audience::Everybody, said.into_iter().collect(), Occasion::Ending);
        self.ending = Some((due, announcement));
    }
}
