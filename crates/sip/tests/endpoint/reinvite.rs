//! Changing a running session, in both directions and at the same time.

use std::time::Duration;

use confab_sip::{EndCause, Event, Flow, HeaderName, ProbeOutcome, ReinviteOutcome, Rejection, StatusCode};

use crate::lone::{Lone, SDP, address, header, in_dialog, message, reply, tag_of};
use crate::pair::{Pair, answer, offer, perfect};

#[test]
fn the_peer_changes_the_session() {
    let mut pair = Pair::new(10, perfect());
    let (a, b) = pair.establish();
    pair.on_a(|endpoint, now| endpoint.reinvite(now, a, Some(offer())));
    pair.run_until_event();
    let Event::Reinvite { call, request } = pair.b.event() else {
        panic!("a re-INVITE")
    };
    assert_eq!((call, request.body.as_ref()), (b, offer().bytes.as_ref()));
    pair.on_b(|endpoint, now| endpoint.accept_reinvite(now, b, answer()));
    pair.run(Duration::from_secs(1));
    let Event::ReinviteOutcome {
        outcome: ReinviteOutcome::Accepted { body: Some(body) },
        ..
    } = pair.a.event()
    else {
        panic!("accepted")
    };
    assert_eq!(body, answer());
    assert!(matches!(pair.b.event(), Event::ReinviteAcked { body: None, .. }));
    pair.on_b(|endpoint, now| endpoint.hang_up(now, b, None));
    pair.assert_idle();
}

#[test]
fn a_reinvite_without_offer_is_answered_in_its_ack() {
    let mut pair = Pair::new(11, perfect());
    let (a, b) = pair.establish();
    pair.on_b(|endpoint, now| endpoint.reinvite(now, b, None));
    pair.run_until_event();
    assert!(matches!(pair.a.event(), Event::Reinvite { .. }));
    pair.on_a(|endpoint, now| endpoint.accept_reinvite(now, a, offer()));
    pair.run_until_event();
    let Event::ReinviteOutcome {
        outcome: ReinviteOutcome::Accepted { body: Some(body) },
        ..
    } = pair.b.event()
    else {
        panic!("accepted")
    };
    assert_eq!(body, offer());
    pair.on_b(|endpoint, now| endpoint.acknowledge(now, b, answer()));
    pair.run_until_event();
    assert!(matches!(pair.a.event(), Event::ReinviteAcked { body: Some(body), .. } if body == answer()));
    pair.on_a(|endpoint, now| endpoint.hang_up(now, a, None));
    pair.assert_idle();
}

#[test]
fn a_refused_reinvite_leaves_the_session_as_it_was() {
    let mut pair = Pair::new(12, perfect());
    let (a, b) = pair.establish();
    pair.on_a(|endpoint, now| endpoint.reinvite(now, a, Some(offer())));
    pair.run_until_event();
    pair.b.event();
    pair.on_b(|endpoint, now| {
        endpoint.reject_reinvite(now, b, Rejection::new(StatusCode::NOT_ACCEPTABLE_HERE))
    });
    pair.run_until_event();
    let status = StatusCode::NOT_ACCEPTABLE_HERE;
    assert!(matches!(
        pair.a.event(),
        Event::ReinviteOutcome { outcome: ReinviteOutcome::Rejected { status: refused }, .. } if refused == status
    ));
    pair.on_a(|endpoint, now| endpoint.probe(now, a));
    pair.run_until_event();
    assert!(matches!(
        pair.a.event(),
        Event::Probed {
            outcome: ProbeOutcome::Alive { .. },
            ..
        }
    ));
    pair.on_a(|endpoint, now| endpoint.hang_up(now, a, None));
    pair.assert_idle();
}

#[test]
fn a_second_reinvite_before_the_first_is_answered_gets_500_with_retry_after() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKr1", &tag, SDP));
    lone.receive(in_dialog("INVITE", "3", "z9hG4bKr2", &tag, SDP));
    let response = lone.response();
    assert_eq!(response.status.code(), 500);
    assert!(
        response
            .headers
            .retry_after()
            .unwrap()
            .expect("Retry-After")
            .seconds
            <= 10
    );
    assert_eq!(lone.events().len(), 1);
}

#[test]
fn a_reinvite_before_the_first_final_response_gets_500() {
    let mut lone = Lone::new();
    lone.receive(crate::lone::invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.progress(now, call, StatusCode::RINGING, None));
    let tag = tag_of(&lone.response());
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKb", &tag, SDP));
    assert_eq!(lone.response().status.code(), 500);
}

