//! REGISTER, up to the registrar beside the endpoint, and keep-alives to who is registered.

use std::time::Duration;

use confab_sip::{
    DropReason, EndpointConfig, Event, HeaderName, Limits, Reachable, Reply, Response, StatusCode, Uri,
};

use crate::lone::{Lone, PEER};

#[test]
fn a_register_is_asked_about_once_and_its_200_is_kept() {
    let config = EndpointConfig {
        takes_registrations: true,
        limits: Limits {
            registers: 2,
            ..Limits::default()
        },
        ..EndpointConfig::default()
    };
    let mut lone = Lone::with(config);
    let register = |number: u32| {
        format!(
            "REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};rport;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@a.example>;tag=f\r\nTo: <sip:bob@a.example>\r\nCall-ID: c{number}\r\nCSeq: 1 REGISTER\r\n\
             Require: path\r\nContact: <sip:bob@{PEER}>\r\n\r\n"
        )
    };
    let asked = |lone: &mut Lone| -> Vec<_> {
        let events = lone.events().into_iter();
        let asked = events.filter_map(|event| match event {
            Event::Register { query, .. } => Some(query),
            _ => None,
        });
        asked.collect()
    };
    lone.receive(register(1));
    lone.receive(register(1));
    lone.receive(register(2));
    lone.receive(register(3));
    assert_eq!(lone.response().status.code(), 503, "the third has no room");
    let queries = asked(&mut lone);
    assert_eq!(queries.len(), 2, "a copy is no question of its own");
    let reply = Reply::refusal(StatusCode::OK, None).with(HeaderName::Contact, "<sip:bob@x>;expires=60");
    lone.act(|endpoint, now| endpoint.answer_register(now, queries[0], reply.clone()));
    let answered = lone.response();
    assert_eq!(answered.status, StatusCode::OK);
    assert!(answered.headers.has(&HeaderName::Contact));
    lone.receive(register(1));
    assert_eq!(
        lone.response().to_bytes(),
        answered.to_bytes(),
        "a copy gets the same"
    );
    assert!(asked(&mut lone).is_empty());
    let refusal = Reply::refusal(StatusCode::FORBIDDEN, None);
    lone.act(|endpoint, now| endpoint.answer_register(now, queries[1], refusal));
    assert_eq!(lone.response().status, StatusCode::FORBIDDEN);
    lone.act(|endpoint, now| endpoint.answer_register(now, queries[1], reply));
    lone.receive(register(2));
    let again = asked(&mut lone);
    assert_eq!(again.len(), 1, "a refusal keeps no state");
    lone.act(|endpoint, _| endpoint.ignore_register(again[0]));
    assert_eq!(lone.sent_kinds(), [""; 0], "silence");
    lone.wait(Duration::from_secs(40));
    assert!(lone.endpoint.gauges().is_idle());
}

#[test]
fn a_keep_alive_is_sent_once_and_its_response_taken() {
    let mut lone = Lone::new();
    let contact = Reachable {
        target: Uri::parse("sip:bob@10.0.0.5:5062").expect("URI"),
        route: Vec::new(),
        flow: lone.flow,
        q: 1000,
        user_agent: None,
    };
    lone.act(|endpoint, _| endpoint.keep_alive(&contact));
    let options = lone.request();
    assert_eq!(options.uri.to_string(), "sip:bob@10.0.0.5:5062");
    assert!(lone.endpoint.gauges().is_idle());
    lone.receive(Response::to(&options, StatusCode::OK).to_bytes());
    let counters = lone.endpoint.counters();
    assert_eq!(counters.dropped(DropReason::KeepAlive), 1);
    assert_eq!(counters.dropped(DropReason::StrayResponse), 0);
}
