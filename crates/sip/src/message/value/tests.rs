use std::net::IpAddr;

use bytes::Bytes;

use super::*;
use crate::message::{HeaderName, Headers};
use crate::scan::Problem;
use crate::uri::{Host, HostPort, SipUri};

fn headers(name: HeaderName, values: &[&str]) -> Headers {
    let mut headers = Headers::new();
    for value in values {
        headers.push(name.clone(), value.to_string());
    }
    headers
}

#[test]
fn addresses_are_read_in_all_their_forms() {
    let rows = [
        ("sip:a@h", None, "sip:a@h", None),
        ("sip:a@h;tag=1", None, "sip:a@h", Some("1")),
        ("<sip:a@h;lr>;tag=1", None, "sip:a@h;lr", Some("1")),
        ("<sip:a@h>  ;  tag  =  1  ", None, "sip:a@h", Some("1")),
        ("<sip:a@h>;TAG=1;", None, "sip:a@h", Some("1")),
        ("<sip:a@h>;tag=", None, "sip:a@h", None),
        ("Alice <sip:a@h>", Some("Alice"), "sip:a@h", None),
        ("Alice  B. <sip:a@h>", Some("Alice  B."), "sip:a@h", None),
        ("Zo\u{eb} <sip:a@h>", Some("Zo\u{eb}"), "sip:a@h", None),
        ("\"Bell, A.\"<sip:a@h>", Some("Bell, A."), "sip:a@h", None),
        ("\"\" <sip:a@h>", Some(""), "sip:a@h", None),
        (
            "\"a \\\"b\\\\ <x>\" <sip:a@h?b=c>;x=\"<;,>\";tag=t",
            Some("a \"b\\ <x>"),
            "sip:a@h?b=c",
            Some("t"),
        ),
        ("<tel:+1;phone-context=x>", None, "tel:+1;phone-context=x", None),
        (
            "<sip:x@y>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\";reg-id=1",
            None,
            "sip:x@y",
            None,
        ),
    ];
    for (text, display, uri, tag) in rows {
        let address = NameAddr::parse(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(
            address.display.as_ref().map(|name| name.to_string()).as_deref(),
            display,
            "{text}"
        );
        assert_eq!(address.uri.to_string(), uri, "{text}");
        assert_eq!(address.tag().map(|tag| tag.to_string()).as_deref(), tag, "{text}");
        assert_eq!(
            NameAddr::parse(address.to_bytes()).as_ref(),
            Ok(&address),
            "{text}"
        );
    }
}

#[test]
fn instance_ids_come_out_of_their_quotes() {
    let contact = NameAddr::parse("<sip:x@y>;+sip.instance=\"<urn:uuid:0>\"").unwrap();
    assert_eq!(
        contact.params.get("+SIP.instance").unwrap().unquoted().unwrap(),
        "<urn:uuid:0>"
    );
}

#[test]
fn what_is_no_address_is_refused() {
    let rows = [
        ("", Problem::Empty),
        ("\"a <sip:a@h>", Problem::UnterminatedQuote),
        ("\"a\\", Problem::UnterminatedQuote),
        ("\"a\" sip:a@h", Problem::UnexpectedByte),
        ("<sip:a@h", Problem::UnterminatedBracket),
        ("<>", Problem::BadScheme),
        ("< sip:a@h>", Problem::UnexpectedByte),
        ("a, b <sip:a@h>", Problem::BadScheme),
        ("sip:a@h?x=y", Problem::NeedsBrackets),
        ("<sip:a@h>;;tag=1", Problem::EmptyParameter),
        ("<sip:a@h>;tag=\"1", Problem::UnterminatedQuote),
        ("<sip:a@h> x", Problem::UnexpectedByte),
        ("<sip:a@h>;tag=1\0", Problem::UnexpectedByte),
        ("<sip:a@h>;tag=1\x7f", Problem::UnexpectedByte),
        ("<sip:a@h>, <sip:b@h>", Problem::UnexpectedByte),
    ];
    for (text, problem) in rows {
        assert_eq!(NameAddr::parse(text).expect_err(text).1, problem, "{text}");
    }
}

#[test]
fn lists_are_taken_apart_over_commas_and_fields() {
    let contacts = headers(
        HeaderName::Contact,
        &["\"a,b\" <sip:a@h>;q=0.5 , <sip:b,c@h>;x=\",\"", "sip:d@h,sip:e@h"],
    );
    let users: Vec<String> = contacts
        .contacts()
        .unwrap()
        .iter()
        .map(|contact| contact.uri.as_sip().unwrap().user.clone().unwrap().to_string())
        .collect();
    assert_eq!(users, ["a", "b,c", "d", "e"]);
    for broken in ["<sip:a@h>,", ",<sip:a@h>", "<sip:a@h>,,<sip:b@h>", "*, <sip:a@h>"] {
        assert!(
            headers(HeaderName::Contact, &[broken]).contacts().is_err(),
            "{broken}"
        );
    }
    let star = headers(HeaderName::Contact, &["*"]);
    assert!(star.contact_is_star() && star.contacts() == Ok(Vec::new()));
}

#[test]
fn token_lists_pass_over_empty_elements() {
    let supported = headers(HeaderName::Supported, &["", "100rel , timer,", ",replaces"])
        .supported()
        .unwrap();
    assert_eq!(supported, ["100rel", "timer", "replaces"]);
    assert!(headers(HeaderName::Require, &["a b"]).require().is_err());
    let allow = headers(HeaderName::Allow, &["INVITE,ACK", "x"]).allow().unwrap();
    assert_eq!(allow.len(), 3);
    let many = vec!["a"; crate::MAX_LIST_VALUES + 1].join(",");
    assert_eq!(
        headers(HeaderName::Allow, &[&many]).allow().unwrap_err().problem,
        Problem::TooMany
    );
}

#[test]
fn vias_are_read_and_written() {
    let text = "SIP/2.0/UDP [2001:db8::1]:5062;branch=z9hG4bK1;rport;received=2001:db8::7;maddr=224.0.0.1";
    let mut via = headers(HeaderName::Via, &[text]).top_via().unwrap().unwrap();
    assert_eq!(via.sent_by.port, Some(5062));
    assert_eq!(via.received(), Some("2001:db8::7".parse::<IpAddr>().unwrap()));
    assert_eq!(via.maddr(), Some(Host::V4([224, 0, 0, 1].into())));
    assert!(via.wants_rport() && via.rport().is_none());
    assert_eq!(via.to_bytes(), text.as_bytes());
    via.set_rport(40_000);
    via.set_received([192, 0, 2, 9].into());
    assert_eq!(
        via.to_bytes(),
        "SIP/2.0/UDP [2001:db8::1]:5062;branch=z9hG4bK1;rport=40000;received=192.0.2.9;maddr=224.0.0.1"
    );
    let own = Via::new(
        "TCP",
        HostPort {
            host: Host::Name("h".into()),
            port: None,
        },
        &Branch::new("z9hG4bKx"),
    );
    assert_eq!(own.to_bytes(), "SIP/2.0/TCP h;branch=z9hG4bKx;rport");
}

#[test]
fn what_is_no_via_is_refused() {
    let rows = [
        ("", Problem::UnexpectedByte),
        ("SIP/2.0/UDP", Problem::UnexpectedByte),
        ("SIP/2.0/UDP ", Problem::UnexpectedByte),
        ("SIP/2.0 h", Problem::UnexpectedByte),
        ("SIP/7.0/UDP h", Problem::WrongProtocol),
        ("HTTP/2.0/TCP h", Problem::WrongProtocol),
        ("SIP/2.0/UDP h:x", Problem::BadPort),
        ("SIP/2.0/UDP [::1", Problem::BadHost),
        ("SIP/2.0/UDP h;;branch=x", Problem::EmptyParameter),
        ("SIP/2.0/UDP h i", Problem::UnexpectedByte),
    ];
    for (text, problem) in rows {
        assert_eq!(
            headers(HeaderName::Via, &[text])
                .top_via()
                .expect_err(text)
                .problem,
            problem,
            "{text}"
        );
    }
}

#[test]
fn only_a_cookie_with_something_behind_it_names_a_transaction() {
    for (branch, is_id) in [
        ("z9hG4bK1", true),
        ("z9hG4bK", false),
        ("", false),
        ("1", false),
        ("Z9HG4BK1", false),
    ] {
        assert_eq!(Branch::new(branch).is_transaction_id(), is_id, "{branch}");
    }
}

#[test]
fn numbers_stay_in_their_range() {
    let cseq = |text: &str| headers(HeaderName::CSeq, &[text]).cseq();
    assert_eq!(cseq("0 ACK").unwrap().unwrap().number, 0);
    assert_eq!(cseq("4294967295 ACK").unwrap().unwrap().number, u32::MAX);
    assert_eq!(cseq("4294967296 ACK").unwrap_err().problem, Problem::OutOfRange);
    assert_eq!(cseq("-1 ACK").unwrap_err().problem, Problem::NotANumber);
    assert_eq!(cseq("1ACK").unwrap_err().problem, Problem::UnexpectedByte);
    assert_eq!(cseq("1").unwrap_err().problem, Problem::UnexpectedByte);
    assert_eq!(cseq("1 ACK x").unwrap_err().problem, Problem::UnexpectedByte);
    assert_eq!(cseq("1 ACK, 2 ACK").unwrap_err().problem, Problem::Repeated);

    let hops = |text: &str| headers(HeaderName::MaxForwards, &[text]).max_forwards();
    for (text, value) in [
        ("0", 0),
        ("070", 70),
        ("255", 255),
        ("256", 255),
        ("99999999999999999999999", 255),
    ] {
        assert_eq!(hops(text), Ok(Some(value)), "{text}");
    }
    for text in ["", "-1", "7x", "7 0"] {
        assert!(hops(text).is_err(), "{text}");
    }

    let expires = |text: &str| headers(HeaderName::Expires, &[text]).expires();
    assert_eq!(expires("4294967295"), Ok(Some(u32::MAX)));
    assert_eq!(expires("4294967296").unwrap_err().problem, Problem::OutOfRange);

    let length = |values: &[&str]| headers(HeaderName::ContentLength, values).content_length();
    assert_eq!(length(&[]), Ok(None));
    assert_eq!(length(&["5", "05"]), Ok(Some(5)));
    assert_eq!(length(&["5", "6"]).unwrap_err().problem, Problem::Repeated);
    assert_eq!(length(&["18446744073709551615"]), Ok(Some(u64::MAX)));
    assert_eq!(
        length(&["18446744073709551616"]).unwrap_err().problem,
        Problem::OutOfRange
    );
}

#[test]
fn headers_that_may_be_there_once_are_refused_twice() {
    let twice = headers(HeaderName::From, &["<sip:a@h>;tag=1", "<sip:a@h>;tag=1"]);
    assert_eq!(twice.from().unwrap_err().problem, Problem::Repeated);
    let listed = headers(HeaderName::To, &["<sip:a@h>, <sip:b@h>"]);
    assert_eq!(listed.to().unwrap_err().problem, Problem::Repeated);
    assert_eq!(
        headers(HeaderName::CallId, &[""]).call_id().unwrap_err().problem,
        Problem::Empty
    );
    assert_eq!(
        headers(HeaderName::CallId, &["a,b@c"])
            .call_id()
            .unwrap()
            .unwrap()
            .as_bytes(),
        b"a,b@c"
    );
}

#[test]
fn the_smaller_values_are_read() {
    let content = headers(HeaderName::ContentType, &["multipart / mixed ; boundary=\"a b\""]);
    let content = content.content_type().unwrap().unwrap();
    assert!(content.is("Multipart", "MIXED") && !content.is("multipart", "*"));
    assert_eq!(content.params.get("boundary").unwrap().unquoted().unwrap(), "a b");
    assert_eq!(content.to_bytes(), "multipart/mixed;boundary=\"a b\"");

    let accept = headers(HeaderName::Accept, &["text/*;q=0.1, application/sdp"])
        .accept()
        .unwrap();
    assert!(accept[0].covers("text", "plain") && !accept[0].covers("application", "sdp"));
    assert!(accept[1].covers("application", "SDP"));
    assert_eq!(headers(HeaderName::Accept, &[""]).accept(), Ok(Vec::new()));

    let retry = headers(
        HeaderName::RetryAfter,
        &["120 (in a \\( (m)eeting);duration=3600"],
    );
    let retry = retry.retry_after().unwrap().unwrap();
    assert_eq!(
        (retry.seconds, retry.params.value("duration").unwrap().as_str()),
        (120, Some("3600"))
    );
    for broken in ["", "x", "1 (open", "4294967296", "1 2"] {
        assert!(
            headers(HeaderName::RetryAfter, &[broken]).retry_after().is_err(),
            "{broken}"
        );
    }

    let reasons = headers(
        HeaderName::Reason,
        &["SIP ;cause=200 ;text=\"Call \\\"done\\\"\", Q.850;cause=x"],
    );
    let reasons = reasons.reasons().unwrap();
    assert_eq!(reasons[0], Reason::sip(200, "Call \"done\""));
    assert_eq!(reasons[0].to_bytes(), "SIP;cause=200;text=\"Call \\\"done\\\"\"");
    assert_eq!(reasons[1].cause, None);
}

#[test]
fn printed_display_names_cannot_break_out_of_their_header() {
    let evil = "a\"\r\nEvil: 1\0\\";
    let address = NameAddr::new(SipUri::parse("sip:a@h").unwrap()).with_display(evil);
    assert_eq!(address.to_bytes(), "\"a\\\"  Evil: 1\\\0\\\\\" <sip:a@h>");
    let tagged = NameAddr::new(SipUri::parse("sip:a@h").unwrap()).with_tag(&Tag::new("x"));
    assert_eq!(tagged.to_bytes(), Bytes::from_static(b"<sip:a@h>;tag=x"));
}
