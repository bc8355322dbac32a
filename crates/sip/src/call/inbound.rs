//! The INVITE a call has received and not finished yet: initial or re-INVITE, waiting for our user's answer or for the ACK.
//!
//! Owns the UAS half of RFC 3261 §13.3 and §14.2: the 2xx repeated until its ACK, refusals, CANCEL, and what happens when INVITEs overlap.
//! What is sent before the answer is in `progress`.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Call, InviteKind, asks_for_sips, describe_ourselves, essentials_of, session_body};
use crate::dialog::Dialog;
use crate::endpoint::counters::DropReason;
use crate::endpoint::event::{Body, CallKey, EndCause, Event, LocalContact, Rejection};
use crate::endpoint::flow::Flow;
use crate::endpoint::route::ResponseRoute;
use crate::endpoint::stack::Stack;
use crate::message::{Essentials, HeaderName, Request, Response, StatusCode, Tag};
use crate::transaction::key::{MergeKey, ServerKey};
use crate::transaction::layer::ServerId;
use crate::transaction::timer::{T1, T2, TIMEOUT, TimerKind, back_off};

/// RFC 3261 §14.2: upper end of the random Retry-After, in seconds.
const OVERLAP_RETRY_MAX_S: u32 = 10;

/// A checked request on its way to a call: an INVITE, an UPDATE, a REFER or a PRACK.
pub(crate) struct IncomingInvite {
    pub(crate) request: Request,
    pub(crate) essentials: Essentials,
    pub(crate) key: ServerKey,
    pub(crate) merge: Option<MergeKey>,
    pub(crate) route: ResponseRoute,
    pub(crate) flow: Flow,
}

#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) transaction: ServerId,
    pub(super) kind: InviteKind,
    pub(super) cseq: u32,
    pub(super) tag: Option<Tag>,
    /// It is an UPDATE: its 2xx wants no ACK.
    is_update: bool,
    pub(super) state: InboundState,
}

#[derive(Debug)]
pub(super) enum InboundState {
    /// Our user has not decided.
    Pending {
        request: Box<Request>,
        last_provisional: Option<(StatusCode, Bytes)>,
        /// The time given by Expires is what runs out first.
        expires: bool,
    },
    /// A 2xx was sent and waits for its ACK.
    Accepted {
        response: Bytes,
        status: StatusCode,
        interval: Duration,
        /// The 2xx carried the offer; the ACK has to bring the answer.
        offered: bool,
    },
}

impl Inbound {
    pub(super) fn pending(
        transaction: ServerId,
        kind: InviteKind,
        request: &Request,
        essentials: &Essentials,
        tag: Option<Tag>,
    ) -> Self {
        let state = InboundState::Pending {
            request: Box::new(request.clone()),
            last_provisional: None,
            expires: false,
        };
        Inbound {
            transaction,
            kind,
            cseq: essentials.cseq.number,
            tag,
            is_update: false,
            state,
        }
    }

    /// The same as an UPDATE.
    pub(super) fn by_update(self) -> Self {
        Inbound {
            is_update: true,
            ..self
        }
    }
}

impl Call {
    /// A new call from its INVITE; the user hears of it.
    pub(crate) fn receive_invite(
        now: Instant,
        stack: &mut Stack,
        key: CallKey,
        (invite, replaces): (IncomingInvite, Option<CallKey>),
    ) -> Self {
        let IncomingInvite {
            request,
            essentials,
            key: server_key,
            merge,
            route,
            flow,
        } = invite;
        let user = request.uri.as_sip().and_then(|uri| uri.user_decoded());
        let contact = LocalContact {
            user: user.map(|user| user.to_str_lossy().into_owned()),
            is_focus: false,
            is_secure: asks_for_sips(&request),
        };
        let mut call = Call::new(key, false, flow, contact);
        let tag = stack.tag();
        let dialog = Dialog::from_request(&request, &essentials, &tag, stack.first_cseq());
        call.register(stack, dialog.id());
        call.dialog = Some(dialog);
        let transaction = stack
            .transactions
            .open_invite(now, server_key, merge, route, Some(key));
        let inbound = Inbound::pending(transaction, InviteKind::Initial, &request, &essentials, Some(tag));
        call.note_peer(&request.headers);
        call.await_answer(now, stack, inbound);
        stack.out.counters.calls_in += 1;
        stack.out.event(Event::Invite {
            call: key,
            request,
            flow,
            replaces,
        });
        call
    }

