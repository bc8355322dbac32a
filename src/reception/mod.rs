//! Callers between their answer and the conference: they hear prompts, type numbers and PINs, and nobody hears them.
//!
//! [`Visit`] is the shell around the [`Reception`] core of one caller: it performs what the core asks for, each thing that takes a while beside the
//! call's task, and tells the core what came of it. The caller's leg is alone in a mix of its own meanwhile ([`lobby`]); from there
//! it goes on into the conference as a leg does that is moved. [`Desk`] is what all visits share, the guard against
//! guessed PINs among it. Never touches SIP; whatever is dropped gives back its place, its mix and its work.

mod invitation;
mod lobby;
mod naming;
mod speech;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use confab_conference::{AccountId, Caller, ConferenceId, Entry, Event, InstanceId, Refusal};
use confab_documents::{DialPlan, Store, StoreError};
use confab_media::{ControlError, LegHandle, MediaPlane, PlayId};
use confab_reception::{
    Candidate, Cause, GuardCounts, GuardLimits, Output, PinGuard, Reception, Refused, Reservation, Saying,
    Source, Start, Verdict,
};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

pub(crate) use self::invitation::{Invited, YES};
use self::lobby::Lobby;
pub(crate) use self::naming::known as known_name;
use crate::conferences::{Registry, Seat};
use crate::names::SpokenName;
use crate::signalling::routing::{self, Destination};
use crate::sounds::Sounds;
use crate::wall_clock;

/// Ends of plays that are kept until it is known whose they are.
const MOST_EARLY_ENDS: usize = 4;

/// How long the store has to say which PINs there are.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What all visits share.
pub(crate) struct Desk {
    /// Accounts and conferences.
    pub(crate) store: Store,
    /// Running conferences.
    pub(crate) registry: Registry<MediaPlane>,
    /// The media plane.
    pub(crate) media: Arc<MediaPlane>,
    /// Prompts and other sounds.
    pub(crate) sounds: Sounds,
    guard: Mutex<PinGuard>,
    /// How long the guard refuses a source.
    block_s: u32,
    began: Instant,
}

impl Desk {
    /// Returns a desk whose guard knows nobody.
    pub(crate) fn new(
        store: Store,
        registry: Registry<MediaPlane>,
        media: Arc<MediaPlane>,
        sounds: Sounds,
        limits: GuardLimits,
    ) -> Desk {
        Desk {
            store,
            registry,
            media,
            sounds,
            guard: Mutex::new(PinGuard::new(limits)),
            block_s: u32::try_from(limits.block_ms / 1000).unwrap_or(u32::MAX),
            began: Instant::now(),
        }
    }

    /// Returns what the guard has counted, and how many sources it refuses at this time.
    pub(crate) fn guard_figures(&self) -> (GuardCounts, usize) {
        let guard = self.guard();
        (guard.counts(), guard.blocked(self.now_ms()))
    }

    /// Returns the conference as it is for a caller.
    pub(crate) fn candidate(&self, destination: &Destination, visitor: &Visitor) -> Candidate {
        let mut candidate = Candidate::new(destination.role, destination.flow.clone());
        if candidate.needs_pin() {
            candidate.is_blocked = self.is_blocked(&visitor.source);
        }
        candidate.is_named = visitor.caller.spoken_name.is_some();
        candidate
    }

    /// Returns whether callers from `source` may try nothing at this time, and counts the one who is turned away.
    pub(crate) fn is_blocked(&self, source: &Source) -> bool {
        let mut guard = self.guard();
        let is_blocked = guard.is_blocked(self.now_ms(), source);
        if is_blocked {
            guard.turned_away();
        }
        is_blocked
    }

    /// Judges what a source has tried for a conference, named by account and id. That account is told when the source is refused
    /// from here on.
    pub(crate) fn judge(&self, source: &Source, room: (&AccountId, &ConferenceId), right: bool) -> Verdict {
        let (verdict, blocks) = {
            let mut guard = self.guard();
            let before = guard.counts().blocks;
            let verdict = guard.tried(self.now_ms(), source, (room.0.as_str(), room.1.as_str()), right);
            (verdict, guard.counts().blocks > before)
        };
        if blocks {
            tracing::warn!(
                conference = %room.1,
                "too many wrong PINs: a source of calls is refused for a while"
            );
            tracing::debug!(?source, "refused");
            let id = InstanceId::from(format!("{:032x}", rand::random::<u128>()));
            let (account, conference) = (room.0.clone(), room.1.clone());
            let now = wall_clock::gregorian_now();
            let event = Event::guessed(account, conference, id, now, &source.to_string(), self.block_s);
            self.registry.bus().publish(Arc::new(event));
        }
        verdict
    }

