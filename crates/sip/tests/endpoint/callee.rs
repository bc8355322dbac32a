//! Calls that come in: from the INVITE to the ACK and on to the end.

use std::time::Duration;

use confab_sip::{DropReason, EndCause, Event, HeaderName, LocalContact, Rejection, StatusCode, Tag};

use crate::lone::{Lone, SDP, header, in_dialog, invite, message, tag_of};
use crate::pair::{Pair, answer, offer, perfect};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_call_over_a_perfect_network_needs_five_messages() {
    let mut pair = Pair::new(1, perfect());
    let (a, b) = pair.establish();
    pair.on_a(|endpoint, now| endpoint.hang_up(now, a, None));
    pair.run(seconds(1));
    assert!(matches!(pair.a.event(), Event::Ended { call, cause: EndCause::LocalHangUp } if call == a));
    assert!(
        matches!(pair.b.event(), Event::Ended { call, cause: EndCause::Bye { reason: None } } if call == b)
    );
    assert_eq!(
        (pair.a.sent.len(), pair.b.sent.len()),
        (3, 2),
        "{:?} {:?}",
        pair.a.sent,
        pair.b.sent
    );
    pair.assert_idle();
}

#[test]
fn the_callee_can_end_the_call() {
    let mut pair = Pair::new(2, perfect());
    let (a, b) = pair.establish();
    pair.on_b(|endpoint, now| endpoint.hang_up(now, b, Some(confab_sip::Reason::sip(200, "kicked"))));
    pair.run(seconds(1));
    let Event::Ended {
        call,
        cause: EndCause::Bye { reason: Some(reason) },
    } = pair.a.event()
    else {
        panic!("a BYE")
    };
    assert_eq!(
        (call, reason.cause, reason.text.map(|text| text.to_string())),
        (a, Some(200), Some("kicked".into()))
    );
    pair.assert_idle();
}

#[test]
fn without_an_answer_trying_goes_out_after_200_ms_and_repeats_the_invite_brings_it_again() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    assert!(matches!(lone.event(), Event::Invite { .. }));
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    lone.wait(Duration::from_millis(199));
    assert!(lone.sent().is_empty());
    lone.wait(Duration::from_millis(1));
    let trying = lone.response();
    assert_eq!(trying.status, StatusCode::TRYING);
    assert_eq!(trying.headers.to().unwrap().unwrap().tag(), None);
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    assert_eq!(lone.sent_kinds(), ["100"]);
    assert!(lone.events().is_empty());
    assert_eq!(lone.endpoint.counters().dropped(DropReason::Retransmission), 2);
}

#[test]
fn ringing_stops_trying_and_is_repeated_every_minute() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.progress(now, call, StatusCode::RINGING, None));
    let ringing = lone.response();
    assert_eq!(
        header(&ringing.headers, HeaderName::Contact),
        "<sip:3000@192.0.2.1:5060>"
    );
    lone.wait(seconds(125));
    assert_eq!(lone.sent_kinds(), ["180", "180"]);
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let accepted = lone.response();
    assert_eq!(tag_of(&accepted), tag_of(&ringing), "one dialog, one tag");
}

#[test]
fn a_2xx_names_contact_methods_and_route_and_can_carry_isfocus() {
    let mut lone = Lone::new();
    let routes = "Record-Route: <sip:p2.example;lr>\r\nRecord-Route: <sip:p1.example;lr>\r\n";
    lone.receive(message("INVITE", "1", "z9hG4bKa", None, routes, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| {
        endpoint.set_contact(
            call,
            LocalContact {
                user: Some("conf 1".to_owned()),
                is_focus: true,
                ..LocalContact::default()
            },
        );
        endpoint.accept(now, call, answer());
    });
    let response = lone.response();
    assert_eq!(
        header(&response.headers, HeaderName::Contact),
        "<sip:conf%201@192.0.2.1:5060>;isfocus"
    );
    assert_eq!(
        header(&response.headers, HeaderName::Allow),
        "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK"
    );
    assert_eq!(
        header(&response.headers, HeaderName::ContentType),
        "application/sdp"
    );
    assert!(header(&response.headers, HeaderName::Server).starts_with("confab/"));
    let record_route: Vec<_> = response
        .headers
        .get_all(&HeaderName::RecordRoute)
        .cloned()
        .collect();
    assert_eq!(record_route, ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]);
    lone.receive(in_dialog("ACK", "1", "z9hG4bKb", &tag_of(&response), ""));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let bye = lone.request();
    assert_eq!(bye.uri.to_string(), "sip:alice@192.0.2.7:5070");
    let route: Vec<_> = bye.headers.get_all(&HeaderName::Route).cloned().collect();
    assert_eq!(route, ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]);
}

