//! Owns the relations between participants: records of who is not to hear whom. Never knows who is on the roster.

use std::collections::BTreeMap;

use crate::ParticipantId;

/// What a participant's record about another one says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relationship {
    /// The other one does not hear him.
    Mute,
    /// He does not hear the other one.
    Deaf,
    /// No record.
    Clear,
}

/// Whether one participant hears another, as the records about the two decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hearing {
    /// Who talks.
    pub talker: ParticipantId,
    /// Who listens.
    pub listener: ParticipantId,
    /// Whether the listener hears the talker, as far as relations go.
    pub heard: bool,
}

/// The records of one conference, by whom they belong to and whom they are about.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    records: BTreeMap<(ParticipantId, ParticipantId), Relationship>,
}

impl Relations {
    /// Returns whether the listener hears the talker: neither has a record against it.
    pub(crate) fn hears(&self, listener: ParticipantId, talker: ParticipantId) -> bool {
        self.records.get(&(talker, listener)) != Some(&Relationship::Mute)
            && self.records.get(&(listener, talker)) != Some(&Relationship::Deaf)
    }

    /// Replaces `one`'s record about `other`; returns what changed in who hears whom.
    pub(crate) fn set(
        &mut self,
        one: ParticipantId,
        other: ParticipantId,
        relationship: Relationship,
    ) -> impl Iterator<Item = Hearing> + use<> {
        let hearings = |relations: &Relations| {
            [(one, other), (other, one)].map(|(talker, listener)| Hearing {
                talker,
                listener,
                heard: relations.hears(listener, talker),
            })
        };
        let before = hearings(self);
        match relationship {
            Relationship::Clear => drop(self.records.remove(&(one, other))),
            record => drop(self.records.insert((one, other), record)),
        }
        let after = hearings(self);
        before
            .into_iter()
            .zip(after)
            .filter(|(before, after)| before != after)
            .map(|(_, after)| after)
    }

    /// Removes every record that belongs to a participant or is about him.
    pub(crate) fn forget(&mut self, gone: ParticipantId) {
        self.records
            .retain(|&(one, other), _| one != gone && other != gone);
    }
}
