//! Who a request comes from, by the credentials that it shows: of devices, for REGISTER and for INVITE.
//!
//! Owns nonces and the guard against guessed passwords. Never logs or returns a password.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use confab_documents::StoreError;
use confab_sip::{
    Blocked, DigestAlgorithm, DigestCredentials, DigestServer, DigestTarget, DigestVerdict, HeaderName,
    PasswordGuard, PasswordGuardCounts, PasswordLimits, Request,
};

use super::Standing;
use super::devices::{Device, DeviceKey, Devices};

/// How long a challenge can be answered: a phone that refreshes its registration every few minutes is asked seldom.
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(600);

/// What the credentials of a request come to.
pub(crate) enum Shown {
    /// They are this device's, and it may be used.
    Device(Arc<Device>),
    /// There are none that count: they are to be asked for. `stale`: those that there are were right, but old.
    Nothing {
        /// For the challenge.
        stale: bool,
    },
    /// They are nobody's.
    Wrong,
    /// They were made for another address than that of the request.
    Elsewhere,
    /// They are right, and the device, its owner or its account is switched off.
    Disabled,
    /// The source has shown too many wrong ones: these are not looked at.
    Blocked,
}

/// Asks for credentials of devices, and judges them.
pub(crate) struct Gate {
    digest: Mutex<DigestServer>,
    guard: Mutex<PasswordGuard>,
    hasher: RandomState,
}

impl Gate {
    /// Returns a gate with a key of its own: what it has asked nobody else can have asked.
    pub(crate) fn new(limits: PasswordLimits, algorithms: Vec<DigestAlgorithm>) -> Gate {
        let digest = DigestServer::new(rand::random(), Instant::now(), CHALLENGE_LIFETIME);
        Gate {
            digest: Mutex::new(digest.offering(algorithms)),
            guard: Mutex::new(PasswordGuard::new(limits)),
            hasher: RandomState::new(),
        }
    }

    /// Returns the values of the WWW-Authenticate headers that ask for credentials of a realm.
    pub(crate) fn challenges(&self, realm: &str, stale: bool) -> Vec<String> {
        self.digest().challenges(Instant::now(), realm, stale)
    }

    /// Says which device of the realm a request shows to be from, by digest credentials. `is_known` says whether a device has registered
    /// from where the request comes.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn judge(
        &self,
        devices: &Devices,
        realm: &str,
        request: &Request,
        source: IpAddr,
        is_known: impl Fn(&DeviceKey) -> bool,
    ) -> Result<Shown, StoreError> {
        let Some(credentials) = self.credentials(request, realm) else {
            return Ok(Shown::Nothing { stale: false });
        };
        let device = devices.by_username(realm, &credentials.username).await?;
        let known = device.as_ref().is_some_and(|device| is_known(&device.key));
        let user = &credentials.username;
        if self.guard().refuses(Instant::now(), source, user, known) {
            return Ok(Shown::Blocked);
        }
        if !self.are_for(devices, &credentials, request).await? {
            return Ok(Shown::Elsewhere);
        }
        let password = device.as_ref().and_then(|device| device.password.as_ref());
        // Whoever has no password is nobody's guess; that takes as long to find out.
        let (password, has_one) = password.map_or(("", false), |password| (password.0.as_str(), true));
        let method = request.method.to_string();
        let verdict = self.verify(&method, &credentials, password);
        Ok(match (verdict, device) {
            (DigestVerdict::Right, Some(device)) if has_one => match device.enabled {
                true => Shown::Device(device),
                false => Shown::Disabled,
            },
            (DigestVerdict::Stale { was_right: true }, _) if has_one => Shown::Nothing { stale: true },
            (DigestVerdict::Stale { .. }, _) => {
                // Old challenges are no way to try passwords for nothing.
                self.count_wrong(source, user);
                Shown::Nothing { stale: false }
            }
            _ => {
                self.count_wrong(source, user);
                Shown::Wrong
            }
        })
    }

    /// Says whether credentials were made for a request of this address (RFC 7616 §3.4.6); by whichever of this server's names and realms.
    pub(crate) async fn are_for(
        &self,
        devices: &Devices,
        credentials: &DigestCredentials,
        request: &Request,
    ) -> Result<bool, StoreError> {
        Ok(match credentials.target(request) {
            DigestTarget::Same => true,
            DigestTarget::OtherHost(host) => devices.realm_of(&host).await?.is_some(),
            DigestTarget::Other => false,
        })
    }

    /// Returns the credentials of a request for a realm.
    pub(crate) fn credentials(&self, request: &Request, realm: &str) -> Option<DigestCredentials> {
        let values = request.headers.get_all(&HeaderName::Authorization);
        let digest = self.digest();
        values
            .filter_map(|value| DigestCredentials::parse(value))
            .find(|credentials| credentials.realm.eq_ignore_ascii_case(realm) && digest.offers(credentials))
    }

    /// Says whether credentials are those of who knows the password.
    pub(crate) fn verify(
        &self,
        method: &str,
        credentials: &DigestCredentials,
        password: &str,
    ) -> DigestVerdict {
        self.digest()
            .verify(Instant::now(), method, credentials, password)
    }

    fn count_wrong(&self, source: IpAddr, user: &str) {
        let blocked = self.guard().wrong(Instant::now(), source, user);
        match blocked {
            None => {}
            Some(Blocked::User) => {
                tracing::warn!(
                    "too many wrong passwords for one device from one source: both together are refused for a while"
                );
                tracing::debug!(%source, user, "refused");
            }
            Some(Blocked::Source) => {
                tracing::warn!("too many wrong passwords from one source: it is refused for a while");
                tracing::debug!(%source, "refused");
            }
        }
    }

    /// Returns what was counted of wrong passwords, and how many are refused now.
    pub(crate) fn guard_figures(&self) -> (PasswordGuardCounts, usize) {
        let guard = self.guard();
        (guard.counts(), guard.blocked(Instant::now()))
    }

    pub(super) fn standing(&self, device: &Device) -> Standing {
        Standing {
            realm: device.realm.clone(),
            username: device.username.to_lowercase(),
            password: self
                .hasher
                .hash_one(device.password.as_ref().map(|password| &password.0)),
            owner: device.owner.clone(),
        }
    }

    fn digest(&self) -> MutexGuard<'_, DigestServer> {
        // Held for single operations, as the guard is.
        self.digest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guard(&self) -> MutexGuard<'_, PasswordGuard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
