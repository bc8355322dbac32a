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

/// Open connections in all.
const MAX_CONNECTIONS: usize = 2048;
/// Open connections from one address; a proxy on this machine is not limited.
const MAX_CONNECTIONS_PER_SOURCE: usize = 256;
/// A connection over which nothing went for this long is closed: more than any answer takes.
const IDLE: Duration = Duration::from_secs(75);

/// A TCP listener that closes connections beyond the limits at once.
pub(super) struct Limited {
    listener: TcpListener,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            open: Arc::default(),
        }
    }

    fn enter(&self, ip: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let from_source = open.get(&ip).copied().unwrap_or(0);
        let is_proxy = ip.to_canonical().is_loopback();
        if all >= MAX_CONNECTIONS || (from_source >= MAX_CONNECTIONS_PER_SOURCE && !is_proxy) {
            return None;
        }
        open.insert(ip, from_source + 1);
        Some(Place {
            ip,
            open: Arc::clone(&self.open),
        })
    }
}

/// One of the connections that may be open; given back on drop.
struct Place {
    ip: IpAddr,
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
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Waits and tries again by itself when there are no descriptors left.
            let (stream, remote) = Listener::accept(&mut self.listener).await;
            if let Some(place) = self.enter(remote.ip()) {
                return (Connection::new(stream, place, IDLE), remote);
            }
            tracing::debug!("too many HTTP connections: one more is closed");
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection; reading fails once it was silent for too long in both directions.
pub(super) struct Connection {
    stream: TcpStream,
    idle: Duration,
    end: Pin<Box<Sleep>>,
    _place: Place,
}

impl Connection {
    fn new(stream: TcpStream, place: Place, idle: Duration) -> Self {
        Self {
            stream,
            idle,
            end: Box::pin(sleep(idle)),
            _place: place,
        }
    }

    fn is_alive(&mut self) {
        let end = Instant::now() + self.idle;
        self.end.as_mut().reset(end);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => {
                ready!(self.end.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            read => {
                self.is_alive();
                read
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.is_alive();
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
        Limited::new(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    #[tokio::test]
    async fn places_are_counted_by_source_and_in_all_and_come_back() {
        let limited = limited().await;
        let source = |n: u8| IpAddr::from([192, 0, 2, n]);
        let fill = |ip| -> Vec<Place> { std::iter::from_fn(|| limited.enter(ip)).collect() };
        let one = fill(source(1));
        assert_eq!(one.len(), MAX_CONNECTIONS_PER_SOURCE);
        let proxy = fill([127, 0, 0, 1].into());
        assert_eq!(proxy.len(), MAX_CONNECTIONS - MAX_CONNECTIONS_PER_SOURCE);
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
        let mut connection = Connection::new(stream, place, Duration::from_millis(50));
        peer.write_all(b"12").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'1');
        assert_eq!(connection.read_u8().await.unwrap(), b'2');
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(connection);
        assert!(limited.open.lock().unwrap().is_empty());
    }
}
