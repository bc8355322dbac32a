//! SUBSCRIBE and NOTIFY (RFC 6665) as the notifier: who wants to hear of something, for how long, and what is told.
//!
//! Owns subscriptions and their dialogs, from the user's consent to the last NOTIFY; one NOTIFY of each is under way at a time. What is
//! told, how often, and who may hear it is the user's. Subscriptions that REFER implies are the calls' own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::check::Refusal;
use super::counters::DropReason;
use super::event::{Body, CallKey, Event, LocalContact, QueryKey, Rejection, SubscriptionEnd};
use super::flow::Flow;
use super::receive::Received;
use super::route::next_hop;
use super::stack::Stack;
use super::{Endpoint, EventPackage};
use crate::dialog::{Dialog, DialogId};
use crate::message::{HeaderName, Method, Request, StatusCode};
use crate::transaction::key::ServerKey;
use crate::transaction::layer::{ClientId, ClientNews, ClientOutcome, Owner, Purpose};
use crate::transaction::timer::{TIMEOUT, TimerKind};

/// Life of a subscription whose SUBSCRIBE names none, and the longest one, seconds (RFC 4575 §3.4).
const LONGEST_S: u32 = 3600;
/// The shortest one that is agreed to, seconds.
const SHORTEST_S: u32 = 60;

/// One subscription of an endpoint. Never used twice by the same endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey(pub(crate) u64);

/// What a NOTIFY says of its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// It goes on.
    Active,
    /// It is over because its time is, or its subscriber wants no more.
    TimedOut,
    /// It is over because there is nothing to tell of any more.
    NoResource,
}

/// All subscriptions, and those that wait for the user's consent.
#[derive(Default)]
pub(super) struct Subscriptions {
    pending: BTreeMap<QueryKey, Received>,
    pending_by_key: BTreeMap<ServerKey, QueryKey>,
    live: BTreeMap<SubscriptionKey, Subscription>,
    by_dialog: BTreeMap<DialogId, SubscriptionKey>,
    deadlines: BTreeSet<(Instant, SubscriptionKey)>,
}

struct Subscription {
    dialog: Dialog,
    flow: Flow,
    contact: LocalContact,
    /// Value of Event.
    event: String,
    /// When it is over, or, once its user knows that, forgotten.
    due: Instant,
    /// The user knows that it is over, and owes the last NOTIFY.
    is_ending: bool,
    notify: Option<ClientId>,
    /// The last NOTIFY, which waits for the answer to the one before.
    last: Option<(SubscriptionState, Option<Body>)>,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        let (at, _) = self.deadlines.first()?;
        Some((*at, TimerKind::SubscriptionExpiry))
    }

    fn set_due(&mut self, key: SubscriptionKey, due: Instant) {
        if let Some(subscription) = self.live.get_mut(&key) {
            self.deadlines.remove(&(subscription.due, key));
            subscription.due = due;
            self.deadlines.insert((due, key));
        }
    }

    fn remove(&mut self, key: SubscriptionKey) {
        if let Some(subscription) = self.live.remove(&key) {
            self.deadlines.remove(&(subscription.due, key));
            self.by_dialog.remove(subscription.dialog.id());
        }
    }
}

impl Endpoint {
    // ---- commands: subscriptions

