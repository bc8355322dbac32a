//! Owns the live transactions: tables, deadlines, destinations, and who is told about what.
//!
//! Never looks into dialogs: a server transaction carries the call it belongs to, a client transaction its owner, and both are
//! only handed back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;

use super::client::{ClientState, ClientTimeout, ClientTransaction};
use super::client_invite::{ClientInviteState, ClientInviteTimeout, ClientInviteTransaction};
use super::key::{ClientKey, MergeKey, ServerKey};
use super::server::{ServerState, ServerTransaction};
use super::server_invite::{AckFor, ServerInviteState, ServerInviteTimeout, ServerInviteTransaction};
use super::timer::TimerKind;
use crate::endpoint::counters::{DropReason, Gauges};
use crate::endpoint::event::CallKey;
use crate::endpoint::flow::Flow;
use crate::endpoint::outbox::Outbox;
use crate::endpoint::route::ResponseRoute;
use crate::message::{Branch, Essentials, HeaderName, Method, Request, Response, StatusCode};

/// A live server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerId(u64);

/// A live client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

/// What a client transaction was started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The INVITE or a re-INVITE of a call.
    Invite,
    /// The BYE that ends a call.
    Bye,
    /// An OPTIONS that asks whether the dialog still lives.
    Probe,
    /// CANCEL, or BYE to a fork: nobody waits for its outcome.
    Unattended,
}

/// Whom to tell about a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) call: CallKey,
    pub(crate) purpose: Purpose,
}

/// What the layer made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestMatch {
    /// A transaction took it; nothing is left to do.
    Taken,
    /// An ACK that no transaction consumed: it may belong to a dialog.
    AckForCore,
    /// No transaction knows it.
    New,
}

/// News from a client transaction for its owner.
#[derive(Debug)]
pub(crate) struct ClientNews {
    pub(crate) id: ClientId,
    pub(crate) owner: Owner,
    pub(crate) outcome: ClientOutcome,
}

#[derive(Debug)]
pub(crate) enum ClientOutcome {
    /// A response that the core has to see.
    Response(Box<Response>),
    /// No (final) response in time; the transaction is gone.
    NoResponse,
    /// The request could not be sent; the transaction is gone.
    TransportFailed,
    /// The transaction ended after its responses were passed up.
    Ended,
}

/// What running one timer led to, beyond messages already in the outbox.
#[derive(Debug)]
pub(crate) enum LayerEvent {
    /// The call has not answered its INVITE within 200 ms: send 100 (Trying).
    TryingDue(ServerId, CallKey),
    /// A client transaction has news.
    Client(ClientNews),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TransactionId {
    Server(ServerId),
    Client(ClientId),
}

#[derive(Debug)]
enum ServerMachine {
    Invite(ServerInviteTransaction),
    Other(ServerTransaction),
}

#[derive(Debug)]
struct ServerEntry {
    machine: ServerMachine,
    key: ServerKey,
    merge: Option<MergeKey>,
    route: ResponseRoute,
    call: Option<CallKey>,
    scheduled: Option<Instant>,
}

#[derive(Debug)]
enum ClientMachine {
    Invite(ClientInviteTransaction),
    Other(ClientTransaction),
}

#[derive(Debug)]
struct ClientEntry {
    machine: ClientMachine,
    key: ClientKey,
    request: Request,
    bytes: Bytes,
    flow: Flow,
    fallback: Option<Flow>,
    owner: Owner,
    scheduled: Option<Instant>,
}

/// All transactions of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct TransactionLayer {
    servers: BTreeMap<ServerId, ServerEntry>,
    server_keys: BTreeMap<ServerKey, ServerId>,
    merges: BTreeMap<MergeKey, ServerId>,
    clients: BTreeMap<ClientId, ClientEntry>,
    client_keys: BTreeMap<ClientKey, ClientId>,
    deadlines: BTreeSet<(Instant, TransactionId)>,
    /// Which transactions use a connection, so that its end finds them.
    connections: BTreeSet<(u64, TransactionId)>,
    server_invites: usize,
    client_invites: usize,
    last_id: u64,
}

/// A request to be sent, its topmost Via being ours.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) request: Request,
    /// The branch of that Via.
    pub(crate) branch: Branch,
    pub(crate) flow: Flow,
    /// Where the request goes when `flow` cannot be used (RFC 3261 §18.1.1).
    pub(crate) fallback: Option<Flow>,
    pub(crate) owner: Owner,
}

