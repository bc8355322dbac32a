//! SIP messages, transactions, dialogs and calls as sans-IO state machines.
//!
//! # What it is for
//!
//! Bytes and the current time go in, bytes and events come out. The message layer reads whatever a phone, trunk or
//! attacker sends without panicking, keeps what it does not understand, and hands every refused request the answer it is
//! owed. On top of it stand the state machines of a user agent.
//!
//! # What it deliberately does not do
//!
//! No sockets, threads, clock, randomness of its own, or DNS; no session description (bodies are bytes); no
//! authentication policy: [`DigestServer`] challenges and verifies, who has to show what is decided elsewhere.
//!
//! # Messages
//!
//! - [`Message`], [`Request`], [`Response`]: a message over the buffer it came in, nothing copied.
//! - [`Headers`]: raw fields in order, with typed getters that read on demand; [`HeaderError`] says where one is wrong.
//! - [`Uri`], [`SipUri`]: reading, printing, and the comparison of RFC 3261 §19.1.4.
//! - [`ParseError`] with [`ErrorAnswer`]: why a message is refused and what to reply.
//! - [`StreamFramer`]: messages and keep-alives out of a TCP stream, bounded.
//!
//! ```
//! use bytes::Bytes;
//! use confab_sip::{Message, Response, StatusCode, Tag};
//!
//! let datagram = Bytes::from_static(
//!     b"OPTIONS sip:3000@192.0.2.1 SIP/2.0\r\n\
//!       Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK74bf9;rport\r\n\
//!       From: \"Front desk\" <sip:11@192.0.2.7>;tag=9fxced76sl\r\n\
//!       To: <sip:3000@192.0.2.1>\r\n\
//!       Call-ID: 3848276298220188511\r\n\
//!       CSeq: 1 OPTIONS\r\n\r\n",
//! );
//! let Message::Request(request) = Message::parse(datagram)? else { panic!("a request line was given") };
//! assert_eq!(request.headers.top_via()?.and_then(|via| via.branch()).unwrap().as_bytes(), b"z9hG4bK74bf9");
//! let response = Response::to(&request, StatusCode::OK).with_to_tag(&Tag::new("8321234356"));
//! assert!(response.to_bytes().starts_with(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The user agent
//!
//! [`Endpoint`] is a user agent without I/O: transactions, dialogs and calls (INVITE sessions) in both directions.
//!
//! 1. Give it every message with [`Endpoint::handle_message`], the [`Flow`] saying which way it came.
//! 2. Drain [`Endpoint::poll_output`]: send each [`Output::Transmit`], handle each [`Event`].
//! 3. Answer events by commands ([`Endpoint::accept`], [`Endpoint::reject`], [`Endpoint::hang_up`], …) and drain again.
//! 4. Call [`Endpoint::handle_timeout`] when [`Endpoint::poll_timeout`] says so, and drain again.
//!
//! Time is whatever the caller says it is; randomness comes from the generator handed in. The same inputs give the same
//! outputs, byte for byte. [`Endpoint::gauges`] shows what is alive, [`Endpoint::counters`] why things were dropped.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use bytes::Bytes;
//! use confab_sip::{Body, Endpoint, EndpointConfig, Event, EventPackage, Flow, Output};
//! use rand::{SeedableRng, rngs::StdRng};
//!
//! let mut endpoint = Endpoint::new(EndpointConfig::default(), Box::new(StdRng::seed_from_u64(1)));
//! let flow = Flow::udp("192.0.2.1:5060".parse()?, "192.0.2.7:5060".parse()?);
//! let now = Instant::now();
//! endpoint.handle_message(now, flow, Bytes::from_static(
//!     b"INVITE sip:3000@192.0.2.1 SIP/2.0\r\n\
//!       Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1\r\n\
//!       From: <sip:11@192.0.2.7>;tag=a\r\nTo: <sip:3000@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
//!       Contact: <sip:11@192.0.2.7:5060>\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n",
//! ));
//! let Some(Output::Event(Event::Invite { call, .. })) = endpoint.poll_output() else { panic!("a call") };
//! endpoint.accept(now, call, Body::sdp("v=0\r\n"));
//! let Some(Output::Transmit { bytes, .. }) = endpoint.poll_output() else { panic!("a response") };
//! assert!(bytes.starts_with(b"SIP/2.0 200 OK\r\n"));
//! // No ACK comes: after 500 ms the 200 is due again.
//! let (at, _) = endpoint.poll_timeout().expect("a deadline");
//! assert_eq!(at, now + Duration::from_millis(500));
//! endpoint.handle_timeout(at);
//! assert!(matches!(endpoint.poll_output(), Some(Output::Transmit { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The registrar
//!
//! [`Registrar`] keeps whom which contacts reach: [`Event::Register`] brings a REGISTER, [`RegisterRequest::read`] says what it wants, its
//! credentials are asked for by whoever knows the passwords ([`DigestServer`], [`PasswordGuard`]), [`Registrar::register`] does it, and
//! [`Endpoint::answer_register`] sends the reply. [`Registrar::reachable`] says where calls to somebody go.
//!
//! # Where to
//!
//! [`Route::of`] says what the DNS is to be asked for the servers of a URI, [`Route::by_rules`] and [`in_order`] in which order its answers are tried.
//!
//! # RFC sections
//!
//! Messages: RFC 3261 §7, §8.1.1, §8.2.6, §18.3, §19.1, §20, §25; RFC 3326, RFC 3581, RFC 4475, RFC 5626 §3.5.1, RFC 5954.
//!
//! User agent: RFC 3261 §8 (UAC and UAS), §9 (CANCEL), §11 (OPTIONS), §12 (dialogs), §13 and §14 (INVITE and re-INVITE), §15 (BYE), §17
//! (transactions) with RFC 6026, §18.1.1 and §18.2 (where messages go); RFC 3262 (as UAC); RFC 3311
//! (UPDATE); RFC 3581 (rport); RFC 4028 (session timers); RFC 4579 §5.2 (isfocus); RFC 6086 (INFO, no packages);
//! RFC 3515 with RFC 4488 and RFC 7614 (REFER, as the side that is asked); RFC 3891 (Replaces); RFC 6665 (as notifier).
//!
//! Locating servers: RFC 3263 §4, RFC 2782, RFC 3403 §4.1.
//!
//! Registrar: RFC 3261 §10.3, RFC 3327 (Path), RFC 5626 (flows, instances; without STUN), RFC 7616 and RFC 8760 (digest).

