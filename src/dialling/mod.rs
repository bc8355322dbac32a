//! Calling others to a conference: who is meant, whether he may be called, and what became of it.
//!
//! Owns the brake and the order of things; the calls themselves are tasks of `signalling`. Everything that could make it wait
//! without end has a limit: the ring time, a look-up's time, the shares of an account.

mod attempt;
mod brake;
mod callee;
mod device;
mod number;
mod offer;
mod parts;
mod redirect;
mod referral;
mod resolve;
mod shown;
mod words;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use confab_api::{DialAnswer, DialRefusal, DialRequest, Dialer, EndpointAnswer, ParticipantFlags};
use confab_conference::{AccountId, Caller, ConferenceId, Entry, Refusal, Role};
use confab_documents::{Account, Body, Kind, Store, StoreError};
use confab_sip::HeaderName;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use self::{
    brake::Brake,
    callee::Callee,
    parts::{outbound_flags, text},
    resolve::{Endpoint, Leg, Resolver},
};
pub(crate) use self::{
    brake::{OutboundLimits, Pattern},
    callee::Contact,
};
use crate::{
    conferences::Seat,
    registrar::Registrar,
    signalling::{CallServer, LegFailure, Order, Race},
    trunks::Trunks,
};

/// How much longer than it rings an answer may take.
const GRACE: Duration = Duration::from_secs(5);

/// Where devices have registered from. Implemented by the registrar.
#[async_trait]
pub(crate) trait Contacts: Send + Sync {
    /// Returns where a device can be reached now, the best first; none when it is not registered.
    async fn of(&self, account: &AccountId, device: &str) -> Vec<Contact>;
}

#[async_trait]
impl Contacts for Registrar {
    async fn of(&self, account: &AccountId, device: &str) -> Vec<Contact> {
        let known = self.contacts(account, device).into_iter();
        known.filter_map(Contact::of).collect()
    }
}

/// No device is ever registered.
#[cfg(test)]
struct NoContacts;

#[cfg(test)]
#[async_trait]
impl Contacts for NoContacts {
    async fn of(&self, _: &AccountId, _: &str) -> Vec<Contact> {
        Vec::new()
    }
}

/// Calls others to conferences. Clones share the shares of accounts.
#[derive(Clone)]
pub(crate) struct Dialler {
    /// Weak: who may dial must not keep the calls' queues open at shutdown.
    server: Weak<CallServer>,
    orders: mpsc::Sender<Order>,
    contacts: Arc<dyn Contacts>,
    trunks: Trunks,
    brake: Brake,
}

/// One entry of the answer that is waited for.
enum Waiting {
    /// There is nothing to wait for.
    Known(&'static str),
    /// Calls that ring, of which one may win.
    Calls {
        call_id: String,
        reports: Vec<oneshot::Receiver<Result<(), LegFailure>>>,
    },
}

impl Dialler {
    /// Returns what has calls placed by `orders`, which `server` serves, within `limits`.
    pub(crate) fn new(
        server: &Arc<CallServer>,
        orders: mpsc::Sender<Order>,
        contacts: Arc<dyn Contacts>,
        trunks: Trunks,
        limits: OutboundLimits,
    ) -> Dialler {
        Dialler {
            server: Arc::downgrade(server),
            orders,
            contacts,
            trunks,
            brake: Brake::new(limits),
        }
    }

    /// `headers` are put into each INVITE.
    async fn dial_with(
        self,
        account: AccountId,
        conference: ConferenceId,
        request: DialRequest,
        headers: Vec<(HeaderName, String)>,
    ) -> Result<DialAnswer, DialRefusal> {
        let Some(server) = self.server.upgrade() else {
            return Ok(DialAnswer::NoServer);
        };
        let Some(account) = server.store.account(&account).await? else {
            return Ok(DialAnswer::NoServer);
        };
        let account_body = account_body(&server.store, &account).await?;
        let of_account = outbound_flags(&account_body).into_iter();
        let flags: Vec<String> = of_account.chain(request.outbound_flags.iter().cloned()).collect();
        let resolver = Resolver {
            store: &server.store,
            contacts: &*self.contacts,
            trunks: &self.trunks,
            account: &account,
            conference: &conference,
            emergency: self.brake.emergency(),
            flags: &flags,
        };
        let endpoints = resolver.resolve(&request.endpoints).await?;
        if server.admission.is_draining() {
            return Ok(DialAnswer::NoServer);
        }
        let bus = server.registry.bus();
        bus.publish_dial(&account.id, &conference, request.told.clone());
        let dial = Dial {
            dialler: &self,
            server: &server,
            account: &account,
            account_body: &account_body,
            conference: &conference,
            request: &request,
            headers: &headers,
            ring_until: tokio::time::Instant::now() + request.ring_time,
            legs: 0,
        };
        Ok(dial.run(endpoints).await)
    }
}

#[async_trait]
impl Dialer for Dialler {
    async fn dial(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        request: DialRequest,
    ) -> Result<DialAnswer, DialRefusal> {
        let dial = self
            .clone()
            .dial_with(account.clone(), conference.clone(), request, Vec::new());
        // By itself: who asked may go, and the calls go on.
        match tokio::spawn(dial).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a dial broke down");
                Ok(DialAnswer::NoServer)
            }
        }
    }

    fn ad_hoc(&self, account: &AccountId, conference: &ConferenceId) -> Option<Body> {
        self.server.upgrade()?.registry.ad_hoc(account, conference)
    }
}

