//! SIP towards the network: sockets and timers around the `sip` core, and one task per call.
//!
//! Owns the transports, the endpoint's task and the start of call tasks. What SIP means is decided in `confab_sip`,
//! what a conference does in `crate::conferences`.

mod call;
mod endpoint;
mod local;
mod network;
mod quality;
mod reach;
pub(crate) mod routing;
mod stats;
mod tcp;
mod udp;

use std::{net::SocketAddr, sync::Arc};

use confab_sip::{Endpoint, EndpointConfig};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};

pub(crate) use self::quality::{MOS_BOUNDS, QualityTotals};
pub(crate) use self::{
    call::{Attempt, CallServer, CallStats, LegFailure, Order, OutgoingDestination, Pass, Race},
    endpoint::{Command, EndpointHandle, Registering},
    local::{Advertised, LocalAddresses},
    network::Networks,
    reach::{Listens, NoWay},
    stats::{Counter, TransportStats},
};
use self::{
    endpoint::{EndpointTask, INPUT_QUEUE, Incoming, Query},
    tcp::Connections,
};
use crate::admission::Admission;
use crate::registrar::Bindings;

/// Calls whose tasks are not started yet.
const INCOMING_QUEUE: usize = 1024;
/// Calls to place whose tasks are not started yet; whoever places more waits.
const ORDERS_QUEUE: usize = 256;
/// OPTIONS that nobody looks at yet; the endpoint has no more of them under way.
const QUERY_QUEUE: usize = 256;
/// REGISTERs that nobody looks at yet; the endpoint has no more of them under way.
const REGISTER_QUEUE: usize = 2048;

/// What signalling is started with.
pub(crate) struct SignallingConfig {
    /// Addresses to listen on for UDP.
    pub(crate) udp: Vec<SocketAddr>,
    /// Addresses to listen on for TCP.
    pub(crate) tcp: Vec<SocketAddr>,
    /// Addresses to listen on for TLS, and what it wants.
    pub(crate) tls: Option<(Vec<SocketAddr>, Arc<rustls::ServerConfig>)>,
    /// The endpoint's own settings.
    pub(crate) endpoint: EndpointConfig,
}

/// What the endpoint brings to the tasks beside it.
struct Arrivals {
    calls: mpsc::Receiver<Incoming>,
    queries: mpsc::Receiver<Query>,
    registers: mpsc::Receiver<Registering>,
}

