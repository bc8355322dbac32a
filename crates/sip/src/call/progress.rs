//! Provisional responses of ours to the first INVITE, and those of them that have to be acknowledged (RFC 3262).
//!
//! Owns their order: a caller that requires it is sent each one with a number, again and again until its PRACK comes, and the next one
//! only then. A 2xx waits for the PRACK, for as long as it takes where the response has described a session. Never decides what is told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::inbound::{Inbound, InboundState, IncomingInvite};
use super::{Call, InviteKind, describe_ourselves};
use crate::endpoint::check::{RELIABLE_PROVISIONAL, is_optional};
use crate::endpoint::event::{Body, EndCause, Rejection};
use crate::endpoint::stack::Stack;
use crate::message::{HeaderName, Request, Response, StatusCode};
use crate::transaction::timer::{T1, TIMEOUT, TimerKind};

/// RFC 3261 §13.3.1.1: a provisional response is repeated every minute, so that no proxy gives the call up.
const REFRESH: Duration = Duration::from_secs(60);
/// RFC 3262 §3: one that arrives for certain, every two and a half minutes.
const REFRESH_RELIABLE: Duration = Duration::from_secs(150);
/// How long a 2xx waits for the PRACK of a response without a session. It need not at all; but many callers know no other order.
const POLITE_WAIT: Duration = Duration::from_secs(2);
/// Responses that wait for the PRACK of the one before; further ones take the place of the last.
const WAITING: usize = 4;

/// What a call remembers of its reliable provisional responses.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// RSeq of the last one, 0 before the first.
    number: u32,
    /// The one whose PRACK has not come. It stays when the INVITE has been answered, for a PRACK that is late.
    open: Option<Open>,
    waiting: VecDeque<(StatusCode, Option<Body>)>,
    /// Our user has answered, and the 2xx waits for a PRACK.
    answer: Option<Body>,
}

#[derive(Debug)]
struct Open {
    invite_cseq: u32,
    status: StatusCode,
    bytes: Bytes,
    /// Time between the last two.
    interval: Duration,
    /// It describes a session.
    describes: bool,
}

impl Call {
    /// Sends a provisional response, or has it wait for the PRACK of the one before.
    pub(crate) fn progress(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: StatusCode,
        body: Option<Body>,
    ) {
        let Some(Inbound {
            transaction,
            kind: InviteKind::Initial,
            tag,
            state: InboundState::Pending { request, .. },
            ..
        }) = &self.inbound
        else {
            return stack.late_command();
        };
        // Its answer is given: what comes before it comes too late.
        if !status.is_provisional() || self.progress.answer.is_some() {
            return stack.late_command();
        }
        let (transaction, tag, request) = (*transaction, tag.clone(), request.clone());
        if status == StatusCode::TRYING {
            let response = stack.response(&request, status, None);
            stack.respond(now, transaction, &response);
            return;
        }
        let is_reliable = requires_reliable(&request);
        if is_reliable && request.body.is_empty() {
            // RFC 3262 §5: it would have to carry our offer, whose answer our user expects in the ACK. None need be sent.
            return;
        }
        if is_reliable && self.progress.open.is_some() {
            if self.progress.waiting.len() >= WAITING {
                self.progress.waiting.pop_back();
            }
            return self.progress.waiting.push_back((status, body));
        }
        let describes = body.is_some();
        let mut response = stack.response(&request, status, tag.as_ref());
        describe_ourselves(&mut response.headers, stack, &self.flow, &self.contact);
        if is_reliable {
            self.number(stack, &mut response);
        }
        if let Some(body) = body {
            response = response.with_body(body.content_type, body.bytes);
        }
        let bytes = stack.respond(now, transaction, &response);
        let refresh = if is_reliable { REFRESH_RELIABLE } else { REFRESH };
        self.timers.set(TimerKind::RefreshProvisional, now + refresh);
        if let Some(Inbound {
            cseq,
            state: InboundState::Pending { last_provisional, .. },
            ..
        }) = &mut self.inbound
        {
            *last_provisional = Some((status, bytes.clone()));
            if is_reliable {
                self.progress.open = Some(Open {
                    invite_cseq: *cseq,
                    status,
                    bytes,
                    interval: T1,
                    describes,
                });
                self.timers.set(TimerKind::RepeatReliable, now + T1);
                self.timers.set(TimerKind::PrackWait, now + TIMEOUT);
            }
        }
    }