mod byte_str;
mod call;
mod dialog;
mod digest;
mod endpoint;
mod framing;
mod fuzz;
mod locating;
mod message;
mod param;
mod registrar;
mod registration;
mod scan;
mod transaction;
mod uri;

pub use byte_str::ByteStr;
pub use digest::{
    DigestAlgorithm, DigestChallenge, DigestCredentials, DigestIdentity, DigestRequest, DigestServer,
    DigestTarget, DigestVerdict,
};
pub use endpoint::{
    Admission, Advertised, Body, CallKey, Counters, DropReason, EndCause, Endpoint, EndpointConfig, Event,
    EventPackage, Flow, Gauges, InfoDigit, Invitation, Limits, LocalContact, MAX_INFO_DIGIT_MS, Network,
    NoDigit, Output, ProbeOutcome, QueryKey, Question, QuestionKey, QuestionOutcome, ReinviteOutcome,
    Rejection, Replaces, SubscriptionEnd, SubscriptionKey, SubscriptionState, Transport, fuzz_endpoint,
};
pub use framing::{Framed, KEEP_ALIVE_PING, KEEP_ALIVE_PONG, StreamFramer};
pub use fuzz::{fuzz_challenge, fuzz_credentials, fuzz_info_digit, fuzz_message, fuzz_replaces, fuzz_uri};
pub use locating::{NaptrRecord, Route, Service, SrvRecord, in_order};
pub use message::{
    Branch, CSeq, CallId, ErrorAnswer, Essentials, Header, HeaderError, HeaderName, Headers,
    MAX_HEADER_LINES, MAX_LINE_BYTES, MAX_LIST_VALUES, MAX_MESSAGE_BYTES, MediaType, Message, Method,
    NameAddr, ParseError, ParseErrorKind, Reason, Refresher, Request, Response, RetryAfter, SessionExpires,
    StatusCode, Tag, Via,
};
pub use param::{Param, Params};
pub use registrar::{
    Binding, BindingId, Blocked, PasswordGuard, PasswordGuardCounts, PasswordLimits, Reachable,
    RegisterRequest, Registrar, RegistrarConfig, RegistrarOutput, Reply, Unbound, fuzz_registrar,
};
pub use registration::{
    LINE, Registration, RegistrationConfig, RegistrationFailure, RegistrationState, fuzz_registration,
};
pub use scan::Problem;
pub use transaction::timer::{T1, T2, T4, TimerKind};
pub use uri::{Host, HostPort, OtherUri, RequestUri, SipScheme, SipUri, Uri, UriError};
