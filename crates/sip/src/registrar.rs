//! The registrar: which contacts reach whom (RFC 3261 §10.3), behind proxies (RFC 3327), over the flow that they came by (RFC 5626).
//!
//! Owns the bindings, their ends and what has to be told about them. Never asks for credentials: who calls [`Registrar::register`] has
//! found out on whose behalf the request speaks. Knows nothing of devices: `K` is whatever tells one owner of bindings from another.

mod binding;
mod fuzz;
mod guard;
mod output;
mod request;
mod table;
#[cfg(test)]
mod tests;

use std::ops::RangeBounds;
use std::time::{Duration, Instant};

pub use binding::{Binding, BindingId, Reachable};
pub use fuzz::fuzz_registrar;
pub use guard::{Blocked, PasswordGuard, PasswordGuardCounts, PasswordLimits};
pub use output::{RegistrarOutput, Reply, Unbound};
pub use request::RegisterRequest;

use crate::endpoint::{Flow, Network};
use crate::message::{HeaderName, StatusCode};
use binding::Way;
use request::{Contacts, Wanted};
use table::Table;

/// Retry-After when no further binding has room, in seconds.
const FULL_RETRY_AFTER_S: &str = "60";

/// How the registrar treats those who register.
#[derive(Debug, Clone)]
pub struct RegistrarConfig {
    /// The shortest life of a binding, seconds; who asks for less, but not for none, gets 423.
    pub min_expires: u32,
    /// The longest life of a binding, seconds; who asks for more gets this.
    pub max_expires: u32,
    /// Bindings of one owner; beyond, the one that was refreshed longest ago goes.
    pub max_contacts: usize,
    /// Bindings in all; beyond, new ones are refused with 503.
    pub max_bindings: usize,
    /// How often the way to a UDP contact behind a NAT is used, so that the NAT keeps it open; `None`: never.
    pub keep_alive: Option<Duration>,
    /// Networks whose private addresses are reached directly.
    pub local_nets: Vec<Network>,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        RegistrarConfig {
            min_expires: 60,
            max_expires: 3600,
            max_contacts: 10,
            max_bindings: 100_000,
            keep_alive: Some(Duration::from_secs(30)),
            local_nets: Vec::new(),
        }
    }
}

/// Whom which contacts reach.
///
/// **The rule**: after every call of a method that changes something, drain [`Registrar::poll_output`] until it returns `None`, then ask
/// [`Registrar::poll_timeout`] when to call [`Registrar::handle_timeout`].
#[derive(Debug)]
pub struct Registrar<K> {
    config: RegistrarConfig,
    table: Table<K>,
}

impl<K: Ord + Clone> Registrar<K> {
    /// Returns a registrar that knows nobody.
    pub fn new(config: RegistrarConfig) -> Registrar<K> {
        Registrar {
            config,
            table: Table::default(),
        }
    }

    // ---- getters

    /// Where `owner` can be reached now: highest `q` first, then the one that was registered last.
    pub fn reachable(&self, now: Instant, owner: &K) -> Vec<Reachable> {
        let mut live: Vec<&Binding> = self.live(now, owner).collect();
        live.sort_by_key(|binding| (std::cmp::Reverse(binding.q), std::cmp::Reverse(binding.refreshed)));
        live.into_iter()
            .map(|binding| binding.reachable(&self.config.local_nets))
            .collect()
    }

    /// Whether `owner` has a binding that was made from this address, by whatever port.
    pub fn came_from(&self, now: Instant, owner: &K, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        self.live(now, owner)
            .any(|binding| binding.flow.remote.ip().to_canonical() == address)
    }

    /// Returns those in a range who have a binding now, in their order.
    pub fn registered(&self, now: Instant, range: impl RangeBounds<K>) -> impl Iterator<Item = &K> {
        self.table
            .owners(range)
            .filter(move |(_, bindings)| bindings.iter().any(|binding| binding.expires_at > now))
            .map(|(owner, _)| owner)
    }

    /// Returns a binding.
    pub fn binding(&self, owner: &K, id: BindingId) -> Option<&Binding> {
        self.table.of(owner).iter().find(|binding| binding.id == id)
    }

    /// Returns how many bindings there are, and how many have one.
    pub fn counts(&self) -> (usize, usize) {
        self.table.counts()
    }

    /// Whether a connection is the way to somebody, so that it had better stay open.
    pub fn uses_connection(&self, connection: u64) -> bool {
        self.table.first_on(connection).is_some()
    }

    fn live(&self, now: Instant, owner: &K) -> impl Iterator<Item = &Binding> {
        let bindings = self.table.of(owner).iter();
        bindings.filter(move |binding| binding.expires_at > now)
    }