/// One request under way.
struct Dial<'a> {
    dialler: &'a Dialler,
    server: &'a CallServer,
    account: &'a Account,
    /// The account's document.
    account_body: &'a Body,
    conference: &'a ConferenceId,
    request: &'a DialRequest,
    /// Further header fields of each INVITE.
    headers: &'a [(HeaderName, String)],
    ring_until: tokio::time::Instant,
    /// Calls placed so far.
    legs: u32,
}

impl Dial<'_> {
    async fn run(mut self, endpoints: Vec<Endpoint>) -> DialAnswer {
        let mut waiting = Vec::new();
        for endpoint in endpoints {
            self.begin(endpoint, &mut waiting).await;
        }
        let latest = self.ring_until + GRACE;
        let mut entries = Vec::with_capacity(waiting.len());
        for (leg, waiting) in waiting {
            entries.push(EndpointAnswer {
                endpoint_id: leg.endpoint_id,
                device_id: leg.device_id,
                job_id: random_id(),
                outcome: outcome(waiting, latest).await,
            });
        }
        DialAnswer::Endpoints(entries)
    }

    /// Lets all legs of an endpoint ring.
    async fn begin(&mut self, endpoint: Endpoint, waiting: &mut Vec<(Leg, Waiting)>) {
        let can_ring = endpoint.legs.iter().any(|leg| leg.callee.is_ok());
        let race = if can_ring {
            self.race().await.map(Some)
        } else {
            Ok(None)
        };
        for leg in endpoint.legs {
            let outcome = match (&leg.callee, &race) {
                (Err(why), _) => Waiting::Known(why),
                (_, Err(refusal)) => Waiting::Known(words::of_refusal(*refusal)),
                (Ok(callee), Ok(Some((race, seat_ends)))) => self.ring(callee, race, seat_ends).await,
                (Ok(_), Ok(None)) => Waiting::Known(words::TEMPORARY),
            };
            waiting.push((leg, outcome));
        }
    }

    /// Holds a place for whoever of an endpoint answers first.
    async fn race(&self) -> Result<(Arc<Race>, SeatEnds), Refusal> {
        let registry = &self.server.registry;
        let (account, conference) = (&self.account.id, self.conference);
        let flags = self.request.flags;
        if flags.join_existing && registry.snapshot(account, conference).await.is_none() {
            return Err(Refusal::NotRunning);
        }
        let role = if flags.is_moderator {
            Role::Moderator
        } else {
            Role::Member
        };
        let seat = registry.reserve(
            account.clone(),
            conference.clone(),
            self.request.settings.clone(),
            Caller::default(),
            role,
            entry(flags),
        );
        let seat = seat.await?;
        if self.request.is_ad_hoc {
            registry.remember_ad_hoc(account, conference, &self.request.conference.body);
        }
        let ends = SeatEnds::of(&seat);
        Ok((Race::new(seat), ends))
    }

    /// Lets somebody ring wherever he may be.
    async fn ring(&mut self, callee: &Callee, race: &Arc<Race>, ends: &SeatEnds) -> Waiting {
        let mut reports = Vec::new();
        let call_id = self.call_id();
        let mut refused = words::TEMPORARY;
        for (fork, attempts) in self.forks(callee).into_iter().enumerate() {
            let place = callee.at.get(fork).filter(|_| callee.outside.is_none());
            let follows = place.is_some_and(|place| !place.is_judged && !place.destination.is_internal);
            let attempts = match attempts {
                Ok(attempts) => attempts,
                Err(why) => {
                    refused = why;
                    continue;
                }
            };
            let Some(permit) = self.dialler.brake.enter(Instant::now(), &self.account.id) else {
                refused = words::CONGESTION;
                continue;
            };
            // Several calls of one device are one entry, but no two dialogs of ours have the same Call-ID.
            let call_id = match reports.len() {
                0 => call_id.clone(),
                fork => format!("{call_id}-fork{fork}"),
            };
            let (report, reported) = oneshot::channel();
            let order = Order {
                account: self.account.id.clone(),
                conference: self.conference.clone(),
                attempts,
                caller: self.participant(callee, call_id.clone()),
                call_id,
                ring_until: self.ring_until,
                lasts: self.account.max_call,
                confirms: callee.confirms,
                follows,
                contacts: Vec::new(),
                language: offer::language(&self.request.conference.body, self.account),
                race: Arc::clone(race),
                ended: ends.future(),
                report,
                _permit: Box::new(permit),
            };
            if self.dialler.orders.send(order).await.is_ok() {
                reports.push(reported);
            }
        }
        if reports.is_empty() {
            return Waiting::Known(refused);
        }
        Waiting::Calls { call_id, reports }
    }

    /// The Call-ID of the next leg.
    fn call_id(&mut self) -> String {
        let legs = self.legs;
        self.legs += 1;
        match (&self.request.call_id, legs) {
            (Some(wanted), 0) => wanted.clone(),
            (Some(wanted), legs) => format!("{wanted}-{legs}"),
            (None, _) => random_id(),
        }
    }

    fn participant(&self, callee: &Callee, call_id: String) -> Caller {
        let mut caller = Caller::new(call_id);
        caller.caller_id_name.clone_from(&callee.name);
        caller.caller_id_number.clone_from(&callee.number);
        caller.account_id = Some(self.account.id.clone());
        caller.channel_vars = callee.channel_vars.clone();
        if let Some(owner) = text(&self.request.conference.body, &["owner_id"]) {
            let known = caller.channel_vars.entry("owner_id".to_owned());
            known.or_insert_with(|| owner.to_owned());
        }
        caller.application_vars = self.request.application_vars.clone();
        caller
    }
}

