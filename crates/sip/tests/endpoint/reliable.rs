//! Reliable provisional responses to our calls (RFC 3262), and what becomes of early dialogs.

use std::time::Duration;

use confab_sip::{CallKey, EndCause, Event, HeaderName, Message, Method, Request, StatusCode};

use crate::lone::{Lone, SDP, header, reply};
use crate::pair::{invitation, offer};

fn place(lone: &mut Lone) -> (CallKey, Request) {
    let invitation = invitation(lone.flow, Some(offer()));
    let call = lone.act(|endpoint, now| endpoint.invite(now, invitation));
    (call, lone.request())
}

/// A provisional response that has to be acknowledged.
fn reliable(invite: &Request, status: u16, tag: &str, number: u32, body: &str) -> String {
    let bytes = reply(invite, status, tag, body);
    let lines = format!("Require: 100rel\r\nRSeq: {number}\r\nContact: <sip:bob@192.0.2.7:5070>\r\n");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.replacen("\r\nCSeq", &format!("\r\n{lines}CSeq"), 1)
}

fn number_of(request: &Request) -> u32 {
    request.headers.cseq().expect("there").expect("there").number
}

fn tag_of(request: &Request) -> String {
    request
        .headers
        .to()
        .expect("there")
        .expect("there")
        .tag()
        .expect("there")
        .to_string()
}

#[test]
fn a_reliable_response_is_acknowledged_and_its_answer_is_the_answer() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    assert!(header(&invite.headers, HeaderName::Supported).contains("100rel"));
    lone.receive(reliable(&invite, 183, "bob", 4711, SDP));
    let prack = lone.request();
    assert_eq!((&prack.method, tag_of(&prack).as_str()), (&Method::Prack, "bob"));
    assert_eq!(
        header(&prack.headers, HeaderName::RAck),
        format!("4711 {} INVITE", number_of(&invite))
    );
    assert_eq!(number_of(&prack), number_of(&invite) + 1);
    assert_eq!(prack.uri.to_string(), "sip:bob@192.0.2.7:5070");
    assert!(matches!(lone.event(), Event::Progress { body: Some(_), .. }));
    lone.receive(reply(&prack, 200, "bob", ""));
    lone.receive(reply(&invite, 200, "bob", ""));
    let ack = lone.request();
    assert_eq!((&ack.method, number_of(&ack)), (&Method::Ack, number_of(&invite)));
    let Event::Answered { body: Some(body), .. } = lone.event() else {
        panic!("the answer came before")
    };
    assert_eq!(body.bytes, SDP);
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert!(
        number_of(&lone.request()) > number_of(&prack),
        "the dialog counts on"
    );
    lone.assert_idle();
}

#[test]
fn reliable_responses_are_taken_in_order_and_once() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    let mut expect = |number, is_taken: bool| {
        lone.receive(reliable(&invite, 183, "bob", number, ""));
        let sent = lone.sent_kinds();
        assert_eq!(sent, vec!["PRACK"; usize::from(is_taken)], "{number}");
        assert_eq!(lone.events().len(), usize::from(is_taken), "{number}");
    };
    // The first may have any number.
    expect(5, true);
    expect(5, false);
    expect(7, false);
    expect(6, true);
    expect(7, true);
    expect(5, false);
    // Unreliable ones go their own way.
    lone.receive(reply(&invite, 180, "bob", ""));
    assert!(lone.sent().is_empty());
    assert!(matches!(
        lone.event(),
        Event::Progress {
            status: StatusCode::RINGING,
            ..
        }
    ));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.assert_idle();
}

#[test]
fn nobody_makes_us_acknowledge_for_ever() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    for number in 1..1000 {
        lone.receive(reliable(&invite, 183, "bob", number, ""));
    }
    assert_eq!(lone.sent_kinds().len(), 32);
    for fork in 0..100 {
        lone.receive(reliable(&invite, 183, &format!("fork{fork}"), 1, ""));
    }
    assert_eq!(lone.sent_kinds().len(), 7, "and the first early dialog");
    for number in [0, u32::MAX] {
        lone.receive(reliable(&invite, 183, "fork0", number, ""));
    }
    assert!(lone.sent().is_empty());
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.assert_idle();
}

#[test]
fn a_prack_is_repeated_until_it_is_answered() {
    let mut lone = Lone::new();
    let (_, invite) = place(&mut lone);
    lone.receive(reliable(&invite, 180, "bob", 1, ""));
    let prack = lone.request();
    lone.wait(Duration::from_millis(1600));
    assert_eq!(lone.sent_kinds(), ["PRACK", "PRACK"]);
    lone.receive(reply(&prack, 200, "bob", ""));
    lone.wait(Duration::from_secs(10));
    assert!(lone.sent().is_empty());
}

