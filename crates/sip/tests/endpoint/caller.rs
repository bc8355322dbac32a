//! Calls that we place.

use std::time::Duration;

use confab_sip::{CallKey, DropReason, EndCause, Event, HeaderName, Message, Method, Request, StatusCode};

use crate::lone::{Lone, SDP, header, reply};
use crate::pair::{answer, invitation, offer};

fn place(lone: &mut Lone) -> (CallKey, Request) {
    let invitation = invitation(lone.flow, Some(offer()));
    let call = lone.act(|endpoint, now| endpoint.invite(now, invitation));
    (call, lone.request())
}

#[test]
fn an_invite_carries_all_that_rfc_3261_asks_for() {
    let mut lone = Lone::new();
    let (_, invite) = place(&mut lone);
    assert_eq!(invite.uri.to_string(), "sip:3000@192.0.2.7:5070");
    assert!(
        header(&invite.headers, HeaderName::Via).starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK")
    );
    assert!(header(&invite.headers, HeaderName::Via).ends_with(";rport"));
    assert!(header(&invite.headers, HeaderName::From).starts_with("<sip:alice@192.0.2.1:5060>;tag="));
    assert_eq!(
        header(&invite.headers, HeaderName::To),
        "<sip:3000@192.0.2.7:5070>"
    );
    assert_eq!(header(&invite.headers, HeaderName::MaxForwards), "70");
    assert_eq!(
        header(&invite.headers, HeaderName::Contact),
        "<sip:alice@192.0.2.1:5060>"
    );
    assert_eq!(invite.body, offer().bytes);
}

#[test]
fn a_call_nobody_answers_ends_after_seven_invites() {
    let mut lone = Lone::new();
    place(&mut lone);
    lone.wait(Duration::from_secs(32));
    assert_eq!(lone.sent_kinds(), ["INVITE"; 6]);
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::Timeout,
            ..
        }
    ));
    lone.assert_idle();
}

#[test]
fn whoever_has_the_invite_says_so() {
    let mut lone = Lone::new();
    let (_, invite) = place(&mut lone);
    lone.receive(reply(&invite, 100, "bob", ""));
    assert!(matches!(lone.event(), Event::Trying { .. }));
    // No dialog comes of it, and the INVITE is not repeated any more.
    assert_eq!(lone.endpoint.gauges().dialogs, 0);
    lone.wait(Duration::from_secs(30));
    assert!(lone.sent().is_empty());
}

#[test]
fn a_refusal_is_reported_once_and_acknowledged_every_time() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    lone.receive(reply(&invite, 180, "bob", ""));
    assert!(matches!(
        lone.event(),
        Event::Progress {
            status: StatusCode::RINGING,
            ..
        }
    ));
    for _ in 0..2 {
        lone.receive(reply(&invite, 486, "bob", ""));
        let ack = lone.request();
        assert_eq!(
            ack.headers.get(&HeaderName::Via),
            invite.headers.get(&HeaderName::Via),
            "RFC 3261 §17.1.1.3"
        );
        assert!(header(&ack.headers, HeaderName::To).ends_with(";tag=bob"));
    }
    let events = lone.events();
    let status = StatusCode::BUSY_HERE;
    assert!(
        matches!(&events[..], [
            Event::Failed { call: failed, status: busy, reason, .. },
            Event::Ended { cause: EndCause::Refused { .. }, .. }
        ] if (*failed, *busy, reason.as_str()) == (call, status, "Busy Here")),
        "{events:?}"
    );
    lone.assert_idle();
}

/// The peer's response with these lines in place of its Contact.
fn with_contacts(invite: &Request, status: u16, lines: &str) -> String {
    let bytes = reply(invite, status, "bob", SDP);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let own = text.lines().find(|line| line.starts_with("Contact:"));
    let text = own.map_or(text.clone(), |own| text.replacen(&format!("{own}\r\n"), "", 1));
    text.replacen("\r\nCSeq", &format!("\r\n{lines}CSeq"), 1)
}

