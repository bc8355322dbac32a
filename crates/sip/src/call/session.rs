//! The life of a session between refreshes (RFC 4028), and UPDATE (RFC 3311), which refreshes it and may change it.
//!
//! Owns who refreshes and when, what becomes of a session that nobody refreshes, and the answer to UPDATE. A peer that knows no
//! UPDATE is refreshed by a re-INVITE with what the user offers then.

use std::time::{Duration, Instant};

use super::inbound::{Inbound, IncomingInvite};
use super::{Call, InviteKind, describe_ourselves};
use crate::dialog::DialogState;
use crate::endpoint::config::EndpointConfig;
use crate::endpoint::event::{EndCause, Event};
use crate::endpoint::route::next_hop;
use crate::endpoint::stack::Stack;
use crate::message::{
    HeaderName, Headers, Method, Reason, Refresher, Request, Response, SessionExpires, StatusCode,
};
use crate::transaction::layer::{ClientId, ClientNews, ClientOutcome, Owner, Purpose};
use crate::transaction::timer::TimerKind;

/// RFC 4028 §10: who waits for a refresh gives up so long before the end, or a third of the time before, whichever is less.
const GIVE_UP_BEFORE: Duration = Duration::from_secs(32);
/// How long a refresh that was refused for the moment waits for the next try.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// What Min-SE is where it is not there (RFC 4028 §5), seconds: a line less in an INVITE that is to fit a datagram.
const USUAL_LEAST: u32 = 90;
/// How often in a row a refresh is sent again at once because its interval was too short: for the peer, and for a proxy.
const MOST_RAISED: u32 = 3;
/// Most seconds that a session may be without a refresh: more is no life sign.
const LONGEST: u32 = 86_400;

/// What a call knows of the timer of its session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Seconds between refreshes; `None` without a timer.
    seconds: Option<u32>,
    /// We refresh.
    ours: bool,
    /// The peer takes UPDATE.
    peer_updates: bool,
    /// The least that the peer takes, if it has refused less.
    min_seconds: u32,
    /// How often it has refused less since the last refresh.
    raised: u32,
    /// The UPDATE that is under way.
    refresh: Option<ClientId>,
}

/// Puts what we want into the first INVITE of a call: who refreshes is left to the far side (RFC 4028 §7.1).
pub(super) fn ask_for_first_session(headers: &mut Headers, config: &EndpointConfig) {
    let least = config.min_session_expires_s;
    if config.session_expires_s == 0 {
        return;
    }
    let asked = SessionExpires {
        seconds: config.session_expires_s.max(least).min(LONGEST),
        refresher: None,
    };
    headers.push(HeaderName::SessionExpires, asked.to_string());
    if least != USUAL_LEAST {
        headers.push(HeaderName::MinSe, least.to_string());
    }
}

impl Call {
    /// Notes what the peer can do, from any message that says so.
    pub(super) fn note_peer(&mut self, headers: &Headers) {
        if let Some(updates) = headers.allows(&Method::Update) {
            self.session.peer_updates = updates;
        }
    }

    /// Puts what the timer asks for into our 2xx to an INVITE or UPDATE, and starts it; stops it when the request asks for none
    /// (RFC 4028 §9).
    pub(super) fn answer_session(&mut self, now: Instant, request: &Request, response: &mut Response) {
        self.note_peer(&request.headers);
        let Some(asked) = request.headers.session_expires() else {
            return self.stop_session();
        };
        let peer_knows = request.headers.knows("timer");
        // A peer that knows no timers got the header from a proxy: then we refresh.
        let refresher = match asked.refresher.filter(|_| peer_knows) {
            Some(refresher) => refresher,
            None if peer_knows => Refresher::Uac,
            None => Refresher::Uas,
        };
        let agreed = SessionExpires {
            seconds: asked.seconds.min(LONGEST),
            refresher: Some(refresher),
        };
        if refresher == Refresher::Uac {
            response.headers.push(HeaderName::Require, "timer");
        }
        response
            .headers
            .push(HeaderName::SessionExpires, agreed.to_string());
        self.start_session(now, agreed.seconds, refresher == Refresher::Uas);
    }

