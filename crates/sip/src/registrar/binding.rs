//! One binding: a contact, and the way that leads to it.
//!
//! Owns which binding a contact of a request means, and where requests to it go. Never keeps more than one.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use super::request::{RegisterRequest, Wanted};
use super::{same_ip, text};
use crate::byte_str::ByteStr;
use crate::endpoint::route::next_hop;
use crate::endpoint::{Flow, Network, Transport};
use crate::message::{CallId, NameAddr};
use crate::uri::Uri;

/// One binding of a registrar. Never used twice by the same registrar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(pub u64);

impl fmt::Display for BindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A contact, how it is reached, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Which.
    pub id: BindingId,
    /// The contact as it was given.
    pub contact: Uri,
    /// Path: the proxies between, the nearest to us first.
    pub path: Vec<NameAddr>,
    /// The flow that the REGISTER came over; its connection is 0 when that is closed.
    pub flow: Flow,
    /// No proxy is between.
    pub is_direct: bool,
    /// Thousandths.
    pub q: u16,
    /// `+sip.instance`, its quotes included.
    pub instance: Option<ByteStr>,
    /// Which of the flows of the instance it is (RFC 5626).
    pub reg_id: Option<u32>,
    /// The contact says `ob`: it is reached by its flow and in no other way.
    pub is_ob: bool,
    /// Of the REGISTER that made or refreshed it last.
    pub call_id: CallId,
    /// Of the REGISTER that made or refreshed it last.
    pub cseq: u32,
    /// Of who registered.
    pub user_agent: Option<String>,
    /// Its end.
    pub expires_at: Instant,
    /// When the way to it is to be used next, so that a NAT keeps it open.
    pub(super) keep_alive_at: Option<Instant>,
    /// Counts up with every REGISTER of the registrar.
    pub(super) refreshed: u64,
}

/// A way to a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reachable {
    /// The Request-URI: the contact as it was given.
    pub target: Uri,
    /// Route header fields, in this order.
    pub route: Vec<NameAddr>,
    /// Where requests are sent.
    pub flow: Flow,
    /// Thousandths, 0 to 1000.
    pub q: u16,
    /// Of who registered.
    pub user_agent: Option<String>,
}

/// Where requests to a binding go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the other end of the flow: a NAT lies between, or a connection is open.
    Source,
    /// To the contact, or to the first hop of the path.
    Address,
}

/// What else of a binding there is to put back, in the order of its fields.
pub(super) const FIRST_REFRESH: u64 = 0;

impl Binding {
    pub(super) fn new(
        request: &RegisterRequest,
        wanted: &Wanted,
        expires_at: Instant,
        refreshed: u64,
    ) -> Binding {
        Binding {
            id: BindingId(0),
            contact: wanted.uri.clone(),
            path: request.path.clone(),
            flow: request.flow,
            is_direct: request.is_direct,
            q: wanted.q,
            instance: wanted.instance.clone(),
            reg_id: wanted.reg_id,
            is_ob: wanted.is_outbound,
            call_id: request.call_id.clone(),
            cseq: request.cseq,
            user_agent: request.user_agent.clone(),
            expires_at,
            keep_alive_at: None,
            refreshed,
        }
    }

    /// Returns a binding that was kept elsewhere: `contact`, reached over `flow` until `expires_at`. The rest is to be set.
    pub fn restored(id: BindingId, contact: Uri, flow: Flow, expires_at: Instant) -> Binding {
        Binding {
            id,
            contact,
            path: Vec::new(),
            flow,
            is_direct: true,
            q: 1000,
            instance: None,
            reg_id: None,
            is_ob: false,
            call_id: CallId::new(""),
            cseq: 0,
            user_agent: None,
            expires_at,
            keep_alive_at: None,
            refreshed: FIRST_REFRESH,
        }
    }

