//! Places of legs and conferences on a shard. Places are given out by the control side and used by the shard; the
//! generation tells a new tenant from the old one of the same place.

/// Where a leg lives on its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LegKey {
    /// Below 2^31.
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Where a conference's audio lives on its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConferenceKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Gives out places, lowest first, each time with a new generation. Used by the control side.
#[derive(Debug)]
pub(crate) struct Places {
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl Places {
    pub(crate) fn new(capacity: u32) -> Self {
        Places {
            generations: vec![0; capacity as usize],
            free: (0..capacity).rev().collect(),
        }
    }

    /// Takes a free place, as (index, generation).
    pub(crate) fn take(&mut self) -> Option<(u32, u32)> {
        let index = self.free.pop()?;
        let generation = &mut self.generations[index as usize];
        *generation = generation.wrapping_add(1);
        Some((index, *generation))
    }

    /// Gives a place back. To be called when its tenant has left the shard, or is about to by a command already queued.
    pub(crate) fn give_back(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Returns the places given out.
    pub(crate) fn in_use(&self) -> usize {
        self.generations.len() - self.free.len()
    }
}

/// The tenants of a shard's places. Used by the shard.
#[derive(Debug)]
pub(crate) struct Tenants<T> {
    places: Vec<(u32, Option<Box<T>>)>,
    /// No tenant lives at or above this index.
    end: usize,
    count: u32,
}

impl<T> Tenants<T> {
    pub(crate) fn new(capacity: u32) -> Self {
        Tenants {
            places: (0..capacity).map(|_| (0, None)).collect(),
            end: 0,
            count: 0,
        }
    }

    /// Moves a tenant in; returns whoever lived there before.
    pub(crate) fn insert(&mut self, index: u32, generation: u32, tenant: Box<T>) -> Option<Box<T>> {
        let Some(place) = self.places.get_mut(index as usize) else {
            return Some(tenant);
        };
        place.0 = generation;
        let before = place.1.replace(tenant);
        self.end = self.end.max(index as usize + 1);
        self.count += u32::from(before.is_none());
        before
    }

    /// Moves a tenant out.
    pub(crate) fn remove(&mut self, index: u32, generation: u32) -> Option<Box<T>> {
        let place = self
            .places
            .get_mut(index as usize)
            .filter(|place| place.0 == generation)?;
        let tenant = place.1.take()?;
        self.count -= 1;
        while self.end > 0 && self.places[self.end - 1].1.is_none() {
            self.end -= 1;
        }
        Some(tenant)
    }

    pub(crate) fn get(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let place = self
            .places
            .get_mut(index as usize)
            .filter(|place| place.0 == generation)?;
        place.1.as_deref_mut()
    }

    /// Returns the tenant of a place, whichever it is.
    pub(crate) fn at(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.1.as_deref_mut()
    }

    /// Looks at the tenant of a place, whichever it is.
    pub(crate) fn peek(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.1.as_deref()
    }

    /// Returns an index above all tenants.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_tenant_is_not_taken_for_the_old_one() {
        let mut places = Places::new(2);
        let mut tenants = Tenants::new(2);
        let (index, old) = places.take().unwrap();
        assert!(tenants.insert(index, old, Box::new("old")).is_none());
        assert_eq!((tenants.end(), tenants.count()), (1, 1));
        assert_eq!(tenants.remove(index, old).as_deref(), Some(&"old"));
        places.give_back(index);
        let (again, new) = places.take().unwrap();
        assert_eq!(again, index);
        tenants.insert(again, new, Box::new("new"));
        assert_eq!(tenants.get(index, old), None);
        assert_eq!(tenants.remove(index, old), None);
        assert_eq!(tenants.get(index, new), Some(&mut "new"));
        assert_eq!(tenants.at(index), Some(&mut "new"));
        assert_eq!(places.in_use(), 1);
    }

    #[test]
    fn places_run_out() {
        let mut places = Places::new(1);
        assert!(places.take().is_some());
        assert!(places.take().is_none());
        let mut tenants = Tenants::new(1);
        assert!(tenants.insert(1, 1, Box::new(())).is_some(), "no such place");
        assert!(tenants.at(5).is_none());
        assert_eq!(tenants.end(), 0);
    }
}