#[test]
fn each_fork_counts_for_itself_and_the_one_that_is_too_late_is_ended_in_its_own_order() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    lone.receive(reliable(&invite, 183, "one", 100, "v=0 one\r\n"));
    lone.receive(reliable(&invite, 183, "two", 7, "v=0 two\r\n"));
    lone.receive(reliable(&invite, 180, "two", 8, ""));
    let pracks: Vec<(String, u32)> = lone
        .sent()
        .into_iter()
        .map(|(_, message)| match message {
            Message::Request(request) => (tag_of(&request), number_of(&request) - number_of(&invite)),
            Message::Response(response) => panic!("{response:?}"),
        })
        .collect();
    let own = |tag: &str, number| (tag.to_owned(), number);
    assert_eq!(pracks, [own("one", 1), own("two", 1), own("two", 2)]);
    assert_eq!(lone.events().len(), 3);
    lone.receive(reply(&invite, 200, "one", ""));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    let Event::Answered { body: Some(body), .. } = lone.event() else {
        panic!("answered")
    };
    assert_eq!(&body.bytes[..], b"v=0 one\r\n", "of its own dialog");
    lone.receive(reply(&invite, 200, "two", SDP));
    let sent = lone.sent();
    let [(_, Message::Request(ack)), (_, Message::Request(bye))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!((&ack.method, &bye.method), (&Method::Ack, &Method::Bye));
    assert_eq!(
        (tag_of(bye).as_str(), number_of(bye) > number_of(&invite) + 2),
        ("two", true)
    );
    assert!(lone.events().is_empty());
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(tag_of(&lone.request()), "one");
    lone.assert_idle();
}

#[test]
fn what_the_far_side_asked_while_it_rang_counts_in_the_call() {
    let mut lone = Lone::new();
    let (_, invite) = place(&mut lone);
    lone.receive(reliable(&invite, 180, "bob", 1, ""));
    lone.sent();
    lone.events();
    let ours = header(&invite.headers, HeaderName::From);
    let call_id = header(&invite.headers, HeaderName::CallId);
    let from_callee = |method: &str, cseq: u32| {
        format!(
            "{method} sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK{method}{cseq}\r\n\
             From: <sip:3000@192.0.2.7:5070>;tag=bob\r\nTo: {ours}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:bob@192.0.2.7:5070>\r\n\r\n"
        )
    };
    lone.receive(from_callee("UPDATE", 50));
    assert_eq!(lone.response().status.code(), 200);
    lone.receive(reply(&invite, 200, "bob", SDP));
    lone.sent();
    lone.events();
    lone.receive(from_callee("OPTIONS", 49));
    assert_eq!(lone.response().status.code(), 500, "out of order");
    lone.receive(from_callee("BYE", 51));
    assert_eq!(lone.response().status.code(), 200);
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::Bye { .. },
            ..
        }
    ));
    lone.assert_idle();
}

#[test]
fn an_invite_without_offer_does_not_ask_for_reliable_responses() {
    let mut lone = Lone::new();
    let invitation = invitation(lone.flow, None);
    lone.act(|endpoint, now| endpoint.invite(now, invitation));
    assert!(!header(&lone.request().headers, HeaderName::Supported).contains("100rel"));
}

#[test]
fn a_response_in_doubt_is_not_acknowledged() {
    for (require, number) in [
        ("", "RSeq: 1\r\n"),
        ("Require: 100rel\r\n", ""),
        ("Require: 100rel\r\n", "RSeq: x\r\n"),
    ] {
        let mut lone = Lone::new();
        let (_, invite) = place(&mut lone);
        let text = String::from_utf8_lossy(&reply(&invite, 183, "bob", SDP)).into_owned();
        lone.receive(text.replacen("\r\nCSeq", &format!("\r\n{require}{number}CSeq"), 1));
        assert!(lone.sent().is_empty(), "{require}{number}");
        assert!(matches!(lone.event(), Event::Progress { .. }));
    }
}

#[test]
fn an_invite_of_ours_that_comes_back_has_gone_in_a_circle() {
    let come_back = |invite: &Request, top: &str| {
        let text = String::from_utf8_lossy(&invite.to_bytes()).into_owned();
        text.replacen("\r\nVia", &format!("\r\n{top}Via"), 1)
    };
    let by_proxy = "Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKproxy\r\n";
    for (returns, top, status) in [
        (false, by_proxy, 482),
        (false, "", 482),
        (true, by_proxy, 0),
        (true, "", 0),
    ] {
        let mut lone = Lone::new();
        let mut invitation = invitation(lone.flow, Some(offer()));
        invitation.returns = returns;
        lone.act(|endpoint, now| endpoint.invite(now, invitation));
        let invite = lone.request();
        lone.receive(come_back(&invite, top));
        if status == 0 {
            assert!(matches!(lone.event(), Event::Invite { .. }), "{top}");
        } else {
            assert_eq!(lone.response().status.code(), status, "{top}");
            assert!(lone.events().is_empty());
        }
    }
}
