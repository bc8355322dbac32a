//! REFER within a call (RFC 3515): the peer asks us to call somebody, or to send its call elsewhere.
//!
//! Owns the request until our user has decided, and the subscription that it implies: NOTIFY with what has become of it, one after
//! the other. Without one where the peer wants none (RFC 4488, RFC 7614). It lives within the call: what comes after its end nobody is told.

use std::collections::VecDeque;
use std::time::Instant;

use super::inbound::IncomingInvite;
use super::{Call, describe_ourselves};
use crate::endpoint::counters::DropReason;
use crate::endpoint::event::{Event, Rejection};
use crate::endpoint::route::{ResponseRoute, next_hop};
use crate::endpoint::stack::Stack;
use crate::message::{HeaderName, Method, Request, StatusCode};
use crate::transaction::key::ServerKey;
use crate::transaction::layer::{ClientId, ClientNews, ClientOutcome, Owner, Purpose};

/// Option tags with which a peer wants no subscription: RFC 4488 §4, RFC 7614 §4.
pub(crate) const NO_SUBSCRIPTION: [&str; 2] = ["norefersub", "nosub"];
/// The header of RFC 4488.
const REFER_SUB: &str = "Refer-Sub";
/// What is told of one REFER and not sent yet: that it is tried, progress, the end.
const UNSENT_MAX: usize = 4;
/// How long a subscription is said to live, seconds: a call rings for two minutes at most.
const LIFETIME_S: u32 = 180;

/// What a call knows of the REFER of its peer.
#[derive(Debug, Default)]
pub(super) struct Referral {
    /// The one that our user has not decided about.
    pending: Option<Box<Pending>>,
    /// The one that is carried out.
    told: Option<Told>,
    /// There was one before: the next is told apart by its number (RFC 3515 §2.4.6).
    is_later: bool,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    cseq: u32,
    key: ServerKey,
    route: ResponseRoute,
}

#[derive(Debug)]
struct Told {
    /// Value of Event.
    event: String,
    unsent: VecDeque<StatusCode>,
    notify: Option<ClientId>,
}

impl Call {
    /// A REFER that passed the dialog's sequence check.
    pub(crate) fn receive_refer(&mut self, now: Instant, stack: &mut Stack, refer: IncomingInvite) {
        let IncomingInvite {
            request,
            essentials,
            key,
            route,
            ..
        } = refer;
        if let Some(pending) = &self.referral.pending
            && pending.key == key
        {
            return stack.out.drop_for(DropReason::Retransmission);
        }
        let status = if self.ended || !self.is_confirmed() {
            Some(StatusCode::CALL_DOES_NOT_EXIST)
        } else if self.referral.pending.is_some() || self.referral.told.is_some() {
            Some(StatusCode::REQUEST_PENDING)
        } else if request.headers.get_all(&HeaderName::ReferTo).count() != 1 {
            // RFC 3515 §2.4.1.
            Some(StatusCode::BAD_REQUEST)
        } else {
            None
        };
        if let Some(status) = status {
            let transaction = stack.transactions.open_other(key, route);
            let response = stack.response(&request, status, None);
            stack.out.counters.refuse(status.code());
            stack.respond(now, transaction, &response);
            return;
        }
        self.referral.pending = Some(Box::new(Pending {
            request: request.clone(),
            cseq: essentials.cseq.number,
            key,
            route,
        }));
        stack.out.event(Event::Refer {
            call: self.key,
            request,
        });
    }

