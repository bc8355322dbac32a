//! What an endpoint does with each message that arrives, up to the call it belongs to.
//!
//! Owns the order of RFC 3261 §8.2 and §12.2.2: readable at all, transaction, checks, dialog. Automatic answers leave from here;
//! most of them without keeping state (§8.2.7), so that a flood of refused requests costs no memory.

use std::time::Instant;

use bytes::Bytes;

use super::Endpoint;
use super::check::{RELIABLE_PROVISIONAL, Refusal, check};
use super::config::Admission;
use super::counters::DropReason;
use super::event::{CallKey, QueryKey, Rejection};
use super::flow::Flow;
use super::route::{ResponseRoute, is_local, note_source, response_route, source_route};
use super::stack::{Stack, allow};
use super::subscribing::allow_events;
use super::{event::Event, info};
use crate::call::{Call, IncomingInvite};
use crate::dialog::DialogId;
use crate::message::{
    Essentials, HeaderName, Message, Method, ParseError, ParseErrorKind, Request, Response, StatusCode, Tag,
};
use crate::transaction::key::{MergeKey, ServerKey};
use crate::transaction::layer::RequestMatch;

/// Retry-After when a table is full, in seconds: transactions end after 32 s at the latest.
const FULL_RETRY_AFTER_S: u32 = 10;

/// A request with what has been found out about it.
pub(super) struct Received {
    pub(super) request: Request,
    pub(super) essentials: Essentials,
    pub(super) key: ServerKey,
    pub(super) route: ResponseRoute,
    pub(super) flow: Flow,
}

impl Received {
    fn into_incoming(self, merge: Option<MergeKey>) -> IncomingInvite {
        IncomingInvite {
            request: self.request,
            essentials: self.essentials,
            key: self.key,
            merge,
            route: self.route,
            flow: self.flow,
        }
    }
}

impl Endpoint {
    pub(super) fn receive(&mut self, now: Instant, flow: Flow, datagram: Bytes) {
        self.stack.out.counters.messages_in += 1;
        match Message::parse(datagram) {
            Ok(Message::Request(request)) => self.receive_request(now, flow, request),
            Ok(Message::Response(response)) => self.receive_response(now, response),
            Err(error) => self.answer_unreadable(&flow, error),
        }
    }

    /// Sends what a broken request is owed; 400, 413, 505, 513 and the like.
    pub(super) fn answer_unreadable(&mut self, flow: &Flow, error: ParseError) {
        let Some(answer) = error.answer else {
            let reason = match error.kind {
                ParseErrorKind::Empty => DropReason::KeepAlive,
                _ => DropReason::Unreadable,
            };
            return self.stack.out.drop_for(reason);
        };
        let mut response = answer.into_response();
        // A Via that cannot be read says nothing about the way back; the source of the request does.
        let route = match response.headers.top_via() {
            Ok(Some(mut via)) => {
                note_source(&mut via, flow.remote);
                replace_top_via(&mut response.headers, &via);
                response_route(&via, flow)
            }
            _ => source_route(flow),
        };
        let Some(route) = route else {
            return self.stack.out.drop_for(DropReason::Unroutable);
        };
        let via = response
            .headers
            .get(&HeaderName::Via)
            .cloned()
            .unwrap_or_default();
        let call_id = response
            .headers
            .get(&HeaderName::CallId)
            .cloned()
            .unwrap_or_default();
        let tag = self.stack.stateless_tag(&[&via, &call_id]);
        response = response.with_to_tag(&tag);
        self.stack.sign(&mut response);
        self.stack.respond_stateless(&route, &response);
    }

    fn receive_response(&mut self, now: Instant, response: Response) {
        let Ok(essentials) = Essentials::of(&response.headers) else {
            return self.stack.out.drop_for(DropReason::UnreadableResponse);
        };
        if Endpoint::is_kept_alive(essentials.via.branch().as_ref()) {
            return self.stack.out.drop_for(DropReason::KeepAlive);
        }
        let stack = &mut self.stack;
        if let Some(news) = stack
            .transactions
            .receive_response(now, response, &essentials, &mut stack.out)
        {
            self.deliver(now, news);
        }
    }

