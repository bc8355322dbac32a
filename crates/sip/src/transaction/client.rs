//! Owns the non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! Never touches sockets, tables or other transactions, and never builds a message.

use std::time::{Duration, Instant};

use super::timer::{T1, T2, T4, TIMEOUT, TimerKind, Timers, back_off};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientState {
    /// The request was sent; nothing came back.
    Trying,
    /// A provisional response arrived.
    Proceeding,
    /// The final response arrived; repeats are absorbed.
    Completed,
    /// Finished; the owner drops it.
    Terminated,
}

/// What a timer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientTimeout {
    /// Send the request again.
    Retransmit,
    /// No final response within 64·T1 (timer F); the transaction is over.
    NoResponse,
    /// The transaction ended quietly.
    Ended,
}

/// A request other than INVITE and ACK as seen by the client side.
#[derive(Debug)]
pub(crate) struct ClientTransaction {
    state: ClientState,
    reliable: bool,
    timers: Timers<2>,
    interval: Duration,
}

impl ClientTransaction {
    pub(crate) fn new(now: Instant, reliable: bool) -> Self {
        let mut timers = Timers::new();
        timers.set(TimerKind::F, now + TIMEOUT);
        if !reliable {
            timers.set(TimerKind::E, now + T1);
        }
        Self {
            state: ClientState::Trying,
            reliable,
            timers,
            interval: T1,
        }
    }

    pub(crate) fn state(&self) -> ClientState {
        self.state
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        self.timers.next()
    }

    /// Takes a response that matched this transaction; returns whether the core sees it.
    pub(crate) fn receive(&mut self, now: Instant, status: u16) -> bool {
        match self.state {
            ClientState::Trying | ClientState::Proceeding if status < 200 => {
                self.state = ClientState::Proceeding;
                true
            }
            ClientState::Trying | ClientState::Proceeding => {
                self.timers.clear_all();
                if self.reliable {
                    self.state = ClientState::Terminated;
                } else {
                    self.state = ClientState::Completed;
                    self.timers.set(TimerKind::K, now + T4);
                }
                true
            }
            ClientState::Completed | ClientState::Terminated => false,
        }
    }

    /// Runs one due timer.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<ClientTimeout> {
        match self.timers.expire(now)? {
            TimerKind::E => {
                // RFC 3261 §17.1.2.2: in Proceeding the request is repeated every T2.
                self.interval = match self.state {
                    ClientState::Proceeding => T2,
                    _ => back_off(self.interval, T2),
                };
                self.timers.set(TimerKind::E, now + self.interval);
                Some(ClientTimeout::Retransmit)
            }
            TimerKind::F => {
                self.terminate();
                Some(ClientTimeout::NoResponse)
            }
            _ => {
                self.terminate();
                Some(ClientTimeout::Ended)
            }
        }
    }

    /// Ends the transaction at once, whatever its state.
    pub(crate) fn terminate(&mut self) {
        self.state = ClientState::Terminated;
        self.timers.clear_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_out(transaction: &mut ClientTransaction, start: Instant) -> Vec<(u128, ClientTimeout)> {
        let mut fired = Vec::new();
        while let Some((due, _)) = transaction.next_timeout() {
            if let Some(effect) = transaction.handle_timeout(due) {
                fired.push(((due - start).as_millis(), effect));
            }
        }
        fired
    }

    #[test]
    fn an_unanswered_request_is_repeated_with_back_off_until_timer_f() {
        let start = Instant::now();
        let mut transaction = ClientTransaction::new(start, false);
        let fired = run_out(&mut transaction, start);
        let times: Vec<u128> = fired.iter().map(|(time, _)| *time).collect();
        assert_eq!(
            times,
            [
                500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000
            ]
        );
        assert_eq!(fired[10].1, ClientTimeout::NoResponse);
        let mut reliable = ClientTransaction::new(start, true);
        assert_eq!(
            run_out(&mut reliable, start),
            [(32_000, ClientTimeout::NoResponse)]
        );
    }

    #[test]
    fn after_a_provisional_response_repeats_are_t2_apart() {
        let start = Instant::now();
        let mut transaction = ClientTransaction::new(start, false);
        assert!(transaction.receive(start, 100));
        assert_eq!(transaction.state(), ClientState::Proceeding);
        let times: Vec<u128> = run_out(&mut transaction, start)
            .iter()
            .map(|(time, _)| *time)
            .collect();
        assert_eq!(times, [500, 4500, 8500, 12500, 16500, 20500, 24500, 28500, 32000]);
    }

    #[test]
    fn the_final_response_goes_up_once_and_timer_k_absorbs_its_repeats() {
        let start = Instant::now();
        let mut transaction = ClientTransaction::new(start, false);
        assert!(transaction.receive(start, 200));
        assert!(!transaction.receive(start, 200));
        assert_eq!(run_out(&mut transaction, start), [(5_000, ClientTimeout::Ended)]);
        let mut reliable = ClientTransaction::new(start, true);
        assert!(reliable.receive(start, 481));
        assert_eq!(reliable.state(), ClientState::Terminated);
    }
}
