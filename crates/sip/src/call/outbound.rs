//! The INVITE a call has sent and not finished yet: initial or re-INVITE.
//!
//! Owns the UAC half of RFC 3261 §13.2 and §14.1: progress, the 2xx and its ACK, ACKs repeated for repeated 2xx,
//! forks, CANCEL and its race with the 2xx, glare.

use std::time::{Duration, Instant};

use super::authenticating::Authentication;
use super::retrying::Unanswered;
use super::session::ask_for_first_session;
use super::{
    Call, CallerIdentity, InviteKind, SentAck, add_body, describe_ourselves, essentials_of, session_body,
};
use crate::dialog::Dialog;
use crate::endpoint::check::RELIABLE_PROVISIONAL;
use crate::endpoint::counters::DropReason;
use crate::endpoint::event::{Body, CallKey, EndCause, Event, Invitation, ReinviteOutcome};
use crate::endpoint::route::next_hop;
use crate::endpoint::stack::Stack;
use crate::message::{CSeq, Essentials, HeaderName, Method, Reason, Request, Response, StatusCode, Tag};
use crate::transaction::layer::{ClientId, ClientNews, ClientOutcome, Owner, Purpose};
use crate::transaction::timer::TimerKind;
use crate::uri::SipScheme;

/// How long our user may take with the answer to an offer in a 2xx. Shorter than the peer's patience and than the transaction that
/// would ask for the ACK again, both 64·T1.
const LATE_ANSWER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) transaction: ClientId,
    pub(super) kind: InviteKind,
    pub(super) cseq: u32,
    /// Our INVITE carried the offer.
    pub(super) offered: bool,
    pub(super) state: OutboundState,
}

