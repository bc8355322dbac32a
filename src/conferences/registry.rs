//! The one way to a running conference: account and conference id in, its task's channel out. Owns the map, the ids it
//! gives out and the end of everything at shutdown; no state of a conference.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use confab_api::event::EventBus;
use confab_conference::{
    AccountId, Caller, ConferenceId, Control, Entry, Identity, InstanceId, LeaveCause, ParticipantId,
    ParticipantIds, PlayFailure, Refusal, Role, Settings, Snapshot,
};
use confab_documents::Body;
use confab_media::MediaPlane;
use dashmap::DashMap;
use dashmap::mapref::entry;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use super::dispatch::MediaDispatch;
use super::media::MixPlane;
use super::seat::{Move, Seat};
use super::task::{self, COMMANDS, Moving, Request};
use super::transfer::{Transfer, Transfers};
use crate::recordings::Recordings;
use crate::sounds::Sounds;

type Key = (AccountId, ConferenceId);

/// The running conferences of the server. Clones share one registry.
pub(crate) struct Registry<M: MixPlane = MediaPlane> {
    shared: Arc<Shared<M>>,
}

impl<M: MixPlane> Clone for Registry<M> {
    fn clone(&self) -> Self {
        Registry {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What the registry and all conference tasks have in common.
pub(super) struct Shared<M: MixPlane> {
    pub(super) media: Arc<M>,
    pub(super) dispatch: MediaDispatch,
    pub(super) bus: EventBus,
    pub(super) sounds: Sounds,
    /// `None` where nothing is recorded.
    pub(super) recordings: Option<Recordings>,
    /// Where keys have participants moved.
    pub(super) transfers: Transfers,
    /// Gauge: participants of all conferences.
    pub(super) participants: Arc<AtomicUsize>,
    /// Plays that were not heard, one count for each of [`PlayFailure::ALL`].
    plays_failed: [AtomicU64; PlayFailure::ALL.len()],
    running: DashMap<Key, mpsc::Sender<Request<M>>>,
    /// What stands for the documents of those that run without one.
    ad_hoc: DashMap<Key, Body>,
    last_participant: Arc<AtomicU64>,
    pub(super) draining: AtomicBool,
}

/// Counts participants through the whole run of the server.
pub(super) struct ServerWideIds(Arc<AtomicU64>);

impl ParticipantIds for ServerWideIds {
    fn next_id(&mut self) -> ParticipantId {
        let last = self.0.fetch_add(1, Ordering::Relaxed);
        ParticipantId::new(last + 1).expect("64 bits outlast any run of the server")
    }
}

impl<M: MixPlane> Shared<M> {
    pub(super) fn ids(&self) -> ServerWideIds {
        ServerWideIds(Arc::clone(&self.last_participant))
    }

    /// Returns whether participants are told that they are recorded.
    pub(super) fn announces_recording(&self) -> bool {
        self.recordings.as_ref().is_none_or(Recordings::announces)
    }

    /// Counts a play that is not heard.
    pub(super) fn play_failed(&self, failure: PlayFailure) {
        self.plays_failed[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an instance out of the map, unless another has its place already.
    pub(super) fn remove(&self, identity: &Identity, sender: &mpsc::Sender<Request<M>>) {
        self.forget(
            &(identity.account_id.clone(), identity.conference_id.clone()),
            sender,
        );
    }

    fn forget(&self, key: &Key, sender: &mpsc::Sender<Request<M>>) {
        let gone = self.running.remove_if(key, |_, known| known.same_channel(sender));
        if gone.is_some() {
            self.ad_hoc.remove(key);
        }
    }
}

impl<M: MixPlane> Registry<M> {
    /// Returns a registry without conferences that mixes on `media`, hears of it through `dispatch`, publishes on `bus`,
    /// has from `sounds` what it plays, and records to `recordings`.
    pub(crate) fn new(
        media: Arc<M>,
        dispatch: MediaDispatch,
        bus: EventBus,
        sounds: Sounds,
        recordings: Option<Recordings>,
    ) -> Registry<M> {
        Registry {
            shared: Arc::new(Shared {
                media,
                dispatch,
                bus,
                sounds,
                recordings,
                transfers: Transfers::default(),
                participants: Arc::default(),
                plays_failed: Default::default(),
                running: DashMap::new(),
                ad_hoc: DashMap::new(),
                last_participant: Arc::default(),
                draining: AtomicBool::new(false),
            }),
        }
    }

    /// Returns how many instances are alive, those that nobody has joined yet included.
    pub(crate) fn conferences(&self) -> usize {
        self.shared.running.len()
    }

    /// Returns how many participants there are in all conferences.
    pub(crate) fn participants(&self) -> usize {
        self.shared.participants.load(Ordering::Relaxed)
    }

    /// Returns how many plays of all conferences were not heard, tones of coming and going among them, by reason.
    pub(crate) fn plays_failed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.shared.plays_failed.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        PlayFailure::ALL
            .iter()
            .map(|failure| failure.as_str())
            .zip(counts)
    }

    /// Counts a play that is not heard, of somebody who is not in a conference yet.
    pub(crate) fn play_failed(&self, failure: PlayFailure) {
        self.shared.play_failed(failure);
    }

    /// Returns the conferences of an account that are alive.
    pub(super) fn running_of(&self, account: &AccountId) -> Vec<ConferenceId> {
        let running = self.shared.running.iter();
        let own = running.filter(|entry| entry.key().0 == *account);
        own.map(|entry| entry.key().1.clone()).collect()
    }

    /// Returns whose conference of this id is alive; `None` when none is, or those of several accounts.
    pub(super) fn account_of(&self, conference: &ConferenceId) -> Option<AccountId> {
        let running = self.shared.running.iter();
        let mut accounts = running
            .filter(|entry| entry.key().1 == *conference)
            .map(|entry| entry.key().0.clone());
        let found = accounts.next()?;
        accounts.next().is_none().then_some(found)
    }

    /// Returns where the conferences have from what they play.
    pub(super) fn sounds(&self) -> &Sounds {
        &self.shared.sounds
    }

    /// Keeps what stands for the document of a conference for as long as it runs; the first to say so is believed.
    pub(crate) fn remember_ad_hoc(&self, account: &AccountId, conference: &ConferenceId, body: &Body) {
        let key = (account.clone(), conference.clone());
        // With the instance's entry held, so that its end comes before or after, and not in between.
        if let Some(_running) = self.shared.running.get(&key) {
            self.shared.ad_hoc.entry(key).or_insert_with(|| body.clone());
        }
    }

    /// Returns what stands for the document of a conference that runs without one.
    pub(crate) fn ad_hoc(&self, account: &AccountId, conference: &ConferenceId) -> Option<Body> {
        let key = (account.clone(), conference.clone());
        self.shared.ad_hoc.get(&key).map(|known| known.value().clone())
    }

    /// Returns the bus that the conferences publish on.
    pub(crate) fn bus(&self) -> &EventBus {
        &self.shared.bus
    }

    /// Holds a place for a caller, and starts an instance with `settings` when none is
    /// running.
    ///
    /// # Errors
    /// Locked, full, shutting down, or no room on the media plane.
    pub(crate) async fn reserve(
        &self,
        account: AccountId,
        conference: ConferenceId,
        settings: Settings,
        caller: Caller,
        role: Role,
        entry: Entry,
    ) -> Result<Seat<M>, Refusal> {
        let key = (account, conference);
        loop {
            let (reply, answer) = oneshot::channel();
            let request = Request::Reserve {
                caller: caller.clone(),
                role,
                entry,
                reply,
            };
            let sender = self.running_or_new(&key, &settings)?;
            // A request that cannot be sent loses its reply slot, and the answer tells.
            let _ = sender.send(request).await;
            match answer.await {
                Ok(Err(Refusal::Ended)) | Err(_) => {
                    // The instance ended before it read the request. Another takes its place.
                    self.shared.forget(&key, &sender);
                }
                Ok(outcome) => return outcome,
            }
        }
    }

    /// Says whether [`Registry::reserve`] would find a place in a conference that is running, or could start it. Starts
    /// and holds nothing.
    ///
    /// # Errors
    /// Locked, full, or shutting down.
    pub(crate) async fn admits(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        entry: Entry,
    ) -> Result<(), Refusal> {
        let asked = self.ask(account, conference, |reply| Request::Admits { entry, reply });
        match asked.await {
            Err(Refusal::NotRunning) if self.shared.draining.load(Ordering::SeqCst) => {
                Err(Refusal::ShuttingDown)
            }
            Err(Refusal::NotRunning) => Ok(()),
            outcome => outcome,
        }
    }

    fn running_or_new(&self, key: &Key, settings: &Settings) -> Result<mpsc::Sender<Request<M>>, Refusal> {
        match self.shared.running.entry(key.clone()) {
            entry::Entry::Occupied(known) => Ok(known.get().clone()),
            // Read under the entry's lock: an instance put in after the flag was set would escape the drain.
            entry::Entry::Vacant(_) if self.shared.draining.load(Ordering::SeqCst) => {
                Err(Refusal::ShuttingDown)
            }
            entry::Entry::Vacant(place) => {
                let (sender, requests) = mpsc::channel(COMMANDS);
                let identity = Identity {
                    account_id: key.0.clone(),
                    conference_id: key.1.clone(),
                    instance_id: InstanceId::from(format!("{:032x}", rand::random::<u128>())),
                };
                let span = tracing::info_span!("conference", id = %key.1, instance = %identity.instance_id);
                let shared = Arc::clone(&self.shared);
                let task = task::run(shared, identity, settings.clone(), sender.clone(), requests);
                tokio::spawn(task.instrument(span));
                place.insert(sender.clone());
                Ok(sender)
            }
        }
    }

    /// Returns a reading of the conference's state, `None` when it is not running.
    pub(crate) async fn snapshot(&self, account: &AccountId, conference: &ConferenceId) -> Option<Snapshot> {
        self.ask(account, conference, |reply| Request::Snapshot { reply })
            .await
            .ok()
    }

    /// Performs a control. Its effect is with the media plane and its event published when this returns.
    ///
    /// # Errors
    /// [`Refusal::NotRunning`] and [`Refusal::UnknownParticipant`].
    pub(crate) async fn control(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        control: Control,
    ) -> Result<(), Refusal> {
        self.ask(account, conference, |reply| Request::Control { control, reply })
            .await
    }

    /// Moves a participant to another conference of the account, which is started with `settings` when it is not running. His
    /// call goes on; he leaves the one conference, and then joins the other under the id that is returned.
    ///
    /// # Errors
    /// As for [`Registry::control`], and [`Refusal::MovedToSame`]; where he is to go: as for [`Registry::reserve`]. He is still
    /// where he was then, unless the media plane refused him there, which ends his call.
    pub(crate) async fn move_participant(
        &self,
        account: &AccountId,
        from: &ConferenceId,
        participant: ParticipantId,
        to: &ConferenceId,
        settings: Settings,
    ) -> Result<ParticipantId, Refusal> {
        let asked = self.ask(account, from, |reply| Request::Moving { participant, reply });
        let Moving {
            mut caller,
            role,
            entry,
            name,
            moves,
        } = asked.await?;
        if from == to {
            return Err(Refusal::MovedToSame(participant));
        }
        if name.is_some() {
            // What stands for his recording is known where it is kept.
            caller.spoken_name = None;
        }
        let seat = self
            .reserve(account.clone(), to.clone(), settings, caller, role, entry)
            .await?;
        if let Some(name) = name {
            seat.announce_as(name).await;
        }
        self.order(moves, seat, to, participant).await
    }

    /// Moves a participant to the place that another one of the account has, who leaves then: he comes in his role and set as he was, and
    /// neither lock nor limit keeps him out. The other is the caller's to end.
    ///
    /// # Errors
    /// [`Refusal::NotRunning`] and [`Refusal::UnknownParticipant`] when one of them is gone, and [`Refusal::MovedToSame`].
    pub(crate) async fn move_to_place(
        &self,
        account: &AccountId,
        (from, participant): (&ConferenceId, ParticipantId),
        (to, other): (&ConferenceId, ParticipantId),
    ) -> Result<ParticipantId, Refusal> {
        if from == to {
            return Err(Refusal::MovedToSame(participant));
        }
        let moving = |conference, participant| {
            self.ask(account, conference, move |reply| Request::Moving {
                participant,
                reply,
            })
        };
        let who = moving(from, participant).await?;
        let place = moving(to, other).await?;
        let Entry::Moved(carried) = place.entry else {
            return Err(Refusal::UnknownParticipant(other));
        };
        let mut caller = who.caller;
        if who.name.is_some() {
            caller.spoken_name = None;
        }
        let reserved = self.ask(account, to, |reply| Request::Reserve {
            caller,
            role: place.role,
            entry: Entry::InPlaceOf(other, carried),
            reply,
        });
        let seat = reserved.await?;
        if let Some(name) = who.name {
            seat.announce_as(name).await;
        }
        self.order(who.moves, seat, to, participant).await
    }

    /// Has a call go to the place that is held for it.
    async fn order(
        &self,
        moves: mpsc::Sender<Move<M>>,
        seat: Seat<M>,
        to: &ConferenceId,
        participant: ParticipantId,
    ) -> Result<ParticipantId, Refusal> {
        let (reply, moved) = oneshot::channel();
        let order = Move {
            seat,
            conference: to.clone(),
            reply,
        };
        // A call that ends meanwhile does not read the order, and the place is given back with it.
        let _ = moves.send(order).await;
        moved
            .await
            .unwrap_or(Err(Refusal::UnknownParticipant(participant)))
    }

    /// Returns whom keys want moved.
    pub(crate) fn transfers(&self) -> &Transfers {
        &self.shared.transfers
    }

    /// Tells a participant that he was not moved.
    pub(super) async fn not_moved(&self, order: &Transfer, why: Option<Refusal>) {
        if let Some(sender) = self.find(&order.account, &order.conference) {
            let participant = order.participant;
            let request = Request::NotMoved { participant, why };
            // An instance that has ended tells nobody anything.
            let _ = sender.send(request).await;
        }
    }

    /// Tells a running conference that its document has changed.
    pub(crate) async fn update(&self, account: &AccountId, conference: &ConferenceId, settings: Settings) {
        if let Some(sender) = self.find(account, conference) {
            // An instance that has ended needs no settings.
            let _ = sender.send(Request::Update(settings)).await;
        }
    }

    /// Ends every conference, hangs everybody up, and starts none from here on. Returns when all have ended.
    pub(crate) async fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        let running: Vec<_> = self
            .shared
            .running
            .iter()
            .map(|known| known.value().clone())
            .collect();
        for sender in &running {
            let _ = sender
                .send(Request::End {
                    cause: LeaveCause::ServerShutdown,
                })
                .await;
        }
        for sender in &running {
            sender.closed().await;
        }
    }

    fn find(&self, account: &AccountId, conference: &ConferenceId) -> Option<mpsc::Sender<Request<M>>> {
        let key = (account.clone(), conference.clone());
        self.shared.running.get(&key).map(|known| known.value().clone())
    }

    async fn ask<T>(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        request: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Request<M>,
    ) -> Result<T, Refusal> {
        let sender = self.find(account, conference).ok_or(Refusal::NotRunning)?;
        let (reply, answer) = oneshot::channel();
        sender
            .send(request(reply))
            .await
            .map_err(|_| Refusal::NotRunning)?;
        match answer.await {
            Ok(Err(Refusal::Ended)) | Err(_) => Err(Refusal::NotRunning),
            Ok(outcome) => outcome,
        }
    }
}