    /// Whether a contact of a request means this binding: its instance and flow are the same (RFC 5626 §6), or its URI is equivalent.
    pub(super) fn is_of(&self, wanted: &Wanted) -> bool {
        let same_instance =
            self.instance.is_some() && self.instance == wanted.instance && self.reg_id == wanted.reg_id;
        same_instance || self.contact.is_equivalent(&wanted.uri)
    }

    /// Whether the request comes after the one that made the binding, as far as one can tell (RFC 3261 §10.3 step 7).
    pub(super) fn is_before(&self, request: &RegisterRequest) -> bool {
        self.call_id.as_bytes() != request.call_id.as_bytes() || self.cseq < request.cseq
    }

    /// Whether the flow was meant to be used again (RFC 5626).
    pub(super) fn is_outbound(&self) -> bool {
        self.reg_id.is_some()
    }

    pub(super) fn way(&self) -> Way {
        let Some(contact) = self.contact.as_sip() else {
            return Way::Source;
        };
        if !self.is_direct {
            return Way::Address;
        }
        let over_connection = self.flow.connection != 0;
        if over_connection || self.is_ob || self.is_outbound() || !same_ip(&contact.host, &self.flow) {
            Way::Source
        } else {
            Way::Address
        }
    }

    /// Whether nothing but its connection leads to it: the contact is behind a NAT, or is where the connection came from, which
    /// nobody listens at.
    pub(super) fn needs_its_connection(&self) -> bool {
        match (self.flow.transport, self.is_direct) {
            (Transport::Udp, _) | (_, false) => return false,
            (Transport::Tcp, true) => {}
            // Whoever listens has no certificate that this server could expect of him.
            (Transport::Tls | Transport::Ws | Transport::Wss, true) => return true,
        }
        let Some(contact) = self.contact.as_sip() else {
            return true;
        };
        let listens = contact.port.unwrap_or(self.flow.transport.default_port()) != self.flow.remote.port();
        self.is_ob || self.is_outbound() || !listens || !same_ip(&contact.host, &self.flow)
    }

    pub(super) fn reachable(&self, local_nets: &[Network]) -> Reachable {
        let flow = match (self.way(), self.path.first()) {
            (_, Some(hop)) => next_hop(&hop.uri, &self.flow, local_nets),
            (Way::Address, None) => next_hop(&self.contact, &self.flow, local_nets),
            (Way::Source, None) => self.flow,
        };
        Reachable {
            target: self.contact.clone(),
            route: self.path.clone(),
            flow,
            q: self.q,
            user_agent: self.user_agent.clone(),
        }
    }

    /// The value of Contact in a response: with what is left of its life.
    pub(super) fn told(&self, now: Instant) -> String {
        let mut contact = NameAddr::new(self.contact.clone());
        // Rounded up: what is told as 0 would be taken for gone.
        let left = self
            .expires_at
            .saturating_duration_since(now)
            .as_millis()
            .div_ceil(1000);
        if self.q != 1000 {
            let q = format!("0.{:03}", self.q);
            contact.params.set("q", Some(ByteStr::from(q)));
        }
        if let Some(instance) = &self.instance {
            contact.params.set("+sip.instance", Some(instance.clone()));
        }
        if let Some(reg_id) = self.reg_id {
            contact
                .params
                .set("reg-id", Some(ByteStr::from(reg_id.to_string())));
        }
        contact
            .params
            .set("expires", Some(ByteStr::from(left.to_string())));
        text(&contact.to_bytes())
    }

    /// Whether a refresh by `other` changes more than the binding's end.
    pub(super) fn differs_from(&self, other: &Binding) -> bool {
        let place = |binding: &Binding| -> (Flow, SocketAddr) { (binding.flow, binding.flow.remote) };
        self.contact != other.contact
            || self.path != other.path
            || place(self) != place(other)
            || self.q != other.q
            || self.instance != other.instance
            || self.reg_id != other.reg_id
            || self.user_agent != other.user_agent
    }
}
