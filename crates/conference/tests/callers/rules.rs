//! The rules, told from those who are there: no events, no effects, no memory but of what cannot be seen from them.

use std::collections::{BTreeMap, BTreeSet};

use confab_conference::*;

/// How long a conference goes on without the moderator it requires, and how long a key waits for the next.
const GRACE_MS: u64 = 1800;
const KEY_MS: u64 = 500;

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) moderator: bool,
    pub(crate) ghost: bool,
    pub(crate) no_music: bool,
    pub(crate) muted: bool,
    pub(crate) deaf: bool,
    pub(crate) held: bool,
    pub(crate) waits: bool,
}

#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) people: BTreeMap<ParticipantId, Person>,
    pub(crate) locked: bool,
    pub(crate) ended: bool,
    pub(crate) now: u64,
    started: bool,
    waits: bool,
    requires: bool,
    was_led: bool,
    left_alone_at: Option<u64>,
    /// Keys that may go on, and since when.
    stars: BTreeMap<ParticipantId, u64>,
}

impl Rules {
    pub(crate) fn new(waits: bool, requires: bool) -> Rules {
        Rules {
            people: BTreeMap::new(),
            locked: false,
            ended: false,
            now: 0,
            started: false,
            waits,
            requires,
            was_led: false,
            left_alone_at: None,
            stars: BTreeMap::new(),
        }
    }

    pub(crate) fn admits(&self, entry: Entry) -> bool {
        let company = !matches!(
            entry,
            Entry::DialOut {
                join_existing: true,
                ..
            }
        ) || self.started;
        let lock = !self.locked || matches!(entry, Entry::DialOut { .. });
        !self.ended && company && lock
    }

    pub(crate) fn enter(&mut self, id: ParticipantId, mut person: Person) {
        self.started = true;
        person.waits = self.waits && !self.was_led && !person.moderator && !person.ghost;
        self.people.insert(id, person);
        self.look_around();
    }

    pub(crate) fn leave(&mut self, id: ParticipantId) -> bool {
        self.stars.remove(&id);
        let known = self.people.remove(&id).is_some();
        self.ended |= known && self.people.is_empty();
        self.look_around();
        known
    }

    pub(crate) fn change(&mut self, id: ParticipantId, change: impl FnOnce(&mut Person)) -> bool {
        self.people.get_mut(&id).map(change).is_some()
    }

    pub(crate) fn mute_all(&mut self, muted: bool) {
        for person in self.people.values_mut().filter(|person| !person.moderator) {
            person.muted = muted;
        }
    }

    pub(crate) fn keys(&mut self, id: ParticipantId, keys: &str) {
        let star = self.stars.remove(&id).is_some();
        let starred = if star && !keys.starts_with('*') { "*" } else { "" };
        let keys = format!("{starred}{keys}");
        let change: fn(&mut Person) = match keys.as_str() {
            "*1" => |person| person.muted = !person.muted,
            "*2" => |person| person.muted = true,
            "*3" => |person| person.muted = false,
            "*4" => |person| person.deaf = !person.deaf,
            "*5" => |person| person.deaf = true,
            "*6" => |person| person.deaf = false,
            "*" => {
                self.stars.insert(id, self.now);
                return;
            }
            "#" | "*#" => {
                self.leave(id);
                return;
            }
            _ => return,
        };
        self.change(id, change);
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        let now = self.now;
        self.stars.retain(|_, since| *since + KEY_MS > now);
        if self.left_alone_at.is_some_and(|since| since + GRACE_MS <= now) {
            self.end();
        }
    }

    pub(crate) fn set(&mut self, waits: bool, requires: bool) {
        (self.waits, self.requires) = (waits, requires);
        self.look_around();
    }

    pub(crate) fn end(&mut self) {
        self.people.clear();
        self.ended = true;
    }

    fn look_around(&mut self) {
        let led = self
            .people
            .values()
            .any(|person| person.moderator && !person.ghost);
        self.was_led |= led;
        if self.was_led || !self.waits {
            self.people.values_mut().for_each(|person| person.waits = false);
        }
        let left_alone = self.requires && self.was_led && !led && !self.people.is_empty();
        self.left_alone_at = left_alone.then(|| self.left_alone_at.unwrap_or(self.now));
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let keys = self.stars.values().map(|since| since + KEY_MS);
        keys.chain(self.left_alone_at.map(|since| since + GRACE_MS)).min()
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        let count = |moderator| {
            let people = self.people.values();
            people
                .filter(|person| !person.ghost && person.moderator == moderator)
                .count()
        };
        (count(false), count(true))
    }

    /// Returns who hears music without an end.
    pub(crate) fn music(&self) -> BTreeSet<Audience> {
        let mut hearers = BTreeSet::new();
        if self.people.values().any(|person| person.held || person.waits) {
            hearers.insert(Audience::Waiting);
        }
        let counted: Vec<_> = self.people.iter().filter(|(_, person)| !person.ghost).collect();
        if let [(id, person)] = counted[..]
            && !person.waits
            && !person.held
            && !person.deaf
            && !person.no_music
        {
            hearers.insert(Audience::One(*id));
        }
        hearers
    }
}
