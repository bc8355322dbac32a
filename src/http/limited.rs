//! A listener with limits: how many connections there are, how many of one source, how long one may be silent.
//!
//! Who opens connections and says nothing would else use up the open files that calls need.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

/// What a listener allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Open connections in all.
    connections: usize,
    /// Open connections from one address; a proxy on this machine is not limited.
    per_source: usize,
    /// A connection over which nothing went for this long is closed.
    idle: Duration,
    /// Octets that the system keeps for a peer that does not read; `None`: as it sees fit.
    send_buffer: Option<usize>,
}

impl Limits {
    /// For requests: they are short, and no answer takes long.
    pub(crate) const HTTP: Limits = Limits {
        connections: 2048,
        per_source: 256,
        idle: Duration::from_secs(75),
        send_buffer: None,
    };
    /// For WebSockets, which stay; their sessions have limits of their own.
    pub(crate) const WEBSOCKET: Limits = Limits {
        connections: 8192,
        per_source: 2048,
        idle: Duration::from_secs(3660),
        send_buffer: Some(262_144),
    };
}

/// A request's head has to be whole within this time of its first octet, however its octets are spread.
const HEAD: Duration = Duration::from_secs(30);

/// A TCP listener that closes connections beyond the limits at once.
pub(super) struct Limited {
    listener: TcpListener,
    limits: Limits,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Limited {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Self {
        Self {
            listener,
            limits,
            open: Arc::default(),
        }
    }

    /// Waits for the next connection that finds a place.
    pub(super) async fn accept_stream(&mut self) -> (TcpStream, Place, SocketAddr) {
        loop {
            // Waits and tries again by itself when there are no descriptors left.
            let (stream, remote) = Listener::accept(&mut self.listener).await;
            if let Some(place) = self.enter(remote.ip()) {
                if let Some(octets) = self.limits.send_buffer {
                    // Without it a slow peer costs more memory, nothing else.
                    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(octets);
                }
                return (stream, place, remote);
            }
            tracing::debug!("too many HTTP connections: one more is closed");
        }
    }

    fn enter(&self, ip: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let from_source = open.get(&ip).copied().unwrap_or(0);
        let is_proxy = ip.to_canonical().is_loopback();
        if all >= self.limits.connections || (from_source >= self.limits.per_source && !is_proxy) {
            return None;
        }
        open.insert(ip, from_source + 1);
        Some(Place {
            ip,
            idle: self.limits.idle,
            open: Arc::clone(&self.open),
        })
    }
}

/// One of the connections that may be open; given back on drop.
pub(super) struct Place {
    ip: IpAddr,
    idle: Duration,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

impl Listener for Limited {
    type Io = Connection<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection<TcpStream>, SocketAddr) {
        let (stream, place, remote) = self.accept_stream().await;
        (Connection::with_limits(stream, place), remote)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection; reading fails once it was silent for too long in both directions, or is too long over the head of a request.
pub(crate) struct Connection<S> {
    stream: S,
    idle: Duration,
    head_limit: Duration,
    head: Head,
    /// When the connection ends unless something happens.
    end: Pin<Box<Sleep>>,
    _place: Place,
}

/// Where a connection is between the first octet of a request's head and its answer. A body has its own limit in the API;
/// HTTP/2, told by its preface, is limited by silence only.
#[derive(Debug, Default)]
enum Head {
    /// Nothing has come since the last answer.
    #[default]
    Awaited,
    /// Some of it has come.
    Begun {
        since: Instant,
        /// Octets other than line ends, up to the length of the word that HTTP/2 begins with.
        first: [u8; 3],
        known: usize,
        /// The last line is empty so far.
        empty_line: bool,
    },
    /// It is whole, or does not matter.
    Whole,
    /// There is no head of the kind that is timed.
    Untimed,
}

impl Head {
    fn read(&mut self, now: Instant, octets: &[u8]) {
        for &octet in octets {
            match self {
                Head::Whole | Head::Untimed => return,
                Head::Awaited => {
                    *self = Head::Begun {
                        since: now,
                        first: [0; 3],
                        known: 0,
                        empty_line: false,
                    };
                    self.octet(octet);
                }
                Head::Begun { .. } => self.octet(octet),
            }
        }
    }

    fn octet(&mut self, octet: u8) {
        let Head::Begun {
            first,
            known,
            empty_line,
            ..
        } = self
        else {
            return;
        };
        match octet {
            // Empty lines before a request are none of its head.
            b'\n' if *empty_line && *known > 0 => {
                *self = if first == b"PRI" {
                    Head::Untimed
                } else {
                    Head::Whole
                };
            }
            b'\n' => *empty_line = true,
            b'\r' => {}
            other => {
                *empty_line = false;
                if let Some(place) = first.get_mut(*known) {
                    *place = other;
                    *known += 1;
                }
            }
        }
    }

    fn answered(&mut self) {
        if !matches!(self, Head::Untimed) {
            *self = Head::Awaited;
        }
    }

    fn since(&self) -> Option<Instant> {
        match self {
            Head::Begun { since, .. } => Some(*since),
            _ => None,
        }
    }
}

impl<S> Connection<S> {
    /// Takes a stream that has a place, with the limits on time that every connection has.
    pub(super) fn with_limits(stream: S, place: Place) -> Self {
        let idle = place.idle;
        Self::new(stream, place, idle, HEAD)
    }

    fn new(stream: S, place: Place, idle: Duration, head_limit: Duration) -> Self {
        Self {
            stream,
            idle,
            head_limit,
            head: Head::default(),
            end: Box::pin(sleep(idle)),
            _place: place,
        }
    }

    fn is_alive(&mut self, now: Instant) {
        let idle = now + self.idle;
        let end = match self.head.since() {
            Some(since) => idle.min(since + self.head_limit),
            None => idle,
        };
        self.end.as_mut().reset(end);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => {
                ready!(self.end.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            read => {
                let now = Instant::now();
                self.head.read(now, &buffer.filled()[before..]);
                self.is_alive(now);
                read
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.head.answered();
            self.is_alive(Instant::now());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn limited() -> Limited {
        Limited::new(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), Limits::HTTP)
    }

    #[tokio::test]
    async fn places_are_counted_by_source_and_in_all_and_come_back() {
        let limited = limited().await;
        let source = |n: u8| IpAddr::from([192, 0, 2, n]);
        let fill = |ip| -> Vec<Place> { std::iter::from_fn(|| limited.enter(ip)).collect() };
        let one = fill(source(1));
        assert_eq!(one.len(), Limits::HTTP.per_source);
        let proxy = fill([127, 0, 0, 1].into());
        assert_eq!(proxy.len(), Limits::HTTP.connections - Limits::HTTP.per_source);
        assert!(limited.enter(source(2)).is_none());
        drop(one);
        assert!(limited.enter(source(2)).is_some());
        drop(proxy);
        assert!(limited.open.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_silent_connection_ends_and_a_busy_one_does_not() {
        let limited = limited().await;
        let mut peer = TcpStream::connect(limited.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = limited.listener.accept().await.unwrap();
        let place = limited.enter(remote.ip()).unwrap();
        let mut connection = Connection::new(stream, place, Duration::from_millis(50), HEAD);
        peer.write_all(b"12").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'1');
        assert_eq!(connection.read_u8().await.unwrap(), b'2');
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(connection);
        assert!(limited.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_head_is_timed_from_its_first_octet_to_its_empty_line() {
        let now = Instant::now();
        let rows: [(&[&str], bool); 9] = [
            (&["G", "ET / HTTP/1.1\r\n", "Host: a\r\n"], true),
            (&["GET / HTTP/1.1\r\nHost: a\r\n\r", "\n"], false),
            (&["GET / HTTP/1.1\n\n"], false),
            (&["\r\n\r\n", "GET /"], true),
            (&["\r\n"], true),
            (&["POST / HTTP/1.1\r\n\r\nbody, however slow"], false),
            (&["PRI * HTTP/2.0\r\n", "\r\nSM\r\n\r\n"], false),
            (&["PRI * HTT"], true),
            (&[], false),
        ];
        for (pieces, timed) in rows {
            let mut head = Head::default();
            pieces.iter().for_each(|piece| head.read(now, piece.as_bytes()));
            assert_eq!(head.since(), timed.then_some(now), "{pieces:?}");
            head.answered();
            assert_eq!(head.since(), None, "{pieces:?}");
            let is_http2 = pieces.concat().ends_with("SM\r\n\r\n");
            head.read(now, b"GET");
            assert_eq!(head.since(), (!is_http2).then_some(now), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_head_that_trickles_in_is_cut_off() {
        let limited = limited().await;
        let mut peer = TcpStream::connect(limited.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = limited.listener.accept().await.unwrap();
        let place = limited.enter(remote.ip()).unwrap();
        let (idle, head) = (Duration::from_secs(60), Duration::from_millis(200));
        let mut connection = Connection::new(stream, place, idle, head);
        let started = Instant::now();
        let trickle = tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let error = loop {
            if let Err(error) = connection.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= head);
        drop(connection);
        trickle.await.unwrap();
    }
}
