//! Owns the bodies of requests on their way in, and how much memory all of them take together until they are answered. Never
//! looks into one.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::body::MAX_BODY_BYTES;
use crate::error::ApiError;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the file of a media document may take: the largest at a megabit per second.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a body waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest body of a sender who has shown no good token in header or query. What he may send is a login, or a document
/// with a token beside it, and no document is longer than half of this.
pub(crate) const MAX_STRANGERS_BYTES: usize = 512 * 1024;

/// Bodies that say they are no longer than this take no room: the number of connections bounds them.
const FREE_BYTES: usize = 4096;

/// Room is given out in pieces of this size.
const PIECE: usize = 16 * 1024;

/// Room for the bodies of strangers, for files, and for all others. Files have their own: they may come slowly.
const STRANGERS_ROOM: usize = 32 * 1024 * 1024;
const UPLOAD_ROOM: usize = 64 * 1024 * 1024;
const ROOM: usize = 256 * 1024 * 1024;

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// He has shown a good token.
    Known,
    /// He has shown one, and sends the file of a media document: in so many bytes at most.
    Uploader(usize),
    /// He has not, or not yet.
    Stranger,
}

impl Sender {
    fn limit(self) -> usize {
        match self {
            Sender::Known => MAX_BODY_BYTES,
            Sender::Uploader(limit) => limit,
            Sender::Stranger => MAX_STRANGERS_BYTES,
        }
    }

    fn timeout(self) -> Duration {
        match self {
            Sender::Uploader(_) => UPLOAD_TIMEOUT,
            Sender::Known | Sender::Stranger => BODY_TIMEOUT,
        }
    }

    /// Returns what is read and dropped of a body that is too large, so that a client which sends before it listens gets to see
    /// the answer.
    fn drained(self) -> usize {
        2 * self.limit().max(MAX_BODY_BYTES)
    }
}

/// The room for bodies.
pub(crate) struct Intake {
    strangers: Semaphore,
    uploaders: Semaphore,
    known: Semaphore,
}

/// A body that is whole; its room is free again when this is dropped.
pub(crate) struct Taken<'a> {
    pub(crate) bytes: Bytes,
    _room: Option<SemaphorePermit<'a>>,
}

impl Default for Intake {
    fn default() -> Intake {
        Intake {
            strangers: Semaphore::new(STRANGERS_ROOM / PIECE),
            uploaders: Semaphore::new(UPLOAD_ROOM / PIECE),
            known: Semaphore::new(ROOM / PIECE),
        }
    }
}

impl Intake {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// It is longer than `sender` may send, comes too slowly, breaks off, or finds no room.
    pub(crate) async fn read(&self, body: Body, sender: Sender) -> Result<Taken<'_>, ApiError> {
        let limit = sender.limit();
        // Without a length it may become as long as any.
        let announced = body
            .size_hint()
            .upper()
            .and_then(|most| usize::try_from(most).ok());
        let room = match announced.unwrap_or(limit) {
            // What is too long is not kept.
            length if length > limit || length <= FREE_BYTES => None,
            length => Some(self.room(sender, length).await?),
        };
        let bytes = timeout(sender.timeout(), collect(body, limit, sender.drained()))
            .await
            .map_err(|_| ApiError::BodyTimeout)??;
        Ok(Taken { bytes, _room: room })
    }

    async fn room(&self, sender: Sender, length: usize) -> Result<SemaphorePermit<'_>, ApiError> {
        let all = match sender {
            Sender::Known => &self.known,
            Sender::Uploader(_) => &self.uploaders,
            Sender::Stranger => &self.strangers,
        };
        let pieces = u32::try_from(length.div_ceil(PIECE)).unwrap_or(u32::MAX);
        match timeout(ROOM_TIMEOUT, all.acquire_many(pieces)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(ApiError::NoRoom),
        }
    }
}

async fn collect(mut body: Body, limit: usize, drained: usize) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ApiError::BodyBroken)?.into_data() else {
            continue;
        };
        total += data.len();
        if total > drained {
            break;
        }
        if total > limit {
            bytes = BytesMut::new();
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    if total > limit {
        Err(ApiError::BodyTooLarge(limit))
    } else {
        Ok(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(pieces: Vec<&'static [u8]>) -> Body {
        let frames = pieces
            .into_iter()
            .map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece)));
        Body::from_stream(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_taken_whole_up_to_what_its_sender_may_send() {
        let intake = Intake::default();
        for (sender, limit) in [
            (Sender::Known, 8_000_000),
            (Sender::Uploader(11_534_336), 11_534_336),
            (Sender::Stranger, 524_288),
        ] {
            for length in [0, 1, 4096, 4097, limit - 1, limit] {
                let taken = intake
                    .read(Body::from(vec![7; length]), sender)
                    .await
                    .ok()
                    .unwrap();
                assert_eq!(taken.bytes.len(), length, "{sender:?}");
            }
            let refused = intake.read(Body::from(vec![7; limit + 1]), sender).await.err();
            assert!(matches!(refused, Some(ApiError::BodyTooLarge(told)) if told == limit));
        }
        let taken = intake
            .read(chunks(vec![b"ab", b"", b"c"]), Sender::Stranger)
            .await
            .ok()
            .unwrap();
        assert_eq!(&taken.bytes[..], b"abc");
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_together_have_the_room_they_have() {
        let intake = Intake::default();
        let mut held = Vec::new();
        for _ in 0..STRANGERS_ROOM / MAX_STRANGERS_BYTES {
            // Of unknown length.
            held.push(
                intake
                    .read(chunks(vec![b"x"]), Sender::Stranger)
                    .await
                    .ok()
                    .unwrap(),
            );
        }
        let large = || Body::from(vec![7; MAX_STRANGERS_BYTES]);
        assert!(matches!(
            intake.read(large(), Sender::Stranger).await.err(),
            Some(ApiError::NoRoom)
        ));
        // A login, and whoever has a token, are not concerned.
        assert!(intake.read(Body::from("{}"), Sender::Stranger).await.is_ok());
        assert!(intake.read(large(), Sender::Known).await.is_ok());
        held.pop();
        assert!(intake.read(large(), Sender::Stranger).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up_and_leaves_its_room() {
        let intake = Intake::default();
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(matches!(
            intake.read(body, Sender::Stranger).await.err(),
            Some(ApiError::BodyTimeout)
        ));
        assert_eq!(intake.strangers.available_permits(), STRANGERS_ROOM / PIECE);
    }
}
