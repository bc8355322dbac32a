//! Owns the INVITE server transaction: RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1.
//!
//! Never touches sockets, tables or other transactions: it is told what arrived or what to send, and says what to put on the wire.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::timer::{T1, T2, T4, TIMEOUT, TRYING_DELAY, TimerKind, Timers, back_off};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerInviteState {
    /// No final response yet.
    Proceeding,
    /// A 2xx was sent; the core repeats it, the transaction absorbs repeated INVITEs.
    Accepted,
    /// A 300–699 was sent and waits for its ACK.
    Completed,
    /// The ACK arrived; repeated ACKs are absorbed.
    Confirmed,
    /// Finished; the owner drops it.
    Terminated,
}

/// What a timer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerInviteTimeout {
    /// 200 ms went by without a response: send 100 (Trying).
    SendTrying,
    /// Send these bytes again.
    Retransmit(Bytes),
    /// The final response was never acknowledged (timer H); the transaction is over.
    NoAck,
    /// The transaction ended quietly.
    Ended,
}

/// Who an ACK that matched the transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckFor {
    /// The transaction consumed it.
    Transaction,
    /// It acknowledges a 2xx and belongs to the dialog (RFC 6026 §7.1, Accepted).
    Core,
}

/// An INVITE as seen by the server side.
#[derive(Debug)]
pub(crate) struct ServerInviteTransaction {
    state: ServerInviteState,
    reliable: bool,
    timers: Timers<2>,
    interval: Duration,
    last_response: Option<Bytes>,
}

impl ServerInviteTransaction {
    pub(crate) fn new(now: Instant, reliable: bool) -> Self {
        let mut timers = Timers::new();
        timers.set(TimerKind::Trying, now + TRYING_DELAY);
        Self {
            state: ServerInviteState::Proceeding,
            reliable,
            timers,
            interval: T1,
            last_response: None,
        }
    }

    pub(crate) fn state(&self) -> ServerInviteState {
        self.state
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        self.timers.next()
    }

    /// Takes a repeated INVITE and returns the response to repeat, if any.
    pub(crate) fn receive_invite(&self) -> Option<Bytes> {
        match self.state {
            ServerInviteState::Proceeding | ServerInviteState::Completed => self.last_response.clone(),
            // The core repeats the 2xx on its own timer; answering here as well would double the traffic (RFC 6026 §7.1).
            ServerInviteState::Accepted | ServerInviteState::Confirmed | ServerInviteState::Terminated => {
                None
            }
        }
    }

    /// Takes an ACK that matched this transaction.
    pub(crate) fn receive_ack(&mut self, now: Instant) -> AckFor {
        match self.state {
            ServerInviteState::Completed => {
                self.timers.clear_all();
                self.last_response = None;
                if self.reliable {
                    self.state = ServerInviteState::Terminated;
                } else {
                    self.state = ServerInviteState::Confirmed;
                    self.timers.set(TimerKind::I, now + T4);
                }
                AckFor::Transaction
            }
            ServerInviteState::Accepted => AckFor::Core,
            ServerInviteState::Proceeding | ServerInviteState::Confirmed | ServerInviteState::Terminated => {
                AckFor::Transaction
            }
        }
    }

    /// Records a response of the user; returns whether it may be sent in this state.
    pub(crate) fn respond(&mut self, now: Instant, status: u16, response: Bytes) -> bool {
        match (self.state, status) {
            (ServerInviteState::Proceeding, 100..=199) => {
                self.timers.clear(TimerKind::Trying);
                self.last_response = Some(response);
                true
            }
            (ServerInviteState::Proceeding, 200..=299) => {
                self.timers.clear_all();
                self.last_response = None;
                self.state = ServerInviteState::Accepted;
                self.timers.set(TimerKind::L, now + TIMEOUT);
                true
            }
            (ServerInviteState::Proceeding, 300..) => {
                self.timers.clear_all();
                self.last_response = Some(response);
                self.state = ServerInviteState::Completed;
                self.timers.set(TimerKind::H, now + TIMEOUT);
                if !self.reliable {
                    self.timers.set(TimerKind::G, now + self.interval);
                }
                true
            }
            // Further 2xx: the core repeating the one that opened this state (RFC 6026 §7.1).
            (ServerInviteState::Accepted, 200..=299) => true,
            _ => false,
        }
    }

