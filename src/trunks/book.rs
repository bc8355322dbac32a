//! The gateways of all accounts that are switched on: where calls from them come from, and what is known of each.
//!
//! Owns the tables. Whoever fills them (`keeper`, `watch`) says when something has changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use confab_conference::AccountId;

use super::trunk::GatewayKey;

/// A trunk that a call comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// Whose it is.
    pub(crate) account: AccountId,
    /// The trunk's id.
    pub(crate) trunk: String,
}

impl Origin {
    fn of(gateway: &GatewayKey) -> Origin {
        Origin {
            account: gateway.account.clone(),
            trunk: gateway.trunk.clone(),
        }
    }
}

/// The gateways that are switched on.
#[derive(Default)]
pub(crate) struct Book(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    addresses: BTreeMap<GatewayKey, BTreeSet<IpAddr>>,
    by_address: HashMap<IpAddr, BTreeSet<GatewayKey>>,
    known: BTreeSet<GatewayKey>,
    /// By what stands in the Contacts of our registrations.
    lines: HashMap<String, GatewayKey>,
}

impl Book {
    /// Sets the addresses that calls of a gateway come from; none: it is gone.
    pub(super) fn set_addresses(&self, gateway: &GatewayKey, found: BTreeSet<IpAddr>) {
        let mut tables = self.tables();
        for old in tables.addresses.remove(gateway).unwrap_or_default() {
            let gone = tables.by_address.get_mut(&old).is_some_and(|gateways| {
                gateways.remove(gateway);
                gateways.is_empty()
            });
            if gone {
                tables.by_address.remove(&old);
            }
        }
        for address in &found {
            let gateways = tables.by_address.entry(*address).or_default();
            gateways.insert(gateway.clone());
        }
        if !found.is_empty() {
            tables.addresses.insert(gateway.clone(), found);
        }
    }

    /// Returns the trunks that have a gateway at this address, each once, in their order.
    pub(crate) fn at(&self, address: IpAddr) -> Vec<Origin> {
        let tables = self.tables();
        let gateways = tables.by_address.get(&address.to_canonical());
        let origins: BTreeSet<Origin> = gateways.into_iter().flatten().map(Origin::of).collect();
        origins.into_iter().collect()
    }

    /// Sets, or takes away, the gateway that knows this line of ours.
    pub(super) fn set_line(&self, line: &str, gateway: Option<&GatewayKey>) {
        let mut tables = self.tables();
        match gateway {
            Some(gateway) => drop(tables.lines.insert(line.to_owned(), gateway.clone())),
            None => drop(tables.lines.remove(line)),
        }
    }

    /// Returns the gateways of an account, in their order.
    pub(super) fn of(&self, account: &AccountId) -> Vec<GatewayKey> {
        let tables = self.tables();
        let known = tables.known.iter().filter(|gateway| gateway.account == *account);
        known.cloned().collect()
    }

    /// Notes that a gateway is watched, or is so no more.
    pub(super) fn set_known(&self, gateway: &GatewayKey, is_known: bool) {
        let mut tables = self.tables();
        if is_known {
            tables.known.insert(gateway.clone());
        } else {
            tables.known.remove(gateway);
        }
    }

    /// Returns the trunk that was told this line, which nobody else knows.
    pub(crate) fn by_line(&self, line: &str) -> Option<Origin> {
        self.tables().lines.get(line).map(Origin::of)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Held for single operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> GatewayKey {
        GatewayKey {
            account: AccountId::from(format!("a{}", number % 3)),
            trunk: format!("t{}", number % 4),
            address: format!("sip:gw{number}.example"),
        }
    }

    proptest! {
        #[test]
        fn an_address_has_the_trunks_of_the_gateways_that_are_there(
            steps in prop::collection::vec((0..8u8, prop::collection::btree_set(0..6u8, 0..4)), 0..40)
        ) {
            let book = Book::default();
            let mut model: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
            let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
            for (gateway, addresses) in steps {
                book.set_addresses(&key(gateway), addresses.iter().copied().map(ip).collect());
                model.insert(gateway, addresses);
                for address in 0..6 {
                    let expected: BTreeSet<Origin> = model
                        .iter()
                        .filter(|(_, addresses)| addresses.contains(&address))
                        .map(|(gateway, _)| Origin::of(&key(*gateway)))
                        .collect();
                    prop_assert_eq!(book.at(ip(address)), expected.into_iter().collect::<Vec<_>>());
                }
            }
            for gateway in 0..8 {
                book.set_addresses(&key(gateway), BTreeSet::new());
            }
            let tables = book.tables();
            prop_assert!(tables.addresses.is_empty() && tables.by_address.is_empty(), "nothing is left");
        }
    }
}
