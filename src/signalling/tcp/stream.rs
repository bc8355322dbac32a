//! One connection over TCP or TLS: frames what comes in, writes what goes out.
//!
//! Owns how long a connection may be idle, how long a peer may take over one message, and the end of a connection. It
//! parses nothing beyond framing.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use confab_sip::{Flow, Framed, KEEP_ALIVE_PONG, StreamFramer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{super::endpoint::Input, Connections, Queue};

/// After this long without a byte from its peer the endpoint is asked whether a call still needs the connection.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// A message that was begun must be whole by then: a slow-loris peer gets no more.
const MESSAGE_TIME: Duration = Duration::from_secs(20);
/// The first message or keep-alive must be there by then; it is as long as a transaction of ours waits for its response.
pub(super) const FIRST_TIME: Duration = Duration::from_secs(32);
/// One write may take this long before the connection counts as dead.
pub(super) const WRITE_TIME: Duration = Duration::from_secs(10);

/// How long the reader waits for the next byte.
#[derive(Debug)]
struct Patience {
    end: Instant,
    /// The peer owes (the rest of) a message, and is cut off at the end; else it is idle.
    owes_message: bool,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self {
            end: now + FIRST_TIME,
            owes_message: true,
        }
    }

    /// Something was read: `some_whole` says that it brought the end of a message or a keep-alive, `more_begun` that
    /// it ends within a message.
    fn read(&mut self, now: Instant, some_whole: bool, more_begun: bool) {
        *self = match (more_begun, self.owes_message && !some_whole) {
            (false, _) => Self {
                end: now + IDLE,
                owes_message: false,
            },
            // What was begun earlier is still not whole.
            (true, true) => Self { ..*self },
            // A busy peer may be within a message at every read, each time within another one.
            (true, false) => Self {
                end: now + MESSAGE_TIME,
                owes_message: true,
            },
        };
    }
}

impl Connections {
    pub(super) async fn serve(
        self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        flow: Flow,
        queue: Queue,
    ) {
        self.exchange(reader, writer, flow, queue).await;
        self.end(flow).await;
    }

    /// Reads and writes until either side ends the connection.
    pub(super) async fn exchange(
        &self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        flow: Flow,
        (replies, waiting, queued): Queue,
    ) {
        let replies = Replies(replies, &queued);
        // Whichever side ends first ends the connection: a half-closed peer cannot be answered.
        tokio::select! {
            () = write(writer, waiting, &queued) => {}
            () = self.read(reader, flow, &replies) => {}
        }
    }

    /// Forgets a connection that is over, and says so.
    pub(super) async fn end(&self, flow: Flow) {
        self.forget(flow);
        let _ = self
            .0
            .inputs
            .send(Input::ConnectionClosed {
                connection: flow.connection,
            })
            .await;
    }

    async fn read(&self, mut reader: impl AsyncRead + Unpin, flow: Flow, replies: &Replies<'_>) {
        let mut framer = StreamFramer::new();
        let mut buffer = vec![0; 16 * 1024];
        let mut patience = Patience::new(Instant::now());
        loop {
            let length = match timeout_at(patience.end, reader.read(&mut buffer)).await {
                Ok(Ok(0)) | Ok(Err(_)) => return,
                Ok(Ok(length)) => length,
                Err(_) if patience.owes_message => {
                    self.0.stats.tcp_closed.increment();
                    return;
                }
                Err(_) => {
                    // The endpoint closes it when no call needs it.
                    let connection = flow.connection;
                    if self.0.inputs.send(Input::Idle { connection }).await.is_err() {
                        return;
                    }
                    patience.read(Instant::now(), true, false);
                    continue;
                }
            };
            framer.push(&buffer[..length]);
            let mut some_whole = false;
            for framed in framer.by_ref() {
                some_whole = true;
                match framed {
                    Ok(Framed::Message(bytes)) => {
                        if self.0.inputs.send(Input::Message { flow, bytes }).await.is_err() {
                            return;
                        }
                    }
                    Ok(Framed::KeepAlivePing) => replies.send(Bytes::from_static(KEEP_ALIVE_PONG)),
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
            patience.read(Instant::now(), some_whole, framer.buffered() > 0);
        }
    }
}

/// The write queue as the reader sees it, for answers to keep-alives; it does not keep the connection open.
struct Replies<'a>(mpsc::WeakSender<Bytes>, &'a AtomicUsize);

impl Replies<'_> {
    fn send(&self, bytes: Bytes) {
        let Some(queue) = self.0.upgrade() else { return };
        let length = bytes.len();
        self.1.fetch_add(length, Ordering::AcqRel);
        // A full queue belongs to a peer that does not read: it misses one answer.
        if queue.try_send(bytes).is_err() {
            self.1.fetch_sub(length, Ordering::AcqRel);
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut waiting: mpsc::Receiver<Bytes>,
    queued: &AtomicUsize,
) {
    while let Some(bytes) = waiting.recv().await {
        match timeout(WRITE_TIME, writer.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        queued.fetch_sub(bytes.len(), Ordering::AcqRel);
    }
    // The last sender is gone: closed for not reading, or the server ends.
    let _ = writer.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_to_be_whole_in_time_but_a_busy_peer_may_always_be_within_one() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(start);
        let rows = [
            // read at, brought the end of a message, ends within one, waits until, then cuts off
            (5, false, true, 32, true),
            (10, true, true, 30, true),
            (25, true, true, 45, true),
            (40, true, true, 60, true),
            (45, false, true, 60, true),
            (59, true, false, 659, false),
            (600, true, false, 1200, false),
            (700, false, true, 720, true),
        ];
        for (now, some_whole, more_begun, end, owes_message) in rows {
            patience.read(at(now), some_whole, more_begun);
            assert_eq!(
                (patience.end, patience.owes_message),
                (at(end), owes_message),
                "read at {now}"
            );
        }
    }
}