    /// A re-INVITE that passed the dialog's sequence check.
    pub(crate) fn receive_reinvite(&mut self, now: Instant, stack: &mut Stack, invite: IncomingInvite) {
        if let Err(refusal) = self.may_take_reinvite(stack, &invite.request) {
            let id = stack
                .transactions
                .open_invite(now, invite.key, None, invite.route, None);
            stack.out.counters.refuse(refusal.status.code());
            stack.respond(now, id, &refusal);
            return;
        }
        if let Some(Inbound {
            kind, transaction, ..
        }) = self.inbound.take()
        {
            stack.transactions.acknowledged(transaction);
            // The peer can only have gone on with its next INVITE if it has seen our 2xx; the ACK was lost or is late.
            self.stop_repeating();
            self.report_ack(stack, kind, None);
        }
        let transaction = stack
            .transactions
            .open_invite(now, invite.key, None, invite.route, Some(self.key));
        let inbound = Inbound::pending(
            transaction,
            InviteKind::Re,
            &invite.request,
            &invite.essentials,
            None,
        );
        self.await_answer(now, stack, inbound);
        stack.out.event(Event::Reinvite {
            call: self.key,
            request: invite.request,
        });
    }

    /// RFC 3261 §14.2: one INVITE at a time in each direction.
    fn may_take_reinvite(&mut self, stack: &mut Stack, request: &Request) -> Result<(), Box<Response>> {
        if self.ended {
            return Err(Box::new(stack.response(
                request,
                StatusCode::CALL_DOES_NOT_EXIST,
                None,
            )));
        }
        let ours_in_progress = self.outbound.is_some();
        match &self.inbound {
            Some(Inbound {
                state: InboundState::Pending { .. },
                ..
            }) => {
                let seconds = stack.random_below(OVERLAP_RETRY_MAX_S + 1);
                let response = stack.response(request, StatusCode::SERVER_INTERNAL_ERROR, None);
                Err(Box::new(
                    response.with_header(HeaderName::RetryAfter, seconds.to_string()),
                ))
            }
            Some(Inbound {
                state: InboundState::Accepted { offered: true, .. },
                ..
            }) => Err(Box::new(stack.response(
                request,
                StatusCode::REQUEST_PENDING,
                None,
            ))),
            _ if ours_in_progress => Err(Box::new(stack.response(
                request,
                StatusCode::REQUEST_PENDING,
                None,
            ))),
            _ => Ok(()),
        }
    }

    /// Takes a new INVITE and starts the wait for our user.
    pub(super) fn await_answer(&mut self, now: Instant, stack: &Stack, mut inbound: Inbound) {
        let mut limit = stack.config.answer_timeout;
        if let InboundState::Pending { request, expires, .. } = &mut inbound.state
            && let Ok(Some(seconds)) = request.headers.expires()
            && Duration::from_secs(seconds.into()) <= limit
        {
            limit = Duration::from_secs(seconds.into());
            *expires = true;
        }
        self.timers.set(TimerKind::AnswerWait, now + limit);
        self.inbound = Some(inbound);
    }

    // ---- commands of the user

    /// Sends the 2xx to the INVITE or re-INVITE, as soon as nothing has to be acknowledged before.
    pub(crate) fn accept(&mut self, now: Instant, stack: &mut Stack, which: InviteKind, body: Body) {
        if !self.has_pending(which) {
            return stack.late_command();
        }
        if !self.answer_waits(now, which, &body) {
            self.answer(now, stack, which, body);
        }
    }

