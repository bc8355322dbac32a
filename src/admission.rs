//! Whether a new call may start: `sip.max_calls`, overload of the media plane, and draining before the end.
//!
//! Owns the count of calls being served. It decides; refusing with 503 and Retry-After is up to the signalling.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::watch;

/// Seconds that a refused caller is asked to wait (RFC 3261 §20.33).
pub(crate) const RETRY_AFTER_S: u32 = 5;

/// Why a new call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overload {
    /// The server is shutting down.
    Draining,
    /// `sip.max_calls` calls are being served.
    MaxCalls,
    /// Media shards are late or busy (lateness guard).
    Media,
}

impl Overload {
    /// Short text for a Warning or log line, also the metric label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::MaxCalls => "max_calls",
            Self::Media => "media_overload",
        }
    }
}

/// The door that each new call passes. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Admission(Arc<State>);

#[derive(Default)]
struct State {
    max_calls: AtomicUsize,
    calls: AtomicUsize,
    draining: watch::Sender<bool>,
    media_overloaded: AtomicBool,
}

/// One call's place; given back on drop.
pub(crate) struct Place(Arc<State>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    /// At most `max_calls` calls at a time; 0 sets no number.
    pub(crate) fn new(max_calls: usize) -> Self {
        let admission = Self::default();
        admission.set_max_calls(max_calls);
        admission
    }

    /// Changes the limit; running calls stay.
    pub(crate) fn set_max_calls(&self, max_calls: usize) {
        self.0.max_calls.store(max_calls, Ordering::Release);
    }

    /// Refuses every new call from now on.
    pub(crate) fn drain(&self) {
        self.0.draining.send_replace(true);
    }

    /// Waits until new calls are refused for good. Cancel-safe.
    pub(crate) async fn draining(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Whether new calls are refused for good.
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// Tells whether the media plane's guard has tripped.
    pub(crate) fn set_media_overloaded(&self, overloaded: bool) {
        self.0.media_overloaded.store(overloaded, Ordering::Release);
    }

    /// Calls being served.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Acquire)
    }

    /// Why the next call would be refused, if it would.
    pub(crate) fn overload(&self) -> Option<Overload> {
        let max_calls = self.0.max_calls.load(Ordering::Acquire);
        if *self.0.draining.borrow() {
            Some(Overload::Draining)
        } else if max_calls > 0 && self.calls() >= max_calls {
            Some(Overload::MaxCalls)
        } else if self.0.media_overloaded.load(Ordering::Acquire) {
            Some(Overload::Media)
        } else {
            None
        }
    }

    /// Takes a place for a new call.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn enter(&self) -> Result<Place, Overload> {
        self.0.calls.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(&self.0));
        let max_calls = self.0.max_calls.load(Ordering::Acquire);
        match self.overload() {
            // The count includes this call, so one more than before is still fine.
            Some(Overload::MaxCalls) if self.calls() <= max_calls => {
                if self.0.media_overloaded.load(Ordering::Acquire) {
                    Err(Overload::Media)
                } else {
                    Ok(place)
                }
            }
            Some(overload) => Err(overload),
            None => Ok(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_calls_and_places_come_back() {
        let admission = Admission::new(2);
        let first = admission.enter().ok().unwrap();
        let second = admission.enter().ok().unwrap();
        assert_eq!(admission.enter().err(), Some(Overload::MaxCalls));
        assert_eq!(admission.calls(), 2);
        drop(first);
        let third = admission.enter().ok().unwrap();
        drop((second, third));
        assert_eq!(admission.calls(), 0);
    }

    #[test]
    fn zero_sets_no_limit_but_the_guard_and_draining_still_refuse() {
        let admission = Admission::new(0);
        let places: Vec<_> = (0..1000).map(|_| admission.enter().ok().unwrap()).collect();
        admission.set_media_overloaded(true);
        assert_eq!(admission.enter().err(), Some(Overload::Media));
        admission.set_media_overloaded(false);
        admission.drain();
        assert_eq!(admission.enter().err(), Some(Overload::Draining));
        drop(places);
        assert_eq!(admission.calls(), 0);
    }

    #[test]
    fn the_last_place_is_refused_while_media_is_overloaded() {
        let admission = Admission::new(1);
        admission.set_media_overloaded(true);
        assert_eq!(admission.enter().err(), Some(Overload::Media));
        assert_eq!(admission.calls(), 0);
    }
}
