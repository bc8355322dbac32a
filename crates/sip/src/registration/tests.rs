use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::digest::{DigestCredentials, DigestServer, DigestVerdict};

const LINE_OF_OURS: &str = "0123abcd";

fn uri(text: &str) -> SipUri {
    SipUri::parse(text.to_owned()).expect("a URI")
}

fn config(expires_s: u32) -> RegistrationConfig {
    RegistrationConfig {
        registrar: uri("sip:carrier.example"),
        address: NameAddr::new(uri("sip:trunk@carrier.example")),
        identity: Some(DigestIdentity {
            username: "trunk".into(),
            password: "open sesame".into(),
            realm: None,
        }),
        expires_s,
        line: LINE_OF_OURS.into(),
    }
}

fn started(expires_s: u32) -> (Instant, Registration) {
    let now = Instant::now();
    let rng = Box::new(StdRng::seed_from_u64(3));
    (now, Registration::new(now, config(expires_s), rng))
}

fn response(request: &Request, status: u16, headers: &[(HeaderName, &str)]) -> Response {
    let mut response = Response::to(request, StatusCode::new(status).expect("a status"));
    for (name, value) in headers {
        response.headers.push(name.clone(), (*value).to_owned());
    }
    response
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn text(request: &Request, name: HeaderName) -> String {
    let value = request.headers.text(&name);
    value
        .map(|value| value.to_str_lossy().into_owned())
        .unwrap_or_default()
}

fn number(request: &Request) -> u32 {
    request.headers.cseq().expect("readable").expect("there").number
}

#[test]
fn it_is_refreshed_before_its_end_as_the_registrar_gives_it() {
    let ours = format!("<sip:trunk@192.0.2.1;line={LINE_OF_OURS}>;expires=120");
    let others = "<sip:trunk@192.0.2.9>;expires=3000";
    for (headers, granted_s, refreshed_after_s) in [
        (vec![], 600, 540),
        (vec![(HeaderName::Expires, "60")], 60, 30),
        (vec![(HeaderName::Expires, "3600")], 3600, 3240),
        (
            vec![(HeaderName::Contact, others), (HeaderName::Contact, &ours)],
            120,
            90,
        ),
        (vec![(HeaderName::Contact, others)], 3000, 2700),
        (vec![(HeaderName::Expires, "4000000000")], 604_800, 544_320),
        (vec![(HeaderName::Expires, "1")], 1, 0),
    ] {
        let (now, mut registration) = started(600);
        let request = registration.poll(now).expect("it is due");
        assert_eq!(text(&request, HeaderName::Expires), "600");
        assert_eq!(registration.poll(now), None, "one at a time");
        registration.handle_response(now, &response(&request, 100, &[]));
        assert_eq!(registration.poll_timeout(), None, "it is under way");
        registration.handle_response(now, &response(&request, 200, &headers));
        assert_eq!(
            registration.state(now),
            RegistrationState::Registered(now + seconds(granted_s))
        );
        let due = registration.poll_timeout().expect("a refresh");
        assert_eq!((due - now).as_secs(), refreshed_after_s, "{headers:?}");
        let again = registration.poll(due).expect("due");
        assert_eq!(number(&again), number(&request) + 1);
        assert_eq!(
            text(&again, HeaderName::CallId),
            text(&request, HeaderName::CallId)
        );
    }
    // A registrar that gives nothing has not registered anybody.
    let (now, mut registration) = started(600);
    let request = registration.poll(now).expect("due");
    registration.handle_response(now, &response(&request, 200, &[(HeaderName::Expires, "0")]));
    assert!(matches!(registration.state(now), RegistrationState::Failed(_)));
    assert!(registration.poll_timeout().expect("another try") >= now + FIRST_WAIT / 2);
}

#[test]
fn challenges_are_answered_and_a_wrong_password_is_not_tried_for_ever() {
    let (now, mut registration) = started(600);
    let mut server = DigestServer::new([5; 32], now, seconds(60));
    let ask =
        |server: &mut DigestServer, at, stale| server.challenges(at, "carrier.example", stale).remove(0);
    let first = registration.poll(now).expect("due");
    assert_eq!(text(&first, HeaderName::Authorization), "");
    let challenge = ask(&mut server, now, false);
    registration.handle_response(
        now,
        &response(&first, 401, &[(HeaderName::WwwAuthenticate, &challenge)]),
    );
    let second = registration.poll(now).expect("at once");
    assert_eq!(number(&second), number(&first) + 1);
    let shown =
        |request: &Request| DigestCredentials::parse(text(request, HeaderName::Authorization).as_bytes());
    let credentials = shown(&second).expect("credentials");
    assert_eq!(
        server.verify(now, "REGISTER", &credentials, "open sesame"),
        DigestVerdict::Right
    );
    registration.handle_response(now, &response(&second, 200, &[]));
    // The refresh shows the same credentials, counted; the nonce has become old, and nobody says so.
    let due = registration.poll_timeout().expect("a refresh");
    let refresh = registration.poll(due).expect("due");
    assert!(text(&refresh, HeaderName::Authorization).contains("nc=00000002"));
    let challenge = ask(&mut server, due, false);
    registration.handle_response(
        due,
        &response(&refresh, 401, &[(HeaderName::WwwAuthenticate, &challenge)]),
    );
    let again = registration.poll(due).expect("at once");
    let credentials = shown(&again).expect("credentials");
    assert_eq!(
        server.verify(due, "REGISTER", &credentials, "open sesame"),
        DigestVerdict::Right
    );
    // The same question once more: the password is wrong.
    let challenge = ask(&mut server, due, false);
    registration.handle_response(
        due,
        &response(&again, 401, &[(HeaderName::WwwAuthenticate, &challenge)]),
    );
    let failed = RegistrationFailure::Refused(StatusCode::UNAUTHORIZED);
    assert_eq!(registration.state(due), RegistrationState::Failed(failed));
    assert!(registration.poll_timeout().expect("a try") >= due + REFUSED_WAIT / 2);
    // Stale nonces are answered, but not for ever.
    let mut at = registration.poll_timeout().expect("a try");
    let mut requests = 0;
    while let Some(request) = registration.poll(at) {
        requests += 1;
        assert!(requests < 10, "it asks for ever");
        let challenge = ask(&mut server, at, true);
        registration.handle_response(
            at,
            &response(&request, 401, &[(HeaderName::WwwAuthenticate, &challenge)]),
        );
        at += seconds(1);
    }
    assert_eq!(requests, 1 + MOST_ANSWERS);
}

#[test]
fn a_registrar_may_insist_on_a_longer_life_and_on_a_wait() {
    let (now, mut registration) = started(60);
    let request = registration.poll(now).expect("due");
    registration.handle_response(now, &response(&request, 423, &[(HeaderName::MinExpires, "900")]));
    let longer = registration.poll(now).expect("at once");
    assert_eq!(text(&longer, HeaderName::Expires), "900");
    // The same again makes no sense.
    registration.handle_response(now, &response(&longer, 423, &[(HeaderName::MinExpires, "900")]));
    assert!(registration.poll(now).is_none());
    let at = registration.poll_timeout().expect("another try");
    let request = registration.poll(at).expect("due");
    registration.handle_response(at, &response(&request, 503, &[(HeaderName::RetryAfter, "77")]));
    assert_eq!(registration.poll_timeout(), Some(at + seconds(77)));
    // Without a word the waits grow, within their bounds.
    let mut at = at + seconds(77);
    let mut before = Duration::ZERO;
    for _ in 0..12 {
        assert!(registration.poll(at).is_some());
        registration.handle_failure(at, RegistrationFailure::NoResponse);
        let wait = registration.poll_timeout().expect("another try") - at;
        assert!(wait >= before / 2 && wait <= LONGEST_WAIT, "{wait:?}");
        (before, at) = (wait, at + wait);
    }
    assert!(before >= LONGEST_WAIT / 2);
    assert!(registration.poll(at).is_some());
}

#[test]
fn it_is_taken_back_and_made_anew() {
    // Not registered yet: there is nothing to take back.
    let (now, mut registration) = started(600);
    registration.unregister(now);
    assert_eq!(
        (registration.state(now), registration.poll_timeout()),
        (RegistrationState::Gone, None)
    );
    // Under way: it is taken back when it has come about, with credentials where they are asked for.
    let (now, mut registration) = started(600);
    let request = registration.poll(now).expect("due");
    registration.unregister(now);
    assert!(registration.poll(now).is_none(), "one at a time");
    registration.handle_response(now, &response(&request, 200, &[]));
    let gone = registration.poll(now).expect("at once");
    assert_eq!(text(&gone, HeaderName::Expires), "0");
    let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
    registration.handle_response(
        now,
        &response(&gone, 401, &[(HeaderName::WwwAuthenticate, challenge)]),
    );
    let gone = registration.poll(now).expect("at once");
    assert_eq!(text(&gone, HeaderName::Expires), "0");
    registration.handle_response(now, &response(&gone, 200, &[]));
    assert_eq!(
        (registration.state(now), registration.poll_timeout()),
        (RegistrationState::Gone, None)
    );
    // Another address of this side.
    let (now, mut registration) = started(600);
    let request = registration.poll(now).expect("due");
    registration.handle_response(now, &response(&request, 200, &[]));
    assert!(registration.poll(now).is_none());
    registration.renew(now);
    assert!(registration.poll(now).is_some());
    // What was not refreshed in time is registered no more.
    registration.handle_failure(now, RegistrationFailure::NoResponse);
    assert!(matches!(
        registration.state(now),
        RegistrationState::Registered(_)
    ));
    assert_eq!(registration.state(now + seconds(600)), RegistrationState::Trying);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Answer(u16, Vec<(u8, String)>),
    Silence(bool),
    Renew,
    Unregister,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let headers = prop::collection::vec(
        (
            0..5u8,
            "[0-9]{0,12}|Digest realm=\"r\", nonce=\"[a-c]\"(, stale=true)?|\\PC{0,12}",
        ),
        0..4,
    );
    let status = prop_oneof![
        Just(200u16),
        Just(401),
        Just(407),
        Just(423),
        Just(503),
        100..700u16
    ];
    let step = prop_oneof![
        4 => (0..4000u64).prop_map(Step::Wait),
        6 => (status, headers).prop_map(|(status, headers)| Step::Answer(status, headers)),
        2 => any::<bool>().prop_map(Step::Silence),
        1 => Just(Step::Renew),
        1 => Just(Step::Unregister),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn whatever_is_answered_one_register_is_under_way_and_the_next_is_due_or_it_is_gone(steps in steps()) {
        let (mut now, mut registration) = started(300);
        let mut under_way: Option<Request> = None;
        let mut last = 0;
        let mut is_wanted = true;
        for step in steps {
            match step {
                Step::Wait(more) => now += seconds(more),
                Step::Answer(status, headers) => if let Some(request) = under_way.take() {
                    let names = [
                        HeaderName::Expires, HeaderName::MinExpires, HeaderName::RetryAfter,
                        HeaderName::WwwAuthenticate, HeaderName::Contact,
                    ];
                    let headers: Vec<(HeaderName, &str)> =
                        headers.iter().map(|(name, value)| (names[usize::from(*name)].clone(), value.as_str())).collect();
                    registration.handle_response(now, &response(&request, status, &headers));
                    if status < 200 {
                        under_way = Some(request);
                    }
                },
                Step::Silence(reached) => if under_way.take().is_some() {
                    let failure = if reached { RegistrationFailure::NoResponse } else { RegistrationFailure::Unreachable };
                    registration.handle_failure(now, failure);
                },
                Step::Renew => registration.renew(now),
                Step::Unregister => {
                    is_wanted = false;
                    registration.unregister(now);
                }
            }
            if let Some(request) = registration.poll(now) {
                prop_assert!(under_way.is_none(), "one at a time");
                prop_assert!(number(&request) > last || last == 0);
                prop_assert_eq!(text(&request, HeaderName::Expires) == "0", !is_wanted);
                last = number(&request);
                under_way = Some(request);
            }
            let due = registration.poll_timeout();
            let is_gone = registration.state(now) == RegistrationState::Gone;
            prop_assert!(!is_gone || !is_wanted);
            prop_assert_eq!(due.is_some(), under_way.is_none() && !is_gone, "{:?}", registration.state(now));
            if let Some(due) = due {
                prop_assert!(due > now && due <= now + seconds(LONGEST_EXPIRES_S.into()));
            }
        }
        // Nobody is left registered who takes it back and is answered.
        registration.unregister(now);
        for _ in 0..4 {
            let request = under_way.take().or_else(|| registration.poll(now));
            if let Some(request) = request {
                registration.handle_response(now, &response(&request, 200, &[]));
            }
        }
        prop_assert_eq!(registration.state(now), RegistrationState::Gone);
    }

    #[test]
    fn no_script_of_responses_breaks_a_promise(
        steps in prop::collection::vec(("[\\x00-\\x7f]", "\\PC{0,20}|[0-9]{1,10}|\\x03Digest realm=\"r\", nonce=\"n\""), 0..30)
    ) {
        let script: Vec<String> = steps.into_iter().map(|(kind, rest)| format!("{kind}{rest}")).collect();
        fuzz_registration(Instant::now(), script.join("\n").as_bytes());
    }
}