    /// RFC 3262 §3: the first number is drawn, each other one is the next.
    fn number(&mut self, stack: &mut Stack, response: &mut Response) {
        self.progress.number = match self.progress.number {
            0 => 1 + stack.random_below(1 << 30),
            last => last + 1,
        };
        response.headers.push(HeaderName::Require, RELIABLE_PROVISIONAL);
        response
            .headers
            .push(HeaderName::RSeq, self.progress.number.to_string());
    }

    /// Keeps the answer of our user back while a PRACK is awaited (RFC 3262 §3). Returns whether it does.
    pub(super) fn answer_waits(&mut self, now: Instant, which: InviteKind, body: &Body) -> bool {
        let Some(open) = self
            .progress
            .open
            .as_ref()
            .filter(|_| which == InviteKind::Initial)
        else {
            return false;
        };
        if self.progress.answer.is_none() {
            self.progress.answer = Some(body.clone());
            self.progress.waiting.clear();
            self.timers.clear(TimerKind::AnswerWait);
            self.timers.clear(TimerKind::RefreshProvisional);
            if !open.describes {
                self.timers.set(TimerKind::PrackWait, now + POLITE_WAIT);
            }
        }
        true
    }

    /// The INVITE has its final response: nothing provisional is sent any more.
    pub(super) fn stop_progress(&mut self) {
        self.progress.waiting.clear();
        self.progress.answer = None;
        for kind in [
            TimerKind::RefreshProvisional,
            TimerKind::RepeatReliable,
            TimerKind::PrackWait,
        ] {
            self.timers.clear(kind);
        }
    }

    // ---- what arrives

    /// A PRACK that passed the dialog's sequence check.
    pub(crate) fn receive_prack(&mut self, now: Instant, stack: &mut Stack, prack: IncomingInvite) {
        let IncomingInvite {
            request, key, route, ..
        } = prack;
        let transaction = stack.transactions.open_other(key, route);
        let acknowledged = Acknowledged::of(&request);
        let status = match (&acknowledged, &self.progress.open) {
            (None, _) => StatusCode::BAD_REQUEST,
            (Some(_), _) if self.ended => StatusCode::CALL_DOES_NOT_EXIST,
            (Some(one), Some(open))
                if one.number == self.progress.number && one.invite_cseq == open.invite_cseq =>
            {
                // What the session is to be is agreed on by INVITE and 2xx. The response has arrived all the same.
                match request.body.is_empty() || is_optional(&request) {
                    true => StatusCode::OK,
                    false => StatusCode::NOT_ACCEPTABLE_HERE,
                }
            }
            (Some(_), _) => StatusCode::CALL_DOES_NOT_EXIST,
        };
        let mut response = stack.response(&request, status, None);
        match status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST => response = response.with_reason("Bad RAck"),
            StatusCode::NOT_ACCEPTABLE_HERE => {
                response = response.with_header(HeaderName::Warning, "399 confab \"no offer in a PRACK\"");
            }
            _ => stack.out.counters.refuse(status.code()),
        }
        stack.respond(now, transaction, &response);
        if matches!(status, StatusCode::OK | StatusCode::NOT_ACCEPTABLE_HERE) {
            self.go_on_after_prack(now, stack);
        }
    }

    fn go_on_after_prack(&mut self, now: Instant, stack: &mut Stack) {
        self.progress.open = None;
        self.timers.clear(TimerKind::RepeatReliable);
        self.timers.clear(TimerKind::PrackWait);
        if let Some(answer) = self.progress.answer.take() {
            self.answer(now, stack, InviteKind::Initial, answer);
        } else if let Some((status, body)) = self.progress.waiting.pop_front() {
            self.progress(now, stack, status, body);
        }
    }

    // ---- time

    pub(super) fn progress_timeout(&mut self, now: Instant, stack: &mut Stack, kind: TimerKind) {
        let Some(Inbound {
            transaction,
            state:
                InboundState::Pending {
                    request,
                    last_provisional,
                    ..
                },
            ..
        }) = &self.inbound
        else {
            return;
        };
        let transaction = *transaction;
        match (kind, &mut self.progress.open) {
            (TimerKind::RepeatReliable, Some(open)) => {
                // RFC 3262 §3: doubled each time, without an upper end.
                open.interval *= 2;
                self.timers.set(kind, now + open.interval);
                let (status, bytes) = (open.status, open.bytes.clone());
                stack
                    .transactions
                    .respond(now, transaction, status, bytes, true, &mut stack.out);
            }
            (TimerKind::PrackWait, Some(open)) if !open.describes && self.progress.answer.is_some() => {
                if let Some(answer) = self.progress.answer.take() {
                    self.answer(now, stack, InviteKind::Initial, answer);
                }
            }
            (TimerKind::PrackWait, Some(_)) => {
                let rejection = Rejection::new(StatusCode::SERVER_TIMEOUT);
                self.refuse_pending(now, stack, &rejection);
                self.end(stack, EndCause::PrackTimeout);
            }
            (TimerKind::RefreshProvisional, None) => {
                let Some((status, bytes)) = last_provisional.clone() else {
                    return;
                };
                if requires_reliable(request) {
                    // A copy of the old one would be taken for that: it is a new one, with the next number.
                    return self.progress(now, stack, status, None);
                }
                self.timers.set(kind, now + REFRESH);
                stack
                    .transactions
                    .respond(now, transaction, status, bytes, true, &mut stack.out);
            }
            _ => {}
        }
    }
}

