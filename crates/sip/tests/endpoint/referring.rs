//! REFER within a call and what is told of it, and INVITEs that are to replace a call.

use std::time::Duration;

use confab_sip::{CallKey, DropReason, Event, HeaderName, Method, Rejection, Request, StatusCode, Tag};

use crate::lone::{Lone, SDP, header, in_dialog, message, reply, tag_of};
use crate::pair::answer;

const TO_BOB: &str = "Refer-To: <sip:bob@192.0.2.9>\r\n";

fn refer(cseq: u32, tag: &Tag, lines: &str) -> String {
    message(
        "REFER",
        &cseq.to_string(),
        &format!("z9hG4bKr{cseq}"),
        Some(tag),
        lines,
        "",
    )
}

/// The REFER of a call is there and agreed to; the first NOTIFY.
fn accepted(lone: &mut Lone, tag: &Tag, cseq: u32) -> (CallKey, Request) {
    lone.receive(refer(cseq, tag, TO_BOB));
    assert!(lone.sent().is_empty(), "it is for the user to say");
    let Event::Refer { call, request } = lone.event() else {
        panic!("a REFER")
    };
    assert_eq!(
        header(&request.headers, HeaderName::ReferTo),
        "<sip:bob@192.0.2.9>"
    );
    lone.act(|endpoint, now| endpoint.accept_refer(now, call));
    let mut sent = lone.sent();
    let (Some((_, confab_sip::Message::Request(notify))), Some((_, confab_sip::Message::Response(response)))) =
        (sent.pop(), sent.pop())
    else {
        panic!("202 and NOTIFY")
    };
    assert_eq!(response.status.code(), 202);
    assert!(!header(&response.headers, HeaderName::Contact).is_empty());
    assert_eq!(notify.method, Method::Notify);
    (call, notify)
}

#[test]
fn what_becomes_of_a_refer_is_told_one_after_the_other() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    let (call, trying) = accepted(&mut lone, &tag, 2);
    assert_eq!(header(&trying.headers, HeaderName::Event), "refer");
    assert!(header(&trying.headers, HeaderName::SubscriptionState).starts_with("active;expires="));
    assert_eq!(
        header(&trying.headers, HeaderName::ContentType),
        "message/sipfrag;version=2.0"
    );
    assert_eq!(&trying.body[..], b"SIP/2.0 100 Trying\r\n");
    // The end is known before the first was answered: it waits its turn.
    lone.act(|endpoint, now| endpoint.tell_referral(now, call, StatusCode::OK));
    assert!(lone.sent().is_empty());
    lone.receive(reply(&trying, 200, "alice", ""));
    let end = lone.request();
    assert_eq!(
        header(&end.headers, HeaderName::SubscriptionState),
        "terminated;reason=noresource"
    );
    assert_eq!(&end.body[..], b"SIP/2.0 200 OK\r\n");
    lone.receive(reply(&end, 200, "alice", ""));
    // Nothing comes behind the end, and copies of the REFER get their answer again.
    lone.act(|endpoint, now| endpoint.tell_referral(now, call, StatusCode::OK));
    lone.receive(refer(2, &tag, TO_BOB));
    assert_eq!(lone.response().status.code(), 202);
    // The next one is told by its number.
    let (_, trying) = accepted(&mut lone, &tag, 3);
    assert_eq!(header(&trying.headers, HeaderName::Event), "refer;id=3");
    lone.receive(in_dialog("BYE", "4", "z9hG4bKbye", &tag, ""));
    lone.act(|endpoint, now| endpoint.tell_referral(now, call, StatusCode::OK));
    lone.events();
    lone.sent();
    lone.assert_idle();
}

#[test]
fn who_wants_to_hear_nothing_hears_nothing() {
    for lines in [
        "Refer-Sub: false\r\nSupported: norefersub\r\n",
        "Require: nosub\r\n",
        "Require: norefersub\r\nRefer-Sub: FALSE\r\n",
    ] {
        let mut lone = Lone::new();
        let (_, tag) = lone.establish();
        lone.receive(refer(2, &tag, &format!("{TO_BOB}{lines}")));
        let Event::Refer { call, .. } = lone.event() else {
            panic!("a REFER")
        };
        lone.act(|endpoint, now| endpoint.accept_refer(now, call));
        let response = lone.response();
        assert_eq!(response.status.code(), 200, "{lines}");
        assert_eq!(
            header(&response.headers, HeaderName::custom("Refer-Sub")),
            "false"
        );
        lone.act(|endpoint, now| endpoint.tell_referral(now, call, StatusCode::BUSY_HERE));
        assert!(lone.sent().is_empty());
    }
}