    /// Sends the 2xx and repeats it until the ACK comes.
    pub(super) fn answer(&mut self, now: Instant, stack: &mut Stack, which: InviteKind, body: Body) {
        let Some(Inbound {
            transaction,
            kind,
            tag,
            state,
            is_update,
            ..
        }) = self.inbound.as_ref()
        else {
            return stack.late_command();
        };
        let InboundState::Pending { request, .. } = state else {
            return stack.late_command();
        };
        if *kind != which {
            return stack.late_command();
        }
        let (transaction, is_update, request) = (*transaction, *is_update, request.clone());
        let mut response = stack.response(&request, StatusCode::OK, tag.as_ref());
        describe_ourselves(&mut response.headers, stack, &self.flow, &self.contact);
        self.answer_session(now, &request, &mut response);
        response = response.with_body(body.content_type, body.bytes);
        if let Some(dialog) = &mut self.dialog {
            dialog.confirm();
            if which == InviteKind::Re {
                dialog.refresh_target(&request.headers);
            }
        }
        let offered = request.body.is_empty();
        let bytes = stack.respond(now, transaction, &response);
        self.timers.clear(TimerKind::AnswerWait);
        self.stop_progress();
        if is_update {
            self.inbound = None;
            return self.report_ack(stack, which, None);
        }
        if let Some(inbound) = &mut self.inbound {
            inbound.state = InboundState::Accepted {
                response: bytes,
                status: StatusCode::OK,
                interval: T1,
                offered,
            };
        }
        self.timers.set(TimerKind::Repeat2xx, now + T1);
        self.timers.set(TimerKind::AckWait, now + TIMEOUT);
    }

    /// Refuses the INVITE, which ends the call, or the re-INVITE, which leaves the session as it was.
    pub(crate) fn reject(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        which: InviteKind,
        rejection: &Rejection,
    ) {
        if !self.has_pending(which) {
            return stack.late_command();
        }
        let status = self.refuse_pending(now, stack, rejection);
        if which == InviteKind::Initial {
            self.end(stack, EndCause::Rejected { status });
        }
    }

    /// A 2xx of ours carries an offer, and the ACK that answers it has not come.
    pub(super) fn offers_in_2xx(&self) -> bool {
        let state = self.inbound.as_ref().map(|inbound| &inbound.state);
        matches!(state, Some(InboundState::Accepted { offered: true, .. }))
    }

    pub(crate) fn has_pending(&self, which: InviteKind) -> bool {
        matches!(&self.inbound, Some(Inbound { kind, state: InboundState::Pending { .. }, .. }) if *kind == which)
    }

    /// Sends a final refusal to the pending INVITE; returns the status sent.
    pub(super) fn refuse_pending(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        rejection: &Rejection,
    ) -> StatusCode {
        let status = match rejection.status.class() {
            3..=6 => rejection.status,
            _ => StatusCode::SERVER_INTERNAL_ERROR,
        };
        if let Some(Inbound {
            transaction,
            tag,
            state: InboundState::Pending { request, .. },
            ..
        }) = self.inbound.take()
        {
            let mut response = stack.response(&request, status, tag.as_ref());
            if let Some(reason) = &rejection.reason {
                response = response.with_reason(reason.clone());
            }
            for (name, value) in &rejection.headers {
                response.headers.push(name.clone(), value.clone());
            }
            stack.respond(now, transaction, &response);
        }
        self.timers.clear(TimerKind::AnswerWait);
        self.stop_progress();
        status
    }

    // ---- what arrives

    /// 200 ms went by: the transaction sends 100 unless something else was sent.
    pub(crate) fn send_trying(&mut self, now: Instant, stack: &mut Stack, transaction: ServerId) {
        if let Some(Inbound {
            transaction: ours,
            state: InboundState::Pending { request, .. },
            ..
        }) = &self.inbound
            && *ours == transaction
        {
            let response = stack.response(request, StatusCode::TRYING, None);
            stack.respond(now, transaction, &response);
        }
    }

    /// The peer took its INVITE back before a final response (RFC 3261 §9.2). Returns the tag for the response to the CANCEL.
    pub(crate) fn receive_cancel(&mut self, now: Instant, stack: &mut Stack, transaction: ServerId) {
        let Some(Inbound {
            transaction: ours,
            kind,
            state: InboundState::Pending { .. },
            ..
        }) = &self.inbound
        else {
            return;
        };
        if *ours != transaction {
            return;
        }
        let kind = *kind;
        self.refuse_pending(now, stack, &Rejection::new(StatusCode::REQUEST_TERMINATED));
        match kind {
            InviteKind::Initial => {
                stack.out.event(Event::Cancelled { call: self.key });
                self.end(stack, EndCause::Cancelled);
            }
            InviteKind::Re => stack.out.event(Event::ReinviteCancelled { call: self.key }),
        }
    }

