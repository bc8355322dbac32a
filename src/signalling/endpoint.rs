//! The one task that drives the SIP endpoint: bytes and timers in, bytes and call events out.
//!
//! Owns the [`Endpoint`] and the map from call to its task's channel. Queues: input 4096 messages (UDP drops and
//! counts when full, TCP waits), commands 1024 (call tasks wait), events 32 per call (a call task that leaves them
//! unread is hung up and counted). It decides nothing about calls; [`super::call`] does.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use confab_sip::{
    Admission as SipAdmission, Body, CallKey, Counters, Endpoint, Event, Flow, Gauges, HeaderName,
    Invitation, LocalContact, Output, ParseError, QueryKey, Question, QuestionKey, QuestionOutcome,
    Reachable, Reason, Rejection, Replaces, Reply, Request, StatusCode, SubscriptionEnd, SubscriptionKey,
    SubscriptionState, Transport,
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::MissedTickBehavior,
};

use super::{
    stats::{Counter, TransportStats},
    tcp::Connections,
    udp::SipSocket,
    watching::Watching,
};
use crate::admission::{Admission, RETRY_AFTER_S};
use crate::registrar::Bindings;

/// Messages read from the network and not handled yet.
pub(super) const INPUT_QUEUE: usize = 4096;
const COMMAND_QUEUE: usize = 1024;
const CALL_EVENT_QUEUE: usize = 32;
/// How often admission is handed to the endpoint and its figures are published.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// What the transports bring.
pub(crate) enum Input {
    /// One whole message.
    Message {
        /// Where it came from.
        flow: Flow,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A stream that lost its frame: the endpoint answers if it can, then the connection is closed.
    FramingError {
        /// Where it came from.
        flow: Flow,
        /// What was wrong, with the answer.
        error: ParseError,
    },
    /// A connection is gone.
    ConnectionClosed {
        /// Its number.
        connection: u64,
    },
    /// A connection from which nothing has come for a long time: it is closed unless a call needs it.
    Idle {
        /// Its number.
        connection: u64,
    },
    /// A message handed out earlier could not be delivered.
    SendFailed {
        /// Where it should have gone.
        flow: Flow,
    },
}

/// What call tasks ask for.
pub(crate) enum Command {
    /// Sends a provisional response.
    Progress(CallKey, StatusCode),
    /// Sends 200 with this body, and says whether the INVITE still waited for it: it may have been cancelled meanwhile.
    Accept(CallKey, Body, oneshot::Sender<bool>),
    /// Refuses the INVITE.
    Reject(CallKey, Rejection),
    /// Answers a re-INVITE with 200.
    AcceptReinvite(CallKey, Body),
    /// Refuses a re-INVITE; the call goes on as before.
    RejectReinvite(CallKey, Rejection),
    /// Offers this in a re-INVITE; [`Event::ReinviteOutcome`] says how it went.
    Reinvite(CallKey, Body),
    /// Asks the peer whether the call still exists.
    Probe(CallKey),
    /// Agrees to a REFER.
    AcceptRefer(CallKey),
    /// Refuses a REFER.
    RejectRefer(CallKey, Rejection),
    /// Tells the peer what has become of its REFER.
    TellReferral(CallKey, StatusCode),
    /// Ends the call, whatever its state.
    HangUp(CallKey, Option<Reason>),
    /// Places a call. When whoever asked is gone by then, it is taken back.
    Invite(Box<Invitation>, oneshot::Sender<Placed>),
    /// Answers an OPTIONS: with what this server can do, or as an INVITE would be refused.
    AnswerOptions(QueryKey, Option<Rejection>),
    /// Replies to a REGISTER.
    AnswerRegister(QueryKey, Reply),
    /// Leaves a REGISTER without a reply.
    IgnoreRegister(QueryKey),
    /// Uses the way to a registered contact, so that a NAT keeps it open.
    KeepAlive(Box<Reachable>),
    /// Agrees to a SUBSCRIBE, and tells the name of the subscription.
    AcceptSubscription(QueryKey, LocalContact, oneshot::Sender<Option<SubscriptionKey>>),
    /// Refuses a SUBSCRIBE.
    RejectSubscription(QueryKey, Rejection),
    /// Tells a subscriber something.
    Notify(SubscriptionKey, SubscriptionState, Option<Body>),
    /// Sends a request outside of calls; told what comes of it.
    Ask(Box<Question>, oneshot::Sender<QuestionOutcome>),
    /// Finds the call whose dialog this is.
    Find(Replaces, oneshot::Sender<Option<CallKey>>),
    /// The call's task is done: nobody reads its events from here on.
    Forget(CallKey),
    /// Tells what is alive once everything asked for before is done.
    Count(oneshot::Sender<Gauges>),
}

/// A call that has just come in.
pub(crate) struct Incoming {
    /// The endpoint's name for it.
    pub(crate) call: CallKey,
    /// The INVITE.
    pub(crate) request: Request,
    /// How it came.
    pub(crate) flow: Flow,
    /// The call that it is to take the place of.
    pub(crate) replaces: Option<CallKey>,
    /// What happens to the call from here on.
    pub(crate) events: mpsc::Receiver<Event>,
}

/// A call that was just placed.
pub(crate) struct Placed {
    /// The endpoint's name for it.
    pub(crate) call: CallKey,
    /// What happens to it.
    pub(crate) events: mpsc::Receiver<Event>,
}

/// An OPTIONS outside of calls that waits for its answer.
pub(crate) struct Query {
    /// The endpoint's name for it.
    pub(crate) query: QueryKey,
    /// The OPTIONS.
    pub(crate) request: Request,
    /// How it came.
    pub(crate) flow: Flow,
}

/// A REGISTER that waits for its reply.
pub(crate) struct Registering {
    /// The endpoint's name for it.
    pub(crate) query: QueryKey,
    /// The REGISTER.
    pub(crate) request: Request,
    /// How it came.
    pub(crate) flow: Flow,
}

/// Figures of the endpoint, published every 100 ms.
#[derive(Clone, Default)]
pub(crate) struct Figures {
    /// What is alive now.
    pub(crate) gauges: Gauges,
    /// What has been counted since the start.
    pub(crate) counters: Counters,
}

/// Sends commands to the endpoint's task; clones share its queue.
#[derive(Clone)]
pub(crate) struct EndpointHandle {
    commands: mpsc::Sender<Command>,
    figures: Arc<Mutex<Figures>>,
}

impl EndpointHandle {
    /// Queues a command; waits while the queue is full. The endpoint outlives every call, so nothing is lost.
    pub(crate) async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// Sends a request outside of calls and waits for what comes of it, 32 s at most.
    pub(crate) async fn ask(&self, question: Question) -> QuestionOutcome {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Ask(Box::new(question), reply)).await;
        outcome.await.unwrap_or(QuestionOutcome::TransportFailed)
    }

