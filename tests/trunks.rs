//! Calls to the world: gateways of trunks that take them, ask who calls, are away or have no room.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use confab_testkit::agent::{Callee, Incoming};
use confab_testkit::g711::Law;
use confab_testkit::peers::SippServer;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpAnswer, HttpClient, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);
const NUMBER: &str = "+49301234567";

/// A server, an operator, and the ready conference.
struct Site {
    server: Server,
    api: HttpClient,
    engine: RtpEngine,
    conference: String,
}

impl Site {
    fn with(settings: &[(&str, &str)]) -> Site {
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"));
        let server = builder.set_all(settings).start().expect("started");
        let conference = server.first_conference().expect("the API").id().to_owned();
        Site {
            api: server.api().expect("a login"),
            engine: RtpEngine::start(EngineConfig::default()).expect("an engine"),
            conference,
            server,
        }
    }

    fn start() -> Site {
        Site::with(&[])
    }

    /// Makes a document and returns its id.
    fn make(&self, collection: &str, data: Value) -> String {
        let path = format!("/{collection}");
        let answer = self.api.account("PUT", &path, Some(&json!({ "data": data })));
        let answer = answer.expect("answered");
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["data"]["id"].as_str().expect("an id").to_owned()
    }

    fn change(&self, path: &str, data: Value) {
        let answer = self.api.account("PATCH", path, Some(&json!({ "data": data })));
        assert_eq!(answer.expect("answered").status, 200);
    }

    /// Dials, beside the test; the answer comes with `join`.
    fn dial(&self, arguments: Value) -> std::thread::JoinHandle<HttpAnswer> {
        let api = self.api.clone();
        let path = format!("/conferences/{}", self.conference);
        let body = json!({"action": "dial", "data": {"data": arguments}});
        std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"))
    }

    fn metric(&self, name: &str) -> f64 {
        self.server
            .metrics()
            .expect("a page")
            .sum(name)
            .unwrap_or_default()
    }
}

/// What became of the only endpoint.
#[track_caller]
fn outcome(dial: std::thread::JoinHandle<HttpAnswer>) -> String {
    let answer = dial.join().expect("no panic");
    assert_eq!(answer.status, 202, "{}", answer.text());
    let entries = answer.json()["data"]["endpoint_responses"].take();
    assert_eq!(entries.as_array().map(Vec::len), Some(1), "{entries}");
    let word = match entries[0]["status"].as_str() {
        Some("success") => "success",
        _ => entries[0]["message"].as_str().expect("a message"),
    };
    word.to_owned()
}

fn gateway() -> Callee {
    Callee::new().expect("a gateway")
}

/// A gateway's place in a document.
fn at(address: SocketAddr, more: Value) -> Value {
    // SIPp knows no questions besides its scenario.
    let mut place = json!({"server": address.ip().to_string(), "port": address.port(), "ping_seconds": 0});
    let more = more.as_object().cloned().unwrap_or_default();
    place.as_object_mut().expect("an object").extend(more);
    place
}

#[track_caller]
fn rings(gateway: &Callee) -> Incoming {
    gateway.wait_call(SOON).expect("an INVITE")
}

/// The user of the request URI.
fn dialled(call: &Incoming) -> String {
    let uri = call.invite.start_line.split(' ').nth(1).expect("a URI");
    let user = uri.trim_start_matches("sip:").split('@').next();
    user.expect("a user").to_owned()
}

