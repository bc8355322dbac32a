//! The task of one running conference: requests and media reports in, effects and events out.
//!
//! Owns the state machine, the mix and the controls of the participants' legs. Joining a leg may take the media plane
//! some milliseconds; it happens beside the task and comes back to it, so that a crowd joins at once. Fetching what is to be
//! played happens beside it too (`task/playing.rs`). Everything else is done in turn.

mod farewell;
mod names;
mod playing;
mod recording;
mod request;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use confab_conference::{
    Audience, Conference, Control, DigitString, Effect, Event, Hearing, Identity, LeaveCause, Moment, Output,
    ParticipantId, Refusal, Settings,
};
use confab_media::{ConferenceMedia, ControlError, JoinOptions};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use self::names::Names;
use self::playing::{Order, Playing};
use self::recording::Recorder;
use self::request::Answer;
pub(super) use self::request::{Moving, Request};
use self::work::{Work, correct, has_its_turn};
use super::dispatch::Attachment;
use super::inbox::Inbox;
use super::media::{LegSetting, MixPlane};
use super::registry::Shared;
use super::seat::{HangUp, Move, Seat};
use super::transfer::Transfer;
use crate::wall_clock::gregorian_now as wall;

/// Requests that a conference may leave unread before those who ask have to wait.
pub(super) const COMMANDS: usize = 256;

/// A participant's controls.
struct Member<M: MixPlane> {
    leg: Arc<M::Leg>,
    hang_up: mpsc::Sender<HangUp>,
    moves: Option<mpsc::Sender<Move<M>>>,
    /// Until he is off the roster, as the next.
    attachment: Option<Attachment>,
    counted: Option<Counted>,
}

impl<M: MixPlane> Drop for Member<M> {
    fn drop(&mut self) {
        // The task broke down: its calls must not linger in a conference that is gone.
        if std::thread::panicking() {
            let _ = self.hang_up.try_send(HangUp {
                cause: LeaveCause::ConferenceEnded,
            });
        }
    }
}

/// One on a gauge, for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one(gauge: &Arc<AtomicUsize>) -> Counted {
        gauge.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(gauge))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A leg on its way into the mix.
struct Joining<M: MixPlane> {
    participant: ParticipantId,
    leg: Arc<M::Leg>,
    hang_up: mpsc::Sender<HangUp>,
    moves: Option<mpsc::Sender<Move<M>>>,
    reply: Answer<()>,
    options: JoinOptions,
    attachment: Attachment,
    outcome: Result<(), ControlError>,
}

pub(super) struct Task<M: MixPlane> {
    core: Conference,
    mix: Arc<M::Mix>,
    inbox: Arc<Inbox>,
    members: BTreeMap<ParticipantId, Member<M>>,
    joins: JoinSet<Joining<M>>,
    joining: BTreeSet<ParticipantId>,
    /// Talking states reported of participants whose join has not come back yet.
    early: BTreeMap<ParticipantId, bool>,
    /// The floor's holder, when he is one of them.
    early_floor: Option<ParticipantId>,
    playing: Playing,
    names: Names,
    recorder: Recorder,
    /// What the core's moments count from.
    began: Instant,
    shared: Arc<Shared<M>>,
    sender: mpsc::Sender<Request<M>>,
}

