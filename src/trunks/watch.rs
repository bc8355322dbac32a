//! The watch over one gateway: where it is, whether it is there, and that it knows us where we register with it.
//!
//! Owns a task, which ends when it is told to, and takes the registration back then. When a REGISTER is due the core says
//! (`confab_sip::Registration`).

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use confab_sip::{
    Flow, HeaderName, Method, NameAddr, Question, QuestionOutcome, Registration, RegistrationConfig,
    RegistrationFailure, RegistrationState, Request, SipUri,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{Trunks, trunk::Gateway};
use crate::signalling::{EndpointHandle, Listens, LocalAddresses};

/// How long the addresses of a name, and the way there, are believed.
const ADDRESSES_LAST: Duration = Duration::from_secs(60);
const WAY_LASTS: Duration = Duration::from_secs(30);
/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Addresses of one name that calls may come from.
const MOST_ADDRESSES: usize = 32;
/// How long a gateway may take to answer an OPTIONS: by then a datagram has been sent four times.
const PROBE_WAIT: Duration = Duration::from_secs(5);
/// How soon one that did not answer is asked again, where it is not asked more often.
const PROBE_AGAIN: Duration = Duration::from_secs(10);
/// Questions in a row without an answer after which it is down.
const MISSED: u32 = 2;
/// How long taking a registration back may take.
const TAKE_BACK: Duration = Duration::from_millis(1500);

/// What reaches gateways.
pub(crate) struct Reach {
    /// The SIP endpoint.
    pub(crate) endpoint: EndpointHandle,
    /// The addresses that SIP is bound to.
    pub(crate) listens: Listens,
    /// This server's addresses.
    pub(crate) local: Arc<LocalAddresses>,
}

/// A watch that is kept.
pub(super) struct Watch {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts the watch over a gateway, once the one before it has ended: what that one takes away must not be what this one has found.
    pub(super) fn start(
        trunks: &Trunks,
        reach: &Arc<Reach>,
        gateway: &Arc<Gateway>,
        before: Option<Watch>,
    ) -> Watch {
        let (stop, stopping) = watch::channel(false);
        let over = Over {
            trunks: trunks.clone(),
            reach: Arc::clone(reach),
            gateway: Arc::clone(gateway),
        };
        Watch {
            stop,
            task: tokio::spawn(async move {
                if let Some(before) = before {
                    before.end().await;
                }
                over.run(stopping).await;
            }),
        }
    }

    /// Ends it, and waits for that.
    pub(super) async fn end(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }

    /// Ends it beside whoever calls.
    pub(super) fn leave(self) {
        tokio::spawn(self.end());
    }
}

struct Over {
    trunks: Trunks,
    reach: Arc<Reach>,
    gateway: Arc<Gateway>,
}

impl Over {
    async fn run(self, stop: watch::Receiver<bool>) {
        tokio::join!(
            self.locate(stop.clone()),
            self.probe(stop.clone()),
            self.register(stop)
        );
        self.trunks.health().forget(&self.gateway.key);
    }

    // ---- where it is

    async fn locate(&self, mut stop: watch::Receiver<bool>) {
        let book = self.trunks.book();
        let key = &self.gateway.key;
        let mut known = BTreeSet::new();
        loop {
            let found = self.addresses().await;
            if !found.is_empty() && found != known {
                book.set_addresses(key, found.clone());
                known = found;
            }
            let is_fixed = self.gateway.address.host.ip().is_some();
            tokio::select! {
                () = told(&mut stop) => break,
                () = tokio::time::sleep(ADDRESSES_LAST), if !is_fixed => {}
            }
        }
        book.set_addresses(key, BTreeSet::new());
    }

    /// Where calls of the gateway come from.
    async fn addresses(&self) -> BTreeSet<IpAddr> {
        let host = &self.gateway.address.host;
        if let Some(ip) = host.ip() {
            return [ip.to_canonical()].into();
        }
        let mut found: BTreeSet<IpAddr> = self.ways().await.iter().map(|way| way.remote.ip()).collect();
        let name = host.to_string();
        let asked = tokio::net::lookup_host((name.as_str(), 0));
        if let Ok(Ok(more)) = timeout(LOOK_UP, asked).await {
            found.extend(
                more.take(MOST_ADDRESSES)
                    .map(|address| address.ip().to_canonical()),
            );
        }
        found
    }

    async fn ways(&self) -> Vec<Flow> {
        let ways = self
            .reach
            .listens
            .ways_to(&self.gateway.address, &self.reach.local)
            .await;
        ways.unwrap_or_default()
    }

    // ---- whether it is there

    async fn probe(&self, mut stop: watch::Receiver<bool>) {
        let Some(every) = self.gateway.probed_each else {
            return;
        };
        let mut missed: u32 = 0;
        // Those that were read together are not asked together.
        let mut wait = every.mul_f64(rand::random());
        loop {
            tokio::select! {
                () = told(&mut stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
            let is_there = tokio::select! {
                () = told(&mut stop) => return,
                is_there = self.is_there() => is_there,
            };
            let health = self.trunks.health();
            if is_there {
                missed = 0;
                health.answers(&self.gateway.key);
                wait = every;
            } else {
                missed = missed.saturating_add(1);
                if missed >= MISSED {
                    health.is_down(&self.gateway.key);
                }
                wait = every.min(PROBE_AGAIN);
            }
        }
    }

    /// Whether any of its addresses answers an OPTIONS, with whatever but that it is not there (408) or has no room (503).
    async fn is_there(&self) -> bool {
        for way in self.ways().await {
            let from = SipUri::new(self.gateway.from_host.clone(), None);
            let from = match &self.gateway.identity {
                Some(identity) => from.with_user(&identity.username),
                None => from.with_user("confab"),
            };
            let request = Request::new(Method::Options, self.bare_address())
                .with_header(HeaderName::From, NameAddr::new(from).to_bytes())
                .with_header(HeaderName::To, NameAddr::new(self.bare_address()).to_bytes());
            let question = Question {
                request,
                flow: way,
                contact: None,
            };
            let asked = timeout(PROBE_WAIT, self.reach.endpoint.ask(question)).await;
            if let Ok(QuestionOutcome::Response(response)) = asked
                && !matches!(response.status.code(), 408 | 503)
            {
                return true;
            }
        }
        false
    }

    /// Host and port.
    fn bare_address(&self) -> SipUri {
        let address = &self.gateway.address;
        SipUri::new(address.host.clone(), address.port)
    }

    // ---- that it knows us

    async fn register(&self, mut stop: watch::Receiver<bool>) {
        let (Some(expires_s), Some(identity)) = (self.gateway.registers_for_s, &self.gateway.identity) else {
            return;
        };
        let key = &self.gateway.key;
        let line = format!("{:032x}", rand::random::<u128>());
        let address = SipUri::new(self.gateway.from_host.clone(), None).with_user(&identity.username);
        let config = RegistrationConfig {
            registrar: self.bare_address(),
            address: NameAddr::new(address),
            identity: Some(identity.clone()),
            expires_s,
            line: line.clone(),
        };
        let rng = Box::new(rand::make_rng::<rand::rngs::StdRng>());
        let mut core = Registration::new(Instant::now(), config, rng);
        self.trunks.book().set_line(&line, Some(key));
        let mut last_way = None;
        while !*stop.borrow() {
            if let Some(request) = core.poll(Instant::now()) {
                let sent = self.send(request, &identity.username, &line, &mut last_way);
                tokio::select! {
                    () = told(&mut stop) => {}
                    outcome = sent => take(&mut core, outcome),
                }
                self.trunks.health().registered(key, core.state(Instant::now()));
                continue;
            }
            let due = core.poll_timeout().unwrap_or_else(Instant::now);
            tokio::select! {
                () = told(&mut stop) => {}
                () = tokio::time::sleep_until(due.into()) => {}
                () = tokio::time::sleep(WAY_LASTS) => {
                    // Calls come to where we have registered from.
                    let way = self.ways().await.first().map(|way| way.local);
                    if way.is_some() && last_way.is_some() && way != last_way {
                        core.renew(Instant::now());
                    }
                }
            }
        }
        let taken_back = self.take_back(core, &identity.username, &line);
        if timeout(TAKE_BACK, taken_back).await.is_err() {
            tracing::info!(account = %key.account, trunk = key.trunk, "a registration was not taken back: no answer");
        }
        self.trunks.book().set_line(&line, None);
    }

    async fn take_back(&self, mut core: Registration, user: &str, line: &str) {
        // What was under way when the end came is not waited for.
        core.handle_failure(Instant::now(), RegistrationFailure::NoResponse);
        core.unregister(Instant::now());
        while let Some(request) = core.poll(Instant::now()) {
            let outcome = self.send(request, user, line, &mut None).await;
            take(&mut core, outcome);
        }
    }

    /// Sends a REGISTER to the first address that there is a way to.
    async fn send(
        &self,
        request: Request,
        user: &str,
        line: &str,
        last_way: &mut Option<std::net::SocketAddr>,
    ) -> Option<QuestionOutcome> {
        let mut outcome = None;
        for flow in self.ways().await {
            *last_way = Some(flow.local);
            let question = Question {
                request: request.clone(),
                flow,
                contact: Some((Some(user.to_owned()), line.to_owned())),
            };
            match self.reach.endpoint.ask(question).await {
                response @ QuestionOutcome::Response(_) => return Some(response),
                failed => outcome = Some(failed),
            }
        }
        outcome
    }
}

/// Waits until the watch is to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Tells the core what came of a REGISTER; `None`: there is no way.
fn take(core: &mut Registration, outcome: Option<QuestionOutcome>) {
    let now = Instant::now();
    match outcome {
        Some(QuestionOutcome::Response(response)) => core.handle_response(now, &response),
        Some(QuestionOutcome::NoResponse) => core.handle_failure(now, RegistrationFailure::NoResponse),
        Some(QuestionOutcome::TransportFailed) | None => {
            core.handle_failure(now, RegistrationFailure::Unreachable);
        }
    }
}

/// How a registration is told.
pub(super) fn name_of(state: RegistrationState) -> &'static str {
    match state {
        RegistrationState::Trying => "trying",
        RegistrationState::Registered(_) => "registered",
        RegistrationState::Failed(_) => "failed",
        RegistrationState::Gone => "gone",
    }
}
