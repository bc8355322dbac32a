//! Calls that we place and that are asked who they are.

use std::time::Instant;

use bytes::Bytes;
use confab_sip::{
    CallKey, DigestCredentials, DigestIdentity, DigestServer, DigestVerdict, EndCause, Event, HeaderName,
    Message, Request, StatusCode,
};

use crate::lone::{Lone, SDP, header, reply};
use crate::pair::{invitation, offer};

const PASSWORD: &str = "open: sesame";

fn place(lone: &mut Lone) -> (CallKey, Request) {
    let mut invitation = invitation(lone.flow, Some(offer()));
    invitation.identity = Some(DigestIdentity {
        username: "alice".to_owned(),
        password: PASSWORD.to_owned(),
        realm: None,
    });
    let call = lone.act(|endpoint, now| endpoint.invite(now, invitation));
    (call, lone.request())
}

/// A far side that asks.
struct Server(DigestServer, Instant);

impl Server {
    fn new() -> Server {
        let now = Instant::now();
        let lifetime = std::time::Duration::from_secs(60);
        Server(DigestServer::new([5; 32], now, lifetime), now)
    }

    /// A refusal that asks.
    fn asks(&mut self, invite: &Request, status: u16, realm: &str, stale: bool) -> Bytes {
        let name = if status == 401 {
            "WWW-Authenticate"
        } else {
            "Proxy-Authenticate"
        };
        let challenges = self.0.challenges(self.1, realm, stale);
        let lines: String = challenges
            .iter()
            .map(|challenge| format!("{name}: {challenge}\r\n"))
            .collect();
        let bytes = reply(invite, status, "bob", "");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (first, rest) = text.split_once("\r\n").expect("lines");
        Bytes::from(format!("{first}\r\n{lines}{rest}"))
    }

    fn believes(&mut self, request: &Request, name: HeaderName) -> bool {
        let value = request.headers.get(&name).expect("an answer");
        let credentials = DigestCredentials::parse(value).expect("credentials");
        let method = request.method.to_string();
        self.0.verify(self.1, &method, &credentials, PASSWORD) == DigestVerdict::Right
    }
}

/// Takes the ACK of the refusal and the INVITE that follows it.
fn again(lone: &mut Lone) -> Request {
    let mut sent = lone.sent().into_iter().map(|(_, message)| match message {
        Message::Request(request) => request,
        Message::Response(response) => panic!("{response:?}"),
    });
    let (ack, invite) = (sent.next().expect("an ACK"), sent.next().expect("an INVITE"));
    assert_eq!((ack.method.to_string().as_str(), sent.next()), ("ACK", None));
    assert_eq!(invite.method.to_string(), "INVITE");
    invite
}

#[test]
fn a_challenge_is_answered_and_the_call_goes_on() {
    let mut lone = Lone::new();
    let mut server = Server::new();
    let (call, first) = place(&mut lone);
    assert!(!first.headers.has(&HeaderName::Authorization));
    lone.receive(server.asks(&first, 401, "a.example", false));
    let second = again(&mut lone);
    assert!(lone.events().is_empty());
    for name in [HeaderName::CallId, HeaderName::From, HeaderName::To] {
        assert_eq!(
            header(&first.headers, name.clone()),
            header(&second.headers, name)
        );
    }
    let number = |invite: &Request| invite.headers.cseq().unwrap().unwrap().number;
    assert_eq!(number(&second), number(&first) + 1);
    assert_ne!(
        header(&first.headers, HeaderName::Via),
        header(&second.headers, HeaderName::Via)
    );
    assert_eq!(second.body, first.body);
    assert!(server.believes(&second, HeaderName::Authorization));

    lone.receive(reply(&second, 200, "bob", SDP));
    let ack = lone.request();
    assert_eq!(
        ack.headers.get(&HeaderName::Authorization),
        second.headers.get(&HeaderName::Authorization),
        "RFC 3261 §22.1"
    );
    assert!(matches!(lone.event(), Event::Answered { .. }));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let bye = lone.request();
    assert!(
        server.believes(&bye, HeaderName::Authorization),
        "without being asked"
    );
}

#[test]
fn a_proxy_and_the_far_side_may_both_ask_and_a_nonce_may_be_too_old() {
    let mut lone = Lone::new();
    let (mut proxy, mut server) = (Server::new(), Server::new());
    let (_, first) = place(&mut lone);
    lone.receive(proxy.asks(&first, 407, "proxy.example", false));
    let second = again(&mut lone);
    lone.receive(proxy.asks(&second, 407, "proxy.example", true));
    let third = again(&mut lone);
    assert!(proxy.believes(&third, HeaderName::ProxyAuthorization));
    lone.receive(server.asks(&third, 401, "a.example", false));
    let fourth = again(&mut lone);
    assert!(proxy.believes(&fourth, HeaderName::ProxyAuthorization));
    assert!(server.believes(&fourth, HeaderName::Authorization));
    lone.receive(reply(&fourth, 200, "bob", SDP));
    assert_eq!(lone.request().method.to_string(), "ACK");
    assert!(matches!(lone.event(), Event::Answered { .. }));
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut lone = Lone::new();
    let mut server = Server::new();
    let (_, first) = place(&mut lone);
    lone.receive(server.asks(&first, 401, "a.example", false));
    let second = again(&mut lone);
    lone.receive(server.asks(&second, 401, "a.example", false));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    let events = lone.events();
    let [
        Event::Failed { status, .. },
        Event::Ended {
            cause: EndCause::Refused { .. },
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_server_that_asks_for_ever_is_left() {
    let mut lone = Lone::new();
    let mut server = Server::new();
    let (_, mut invite) = place(&mut lone);
    for _ in 0..6 {
        lone.receive(server.asks(&invite, 401, "a.example", true));
        invite = again(&mut lone);
    }
    lone.receive(server.asks(&invite, 401, "a.example", true));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    assert!(matches!(
        lone.events()[..],
        [Event::Failed { .. }, Event::Ended { .. }]
    ));
}

#[test]
fn who_hung_up_before_the_challenge_places_no_second_call() {
    let mut lone = Lone::new();
    let mut server = Server::new();
    let (call, first) = place(&mut lone);
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.events();
    lone.receive(server.asks(&first, 401, "a.example", false));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    lone.assert_idle();
}

#[test]
fn without_an_identity_a_challenge_is_a_refusal() {
    let mut lone = Lone::new();
    let mut server = Server::new();
    let invitation = invitation(lone.flow, Some(offer()));
    lone.act(|endpoint, now| endpoint.invite(now, invitation));
    let invite = lone.request();
    lone.receive(server.asks(&invite, 407, "a.example", false));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    assert!(matches!(
        lone.events()[..],
        [Event::Failed { .. }, Event::Ended { .. }]
    ));
    lone.assert_idle();
}
