//! The end of a call, from either side, and the question whether the peer is still there.
//!
//! Owns RFC 3261 §15 (BYE, and what ends a call before there is a dialog) and in-dialog OPTIONS (§11).

use std::time::Instant;

use super::inbound::{Inbound, InboundState};
use super::outbound::{Outbound, OutboundState};
use super::{Call, InviteKind};
use crate::dialog::DialogState;
use crate::endpoint::event::{EndCause, Event, ProbeOutcome, Rejection};
use crate::endpoint::route::next_hop;
use crate::endpoint::stack::Stack;
use crate::message::{HeaderName, Method, Reason, Request, StatusCode};
use crate::transaction::layer::{ClientNews, ClientOutcome, Owner, Purpose};
use crate::transaction::timer::TimerKind;

impl Call {
    /// Ends the call in whatever way its state asks for: a refusal, CANCEL, or BYE.
    pub(crate) fn hang_up(&mut self, now: Instant, stack: &mut Stack, reason: Option<Reason>) {
        if self.ended {
            return stack.late_command();
        }
        if self.has_pending(InviteKind::Initial) {
            let mut refusal = Rejection::new(StatusCode::TEMPORARILY_UNAVAILABLE);
            if let Some(reason) = reason {
                let value = String::from_utf8_lossy(&reason.to_bytes()).into_owned();
                refusal = refusal.with_header(HeaderName::Reason, value);
            }
            self.refuse_pending(now, stack, &refusal);
        } else {
            self.leave_session(now, stack, reason);
        }
        self.end(stack, EndCause::LocalHangUp);
    }

    /// Ends what is more than an unanswered INVITE of the peer.
    fn leave_session(&mut self, now: Instant, stack: &mut Stack, reason: Option<Reason>) {
        if self.has_pending(InviteKind::Re) {
            self.refuse_pending(now, stack, &Rejection::new(StatusCode::REQUEST_TERMINATED));
        }
        match (&self.inbound, &self.outbound) {
            (
                Some(Inbound {
                    kind: InviteKind::Initial,
                    state: InboundState::Accepted { .. },
                    ..
                }),
                _,
            ) => {
                // RFC 3261 §15: no BYE before the ACK.
                self.bye_after_ack = Some(reason);
            }
            (
                _,
                Some(Outbound {
                    kind: InviteKind::Initial,
                    state: OutboundState::Calling { .. },
                    ..
                }),
            ) => {
                self.cancel_outbound(now, stack, reason);
            }
            (
                _,
                Some(Outbound {
                    state: OutboundState::AnswerOwed { .. },
                    ..
                }),
            ) => {
                // The 2xx needs an ACK; without an answer in it the session never existed, and BYE ends the dialog.
                self.bye_after_ack = Some(reason);
                self.acknowledge(now, stack, None);
            }
            _ => self.send_bye(now, stack, reason),
        }
    }

    /// Sends BYE. Whatever else was going on in the dialog stops.
    pub(super) fn send_bye(&mut self, now: Instant, stack: &mut Stack, reason: Option<Reason>) {
        if self.bye.is_some() {
            return;
        }
        self.inbound = None;
        self.stop_repeating();
        self.timers.clear(TimerKind::LateAnswerWait);
        if let Some(Outbound { transaction, .. }) = self.outbound.take() {
            // A re-INVITE of ours: the peer answers it 487 (RFC 3261 §15.1.2); its transaction must not wait for ever.
            stack.transactions.cancelled(now, transaction);
        }
        if let Some(bye) = self.request_in_dialog(stack, Method::Bye) {
            let (mut request, flow) = bye;
            self.authorize(stack, &mut request);
            if let Some(reason) = reason {
                request.headers.push(HeaderName::Reason, reason.to_bytes());
            }
            let owner = Owner {
                call: self.key,
                purpose: Purpose::Bye,
            };
            self.bye = Some(stack.send(now, request, flow, owner));
        }
    }

    fn request_in_dialog(
        &mut self,
        stack: &Stack,
        method: Method,
    ) -> Option<(Request, crate::endpoint::flow::Flow)> {
        let dialog = self.dialog.as_mut()?;
        let flow = next_hop(dialog.next_hop(), &self.flow, &stack.config.local_nets);
        Some((dialog.request(method), flow))
    }

    /// The peer hung up; its BYE has been answered. Pending INVITEs of the dialog end with it (RFC 3261 §15.1.2).
    pub(crate) fn receive_bye(&mut self, now: Instant, stack: &mut Stack, bye: &Request) {
        if self.has_pending(InviteKind::Initial) || self.has_pending(InviteKind::Re) {
            self.refuse_pending(now, stack, &Rejection::new(StatusCode::REQUEST_TERMINATED));
        }
        if let Some(Inbound { transaction, .. }) = self.inbound.take() {
            // Who hangs up has seen the 2xx.
            stack.transactions.acknowledged(transaction);
        }
        self.bye_after_ack = None;
        // When our own BYE is on its way the two have crossed: the dialog is over without waiting for the response.
        self.bye = None;
        self.stop_repeating();
        self.timers.clear(TimerKind::LateAnswerWait);
        match &self.outbound {
            Some(Outbound {
                kind: InviteKind::Initial,
                state: OutboundState::Calling { .. },
                ..
            }) => {
                self.cancel_outbound(now, stack, None);
            }
            Some(Outbound { transaction, .. }) => {
                stack.transactions.cancelled(now, *transaction);
                self.outbound = None;
            }
            None => {}
        }
        let reason = bye.headers.reason().ok().flatten();
        self.end(stack, EndCause::Bye { reason });
    }

    pub(super) fn bye_news(&mut self, news: &ClientNews) {
        let provisional =
            matches!(&news.outcome, ClientOutcome::Response(response) if response.status.is_provisional());
        if !provisional && self.bye == Some(news.id) {
            self.bye = None;
        }
    }

    // ---- probing

    /// Asks the peer, by OPTIONS within the dialog, whether it still knows the call.
    pub(crate) fn send_probe(&mut self, now: Instant, stack: &mut Stack) {
        let confirmed = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.state() == DialogState::Confirmed);
        if self.ended || self.probe.is_some() || !confirmed {
            return stack.late_command();
        }
        if let Some((mut request, flow)) = self.request_in_dialog(stack, Method::Options) {
            request
                .headers
                .push(HeaderName::Contact, stack.contact(&flow, &self.contact));
            request.headers.push(HeaderName::Accept, stack.accept());
            let owner = Owner {
                call: self.key,
                purpose: Purpose::Probe,
            };
            self.probe = Some(stack.send(now, request, flow, owner));
        }
    }

    pub(super) fn probe_news(&mut self, stack: &mut Stack, news: &ClientNews) {
        let outcome = match &news.outcome {
            ClientOutcome::Response(response) if response.status.is_provisional() => return,
            ClientOutcome::Response(response) => match response.status {
                status @ (StatusCode::CALL_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT) => {
                    ProbeOutcome::Gone { status }
                }
                status => ProbeOutcome::Alive { status },
            },
            ClientOutcome::NoResponse => ProbeOutcome::NoAnswer,
            ClientOutcome::TransportFailed => ProbeOutcome::TransportFailed,
            ClientOutcome::Ended => return,
        };
        if self.probe.take() == Some(news.id) && !self.ended {
            stack.out.event(Event::Probed {
                call: self.key,
                outcome,
            });
        }
    }
}