#[test]
fn a_number_goes_to_the_cheapest_trunk_that_takes_it_as_its_gateway_wants_it() {
    let _alone = exclusive();
    let site = Site::start();
    let (germany, world) = (gateway(), gateway());
    site.make(
        "resources",
        json!({"name": "Germany", "weight_cost": 10, "rules": ["^\\+49(\\d+)$"], "gateways": [at(germany.address(), json!({
            "prefix": "0", "suffix": "#", "codecs": ["PCMA"], "from_realm": "carrier.example",
            "custom_sip_headers": {"X-Customer": "4711", "From": "<sip:evil>"}
        }))]}),
    );
    site.make(
        "resources",
        json!({"name": "World", "weight_cost": 20, "gateways": [at(world.address(), json!({"invite_format": "strip_plus"}))]}),
    );
    let call =
        site.dial(json!({"endpoints": [NUMBER], "caller_id_number": "+4940555", "caller_id_name": "Board"}));
    let at_gateway = rings(&germany);
    assert_eq!(dialled(&at_gateway), "0301234567%23");
    let header = |name: &str| at_gateway.invite.header(name).unwrap_or_default().to_owned();
    assert!(
        header("From").contains("<sip:+4940555@carrier.example>"),
        "{}",
        header("From")
    );
    assert_eq!(
        header("P-Asserted-Identity"),
        "Board <sip:+4940555@carrier.example>"
    );
    assert_eq!(header("X-Customer"), "4711");
    let offer = at_gateway.offer().expect("an offer");
    let text = String::from_utf8_lossy(&at_gateway.invite.body).into_owned();
    assert!(text.contains(" RTP/AVP 8 ") && !text.contains("opus"), "{text}");
    assert!(offer.address.port() > 0);
    let _stream = at_gateway
        .join(&site.engine, Source::silence(Law::A))
        .expect("an ACK");
    assert_eq!(outcome(call), "success");
    at_gateway.hang_up().expect("answered");

    // Another country; and the dear one where the cheap one has no room.
    let call = site.dial(json!({"endpoints": ["4158867900"]}));
    let at_gateway = rings(&world);
    assert_eq!(dialled(&at_gateway), "14158867900");
    at_gateway.respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
    let call = site.dial(json!({"endpoints": [NUMBER]}));
    rings(&germany).respond(503, "Service Unavailable").expect("sent");
    let at_gateway = rings(&world);
    assert_eq!(dialled(&at_gateway), "49301234567");
    at_gateway.respond(404, "Not Found").expect("sent");
    assert_eq!(outcome(call), "UNALLOCATED_NUMBER");
    assert_eq!((germany.calls(), world.calls()), (2, 2));
}

#[test]
fn sipp_asks_who_calls_and_believes_the_answer() {
    let _alone = exclusive();
    let site = Site::start();
    for (realm, word) in [
        ("carrier.example", "USER_BUSY"),
        ("other.example", "CALL_REJECTED"),
    ] {
        let settings = [
            ("REALM", "carrier.example"),
            ("USERNAME", "confab"),
            ("PASSWORD", "secret-word"),
        ];
        let (scenario, settings) = match word {
            "USER_BUSY" => ("tests/sipp/uas_digest.xml", &settings[..]),
            _ => ("tests/sipp/uas_refuse_401.xml", &settings[..1]),
        };
        let peer = SippServer::start(scenario, 1, settings).expect("SIPp");
        let uri = peer.uri("x");
        let address: SocketAddr = uri.trim_start_matches("sip:x@").parse().expect("an address");
        let id = site.make(
            "resources",
            json!({"name": "Carrier", "gateways": [at(address, json!({
                "username": "confab", "password": "secret-word", "realm": realm
            }))]}),
        );
        assert_eq!(
            outcome(site.dial(json!({"endpoints": [NUMBER]}))),
            word,
            "{realm}"
        );
        peer.finish().expect("ended").assert_all(1);
        let gone = site.api.account("DELETE", &format!("/resources/{id}"), None);
        assert_eq!(gone.expect("answered").status, 200);
    }
}

