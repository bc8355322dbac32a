//! What is known of devices: whom credentials and addresses belong to, kept for a while so that the store is not asked for each refresh.
//!
//! Owns the memory; [`super::Registrar`] says what of it is to be forgotten when documents change. Never checks a password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use confab_conference::AccountId;
use confab_documents::{Change, DeviceLogin, Kind, Store, StoreError};
use serde_json::Value;

use crate::config::Secret;
use crate::signalling::LocalAddresses;

/// How long a device is known without a look into the store. Changes of documents are seen within about a second, as long as the store
/// answers.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// How long it is known that there is none.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// What is remembered at most, some 500 octets each; beyond, all is forgotten.
const MOST_KNOWN: usize = 30_000;
/// The life of a registration when neither phone nor document name one, seconds.
const USUAL_EXPIRES_S: u32 = 300;

/// Which device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DeviceKey {
    /// Its account.
    pub(crate) account: AccountId,
    /// Its id within the account.
    pub(crate) device: String,
}

impl DeviceKey {
    /// Returns the key of a device.
    pub(crate) fn new(account: &AccountId, device: &str) -> DeviceKey {
        DeviceKey {
            account: account.clone(),
            device: device.to_owned(),
        }
    }

    /// Returns what no key of the account comes before.
    pub(crate) fn first_of(account: &AccountId) -> DeviceKey {
        DeviceKey::new(account, "")
    }
}

/// What signalling needs to know of a device.
#[derive(Debug)]
pub(crate) struct Device {
    /// Which.
    pub(crate) key: DeviceKey,
    /// The realm of its credentials, lower case.
    pub(crate) realm: String,
    /// `sip.username`; empty when it has none.
    pub(crate) username: String,
    /// `sip.password`, where it has one and is not known by its address instead.
    pub(super) password: Option<Secret>,
    /// Device, account and owner are switched on.
    pub(crate) enabled: bool,
    /// The user whose device it is.
    pub(crate) owner: Option<String>,
    /// `presence_id`.
    pub(crate) presence_id: Option<String>,
    /// `caller_id.internal`: name and number.
    pub(crate) caller_id: (Option<String>, Option<String>),
    /// The life of a registration that names none, seconds.
    pub(super) expires_s: u32,
}

impl Device {
    fn of(login: DeviceLogin) -> Device {
        let body = &login.device.body;
        let within = |outer: &str, key: &str| body.get(outer).and_then(|outer| outer.get(key));
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        let internal = |key: &str| text(within("caller_id", "internal").and_then(|id| id.get(key)));
        let by_address = text(within("sip", "method")).as_deref() == Some("ip");
        let expires = within("sip", "expire_seconds").and_then(Value::as_u64);
        Device {
            key: DeviceKey::new(&login.account.id, &login.device.id),
            username: text(within("sip", "username")).unwrap_or_default(),
            password: text(within("sip", "password"))
                .filter(|_| !by_address)
                .map(Secret),
            enabled: login.enabled,
            owner: text(body.get("owner_id")),
            presence_id: text(body.get("presence_id")),
            caller_id: (internal("name"), internal("number")),
            expires_s: expires.map_or(USUAL_EXPIRES_S, |seconds| {
                u32::try_from(seconds).unwrap_or(u32::MAX)
            }),
            realm: login.realm,
        }
    }
}

/// What a device is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sign {
    /// Realm and user, lower case.
    User(String, String),
    Address(IpAddr),
}

type Found = (Instant, Option<Arc<Device>>);

/// The devices that were looked up.
pub(crate) struct Devices {
    store: Store,
    local: Arc<LocalAddresses>,
    known: Mutex<HashMap<Sign, Found>>,
    /// By host.
    realms: Mutex<HashMap<String, (Instant, Option<String>)>>,
}

impl Devices {
    /// Returns what is known of a store's devices: nothing yet.
    pub(crate) fn new(store: Store, local: Arc<LocalAddresses>) -> Devices {
        Devices {
            store,
            local,
            known: Mutex::default(),
            realms: Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the realm of the credentials of a host's users: this server's own addresses are those of the first account. `None`
    /// where no account or device is in it.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn realm_of(&self, host: &str) -> Result<Option<String>, StoreError> {
        let host = host.to_lowercase();
        let now = Instant::now();
        if let Some((at, realm)) = self.realms().get(&host)
            && now.duration_since(*at) < UNKNOWN_FOR
        {
            return Ok(realm.clone());
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let realm = if self.local.is_own_host(bare) {
            let account = self.store.bootstrap_account().await?;
            account.map(|account| account.realm)
        } else {
            self.store.serves_realm(&host).await?.then(|| host.clone())
        };
        let mut realms = self.realms();
        if realms.len() >= MOST_KNOWN {
            realms.clear();
        }
        realms.insert(host, (now, realm.clone()));
        Ok(realm)
    }

    /// Returns the device of a user in a realm.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn by_username(
        &self,
        realm: &str,
        username: &str,
    ) -> Result<Option<Arc<Device>>, StoreError> {
        let sign = Sign::User(realm.to_lowercase(), username.to_lowercase());
        if let Some(found) = self.remembered(&sign) {
            return Ok(found);
        }
        let login = self.store.device_by_username(realm, username).await?;
        Ok(self.remember(sign, login))
    }

    /// Returns the device that is known by this address.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn by_address(&self, address: IpAddr) -> Result<Option<Arc<Device>>, StoreError> {
        let sign = Sign::Address(address.to_canonical());
        if let Some(found) = self.remembered(&sign) {
            return Ok(found);
        }
        let login = self.store.device_by_address(address).await?;
        Ok(self.remember(sign, login))
    }

    /// Returns a device as it stands in the store.
    pub(super) async fn by_id(&self, key: &DeviceKey) -> Result<Option<Device>, StoreError> {
        let login = self.store.device_login(&key.account, &key.device).await?;
        Ok(login.map(Device::of))
    }

    /// Forgets what these changes concern.
    pub(super) fn forget(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let concerns = |device: &Device, change: &Change| {
            device.key.account == change.account
                && match change.kind {
                    Kind::Device => device.key.device == change.id,
                    Kind::User => device.owner.as_deref() == Some(&change.id),
                    _ => true,
                }
        };
        // What was not there may have come.
        self.known().retain(|_, (_, found)| {
            let device = found.as_ref();
            device.is_some_and(|device| !changes.iter().any(|change| concerns(device, change)))
        });
        self.realms().clear();
    }

    fn remembered(&self, sign: &Sign) -> Option<Option<Arc<Device>>> {
        let known = self.known();
        let (at, found) = known.get(sign)?;
        let good_for = if found.is_some() { KNOWN_FOR } else { UNKNOWN_FOR };
        (at.elapsed() < good_for).then(|| found.clone())
    }

    fn remember(&self, sign: Sign, login: Option<DeviceLogin>) -> Option<Arc<Device>> {
        let device = login.map(|login| Arc::new(Device::of(login)));
        let mut known = self.known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(sign, (Instant::now(), device.clone()));
        device
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Sign, Found>> {
        // Held for single operations, as the other one is.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn realms(&self) -> MutexGuard<'_, HashMap<String, (Instant, Option<String>)>> {
        self.realms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