    /// Returns whether the account takes calls and has the conference still.
    async fn is_still_there(&self, account: &AccountId, conference: &ConferenceId) -> bool {
        let there = async {
            let is_on = self
                .store
                .account(account)
                .await?
                .is_some_and(|account| account.enabled);
            Ok::<_, StoreError>(is_on && self.store.conference(account, conference).await?.is_some())
        };
        there.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the store does not answer: a caller is let in as he was found");
            true
        })
    }

    fn guard(&self) -> MutexGuard<'_, PinGuard> {
        // Held for single operations; what a panic leaves behind counts too little at worst.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Who is received.
pub(crate) struct Visitor {
    /// The account that was called.
    pub(crate) account: AccountId,
    /// Its language.
    pub(crate) language: String,
    /// What its numbers look like.
    pub(crate) plan: DialPlan,
    /// The caller as the conference will know him; with his name if there is a recording of it ([`known_name`]).
    pub(crate) caller: Caller,
    /// Where his PINs come from.
    pub(crate) source: Source,
}

/// One caller on his way to a conference.
pub(crate) struct Visit {
    desk: Arc<Desk>,
    visitor: Visitor,
    core: Reception,
    /// The conference, once it is known.
    destination: Option<Destination>,
    seat: Option<Seat<MediaPlane>>,
    lobby: Option<Arc<Lobby>>,
    play: Option<Playing>,
    /// Ends the recording of his name.
    stop: Arc<Notify>,
    /// What was recorded last.
    name: Option<SpokenName>,
    early_ends: VecDeque<PlayId>,
    work: JoinSet<Done>,
}

struct Playing {
    number: u32,
    /// Known as soon as the media plane has it.
    id: Option<PlayId>,
    task: AbortHandle,
}

/// Something that took its time.
enum Done {
    /// A play is with the media plane, or cannot be.
    Handed(u32, Option<PlayId>),
    LookedUp(Box<Result<Option<Destination>, StoreError>>),
    Reserved(Box<Result<Seat<MediaPlane>, Refusal>>),
    Recorded(Option<SpokenName>),
}

/// Why a visit goes on.
pub(crate) struct Woken(Option<Result<Done, JoinError>>);

/// How far a visit has come.
pub(crate) enum Progress {
    /// It goes on.
    Stays,
    /// The caller has a place in the conference.
    Enters(Seat<MediaPlane>),
    /// He is to be hung up.
    HangsUp(Cause),
}

impl Visit {
    /// Returns the visit of somebody who has reached a conference.
    pub(crate) fn to_conference(
        desk: &Arc<Desk>,
        visitor: Visitor,
        destination: Destination,
        candidate: Candidate,
    ) -> Visit {
        Visit::new(desk, visitor, Start::Conference(candidate), Some(destination))
    }

    /// Returns the visit of somebody whom the conference refuses.
    pub(crate) fn refused(
        desk: &Arc<Desk>,
        visitor: Visitor,
        destination: Destination,
        why: Refused,
    ) -> Visit {
        let start = Start::Refused(destination.flow.clone(), why);
        Visit::new(desk, visitor, start, Some(destination))
    }

    /// Returns the visit of somebody who has reached a service number.
    pub(crate) fn to_service(desk: &Arc<Desk>, visitor: Visitor) -> Visit {
        let start = Start::Service(visitor.plan.service.clone());
        Visit::new(desk, visitor, start, None)
    }

    fn new(desk: &Arc<Desk>, visitor: Visitor, start: Start, destination: Option<Destination>) -> Visit {
        Visit {
            desk: Arc::clone(desk),
            visitor,
            core: Reception::new(start),
            destination,
            seat: None,
            lobby: None,
            play: None,
            stop: Arc::default(),
            name: None,
            early_ends: VecDeque::new(),
            work: JoinSet::new(),
        }
    }

    /// Returns the conference, once it is known.
    pub(crate) fn destination(&self) -> Option<&Destination> {
        self.destination.as_ref()
    }

