//! Session timers from both sides, UPDATE with and without an offer, and INVITEs that want reliable provisional responses.

use std::time::Duration;

use confab_sip::{
    EndCause, EndpointConfig, Event, HeaderName, Message, Method, Rejection, Request, StatusCode, Tag,
};

use crate::lone::{Lone, SDP, header, in_dialog, message, reply, tag_of};
use crate::pair::{answer, invitation, offer};

const TIMER: &str = "Supported: timer\r\n";
const UPDATES: &str = "Allow: INVITE, ACK, BYE, UPDATE\r\n";

/// The peer calls with these headers and we answer; returns the tag of our side, and Session-Expires and Require of our 2xx.
fn establish(lone: &mut Lone, headers: &str) -> (Tag, String, String) {
    lone.receive(message("INVITE", "1", "z9hG4bKinvite", None, headers, SDP));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let response = lone.response();
    let tag = tag_of(&response);
    lone.receive(in_dialog("ACK", "1", "z9hG4bKack", &tag, ""));
    assert!(matches!(lone.event(), Event::Acked { .. }));
    (
        tag,
        header(&response.headers, HeaderName::SessionExpires),
        header(&response.headers, HeaderName::Require),
    )
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_is_asked_for_decides_who_refreshes() {
    let rows = [
        ("", "", ""),
        (TIMER, "", ""),
        ("Session-Expires: 1800\r\n", "1800;refresher=uas", ""),
        (
            "Supported: timer\r\nSession-Expires: 1800\r\n",
            "1800;refresher=uac",
            "timer",
        ),
        ("k: timer\r\nx: 600;refresher=uas\r\n", "600;refresher=uas", ""),
        (
            "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n",
            "90;refresher=uac",
            "timer",
        ),
        // What a peer without timers says of the refresher, a proxy has said.
        ("Session-Expires: 600;refresher=uac\r\n", "600;refresher=uas", ""),
        ("Session-Expires: soon\r\nSupported: timer\r\n", "", ""),
        (
            "Supported: timer\r\nSession-Expires: 4000000000\r\n",
            "86400;refresher=uac",
            "timer",
        ),
    ];
    for (headers, expires, require) in rows {
        let mut lone = Lone::new();
        let (_, found, required) = establish(&mut lone, headers);
        assert_eq!(
            (found.as_str(), required.as_str()),
            (expires, require),
            "{headers}"
        );
    }
}

#[test]
fn an_interval_that_is_too_short_is_refused_with_ours() {
    let mut lone = Lone::new();
    lone.receive(message(
        "INVITE",
        "1",
        "z9hG4bKa",
        None,
        "Session-Expires: 89\r\n",
        SDP,
    ));
    let response = lone.response();
    assert_eq!(response.status.code(), 422);
    assert_eq!(header(&response.headers, HeaderName::MinSe), "90");
    assert!(lone.events().is_empty());
}

#[test]
fn a_peer_that_does_not_refresh_loses_the_session_a_little_before_its_end() {
    for (asked, end) in [("1800", 1800 - 32), ("90", 60)] {
        let mut lone = Lone::new();
        establish(&mut lone, &format!("{TIMER}Session-Expires: {asked}\r\n"));
        lone.wait(seconds(end) - Duration::from_millis(1));
        assert!(lone.events().is_empty());
        lone.wait(Duration::from_millis(2));
        assert!(matches!(
            lone.event(),
            Event::Ended {
                cause: EndCause::SessionExpired,
                ..
            }
        ));
        let bye = lone.request();
        assert_eq!(bye.method, Method::Bye);
        assert!(header(&bye.headers, HeaderName::Reason).contains("408"));
        lone.receive(reply(&bye, 200, "alice", ""));
        lone.assert_idle();
    }
}

#[test]
fn refreshes_of_the_peer_keep_the_session_by_reinvite_and_by_update() {
    let mut lone = Lone::new();
    let (tag, _, _) = establish(&mut lone, &format!("{TIMER}Session-Expires: 90\r\n"));
    let more = format!("{TIMER}Session-Expires: 90;refresher=uac\r\n");
    for round in 2..40 {
        lone.wait(seconds(45));
        assert!(lone.events().is_empty(), "{round}");
        let (cseq, branch) = (round.to_string(), format!("z9hG4bKr{round}"));
        if round % 2 == 0 {
            lone.receive(message("UPDATE", &cseq, &branch, Some(&tag), &more, ""));
        } else {
            lone.receive(message("INVITE", &cseq, &branch, Some(&tag), &more, SDP));
            let Event::Reinvite { call, .. } = lone.event() else {
                panic!("a re-INVITE")
            };
            lone.act(|endpoint, now| endpoint.accept_reinvite(now, call, answer()));
        }
        let response = lone.response();
        assert_eq!(response.status.code(), 200);
        assert_eq!(
            header(&response.headers, HeaderName::SessionExpires),
            "90;refresher=uac"
        );
        assert!(!header(&response.headers, HeaderName::Contact).is_empty());
        if round % 2 == 1 {
            lone.receive(in_dialog("ACK", &cseq, &format!("z9hG4bKk{round}"), &tag, ""));
            assert!(matches!(lone.event(), Event::ReinviteAcked { .. }));
        }
    }
    // One without the header ends the timer (RFC 4028 §9).
    lone.receive(message("UPDATE", "50", "z9hG4bKlast", Some(&tag), "", ""));
    assert_eq!(header(&lone.response().headers, HeaderName::SessionExpires), "");
    lone.wait(seconds(10_000));
    assert!(lone.events().is_empty());
}

#[test]
fn we_refresh_by_update_for_as_long_as_the_peer_takes_it() {
    let mut lone = Lone::new();
    establish(
        &mut lone,
        &format!("{TIMER}{UPDATES}Session-Expires: 90;refresher=uas\r\n"),
    );
    for _ in 0..20 {
        lone.wait(seconds(45));
        let update = lone.request();
        assert_eq!(update.method, Method::Update);
        assert_eq!(
            header(&update.headers, HeaderName::SessionExpires),
            "90;refresher=uac"
        );
        assert!(update.body.is_empty());
        let answer = String::from_utf8_lossy(&reply(&update, 200, "alice", "")).replace(
            "\r\nContent-Length",
            "\r\nSession-Expires: 90;refresher=uac\r\nContent-Length",
        );
        lone.receive(answer);
        assert!(lone.events().is_empty());
    }
    lone.wait(seconds(45));
    let update = lone.request();
    lone.receive(reply(&update, 481, "alice", ""));
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::SessionExpired,
            ..
        }
    ));
    let bye = lone.request();
    lone.receive(reply(&bye, 481, "alice", ""));
    lone.assert_idle();
}

