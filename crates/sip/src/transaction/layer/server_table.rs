//! The server transactions that are alive: requests received, and our responses to them.
//!
//! Never builds a message.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;

use super::super::key::{MergeKey, ServerKey};
use super::super::server::{ServerState, ServerTransaction};
use super::super::server_invite::{AckFor, ServerInviteState, ServerInviteTimeout, ServerInviteTransaction};
use super::super::timer::TimerKind;
use super::{LayerEvent, RequestMatch, ServerId, TransactionId, TransactionLayer};
use crate::endpoint::counters::DropReason;
use crate::endpoint::event::CallKey;
use crate::endpoint::outbox::Outbox;
use crate::endpoint::route::ResponseRoute;
use crate::message::{Method, StatusCode};

#[derive(Debug)]
pub(super) enum ServerMachine {
    Invite(ServerInviteTransaction),
    Other(ServerTransaction),
}

#[derive(Debug)]
pub(super) struct ServerEntry {
    machine: ServerMachine,
    key: ServerKey,
    merge: Option<MergeKey>,
    pub(super) route: ResponseRoute,
    call: Option<CallKey>,
    /// Where the INVITE came from, until it is acknowledged.
    unacknowledged: Option<IpAddr>,
    scheduled: Option<Instant>,
}

impl TransactionLayer {
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
        let mut unacknowledged = None;
        if matches!(machine, ServerMachine::Invite(_)) {
            self.server_invites += 1;
            let source = source(route.flow.remote);
            *self.unacknowledged.entry(source).or_default() += 1;
            unacknowledged = Some(source);
        }
        self.use_connection(&route.flow, TransactionId::Server(id));
        self.servers.insert(
            id,
            ServerEntry {
                machine,
                key,
                merge,
                route,
                call,
                unacknowledged,
                scheduled: None,
            },
        );
        self.settle_server(id);
        id
    }

    /// How many INVITEs of this source wait for their final response or its ACK.
    pub(crate) fn unacknowledged_from(&self, remote: SocketAddr) -> usize {
        self.unacknowledged
            .get(&source(remote))
            .copied()
            .unwrap_or_default()
    }

    /// The core has seen the ACK of its 2xx, or whatever else proves that the peer got it.
    pub(crate) fn acknowledged(&mut self, id: ServerId) {
        let entry = self.servers.get_mut(&id);
        if let Some(source) = entry.and_then(|entry| entry.unacknowledged.take())
            && let Some(count) = self.unacknowledged.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                self.unacknowledged.remove(&source);
            }
        }
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

    pub(super) fn server_timeout(
        &mut self,
        now: Instant,
        id: ServerId,
        out: &mut Outbox,
    ) -> Option<LayerEvent> {
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

    /// Brings the deadline of a transaction up to date and removes it when it is over.
    fn settle_server(&mut self, id: ServerId) {
        let Some(entry) = self.servers.get_mut(&id) else {
            return;
        };
        let next = entry.next_timeout().map(|(at, _)| at);
        let scheduled = std::mem::replace(&mut entry.scheduled, next);
        let ended = entry.is_terminated();
        let acknowledged = ended || entry.is_confirmed();
        self.reschedule(TransactionId::Server(id), scheduled, next);
        if acknowledged {
            self.acknowledged(id);
        }
        if ended && let Some(entry) = self.servers.remove(&id) {
            if matches!(entry.machine, ServerMachine::Invite(_)) {
                self.server_invites -= 1;
            }
            self.leave_connection(&entry.route.flow, TransactionId::Server(id));
            self.server_keys.remove(&entry.key);
            if let Some(merge) = entry.merge {
                self.merges.remove(&merge);
            }
        }
    }
}

impl ServerEntry {
    pub(super) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        match &self.machine {
            ServerMachine::Invite(invite) => invite.next_timeout(),
            ServerMachine::Other(other) => other.next_timeout(),
        }
    }

    fn is_confirmed(&self) -> bool {
        matches!(&self.machine, ServerMachine::Invite(invite) if invite.state() == ServerInviteState::Confirmed)
    }

    fn is_terminated(&self) -> bool {
        match &self.machine {
            ServerMachine::Invite(invite) => invite.state() == ServerInviteState::Terminated,
            ServerMachine::Other(other) => other.state() == ServerState::Terminated,
        }
    }
}

/// What INVITEs are counted by: an IPv4 address, or the IPv6 network that one subscriber has.
fn source(remote: SocketAddr) -> IpAddr {
    match remote.ip().to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip => ip,
    }
}