    /// The tag our responses to this INVITE carry; the response to its CANCEL has the same (RFC 3261 §9.2).
    pub(crate) fn response_tag(&self) -> Option<Tag> {
        self.inbound.as_ref().and_then(|inbound| inbound.tag.clone())
    }

    /// An ACK within the dialog.
    pub(crate) fn receive_ack(&mut self, now: Instant, stack: &mut Stack, ack: &Request, flow: Flow) {
        let cseq = essentials_of(&ack.headers).map(|essentials| essentials.cseq.number);
        let Some(Inbound {
            transaction,
            kind,
            state: InboundState::Accepted { .. },
            cseq: awaited,
            ..
        }) = &self.inbound
        else {
            return stack.out.drop_for(DropReason::StrayAck);
        };
        if cseq != Some(*awaited) {
            return stack.out.drop_for(DropReason::StrayAck);
        }
        let kind = *kind;
        stack.transactions.acknowledged(*transaction);
        self.flow = flow;
        self.inbound = None;
        self.stop_repeating();
        let body = session_body(stack, &ack.headers, &ack.body);
        self.report_ack(stack, kind, body);
        if let Some(reason) = self.bye_after_ack.take() {
            self.send_bye(now, stack, reason);
        }
    }

    fn report_ack(&mut self, stack: &mut Stack, kind: InviteKind, body: Option<Body>) {
        if self.ended {
            return;
        }
        stack.out.event(match kind {
            InviteKind::Initial => Event::Acked { call: self.key, body },
            InviteKind::Re => Event::ReinviteAcked { call: self.key, body },
        });
    }

    pub(super) fn stop_repeating(&mut self) {
        self.timers.clear(TimerKind::Repeat2xx);
        self.timers.clear(TimerKind::AckWait);
    }

    // ---- time

    pub(super) fn inbound_timeout(&mut self, now: Instant, stack: &mut Stack, kind: TimerKind) {
        let Some(inbound) = &mut self.inbound else { return };
        let id = inbound.transaction;
        match (&mut inbound.state, kind) {
            (
                InboundState::Accepted {
                    response,
                    status,
                    interval,
                    ..
                },
                TimerKind::Repeat2xx,
            ) => {
                *interval = back_off(*interval, T2);
                self.timers.set(TimerKind::Repeat2xx, now + *interval);
                stack
                    .transactions
                    .respond(now, id, *status, response.clone(), true, &mut stack.out);
            }
            (InboundState::Accepted { .. }, TimerKind::AckWait) => {
                self.inbound = None;
                self.stop_repeating();
                let reason = self.bye_after_ack.take().flatten();
                self.send_bye(now, stack, reason);
                self.end(stack, EndCause::AckTimeout);
            }
            _ => {}
        }
    }

    /// Our user did not answer in time, or the INVITE's Expires ran out (RFC 3261 §13.3.1).
    pub(super) fn answer_overdue(&mut self, now: Instant, stack: &mut Stack) {
        let Some(Inbound {
            kind,
            state: InboundState::Pending { expires, .. },
            ..
        }) = &self.inbound
        else {
            return;
        };
        let (kind, expires) = (*kind, *expires);
        let status = match kind {
            _ if expires => StatusCode::REQUEST_TERMINATED,
            InviteKind::Initial => StatusCode::TEMPORARILY_UNAVAILABLE,
            InviteKind::Re => StatusCode::SERVER_INTERNAL_ERROR,
        };
        self.refuse_pending(now, stack, &Rejection::new(status));
        match kind {
            InviteKind::Initial => self.end(stack, EndCause::NotAnswered),
            InviteKind::Re => stack.out.event(Event::ReinviteCancelled { call: self.key }),
        }
    }
}