#[test]
fn an_answer_whose_contact_cannot_be_read_ends_the_call_at_once() {
    let many = "Contact: <sip:bob@192.0.2.7:5070>\r\n".repeat(300);
    let long = format!("Contact: <sip:{}@192.0.2.7>\r\n", "b".repeat(9000));
    let rows = [
        ("Contact: <sip:\r\n", false),
        ("Contact: <tel:+4930>\r\n", false),
        ("Contact: <sip:bob@192.0.2.7>, <sip:\r\n", false),
        (&many[..], true),
        // Left out for its length: as if it named none.
        (&long[..], true),
        ("", true),
    ];
    for (lines, is_usable) in rows {
        let mut lone = Lone::new();
        let (call, invite) = place(&mut lone);
        lone.receive(with_contacts(&invite, 200, lines));
        if is_usable {
            assert_eq!(lone.sent_kinds(), ["ACK"], "{lines:.40}");
            assert!(matches!(lone.event(), Event::Answered { .. }), "{lines:.40}");
            lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
        } else {
            let sent = lone.sent();
            let kinds: Vec<_> = sent.iter().map(|(flow, _)| flow.remote).collect();
            assert_eq!(kinds, [lone.flow.remote; 2], "{lines}");
            let [(_, Message::Request(ack)), (_, Message::Request(bye))] = &sent[..] else {
                panic!("{sent:?}")
            };
            assert_eq!((&ack.method, &bye.method), (&Method::Ack, &Method::Bye));
            let end = lone.event();
            assert!(
                matches!(
                    end,
                    Event::Ended {
                        cause: EndCause::UnusableAnswer,
                        ..
                    }
                ),
                "{end:?}"
            );
            lone.receive(with_contacts(&invite, 200, lines));
            assert_eq!(lone.sent_kinds(), ["ACK"], "a copy of the 200");
        }
        lone.sent();
        lone.assert_idle();
    }
}

#[test]
fn a_redirection_is_one_whatever_its_contacts_look_like() {
    let many = "Contact: <sip:bob@192.0.2.9>\r\n".repeat(1000);
    for (lines, readable) in [
        ("Contact: <sip:, <sip:carol@192.0.2.8>\r\n", 1),
        ("Contact: nonsense here\r\n", 0),
        ("Record-Route: <<\r\nContact: <sip:carol@192.0.2.8>\r\n", 1),
        (&many, 64),
    ] {
        let mut lone = Lone::new();
        let (_, invite) = place(&mut lone);
        lone.receive(with_contacts(&invite, 302, lines));
        assert_eq!(lone.sent_kinds(), ["ACK"]);
        let events = lone.events();
        let Some(Event::Failed { status, headers, .. }) = events.first() else {
            panic!("{events:?}")
        };
        assert_eq!(status.code(), 302);
        assert_eq!(headers.readable_contacts(64).len(), readable, "{lines:.60}");
        lone.assert_idle();
    }
}

#[test]
fn each_further_fork_that_answers_is_acknowledged_and_ended() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    lone.receive(reply(&invite, 180, "one", ""));
    lone.receive(reply(&invite, 180, "two", ""));
    lone.receive(reply(&invite, 200, "two", SDP));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    assert!(matches!(lone.events().last(), Some(Event::Answered { .. })));
    lone.receive(reply(&invite, 200, "one", SDP));
    let sent = lone.sent();
    let to = |index: usize| header(sent[index].1.headers(), HeaderName::To);
    assert_eq!(sent.len(), 2);
    assert!(
        to(0).ends_with(";tag=one") && to(1).ends_with(";tag=one"),
        "ACK and BYE of the fork"
    );
    lone.receive(reply(&invite, 200, "one", SDP));
    assert_eq!(lone.sent_kinds(), ["ACK"], "its ACK was lost");
    assert!(lone.events().is_empty());
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert!(header(&lone.request().headers, HeaderName::To).ends_with(";tag=two"));
    lone.assert_idle();
}

#[test]
fn forks_beyond_the_limit_are_ignored() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    for fork in 0..20 {
        lone.receive(reply(&invite, 200, &format!("t{fork}"), SDP));
    }
    assert_eq!(lone.endpoint.counters().dropped(DropReason::TooManyForks), 12);
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.assert_idle();
}

#[test]
fn cancel_waits_for_the_first_response() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::LocalHangUp,
            ..
        }
    ));
    assert!(lone.sent().is_empty(), "RFC 3261 §9.1");
    lone.receive(reply(&invite, 100, "", ""));
    let cancel = lone.request();
    assert_eq!(
        cancel.headers.get(&HeaderName::Via),
        invite.headers.get(&HeaderName::Via)
    );
    assert_eq!(
        header(&cancel.headers, HeaderName::CSeq).replace("CANCEL", "INVITE"),
        header(&invite.headers, HeaderName::CSeq)
    );
    lone.receive(reply(&cancel, 200, "bob", ""));
    lone.receive(reply(&invite, 487, "bob", ""));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    assert!(lone.events().is_empty());
    lone.assert_idle();
}

