//! SIP over TCP: accepts connections, frames messages, and writes to connections by their number.
//!
//! Owns listeners, connections and their limits: how many there are, how long one may be idle, how long a peer may take
//! over one message. It parses nothing beyond framing.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use confab_sip::{Flow, Framed, KEEP_ALIVE_PONG, StreamFramer, Transport};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, tcp},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use super::{endpoint::Input, stats::TransportStats};

/// Open connections in all.
const MAX_CONNECTIONS: usize = 4096;
/// Open connections from one address.
const MAX_CONNECTIONS_PER_SOURCE: usize = 128;
/// A connection without a byte from its peer for this long is closed (keep-alives count, RFC 5626 §4.4.1).
const IDLE: Duration = Duration::from_secs(600);
/// A message that was begun must be whole by then: a slow-loris peer gets no more.
const MESSAGE_TIME: Duration = Duration::from_secs(20);
/// How long an outgoing connection may take to open: Timer B and F end the transaction soon after.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Messages waiting to be written to one connection; a peer that reads no faster is cut off.
const WRITE_QUEUE: usize = 64;
/// One write may take this long before the connection counts as dead.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Open connections by number; shared by the listeners and the endpoint's task.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    inputs: mpsc::Sender<Input>,
    stats: Arc<TransportStats>,
    next: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    writers: HashMap<u64, mpsc::Sender<Bytes>>,
    sources: HashMap<IpAddr, usize>,
}

/// Why a message was not handed to a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The connection is gone; its number will not come back.
    #[error("the connection is closed")]
    Closed,
    /// The peer reads too slowly.
    #[error("the peer does not read")]
    Stalled,
}

/// Binds one listener.
///
/// # Errors
/// The address is in use or not of this machine; the text says which one and what to do.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    bind().with_context(|| {
        format!(
            "sip.tcp: cannot listen on {address} (another server on this port? set sip.tcp to a free one)"
        )
    })
}

impl Connections {
    /// No connection yet; what is read goes to `inputs`.
    pub(crate) fn new(inputs: mpsc::Sender<Input>, stats: Arc<TransportStats>) -> Self {
        // 0 means "no connection" in a flow.
        let next = AtomicU64::new(1);
        Self(Arc::new(Shared {
            inputs,
            stats,
            next,
            open: Mutex::default(),
        }))
    }

