//! Calls that come in by trunks: they need no credentials, have the number that the trunk asserts, and do not suffer for each other.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Call, Callee, Invite, Joining, Participant, Phone, digest};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);
/// Longer than a change of documents takes to be seen.
const SEEN: Duration = Duration::from_millis(2500);
const CARRIER: [u8; 4] = [127, 0, 0, 102];
const STRANGER: [u8; 4] = [127, 0, 0, 103];

struct Site {
    server: Server,
    api: HttpClient,
    engine: RtpEngine,
}

impl Site {
    fn with(settings: &[(&str, &str)]) -> Site {
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"));
        let server = builder.set_all(settings).start().expect("started");
        Site {
            api: server.api().expect("a login"),
            engine: RtpEngine::start(EngineConfig::default()).expect("an engine"),
            server,
        }
    }

    /// Makes a document in an account and returns its id.
    fn make_in(&self, account: &str, collection: &str, data: Value) -> String {
        let path = format!("/v2/accounts/{account}/{collection}");
        let answer = self.api.request("PUT", &path, Some(&json!({ "data": data })));
        let answer = answer.expect("answered");
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["data"]["id"].as_str().expect("an id").to_owned()
    }

    fn make(&self, collection: &str, data: Value) -> String {
        self.make_in(self.api.account_id(), collection, data)
    }

    /// Makes an account below the first one.
    fn child(&self, name: &str) -> String {
        let made = self
            .api
            .request("PUT", "/v2/accounts", Some(&json!({"data": {"name": name}})));
        let made = made.expect("answered").json();
        made["data"]["id"].as_str().expect("an id").to_owned()
    }

    fn phone(&self, at: [u8; 4]) -> Phone {
        Phone::udp_from(self.server.sip, IpAddr::from(at)).expect("a phone")
    }

    fn participants(&self, account: &str, conference: &str) -> Vec<Value> {
        let path = format!("/v2/accounts/{account}/conferences/{conference}/participants");
        let answer = self.api.request("GET", &path, None).expect("answered");
        answer.json()["data"].as_array().cloned().unwrap_or_default()
    }
}

/// Calls a number with further header fields; nothing is sent or heard.
fn call(phone: &Phone, number: &str, headers: &[(&str, &str)]) -> (Call, u16) {
    let media = SocketAddr::new(phone.local_addr().ip(), 40_000);
    let invite = Invite::to(number, &AudioOffer::new(media)).caller("1001", "Ann");
    let invite = headers
        .iter()
        .fold(invite, |invite, (name, value)| invite.header(name, value));
    let call = phone.invite(invite).expect("sent");
    let answer = call.wait_final(SOON).expect("an answer");
    let status = answer.status().expect("a status");
    if status == 200 {
        call.ack(None).expect("sent");
    }
    (call, status)
}