/// Running transports and endpoint.
pub(crate) struct Signalling {
    /// Sends commands to the endpoint.
    pub(crate) endpoint: EndpointHandle,
    /// Counters of the transports.
    pub(crate) stats: Arc<TransportStats>,
    /// Calls hung up because their task did not read its events.
    pub(crate) stuck_calls: Arc<Counter>,
    /// The addresses that UDP is bound to, ports resolved.
    pub(crate) udp: Vec<SocketAddr>,
    /// The addresses that TCP is bound to, ports resolved.
    pub(crate) tcp: Vec<SocketAddr>,
    /// The addresses that TLS is bound to, ports resolved.
    pub(crate) tls: Vec<SocketAddr>,
    incoming: Option<Arrivals>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Signalling {
    /// Binds the transports and starts the endpoint. Calls wait until [`Signalling::serve`].
    ///
    /// # Errors
    /// An address that cannot be bound.
    pub(crate) fn start(
        config: SignallingConfig,
        local: &Arc<LocalAddresses>,
        admission: Admission,
        bindings: Bindings,
    ) -> anyhow::Result<Self> {
        let stats = Arc::<TransportStats>::default();
        let stuck_calls = Arc::<Counter>::default();
        let (inputs, input_queue) = mpsc::channel(INPUT_QUEUE);
        let (incoming, incoming_queue) = mpsc::channel(INCOMING_QUEUE);
        let (queries, query_queue) = mpsc::channel(QUERY_QUEUE);
        let (registers, register_queue) = mpsc::channel(REGISTER_QUEUE);
        let (stop, stopping) = watch::channel(false);
        let mut tasks = Vec::new();

        let mut sockets = Vec::new();
        for address in config.udp {
            let socket = udp::bind(address)?;
            let bound = socket.bound();
            tasks.push(udp::read(
                Arc::clone(&socket),
                Arc::clone(local),
                Arc::clone(&stats),
                inputs.clone(),
            ));
            sockets.push((bound, socket));
        }
        let connections = Connections::new(inputs, Arc::clone(&stats));
        let mut tcp = Vec::new();
        for mut address in config.tcp {
            // "Any port" means the one that UDP got on the same address: peers expect both on one number.
            if address.port() == 0
                && let Some((bound, _)) = sockets.iter().find(|(bound, _)| bound.ip() == address.ip())
            {
                address.set_port(bound.port());
            }
            let listener = tcp::bind("sip.tcp", address)?;
            tcp.push(listener.local_addr()?);
            tasks.push(connections.accept(listener, None));
        }
        let (addresses, tls_config) = config.tls.unzip();
        let mut tls = Vec::new();
        for address in addresses.unwrap_or_default() {
            let listener = tcp::bind("sip.tls", address)?;
            tls.push(listener.local_addr()?);
            tasks.push(connections.accept(listener, tls_config.clone()));
        }

        let udp = sockets.iter().map(|(bound, _)| *bound).collect();
        let task = EndpointTask {
            endpoint: Endpoint::new(config.endpoint, Box::new(rand::make_rng::<rand::rngs::StdRng>())),
            sockets,
            connections,
            inputs: input_queue,
            incoming,
            queries,
            registers,
            bindings,
            admission,
            stats: Arc::clone(&stats),
            stuck_calls: Arc::clone(&stuck_calls),
            stop: stopping,
        };
        let (endpoint, task) = task.start();
        tasks.push(task);
        Ok(Self {
            endpoint,
            stats,
            stuck_calls,
            udp,
            tcp,
            tls,
            incoming: Some(Arrivals {
                calls: incoming_queue,
                queries: query_queue,
                registers: register_queue,
            }),
            stop,
            tasks,
        })
    }

    /// The first address that SIP is bound to, UDP before TCP and TLS.
    pub(crate) fn first_address(&self) -> SocketAddr {
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut bound = self.udp.iter().chain(&self.tcp).chain(&self.tls);
        bound.next().copied().unwrap_or(none)
    }

    /// Returns the addresses that calls are placed from.
    pub(crate) fn listens(&self) -> Listens {
        Listens {
            udp: self.udp.clone(),
            tcp: self.tcp.clone(),
        }
    }

    /// Starts a task for each call from now on, one that comes in or one that is ordered.
    pub(crate) fn serve(&mut self, server: Arc<CallServer>) -> Option<Calls> {
        let Arrivals {
            calls: mut incoming,
            mut queries,
            mut registers,
        } = self.incoming.take()?;
        let (orders, mut outgoing) = mpsc::channel(ORDERS_QUEUE);
        let (stop, mut stopping) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            let mut is_stopping = false;
            while !(is_stopping && calls.is_empty()) {
                tokio::select! {
                    Some(call) = incoming.recv(), if !is_stopping => {
                        calls.spawn(call::serve(Arc::clone(&server), call));
                    }
                    Some(order) = outgoing.recv(), if !is_stopping => {
                        calls.spawn(call::serve_outgoing(Arc::clone(&server), order));
                    }
                    Some(query) = queries.recv(), if !is_stopping => {
                        let server = Arc::clone(&server);
                        calls.spawn(async move { call::answer_options(&server, query).await });
                    }
                    Some(register) = registers.recv(), if !is_stopping => {
                        let registrar = server.registrar.clone();
                        calls.spawn(async move { registrar.answer(register).await });
                    }
                    Some(ended) = calls.join_next(), if !calls.is_empty() => {
                        if let Err(error) = ended {
                            tracing::error!(%error, "a call's task failed");
                        }
                    }
                    _ = &mut stopping, if !is_stopping => is_stopping = true,
                }
            }
        });
        Some(Calls { stop, task, orders })
    }

    /// Stops the transports and the endpoint. Messages handed out before are on the wire.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

/// The task that starts call tasks.
pub(crate) struct Calls {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    orders: mpsc::Sender<Order>,
}

impl Calls {
    /// Returns where calls are ordered that are to be placed.
    pub(crate) fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.clone()
    }

    /// Starts no more and waits for those that hang up and write their records; calls that run beyond `deadline` are dropped.
    pub(crate) async fn stop(self, deadline: Instant) {
        let Self { stop, mut task, .. } = self;
        let _ = stop.send(());
        if timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
    }
}