#[test]
fn who_is_away_or_has_no_room_is_passed_over_and_who_refuses_is_not() {
    let _alone = exclusive();
    let site = Site::start();
    let (first, second) = (gateway(), gateway());
    let trunk = site.make(
        "resources",
        json!({"name": "Carrier", "gateways": [at(first.address(), json!({})), at(second.address(), json!({}))]}),
    );
    // What is the number's own fault stays where it is.
    for (status, word) in [
        (486, "USER_BUSY"),
        (603, "CALL_REJECTED"),
        (404, "UNALLOCATED_NUMBER"),
        (480, "SUBSCRIBER_ABSENT"),
    ] {
        let call = site.dial(json!({"endpoints": [NUMBER]}));
        rings(&first).respond(status, "No").expect("sent");
        assert_eq!(outcome(call), word);
    }
    assert_eq!((first.calls(), second.calls()), (4, 0));
    // Faults of its own lead on; after 503 alone it is tried last for a while.
    for status in [408, 500, 502, 504] {
        let call = site.dial(json!({"endpoints": [NUMBER]}));
        rings(&first).respond(status, "No").expect("sent");
        rings(&second).respond(486, "Busy Here").expect("sent");
        assert_eq!(outcome(call), "USER_BUSY", "{status}");
    }
    assert_eq!(
        (
            site.metric("confab_trunk_failovers_total"),
            site.metric("confab_trunk_gateways_away")
        ),
        (4.0, 0.0)
    );
    // Where a phone has rung, its outcome stands.
    let call = site.dial(json!({"endpoints": [NUMBER]}));
    let at_first = rings(&first);
    at_first.respond(180, "Ringing").expect("sent");
    std::thread::sleep(Duration::from_millis(200));
    at_first.respond(408, "Request Timeout").expect("sent");
    assert_eq!(outcome(call), "NO_USER_RESPONSE");
    assert_eq!(second.calls(), 4);
    let call = site.dial(json!({"endpoints": [NUMBER]}));
    rings(&first)
        .respond_with(503, "Service Unavailable", &[("Retry-After", "2")])
        .expect("sent");
    rings(&second).respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
    assert_eq!(site.metric("confab_trunk_gateways_away"), 1.0);
    let call = site.dial(json!({"endpoints": [NUMBER]}));
    rings(&second).respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
    std::thread::sleep(Duration::from_secs(2));
    let call = site.dial(json!({"endpoints": [NUMBER]}));
    rings(&first).respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
    // When all have no room, all are asked all the same.
    let call = site.dial(json!({"endpoints": [NUMBER]}));
    for gateway in [&first, &second] {
        rings(gateway).respond(503, "Service Unavailable").expect("sent");
    }
    assert_eq!(outcome(call), "NORMAL_TEMPORARY_FAILURE");
    let call = site.dial(json!({"endpoints": [NUMBER]}));
    rings(&first).respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");

    // Who says nothing has five seconds; nobody at all is noticed at once, by the network.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .expect("a socket")
        .local_addr()
        .expect("bound");
    for (away, at_most) in [(silent.local_addr().expect("bound"), 7.0), (nobody, 7.0)] {
        let gateways = json!([at(away, json!({})), at(second.address(), json!({}))]);
        site.change(&format!("/resources/{trunk}"), json!({ "gateways": gateways }));
        let began = Instant::now();
        let call = site.dial(json!({"endpoints": [NUMBER]}));
        let at_second = second.wait_call(2 * SOON).expect("an INVITE");
        let took = began.elapsed().as_secs_f64();
        assert!(took < at_most, "{took:.1} s");
        let _stream = at_second
            .join(&site.engine, Source::silence(Law::Mu))
            .expect("an ACK");
        assert_eq!(outcome(call), "success");
        at_second.hang_up().expect("answered");
    }
}

#[test]
fn a_forwarded_call_goes_out_and_shows_what_it_may() {
    let _alone = exclusive();
    let site = Site::start();
    let carrier = gateway();
    site.make(
        "resources",
        json!({"name": "Carrier", "gateways": [at(carrier.address(), json!({"from_realm": "c.example"}))]}),
    );
    let forwarding = |keep: bool, privacy: &str| {
        json!({"name": "Desk", "caller_id": {"external": {"name": "Desk", "number": "+4940777"}},
            "caller_id_options": {"outbound_privacy": privacy},
            "call_forward": {"enabled": true, "number": NUMBER, "require_keypress": false, "keep_caller_id": keep}})
    };
    let nobody = "<sip:anonymous@anonymous.invalid>";
    let own = "<sip:+4940555@c.example>";
    for (device, from, asserted, is_private) in [
        (
            forwarding(true, "full"),
            own.to_owned(),
            format!("Board {own}"),
            false,
        ),
        (
            forwarding(false, "none"),
            "<sip:+4940777@c.example>".to_owned(),
            "Desk <sip:+4940777@c.example>".to_owned(),
            false,
        ),
        (
            forwarding(false, "full"),
            nobody.to_owned(),
            "<sip:+4940777@c.example>".to_owned(),
            true,
        ),
    ] {
        let call = site
            .dial(json!({"endpoints": [device], "caller_id_number": "+4940555", "caller_id_name": "Board"}));
        let at_carrier = rings(&carrier);
        assert_eq!(dialled(&at_carrier), NUMBER);
        let header = |name: &str| at_carrier.invite.header(name).unwrap_or_default().to_owned();
        assert!(header("From").contains(&from), "{}", header("From"));
        assert_eq!(header("P-Asserted-Identity"), asserted);
        assert_eq!(header("Privacy") == "id", is_private);
        let _stream = at_carrier
            .join(&site.engine, Source::silence(Law::Mu))
            .expect("an ACK");
        assert_eq!(outcome(call), "success");
        at_carrier.hang_up().expect("answered");
    }
    // The account holds its own number back.
    site.change("", json!({"caller_id_options": {"outbound_privacy": "number"}}));
    let call =
        site.dial(json!({"endpoints": [NUMBER], "caller_id_number": "+4940555", "caller_id_name": "Board"}));
    let at_carrier = rings(&carrier);
    let from = at_carrier.invite.header("From").expect("From").to_owned();
    assert!(from.contains("Board") && from.contains(nobody), "{from}");
    assert_eq!(at_carrier.invite.header("Privacy"), Some("id"));
    at_carrier.respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
}