impl TransactionLayer {
    pub(crate) fn len(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Adds the transactions' part to `gauges`.
    pub(crate) fn gauges(&self, gauges: &mut Gauges) {
        gauges.server_invite_transactions += self.server_invites;
        gauges.server_transactions += self.servers.len() - self.server_invites;
        gauges.client_invite_transactions += self.client_invites;
        gauges.client_transactions += self.clients.len() - self.client_invites;
        gauges.timers += self.deadlines.len();
    }

    /// The earliest deadline of all transactions.
    pub(crate) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        let (_, id) = self.deadlines.first()?;
        match id {
            TransactionId::Server(id) => self.servers.get(id)?.next_timeout(),
            TransactionId::Client(id) => self.clients.get(id)?.next_timeout(),
        }
    }

    // ---- server side

    /// Offers a request to the transaction it may repeat or acknowledge.
    pub(crate) fn receive_request(
        &mut self,
        now: Instant,
        key: &ServerKey,
        method: &Method,
        out: &mut Outbox,
    ) -> RequestMatch {
        let found = self.server_keys.get(key).copied();
        let Some((id, entry)) = found.and_then(|id| self.servers.get_mut(&id).map(|entry| (id, entry)))
        else {
            return if *method == Method::Ack {
                RequestMatch::AckForCore
            } else {
                RequestMatch::New
            };
        };
        let repeat = match &mut entry.machine {
            ServerMachine::Invite(invite) if *method == Method::Ack => match invite.receive_ack(now) {
                AckFor::Core => return RequestMatch::AckForCore,
                AckFor::Transaction => None,
            },
            ServerMachine::Invite(invite) => invite.receive_invite(),
            ServerMachine::Other(other) => other.receive_request(),
        };
        if *method != Method::Ack {
            out.drop_for(DropReason::Retransmission);
        }
        if let Some(bytes) = repeat {
            out.retransmit(entry.route.flow, bytes);
        }
        self.settle_server(id);
        RequestMatch::Taken
    }

    /// True when another live transaction handles the same request.
    pub(crate) fn is_merged(&self, merge: Option<&MergeKey>) -> bool {
        merge.is_some_and(|merge| self.merges.contains_key(merge))
    }

    /// Starts the transaction of a new INVITE.
    pub(crate) fn open_invite(
        &mut self,
        now: Instant,
        key: ServerKey,
        merge: Option<MergeKey>,
        route: ResponseRoute,
        call: Option<CallKey>,
    ) -> ServerId {
        let machine = ServerInviteTransaction::new(now, route.flow.transport.is_reliable());
        self.open_server(ServerMachine::Invite(machine), key, merge, route, call)
    }

    /// Starts the transaction of a new request other than INVITE and ACK.
    pub(crate) fn open_other(&mut self, key: ServerKey, route: ResponseRoute) -> ServerId {
        let machine = ServerTransaction::new(route.flow.transport.is_reliable());
        self.open_server(ServerMachine::Other(machine), key, None, route, None)
    }

    fn open_server(
        &mut self,
        machine: ServerMachine,
        key: ServerKey,
        merge: Option<MergeKey>,
        route: ResponseRoute,
        call: Option<CallKey>,
    ) -> ServerId {
        self.last_id += 1;
        let id = ServerId(self.last_id);
        self.server_keys.insert(key.clone(), id);
        if let Some(merge) = &merge {
            self.merges.insert(merge.clone(), id);
        }
        if matches!(machine, ServerMachine::Invite(_)) {
            self.server_invites += 1;
        }
        self.connections
            .insert((route.flow.connection, TransactionId::Server(id)));
        self.servers.insert(
            id,
            ServerEntry {
                machine,
                key,
                merge,
                route,
                call,
                scheduled: None,
            },
        );
        self.settle_server(id);
        id
    }

    /// The INVITE transaction under this key, its call, and whether it still waits for a final response.
    pub(crate) fn find_invite(&self, key: &ServerKey) -> Option<(ServerId, Option<CallKey>, bool)> {
        let id = *self.server_keys.get(key)?;
        let entry = self.servers.get(&id)?;
        match &entry.machine {
            ServerMachine::Invite(invite) => {
                Some((id, entry.call, invite.state() == ServerInviteState::Proceeding))
            }
            ServerMachine::Other(_) => None,
        }
    }

