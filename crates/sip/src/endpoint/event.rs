//! Owns the vocabulary between the endpoint and its user: what comes out, and the values that commands carry.
//!
//! Never holds state.

use std::fmt;

use bytes::Bytes;

use super::flow::Flow;
use super::info::InfoDigit;
use super::subscribing::SubscriptionKey;
use crate::digest::DigestIdentity;
use crate::message::{CallId, HeaderName, Headers, NameAddr, Reason, Request, Response, StatusCode};
use crate::uri::Uri;

/// One INVITE session of an endpoint. Never used twice by the same endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub(crate) u64);

impl CallKey {
    /// The running number of the call in its endpoint, for logs and metrics.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call#{}", self.0)
    }
}

/// One OPTIONS or REGISTER that waits for its answer. Never used twice by the same endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryKey(pub(crate) u64);

/// One request of ours outside of calls. Never used twice by the same endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionKey(pub(crate) u64);

/// A request to be sent outside of calls.
#[derive(Debug, Clone)]
pub struct Question {
    /// The request, with From and To; Via and User-Agent are added, and Call-ID, CSeq, Max-Forwards and the tag of From where it has none.
    pub request: Request,
    /// Where it is sent.
    pub flow: Flow,
    /// User and `line` of our Contact, where the request has one.
    pub contact: Option<(Option<String>, String)>,
}

/// What came of a request outside of calls.
#[derive(Debug, Clone)]
pub enum QuestionOutcome {
    /// The final response.
    Response(Box<Response>),
    /// None within 32 s.
    NoResponse,
    /// It could not be sent.
    TransportFailed,
}

/// What the endpoint wants from the outside, in order.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "outputs are moved out of the queue one by one, never stored in numbers"
)]
pub enum Output {
    /// Put these bytes on the wire. Stream transports need no framing beyond the message's own Content-Length.
    Transmit {
        /// Where to.
        flow: Flow,
        /// One complete SIP message.
        bytes: Bytes,
    },
    /// Something the user has to know.
    Event(Event),
}

