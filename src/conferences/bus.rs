//! The event bus: every event of every conference, in order per instance, to whoever subscribed.
//!
//! Publishing never waits. A subscriber that falls more than [`EVENTS`] behind misses the oldest; what it missed is
//! counted and it goes on with what is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use confab_conference::{Event, EventKind};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events kept for slow subscribers.
pub(crate) const EVENTS: usize = 4096;

/// Where conferences publish. Clones share one bus.
#[derive(Clone)]
pub(crate) struct EventBus {
    sender: broadcast::Sender<Arc<Event>>,
    missed: Arc<AtomicU64>,
}

/// One subscriber's end of the bus.
pub(crate) struct Subscription {
    receiver: broadcast::Receiver<Arc<Event>>,
    missed: Arc<AtomicU64>,
}

impl EventBus {
    pub(crate) fn new() -> EventBus {
        EventBus {
            sender: broadcast::Sender::new(EVENTS),
            missed: Arc::default(),
        }
    }

    /// Hands the event to every subscriber; without subscribers it is gone.
    pub(crate) fn publish(&self, event: Arc<Event>) {
        let _ = self.sender.send(event);
    }

    /// Returns an end that receives what is published from here on.
    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription {
            receiver: self.sender.subscribe(),
            missed: Arc::clone(&self.missed),
        }
    }

    /// Returns how many events slow subscribers have missed, summed over all of them.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Subscription {
    /// Waits for the next event; `None` when the bus is gone.
    pub(crate) async fn recv(&mut self) -> Option<Arc<Event>> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(count)) => {
                    self.missed.fetch_add(count, Ordering::Relaxed);
                    tracing::warn!(count, "an event subscriber is too slow and missed events");
                }
            }
        }
    }
}

/// Writes the events to the log until the bus is gone: changes of conferences at INFO, what happens within them at DEBUG;
/// calls say themselves when they join and end. No names, numbers or call ids.
pub(crate) async fn log_events(mut events: Subscription) {
    while let Some(event) = events.recv().await {
        let name = event.kind.name();
        let conference = &event.conference;
        let instance = &event.instance_id;
        let sequence = event.sequence;
        let participant = event.participant.as_ref().map(|state| state.id.get());
        match event.kind {
            EventKind::ConferenceCreate
            | EventKind::ConferenceDestroy
            | EventKind::Lock
            | EventKind::Unlock => {
                tracing::info!(%conference, %instance, sequence, "{name}");
            }
            EventKind::DelMember(cause) => {
                let cause = cause.as_str();
                tracing::debug!(%conference, %instance, sequence, participant, cause, "{name}");
            }
            EventKind::PlayFileFailed(failure) | EventKind::PlayFileMemberFailed(failure) => {
                let reason = failure.as_str();
                tracing::debug!(%conference, %instance, sequence, participant, reason, "{name}");
            }
            EventKind::AddMember
            | EventKind::FloorChange
            | EventKind::StartTalking
            | EventKind::StopTalking
            | EventKind::MuteMember
            | EventKind::UnmuteMember
            | EventKind::DeafMember
            | EventKind::UndeafMember
            | EventKind::HoldMember
            | EventKind::UnholdMember
            | EventKind::VolumeInMember
            | EventKind::VolumeOutMember
            | EventKind::EnergyLevelMember
            | EventKind::AgcMember
            | EventKind::DenoiseMember
            | EventKind::RaiseHandMember
            | EventKind::LowerHandMember
            | EventKind::DtmfMember
            | EventKind::PlayFile
            | EventKind::PlayFileDone
            | EventKind::PlayFileMember
            | EventKind::PlayFileMemberDone => {
                tracing::debug!(%conference, %instance, sequence, participant, "{name}");
            }
        }
    }
}