#[test]
fn a_refresh_that_nobody_answers_ends_the_call() {
    let mut lone = Lone::new();
    establish(
        &mut lone,
        &format!("{TIMER}{UPDATES}Session-Expires: 120;refresher=uas\r\n"),
    );
    lone.wait(seconds(60 + 33));
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::SessionExpired,
            ..
        }
    ));
    lone.sent();
    lone.assert_idle();
}

#[test]
fn an_interval_that_the_peer_finds_too_short_is_raised_and_a_busy_peer_is_asked_again() {
    let mut lone = Lone::new();
    establish(
        &mut lone,
        &format!("{TIMER}{UPDATES}Session-Expires: 90;refresher=uas\r\n"),
    );
    lone.wait(seconds(45));
    let update = lone.request();
    let refused = String::from_utf8_lossy(&reply(&update, 422, "alice", ""))
        .replace("\r\nContent-Length", "\r\nMin-SE: 400\r\nContent-Length");
    lone.receive(refused);
    let update = lone.request();
    assert_eq!(
        header(&update.headers, HeaderName::SessionExpires),
        "400;refresher=uac"
    );
    assert_eq!(header(&update.headers, HeaderName::MinSe), "400");
    lone.receive(reply(&update, 491, "alice", ""));
    lone.wait(Duration::from_millis(5200));
    assert_eq!(lone.request().method, Method::Update);
    assert!(lone.events().is_empty());
}

#[test]
fn a_peer_without_update_is_refreshed_by_the_user() {
    for (headers, refuses) in [("Allow: INVITE, ACK, BYE\r\n", false), (UPDATES, true)] {
        let mut lone = Lone::new();
        let more = format!("{TIMER}{headers}Session-Expires: 90;refresher=uas\r\n");
        establish(&mut lone, &more);
        lone.wait(seconds(45));
        if refuses {
            let update = lone.request();
            lone.receive(reply(&update, 405, "alice", ""));
        }
        let Event::RefreshWanted { call } = lone.event() else {
            panic!("wanted")
        };
        lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
        let invite = lone.request();
        assert_eq!(
            header(&invite.headers, HeaderName::SessionExpires),
            "90;refresher=uac"
        );
        let answer = String::from_utf8_lossy(&reply(&invite, 200, "alice", "v=0 answer\r\n")).replace(
            "\r\nContent-Length",
            "\r\nSession-Expires: 90;refresher=uac\r\nContent-Length",
        );
        lone.receive(answer);
        assert!(matches!(lone.event(), Event::ReinviteOutcome { .. }));
        assert_eq!(lone.request().method, Method::Ack);
        lone.wait(seconds(44));
        assert!(lone.events().is_empty());
        lone.wait(seconds(2));
        assert!(matches!(lone.event(), Event::RefreshWanted { .. }));
    }
}