    /// Sends a response of the core through its transaction. `repeat` marks one that was sent before.
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        id: ServerId,
        status: StatusCode,
        bytes: Bytes,
        repeat: bool,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.servers.get_mut(&id) else {
            out.drop_for(DropReason::LateResponse);
            return;
        };
        let sent = match &mut entry.machine {
            ServerMachine::Invite(invite) => invite.respond(now, status.code(), bytes.clone()),
            ServerMachine::Other(other) => other.respond(now, status.code(), bytes.clone()),
        };
        match (sent, repeat) {
            (true, true) => out.retransmit(entry.route.flow, bytes),
            (true, false) => out.transmit(entry.route.flow, bytes),
            (false, _) => out.drop_for(DropReason::LateResponse),
        }
        self.settle_server(id);
    }

    // ---- client side

    /// Sends a request and watches over it.
    pub(crate) fn send(&mut self, now: Instant, outgoing: Outgoing, out: &mut Outbox) -> ClientId {
        let Outgoing {
            request,
            branch,
            flow,
            fallback,
            owner,
        } = outgoing;
        self.last_id += 1;
        let id = ClientId(self.last_id);
        let key = ClientKey::new(branch.as_bytes(), &request.method);
        let machine = ClientMachine::new(now, &request.method, flow);
        if matches!(machine, ClientMachine::Invite(_)) {
            self.client_invites += 1;
        }
        let bytes = request.to_bytes();
        out.transmit(flow, bytes.clone());
        self.client_keys.insert(key.clone(), id);
        self.connections
            .insert((flow.connection, TransactionId::Client(id)));
        let entry = ClientEntry {
            machine,
            key,
            request,
            bytes,
            flow,
            fallback,
            owner,
            scheduled: None,
        };
        self.clients.insert(id, entry);
        self.settle_client(id);
        id
    }

    /// The request of a client transaction and where it went, for its CANCEL.
    pub(crate) fn sent(&self, id: ClientId) -> Option<(&Request, Flow)> {
        self.clients.get(&id).map(|entry| (&entry.request, entry.flow))
    }

    /// Notes that a CANCEL was sent for this INVITE: it ends 64·T1 later at the latest.
    pub(crate) fn cancelled(&mut self, now: Instant, id: ClientId) {
        if let Some(ClientEntry {
            machine: ClientMachine::Invite(invite),
            ..
        }) = self.clients.get_mut(&id)
        {
            invite.cancelled(now);
        }
        self.settle_client(id);
    }

    /// Takes a response. Returns news for its owner, and after it, when the transaction is over, that too.
    pub(crate) fn receive_response(
        &mut self,
        now: Instant,
        response: Response,
        essentials: &Essentials,
        out: &mut Outbox,
    ) -> Option<(ClientNews, bool)> {
        let id = ClientKey::of_response(essentials).and_then(|key| self.client_keys.get(&key).copied());
        let Some((id, entry)) = id.and_then(|id| self.clients.get_mut(&id).map(|entry| (id, entry))) else {
            out.drop_for(DropReason::StrayResponse);
            return None;
        };
        let status = response.status.code();
        let pass_up = match &mut entry.machine {
            ClientMachine::Invite(invite) => {
                let receipt = invite.receive(now, status);
                if receipt.acknowledge {
                    let ack = acknowledge_refusal(&entry.request, &response);
                    out.transmit(entry.flow, ack.to_bytes());
                }
                receipt.pass_up
            }
            ClientMachine::Other(other) => other.receive(now, status),
        };
        entry.fallback = None;
        let owner = entry.owner;
        let ended = self.settle_client(id);
        if !pass_up {
            out.drop_for(DropReason::Retransmission);
            return None;
        }
        let outcome = ClientOutcome::Response(Box::new(response));
        Some((ClientNews { id, owner, outcome }, ended))
    }

    // ---- time and transport

    /// Runs the earliest due timer. Returns `None` when none is due, and `Some(None)` when one ran without news.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) -> Option<Option<LayerEvent>> {
        let (at, id) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        Some(match id {
            TransactionId::Server(id) => self.server_timeout(now, id, out),
            TransactionId::Client(id) => self.client_timeout(now, id, out).map(LayerEvent::Client),
        })
    }

    fn server_timeout(&mut self, now: Instant, id: ServerId, out: &mut Outbox) -> Option<LayerEvent> {
        let entry = self.servers.get_mut(&id)?;
        let mut event = None;
        match &mut entry.machine {
            ServerMachine::Invite(invite) => match invite.handle_timeout(now) {
                Some(ServerInviteTimeout::SendTrying) => {
                    event = entry.call.map(|call| LayerEvent::TryingDue(id, call));
                }
                Some(ServerInviteTimeout::Retransmit(bytes)) => out.retransmit(entry.route.flow, bytes),
                Some(ServerInviteTimeout::NoAck | ServerInviteTimeout::Ended) | None => {}
            },
            ServerMachine::Other(other) => {
                other.handle_timeout(now);
            }
        }
        self.settle_server(id);
        event
    }

    fn client_timeout(&mut self, now: Instant, id: ClientId, out: &mut Outbox) -> Option<ClientNews> {
        let entry = self.clients.get_mut(&id)?;
        let (retransmit, outcome) = match &mut entry.machine {
            ClientMachine::Invite(invite) => match invite.handle_timeout(now) {
                Some(ClientInviteTimeout::Retransmit) => (true, None),
                Some(ClientInviteTimeout::NoResponse) => (false, Some(ClientOutcome::NoResponse)),
                Some(ClientInviteTimeout::Ended) => (false, Some(ClientOutcome::Ended)),
                None => (false, None),
            },
            ClientMachine::Other(other) => match other.handle_timeout(now) {
                Some(ClientTimeout::Retransmit) => (true, None),
                Some(ClientTimeout::NoResponse) => (false, Some(ClientOutcome::NoResponse)),
                Some(ClientTimeout::Ended) => (false, Some(ClientOutcome::Ended)),
                None => (false, None),
            },
        };
        if retransmit {
            out.retransmit(entry.flow, entry.bytes.clone());
        }
        let owner = entry.owner;
        self.settle_client(id);
        outcome.map(|outcome| ClientNews { id, owner, outcome })
    }

    /// A connection is gone. Responses go to the address of the Via from here on (RFC 3261 §18.2.2); requests without any
    /// response count as not sent.
    pub(crate) fn connection_closed(
        &mut self,
        now: Instant,
        connection: u64,
        out: &mut Outbox,
    ) -> Vec<ClientNews> {
        if connection == 0 {
            return Vec::new();
        }
        let first = (connection, TransactionId::Server(ServerId(0)));
        let users: Vec<TransactionId> = self
            .connections
            .range(first..)
            .take_while(|(of, _)| *of == connection)
            .map(|(_, id)| *id)
            .collect();
        let mut clients = Vec::new();
        for id in users {
            self.connections.remove(&(connection, id));
            match id {
                TransactionId::Server(server) => {
                    if let Some(entry) = self.servers.get_mut(&server)
                        && let Some(fallback) = entry.route.fallback
                    {
                        entry.route.flow = fallback;
                        self.connections.insert((fallback.connection, id));
                    }
                }
                TransactionId::Client(client) => clients.push(client),
            }
        }
        self.fail_clients(now, clients, out)
    }

    /// A message could not be sent over `flow`.
    pub(crate) fn send_failed(&mut self, now: Instant, flow: Flow, out: &mut Outbox) -> Vec<ClientNews> {
        let clients = self
            .clients
            .iter()
            .filter(|(_, entry)| entry.flow == flow)
            .map(|(id, _)| *id)
            .collect();
        self.fail_clients(now, clients, out)
    }

    /// Ends or reroutes those of `ids` that have had no response.
    fn fail_clients(&mut self, now: Instant, ids: Vec<ClientId>, out: &mut Outbox) -> Vec<ClientNews> {
        let mut news = Vec::new();
        for id in ids {
            let Some(entry) = self
                .clients
                .get_mut(&id)
                .filter(|entry| entry.machine.is_unanswered())
            else {
                continue;
            };
            if let Some(flow) = entry.fallback.take() {
                self.connections
                    .remove(&(entry.flow.connection, TransactionId::Client(id)));
                self.connections
                    .insert((flow.connection, TransactionId::Client(id)));
                entry.resend_over(now, flow, out);
            } else {
                entry.machine.terminate();
                news.push(ClientNews {
                    id,
                    owner: entry.owner,
                    outcome: ClientOutcome::TransportFailed,
                });
            }
            self.settle_client(id);
        }
        news
    }

    // ---- bookkeeping

    /// Brings the deadline of a transaction up to date and removes it when it is over.
    fn settle_server(&mut self, id: ServerId) {
        let Some(entry) = self.servers.get_mut(&id) else {
            return;
        };
        let next = entry.next_timeout().map(|(at, _)| at);
        reschedule(
            &mut self.deadlines,
            TransactionId::Server(id),
            &mut entry.scheduled,
            next,
        );
        if !entry.is_terminated() {
            return;
        }
        if let Some(entry) = self.servers.remove(&id) {
            if matches!(entry.machine, ServerMachine::Invite(_)) {
                self.server_invites -= 1;
            }
            self.connections
                .remove(&(entry.route.flow.connection, TransactionId::Server(id)));
            self.server_keys.remove(&entry.key);
            if let Some(merge) = entry.merge {
                self.merges.remove(&merge);
            }
        }
    }

    /// As for servers; returns whether the transaction is over.
    fn settle_client(&mut self, id: ClientId) -> bool {
        let Some(entry) = self.clients.get_mut(&id) else {
            return true;
        };
        let next = entry.next_timeout().map(|(at, _)| at);
        reschedule(
            &mut self.deadlines,
            TransactionId::Client(id),
            &mut entry.scheduled,
            next,
        );
        let ended = entry.machine.is_terminated();
        if ended && let Some(entry) = self.clients.remove(&id) {
            if matches!(entry.machine, ClientMachine::Invite(_)) {
                self.client_invites -= 1;
            }
            self.connections
                .remove(&(entry.flow.connection, TransactionId::Client(id)));
            self.client_keys.remove(&entry.key);
        }
        ended
    }
}