#[test]
fn reinvites_that_cross_get_491_and_both_sides_may_try_again_after_their_wait() {
    let mut pair = Pair::new(13, perfect());
    let (a, b) = pair.establish();
    let start = pair.now();
    pair.on_a(|endpoint, now| endpoint.reinvite(now, a, Some(offer())));
    pair.on_b(|endpoint, now| endpoint.reinvite(now, b, Some(offer())));
    let mut waits = [None, None];
    while waits.contains(&None) {
        pair.run_until_event();
        let waited = pair.now() - start;
        for (index, peer) in [&mut pair.a, &mut pair.b].into_iter().enumerate() {
            if let Some(event) = peer.events.pop_front() {
                assert!(
                    matches!(
                        event,
                        Event::ReinviteOutcome {
                            outcome: ReinviteOutcome::Glare,
                            ..
                        }
                    ),
                    "{event:?}"
                );
                waits[index] = Some(waited);
            }
        }
    }
    let [Some(a_waited), Some(b_waited)] = waits else {
        panic!("both waited")
    };
    // The side that chose the Call-ID waits 2.1 to 4 s, the other up to 2 s, both from the 491 on.
    let millis = Duration::from_millis;
    assert!(
        a_waited >= millis(2100) && a_waited <= millis(4100),
        "{a_waited:?}"
    );
    assert!(b_waited <= millis(2100), "{b_waited:?}");
    assert_eq!(
        (pair.a.count_sent("SIP/2.0 491"), pair.b.count_sent("SIP/2.0 491")),
        (1, 1)
    );
    pair.on_a(|endpoint, now| endpoint.reinvite(now, a, Some(offer())));
    pair.run_until_event();
    assert!(matches!(pair.b.event(), Event::Reinvite { .. }));
    pair.on_b(|endpoint, now| endpoint.accept_reinvite(now, b, answer()));
    pair.run(Duration::from_secs(1));
    pair.on_b(|endpoint, now| endpoint.hang_up(now, b, None));
    pair.assert_idle();
}

#[test]
fn a_reinvite_of_ours_waits_its_turn() {
    let mut lone = Lone::new();
    let (call, tag) = lone.establish();
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKr1", &tag, SDP));
    lone.events();
    lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
    assert!(matches!(
        lone.event(),
        Event::ReinviteOutcome {
            outcome: ReinviteOutcome::Busy,
            ..
        }
    ));
    assert!(lone.sent().is_empty());
}

#[test]
fn a_reinvite_after_a_lost_ack_stands_for_the_ack() {
    let mut lone = Lone::new();
    lone.receive(crate::lone::invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let tag = tag_of(&lone.response());
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKb", &tag, SDP));
    let events = lone.events();
    assert!(
        matches!(
            events[..],
            [Event::Acked { body: None, .. }, Event::Reinvite { .. }]
        ),
        "{events:?}"
    );
    lone.act(|endpoint, now| endpoint.accept_reinvite(now, call, answer()));
    lone.sent();
    lone.receive(in_dialog("ACK", "1", "z9hG4bKc", &tag, ""));
    assert!(
        lone.events().is_empty(),
        "the late ACK belongs to nothing any more"
    );
    lone.receive(in_dialog("ACK", "2", "z9hG4bKd", &tag, ""));
    assert!(matches!(lone.event(), Event::ReinviteAcked { .. }));
}

#[test]
fn a_reinvite_while_we_wait_for_the_answer_to_our_offer_gets_491() {
    let mut lone = Lone::new();
    lone.receive(crate::lone::invite("1", "z9hG4bKa", None, ""));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, offer()));
    let tag = tag_of(&lone.response());
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKb", &tag, SDP));
    assert_eq!(lone.response().status.code(), 491);
    lone.receive(in_dialog("ACK", "1", "z9hG4bKc", &tag, SDP));
    assert!(matches!(lone.event(), Event::Acked { body: Some(_), .. }));
}

#[test]
fn a_reinvite_whose_2xx_is_never_acknowledged_ends_the_call() {
    let mut lone = Lone::new();
    let (call, tag) = lone.establish();
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKr1", &tag, SDP));
    lone.events();
    lone.act(|endpoint, now| endpoint.accept_reinvite(now, call, answer()));
    lone.wait(Duration::from_secs(32));
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::AckTimeout,
            ..
        }
    ));
    assert_eq!(lone.sent_kinds().last().map(String::as_str), Some("BYE"));
    lone.assert_idle();
}

#[test]
fn a_cancelled_reinvite_is_answered_487_and_the_call_goes_on() {
    let mut lone = Lone::new();
    let (call, tag) = lone.establish();
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKr1", &tag, SDP));
    lone.events();
    lone.receive(in_dialog("CANCEL", "2", "z9hG4bKr1", &tag, ""));
    assert_eq!(lone.sent_kinds(), ["200", "487"]);
    assert!(matches!(lone.event(), Event::ReinviteCancelled { .. }));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(lone.sent_kinds(), ["BYE"]);
    lone.assert_idle();
}