#[track_caller]
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_calls_by_a_trunk_needs_no_credentials_and_is_whom_it_asserts() {
    let _alone = exclusive();
    let site = Site::with(&[("sip.anonymous_dial_in", "false")]);
    let own = site.api.account_id().to_owned();
    let conference = site.server.first_conference().expect("the API").id().to_owned();
    let (carrier, stranger) = (site.phone(CARRIER), site.phone(STRANGER));
    assert_eq!(call(&carrier, "3000", &[]).1, 401);
    let trunk = site.make(
        "resources",
        json!({"name": "Carrier", "gateways": [{"server": "127.0.0.102"}]}),
    );
    thread::sleep(SEEN);
    for (headers, name, number) in [
        (&[][..], "Ann", "1001"),
        (
            &[(
                "P-Asserted-Identity",
                "\"Eve\" <sip:+49301234567@carrier.example>",
            )],
            "Eve",
            "+49301234567",
        ),
        (
            &[("P-Asserted-Identity", "<tel:+49301234567>")],
            "+49301234567",
            "+49301234567",
        ),
        (
            &[("P-Asserted-Identity", "<tel:+49301234567>"), ("Privacy", "id")],
            "Ann",
            "1001",
        ),
    ] {
        let (leg, status) = call(&carrier, "3000", headers);
        assert_eq!(status, 200, "{headers:?}");
        let he = until("he is listed", || site.participants(&own, &conference).pop());
        assert_eq!(
            (&he["caller_id_name"], &he["caller_id_number"]),
            (&json!(name), &json!(number))
        );
        let vars = &he["custom_channel_vars"];
        assert_eq!(
            (&vars["authorizing_id"], &vars["authorizing_type"]),
            (&json!(trunk), &json!("resource"))
        );
        leg.bye(SOON).expect("answered");
        until("he is gone", || {
            site.participants(&own, &conference).is_empty().then_some(())
        });
    }
    // Another word of its document changes nothing about where it is.
    let gateways = json!([{"server": "127.0.0.102", "prefix": "9"}]);
    let changed = json!({"data": {"gateways": gateways}});
    let path = format!("/resources/{trunk}");
    let changed = site.api.account("PATCH", &path, Some(&changed));
    assert_eq!(changed.expect("answered").status, 200);
    thread::sleep(SEEN);
    // A conference's id as well, but no number that nobody has, and strangers are still asked.
    let (leg, status) = call(&carrier, &conference, &[]);
    assert_eq!(status, 200);
    leg.bye(SOON).expect("answered");
    assert_eq!(call(&carrier, "99999", &[]).1, 404);
    assert_eq!(
        call(
            &stranger,
            "3000",
            &[("P-Asserted-Identity", "<tel:+49301234567>")]
        )
        .1,
        401
    );
    let gone = site.api.account("DELETE", &path, None);
    assert_eq!(gone.expect("answered").status, 200);
    thread::sleep(SEEN);
    assert_eq!(call(&carrier, "3000", &[]).1, 401, "it is no trunk any more");
}

#[test]
fn a_trunk_names_the_account_of_a_call_and_takes_no_others() {
    let _alone = exclusive();
    let site = Site::with(&[]);
    let own = site.api.account_id().to_owned();
    let (one, other) = (site.child("One"), site.child("Other"));
    let numbers = |numbers: &[&str]| json!({"name": "Room", "conference_numbers": numbers, "member": {"join_muted": false}});
    let ones = site.make_in(&one, "conferences", numbers(&["3000", "4000", "5000"]));
    let others = site.make_in(&other, "conferences", numbers(&["5000"]));
    let first = site.server.first_conference().expect("the API").id().to_owned();
    let (carrier, stranger) = (site.phone(CARRIER), site.phone(STRANGER));
    assert_eq!(call(&carrier, "4000", &[]).1, 404);
    let gateways = json!([{"server": "127.0.0.102"}]);
    let trunk = json!({"name": "Carrier", "gateways": gateways});
    site.make_in(&one, "resources", trunk.clone());
    thread::sleep(SEEN);
    let reaches = |phone: &Phone, number: &str, account: &str, conference: &str| {
        let (leg, status) = call(phone, number, &[]);
        assert_eq!(status, 200, "{number}");
        until("he is listed", || site.participants(account, conference).pop());
        leg.bye(SOON).expect("answered");
        until("he is gone", || {
            site.participants(account, conference).is_empty().then_some(())
        });
    };
    reaches(&carrier, "4000", &one, &ones);
    // Whoever has the address keeps its numbers, and nobody else gets in by the trunk.
    reaches(&carrier, "3000", &own, &first);
    assert_eq!(call(&stranger, "4000", &[]).1, 404);
    // Two that claim one address: neither is believed.
    site.make_in(&other, "resources", trunk);
    thread::sleep(SEEN);
    for number in ["4000", "5000"] {
        assert_eq!(call(&carrier, number, &[]).1, 404, "{number}");
    }
    assert!(site.participants(&other, &others).is_empty());
}

/// Types a wrong PIN until the call is ended or it was typed `times` times.
fn guesses(caller: &Participant, times: usize) {
    for _ in 0..times {
        if caller.call.ended_by_server() {
            break;
        }
        caller.types("9999#").expect("sent");
        thread::sleep(Duration::from_millis(900));
    }
}

