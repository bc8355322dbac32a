//! The table of bindings: by owner, by connection, by what is due next.
//!
//! Owns that the three agree, and the queue of what has to be told. Never decides what a binding is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeBounds;
use std::time::Instant;

use super::binding::{Binding, BindingId};
use super::output::{RegistrarOutput, Unbound};

#[derive(Debug)]
pub(super) struct Table<K> {
    owners: BTreeMap<K, Vec<Binding>>,
    /// End or next keep-alive, whichever comes first.
    due: BTreeSet<(Instant, K, BindingId)>,
    connections: BTreeMap<u64, BTreeSet<(K, BindingId)>>,
    bindings: usize,
    last_id: u64,
    ticks: u64,
    outputs: VecDeque<RegistrarOutput<K>>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Table {
            owners: BTreeMap::new(),
            due: BTreeSet::new(),
            connections: BTreeMap::new(),
            bindings: 0,
            last_id: 0,
            ticks: 0,
            outputs: VecDeque::new(),
        }
    }
}

fn due(binding: &Binding) -> Instant {
    let keep_alive = binding.keep_alive_at.unwrap_or(binding.expires_at);
    keep_alive.min(binding.expires_at)
}

impl<K: Ord + Clone> Table<K> {
    pub(super) fn of(&self, owner: &K) -> &[Binding] {
        self.owners.get(owner).map_or(&[], Vec::as_slice)
    }

    pub(super) fn owners(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &Vec<Binding>)> {
        self.owners.range(range)
    }

    /// Bindings, and owners of them.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.bindings, self.owners.len())
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    pub(super) fn first_on(&self, connection: u64) -> Option<(K, BindingId)> {
        self.connections.get(&connection)?.first().cloned()
    }

    pub(super) fn first_due(&self, now: Instant) -> Option<(K, BindingId)> {
        let (at, owner, id) = self.due.first()?;
        (*at <= now).then(|| (owner.clone(), *id))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    pub(super) fn add(&mut self, owner: &K, mut binding: Binding) {
        self.last_id += 1;
        binding.id = BindingId(self.last_id);
        let id = binding.id;
        let is_first = self.insert(owner, binding);
        self.output(RegistrarOutput::Bound {
            owner: owner.clone(),
            id,
            is_first,
        });
    }

    /// Puts one back that has its number already; nobody is told.
    pub(super) fn restore(&mut self, owner: &K, binding: Binding) {
        self.last_id = self.last_id.max(binding.id.0);
        if !self.of(owner).iter().any(|known| known.id == binding.id) {
            self.insert(owner, binding);
        }
    }

    /// One that was to be put back is gone instead.
    pub(super) fn forget_restored(&mut self, owner: &K, id: BindingId) {
        self.last_id = self.last_id.max(id.0);
        self.output(RegistrarOutput::Unbound {
            owner: owner.clone(),
            id,
            why: Unbound::Expired,
            was_last: false,
        });
    }

    fn insert(&mut self, owner: &K, binding: Binding) -> bool {
        self.index(owner, &binding);
        self.bindings += 1;
        let bindings = self.owners.entry(owner.clone()).or_default();
        bindings.push(binding);
        bindings.len() == 1
    }

    /// Puts what a REGISTER has made of a binding in its place.
    pub(super) fn refresh(&mut self, owner: &K, id: BindingId, made: Binding) {
        let mut has_changed = false;
        self.change(owner, id, |binding| {
            has_changed = binding.differs_from(&made);
            *binding = Binding { id, ..made };
        });
        self.output(RegistrarOutput::Refreshed {
            owner: owner.clone(),
            id,
            has_changed,
        });
    }

    /// Changes a binding, whatever of it.
    pub(super) fn change(&mut self, owner: &K, id: BindingId, change: impl FnOnce(&mut Binding)) {
        let Some(place) = self.of(owner).iter().position(|binding| binding.id == id) else {
            return;
        };
        self.unindex(owner, place);
        let Some(bindings) = self.owners.get_mut(owner) else {
            return;
        };
        change(&mut bindings[place]);
        let binding = bindings[place].clone();
        self.index(owner, &binding);
    }

    pub(super) fn remove(&mut self, owner: &K, id: BindingId, why: Unbound) {
        let Some(place) = self.of(owner).iter().position(|binding| binding.id == id) else {
            return;
        };
        self.unindex(owner, place);
        let mut was_last = false;
        if let Some(bindings) = self.owners.get_mut(owner) {
            bindings.remove(place);
            was_last = bindings.is_empty();
        }
        if was_last {
            self.owners.remove(owner);
        }
        self.bindings -= 1;
        self.output(RegistrarOutput::Unbound {
            owner: owner.clone(),
            id,
            why,
            was_last,
        });
    }

    fn index(&mut self, owner: &K, binding: &Binding) {
        self.due.insert((due(binding), owner.clone(), binding.id));
        if binding.flow.connection != 0 {
            let on = self.connections.entry(binding.flow.connection).or_default();
            on.insert((owner.clone(), binding.id));
        }
    }

    fn unindex(&mut self, owner: &K, place: usize) {
        let Some(binding) = self.owners.get(owner).and_then(|bindings| bindings.get(place)) else {
            return;
        };
        self.due.remove(&(due(binding), owner.clone(), binding.id));
        if let Some(on) = self.connections.get_mut(&binding.flow.connection) {
            on.remove(&(owner.clone(), binding.id));
            if on.is_empty() {
                self.connections.remove(&binding.flow.connection);
            }
        }
    }

    pub(super) fn output(&mut self, output: RegistrarOutput<K>) {
        self.outputs.push_back(output);
    }

    pub(super) fn poll_output(&mut self) -> Option<RegistrarOutput<K>> {
        self.outputs.pop_front()
    }
}