/// Runs one instance from its first request to its end.
pub(super) async fn run<M: MixPlane>(
    shared: Arc<Shared<M>>,
    identity: Identity,
    mut settings: Settings,
    sender: mpsc::Sender<Request<M>>,
    mut requests: mpsc::Receiver<Request<M>>,
) {
    settings.announces_recording = shared.announces_recording();
    let media = ConferenceMedia {
        rate_hz: settings.rate_hz,
        interval_ms: settings.interval_ms,
        energy_level: settings.energy_level,
        comfort_noise: settings.comfort_noise,
    };
    let mix = match shared.media.create_conference(media) {
        Ok(mix) => Arc::new(mix),
        Err(error) => {
            tracing::warn!(%error, "the media plane did not take the conference");
            shared.remove(&identity, &sender);
            drain(requests, Refusal::Media).await;
            return;
        }
    };
    let inbox = Arc::<Inbox>::default();
    let attachment = shared.dispatch.attach_mix(M::mix_id(&mix), Arc::clone(&inbox));
    let mut task = Task {
        core: Conference::new(identity.clone(), settings, Box::new(shared.ids())),
        mix,
        inbox,
        members: BTreeMap::new(),
        joins: JoinSet::new(),
        joining: BTreeSet::new(),
        early: BTreeMap::new(),
        early_floor: None,
        playing: Playing::default(),
        names: Names::default(),
        recorder: Recorder::default(),
        began: Instant::now(),
        shared: Arc::clone(&shared),
        sender: sender.clone(),
    };
    while !task.core.is_ended() {
        task.turn(&mut requests).await;
    }
    // Whoever is still on his way in learns the end from his lost reply.
    task.joins.shutdown().await;
    drop((task, attachment));
    shared.remove(&identity, &sender);
    drain(requests, Refusal::Ended).await;
}

/// Refuses what is still queued, and closes the channel for good.
async fn drain<M: MixPlane>(mut requests: mpsc::Receiver<Request<M>>, refusal: Refusal) {
    requests.close();
    while let Some(request) = requests.recv().await {
        request.refuse(refusal);
    }
}

impl<M: MixPlane> Task<M> {
    async fn turn(&mut self, requests: &mut mpsc::Receiver<Request<M>>) {
        let due = self
            .core
            .deadline()
            .map(|due| self.began + Duration::from_millis(due.0));
        let due = due.into_iter().chain(self.playing.deadline()).min();
        tokio::select! {
            () = tokio::time::sleep_until(due.unwrap_or(self.began)), if due.is_some() => {
                // A key may have been pressed just before.
                self.absorb();
                self.advance(Instant::now());
                self.hand_over_the_rest().await;
                self.perform().await;
            }
            Some(joined) = self.joins.join_next() => self.joined(joined).await,
            Some(request) = requests.recv() => self.handle(request).await,
            news = self.recorder.news() => self.recording_news(news).await,
            Some(fetched) = self.playing.fetched() => {
                self.absorb_fetch(fetched).await;
                self.perform().await;
            }
            () = self.inbox.arrived() => {
                self.absorb();
                self.perform().await;
            }
        }
    }

