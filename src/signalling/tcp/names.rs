//! Numbers for the names that certificates of peers have to show.
//!
//! Owns the table of both. It looks nothing up in the network.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::pki_types::ServerName;

/// Names that are known at a time; the one used longest ago makes room.
const MOST_NAMES: usize = 16_384;

/// Names with their numbers; clones share them. A number is never given to another name.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerNames(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<ServerName<'static>, u64>,
    names: HashMap<u64, Used>,
    last: u64,
    uses: u64,
}

#[derive(Debug)]
struct Used {
    name: ServerName<'static>,
    at: u64,
}

impl PeerNames {
    /// Returns the number of a host name; `None` for one that no certificate can show.
    pub(crate) fn number(&self, host: &str) -> Option<u64> {
        let name = ServerName::try_from(host.trim_end_matches('.').to_ascii_lowercase()).ok()?;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.uses += 1;
        let at = table.uses;
        if let Some(number) = table.numbers.get(&name).copied() {
            if let Some(used) = table.names.get_mut(&number) {
                used.at = at;
            }
            return Some(number);
        }
        if table.names.len() >= MOST_NAMES {
            table.forget_one();
        }
        table.last += 1;
        let number = table.last;
        table.numbers.insert(name.clone(), number);
        table.names.insert(number, Used { name, at });
        Some(number)
    }

    /// Returns the name that has this number, if it is still known.
    pub(crate) fn name(&self, number: u64) -> Option<ServerName<'static>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.uses += 1;
        let at = table.uses;
        let used = table.names.get_mut(&number)?;
        used.at = at;
        Some(used.name.clone())
    }
}

impl Table {
    fn forget_one(&mut self) {
        let oldest = self.names.iter().min_by_key(|(_, used)| used.at);
        let Some((number, name)) = oldest.map(|(number, used)| (*number, used.name.clone())) else {
            return;
        };
        self.names.remove(&number);
        self.numbers.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_a_number_its_name() {
        let names = PeerNames::default();
        let first = names.number("Sip.Example.com").unwrap();
        assert_eq!(names.number("sip.example.com."), Some(first));
        assert_ne!(names.number("sip.example.org"), Some(first));
        assert_eq!(names.name(first).unwrap().to_str(), "sip.example.com");
        assert_eq!(names.name(0), None);
        assert_eq!(names.number("-"), None);
    }

    #[test]
    fn there_is_no_end_of_names_but_of_those_that_are_known() {
        let names = PeerNames::default();
        let kept = names.number("kept.example").unwrap();
        let gone = names.number("gone.example").unwrap();
        for other in 0..MOST_NAMES {
            names.number(&format!("{other}.example")).unwrap();
            assert!(names.name(kept).is_some());
        }
        assert_eq!(names.name(gone), None);
        assert_eq!(names.0.lock().unwrap().names.len(), MOST_NAMES);
        assert_eq!(names.0.lock().unwrap().numbers.len(), MOST_NAMES);
        assert_ne!(names.number("gone.example"), Some(gone));
    }
}