#[test]
fn an_update_with_an_offer_changes_the_session_at_once() {
    let mut lone = Lone::new();
    let (tag, _, _) = establish(&mut lone, "");
    lone.receive(in_dialog("UPDATE", "2", "z9hG4bKu", &tag, SDP));
    let Event::Reinvite { call, request } = lone.event() else {
        panic!("an offer")
    };
    assert_eq!(request.body.as_ref(), SDP.as_bytes());
    lone.act(|endpoint, now| endpoint.accept_reinvite(now, call, answer()));
    let response = lone.response();
    assert_eq!(
        (response.status.code(), response.body.clone()),
        (200, answer().bytes)
    );
    assert!(matches!(lone.event(), Event::ReinviteAcked { body: None, .. }));
    // No ACK is owed, and a copy gets the same answer.
    lone.receive(in_dialog("UPDATE", "2", "z9hG4bKu", &tag, SDP));
    assert_eq!(lone.response().status.code(), 200);
    assert!(lone.events().is_empty());
    lone.wait(seconds(100));
    assert!(lone.sent().is_empty());
    // A refused one leaves it as it was.
    lone.receive(in_dialog("UPDATE", "3", "z9hG4bKv", &tag, SDP));
    assert!(matches!(lone.event(), Event::Reinvite { .. }));
    let refusal = Rejection::new(StatusCode::NOT_ACCEPTABLE_HERE);
    lone.act(|endpoint, now| endpoint.reject_reinvite(now, call, refusal));
    assert_eq!(lone.response().status.code(), 488);
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(lone.request().method, Method::Bye);
}

#[test]
fn an_update_with_an_offer_has_to_wait_for_other_offers() {
    let mut lone = Lone::new();
    let (tag, _, _) = establish(&mut lone, "");
    lone.receive(in_dialog("INVITE", "2", "z9hG4bKr", &tag, SDP));
    let Event::Reinvite { call, .. } = lone.event() else {
        panic!("a re-INVITE")
    };
    lone.receive(in_dialog("UPDATE", "3", "z9hG4bKu", &tag, SDP));
    let response = lone.response();
    assert_eq!(response.status.code(), 500);
    assert!(!header(&response.headers, HeaderName::RetryAfter).is_empty());
    lone.act(|endpoint, now| endpoint.accept_reinvite(now, call, answer()));
    lone.sent();
    lone.receive(in_dialog("ACK", "2", "z9hG4bKk", &tag, ""));
    lone.events();
    lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
    lone.sent();
    lone.receive(in_dialog("UPDATE", "4", "z9hG4bKw", &tag, SDP));
    assert_eq!(lone.response().status.code(), 491);
}

#[test]
fn an_update_of_a_call_that_is_over_is_refused() {
    let mut lone = Lone::new();
    let (tag, _, _) = establish(&mut lone, "");
    lone.receive(in_dialog("BYE", "2", "z9hG4bKb", &tag, ""));
    lone.sent();
    lone.events();
    lone.receive(in_dialog("UPDATE", "3", "z9hG4bKu", &tag, ""));
    assert_eq!(lone.response().status.code(), 481);
}

/// We call, asking for a session of half an hour.
fn place() -> (Lone, Request) {
    let mut lone = Lone::with(EndpointConfig {
        session_expires_s: 1800,
        ..EndpointConfig::default()
    });
    let invitation = invitation(lone.flow, Some(offer()));
    lone.act(|endpoint, now| endpoint.invite(now, invitation));
    let invite = lone.request();
    (lone, invite)
}

/// The peer's response with further lines.
fn reply_with(request: &Request, status: u16, lines: &str, body: &str) -> String {
    let bytes = reply(request, status, "bob", body);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.replacen("\r\nCSeq", &format!("\r\n{lines}CSeq"), 1)
}

#[test]
fn our_invites_ask_for_a_session_and_leave_it_to_the_far_side_who_refreshes() {
    let (mut lone, invite) = place();
    assert_eq!(header(&invite.headers, HeaderName::SessionExpires), "1800");
    assert!(!invite.headers.has(&HeaderName::MinSe), "90 s go without saying");
    assert!(header(&invite.headers, HeaderName::Supported).contains("timer"));
    // The far side refreshes: it has until a little before the end.
    let lines = "Require: timer\r\nSession-Expires: 600;refresher=uas\r\n";
    lone.receive(reply_with(&invite, 200, lines, SDP));
    assert_eq!(lone.sent_kinds(), ["ACK"]);
    assert!(matches!(lone.event(), Event::Answered { .. }));
    lone.wait(seconds(567));
    assert!(lone.events().is_empty() && lone.sent().is_empty());
    lone.wait(seconds(2));
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::SessionExpired,
            ..
        }
    ));
    assert_eq!(lone.sent_kinds()[0], "BYE");
    lone.assert_idle();
}

