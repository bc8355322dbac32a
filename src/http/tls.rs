//! A listener whose connections speak TLS.
//!
//! Owns the handshakes under way: they run beside each other, so that a slow peer holds up nobody, each for a bounded time and
//! within the limits of connections. Knows nothing of HTTP.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::limited::{Connection, Limited};

/// A handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A TCP listener with limits whose connections are handed out once their handshake is done.
pub(crate) struct TlsListener {
    listener: Limited,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(Secured, SocketAddr)>>,
    handshake_limit: Duration,
}

/// A connection after its handshake.
pub(crate) type Secured = Connection<TlsStream<TcpStream>>;

impl TlsListener {
    pub(super) fn new(listener: Limited, tls: Arc<ServerConfig>) -> Self {
        Self {
            listener,
            acceptor: TlsAcceptor::from(tls),
            handshakes: JoinSet::new(),
            handshake_limit: HANDSHAKE,
        }
    }
}

impl Listener for TlsListener {
    type Io = Secured;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Secured, SocketAddr) {
        loop {
            tokio::select! {
                (stream, place, remote) = self.listener.accept_stream() => {
                    let handshake = self.acceptor.accept(stream);
                    let limit = self.handshake_limit;
                    self.handshakes.spawn(async move {
                        let stream = finish(handshake, limit, remote).await?;
                        Some((Connection::with_limits(stream, place), remote))
                    });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(secured)) = done {
                        return secured;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn finish<S: AsyncRead + AsyncWrite + Unpin>(
    handshake: tokio_rustls::Accept<S>,
    limit: Duration,
    remote: SocketAddr,
) -> Option<TlsStream<S>> {
    match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%remote, "a TLS handshake took too long");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;
    use tokio::{io::AsyncReadExt as _, net::TcpListener, time::Instant};

    use super::super::limited::Limits;
    use super::*;

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_closed_and_holds_no_place() {
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.into()], key)
            .unwrap();
        let limited = Limited::new(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), Limits::HTTP);
        let mut listener = TlsListener::new(limited, Arc::new(config));
        listener.handshake_limit = Duration::from_millis(100);
        let address = Listener::local_addr(&listener).unwrap();
        let accepting = tokio::spawn(async move { listener.accept().await.1 });
        let started = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0);
        assert!(started.elapsed() >= Duration::from_millis(100));
        assert!(!accepting.is_finished());
        accepting.abort();
    }
}