    /// Hangs up a call whose task broke down, and forgets it. Does not wait, so that a drop can call it.
    pub(crate) fn abandon(&self, call: CallKey) {
        let endpoint = self.clone();
        // Without a runtime the endpoint is gone as well.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let reason = Reason::sip(500, "internal error");
                endpoint.send(Command::HangUp(call, Some(reason))).await;
                endpoint.send(Command::Forget(call)).await;
            });
        }
    }

    /// Returns what is alive once everything asked for before is done; nothing, when the endpoint is gone.
    pub(crate) async fn count(&self) -> Gauges {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Count(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Waits until the endpoint's task is gone, which it is not before it is stopped, unless it broke down.
    pub(crate) async fn gone(&self) {
        self.commands.closed().await;
    }

    /// The endpoint's figures, at most 100 ms old.
    pub(crate) fn figures(&self) -> Figures {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The endpoint's task before it runs.
pub(super) struct EndpointTask {
    pub(super) endpoint: Endpoint,
    pub(super) sockets: Vec<(SocketAddr, Arc<SipSocket>)>,
    pub(super) connections: Connections,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) queries: mpsc::Sender<Query>,
    pub(super) registers: mpsc::Sender<Registering>,
    pub(super) watching: mpsc::Sender<Watching>,
    pub(super) bindings: Bindings,
    pub(super) admission: Admission,
    pub(super) stats: Arc<TransportStats>,
    pub(super) stuck_calls: Arc<Counter>,
    pub(super) stop: watch::Receiver<bool>,
}

impl EndpointTask {
    /// Starts the task. It runs until `stop` becomes true.
    pub(super) fn start(self) -> (EndpointHandle, tokio::task::JoinHandle<()>) {
        let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
        let figures = Arc::<Mutex<Figures>>::default();
        let handle = EndpointHandle {
            commands,
            figures: Arc::clone(&figures),
        };
        let running = Running {
            task: self,
            calls: HashMap::new(),
            questions: HashMap::new(),
            figures,
            broken: Vec::new(),
        };
        (handle, tokio::spawn(running.run(queue)))
    }
}

/// Why the endpoint's task woke.
enum Wake {
    Housekeeping,
    Timeout,
    Command(Command),
    Input(Input),
}

struct Running {
    task: EndpointTask,
    calls: HashMap<CallKey, mpsc::Sender<Event>>,
    /// Whom to tell what came of requests outside of calls.
    questions: HashMap<QuestionKey, oneshot::Sender<QuestionOutcome>>,
    figures: Arc<Mutex<Figures>>,
    /// Connections to close once their last message is handed out.
    broken: Vec<u64>,
}

impl Running {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.task.endpoint.poll_timeout().map(|(due, _)| due);
            let wake = tokio::select! {
                biased;
                _ = self.task.stop.wait_for(|stop| *stop) => return,
                _ = housekeeping.tick() => Wake::Housekeeping,
                () = sleep_until(due) => Wake::Timeout,
                Some(command) = commands.recv() => Wake::Command(command),
                Some(input) = self.task.inputs.recv() => Wake::Input(input),
            };
            match wake {
                Wake::Housekeeping => self.housekeeping(),
                Wake::Timeout => self.task.endpoint.handle_timeout(Instant::now()),
                Wake::Command(command) => self.command(command),
                Wake::Input(input) => self.input(input),
            }
            self.drain().await;
            for connection in self.broken.drain(..) {
                self.task.connections.close(connection);
            }
        }
    }

    fn housekeeping(&mut self) {
        let admission = match self.task.admission.overload() {
            None => SipAdmission::Open,
            Some(_) => SipAdmission::Refusing {
                retry_after_s: RETRY_AFTER_S,
            },
        };
        self.task.endpoint.set_admission(admission);
        let figures = Figures {
            gauges: self.task.endpoint.gauges(),
            counters: self.task.endpoint.counters().clone(),
        };
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    fn input(&mut self, input: Input) {
        let now = Instant::now();
        let endpoint = &mut self.task.endpoint;
        match input {
            Input::Message { flow, bytes } => endpoint.handle_message(now, flow, bytes),
            Input::FramingError { flow, error } => {
                endpoint.handle_framing_error(flow, error);
                self.broken.push(flow.connection);
            }
            Input::ConnectionClosed { connection } => {
                endpoint.handle_connection_closed(now, connection);
                self.task.bindings.connection_closed(connection);
            }
            Input::Idle { connection } => {
                if !endpoint.uses_connection(connection) && !self.task.bindings.uses_connection(connection) {
                    self.task.stats.tcp_closed.increment();
                    self.broken.push(connection);
                }
            }
            Input::SendFailed { flow } => endpoint.handle_send_failed(now, flow),
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        let endpoint = &mut self.task.endpoint;
        match command {
            Command::Progress(call, status) => endpoint.progress(now, call, status, None),
            Command::Accept(call, body, reply) => {
                // Events of what happened before are in the call's queue when the reply is.
                let _ = reply.send(endpoint.awaits_answer(call));
                endpoint.accept(now, call, body);
            }
            Command::Reject(call, rejection) => endpoint.reject(now, call, rejection),
            Command::AcceptReinvite(call, body) => endpoint.accept_reinvite(now, call, body),
            Command::RejectReinvite(call, rejection) => endpoint.reject_reinvite(now, call, rejection),
            Command::Reinvite(call, body) => endpoint.reinvite(now, call, Some(body)),
            Command::Probe(call) => endpoint.probe(now, call),
            Command::AcceptRefer(call) => endpoint.accept_refer(now, call),
            Command::RejectRefer(call, rejection) => endpoint.reject_refer(now, call, rejection),
            Command::TellReferral(call, status) => endpoint.tell_referral(now, call, status),
            Command::HangUp(call, reason) => endpoint.hang_up(now, call, reason),
            Command::Invite(invitation, reply) => {
                let call = endpoint.invite(now, *invitation);
                let (sender, events) = mpsc::channel(CALL_EVENT_QUEUE);
                if reply.send(Placed { call, events }).is_ok() {
                    self.calls.insert(call, sender);
                } else {
                    endpoint.hang_up(now, call, None);
                }
            }
            Command::AnswerOptions(query, refusal) => endpoint.answer_options(query, refusal),
            Command::AnswerRegister(query, reply) => endpoint.answer_register(now, query, reply),
            Command::IgnoreRegister(query) => endpoint.ignore_register(query),
            Command::KeepAlive(contact) => endpoint.keep_alive(&contact),
            Command::AcceptSubscription(query, contact, reply) => {
                // Whoever asked may be gone.
                let _ = reply.send(endpoint.accept_subscription(now, query, contact));
            }
            Command::RejectSubscription(query, rejection) => endpoint.reject_subscription(query, rejection),
            Command::Notify(subscription, state, body) => endpoint.notify(now, subscription, state, body),
            Command::Ask(question, reply) => {
                let question = endpoint.ask(now, *question);
                self.questions.insert(question, reply);
            }
            // Whoever asked may have gone.
            Command::Find(replaces, reply) => drop(reply.send(endpoint.call_named(&replaces))),
            Command::Forget(call) => drop(self.calls.remove(&call)),
            // Whoever asked may have stopped waiting.
            Command::Count(reply) => drop(reply.send(endpoint.gauges())),
        }
    }

    async fn drain(&mut self) {
        while let Some(output) = self.task.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => self.transmit(flow, bytes).await,
                Output::Event(event) => self.event(event),
            }
        }
    }

    async fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        let sent = match flow.transport {
            Transport::Udp => match self.socket(flow) {
                Some(socket) => socket.send(&bytes, flow.local.ip(), flow.remote).await.is_ok(),
                None => false,
            },
            // Every other transport is a connection.
            _ => self.task.connections.send(flow, bytes).is_ok(),
        };
        if !sent {
            self.task.stats.send_failed.increment();
            self.task.endpoint.handle_send_failed(Instant::now(), flow);
        }
    }

    /// The socket whose bound address fits the flow's local one: exactly, or as the wildcard of that family and port.
    fn socket(&self, flow: Flow) -> Option<Arc<SipSocket>> {
        let fits = |bound: &SocketAddr| {
            bound.port() == flow.local.port()
                && bound.is_ipv4() == flow.remote.is_ipv4()
                && (bound.ip() == flow.local.ip() || bound.ip().is_unspecified())
        };
        let family = |bound: &SocketAddr| bound.is_ipv4() == flow.remote.is_ipv4();
        let sockets = &self.task.sockets;
        sockets
            .iter()
            .find(|(bound, _)| fits(bound))
            .or_else(|| sockets.iter().find(|(bound, _)| family(bound)))
            .map(|(_, socket)| Arc::clone(socket))
    }

    fn event(&mut self, event: Event) {
        if let Event::Options { query, request, flow } = event {
            let asked = Query { query, request, flow };
            if self.task.queries.try_send(asked).is_err() {
                self.task.endpoint.answer_options(query, Some(busy()));
            }
            return;
        }
        if let Event::Register { query, request, flow } = event {
            let asked = Registering { query, request, flow };
            if self.task.registers.try_send(asked).is_err() {
                let reply = Reply::refusal(StatusCode::SERVICE_UNAVAILABLE, None);
                let reply = reply.with(HeaderName::RetryAfter, RETRY_AFTER_S.to_string());
                self.task.endpoint.answer_register(Instant::now(), query, reply);
            }
            return;
        }
        let event = match self.of_subscription(event) {
            Some(event) => event,
            None => return,
        };
        if let Event::Replied { question, outcome } = event {
            // Whoever asked may have stopped waiting.
            if let Some(reply) = self.questions.remove(&question) {
                let _ = reply.send(outcome);
            }
            return;
        }
        let Some(call) = call_of(&event) else { return };
        if let Event::Invite {
            call,
            request,
            flow,
            replaces,
        } = event
        {
            // A conference's Contact is the address it was dialled by, and says that it is one (RFC 4579 §3.1).
            let user = request.uri.as_sip().and_then(|uri| uri.user_decoded());
            let contact = LocalContact {
                user: user.map(|user| user.to_str_lossy().into_owned()),
                is_focus: true,
                ..LocalContact::default()
            };
            self.task.endpoint.set_contact(call, contact);
            let (sender, events) = mpsc::channel(CALL_EVENT_QUEUE);
            self.calls.insert(call, sender);
            if self
                .task
                .incoming
                .try_send(Incoming {
                    call,
                    request,
                    flow,
                    replaces,
                    events,
                })
                .is_err()
            {
                // Calls arrive faster than tasks are started: the machine is overloaded.
                self.calls.remove(&call);
                self.task.endpoint.reject(Instant::now(), call, busy());
            }
            return;
        }
        let ended = matches!(event, Event::Ended { .. });
        let Some(sender) = self.calls.get(&call) else {
            return;
        };
        if sender.try_send(event).is_err() && !ended {
            self.task.stuck_calls.increment();
            self.task.endpoint.hang_up(Instant::now(), call, None);
        }
        if ended {
            // The task reads what is queued and then sees the channel closed.
            self.calls.remove(&call);
        }
    }
}