    /// Begins, once media flows: takes the leg into a mix of its own. Without effect when it has begun.
    ///
    /// # Errors
    /// The media plane has no room.
    pub(crate) async fn start(&mut self, leg: &Arc<LegHandle>) -> Result<Progress, ControlError> {
        if self.lobby.is_none() {
            self.lobby = Some(Arc::new(Lobby::enter(&self.desk.media, leg).await?));
            self.core.start(self.desk.now_ms());
        }
        Ok(self.perform().await)
    }

    /// Waits until something is to be done. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> Woken {
        let due = self.core.poll_timeout();
        let due = due.map(|due| self.desk.began + Duration::from_millis(due.saturating_add(1)));
        let time = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.work.join_next() => Woken(Some(done)),
            () = time => Woken(None),
        }
    }

    /// Does what there is to be done.
    pub(crate) async fn go_on(&mut self, woken: Woken) -> Progress {
        if woken.0.is_none() {
            self.look_again(None).await;
        }
        let now = self.desk.now_ms();
        match woken.0 {
            None => self.core.handle_timeout(now),
            Some(Ok(done)) => self.done(now, done),
            Some(Err(error)) if error.is_cancelled() => {}
            Some(Err(error)) => {
                tracing::error!(%error, "work for a caller broke down");
                self.core.failed();
            }
        }
        self.perform().await
    }

    /// Takes a key of the telephone.
    pub(crate) async fn key(&mut self, key: char) -> Progress {
        self.look_again(Some(key)).await;
        self.core.key(self.desk.now_ms(), key);
        self.perform().await
    }

    /// Reads anew what the conference says, before a PIN is tried: it may have got others since he was asked.
    async fn look_again(&mut self, key: Option<char>) {
        let Some(destination) = self.destination.as_ref().filter(|_| self.core.tries_pin(key)) else {
            return;
        };
        let (desk, account) = (&self.desk, &destination.account);
        let language = &self.visitor.language;
        let found = routing::call_flow_of(&desk.store, account, &destination.conference, language);
        match tokio::time::timeout(LOOK_AGAIN, found).await {
            Ok(Ok(Some(flow))) => self.core.update(flow),
            // Who deletes it, has him turned away when he asks for a place.
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the store does not answer: a PIN is held against those that were there");
            }
            Err(_) => tracing::warn!("the store takes too long: a PIN is held against those that were there"),
        }
    }

    /// Takes the end of a play.
    pub(crate) async fn play_ended(&mut self, id: PlayId) -> Progress {
        match &self.play {
            Some(playing) if playing.id == Some(id) => self.play_over(),
            Some(Playing { id: None, .. }) => {
                if self.early_ends.len() == MOST_EARLY_ENDS {
                    self.early_ends.pop_front();
                }
                self.early_ends.push_back(id);
            }
            _ => {}
        }
        self.perform().await
    }

    fn play_over(&mut self) {
        if let Some(playing) = self.play.take() {
            self.core.play_ended(self.desk.now_ms(), playing.number);
        }
    }

    fn done(&mut self, now: u64, done: Done) {
        match done {
            Done::Handed(number, id) => {
                let Some(playing) = self.play.as_mut().filter(|playing| playing.number == number) else {
                    return;
                };
                playing.id = id;
                if id.is_none_or(|id| self.early_ends.contains(&id)) {
                    self.play_over();
                }
            }
            Done::LookedUp(outcome) => match *outcome {
                Ok(found) => {
                    let candidate = found
                        .as_ref()
                        .map(|found| self.desk.candidate(found, &self.visitor));
                    self.destination = found;
                    self.core.looked_up(now, candidate);
                }
                Err(error) => {
                    tracing::warn!(%error, "the store does not answer a caller");
                    self.core.failed();
                }
            },
            Done::Reserved(outcome) => {
                let reservation = match *outcome {
                    Ok(seat) => {
                        self.seat = Some(seat);
                        Reservation::Granted
                    }
                    Err(refusal) => refused(refusal).map_or(Reservation::Unavailable, Reservation::Refused),
                };
                self.core.reserved(now, reservation);
            }
            Done::Recorded(name) => {
                self.name = name;
                self.core.recorded(now, self.name.is_some());
            }
        }
    }

    /// Performs what the core asks for.
    async fn perform(&mut self) -> Progress {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Play {
                    number,
                    sayings,
                    language,
                } => self.play(number, sayings, language),
                Output::StopPlaying => self.stop_playing().await,
                Output::LookUp(number) => self.look_up(number),
                Output::Judge { right } => {
                    let Some(destination) = &self.destination else {
                        continue;
                    };
                    let room = (&destination.account, &destination.conference);
                    let verdict = self.desk.judge(&self.visitor.source, room, right);
                    self.core.judged(self.desk.now_ms(), verdict);
                }
                Output::Reserve(role) => self.reserve(role),
                Output::Record => self.record(),
                Output::StopRecording => self.stop.notify_one(),
                Output::Enter(_) => {
                    return match self.seat.take() {
                        Some(seat) => {
                            self.introduce(&seat).await;
                            if let Some(key) = self.core.owed() {
                                seat.owes(key).await;
                            }
                            Progress::Enters(seat)
                        }
                        None => Progress::HangsUp(Cause::Unavailable),
                    };
                }
                Output::HangUp(cause) => return Progress::HangsUp(cause),
            }
        }
        Progress::Stays
    }

    fn play(&mut self, number: u32, sayings: Vec<Saying>, language: String) {
        let Some(lobby) = self.lobby.clone() else { return };
        let (desk, own) = (Arc::clone(&self.desk), self.name.clone());
        let account = self.visitor.account.clone();
        let task = self.work.spawn(async move {
            let sounds = speech::sounds(&desk, &sayings, own, &account, &language).await;
            if sounds.is_empty() {
                return Done::Handed(number, None);
            }
            match lobby.play(sounds).await {
                Ok(id) => Done::Handed(number, Some(id)),
                Err(error) => {
                    tracing::debug!(%error, "the media plane did not take a prompt");
                    Done::Handed(number, None)
                }
            }
        });
        self.early_ends.clear();
        self.play = Some(Playing {
            number,
            id: None,
            task,
        });
    }

    async fn stop_playing(&mut self) {
        if let Some(playing) = self.play.take() {
            playing.task.abort();
        }
        if let Some(lobby) = &self.lobby {
            lobby.stop().await;
        }
    }

    fn record(&mut self) {
        let Some(lobby) = self.lobby.clone() else { return };
        self.name = None;
        self.stop = Arc::default();
        let stop = Arc::clone(&self.stop);
        self.work
            .spawn(async move { Done::Recorded(naming::record(lobby, stop).await) });
    }

    /// Tells the conference the name that the caller has said, if he has, and keeps it with his user.
    async fn introduce(&mut self, seat: &Seat<MediaPlane>) {
        let Some(name) = self.name.take() else { return };
        let (desk, kept) = (Arc::clone(&self.desk), name.clone());
        let (account, caller) = (self.visitor.account.clone(), self.visitor.caller.clone());
        // The caller does not wait for that, and may hang up meanwhile.
        tokio::spawn(async move { naming::save(&desk.store, &account, &caller, &kept).await });
        seat.announce_as(name).await;
    }

    fn look_up(&mut self, number: String) {
        let desk = Arc::clone(&self.desk);
        let visitor = &self.visitor;
        let (account, language) = (visitor.account.clone(), visitor.language.clone());
        let plan = visitor.plan.clone();
        self.work.spawn(async move {
            let found = routing::conference(&desk.store, &account, &language, &plan.forms(&number)).await;
            Done::LookedUp(Box::new(found))
        });
    }

    fn reserve(&mut self, role: confab_conference::Role) {
        let Some(destination) = self.destination.clone() else {
            return;
        };
        let (desk, caller) = (Arc::clone(&self.desk), self.visitor.caller.clone());
        self.work.spawn(async move {
            let Destination {
                account,
                conference,
                settings,
                ..
            } = destination;
            let reserved = desk
                .registry
                .reserve(
                    account.clone(),
                    conference.clone(),
                    settings,
                    caller,
                    role,
                    Entry::DialIn,
                )
                .await;
            // He may have been here for minutes. Looked at once he has his seat: whoever deletes the account later ends
            // the conference with him in it.
            let seat = match reserved {
                Ok(_) if !desk.is_still_there(&account, &conference).await => Err(Refusal::NotRunning),
                reserved => reserved,
            };
            Done::Reserved(Box::new(seat))
        });
    }
}

/// Returns what a caller is told who is refused so, `None` where it is not his affair.
pub(crate) fn refused(refusal: Refusal) -> Option<Refused> {
    match refusal {
        Refusal::Locked => Some(Refused::Locked),
        Refusal::Full => Some(Refused::Full),
        _ => None,
    }
}
