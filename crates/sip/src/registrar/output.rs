//! Owns the vocabulary between the registrar and its user: what comes out of it, and the replies that it gives.

use super::binding::{BindingId, Reachable};
use crate::message::{HeaderName, StatusCode};

/// Why a binding is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unbound {
    /// Its time was over.
    Expired,
    /// Who registered took it back.
    Asked,
    /// Another one of the same owner has taken its place.
    Replaced,
    /// The connection that led to it was closed.
    ConnectionClosed,
    /// Its owner may not have it any more.
    Removed,
}

impl Unbound {
    /// A name for events and logs: lower case, words joined by underscores.
    pub fn name(self) -> &'static str {
        match self {
            Unbound::Expired => "expired",
            Unbound::Asked => "unregistered",
            Unbound::Replaced => "replaced",
            Unbound::ConnectionClosed => "connection_closed",
            Unbound::Removed => "removed",
        }
    }
}

/// What the registrar wants from the outside, in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistrarOutput<K> {
    /// A binding is new.
    Bound {
        /// Whose.
        owner: K,
        /// Which.
        id: BindingId,
        /// He had none before.
        is_first: bool,
    },
    /// A binding was refreshed, or changed.
    Refreshed {
        /// Whose.
        owner: K,
        /// Which.
        id: BindingId,
        /// Something but its end has changed.
        has_changed: bool,
    },
    /// A binding is gone.
    Unbound {
        /// Whose.
        owner: K,
        /// Which.
        id: BindingId,
        /// Why.
        why: Unbound,
        /// He has none any more.
        was_last: bool,
    },
    /// The way to this contact is to be used, so that a NAT keeps it open.
    KeepAlive(Box<Reachable>),
}

/// What a REGISTER is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 699.
    pub status: StatusCode,
    /// Reason phrase; `None` takes the usual one of the status.
    pub reason: Option<String>,
    /// Further header fields.
    pub headers: Vec<(HeaderName, String)>,
}

impl Reply {
    pub(super) fn ok() -> Reply {
        Reply::refusal(StatusCode::OK, None)
    }

    /// A reply with this status and, if given, reason phrase.
    pub fn refusal(status: StatusCode, reason: Option<&str>) -> Reply {
        Reply {
            status,
            reason: reason.map(str::to_owned),
            headers: Vec::new(),
        }
    }

    /// RFC 3261 §10.3 step 7 lets the request fail and names no status; §12.2.2 has this one for the same fault.
    pub(super) fn out_of_order() -> Reply {
        Reply::refusal(StatusCode::SERVER_INTERNAL_ERROR, Some("CSeq Out Of Order"))
    }

    /// The same reply with one more header field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}
