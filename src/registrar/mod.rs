//! Devices that register: who they are, where they are reached, and that a restart forgets none of it.
//!
//! Owns the bindings (the core is `confab_sip::Registrar`), the check of devices' passwords and what is known of devices. [`devices`]
//! looks devices up, [`gate`] asks for credentials and judges them, [`resting`] writes bindings to the store and reads them at the start.
//! Neither sends nor receives: the endpoint's task brings each REGISTER and takes the replies.
//!
//! In memory is what holds while the server runs. The store follows: new and removed bindings within a second, the later end of one
//! that was only refreshed within ten, each time in one transaction.

pub(crate) mod devices;
pub(crate) mod gate;
mod resting;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use confab_api::Registrations;
use confab_api::event::{EventBus, Registration};
use confab_conference::{AccountId, GregorianSeconds};
use confab_documents::{Change, Kind, StoreError};
use confab_sip::{
    HeaderName, Reachable, RegisterRequest, RegistrarConfig, RegistrarOutput, Reply, StatusCode,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use self::devices::{Device, DeviceKey, Devices};
use self::gate::{Gate, Shown};
use self::resting::{Resting, Waiting};
use crate::signalling::{Command, EndpointHandle, Registering};
use crate::wall_clock::gregorian_now;

/// How often ends of bindings, keep-alives, changes of documents and what is to be written are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The kinds of documents that registrations rest on.
const CONCERNING: [Kind; 3] = [Kind::Account, Kind::Device, Kind::User];

type Core = confab_sip::Registrar<DeviceKey>;

/// The bindings. Cheap to clone; shared by the endpoint's task, which tells of connections, and the registrar.
#[derive(Clone)]
pub(crate) struct Bindings(Arc<Mutex<State>>);

struct State {
    core: Core,
    /// By what each registered device was let in.
    standings: HashMap<DeviceKey, Standing>,
    /// What the store is yet to be told.
    waiting: Waiting,
    keep_alives: Vec<Reachable>,
    /// Registrations that began and ended, for the log and for events.
    news: Vec<News>,
    counts: Counts,
}

/// What a registration rests on: when it is true no more, the registration ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    realm: String,
    username: String,
    /// Of the password, with a key of this process.
    password: u64,
    owner: Option<String>,
}

/// What became of a device.
struct News {
    device: DeviceKey,
    /// The realm and user name of who is reached no more.
    name: Option<(String, String)>,
    /// Why it is reached no more; `None` when it came to be.
    gone: Option<&'static str>,
}

/// What has been counted since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Bindings that were made.
    pub(crate) made: u64,
    /// Bindings that were refreshed.
    pub(crate) refreshed: u64,
    /// Bindings that ended.
    pub(crate) ended: u64,
    /// Keep-alives sent.
    pub(crate) kept_alive: u64,
}

