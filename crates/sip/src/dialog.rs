//! Dialogs: RFC 3261 §12.
//!
//! Owns the state two user agents share about one dialog: identity, sequence numbers, remote target, route set; and builds the
//! requests sent within it. Never sends anything and never knows what the dialog is used for.

mod id;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

pub(crate) use id::DialogId;

use crate::message::{
    CSeq, CallId, Essentials, HeaderName, Headers, Method, NameAddr, Request, Response, Tag,
};
use crate::param::Params;
use crate::uri::Uri;

/// Whether the INVITE that created the dialog was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialogState {
    /// After a provisional response with a To tag.
    Early,
    /// After a 2xx.
    Confirmed,
}

/// The values of the first hop of a request within a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialog {
    id: DialogId,
    state: DialogState,
    call_id: CallId,
    /// Our From in requests, byte for byte what the peer knows as our side, with tag.
    local: Bytes,
    /// The To of our requests.
    remote: Bytes,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    remote_target: Uri,
    /// First hop first, each as it came.
    route_set: Vec<NameAddr>,
}

impl Dialog {
    /// The dialog on the side that received the INVITE, with the tag our responses carry (RFC 3261 §12.1.1).
    ///
    /// A peer that sent no usable Contact, as RFC 2543 allowed, is reached by the URI of its From.
    pub(crate) fn from_request(
        request: &Request,
        essentials: &Essentials,
        local_tag: &Tag,
        local_cseq: u32,
    ) -> Self {
        let remote_tag = essentials.from_tag();
        let to = request.headers.get(&HeaderName::To).cloned().unwrap_or_default();
        let from = request
            .headers
            .get(&HeaderName::From)
            .cloned()
            .unwrap_or_default();
        Dialog {
            id: DialogId::new(&essentials.call_id, Some(local_tag), remote_tag.as_ref()),
            state: DialogState::Early,
            call_id: essentials.call_id.detached(),
            local: with_tag(&to, local_tag),
            remote: Bytes::copy_from_slice(&from),
            local_cseq,
            remote_cseq: Some(essentials.cseq.number),
            remote_target: contact_of(&request.headers).unwrap_or_else(|| detached(&essentials.from.uri)),
            route_set: route_set(&request.headers),
        }
    }

    /// The dialog on the side that sent the INVITE, from a response that creates one (RFC 3261 §12.1.2).
    pub(crate) fn from_response(request: &Request, response: &Response, essentials: &Essentials) -> Self {
        let (local_tag, remote_tag) = (essentials.from_tag(), essentials.to_tag());
        let from = request
            .headers
            .get(&HeaderName::From)
            .cloned()
            .unwrap_or_default();
        let to = response.headers.get(&HeaderName::To).cloned().unwrap_or_default();
        let mut route_set = route_set(&response.headers);
        route_set.reverse();
        Dialog {
            id: DialogId::new(&essentials.call_id, local_tag.as_ref(), remote_tag.as_ref()),
            state: if response.status.is_success() {
                DialogState::Confirmed
            } else {
                DialogState::Early
            },
            call_id: essentials.call_id.detached(),
            local: Bytes::copy_from_slice(&from),
            remote: Bytes::copy_from_slice(&to),
            local_cseq: essentials.cseq.number,
            remote_cseq: None,
            remote_target: contact_of(&response.headers).unwrap_or_else(|| detached(&request.uri)),
            route_set,
        }
    }

    pub(crate) fn id(&self) -> &DialogId {
        &self.id
    }

    pub(crate) fn state(&self) -> DialogState {
        self.state
    }

    /// A 2xx was sent or received.
    pub(crate) fn confirm(&mut self) {
        self.state = DialogState::Confirmed;
    }

    /// The number of the last request that we have sent in it.
    pub(crate) fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Takes over what was counted in the early dialog that this one was; route set and remote target are those of the 2xx
    /// (RFC 3261 §13.2.2.4).
    pub(crate) fn go_on_from(&mut self, early: &Dialog) {
        self.count_on_from(early.local_cseq);
        self.remote_cseq = early.remote_cseq;
    }

