//! Owns the running totals and the live figures of one endpoint.
//!
//! Never decides anything: it counts what others decided.

/// Why something that arrived led to nothing. Every dropped message or refused command is counted under exactly one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// A datagram of nothing but line ends, or a response to a keep-alive of ours.
    KeepAlive,
    /// Not a SIP message, or one so broken that nobody could be answered.
    Unreadable,
    /// A response that cannot be read.
    UnreadableResponse,
    /// A response that belongs to no transaction of ours.
    StrayResponse,
    /// An ACK that belongs to no transaction and no dialog, or came again.
    StrayAck,
    /// A repeated request or response, absorbed by its transaction.
    Retransmission,
    /// The response to this request would have to go to an address that must not be sent to.
    Unroutable,
    /// A 2xx from one fork too many.
    TooManyForks,
    /// A command of the user for a call that is gone or not in the state for it.
    LateCommand,
    /// A response of the transaction layer's user that the transaction does not take any more.
    LateResponse,
    /// A request that the user left without an answer.
    Ignored,
}

impl DropReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [DropReason; 11] = [
        DropReason::KeepAlive,
        DropReason::Unreadable,
        DropReason::UnreadableResponse,
        DropReason::StrayResponse,
        DropReason::StrayAck,
        DropReason::Retransmission,
        DropReason::Unroutable,
        DropReason::TooManyForks,
        DropReason::LateCommand,
        DropReason::LateResponse,
        DropReason::Ignored,
    ];

    /// A name for metrics: lower case, words joined by underscores.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::KeepAlive => "keep_alive",
            DropReason::Unreadable => "unreadable",
            DropReason::UnreadableResponse => "unreadable_response",
            DropReason::StrayResponse => "stray_response",
            DropReason::StrayAck => "stray_ack",
            DropReason::Retransmission => "retransmission",
            DropReason::Unroutable => "unroutable",
            DropReason::TooManyForks => "too_many_forks",
            DropReason::LateCommand => "late_command",
            DropReason::LateResponse => "late_response",
            DropReason::Ignored => "ignored",
        }
    }
}

/// Totals since the endpoint was made. They only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages handed in, readable or not.
    pub messages_in: u64,
    /// Messages handed out, repetitions included.
    pub messages_out: u64,
    /// Messages handed out again because a timer or a repeated request asked for it.
    pub retransmissions_out: u64,
    /// Calls that reached the user as an INVITE.
    pub calls_in: u64,
    /// Calls that the user placed.
    pub calls_out: u64,
    /// Calls that ended, however they did.
    pub calls_ended: u64,
    /// INVITEs and other requests refused because a limit was reached or admission was closed (503).
    pub refused_overload: u64,
    refused: [u64; 7],
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// How often something was dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// How often the endpoint itself refused a request with a status of this class: 3 to 6.
    pub fn refused_class(&self, class: u16) -> u64 {
        self.refused.get(usize::from(class)).copied().unwrap_or(0)
    }

    pub(crate) fn drop_for(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    pub(crate) fn refuse(&mut self, status: u16) {
        if let Some(count) = self.refused.get_mut(usize::from(status / 100)) {
            *count += 1;
        }
    }
}

/// What is alive in an endpoint at this moment. All zero when nothing is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// INVITEs received, until their transactions end.
    pub server_invite_transactions: usize,
    /// Other requests received.
    pub server_transactions: usize,
    /// INVITEs sent.
    pub client_invite_transactions: usize,
    /// Other requests sent.
    pub client_transactions: usize,
    /// Dialogs, early and confirmed.
    pub dialogs: usize,
    /// Calls, including those that have ended for the user and wait for their last messages.
    pub calls: usize,
    /// Subscriptions, until their last NOTIFY is sent.
    pub subscriptions: usize,
    /// Running deadlines of transactions, calls and subscriptions.
    pub timers: usize,
}

impl Gauges {
    /// True when nothing is alive at all.
    pub fn is_idle(&self) -> bool {
        *self == Gauges::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut counters = Counters::default();
        for (position, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position);
            for _ in 0..=position {
                counters.drop_for(reason);
            }
        }
        let mut names = std::collections::BTreeSet::new();
        for (position, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(counters.dropped(reason), position as u64 + 1);
            assert!(names.insert(reason.name()));
        }
    }

    #[test]
    fn refusals_are_counted_by_class() {
        let mut counters = Counters::default();
        for status in [400, 481, 500, 0, 999] {
            counters.refuse(status);
        }
        assert_eq!((counters.refused_class(4), counters.refused_class(5)), (2, 1));
        assert_eq!(counters.refused_class(9), 0);
    }
}
