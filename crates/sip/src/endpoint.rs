//! The endpoint: one user agent with all its transactions, dialogs and calls, told the time and handed the bytes.
//!
//! Owns the public interface and the tables of calls. `receive` decides what happens to a message, `check` which requests are refused,
//! `route` where things go, `stack` is everything below the calls. Never opens a socket and never reads a clock.

mod asking;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod counters;
pub(crate) mod event;
pub(crate) mod flow;
mod fuzz;
mod info;
pub(crate) mod multipart;
pub(crate) mod outbox;
mod receive;
mod registering;
mod replacing;
pub(crate) mod route;
pub(crate) mod stack;
mod subscribing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use rand::Rng;

pub use config::{Admission, Advertised, EndpointConfig, EventPackage, Limits, Network};
pub use counters::{Counters, DropReason, Gauges};
pub use event::{
    Body, CallKey, EndCause, Event, Invitation, LocalContact, Output, ProbeOutcome, QueryKey, Question,
    QuestionKey, QuestionOutcome, ReinviteOutcome, Rejection, SubscriptionEnd,
};
pub use flow::{Flow, Transport};
pub use fuzz::fuzz_endpoint;
pub use info::{InfoDigit, MAX_INFO_DIGIT_MS, NoDigit};
pub use replacing::Replaces;
pub use subscribing::{SubscriptionKey, SubscriptionState};

use crate::call::{Call, InviteKind};
use crate::message::{ParseError, Reason, StatusCode};
use crate::transaction::key::ServerKey;
use crate::transaction::layer::{ClientNews, ClientOutcome, LayerEvent, Purpose};
use crate::transaction::timer::TimerKind;
use stack::Stack;
use subscribing::Subscriptions;

/// A SIP user agent without I/O.
///
/// **The rule**: after every call of a `handle_…` method or a command, drain [`Endpoint::poll_output`] until it returns `None`, then
/// ask [`Endpoint::poll_timeout`] when to call [`Endpoint::handle_timeout`]. Events of one call come in the order in which things
/// happened. Commands for a call that is over are counted ([`DropReason::LateCommand`]) and ignored: the event that says so
/// is already in the queue.
///
/// **Answered here, without the user**: OPTIONS, unless [`EndpointConfig::asks_about_options`]; INFO, whose digits come as [`Event::Digit`]; 100 after 200 ms; CANCEL and the 487 of its INVITE; BYE; 400, 405, 406, 415, 416, 420,
/// 469, 481, 482, 491, 500, 501, 503, 505 and 513 as RFC 3261 §8.2, §12.2.2, §14.2 and RFC 4475 ask. Refusals outside of calls keep no state.
pub struct Endpoint {
    stack: Stack,
    calls: BTreeMap<CallKey, CallSlot>,
    call_deadlines: BTreeSet<(Instant, CallKey)>,
    /// Which calls use a connection, so that its end finds them.
    call_connections: BTreeSet<(u64, CallKey)>,
    last_call: u64,
    /// OPTIONS that the user has been asked about.
    queries: BTreeMap<QueryKey, receive::Received>,
    /// REGISTERs that the user has been asked about.
    registers: BTreeMap<QueryKey, receive::Received>,
    registers_by_key: BTreeMap<ServerKey, QueryKey>,
    last_query: u64,
    subscriptions: Subscriptions,
}

struct CallSlot {
    call: Call,
    scheduled: Option<Instant>,
    connection: u64,
}

impl Endpoint {
    /// Makes an endpoint. Branches, tags, Call-IDs and waits are drawn from `rng`; a predictable one makes them guessable, so it
    /// has to be cryptographically strong outside of tests.
    pub fn new(config: EndpointConfig, rng: Box<dyn Rng + Send>) -> Self {
        Endpoint {
            stack: Stack::new(config, rng),
            calls: BTreeMap::new(),
            call_deadlines: BTreeSet::new(),
            call_connections: BTreeSet::new(),
            last_call: 0,
            queries: BTreeMap::new(),
            registers: BTreeMap::new(),
            registers_by_key: BTreeMap::new(),
            last_query: 0,
            subscriptions: Subscriptions::default(),
        }
    }

