//! The ways of one call that is placed, one after the other: gateways, and the addresses of each.
//!
//! Owns when the next one is tried, and what a gateway is told of itself. Places nothing: that is [`outgoing`](super::outgoing)'s.

use std::{sync::Arc, time::Duration};

use confab_sip::{HeaderName, Headers};
use tokio::time::Instant;

use super::CallServer;
use super::outgoing::{Attempt, LegFailure, Order, call};
use crate::{
    signalling::reach::NoWay,
    trunks::{Absence, GatewayUse},
};

/// How long an address may be silent where there is another one to call: an INVITE over UDP was sent four times by then.
const FIRST_RESPONSE: Duration = Duration::from_secs(4);
/// How long the last address of a gateway may take to say anything at all.
const GATEWAY_SILENCE: Duration = Duration::from_secs(5);

/// What the far side has said before the end.
#[derive(Default)]
pub(super) struct Heard {
    /// Anything.
    pub(super) any: bool,
    /// Somebody's phone rang.
    pub(super) rang: bool,
    /// For how long it has no room (Retry-After).
    pub(super) retry_after: Option<Duration>,
}

/// Calls by the ways of an order, until one comes to more than that its far side is not there.
pub(super) async fn try_all(server: &Arc<CallServer>, order: &mut Order) -> Result<(), LegFailure> {
    let mut attempts = std::mem::take(&mut order.attempts).into_iter().peekable();
    let mut failure = LegFailure::NoWay(NoWay::Host);
    while let Some(attempt) = attempts.next() {
        let mut heard = Heard::default();
        let outcome = try_one(server, order, &attempt, &mut heard).await;
        let Err(next) = outcome else { return Ok(()) };
        if let Some(gateway) = &attempt.gateway {
            note(gateway, next, &heard);
        }
        failure = next;
        if heard.rang || !next.leads_on() || attempts.peek().is_none() || Instant::now() >= order.ring_until {
            break;
        }
        if server.admission.is_draining() {
            return Err(LegFailure::Over);
        }
        if let Some(gateway) = &attempt.gateway {
            gateway.passed_over();
        }
    }
    Err(failure)
}

/// Notes what a failure says about a gateway.
fn note(gateway: &GatewayUse, failure: LegFailure, heard: &Heard) {
    match failure {
        LegFailure::NoWay(_) => gateway.absent(Absence::Silent),
        LegFailure::NoResponse if !heard.any => gateway.absent(Absence::Silent),
        LegFailure::Refused(503) => gateway.absent(Absence::Full(heard.retry_after)),
        _ if heard.any => gateway.present(),
        _ => {}
    }
}

/// Calls by one way, at all of its addresses.
async fn try_one(
    server: &Arc<CallServer>,
    order: &mut Order,
    attempt: &Attempt,
    heard: &mut Heard,
) -> Result<(), LegFailure> {
    let destination = &attempt.destination;
    let ways = match destination.flow {
        Some(flow) => vec![flow],
        None if destination.is_internal => {
            let back = server.listens.to_ourselves();
            vec![back.ok_or(LegFailure::NoWay(NoWay::Transport))?]
        }
        None => {
            let hop = destination.by.as_ref().unwrap_or(&destination.target);
            let found = tokio::select! {
                found = server.listens.ways_to(hop, &server.local) => found,
                () = tokio::time::sleep_until(order.ring_until) => return Err(LegFailure::NoResponse),
            };
            found.map_err(LegFailure::NoWay)?
        }
    };
    let mut failure = None;
    let last = ways.len().saturating_sub(1);
    for (index, way) in ways.into_iter().enumerate() {
        // RFC 3263 §4.3 counts silence too, which the dial has no time to wait out where there is somebody else to ask.
        let heard_within = match attempt.gateway {
            _ if index < last => Some(FIRST_RESPONSE),
            Some(_) => Some(GATEWAY_SILENCE),
            None => None,
        };
        match call(server, order, attempt, way, (&mut *heard, heard_within)).await {
            // RFC 3263 §4.3: the next address, where this one is not there or has no room.
            Err(
                next @ (LegFailure::NoResponse
                | LegFailure::NoWay(NoWay::Connection)
                | LegFailure::Refused(503)),
            ) if Instant::now() < order.ring_until => {
                failure = Some(next);
            }
            // Nobody was asked: there is no media address of that family. What others have said counts.
            Err(LegFailure::NoWay(NoWay::Transport)) => {
                failure.get_or_insert(LegFailure::NoWay(NoWay::Transport));
            }
            outcome => return outcome,
        }
    }
    Err(failure.unwrap_or(LegFailure::NoWay(NoWay::Host)))
}

/// For how long a far side has no room (RFC 3261 §20.33).
pub(super) fn retry_after(headers: &Headers) -> Option<Duration> {
    let text = headers.text(&HeaderName::RetryAfter)?;
    let text = text.to_str_lossy();
    let seconds = text.split([';', '(']).next()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
