//! What a conference's task is asked for. Never answers by itself.

use std::sync::Arc;

use confab_conference::{
    Caller, Control, Entry, LeaveCause, OwedKey, ParticipantId, Refusal, Role, Settings, Snapshot,
};
use tokio::sync::{mpsc, oneshot};

use crate::conferences::media::MixPlane;
use crate::conferences::seat::{HangUp, Move, Seat};
use crate::names::SpokenName;

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a conference's task is asked for.
pub(in crate::conferences) enum Request<M: MixPlane> {
    /// Holds a place.
    Reserve {
        caller: Caller,
        role: Role,
        entry: Entry,
        reply: Answer<Seat<M>>,
    },
    /// Says whether there would be a place.
    Admits { entry: Entry, reply: Answer<()> },
    /// Gives who has a place the name that is announced.
    Name {
        participant: ParticipantId,
        name: SpokenName,
    },
    /// Says who takes a place.
    Identify {
        participant: ParticipantId,
        caller: Caller,
    },
    /// Says who is on a participant's leg from now on.
    Replace {
        participant: ParticipantId,
        caller: Caller,
    },
    /// Tells of a key that somebody whose place is held may press yet, without a meaning.
    Owes {
        participant: ParticipantId,
        key: OwedKey,
    },
    /// Turns a place into a participant.
    Join {
        participant: ParticipantId,
        leg: Arc<M::Leg>,
        hang_up: mpsc::Sender<HangUp>,
        moves: Option<mpsc::Sender<Move<M>>>,
        reply: Answer<()>,
    },
    /// Asks what is needed to move a participant to another conference. Changes nothing.
    Moving {
        participant: ParticipantId,
        reply: Answer<Moving<M>>,
    },
    /// Tells that a participant was not moved whom a key should have moved.
    NotMoved {
        participant: ParticipantId,
        why: Option<Refusal>,
    },
    /// Gives a place back, or takes a participant off.
    Vacate {
        participant: ParticipantId,
        cause: LeaveCause,
        reply: Option<oneshot::Sender<()>>,
    },
    /// Performs a control.
    Control { control: Control, reply: Answer<()> },
    /// Replaces the settings.
    Update(Settings),
    /// Reads the state.
    Snapshot { reply: Answer<Snapshot> },
    /// Ends the conference.
    End { cause: LeaveCause },
}

impl<M: MixPlane> Request<M> {
    /// Answers with a refusal, where an answer is waited for.
    pub(super) fn refuse(self, refusal: Refusal) {
        // Whoever asked may have gone; then nobody needs the answer.
        match self {
            Request::Reserve { reply, .. } => drop(reply.send(Err(refusal))),
            Request::Admits { reply, .. } | Request::Join { reply, .. } => drop(reply.send(Err(refusal))),
            Request::Control { reply, .. } => drop(reply.send(Err(refusal))),
            Request::Moving { reply, .. } => drop(reply.send(Err(refusal))),
            Request::Snapshot { reply } => drop(reply.send(Err(refusal))),
            Request::Name { .. }
            | Request::Identify { .. }
            | Request::Replace { .. }
            | Request::Owes { .. }
            | Request::NotMoved { .. }
            | Request::Vacate { .. }
            | Request::Update(_)
            | Request::End { .. } => {}
        }
    }
}

/// A participant who is to be moved.
pub(in crate::conferences) struct Moving<M: MixPlane> {
    /// How he enters the other conference.
    pub(in crate::conferences) caller: Caller,
    pub(in crate::conferences) role: Role,
    pub(in crate::conferences) entry: Entry,
    /// His name, where he has said it.
    pub(in crate::conferences) name: Option<SpokenName>,
    /// Where his call is told.
    pub(in crate::conferences) moves: mpsc::Sender<Move<M>>,
}