#[test]
fn the_brake_holds_whatever_a_trunk_makes_of_a_number() {
    let _alone = exclusive();
    let site = Site::with(&[
        ("outbound.allow", "[\"+49\", \"+1\"]"),
        ("outbound.deny", "[\"+4990\", \"+1900\"]"),
        ("outbound.per_minute", "2"),
    ]);
    let carrier = gateway();
    let place = |more| at(carrier.address(), more);
    site.make(
        "resources",
        json!({"name": "Carrier", "gateways": [place(json!({}))]}),
    );
    site.make(
        "resources",
        json!({"name": "Way around", "rules": ["^\\+4930(\\d+)$"], "gateways": [place(json!({"prefix": "+1900"}))]}),
    );
    for barred in ["+33123456789", "+4990012345", "004990012345", "9005551234"] {
        assert_eq!(
            outcome(site.dial(json!({"endpoints": [barred]}))),
            "OUTGOING_CALL_BARRED",
            "{barred}"
        );
    }
    assert_eq!(carrier.calls(), 0);
    for _ in 0..2 {
        let call = site.dial(json!({"endpoints": ["+49305551234"]}));
        let at_carrier = rings(&carrier);
        assert_eq!(dialled(&at_carrier), "+49305551234", "not by the prefix");
        at_carrier.respond(486, "Busy Here").expect("sent");
        assert_eq!(outcome(call), "USER_BUSY");
    }
    assert_eq!(
        outcome(site.dial(json!({"endpoints": [NUMBER]}))),
        "SWITCH_CONGESTION"
    );
    // Accounts below have no trunk, unless one says that it is theirs too.
    let child = site
        .api
        .request("PUT", "/v2/accounts", Some(&json!({"data": {"name": "Child"}})));
    let child = child.expect("answered").json()["data"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let ask = || {
        let path = format!("/v2/accounts/{child}/conferences/room");
        let body = json!({"action": "dial", "data": {"data": {"endpoints": [NUMBER]}}});
        let api = site.api.clone();
        std::thread::spawn(move || api.request("PUT", &path, Some(&body)).expect("answered"))
    };
    assert_eq!(outcome(ask()), "UNALLOCATED_NUMBER");
    site.make(
        "resources",
        json!({"name": "For all", "include_subaccounts": true, "gateways": [place(json!({"invite_format": "npan"}))]}),
    );
    let call = ask();
    rings(&carrier).respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
}

#[test]
fn an_emergency_goes_by_its_trunk_first_and_shows_its_own_caller_id() {
    let _alone = exclusive();
    let site = Site::with(&[("outbound.emergency", "[\"112\", \"110\"]")]);
    let (cheap, rescue) = (gateway(), gateway());
    site.make(
        "resources",
        json!({"name": "Cheap", "weight_cost": 1, "rules": ["^112$", "^\\+49"], "gateways": [at(cheap.address(), json!({}))]}),
    );
    site.make(
        "resources",
        json!({"name": "Rescue", "weight_cost": 90, "emergency": true,
            "gateways": [at(rescue.address(), json!({"from_realm": "c.example"}))]}),
    );
    site.change(
        "",
        json!({"caller_id": {"emergency": {"name": "Main Street 1", "number": "+4930999"}},
            "caller_id_options": {"outbound_privacy": "full"}}),
    );
    let call =
        site.dial(json!({"endpoints": ["112"], "caller_id_number": "+4940555", "outbound_flags": ["x"]}));
    let at_rescue = rings(&rescue);
    assert_eq!(dialled(&at_rescue), "112");
    let header = |name: &str| at_rescue.invite.header(name).unwrap_or_default().to_owned();
    assert!(
        header("From").contains("<sip:+4930999@c.example>"),
        "{}",
        header("From")
    );
    assert_eq!(
        header("P-Asserted-Identity"),
        "\"Main Street 1\" <sip:+4930999@c.example>"
    );
    assert_eq!(header("Privacy"), "");
    // It does not fail for want of that trunk.
    at_rescue.respond(503, "Service Unavailable").expect("sent");
    let at_cheap = rings(&cheap);
    assert_eq!(dialled(&at_cheap), "112");
    at_cheap.respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
    // Only this trunk takes that number; and nothing else.
    let call = site.dial(json!({"endpoints": ["110"]}));
    rings(&rescue).respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(call), "USER_BUSY");
    let call = site.dial(json!({"endpoints": ["4158867900"]}));
    assert_eq!(outcome(call), "NO_ROUTE_DESTINATION");
    assert_eq!((cheap.calls(), rescue.calls()), (1, 2));
}