fn reschedule(
    deadlines: &mut BTreeSet<(Instant, TransactionId)>,
    id: TransactionId,
    scheduled: &mut Option<Instant>,
    next: Option<Instant>,
) {
    if *scheduled == next {
        return;
    }
    if let Some(at) = scheduled.take() {
        deadlines.remove(&(at, id));
    }
    if let Some(at) = next {
        deadlines.insert((at, id));
    }
    *scheduled = next;
}

impl ServerEntry {
    fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        match &self.machine {
            ServerMachine::Invite(invite) => invite.next_timeout(),
            ServerMachine::Other(other) => other.next_timeout(),
        }
    }

    fn is_terminated(&self) -> bool {
        match &self.machine {
            ServerMachine::Invite(invite) => invite.state() == ServerInviteState::Terminated,
            ServerMachine::Other(other) => other.state() == ServerState::Terminated,
        }
    }
}

impl ClientMachine {
    fn new(now: Instant, method: &Method, flow: Flow) -> Self {
        let reliable = flow.transport.is_reliable();
        match method {
            Method::Invite => ClientMachine::Invite(ClientInviteTransaction::new(now, reliable)),
            _ => ClientMachine::Other(ClientTransaction::new(now, reliable)),
        }
    }

    fn is_unanswered(&self) -> bool {
        match self {
            ClientMachine::Invite(invite) => invite.state() == ClientInviteState::Calling,
            ClientMachine::Other(other) => other.state() == ClientState::Trying,
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            ClientMachine::Invite(invite) => invite.state() == ClientInviteState::Terminated,
            ClientMachine::Other(other) => other.state() == ClientState::Terminated,
        }
    }