    /// Accepts connections on `listener` until the endpoint is gone.
    pub(crate) fn accept(&self, listener: TcpListener) -> JoinHandle<()> {
        let connections = self.clone();
        tokio::spawn(async move {
            while !connections.0.inputs.is_closed() {
                match listener.accept().await {
                    Ok((stream, remote)) => {
                        let local = stream.local_addr().unwrap_or(remote);
                        if connections.open(stream, local, remote).is_none() {
                            connections.0.stats.tcp_refused.increment();
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

    /// Hands `bytes` to the connection numbered `connection`.
    ///
    /// # Errors
    /// See [`SendError`]; the caller tells the endpoint.
    pub(crate) fn send(&self, connection: u64, bytes: Bytes) -> Result<(), SendError> {
        let mut open = self.lock();
        let Some(writer) = open.writers.get(&connection) else {
            return Err(SendError::Closed);
        };
        match writer.try_send(bytes) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SendError::Closed),
            Err(mpsc::error::TrySendError::Full(_)) => {
                // Without its writer the connection's task ends and reports it closed.
                open.writers.remove(&connection);
                Err(SendError::Stalled)
            }
        }
    }

    /// Opens a connection for `flow` and sends `bytes` first; the endpoint hears of a failure.
    pub(crate) fn connect(&self, flow: Flow, bytes: Bytes) {
        let connections = self.clone();
        tokio::spawn(async move {
            let opened = timeout(CONNECT_TIME, TcpStream::connect(flow.remote)).await;
            let connection = match opened {
                Ok(Ok(stream)) => connections.open(stream, flow.local, flow.remote),
                Ok(Err(_)) | Err(_) => None,
            };
            let sent = connection.is_some_and(|connection| connections.send(connection, bytes).is_ok());
            if !sent {
                connections.0.stats.send_failed.increment();
                let _ = connections.0.inputs.send(Input::SendFailed { flow }).await;
            }
        });
    }

    fn open(&self, stream: TcpStream, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
        let mut open = self.lock();
        let from_source = open.sources.get(&remote.ip()).copied().unwrap_or(0);
        if from_source >= MAX_CONNECTIONS_PER_SOURCE || open.writers.len() >= MAX_CONNECTIONS {
            return None;
        }
        open.sources.insert(remote.ip(), from_source + 1);
        let connection = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        open.writers.insert(connection, writer.clone());
        drop(open);
        let _ = stream.set_nodelay(true);
        let flow = Flow {
            transport: Transport::Tcp,
            local,
            remote,
            connection,
        };
        tokio::spawn(self.clone().serve(stream, flow, writer.downgrade(), queue));
        Some(connection)
    }

    async fn serve(
        self,
        stream: TcpStream,
        flow: Flow,
        replies: mpsc::WeakSender<Bytes>,
        queue: mpsc::Receiver<Bytes>,
    ) {
        let (reader, writer) = stream.into_split();
        // Whichever side ends first ends the connection: a half-closed peer cannot be answered.
        tokio::select! {
            () = write(writer, queue) => {}
            () = self.read(reader, flow, replies) => {}
        }
        self.forget(flow);
        let _ = self
            .0
            .inputs
            .send(Input::ConnectionClosed {
                connection: flow.connection,
            })
            .await;
    }

    fn forget(&self, flow: Flow) {
        let mut open = self.lock();
        open.writers.remove(&flow.connection);
        if let Some(from_source) = open.sources.get_mut(&flow.remote.ip()) {
            *from_source -= 1;
            if *from_source == 0 {
                open.sources.remove(&flow.remote.ip());
            }
        }
    }

    async fn read(&self, mut reader: tcp::OwnedReadHalf, flow: Flow, replies: mpsc::WeakSender<Bytes>) {
        let mut framer = StreamFramer::new();
        let mut buffer = vec![0; 16 * 1024];
        let mut message_due = None;
        loop {
            let idle = tokio::time::Instant::now() + IDLE;
            let deadline = message_due.map_or(idle, |due: tokio::time::Instant| due.min(idle));
            let length = match tokio::time::timeout_at(deadline, reader.read(&mut buffer)).await {
                Ok(Ok(0)) | Ok(Err(_)) => return,
                Ok(Ok(length)) => length,
                Err(_) => {
                    self.0.stats.tcp_closed.increment();
                    return;
                }
            };
            framer.push(&buffer[..length]);
            for framed in framer.by_ref() {
                match framed {
                    Ok(Framed::Message(bytes)) => {
                        if self.0.inputs.send(Input::Message { flow, bytes }).await.is_err() {
                            return;
                        }
                    }
                    Ok(Framed::KeepAlivePing) => reply(&replies, Bytes::from_static(KEEP_ALIVE_PONG)),
                    Ok(Framed::KeepAlivePong) => {}
                    Err(error) => {
                        self.0.stats.tcp_closed.increment();
                        tracing::debug!(%error, "a SIP connection lost its frame");
                        let _ = self.0.inputs.send(Input::FramingError { flow, error }).await;
                        // The endpoint closes it behind its answer.
                        return std::future::pending().await;
                    }
                }
            }
            message_due = match (framer.buffered() == 0, message_due) {
                (true, _) => None,
                (false, None) => Some(tokio::time::Instant::now() + MESSAGE_TIME),
                (false, due) => due,
            };
        }
    }

    /// Lets the connection end once what is queued for it is written.
    pub(crate) fn close(&self, connection: u64) {
        // Without its only sender the writer ends behind the queue, and with it the connection.
        self.lock().writers.remove(&connection);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reply(replies: &mpsc::WeakSender<Bytes>, bytes: Bytes) {
    // A full queue belongs to a peer that does not read: it misses one answer.
    if let Some(replies) = replies.upgrade() {
        let _ = replies.try_send(bytes);
    }
}

async fn write(mut writer: tcp::OwnedWriteHalf, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = queue.recv().await {
        match timeout(WRITE_TIME, writer.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    // The last sender is gone: closed for not reading, or the server ends.
    let _ = writer.shutdown().await;
}
