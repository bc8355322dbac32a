//! Calls: INVITE sessions of both directions (RFC 3261 §13 to §15).
//!
//! Owns what a call remembers between messages: its dialog, at most one INVITE in each direction, the ACKs it has sent, and whether
//! it is over. `inbound` answers INVITEs and re-INVITEs, `outbound` sends them, `closing` ends calls and probes them.
//! Never touches the tables of the endpoint except through [`Stack`].
//!
//! A call is over for the user with [`Event::Ended`]. It stays in memory until the last messages are through: the ACK a BYE has
//! to wait for, the response to the BYE, repeated 2xx responses that need their ACK again.

mod authenticating;
mod closing;
mod inbound;
mod outbound;
mod progress;
pub(crate) mod referring;
mod reliable;
mod retrying;
mod session;

use std::time::Instant;

use bytes::Bytes;

use crate::dialog::{Dialog, DialogId, DialogState};
use crate::endpoint::event::{Body, CallKey, EndCause, Event, LocalContact};
use crate::endpoint::flow::Flow;
use crate::endpoint::multipart::session_part;
use crate::endpoint::stack::Stack;
use crate::message::{CallId, Essentials, HeaderName, Headers, NameAddr, Reason, Request, Tag};
use crate::transaction::layer::{ClientId, ClientNews, Purpose};
use crate::transaction::timer::{TimerKind, Timers};
use crate::uri::{SipScheme, Uri};

use authenticating::Authentication;
use inbound::Inbound;
pub(crate) use inbound::IncomingInvite;
use outbound::Outbound;
use progress::Progress;
use referring::Referral;
use reliable::EarlyDialog;
use retrying::Unanswered;
use session::Session;

/// Whether an INVITE starts a session or changes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InviteKind {
    Initial,
    Re,
}

/// An ACK of ours, kept while its INVITE transaction may still hand up the same 2xx again.
#[derive(Debug)]
struct SentAck {
    invite: ClientId,
    remote_tag: Option<Tag>,
    flow: Flow,
    bytes: Bytes,
}

#[derive(Debug)]
pub(crate) struct Call {
    key: CallKey,
    /// True on the side that sent the first INVITE and thereby chose the Call-ID.
    is_caller: bool,
    /// Its INVITE may come back to us.
    pub(crate) returns: bool,
    /// The way the peer was last heard on.
    flow: Flow,
    contact: LocalContact,
    dialog: Option<Dialog>,
    /// Dialogs of provisional responses, until one of them is confirmed.
    early: Vec<EarlyDialog>,
    /// The highest number of a request that we have sent in any of them.
    early_cseq: u32,
    inbound: Option<Inbound>,
    progress: Progress,
    outbound: Option<Outbound>,
    acks: Vec<SentAck>,
    /// Who we are when we are asked.
    authentication: Option<Authentication>,
    /// Our first INVITE, until it is answered: it may have to be sent again with something changed.
    unanswered: Option<Unanswered>,
    bye: Option<ClientId>,
    probe: Option<ClientId>,
    /// The BYE waits for the ACK of our 2xx (RFC 3261 §15), with these Reason values.
    bye_after_ack: Option<Option<Reason>>,
    /// [`Event::Ended`] is out.
    ended: bool,
    session: Session,
    referral: Referral,
    timers: Timers<7>,
}

impl Call {
    fn new(key: CallKey, is_caller: bool, flow: Flow, contact: LocalContact) -> Self {
        Call {
            key,
            is_caller,
            returns: false,
            flow,
            contact,
            dialog: None,
            early: Vec::new(),
            early_cseq: 0,
            inbound: None,
            progress: Progress::default(),
            outbound: None,
            acks: Vec::new(),
            authentication: None,
            unanswered: None,
            bye: None,
            probe: None,
            bye_after_ack: None,
            ended: false,
            session: Session::default(),
            referral: Referral::default(),
            timers: Timers::new(),
        }
    }

    // ---- what the endpoint asks

