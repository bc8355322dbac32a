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
use confab_api::client_network;
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
    /// Open connections from one source ([`client_network`]); a proxy on this machine is not limited.
    per_source: usize,
    /// A connection over which nothing went for this long is closed, whichever side is waited for.
    idle: Duration,
    /// The same once a WebSocket has begun on it.
    idle_upgraded: Duration,
    /// Octets that the system keeps for a peer that does not read; `None`: as it sees fit.
    send_buffer: Option<usize>,
}

impl Limits {
    /// For requests: they are short, and no answer takes longer than a dial of the longest ring time (120 s, and 5 s more).
    pub(crate) const HTTP: Limits = Limits {
        connections: 2048,
        per_source: 256,
        idle: Duration::from_secs(135),
        idle_upgraded: Duration::from_secs(135),
        send_buffer: None,
    };
    /// For WebSockets, which stay; their sessions have limits of their own.
    pub(crate) const WEBSOCKET: Limits = Limits {
        connections: 8192,
        per_source: 2048,
        idle: Duration::from_secs(75),
        idle_upgraded: Duration::from_secs(3660),
        send_buffer: Some(262_144),
    };
}

/// A request's head has to be whole within this time of its first octet, however its octets are spread.
const HEAD: Duration = Duration::from_secs(30);

/// Who takes an answer so slowly that less than this goes within the idle time is not waited for any longer.
const TAKEN: usize = 16 * 1024;

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
                // Answers and events are written whole: they need not wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
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
        let ip = client_network(ip);
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
            idle_upgraded: self.limits.idle_upgraded,
            open: Arc::clone(&self.open),
        })
    }
}

/// One of the connections that may be open; given back on drop.
pub(super) struct Place {
    ip: IpAddr,
    idle: Duration,
    idle_upgraded: Duration,
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

/// One connection; reading and writing fail once it was silent for too long in both directions, or is too long over the head of
/// a request or over taking an answer.
pub(crate) struct Connection<S> {
    stream: S,
    idle: Duration,
    idle_upgraded: Duration,
    /// Octets written since the peer was last known to take them.
    taken: usize,
    head_limit: Duration,
    head: Head,
    /// When the connection ends unless something happens.
    end: Pin<Box<Sleep>>,
    _place: Place,
}

/// Where a connection is between the first octet of a request's head and its answer. A body has its own limit in the API.
#[derive(Debug, Default)]
enum Head {
    /// Nothing has come since the last answer.
    #[default]
    Awaited,
    /// Some of it has come.
    Begun {
        since: Instant,
        /// Something other than line ends has come: empty lines before a request are none of its head.
        is_text: bool,
        /// The last line is empty so far.
        empty_line: bool,
    },
    /// It is whole, or does not matter.
    Whole,
}

impl Head {
    fn read(&mut self, now: Instant, octets: &[u8]) {
        for &octet in octets {
            match self {
                Head::Whole => return,
                Head::Awaited => {
                    *self = Head::Begun {
                        since: now,
                        is_text: false,
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
            is_text, empty_line, ..
        } = self
        else {
            return;
        };
        match octet {
            b'\n' if *empty_line && *is_text => *self = Head::Whole,
            b'\n' => *empty_line = true,
            b'\r' => {}
            _ => {
                *empty_line = false;
                *is_text = true;
            }
        }
    }

    fn answered(&mut self) {
        *self = Head::Awaited;
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
            idle_upgraded: place.idle_upgraded.max(idle),
            taken: 0,
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
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_write(context, bytes) {
            Poll::Pending => {
                ready!(this.end.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            written => {
                if bytes.starts_with(SWITCHING) {
                    this.idle = this.idle_upgraded;
                }
                this.head.answered();
                this.taken += written_octets(&written);
                if this.taken >= TAKEN {
                    this.taken = 0;
                    this.is_alive(Instant::now());
                }
                written
            }
        }
    }

    /// What waited is written before this is called: it was taken, then.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_flush(context) {
            Poll::Pending => {
                ready!(this.end.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            flushed => {
                if std::mem::take(&mut this.taken) > 0 {
                    this.is_alive(Instant::now());
                }
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How an answer begins after which the connection is a WebSocket.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

fn written_octets(written: &Poll<io::Result<usize>>) -> usize {
    match written {
        Poll::Ready(Ok(octets)) => *octets,
        _ => 0,
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

    #[tokio::test]
    async fn who_does_not_take_his_answer_is_not_waited_for() {
        let limited = limited().await;
        let peer = TcpStream::connect(limited.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = limited.listener.accept().await.unwrap();
        let place = limited.enter(remote.ip()).unwrap();
        let mut connection = Connection::new(stream, place, Duration::from_millis(100), HEAD);
        let error = loop {
            if let Err(error) = connection.write_all(&[7; 65_536]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(peer);
    }

    #[tokio::test]
    async fn a_websocket_may_be_silent_for_longer_than_what_comes_before_it() {
        let limited = Limited::new(
            TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
            Limits::WEBSOCKET,
        );
        let mut peer = TcpStream::connect(limited.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = limited.listener.accept().await.unwrap();
        let place = limited.enter(remote.ip()).unwrap();
        let mut connection = Connection::new(stream, place, Duration::from_millis(50), HEAD);
        connection
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            .await
            .unwrap();
        connection.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        peer.write_all(b"1").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'1');
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_source() {
        let limited = limited().await;
        let from = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let places: Vec<Place> = (0..).map_while(|host| limited.enter(from(host))).collect();
        assert_eq!(places.len(), Limits::HTTP.per_source);
        assert!(
            limited
                .enter(IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]))
                .is_some()
        );
    }

    #[test]
    fn a_head_is_timed_from_its_first_octet_to_its_empty_line() {
        let now = Instant::now();
        let rows: [(&[&str], bool); 7] = [
            (&["G", "ET / HTTP/1.1\r\n", "Host: a\r\n"], true),
            (&["GET / HTTP/1.1\r\nHost: a\r\n\r", "\n"], false),
            (&["GET / HTTP/1.1\n\n"], false),
            (&["\r\n\r\n", "GET /"], true),
            (&["\r\n"], true),
            (&["POST / HTTP/1.1\r\n\r\nbody, however slow"], false),
            (&[], false),
        ];
        for (pieces, timed) in rows {
            let mut head = Head::default();
            pieces.iter().for_each(|piece| head.read(now, piece.as_bytes()));
            assert_eq!(head.since(), timed.then_some(now), "{pieces:?}");
            head.answered();
            assert_eq!(head.since(), None, "{pieces:?}");
            head.read(now, b"GET");
            assert_eq!(head.since(), Some(now), "{pieces:?}");
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
