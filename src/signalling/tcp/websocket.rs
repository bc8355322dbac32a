//! One connection of SIP over WebSocket (RFC 7118): the handshake, messages in and out, and whether the other end is still there.
//!
//! Owns how long a connection may be idle or silent. One WebSocket message is one SIP message: nothing is framed here, and nothing parsed.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use confab_sip::{Flow, KEEP_ALIVE_PING, KEEP_ALIVE_PONG, MAX_MESSAGE_BYTES};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error as SocketError, Message, Utf8Bytes,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use super::{super::endpoint::Input, Connections, HANDSHAKE_TIME, Queue, stream};

/// The subprotocol (RFC 7118 §4.1).
const PROTOCOL: &str = "sip";
/// How often the other end is asked whether it is there, which keeps a NAT and a proxy on the way from forgetting the connection too.
const PING: Duration = Duration::from_secs(30);
/// Whoever has said nothing for this long, not even that it is there, is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// Messages of the queue that are handed to the socket before it is flushed.
const BATCH: usize = 64;

/// What came from the other end.
enum Read {
    /// A SIP message.
    Sip(Bytes),
    /// A sign of life.
    KeepAlive,
    /// One that wants an answer (RFC 7118 §6, RFC 5626 §3.5.1).
    Ping,
    /// The end.
    Closed,
}

impl Connections {
    /// Does the handshake and serves the connection to its end.
    pub(super) async fn serve_websocket(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        flow: Flow,
        queue: Queue,
    ) {
        match timeout(HANDSHAKE_TIME, shake(stream)).await {
            Ok(Ok(socket)) => {
                self.talk(socket, flow, queue).await;
                self.end(flow).await;
            }
            failed => {
                self.0.stats.websocket_failed.increment();
                if let Ok(Err(error)) = failed {
                    tracing::debug!(remote = %flow.remote, %error, "no WebSocket handshake on a SIP connection");
                }
                self.forget(flow);
            }
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut socket: WebSocketStream<S>,
        flow: Flow,
        (_, mut waiting, queued): Queue,
    ) {
        let mut idle_at = Instant::now() + stream::FIRST_TIME;
        let mut has_spoken = false;
        let mut gone_at = Instant::now() + SILENCE;
        let mut ping_at = Instant::now() + PING;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let reply = tokio::select! {
                count = waiting.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        // The last sender is gone: closed for not reading, for being idle, or the server ends.
                        let _ = timeout(stream::WRITE_TIME, socket.close(None)).await;
                        return;
                    }
                    let length: usize = batch.iter().map(Bytes::len).sum();
                    if !write(&mut socket, batch.drain(..).map(packed)).await {
                        return;
                    }
                    queued.fetch_sub(length, Ordering::AcqRel);
                    continue;
                }
                read = socket.next() => read_of(read),
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + PING;
                    if !write(&mut socket, [Message::Ping(Bytes::new())]).await {
                        return;
                    }
                    continue;
                }
                () = sleep_until(gone_at) => {
                    self.0.stats.tcp_closed.increment();
                    return;
                }
                () = sleep_until(idle_at) => {
                    let connection = flow.connection;
                    if !has_spoken {
                        self.0.stats.tcp_closed.increment();
                        return;
                    }
                    // The endpoint closes it when no call and no registration needs it.
                    if self.0.inputs.send(Input::Idle { connection }).await.is_err() {
                        return;
                    }
                    idle_at = Instant::now() + stream::IDLE;
                    continue;
                }
            };
            gone_at = Instant::now() + SILENCE;
            match reply {
                Read::Sip(bytes) => {
                    has_spoken = true;
                    idle_at = Instant::now() + stream::IDLE;
                    if self.0.inputs.send(Input::Message { flow, bytes }).await.is_err() {
                        return;
                    }
                }
                Read::KeepAlive => {}
                Read::Ping => {
                    if !write(&mut socket, [packed(Bytes::from_static(KEEP_ALIVE_PONG))]).await {
                        return;
                    }
                }
                Read::Closed => return,
            }
        }
    }
}

/// Does the handshake of a server that speaks SIP and nothing else.
async fn shake<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<WebSocketStream<S>, SocketError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    accept_hdr_async_with_config(stream, speaks_sip, Some(config)).await
}

// The type is the library's.
#[allow(clippy::result_large_err)]
fn speaks_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.iter().filter_map(|value| value.to_str().ok());
    let knows = |list: &str| {
        list.split(',')
            .any(|protocol| protocol.trim().eq_ignore_ascii_case(PROTOCOL))
    };
    if offered.any(knows) {
        let headers = response.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some(
        "this port speaks the WebSocket subprotocol sip (RFC 7118)\n".to_owned(),
    ));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

fn read_of(read: Option<Result<Message, SocketError>>) -> Read {
    let bytes = match read {
        Some(Ok(Message::Text(text))) => Bytes::from(text),
        Some(Ok(Message::Binary(bytes))) => bytes,
        // Answered by the library.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Read::KeepAlive,
        Some(Ok(Message::Close(_)) | Err(_)) | None => return Read::Closed,
    };
    match &bytes[..] {
        KEEP_ALIVE_PING => Read::Ping,
        blank if blank.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => Read::KeepAlive,
        _ => Read::Sip(bytes),
    }
}