impl Bindings {
    /// Returns the bindings of a registrar that knows nobody.
    pub(crate) fn new(config: RegistrarConfig) -> Bindings {
        Bindings(Arc::new(Mutex::new(State {
            core: Core::new(config),
            standings: HashMap::new(),
            waiting: Waiting::default(),
            keep_alives: Vec::new(),
            news: Vec::new(),
            counts: Counts::default(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Held for single operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of SIP was closed.
    pub(crate) fn connection_closed(&self, connection: u64) {
        self.change(|core| core.handle_connection_closed(connection));
    }

    /// Whether a connection is the way to a device.
    pub(crate) fn uses_connection(&self, connection: u64) -> bool {
        self.state().core.uses_connection(connection)
    }

    /// Changes the core, and notes what comes of it.
    fn change<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let mut state = self.state();
        let done = change(&mut state.core);
        state.note();
        done
    }
}

impl State {
    fn note(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                RegistrarOutput::Bound { owner, id, is_first } => {
                    self.counts.made += 1;
                    self.waiting.changed(&owner, id);
                    if is_first {
                        self.news.push(News {
                            device: owner,
                            name: None,
                            gone: None,
                        });
                    }
                }
                RegistrarOutput::Refreshed {
                    owner,
                    id,
                    has_changed,
                } => {
                    self.counts.refreshed += 1;
                    match has_changed {
                        true => self.waiting.changed(&owner, id),
                        false => self.waiting.refreshed(&owner, id),
                    }
                }
                RegistrarOutput::Unbound {
                    owner,
                    id,
                    why,
                    was_last,
                } => {
                    self.counts.ended += 1;
                    self.waiting.gone(&owner, id);
                    if was_last {
                        let standing = self.standings.remove(&owner);
                        self.news.push(News {
                            device: owner,
                            name: standing.map(|standing| (standing.realm, standing.username)),
                            gone: Some(why.name()),
                        });
                    }
                }
                RegistrarOutput::KeepAlive(contact) => {
                    self.counts.kept_alive += 1;
                    self.keep_alives.push(*contact);
                }
                _ => {}
            }
        }
    }
}

/// Registers devices and says where they are. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registrar(Arc<Shared>);

struct Shared {
    bindings: Bindings,
    devices: Arc<Devices>,
    gate: Gate,
    resting: Resting,
    endpoint: EndpointHandle,
    events: EventBus,
    /// Answers by status.
    replies: dashmap::DashMap<u16, u64>,
    ignored: AtomicU64,
}

impl Registrar {
    /// Puts back what rests in the store, and returns the registrar with the task that keeps both in step until `stop` is true. The
    /// task ends once everything is written.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn start(
        bindings: Bindings,
        devices: Arc<Devices>,
        gate: Gate,
        (endpoint, events): (EndpointHandle, EventBus),
        stop: watch::Receiver<bool>,
    ) -> Result<(Registrar, JoinHandle<()>), StoreError> {
        let resting = Resting::new(devices.store().clone());
        let registrar = Registrar(Arc::new(Shared {
            bindings,
            devices,
            gate,
            resting,
            endpoint,
            events,
            replies: dashmap::DashMap::new(),
            ignored: AtomicU64::new(0),
        }));
        registrar.restore().await?;
        let task = tokio::spawn(registrar.clone().run(stop));
        Ok((registrar, task))
    }

    // ---- what others ask

    /// Where a device can be reached now: what it prefers first, then where it registered last. Empty when it is not registered.
    pub(crate) fn contacts(&self, account: &AccountId, device: &str) -> Vec<Reachable> {
        let key = DeviceKey::new(account, device);
        self.0.bindings.state().core.reachable(Instant::now(), &key)
    }

    /// Returns the ids of an account's devices that are registered, in their order.
    pub(crate) fn registered(&self, account: &AccountId) -> Vec<String> {
        let state = self.0.bindings.state();
        let of_account = state
            .core
            .registered(Instant::now(), DeviceKey::first_of(account)..);
        of_account
            .take_while(|key| key.account == *account)
            .map(|key| key.device.clone())
            .collect()
    }

    /// Whether a device has registered from this address.
    pub(crate) fn came_from(&self, device: &DeviceKey, address: IpAddr) -> bool {
        self.0
            .bindings
            .state()
            .core
            .came_from(Instant::now(), device, address)
    }

    /// Whether no device is registered.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.bindings.state().core.counts().0 == 0
    }

    /// What is known of devices.
    pub(crate) fn devices(&self) -> &Devices {
        &self.0.devices
    }

    /// Who asks for credentials.
    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// Returns how many bindings there are, how many devices have one, and what was counted.
    pub(crate) fn figures(&self) -> (usize, usize, Counts) {
        let state = self.0.bindings.state();
        let (bindings, devices) = state.core.counts();
        (bindings, devices, state.counts)
    }

    /// Returns the replies to REGISTERs by status.
    pub(crate) fn replies(&self) -> Vec<(String, u64)> {
        let replies = self.0.replies.iter();
        let mut replies: Vec<_> = replies
            .map(|reply| (reply.key().to_string(), *reply.value()))
            .collect();
        replies.push(("none".to_owned(), self.0.ignored.load(Ordering::Relaxed)));
        replies
    }

    // ---- REGISTER

    /// Answers one REGISTER.
    pub(crate) async fn answer(&self, registering: Registering) {
        let query = registering.query;
        let reply = match self.judge(&registering).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%error, "a registration is put off: the store does not answer");
                let put_off = Reply::refusal(StatusCode::SERVICE_UNAVAILABLE, None);
                Some(put_off.with(
                    HeaderName::RetryAfter,
                    crate::admission::RETRY_AFTER_S.to_string(),
                ))
            }
        };
        let command = match reply {
            Some(reply) => {
                *self.0.replies.entry(reply.status.code()).or_default() += 1;
                Command::AnswerRegister(query, reply)
            }
            None => {
                self.0.ignored.fetch_add(1, Ordering::Relaxed);
                Command::IgnoreRegister(query)
            }
        };
        self.0.endpoint.send(command).await;
    }

    /// Finds the reply; none for who has guessed too often, who learns nothing and costs nothing.
    async fn judge(&self, registering: &Registering) -> Result<Option<Reply>, StoreError> {
        let Registering { request, flow, .. } = registering;
        let wanted = match RegisterRequest::read(request, *flow) {
            Ok(wanted) => wanted,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let Some(realm) = self.0.devices.realm_of(&wanted.domain.to_string()).await? else {
            return Ok(Some(Reply::refusal(StatusCode::NOT_FOUND, None)));
        };
        let known = |device: &DeviceKey| self.came_from(device, flow.remote.ip());
        let shown = self
            .0
            .gate
            .judge(&self.0.devices, &realm, request, flow.remote.ip(), known)
            .await?;
        let device = match shown {
            Shown::Device(device) => device,
            Shown::Nothing { stale } => {
                let unauthorized = Reply::refusal(StatusCode::UNAUTHORIZED, None);
                let challenges = self.0.gate.challenges(&realm, stale).into_iter();
                return Ok(Some(challenges.fold(unauthorized, |reply, challenge| {
                    reply.with(HeaderName::WwwAuthenticate, challenge)
                })));
            }
            Shown::Wrong | Shown::Disabled => {
                return Ok(Some(Reply::refusal(StatusCode::FORBIDDEN, None)));
            }
            Shown::Elsewhere => return Ok(Some(Reply::refusal(StatusCode::BAD_REQUEST, None))),
            Shown::Blocked => return Ok(None),
        };
        // The address-of-record is the device's own (RFC 3261 §10.3 step 4).
        if !wanted.user.eq_ignore_ascii_case(&device.username) {
            return Ok(Some(Reply::refusal(StatusCode::FORBIDDEN, None)));
        }
        Ok(Some(self.register(&device, &wanted)))
    }

    fn register(&self, device: &Device, wanted: &RegisterRequest) -> Reply {
        let standing = self.0.gate.standing(device);
        let mut state = self.0.bindings.state();
        let now = Instant::now();
        let reply = state.core.register(now, &device.key, wanted, device.expires_s);
        state.note();
        if state
            .core
            .registered(now, device.key.clone()..=device.key.clone())
            .next()
            .is_some()
        {
            state.standings.insert(device.key.clone(), standing);
        }
        reply
    }

    // ---- keeping in step

    async fn restore(&self) -> Result<(), StoreError> {
        let rested = self.0.resting.read().await?;
        let mut devices: BTreeMap<DeviceKey, Option<Standing>> = BTreeMap::new();
        for (key, _) in &rested {
            if !devices.contains_key(key) {
                let login = self.0.devices.by_id(key).await?;
                let standing = login.filter(|device| device.enabled);
                devices.insert(key.clone(), standing.map(|device| self.0.gate.standing(&device)));
            }
        }
        let mut state = self.0.bindings.state();
        let now = Instant::now();
        for (key, binding) in rested {
            match devices.get(&key) {
                Some(Some(standing)) => {
                    state.core.restore(now, &key, binding);
                    state.standings.insert(key, standing.clone());
                }
                _ => state.waiting.gone(&key, binding.id),
            }
        }
        state.note();
        state.news.clear();
        let (bindings, devices) = state.core.counts();
        if bindings > 0 {
            tracing::info!(bindings, devices, "registrations put back");
        }
        Ok(())
    }

    async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = Changes::default();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = ticks.tick() => {}
            }
            self.0.bindings.change(|core| core.handle_timeout(Instant::now()));
            let (keep_alives, mut news) = {
                let mut state = self.0.bindings.state();
                (
                    std::mem::take(&mut state.keep_alives),
                    std::mem::take(&mut state.news),
                )
            };
            for contact in keep_alives {
                self.0.endpoint.send(Command::KeepAlive(Box::new(contact))).await;
            }
            self.name(&mut news);
            self.tell(news);
            if let Err(error) = changes.apply(&self).await {
                tracing::warn!(%error, "changes of devices could not be read: going on with those known before");
            }
            self.0.resting.write(&self.0.bindings, false).await;
        }
        self.0.resting.write(&self.0.bindings, true).await;
    }

    /// Puts the names to those who have registered: they are known by now.
    fn name(&self, news: &mut [News]) {
        let state = self.0.bindings.state();
        for news in news.iter_mut().filter(|news| news.name.is_none()) {
            let standing = state.standings.get(&news.device);
            news.name = standing.map(|standing| (standing.realm.clone(), standing.username.clone()));
        }
    }

    /// Tells the log, and whoever follows the registrations of the account.
    fn tell(&self, news: Vec<News>) {
        for News { device, name, gone } in news {
            let DeviceKey { account, device } = device;
            match gone {
                None => tracing::info!(%account, device, "device registered"),
                Some(why) => tracing::info!(%account, device, why, "device is registered no more"),
            }
            self.0.events.publish_registration(Registration {
                account,
                device,
                name,
                gone,
                at: gregorian_now(),
            });
        }
    }

    /// Ends the registrations of a device that may not have them any more.
    fn end(&self, device: &DeviceKey) {
        self.0.bindings.change(|core| core.remove(device));
    }
}