impl Running {
    /// Hands what concerns subscriptions to who serves them; returns what does not.
    fn of_subscription(&mut self, event: Event) -> Option<Event> {
        let told = match event {
            Event::Subscribe { query, request, flow } => Watching::Asked {
                query,
                request: Box::new(request),
                flow,
            },
            Event::SubscriptionRefreshed { subscription } => Watching::Refreshed(subscription),
            Event::Notified { subscription } => Watching::Notified(subscription),
            Event::SubscriptionEnds { subscription, end } => Watching::Ends(subscription, end),
            other => return Some(other),
        };
        let endpoint = &mut self.task.endpoint;
        match self
            .task
            .watching
            .try_send(told)
            .map_err(TrySendError::into_inner)
        {
            Ok(()) | Err(Watching::Ends(_, SubscriptionEnd::Lost)) => {}
            Err(Watching::Asked { query, .. }) => endpoint.reject_subscription(query, busy()),
            // Whoever serves them is behind: this one has to subscribe anew.
            Err(Watching::Refreshed(key) | Watching::Notified(key) | Watching::Ends(key, _)) => {
                endpoint.notify(Instant::now(), key, SubscriptionState::TimedOut, None);
            }
        }
        None
    }
}

fn busy() -> Rejection {
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE)
        .with_header(HeaderName::RetryAfter, RETRY_AFTER_S.to_string())
}

