//! Owns the INVITE client transaction: RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2.
//!
//! Never touches sockets, tables or other transactions, and never builds a message: the owner holds the INVITE and its ACK.

use std::time::{Duration, Instant};

use super::timer::{T1, TIMEOUT, TIMER_D, TimerKind, Timers};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientInviteState {
    /// The INVITE was sent; nothing came back.
    Calling,
    /// A provisional response arrived.
    Proceeding,
    /// A 300–699 arrived and was acknowledged.
    Completed,
    /// A 2xx arrived; further ones go to the core.
    Accepted,
    /// Finished; the owner drops it.
    Terminated,
}

/// What to do with a response that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientInviteReceipt {
    /// The core sees the response.
    pub(crate) pass_up: bool,
    /// The transaction acknowledges it (300–699 only).
    pub(crate) acknowledge: bool,
}

/// What a timer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientInviteTimeout {
    /// Send the INVITE again.
    Retransmit,
    /// No response at all within 64·T1 (timer B), or none to the CANCEL; the transaction is over.
    NoResponse,
    /// The transaction ended quietly.
    Ended,
}

/// An INVITE as seen by the client side.
#[derive(Debug)]
pub(crate) struct ClientInviteTransaction {
    state: ClientInviteState,
    reliable: bool,
    timers: Timers<3>,
    interval: Duration,
}

impl ClientInviteTransaction {
    pub(crate) fn new(now: Instant, reliable: bool) -> Self {
        let mut timers = Timers::new();
        timers.set(TimerKind::B, now + TIMEOUT);
        if !reliable {
            timers.set(TimerKind::A, now + T1);
        }
        Self {
            state: ClientInviteState::Calling,
            reliable,
            timers,
            interval: T1,
        }
    }

    pub(crate) fn state(&self) -> ClientInviteState {
        self.state
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        self.timers.next()
    }

    /// Takes a response that matched this transaction.
    pub(crate) fn receive(&mut self, now: Instant, status: u16) -> ClientInviteReceipt {
        let (pass_up, acknowledge) = match (self.state, status) {
            (ClientInviteState::Calling | ClientInviteState::Proceeding, ..=199) => {
                self.state = ClientInviteState::Proceeding;
                self.timers.clear(TimerKind::A);
                self.timers.clear(TimerKind::B);
                (true, false)
            }
            (ClientInviteState::Calling | ClientInviteState::Proceeding, 200..=299) => {
                self.state = ClientInviteState::Accepted;
                self.timers.clear_all();
                self.timers.set(TimerKind::M, now + TIMEOUT);
                (true, false)
            }
            (ClientInviteState::Calling | ClientInviteState::Proceeding, _) => {
                self.timers.clear_all();
                if self.reliable {
                    self.state = ClientInviteState::Terminated;
                } else {
                    self.state = ClientInviteState::Completed;
                    self.timers.set(TimerKind::D, now + TIMER_D);
                }
                (true, true)
            }
            (ClientInviteState::Completed, 300..) => (false, true),
            (ClientInviteState::Accepted, 200..=299) => (true, false),
            _ => (false, false),
        };
        ClientInviteReceipt { pass_up, acknowledge }
    }

    /// Notes that a CANCEL was sent: without a final response the transaction ends 64·T1 later (RFC 3261 §9.1).
    pub(crate) fn cancelled(&mut self, now: Instant) {
        if matches!(
            self.state,
            ClientInviteState::Calling | ClientInviteState::Proceeding
        ) {
            self.timers.clear_all();
            self.timers.set(TimerKind::CancelWait, now + TIMEOUT);
        }
    }