/// What happened to a call.
///
/// Each key is introduced by [`Event::Invite`] or by the return value of [`Endpoint::invite`](crate::Endpoint::invite) and retired by exactly
/// one [`Event::Ended`]; commands for a retired key are counted and ignored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A new call. The request was checked: To has no tag, Require and Content-Type are understood, the topmost Via has
    /// `received` and `rport`. The user answers with `progress`, `accept`, `reject` or `hang_up`.
    Invite {
        /// The new call.
        call: CallKey,
        /// The INVITE.
        request: Request,
        /// The flow it came over.
        flow: Flow,
        /// The call that it is to take the place of (RFC 3891), if it names one. Whether its sender may is for the user to say.
        replaces: Option<CallKey>,
    },
    /// Somebody asks what an INVITE to this address would come to, when the configuration says that the user is asked. The user
    /// answers each with [`Endpoint::answer_options`](crate::Endpoint::answer_options); a copy of the request is a question of its own.
    Options {
        /// The question.
        query: QueryKey,
        /// The OPTIONS.
        request: Request,
        /// The flow it came over.
        flow: Flow,
    },
    /// Somebody says where he is reached, or asks where he is. The user replies to each with
    /// [`Endpoint::answer_register`](crate::Endpoint::answer_register); copies of the request meanwhile are dropped.
    Register {
        /// The request's name.
        query: QueryKey,
        /// The REGISTER.
        request: Request,
        /// The flow it came over.
        flow: Flow,
    },
    /// Somebody wants to hear of something that there is a package for. The user answers with
    /// [`Endpoint::accept_subscription`](crate::Endpoint::accept_subscription) or
    /// [`Endpoint::reject_subscription`](crate::Endpoint::reject_subscription); copies of the request meanwhile are dropped.
    Subscribe {
        /// The request's name.
        query: QueryKey,
        /// The SUBSCRIBE. With an Expires of 0 it wants to be told once.
        request: Request,
        /// The flow it came over.
        flow: Flow,
    },
    /// A subscriber goes on: he is to be told everything (RFC 6665 §4.2.1.4).
    SubscriptionRefreshed {
        /// The subscription.
        subscription: SubscriptionKey,
    },
    /// A subscriber has taken what he was told: the next NOTIFY may come.
    Notified {
        /// The subscription.
        subscription: SubscriptionKey,
    },
    /// A subscription is over. Unless it is lost, the user owes a last NOTIFY.
    SubscriptionEnds {
        /// The subscription.
        subscription: SubscriptionKey,
        /// Why.
        end: SubscriptionEnd,
    },
    /// The caller gave up before the answer; the INVITE was answered 487. [`Event::Ended`] follows at once.
    Cancelled {
        /// The call.
        call: CallKey,
    },
    /// The 2xx to the INVITE was acknowledged, for the first time.
    Acked {
        /// The call.
        call: CallKey,
        /// The answer, when the 2xx carried the offer.
        body: Option<Body>,
    },
    /// The peer wants to change the session. The user answers with `accept_reinvite` or `reject_reinvite`.
    Reinvite {
        /// The call.
        call: CallKey,
        /// The re-INVITE.
        request: Request,
    },
    /// The 2xx to a re-INVITE was acknowledged, for the first time.
    ReinviteAcked {
        /// The call.
        call: CallKey,
        /// The answer, when the 2xx carried the offer.
        body: Option<Body>,
    },
    /// The peer took its re-INVITE back before it was answered; the session stays as it was.
    ReinviteCancelled {
        /// The call.
        call: CallKey,
    },
    /// The peer told a key that was pressed, by INFO; the request was answered.
    Digit {
        /// The call.
        call: CallKey,
        /// The key.
        digit: InfoDigit,
    },
    /// The peer asks us to call somebody, or to send the call elsewhere; it has one Refer-To. The user answers with
    /// [`Endpoint::accept_refer`](crate::Endpoint::accept_refer) or [`Endpoint::reject_refer`](crate::Endpoint::reject_refer): nobody who
    /// has not shown who he is must cause a call.
    Refer {
        /// The call.
        call: CallKey,
        /// The REFER.
        request: Request,
    },
    /// The call is over and its key is dead. Comes exactly once per call.
    Ended {
        /// The call.
        call: CallKey,
        /// Why.
        cause: EndCause,
    },
    /// The far side of our call, or a proxy before it, is there: 100, the first time.
    Trying {
        /// The call.
        call: CallKey,
    },
    /// The far side of our call reports progress (101 to 199).
    Progress {
        /// The call.
        call: CallKey,
        /// 100, 180, 183, …
        status: StatusCode,
        /// A session description of early media, if any.
        body: Option<Body>,
    },
    /// The far side took our call. When our INVITE carried the offer, the ACK is on its way and `body` is the answer;
    /// when it did not, `body` is the offer and the user gives its answer with `acknowledge`.
    Answered {
        /// The call.
        call: CallKey,
        /// The session description of the 2xx.
        body: Option<Body>,
        /// The header fields of the 2xx, for its Contact.
        headers: Headers,
    },
    /// The far side refused our call. [`Event::Ended`] follows at once.
    Failed {
        /// The call.
        call: CallKey,
        /// 300 to 699.
        status: StatusCode,
        /// The reason phrase as received.
        reason: String,
        /// The header fields of the response, for Contact, Retry-After, Warning, challenges.
        headers: Headers,
    },
    /// How our re-INVITE went.
    ReinviteOutcome {
        /// The call.
        call: CallKey,
        /// The outcome.
        outcome: ReinviteOutcome,
    },
    /// What came of a request outside of calls.
    Replied {
        /// The request.
        question: QuestionKey,
        /// What came of it.
        outcome: QuestionOutcome,
    },
    /// The session wants to be refreshed by a re-INVITE with our offer (RFC 4028 §7.4): the peer takes no UPDATE.
    RefreshWanted {
        /// The call.
        call: CallKey,
    },
    /// How our probe went.
    Probed {
        /// The call.
        call: CallKey,
        /// The outcome.
        outcome: ProbeOutcome,
    },
}

/// Why a subscription ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionEnd {
    /// The subscriber wants no more.
    Unsubscribed,
    /// He has not refreshed it.
    Expired,
    /// He takes no NOTIFY, or is not there: nothing can be told, and the key is dead.
    Lost,
}

