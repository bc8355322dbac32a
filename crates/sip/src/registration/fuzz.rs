//! What fuzzing holds a registration to, for any sequence of responses and waits. Part of the normal build, so that a change of the
//! interface cannot silently break the fuzz target.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::{LONGEST_EXPIRES_S, Registration, RegistrationConfig, RegistrationFailure, RegistrationState};
use crate::digest::DigestIdentity;
use crate::message::{HeaderName, Message, NameAddr, Request, Response, StatusCode};
use crate::uri::{Host, SipUri};

const STATUSES: [u16; 10] = [100, 200, 200, 401, 407, 423, 403, 480, 503, 600];
const NAMES: [HeaderName; 6] = [
    HeaderName::Expires,
    HeaderName::MinExpires,
    HeaderName::RetryAfter,
    HeaderName::WwwAuthenticate,
    HeaderName::ProxyAuthenticate,
    HeaderName::Contact,
];
const WAITS_S: [u64; 4] = [0, 1, 300, 5000];

/// Reads `data` as a script of responses, silences, waits and commands. `start` is any instant.
///
/// # Panics
/// When a promise is broken: two REGISTERs under way, none due though it is wanted, one due later than any life, one that is no single
/// request when it is printed, or a registration that is not gone when it was taken back.
pub fn fuzz_registration(start: Instant, data: &[u8]) {
    let host = Host::from(std::net::IpAddr::from([192, 0, 2, 1]));
    let address = SipUri::new(host, None);
    let config = RegistrationConfig {
        registrar: address.clone(),
        address: NameAddr::new(address.with_user("us")),
        identity: Some(DigestIdentity {
            username: "us".to_owned(),
            password: "word".to_owned(),
            realm: None,
        }),
        expires_s: 300,
        line: "abc".to_owned(),
    };
    let rng = Box::new(StdRng::seed_from_u64(1));
    let mut registration = Registration::new(start, config, rng);
    let (mut now, mut under_way): (Instant, Option<Request>) = (start, None);
    for step in data.split(|byte| *byte == b'\n') {
        let Some((kind, rest)) = step.split_first() else {
            continue;
        };
        match kind % 8 {
            0 => now += Duration::from_secs(WAITS_S[usize::from(*kind / 8) % WAITS_S.len()]),
            1 => registration.renew(now),
            2 => registration.unregister(now),
            3 if under_way.take().is_some() => {
                registration.handle_failure(now, RegistrationFailure::NoResponse);
            }
            _ => {
                if let Some(request) = under_way.take() {
                    let response = response(&request, usize::from(*kind / 8), rest);
                    registration.handle_response(now, &response);
                    under_way = (!response.status.is_final()).then_some(request);
                }
            }
        }
        if let Some(request) = registration.poll(now) {
            assert!(under_way.is_none(), "one REGISTER at a time");
            let via = "SIP/2.0/UDP a.example;branch=z9hG4bK1";
            let whole = request.clone().with_header(HeaderName::Via, via);
            assert!(Message::parse(whole.to_bytes()).is_ok());
            under_way = Some(request);
        }
        let is_gone = registration.state(now) == RegistrationState::Gone;
        let due = registration.poll_timeout();
        assert_eq!(due.is_some(), under_way.is_none() && !is_gone);
        let latest = now + Duration::from_secs(LONGEST_EXPIRES_S.into());
        assert!(due.is_none_or(|due| due <= latest));
    }
    registration.unregister(now);
    for _ in 0..4 {
        if let Some(request) = under_way.take().or_else(|| registration.poll(now)) {
            registration.handle_response(now, &response(&request, 1, b""));
        }
    }
    assert_eq!(registration.state(now), RegistrationState::Gone);
}

/// A response whose header fields are the parts of `text` between `|`, each after the number of its name.
fn response(request: &Request, status: usize, text: &[u8]) -> Response {
    let status = StatusCode::new(STATUSES[status % STATUSES.len()]);
    let mut response = Response::to(request, status.unwrap_or(StatusCode::OK));
    for part in text.split(|byte| *byte == b'|') {
        if let Some((name, value)) = part.split_first() {
            let name = NAMES[usize::from(*name) % NAMES.len()].clone();
            response.headers.push(name, Bytes::copy_from_slice(value));
        }
    }
    response
}
