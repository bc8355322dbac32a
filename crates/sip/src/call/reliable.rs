//! Provisional responses to our first INVITE: the early dialogs that they open, and those that have to be acknowledged (RFC 3262).
//!
//! Owns the order of reliable ones in each early dialog and their PRACKs. What is early only is no session yet: the description that
//! a provisional response brings counts once its dialog is answered by a 2xx that brings none.

use std::time::Instant;

use super::Call;
use crate::dialog::{Dialog, DialogId};
use crate::endpoint::check::RELIABLE_PROVISIONAL;
use crate::endpoint::counters::DropReason;
use crate::endpoint::event::Body;
use crate::endpoint::route::next_hop;
use crate::endpoint::stack::Stack;
use crate::message::{Essentials, HeaderName, Method, Response};
use crate::transaction::layer::{ClientId, Owner, Purpose};

/// Provisional responses may open this many early dialogs; the dialogs of further forks count only once they answer.
const EARLY_DIALOGS_MAX: usize = 8;

/// Responses of one early dialog that are acknowledged: each costs a transaction of ours.
const ACKNOWLEDGED_MAX: u32 = 32;

/// A dialog that is not answered yet.
#[derive(Debug)]
pub(super) struct EarlyDialog {
    pub(super) dialog: Dialog,
    /// RSeq of the last response that was acknowledged.
    last: Option<u32>,
    acknowledged: u32,
    /// What the far side has said of its media.
    description: Option<Body>,
}

impl Call {
    /// Takes a provisional response with its session description. Returns false for one that its user is not to see: a copy, or one
    /// that came before another that it has to follow.
    pub(super) fn take_provisional(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        invite: ClientId,
        (response, essentials): (&Response, &Essentials),
        description: Option<&Body>,
    ) -> bool {
        self.note_early_dialog(stack, invite, response, essentials);
        let number = reliable_number(response);
        let id = DialogId::of_response(essentials);
        let Some(place) = self.early.iter().position(|early| *early.dialog.id() == id) else {
            // It is one of too many forks, or names no dialog: nothing can be acknowledged.
            return number.is_none();
        };
        if let Some(number) = number {
            let early = &mut self.early[place];
            let is_next = early.last.is_none_or(|last| last.checked_add(1) == Some(number));
            if !is_next || early.acknowledged >= ACKNOWLEDGED_MAX {
                // RFC 3262 §4: a copy, or one that the response between is missing for.
                stack.out.drop_for(DropReason::Retransmission);
                return false;
            }
            early.last = Some(number);
            early.acknowledged += 1;
            self.acknowledge_provisional(now, stack, place, number, essentials.cseq.number);
        }
        let early = &mut self.early[place];
        if early.description.is_none() {
            early.description = description.cloned();
        }
        true
    }

    fn acknowledge_provisional(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        place: usize,
        number: u32,
        invite_cseq: u32,
    ) {
        let dialog = &mut self.early[place].dialog;
        let flow = next_hop(dialog.next_hop(), &self.flow, &stack.config.local_nets);
        let mut prack = dialog.request(Method::Prack);
        self.early_cseq = self.early_cseq.max(dialog.local_cseq());
        prack
            .headers
            .push(HeaderName::RAck, format!("{number} {invite_cseq} INVITE"));
        self.authorize(stack, &mut prack);
        let owner = Owner {
            call: self.key,
            purpose: Purpose::Unattended,
        };
        stack.send(now, prack, flow, owner);
    }

    fn note_early_dialog(
        &mut self,
        stack: &mut Stack,
        invite: ClientId,
        response: &Response,
        essentials: &Essentials,
    ) {
        let id = DialogId::of_response(essentials);
        let known = self.early.iter().any(|early| *early.dialog.id() == id);
        if essentials.to_tag().is_none() || known || self.early.len() >= EARLY_DIALOGS_MAX {
            return;
        }
        let Some((request, _)) = stack.transactions.sent(invite) else {
            return;
        };
        let dialog = Dialog::from_response(request, response, essentials);
        self.register(stack, dialog.id());
        self.early.push(EarlyDialog {
            dialog,
            last: None,
            acknowledged: 0,
            description: None,
        });
    }

    /// Makes the dialog of a 2xx the call's own. Returns what its early dialog said of its media.
    pub(super) fn confirm_dialog(&mut self, stack: &mut Stack, mut dialog: Dialog) -> Option<Body> {
        let mut description = None;
        for early in self.early.drain(..) {
            stack.dialogs.remove(early.dialog.id());
            if early.dialog.id() == dialog.id() {
                dialog.go_on_from(&early.dialog);
                description = early.description;
            }
        }
        dialog.confirm();
        self.register(stack, dialog.id());
        self.dialog = Some(dialog);
        description
    }

    /// Forgets the early dialogs.
    pub(super) fn drop_early(&mut self, stack: &mut Stack) {
        for early in self.early.drain(..) {
            stack.dialogs.remove(early.dialog.id());
        }
    }
}

/// The RSeq of a response that has to be acknowledged (RFC 3262 §4).
fn reliable_number(response: &Response) -> Option<u32> {
    let required = response.headers.require().unwrap_or_default();
    let is_reliable = required
        .iter()
        .any(|tag| tag.eq_ignore_case(RELIABLE_PROVISIONAL));
    let number = response.headers.get(&HeaderName::RSeq).filter(|_| is_reliable)?;
    std::str::from_utf8(number).ok()?.trim().parse().ok()
}