/// Why a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// The peer hung up.
    Bye {
        /// Value of its Reason header field (RFC 3326).
        reason: Option<Reason>,
    },
    /// The caller cancelled before we answered.
    Cancelled,
    /// Our user refused the call with this status.
    Rejected {
        /// The status sent.
        status: StatusCode,
    },
    /// Our user hung up.
    LocalHangUp,
    /// Our user did not answer within the INVITE's Expires or the configured time; 487 or 480 was sent.
    NotAnswered,
    /// Our 2xx was never acknowledged; a BYE was sent (RFC 3261 §13.3.1.4).
    AckTimeout,
    /// A reliable provisional response of ours was never acknowledged; 504 was sent (RFC 3262 §3).
    PrackTimeout,
    /// The far side refused our INVITE.
    Refused {
        /// The status received.
        status: StatusCode,
    },
    /// No final response to our INVITE or re-INVITE came in time.
    Timeout,
    /// The peer does not know the dialog any more: 481 or 408 to our re-INVITE (RFC 3261 §12.2.1.2).
    Gone {
        /// The status received.
        status: StatusCode,
    },
    /// The message that would have carried the call on could not be sent.
    TransportFailed,
    /// The far side took our call, but its 2xx does not say where it is reached: a Contact that cannot be read. ACK and BYE were sent.
    UnusableAnswer,
    /// The session had a timer and was not refreshed in time (RFC 4028 §10); a BYE was sent.
    SessionExpired,
}

/// How a re-INVITE of ours went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReinviteOutcome {
    /// 2xx. When our re-INVITE carried the offer, `body` is the answer and the ACK is sent; when it did not, `body` is the
    /// offer and the user gives its answer with `acknowledge`.
    Accepted {
        /// The session description of the 2xx.
        body: Option<Body>,
    },
    /// The peer refused; the session stays as it was (RFC 3261 §14.1).
    Rejected {
        /// 300 to 699, but not 408, 481 and 491.
        status: StatusCode,
    },
    /// Both sides had sent a re-INVITE (491). The wait of RFC 3261 §14.1 is over now: the user may send a fresh one.
    Glare,
    /// Not sent: the call is not in a state for it, another INVITE is in progress on it.
    Busy,
}

/// How an in-dialog OPTIONS went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// Any final response but 481 and 408: the peer knows the dialog.
    Alive {
        /// The status received.
        status: StatusCode,
    },
    /// 481 or 408: the peer has lost the dialog. The user decides whether to hang up.
    Gone {
        /// The status received.
        status: StatusCode,
    },
    /// No response within 32 s.
    NoAnswer,
    /// It could not be sent.
    TransportFailed,
}

/// A message body and its media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Value of Content-Type.
    pub content_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Body {
    /// A session description (`application/sdp`).
    pub fn sdp(bytes: impl Into<Bytes>) -> Self {
        Body {
            content_type: "application/sdp".to_owned(),
            bytes: bytes.into(),
        }
    }
}

/// A refusal by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// 300 to 699; anything else is sent as 500.
    pub status: StatusCode,
    /// Reason phrase; `None` takes the usual one of the status.
    pub reason: Option<String>,
    /// Further header fields: Retry-After, Warning, Reason, …
    pub headers: Vec<(HeaderName, String)>,
}

impl Rejection {
    /// A refusal with the usual reason phrase and no further header fields.
    pub fn new(status: StatusCode) -> Self {
        Rejection {
            status,
            reason: None,
            headers: Vec::new(),
        }
    }

    /// The same refusal with one more header field.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// How our Contact looks in one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalContact {
    /// User part; `None` leaves it out.
    pub user: Option<String>,
    /// Adds the `isfocus` feature parameter: this side is a conference's focus (RFC 4579 §5.2).
    pub is_focus: bool,
    /// It is a `sips` URI, as it is in any case where the INVITE's Request-URI, its topmost Record-Route or, without one, its Contact
    /// is one (RFC 3261 §8.1.1.8, §12.1.1).
    pub is_secure: bool,
}

/// A call to place.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Request-URI.
    pub target: Uri,
    /// Where the INVITE is sent: the result of resolving the target (RFC 3263).
    pub flow: Flow,
    /// From, without a tag.
    pub from: NameAddr,
    /// To, without a tag.
    pub to: NameAddr,
    /// Call-ID; `None` draws one. Nothing is checked: whoever sets it sees to it that it is a word of RFC 3261 §25.1 and not in use.
    pub call_id: Option<CallId>,
    /// Our Contact.
    pub contact: LocalContact,
    /// The offer; `None` asks the far side for one.
    pub body: Option<Body>,
    /// Who we are when the far side, or a proxy on the way, asks (401, 407); `None`: then the call has failed.
    pub identity: Option<DigestIdentity>,
    /// The call may come back to this endpoint: it is one of ours to ourselves. Any other INVITE of ours that comes back, by whatever way, has
    /// gone in a circle and gets 482.
    pub returns: bool,
    /// Further header fields.
    pub headers: Vec<(HeaderName, String)>,
}
