//! Provisional responses of ours that a caller wants to acknowledge (RFC 3262).

use std::time::Duration;

use confab_sip::{Body, CallKey, EndCause, Event, HeaderName, Response, StatusCode, Tag};

use crate::lone::{Lone, SDP, header, in_dialog, message, tag_of};
use crate::pair::{Pair, answer, invitation, offer, perfect};

const REQUIRED: &str = "Require: 100rel\r\n";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The peer calls, and takes no provisional responses but reliable ones.
fn called(lone: &mut Lone, more: &str, body: &str) -> CallKey {
    lone.receive(message("INVITE", "1", "z9hG4bKa", None, more, body));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    call
}

fn ring(lone: &mut Lone, call: CallKey) {
    lone.act(|endpoint, now| endpoint.progress(now, call, StatusCode::RINGING, None));
}

fn describe(lone: &mut Lone, call: CallKey) {
    let body = Some(Body::sdp("v=0 early\r\n"));
    lone.act(|endpoint, now| endpoint.progress(now, call, StatusCode::SESSION_PROGRESS, body));
}

fn accept(lone: &mut Lone, call: CallKey) {
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
}

fn number_of(response: &Response) -> u32 {
    assert_eq!(header(&response.headers, HeaderName::Require), "100rel");
    header(&response.headers, HeaderName::RSeq)
        .parse()
        .expect("a number")
}

fn prack(cseq: u32, tag: &Tag, rack: &str, body: &str) -> String {
    let rack = format!("RAck: {rack}\r\n");
    message(
        "PRACK",
        &cseq.to_string(),
        &format!("z9hG4bKprack{cseq}"),
        Some(tag),
        &rack,
        body,
    )
}

#[test]
fn who_requires_it_is_told_until_he_acknowledges_and_others_are_told_once() {
    for (more, repeats) in [("", 0), ("Supported: 100rel\r\n", 0), (REQUIRED, 3)] {
        let mut lone = Lone::new();
        let call = called(&mut lone, more, SDP);
        ring(&mut lone, call);
        let ringing = lone.response();
        assert_eq!(ringing.headers.has(&HeaderName::RSeq), repeats > 0, "{more}");
        lone.wait(Duration::from_millis(3600));
        assert_eq!(lone.sent_kinds(), vec!["180"; repeats], "{more}");
        if repeats > 0 {
            let rack = format!("{} 1 INVITE", number_of(&ringing));
            lone.receive(prack(2, &tag_of(&ringing), &rack, ""));
            assert_eq!(lone.sent_kinds(), ["200"]);
            lone.receive(prack(2, &tag_of(&ringing), &rack, ""));
            assert_eq!(lone.sent_kinds(), ["200"], "a copy of the PRACK");
            lone.wait(seconds(40));
            assert!(lone.sent().is_empty(), "it was acknowledged");
        }
        lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
        lone.sent();
        lone.events();
        lone.assert_idle();
    }
}

#[test]
fn the_time_between_two_copies_doubles_and_then_the_call_is_refused() {
    let mut lone = Lone::new();
    let call = called(&mut lone, REQUIRED, SDP);
    ring(&mut lone, call);
    let first = lone.response();
    for wait in [500, 1000, 2000, 4000, 8000, 16_000] {
        lone.wait(Duration::from_millis(wait - 1));
        assert!(lone.sent().is_empty(), "{wait}");
        lone.wait(Duration::from_millis(1));
        assert_eq!(lone.response().to_bytes(), first.to_bytes(), "{wait}");
    }
    assert!(lone.events().is_empty());
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.response().status, StatusCode::SERVER_TIMEOUT);
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::PrackTimeout,
            ..
        }
    ));
    lone.assert_idle();
}