    /// Agrees to the SUBSCRIBE of an [`Event::Subscribe`], which is answered with 200. A NOTIFY is due at once; with a time of 0
    /// ([`Event::Subscribe`] says so) it is the last. `None` when the question was answered before.
    pub fn accept_subscription(
        &mut self,
        now: Instant,
        query: QueryKey,
        contact: LocalContact,
    ) -> Option<SubscriptionKey> {
        let Some(received) = self.take_subscribe(query) else {
            self.stack.late_command();
            return None;
        };
        let seconds = lifetime(&received.request).unwrap_or(LONGEST_S);
        let tag = self.stack.tag();
        let cseq = self.stack.first_cseq();
        let dialog = Dialog::from_request(&received.request, &received.essentials, &tag, cseq);
        let mut response = self.stack.response(&received.request, StatusCode::OK, Some(&tag));
        let contact_value = self.stack.contact(&received.flow, &contact);
        response.headers.push(HeaderName::Contact, contact_value);
        response.headers.push(HeaderName::Expires, seconds.to_string());
        let event = received.request.headers.get(&HeaderName::Event);
        let event = event.map(|value| event_of(value)).unwrap_or_default();
        self.last_call += 1;
        let key = SubscriptionKey(self.last_call);
        let due = now + Duration::from_secs(seconds.into());
        let subscriptions = &mut self.subscriptions;
        subscriptions.by_dialog.insert(dialog.id().clone(), key);
        subscriptions.live.insert(
            key,
            Subscription {
                dialog,
                flow: received.flow,
                contact,
                event,
                due: now,
                is_ending: seconds == 0,
                notify: None,
                last: None,
            },
        );
        subscriptions.set_due(key, if seconds == 0 { now + TIMEOUT } else { due });
        let transaction = self.stack.transactions.open_other(received.key, received.route);
        self.stack.respond(now, transaction, &response);
        Some(key)
    }

    /// Refuses the SUBSCRIBE of an [`Event::Subscribe`], without keeping state.
    pub fn reject_subscription(&mut self, query: QueryKey, rejection: Rejection) {
        let Some(received) = self.take_subscribe(query) else {
            return self.stack.late_command();
        };
        let Rejection {
            status,
            reason,
            headers,
        } = rejection;
        let status = if status.class() >= 3 {
            status
        } else {
            StatusCode::SERVER_INTERNAL_ERROR
        };
        let refusal = Refusal {
            status,
            reason,
            headers,
        };
        self.refuse(&received, refusal);
    }

    /// Tells a subscriber something. While a NOTIFY is under way only one that ends the subscription is taken, which then waits its
    /// turn: [`Event::Notified`] says when the next one may come. A subscription that ends so is gone at once.
    pub fn notify(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        state: SubscriptionState,
        body: Option<Body>,
    ) {
        let Some(subscription) = self.subscriptions.live.get_mut(&key) else {
            return self.stack.late_command();
        };
        let is_last = state != SubscriptionState::Active;
        if subscription.notify.is_some() {
            if !is_last {
                return self.stack.late_command();
            }
            subscription.is_ending = true;
            subscription.last = Some((state, body));
            // Whatever becomes of the one before.
            return self.subscriptions.set_due(key, now + TIMEOUT);
        }
        if subscription.is_ending && !is_last {
            return self.stack.late_command();
        }
        let sent = send(now, &mut self.stack, key, subscription, (state, body));
        if is_last {
            self.subscriptions.remove(key);
        } else {
            subscription.notify = Some(sent);
        }
    }

    // ---- what arrives

    pub(super) fn receive_subscribe(&mut self, received: Received) {
        if self.subscriptions.pending_by_key.contains_key(&received.key) {
            return self.stack.out.drop_for(DropReason::Retransmission);
        }
        if let Err(refusal) = check(&received.request, &self.stack.config.event_packages) {
            return self.refuse(&received, refusal);
        }
        let count = self.subscriptions.live.len() + self.subscriptions.pending.len();
        if count >= self.stack.config.limits.subscriptions {
            return self.refuse_full(&received);
        }
        self.last_query += 1;
        let query = QueryKey(self.last_query);
        self.stack.out.event(Event::Subscribe {
            query,
            request: received.request.clone(),
            flow: received.flow,
        });
        self.subscriptions
            .pending_by_key
            .insert(received.key.clone(), query);
        self.subscriptions.pending.insert(query, received);
    }

