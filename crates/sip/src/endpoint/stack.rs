//! Owns everything below the calls: transactions, the index of dialogs, the outbox, randomness and our own identity; and the
//! building of what our messages have in common.
//!
//! Never knows the state of a call.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use bytes::Bytes;
use rand::Rng;

use super::config::{Admission, EndpointConfig};
use super::counters::DropReason;
use super::event::{CallKey, LocalContact};
use super::flow::{Flow, Transport};
use super::outbox::Outbox;
use super::route::{ResponseRoute, host_of, is_local};
use crate::dialog::DialogId;
use crate::message::{Branch, CallId, HeaderName, NameAddr, Request, Response, StatusCode, Tag, Via};
use crate::transaction::layer::{ClientId, Outgoing, Owner, ServerId, TransactionLayer};
use crate::uri::{HostPort, SipScheme, SipUri};

/// The methods this endpoint takes part in, as Allow prints them.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK";
/// RFC 3261 §18.1.1: a request larger than this goes over a congestion-controlled transport, in bytes.
pub(crate) const LARGEST_UDP_REQUEST: usize = 1300;

/// The methods that requests outside of calls may have, and those within.
pub(crate) fn allow(config: &EndpointConfig) -> String {
    let mut all = ALLOW.to_owned();
    if !config.event_packages.is_empty() {
        all.push_str(", SUBSCRIBE");
    }
    if config.takes_registrations {
        all.push_str(", REGISTER");
    }
    all
}

pub(crate) struct Stack {
    pub(crate) config: EndpointConfig,
    pub(crate) admission: Admission,
    pub(crate) transactions: TransactionLayer,
    pub(crate) dialogs: BTreeMap<DialogId, CallKey>,
    pub(crate) out: Outbox,
    rng: Box<dyn Rng + Send>,
    /// Keys the tags of responses that are sent without keeping state.
    secret: u64,
}

impl Stack {
    pub(crate) fn new(config: EndpointConfig, mut rng: Box<dyn Rng + Send>) -> Self {
        let secret = rng.next_u64();
        Stack {
            config,
            admission: Admission::Open,
            transactions: TransactionLayer::default(),
            dialogs: BTreeMap::new(),
            out: Outbox::default(),
            rng,
            secret,
        }
    }

    // ---- identity and randomness

    /// A fresh tag of 64 random bits (RFC 3261 §19.3 asks for at least 32).
    pub(crate) fn tag(&mut self) -> Tag {
        Tag::new(format!("{:016x}", self.rng.next_u64()))
    }

    pub(crate) fn branch(&mut self) -> Branch {
        Branch::new(format!("{}{:016x}", Branch::MAGIC_COOKIE, self.rng.next_u64()))
    }

    pub(crate) fn call_id(&mut self) -> CallId {
        CallId::new(format!(
            "{:016x}{:016x}",
            self.rng.next_u64(),
            self.rng.next_u64()
        ))
    }

    /// A first CSeq number: small enough never to leave the 31 bits of RFC 3261 §8.1.1.5.
    pub(crate) fn first_cseq(&mut self) -> u32 {
        self.random_below(1 << 16)
    }

    /// A random number in `0..bound`.
    pub(crate) fn random_below(&mut self, bound: u32) -> u32 {
        self.rng.next_u32() % bound.max(1)
    }

    /// The same tag for every repetition of a request (RFC 3261 §8.2.7), and another one for other requests.
    pub(crate) fn stateless_tag(&self, request_id: &[&[u8]]) -> Tag {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        request_id.hash(&mut hasher);
        Tag::new(format!("{:016x}", hasher.finish()))
    }

    fn host_port(&self, flow: &Flow) -> HostPort {
        let peer = flow.remote.ip();
        let advertised = self.config.advertised.towards(peer);
        match advertised.filter(|_| !is_local(peer, &self.config.inside)) {
            Some(advertised) => HostPort {
                host: advertised.host.clone(),
                port: advertised.port.or(Some(flow.local.port())),
            },
            None => HostPort {
                host: host_of(flow.local),
                port: Some(flow.local.port()),
            },
        }
    }

    /// The value of our Contact for a peer on this flow.
    pub(crate) fn contact(&self, flow: &Flow, contact: &LocalContact) -> Bytes {
        let HostPort { host, port } = self.host_port(flow);
        let mut uri = SipUri::new(host, port);
        if let Some(user) = &contact.user {
            uri = uri.with_user(user);
        }
        if contact.is_secure {
            uri.scheme = SipScheme::Sips;
        }
        // Of a `sips` URI it is understood that it is TLS (RFC 5630 §3.1.4).
        let is_said = contact.is_secure && flow.transport == Transport::Tls;
        if flow.transport != Transport::Udp && !is_said {
            uri = uri.with_param("transport", Some(flow.transport.uri_value()));
        }
        let mut address = NameAddr::new(uri);
        if contact.is_focus {
            address.params.set("isfocus", None);
        }
        address.to_bytes()
    }

    // ---- responses

