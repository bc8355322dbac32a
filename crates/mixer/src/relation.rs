//! Who does not hear whom: sparse records, one for each ordered pair. Never allocates after construction.

/// One record: this listener does not hear this talker. Sorted by listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    listener: u32,
    talker: u32,
}

/// The records of one mix.
#[derive(Debug)]
pub(crate) struct Relations {
    pairs: Vec<Pair>,
    room: usize,
}

impl Relations {
    /// Makes room for `room` records.
    pub(crate) fn with_room(room: usize) -> Self {
        Relations {
            pairs: Vec::with_capacity(room),
            room,
        }
    }

    /// Returns how many records there is room for.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Returns how many records there are.
    pub(crate) fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Records that the listener does not hear the talker. Returns whether that is so now; `false` without room.
    pub(crate) fn insert(&mut self, listener: u32, talker: u32) -> bool {
        let pair = Pair { listener, talker };
        match self.pairs.binary_search(&pair) {
            Ok(_) => true,
            Err(_) if self.pairs.len() == self.room => false,
            Err(index) => {
                self.pairs.insert(index, pair);
                true
            }
        }
    }

    /// Removes a record, if there is one.
    pub(crate) fn remove(&mut self, listener: u32, talker: u32) {
        if let Ok(index) = self.pairs.binary_search(&Pair { listener, talker }) {
            self.pairs.remove(index);
        }
    }

    /// Removes every record of a place that becomes free; names each listener who hears more by it.
    pub(crate) fn forget(&mut self, place: u32, mut freed: impl FnMut(u32)) {
        self.pairs.retain(|pair| {
            if pair.talker == place {
                freed(pair.listener);
            }
            pair.talker != place && pair.listener != place
        });
    }

    /// Returns how many talkers a listener does not hear.
    pub(crate) fn count_of(&self, listener: u32) -> usize {
        self.of(listener).len()
    }

    /// Returns whether the listener hears the talker.
    pub(crate) fn hears(&self, listener: u32, talker: u32) -> bool {
        self.of(listener)
            .binary_search_by_key(&talker, |pair| pair.talker)
            .is_err()
    }

    /// Returns those of the talkers whom the listener does not hear.
    pub(crate) fn unheard<'a>(&'a self, listener: u32, talkers: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let own = self.of(listener);
        talkers
            .iter()
            .copied()
            .filter(move |talker| own.binary_search_by_key(talker, |pair| pair.talker).is_ok())
    }

    /// Takes over the records of another store, which fit.
    pub(crate) fn take_over(&mut self, other: &Relations) {
        self.pairs.clear();
        self.pairs.extend_from_slice(&other.pairs);
    }

    /// Returns the records of one listener.
    fn of(&self, listener: u32) -> &[Pair] {
        let start = self.pairs.partition_point(|pair| pair.listener < listener);
        let length = self.pairs[start..].partition_point(|pair| pair.listener == listener);
        &self.pairs[start..start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_directional_unique_and_bounded() {
        let mut relations = Relations::with_room(3);
        assert!(relations.insert(1, 2));
        assert!(relations.insert(1, 2), "once more is nothing new");
        assert!(relations.insert(0, 2) && relations.insert(1, 0));
        assert!(!relations.insert(2, 1), "no room");
        assert_eq!((relations.count(), relations.count_of(1)), (3, 2));
        assert!(relations.hears(2, 1) && !relations.hears(1, 2));
        assert_eq!(relations.unheard(1, &[0, 1, 2, 3]).collect::<Vec<_>>(), [0, 2]);
        relations.remove(1, 2);
        relations.remove(1, 2);
        assert!(relations.hears(1, 2) && !relations.hears(1, 0));
    }

    #[test]
    fn a_place_that_becomes_free_leaves_no_record() {
        let mut relations = Relations::with_room(8);
        for (listener, talker) in [(0, 1), (1, 0), (2, 1), (2, 0)] {
            assert!(relations.insert(listener, talker));
        }
        let mut freed = Vec::new();
        relations.forget(1, |listener| freed.push(listener));
        assert_eq!(freed, [0, 2]);
        assert_eq!(relations.count(), 1);
        assert!(!relations.hears(2, 0));
    }
}
