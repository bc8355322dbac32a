//! Named cases of RFC 3261 §12.

use bytes::Bytes;

use super::*;
use crate::message::{Message, StatusCode};

fn request(text: &str) -> (Request, Essentials) {
    match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(Message::Request(request)) => {
            let essentials = Essentials::of(&request.headers).expect("essentials");
            (request, essentials)
        }
        other => panic!("not a request: {other:?}"),
    }
}

fn invite(more: &str) -> (Request, Essentials) {
    request(&format!(
        "INVITE sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKa\r\n\
         From: \"Alice\" <sip:alice@x.example>;tag=remote\r\nTo: Conf <sip:3000@192.0.2.1>\r\nCall-ID: c1\r\n\
         CSeq: 17 INVITE\r\n{more}\r\n"
    ))
}

fn value(request: &Request, name: HeaderName) -> String {
    String::from_utf8_lossy(request.headers.get(&name).map_or(b"", |value| value.as_ref())).into_owned()
}

fn callee(more: &str) -> Dialog {
    let (request, essentials) = invite(more);
    Dialog::from_request(&request, &essentials, &Tag::new("local"), 100)
}

fn caller(more: &str) -> Dialog {
    let (request, _) = invite("Contact: <sip:alice@192.0.2.7>\r\n");
    let mut response = Response::to(&request, StatusCode::OK).with_to_tag(&Tag::new("theirs"));
    for line in more.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").expect("a header line");
        response.headers.push(HeaderName::custom(name), value.to_owned());
    }
    let essentials = Essentials::of(&response.headers).expect("essentials");
    Dialog::from_response(&request, &response, &essentials)
}

#[test]
fn the_two_sides_of_a_dialog_mirror_each_other() {
    let mut dialog = callee("Contact: <sip:alice@192.0.2.7:5070>\r\n");
    assert_eq!(dialog.state(), DialogState::Early);
    let bye = dialog.request(Method::Bye);
    assert_eq!(bye.uri.to_string(), "sip:alice@192.0.2.7:5070");
    assert_eq!(
        value(&bye, HeaderName::From),
        "Conf <sip:3000@192.0.2.1>;tag=local"
    );
    assert_eq!(
        value(&bye, HeaderName::To),
        "\"Alice\" <sip:alice@x.example>;tag=remote"
    );
    assert_eq!(value(&bye, HeaderName::CSeq), "101 BYE");
    let (request, essentials) = request(
        "BYE sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\r\n\
         From: <sip:alice@x.example>;tag=remote\r\nTo: <sip:3000@192.0.2.1>;tag=local\r\nCall-ID: c1\r\nCSeq: 18 BYE\r\n\r\n",
    );
    assert_eq!(request.method, Method::Bye);
    assert_eq!(DialogId::of_request(&essentials), *dialog.id());
}

#[test]
fn the_route_set_keeps_its_order_for_the_callee_and_turns_it_for_the_caller() {
    let routes =
        "Record-Route: <sip:p1.example;lr>\r\nRecord-Route: <sip:p2.example;lr>, <sip:p3.example;lr>\r\n";
    let order = |mut dialog: Dialog| -> Vec<String> {
        let bye = dialog.request(Method::Bye);
        let routes = bye.headers.routes().expect("routes");
        routes.iter().map(|route| route.uri.to_string()).collect()
    };
    let forth = ["sip:p1.example;lr", "sip:p2.example;lr", "sip:p3.example;lr"];
    let back = ["sip:p3.example;lr", "sip:p2.example;lr", "sip:p1.example;lr"];
    assert_eq!(order(callee(routes)), forth);
    assert_eq!(order(caller(routes)), back);
}

#[test]
fn without_a_contact_the_old_ways_apply() {
    assert_eq!(callee("").next_hop().to_string(), "sip:alice@x.example");
    assert_eq!(caller("").next_hop().to_string(), "sip:3000@192.0.2.1");
}

#[test]
fn the_ack_has_the_number_of_its_invite_and_spends_none() {
    let mut dialog = caller("Contact: <sip:3000@192.0.2.1:5090>\r\n");
    assert_eq!(dialog.state(), DialogState::Confirmed);
    let ack = dialog.ack(17);
    assert_eq!(
        (value(&ack, HeaderName::CSeq), ack.uri.to_string()),
        ("17 ACK".into(), "sip:3000@192.0.2.1:5090".into())
    );
    assert_eq!(value(&dialog.request(Method::Bye), HeaderName::CSeq), "18 BYE");
}

#[test]
fn sequence_numbers_may_stay_or_rise_but_never_fall() {
    let mut dialog = callee("");
    for (number, taken) in [
        (17, true),
        (16, false),
        (18, true),
        (17, false),
        (u32::MAX, true),
        (0, false),
    ] {
        assert_eq!(dialog.take_remote_cseq(number), taken, "{number}");
    }
    let mut fresh = caller("");
    assert!(
        fresh.take_remote_cseq(0),
        "the callee's first number may be anything"
    );
}

#[test]
fn a_refresh_moves_the_target_but_not_the_route() {
    let mut dialog = callee("Contact: <sip:a@192.0.2.7>\r\nRecord-Route: <sip:p1.example;lr>\r\n");
    let (reinvite, _) = invite("Contact: <sip:a@192.0.2.8>\r\nRecord-Route: <sip:other.example;lr>\r\n");
    dialog.refresh_target(&reinvite.headers);
    let bye = dialog.request(Method::Bye);
    assert_eq!(
        (bye.uri.to_string(), value(&bye, HeaderName::Route)),
        ("sip:a@192.0.2.8".into(), "<sip:p1.example;lr>".into())
    );
    let (without, _) = invite("");
    dialog.refresh_target(&without.headers);
    assert_eq!(dialog.request(Method::Bye).uri.to_string(), "sip:a@192.0.2.8");
}

#[test]
fn header_fields_of_a_contact_stay_out_of_the_request_uri() {
    let mut dialog = callee("Contact: <sip:alice@192.0.2.7;ob?Subject=x&a=b>\r\n");
    let bye = dialog.request(Method::Bye);
    assert_eq!(bye.uri.to_string(), "sip:alice@192.0.2.7;ob");
    // Nor do those of a strict router, which takes the place of the target (RFC 3261 §12.2.1.1).
    let mut dialog = callee("Contact: <sip:alice@192.0.2.7>\r\nRecord-Route: <sip:p1.example?x=y>\r\n");
    assert_eq!(dialog.request(Method::Bye).uri.to_string(), "sip:p1.example");
}