/// The call that an event belongs to.
fn call_of(event: &Event) -> Option<CallKey> {
    match event {
        Event::Invite { call, .. }
        | Event::Cancelled { call }
        | Event::Acked { call, .. }
        | Event::Reinvite { call, .. }
        | Event::ReinviteAcked { call, .. }
        | Event::ReinviteCancelled { call }
        | Event::Digit { call, .. }
        | Event::Refer { call, .. }
        | Event::Ended { call, .. }
        | Event::Trying { call }
        | Event::Progress { call, .. }
        | Event::Answered { call, .. }
        | Event::Failed { call, .. }
        | Event::RefreshWanted { call }
        | Event::ReinviteOutcome { call, .. }
        | Event::Probed { call, .. } => Some(*call),
        _ => None,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> (EndpointHandle, mpsc::Receiver<Command>) {
        let (commands, queue) = mpsc::channel(4);
        let figures = Arc::default();
        (EndpointHandle { commands, figures }, queue)
    }

    #[tokio::test]
    async fn an_abandoned_call_is_hung_up_and_forgotten() {
        let (endpoint, mut queue) = handle();
        let rng = rand::make_rng::<rand::rngs::StdRng>();
        let mut sip = Endpoint::new(confab_sip::EndpointConfig::default(), Box::new(rng));
        let address = |user: &str| {
            let uri = confab_sip::Uri::parse(format!("sip:{user}@127.0.0.1")).unwrap();
            confab_sip::NameAddr::new(uri)
        };
        let invitation = confab_sip::Invitation {
            target: address("a").uri,
            flow: Flow::udp(([127, 0, 0, 1], 5060).into(), ([127, 0, 0, 1], 5070).into()),
            from: address("b"),
            to: address("a"),
            call_id: None,
            identity: None,
            returns: false,
            contact: LocalContact {
                user: None,
                is_focus: false,
                ..LocalContact::default()
            },
            body: None,
            headers: Vec::new(),
        };
        let call = sip.invite(Instant::now(), invitation);
        endpoint.abandon(call);
        assert!(matches!(queue.recv().await, Some(Command::HangUp(of, Some(_))) if of == call));
        assert!(matches!(queue.recv().await, Some(Command::Forget(of)) if of == call));
    }

    #[tokio::test]
    async fn an_endpoint_that_is_gone_says_so_and_has_nothing_alive() {
        let (endpoint, queue) = handle();
        drop(queue);
        endpoint.gone().await;
        assert!(endpoint.count().await.is_idle());
    }
}