    /// Our user will try. What becomes of it is told by [`Call::tell_referral`].
    pub(crate) fn accept_refer(&mut self, now: Instant, stack: &mut Stack) {
        let Some(pending) = self.referral.pending.take() else {
            return stack.late_command();
        };
        let Pending {
            request,
            cseq,
            key,
            route,
        } = *pending;
        let wants_none = wants_no_subscription(&request);
        // RFC 4488 §4: 200 where nothing is going to be told, 202 else.
        let status = if wants_none {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        let mut response = stack.response(&request, status, None);
        describe_ourselves(&mut response.headers, stack, &self.flow, &self.contact);
        if wants_none {
            response.headers.push(HeaderName::custom(REFER_SUB), "false");
        }
        let transaction = stack.transactions.open_other(key, route);
        stack.respond(now, transaction, &response);
        let is_later = std::mem::replace(&mut self.referral.is_later, true);
        if wants_none {
            return;
        }
        self.referral.told = Some(Told {
            event: if is_later {
                format!("refer;id={cseq}")
            } else {
                "refer".to_owned()
            },
            unsent: VecDeque::new(),
            notify: None,
        });
        self.tell_referral(now, stack, StatusCode::TRYING);
    }

    pub(crate) fn reject_refer(&mut self, now: Instant, stack: &mut Stack, rejection: &Rejection) {
        let Some(pending) = self.referral.pending.take() else {
            return stack.late_command();
        };
        let status = match rejection.status.class() {
            3..=6 => rejection.status,
            _ => StatusCode::SERVER_INTERNAL_ERROR,
        };
        let mut response = stack.response(&pending.request, status, None);
        if let Some(reason) = &rejection.reason {
            response = response.with_reason(reason.clone());
        }
        for (name, value) in &rejection.headers {
            response.headers.push(name.clone(), value.clone());
        }
        let transaction = stack.transactions.open_other(pending.key, pending.route);
        stack.respond(now, transaction, &response);
    }

    /// Tells the peer how it goes; a final status ends the subscription.
    pub(crate) fn tell_referral(&mut self, now: Instant, stack: &mut Stack, status: StatusCode) {
        let Some(told) = self.referral.told.as_mut().filter(|_| !self.ended) else {
            // The peer wanted to hear nothing, or hears nothing any more.
            return;
        };
        let has_end = told.unsent.back().is_some_and(|last| last.is_final());
        if has_end || (told.unsent.len() >= UNSENT_MAX && !status.is_final()) {
            return stack.late_command();
        }
        told.unsent.push_back(status);
        self.send_news(now, stack);
    }

    fn send_news(&mut self, now: Instant, stack: &mut Stack) {
        let Some(told) = self.referral.told.as_mut().filter(|told| told.notify.is_none()) else {
            return;
        };
        let Some(dialog) = self.dialog.as_mut() else {
            return;
        };
        let Some(status) = told.unsent.pop_front() else {
            return;
        };
        let flow = next_hop(dialog.next_hop(), &self.flow, &stack.config.local_nets);
        let mut notify = dialog.request(Method::Notify);
        let state = if status.is_final() {
            "terminated;reason=noresource".to_owned()
        } else {
            format!("active;expires={LIFETIME_S}")
        };
        let headers = &mut notify.headers;
        headers.push(HeaderName::Event, told.event.clone());
        headers.push(HeaderName::SubscriptionState, state);
        headers.push(HeaderName::ContentType, "message/sipfrag;version=2.0");
        notify.body = format!("SIP/2.0 {} {}\r\n", status.code(), status.default_reason()).into();
        describe_ourselves(&mut notify.headers, stack, &flow, &self.contact);
        self.authorize(stack, &mut notify);
        let owner = Owner {
            call: self.key,
            purpose: Purpose::Notify,
        };
        let sent = stack.send(now, notify, flow, owner);
        if status.is_final() {
            // Whatever is answered, nothing follows.
            self.referral.told = None;
        } else if let Some(told) = &mut self.referral.told {
            told.notify = Some(sent);
        }
    }

    /// How our NOTIFY went.
    pub(super) fn notify_news(&mut self, now: Instant, stack: &mut Stack, news: &ClientNews) {
        let Some(told) = self
            .referral
            .told
            .as_mut()
            .filter(|told| told.notify == Some(news.id))
        else {
            return;
        };
        match &news.outcome {
            ClientOutcome::Response(response) if response.status.is_provisional() => {}
            ClientOutcome::Response(response) if response.status.is_success() => {
                told.notify = None;
                if !self.ended {
                    self.send_news(now, stack);
                }
            }
            // RFC 6665 §4.2.2: who refuses to be told is told nothing more.
            _ => self.referral.told = None,
        }
    }

    /// The call is over, and with it what was asked in it.
    pub(super) fn forget_referral(&mut self) {
        self.referral = Referral::default();
    }
}

fn wants_no_subscription(refer: &Request) -> bool {
    let says_so = refer.headers.text(&HeaderName::custom(REFER_SUB));
    let required = refer.headers.require().unwrap_or_default();
    says_so.is_some_and(|value| value.eq_ignore_case("false"))
        || required.iter().any(|tag| tag.eq_ignore_case(NO_SUBSCRIPTION[1]))
}
