//! Subscriptions: who asks is agreed to or refused by the user, is told, goes on, and is told the end.

use std::time::Duration;

use bytes::Bytes;
use confab_sip::{
    Body, DropReason, EndpointConfig, Event, EventPackage, HeaderName, Limits, LocalContact, Method,
    Rejection, Request, Response, StatusCode, SubscriptionEnd, SubscriptionKey, SubscriptionState, Tag,
};

use crate::lone::{Lone, PEER, header, message, reply, tag_of};

const KIND: &str = "application/conference-info+xml";
const CONFERENCE: &str = "Event: conference\r\n";

fn notifier() -> Lone {
    Lone::with(EndpointConfig {
        event_packages: vec![EventPackage {
            name: "conference".to_owned(),
            content_type: KIND.to_owned(),
        }],
        limits: Limits {
            subscriptions: 3,
            ..Limits::default()
        },
        ..EndpointConfig::default()
    })
}

fn subscribe(number: u32, tag: Option<&Tag>, lines: &str) -> String {
    message(
        "SUBSCRIBE",
        &number.to_string(),
        &format!("z9hG4bKs{number}"),
        tag,
        lines,
        "",
    )
}

fn told(text: &str) -> Option<Body> {
    Some(Body {
        content_type: KIND.to_owned(),
        bytes: Bytes::from(text.to_owned()),
    })
}

/// Agrees to the SUBSCRIBE that has just come; its 200.
fn agree(lone: &mut Lone) -> (SubscriptionKey, Response) {
    let Event::Subscribe { query, .. } = lone.event() else {
        panic!("a SUBSCRIBE")
    };
    let contact = LocalContact {
        user: Some("3000".to_owned()),
        is_focus: true,
        is_secure: false,
    };
    let key = lone.act(|endpoint, now| endpoint.accept_subscription(now, query, contact));
    (key.expect("it was asked"), lone.response())
}

fn notify(lone: &mut Lone, key: SubscriptionKey, state: SubscriptionState, text: &str) -> Request {
    lone.act(|endpoint, now| endpoint.notify(now, key, state, told(text)));
    lone.request()
}

#[test]
fn a_subscriber_is_told_until_he_wants_no_more() {
    let mut lone = notifier();
    lone.receive(subscribe(1, None, "Event: Conference;id=7\r\nExpires: 600\r\n"));
    lone.receive(subscribe(1, None, "Event: Conference;id=7\r\nExpires: 600\r\n"));
    assert_eq!(lone.endpoint.counters().dropped(DropReason::Retransmission), 1);
    let (key, response) = agree(&mut lone);
    assert_eq!(response.status.code(), 200);
    assert_eq!(header(&response.headers, HeaderName::Expires), "600");
    assert!(header(&response.headers, HeaderName::Contact).ends_with(";isfocus"));
    let tag = tag_of(&response);
    let first = notify(&mut lone, key, SubscriptionState::Active, "<a/>");
    assert_eq!((&first.method, &first.body[..]), (&Method::Notify, &b"<a/>"[..]));
    assert_eq!(header(&first.headers, HeaderName::Event), "conference;id=7");
    assert_eq!(header(&first.headers, HeaderName::ContentType), KIND);
    assert_eq!(
        header(&first.headers, HeaderName::SubscriptionState),
        "active;expires=600"
    );
    assert_eq!(first.uri.to_string(), format!("sip:alice@{PEER}"));
    // One at a time.
    lone.act(|endpoint, now| endpoint.notify(now, key, SubscriptionState::Active, told("<b/>")));
    assert!(lone.sent().is_empty());
    lone.receive(reply(&first, 200, "alice", ""));
    assert!(matches!(lone.event(), Event::Notified { subscription } if subscription == key));
    lone.wait(Duration::from_secs(100));
    let second = notify(&mut lone, key, SubscriptionState::Active, "<b/>");
    assert_eq!(
        header(&second.headers, HeaderName::SubscriptionState),
        "active;expires=500"
    );
    lone.receive(reply(&second, 200, "alice", ""));
    lone.events();
    // He goes on, and is told everything.
    lone.receive(subscribe(2, Some(&tag), "Event: conference;id=7\r\n"));
    assert_eq!(header(&lone.response().headers, HeaderName::Expires), "3600");
    assert!(matches!(lone.event(), Event::SubscriptionRefreshed { .. }));
    lone.receive(subscribe(
        3,
        Some(&tag),
        "Event: conference;id=7\r\nExpires: 0\r\n",
    ));
    assert_eq!(header(&lone.response().headers, HeaderName::Expires), "0");
    let end = SubscriptionEnd::Unsubscribed;
    assert!(matches!(lone.event(), Event::SubscriptionEnds { end: found, .. } if found == end));
    let last = notify(&mut lone, key, SubscriptionState::TimedOut, "<c/>");
    assert_eq!(
        header(&last.headers, HeaderName::SubscriptionState),
        "terminated;reason=timeout"
    );
    lone.receive(reply(&last, 200, "alice", ""));
    assert!(lone.events().is_empty());
    lone.receive(subscribe(4, Some(&tag), "Event: conference;id=7\r\n"));
    assert_eq!(lone.response().status.code(), 481);
    lone.assert_idle();
}