    // ---- what arrives

    /// Does what a REGISTER asks for on behalf of `owner`, or nothing of it (RFC 3261 §10.3 steps 6 to 8). `usual_expires` is the life of
    /// its bindings in seconds when it names none.
    pub fn register(
        &mut self,
        now: Instant,
        owner: &K,
        request: &RegisterRequest,
        usual_expires: u32,
    ) -> Reply {
        self.expire(now, owner);
        let changed = match &request.contacts {
            Contacts::Asked => Ok(()),
            Contacts::RemoveAll => self.remove_all(owner, request),
            Contacts::Bind(wanted) => self.bind(now, owner, request, wanted, usual_expires),
        };
        match changed {
            Ok(()) => self.tell(now, owner, request),
            Err(reply) => reply,
        }
    }

    /// Puts a binding back that was kept elsewhere. One whose connection it would need is left out, and so is one that is over.
    pub fn restore(&mut self, now: Instant, owner: &K, mut binding: Binding) {
        let room = self.table.of(owner).len() < self.config.max_contacts
            && self.table.counts().0 < self.config.max_bindings;
        binding.flow.connection = 0;
        let lost = binding.needs_its_connection();
        if lost || !room || binding.expires_at <= now {
            self.table.forget_restored(owner, binding.id);
            return;
        }
        binding.keep_alive_at = self.first_keep_alive(now, &binding);
        self.table.restore(owner, binding);
    }

    /// A connection was closed: contacts that nothing but it leads to are reached no more.
    pub fn handle_connection_closed(&mut self, connection: u64) {
        if connection == 0 {
            return;
        }
        while let Some((owner, id)) = self.table.first_on(connection) {
            let stays = self
                .binding(&owner, id)
                .is_some_and(|binding| !binding.needs_its_connection());
            if stays {
                self.table
                    .change(&owner, id, |binding| binding.flow.connection = 0);
            } else {
                self.table.remove(&owner, id, Unbound::ConnectionClosed);
            }
        }
    }