#[test]
fn a_2xx_that_is_faster_than_the_cancel_is_acknowledged_and_ended() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    lone.receive(reply(&invite, 180, "bob", ""));
    lone.events();
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(lone.sent_kinds(), ["CANCEL"]);
    lone.receive(reply(&invite, 200, "bob", SDP));
    assert_eq!(lone.sent_kinds(), ["ACK", "BYE"]);
    assert_eq!(lone.events().len(), 1, "ended, and nothing else");
    lone.assert_idle();
}

#[test]
fn a_cancelled_invite_without_final_response_is_forgotten_after_32_seconds() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    lone.receive(reply(&invite, 183, "bob", SDP));
    assert!(matches!(lone.event(), Event::Progress { body: Some(_), .. }));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.wait(Duration::from_secs(33));
    assert!(lone.endpoint.gauges().is_idle(), "{:?}", lone.endpoint.gauges());
}

#[test]
fn a_call_that_rings_for_ever_is_cancelled() {
    let mut lone = Lone::new();
    let (_, invite) = place(&mut lone);
    lone.receive(reply(&invite, 180, "bob", ""));
    lone.events();
    lone.wait(Duration::from_secs(180));
    assert_eq!(lone.sent_kinds(), ["CANCEL"]);
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::Timeout,
            ..
        }
    ));
    lone.assert_idle();
}

#[test]
fn an_offer_in_the_2xx_that_our_user_never_answers_ends_the_call() {
    let mut lone = Lone::new();
    let invitation = invitation(lone.flow, None);
    lone.act(|endpoint, now| endpoint.invite(now, invitation));
    let invite = lone.request();
    lone.receive(reply(&invite, 200, "bob", SDP));
    assert!(matches!(lone.event(), Event::Answered { body: Some(_), .. }));
    lone.receive(reply(&invite, 200, "bob", SDP));
    assert!(lone.sent().is_empty(), "no ACK without the answer");
    lone.wait(Duration::from_secs(30));
    assert_eq!(lone.sent_kinds(), ["ACK", "BYE"]);
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::NotAnswered,
            ..
        }
    ));
    lone.assert_idle();
}

#[test]
fn hanging_up_with_the_answer_still_owed_acknowledges_and_says_bye() {
    let mut lone = Lone::new();
    let invitation = invitation(lone.flow, None);
    let call = lone.act(|endpoint, now| endpoint.invite(now, invitation));
    let invite = lone.request();
    lone.receive(reply(&invite, 200, "bob", SDP));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(lone.sent_kinds(), ["ACK", "BYE"]);
    assert!(matches!(
        lone.events()[..],
        [
            Event::Answered { .. },
            Event::Ended {
                cause: EndCause::LocalHangUp,
                ..
            }
        ]
    ));
    lone.act(|endpoint, now| endpoint.acknowledge(now, call, answer()));
    assert!(lone.sent().is_empty());
    lone.assert_idle();
}

#[test]
fn the_callee_may_end_and_change_the_call() {
    let mut lone = Lone::new();
    let (call, invite) = place(&mut lone);
    lone.receive(reply(&invite, 200, "bob", SDP));
    lone.sent();
    lone.events();
    let from_callee = |method: &str, cseq: u32| {
        let ours = header(&invite.headers, HeaderName::From);
        let call_id = header(&invite.headers, HeaderName::CallId);
        format!(
            "{method} sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK{cseq}\r\n\
             From: <sip:3000@192.0.2.7:5070>;tag=bob\r\nTo: {ours}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:bob@192.0.2.7:5070>\r\n\r\n"
        )
    };
    lone.receive(from_callee("INVITE", 5));
    assert!(matches!(lone.event(), Event::Reinvite { .. }));
    lone.act(|endpoint, now| endpoint.accept_reinvite(now, call, offer()));
    lone.receive(from_callee("ACK", 5));
    assert!(matches!(lone.event(), Event::ReinviteAcked { .. }));
    lone.sent();
    lone.receive(from_callee("BYE", 6));
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