#[test]
fn a_strict_router_becomes_the_request_uri() {
    let mut lone = Lone::new();
    lone.receive(message(
        "INVITE",
        "1",
        "z9hG4bKa",
        None,
        "Record-Route: <sip:p1.example>, <sip:p2.example;lr>\r\n",
        SDP,
    ));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let tag = tag_of(&lone.response());
    lone.receive(in_dialog("ACK", "1", "z9hG4bKb", &tag, ""));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let bye = lone.request();
    assert_eq!(bye.uri.to_string(), "sip:p1.example");
    let route: Vec<_> = bye.headers.get_all(&HeaderName::Route).cloned().collect();
    assert_eq!(route, ["<sip:p2.example;lr>", "<sip:alice@192.0.2.7:5070>"]);
}

#[test]
fn a_2xx_without_ack_is_repeated_for_32_seconds_and_then_the_call_ends_with_bye() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    lone.wait(Duration::from_millis(31_999));
    assert_eq!(
        lone.sent_kinds(),
        ["200"; 11],
        "at 0, 0.5, 1.5, 3.5, 7.5, 11.5 … 31.5 s"
    );
    assert!(lone.events().is_empty());
    lone.wait(Duration::from_millis(1));
    assert_eq!(lone.sent_kinds(), ["BYE"]);
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::AckTimeout,
            ..
        }
    ));
    lone.assert_idle();
}

#[test]
fn a_repeated_invite_does_not_hurry_the_2xx() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    assert_eq!(lone.sent_kinds(), ["200"]);
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.sent_kinds(), ["200"]);
}

#[test]
fn an_invite_without_offer_gets_ours_and_the_ack_brings_the_answer() {
    let mut pair = Pair::new(3, perfect());
    let a = pair.call(None);
    pair.run_until_event();
    let Event::Invite { call: b, request, .. } = pair.b.event() else {
        panic!("an INVITE")
    };
    assert!(request.body.is_empty());
    assert_eq!(header(&request.headers, HeaderName::Accept), "application/sdp");
    pair.on_b(|endpoint, now| endpoint.accept(now, b, offer()));
    pair.run_until_event();
    let Event::Answered { body: Some(body), .. } = pair.a.event() else {
        panic!("an offer")
    };
    assert_eq!(body, offer());
    pair.run(seconds(2));
    assert!(pair.b.events.is_empty(), "no ACK before the answer");
    pair.on_a(|endpoint, now| endpoint.acknowledge(now, a, answer()));
    pair.run_until_event();
    let Event::Acked { body: Some(body), .. } = pair.b.event() else {
        panic!("an answer")
    };
    assert_eq!(body, answer());
    pair.on_b(|endpoint, now| endpoint.hang_up(now, b, None));
    pair.assert_idle();
}

#[test]
fn a_refusal_carries_reason_and_headers_and_its_ack_is_absorbed() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    let rejection = Rejection {
        reason: Some("No Such Conference".to_owned()),
        ..Rejection::new(StatusCode::NOT_FOUND).with_header(HeaderName::Warning, "399 confab \"gone\"")
    };
    lone.act(|endpoint, now| endpoint.reject(now, call, rejection));
    let response = lone.response();
    assert_eq!(
        (response.status.code(), response.reason.as_ref()),
        (404, b"No Such Conference".as_slice())
    );
    assert_eq!(
        header(&response.headers, HeaderName::Warning),
        "399 confab \"gone\""
    );
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::Rejected {
                status: StatusCode::NOT_FOUND
            },
            ..
        }
    ));
    lone.wait(Duration::from_millis(1500));
    assert_eq!(lone.sent_kinds(), ["404", "404"]);
    lone.receive(message("ACK", "1", "z9hG4bKa", Some(&tag_of(&response)), "", ""));
    lone.wait(seconds(4));
    assert!(lone.sent().is_empty());
    assert_eq!(lone.endpoint.counters().dropped(DropReason::StrayAck), 0);
    lone.assert_idle();
}

