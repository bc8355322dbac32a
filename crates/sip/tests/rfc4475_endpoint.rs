//! The endpoint against the 49 messages of RFC 4475: who is answered what, who reaches the user, who is dropped.

mod rfc4475;

use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_sip::{
    Endpoint, EndpointConfig, Event, Flow, HeaderName, Message, Output, Rejection, Response, StatusCode,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rfc4475::{EndpointReaction, ROWS, bytes};

struct Outcome {
    responses: Vec<Response>,
    invites: usize,
}

fn endpoint() -> Endpoint {
    Endpoint::new(EndpointConfig::default(), Box::new(StdRng::seed_from_u64(4475)))
}

fn flow() -> Flow {
    Flow::udp(
        "192.0.2.1:5060".parse().expect("address"),
        "192.0.2.200:5060".parse().expect("address"),
    )
}

/// Sends the message to a fresh endpoint and gathers what comes out at once.
fn react(endpoint: &mut Endpoint, now: Instant, name: &str) -> Outcome {
    endpoint.handle_message(now, flow(), Bytes::from_static(bytes(name)));
    let mut outcome = Outcome {
        responses: Vec::new(),
        invites: 0,
    };
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Event(Event::Invite { call, .. }) => {
                outcome.invites += 1;
                endpoint.reject(now, call, Rejection::new(StatusCode::BUSY_HERE));
            }
            Output::Event(Event::Ended { .. }) => {}
            Output::Event(event) => panic!("{name}: {event:?}"),
            Output::Transmit { flow: to, bytes } => {
                assert_eq!(
                    to.remote.ip(),
                    flow().remote.ip(),
                    "{name}: never to anybody else"
                );
                // What was wrong with the request may come back in the response, so not every one can be read again.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let code = text
                    .get(8..11)
                    .and_then(|code| code.parse().ok())
                    .and_then(StatusCode::new);
                let Some(status) = code.filter(|_| text.starts_with("SIP/2.0 ")) else {
                    panic!("{name}: {text}")
                };
                outcome.responses.push(match Message::parse(bytes) {
                    Ok(Message::Response(response)) => response,
                    _ => Response::new(status, ""),
                });
            }
        }
    }
    outcome
}

#[test]
fn every_message_gets_the_reaction_the_rfc_asks_for() {
    let start = Instant::now();
    for row in ROWS {
        let mut endpoint = endpoint();
        let outcome = react(&mut endpoint, start, row.name);
        let statuses: Vec<u16> = outcome
            .responses
            .iter()
            .map(|response| response.status.code())
            .collect();
        let (invites, expected): (usize, &[u16]) = match row.endpoint {
            EndpointReaction::Invite => (1, &[486]),
            EndpointReaction::Answer(allowed) => (0, &allowed[..1]),
            EndpointReaction::Drop => (0, &[]),
        };
        assert_eq!(
            (outcome.invites, &statuses[..]),
            (invites, expected),
            "{} ({}): {}",
            row.name,
            row.section,
            row.why
        );
        assert_idle_in_the_end(&mut endpoint, start, row.name);
    }
}

#[test]
fn one_endpoint_takes_them_all() {
    let start = Instant::now();
    let mut endpoint = endpoint();
    for row in ROWS {
        react(&mut endpoint, start, row.name);
    }
    assert_idle_in_the_end(&mut endpoint, start, "all of them");
}

fn assert_idle_in_the_end(endpoint: &mut Endpoint, start: Instant, name: &str) {
    while let Some((at, _)) = endpoint.poll_timeout() {
        assert!(at <= start + Duration::from_secs(300), "{name}");
        endpoint.handle_timeout(at);
        while endpoint.poll_output().is_some() {}
    }
    assert!(endpoint.gauges().is_idle(), "{name}: {:?}", endpoint.gauges());
}

#[test]
fn refusals_say_what_would_be_accepted() {
    let rows = [
        (
            "bext01",
            HeaderName::Unsupported,
            "nothingSupportsThis, nothingSupportsThisEither",
        ),
        ("invut", HeaderName::Accept, "application/sdp"),
        ("sdp01", HeaderName::Accept, "application/sdp"),
        (
            "mpart01",
            HeaderName::Allow,
            "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK",
        ),
        (
            "intmeth",
            HeaderName::Allow,
            "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK",
        ),
    ];
    for (name, header, value) in rows {
        let outcome = react(&mut endpoint(), Instant::now(), name);
        let found = outcome.responses[0]
            .headers
            .get(&header)
            .map(|value| value.to_vec());
        assert_eq!(found.as_deref(), Some(value.as_bytes()), "{name}");
    }
}
