//! Owns the non-INVITE server transaction: RFC 3261 §17.2.2.
//!
//! Never touches sockets, tables or other transactions.

use std::time::Instant;

use bytes::Bytes;

use super::timer::{TIMEOUT, TimerKind, Timers};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// No response yet.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// The final response was sent and is repeated on request.
    Completed,
    /// Finished; the owner drops it.
    Terminated,
}

/// A request other than INVITE and ACK as seen by the server side.
#[derive(Debug)]
pub(crate) struct ServerTransaction {
    state: ServerState,
    reliable: bool,
    timers: Timers<1>,
    last_response: Option<Bytes>,
}

impl ServerTransaction {
    pub(crate) fn new(reliable: bool) -> Self {
        Self {
            state: ServerState::Trying,
            reliable,
            timers: Timers::new(),
            last_response: None,
        }
    }

    pub(crate) fn state(&self) -> ServerState {
        self.state
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        self.timers.next()
    }

    /// Takes a repeated request and returns the response to repeat, if any.
    pub(crate) fn receive_request(&self) -> Option<Bytes> {
        self.last_response.clone()
    }

    /// Records a response of the user; returns whether it may be sent in this state.
    pub(crate) fn respond(&mut self, now: Instant, status: u16, response: Bytes) -> bool {
        match self.state {
            ServerState::Trying | ServerState::Proceeding if status < 200 => {
                self.state = ServerState::Proceeding;
                self.last_response = Some(response);
                true
            }
            ServerState::Trying | ServerState::Proceeding => {
                if self.reliable {
                    self.state = ServerState::Terminated;
                } else {
                    self.state = ServerState::Completed;
                    self.last_response = Some(response);
                    self.timers.set(TimerKind::J, now + TIMEOUT);
                }
                true
            }
            ServerState::Completed | ServerState::Terminated => false,
        }
    }

    /// Runs one due timer; returns whether the transaction ended.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let ended = self.timers.expire(now).is_some();
        if ended {
            self.terminate();
        }
        ended
    }

    /// Ends the transaction at once, whatever its state.
    pub(crate) fn terminate(&mut self) {
        self.state = ServerState::Terminated;
        self.timers.clear_all();
        self.last_response = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_response_is_repeated_for_repeated_requests_until_timer_j() {
        let start = Instant::now();
        let mut transaction = ServerTransaction::new(false);
        assert_eq!(transaction.receive_request(), None, "Trying absorbs repeats");
        assert!(transaction.respond(start, 182, Bytes::from_static(b"182")));
        assert_eq!(transaction.receive_request(), Some(Bytes::from_static(b"182")));
        assert!(transaction.respond(start, 200, Bytes::from_static(b"200")));
        assert_eq!(transaction.receive_request(), Some(Bytes::from_static(b"200")));
        assert!(
            !transaction.respond(start, 500, Bytes::new()),
            "a second final response is discarded"
        );
        assert_eq!(transaction.next_timeout(), Some((start + TIMEOUT, TimerKind::J)));
        assert!(transaction.handle_timeout(start + TIMEOUT));
        assert_eq!(transaction.state(), ServerState::Terminated);
    }

    #[test]
    fn on_a_reliable_transport_the_final_response_ends_it() {
        let mut transaction = ServerTransaction::new(true);
        assert!(transaction.respond(Instant::now(), 200, Bytes::new()));
        assert_eq!(transaction.state(), ServerState::Terminated);
        assert_eq!(transaction.next_timeout(), None);
    }
}
