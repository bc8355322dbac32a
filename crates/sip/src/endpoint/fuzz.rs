//! What fuzzing and property tests hold the endpoint to, for any sequence of messages, commands and time. Part of the normal
//! build, so that a change of the interface cannot silently break a fuzz target.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{
    Admission, Body, CallKey, Endpoint, EndpointConfig, Event, EventPackage, Flow, Invitation, Limits,
    LocalContact, Output, Rejection, SubscriptionEnd, SubscriptionKey, SubscriptionState,
};
use crate::message::{HeaderName, Message, NameAddr, Request, Response, StatusCode, Tag};
use crate::registrar::Reply;
use crate::uri::SipUri;

const METHODS: [&str; 12] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INVITE",
    "REGISTER",
    "PURR",
    "INFO",
    "REFER",
    "SUBSCRIBE",
    "PRACK",
];
const STATUSES: [u16; 13] = [100, 180, 183, 200, 200, 202, 302, 408, 422, 481, 486, 491, 503];
const WAITS_MS: [u64; 8] = [0, 1, 200, 500, 4_000, 32_000, 60_000, 181_000];
/// More timers than any input of sensible length can start.
const TIMERS_MAX: usize = 100_000;

/// Reads `data` as a script of messages, commands and waits for an endpoint, then hangs up and lets time
/// run out. `start` is any instant.
///
/// # Panics
/// When a promise is broken: something is left after all timers ran out, a call does not end exactly once, an event comes for a call
/// that is over, or a message of ours cannot be read.
pub fn fuzz_endpoint(start: Instant, data: &[u8]) {
    let mut player = Player::new(start, data);
    while !player.script.is_empty() {
        player.play_one();
    }
    player.finish();
}

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn one_in(&mut self, of: u8) -> bool {
        self.byte().is_multiple_of(of)
    }

    fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[usize::from(self.byte()) % from.len()]
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

struct Player<'a> {
    script: Script<'a>,
    endpoint: Endpoint,
    now: Instant,
    live: BTreeSet<CallKey>,
    known: Vec<CallKey>,
    subscriptions: BTreeSet<SubscriptionKey>,
    /// What we sent last: requests to answer, tags to use.
    sent: Vec<Message>,
}

impl<'a> Player<'a> {
    fn new(start: Instant, data: &'a [u8]) -> Self {
        let limits = Limits {
            calls: 8,
            transactions: 24,
            unacknowledged_per_source: 6,
            forks: 3,
            queries: 4,
            registers: 4,
            subscriptions: 4,
        };
        let config = EndpointConfig {
            limits,
            asks_about_options: true,
            session_expires_s: 1800,
            takes_registrations: true,
            event_packages: vec![EventPackage {
                name: "conference".to_owned(),
                content_type: "application/conference-info+xml".to_owned(),
            }],
            ..EndpointConfig::default()
        };
        Player {
            script: Script(data),
            endpoint: Endpoint::new(config, Box::new(StdRng::seed_from_u64(1))),
            now: start,
            live: BTreeSet::new(),
            known: Vec::new(),
            subscriptions: BTreeSet::new(),
            sent: Vec::new(),
        }
    }

    fn play_one(&mut self) {
        match self.script.byte() % 16 {
            0 => {
                let length = usize::from(self.script.byte());
                let bytes = Bytes::copy_from_slice(self.script.take(length));
                let flow = self.flow();
                self.endpoint.handle_message(self.now, flow, bytes);
            }
            1..=6 => self.send_request(),
            7 | 8 => self.send_response(),
            9 | 10 => {
                let wait = Duration::from_millis(*self.script.pick(&WAITS_MS));
                self.wait(wait);
            }
            11..=13 => self.command(),
            14 => self.lose_transport(),
            _ => {
                let admission = match self.script.byte() % 3 {
                    0 => Admission::Refusing { retry_after_s: 5 },
                    _ => Admission::Open,
                };
                self.endpoint.set_admission(admission);
            }
        }
        self.drain();
    }

