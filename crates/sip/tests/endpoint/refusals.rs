//! What the endpoint answers or drops by itself.

use std::time::Duration;

use bytes::Bytes;
use confab_sip::{
    Admission, DropReason, EndpointConfig, Event, HeaderName, Limits, Message, Rejection, StatusCode,
    StreamFramer,
};

use crate::lone::{Lone, PEER, SDP, header, in_dialog, invite, message};

#[test]
fn options_tells_what_we_can_do() {
    let mut lone = Lone::new();
    lone.receive(message("OPTIONS", "1", "z9hG4bKa", None, "", ""));
    let response = lone.response();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        header(&response.headers, HeaderName::Allow),
        "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK"
    );
    assert_eq!(
        header(&response.headers, HeaderName::Accept),
        "application/sdp, application/dtmf-relay, application/dtmf"
    );
    assert!(response.headers.has(&HeaderName::Supported));
    assert!(header(&response.headers, HeaderName::Via).contains(";received=192.0.2.7"));
    assert!(
        lone.endpoint.gauges().is_idle(),
        "an OPTIONS leaves nothing behind"
    );
}

#[test]
fn options_gets_the_answer_that_the_user_gives() {
    let config = EndpointConfig {
        asks_about_options: true,
        limits: Limits {
            queries: 2,
            ..Limits::default()
        },
        ..EndpointConfig::default()
    };
    let mut lone = Lone::with(config);
    let ask = |lone: &mut Lone, branch| lone.receive(message("OPTIONS", "1", branch, None, "", ""));
    ask(&mut lone, "z9hG4bKa");
    ask(&mut lone, "z9hG4bKb");
    assert_eq!(lone.sent_kinds(), [""; 0], "the user is asked first");
    ask(&mut lone, "z9hG4bKc");
    assert_eq!(lone.sent_kinds(), ["503"], "no more are kept than may wait");
    let queries: Vec<_> = lone
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Options { query, .. } => query,
            other => panic!("{other:?}"),
        })
        .collect();
    let missing = Rejection::new(StatusCode::NOT_FOUND).with_header(HeaderName::Warning, "399 x \"none\"");
    lone.act(|endpoint, _| endpoint.answer_options(queries[1], Some(missing.clone())));
    let response = lone.response();
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert!(header(&response.headers, HeaderName::Via).contains("z9hG4bKb"));
    assert!(response.headers.has(&HeaderName::Warning));
    lone.act(|endpoint, _| endpoint.answer_options(queries[0], None));
    let response = lone.response();
    assert_eq!(response.status, StatusCode::OK);
    assert!(response.headers.has(&HeaderName::Allow));
    lone.act(|endpoint, _| endpoint.answer_options(queries[0], Some(missing)));
    assert_eq!(lone.sent_kinds(), [""; 0], "each is answered once");
    ask(&mut lone, "z9hG4bKd");
    assert_eq!(lone.events().len(), 1, "there is room again");
}

#[test]
fn options_within_a_dialog_and_with_an_unknown_tag() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    lone.receive(in_dialog("OPTIONS", "2", "z9hG4bKo", &tag, ""));
    assert_eq!(lone.response().status, StatusCode::OK);
    lone.receive(in_dialog(
        "OPTIONS",
        "2",
        "z9hG4bKp",
        &confab_sip::Tag::new("other"),
        "",
    ));
    assert_eq!(lone.response().status, StatusCode::CALL_DOES_NOT_EXIST);
}

#[test]
fn methods_we_do_not_take_part_in() {
    for (method, status) in [
        ("REGISTER", 405),
        ("SUBSCRIBE", 405),
        ("MESSAGE", 405),
        ("BREW", 501),
    ] {
        let mut lone = Lone::new();
        lone.receive(message(method, "1", "z9hG4bKa", None, "", ""));
        let response = lone.response();
        assert_eq!(response.status.code(), status, "{method}");
        assert_eq!(
            header(&response.headers, HeaderName::Allow),
            "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK"
        );
        assert!(lone.endpoint.gauges().is_idle());
    }
}

#[test]
fn required_extensions_are_refused_by_name() {
    let mut lone = Lone::new();
    lone.receive(message(
        "INVITE",
        "1",
        "z9hG4bKa",
        None,
        "Require: 100rel, gruu, timer, tdialog\r\n",
        SDP,
    ));
    let response = lone.response();
    assert_eq!(response.status.code(), 420);
    assert_eq!(
        header(&response.headers, HeaderName::Unsupported),
        "gruu, tdialog"
    );
    assert!(lone.events().is_empty());
    assert_eq!(lone.endpoint.counters().refused_class(4), 1);
}

#[test]
fn every_copy_of_a_refused_request_gets_the_same_bytes() {
    let mut lone = Lone::new();
    let refused = message("INVITE", "1", "z9hG4bKa", None, "Require: x\r\n", SDP);
    lone.receive(refused.clone());
    let first = lone.response();
    lone.receive(refused);
    assert_eq!(lone.response(), first, "RFC 3261 §8.2.7");
    lone.receive(message("INVITE", "2", "z9hG4bKb", None, "Require: x\r\n", SDP));
    assert_ne!(crate::lone::tag_of(&lone.response()), crate::lone::tag_of(&first));
}

