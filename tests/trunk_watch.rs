//! What this server does of its own accord for trunks: it registers with gateways and asks whether they are there.

use std::thread;
use std::time::{Duration, Instant};

use confab_testkit::agent::Callee;
use confab_testkit::peers::SippServer;
use confab_testkit::server::{HttpAnswer, HttpClient, Metrics, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn start() -> (Server, HttpClient) {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    (server, api)
}

fn make(api: &HttpClient, collection: &str, data: Value) -> String {
    make_in(api, api.account_id(), collection, data)
}

/// Makes a document in an account and returns its id.
fn make_in(api: &HttpClient, account: &str, collection: &str, data: Value) -> String {
    let path = format!("/v2/accounts/{account}/{collection}");
    let answer = api.request("PUT", &path, Some(&json!({ "data": data })));
    let answer = answer.expect("answered");
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["data"]["id"].as_str().expect("an id").to_owned()
}

/// Makes an account below the first one.
fn child(api: &HttpClient, name: &str) -> String {
    let made = api.request("PUT", "/v2/accounts", Some(&json!({"data": {"name": name}})));
    made.expect("answered").json()["data"]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn dial(api: &HttpClient, conference: &str, endpoint: &str) -> thread::JoinHandle<HttpAnswer> {
    let (api, path) = (api.clone(), format!("/conferences/{conference}"));
    let body = json!({"action": "dial", "data": {"data": {"endpoints": [endpoint]}}});
    thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"))
}

fn message(dial: thread::JoinHandle<HttpAnswer>) -> (String, String) {
    let entry = dial.join().expect("no panic").json()["data"]["endpoint_responses"][0].take();
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
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

fn registrations(metrics: &Metrics, state: &str) -> f64 {
    metrics.labelled("confab_trunk_registrations", "state", state)
}

#[test]
fn sipp_is_registered_with_as_it_wants_and_left_at_the_end() {
    let _alone = exclusive();
    let (mut server, api) = start();
    let settings = [("USERNAME", "trunk"), ("PASSWORD", "open-sesame")];
    let registrar = SippServer::start("tests/sipp/uas_registrar.xml", 1, &settings).expect("SIPp");
    let uri = registrar.uri("x");
    let (host, port) = uri.trim_start_matches("sip:x@").split_once(':').expect("a port");
    let port: u16 = port.parse().expect("a port");
    make(
        &api,
        "resources",
        json!({"name": "Carrier", "gateways": [{"server": host, "port": port, "ping_seconds": 0, "register": true,
            "username": "trunk", "password": "open-sesame", "expire_seconds": 60}]}),
    );
    let registered = server.wait_metrics(SOON, |metrics| registrations(metrics, "registered") == 1.0);
    assert!(registered.is_ok(), "it is not registered");
    // The first life was two seconds: the refresh came after one.
    thread::sleep(Duration::from_millis(2500));
    let metrics = server.metrics().expect("a page");
    assert_eq!(registrations(&metrics, "registered"), 1.0);
    let (status, took) = server.stop(Duration::from_secs(6)).expect("stopped");
    assert!(
        status.is_some_and(|status| status.success()) && took < Duration::from_secs(5),
        "{took:?}"
    );
    registrar.finish().expect("ended").assert_all(1);
}

#[test]
fn another_server_knows_us_and_calls_in_by_the_way_that_we_told_it() {
    let _alone = exclusive();
    let ((ours, api), (carrier, carriers)) = (start(), start());
    // Two accounts have trunks at the carrier's address, so that the address tells nothing.
    let (own, other) = (child(&api, "Own"), child(&api, "Other"));
    make_in(
        &api,
        &other,
        "resources",
        json!({"name": "Claim", "gateways": [{"server": "127.0.0.1", "ping_seconds": 0}]}),
    );
    let room = make_in(
        &api,
        &own,
        "conferences",
        json!({"name": "Room", "conference_numbers": ["4000"], "member": {"join_muted": false}}),
    );
    let account = carriers.account("GET", "", None).expect("answered").json();
    let realm = account["data"]["realm"].as_str().expect("a realm").to_owned();
    let device = make(
        &carriers,
        "devices",
        json!({"name": "Their trunk", "sip": {"username": "4000", "password": "open-sesame"}}),
    );
    // They know us by our credentials, not by our address.
    let trunk = make_in(
        &api,
        &own,
        "resources",
        json!({"name": "Carrier", "gateways": [{"server": "127.0.0.1", "port": carrier.sip.port(), "realm": realm,
            "register": true, "username": "4000", "password": "open-sesame", "ping_seconds": 1}]}),
    );
    let status = || {
        carriers
            .account("GET", "/devices/status", None)
            .expect("answered")
            .json()
    };
    until("we are registered there", || {
        (status()["data"] == json!([{"device_id": device, "registered": true}])).then_some(())
    });
    let theirs = carrier.first_conference().expect("the API").id().to_owned();
    let call = dial(&carriers, &theirs, &device);
    let he = until("they have come in", || {
        let path = format!("/v2/accounts/{own}/conferences/{room}/participants");
        api.request("GET", &path, None).expect("answered").json()["data"][0]
            .is_object()
            .then(|| api.request("GET", &path, None).expect("answered").json()["data"][0].take())
    });
    assert_eq!(message(call).0, "success");
    assert_eq!(
        (
            &he["custom_channel_vars"]["authorizing_type"],
            &he["custom_channel_vars"]["authorizing_id"]
        ),
        (&json!("resource"), &json!(trunk))
    );
    // It answers, and the API says so.
    let shown = until("it is seen to be there", || {
        let shown = api
            .request("GET", &format!("/v2/accounts/{own}/resources/status"), None)
            .expect("answered")
            .json();
        (shown["data"][0]["gateways"][0]["state"] == "up").then_some(shown)
    });
    let gateway = &shown["data"][0]["gateways"][0];
    assert_eq!(
        (&shown["data"][0]["resource_id"], &gateway["server"]),
        (&json!(trunk), &json!(format!("127.0.0.1:{}", carrier.sip.port())))
    );
    assert_eq!(gateway["registration"], "registered");
    let gone = api.request("DELETE", &format!("/v2/accounts/{own}/resources/{trunk}"), None);
    assert_eq!(gone.expect("answered").status, 200);
    until("we are not registered there any more", || {
        (status()["data"] == json!([])).then_some(())
    });
    drop(ours);
}

#[test]
fn a_gateway_that_does_not_answer_is_asked_last_before_any_call_has_failed() {
    let _alone = exclusive();
    let (server, api) = start();
    let conference = server.first_conference().expect("the API").id().to_owned();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = silent.local_addr().expect("bound").port();
    let there = Callee::new().expect("a gateway");
    make(
        &api,
        "resources",
        json!({"name": "Carrier", "gateways": [
            {"server": "127.0.0.1", "port": port, "ping_seconds": 1},
            {"server": "127.0.0.1", "port": there.address().port(), "ping_seconds": 1}
        ]}),
    );
    let state = |metrics: &Metrics, state| metrics.labelled("confab_trunk_gateways", "state", state);
    let seen = server.wait_metrics(3 * SOON, |metrics| {
        state(metrics, "down") == 1.0 && state(metrics, "up") == 1.0
    });
    seen.unwrap_or_else(|last| panic!("up {}, down {}", state(&last, "up"), state(&last, "down")));
    let began = Instant::now();
    let call = dial(&api, &conference, "+49301234567");
    let at_gateway = there.wait_call(SOON).expect("an INVITE");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    at_gateway.respond(486, "Busy Here").expect("sent");
    assert_eq!(message(call).1, "USER_BUSY");
}
