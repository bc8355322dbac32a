//! SIP over TCP, TLS and WebSockets: accepts connections, and writes to connections by their number.
//!
//! Owns listeners, connections and their limits: how many there are, how much may wait to be written to one. `opening`
//! opens them, `stream` and `websocket` read and write one of them. It parses nothing.

mod names;
mod opening;
mod stream;
#[cfg(test)]
mod tests;
mod websocket;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use confab_sip::{Flow, Transport};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::names::PeerNames;
use super::{endpoint::Input, stats::TransportStats};
use crate::{listen, tls::Trust};

/// Open connections in all.
const MAX_CONNECTIONS: usize = 4096;
/// Open connections from one source: an IPv4 address, or an IPv6 network of 64 bits, which is one subscriber's.
const MAX_CONNECTIONS_PER_SOURCE: usize = 128;
/// How long the handshake of TLS may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Messages and bytes waiting to be written to one connection: the BYEs of a trunk with a thousand calls have to find
/// room. A peer that leaves more unread is cut off.
const WRITE_QUEUE: usize = 4096;
const WRITE_QUEUE_BYTES: usize = 1 << 20;
/// How often the system asks a silent peer whether it is still there.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// Open connections by number; shared by the listeners and the endpoint's task.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    inputs: mpsc::Sender<Input>,
    stats: Arc<TransportStats>,
    next: AtomicU64,
    open: Mutex<Open>,
    trust: Trust,
    names: PeerNames,
}

/// Whom a connection leads to: a transport, an address, and the number of the name that the certificate showed, 0 where none had to.
type Peer = (Transport, SocketAddr, u64);

#[derive(Default)]
struct Open {
    writers: HashMap<u64, Writer>,
    /// The latest connection to each peer, used for messages that name no connection.
    peers: HashMap<Peer, u64>,
    sources: HashMap<IpAddr, usize>,
    /// What waits for a connection that is being opened.
    opening: HashMap<Peer, Vec<(Flow, Bytes)>>,
}

/// The way into one connection's write queue.
struct Writer {
    queue: mpsc::Sender<Bytes>,
    /// Bytes in the queue.
    queued: Arc<AtomicUsize>,
}

/// The write queue of a connection as its task has it: for answers of the reader, what waits, how many bytes that is.
type Queue = (mpsc::WeakSender<Bytes>, mpsc::Receiver<Bytes>, Arc<AtomicUsize>);

/// Where connections come in.
pub(crate) struct Door {
    /// The bound listener.
    pub(crate) listener: TcpListener,
    /// What TLS wants; `None`: there is none.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// They are WebSockets.
    pub(crate) is_websocket: bool,
}

impl Door {
    /// A door for SIP as it is.
    pub(crate) fn plain(listener: TcpListener) -> Door {
        Door {
            listener,
            tls: None,
            is_websocket: false,
        }
    }
}

/// Why a message was not handed to a connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// The connection is gone; its number will not come back.
    #[error("the connection is closed")]
    Closed,
    /// The peer reads too slowly.
    #[error("the peer does not read")]
    Stalled,
    /// Too many connections are being opened.
    #[error("too many connections are being opened")]
    Busy,
}

/// Binds one listener of the configuration's `key`.
///
/// # Errors
/// The address is in use or not of this machine; the text says which one and what to do.
pub(crate) fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // As over UDP: each family has its own line in the configuration.
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|error| {
        let text = listen::failure(key, address, &error);
        anyhow::Error::new(error).context(text)
    })
}

impl Writer {
    fn send(&self, bytes: Bytes) -> Result<(), SendError> {
        let length = bytes.len();
        if self.queued.fetch_add(length, Ordering::AcqRel) + length > WRITE_QUEUE_BYTES {
            return Err(SendError::Stalled);
        }
        self.queue.try_send(bytes).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => SendError::Closed,
            mpsc::error::TrySendError::Full(_) => SendError::Stalled,
        })
    }
}

impl Open {
    fn send(&mut self, connection: u64, bytes: Bytes) -> Result<(), SendError> {
        let writer = self.writers.get(&connection).ok_or(SendError::Closed)?;
        let sent = writer.send(bytes);
        if sent == Err(SendError::Stalled) {
            // Without its writer the connection's task ends and reports it closed.
            self.writers.remove(&connection);
        }
        sent
    }
}

impl Connections {
    /// No connection yet; what is read goes to `inputs`. Those over TLS are opened with `trust`.
    pub(crate) fn new(inputs: mpsc::Sender<Input>, stats: Arc<TransportStats>, trust: Trust) -> Self {
        // 0 means "no connection" in a flow.
        let next = AtomicU64::new(1);
        Self(Arc::new(Shared {
            inputs,
            stats,
            next,
            open: Mutex::default(),
            trust,
            names: PeerNames::default(),
        }))
    }

    /// The names that peers are opened connections to by.
    pub(crate) fn names(&self) -> PeerNames {
        self.0.names.clone()
    }