#[test]
fn a_prack_of_nothing_is_refused_and_acknowledges_nothing() {
    let mut lone = Lone::new();
    let call = called(&mut lone, REQUIRED, SDP);
    ring(&mut lone, call);
    let ringing = lone.response();
    let (number, tag) = (number_of(&ringing), tag_of(&ringing));
    let rows = [
        (format!("{} 1 INVITE", number + 1), 481),
        (format!("{number} 2 INVITE"), 481),
        (format!("{number} 1 UPDATE"), 400),
        ("nonsense".to_owned(), 400),
    ];
    for (at, (rack, status)) in (2..).zip(rows) {
        lone.receive(prack(at, &tag, &rack, ""));
        assert_eq!(lone.response().status.code(), status, "{rack}");
    }
    lone.receive(message("PRACK", "6", "z9hG4bKnone", Some(&tag), "", ""));
    assert_eq!(lone.response().status.code(), 400, "no RAck");
    let other = Tag::new("other");
    lone.receive(prack(7, &other, &format!("{number} 1 INVITE"), ""));
    assert_eq!(lone.response().status.code(), 481, "no such dialog");
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.sent_kinds(), ["180"], "it goes on");
    lone.receive(prack(8, &tag, &format!("{number} 1 INVITE"), ""));
    lone.receive(prack(9, &tag, &format!("{number} 1 INVITE"), ""));
    assert_eq!(lone.sent_kinds(), ["200", "481"], "once");
    accept(&mut lone, call);
    assert_eq!(lone.sent_kinds(), ["200"]);
}

#[test]
fn the_next_response_waits_for_the_prack_of_the_one_before() {
    let mut lone = Lone::new();
    let call = called(&mut lone, REQUIRED, SDP);
    ring(&mut lone, call);
    let first = lone.response();
    for _ in 0..10 {
        describe(&mut lone, call);
    }
    assert!(lone.sent().is_empty());
    let tag = tag_of(&first);
    let mut number = number_of(&first);
    // Of those that wait there are four at most.
    for cseq in 2..6 {
        lone.receive(prack(cseq, &tag, &format!("{number} 1 INVITE"), ""));
        let sent = lone.sent();
        let [
            (_, confab_sip::Message::Response(taken)),
            (_, confab_sip::Message::Response(next)),
        ] = &sent[..]
        else {
            panic!("{sent:?}")
        };
        assert_eq!((taken.status.code(), next.status.code()), (200, 183));
        assert_eq!(number_of(next), number + 1);
        assert_eq!(&next.body[..], b"v=0 early\r\n");
        number += 1;
    }
    lone.receive(prack(6, &tag, &format!("{number} 1 INVITE"), ""));
    assert_eq!(lone.sent_kinds(), ["200"]);
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.sent();
    lone.events();
    lone.assert_idle();
}

#[test]
fn an_answer_waits_for_the_prack_and_for_that_of_a_ring_not_long() {
    for (describes, waits) in [(false, true), (false, false), (true, true)] {
        let mut lone = Lone::new();
        let call = called(&mut lone, REQUIRED, SDP);
        if describes {
            describe(&mut lone, call);
        } else {
            ring(&mut lone, call);
        }
        let early = lone.response();
        ring(&mut lone, call);
        accept(&mut lone, call);
        assert!(lone.sent().is_empty(), "neither 180 nor 200");
        assert!(lone.endpoint.awaits_answer(call));
        let tag = tag_of(&early);
        let rack = format!("{} 1 INVITE", number_of(&early));
        if waits {
            lone.receive(prack(2, &tag, &rack, ""));
            assert_eq!(lone.sent_kinds(), ["200", "200"], "of the PRACK, of the INVITE");
        } else {
            lone.wait(Duration::from_millis(1999));
            assert_eq!(lone.sent_kinds(), ["180", "180"]);
            lone.wait(Duration::from_millis(1));
            assert_eq!(lone.sent_kinds(), ["200"]);
            // Late, but it has a right to its answer.
            lone.receive(prack(2, &tag, &rack, ""));
            assert_eq!(lone.sent_kinds(), ["200"]);
        }
        lone.receive(in_dialog("ACK", "1", "z9hG4bKack", &tag, ""));
        assert!(matches!(lone.event(), Event::Acked { .. }));
    }
}

