//! A phone sends a call that is placed to it on to the world (3xx): by the account's trunks, within `[outbound]`, and only a phone that has
//! registered.

use std::time::Duration;

use confab_testkit::agent::{Callee, Device};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpAnswer, HttpClient, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);
const REALM: &str = "phones.example";
const NUMBER: &str = "+49301234567";

struct Site {
    server: Server,
    api: HttpClient,
    conference: String,
    /// A device, which is registered.
    ann: String,
    phone: Callee,
    _kept: Device,
    /// The trunk's gateways.
    gateways: [Callee; 2],
}

impl Site {
    fn with(settings: &[(&str, &str)]) -> Site {
        let realm = format!("\"{REALM}\"");
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab")).set("bootstrap.realm", &realm);
        let server = builder.set_all(settings).start().expect("started");
        let api = server.api().expect("a login");
        let make = |collection: &str, data: Value| {
            let answer = api.account("PUT", &format!("/{collection}"), Some(&json!({ "data": data })));
            let answer = answer.expect("answered");
            assert_eq!(answer.status, 201, "{}", answer.text());
            answer.json()["data"]["id"].as_str().expect("an id").to_owned()
        };
        let ann = make(
            "devices",
            json!({"name": "ann", "sip": {"username": "ann", "password": "open-sesame"}}),
        );
        let gateways = [0, 1].map(|_| Callee::new().expect("a gateway"));
        for (weight, gateway) in gateways.iter().enumerate() {
            let address = gateway.address();
            let at = json!({"server": address.ip().to_string(), "port": address.port(), "ping_seconds": 0});
            make(
                "resources",
                json!({"name": format!("Carrier {weight}"), "weight_cost": 10 + weight, "gateways": [at],
                       "rules": ["^(\\+49\\d+)$"]}),
            );
        }
        let phone = Callee::new().expect("a phone");
        let mut kept = Device::new(server.sip, REALM, "ann", "open-sesame").expect("a socket");
        let answer = kept.register(&format!("<{}>", phone.uri("ann")), 120);
        assert_eq!(answer.expect("answered").status(), Some(200));
        Site {
            conference: server.first_conference().expect("the API").id().to_owned(),
            server,
            api,
            ann,
            phone,
            _kept: kept,
            gateways,
        }
    }

    /// Dials, beside the test; the answer comes with `join`.
    fn dial(&self, endpoint: &str) -> std::thread::JoinHandle<HttpAnswer> {
        let api = self.api.clone();
        let path = format!("/conferences/{}", self.conference);
        let body = json!({"action": "dial", "data": {"data": {"endpoints": [endpoint], "timeout": 20}}});
        std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"))
    }

    /// The phone takes its call, and sends it on.
    fn sends_on(&self, to: &str) {
        let call = self.phone.wait_call(SOON).expect("an INVITE");
        call.respond_with(302, "Moved Temporarily", &[("Contact", to)])
            .expect("sent");
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        self.server
            .wait_idle(Duration::from_secs(10))
            .unwrap_or_else(|left| panic!("{left}"));
    }
}

/// The only entry of a dial's answer.
#[track_caller]
fn entry(dial: std::thread::JoinHandle<HttpAnswer>) -> Value {
    let answer = dial.join().expect("no panic");
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["data"]["endpoint_responses"][0].take()
}

#[test]
fn a_registered_phone_sends_its_call_to_a_number_of_the_world() {
    let _alone = exclusive();
    let site = Site::with(&[]);
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let dial = site.dial(&site.ann);
    // What cannot be read is passed over.
    site.sends_on(&format!("<sip:, <sip:{NUMBER}@{REALM}>"));
    let first = site.gateways[0].wait_call(SOON).expect("an INVITE");
    assert!(
        first
            .invite
            .start_line
            .starts_with(&format!("INVITE sip:{NUMBER}@"))
    );
    // As any call by a trunk it goes to the next gateway where one has no room.
    first.respond(503, "Service Unavailable").expect("sent");
    let second = site.gateways[1].wait_call(SOON).expect("an INVITE");
    let _stream = second
        .join(&engine, Source::tone(Law::Mu, 500.0, -26.0))
        .expect("an ACK");
    let entry = entry(dial);
    assert_eq!(entry["status"], "success", "{entry}");
    let path = format!("/conferences/{}/participants", site.conference);
    let listed = site.api.account("GET", &path, None).expect("answered").json()["data"].take();
    assert_eq!(listed[0]["caller_id_number"], NUMBER, "{listed}");
    assert!(
        listed[0]["custom_channel_vars"]["resource_id"].is_string(),
        "{listed}"
    );
    second.hang_up().expect("answered");
    site.nothing_is_left();
}

#[test]
fn the_brake_holds_and_who_has_not_registered_sends_no_call_anywhere() {
    let _alone = exclusive();
    let site = Site::with(&[("outbound.deny", "[\"+4930\"]")]);
    let dial = site.dial(&site.ann);
    site.sends_on(&format!("<sip:{NUMBER}@{REALM}>"));
    assert_eq!(entry(dial)["message"], "REDIRECTION_TO_NEW_DESTINATION");
    // A number that is allowed, by whom nobody knows: the very phone, but called by a URI that the API names.
    let dial = site.dial(&site.phone.uri("eve"));
    site.sends_on(&format!("<sip:+49891234567@{REALM}>"));
    assert_eq!(entry(dial)["message"], "REDIRECTION_TO_NEW_DESTINATION");
    assert_eq!(site.gateways.iter().map(Callee::calls).sum::<usize>(), 0);
    // It is not that no gateway would have taken it.
    let dial = site.dial(&site.ann);
    site.sends_on(&format!("<sip:+49891234567@{REALM}>"));
    let call = site.gateways[0].wait_call(SOON).expect("an INVITE");
    call.respond(486, "Busy Here").expect("sent");
    assert_eq!(entry(dial)["message"], "USER_BUSY");
    site.nothing_is_left();
}