    fn receive_request(&mut self, now: Instant, flow: Flow, mut request: Request) {
        let Ok(mut essentials) = Essentials::of(&request.headers) else {
            return self.stack.out.drop_for(DropReason::Unreadable);
        };
        let key = ServerKey::of(&request, &essentials);
        let stack = &mut self.stack;
        match stack
            .transactions
            .receive_request(now, &key, &request.method, &mut stack.out)
        {
            RequestMatch::Taken => return,
            RequestMatch::AckForCore => return self.receive_ack(now, flow, &request, &essentials),
            RequestMatch::New => {}
        }
        let Some(route) = response_route(&essentials.via, &flow) else {
            return self.stack.out.drop_for(DropReason::Unroutable);
        };
        note_source(&mut essentials.via, flow.remote);
        replace_top_via(&mut request.headers, &essentials.via);
        let mut received = Received {
            request,
            essentials,
            key,
            route,
            flow,
        };
        if received.request.method == Method::Cancel {
            return self.receive_cancel(now, received);
        }
        if let Err(refusal) = check(
            &mut received.request,
            &received.essentials,
            flow.transport,
            &self.stack.config,
        ) {
            return self.refuse(&received, refusal);
        }
        match received.essentials.to_tag() {
            Some(_) => self.receive_in_dialog(now, received),
            None => self.receive_outside_dialog(now, received),
        }
    }

    fn receive_ack(&mut self, now: Instant, flow: Flow, ack: &Request, essentials: &Essentials) {
        let call = self.stack.dialogs.get(&DialogId::of_request(essentials)).copied();
        let Some(call) = call else {
            return self.stack.out.drop_for(DropReason::StrayAck);
        };
        self.with_call(call, |call, stack| call.receive_ack(now, stack, ack, flow));
    }

    // ---- CANCEL

    fn receive_cancel(&mut self, now: Instant, received: Received) {
        let invite_key = ServerKey::of_cancelled(&received.request, &received.essentials);
        let Some((invite, call, pending)) = self.stack.transactions.find_invite(&invite_key) else {
            return self.refuse(&received, Refusal::new(StatusCode::CALL_DOES_NOT_EXIST));
        };
        let tag = call
            .and_then(|call| self.calls.get(&call))
            .and_then(|slot| slot.call.response_tag());
        let tag = tag.unwrap_or_else(|| self.request_tag(&received));
        let cancel = self.stack.transactions.open_other(received.key, received.route);
        let response = self.stack.response(&received.request, StatusCode::OK, Some(&tag));
        self.stack.respond(now, cancel, &response);
        if let Some(call) = call.filter(|_| pending) {
            self.with_call(call, |call, stack| call.receive_cancel(now, stack, invite));
        }
    }

    // ---- outside of dialogs

    fn receive_outside_dialog(&mut self, now: Instant, received: Received) {
        match received.request.method {
            Method::Invite => self.receive_new_invite(now, received),
            Method::Options => self.receive_options(received),
            Method::Register => self.receive_register(received),
            Method::Subscribe => self.receive_subscribe(received),
            // Calls are asked for from within one, or by the API.
            Method::Refer => self.refuse(&received, Refusal::new(StatusCode::FORBIDDEN)),
            // BYE without a To tag belongs to no dialog (RFC 3261 §15.1.2).
            _ => self.refuse(&received, Refusal::new(StatusCode::CALL_DOES_NOT_EXIST)),
        }
    }