    /// Takes what a 2xx to a request of ours says about the timer.
    pub(super) fn session_answered(&mut self, now: Instant, headers: &Headers) {
        self.note_peer(headers);
        match headers.session_expires() {
            Some(agreed) => {
                let ours = agreed.refresher != Some(Refresher::Uas);
                self.start_session(now, agreed.seconds.min(LONGEST), ours);
            }
            None => self.stop_session(),
        }
    }

    /// Puts what we ask for into a request that refreshes the session.
    pub(super) fn ask_for_session(&self, headers: &mut Headers) {
        let Some(seconds) = self.session.seconds else {
            return;
        };
        let refresher = if self.session.ours {
            Refresher::Uac
        } else {
            Refresher::Uas
        };
        let asked = SessionExpires {
            seconds: seconds.max(self.session.min_seconds),
            refresher: Some(refresher),
        };
        headers.push(HeaderName::SessionExpires, asked.to_string());
        if self.session.min_seconds > 0 {
            headers.push(HeaderName::MinSe, self.session.min_seconds.to_string());
        }
    }

    /// Takes note of the least that the peer takes, from its 422. Returns whether that is more than was known.
    pub(super) fn note_least_session(&mut self, headers: &Headers) -> bool {
        let least = headers.min_session_expires().unwrap_or(0);
        let grows = least > self.session.min_seconds && least <= LONGEST;
        if grows {
            self.session.min_seconds = least;
        }
        grows
    }

    /// Has our first INVITE ask for a session that a 422 leaves room for (RFC 4028 §7.4). Returns false when it says no such thing.
    pub(super) fn lengthen_session(&mut self, invite: &mut Headers, refusal: &Response) -> bool {
        let Some(asked) = invite.session_expires() else {
            return false;
        };
        if !self.note_least_session(&refusal.headers) || self.session.min_seconds <= asked.seconds {
            return false;
        }
        let least = self.session.min_seconds.to_string();
        invite.replace(HeaderName::SessionExpires, least.clone());
        invite.replace(HeaderName::MinSe, least);
        true
    }

    fn start_session(&mut self, now: Instant, seconds: u32, ours: bool) {
        if self.ended {
            return;
        }
        self.session.seconds = Some(seconds);
        self.session.ours = ours;
        self.session.raised = 0;
        let whole = Duration::from_secs(seconds.into());
        if ours {
            self.timers.set(TimerKind::SessionRefresh, now + whole / 2);
            self.timers.set(TimerKind::SessionExpiry, now + whole);
        } else {
            self.timers.clear(TimerKind::SessionRefresh);
            let expiry = whole - GIVE_UP_BEFORE.min(whole / 3);
            self.timers.set(TimerKind::SessionExpiry, now + expiry);
        }
    }

    pub(super) fn stop_session(&mut self) {
        self.session.seconds = None;
        self.timers.clear(TimerKind::SessionRefresh);
        self.timers.clear(TimerKind::SessionExpiry);
    }

    // ---- time

    /// Half of the time is over, and we refresh.
    pub(super) fn refresh_session(&mut self, now: Instant, stack: &mut Stack) {
        if self.ended || self.session.refresh.is_some() {
            return;
        }
        let busy = self.inbound.is_some() || self.outbound.is_some();
        if busy {
            // What is under way may refresh it as well.
            return self.timers.set(TimerKind::SessionRefresh, now + TRY_AGAIN);
        }
        if !self.session.peer_updates {
            self.timers.set(TimerKind::SessionRefresh, now + TRY_AGAIN);
            return stack.out.event(Event::RefreshWanted { call: self.key });
        }
        let Some(dialog) = self.dialog.as_mut() else {
            return;
        };
        let flow = next_hop(dialog.next_hop(), &self.flow, &stack.config.local_nets);
        let mut request = dialog.request(Method::Update);
        describe_ourselves(&mut request.headers, stack, &flow, &self.contact);
        self.ask_for_session(&mut request.headers);
        let owner = Owner {
            call: self.key,
            purpose: Purpose::Refresh,
        };
        self.session.refresh = Some(stack.send(now, request, flow, owner));
    }