#[test]
fn in_our_own_calls_we_refresh_where_the_far_side_says_so() {
    let (mut lone, invite) = place();
    let lines =
        "Require: timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\nSession-Expires: 1800;refresher=uac\r\n";
    lone.receive(reply_with(&invite, 200, lines, SDP));
    lone.sent();
    lone.events();
    for _ in 0..5 {
        lone.wait(seconds(899));
        assert!(lone.sent().is_empty());
        lone.wait(seconds(1));
        let update = lone.request();
        assert_eq!(update.method, Method::Update);
        assert_eq!(
            header(&update.headers, HeaderName::SessionExpires),
            "1800;refresher=uac"
        );
        let lines = "Require: timer\r\nSession-Expires: 1800;refresher=uac\r\n";
        lone.receive(reply_with(&update, 200, lines, ""));
    }
    assert!(lone.events().is_empty());
}

#[test]
fn a_far_side_without_timers_has_a_session_without_one() {
    let (mut lone, invite) = place();
    lone.receive(reply(&invite, 200, "bob", SDP));
    lone.sent();
    lone.events();
    lone.wait(seconds(80_000));
    assert!(lone.sent().is_empty() && lone.events().is_empty());
}

#[test]
fn a_session_too_short_for_the_far_side_is_asked_for_again_as_it_wants_it() {
    let (mut lone, invite) = place();
    lone.receive(reply_with(&invite, 422, "Min-SE: 3600\r\n", ""));
    let sent = lone.sent();
    let [(_, Message::Request(ack)), (_, Message::Request(again))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!((&ack.method, &again.method), (&Method::Ack, &Method::Invite));
    assert_eq!(header(&again.headers, HeaderName::SessionExpires), "3600");
    assert_eq!(header(&again.headers, HeaderName::MinSe), "3600");
    let number = |request: &Request| request.headers.cseq().unwrap().unwrap().number;
    assert_eq!(number(again), number(&invite) + 1);
    for name in [HeaderName::CallId, HeaderName::From, HeaderName::To] {
        assert_eq!(again.headers.get(&name), invite.headers.get(&name), "{name}");
    }
    assert!(lone.events().is_empty());
    let lines = "Require: timer\r\nSession-Expires: 3600;refresher=uac\r\n";
    lone.receive(reply_with(again, 200, lines, SDP));
    lone.sent();
    assert!(matches!(lone.event(), Event::Answered { .. }));
    // A refresh says what it has learnt, whichever way it goes.
    lone.wait(seconds(1800));
    let Event::RefreshWanted { call } = lone.event() else {
        panic!("wanted")
    };
    lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
    let refresh = lone.request();
    assert_eq!(header(&refresh.headers, HeaderName::MinSe), "3600");
    lone.receive(reply_with(&refresh, 422, "Min-SE: 7200\r\n", ""));
    assert!(matches!(lone.event(), Event::ReinviteOutcome { .. }));
    lone.sent();
    lone.wait(seconds(6));
    assert!(matches!(lone.event(), Event::RefreshWanted { .. }));
    lone.act(|endpoint, now| endpoint.reinvite(now, call, Some(offer())));
    assert_eq!(
        header(&lone.request().headers, HeaderName::SessionExpires),
        "7200;refresher=uac"
    );
}

#[test]
fn who_refuses_every_session_has_refused_the_call() {
    for more in [
        "",
        "Min-SE: 1800\r\n",
        "Min-SE: 90\r\n",
        "Min-SE: 90000\r\n",
        "Min-SE: x\r\n",
    ] {
        let (mut lone, invite) = place();
        lone.receive(reply_with(&invite, 422, more, ""));
        assert_eq!(lone.sent_kinds(), ["ACK"], "{more}");
        assert_eq!(lone.events().len(), 2, "{more}: failed and ended");
        lone.assert_idle();
    }
    // One that always wants more is not asked for ever.
    let (mut lone, mut invite) = place();
    let mut tries = 0;
    for least in 2000.. {
        lone.receive(reply_with(&invite, 422, &format!("Min-SE: {least}\r\n"), ""));
        let sent = lone.sent();
        let Some((_, Message::Request(again))) = sent.get(1) else {
            break;
        };
        invite = again.clone();
        tries += 1;
    }
    assert_eq!(tries, 6);
    assert_eq!(lone.events().len(), 2);
    lone.assert_idle();
}