#[test]
fn an_answer_that_waits_can_be_cancelled_taken_back_and_left_alone() {
    for how in ["cancelled", "taken back", "left alone"] {
        let mut lone = Lone::new();
        let call = called(&mut lone, REQUIRED, SDP);
        describe(&mut lone, call);
        lone.sent();
        accept(&mut lone, call);
        let kinds: &[&str] = match how {
            "cancelled" => {
                lone.receive(message("CANCEL", "1", "z9hG4bKa", None, "", ""));
                &["200", "487"]
            }
            "taken back" => {
                lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
                &["480"]
            }
            _ => {
                lone.wait(Duration::from_millis(31_900));
                lone.sent();
                lone.wait(Duration::from_millis(100));
                &["504"]
            }
        };
        assert_eq!(lone.sent_kinds(), kinds, "{how}");
        assert!(matches!(lone.events().last(), Some(Event::Ended { .. })), "{how}");
        lone.assert_idle();
    }
}

#[test]
fn an_offer_in_a_prack_is_refused_and_the_call_goes_on() {
    let mut lone = Lone::new();
    let call = called(&mut lone, REQUIRED, SDP);
    describe(&mut lone, call);
    let early = lone.response();
    let rack = format!("{} 1 INVITE", number_of(&early));
    lone.receive(prack(2, &tag_of(&early), &rack, SDP));
    assert_eq!(lone.response().status, StatusCode::NOT_ACCEPTABLE_HERE);
    lone.wait(seconds(20));
    assert!(lone.sent().is_empty(), "the response has arrived");
    accept(&mut lone, call);
    assert_eq!(lone.sent_kinds(), ["200"]);
}

#[test]
fn without_an_offer_nothing_reliable_is_sent() {
    let mut lone = Lone::new();
    let call = called(&mut lone, REQUIRED, "");
    ring(&mut lone, call);
    assert!(lone.sent().is_empty());
    accept(&mut lone, call);
    assert_eq!(lone.sent_kinds(), ["200"]);
}

#[test]
fn who_rings_for_long_says_so_again_with_the_next_number() {
    let mut lone = Lone::new();
    let call = called(&mut lone, REQUIRED, SDP);
    ring(&mut lone, call);
    let first = lone.response();
    let rack = format!("{} 1 INVITE", number_of(&first));
    lone.receive(prack(2, &tag_of(&first), &rack, ""));
    lone.sent();
    lone.wait(seconds(149));
    assert!(lone.sent().is_empty());
    lone.wait(seconds(1));
    assert_eq!(number_of(&lone.response()), number_of(&first) + 1);
}

#[test]
fn both_roles_agree_over_a_network() {
    let mut pair = Pair::new(31, perfect());
    let mut invitation = invitation(pair.a.flow(), Some(offer()));
    invitation.headers = vec![(HeaderName::Require, "100rel".to_owned())];
    let a = pair.on_a(|endpoint, now| endpoint.invite(now, invitation));
    pair.run(Duration::from_millis(50));
    let Event::Invite { call: b, .. } = pair.b.event() else {
        panic!("an INVITE")
    };
    pair.on_b(|endpoint, now| endpoint.progress(now, b, StatusCode::RINGING, None));
    pair.on_b(|endpoint, now| {
        endpoint.progress(now, b, StatusCode::SESSION_PROGRESS, Some(answer()));
        endpoint.accept(now, b, answer());
    });
    pair.run(seconds(1));
    assert!(matches!(
        pair.a.event(),
        Event::Progress {
            status: StatusCode::RINGING,
            ..
        }
    ));
    assert!(matches!(pair.a.event(), Event::Answered { call, .. } if call == a));
    assert!(matches!(pair.b.event(), Event::Acked { .. }));
    assert_eq!(pair.a.count_sent("PRACK"), 1);
    pair.on_a(|endpoint, now| endpoint.hang_up(now, a, None));
    pair.run(seconds(1));
    pair.assert_idle();
}