    pub(crate) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        self.timers.next()
    }

    /// The connection this call would use next, 0 for none.
    pub(crate) fn connection(&self) -> u64 {
        self.flow.connection
    }

    /// True when nothing more can happen in this call.
    pub(crate) fn is_finished(&self) -> bool {
        self.needs_no_dialog() && self.acks.is_empty()
    }

    fn needs_no_dialog(&self) -> bool {
        self.ended && self.inbound.is_none() && self.outbound.is_none() && self.bye.is_none()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    // ---- what happens to every call

    pub(crate) fn set_contact(&mut self, contact: LocalContact) {
        let is_secure = self.contact.is_secure || contact.is_secure;
        self.contact = LocalContact { is_secure, ..contact };
    }

    /// A request within one of its dialogs came over `flow`. Returns false when its CSeq is out of order.
    pub(crate) fn take_request(&mut self, id: &DialogId, flow: Flow, cseq: u32) -> bool {
        let dialog = self
            .dialog
            .iter_mut()
            .chain(self.early.iter_mut().map(|early| &mut early.dialog))
            .find(|dialog| dialog.id() == id);
        let in_order = dialog.is_some_and(|dialog| dialog.take_remote_cseq(cseq));
        if in_order {
            self.flow = flow;
        }
        in_order
    }

    /// The connection of this call is gone: the next request asks for a new one.
    pub(crate) fn lose_connection(&mut self) {
        self.flow.connection = 0;
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, stack: &mut Stack) {
        match self.timers.expire(now) {
            Some(kind @ (TimerKind::Repeat2xx | TimerKind::AckWait)) => {
                self.inbound_timeout(now, stack, kind);
            }
            Some(
                kind @ (TimerKind::RefreshProvisional | TimerKind::RepeatReliable | TimerKind::PrackWait),
            ) => {
                self.progress_timeout(now, stack, kind);
            }
            Some(TimerKind::AnswerWait) => self.answer_overdue(now, stack),
            Some(TimerKind::SessionRefresh) => self.refresh_session(now, stack),
            Some(TimerKind::SessionExpiry) => self.expire_session(now, stack),
            Some(kind) => self.outbound_timeout(now, stack, kind),
            None => {}
        }
    }

    /// A client transaction of this call has news.
    pub(crate) fn handle_news(&mut self, now: Instant, stack: &mut Stack, news: ClientNews) {
        match news.owner.purpose {
            Purpose::Invite => self.invite_news(now, stack, news),
            Purpose::Bye => self.bye_news(&news),
            Purpose::Probe => self.probe_news(stack, &news),
            Purpose::Refresh => self.refresh_news(now, stack, &news),
            Purpose::Notify => self.notify_news(now, stack, &news),
            Purpose::Question | Purpose::Unattended | Purpose::Subscription => {}
        }
    }

    // ---- shared by the parts

    /// Tells the user that the call is over, once.
    fn end(&mut self, stack: &mut Stack, cause: EndCause) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.unanswered = None;
        self.forget_referral();
        stack.out.counters.calls_ended += 1;
        self.stop_progress();
        for kind in [
            TimerKind::AnswerWait,
            TimerKind::RingWait,
            TimerKind::GlareWait,
            TimerKind::SessionRefresh,
            TimerKind::SessionExpiry,
        ] {
            self.timers.clear(kind);
        }
        stack.out.event(Event::Ended {
            call: self.key,
            cause,
        });
    }

    /// Enters a dialog of this call into the endpoint's index.
    fn register(&self, stack: &mut Stack, id: &DialogId) {
        stack.dialogs.insert(id.clone(), self.key);
    }

    /// Takes the dialogs out of the index once no message can need them any more.
    pub(crate) fn release_dialogs(&mut self, stack: &mut Stack) {
        if !self.needs_no_dialog() {
            return;
        }
        if let Some(dialog) = self.dialog.take() {
            stack.dialogs.remove(dialog.id());
        }
        self.drop_early(stack);
    }

    /// Whether it was answered.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.dialog
            .as_ref()
            .is_some_and(|dialog| dialog.state() == DialogState::Confirmed)
    }
}

/// Whether the dialog of this INVITE is one of `sips` URIs (RFC 3261 §8.1.1.8, §12.1.1).
fn asks_for_sips(request: &Request) -> bool {
    let is_sips = |uri: &Uri| uri.as_sip().is_some_and(|uri| uri.scheme == SipScheme::Sips);
    let first = |addresses: &[NameAddr]| addresses.first().map(|address| is_sips(&address.uri));
    let route = first(&request.headers.record_routes().unwrap_or_default());
    let hop = route.or_else(|| first(&request.headers.contacts().unwrap_or_default()));
    is_sips(&request.uri) || hop.unwrap_or(false)
}

/// Adds Contact, Allow and Supported: every INVITE and every response to one that creates or refreshes a dialog has them.
fn describe_ourselves(headers: &mut Headers, stack: &Stack, flow: &Flow, contact: &LocalContact) {
    headers.push(HeaderName::Contact, stack.contact(flow, contact));
    headers.push(HeaderName::Allow, crate::endpoint::stack::ALLOW);
    headers.push(HeaderName::Supported, stack.supported());
}

/// The body of a message when there is one.
fn body_of(headers: &Headers, bytes: &Bytes) -> Option<Body> {
    if bytes.is_empty() {
        return None;
    }
    let content_type = headers.content_type().ok().flatten();
    let content_type = content_type.map_or_else(
        || "application/sdp".to_owned(),
        |kind| format!("{}/{}", kind.kind, kind.subtype).to_ascii_lowercase(),
    );
    Some(Body {
        content_type,
        bytes: bytes.clone(),
    })
}

/// What an ACK or a 2xx carries, when a call can use it.
fn session_body(stack: &Stack, headers: &Headers, bytes: &Bytes) -> Option<Body> {
    let accept = &stack.config.accept;
    if let Ok(Some(kind)) = headers.content_type()
        && let Some(part) = session_part(&kind, bytes, accept)
    {
        return Some(Body {
            content_type: part.content_type,
            bytes: part.body,
        });
    }
    body_of(headers, bytes).filter(|body| accept.contains(&body.content_type))
}

/// The identity a new call as caller goes by.
struct CallerIdentity {
    call_id: CallId,
    tag: Tag,
}

/// Reads what every parsed message has; a message that lost it is ignored.
fn essentials_of(headers: &Headers) -> Option<Essentials> {
    Essentials::of(headers).ok()
}

fn add_body(request: &mut Request, body: Option<Body>) {
    if let Some(body) = body {
        request
            .headers
            .replace(HeaderName::ContentType, body.content_type);
        request.body = body.bytes;
    }
}
