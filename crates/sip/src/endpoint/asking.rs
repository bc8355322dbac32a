//! Requests of ours outside of calls, and what comes of each: OPTIONS that look whether somebody is there, REGISTERs.
//!
//! Owns nothing: a transaction watches over each. What a request says, and what its response means, is its user's.

use std::time::Instant;

use super::Endpoint;
use super::event::{Event, LocalContact, Question, QuestionKey, QuestionOutcome};
use super::stack::Stack;
use crate::message::{HeaderName, NameAddr, Request, Tag};
use crate::registration::LINE;
use crate::transaction::layer::{ClientNews, ClientOutcome, Owner, Purpose};
use crate::uri::Uri;

impl Endpoint {
    /// Sends a request outside of calls; one [`Event::Replied`] tells what came of it.
    pub fn ask(&mut self, now: Instant, question: Question) -> QuestionKey {
        // Drawn from the numbers of calls: a client transaction belongs to one of either.
        let key = self.new_call_key();
        let Question {
            mut request,
            flow,
            contact,
        } = question;
        if let Some((user, line)) = contact {
            let contact = contact_of(&self.stack, &flow, user, &line);
            request.headers.push(HeaderName::Contact, contact);
        }
        complete(&mut self.stack, &mut request);
        let owner = Owner {
            call: key,
            purpose: Purpose::Question,
        };
        self.stack.send(now, request, flow, owner);
        QuestionKey(key.number())
    }

    /// Tells what came of a request; provisional responses are not told.
    pub(super) fn replied(&mut self, news: ClientNews) {
        let question = QuestionKey(news.owner.call.number());
        let outcome = match news.outcome {
            ClientOutcome::Response(response) if response.status.is_final() => {
                QuestionOutcome::Response(response)
            }
            ClientOutcome::NoResponse => QuestionOutcome::NoResponse,
            ClientOutcome::TransportFailed => QuestionOutcome::TransportFailed,
            ClientOutcome::Response(_) | ClientOutcome::Ended => return,
        };
        self.stack.out.event(Event::Replied { question, outcome });
    }
}

/// Our Contact for this way, by whose `line` calls to it are known.
fn contact_of(stack: &Stack, flow: &super::Flow, user: Option<String>, line: &str) -> bytes::Bytes {
    let own = LocalContact {
        user,
        ..LocalContact::default()
    };
    let printed = stack.contact(flow, &own);
    let Ok(mut address) = NameAddr::parse(printed.clone()) else {
        return printed;
    };
    if let Uri::Sip(uri) = address.uri {
        address.uri = Uri::Sip(uri.with_param(LINE, Some(line)));
    }
    address.to_bytes()
}

/// Adds what every request has and this one lacks (RFC 3261 §8.1.1).
fn complete(stack: &mut Stack, request: &mut Request) {
    if request.headers.get(&HeaderName::MaxForwards).is_none() {
        request.headers.push(HeaderName::MaxForwards, "70");
    }
    if request.headers.get(&HeaderName::CallId).is_none() {
        let call_id = stack.call_id();
        request.headers.push(HeaderName::CallId, call_id);
    }
    if request.headers.cseq().ok().flatten().is_none() {
        let number = stack.first_cseq() + 1;
        let cseq = crate::message::CSeq {
            number,
            method: request.method.clone(),
        };
        request.headers.push(HeaderName::CSeq, cseq.to_bytes());
    }
    if let Ok(Some(from)) = request.headers.from()
        && from.tag().is_none()
    {
        let tag: Tag = stack.tag();
        request
            .headers
            .replace(HeaderName::From, from.with_tag(&tag).to_bytes());
    }
}