    /// Accepts connections through `door` until the endpoint is gone.
    pub(crate) fn accept(&self, door: Door) -> JoinHandle<()> {
        let Door {
            listener,
            tls,
            is_websocket,
        } = door;
        let tls = tls.map(TlsAcceptor::from);
        let transport = match (&tls, is_websocket) {
            (None, false) => Transport::Tcp,
            (Some(_), false) => Transport::Tls,
            (None, true) => Transport::Ws,
            (Some(_), true) => Transport::Wss,
        };
        let connections = self.clone();
        tokio::spawn(async move {
            while !connections.0.inputs.is_closed() {
                match listener.accept().await {
                    Ok((stream, remote)) => {
                        let local = stream.local_addr().unwrap_or(remote);
                        let flow = Flow {
                            transport,
                            ..Flow::tcp(local, remote, 0)
                        };
                        match connections.enter(&stream, flow) {
                            Some((flow, queue)) => {
                                tokio::spawn(connections.clone().carry(stream, tls.clone(), flow, queue));
                            }
                            None => connections.0.stats.tcp_refused.increment(),
                        }
                    }
                    Err(error) => {
                        // Out of descriptors or a peer that went away: neither is cured by trying at once.
                        tracing::warn!(%error, "accepting SIP over TCP");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        })
    }

    /// Hands `bytes` to the connection of `flow`; when it has none, or that is gone, to another one to the same peer,
    /// opened if need be. The endpoint hears of one that cannot be opened.
    ///
    /// # Errors
    /// See [`SendError`]; the caller tells the endpoint.
    pub(crate) fn send(&self, flow: Flow, bytes: Bytes) -> Result<(), SendError> {
        let mut open = self.lock();
        let peer = peer_of(flow);
        let known = [Some(flow.connection), open.peers.get(&peer).copied()];
        for connection in known.into_iter().flatten() {
            match open.send(connection, bytes.clone()) {
                Err(SendError::Closed) => {}
                sent => return sent,
            }
        }
        self.wait_for(&mut open, flow, bytes)
    }

    /// Enters a connection over `flow`, which has no number yet; `None` when there are too many. Whoever gets its queue serves it.
    fn enter(&self, stream: &TcpStream, flow: Flow) -> Option<(Flow, Queue)> {
        let remote = flow.remote;
        let mut open = self.lock();
        let from_source = open.sources.get(&source(remote)).copied().unwrap_or(0);
        if from_source >= MAX_CONNECTIONS_PER_SOURCE || open.writers.len() >= MAX_CONNECTIONS {
            return None;
        }
        open.sources.insert(source(remote), from_source + 1);
        let connection = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (queue, waiting) = mpsc::channel(WRITE_QUEUE);
        let queued = Arc::<AtomicUsize>::default();
        let replies = queue.downgrade();
        let writer = Writer {
            queue,
            queued: Arc::clone(&queued),
        };
        open.writers.insert(connection, writer);
        let flow = Flow { connection, ..flow };
        open.peers.insert(peer_of(flow), connection);
        drop(open);
        let _ = stream.set_nodelay(true);
        // A peer that is gone without a word ends the connection; a silent one keeps its way through a NAT.
        let probing = TcpKeepalive::new()
            .with_time(PROBE_INTERVAL)
            .with_interval(PROBE_INTERVAL / 4);
        let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&probing);
        Some((flow, (replies, waiting, queued)))
    }

    /// Does the handshake of TLS where there is one, and serves the connection.
    async fn carry(self, stream: TcpStream, tls: Option<TlsAcceptor>, flow: Flow, queue: Queue) {
        let is_websocket = flow.transport.is_one_way();
        let Some(tls) = tls else {
            if is_websocket {
                return self.serve_websocket(stream, flow, queue).await;
            }
            let (reader, writer) = stream.into_split();
            return self.serve(reader, writer, flow, queue).await;
        };
        match timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
            Ok(Ok(stream)) if is_websocket => self.serve_websocket(stream, flow, queue).await,
            Ok(Ok(stream)) => {
                let (reader, writer) = tokio::io::split(stream);
                self.serve(reader, writer, flow, queue).await;
            }
            failed => {
                self.0.stats.tls_failed.increment();
                if let Ok(Err(error)) = failed {
                    tracing::debug!(remote = %flow.remote, %error, "no TLS handshake on a SIP connection");
                }
                self.forget(flow);
            }
        }
    }

    /// Lets the connection end once what is queued for it is written.
    pub(crate) fn close(&self, connection: u64) {
        // Without its only sender the writer ends behind the queue, and with it the connection.
        self.lock().writers.remove(&connection);
    }

    fn forget(&self, flow: Flow) {
        let mut open = self.lock();
        open.writers.remove(&flow.connection);
        let peer = peer_of(flow);
        if open.peers.get(&peer) == Some(&flow.connection) {
            open.peers.remove(&peer);
        }
        if let Some(from_source) = open.sources.get_mut(&source(flow.remote)) {
            *from_source -= 1;
            if *from_source == 0 {
                open.sources.remove(&source(flow.remote));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn peer_of(flow: Flow) -> Peer {
    (flow.transport, flow.remote, flow.name)
}

/// What the limit per source counts by.
fn source(remote: SocketAddr) -> IpAddr {
    match remote.ip().to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip => ip,
    }
}
