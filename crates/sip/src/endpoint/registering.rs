//! REGISTER as the endpoint sees it, and requests that keep the way to a registered contact open.
//!
//! Owns the requests that wait for their reply. Never knows a binding: the registrar beside the endpoint does.

use std::time::Instant;

use super::counters::DropReason;
use super::event::{Event, QueryKey};
use super::receive::Received;
use super::route::host_of;
use super::{Endpoint, check::Refusal};
use crate::message::{Branch, CSeq, HeaderName, Method, NameAddr, Request, StatusCode};
use crate::registrar::{Reachable, Reply};
use crate::uri::{SipUri, Uri};

/// What branches of keep-alives begin with: nobody waits for their responses.
const KEEP_ALIVE: &str = "z9hG4bKka";

impl Endpoint {
    // ---- commands: registrations

    /// Replies to the REGISTER of an [`Event::Register`]. A reply of 200 is kept and sent again to copies of the request; a refusal keeps
    /// no state. One that was replied to before is ignored.
    pub fn answer_register(&mut self, now: Instant, query: QueryKey, reply: Reply) {
        let Some(received) = self.take_register(query) else {
            return self.stack.late_command();
        };
        let limits = &self.stack.config.limits;
        if !reply.status.is_success() || self.stack.transactions.len() >= limits.transactions {
            return self.reply_stateless(&received, reply);
        }
        let tag = self.request_tag(&received);
        let response = self.reply(&received, reply, &tag);
        let transaction = self.stack.transactions.open_other(received.key, received.route);
        self.stack.respond(now, transaction, &response);
    }

    /// Leaves the REGISTER of an [`Event::Register`] without a reply.
    pub fn ignore_register(&mut self, query: QueryKey) {
        match self.take_register(query) {
            Some(_) => self.stack.out.drop_for(DropReason::Ignored),
            None => self.stack.late_command(),
        }
    }

    /// Sends an OPTIONS that keeps the way to a contact open. Whatever is answered is taken and forgotten.
    pub fn keep_alive(&mut self, contact: &Reachable) {
        let Reachable {
            target, route, flow, ..
        } = contact;
        let own = Uri::Sip(SipUri::new(host_of(flow.local), Some(flow.local.port())));
        let mut request = Request::new(Method::Options, target.clone());
        for hop in route {
            request.headers.push(HeaderName::Route, hop.to_bytes());
        }
        let tag = self.stack.tag();
        let from = NameAddr::new(own).with_tag(&tag);
        let number = self.stack.first_cseq();
        let cseq = CSeq {
            number,
            method: Method::Options,
        };
        request.headers.push(HeaderName::MaxForwards, "70");
        request.headers.push(HeaderName::From, from.to_bytes());
        request
            .headers
            .push(HeaderName::To, NameAddr::new(target.clone()).to_bytes());
        let call_id = self.stack.call_id();
        request.headers.push(HeaderName::CallId, call_id);
        request.headers.push(HeaderName::CSeq, cseq.to_bytes());
        let branch = self.stack.branch();
        let random = branch.as_bytes().get(Branch::MAGIC_COOKIE.len()..);
        let random = String::from_utf8_lossy(random.unwrap_or_default());
        let branch = Branch::new(format!("{KEEP_ALIVE}{random}"));
        self.stack.send_unattended(request, *flow, &branch);
    }

    // ---- what arrives

    pub(super) fn receive_register(&mut self, received: Received) {
        if self.registers_by_key.contains_key(&received.key) {
            return self.stack.out.drop_for(DropReason::Retransmission);
        }
        if self.registers.len() >= self.stack.config.limits.registers {
            return self.refuse_full(&received);
        }
        self.last_query += 1;
        let query = QueryKey(self.last_query);
        self.stack.out.event(Event::Register {
            query,
            request: received.request.clone(),
            flow: received.flow,
        });
        self.registers_by_key.insert(received.key.clone(), query);
        self.registers.insert(query, received);
    }

    /// Whether a response is one to a keep-alive of ours.
    pub(super) fn is_kept_alive(branch: Option<&Branch>) -> bool {
        branch.is_some_and(|branch| branch.as_bytes().starts_with(KEEP_ALIVE.as_bytes()))
    }

    fn take_register(&mut self, query: QueryKey) -> Option<Received> {
        let received = self.registers.remove(&query)?;
        self.registers_by_key.remove(&received.key);
        Some(received)
    }

    fn reply_stateless(&mut self, received: &Received, reply: Reply) {
        if reply.status.is_success() {
            let tag = self.request_tag(received);
            let response = self.reply(received, reply, &tag);
            return self.stack.out.transmit(received.route.flow, response.to_bytes());
        }
        let refusal = Refusal {
            status: final_status(reply.status),
            reason: reply.reason,
            headers: reply.headers,
        };
        self.refuse(received, refusal);
    }

    fn reply(
        &self,
        received: &Received,
        reply: Reply,
        tag: &crate::message::Tag,
    ) -> crate::message::Response {
        let refusal = Refusal {
            status: reply.status,
            reason: reply.reason,
            headers: reply.headers,
        };
        self.refusal_response(&received.request, tag, &refusal)
    }
}

fn final_status(status: StatusCode) -> StatusCode {
    if status.is_final() {
        status
    } else {
        StatusCode::SERVER_INTERNAL_ERROR
    }
}
