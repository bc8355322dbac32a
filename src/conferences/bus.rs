//! Events in the log. The bus itself, and how events look outside, are [`confab_api::event`]'s.

use confab_api::event::Subscription;
use confab_conference::EventKind;

/// Writes the events to the log until the bus is gone: changes of conferences at INFO, what happens within them at DEBUG;
/// calls say themselves when they join and end. No names, numbers, keys or call ids.
pub(crate) async fn log_events(mut events: Subscription) {
    while let Some(message) = events.recv().await {
        let event = message.event();
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
            _ => {
                tracing::debug!(%conference, %instance, sequence, participant, "{name}");
            }
        }
    }
}