#[async_trait]
impl Registrations for Registrar {
    async fn registered(&self, account: &AccountId) -> Vec<String> {
        Registrar::registered(self, account)
    }
}

/// What was last seen of changes in documents.
#[derive(Default)]
struct Changes {
    since: Option<GregorianSeconds>,
    /// Those of the last reading, which come again in the next one.
    seen: HashSet<Change>,
}

impl Changes {
    /// Takes in what has changed since the last time: what is known of devices is forgotten, registrations end that have nothing to
    /// rest on any more.
    async fn apply(&mut self, registrar: &Registrar) -> Result<(), StoreError> {
        let store = registrar.0.devices.store();
        // Whatever was read before the first time may be older than the first change that is seen: the first reading begins earlier.
        let since = self.since.unwrap_or(GregorianSeconds(u64::MAX));
        let (changes, next) = store.changes_since(since, &CONCERNING).await?;
        let changes: HashSet<Change> = changes.into_iter().collect();
        let fresh: Vec<Change> = changes.difference(&self.seen).cloned().collect();
        registrar.0.devices.forget(&fresh);
        for change in &fresh {
            self.take(registrar, change).await?;
        }
        self.since = Some(next);
        self.seen = changes;
        Ok(())
    }

    async fn take(&self, registrar: &Registrar, change: &Change) -> Result<(), StoreError> {
        let devices = &registrar.0.devices;
        let standings: Vec<(DeviceKey, Standing)> = {
            let state = registrar.0.bindings.state();
            let concerned = state.standings.iter().filter(|(key, standing)| {
                key.account == change.account
                    && match change.kind {
                        Kind::Device => key.device == change.id,
                        Kind::User => standing.owner.as_deref() == Some(&change.id),
                        _ => true,
                    }
            });
            concerned
                .map(|(key, standing)| (key.clone(), standing.clone()))
                .collect()
        };
        if standings.is_empty() {
            return Ok(());
        }
        if change.kind == Kind::Account {
            let account = devices.store().account(&change.account).await?;
            let stays = account.is_some_and(|account| {
                let same_realm = |standing: &Standing| standing.realm == account.realm;
                account.enabled && standings.iter().all(|(_, standing)| same_realm(standing))
            });
            // As most changes of accounts are: nothing of it concerns devices.
            if stays {
                return Ok(());
            }
        }
        for (key, standing) in standings {
            let device = devices.by_id(&key).await?;
            let now = device.filter(|device| device.enabled);
            let now = now.map(|device| registrar.0.gate.standing(&device));
            match now {
                Some(now) if now.same_login(&standing) => {
                    registrar.0.bindings.state().standings.insert(key, now);
                }
                _ => registrar.end(&key),
            }
        }
        Ok(())
    }
}

impl Standing {
    /// Whether a phone that was let in by the one would be by the other; whose it is does not count.
    fn same_login(&self, other: &Standing) -> bool {
        let login = |standing: &Standing| {
            (
                standing.realm.clone(),
                standing.username.clone(),
                standing.password,
            )
        };
        login(self) == login(other)
    }
}