    /// Runs one due timer.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<ClientInviteTimeout> {
        match self.timers.expire(now)? {
            TimerKind::A => {
                self.interval *= 2;
                self.timers.set(TimerKind::A, now + self.interval);
                Some(ClientInviteTimeout::Retransmit)
            }
            TimerKind::B | TimerKind::CancelWait => {
                self.terminate();
                Some(ClientInviteTimeout::NoResponse)
            }
            _ => {
                self.terminate();
                Some(ClientInviteTimeout::Ended)
            }
        }
    }

    /// Ends the transaction at once, whatever its state.
    pub(crate) fn terminate(&mut self) {
        self.state = ClientInviteState::Terminated;
        self.timers.clear_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: ClientInviteReceipt = ClientInviteReceipt {
        pass_up: true,
        acknowledge: false,
    };
    const UP_AND_ACK: ClientInviteReceipt = ClientInviteReceipt {
        pass_up: true,
        acknowledge: true,
    };
    const ACK_ONLY: ClientInviteReceipt = ClientInviteReceipt {
        pass_up: false,
        acknowledge: true,
    };
    const NOTHING: ClientInviteReceipt = ClientInviteReceipt {
        pass_up: false,
        acknowledge: false,
    };

    fn run_out(
        transaction: &mut ClientInviteTransaction,
        start: Instant,
    ) -> Vec<(u128, ClientInviteTimeout)> {
        let mut fired = Vec::new();
        while let Some((due, _)) = transaction.next_timeout() {
            if let Some(effect) = transaction.handle_timeout(due) {
                fired.push(((due - start).as_millis(), effect));
            }
        }
        fired
    }

    #[test]
    fn an_unanswered_invite_is_sent_seven_times_in_32_seconds() {
        let start = Instant::now();
        let mut transaction = ClientInviteTransaction::new(start, false);
        let fired = run_out(&mut transaction, start);
        let times: Vec<u128> = fired.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [500, 1500, 3500, 7500, 15500, 31500, 32000]);
        assert_eq!(fired[6].1, ClientInviteTimeout::NoResponse);
    }

    #[test]
    fn a_reliable_transport_never_repeats() {
        let start = Instant::now();
        let mut transaction = ClientInviteTransaction::new(start, true);
        assert_eq!(
            run_out(&mut transaction, start),
            [(32_000, ClientInviteTimeout::NoResponse)]
        );
    }

    #[test]
    fn a_provisional_response_stops_timers_a_and_b() {
        let start = Instant::now();
        let mut transaction = ClientInviteTransaction::new(start, false);
        assert_eq!(transaction.receive(start, 100), UP);
        assert_eq!(transaction.next_timeout(), None);
        transaction.cancelled(start);
        assert_eq!(
            run_out(&mut transaction, start),
            [(32_000, ClientInviteTimeout::NoResponse)]
        );
    }

    #[test]
    fn a_refusal_goes_up_once_and_is_acknowledged_each_time() {
        let start = Instant::now();
        let mut transaction = ClientInviteTransaction::new(start, false);
        assert_eq!(transaction.receive(start, 486), UP_AND_ACK);
        assert_eq!(transaction.receive(start, 486), ACK_ONLY);
        assert_eq!(
            transaction.receive(start, 200),
            NOTHING,
            "a 2xx after a refusal cannot belong to it"
        );
        assert_eq!(
            run_out(&mut transaction, start),
            [(32_000, ClientInviteTimeout::Ended)]
        );
        let mut reliable = ClientInviteTransaction::new(start, true);
        assert_eq!(reliable.receive(start, 486), UP_AND_ACK);
        assert_eq!(reliable.state(), ClientInviteState::Terminated);
    }

    #[test]
    fn every_2xx_goes_up_until_timer_m() {
        let start = Instant::now();
        let mut transaction = ClientInviteTransaction::new(start, false);
        assert_eq!(transaction.receive(start, 180), UP);
        assert_eq!(transaction.receive(start, 200), UP);
        assert_eq!(transaction.receive(start, 200), UP);
        assert_eq!(transaction.receive(start, 180), NOTHING);
        assert_eq!(
            run_out(&mut transaction, start),
            [(32_000, ClientInviteTimeout::Ended)]
        );
    }
}