#[test]
fn a_call_with_tags_goes_by_trunks_that_have_them() {
    let _alone = exclusive();
    let site = Site::start();
    let (plain, fax, both) = (gateway(), gateway(), gateway());
    for (cost, gateway, flags) in [
        (1, &plain, json!([])),
        (2, &fax, json!(["fax"])),
        (3, &both, json!(["fax", "secure"])),
    ] {
        site.make(
            "resources",
            json!({"name": "T", "weight_cost": cost, "flags": flags, "gateways": [at(gateway.address(), json!({}))]}),
        );
    }
    let refused_by = |gateway: &Callee, arguments: Value| {
        let call = site.dial(arguments);
        rings(gateway).respond(486, "Busy Here").expect("sent");
        assert_eq!(outcome(call), "USER_BUSY");
    };
    refused_by(&plain, json!({"endpoints": [NUMBER]}));
    refused_by(&fax, json!({"endpoints": [NUMBER], "outbound_flags": ["fax"]}));
    refused_by(
        &both,
        json!({"endpoints": [NUMBER], "outbound_flags": ["secure", "fax"]}),
    );
    let nobody = site.dial(json!({"endpoints": [NUMBER], "outbound_flags": ["none"]}));
    assert_eq!(outcome(nobody), "NO_ROUTE_DESTINATION");
    // Whoever forwards, and the account, ask for some as well.
    let desk = json!({"name": "Desk", "outbound_flags": {"static": ["secure"]},
        "call_forward": {"enabled": true, "number": NUMBER, "require_keypress": false}});
    refused_by(&both, json!({"endpoints": [desk]}));
    site.change("", json!({"outbound_flags": ["fax"]}));
    refused_by(&fax, json!({"endpoints": [NUMBER]}));
    assert_eq!((plain.calls(), fax.calls(), both.calls()), (1, 2, 2));
}

#[test]
fn a_profile_says_who_is_shown_as_calling() {
    let _alone = exclusive();
    let site = Site::start();
    let bob = gateway();
    let from = |arguments: Value| {
        let mut all = json!({"endpoints": [bob.uri("bob")]});
        let more = arguments.as_object().cloned().unwrap_or_default();
        all.as_object_mut().expect("an object").extend(more);
        let call = site.dial(all);
        let ringing = rings(&bob);
        ringing.respond(486, "Busy Here").expect("sent");
        assert_eq!(outcome(call), "USER_BUSY");
        ringing.invite.header("From").expect("a From").to_owned()
    };
    let path = format!("/conferences/{}", site.conference);
    site.change(
        &path,
        json!({"profile": {"caller-id-name": "Town Hall", "caller-id-number": "+4930100"}}),
    );
    let shown = from(json!({}));
    assert!(
        shown.contains("Town Hall") && shown.contains("<sip:+4930100@"),
        "{shown}"
    );
    let shown = from(json!({"caller_id_name": "Board"}));
    assert!(
        shown.contains("Board") && shown.contains("<sip:+4930100@"),
        "{shown}"
    );
    // A profile of the account; what it leaves out is the conference's.
    let profiles = json!({"data": {"profiles": {"hall": {"caller-id-name": "Hall"}}}});
    let stored = site.api.account("PATCH", "/configs/conferences", Some(&profiles));
    assert_eq!(stored.expect("answered").status, 200);
    site.change(&path, json!({"profile": null, "profile_name": "hall"}));
    let shown = from(json!({}));
    assert!(shown.contains("Hall") && shown.contains("<sip:3000@"), "{shown}");
    let bad = json!({"data": {"profile": {"caller-id-name": "a\r\nb"}}});
    let refused = site.api.account("PATCH", &path, Some(&bad)).expect("answered");
    assert_eq!(refused.status, 400, "{}", refused.text());
}
