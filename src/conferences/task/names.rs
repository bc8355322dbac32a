//! Owns the recorded names of one conference: of those who are in it or have a place, and of those who have left until they are announced.
//! What is known of a name beyond that stands in the core.

use std::collections::BTreeMap;

use confab_conference::{MediaName, ParticipantId};

use super::Task;
use crate::conferences::media::MixPlane;
use crate::names::SpokenName;
use crate::sounds::Audible;

/// Memory for the recorded names of one conference, in octets: of about a thousand callers. Who comes beyond is announced without his.
const MOST_OCTETS: usize = 64_000_000;

/// The recorded names of one conference.
#[derive(Default)]
pub(super) struct Names {
    of: BTreeMap<ParticipantId, SpokenName>,
    leaving: Vec<SpokenName>,
    octets: usize,
}

impl Names {
    /// Returns the name of somebody who has a place.
    pub(super) fn of(&self, participant: ParticipantId) -> Option<&SpokenName> {
        self.of.get(&participant)
    }

    /// Returns what a name of media means, if it is a name of somebody.
    pub(super) fn audible(&self, media: &MediaName) -> Option<Audible> {
        let mut all = self.of.values().chain(&self.leaving);
        all.find(|name| name.id() == media).map(SpokenName::audible)
    }

    fn has_room(&self, name: &SpokenName) -> bool {
        self.octets + name.octets() <= MOST_OCTETS
    }

    fn keep(&mut self, participant: ParticipantId, name: SpokenName) {
        self.octets += name.octets();
        if let Some(before) = self.of.insert(participant, name) {
            self.octets -= before.octets();
        }
    }

    /// Takes note that somebody has given up his place; his name may still be announced.
    pub(super) fn leaves(&mut self, participant: ParticipantId) {
        self.leaving.extend(self.of.remove(&participant));
    }

    fn forget(&mut self, is_wanted: impl Fn(&MediaName) -> bool) {
        let octets = &mut self.octets;
        self.leaving.retain(|name| {
            let is_wanted = is_wanted(name.id());
            *octets -= if is_wanted { 0 } else { name.octets() };
            is_wanted
        });
    }
}

impl<M: MixPlane> Task<M> {
    /// Gives somebody who has a place the name that is announced.
    pub(super) fn name(&mut self, participant: ParticipantId, name: SpokenName) {
        if !self.names.has_room(&name) {
            tracing::debug!(%participant, "no room for the recording of a name");
            return;
        }
        // Refused when he has joined, or gone.
        if self.core.name(participant, name.id().clone()).is_ok() {
            self.names.keep(participant, name);
        }
    }

    /// Frees the names of those who have left and been announced.
    pub(super) fn forget_names(&mut self) {
        let core = &self.core;
        self.names.forget(|name| core.will_announce(name));
    }
}