    /// The time [`Registrar::poll_timeout`] asked for has come. Harmless when called early or often.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((owner, id)) = self.table.first_due(now) {
            let Some(binding) = self.binding(&owner, id) else {
                return;
            };
            if binding.expires_at <= now {
                self.table.remove(&owner, id, Unbound::Expired);
                continue;
            }
            let reachable = binding.reachable(&self.config.local_nets);
            let next = self.config.keep_alive.map(|interval| now + interval);
            self.table.output(RegistrarOutput::KeepAlive(Box::new(reachable)));
            self.table
                .change(&owner, id, |binding| binding.keep_alive_at = next);
        }
    }

    // ---- what goes out

    /// The next thing to do, or `None` when there is none left.
    pub fn poll_output(&mut self) -> Option<RegistrarOutput<K>> {
        self.table.poll_output()
    }

    /// When to call [`Registrar::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.table.next_due()
    }

    // ---- commands

    /// Takes all bindings of somebody away: he may not have them any more.
    pub fn remove(&mut self, owner: &K) {
        while let Some(binding) = self.table.of(owner).first() {
            let id = binding.id;
            self.table.remove(owner, id, Unbound::Removed);
        }
    }

    // ---- REGISTER

    fn expire(&mut self, now: Instant, owner: &K) {
        let over = self.table.of(owner).iter();
        let over = over.filter(|binding| binding.expires_at <= now);
        for id in over.map(|binding| binding.id).collect::<Vec<_>>() {
            self.table.remove(owner, id, Unbound::Expired);
        }
    }

    fn remove_all(&mut self, owner: &K, request: &RegisterRequest) -> Result<(), Reply> {
        let bindings = self.table.of(owner);
        if bindings.iter().any(|binding| !binding.is_before(request)) {
            return Err(Reply::out_of_order());
        }
        for id in bindings.iter().map(|binding| binding.id).collect::<Vec<_>>() {
            self.table.remove(owner, id, Unbound::Asked);
        }
        Ok(())
    }

    fn bind(
        &mut self,
        now: Instant,
        owner: &K,
        request: &RegisterRequest,
        wanted: &[Wanted],
        usual_expires: u32,
    ) -> Result<(), Reply> {
        // Everything is looked at before anything is changed (RFC 3261 §10.3 step 7).
        let mut additions = 0;
        let mut granted = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let expires = self.granted(request, wanted, usual_expires)?;
            let mut meant = self
                .table
                .of(owner)
                .iter()
                .filter(|binding| binding.is_of(wanted));
            let is_new = meant.clone().next().is_none();
            if !meant.all(|binding| binding.is_before(request)) {
                return Err(Reply::out_of_order());
            }
            additions += usize::from(is_new && expires > 0);
            granted.push((wanted, expires));
        }
        if additions > self.config.max_contacts {
            let reason = Some("Too Many Contacts");
            return Err(Reply::refusal(StatusCode::FORBIDDEN, reason));
        }
        if self.table.counts().0 + additions > self.config.max_bindings {
            let refusal = Reply::refusal(StatusCode::SERVICE_UNAVAILABLE, None);
            return Err(refusal.with(HeaderName::RetryAfter, FULL_RETRY_AFTER_S));
        }
        for (wanted, expires) in granted {
            self.bind_one(now, owner, request, wanted, expires);
        }
        Ok(())
    }

    fn bind_one(
        &mut self,
        now: Instant,
        owner: &K,
        request: &RegisterRequest,
        wanted: &Wanted,
        expires: u32,
    ) {
        let meant = self
            .table
            .of(owner)
            .iter()
            .filter(|binding| binding.is_of(wanted));
        let mut meant: Vec<BindingId> = meant.map(|binding| binding.id).collect();
        let (kept, why) = match expires {
            0 => (None, Unbound::Asked),
            _ => (meant.pop(), Unbound::Replaced),
        };
        for id in meant {
            self.table.remove(owner, id, why);
        }
        if expires == 0 {
            return;
        }
        let made = self.binding_of(now, request, wanted, expires);
        match kept {
            Some(id) => self.table.refresh(owner, id, made),
            None => {
                self.make_room(owner);
                self.table.add(owner, made);
            }
        }
    }

    /// Lets the binding go that was refreshed longest ago, when there are as many as there may be: a phone that comes back by another
    /// port each time must not be locked out by what it left behind.
    fn make_room(&mut self, owner: &K) {
        let bindings = self.table.of(owner);
        if bindings.len() < self.config.max_contacts {
            return;
        }
        let oldest = bindings.iter().min_by_key(|binding| binding.refreshed);
        if let Some(id) = oldest.map(|binding| binding.id) {
            self.table.remove(owner, id, Unbound::Replaced);
        }
    }

    /// Returns the seconds that a binding gets, 0 to remove it.
    fn granted(&self, request: &RegisterRequest, wanted: &Wanted, usual_expires: u32) -> Result<u32, Reply> {
        let asked = wanted.expires.or(request.expires);
        let longest = self.config.max_expires;
        match asked {
            Some(0) => Ok(0),
            Some(asked) if asked < self.config.min_expires => {
                let refusal = Reply::refusal(StatusCode::INTERVAL_TOO_BRIEF, None);
                Err(refusal.with(HeaderName::MinExpires, self.config.min_expires.to_string()))
            }
            Some(asked) => Ok(asked.min(longest)),
            None => Ok(usual_expires.clamp(self.config.min_expires.min(longest), longest)),
        }
    }

    fn binding_of(
        &mut self,
        now: Instant,
        request: &RegisterRequest,
        wanted: &Wanted,
        expires: u32,
    ) -> Binding {
        let lifetime = Duration::from_secs(expires.into());
        let mut binding = Binding::new(request, wanted, now + lifetime, self.table.tick());
        binding.keep_alive_at = self.first_keep_alive(now, &binding);
        binding
    }

    /// The first is due after the interval; of restored ones, spread by their number, or all would be due at once.
    fn first_keep_alive(&self, now: Instant, binding: &Binding) -> Option<Instant> {
        let interval = self.config.keep_alive?;
        let behind_nat =
            binding.flow.transport == crate::Transport::Udp && matches!(binding.way(), Way::Source);
        behind_nat.then(|| now + interval - interval * u32::try_from(binding.id.0 % 16).unwrap_or(0) / 32)
    }

    /// 200 with all bindings (RFC 3261 §10.3 step 8).
    fn tell(&self, now: Instant, owner: &K, request: &RegisterRequest) -> Reply {
        let mut reply = Reply::ok();
        let mut is_outbound = false;
        for binding in self.live(now, owner) {
            is_outbound |= binding.is_outbound();
            reply = reply.with(HeaderName::Contact, binding.told(now));
        }
        if request.supports_path {
            for hop in &request.path {
                reply = reply.with(HeaderName::Path, text(&hop.to_bytes()));
            }
        }
        // RFC 5626 §6: says that the flow it came by is used. Over UDP that would promise STUN as well.
        if request.supports_outbound && is_outbound && request.flow.connection != 0 {
            reply = reply.with(HeaderName::Require, "outbound");
        }
        reply.with(HeaderName::Supported, "path, outbound")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns whether two addresses are the same one.
fn same_ip(host: &crate::Host, flow: &Flow) -> bool {
    host.ip() == Some(flow.remote.ip().to_canonical())
}