/// As text where it is text, which is what browsers' libraries expect; both are allowed (RFC 7118 §5).
fn packed(bytes: Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

/// Writes and flushes; false when the other end does not take it.
async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    messages: impl IntoIterator<Item = Message>,
) -> bool {
    let written = async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    matches!(timeout(stream::WRITE_TIME, written).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use confab_sip::Transport;
    use tokio::sync::mpsc;
    use tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest as _};

    use super::*;
    use crate::{signalling::stats::TransportStats, tls::Trust};

    #[test]
    fn only_who_speaks_sip_is_let_in() {
        for (offered, is_let_in) in [
            (Some("sip"), true),
            (Some("msrp, SIP"), true),
            (Some("sipfrag"), false),
            (Some(""), false),
            (None, false),
        ] {
            let mut request = Request::new(());
            if let Some(offered) = offered {
                let value = HeaderValue::from_str(offered).unwrap();
                request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
            }
            let answer = speaks_sip(&request, Response::new(()));
            assert_eq!(answer.is_ok(), is_let_in, "{offered:?}");
            match answer {
                Ok(response) => assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], PROTOCOL),
                Err(refusal) => assert_eq!(refusal.status(), StatusCode::BAD_REQUEST),
            }
        }
    }

    type Client = WebSocketStream<tokio::io::DuplexStream>;

    struct World {
        client: Client,
        inputs: mpsc::Receiver<Input>,
        served: tokio::task::JoinHandle<()>,
        queue: mpsc::Sender<Bytes>,
        stats: Arc<TransportStats>,
    }

    /// A served connection. The clock stands until everybody waits for it, and then goes on at once.
    async fn world() -> World {
        let (sender, inputs) = mpsc::channel(16);
        let stats = Arc::<TransportStats>::default();
        let connections = Connections::new(sender, Arc::clone(&stats), Trust::new(None, None));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let address = "127.0.0.1:5062".parse().unwrap();
        let flow = Flow {
            transport: Transport::Ws,
            ..Flow::tcp(address, address, 1)
        };
        let (queue, waiting) = mpsc::channel(16);
        let write = (queue.downgrade(), waiting, Arc::default());
        let served = tokio::spawn(connections.serve_websocket(ours, flow, write));
        let mut request = "ws://localhost/".into_client_request().unwrap();
        let protocol = HeaderValue::from_static(PROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        let (client, _) = client_async(request, theirs).await.unwrap();
        World {
            client,
            inputs,
            served,
            queue,
            stats,
        }
    }

    const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_that_he_is_there_is_gone() {
        let mut world = world().await;
        let began = Instant::now();
        world.client.send(Message::text(OPTIONS)).await.unwrap();
        // He reads nothing, and so answers no ping.
        world.served.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), SILENCE.as_secs());
        assert!(matches!(world.inputs.recv().await, Some(Input::Message { .. })));
        assert!(matches!(
            world.inputs.recv().await,
            Some(Input::ConnectionClosed { connection: 1 })
        ));
        assert_eq!(world.stats.tcp_closed.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_there_and_says_nothing_is_closed_unless_he_is_needed() {
        let World {
            mut client,
            mut inputs,
            served,
            queue,
            stats,
        } = world().await;
        let began = Instant::now();
        client.send(Message::text(OPTIONS)).await.unwrap();
        // Reading answers pings.
        let reading = tokio::spawn(async move {
            let mut pings = 0;
            while let Some(Ok(message)) = client.next().await {
                pings += usize::from(message.is_ping());
            }
            pings
        });
        assert!(matches!(inputs.recv().await, Some(Input::Message { .. })));
        assert!(matches!(inputs.recv().await, Some(Input::Idle { connection: 1 })));
        assert_eq!(began.elapsed().as_secs(), stream::IDLE.as_secs());
        // The endpoint needs it, then closes it.
        assert!(matches!(inputs.recv().await, Some(Input::Idle { .. })));
        drop(queue);
        served.await.unwrap();
        let pings: usize = reading.await.unwrap();
        let due = 2 * stream::IDLE.as_secs() / PING.as_secs();
        assert!(
            pings.abs_diff(due as usize) <= 1,
            "{pings}, the last one with the end"
        );
        assert_eq!(stats.tcp_closed.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_speaks_sip_has_no_place() {
        let World {
            mut client,
            mut inputs,
            served,
            stats,
            queue: _queue,
        } = world().await;
        let began = Instant::now();
        let reading = tokio::spawn(async move { while let Some(Ok(_)) = client.next().await {} });
        served.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), stream::FIRST_TIME.as_secs());
        assert!(matches!(
            inputs.recv().await,
            Some(Input::ConnectionClosed { .. })
        ));
        assert_eq!(stats.tcp_closed.get(), 1);
        reading.await.unwrap();
    }

    #[test]
    fn line_ends_are_signs_of_life() {
        let read = |text: &'static str| read_of(Some(Ok(Message::text(text))));
        assert!(matches!(read("\r\n\r\n"), Read::Ping));
        assert!(matches!(read("\r\n"), Read::KeepAlive));
        assert!(matches!(read(""), Read::KeepAlive));
        assert!(matches!(read("OPTIONS sip:a@b SIP/2.0\r\n\r\n"), Read::Sip(_)));
        assert!(matches!(read_of(None), Read::Closed));
        let latin = Bytes::from_static(b"SIP/2.0 200 \xe9\r\n\r\n");
        assert!(matches!(packed(latin.clone()), Message::Binary(_)));
        assert!(matches!(read_of(Some(Ok(Message::Binary(latin)))), Read::Sip(_)));
    }
}
