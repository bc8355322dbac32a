//! INFO: digits told by signalling, and what else is asked that way.

use std::time::Duration;

use confab_sip::{EndpointConfig, Event, HeaderName, InfoDigit, Limits, StatusCode, Tag};

use crate::lone::{Lone, header, message};

const RELAY: &str = "application/dtmf-relay";

fn info(cseq: u32, tag: Option<&Tag>, content_type: &str, body: &str) -> String {
    let branch = format!("z9hG4bKinfo{cseq}");
    let kind = format!("Content-Type: {content_type}\r\n");
    let more = if body.is_empty() { "" } else { &kind };
    let text = message("INFO", &cseq.to_string(), &branch, tag, more, "");
    let (head, _) = text.split_once("Content-Length").expect("a length");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_digit_is_told_and_answered_once_however_often_it_is_sent() {
    let mut lone = Lone::new();
    let (call, tag) = lone.establish();
    let request = info(2, Some(&tag), RELAY, "Signal=5\r\nDuration=160\r\n");
    lone.receive(request.clone());
    let response = lone.response();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(header(&response.headers, HeaderName::CSeq), "2 INFO");
    let told = InfoDigit {
        key: '5',
        duration_ms: 160,
    };
    assert!(matches!(lone.event(), Event::Digit { call: of, digit } if of == call && digit == told));
    lone.wait(Duration::from_millis(500));
    lone.receive(info(3, Some(&tag), "application/dtmf", "#"));
    assert_eq!(lone.response().status, StatusCode::OK);
    assert!(matches!(lone.event(), Event::Digit { digit, .. } if digit.key == '#'));
    // The 200 to the first was lost: its copy comes after the second, and is answered alike.
    lone.receive(request);
    let again = lone.response();
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(header(&again.headers, HeaderName::CSeq), "2 INFO");
    assert!(lone.events().is_empty(), "one press");
}

#[test]
fn what_is_no_digit_is_answered_as_it_should_be() {
    let rows = [
        (RELAY, "Signal=16\r\nDuration=200\r\n", 200, None),
        (RELAY, "Signal=\r\n", 400, None),
        ("application/dtmf", "nine", 400, None),
        (
            "application/media_control+xml",
            "<media_control/>",
            415,
            Some("application/dtmf-relay, application/dtmf"),
        ),
        ("text/plain", "", 200, None),
    ];
    for (content_type, body, status, accept) in rows {
        let mut lone = Lone::new();
        let (_, tag) = lone.establish();
        lone.receive(info(2, Some(&tag), content_type, body));
        let response = lone.response();
        assert_eq!(response.status.code(), status, "{content_type} {body}");
        if let Some(accept) = accept {
            assert_eq!(header(&response.headers, HeaderName::Accept), accept);
        }
        assert!(lone.events().is_empty(), "{content_type} {body}");
    }
}

#[test]
fn an_info_that_belongs_to_no_call_gets_481() {
    let mut lone = Lone::new();
    let (call, tag) = lone.establish();
    lone.receive(info(2, None, RELAY, "Signal=1"));
    assert_eq!(lone.response().status, StatusCode::CALL_DOES_NOT_EXIST);
    lone.receive(info(2, Some(&Tag::new("other")), RELAY, "Signal=1"));
    assert_eq!(lone.response().status, StatusCode::CALL_DOES_NOT_EXIST);
    // Our BYE is on its way: the call is over.
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    lone.sent();
    lone.events();
    lone.receive(info(2, Some(&tag), RELAY, "Signal=1"));
    assert_eq!(lone.response().status, StatusCode::CALL_DOES_NOT_EXIST);
    assert!(lone.events().is_empty());
    lone.assert_idle();
}

#[test]
fn a_flood_of_digits_meets_the_limit_of_transactions() {
    let limits = Limits {
        transactions: 20,
        ..Limits::default()
    };
    let mut lone = Lone::with(EndpointConfig {
        limits,
        ..EndpointConfig::default()
    });
    let (_, tag) = lone.establish();
    for cseq in 2..60 {
        lone.receive(info(cseq, Some(&tag), RELAY, "Signal=1"));
    }
    let statuses: Vec<_> = lone.sent_kinds();
    assert!(statuses.iter().any(|status| status == "503"), "{statuses:?}");
    assert!(lone.endpoint.gauges().server_transactions <= 20);
    // Transactions end, and digits are taken again.
    lone.wait(Duration::from_secs(40));
    lone.events();
    lone.receive(info(100, Some(&tag), RELAY, "Signal=1"));
    assert_eq!(lone.response().status, StatusCode::OK);
    assert!(matches!(lone.event(), Event::Digit { .. }));
}
