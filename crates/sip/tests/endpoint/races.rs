//! Messages that cross, come twice, come late or never.

use std::time::Duration;

use confab_sip::{DropReason, EndCause, Event, StatusCode};

use crate::lone::{Lone, SDP, in_dialog, invite, message, tag_of};
use crate::pair::{Pair, answer, perfect};

#[test]
fn cancel_before_the_answer_ends_the_call_with_487() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.progress(now, call, StatusCode::RINGING, None));
    let tag = tag_of(&lone.response());
    lone.receive(message("CANCEL", "1", "z9hG4bKa", None, "", ""));
    let sent = lone.sent();
    let confab_sip::Message::Response(to_cancel) = &sent[0].1 else {
        panic!("a response")
    };
    let confab_sip::Message::Response(to_invite) = &sent[1].1 else {
        panic!("a response")
    };
    assert_eq!(
        (to_cancel.status.code(), to_invite.status.code(), sent.len()),
        (200, 487, 2)
    );
    assert_eq!(
        (tag_of(to_cancel), tag_of(to_invite)),
        (tag.clone(), tag),
        "RFC 3261 §9.2: the same tag"
    );
    let events = lone.events();
    assert!(matches!(
        events[..],
        [
            Event::Cancelled { .. },
            Event::Ended {
                cause: EndCause::Cancelled,
                ..
            }
        ]
    ));
    lone.receive(message("CANCEL", "1", "z9hG4bKa", None, "", ""));
    assert_eq!(lone.sent_kinds(), ["200"], "a repeated CANCEL gets its 200 again");
    lone.assert_idle();
}

#[test]
fn cancel_that_crosses_the_2xx_changes_nothing() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let tag = tag_of(&lone.response());
    lone.receive(message("CANCEL", "1", "z9hG4bKa", None, "", ""));
    assert_eq!(lone.response().status.code(), 200);
    assert!(lone.events().is_empty());
    lone.receive(in_dialog("ACK", "1", "z9hG4bKb", &tag, ""));
    assert!(matches!(lone.event(), Event::Acked { .. }));
    lone.receive(in_dialog("BYE", "2", "z9hG4bKc", &tag, ""));
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
fn cancel_of_nothing_gets_481() {
    let mut lone = Lone::new();
    lone.receive(message("CANCEL", "1", "z9hG4bKa", None, "", ""));
    assert_eq!(lone.response().status.code(), 481);
    assert!(lone.endpoint.gauges().is_idle());
}

#[test]
fn an_answer_that_loses_the_race_against_cancel_is_ignored() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.receive(message("CANCEL", "1", "z9hG4bKa", None, "", ""));
    lone.sent();
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    assert!(lone.sent().is_empty());
    assert_eq!(lone.endpoint.counters().dropped(DropReason::LateCommand), 1);
}

#[test]
fn bye_before_the_ack_ends_the_call_and_stops_the_2xx() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let tag = tag_of(&lone.response());
    lone.receive(in_dialog("BYE", "2", "z9hG4bKb", &tag, ""));
    assert_eq!(lone.response().status.code(), 200);
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::Bye { .. },
            ..
        }
    ));
    lone.wait(Duration::from_secs(10));
    assert!(lone.sent().is_empty());
    lone.receive(in_dialog("ACK", "1", "z9hG4bKc", &tag, ""));
    assert!(lone.events().is_empty());
    assert_eq!(lone.endpoint.counters().dropped(DropReason::StrayAck), 1);
    lone.assert_idle();
}

#[test]
fn bye_in_an_early_dialog_ends_the_invite_with_487() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.progress(now, call, StatusCode::SESSION_PROGRESS, Some(answer())));
    let tag = tag_of(&lone.response());
    lone.receive(in_dialog("BYE", "2", "z9hG4bKb", &tag, ""));
    assert_eq!(lone.sent_kinds(), ["200", "487"]);
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
fn byes_that_cross_are_both_answered() {
    let mut pair = Pair::new(4, perfect());
    let (a, b) = pair.establish();
    pair.on_a(|endpoint, now| endpoint.hang_up(now, a, None));
    pair.on_b(|endpoint, now| endpoint.hang_up(now, b, None));
    pair.run(Duration::from_secs(1));
    for peer in [&mut pair.a, &mut pair.b] {
        assert!(matches!(
            peer.event(),
            Event::Ended {
                cause: EndCause::LocalHangUp,
                ..
            }
        ));
        assert!(peer.events.is_empty());
        assert_eq!(
            (peer.count_sent("BYE"), peer.count_sent("SIP/2.0 200")),
            (1, if peer.count_sent("INVITE") == 1 { 1 } else { 2 })
        );
    }
    pair.assert_idle();
}