#[test]
fn callers_behind_a_trunk_guess_for_themselves() {
    let _alone = exclusive();
    let site = Site::with(&[("pin_guard.source_tries", "3")]);
    let own = site.api.account_id().to_owned();
    let room = site.make(
        "conferences",
        json!({"name": "Secret", "conference_numbers": ["7000"], "play_welcome": false,
            "member": {"pins": ["4711"], "join_muted": false}}),
    );
    site.make(
        "resources",
        json!({"name": "Carrier", "gateways": [{"server": "127.0.0.102"}]}),
    );
    thread::sleep(SEEN);
    let carrier = site.phone(CARRIER);
    let calls = |number: &str| {
        let joining = Joining::default().sends(Source::silence(Law::Mu)).caller(number);
        joining.join(&carrier, &site.engine, "7000").expect("answered")
    };
    let guesser = calls("+49301111111");
    guesses(&guesser, 3);
    until("he is turned away", || {
        guesser.call.ended_by_server().then_some(())
    });
    // The same number is refused, though it knows the PIN now; another one is not.
    let again = calls("+49301111111");
    thread::sleep(Duration::from_millis(300));
    let _ = again.types("4711#");
    until("he is refused", || again.call.ended_by_server().then_some(()));
    assert!(site.participants(&own, &room).is_empty());
    let other = calls("+49302222222");
    thread::sleep(Duration::from_millis(300));
    other.types("4711#").expect("sent");
    until("he is let in", || site.participants(&own, &room).pop());
    other.leave().expect("left");
}

#[test]
fn a_call_lasts_as_long_as_its_account_lets_it() {
    let _alone = exclusive();
    let site = Site::with(&[]);
    let change = |data: Value| {
        let answer = site.api.account("PATCH", "", Some(&json!({ "data": data })));
        answer.expect("answered").status
    };
    assert_eq!(change(json!({"max_call_duration": 0})), 400);
    assert_eq!(change(json!({"max_call_duration": 2})), 200);
    let phone = site.phone(STRANGER);
    let callee = Callee::new().expect("a phone");
    let began = Instant::now();
    let (leg, status) = call(&phone, "3000", &[]);
    assert_eq!(status, 200);
    let conference = site.server.first_conference().expect("the API").id().to_owned();
    let (api, path) = (site.api.clone(), format!("/conferences/{conference}"));
    let body = json!({"action": "dial", "data": {"data": {"endpoints": [callee.uri("bob")]}}});
    let dial = thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered").status);
    let called = callee.wait_call(SOON).expect("an INVITE");
    let _stream = called
        .join(&site.engine, Source::silence(Law::Mu))
        .expect("an ACK");
    assert_eq!(dial.join().expect("no panic"), 202);
    let (at, bye) = leg.wait_request("BYE", SOON).expect("a BYE");
    let lasted = at.duration_since(began).as_secs_f64();
    assert!((1.8..3.5).contains(&lasted), "{lasted:.1} s");
    assert!(
        bye.header("Reason")
            .is_some_and(|why| why.contains("maximum call duration"))
    );
    called.wait_request("BYE", SOON).expect("a BYE");
}

#[test]
fn a_tenant_who_names_the_address_of_others_phones_does_not_keep_them_out() {
    let _alone = exclusive();
    let site = Site::with(&[("sip.anonymous_dial_in", "false")]);
    site.make(
        "devices",
        json!({"name": "Carol", "sip": {"username": "carol", "password": "open-sesame"}}),
    );
    let phone = site.phone(STRANGER);
    let media = SocketAddr::new(phone.local_addr().ip(), 40_000);
    let invite = Invite::to("3000", &AudioOffer::new(media)).caller("carol", "Carol");
    let asked = || {
        let call = phone.invite(invite.clone()).expect("sent");
        call.wait_final(SOON).expect("an answer")
    };
    assert_eq!(asked().status(), Some(401));
    let tenant = site.child("Greedy");
    site.make_in(
        &tenant,
        "resources",
        json!({"name": "All mine", "gateways": [{"server": "127.0.0.103"}]}),
    );
    thread::sleep(SEEN);
    let challenge = asked();
    assert_eq!(challenge.status(), Some(401), "it is still asked who it is");
    let uri = format!("sip:3000@{}", site.server.sip);
    let shown = digest::answer(&challenge, "INVITE", &uri, "carol", "open-sesame").expect("a challenge");
    let call = phone
        .invite(invite.header("Authorization", &shown))
        .expect("sent");
    assert_eq!(call.wait_final(SOON).expect("an answer").status(), Some(200));
    call.ack(None).expect("sent");
    call.bye(SOON).expect("left");
}
