//! Bindings as they rest in the store: what is written when, and what is in a row.
//!
//! Owns the times of writing. A binding that was only refreshed has a later end, which may be written late: until then the row says the
//! earlier one, and a refresh comes before that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use confab_conference::GregorianSeconds;
use confab_documents::{Registration, RegistrationKey, Store, StoreError};
use confab_sip::{Binding, BindingId, ByteStr, CallId, Flow, NameAddr, Transport, Uri};
use serde::{Deserialize, Serialize};

use super::Bindings;
use super::devices::DeviceKey;

/// How long the later end of a binding may wait.
const REFRESHES: Duration = Duration::from_secs(10);
/// Bindings that wait to be deleted while the store does not answer; beyond, the next start finds them over by their time.
const MOST_GONE: usize = 200_000;

/// What the store is yet to be told of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    Refreshed,
    Changed,
    Gone,
}

/// The bindings that the store is yet to be told of.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<(DeviceKey, BindingId), Dirty>);

impl Waiting {
    pub(super) fn changed(&mut self, owner: &DeviceKey, id: BindingId) {
        self.0.insert((owner.clone(), id), Dirty::Changed);
    }

    pub(super) fn refreshed(&mut self, owner: &DeviceKey, id: BindingId) {
        self.0.entry((owner.clone(), id)).or_insert(Dirty::Refreshed);
    }

    pub(super) fn gone(&mut self, owner: &DeviceKey, id: BindingId) {
        if self.0.len() < MOST_GONE {
            self.0.insert((owner.clone(), id), Dirty::Gone);
        } else {
            self.0.remove(&(owner.clone(), id));
        }
    }

    /// Takes out what is due: all of it, or all but what was only refreshed.
    fn take(&mut self, refreshes_too: bool) -> Vec<((DeviceKey, BindingId), Dirty)> {
        let due = |dirty: Dirty| refreshes_too || dirty != Dirty::Refreshed;
        self.0.extract_if(.., |_, dirty| due(*dirty)).collect()
    }

    /// Puts back what could not be written; what has happened meanwhile counts.
    fn put_back(&mut self, taken: Vec<((DeviceKey, BindingId), Dirty)>) {
        for (key, dirty) in taken {
            let place = self.0.entry(key).or_insert(dirty);
            *place = dirty.max(*place);
        }
    }
}

/// The store as the registrar uses it.
pub(super) struct Resting {
    store: Store,
    refreshes_written: Mutex<Instant>,
}

impl Resting {
    pub(super) fn new(store: Store) -> Resting {
        Resting {
            store,
            refreshes_written: Mutex::new(Instant::now()),
        }
    }

    /// Returns the bindings that rest, without those that cannot be read.
    pub(super) async fn read(&self) -> Result<Vec<(DeviceKey, Binding)>, StoreError> {
        let rows = self.store.registrations().await?;
        let (now, wall) = (Instant::now(), unix());
        let read = rows.into_iter().filter_map(|row| {
            let left = row.expires.0.saturating_sub(GregorianSeconds::from_unix(wall).0);
            let binding = Row::binding(&row.body, row.key.binding, now + Duration::from_secs(left));
            if binding.is_none() {
                tracing::warn!("a registration in the store cannot be read and is left out");
            }
            Some((DeviceKey::new(&row.key.account, &row.key.device), binding?))
        });
        Ok(read.collect())
    }

    /// Writes what is due; what cannot be written waits for the next time.
    pub(super) async fn write(&self, bindings: &Bindings, everything: bool) {
        let refreshes_too = everything || self.refreshes_are_due();
        let (taken, changed, gone) = {
            let mut state = bindings.state();
            let taken = state.waiting.take(refreshes_too);
            let (mut changed, mut gone) = (Vec::new(), Vec::new());
            let (now, wall) = (Instant::now(), unix());
            for ((owner, id), _) in &taken {
                let key = RegistrationKey {
                    account: owner.account.clone(),
                    device: owner.device.clone(),
                    binding: id.0,
                };
                match state.core.binding(owner, *id) {
                    Some(binding) => {
                        let left = binding.expires_at.saturating_duration_since(now);
                        changed.push(Registration {
                            key,
                            expires: GregorianSeconds::from_unix(wall + left.as_secs()),
                            body: Row::of(binding),
                        });
                    }
                    None => gone.push(key),
                }
            }
            (taken, changed, gone)
        };
        if taken.is_empty() {
            return;
        }
        if let Err(error) = self.store.save_registrations(&changed, &gone).await {
            tracing::warn!(%error, bindings = taken.len(), "registrations are yet to be written");
            bindings.state().waiting.put_back(taken);
        }
    }

    fn refreshes_are_due(&self) -> bool {
        let now = Instant::now();
        let mut written = self
            .refreshes_written
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let due = now.duration_since(*written) >= REFRESHES;
        if due {
            *written = now;
        }
        due
    }
}

fn unix() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// What is in a row beside its key and its end.
#[derive(Serialize, Deserialize)]
struct Row {
    contact: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
    transport: String,
    local: SocketAddr,
    remote: SocketAddr,
    direct: bool,
    q: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reg_id: Option<u32>,
    #[serde(default)]
    ob: bool,
    call_id: String,
    cseq: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

impl Row {
    fn of(binding: &Binding) -> String {
        let row = Row {
            contact: binding.contact.to_string(),
            path: binding.path.iter().map(|hop| lossy(&hop.to_bytes())).collect(),
            transport: binding.flow.transport.uri_value().to_owned(),
            local: binding.flow.local,
            remote: binding.flow.remote,
            direct: binding.is_direct,
            q: binding.q,
            instance: binding.instance.as_ref().map(|name| lossy(name.as_bytes())),
            reg_id: binding.reg_id,
            ob: binding.is_ob,
            call_id: lossy(binding.call_id.as_bytes()),
            cseq: binding.cseq,
            user_agent: binding.user_agent.clone(),
        };
        serde_json::to_string(&row).unwrap_or_default()
    }

    fn binding(text: &str, id: u64, expires_at: Instant) -> Option<Binding> {
        let row: Row = serde_json::from_str(text).ok()?;
        let flow = Flow {
            transport: Transport::from_uri_value(row.transport.as_bytes())?,
            local: row.local,
            remote: row.remote,
            connection: 0,
            name: 0,
        };
        let contact = Uri::parse(row.contact).ok()?;
        let path = row.path.into_iter().map(NameAddr::parse);
        let mut binding = Binding::restored(BindingId(id), contact, flow, expires_at);
        binding.path = path.collect::<Result<_, _>>().ok()?;
        binding.is_direct = row.direct;
        binding.q = row.q.min(1000);
        binding.instance = row.instance.map(ByteStr::from);
        binding.reg_id = row.reg_id;
        binding.is_ob = row.ob;
        binding.call_id = CallId::new(ByteStr::from(row.call_id));
        binding.cseq = row.cseq;
        binding.user_agent = row.user_agent;
        Some(binding)
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