/// Tells each call of a race when its conference has ended.
struct SeatEnds(futures_util::future::Shared<futures_util::future::BoxFuture<'static, ()>>);

impl SeatEnds {
    fn of(seat: &Seat) -> SeatEnds {
        SeatEnds(seat.ended().boxed().shared())
    }

    fn future(&self) -> futures_util::future::BoxFuture<'static, ()> {
        self.0.clone().boxed()
    }
}

/// Returns what an account's document says.
async fn account_body(store: &Store, account: &Account) -> Result<Body, StoreError> {
    let document = store.document(&account.id, Kind::Account, account.id.as_str());
    Ok(document.await?.map(|document| document.body).unwrap_or_default())
}

fn entry(flags: ParticipantFlags) -> Entry {
    Entry::DialOut {
        muted: flags.mute,
        deaf: flags.deaf,
        ghost: flags.ghost,
        no_hold_music: flags.disable_moh,
        join_existing: flags.join_existing,
        distributes_keys: flags.distribute_dtmf,
    }
}

/// Waits for what becomes of one entry.
async fn outcome(waiting: Waiting, latest: tokio::time::Instant) -> Result<String, String> {
    let (call_id, reports) = match waiting {
        Waiting::Known(why) => return Err(why.to_owned()),
        Waiting::Calls { call_id, reports } => (call_id, reports),
    };
    let mut nearest = words::TIMEOUT;
    for (fork, report) in reports.into_iter().enumerate() {
        let why = match tokio::time::timeout_at(latest, report).await {
            Ok(Ok(Ok(()))) if fork == 0 => return Ok(call_id),
            Ok(Ok(Ok(()))) => return Ok(format!("{call_id}-fork{fork}")),
            Ok(Ok(Err(failure))) => words::of(failure),
            // The call's task is gone: the server ends.
            Ok(Err(_)) => words::TEMPORARY,
            Err(_) => words::TIMEOUT,
        };
        if nearest == words::TIMEOUT || words::nearness(why) > words::nearness(nearest) {
            nearest = why;
        }
    }
    Err(nearest.to_owned())
}

/// Returns an id that nothing else has.
fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
