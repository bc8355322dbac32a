//! Connections that this server opens, over TCP and TLS.
//!
//! Owns what waits for a connection to be open, and for how long. Whose certificate a peer has to show says the number in the flow.

use std::{collections::hash_map::Entry, net::SocketAddr, time::Duration};

use bytes::Bytes;
use confab_sip::{Flow, Transport};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{super::endpoint::Input, Connections, HANDSHAKE_TIME, Open, SendError, peer_of};

/// How long a connection may take to open: Timer B and F end the transaction soon after.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Connections that are being opened.
const MAX_OPENING: usize = 256;
/// Messages that wait for one connection to open.
const MAX_WAITING: usize = 256;

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("the connection could not be opened: {0}")]
    Tcp(std::io::Error),
    /// The certificate is not of the name that was asked for, its authority is not believed, or the peer wants one of ours.
    #[error("no TLS handshake with the name '{name}': {error}")]
    Handshake { name: String, error: std::io::Error },
    #[error("it took too long")]
    TooLong,
    #[error("sip.tls_ca: {0}")]
    Trust(String),
    #[error("the name that its certificate should show is not known any more")]
    NoName,
    #[error("there are too many connections")]
    TooMany,
}

impl Connections {
    /// Has a message wait for the connection that its flow asks for, which is opened if it is not being opened already.
    pub(super) fn wait_for(&self, open: &mut Open, flow: Flow, bytes: Bytes) -> Result<(), SendError> {
        if flow.transport.is_one_way() {
            // Whoever opened it is the only one who can.
            return Err(SendError::Closed);
        }
        let opening = open.opening.len();
        match open.opening.entry(peer_of(flow)) {
            Entry::Occupied(mut waiting) if waiting.get().len() < MAX_WAITING => {
                waiting.get_mut().push((flow, bytes));
            }
            Entry::Vacant(place) if opening < MAX_OPENING => {
                place.insert(vec![(flow, bytes)]);
                tokio::spawn(self.clone().connect(Flow {
                    connection: 0,
                    ..flow
                }));
            }
            _ => return Err(SendError::Busy),
        }
        Ok(())
    }

    /// Opens a connection and sends what waits for it.
    async fn connect(self, flow: Flow) {
        let opened = match flow.transport {
            Transport::Tls => self.connect_tls(flow).await,
            _ => self.connect_tcp(flow).await,
        };
        if let Err(error) = &opened {
            // What a call comes to is told where calls are; this is what a certificate's owner looks for.
            let is_tls = flow.transport == Transport::Tls;
            if is_tls {
                self.0.stats.tls_failed.increment();
                tracing::info!(%error, "no SIP connection over TLS");
            } else {
                tracing::debug!(remote = %flow.remote, %error, "no SIP connection");
            }
        }
        let opened = opened.ok();
        let failed: Vec<Flow> = {
            let mut open = self.lock();
            let waiting = open.opening.remove(&peer_of(flow)).unwrap_or_default();
            let unsent = waiting.into_iter().filter_map(|(flow, bytes)| {
                let sent = opened.is_some_and(|connection| open.send(connection, bytes).is_ok());
                (!sent).then_some(flow)
            });
            unsent.collect()
        };
        for flow in failed {
            self.0.stats.send_failed.increment();
            let _ = self.0.inputs.send(Input::SendFailed { flow }).await;
        }
    }

    async fn connect_tcp(&self, flow: Flow) -> Result<u64, OpenError> {
        let stream = reach(flow.remote).await?;
        let (flow, queue) = self.enter(&stream, flow).ok_or(OpenError::TooMany)?;
        let (reader, writer) = stream.into_split();
        tokio::spawn(self.clone().serve_ours(reader, writer, flow, queue));
        Ok(flow.connection)
    }

    async fn connect_tls(&self, flow: Flow) -> Result<u64, OpenError> {
        let name = match flow.name {
            // Nothing but its address is known of it: that is what has to be in its certificate.
            0 => ServerName::from(flow.remote.ip().to_canonical()),
            number => self.0.names.name(number).ok_or(OpenError::NoName)?,
        };
        let config = self.0.trust.client_config().await.map_err(OpenError::Trust)?;
        let stream = reach(flow.remote).await?;
        let shaken = TlsConnector::from(config).connect(name.clone(), stream);
        let stream: TlsStream<TcpStream> = match timeout(HANDSHAKE_TIME, shaken).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let name = name.to_str().into_owned();
                return Err(OpenError::Handshake { name, error });
            }
            Err(_) => return Err(OpenError::TooLong),
        };
        let entered = self.enter(stream.get_ref().0, flow);
        let (flow, queue) = entered.ok_or(OpenError::TooMany)?;
        let (reader, writer) = tokio::io::split(stream);
        tokio::spawn(self.clone().serve_ours(reader, writer, flow, queue));
        Ok(flow.connection)
    }

    /// Serves a connection to its end; what had no response by then, and did not name it, has failed.
    async fn serve_ours(
        self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        flow: Flow,
        queue: super::Queue,
    ) {
        self.exchange(reader, writer, flow, queue).await;
        // Told before the connection is forgotten: what is sent from then on opens another one.
        let unnamed = Flow {
            connection: 0,
            ..flow
        };
        let _ = self.0.inputs.send(Input::SendFailed { flow: unnamed }).await;
        self.end(flow).await;
    }
}

async fn reach(remote: SocketAddr) -> Result<TcpStream, OpenError> {
    match timeout(CONNECT_TIME, TcpStream::connect(remote)).await {
        Ok(opened) => opened.map_err(OpenError::Tcp),
        Err(_) => Err(OpenError::TooLong),
    }
}