    fn terminate(&mut self) {
        match self {
            ClientMachine::Invite(invite) => invite.terminate(),
            ClientMachine::Other(other) => other.terminate(),
        }
    }
}

impl ClientEntry {
    fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        match &self.machine {
            ClientMachine::Invite(invite) => invite.next_timeout(),
            ClientMachine::Other(other) => other.next_timeout(),
        }
    }

    /// Starts over on another flow: same branch, since nobody has seen the request, and the Via of that transport.
    fn resend_over(&mut self, now: Instant, flow: Flow, out: &mut Outbox) {
        if let Ok(Some(mut via)) = self.request.headers.top_via() {
            via.transport = flow.transport.via_token().into();
            self.request
                .headers
                .replace_first(HeaderName::Via, via.to_bytes());
        }
        self.machine = ClientMachine::new(now, &self.request.method, flow);
        self.bytes = self.request.to_bytes();
        self.flow = flow;
        out.transmit(flow, self.bytes.clone());
    }
}

/// The ACK for a 300–699: a copy of the INVITE's identity with the To of the response (RFC 3261 §17.1.1.3).
fn acknowledge_refusal(invite: &Request, response: &Response) -> Request {
    let mut ack = Request::new(Method::Ack, invite.uri.clone());
    if let Some(via) = invite.headers.get(&HeaderName::Via) {
        ack.headers.push(HeaderName::Via, via.clone());
    }
    ack.headers.copy_all(&invite.headers, &HeaderName::MaxForwards);
    ack.headers.copy_all(&invite.headers, &HeaderName::Route);
    ack.headers.copy_all(&invite.headers, &HeaderName::From);
    ack.headers.copy_all(&response.headers, &HeaderName::To);
    ack.headers.copy_all(&invite.headers, &HeaderName::CallId);
    if let Ok(Some(mut cseq)) = invite.headers.cseq() {
        cseq.method = Method::Ack;
        ack.headers.push(HeaderName::CSeq, cseq.to_bytes());
    }
    ack
}