#[test]
fn a_refusal_that_is_none_goes_out_as_500() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.reject(now, call, Rejection::new(StatusCode::OK)));
    assert_eq!(lone.response().status.code(), 500);
}

#[test]
fn an_unanswered_invite_is_refused_when_expires_or_patience_runs_out() {
    for (expires, after, status) in [
        ("Expires: 20\r\n", 20, "487"),
        ("", 180, "480"),
        ("Expires: 999\r\n", 180, "480"),
    ] {
        let mut lone = Lone::new();
        lone.receive(message("INVITE", "1", "z9hG4bKa", None, expires, SDP));
        let Event::Invite { call, .. } = lone.event() else {
            panic!("an INVITE")
        };
        lone.act(|endpoint, now| endpoint.progress(now, call, StatusCode::RINGING, None));
        lone.wait(seconds(after) - Duration::from_millis(1));
        lone.sent();
        assert!(lone.events().is_empty());
        lone.wait(Duration::from_millis(1));
        assert_eq!(lone.sent_kinds().pop(), Some(status.to_string()), "{expires}");
        assert!(matches!(
            lone.event(),
            Event::Ended {
                cause: EndCause::NotAnswered,
                ..
            }
        ));
        lone.assert_idle();
    }
}

#[test]
fn commands_for_a_dead_call_are_counted_and_do_nothing() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.reject(now, call, Rejection::new(StatusCode::BUSY_HERE)));
    lone.sent();
    lone.events();
    lone.act(|endpoint, now| {
        endpoint.progress(now, call, StatusCode::RINGING, None);
        endpoint.accept(now, call, answer());
        endpoint.reject(now, call, Rejection::new(StatusCode::DECLINE));
        endpoint.accept_reinvite(now, call, answer());
        endpoint.hang_up(now, call, None);
        endpoint.probe(now, call);
        endpoint.reinvite(now, call, None);
        endpoint.acknowledge(now, call, answer());
    });
    assert!(lone.sent().is_empty() && lone.events().is_empty());
    assert_eq!(lone.endpoint.counters().dropped(DropReason::LateCommand), 8);
}

#[test]
fn hanging_up_before_the_answer_refuses_with_480() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.hang_up(now, call, Some(confab_sip::Reason::q850(31, "bye"))));
    let response = lone.response();
    assert_eq!(response.status.code(), 480);
    assert_eq!(
        header(&response.headers, HeaderName::Reason),
        "Q.850;cause=31;text=\"bye\""
    );
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::LocalHangUp,
            ..
        }
    ));
    lone.assert_idle();
}

#[test]
fn a_caller_of_rfc_2543_without_branch_and_contact_is_served() {
    let mut lone = Lone::new();
    let head = |method: &str, to: &str| {
        format!(
            "{method} sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5070\r\n\
             From: <sip:alice@192.0.2.7:5070>\r\nTo: sip:3000@192.0.2.1{to}\r\nCall-ID: old\r\nCSeq: 1 {method}\r\n\r\n"
        )
    };
    lone.receive(head("INVITE", ""));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.receive(head("INVITE", ""));
    assert!(lone.events().is_empty(), "repeated, not new");
    lone.act(|endpoint, now| endpoint.accept(now, call, offer()));
    let tag: Tag = tag_of(&lone.response());
    lone.receive(head("ACK", &format!(";tag={tag}")));
    assert!(
        matches!(lone.event(), Event::Acked { .. }),
        "matched its transaction and still reached the call"
    );
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let bye = lone.request();
    assert_eq!(bye.uri.to_string(), "sip:alice@192.0.2.7:5070");
    assert_eq!(header(&bye.headers, HeaderName::To), "<sip:alice@192.0.2.7:5070>");
}
