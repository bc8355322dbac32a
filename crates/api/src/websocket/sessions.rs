//! Owns who is connected: how many of each address, and what each session is bound to. Never talks to one.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use confab_conference::{AccountId, GregorianSeconds};
use serde_json::{Map, Value};

use super::session::Session;
use crate::rate_limit::client_network;

/// The WebSocket sessions of the server. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    by_address: HashMap<IpAddr, usize>,
    sessions: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    account: Option<AccountId>,
    view: Map<String, Value>,
}

/// One place of an address; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    sessions: Sessions,
    address: SocketAddr,
}

impl Sessions {
    /// Takes a place for an address, of which there are `limit`; 0 sets none.
    pub(crate) fn enter(&self, address: SocketAddr, limit: usize) -> Option<Place> {
        let mut open = self.lock();
        let count = open.by_address.entry(client_network(address.ip())).or_default();
        if limit > 0 && *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place {
            sessions: self.clone(),
            address,
        })
    }

    /// Returns the sessions of an account's tokens, as the API shows them.
    pub(crate) fn of(&self, account: &AccountId) -> Vec<Value> {
        self.lock()
            .sessions
            .values()
            .filter(|entry| entry.account.as_ref() == Some(account))
            .map(|entry| Value::Object(entry.view.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic while the lock is held leaves whole entries.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns the session's id.
    pub(crate) fn id(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Shows the session as it is now.
    pub(crate) fn show(&self, session: &Session, destination: &str, since: GregorianSeconds) {
        let mut view = Map::new();
        view.insert("id".into(), self.id().into());
        view.insert("websocket_session_id".into(), self.id().into());
        view.insert("bindings".into(), session.texts().into());
        view.insert("source".into(), self.ip().to_string().into());
        view.insert("destination".into(), destination.into());
        view.insert("timestamp".into(), since.0.into());
        if let Some(name) = &session.name {
            view.insert("name".into(), name.as_str().into());
        }
        if let Some(metadata) = &session.metadata {
            view.insert("metadata".into(), metadata.clone());
        }
        let account = session.account().cloned();
        let entry = Entry { account, view };
        self.sessions.lock().sessions.insert(self.id(), entry);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let id = self.id();
        let mut open = self.sessions.lock();
        open.sessions.remove(&id);
        let ip = client_network(self.address.ip());
        if let Some(count) = open.by_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&ip);
            }
        }
    }
}
