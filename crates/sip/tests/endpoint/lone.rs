//! One endpoint whose peer is played by hand, message by message.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_sip::{
    CallKey, Endpoint, EndpointConfig, Event, Flow, HeaderName, Message, Output, Request, Response,
    StatusCode, Tag,
};
use confab_testkit::clock::VirtualClock;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub(crate) const OURS: &str = "192.0.2.1:5060";
pub(crate) const PEER: &str = "192.0.2.7:5070";

pub(crate) struct Lone {
    pub(crate) endpoint: Endpoint,
    clock: VirtualClock,
    pub(crate) flow: Flow,
    sent: Vec<(Flow, Bytes)>,
    events: Vec<Event>,
}

impl Lone {
    pub(crate) fn new() -> Self {
        Self::with(EndpointConfig::default())
    }

    pub(crate) fn with(config: EndpointConfig) -> Self {
        Lone {
            endpoint: Endpoint::new(config, Box::new(StdRng::seed_from_u64(7))),
            clock: VirtualClock::new(),
            flow: Flow::udp(address(OURS), address(PEER)),
            sent: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The peer sends this text over the usual flow.
    pub(crate) fn receive(&mut self, message: impl Into<Bytes>) {
        self.receive_over(self.flow, message);
    }

    pub(crate) fn receive_over(&mut self, flow: Flow, message: impl Into<Bytes>) {
        self.endpoint
            .handle_message(self.clock.now(), flow, message.into());
        self.drain();
    }

    /// Runs a command.
    pub(crate) fn act<R>(&mut self, command: impl FnOnce(&mut Endpoint, Instant) -> R) -> R {
        let result = command(&mut self.endpoint, self.clock.now());
        self.drain();
        result
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn wait(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while let Some((at, _)) = self.endpoint.poll_timeout().filter(|(at, _)| *at <= end) {
            self.clock.advance_to(at);
            self.endpoint.handle_timeout(at);
            self.drain();
        }
        self.clock.advance_to(end);
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => self.sent.push((flow, bytes)),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// Everything sent since the last look.
    pub(crate) fn sent(&mut self) -> Vec<(Flow, Message)> {
        let parse = |bytes| Message::parse(bytes).expect("what we send can be read");
        self.sent
            .drain(..)
            .map(|(flow, bytes)| (flow, parse(bytes)))
            .collect()
    }

    /// Methods and status codes of everything sent since the last look.
    pub(crate) fn sent_kinds(&mut self) -> Vec<String> {
        let kind = |(_, message)| match message {
            Message::Request(request) => Request::method_name(&request),
            Message::Response(response) => response.status.code().to_string(),
        };
        self.sent().into_iter().map(kind).collect()
    }

    /// The one response sent since the last look.
    pub(crate) fn response(&mut self) -> Response {
        match self.only().1 {
            Message::Response(response) => response,
            Message::Request(request) => panic!("a response, not {request:?}"),
        }
    }

    /// The one request sent since the last look.
    pub(crate) fn request(&mut self) -> Request {
        match self.only().1 {
            Message::Request(request) => request,
            Message::Response(response) => panic!("a request, not {response:?}"),
        }
    }

    /// The one message sent since the last look.
    pub(crate) fn only(&mut self) -> (Flow, Message) {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The one event since the last look.
    pub(crate) fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    /// Lets every timer run out and checks that nothing is left.
    pub(crate) fn assert_idle(&mut self) {
        self.wait(Duration::from_secs(300));
        assert!(self.endpoint.gauges().is_idle(), "{:?}", self.endpoint.gauges());
        assert_eq!(self.endpoint.poll_timeout(), None);
    }

    /// The peer calls and we answer; the ACK has arrived. Returns the call and the tag of our side.
    pub(crate) fn establish(&mut self) -> (CallKey, Tag) {
        self.receive(invite("1", "z9hG4bKinvite", None, SDP));
        let Event::Invite { call, .. } = self.event() else {
            panic!("an INVITE")
        };
        self.act(|endpoint, now| endpoint.accept(now, call, crate::pair::answer()));
        let tag = tag_of(&self.response());
        self.receive(in_dialog("ACK", "1", "z9hG4bKack", &tag, ""));
        assert!(matches!(self.event(), Event::Acked { .. }));
        (call, tag)
    }
}

/// Names the method, for comparing what was sent.
trait MethodName {
    fn method_name(&self) -> String;
}

impl MethodName for Request {
    fn method_name(&self) -> String {
        self.method.to_string()
    }
}

pub(crate) const SDP: &str = "v=0 offer\r\n";

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

/// The To tag of a response.
pub(crate) fn tag_of(response: &Response) -> Tag {
    response
        .headers
        .to()
        .expect("readable")
        .expect("there")
        .tag()
        .expect("a tag")
}

pub(crate) fn header(headers: &confab_sip::Headers, name: HeaderName) -> String {
    headers
        .get(&name)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .unwrap_or_default()
}

/// A request of the peer, for the dialog `c1` when `to_tag` is given.
pub(crate) fn message(
    method: &str,
    cseq: &str,
    branch: &str,
    to_tag: Option<&Tag>,
    more: &str,
    body: &str,
) -> String {
    let to_tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@192.0.2.7>;tag=alice\r\nTo: <sip:3000@192.0.2.1>{to_tag}\r\nCall-ID: c1\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:alice@{PEER}>\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn invite(cseq: &str, branch: &str, to_tag: Option<&Tag>, body: &str) -> String {
    message("INVITE", cseq, branch, to_tag, "", body)
}

pub(crate) fn in_dialog(method: &str, cseq: &str, branch: &str, tag: &Tag, body: &str) -> String {
    message(method, cseq, branch, Some(tag), "", body)
}

/// The peer's response to a request of ours.
pub(crate) fn reply(request: &Request, status: u16, tag: &str, body: &str) -> Bytes {
    let status = StatusCode::new(status).expect("a status");
    let mut response = Response::to(request, status).with_to_tag(&Tag::new(tag));
    if status.is_success() {
        response = response.with_header(HeaderName::Contact, format!("<sip:bob@{PEER}>"));
    }
    if !body.is_empty() {
        response = response.with_body("application/sdp", body.to_owned());
    }
    response.to_bytes()
}
