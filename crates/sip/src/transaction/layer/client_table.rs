//! The client transactions that are alive: requests sent, and the responses to them.
//!
//! Builds one message only: the ACK of a refusal, which belongs to the transaction (RFC 3261 §17.1.1.3).

use std::time::Instant;

use bytes::Bytes;

use super::super::client::{ClientState, ClientTimeout, ClientTransaction};
use super::super::client_invite::{ClientInviteState, ClientInviteTimeout, ClientInviteTransaction};
use super::super::key::ClientKey;
use super::super::timer::TimerKind;
use super::{ClientId, ClientNews, ClientOutcome, Outgoing, Owner, TransactionId, TransactionLayer};
use crate::endpoint::counters::DropReason;
use crate::endpoint::event::CallKey;
use crate::endpoint::flow::Flow;
use crate::endpoint::outbox::Outbox;
use crate::message::{Essentials, HeaderName, Method, Request, Response};

#[derive(Debug)]
pub(super) enum ClientMachine {
    Invite(ClientInviteTransaction),
    Other(ClientTransaction),
}

#[derive(Debug)]
pub(super) struct ClientEntry {
    machine: ClientMachine,
    key: ClientKey,
    request: Request,
    bytes: Bytes,
    flow: Flow,
    fallback: Option<Flow>,
    owner: Owner,
    scheduled: Option<Instant>,
}

impl TransactionLayer {
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
        self.use_connection(&flow, TransactionId::Client(id));
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

    /// The call whose INVITE has this branch, if it is one of ours.
    pub(crate) fn own_invite(&self, branch: &[u8]) -> Option<CallKey> {
        let id = self.client_keys.get(&ClientKey::new(branch, &Method::Invite))?;
        self.clients.get(id).map(|entry| entry.owner.call)
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

    pub(super) fn client_timeout(
        &mut self,
        now: Instant,
        id: ClientId,
        out: &mut Outbox,
    ) -> Option<ClientNews> {
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
    pub(super) fn fail_clients(
        &mut self,
        now: Instant,
        ids: Vec<ClientId>,
        out: &mut Outbox,
    ) -> Vec<ClientNews> {
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
                let tried = entry.flow;
                entry.resend_over(now, flow, out);
                self.leave_connection(&tried, TransactionId::Client(id));
                self.use_connection(&flow, TransactionId::Client(id));
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

    /// As for servers; returns whether the transaction is over.
    fn settle_client(&mut self, id: ClientId) -> bool {
        let Some(entry) = self.clients.get_mut(&id) else {
            return true;
        };
        let next = entry.next_timeout().map(|(at, _)| at);
        let scheduled = std::mem::replace(&mut entry.scheduled, next);
        let ended = entry.machine.is_terminated();
        self.reschedule(TransactionId::Client(id), scheduled, next);
        if ended && let Some(entry) = self.clients.remove(&id) {
            if matches!(entry.machine, ClientMachine::Invite(_)) {
                self.client_invites -= 1;
            }
            self.leave_connection(&entry.flow, TransactionId::Client(id));
            self.client_keys.remove(&entry.key);
        }
        ended
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
    pub(super) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
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
