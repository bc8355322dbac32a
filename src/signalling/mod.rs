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
mod resolver;
pub(crate) mod routing;
mod stats;
mod tcp;
mod udp;
mod watching;

use std::{net::SocketAddr, sync::Arc};

use confab_sip::{Endpoint, EndpointConfig};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};

pub(crate) use self::quality::{MOS_BOUNDS, QualityTotals};
pub(crate) use self::{
    call::{
        Attempt, CallServer, CallStats, Forwarded, LegFailure, Onward, Order, OutgoingDestination, Pass,
        Race, Redirects, Referral, Refers, RunningCalls,
    },
    endpoint::{Command, EndpointHandle, Registering},
    local::{Advertised, LocalAddresses, is_private},
    network::Networks,
    reach::{Listens, NoWay},
    resolver::Resolver,
    stats::{Counter, TransportStats},
    watching::package as watched_package,
};
use self::{
    endpoint::{EndpointTask, INPUT_QUEUE, Incoming, Query},
    tcp::{Connections, Door, PeerNames},
};
use crate::admission::Admission;
use crate::registrar::Bindings;
use crate::tls::Trust;

/// Calls whose tasks are not started yet.
const INCOMING_QUEUE: usize = 1024;
/// Calls to place whose tasks are not started yet; whoever places more waits.
const ORDERS_QUEUE: usize = 256;
/// OPTIONS that nobody looks at yet; the endpoint has no more of them under way.
const QUERY_QUEUE: usize = 256;
/// REGISTERs that nobody looks at yet; the endpoint has no more of them under way.
const REGISTER_QUEUE: usize = 2048;

/// What concerns subscriptions and nobody looks at yet.
const WATCHING_QUEUE: usize = 1024;

/// What signalling is started with.
pub(crate) struct SignallingConfig {
    /// Addresses to listen on for UDP.
    pub(crate) udp: Vec<SocketAddr>,
    /// Addresses to listen on for TCP.
    pub(crate) tcp: Vec<SocketAddr>,
    /// Addresses to listen on for TLS, and what it wants.
    pub(crate) tls: Option<(Vec<SocketAddr>, Arc<rustls::ServerConfig>)>,
    /// Addresses to listen on for WebSockets.
    pub(crate) ws: Vec<SocketAddr>,
    /// Addresses to listen on for WebSockets over TLS, and what it wants.
    pub(crate) wss: Option<(Vec<SocketAddr>, Arc<rustls::ServerConfig>)>,
    /// What connections over TLS are opened with.
    pub(crate) trust: Trust,
    /// Who is asked for names; empty: whom the machine asks.
    pub(crate) name_servers: Vec<SocketAddr>,
    /// The endpoint's own settings.
    pub(crate) endpoint: EndpointConfig,
}

/// What the endpoint brings to the tasks beside it.
struct Arrivals {
    calls: mpsc::Receiver<Incoming>,
    queries: mpsc::Receiver<Query>,
    registers: mpsc::Receiver<Registering>,
    watching: mpsc::Receiver<watching::Watching>,
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
    /// The addresses that WebSockets, with TLS and without, are bound to, ports resolved.
    websockets: Vec<SocketAddr>,
    names: PeerNames,
    resolver: Resolver,
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
        let (watching, watching_queue) = mpsc::channel(WATCHING_QUEUE);
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
        let connections = Connections::new(inputs, Arc::clone(&stats), config.trust);
        let names = connections.names();
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
            tasks.push(connections.accept(Door::plain(listener)));
        }
        let (addresses, tls_config) = config.tls.unzip();
        let mut tls = Vec::new();
        for address in addresses.unwrap_or_default() {
            let listener = tcp::bind("sip.tls", address)?;
            tls.push(listener.local_addr()?);
            tasks.push(connections.accept(Door {
                tls: tls_config.clone(),
                ..Door::plain(listener)
            }));
        }
        let (addresses, wss_config) = config.wss.unzip();
        let wss = addresses
            .unwrap_or_default()
            .into_iter()
            .map(|at| ("sip.wss", at));
        let mut websockets = Vec::new();
        for (key, address) in config.ws.into_iter().map(|at| ("sip.ws", at)).chain(wss) {
            let listener = tcp::bind(key, address)?;
            websockets.push(listener.local_addr()?);
            tasks.push(connections.accept(Door {
                listener,
                tls: wss_config.clone().filter(|_| key == "sip.wss"),
                is_websocket: true,
            }));
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
            watching,
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
            websockets,
            names,
            resolver: Resolver::new(&config.name_servers),
            incoming: Some(Arrivals {
                calls: incoming_queue,
                queries: query_queue,
                registers: register_queue,
                watching: watching_queue,
            }),
            stop,
            tasks,
        })
    }

    /// The first address that SIP is bound to, UDP before TCP, TLS and WebSockets.
    pub(crate) fn first_address(&self) -> SocketAddr {
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut bound = self
            .udp
            .iter()
            .chain(&self.tcp)
            .chain(&self.tls)
            .chain(&self.websockets);
        bound.next().copied().unwrap_or(none)
    }

    /// Returns the addresses that calls are placed from.
    pub(crate) fn listens(&self) -> Listens {
        Listens {
            udp: self.udp.clone(),
            tcp: self.tcp.clone(),
            tls: self.tls.clone(),
            names: self.names.clone(),
            resolver: self.resolver.clone(),
        }
    }

    /// Starts a task for each call from now on, one that comes in or one that is ordered.
    pub(crate) fn serve(&mut self, server: Arc<CallServer>) -> Option<Calls> {
        let Arrivals {
            calls: mut incoming,
            mut queries,
            mut registers,
            watching,
        } = self.incoming.take()?;
        let events = server.registry.bus().subscribe_all();
        self.tasks.push(watching::start(&server, watching, events));
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
