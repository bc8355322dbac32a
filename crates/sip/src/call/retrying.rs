//! Our first INVITE sent again, because the response says what would make it acceptable: credentials (401 and 407, RFC 3261 §22.2
//! and §22.3), or a session that lives for longer (422, RFC 4028 §7.4).
//!
//! Owns the INVITE until it is answered, and the count of tries: a far side that always wants something else has its limit.

use std::time::Instant;

use super::outbound::{CancelState, Outbound, OutboundState};
use super::{Call, InviteKind};
use crate::endpoint::stack::Stack;
use crate::message::{CSeq, HeaderName, Method, Request, Response, StatusCode};
use crate::transaction::layer::{Owner, Purpose};
use crate::transaction::timer::TimerKind;

/// How often an INVITE is sent again: a proxy asks who we are, the far side does, a nonce of each was too old, and both want longer sessions.
const MOST_TRIES: u32 = 6;

/// An INVITE that may have to be sent again.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// As it was sent, without what the transport adds and without credentials.
    request: Box<Request>,
    tries: u32,
}

impl Unanswered {
    pub(super) fn new(invite: &Request) -> Unanswered {
        Unanswered {
            request: Box::new(invite.clone()),
            tries: 0,
        }
    }
}

impl Call {
    /// Sends the INVITE again with what the response asks for. Returns false when that cannot help.
    pub(super) fn try_again(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        outbound: &Outbound,
        response: &Response,
    ) -> bool {
        let is_wanted = matches!(
            outbound.state,
            OutboundState::Calling {
                cancel: CancelState::No,
                ..
            }
        );
        if !is_wanted || outbound.kind != InviteKind::Initial {
            return false;
        }
        let Some(mut unanswered) = self.unanswered.take().filter(|one| one.tries < MOST_TRIES) else {
            return false;
        };
        if !self.makes_acceptable(&mut unanswered.request, response) {
            return false;
        }
        // RFC 3261 §8.1.3.5: the same Call-ID, From and To, the next number.
        let cseq = outbound.cseq + 1;
        let number = CSeq {
            number: cseq,
            method: Method::Invite,
        };
        let mut request = (*unanswered.request).clone();
        request.headers.replace(HeaderName::CSeq, number.to_bytes());
        self.authorize(stack, &mut request);
        unanswered.tries += 1;
        self.unanswered = Some(unanswered);
        self.drop_early(stack);
        let owner = Owner {
            call: self.key,
            purpose: Purpose::Invite,
        };
        let transaction = stack.send(now, request, self.flow, owner);
        self.outbound = Some(Outbound {
            transaction,
            kind: InviteKind::Initial,
            cseq,
            offered: outbound.offered,
            state: OutboundState::Calling {
                provisional_seen: false,
                cancel: CancelState::No,
            },
        });
        self.timers
            .set(TimerKind::RingWait, now + stack.config.ring_timeout);
        true
    }

    /// Changes the INVITE, or what it will be signed with, so that it is what the response asks for.
    fn makes_acceptable(&mut self, invite: &mut Request, response: &Response) -> bool {
        match response.status {
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => self
                .authentication
                .as_mut()
                .is_some_and(|authentication| authentication.note(response)),
            StatusCode::SESSION_INTERVAL_TOO_SMALL => self.lengthen_session(&mut invite.headers, response),
            _ => false,
        }
    }
}
