//! A caller's hold on a conference: first a [`Seat`], then a [`Participant`]. Owns the promise that a place is given
//! back, whatever becomes of the call's task.

use std::mem;
use std::sync::Arc;

use confab_conference::{Caller, ConferenceId, LeaveCause, OwedKey, ParticipantId, Refusal};
use confab_media::MediaPlane;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::media::MixPlane;
use super::task::Request;
use crate::names::SpokenName;

/// Tells a call to end. When the channel closes without it, the conference is gone: the call should end as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HangUp {
    /// Why.
    pub(crate) cause: LeaveCause,
}

/// Tells a call to leave its conference and to go on in another one, where a place is held for it.
pub(crate) struct Move<M: MixPlane = MediaPlane> {
    /// The place.
    pub(crate) seat: Seat<M>,
    /// Where it is.
    pub(crate) conference: ConferenceId,
    /// Told who the caller is there; lost when the call ends meanwhile.
    pub(crate) reply: oneshot::Sender<Result<ParticipantId, Refusal>>,
}

/// A place in a conference that is held until the caller joins. Dropping it gives the place back.
pub(crate) struct Seat<M: MixPlane = MediaPlane> {
    hold: Hold<M>,
    moves: Option<mpsc::Sender<Move<M>>>,
}

/// A participant of a running conference. Dropping it takes him off the roster as if his call had failed.
pub(crate) struct Participant<M: MixPlane = MediaPlane> {
    hold: Hold<M>,
}

impl<M: MixPlane> Seat<M> {
    pub(super) fn new(id: ParticipantId, requests: mpsc::Sender<Request<M>>) -> Seat<M> {
        Seat {
            hold: Hold {
                id,
                requests,
                held: true,
            },
            moves: None,
        }
    }

    /// Makes the caller one who can be moved: his call is told through `moves`.
    pub(crate) fn movable(mut self, moves: mpsc::Sender<Move<M>>) -> Seat<M> {
        self.moves = Some(moves);
        self
    }

    /// Says who takes the place, where that was not known when it was asked for.
    pub(crate) async fn identify(&self, caller: Caller) {
        let participant = self.hold.id;
        // A conference that is gone learns of it when he joins.
        let _ = self
            .hold
            .requests
            .send(Request::Identify { participant, caller })
            .await;
    }

    /// Returns what waits until the conference has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<M> {
        let requests = self.hold.requests.clone();
        async move { requests.closed().await }
    }

    /// Gives the caller the name that is announced when he comes and goes.
    pub(crate) async fn announce_as(&self, name: SpokenName) {
        let participant = self.hold.id;
        // A conference that is gone announces nobody.
        let _ = self.hold.requests.send(Request::Name { participant, name }).await;
    }

    /// Tells the conference of a key that the caller may press yet when he has joined, and that is no action there.
    pub(crate) async fn owes(&self, key: OwedKey) {
        let participant = self.hold.id;
        // A conference that is gone hears no keys.
        let _ = self.hold.requests.send(Request::Owes { participant, key }).await;
    }

    /// Puts the leg into the mix and the caller on the roster. Both have happened, and `add-member` is published, when
    /// this returns. A kick or the end of the conference arrives through `hang_up`.
    ///
    /// # Errors
    /// The conference has ended meanwhile, or the media plane did not take the leg. The place is given back.
    pub(crate) async fn join(
        self,
        leg: Arc<M::Leg>,
        hang_up: mpsc::Sender<HangUp>,
    ) -> Result<Participant<M>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Join {
            participant: self.hold.id,
            leg,
            hang_up,
            moves: self.moves,
            reply,
        };
        self.hold
            .requests
            .send(request)
            .await
            .map_err(|_| Refusal::Ended)?;
        answer.await.map_err(|_| Refusal::Ended)??;
        Ok(Participant { hold: self.hold })
    }
}

impl<M: MixPlane> Participant<M> {
    /// Returns the participant's id.
    pub(crate) fn id(&self) -> ParticipantId {
        self.hold.id
    }

    /// Says who is on the leg from now on.
    pub(crate) async fn goes_on_as(&self, caller: Caller) {
        let participant = self.hold.id;
        // A conference that is gone shows nobody.
        let _ = self
            .hold
            .requests
            .send(Request::Replace { participant, caller })
            .await;
    }

    /// Takes the leg out of the mix and the participant off the roster; both have happened when this returns. Harmless
    /// when he is off already.
    pub(crate) async fn leave(mut self, cause: LeaveCause) {
        let (reply, done) = oneshot::channel();
        let request = Request::Vacate {
            participant: self.hold.id,
            cause,
            reply: Some(reply),
        };
        if self.hold.requests.send(request).await.is_ok() {
            self.hold.held = false;
            let _ = done.await;
        }
    }
}

/// Gives the place back when dropped.
struct Hold<M: MixPlane> {
    id: ParticipantId,
    requests: mpsc::Sender<Request<M>>,
    held: bool,
}

impl<M: MixPlane> Drop for Hold<M> {
    fn drop(&mut self) {
        if !mem::replace(&mut self.held, false) {
            return;
        }
        let request = Request::Vacate {
            participant: self.id,
            cause: LeaveCause::CallFailed,
            reply: None,
        };
        if let Err(mpsc::error::TrySendError::Full(request)) = self.requests.try_send(request)
            && let Ok(runtime) = Handle::try_current()
        {
            let requests = self.requests.clone();
            runtime.spawn(async move { requests.send(request).await });
        }
    }
}