    fn flow(&mut self) -> Flow {
        let remote = SocketAddr::from((
            Ipv4Addr::new(192, 0, 2, 10),
            5060 + u16::from(self.script.byte() % 3),
        ));
        let local = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 5060));
        match self.script.byte() % 4 {
            0 => Flow::tcp(local, remote, 1 + u64::from(remote.port() % 2)),
            _ => Flow::udp(local, remote),
        }
    }

    /// A request of the peer with fields from small pools, so that they meet; sometimes with a few bytes changed.
    fn send_request(&mut self) {
        let method = *self.script.pick(&METHODS);
        let flow = self.flow();
        let branch = match self.script.byte() % 8 {
            0 => String::new(),
            number => format!(";branch=z9hG4bK{number}"),
        };
        let (call_id, from_tag) = (self.script.byte() % 3, self.script.byte() % 2);
        let to_tag = self.own_tag();
        let cseq = self.script.byte() % 6;
        let extra = *self.script.pick(&[
            "",
            "",
            "",
            "Require: x\r\n",
            "Require: 100rel\r\n",
            "Require: 100rel\r\n",
            "Expires: 3\r\n",
            "Record-Route: <sip:192.0.2.10;lr>\r\n",
            "Content-Type: application/dtmf-relay\r\n",
            "Contact: *\r\n",
            "Event: conference\r\nContact: <sip:a@192.0.2.10>\r\n",
            "Event: conference\r\nContact: <sip:a@192.0.2.10>\r\nExpires: 0\r\n",
            "Refer-To: <sip:b@192.0.2.10>\r\n",
            "Refer-To: <sip:b@192.0.2.10>\r\nRefer-Sub: false\r\n",
            "Contact: <sip:a@10.0.0.1>\r\n",
        ]);
        let extra = match self.script.byte() % 4 {
            1 if method == "PRACK" => self.own_number(),
            0 => format!(
                "{extra}Replaces: c{call_id}{};from-tag=f{from_tag}\r\n",
                self.own_tag().replace(";", ";to-")
            ),
            _ => extra.to_owned(),
        };
        let body = *self.script.pick(&["", "v=0\r\n", "v=0\r\n", "?", "Signal=5\r\n"]);
        let text = format!(
            "{method} sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/{} {}{branch}\r\nFrom: <sip:a@192.0.2.10>;tag=f{from_tag}\r\n\
             To: <sip:3000@192.0.2.1>{to_tag}\r\nCall-ID: c{call_id}\r\nCSeq: {cseq} {method}\r\n{extra}\r\n{body}",
            flow.transport.via_token(),
            flow.remote,
        );
        let mut bytes = text.into_bytes();
        if self.script.one_in(8) {
            for _ in 0..self.script.byte() % 4 {
                let place = usize::from(self.script.byte()) * 3 % bytes.len();
                bytes[place] = self.script.byte();
            }
        }
        self.endpoint.handle_message(self.now, flow, Bytes::from(bytes));
    }

    /// `;tag=` and a tag that we gave out in a response, or none.
    fn own_tag(&mut self) -> String {
        let choice = usize::from(self.script.byte());
        let tags: Vec<Tag> = self
            .sent
            .iter()
            .filter_map(|message| match message {
                Message::Response(response) => response.headers.to().ok().flatten()?.tag(),
                Message::Request(_) => None,
            })
            .collect();
        if choice % 2 == 0 || tags.is_empty() {
            return String::new();
        }
        format!(";tag={}", tags[choice / 2 % tags.len()])
    }

    /// The RAck of a response that we gave out.
    fn own_number(&mut self) -> String {
        let mut numbers = self.sent.iter().rev().filter_map(|message| match message {
            Message::Response(response) => response.headers.get(&HeaderName::RSeq),
            Message::Request(_) => None,
        });
        let number = numbers
            .next()
            .map(|number| String::from_utf8_lossy(number).into_owned());
        let number = number.unwrap_or_else(|| "1".to_owned());
        format!("RAck: {number} {} INVITE\r\n", self.script.byte() % 6)
    }

    /// A response of the peer to a request of ours.
    fn send_response(&mut self) {
        let requests: Vec<&Request> = self
            .sent
            .iter()
            .filter_map(|message| match message {
                Message::Request(request) => Some(request),
                Message::Response(_) => None,
            })
            .collect();
        if requests.is_empty() {
            return;
        }
        let request = (*self.script.pick(&requests)).clone();
        let status = StatusCode::new(*self.script.pick(&STATUSES)).unwrap_or(StatusCode::OK);
        let tag = Tag::new(format!("p{}", self.script.byte() % 3));
        let mut response = Response::to(&request, status).with_to_tag(&tag);
        if !self.script.one_in(4) {
            response = response.with_header(HeaderName::Contact, "<sip:b@192.0.2.10:5061>");
        }
        if self.script.one_in(4) {
            let number = self.script.byte() % 4;
            response = response
                .with_header(HeaderName::Require, "100rel")
                .with_header(HeaderName::RSeq, number.to_string());
        }
        if self.script.one_in(2) {
            response = response.with_body("application/sdp", "v=0\r\n");
        }
        let flow = self.flow();
        self.endpoint.handle_message(self.now, flow, response.to_bytes());
    }

    fn command(&mut self) {
        let now = self.now;
        let kind = self.script.byte() % 15;
        if kind == 0 {
            return self.invite();
        }
        if self.known.is_empty() {
            return;
        }
        let call = *self.script.pick(&self.known);
        let body = Body::sdp("v=0\r\n");
        let endpoint = &mut self.endpoint;
        match kind {
            1 => endpoint.progress(now, call, StatusCode::RINGING, None),
            2 | 3 => endpoint.accept(now, call, body),
            4 => endpoint.reject(now, call, Rejection::new(StatusCode::BUSY_HERE)),
            5 => endpoint.accept_reinvite(now, call, body),
            6 => endpoint.reject_reinvite(now, call, Rejection::new(StatusCode::DECLINE)),
            7 => endpoint.hang_up(now, call, None),
            8 => endpoint.probe(now, call),
            9 => endpoint.reinvite(now, call, (self.script.one_in(2)).then_some(body)),
            10 => endpoint.accept_refer(now, call),
            11 => endpoint.reject_refer(now, call, Rejection::new(StatusCode::FORBIDDEN)),
            12 => {
                let status = *self.script.pick(&[StatusCode::RINGING, StatusCode::OK]);
                endpoint.tell_referral(now, call, status);
            }
            13 => endpoint.progress(now, call, StatusCode::SESSION_PROGRESS, Some(body)),
            _ => endpoint.acknowledge(now, call, body),
        }
    }

    fn invite(&mut self) {
        if self.live.len() > 16 {
            return;
        }
        let flow = self.flow();
        let size = usize::from(self.script.byte()) * 10;
        let target = SipUri::from_addr(flow.remote).with_user("b");
        let invitation = Invitation {
            from: NameAddr::new(SipUri::from_addr(flow.local)),
            call_id: None,
            identity: None,
            returns: false,
            to: NameAddr::new(target.clone()),
            target: target.into(),
            flow,
            contact: LocalContact::default(),
            body: (size % 3 != 0).then(|| Body::sdp(vec![b'v'; size])),
            headers: Vec::new(),
        };
        let call = self.endpoint.invite(self.now, invitation);
        assert!(self.live.insert(call), "a call key is used once");
        self.known.push(call);
    }

    fn lose_transport(&mut self) {
        let flow = self.flow();
        match self.script.byte() % 3 {
            0 => self.endpoint.handle_connection_closed(self.now, flow.connection),
            1 => self.endpoint.handle_send_failed(
                self.now,
                Flow {
                    connection: 0,
                    ..flow
                },
            ),
            _ => self.endpoint.handle_send_failed(self.now, flow),
        }
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..TIMERS_MAX {
            let Some((at, _)) = self.endpoint.poll_timeout().filter(|(at, _)| *at <= end) else {
                self.now = end;
                return;
            };
            assert!(at >= self.now, "time does not run backwards");
            self.now = at;
            self.endpoint.handle_timeout(at);
            assert!(
                self.endpoint.poll_timeout().is_none_or(|(next, _)| next > at),
                "a due timer was left"
            );
            self.drain();
        }
        panic!("timers without end");
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Event(event) => self.note(&event),
                Output::Transmit { flow, bytes } => {
                    assert!(flow.remote.port() != 0);
                    match Message::parse(bytes.clone()) {
                        Ok(message) => self.sent.push(message),
                        // A refusal gives back what it was sent, faults included; anything else must be in order.
                        Err(error) => {
                            assert!(
                                bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5"),
                                "{error}"
                            );
                        }
                    }
                    if self.sent.len() > 32 {
                        self.sent.remove(0);
                    }
                }
            }
        }
        let gauges = self.endpoint.gauges();
        assert!(gauges.timers <= 4096 && gauges.calls <= 64, "{gauges:?}");
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Invite { call, .. } => {
                assert!(self.live.insert(*call), "a call key is used once");
                self.known.push(*call);
            }
            Event::Options { query, .. } => self.endpoint.answer_options(*query, None),
            Event::Register { query, .. } => {
                let status = *self.script.pick(&[StatusCode::OK, StatusCode::UNAUTHORIZED]);
                let reply = Reply::refusal(status, None);
                self.endpoint.answer_register(self.now, *query, reply);
            }
            Event::Subscribe { query, .. } => {
                if self.script.one_in(4) {
                    let refusal = Rejection::new(StatusCode::UNAUTHORIZED);
                    return self.endpoint.reject_subscription(*query, refusal);
                }
                let contact = LocalContact::default();
                let key = self.endpoint.accept_subscription(self.now, *query, contact);
                let key = key.expect("it was asked");
                assert!(self.subscriptions.insert(key), "a key is used once");
                let state = SubscriptionState::Active;
                self.endpoint
                    .notify(self.now, key, state, Some(Body::sdp("v=0\r\n")));
            }
            Event::SubscriptionRefreshed { subscription } | Event::Notified { subscription } => {
                assert!(
                    self.subscriptions.contains(subscription),
                    "news of a dead subscription"
                );
                let states = [SubscriptionState::Active, SubscriptionState::NoResource];
                let state = *self.script.pick(&states);
                if state != SubscriptionState::Active {
                    self.subscriptions.remove(subscription);
                }
                self.endpoint.notify(self.now, *subscription, state, None);
            }
            Event::SubscriptionEnds { subscription, end } => {
                assert!(
                    self.subscriptions.remove(subscription),
                    "a subscription ends once"
                );
                if *end != SubscriptionEnd::Lost && self.script.one_in(2) {
                    let state = SubscriptionState::TimedOut;
                    self.endpoint.notify(self.now, *subscription, state, None);
                }
            }
            Event::Replied { .. } => {}
            Event::Ended { call, .. } => assert!(self.live.remove(call), "a call ends once"),
            Event::Cancelled { call }
            | Event::Acked { call, .. }
            | Event::Reinvite { call, .. }
            | Event::ReinviteAcked { call, .. }
            | Event::ReinviteCancelled { call }
            | Event::Digit { call, .. }
            | Event::Refer { call, .. }
            | Event::Trying { call }
            | Event::Progress { call, .. }
            | Event::Answered { call, .. }
            | Event::Failed { call, .. }
            | Event::RefreshWanted { call }
            | Event::ReinviteOutcome { call, .. }
            | Event::Probed { call, .. } => {
                assert!(self.live.contains(call), "an event of a dead call: {event:?}")
            }
        }
    }

    /// Hangs up and lets every timer run out.
    fn finish(mut self) {
        self.drain();
        for call in self.live.clone() {
            self.endpoint.hang_up(self.now, call, None);
        }
        self.drain();
        assert!(self.live.is_empty(), "hanging up ends a call: {:?}", self.live);
        self.wait(Duration::from_secs(4000));
        let gauges = self.endpoint.gauges();
        assert!(gauges.is_idle(), "{gauges:?}");
        assert_eq!(self.endpoint.poll_timeout(), None);
    }
}