    // ---- getters

    /// What is alive now.
    pub fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            dialogs: self.stack.dialogs.len(),
            calls: self.calls.len(),
            subscriptions: self.subscriptions.len(),
            timers: self.call_deadlines.len() + self.subscriptions.len(),
            ..Gauges::default()
        };
        self.stack.transactions.gauges(&mut gauges);
        gauges
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.stack.out.counters
    }

    /// True while the INVITE of this call waits for [`Endpoint::accept`] or [`Endpoint::reject`]: it was not cancelled and
    /// has not run out.
    pub fn awaits_answer(&self, call: CallKey) -> bool {
        self.calls
            .get(&call)
            .is_some_and(|slot| slot.call.has_pending(InviteKind::Initial))
    }

    /// True when a call would send its next message over this connection, so that it had better stay open.
    pub fn uses_connection(&self, connection: u64) -> bool {
        let first = (connection, CallKey(0));
        let mut users = self.call_connections.range(first..);
        users.next().is_some_and(|(of, _)| *of == connection)
    }

    // ---- what arrives

    /// A UDP datagram, or one message cut out of a stream, came over `flow`.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, datagram: Bytes) {
        self.receive(now, flow, datagram);
    }

    /// The framer of a stream gave up: sends the answer the peer is owed, if any. The connection is then to be closed.
    pub fn handle_framing_error(&mut self, flow: Flow, error: ParseError) {
        self.stack.out.counters.messages_in += 1;
        self.answer_unreadable(&flow, error);
    }

    /// A connection was closed by the peer or broke.
    pub fn handle_connection_closed(&mut self, now: Instant, connection: u64) {
        if connection == 0 {
            return;
        }
        let first = (connection, CallKey(0));
        let users = self
            .call_connections
            .range(first..)
            .take_while(|(of, _)| *of == connection);
        let users: Vec<CallKey> = users.map(|(_, key)| *key).collect();
        for key in users {
            self.with_call(key, |call, _| call.lose_connection());
        }
        let news = self
            .stack
            .transactions
            .connection_closed(now, connection, &mut self.stack.out);
        self.deliver_all(now, news);
    }

    /// A message could not be sent over `flow`: no connection, or the network said so at once.
    pub fn handle_send_failed(&mut self, now: Instant, flow: Flow) {
        let news = self
            .stack
            .transactions
            .send_failed(now, flow, &mut self.stack.out);
        self.deliver_all(now, news);
    }

    /// The time [`Endpoint::poll_timeout`] asked for has come. Harmless when called early or often.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.subscriptions.next_timeout().is_some_and(|(at, _)| at <= now) {
            self.subscription_timeout(now);
        }
        loop {
            let of_call = self.call_deadlines.first().copied().filter(|(at, _)| *at <= now);
            let of_transaction = self
                .stack
                .transactions
                .next_timeout()
                .filter(|(at, _)| *at <= now);
            match (of_call, of_transaction) {
                (None, None) => return,
                (Some((at, key)), transaction) if transaction.is_none_or(|(other, _)| at < other) => {
                    self.with_call(key, |call, stack| call.handle_timeout(now, stack));
                }
                _ => match self.stack.transactions.handle_timeout(now, &mut self.stack.out) {
                    Some(Some(LayerEvent::TryingDue(transaction, call))) => {
                        self.with_call(call, |call, stack| call.send_trying(now, stack, transaction));
                    }
                    Some(Some(LayerEvent::Client(news))) => self.deliver_all(now, vec![news]),
                    Some(None) | None => {}
                },
            }
        }
    }

    // ---- what goes out

    /// The next thing to do, or `None` when there is none left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.stack.out.poll()
    }

    /// When to call [`Endpoint::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        let call = self
            .call_deadlines
            .first()
            .and_then(|(_, key)| self.calls.get(key)?.call.next_timeout());
        call.into_iter()
            .chain(self.stack.transactions.next_timeout())
            .chain(self.subscriptions.next_timeout())
            .min()
    }

    // ---- commands: calls that came in

    /// Sends a provisional response, 101 to 199, with early media's session description if given. To a caller that requires it, it is
    /// a reliable one (RFC 3262), unless the INVITE had no offer: then none is sent. Without its PRACK for 32 s the INVITE gets 504.
    pub fn progress(&mut self, now: Instant, call: CallKey, status: StatusCode, body: Option<Body>) {
        self.command(call, |call, stack| call.progress(now, stack, status, body));
    }

    /// Answers the INVITE with 200: `body` is the answer, or the offer when the INVITE had none. It is repeated until the
    /// ACK comes; without one for 32 s the call ends with BYE.
    pub fn accept(&mut self, now: Instant, call: CallKey, body: Body) {
        self.command(call, |call, stack| {
            call.accept(now, stack, InviteKind::Initial, body)
        });
    }

    /// Refuses the INVITE; the call ends.
    pub fn reject(&mut self, now: Instant, call: CallKey, rejection: Rejection) {
        self.command(call, |call, stack| {
            call.reject(now, stack, InviteKind::Initial, &rejection)
        });
    }

    /// Answers a re-INVITE with 200, as `accept` does for an INVITE.
    pub fn accept_reinvite(&mut self, now: Instant, call: CallKey, body: Body) {
        self.command(call, |call, stack| call.accept(now, stack, InviteKind::Re, body));
    }

    /// Refuses a re-INVITE; the session stays as it was.
    pub fn reject_reinvite(&mut self, now: Instant, call: CallKey, rejection: Rejection) {
        self.command(call, |call, stack| {
            call.reject(now, stack, InviteKind::Re, &rejection)
        });
    }

    // ---- commands: any call

    /// Sets how our Contact looks in this call from the next message on. Without it the user part is that of the INVITE's
    /// Request-URI.
    pub fn set_contact(&mut self, call: CallKey, contact: LocalContact) {
        self.command(call, |call, _| call.set_contact(contact));
    }

    /// Ends the call in whatever way its state asks for: 480, CANCEL or BYE, with a Reason if given. [`Event::Ended`] comes at
    /// once; what is left to exchange with the peer happens unseen.
    pub fn hang_up(&mut self, now: Instant, call: CallKey, reason: Option<Reason>) {
        self.command(call, |call, stack| call.hang_up(now, stack, reason));
    }

    /// Asks the peer by OPTIONS whether it still knows the call; [`Event::Probed`] tells. One at a time: a second one before the
    /// outcome of the first is ignored.
    pub fn probe(&mut self, now: Instant, call: CallKey) {
        self.command(call, |call, stack| call.send_probe(now, stack));
    }

    /// Changes the session: `body` is the offer, `None` asks the peer for one. [`Event::ReinviteOutcome`] tells how it went.
    pub fn reinvite(&mut self, now: Instant, call: CallKey, body: Option<Body>) {
        self.command(call, |call, stack| call.reinvite(now, stack, body));
    }

    /// Agrees to what an [`Event::Refer`] asks for. What becomes of it is told by [`Endpoint::tell_referral`].
    pub fn accept_refer(&mut self, now: Instant, call: CallKey) {
        self.command(call, |call, stack| call.accept_refer(now, stack));
    }

    /// Refuses what an [`Event::Refer`] asks for.
    pub fn reject_refer(&mut self, now: Instant, call: CallKey, rejection: Rejection) {
        self.command(call, |call, stack| call.reject_refer(now, stack, &rejection));
    }

    /// Tells the peer what has become of its REFER: a final status is the end of it. Without effect where the peer wants to hear nothing.
    pub fn tell_referral(&mut self, now: Instant, call: CallKey, status: StatusCode) {
        self.command(call, |call, stack| call.tell_referral(now, stack, status));
    }

    // ---- commands: calls that go out

    /// Places a call.
    pub fn invite(&mut self, now: Instant, invitation: Invitation) -> CallKey {
        let key = self.new_call_key();
        let call = Call::invite(now, &mut self.stack, key, invitation);
        self.add_call(key, call);
        key
    }

    /// Gives the answer to the offer of a 2xx, after [`Event::Answered`] or [`ReinviteOutcome::Accepted`] for an INVITE without
    /// offer. Due within 30 s, else the call ends.
    pub fn acknowledge(&mut self, now: Instant, call: CallKey, answer: Body) {
        self.command(call, |call, stack| call.acknowledge(now, stack, Some(answer)));
    }

    // ---- commands: the endpoint

    /// Answers the question of an [`Event::Options`]: with what this endpoint can do, or as an INVITE would be refused. One that
    /// was answered before is ignored.
    pub fn answer_options(&mut self, query: QueryKey, refusal: Option<Rejection>) {
        match self.queries.remove(&query) {
            Some(received) => self.answer_query(&received, refusal),
            None => self.stack.late_command(),
        }
    }

    /// Opens or closes the door for new calls.
    pub fn set_admission(&mut self, admission: Admission) {
        self.stack.admission = admission;
    }

    // ---- the table of calls

    fn new_call_key(&mut self) -> CallKey {
        self.last_call += 1;
        CallKey(self.last_call)
    }

    fn add_call(&mut self, key: CallKey, call: Call) {
        self.calls.insert(
            key,
            CallSlot {
                call,
                scheduled: None,
                connection: 0,
            },
        );
        self.settle(key);
    }

    /// Runs a command of the user on a call.
    fn command(&mut self, key: CallKey, run: impl FnOnce(&mut Call, &mut Stack)) {
        if self.calls.contains_key(&key) {
            self.with_call(key, run);
        } else {
            self.stack.late_command();
        }
    }

    fn with_call(&mut self, key: CallKey, run: impl FnOnce(&mut Call, &mut Stack)) {
        if let Some(slot) = self.calls.get_mut(&key) {
            run(&mut slot.call, &mut self.stack);
            self.settle(key);
        }
    }

    /// Brings deadline and connection of a call up to date and removes it when it is finished.
    fn settle(&mut self, key: CallKey) {
        let Some(slot) = self.calls.get_mut(&key) else {
            return;
        };
        slot.call.release_dialogs(&mut self.stack);
        let finished = slot.call.is_finished();
        let next = slot.call.next_timeout().map(|(at, _)| at).filter(|_| !finished);
        if slot.scheduled != next {
            if let Some(at) = slot.scheduled {
                self.call_deadlines.remove(&(at, key));
            }
            if let Some(at) = next {
                self.call_deadlines.insert((at, key));
            }
            slot.scheduled = next;
        }
        let connection = if finished { 0 } else { slot.call.connection() };
        if slot.connection != connection {
            self.call_connections.remove(&(slot.connection, key));
            if connection != 0 {
                self.call_connections.insert((connection, key));
            }
            slot.connection = connection;
        }
        if finished {
            self.calls.remove(&key);
        }
    }

    /// Hands news of a client transaction to its call; `ended` says that the transaction is over as well.
    fn deliver(&mut self, now: Instant, (news, ended): (ClientNews, bool)) {
        let (id, owner) = (news.id, news.owner);
        let mut all = vec![news];
        if ended {
            all.push(ClientNews {
                id,
                owner,
                outcome: ClientOutcome::Ended,
            });
        }
        self.deliver_all(now, all);
    }

    fn deliver_all(&mut self, now: Instant, all: Vec<ClientNews>) {
        for news in all {
            if news.owner.purpose == Purpose::Subscription {
                self.subscription_news(now, &news);
                continue;
            }
            if news.owner.purpose == Purpose::Question {
                self.replied(news);
                continue;
            }
            self.with_call(news.owner.call, |call, stack| call.handle_news(now, stack, news));
        }
    }
}