/// Whether the caller takes no provisional responses but reliable ones. Who only supports them gets ordinary ones: each reliable one costs
/// both sides a transaction.
fn requires_reliable(invite: &Request) -> bool {
    let required = invite.headers.require().unwrap_or_default();
    required
        .iter()
        .any(|tag| tag.eq_ignore_case(RELIABLE_PROVISIONAL))
}

/// The response that a PRACK is for (RFC 3262 §7.2).
#[derive(Debug, PartialEq, Eq)]
struct Acknowledged {
    number: u32,
    invite_cseq: u32,
}

impl Acknowledged {
    /// Reads RAck; `None` for what is none, or is of no INVITE.
    fn of(prack: &Request) -> Option<Self> {
        let mut values = prack.headers.get_all(&HeaderName::RAck);
        let value = values.next().filter(|_| values.next().is_none())?;
        let mut words = std::str::from_utf8(value).ok()?.split_ascii_whitespace();
        let mut number = || {
            let word = words.next()?;
            let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
            word.parse().ok().filter(|_| is_number)
        };
        let (number, invite_cseq) = (number()?, number()?);
        let method = words.next().filter(|_| words.next().is_none())?;
        (method == "INVITE").then_some(Acknowledged { number, invite_cseq })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Method;
    use crate::uri::Uri;

    fn read(value: &[u8]) -> Option<Acknowledged> {
        let uri = Uri::parse("sip:a@192.0.2.1").expect("a URI");
        let value = Bytes::copy_from_slice(value);
        Acknowledged::of(&Request::new(Method::Prack, uri).with_header(HeaderName::RAck, value))
    }

    #[test]
    fn a_prack_names_a_response_by_two_numbers_and_the_method() {
        let named = |number, invite_cseq| Some(Acknowledged { number, invite_cseq });
        let rows: [(&[u8], _); 10] = [
            (b"776656 1 INVITE", named(776_656, 1)),
            (b" 4294967295\t0  INVITE ", named(u32::MAX, 0)),
            (b"", None),
            (b"1 INVITE", None),
            (b"1 2 UPDATE", None),
            (b"1 2 invite", None),
            (b"1 2 INVITE 3", None),
            (b"+1 2 INVITE", None),
            (b"4294967296 2 INVITE", None),
            (b"\xff 2 INVITE", None),
        ];
        for (value, expected) in rows {
            assert_eq!(read(value), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    proptest! {
        #[test]
        fn any_rack_is_read_or_not(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&value);
        }

        #[test]
        fn what_is_written_is_read(number in any::<u32>(), invite_cseq in any::<u32>()) {
            let text = format!("{number} {invite_cseq} INVITE");
            prop_assert_eq!(read(text.as_bytes()), Some(Acknowledged { number, invite_cseq }));
        }
    }
}