    /// A SUBSCRIBE of a dialog: it goes on, or is to end.
    pub(super) fn receive_resubscribe(&mut self, now: Instant, received: Received) {
        let id = DialogId::of_request(&received.essentials);
        let key = self.subscriptions.by_dialog.get(&id).copied();
        let known = key.and_then(|key| Some((key, self.subscriptions.live.get_mut(&key)?)));
        let Some((key, subscription)) = known.filter(|(_, known)| !known.is_ending) else {
            return self.refuse(&received, Refusal::new(StatusCode::CALL_DOES_NOT_EXIST));
        };
        if !subscription
            .dialog
            .take_remote_cseq(received.essentials.cseq.number)
        {
            return self.refuse(&received, Refusal::new(StatusCode::SERVER_INTERNAL_ERROR));
        }
        let event = received.request.headers.get(&HeaderName::Event);
        if event.is_none_or(|event| event_of(event) != subscription.event) {
            return self.refuse(&received, Refusal::new(StatusCode::CALL_DOES_NOT_EXIST));
        }
        let seconds = match lifetime(&received.request) {
            Ok(seconds) => seconds,
            Err(refusal) => return self.refuse(&received, refusal),
        };
        subscription.flow = received.flow;
        subscription.dialog.refresh_target(&received.request.headers);
        let mut response = self.stack.response(&received.request, StatusCode::OK, None);
        let contact = self.stack.contact(&received.flow, &subscription.contact);
        response.headers.push(HeaderName::Contact, contact);
        response.headers.push(HeaderName::Expires, seconds.to_string());
        let transaction = self.stack.transactions.open_other(received.key, received.route);
        self.stack.respond(now, transaction, &response);
        if seconds == 0 {
            self.ends(now, key, SubscriptionEnd::Unsubscribed);
        } else {
            self.subscriptions
                .set_due(key, now + Duration::from_secs(seconds.into()));
            self.stack
                .out
                .event(Event::SubscriptionRefreshed { subscription: key });
        }
    }

    /// How a NOTIFY went.
    pub(super) fn subscription_news(&mut self, now: Instant, news: &ClientNews) {
        let key = SubscriptionKey(news.owner.call.0);
        let Some(subscription) = self.subscriptions.live.get_mut(&key) else {
            return;
        };
        if subscription.notify != Some(news.id) {
            return;
        }
        let goes_on = match &news.outcome {
            ClientOutcome::Response(response) if response.status.is_provisional() => return,
            // RFC 6665 §4.2.2: a subscriber in trouble is still one.
            ClientOutcome::Response(response) => matches!(response.status.class(), 2 | 5),
            ClientOutcome::Ended => return,
            ClientOutcome::NoResponse | ClientOutcome::TransportFailed => false,
        };
        subscription.notify = None;
        if !goes_on {
            let was_ending = subscription.is_ending;
            self.subscriptions.remove(key);
            if !was_ending {
                let end = SubscriptionEnd::Lost;
                self.stack.out.event(Event::SubscriptionEnds {
                    subscription: key,
                    end,
                });
            }
        } else if let Some(last) = subscription.last.take() {
            send(now, &mut self.stack, key, subscription, last);
            self.subscriptions.remove(key);
        } else if !subscription.is_ending {
            self.stack.out.event(Event::Notified { subscription: key });
        }
    }

    // ---- time

    pub(super) fn subscription_timeout(&mut self, now: Instant) {
        let Some((at, key)) = self.subscriptions.deadlines.first().copied() else {
            return;
        };
        if at > now {
            return;
        }
        if self
            .subscriptions
            .live
            .get(&key)
            .is_some_and(|known| known.is_ending)
        {
            // The user has not said its last word in time.
            return self.subscriptions.remove(key);
        }
        self.ends(now, key, SubscriptionEnd::Expired);
    }

    /// Leaves the last word to the user.
    fn ends(&mut self, now: Instant, key: SubscriptionKey, end: SubscriptionEnd) {
        if let Some(subscription) = self.subscriptions.live.get_mut(&key) {
            subscription.is_ending = true;
        }
        self.subscriptions.set_due(key, now + TIMEOUT);
        self.stack.out.event(Event::SubscriptionEnds {
            subscription: key,
            end,
        });
    }