    /// Runs one due timer.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<ServerInviteTimeout> {
        match self.timers.expire(now)? {
            TimerKind::Trying => Some(ServerInviteTimeout::SendTrying),
            TimerKind::G => {
                self.interval = back_off(self.interval, T2);
                self.timers.set(TimerKind::G, now + self.interval);
                self.last_response.clone().map(ServerInviteTimeout::Retransmit)
            }
            TimerKind::H => {
                self.terminate();
                Some(ServerInviteTimeout::NoAck)
            }
            _ => {
                self.terminate();
                Some(ServerInviteTimeout::Ended)
            }
        }
    }

    /// Ends the transaction at once, whatever its state.
    pub(crate) fn terminate(&mut self) {
        self.state = ServerInviteState::Terminated;
        self.timers.clear_all();
        self.last_response = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn response() -> Bytes {
        Bytes::from_static(b"response")
    }

    /// Runs timers in order until none is left; returns when each fired in ms and what it asked for.
    fn run_out(
        transaction: &mut ServerInviteTransaction,
        start: Instant,
    ) -> Vec<(u128, ServerInviteTimeout)> {
        let mut fired = Vec::new();
        while let Some((due, _)) = transaction.next_timeout() {
            if let Some(effect) = transaction.handle_timeout(due) {
                fired.push(((due - start).as_millis(), effect));
            }
        }
        fired
    }

    #[test]
    fn trying_is_asked_for_after_200_ms_unless_the_user_answered() {
        let start = Instant::now();
        let mut silent = ServerInviteTransaction::new(start, false);
        assert_eq!(silent.next_timeout(), Some((at(start, 200), TimerKind::Trying)));
        assert_eq!(silent.handle_timeout(at(start, 199)), None);
        assert_eq!(
            silent.handle_timeout(at(start, 200)),
            Some(ServerInviteTimeout::SendTrying)
        );
        let mut ringing = ServerInviteTransaction::new(start, false);
        assert!(ringing.respond(start, 180, response()));
        assert_eq!(ringing.next_timeout(), None);
        assert_eq!(ringing.receive_invite(), Some(response()));
    }

    #[test]
    fn a_refusal_is_repeated_with_back_off_until_timer_h() {
        let start = Instant::now();
        let mut transaction = ServerInviteTransaction::new(start, false);
        assert!(transaction.respond(start, 486, response()));
        let fired = run_out(&mut transaction, start);
        let (last, repeats) = fired.split_last().expect("timers fired");
        let times: Vec<u128> = repeats.iter().map(|(time, _)| *time).collect();
        assert_eq!(
            times,
            [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]
        );
        assert!(
            repeats
                .iter()
                .all(|(_, effect)| *effect == ServerInviteTimeout::Retransmit(response()))
        );
        assert_eq!(*last, (32_000, ServerInviteTimeout::NoAck));
        assert_eq!(transaction.state(), ServerInviteState::Terminated);
    }

    #[test]
    fn on_a_reliable_transport_a_refusal_is_sent_once_and_its_ack_ends_it() {
        let start = Instant::now();
        let mut transaction = ServerInviteTransaction::new(start, true);
        assert!(transaction.respond(start, 486, response()));
        assert_eq!(
            transaction.next_timeout(),
            Some((at(start, 32_000), TimerKind::H))
        );
        assert_eq!(transaction.receive_ack(start), AckFor::Transaction);
        assert_eq!(transaction.state(), ServerInviteState::Terminated);
        assert_eq!(transaction.next_timeout(), None);
    }

    #[test]
    fn an_ack_stops_repetition_and_timer_i_absorbs_more_of_them() {
        let start = Instant::now();
        let mut transaction = ServerInviteTransaction::new(start, false);
        transaction.respond(start, 404, response());
        assert_eq!(transaction.receive_ack(at(start, 100)), AckFor::Transaction);
        assert_eq!(transaction.state(), ServerInviteState::Confirmed);
        assert_eq!(transaction.receive_ack(at(start, 200)), AckFor::Transaction);
        assert_eq!(transaction.receive_invite(), None);
        assert_eq!(
            run_out(&mut transaction, start),
            [(5100, ServerInviteTimeout::Ended)]
        );
    }

    #[test]
    fn accepted_absorbs_invites_hands_acks_up_and_ends_with_timer_l() {
        let start = Instant::now();
        let mut transaction = ServerInviteTransaction::new(start, false);
        assert!(transaction.respond(start, 200, response()));
        assert!(
            transaction.respond(at(start, 500), 200, response()),
            "the core may repeat its 2xx"
        );
        assert!(
            !transaction.respond(at(start, 500), 486, response()),
            "a 2xx is final"
        );
        assert_eq!(transaction.receive_invite(), None);
        assert_eq!(transaction.receive_ack(start), AckFor::Core);
        assert_eq!(
            run_out(&mut transaction, start),
            [(32_000, ServerInviteTimeout::Ended)]
        );
    }

    #[test]
    fn nothing_may_follow_a_refusal() {
        let start = Instant::now();
        let mut transaction = ServerInviteTransaction::new(start, false);
        assert!(transaction.respond(start, 487, response()));
        for status in [100, 180, 200, 500] {
            assert!(!transaction.respond(start, status, response()), "{status}");
        }
    }
}