#[test]
fn our_bye_waits_for_the_ack() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let tag = tag_of(&lone.response());
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::LocalHangUp,
            ..
        }
    ));
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.sent_kinds(), ["200"], "RFC 3261 §15: no BYE before the ACK");
    lone.receive(in_dialog("ACK", "1", "z9hG4bKb", &tag, ""));
    assert_eq!(lone.sent_kinds(), ["BYE"]);
    assert!(lone.events().is_empty());
    lone.assert_idle();
}

#[test]
fn our_bye_goes_out_after_32_seconds_without_ack() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| {
        endpoint.accept(now, call, answer());
        endpoint.hang_up(now, call, None);
    });
    lone.wait(Duration::from_secs(32));
    assert_eq!(lone.sent_kinds().last().map(String::as_str), Some("BYE"));
    assert_eq!(lone.events().len(), 1);
    lone.assert_idle();
}

#[test]
fn a_repeated_bye_gets_its_200_again_and_a_later_one_481() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    for _ in 0..2 {
        lone.receive(in_dialog("BYE", "2", "z9hG4bKbye", &tag, ""));
        assert_eq!(lone.response().status.code(), 200);
    }
    assert_eq!(lone.events().len(), 1);
    lone.receive(in_dialog("BYE", "3", "z9hG4bKbye2", &tag, ""));
    assert_eq!(lone.response().status.code(), 481);
    lone.assert_idle();
}

#[test]
fn a_request_with_an_old_sequence_number_gets_500() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    lone.receive(in_dialog("OPTIONS", "9", "z9hG4bKo", &tag, ""));
    assert_eq!(lone.response().status.code(), 200);
    for (method, branch) in [("INVITE", "z9hG4bKp"), ("BYE", "z9hG4bKq")] {
        lone.receive(in_dialog(method, "8", branch, &tag, ""));
        assert_eq!(lone.response().status.code(), 500, "{method}");
    }
    assert!(lone.events().is_empty());
}

#[test]
fn a_second_ack_and_one_with_another_number_are_dropped() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    lone.receive(in_dialog("ACK", "1", "z9hG4bKack2", &tag, ""));
    lone.receive(in_dialog("ACK", "7", "z9hG4bKack3", &tag, ""));
    assert!(lone.events().is_empty() && lone.sent().is_empty());
    assert_eq!(lone.endpoint.counters().dropped(DropReason::StrayAck), 2);
}

#[test]
fn a_lost_ack_is_sent_again_for_each_repeated_2xx() {
    let mut pair = Pair::new(5, perfect());
    let a = pair.call(Some(crate::pair::offer()));
    pair.run_until_event();
    let Event::Invite { call: b, .. } = pair.b.event() else {
        panic!("an INVITE")
    };
    // Everything from the caller is lost for a while: its ACKs.
    pair.set_path_from_a(confab_testkit::netem::PathConfig {
        loss: confab_testkit::netem::Loss::Uniform(1.0),
        ..perfect()
    });
    pair.on_b(|endpoint, now| endpoint.accept(now, b, answer()));
    pair.run(Duration::from_secs(4));
    assert_eq!(pair.a.count_sent("ACK"), 4, "for 200s at 0, 0.5, 1.5, 3.5 s");
    assert_eq!(pair.a.events.len(), 1, "answered once");
    pair.a.event();
    pair.set_path_from_a(perfect());
    pair.run(Duration::from_secs(10));
    assert!(matches!(pair.b.event(), Event::Acked { .. }));
    assert!(pair.b.events.is_empty());
    pair.on_a(|endpoint, now| endpoint.hang_up(now, a, None));
    pair.assert_idle();
}

#[test]
fn a_duplicate_of_a_refused_reinvite_is_not_judged_anew() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKr1", &tag, SDP));
    let Event::Reinvite { call, .. } = lone.event() else {
        panic!("a re-INVITE")
    };
    lone.receive(in_dialog("INVITE", "3", "z9hG4bKr2", &tag, SDP));
    assert_eq!(lone.response().status.code(), 500);
    lone.act(|endpoint, now| endpoint.accept_reinvite(now, call, answer()));
    lone.sent();
    lone.receive(in_dialog("ACK", "2", "z9hG4bKr3", &tag, ""));
    lone.events();
    lone.receive(in_dialog("INVITE", "3", "z9hG4bKr2", &tag, SDP));
    assert_eq!(lone.response().status.code(), 500);
    assert!(lone.events().is_empty());
}
