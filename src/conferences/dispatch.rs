//! Brings each media event to whom it concerns: talking, levels, keys, floor and plays to the conference's task, keys, timeouts
//! and address changes to the call's task. Owns the maps from leg and mix to their listeners, and never waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use confab_conference::ParticipantId;
use confab_media::{ConferenceAudioId, LegId, MediaEvent, MediaEvents};
use dashmap::DashMap;
use tokio::sync::mpsc;

use super::inbox::{Inbox, PlayReport};

/// Media events that a call may leave unread.
pub(super) const CALL_EVENTS: usize = 32;

/// The switchboard of media events. Clones share one.
#[derive(Clone, Default)]
pub(crate) struct MediaDispatch(Arc<Listeners>);

#[derive(Default)]
struct Listeners {
    calls: DashMap<LegId, mpsc::Sender<MediaEvent>>,
    legs: DashMap<LegId, (ParticipantId, Arc<Inbox>)>,
    mixes: DashMap<ConferenceAudioId, Arc<Inbox>>,
    dropped: AtomicU64,
}

/// A call's share of the media events: digits, timeouts, address changes of one leg. Dropping it unsubscribes.
pub(crate) struct CallMedia {
    leg: LegId,
    events: mpsc::Receiver<MediaEvent>,
    listeners: Arc<Listeners>,
}

impl CallMedia {
    /// Waits for the leg's next event. Cancel-safe; `None` when another subscription took this one's place.
    pub(crate) async fn recv(&mut self) -> Option<MediaEvent> {
        self.events.recv().await
    }
}

impl Drop for CallMedia {
    fn drop(&mut self) {
        self.events.close();
        self.listeners
            .calls
            .remove_if(&self.leg, |_, sender| sender.is_closed());
    }
}

/// A conference's ear for one leg.
pub(super) struct Attachment {
    leg: LegId,
    participant: ParticipantId,
    listeners: Arc<Listeners>,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // The leg may have been attached for another participant since.
        self.listeners
            .legs
            .remove_if(&self.leg, |_, listener| listener.0 == self.participant);
    }
}

/// A conference's ear for its mix.
pub(super) struct MixAttachment {
    mix: ConferenceAudioId,
    listeners: Arc<Listeners>,
}

impl Drop for MixAttachment {
    fn drop(&mut self) {
        self.listeners.mixes.remove(&self.mix);
    }
}

impl MediaDispatch {
    /// Subscribes a call to the events of its leg. One call per leg: a later subscription takes the place of the
    /// earlier.
    pub(crate) fn subscribe(&self, leg: LegId) -> CallMedia {
        let (sender, events) = mpsc::channel(CALL_EVENTS);
        self.0.calls.insert(leg, sender);
        CallMedia {
            leg,
            events,
            listeners: Arc::clone(&self.0),
        }
    }

    /// Dispatches events until the media plane stops.
    pub(crate) async fn run(self, mut events: MediaEvents) {
        while let Some(event) = events.recv().await {
            self.dispatch(event);
        }
    }

    /// Returns how many events were dropped because their call did not read.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Brings one event to its listener; events of legs that nobody listens to are gone.
    pub(super) fn dispatch(&self, event: MediaEvent) {
        match event {
            MediaEvent::Talking { leg, talking } => {
                self.to_conference(leg, |participant, inbox| inbox.talking(participant, talking));
            }
            MediaEvent::Energy { leg, score } => {
                self.to_conference(leg, |participant, inbox| inbox.energy(participant, score));
            }
            MediaEvent::Floor { conference, leg } => {
                let holder = leg.and_then(|leg| self.0.legs.get(&leg).map(|listener| listener.0));
                self.to_mix(conference, |inbox| inbox.floor(holder));
            }
            MediaEvent::PlayStarted { conference, play, .. } => {
                self.to_mix(conference, |inbox| inbox.play(PlayReport::Started(play)));
            }
            MediaEvent::AnnouncementMissed { leg, play, .. } => {
                self.to_conference(leg, |participant, inbox| {
                    inbox.play(PlayReport::Missed(play, participant));
                });
            }
            MediaEvent::PlayEnded {
                conference,
                play,
                leg,
                ..
            } => {
                let is_known = self.to_mix(conference, |inbox| inbox.play(PlayReport::Ended(play)));
                // A leg that is in no conference yet hears what its call plays.
                if let Some(leg) = leg.filter(|_| !is_known) {
                    self.to_call(leg, event);
                }
            }
            MediaEvent::Dtmf { leg, digit, .. } => {
                self.to_conference(leg, |participant, inbox| inbox.key(participant, digit));
                self.to_call(leg, event);
            }
            MediaEvent::MediaTimeout { leg, .. }
            | MediaEvent::MediaResumed { leg }
            | MediaEvent::Latched { leg, .. } => self.to_call(leg, event),
            unknown => tracing::debug!(?unknown, "media event without a listener"),
        }
    }

    fn to_conference(&self, leg: LegId, write: impl FnOnce(ParticipantId, &Inbox)) {
        if let Some(listener) = self.0.legs.get(&leg) {
            write(listener.0, &listener.1);
        }
    }

    /// Returns whether a conference listens to the mix.
    fn to_mix(&self, mix: ConferenceAudioId, write: impl FnOnce(&Inbox)) -> bool {
        let inbox = self.0.mixes.get(&mix);
        let is_known = inbox.is_some();
        if let Some(inbox) = inbox {
            write(&inbox);
        }
        is_known
    }

    fn to_call(&self, leg: LegId, event: MediaEvent) {
        let Some(sender) = self.0.calls.get(&leg) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(event)) = sender.try_send(event) {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%leg, ?event, "a call does not read its media events");
        }
    }

    /// Lets a conference hear of its mix, for as long as the attachment lives.
    pub(super) fn attach_mix(&self, mix: ConferenceAudioId, inbox: Arc<Inbox>) -> MixAttachment {
        self.0.mixes.insert(mix, inbox);
        MixAttachment {
            mix,
            listeners: Arc::clone(&self.0),
        }
    }

    /// Lets a conference hear of a participant's leg, for as long as the attachment lives.
    pub(super) fn attach(&self, leg: LegId, participant: ParticipantId, inbox: Arc<Inbox>) -> Attachment {
        self.0.legs.insert(leg, (participant, inbox));
        Attachment {
            leg,
            participant,
            listeners: Arc::clone(&self.0),
        }
    }

    #[cfg(test)]
    pub(super) fn attached(&self) -> (usize, usize, usize) {
        (self.0.calls.len(), self.0.legs.len(), self.0.mixes.len())
    }
}