    fn receive_new_invite(&mut self, now: Instant, received: Received) {
        let merge = MergeKey::of(&received.essentials);
        if self.stack.transactions.is_merged(merge.as_ref()) || self.has_come_back(&received.request) {
            return self.refuse(&received, Refusal::new(StatusCode::LOOP_DETECTED));
        }
        if let Admission::Refusing { retry_after_s } = self.stack.admission {
            return self.refuse_overload(&received, retry_after_s);
        }
        if self.calls.len() >= self.stack.config.limits.calls || self.no_room_for_invite(&received.flow) {
            return self.refuse_overload(&received, FULL_RETRY_AFTER_S);
        }
        let replaces = match self.replaced(&received.request.headers) {
            Ok(replaces) => replaces,
            Err(refusal) => return self.refuse(&received, refusal),
        };
        let key = self.new_call_key();
        let invite = received.into_incoming(merge);
        let call = Call::receive_invite(now, &mut self.stack, key, (invite, replaces));
        self.add_call(key, call);
    }

    /// Whether an INVITE of ours has found its way back to us without being meant to (RFC 3261 §16.3 has proxies look so for loops).
    fn has_come_back(&self, request: &Request) -> bool {
        let vias = request.headers.vias().unwrap_or_default();
        let branches = vias.iter().filter_map(|via| via.branch());
        let mut ours = branches
            .filter_map(|branch| self.stack.transactions.own_invite(branch.as_bytes()))
            .filter_map(|call| self.calls.get(&call));
        ours.any(|slot| !slot.call.returns)
    }

    /// RFC 3261 §11.2: what we can do; 503 while new calls are refused, so that load balancers look elsewhere.
    fn receive_options(&mut self, received: Received) {
        if let Admission::Refusing { retry_after_s } = self.stack.admission {
            return self.refuse_overload(&received, retry_after_s);
        }
        if !self.stack.config.asks_about_options {
            return self.answer_query(&received, None);
        }
        if self.queries.len() >= self.stack.config.limits.queries {
            return self.refuse_overload(&received, FULL_RETRY_AFTER_S);
        }
        self.last_query += 1;
        let query = QueryKey(self.last_query);
        self.stack.out.event(Event::Options {
            query,
            request: received.request.clone(),
            flow: received.flow,
        });
        self.queries.insert(query, received);
    }

    /// Answers without keeping state: the transaction of an OPTIONS has nothing to remember.
    pub(super) fn answer_query(&mut self, received: &Received, refusal: Option<Rejection>) {
        if let Some(Rejection {
            status,
            reason,
            headers,
        }) = refusal
        {
            let refusal = Refusal {
                status,
                reason,
                headers,
            };
            return self.refuse(received, refusal);
        }
        let response = self.capabilities(received);
        self.stack.out.transmit(received.route.flow, response.to_bytes());
    }

    fn capabilities(&self, received: &Received) -> Response {
        let tag = self.request_tag(received);
        let mut response = self.stack.response(&received.request, StatusCode::OK, Some(&tag));
        response
            .headers
            .push(HeaderName::Allow, allow(&self.stack.config));
        let kinds = std::iter::once(self.stack.accept()).chain(info::ACCEPTED.map(str::to_owned));
        let accept = kinds.collect::<Vec<_>>().join(", ");
        response.headers.push(HeaderName::Accept, accept);
        response.headers.push(HeaderName::AcceptEncoding, "identity");
        response.headers.push(HeaderName::AcceptLanguage, "en");
        response.headers.push(
            HeaderName::Supported,
            format!("{}, {RELIABLE_PROVISIONAL}", self.stack.supported()),
        );
        let packages = &self.stack.config.event_packages;
        if !packages.is_empty() {
            response
                .headers
                .push(HeaderName::AllowEvents, allow_events(packages));
        }
        response
    }

    // ---- within dialogs