#[test]
fn requests_for_unknown_dialogs_get_481_and_their_acks_nothing() {
    let mut lone = Lone::new();
    let tag = confab_sip::Tag::new("gone");
    for method in ["BYE", "INVITE", "OPTIONS"] {
        lone.receive(in_dialog(method, "2", &format!("z9hG4bK{method}"), &tag, ""));
        assert_eq!(lone.response().status.code(), 481, "{method}");
    }
    lone.receive(message("BYE", "1", "z9hG4bKx", None, "", ""));
    assert_eq!(lone.response().status.code(), 481, "BYE without a tag");
    lone.receive(in_dialog("ACK", "2", "z9hG4bKack", &tag, ""));
    assert!(lone.sent().is_empty());
    assert_eq!(lone.endpoint.counters().dropped(DropReason::StrayAck), 1);
    assert!(lone.endpoint.gauges().is_idle());
}

#[test]
fn the_same_invite_over_another_path_gets_482() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    assert_eq!(lone.events().len(), 1);
    lone.receive(invite("1", "z9hG4bKother", None, SDP));
    assert_eq!(lone.response().status.code(), 482);
    lone.receive(invite("2", "z9hG4bKnext", None, SDP));
    assert_eq!(lone.events().len(), 1, "another sequence number is another call");
}

#[test]
fn a_closed_door_refuses_new_calls_and_options_but_serves_the_old() {
    let mut lone = Lone::new();
    let (_, tag) = lone.establish();
    lone.endpoint
        .set_admission(Admission::Refusing { retry_after_s: 7 });
    for method in ["INVITE", "OPTIONS"] {
        lone.receive(message(method, "1", "z9hG4bKz", None, "", "").replace("Call-ID: c1", "Call-ID: c2"));
        let response = lone.response();
        assert_eq!(response.status.code(), 503, "{method}");
        assert_eq!(header(&response.headers, HeaderName::RetryAfter), "7");
    }
    assert!(lone.events().is_empty());
    lone.receive(in_dialog("OPTIONS", "2", "z9hG4bKo", &tag, ""));
    assert_eq!(lone.response().status, StatusCode::OK);
    lone.receive(in_dialog("INVITE", "3", "z9hG4bKr", &tag, SDP));
    assert!(matches!(lone.event(), Event::Reinvite { .. }));
    assert_eq!(lone.endpoint.counters().refused_overload, 2);
    lone.endpoint.set_admission(Admission::Open);
    lone.receive(invite("1", "z9hG4bKy", None, SDP).replace("Call-ID: c1", "Call-ID: c3"));
    assert!(matches!(lone.event(), Event::Invite { .. }));
}

#[test]
fn full_tables_refuse_with_503_and_keep_nothing() {
    for limits in [
        Limits {
            calls: 3,
            ..Limits::default()
        },
        Limits {
            transactions: 3,
            ..Limits::default()
        },
    ] {
        let mut lone = Lone::with(EndpointConfig {
            limits,
            ..EndpointConfig::default()
        });
        for number in 0..50 {
            let text = invite("1", &format!("z9hG4bK{number}"), None, SDP);
            lone.receive(text.replace("Call-ID: c1", &format!("Call-ID: c{number}")));
        }
        assert_eq!(lone.events().len(), 3);
        assert_eq!(lone.endpoint.counters().refused_overload, 47);
        assert_eq!(lone.endpoint.gauges().calls, 3);
        assert_eq!(lone.sent_kinds(), ["503"; 47]);
        lone.assert_idle();
    }
}

#[test]
fn junk_is_dropped_by_reason_and_leaves_nothing() {
    let rows: [(&[u8], DropReason); 6] = [
        (b"\r\n\r\n", DropReason::KeepAlive),
        (b"", DropReason::KeepAlive),
        (b"\0\x01\x02\x03 not sip at all", DropReason::Unreadable),
        (b"GET / HTTP/1.1\r\n\r\n", DropReason::Unreadable),
        (b"SIP/2.0 200 OK\r\n\r\n", DropReason::Unreadable),
        (
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
              Call-ID: c\r\nCSeq: 1 INVITE\r\n\r\n",
            DropReason::StrayResponse,
        ),
    ];
    for (bytes, reason) in rows {
        let mut lone = Lone::new();
        lone.receive(Bytes::from_static(bytes));
        assert_eq!(
            lone.endpoint.counters().dropped(reason),
            1,
            "{}",
            String::from_utf8_lossy(bytes)
        );
        assert!(lone.sent().is_empty() && lone.events().is_empty() && lone.endpoint.gauges().is_idle());
    }
}

#[test]
fn a_broken_request_is_answered_to_where_it_came_from() {
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, SDP).replace("Max-Forwards: 70", "Max-Forwards: many"));
    let (flow, Message::Response(response)) = lone.only() else {
        panic!("a response")
    };
    assert_eq!(
        (flow.remote.to_string(), response.status.code()),
        (PEER.to_owned(), 400)
    );
    let mut framer = StreamFramer::new();
    let huge = format!(
        "INVITE sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP {PEER};branch=z9hG4bKa\r\nContent-Length: 70000\r\n\r\n"
    );
    framer.push(huge.as_bytes());
    let error = framer.find_map(Result::err).expect("too large");
    lone.endpoint.handle_framing_error(lone.flow, error);
    lone.wait(Duration::ZERO);
    let Some(confab_sip::Output::Transmit { bytes, .. }) = lone.endpoint.poll_output() else {
        panic!("an answer")
    };
    assert!(
        bytes.starts_with(b"SIP/2.0 513 "),
        "{}",
        String::from_utf8_lossy(&bytes)
    );
}