#[derive(Debug)]
pub(super) enum OutboundState {
    /// No final response.
    Calling {
        provisional_seen: bool,
        /// Our user hung up before any response came: CANCEL follows the first one (RFC 3261 §9.1).
        cancel: CancelState,
    },
    /// A 2xx brought the offer; our user owes the answer.
    AnswerOwed { remote_tag: Option<Tag> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CancelState {
    No,
    Wanted(Option<Reason>),
    Sent,
}

impl Call {
    /// Places a new call.
    pub(crate) fn invite(now: Instant, stack: &mut Stack, key: CallKey, invitation: Invitation) -> Self {
        let Invitation {
            target,
            flow,
            from,
            to,
            call_id,
            contact,
            body,
            identity,
            returns,
            headers,
        } = invitation;
        let mut call = Call::new(key, true, flow, contact);
        call.contact.is_secure |= target.as_sip().is_some_and(|uri| uri.scheme == SipScheme::Sips);
        call.returns = returns;
        call.authentication = identity.map(Authentication::new);
        let identity = CallerIdentity {
            call_id: call_id.unwrap_or_else(|| stack.call_id()),
            tag: stack.tag(),
        };
        let cseq = stack.first_cseq() + 1;
        let mut request = Request::new(Method::Invite, target);
        request.headers.push(HeaderName::MaxForwards, "70");
        request
            .headers
            .push(HeaderName::From, from.with_tag(&identity.tag).to_bytes());
        request.headers.push(HeaderName::To, to.to_bytes());
        request.headers.push(HeaderName::CallId, identity.call_id);
        request.headers.push(
            HeaderName::CSeq,
            CSeq {
                number: cseq,
                method: Method::Invite,
            }
            .to_bytes(),
        );
        for (name, value) in headers {
            request.headers.push(name, value);
        }
        stack.out.counters.calls_out += 1;
        call.send_invite(now, stack, request, InviteKind::Initial, cseq, body);
        call.timers
            .set(TimerKind::RingWait, now + stack.config.ring_timeout);
        call
    }

    /// Sends a re-INVITE, if no other INVITE is in progress (RFC 3261 §14.1).
    pub(crate) fn reinvite(&mut self, now: Instant, stack: &mut Stack, body: Option<Body>) {
        if self.ended {
            return stack.late_command();
        }
        let busy =
            self.outbound.is_some() || self.inbound.is_some() || self.timers.is_running(TimerKind::GlareWait);
        let confirmed = self.is_confirmed();
        let Some(dialog) = self.dialog.as_mut().filter(|_| confirmed && !busy) else {
            let outcome = ReinviteOutcome::Busy;
            return stack.out.event(Event::ReinviteOutcome {
                call: self.key,
                outcome,
            });
        };
        let request = dialog.request(Method::Invite);
        let cseq = request
            .headers
            .cseq()
            .ok()
            .flatten()
            .map_or(0, |cseq| cseq.number);
        self.send_invite(now, stack, request, InviteKind::Re, cseq, body);
        self.timers
            .set(TimerKind::RingWait, now + stack.config.ring_timeout);
    }

    fn send_invite(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        mut request: Request,
        kind: InviteKind,
        cseq: u32,
        body: Option<Body>,
    ) {
        let flow = match &self.dialog {
            Some(dialog) => next_hop(dialog.next_hop(), &self.flow, &stack.config.local_nets),
            None => self.flow,
        };
        describe_ourselves(&mut request.headers, stack, &flow, &self.contact);
        match kind {
            InviteKind::Initial => ask_for_first_session(&mut request.headers, &stack.config),
            InviteKind::Re => self.ask_for_session(&mut request.headers),
        }
        let offered = body.is_some();
        if !offered {
            request.headers.push(HeaderName::Accept, stack.accept());
        }
        add_body(&mut request, body);
        if offered && kind == InviteKind::Initial {
            // Without an offer of ours a reliable response would bring one, whose answer could not wait for that of our user.
            let supported = format!("{}, {RELIABLE_PROVISIONAL}", stack.supported());
            request.headers.replace(HeaderName::Supported, supported);
        }
        if kind == InviteKind::Initial {
            self.unanswered = Some(Unanswered::new(&request));
        }
        self.authorize(stack, &mut request);
        let owner = Owner {
            call: self.key,
            purpose: Purpose::Invite,
        };
        let transaction = stack.send(now, request, flow, owner);
        let state = OutboundState::Calling {
            provisional_seen: false,
            cancel: CancelState::No,
        };
        self.outbound = Some(Outbound {
            transaction,
            kind,
            cseq,
            offered,
            state,
        });
    }

    /// Gives the answer to an offer that came in a 2xx.
    pub(crate) fn acknowledge(&mut self, now: Instant, stack: &mut Stack, body: Option<Body>) {
        let Some(Outbound {
            transaction,
            cseq,
            state: OutboundState::AnswerOwed { .. },
            ..
        }) = &self.outbound
        else {
            return stack.late_command();
        };
        let (transaction, cseq) = (*transaction, *cseq);
        self.outbound = None;
        self.timers.clear(TimerKind::LateAnswerWait);
        self.send_ack(stack, transaction, cseq, body);
        if let Some(reason) = self.bye_after_ack.take() {
            self.send_bye(now, stack, reason);
        }
    }

    fn send_ack(&mut self, stack: &mut Stack, invite: ClientId, cseq: u32, body: Option<Body>) {
        let Some(dialog) = &self.dialog else { return };
        let ack = self.ack_in(stack, dialog, invite, cseq, body);
        if stack.transactions.sent(invite).is_some() {
            self.acks.push(ack);
        }
    }

    fn ack_in(
        &self,
        stack: &mut Stack,
        dialog: &Dialog,
        invite: ClientId,
        cseq: u32,
        body: Option<Body>,
    ) -> SentAck {
        let flow = next_hop(dialog.next_hop(), &self.flow, &stack.config.local_nets);
        let mut ack = dialog.ack(cseq);
        add_body(&mut ack, body);
        self.authorize_ack(stack, invite, &mut ack);
        let remote_tag = ack.headers.to().ok().flatten().and_then(|to| to.tag());
        let bytes = stack.send_ack(ack, flow);
        SentAck {
            invite,
            remote_tag,
            flow,
            bytes,
        }
    }

    // ---- what arrives

    pub(super) fn invite_news(&mut self, now: Instant, stack: &mut Stack, news: ClientNews) {
        let current = self
            .outbound
            .as_ref()
            .is_some_and(|outbound| outbound.transaction == news.id);
        match news.outcome {
            ClientOutcome::Response(response) => {
                let Some(essentials) = essentials_of(&response.headers) else {
                    return;
                };
                match response.status.class() {
                    1 if current => self.invite_progress(now, stack, &response, &essentials),
                    1 => {}
                    2 => self.invite_success(now, stack, news.id, &response, &essentials),
                    _ if current => self.invite_failure(now, stack, &response),
                    _ => {}
                }
            }
            ClientOutcome::NoResponse if current => self.invite_unanswered(now, stack, EndCause::Timeout),
            ClientOutcome::TransportFailed if current => {
                self.invite_unanswered(now, stack, EndCause::TransportFailed);
            }
            ClientOutcome::NoResponse | ClientOutcome::TransportFailed | ClientOutcome::Ended => {
                self.acks.retain(|ack| ack.invite != news.id);
                if current && self.ended {
                    self.outbound = None;
                }
            }
        }
    }

    fn invite_progress(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        response: &Response,
        essentials: &Essentials,
    ) {
        let Some(Outbound {
            transaction,
            kind,
            state:
                OutboundState::Calling {
                    provisional_seen,
                    cancel,
                },
            ..
        }) = &mut self.outbound
        else {
            return;
        };
        let is_first = !std::mem::replace(provisional_seen, true);
        let (transaction, kind) = (*transaction, *kind);
        if let CancelState::Wanted(reason) = cancel {
            let reason = reason.take();
            *cancel = CancelState::Sent;
            self.send_cancel(now, stack, transaction, reason);
        }
        if kind == InviteKind::Re {
            return;
        }
        if response.status == StatusCode::TRYING {
            if is_first && !self.ended {
                stack.out.event(Event::Trying { call: self.key });
            }
            return;
        }
        let body = session_body(stack, &response.headers, &response.body);
        let is_new = self.take_provisional(now, stack, transaction, (response, essentials), body.as_ref());
        if is_new && !self.ended {
            stack.out.event(Event::Progress {
                call: self.key,
                status: response.status,
                body,
            });
        }
    }

    pub(super) fn send_cancel(
        &self,
        now: Instant,
        stack: &mut Stack,
        invite: ClientId,
        reason: Option<Reason>,
    ) {
        let owner = Owner {
            call: self.key,
            purpose: Purpose::Unattended,
        };
        stack.send_cancel(now, invite, reason.map(|reason| reason.to_bytes()), owner);
    }

    fn invite_success(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: ClientId,
        response: &Response,
        essentials: &Essentials,
    ) {
        let remote_tag = essentials.to_tag();
        if let Some(ack) = self
            .acks
            .iter()
            .find(|ack| ack.invite == id && ack.remote_tag == remote_tag)
        {
            // Our ACK was lost (RFC 3261 §13.2.2.4).
            stack.out.drop_for(DropReason::Retransmission);
            return stack.out.retransmit(ack.flow, ack.bytes.clone());
        }
        match &self.outbound {
            Some(Outbound {
                transaction,
                state: OutboundState::Calling { .. },
                ..
            }) if *transaction == id => {
                self.invite_answered(now, stack, response, essentials);
            }
            Some(Outbound {
                transaction,
                state: OutboundState::AnswerOwed { remote_tag: first },
                ..
            }) if *transaction == id && *first == remote_tag => {
                // The ACK needs the answer, which our user still owes.
                stack.out.drop_for(DropReason::Retransmission);
            }
            _ => self.end_fork(now, stack, id, response, essentials),
        }
    }

    /// The first 2xx.
    fn invite_answered(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        response: &Response,
        essentials: &Essentials,
    ) {
        let Some(outbound) = &self.outbound else { return };
        let (id, kind, cseq, offered) = (
            outbound.transaction,
            outbound.kind,
            outbound.cseq,
            outbound.offered,
        );
        self.timers.clear(TimerKind::RingWait);
        let mut early = None;
        match kind {
            InviteKind::Initial => {
                let Some((request, _)) = stack.transactions.sent(id) else {
                    return;
                };
                let dialog = Dialog::from_response(request, response, essentials);
                self.unanswered = None;
                early = self.confirm_dialog(stack, dialog);
            }
            InviteKind::Re => {
                if let Some(dialog) = &mut self.dialog {
                    dialog.refresh_target(&response.headers);
                }
            }
        }
        if self.ended {
            // Our user hung up and the 2xx was faster than the CANCEL, or the BYE crossed it (RFC 3261 §9.1, §15).
            self.outbound = None;
            self.send_ack(stack, id, cseq, None);
            if kind == InviteKind::Initial {
                self.send_bye(now, stack, None);
            }
            return;
        }
        if kind == InviteKind::Initial && !has_usable_contact(response) {
            // RFC 3261 §13.2.2.4: it is acknowledged all the same, where the INVITE went, and ended.
            self.outbound = None;
            self.send_ack(stack, id, cseq, None);
            self.send_bye(now, stack, Some(Reason::sip(400, "Bad Contact")));
            return self.end(stack, EndCause::UnusableAnswer);
        }
        self.session_answered(now, &response.headers);
        // RFC 3262 §5: an answer in a reliable provisional response is the answer.
        let body = session_body(stack, &response.headers, &response.body).or(early.filter(|_| offered));
        if offered {
            self.outbound = None;
            self.send_ack(stack, id, cseq, None);
        } else if let Some(outbound) = &mut self.outbound {
            outbound.state = OutboundState::AnswerOwed {
                remote_tag: essentials.to_tag(),
            };
            self.timers.set(TimerKind::LateAnswerWait, now + LATE_ANSWER);
        }
        stack.out.event(match kind {
            InviteKind::Initial => Event::Answered {
                call: self.key,
                body,
                headers: response.headers.clone(),
            },
            InviteKind::Re => Event::ReinviteOutcome {
                call: self.key,
                outcome: ReinviteOutcome::Accepted { body },
            },
        });
    }

    /// Another fork answered as well: it is acknowledged and ended at once (RFC 3261 §13.2.2.4).
    fn end_fork(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: ClientId,
        response: &Response,
        essentials: &Essentials,
    ) {
        if self.acks.len() >= stack.config.limits.forks {
            return stack.out.drop_for(DropReason::TooManyForks);
        }
        let Some((request, _)) = stack.transactions.sent(id) else {
            return;
        };
        let within_dialog = request
            .headers
            .to()
            .ok()
            .flatten()
            .is_some_and(|to| to.tag().is_some());
        let mut dialog = Dialog::from_response(request, response, essentials);
        dialog.count_on_from(self.early_cseq);
        let ack = self.ack_in(stack, &dialog, id, essentials.cseq.number, None);
        let flow = ack.flow;
        self.acks.push(ack);
        if within_dialog {
            // A re-INVITE of ours that was answered after our BYE went out.
            return;
        }
        let owner = Owner {
            call: self.key,
            purpose: Purpose::Unattended,
        };
        stack.send(now, dialog.request(Method::Bye), flow, owner);
    }

    fn invite_failure(&mut self, now: Instant, stack: &mut Stack, response: &Response) {
        let Some(outbound) = self.outbound.take() else {
            return;
        };
        let kind = outbound.kind;
        self.timers.clear(TimerKind::RingWait);
        if self.ended || self.try_again(now, stack, &outbound, response) {
            return;
        }
        let status = response.status;
        if kind == InviteKind::Initial {
            let reason = String::from_utf8_lossy(&response.reason).into_owned();
            let headers = response.headers.clone();
            stack.out.event(Event::Failed {
                call: self.key,
                status,
                reason,
                headers,
            });
            return self.end(stack, EndCause::Refused { status });
        }
        match status {
            StatusCode::REQUEST_PENDING => {
                let wait = self.glare_wait(stack);
                self.timers.set(TimerKind::GlareWait, now + wait);
            }
            StatusCode::CALL_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT => {
                self.send_bye(now, stack, None);
                self.end(stack, EndCause::Gone { status });
            }
            _ => {
                if status == StatusCode::SESSION_INTERVAL_TOO_SMALL {
                    // The next refresh asks for what the peer takes.
                    self.note_least_session(&response.headers);
                }
                let outcome = ReinviteOutcome::Rejected { status };
                stack.out.event(Event::ReinviteOutcome {
                    call: self.key,
                    outcome,
                });
            }
        }
    }

    /// RFC 3261 §14.1: the side that chose the Call-ID waits 2.1 to 4 s, the other one up to 2 s, in steps of 10 ms.
    fn glare_wait(&self, stack: &mut Stack) -> Duration {
        let steps = if self.is_caller {
            210 + stack.random_below(191)
        } else {
            stack.random_below(201)
        };
        Duration::from_millis(u64::from(steps) * 10)
    }

    /// No final response came, or the INVITE could not be sent.
    fn invite_unanswered(&mut self, now: Instant, stack: &mut Stack, cause: EndCause) {
        let Some(Outbound { kind, .. }) = self.outbound.take() else {
            return;
        };
        self.timers.clear(TimerKind::RingWait);
        if kind == InviteKind::Re && !self.ended {
            self.send_bye(now, stack, None);
        }
        self.end(stack, cause);
    }

    // ---- time

    pub(super) fn outbound_timeout(&mut self, now: Instant, stack: &mut Stack, kind: TimerKind) {
        match kind {
            TimerKind::RingWait => self.give_up_ringing(now, stack),
            TimerKind::GlareWait if !self.ended => {
                let outcome = ReinviteOutcome::Glare;
                stack.out.event(Event::ReinviteOutcome {
                    call: self.key,
                    outcome,
                });
            }
            TimerKind::LateAnswerWait => {
                self.acknowledge(now, stack, None);
                if !self.ended {
                    self.send_bye(now, stack, None);
                    self.end(stack, EndCause::NotAnswered);
                }
            }
            _ => {}
        }
    }

    fn give_up_ringing(&mut self, now: Instant, stack: &mut Stack) {
        match &self.outbound {
            Some(Outbound {
                kind: InviteKind::Initial,
                ..
            }) => {
                self.cancel_outbound(now, stack, None);
                self.end(stack, EndCause::Timeout);
            }
            Some(Outbound {
                kind: InviteKind::Re, ..
            }) => self.cancel_outbound(now, stack, None),
            None => {}
        }
    }

    /// Takes our pending INVITE back, now or as soon as the first response allows it.
    pub(super) fn cancel_outbound(&mut self, now: Instant, stack: &mut Stack, reason: Option<Reason>) {
        let Some(Outbound {
            transaction,
            state:
                OutboundState::Calling {
                    provisional_seen,
                    cancel,
                },
            ..
        }) = &mut self.outbound
        else {
            return;
        };
        if *cancel != CancelState::No {
            return;
        }
        let transaction = *transaction;
        if *provisional_seen {
            *cancel = CancelState::Sent;
            self.send_cancel(now, stack, transaction, reason);
        } else {
            *cancel = CancelState::Wanted(reason);
        }
    }
}

/// Whether the requests of the dialog that a 2xx opens have a target. One that names none, as those of RFC 2543 may, has that of the INVITE.
fn has_usable_contact(response: &Response) -> bool {
    let first = response.headers.contacts().map(|all| all.into_iter().next());
    first.is_ok_and(|first| first.is_none_or(|contact| contact.uri.as_sip().is_some()))
}