#[test]
fn hanging_up_while_a_reinvite_waits_answers_it_and_sends_bye() {
    let mut lone = Lone::new();
    let (call, tag) = lone.establish();
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKr1", &tag, SDP));
    lone.events();
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(lone.sent_kinds(), ["487", "BYE"]);
    lone.assert_idle();
}

#[test]
fn a_peer_that_lost_the_dialog_ends_it_on_our_reinvite() {
    let mut lone = Lone::new();
    let (call, _) = lone.establish();
    lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
    let reinvite = lone.request();
    lone.receive(reply(&reinvite, 481, "alice", ""));
    assert_eq!(lone.sent_kinds(), ["ACK", "BYE"]);
    let status = StatusCode::CALL_DOES_NOT_EXIST;
    assert!(
        matches!(lone.event(), Event::Ended { cause: EndCause::Gone { status: gone }, .. } if gone == status)
    );
    lone.assert_idle();
}

#[test]
fn a_peer_that_never_answers_our_reinvite_ends_the_call() {
    let mut lone = Lone::new();
    let (call, _) = lone.establish();
    lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
    lone.wait(Duration::from_secs(32));
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
fn a_reinvite_of_ours_answered_after_our_bye_is_acknowledged_only() {
    let mut lone = Lone::new();
    let (call, _) = lone.establish();
    lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
    let reinvite = lone.request();
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(lone.sent_kinds(), ["BYE"]);
    lone.receive(reply(&reinvite, 200, "alice", SDP));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    lone.assert_idle();
}

#[test]
fn an_accepted_reinvite_moves_the_target_and_a_refused_one_does_not() {
    for (accept, expected) in [(true, "192.0.2.99:7000"), (false, "192.0.2.7:5070")] {
        let mut lone = Lone::new();
        let (call, tag) = lone.establish();
        let moved = message("INVITE", "2", "z9hG4bKr1", Some(&tag), "", SDP).replace(
            "Contact: <sip:alice@192.0.2.7:5070>",
            "Contact: <sip:alice@192.0.2.99:7000>",
        );
        lone.receive(moved);
        lone.act(|endpoint, now| match accept {
            true => endpoint.accept_reinvite(now, call, answer()),
            false => endpoint.reject_reinvite(now, call, Rejection::new(StatusCode::NOT_ACCEPTABLE_HERE)),
        });
        lone.receive(in_dialog(
            "ACK",
            "2",
            if accept { "z9hG4bKx" } else { "z9hG4bKr1" },
            &tag,
            "",
        ));
        lone.sent();
        lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
        let (flow, _) = lone.only();
        assert_eq!(flow, Flow::udp(address(crate::lone::OURS), address(expected)));
    }
}

#[test]
fn probes_tell_a_living_peer_from_one_that_forgot_and_one_that_is_gone() {
    for (status, expected) in [
        (
            200,
            ProbeOutcome::Alive {
                status: StatusCode::OK,
            },
        ),
        (
            405,
            ProbeOutcome::Alive {
                status: StatusCode::METHOD_NOT_ALLOWED,
            },
        ),
        (
            481,
            ProbeOutcome::Gone {
                status: StatusCode::CALL_DOES_NOT_EXIST,
            },
        ),
        (
            408,
            ProbeOutcome::Gone {
                status: StatusCode::REQUEST_TIMEOUT,
            },
        ),
    ] {
        let mut lone = Lone::new();
        let (call, _) = lone.establish();
        lone.act(|endpoint, now| endpoint.probe(now, call));
        let options = lone.request();
        assert_eq!(header(&options.headers, HeaderName::Accept), "application/sdp");
        lone.receive(reply(&options, 100, "alice", ""));
        assert!(lone.events().is_empty());
        lone.receive(reply(&options, status, "alice", ""));
        assert!(
            matches!(lone.event(), Event::Probed { outcome, .. } if outcome == expected),
            "{status}"
        );
    }
    let mut lone = Lone::new();
    let (call, _) = lone.establish();
    lone.act(|endpoint, now| endpoint.probe(now, call));
    lone.wait(Duration::from_secs(32));
    assert!(matches!(
        lone.event(),
        Event::Probed {
            outcome: ProbeOutcome::NoAnswer,
            ..
        }
    ));
    lone.sent();
    lone.act(|endpoint, now| endpoint.probe(now, call));
    assert_eq!(lone.sent_kinds(), ["OPTIONS"], "the next probe may go out");
}