    /// Nobody has refreshed it: it is over (RFC 4028 §10).
    pub(super) fn expire_session(&mut self, now: Instant, stack: &mut Stack) {
        if self.ended {
            return;
        }
        let reason = Reason::sip(StatusCode::REQUEST_TIMEOUT.code(), "session expired");
        self.send_bye(now, stack, Some(reason));
        self.end(stack, EndCause::SessionExpired);
    }

    // ---- what arrives

    /// How our UPDATE went.
    pub(super) fn refresh_news(&mut self, now: Instant, stack: &mut Stack, news: &ClientNews) {
        let provisional =
            matches!(&news.outcome, ClientOutcome::Response(response) if response.status.is_provisional());
        if provisional || self.session.refresh != Some(news.id) {
            return;
        }
        self.session.refresh = None;
        if self.ended {
            return;
        }
        let response = match &news.outcome {
            ClientOutcome::Response(response) => response,
            ClientOutcome::Ended => return,
            ClientOutcome::NoResponse | ClientOutcome::TransportFailed => {
                return self.expire_session(now, stack);
            }
        };
        match response.status {
            status if status.is_success() => {
                if let Some(dialog) = &mut self.dialog {
                    dialog.refresh_target(&response.headers);
                }
                self.session_answered(now, &response.headers);
            }
            StatusCode::CALL_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT => {
                self.expire_session(now, stack);
            }
            StatusCode::SESSION_INTERVAL_TOO_SMALL => {
                let grows = self.note_least_session(&response.headers);
                if grows && self.session.raised < MOST_RAISED {
                    self.session.raised += 1;
                    self.refresh_session(now, stack);
                } else {
                    self.timers.set(TimerKind::SessionRefresh, now + TRY_AGAIN);
                }
            }
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                self.session.peer_updates = false;
                self.refresh_session(now, stack);
            }
            _ => self.timers.set(TimerKind::SessionRefresh, now + TRY_AGAIN),
        }
    }

    /// An UPDATE that passed the dialog's sequence check (RFC 3311 §5.2).
    pub(crate) fn receive_update(&mut self, now: Instant, stack: &mut Stack, update: IncomingInvite) {
        let IncomingInvite {
            request,
            essentials,
            key,
            route,
            ..
        } = update;
        let transaction = stack.transactions.open_other(key, route);
        if let Some(refusal) = self.may_not_take_update(stack, &request) {
            stack.out.counters.refuse(refusal.status.code());
            stack.respond(now, transaction, &refusal);
            return;
        }
        if request.body.is_empty() {
            let mut response = stack.response(&request, StatusCode::OK, None);
            describe_ourselves(&mut response.headers, stack, &self.flow, &self.contact);
            if self.is_confirmed() {
                self.answer_session(now, &request, &mut response);
            }
            if let Some(dialog) = &mut self.dialog {
                dialog.refresh_target(&request.headers);
            }
            stack.respond(now, transaction, &response);
            return;
        }
        let inbound = Inbound::pending(transaction, InviteKind::Re, &request, &essentials, None).by_update();
        self.await_answer(now, stack, inbound);
        stack.out.event(Event::Reinvite {
            call: self.key,
            request,
        });
    }

    /// RFC 3311 §5.2: one offer at a time, in each direction.
    fn may_not_take_update(&mut self, stack: &mut Stack, request: &Request) -> Option<Response> {
        let refusal = |stack: &mut Stack, status| Some(stack.response(request, status, None));
        if self.ended {
            return refusal(stack, StatusCode::CALL_DOES_NOT_EXIST);
        }
        if request.body.is_empty() {
            return None;
        }
        if self.outbound.is_some() || self.offers_in_2xx() {
            return refusal(stack, StatusCode::REQUEST_PENDING);
        }
        let confirmed = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.state() == DialogState::Confirmed);
        if self.inbound.is_some() || !confirmed {
            let seconds = stack.random_below(10) + 1;
            let response = stack.response(request, StatusCode::SERVER_INTERNAL_ERROR, None);
            return Some(response.with_header(HeaderName::RetryAfter, seconds.to_string()));
        }
        None
    }
}
