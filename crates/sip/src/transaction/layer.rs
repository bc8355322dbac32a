//! Owns the live transactions: tables, deadlines, destinations, and who is told about what.
//!
//! `server_table` takes and answers requests, `client_table` sends requests and takes responses; what both share is here.
//! Never looks into dialogs: a server transaction carries the call it belongs to, a client transaction its owner, and both are
//! only handed back.

mod client_table;
mod server_table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::key::{ClientKey, MergeKey, ServerKey};
use super::timer::TimerKind;
use crate::endpoint::counters::Gauges;
use crate::endpoint::event::CallKey;
use crate::endpoint::flow::Flow;
use crate::endpoint::outbox::Outbox;
use crate::message::{Branch, Request, Response};
use client_table::ClientEntry;
use server_table::ServerEntry;

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
    /// An UPDATE that refreshes the session.
    Refresh,
    /// A request outside of calls.
    Question,
    /// A NOTIFY of what has become of a REFER.
    Notify,
    /// A NOTIFY of a subscription; the owner's number is that of the subscription.
    Subscription,
    /// CANCEL, PRACK, or BYE to a fork: nobody waits for its outcome.
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
    /// INVITEs that are not acknowledged, by source.
    unacknowledged: BTreeMap<IpAddr, usize>,
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
                        self.use_connection(&fallback, id);
                    }
                }
                TransactionId::Client(client) => clients.push(client),
            }
        }
        self.fail_clients(now, clients, out)
    }

    /// Sets a transaction's place in the queue of deadlines.
    fn reschedule(&mut self, id: TransactionId, scheduled: Option<Instant>, next: Option<Instant>) {
        if scheduled == next {
            return;
        }
        if let Some(at) = scheduled {
            self.deadlines.remove(&(at, id));
        }
        if let Some(at) = next {
            self.deadlines.insert((at, id));
        }
    }

    fn use_connection(&mut self, flow: &Flow, id: TransactionId) {
        if flow.connection != 0 {
            self.connections.insert((flow.connection, id));
        }
    }

    fn leave_connection(&mut self, flow: &Flow, id: TransactionId) {
        self.connections.remove(&(flow.connection, id));
    }
}
