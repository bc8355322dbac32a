//! Phones register with the real server: baresip over UDP and TCP, refreshes, unregistering, a restart, what is refused; and calls of
//! devices, which show who they are.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Device, Invite, Phone, digest};
use confab_testkit::peers::{Baresip, BaresipAccount, BaresipConfig, Sipp};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, TempDir, exclusive};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(20);
const REALM: &str = "phones.example";
const PASSWORD: &str = "open-sesame";

/// A server whose account has the realm of these tests.
fn builder() -> ServerBuilder {
    ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("bootstrap.realm", &format!("\"{REALM}\""))
        .set("log.level", "\"debug\"")
}

fn put(api: &HttpClient, path: &str, data: &Value) -> String {
    let answer = api
        .account("PUT", path, Some(&json!({ "data": data })))
        .expect("answered");
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["data"]["id"].as_str().expect("an id").to_owned()
}

fn device(api: &HttpClient, user: &str) -> String {
    let data = json!({"name": user, "sip": {"username": user, "password": PASSWORD}});
    put(api, "/devices", &data)
}

fn patch(api: &HttpClient, path: &str, data: &Value) {
    let answer = api
        .account("PATCH", path, Some(&json!({ "data": data })))
        .expect("answered");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn registered(api: &HttpClient) -> Vec<String> {
    let answer = api
        .account("GET", "/devices/status", None)
        .expect("answered")
        .json();
    let listed = answer["data"].as_array().expect("a list").iter();
    let ids = listed.map(|item| item["device_id"].as_str().expect("an id").to_owned());
    ids.collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn baresip(server: &Server, user: &str, password: &str, transport: &'static str, expires_s: u32) -> Baresip {
    let account = BaresipAccount {
        realm: REALM.to_owned(),
        server: server.sip,
        transport,
        password: password.to_owned(),
        expires_s,
    };
    let says = confab_testkit::meter::sine(440.0, -20.0, 8000, 0, 8000 * 60);
    Baresip::start(&BaresipConfig::registering(user, account, says)).expect("baresip")
}

fn counted(server: &Server, what: &str) -> f64 {
    server
        .metrics()
        .expect("metrics")
        .labelled("confab_registrar_total", "what", what)
}

#[test]
fn baresip_registers_refreshes_and_takes_its_registration_back() {
    let _alone = exclusive();
    let server = builder()
        .set("registrar.min_expires_s", "2")
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    for transport in ["udp", "tcp"] {
        let id = device(&api, transport);
        let mut phone = baresip(&server, transport, PASSWORD, transport, 4);
        phone.wait_log("200 OK", WAIT).expect("registered");
        eventually("it is listed", || registered(&api) == [id.clone()]);
        let before = counted(&server, "refreshed");
        eventually("it refreshes", || counted(&server, "refreshed") >= before + 2.0);
        assert_eq!(registered(&api), [id]);
        phone.hang_up().expect("ended");
        eventually("it is listed no more", || registered(&api).is_empty());
    }
    let log = server.log();
    assert!(log.contains("device registered"), "{log}");
    assert!(!log.contains(PASSWORD), "no password stands in the log");
}

#[test]
fn who_may_not_register_does_not() {
    let _alone = exclusive();
    let server = builder().start().expect("started");
    let api = server.api().expect("a login");
    device(&api, "desk");
    let off = device(&api, "off");
    patch(&api, &format!("/devices/{off}"), &json!({"enabled": false}));
    for (user, password) in [("desk", "open-barley"), ("off", PASSWORD), ("nobody", PASSWORD)] {
        let phone = baresip(&server, user, password, "udp", 120);
        phone.wait_log("403 Forbidden", WAIT).expect(user);
    }
    let owner = put(
        &api,
        "/users",
        &json!({"first_name": "A", "last_name": "B", "enabled": false}),
    );
    let owned = json!({"name": "o", "owner_id": owner, "sip": {"username": "owned", "password": PASSWORD}});
    put(&api, "/devices", &owned);
    let mut phone = Device::new(server.sip, REALM, "owned", PASSWORD).expect("a socket");
    let contact = phone.contact().expect("an address");
    assert_eq!(
        phone.register(&contact, 120).expect("answered").status(),
        Some(403)
    );
    let mut stranger = Device::new(server.sip, "other.example", "desk", PASSWORD).expect("a socket");
    assert_eq!(
        stranger.register(&contact, 120).expect("answered").status(),
        Some(404)
    );
    assert_eq!(registered(&api), [] as [String; 0]);
}

#[test]
fn a_restart_keeps_who_is_registered() {
    let _alone = exclusive();
    let folder = TempDir::new("registrar").expect("a folder");
    let data = format!("\"{}\"", folder.path().display());
    let probe = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let sip = probe.local_addr().expect("an address");
    drop(probe);
    let listeners = format!("[\"{sip}\"]");
    let builder = builder()
        .without_data_dir()
        .set("data_dir", &data)
        .set("sip.udp", &listeners)
        .set("sip.tcp", &listeners);
    let mut server = builder.clone().start().expect("started");
    let api = server.api().expect("a login");
    let (desk, gone) = (device(&api, "desk"), device(&api, "gone"));
    let phone = baresip(&server, "desk", PASSWORD, "udp", 3600);
    phone.wait_log("200 OK", WAIT).expect("registered");
    let mut other = Device::new(server.sip, REALM, "gone", PASSWORD).expect("a socket");
    let contact = other.contact().expect("an address");
    assert_eq!(
        other.register(&contact, 600).expect("answered").status(),
        Some(200)
    );
    eventually("both are listed", || registered(&api).len() == 2);
    // Killed, it cannot write a last time: what is new was written within a second.
    std::thread::sleep(Duration::from_millis(2500));
    server.signal(libc::SIGKILL).expect("killed");
    server.wait_exit(WAIT).expect("ended");
    let mut server = builder.clone().start().expect("started again");
    let api = server.api().expect("a login");
    let mut both = vec![desk.clone(), gone];
    both.sort();
    assert_eq!(registered(&api), both);
    // Its password is refused from here on, and a new one would be asked for.
    patch(
        &api,
        &format!("/devices/{}", both[usize::from(both[0] == desk)]),
        &json!({"sip": {"password": "another"}}),
    );
    eventually("a changed password ends a registration", || {
        registered(&api) == [desk.clone()]
    });
    server.stop(WAIT).expect("ended");
    let server = builder.start().expect("started once more");
    assert_eq!(registered(&server.api().expect("a login")), [desk]);
}

#[test]
fn an_old_challenge_is_stale_and_a_copy_gets_the_same_answer() {
    let _alone = exclusive();
    let server = builder().start().expect("started");
    let api = server.api().expect("a login");
    device(&api, "desk");
    let mut phone = Device::new(server.sip, REALM, "desk", PASSWORD).expect("a socket");
    let contact = phone.contact().expect("an address");
    assert_eq!(
        phone.register(&contact, 120).expect("answered").status(),
        Some(200)
    );
    // The challenge is good for more than one request.
    assert_eq!(
        phone.register_once(&contact, 120).expect("answered").status(),
        Some(200)
    );
    phone.recount();
    let stale = phone.register_once(&contact, 120).expect("answered");
    assert_eq!(stale.status(), Some(401));
    let challenge = stale.header("WWW-Authenticate").expect("a challenge");
    assert!(
        challenge.contains("stale=true") && challenge.contains("MD5"),
        "{challenge}"
    );
    let brief = phone.register(&contact, 5).expect("answered");
    assert_eq!(
        (brief.status(), brief.header("Min-Expires")),
        (Some(423), Some("60"))
    );
    let told = phone.register("", 0).expect("answered");
    let contact_told = told.header("Contact").expect("its contact");
    assert!(
        contact_told.contains(&phone.address().expect("an address").to_string()),
        "{contact_told}"
    );
    assert!(contact_told.contains(";expires=1"), "{contact_told}");
    let none = phone.register("*", 0).expect("answered");
    assert_eq!((none.status(), none.header("Contact")), (Some(200), None));
}

#[test]
fn sipp_is_told_that_its_credentials_are_stale() {
    let _alone = exclusive();
    let server = builder().start().expect("started");
    let api = server.api().expect("a login");
    device(&api, "desk");
    let report = Sipp::new("tests/sipp/register_stale.xml", server.sip)
        .with("REALM", REALM)
        .with("RECORD", &format!("desk@{REALM}"))
        .with("USER", "desk")
        .with("PASSWORD", PASSWORD)
        .run()
        .expect("sipp");
    assert_eq!((report.successful, report.failed), (1, 0), "{}", report.errors);
    assert_eq!(registered(&api), [] as [String; 0]);
}

#[test]
fn who_guesses_passwords_is_left_without_an_answer_and_others_are_not() {
    let _alone = exclusive();
    let server = builder()
        .set("password_guard.user_tries", "3")
        .set("password_guard.source_tries", "6")
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    let desk = device(&api, "desk");
    device(&api, "soft");
    let mut phone = Device::new(server.sip, REALM, "desk", PASSWORD).expect("a socket");
    let contact = phone.contact().expect("an address");
    assert_eq!(
        phone.register(&contact, 120).expect("answered").status(),
        Some(200)
    );
    let guess = |user: &str| {
        let mut guesser = Device::new(server.sip, REALM, user, "guess").expect("a socket");
        guesser.register("<sip:x@127.0.0.1:9>", 120)
    };
    for _ in 0..3 {
        assert_eq!(guess("soft").expect("answered").status(), Some(403));
    }
    assert!(guess("soft").is_err(), "no more answers for this one");
    for user in ["a", "b", "c"] {
        assert_eq!(guess(user).expect("answered").status(), Some(403));
    }
    assert!(guess("d").is_err(), "no more answers for this source");
    assert_eq!(
        phone.register(&contact, 120).expect("answered").status(),
        Some(200),
        "it was registered before"
    );
    assert_eq!(registered(&api), [desk]);
    let metrics = server.metrics().expect("metrics");
    assert_eq!(metrics.labelled("confab_passwords_total", "what", "wrong"), 6.0);
    assert_eq!(metrics.sum("confab_passwords_blocked"), Some(2.0));
    assert!(!server.log().contains("guess\""));
}

#[test]
fn a_device_behind_a_nat_is_kept_reached() {
    let _alone = exclusive();
    let server = builder()
        .set("registrar.keep_alive_s", "1")
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    device(&api, "desk");
    let mut phone = Device::new(server.sip, REALM, "desk", PASSWORD).expect("a socket");
    let answer = phone.register("<sip:desk@10.1.2.3:5060>", 120).expect("answered");
    assert_eq!(answer.status(), Some(200));
    let options = phone.wait_request(WAIT).expect("a keep-alive");
    assert_eq!(options.method(), Some("OPTIONS"));
    assert!(
        options.start_line.contains("sip:desk@10.1.2.3:5060"),
        "{}",
        options.start_line
    );
}

/// Calls `number` and answers a challenge with these credentials; returns the final status.
fn call(
    phone: &Phone,
    server: SocketAddr,
    number: &str,
    credentials: Option<(&str, &str)>,
) -> (Option<u16>, confab_testkit::agent::Call) {
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let invite = Invite::to(number, &offer).caller("desk", "Desk");
    let first = phone.invite(invite.clone()).expect("sent");
    let answer = first.wait_final(WAIT).expect("answered");
    let Some((user, password)) = credentials.filter(|_| answer.status() == Some(401)) else {
        return (answer.status(), first);
    };
    let value = digest::answer(
        &answer,
        "INVITE",
        &format!("sip:{number}@{server}"),
        user,
        password,
    );
    let invite = invite.header("Authorization", &value.expect("a challenge"));
    let call = phone.invite(invite).expect("sent");
    let status = call.wait_final(WAIT).expect("answered").status();
    (status, call)
}

#[test]
fn without_anonymous_dial_in_callers_show_who_they_are() {
    let _alone = exclusive();
    let server = builder()
        .set("sip.anonymous_dial_in", "false")
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    let owner = put(&api, "/users", &json!({"first_name": "Ann", "last_name": "B"}));
    let data = json!({
        "name": "desk", "owner_id": owner, "sip": {"username": "desk", "password": PASSWORD},
        "caller_id": {"internal": {"name": "Ann at her desk", "number": "211"}},
    });
    let id = put(&api, "/devices", &data);
    let trusted = json!({"name": "gateway", "sip": {"method": "ip", "ip": "127.0.0.9"}});
    put(&api, "/devices", &trusted);
    let room = server.first_conference().expect("a conference");

    let phone = Phone::udp(server.sip).expect("a phone");
    assert_eq!(call(&phone, server.sip, "3000", None).0, Some(401));
    assert_eq!(
        call(&phone, server.sip, "3000", Some(("desk", "guess"))).0,
        Some(403)
    );
    let (status, first) = call(&phone, server.sip, "3000", Some(("desk", PASSWORD)));
    assert_eq!(status, Some(200));
    first.ack(None).expect("acknowledged");
    let inside = room
        .wait_participants(WAIT, |inside| inside.len() == 1)
        .expect("inside");
    let vars = &inside[0]["custom_channel_vars"];
    let expected = [
        ("authorizing_id", id.as_str()),
        ("authorizing_type", "device"),
        ("owner_id", owner.as_str()),
        ("username", "desk"),
        ("realm", REALM),
    ];
    for (key, value) in expected {
        assert_eq!(vars[key], value, "{vars}");
    }
    assert_eq!(inside[0]["caller_id_name"], "Ann at her desk");
    assert_eq!(inside[0]["caller_id_number"], "211");
    // By its id too, and no bridge credentials are needed; others have no way there.
    let (status, second) = call(&phone, server.sip, room.id(), Some(("desk", PASSWORD)));
    assert_eq!(status, Some(200));
    second.ack(None).expect("acknowledged");
    assert_eq!(
        call(&phone, server.sip, room.id(), Some(("desk", "guess"))).0,
        Some(403)
    );
    // A trusted address needs none.
    let gateway = Phone::udp_from(server.sip, IpAddr::from([127, 0, 0, 9])).expect("a phone");
    let (status, third) = call(&gateway, server.sip, "3000", None);
    assert_eq!(status, Some(200));
    third.ack(None).expect("acknowledged");
    patch(&api, &format!("/devices/{id}"), &json!({"enabled": false}));
    eventually("it calls no more", || {
        call(&phone, server.sip, "3000", Some(("desk", PASSWORD))).0 == Some(403)
    });
}

#[test]
fn a_registered_baresip_is_asked_and_known_when_it_calls() {
    let _alone = exclusive();
    let server = builder().start().expect("started");
    let api = server.api().expect("a login");
    let id = device(&api, "desk");
    let room = server.first_conference().expect("a conference");
    // A stranger of that name is let in as a stranger, for strangers are.
    let phone = Phone::udp_from(server.sip, IpAddr::from([127, 0, 0, 7])).expect("a phone");
    let (status, stranger) = call(&phone, server.sip, "3000", None);
    assert_eq!(status, Some(200));
    stranger.ack(None).expect("acknowledged");
    for transport in ["udp", "tcp"] {
        let mut desk = baresip(&server, "desk", PASSWORD, transport, 600);
        desk.wait_log("200 OK", WAIT).expect("registered");
        desk.dial(&format!("sip:3000@{REALM}")).expect("dialled");
        desk.wait_established(WAIT).expect("answered");
        let inside = room
            .wait_participants(WAIT, |inside| inside.len() == 2)
            .expect("inside");
        let known: Vec<&Value> = inside
            .iter()
            .map(|inside| &inside["custom_channel_vars"]["authorizing_id"])
            .collect();
        assert!(
            known.contains(&&json!(id)) && known.contains(&&Value::Null),
            "{known:?}"
        );
        desk.hang_up().expect("ended");
        room.wait_participants(WAIT, |inside| inside.len() == 1)
            .expect("gone");
    }
}