    fn receive_in_dialog(&mut self, now: Instant, received: Received) {
        if received.request.method == Method::Subscribe {
            return self.receive_resubscribe(now, received);
        }
        let id = DialogId::of_request(&received.essentials);
        let Some(key) = self.stack.dialogs.get(&id).copied() else {
            return self.refuse(&received, Refusal::new(StatusCode::CALL_DOES_NOT_EXIST));
        };
        let has_room = match received.request.method {
            Method::Invite => !self.no_room_for_invite(&received.flow),
            Method::Info | Method::Update | Method::Refer | Method::Prack => {
                self.stack.transactions.len() < self.stack.config.limits.transactions
            }
            _ => true,
        };
        if !has_room {
            return self.refuse_overload(&received, FULL_RETRY_AFTER_S);
        }
        let cseq = received.essentials.cseq.number;
        let flow = received.flow;
        let in_order = self
            .calls
            .get_mut(&key)
            .is_some_and(|slot| slot.call.take_request(&id, flow, cseq));
        if !in_order {
            let refusal = Refusal {
                status: StatusCode::SERVER_INTERNAL_ERROR,
                reason: Some("CSeq Out Of Order".to_owned()),
                headers: Vec::new(),
            };
            return self.refuse_within_dialog(now, received, refusal);
        }
        match received.request.method {
            Method::Invite => self.receive_reinvite(now, key, received),
            Method::Bye => self.receive_bye(now, key, received),
            Method::Info => self.receive_info(now, key, received),
            Method::Update => self.receive_update(now, key, received),
            Method::Refer => self.receive_refer(now, key, received),
            Method::Prack => self.receive_prack(now, key, received),
            _ => self.answer_probe(key, &received),
        }
    }

    fn receive_reinvite(&mut self, now: Instant, key: CallKey, received: Received) {
        let invite = received.into_incoming(None);
        self.with_call(key, |call, stack| call.receive_reinvite(now, stack, invite));
    }

    fn receive_update(&mut self, now: Instant, key: CallKey, received: Received) {
        let update = received.into_incoming(None);
        self.with_call(key, |call, stack| call.receive_update(now, stack, update));
    }

    fn receive_refer(&mut self, now: Instant, key: CallKey, received: Received) {
        let refer = received.into_incoming(None);
        self.with_call(key, |call, stack| call.receive_refer(now, stack, refer));
    }

    fn receive_prack(&mut self, now: Instant, key: CallKey, received: Received) {
        let prack = received.into_incoming(None);
        self.with_call(key, |call, stack| call.receive_prack(now, stack, prack));
    }

    fn receive_bye(&mut self, now: Instant, key: CallKey, received: Received) {
        let Received {
            request,
            key: server_key,
            route,
            ..
        } = received;
        let bye = self.stack.transactions.open_other(server_key, route);
        let response = self.stack.response(&request, StatusCode::OK, None);
        self.stack.respond(now, bye, &response);
        self.with_call(key, |call, stack| call.receive_bye(now, stack, &request));
    }

    /// Answered through a transaction, whatever it says: a copy that comes later must not be judged by the CSeq of those that
    /// came between.
    fn receive_info(&mut self, now: Instant, key: CallKey, received: Received) {
        let ended = self.calls.get(&key).is_none_or(|slot| slot.call.has_ended());
        let digit = if ended {
            Err(Refusal::new(StatusCode::CALL_DOES_NOT_EXIST))
        } else {
            info::read(&received.request)
        };
        let response = match &digit {
            Ok(_) => self.stack.response(&received.request, StatusCode::OK, None),
            Err(refusal) => {
                self.stack.out.counters.refuse(refusal.status.code());
                let tag = self.request_tag(&received);
                self.refusal_response(&received.request, &tag, refusal)
            }
        };
        let transaction = self.stack.transactions.open_other(received.key, received.route);
        self.stack.respond(now, transaction, &response);
        if let Ok(Some(digit)) = digit {
            self.stack.out.event(Event::Digit { call: key, digit });
        }
    }

    fn answer_probe(&mut self, key: CallKey, received: &Received) {
        if self.calls.get(&key).is_none_or(|slot| slot.call.has_ended()) {
            return self.refuse(received, Refusal::new(StatusCode::CALL_DOES_NOT_EXIST));
        }
        let response = self.capabilities(received);
        self.stack.out.transmit(received.route.flow, response.to_bytes());
    }

    // ---- refusals

