//! The words that the API has for why a call came to nothing: names of Q.850 causes as KAZOO tells them.
//!
//! Owns the one translation.

use confab_conference::Refusal;

use crate::signalling::{LegFailure, NoWay};

/// The device has no registration.
pub(super) const NOT_REGISTERED: &str = "USER_NOT_REGISTERED";
/// Nobody has the number.
pub(super) const UNALLOCATED: &str = "UNALLOCATED_NUMBER";
/// No trunk takes the number.
pub(super) const NO_ROUTE: &str = "NO_ROUTE_DESTINATION";
/// The number leads back to the conference that dials it.
pub(super) const ROUTING_ERROR: &str = "EXCHANGE_ROUTING_ERROR";
/// The account may not call there.
pub(super) const BARRED: &str = "OUTGOING_CALL_BARRED";
/// The account has as many calls as it may, or has placed as many in the last minute.
pub(super) const CONGESTION: &str = "SWITCH_CONGESTION";
/// What the device asks for cannot be had.
pub(super) const INCOMPATIBLE: &str = "INCOMPATIBLE_DESTINATION";
/// The conference has as many participants as it may.
pub(super) const FULL: &str = "conference is full";
/// The conference has nobody whom the participant could join.
pub(super) const NOT_RUNNING: &str = "conference not running";
/// This server can do no more now.
pub(super) const TEMPORARY: &str = "NORMAL_TEMPORARY_FAILURE";
/// Whoever dialled was not told in time.
pub(super) const TIMEOUT: &str = "timeout";

/// Returns why a call came to nothing.
pub(super) fn of(failure: LegFailure) -> &'static str {
    match failure {
        LegFailure::NoWay(NoWay::Ourselves) => ROUTING_ERROR,
        LegFailure::NoWay(NoWay::Connection) => "DESTINATION_OUT_OF_ORDER",
        LegFailure::NoWay(NoWay::Host) => NO_ROUTE,
        LegFailure::NoWay(NoWay::Transport) | LegFailure::Incompatible => INCOMPATIBLE,
        LegFailure::Overloaded => TEMPORARY,
        LegFailure::Refused(status) => of_status(status),
        LegFailure::NoResponse => "NO_USER_RESPONSE",
        LegFailure::NoAnswer | LegFailure::NotConfirmed => "NO_ANSWER",
        LegFailure::LostRace => "LOSE_RACE",
        LegFailure::NotAdmitted(refusal) => of_refusal(refusal),
        LegFailure::Over => "NORMAL_CLEARING",
    }
}

/// Returns why a conference lets nobody in.
pub(super) fn of_refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Full => FULL,
        Refusal::NotRunning => NOT_RUNNING,
        Refusal::Ended => "NORMAL_CLEARING",
        _ => TEMPORARY,
    }
}

/// Returns what a final response means (RFC 4497, and the contract's own list).
fn of_status(status: u16) -> &'static str {
    match status {
        300..=399 => "REDIRECTION_TO_NEW_DESTINATION",
        401 | 402 | 403 | 407 | 603 => "CALL_REJECTED",
        404 | 485 | 604 => UNALLOCATED,
        408 => "NO_USER_RESPONSE",
        410 => "NUMBER_CHANGED",
        413 | 414 | 416 | 420 | 421 | 481 | 500 | 513 => "INTERWORKING",
        480 => "SUBSCRIBER_ABSENT",
        482 | 483 => ROUTING_ERROR,
        484 => "INVALID_NUMBER_FORMAT",
        486 | 600 => "USER_BUSY",
        487 => "NORMAL_CLEARING",
        415 | 488 | 606 => INCOMPATIBLE,
        502 => "NETWORK_OUT_OF_ORDER",
        405 | 501 => "SERVICE_NOT_IMPLEMENTED",
        503 => TEMPORARY,
        504 => "RECOVERY_ON_TIMER_EXPIRE",
        _ => "NORMAL_UNSPECIFIED",
    }
}

/// How near an outcome is to success: of several calls for one endpoint, the failure of the nearest is told.
pub(super) fn nearness(word: &str) -> u8 {
    match word {
        "USER_BUSY" | "CALL_REJECTED" => 3,
        "NO_ANSWER" => 2,
        "LOSE_RACE" => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_words_of_the_contract() {
        for (failure, word) in [
            (LegFailure::Refused(486), "USER_BUSY"),
            (LegFailure::Refused(600), "USER_BUSY"),
            (LegFailure::NoAnswer, "NO_ANSWER"),
            (LegFailure::Refused(603), "CALL_REJECTED"),
            (LegFailure::Refused(403), "CALL_REJECTED"),
            (LegFailure::Refused(408), "NO_USER_RESPONSE"),
            (LegFailure::NoResponse, "NO_USER_RESPONSE"),
            (LegFailure::Refused(404), "UNALLOCATED_NUMBER"),
            (LegFailure::Refused(480), "SUBSCRIBER_ABSENT"),
            (LegFailure::Refused(503), "NORMAL_TEMPORARY_FAILURE"),
            (LegFailure::Refused(488), "INCOMPATIBLE_DESTINATION"),
            (LegFailure::Incompatible, "INCOMPATIBLE_DESTINATION"),
            (LegFailure::Refused(487), "NORMAL_CLEARING"),
            (LegFailure::LostRace, "LOSE_RACE"),
            (LegFailure::NotAdmitted(Refusal::Full), "conference is full"),
            (
                LegFailure::NotAdmitted(Refusal::NotRunning),
                "conference not running",
            ),
            (LegFailure::NoWay(NoWay::Connection), "DESTINATION_OUT_OF_ORDER"),
            (LegFailure::NoWay(NoWay::Ourselves), "EXCHANGE_ROUTING_ERROR"),
        ] {
            assert_eq!(of(failure), word, "{failure:?}");
        }
    }

    #[test]
    fn every_status_has_a_word() {
        for status in 300..700 {
            let word = of_status(status);
            assert!(
                word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                "{word}"
            );
        }
    }
}
