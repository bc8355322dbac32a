//! Owns what a conference says: who comes and goes, to everybody, and to one participant what was done to him. A crowd is announced as
//! one: whoever comes or goes while an announcement of this kind is not over is part of the next.

use super::Conference;
use crate::play::Occasion;
use crate::{Audience, MediaName, ParticipantId, ParticipantState, PlayNumber, Speech};

/// Names that are said one after the other; of more people their number is said.
const MOST_NAMES: usize = 3;

/// Those who came, or went, since the last announcement.
#[derive(Clone, Debug, Default)]
struct Crowd {
    people: usize,
    /// The first few; `None` for who has not said his name.
    names: Vec<Option<MediaName>>,
    tone: Option<MediaName>,
}

/// Announcements that have to wait for the one before.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    came: Crowd,
    went: Crowd,
}

impl Announcing {
    fn crowd(&mut self, occasion: Occasion) -> &mut Crowd {
        match occasion {
            Occasion::Exit => &mut self.went,
            _ => &mut self.came,
        }
    }
}

impl Conference {
    /// Announces somebody who is on the roster already to those whom he joins.
    pub(super) fn announce_entry(&mut self, joined: &ParticipantState) {
        if !joined.ghost && !joined.waiting && self.counted() > 1 {
            let tone = self.settings.tone_of_entry(joined.role);
            self.announce(Occasion::Entry, joined, tone);
        }
    }

    /// Announces somebody who is off the roster already to those who stay.
    pub(super) fn announce_exit(&mut self, gone: &ParticipantState) {
        if !gone.ghost && !gone.waiting && self.counted() > 0 {
            let tone = self.settings.tone_of_exit(gone.role);
            self.announce(Occasion::Exit, gone, tone);
        }
    }

    fn announce(&mut self, occasion: Occasion, who: &ParticipantState, tone: Option<MediaName>) {
        if self.ending.is_some() {
            return;
        }
        if !self.says_names() {
            // A tone that has not begun to sound yet stands for all who come or go meanwhile.
            if !self.plays.any(occasion, true) {
                self.start(Audience::Everybody, tone.into_iter().collect(), occasion);
            }
            return;
        }
        let crowd = self.announcing.crowd(occasion);
        crowd.people += 1;
        if crowd.names.len() < MOST_NAMES {
            crowd.names.push(who.caller.spoken_name.clone());
        }
        crowd.tone = crowd.tone.take().or(tone);
        self.announce_next(occasion);
    }

    /// Announces who came, or went, since the last announcement of this kind, unless that is not over.
    pub(super) fn announce_next(&mut self, occasion: Occasion) {
        if self.plays.any(occasion, false) || self.ending.is_some() {
            return;
        }
        let crowd = std::mem::take(self.announcing.crowd(occasion));
        if crowd.people == 0 || self.counted() == 0 {
            return;
        }
        let mut said: Vec<_> = crowd.tone.into_iter().collect();
        if let Some(speech) = &self.settings.sounds.speech {
            said.extend(names(speech, occasion, crowd.people, crowd.names));
        }
        self.start(Audience::Everybody, said, occasion);
    }

    /// Returns whether this name will be part of an announcement that has to wait.
    pub fn will_announce(&self, name: &MediaName) -> bool {
        let waiting = self
            .announcing
            .came
            .names
            .iter()
            .chain(&self.announcing.went.names);
        waiting.flatten().any(|waits| waits == name)
    }

    fn says_names(&self) -> bool {
        self.settings.sounds.names && self.settings.sounds.speech.is_some()
    }

    // To one participant.

    /// Tells one participant something, behind what he is told already.
    pub(super) fn tell(&mut self, id: ParticipantId, media: Vec<MediaName>) -> Option<PlayNumber> {
        self.start(Audience::One(id), media, Occasion::Prompt)
    }

    /// Tells one participant what became of him, in place of what he was told last of that.
    pub(super) fn tell_at_once(&mut self, id: ParticipantId, media: Vec<MediaName>) {
        let last = self.persons.get_mut(&id).and_then(|person| person.told.take());
        if let Some(last) = last {
            self.cancel(last);
        }
        let told = self.tell(id, media);
        if let Some(person) = self.persons.get_mut(&id) {
            person.told = told;
        }
    }

    /// Tells one participant what a prompt says.
    pub(super) fn tell_prompt(&mut self, id: ParticipantId, prompt: &str) {
        if let Some(speech) = &self.settings.sounds.speech {
            let media = vec![speech.prompt(prompt)];
            self.tell_at_once(id, media);
        }
    }

    /// Tells one participant that he is muted, or may speak.
    pub(super) fn tell_muted(&mut self, id: ParticipantId, muted: bool) {
        let sounds = &self.settings.sounds;
        if muted && sounds.muted.is_some() && self.is_stuck(id) {
            return self.tell_prompt(id, "conf-cannot_unmute");
        }
        let sound = if muted { &sounds.muted } else { &sounds.unmuted };
        let media = sound.iter().cloned().collect();
        self.tell_at_once(id, media);
    }

    /// Tells one participant that he is deaf, or may hear.
    pub(super) fn tell_deaf(&mut self, id: ParticipantId, deaf: bool) {
        let sounds = &self.settings.sounds;
        let sound = if deaf { &sounds.deaf } else { &sounds.undeaf };
        let media = sound.iter().cloned().collect();
        self.tell_at_once(id, media);
    }

    /// Tells one participant how many there are.
    pub(super) fn tell_count(&mut self, id: ParticipantId) {
        if let Some(speech) = &self.settings.sounds.speech {
            let media = speech.count(self.counted());
            self.tell_at_once(id, vec![media]);
        }
    }

    /// Tells somebody who has just joined what he has to know.
    pub(super) fn tell_joiner(&mut self, joined: &ParticipantState) {
        let (id, count) = (joined.id, self.counted());
        let wanted = self.settings.sounds.announce_count as usize;
        if let Some(speech) = &self.settings.sounds.speech
            && wanted > 1
            && count >= wanted
            && !joined.ghost
            && !joined.deaf
        {
            let media = speech.count(count);
            self.tell(id, vec![media]);
        }
        let told = self.settings.sounds.muted.is_some();
        if told && joined.muted && !joined.ghost && self.is_stuck(id) {
            self.tell_prompt(id, "conf-cannot_unmute");
        }
    }

    /// Returns whether a participant has no key that lets him speak.
    fn is_stuck(&self, id: ParticipantId) -> bool {
        let state = self.roster.get(&id);
        state.is_some_and(|state| !self.settings.keys(state.role).unmutes())
    }
}

/// Returns what says who came, or went.
fn names(
    speech: &Speech,
    occasion: Occasion,
    people: usize,
    names: Vec<Option<MediaName>>,
) -> Vec<MediaName> {
    let (somebody, he, they) = match occasion {
        Occasion::Exit => ("conf-someone_left", "conf-has_left", "conf-people_have_left"),
        _ => (
            "conf-someone_joined",
            "conf-has_joined",
            "conf-people_have_joined",
        ),
    };
    if people > MOST_NAMES {
        return vec![speech.sentence(None, people, they)];
    }
    let each = names.into_iter().flat_map(|name| match name {
        Some(name) => vec![name, speech.prompt(he)],
        None => vec![speech.prompt(somebody)],
    });
    each.collect()
}
