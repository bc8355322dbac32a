//! Requests outside of calls: each is told one outcome, and none leaves anything behind.

use std::time::Duration;

use confab_sip::{
    Event, HeaderName, Method, NameAddr, Question, QuestionKey, QuestionOutcome, Request, SipUri, StatusCode,
};

use crate::lone::{Lone, header, reply};

fn ask(lone: &mut Lone, method: Method, line: Option<&str>) -> (QuestionKey, Request) {
    let uri = |text: &str| SipUri::parse(text.to_owned()).expect("a URI");
    let request = Request::new(method, uri("sip:carrier.example"))
        .with_header(
            HeaderName::From,
            NameAddr::new(uri("sip:us@a.example")).to_bytes(),
        )
        .with_header(
            HeaderName::To,
            NameAddr::new(uri("sip:carrier.example")).to_bytes(),
        );
    let question = Question {
        request,
        flow: lone.flow,
        contact: line.map(|line| (Some("us".to_owned()), line.to_owned())),
    };
    let key = lone.act(|endpoint, now| endpoint.ask(now, question));
    (key, lone.request())
}

#[test]
fn a_question_is_completed_and_its_answer_told_once() {
    let mut lone = Lone::new();
    let (key, options) = ask(&mut lone, Method::Options, None);
    for name in [
        HeaderName::Via,
        HeaderName::CallId,
        HeaderName::CSeq,
        HeaderName::MaxForwards,
    ] {
        assert!(!header(&options.headers, name.clone()).is_empty(), "{name:?}");
    }
    assert!(header(&options.headers, HeaderName::From).contains(";tag="));
    assert_eq!(header(&options.headers, HeaderName::Contact), "");
    lone.receive(reply(&options, 100, "", ""));
    assert!(lone.events().is_empty());
    for _ in 0..2 {
        lone.receive(reply(&options, 405, "far", ""));
    }
    let Event::Replied { question, outcome } = lone.event() else {
        panic!("an outcome")
    };
    assert_eq!(question, key);
    let QuestionOutcome::Response(response) = outcome else {
        panic!("a response")
    };
    assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
    lone.assert_idle();
    assert!(lone.events().is_empty());
}

#[test]
fn silence_and_a_way_that_is_none_are_told() {
    let mut lone = Lone::new();
    let (_, register) = ask(&mut lone, Method::Register, Some("abc"));
    let contact = header(&register.headers, HeaderName::Contact);
    assert_eq!(contact, "<sip:us@192.0.2.1:5060;line=abc>");
    lone.wait(Duration::from_secs(33));
    assert!(matches!(
        lone.event(),
        Event::Replied {
            outcome: QuestionOutcome::NoResponse,
            ..
        }
    ));
    lone.sent();
    ask(&mut lone, Method::Register, Some("abc"));
    let flow = lone.flow;
    lone.act(|endpoint, now| endpoint.handle_send_failed(now, flow));
    assert!(matches!(
        lone.event(),
        Event::Replied {
            outcome: QuestionOutcome::TransportFailed,
            ..
        }
    ));
    lone.assert_idle();
}
