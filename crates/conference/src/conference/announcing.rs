//! Owns what a conference says: who comes and goes, to everybody, and to one participant what was done to him. A crowd is announced as
//! one: whoever comes or goes while an announcement of this kind is not over is part of the next. The same holds for what one participant has
//! missed, because he was told something, and is told alone.

use std::collections::BTreeMap;

use super::Conference;
use crate::play::Occasion;
use crate::{Audience, MediaName, ParticipantId, ParticipantState, PlayNumber, Refusal, Speech};

/// Names that are said one after the other; of more people their number is said.
const MOST_NAMES: usize = 3;

/// Those who came, or went, since the last announcement.
#[derive(Clone, Debug, Default)]
struct Crowd {
    /// Those who are to be named, or counted.
    people: usize,
    /// The first few; `None` for who has not said his name.
    names: Vec<Option<MediaName>>,
    tone: Option<MediaName>,
}

impl Crowd {
    fn join(&mut self, other: &Crowd) {
        self.people += other.people;
        let room = MOST_NAMES.saturating_sub(self.names.len());
        self.names.extend(other.names.iter().take(room).cloned());
        self.tone = self.tone.take().or_else(|| other.tone.clone());
    }

    fn is_empty(&self) -> bool {
        self.people == 0 && self.tone.is_none()
    }

    fn names(&self, name: &MediaName) -> bool {
        self.names.iter().flatten().any(|named| named == name)
    }
}

/// Those of whom somebody, or everybody, is still to be told.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    came: Crowd,
    went: Crowd,
}

impl Crowds {
    fn of(&mut self, occasion: Occasion) -> &mut Crowd {
        match occasion {
            Occasion::Exit => &mut self.went,
            _ => &mut self.came,
        }
    }

    fn names(&self, name: &MediaName) -> bool {
        self.came.names(name) || self.went.names(name)
    }
}

/// Announcements that have to wait for the one before, and those that are not over: who misses them is told later.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    next: Crowds,
    current: BTreeMap<PlayNumber, (Occasion, Crowd)>,
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
            if !self.plays.any(occasion, Audience::Everybody, true) {
                let crowd = Crowd {
                    tone,
                    ..Crowd::default()
                };
                self.announce_crowd(Audience::Everybody, occasion, crowd);
            }
            return;
        }
        let crowd = Crowd {
            people: 1,
            names: vec![who.caller.spoken_name.clone()],
            tone,
        };
        self.announcing.next.of(occasion).join(&crowd);
        self.announce_next(Audience::Everybody, occasion);
    }

    /// Announces to everybody who came, or went, since the last announcement of this kind, or to one alone whom he has not heard of, unless
    /// that is not over. To him a tone need only have begun.
    pub(super) fn announce_next(&mut self, audience: Audience, occasion: Occasion) {
        let crowds = match audience {
            Audience::Everybody => Some(&mut self.announcing.next),
            Audience::One(id) => self.persons.get_mut(&id).map(|person| &mut person.missed),
            Audience::Waiting => None,
        };
        let Some(crowd) = crowds.map(|crowds| crowds.of(occasion)) else {
            return;
        };
        let is_tone = crowd.people == 0;
        if self.plays.any(occasion, audience, is_tone) || self.ending.is_some() {
            // One that has not begun stands for this one.
            if is_tone {
                *crowd = Crowd::default();
            }
            return;
        }
        let crowd = std::mem::take(crowd);
        if !crowd.is_empty() && self.counted() > 0 {
            self.announce_crowd(audience, occasion, crowd);
        }
    }

    fn announce_crowd(&mut self, audience: Audience, occasion: Occasion, crowd: Crowd) {
        let mut said: Vec<_> = crowd.tone.iter().cloned().collect();
        if let Some(speech) = &self.settings.sounds.speech {
            said.extend(names(speech, occasion, crowd.people, &crowd.names));
        }
        if let Some(play) = self.start(audience, said, occasion)
            && audience == Audience::Everybody
        {
            self.announcing.current.insert(play, (occasion, crowd));
        }
    }

    /// Forgets what an announcement to everybody said: nobody can miss it any more.
    pub(super) fn forget_announcement(&mut self, play: PlayNumber) {
        self.announcing.current.remove(&play);
    }

    /// Forgets what was not announced: the end is what counts.
    pub(super) fn announce_no_more(&mut self) {
        self.announcing.next = Crowds::default();
        for person in self.persons.values_mut() {
            person.missed = Crowds::default();
        }
    }

    /// Takes note that a participant does not hear an announcement that all the others hear, because he is told something: he is told of it
    /// afterwards, if he could have heard it.
    pub fn play_missed(&mut self, play: PlayNumber, id: ParticipantId) -> Result<(), Refusal> {
        self.alive()?;
        let state = self.find(id)?;
        let could_hear = !state.deaf && !state.is_out_of_mix();
        if let Some((occasion, crowd)) = self.announcing.current.get(&play)
            && let Some(person) = self.persons.get_mut(&id)
            && could_hear
        {
            let occasion = *occasion;
            person.missed.of(occasion).join(crowd);
            self.announce_next(Audience::One(id), occasion);
        }
        Ok(())
    }

    /// Returns whether this name will, or may, be part of an announcement to come.
    pub fn will_announce(&self, name: &MediaName) -> bool {
        let current = self.announcing.current.values();
        let mut missed = self.persons.values().map(|person| &person.missed);
        self.announcing.next.names(name)
            || current.into_iter().any(|(_, crowd)| crowd.names(name))
            || missed.any(|crowds| crowds.names(name))
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

    /// Tells somebody who has just joined why he waits.
    pub(super) fn tell_waiting(&mut self, joined: &ParticipantState) {
        let speech = self.settings.sounds.speech.as_ref();
        let Some(speech) = speech.filter(|_| joined.waiting && !joined.deaf) else {
            return;
        };
        let media = vec![speech.prompt("conf-waiting_for_moderator")];
        let told = self.tell(joined.id, media);
        if let Some(person) = self.persons.get_mut(&joined.id) {
            person.waits = told;
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
fn names(speech: &Speech, occasion: Occasion, people: usize, names: &[Option<MediaName>]) -> Vec<MediaName> {
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
    let each = names.iter().flat_map(|name| match name {
        Some(name) => vec![name.clone(), speech.prompt(he)],
        None => vec![speech.prompt(somebody)],
    });
    each.collect()
}