    /// A response with what all of ours have in common; To gets the tag.
    pub(crate) fn response(&self, request: &Request, status: StatusCode, tag: Option<&Tag>) -> Response {
        let mut response = Response::to(request, status);
        if let Some(tag) = tag {
            response = response.with_to_tag(tag);
        }
        self.sign(&mut response);
        response
    }

    /// Adds Server.
    pub(crate) fn sign(&self, response: &mut Response) {
        if !self.config.server_name.is_empty() {
            response
                .headers
                .push(HeaderName::Server, self.config.server_name.clone());
        }
    }

    pub(crate) fn respond(&mut self, now: Instant, transaction: ServerId, response: &Response) -> Bytes {
        let bytes = response.to_bytes();
        self.transactions.respond(
            now,
            transaction,
            response.status,
            bytes.clone(),
            false,
            &mut self.out,
        );
        bytes
    }

    /// Sends a refusal without keeping state (RFC 3261 §8.2.7): repetitions of the request get the same bytes again.
    pub(crate) fn respond_stateless(&mut self, route: &ResponseRoute, response: &Response) {
        self.out.counters.refuse(response.status.code());
        self.out.transmit(route.flow, response.to_bytes());
    }

    // ---- requests

    /// Completes a request with Via and User-Agent, sends it and watches over it. A large one on UDP goes by TCP, and
    /// by UDP after all when that fails (RFC 3261 §18.1.1).
    pub(crate) fn send(&mut self, now: Instant, mut request: Request, flow: Flow, owner: Owner) -> ClientId {
        self.name_agent(&mut request);
        let branch = self.branch();
        self.add_via(&mut request, &flow, &branch);
        let too_large = flow.transport == Transport::Udp && request.to_bytes().len() > LARGEST_UDP_REQUEST;
        let (flow, fallback) = if too_large {
            let stream = Flow {
                transport: Transport::Tcp,
                connection: 0,
                ..flow
            };
            request.headers.remove(&HeaderName::Via);
            self.add_via(&mut request, &stream, &branch);
            (stream, Some(flow))
        } else {
            (flow, None)
        };
        self.transactions.send(
            now,
            Outgoing {
                request,
                branch,
                flow,
                fallback,
                owner,
            },
            &mut self.out,
        )
    }

    /// Completes and sends the ACK of a 2xx; returns the bytes for its repetition. It goes the way of its INVITE
    /// whatever its size: there is no transaction that could notice a refused connection.
    pub(crate) fn send_ack(&mut self, mut ack: Request, flow: Flow) -> Bytes {
        self.name_agent(&mut ack);
        let branch = self.branch();
        self.add_via(&mut ack, &flow, &branch);
        let bytes = ack.to_bytes();
        self.out.transmit(flow, bytes.clone());
        bytes
    }

    /// Completes and sends a request whose responses nobody waits for, once.
    pub(crate) fn send_unattended(&mut self, mut request: Request, flow: Flow, branch: &Branch) {
        self.name_agent(&mut request);
        self.add_via(&mut request, &flow, branch);
        self.out.transmit(flow, request.to_bytes());
    }

    /// Sends the CANCEL of an INVITE on its way (RFC 3261 §9.1), with the given Reason values.
    pub(crate) fn send_cancel(
        &mut self,
        now: Instant,
        invite: ClientId,
        reason: Option<Bytes>,
        owner: Owner,
    ) {
        let Some((request, flow)) = self.transactions.sent(invite) else {
            return;
        };
        let Ok(Some(via)) = request.headers.top_via() else {
            return;
        };
        let Some(branch) = via.branch() else { return };
        let mut cancel = Request::new(crate::message::Method::Cancel, request.uri.clone());
        cancel.headers.push(HeaderName::Via, via.to_bytes());
        for name in [
            HeaderName::MaxForwards,
            HeaderName::Route,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
        ] {
            cancel.headers.copy_all(&request.headers, &name);
        }
        if let Ok(Some(mut cseq)) = request.headers.cseq() {
            cseq.method = crate::message::Method::Cancel;
            cancel.headers.push(HeaderName::CSeq, cseq.to_bytes());
        }
        if let Some(reason) = reason {
            cancel.headers.push(HeaderName::Reason, reason);
        }
        self.name_agent(&mut cancel);
        self.transactions.send(
            now,
            Outgoing {
                request: cancel,
                branch,
                flow,
                fallback: None,
                owner,
            },
            &mut self.out,
        );
        self.transactions.cancelled(now, invite);
    }

    fn name_agent(&self, request: &mut Request) {
        if !self.config.server_name.is_empty() {
            request
                .headers
                .push(HeaderName::UserAgent, self.config.server_name.clone());
        }
    }

    fn add_via(&self, request: &mut Request, flow: &Flow, branch: &Branch) {
        let via = Via::new(flow.transport.via_token(), self.host_port(flow), branch);
        request.headers.insert_first(HeaderName::Via, via.to_bytes());
    }

    // ---- headers that say what we can do

    pub(crate) fn supported(&self) -> String {
        self.config.supported.join(", ")
    }

    pub(crate) fn accept(&self) -> String {
        self.config.accept.join(", ")
    }

    pub(crate) fn late_command(&mut self) {
        self.out.drop_for(DropReason::LateCommand);
    }
}