    /// Has the next request of ours a number above this one.
    pub(crate) fn count_on_from(&mut self, cseq: u32) {
        self.local_cseq = self.local_cseq.max(cseq);
    }

    /// The URI that decides where requests go: the first route, or the remote target.
    pub(crate) fn next_hop(&self) -> &Uri {
        self.route_set
            .first()
            .map_or(&self.remote_target, |route| &route.uri)
    }

    /// Checks the sequence number of a request from the peer and takes it over (RFC 3261 §12.2.2). Returns false for a
    /// number lower than one already seen; such a request is answered 500.
    pub(crate) fn take_remote_cseq(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|seen| number < seen) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }

    /// Moves the remote target to the Contact of an INVITE or of a 2xx to one (RFC 3261 §12.2). The route set never changes.
    pub(crate) fn refresh_target(&mut self, headers: &Headers) {
        if let Some(target) = contact_of(headers) {
            self.remote_target = target;
        }
    }

    /// Builds a new request within the dialog, with the next sequence number, without Via (RFC 3261 §12.2.1.1).
    pub(crate) fn request(&mut self, method: Method) -> Request {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        self.build(method, self.local_cseq)
    }

    /// Builds the ACK of a 2xx to the INVITE with this sequence number, without Via (RFC 3261 §13.2.2.4).
    pub(crate) fn ack(&self, invite_cseq: u32) -> Request {
        self.build(Method::Ack, invite_cseq)
    }

    fn build(&self, method: Method, number: u32) -> Request {
        let first_is_loose = self
            .route_set
            .first()
            .is_none_or(|first| first.uri.as_sip().is_some_and(|uri| uri.is_loose_router()));
        let mut uri = if first_is_loose {
            self.remote_target.clone()
        } else {
            self.next_hop().clone()
        };
        // A Contact may have header fields; a Request-URI may not (RFC 3261 §19.1.1, table 1).
        if let Uri::Sip(sip) = &mut uri {
            sip.headers = Params::new();
        }
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        if first_is_loose {
            for route in &self.route_set {
                headers.push(HeaderName::Route, route.to_bytes());
            }
        } else {
            // A strict router: it becomes the Request-URI, and the remote target the last route (RFC 3261 §12.2.1.1).
            for route in &self.route_set[1..] {
                headers.push(HeaderName::Route, route.to_bytes());
            }
            headers.push(
                HeaderName::Route,
                NameAddr::new(self.remote_target.clone()).to_bytes(),
            );
        }
        headers.push(HeaderName::From, self.local.clone());
        headers.push(HeaderName::To, self.remote.clone());
        headers.push(
            HeaderName::CallId,
            Bytes::copy_from_slice(self.call_id.as_bytes()),
        );
        headers.push(HeaderName::CSeq, CSeq { number, method }.to_bytes());
        request
    }
}

/// The first Contact address, as a copy of its own.
fn contact_of(headers: &Headers) -> Option<Uri> {
    let contacts = headers.contacts().ok()?;
    contacts.first().map(|contact| detached(&contact.uri))
}

fn route_set(headers: &Headers) -> Vec<NameAddr> {
    let routes = headers.record_routes().unwrap_or_default();
    routes
        .into_iter()
        .filter_map(|route| NameAddr::parse(Bytes::from(route.to_bytes().to_vec())).ok())
        .collect()
}

/// A copy that does not keep the received datagram alive.
fn detached(uri: &Uri) -> Uri {
    Uri::parse(uri.to_bytes()).unwrap_or_else(|_| uri.clone())
}

fn with_tag(to: &Bytes, tag: &Tag) -> Bytes {
    let mut value = BytesMut::with_capacity(to.len() + 5 + tag.as_bytes().len());
    value.put_slice(to.strip_suffix(b";").unwrap_or(to));
    value.put_slice(b";tag=");
    value.put_slice(tag.as_bytes());
    value.freeze()
}