#[test]
fn a_refer_is_refused_without_a_place_to_go_and_while_another_is_carried_out() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    for (cseq, lines) in [(2, ""), (3, "Refer-To: <sip:a@b>\r\nRefer-To: <sip:a@c>\r\n")] {
        lone.receive(refer(cseq, &tag, lines));
        assert_eq!(lone.response().status.code(), 400, "{lines}");
    }
    lone.receive(refer(4, &tag, TO_BOB));
    let Event::Refer { call, .. } = lone.event() else {
        panic!("a REFER")
    };
    lone.receive(refer(4, &tag, TO_BOB));
    assert_eq!(lone.endpoint.counters().dropped(DropReason::Retransmission), 1);
    lone.receive(refer(5, &tag, TO_BOB));
    assert_eq!(lone.response().status.code(), 491);
    let refusal = Rejection::new(StatusCode::FORBIDDEN).with_header(HeaderName::Warning, "399 a \"b\"");
    lone.act(|endpoint, now| endpoint.reject_refer(now, call, refusal));
    let response = lone.response();
    assert_eq!(response.status.code(), 403);
    assert_eq!(header(&response.headers, HeaderName::Warning), "399 a \"b\"");
    // Outside of calls nobody is called, whoever asks.
    lone.receive(message("REFER", "1", "z9hG4bKout", None, TO_BOB, ""));
    assert_eq!(lone.response().status.code(), 403);
    lone.act(|endpoint, now| endpoint.accept_refer(now, call));
    assert!(lone.sent().is_empty());
    lone.receive(in_dialog("BYE", "9", "z9hG4bKbye", &tag, ""));
    lone.sent();
    lone.events();
    lone.receive(refer(10, &tag, TO_BOB));
    assert_eq!(lone.response().status.code(), 481);
    lone.assert_idle();
}

#[test]
fn a_peer_that_refuses_to_be_told_is_told_no_more() {
    for status in [481, 489, 0] {
        let mut lone = Lone::new();
        let (_, tag) = lone.establish();
        let (call, trying) = accepted(&mut lone, &tag, 2);
        if status == 0 {
            lone.wait(Duration::from_secs(33));
            lone.sent();
        } else {
            lone.receive(reply(&trying, status, "alice", ""));
        }
        lone.act(|endpoint, now| endpoint.tell_referral(now, call, StatusCode::OK));
        assert!(lone.sent().is_empty(), "{status}");
        lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
        assert_eq!(lone.sent_kinds(), ["BYE"]);
        lone.assert_idle();
    }
}

/// An INVITE of another phone that names a dialog.
fn replacing(number: u32, value: &str) -> String {
    format!(
        "INVITE sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKx{number}\r\n\
         From: <sip:carol@192.0.2.8>;tag=carol\r\nTo: <sip:3000@192.0.2.1>\r\nCall-ID: other{number}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:carol@192.0.2.8>\r\nRequire: replaces\r\n{value}Content-Type: application/sdp\r\n\r\n{SDP}"
    )
}

#[test]
fn an_invite_names_the_call_that_it_is_to_replace() {
    let mut lone = Lone::new();
    let (call, tag) = lone.establish();
    let named = format!("Replaces: c1;to-tag={tag};from-tag=alice\r\n");
    lone.receive(replacing(0, &named));
    let Event::Invite { replaces, .. } = lone.event() else {
        panic!("an INVITE")
    };
    assert_eq!(replaces, Some(call));
    let rows = [
        ("Replaces: c1;to-tag=alice;from-tag=x\r\n".to_owned(), 481),
        (format!("Replaces: c2;to-tag={tag};from-tag=alice\r\n"), 481),
        (format!("Replaces: c1;to-tag=alice;from-tag={tag}\r\n"), 481),
        (
            format!("Replaces: c1;to-tag={tag};from-tag=alice;early-only\r\n"),
            486,
        ),
        (format!("{named}{named}"), 400),
        (format!("{named}Join: c1;to-tag={tag};from-tag=alice\r\n"), 400),
        ("Replaces: c1\r\n".to_owned(), 400),
    ];
    for (number, (lines, status)) in (1..).zip(&rows) {
        lone.receive(replacing(number, lines));
        assert_eq!(lone.response().status.code(), *status, "{lines}");
        assert!(lone.events().is_empty());
    }
    // One that rings only cannot be replaced: there is no session.
    lone.receive(
        message("INVITE", "1", "z9hG4bKring", None, "", SDP).replace("Call-ID: c1", "Call-ID: ringing"),
    );
    let Event::Invite { call: ringing, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.progress(now, ringing, StatusCode::RINGING, None));
    let early = tag_of(&lone.response());
    lone.receive(replacing(
        20,
        &format!("Replaces: ringing;to-tag={early};from-tag=alice\r\n"),
    ));
    assert_eq!(lone.response().status.code(), 481);
    lone.act(|endpoint, now| endpoint.accept(now, ringing, answer()));
    lone.sent();
    // Nor one that is over, while its last messages are on their way.
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.sent();
    lone.events();
    lone.receive(replacing(21, &named));
    assert_eq!(lone.response().status.code(), 603);
}