    /// Refuses without keeping state.
    pub(super) fn refuse(&mut self, received: &Received, refusal: Refusal) {
        let tag = self.request_tag(received);
        let response = self.refusal_response(&received.request, &tag, &refusal);
        self.stack.respond_stateless(&received.route, &response);
    }

    /// Refuses a request within a dialog. An INVITE is refused through a transaction: a late copy of it, judged anew after the
    /// refusal, could be accepted while the peer has long given it up.
    fn refuse_within_dialog(&mut self, now: Instant, received: Received, refusal: Refusal) {
        if received.request.method != Method::Invite {
            return self.refuse(&received, refusal);
        }
        let tag = self.request_tag(&received);
        let response = self.refusal_response(&received.request, &tag, &refusal);
        self.stack.out.counters.refuse(refusal.status.code());
        let id = self
            .stack
            .transactions
            .open_invite(now, received.key, None, received.route, None);
        self.stack.respond(now, id, &response);
    }

    pub(super) fn refuse_full(&mut self, received: &Received) {
        self.refuse_overload(received, FULL_RETRY_AFTER_S);
    }

    fn refuse_overload(&mut self, received: &Received, retry_after_s: u32) {
        self.stack.out.counters.refused_overload += 1;
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE)
            .with(HeaderName::RetryAfter, retry_after_s.to_string());
        self.refuse(received, refusal);
    }

    pub(super) fn refusal_response(&self, request: &Request, tag: &Tag, refusal: &Refusal) -> Response {
        let mut response = self.stack.response(request, refusal.status, Some(tag));
        if let Some(reason) = &refusal.reason {
            response = response.with_reason(reason.clone());
        }
        for (name, value) in &refusal.headers {
            response.headers.push(name.clone(), value.clone());
        }
        response
    }

    /// The To tag for responses without a dialog: the same for every copy of the request.
    pub(super) fn request_tag(&self, received: &Received) -> Tag {
        let branch = received.essentials.via.branch();
        self.stack.stateless_tag(&[
            received.essentials.call_id.as_bytes(),
            branch.as_ref().map_or(b"", |branch| branch.as_bytes()),
            &received.essentials.cseq.number.to_be_bytes(),
        ])
    }

    /// True when there are too many transactions, in all or unacknowledged ones of this peer.
    fn no_room_for_invite(&self, flow: &Flow) -> bool {
        let Stack {
            transactions, config, ..
        } = &self.stack;
        transactions.len() >= config.limits.transactions
            || (!is_local(flow.remote.ip(), &config.local_nets)
                && transactions.unacknowledged_from(flow.remote) >= config.limits.unacknowledged_per_source)
    }
}

/// Writes the topmost Via back. A field that lists several Via values keeps the others.
fn replace_top_via(headers: &mut crate::message::Headers, via: &crate::message::Via) {
    let mut value = via.to_bytes();
    if let Some(field) = headers.get(&HeaderName::Via)
        && let Some(rest) = values_behind_first(field)
    {
        value = [value.as_ref(), b", ", rest].concat().into();
    }
    headers.replace_first(HeaderName::Via, value);
}

/// What stands behind the first comma that is in no quoted string.
fn values_behind_first(field: &[u8]) -> Option<&[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    for (position, byte) in field.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Some(field[position + 1..].trim_ascii()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_several_vias_in_one_field_is_replaced() {
        let rows: [(&[u8], Option<&[u8]>); 4] = [
            (b"SIP/2.0/UDP a;branch=1", None),
            (
                b"SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b , SIP/2.0/UDP c",
                Some(b"SIP/2.0/UDP b , SIP/2.0/UDP c"),
            ),
            (
                b"SIP/2.0/UDP a;x=\"1,\\\",2\",SIP/2.0/UDP b",
                Some(b"SIP/2.0/UDP b"),
            ),
            (b"", None),
        ];
        for (field, rest) in rows {
            assert_eq!(
                values_behind_first(field),
                rest,
                "{}",
                String::from_utf8_lossy(field)
            );
        }
    }
}