#[test]
fn who_does_not_refresh_is_told_the_end() {
    let mut lone = notifier();
    lone.receive(subscribe(1, None, &format!("{CONFERENCE}Expires: 60\r\n")));
    let (key, _) = agree(&mut lone);
    let first = notify(&mut lone, key, SubscriptionState::Active, "<a/>");
    lone.receive(reply(&first, 200, "alice", ""));
    lone.events();
    lone.wait(Duration::from_secs(60));
    let end = SubscriptionEnd::Expired;
    assert!(matches!(lone.event(), Event::SubscriptionEnds { end: found, .. } if found == end));
    // A user that says nothing more keeps nothing alive.
    lone.assert_idle();
}

#[test]
fn the_last_word_waits_for_the_one_before() {
    let mut lone = notifier();
    lone.receive(subscribe(1, None, CONFERENCE));
    let (key, _) = agree(&mut lone);
    let first = notify(&mut lone, key, SubscriptionState::Active, "<a/>");
    lone.act(|endpoint, now| endpoint.notify(now, key, SubscriptionState::NoResource, None));
    assert!(lone.sent().is_empty());
    lone.receive(reply(&first, 500, "alice", ""));
    let last = lone.request();
    assert_eq!(
        header(&last.headers, HeaderName::SubscriptionState),
        "terminated;reason=noresource"
    );
    assert!(lone.events().is_empty());
    lone.assert_idle();
}

#[test]
fn who_wants_to_be_told_once_is_told_once() {
    let mut lone = notifier();
    lone.receive(subscribe(1, None, &format!("{CONFERENCE}Expires: 0\r\n")));
    let (key, response) = agree(&mut lone);
    assert_eq!(header(&response.headers, HeaderName::Expires), "0");
    lone.act(|endpoint, now| endpoint.notify(now, key, SubscriptionState::Active, told("<a/>")));
    assert!(lone.sent().is_empty());
    notify(&mut lone, key, SubscriptionState::TimedOut, "<a/>");
    lone.assert_idle();
}

#[test]
fn a_subscriber_who_takes_nothing_is_lost() {
    for status in [481, 404, 0] {
        let mut lone = notifier();
        lone.receive(subscribe(1, None, CONFERENCE));
        let (key, _) = agree(&mut lone);
        let first = notify(&mut lone, key, SubscriptionState::Active, "<a/>");
        if status == 0 {
            lone.wait(Duration::from_secs(33));
            lone.sent();
        } else {
            lone.receive(reply(&first, status, "alice", ""));
        }
        let end = SubscriptionEnd::Lost;
        assert!(matches!(lone.event(), Event::SubscriptionEnds { end: found, .. } if found == end));
        lone.act(|endpoint, now| endpoint.notify(now, key, SubscriptionState::Active, told("<b/>")));
        assert!(lone.sent().is_empty());
        lone.assert_idle();
    }
}

#[test]
fn what_is_not_told_is_refused() {
    let mut lone = notifier();
    for (number, (lines, status, name, value)) in (1..).zip([
        ("Event: presence\r\n", 489, HeaderName::AllowEvents, "conference"),
        ("", 489, HeaderName::AllowEvents, "conference"),
        (
            "Event: conference\r\nAccept: application/pidf+xml\r\n",
            406,
            HeaderName::Accept,
            KIND,
        ),
        (
            "Event: conference\r\nExpires: 59\r\n",
            423,
            HeaderName::MinExpires,
            "60",
        ),
        (
            "Event: conference\r\nExpires: x\r\n",
            400,
            HeaderName::Warning,
            "",
        ),
    ]) {
        lone.receive(subscribe(number, None, lines));
        let response = lone.response();
        assert_eq!(response.status.code(), status, "{lines}");
        assert_eq!(header(&response.headers, name), value, "{lines}");
        assert!(lone.events().is_empty());
    }
    lone.receive(subscribe(20, None, CONFERENCE));
    let Event::Subscribe { query, .. } = lone.event() else {
        panic!("a SUBSCRIBE")
    };
    let refusal =
        Rejection::new(StatusCode::UNAUTHORIZED).with_header(HeaderName::WwwAuthenticate, "Digest x");
    lone.act(|endpoint, _| endpoint.reject_subscription(query, refusal));
    let response = lone.response();
    assert_eq!(response.status.code(), 401);
    assert_eq!(header(&response.headers, HeaderName::WwwAuthenticate), "Digest x");
    // There are only so many.
    for number in 30..33 {
        lone.receive(subscribe(number, None, CONFERENCE));
        if number < 32 {
            agree(&mut lone);
        }
    }
    assert_eq!(lone.events().len(), 1);
    lone.receive(subscribe(40, None, CONFERENCE));
    assert_eq!(lone.response().status.code(), 503);
    // And without anything to tell, nobody.
    let mut lone = Lone::new();
    lone.receive(subscribe(1, None, CONFERENCE));
    assert_eq!(lone.response().status.code(), 405);
}