    fn take_subscribe(&mut self, query: QueryKey) -> Option<Received> {
        let received = self.subscriptions.pending.remove(&query)?;
        self.subscriptions.pending_by_key.remove(&received.key);
        Some(received)
    }
}

fn send(
    now: Instant,
    stack: &mut Stack,
    key: SubscriptionKey,
    subscription: &mut Subscription,
    (state, body): (SubscriptionState, Option<Body>),
) -> ClientId {
    let Subscription {
        dialog,
        flow,
        contact,
        event,
        due,
        ..
    } = subscription;
    let flow = next_hop(dialog.next_hop(), flow, &stack.config.local_nets);
    let mut notify = dialog.request(Method::Notify);
    let left = due.saturating_duration_since(now).as_secs();
    let state = match state {
        SubscriptionState::Active => format!("active;expires={left}"),
        SubscriptionState::TimedOut => "terminated;reason=timeout".to_owned(),
        SubscriptionState::NoResource => "terminated;reason=noresource".to_owned(),
    };
    notify
        .headers
        .push(HeaderName::Contact, stack.contact(&flow, contact));
    notify.headers.push(HeaderName::Event, event.clone());
    notify.headers.push(HeaderName::SubscriptionState, state);
    if let Some(body) = body {
        notify.headers.push(HeaderName::ContentType, body.content_type);
        notify.body = body.bytes;
    }
    // Numbers of calls and subscriptions are drawn from one row.
    let owner = Owner {
        call: CallKey(key.0),
        purpose: Purpose::Subscription,
    };
    stack.send(now, notify, flow, owner)
}

/// The package and the id of an Event header, without what else it says.
fn event_of(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let mut parts = text.split(';').map(str::trim);
    let package = parts.next().unwrap_or_default().to_ascii_lowercase();
    let id = parts.find_map(|part| part.strip_prefix("id=").map(str::to_owned));
    // Only what may stand in a header again.
    match id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')) {
        Some(id) => format!("{package};id={id}"),
        None => package,
    }
}

/// How long a SUBSCRIBE wants to hear; 0: once.
fn lifetime(request: &Request) -> Result<u32, Refusal> {
    let asked = request
        .headers
        .expires()
        .map_err(|error| Refusal::bad_header(&error))?;
    match asked.unwrap_or(LONGEST_S) {
        1..SHORTEST_S => {
            Err(Refusal::new(StatusCode::INTERVAL_TOO_BRIEF)
                .with(HeaderName::MinExpires, SHORTEST_S.to_string()))
        }
        seconds => Ok(seconds.min(LONGEST_S)),
    }
}

/// Refuses what is not told: 489, 406 and 423.
fn check(request: &Request, packages: &[EventPackage]) -> Result<(), Refusal> {
    let wanted = request.headers.get(&HeaderName::Event);
    let wanted = wanted.map(|value| event_of(value)).unwrap_or_default();
    let name = wanted.split(';').next().unwrap_or_default();
    let Some(package) = packages.iter().find(|package| package.name == name) else {
        return Err(Refusal::new(StatusCode::BAD_EVENT).with(HeaderName::AllowEvents, allow_events(packages)));
    };
    let ranges = request
        .headers
        .accept()
        .map_err(|error| Refusal::bad_header(&error))?;
    let (kind, subtype) = package.content_type.split_once('/').unwrap_or_default();
    if !ranges.is_empty() && !ranges.iter().any(|range| range.covers(kind, subtype)) {
        return Err(
            Refusal::new(StatusCode::NOT_ACCEPTABLE).with(HeaderName::Accept, package.content_type.clone())
        );
    }
    lifetime(request).map(drop)
}

/// Value of Allow-Events.
pub(super) fn allow_events(packages: &[EventPackage]) -> String {
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    names.join(", ")
}