    /// Tells the core how late it is.
    fn advance(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.began).as_millis();
        let now = Moment(u64::try_from(since).unwrap_or(u64::MAX));
        // Refused at the end only.
        let _ = self.core.advance(wall(), now);
    }

    async fn handle(&mut self, request: Request<M>) {
        self.advance(Instant::now());
        match request {
            Request::Reserve {
                caller,
                role,
                entry,
                reply,
            } => {
                let seat = self.core.reserve(caller, role, entry);
                // A seat that is not taken from the reply gives its place back by itself.
                let _ = reply.send(seat.map(|id| Seat::new(id, self.sender.clone())));
            }
            Request::Name { participant, name } => self.name(participant, name),
            // Refused only when there is no such place any more.
            Request::Identify { participant, caller } => drop(self.core.identify(participant, caller)),
            Request::Replace { participant, caller } => {
                // Whose name was recorded has gone.
                self.names.leaves(participant);
                // Refused when he has gone.
                let _ = self.core.change_caller(wall(), participant, caller);
                self.perform().await;
                self.forget_names();
            }
            // Refused when he has joined, or gone.
            Request::Owes { participant, key } => drop(self.core.owes(participant, key)),
            // Whoever asked may have stopped waiting.
            Request::Admits { entry, reply } => drop(reply.send(self.core.admits(entry))),
            Request::Join {
                participant,
                leg,
                hang_up,
                moves,
                reply,
            } => {
                self.join(participant, leg, (hang_up, moves), reply);
            }
            // Refused when he has gone.
            Request::NotMoved { participant, why } => {
                let _ = self.core.transfer_failed(participant, why.as_ref());
                self.perform().await;
            }
            Request::Moving { participant, reply } => drop(reply.send(self.moving(participant))),
            Request::Vacate {
                participant,
                cause,
                reply,
            } => {
                self.vacate(participant, cause).await;
                if let Some(reply) = reply {
                    let _ = reply.send(());
                }
            }
            Request::Control { control, reply } => {
                let begins = matches!(control, Control::StartRecording { .. });
                let outcome = self.core.control(wall(), control.clone());
                let refused = self.perform().await;
                let outcome = outcome.and(refused.map_or(Ok(()), Err));
                if outcome.is_ok() {
                    let identity = self.core.identity();
                    let (account, conference) = (&identity.account_id, &identity.conference_id);
                    self.shared.bus.publish_command(account, conference, control);
                }
                if outcome.is_ok() && begins && self.recorder.is_beginning() {
                    self.recorder.wait(reply);
                } else {
                    let _ = reply.send(outcome);
                }
            }
            Request::Update(mut settings) => {
                settings.announces_recording = self.shared.announces_recording();
                // Refused only at the end, when nobody is left to follow it.
                let _ = self.core.update(wall(), settings);
                self.perform().await;
            }
            Request::Snapshot { reply } => {
                self.absorb();
                self.perform().await;
                let mut snapshot = self.core.snapshot();
                if let Ok(snapshot) = &mut snapshot {
                    let legs = self.members.iter();
                    snapshot.media = legs
                        .map(|(&participant, member)| (participant, M::media_state(&member.leg)))
                        .collect();
                }
                let _ = reply.send(snapshot);
            }
            Request::End { cause } => {
                let _ = self.core.end(wall(), cause);
                self.perform().await;
            }
        }
    }

    /// Sends the leg on its way into the mix.
    fn join(
        &mut self,
        participant: ParticipantId,
        leg: Arc<M::Leg>,
        (hang_up, moves): (mpsc::Sender<HangUp>, Option<mpsc::Sender<Move<M>>>),
        reply: Answer<()>,
    ) {
        let flags = match self.core.join_flags(participant) {
            Ok(flags) => flags,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        let inbox = Arc::clone(&self.inbox);
        let attachment = self.shared.dispatch.attach(M::leg_id(&leg), participant, inbox);
        self.joining.insert(participant);
        let options = JoinOptions {
            muted: flags.muted,
            deaf: flags.deaf,
            ghost: flags.ghost,
            held: flags.waiting,
        };
        let mix = Arc::clone(&self.mix);
        self.joins.spawn(async move {
            let outcome = M::join(&leg, &mix, options).await;
            Joining {
                participant,
                leg,
                hang_up,
                moves,
                reply,
                options,
                attachment,
                outcome,
            }
        });
    }

    /// Takes a leg on the roster that has arrived in the mix.
    async fn joined(&mut self, joined: Result<Joining<M>, JoinError>) {
        let Joining {
            participant,
            leg,
            hang_up,
            moves,
            reply,
            options,
            attachment,
            outcome,
        } = match joined {
            Ok(joining) => joining,
            Err(error) => {
                // The seat learns it from its lost reply and gives the place back.
                tracing::error!(%error, "a join broke down");
                return;
            }
        };
        self.advance(Instant::now());
        self.joining.remove(&participant);
        let early = self.early.remove(&participant);
        let entered = match outcome {
            Ok(()) => self.core.join(wall(), participant),
            Err(error) => {
                tracing::warn!(%participant, %error, "the media plane did not take the leg");
                // Refused when the place was given back meanwhile.
                let _ = self.core.release(wall(), participant);
                Err(Refusal::Media)
            }
        };
        match entered {
            Ok(state) => {
                let counted = Counted::one(&self.shared.participants);
                self.members.insert(
                    participant,
                    Member {
                        leg: Arc::clone(&leg),
                        hang_up,
                        moves,
                        attachment: Some(attachment),
                        counted: Some(counted),
                    },
                );
                correct::<M>(&leg, options, &state).await;
                if early == Some(true) {
                    let _ = self.core.talking(wall(), participant, true);
                }
                if self.early_floor == Some(participant) {
                    self.early_floor = None;
                    let _ = self.core.pass_floor(wall(), Some(participant));
                }
                self.perform().await;
                let _ = reply.send(Ok(()));
            }
            Err(refusal) => {
                drop(attachment);
                note(M::leave(&leg).await);
                self.perform().await;
                let _ = reply.send(Err(refusal));
            }
        }
    }

    fn moving(&self, participant: ParticipantId) -> Result<Moving<M>, Refusal> {
        let (caller, role, entry) = self.core.moving(participant)?;
        let moves = self
            .members
            .get(&participant)
            .and_then(|member| member.moves.clone());
        Ok(Moving {
            caller,
            role,
            entry,
            moves: moves.ok_or(Refusal::UnknownParticipant(participant))?,
            name: self.names.of(participant).cloned(),
        })
    }

    async fn vacate(&mut self, participant: ParticipantId, cause: LeaveCause) {
        self.joining.remove(&participant);
        self.early.remove(&participant);
        self.playing.forget(Audience::One(participant));
        self.names.leaves(participant);
        let gone = match self.members.remove(&participant) {
            Some(member) => {
                note(M::leave(&member.leg).await);
                self.core.leave(wall(), participant, cause)
            }
            None => self.core.release(wall(), participant),
        };
        // Refused when he was kicked before, or when the join was refused: he is off either way.
        if gone.is_ok() {
            self.perform().await;
        }
        self.forget_names();
    }

    /// Tells the core what the media plane reported.
    fn absorb(&mut self) {
        let reports = self.inbox.take();
        let wall = wall();
        for (participant, score) in reports.energy {
            // Refused for those who have left, or who are about to join.
            let _ = self.core.energy(participant, score);
        }
        for (participant, talking) in reports.talking {
            if self.core.talking(wall, participant, talking).is_err() && self.joining.contains(&participant) {
                self.early.insert(participant, talking);
            }
        }
        for (participant, key, at) in reports.keys {
            self.advance(at);
            // Refused for those who have left, or who are about to join.
            let _ = self.core.key_pressed(wall, participant, key);
        }
        self.absorb_plays(reports.plays);
        if let Some(holder) = reports.floor {
            let unknown = self.core.pass_floor(wall, holder).is_err();
            self.early_floor = holder.filter(|holder| unknown && self.joining.contains(holder));
        }
    }

    /// Performs what the core asks for, all legs at once and then in its order what has an order, and publishes what it tells.
    /// Returns why something was refused, where that is told to whoever asked.
    async fn perform(&mut self) -> Option<Refusal> {
        let mut refused = None;
        loop {
            let mut events = Vec::<Arc<Event>>::new();
            let mut effects = Vec::new();
            let mut in_turn = Vec::new();
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Event(event) => events.push(event),
                    Output::Effect(effect) if has_its_turn(&effect) => in_turn.push(effect),
                    Output::Effect(effect) => effects.extend(self.prepare(effect)),
                }
            }
            if effects.len() > 1 {
                let mut works = JoinSet::new();
                for work in effects {
                    works.spawn(work.perform());
                }
                works.join_all().await;
            } else if let Some(work) = effects.pop() {
                work.perform().await;
            }
            // These tell the core what came of them, which may ask for more.
            let is_last = in_turn.is_empty();
            for effect in in_turn {
                refused = self.in_turn(effect).await.or(refused);
            }
            for event in events {
                self.record_event(&event);
                self.shared.bus.publish(event);
            }
            if is_last {
                self.forget_names();
                return refused;
            }
        }
    }

    async fn in_turn(&mut self, effect: Effect) -> Option<Refusal> {
        match effect {
            Effect::Play {
                play,
                audience,
                media,
                manner,
                duck_db,
            } => {
                let number = play;
                self.play(Order {
                    number,
                    audience,
                    media,
                    manner,
                    duck_db,
                })
                .await;
            }
            Effect::CancelPlay { play, audience } => self.cancel_play(play, audience).await,
            Effect::StopPlay { audience, which } => self.stop_play(audience, which).await,
            Effect::StartRecording(choice) => self.start_recording(choice),
            Effect::PauseRecording(paused) => self.pause_recording(paused),
            Effect::StopRecording => self.stop_recording(),
            Effect::SendDigits { participant, digits } => return self.send_digits(participant, digits).await,
            Effect::Transfer { participant, number } => self.transfer(participant, &number),
            Effect::Execute {
                participant,
                application,
            } => {
                tracing::warn!(%participant, %application, "a key asks for an application: an event tells it, nothing runs it");
            }
            _ => {}
        }
        None
    }

    /// Has a participant moved, or tells him that he is not.
    fn transfer(&mut self, participant: ParticipantId, number: &str) {
        let identity = self.core.identity();
        let order = Transfer {
            account: identity.account_id.clone(),
            conference: identity.conference_id.clone(),
            participant,
            number: number.to_owned(),
        };
        if !self.shared.transfers.order(order) {
            tracing::warn!(%participant, "too many are being moved by keys");
            // Refused when he has gone.
            let _ = self.core.transfer_failed(participant, Some(&Refusal::NotRunning));
        }
    }

    async fn send_digits(&mut self, participant: ParticipantId, digits: DigitString) -> Option<Refusal> {
        let leg = self.leg(participant)?;
        match M::send_digits(&leg, digits).await {
            // Refused when he is gone.
            Ok(()) => drop(self.core.digits_sent(wall(), participant)),
            Err(ControlError::NoTelephoneEvents) => return Some(Refusal::NoTelephoneEvents(participant)),
            Err(ControlError::DigitsFull) => return Some(Refusal::TooManyDigits(participant)),
            outcome => note(outcome),
        }
        None
    }

    /// Returns the work that the effect means for a leg, if it means any.
    fn prepare(&mut self, effect: Effect) -> Option<Work<M>> {
        match effect {
            Effect::SetMuted { participant, muted } => {
                self.leg(participant).map(|leg| Work::SetMuted(leg, muted))
            }
            Effect::SetDeaf { participant, deaf } => {
                self.leg(participant).map(|leg| Work::SetDeaf(leg, deaf))
            }
            Effect::SetHeld { participant, held } => self.setting(participant, LegSetting::Held(held)),
            Effect::SetVolumeIn { participant, volume } => {
                self.setting(participant, LegSetting::VolumeIn(volume))
            }
            Effect::SetVolumeOut { participant, volume } => {
                self.setting(participant, LegSetting::VolumeOut(volume))
            }
            Effect::SetEnergyLevel { participant, level } => {
                self.setting(participant, LegSetting::EnergyLevel(level))
            }
            Effect::SetAgc { participant, on } => self.setting(participant, LegSetting::Agc(on)),
            Effect::DistributeKeys { participant } => self.setting(participant, LegSetting::DistributeDigits),
            Effect::SetDenoise { participant, on } => self.setting(participant, LegSetting::Denoise(on)),
            Effect::SetHeard(Hearing {
                talker,
                listener,
                heard,
            }) => Some(Work::SetHeard {
                mix: Arc::clone(&self.mix),
                talker: self.leg(talker)?,
                listener: self.leg(listener)?,
                heard,
            }),
            Effect::HangUp {
                participant,
                cause,
                farewell,
            } => {
                self.playing.forget(Audience::One(participant));
                let member = self.members.remove(&participant)?;
                match farewell {
                    Some(media) => {
                        self.say_farewell(member, cause, media);
                        None
                    }
                    None => Some(Work::HangUp(member, cause)),
                }
            }
            // Performed in their order, by [`Task::in_turn`].
            Effect::Play { .. }
            | Effect::CancelPlay { .. }
            | Effect::StopPlay { .. }
            | Effect::SendDigits { .. }
            | Effect::Transfer { .. }
            | Effect::StartRecording(_)
            | Effect::PauseRecording(_)
            | Effect::StopRecording
            | Effect::Execute { .. } => None,
            // The mix goes with the task, which ends after this.
            Effect::Destroy => None,
        }
    }

    fn setting(&self, participant: ParticipantId, setting: LegSetting) -> Option<Work<M>> {
        self.leg(participant).map(|leg| Work::Set(leg, setting))
    }

    fn leg(&self, participant: ParticipantId) -> Option<Arc<M::Leg>> {
        let member = self.members.get(&participant)?;
        Some(Arc::clone(&member.leg))
    }
}

/// A leg that is gone needs no control: its call is ending and will say so.
fn note(outcome: Result<(), ControlError>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a leg was not reached");
    }
}
