//! Lines 94 to 116, 121 and 124: whom a dial calls, and what it answers.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Callee, Device, Incoming};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{Source, Stream};
use confab_testkit::server::HttpAnswer;
use serde_json::{Value, json};

use crate::ears::assert_hearing;
use crate::fixture::{Room, SOON, breaks, is_error, is_success, number, site};
use crate::websocket::{Socket, all_of};

/// Dials beside the test: the answer waits for the called party.
pub(crate) fn dial_body(path: &str, body: Value) -> JoinHandle<HttpAnswer> {
    let path = path.to_owned();
    std::thread::spawn(move || site().ask("PUT", &path, &body))
}

pub(crate) fn dial(room: &Room, arguments: Value) -> JoinHandle<HttpAnswer> {
    dial_body(&room.path, json!({"action": "dial", "data": {"data": arguments}}))
}

/// Returns the entries of the answer.
#[track_caller]
pub(crate) fn entries(dial: JoinHandle<HttpAnswer>) -> Vec<Value> {
    let data = is_success(&dial.join().expect("no panic"), 202);
    let list = data["endpoint_responses"].as_array();
    list.unwrap_or_else(|| panic!("{data}")).clone()
}

/// Returns the only entry, a success.
#[track_caller]
pub(crate) fn joined(dial: JoinHandle<HttpAnswer>) -> Value {
    let mut entries = entries(dial);
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["status"], "success", "{entries:?}");
    entries.remove(0)
}

/// Returns why the only entry failed.
#[track_caller]
pub(crate) fn failed(dial: JoinHandle<HttpAnswer>) -> String {
    let entries = entries(dial);
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["status"], "error", "{entries:?}");
    assert!(
        entries[0]["call_id"].is_null() && entries[0]["job_id"].is_string(),
        "{entries:?}"
    );
    entries[0]["message"].as_str().expect("a message").to_owned()
}

pub(crate) fn phone() -> Callee {
    Callee::new().expect("a phone")
}

#[track_caller]
pub(crate) fn rings(phone: &Callee) -> Incoming {
    phone.wait_call(SOON).expect("an INVITE")
}

pub(crate) fn answers(room: &Room, call: &Incoming) -> Stream {
    let silence = Source::silence(Law::Mu);
    call.join(&room.engine, silence).expect("an ACK")
}

/// Returns the participant that a call has become.
pub(crate) fn participant(room: &Room, entry: &Value) -> Value {
    let listed = room.participants();
    let own = listed.iter().find(|one| one["call_id"] == entry["call_id"]);
    own.unwrap_or_else(|| panic!("{listed:?}")).clone()
}

fn device(data: Value) -> String {
    site().make("devices", data)["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

/// A device that is called at a URI without being registered.
fn routed(name: &str, phone: &Callee, more: Value) -> Value {
    let mut data = json!({"name": name, "sip": {"invite_format": "route", "route": phone.uri(name)}});
    if let Value::Object(more) = more {
        for (key, value) in more {
            match (data.get_mut(&key), value) {
                (Some(Value::Object(own)), Value::Object(value)) => own.extend(value),
                (_, value) => data[&key] = value,
            }
        }
    }
    data
}

fn user(name: &str) -> String {
    let data = json!({"first_name": name, "last_name": "Person"});
    site().make("users", data)["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

#[track_caller]
fn refused(room: &Room, arguments: Value) -> Value {
    let answer = dial(room, arguments).join().expect("no panic");
    is_error(&answer, 400, "validation error")
}

#[test]
fn line_094_a_sip_uri_is_dialled_and_joins_when_it_answers() {
    let room = Room::new(json!({}));
    let bob = phone();
    let dialled = dial(&room, json!({"endpoints": [bob.uri("bob")]}));
    let call = rings(&bob);
    assert_eq!(
        call.invite.start_line,
        format!("INVITE {} SIP/2.0", bob.uri("bob"))
    );
    let octets = call.invite.to_bytes().len();
    assert!(
        octets <= 1300,
        "{octets} octets do not go by UDP (RFC 3261 §18.1.1)"
    );
    assert!(room.participants().is_empty(), "nobody joins before he answers");
    let _stream = answers(&room, &call);
    let entry = joined(dialled);
    assert_eq!(entry["endpoint_id"], bob.uri("bob"));
    let call_id = entry["call_id"].as_str().expect("a call id");
    assert_eq!(entry["message"], format!("dial resulted in call id {call_id}"));
    let listed = participant(&room, &entry);
    assert_eq!((&listed["speak"], &listed["hear"]), (&json!(true), &json!(true)));
    call.hang_up().expect("answered");
}

#[test]
fn line_095_a_registered_device_is_dialled_where_it_registered() {
    let room = Room::new(json!({}));
    let name = format!("desk{}", number());
    let id = device(json!({"name": name, "sip": {"username": name, "password": "open sesame"}}));
    let dialled = dial(&room, json!({"endpoints": [id]}));
    assert_eq!(failed(dialled), "USER_NOT_REGISTERED");
    let account = site().api.account("GET", "", None).expect("answered");
    let realm = is_success(&account, 200)["realm"]
        .as_str()
        .expect("a realm")
        .to_owned();
    let mut registering = Device::new(site().server.sip, &realm, &name, "open sesame").expect("a socket");
    // It has registered twice: both ring, and the first who answers joins.
    let (desk, softphone) = (phone(), phone());
    for contact in [&desk, &softphone] {
        let answer = registering.register(&format!("<{}>", contact.uri("here")), 120);
        assert_eq!(answer.expect("answered").status(), Some(200));
    }
    let dialled = dial(&room, json!({"endpoints": [id]}));
    let (at_desk, at_softphone) = (rings(&desk), rings(&softphone));
    assert_eq!(
        at_desk.invite.start_line,
        format!("INVITE {} SIP/2.0", desk.uri("here"))
    );
    at_desk.respond(180, "Ringing").expect("sent");
    let _stream = answers(&room, &at_softphone);
    at_desk.wait_request("CANCEL", SOON).expect("a CANCEL");
    let entry = joined(dialled);
    assert_eq!(entry["endpoint_id"], id.as_str());
    assert_eq!(
        participant(&room, &entry)["custom_channel_vars"]["username"],
        name.as_str()
    );
}

#[test]
fn line_096_a_device_with_a_route_is_dialled_there() {
    let room = Room::new(json!({}));
    let desk = phone();
    let device = device(routed(
        "desk",
        &desk,
        json!({
            "sip": {"custom_sip_headers": {"out": {"X-Door": "front"}}},
            "ringtones": {"internal": "<urn:alert:source:internal>"}
        }),
    ));
    let dialled = dial(&room, json!({"endpoints": [device]}));
    let call = rings(&desk);
    assert_eq!(
        call.invite.start_line,
        format!("INVITE {} SIP/2.0", desk.uri("desk"))
    );
    assert_eq!(call.invite.header("X-Door"), Some("front"));
    assert_eq!(
        call.invite.header("Alert-Info"),
        Some("<urn:alert:source:internal>")
    );
    let _stream = answers(&room, &call);
    let entry = joined(dialled);
    assert_eq!(entry["endpoint_id"], device.as_str());
    let vars = participant(&room, &entry)["custom_channel_vars"].take();
    assert_eq!(
        (&vars["authorizing_id"], &vars["authorizing_type"]),
        (&json!(device), &json!("device"))
    );
}

#[test]
fn line_097_a_device_known_by_its_address_is_dialled_there() {
    let room = Room::new(json!({}));
    let address: SocketAddr = "127.0.0.97:5060".parse().expect("an address");
    let desk = Callee::bound(address).expect("its address is free");
    let device = device(json!({"name": "By address", "sip": {
        "method": "ip", "ip": "127.0.0.97", "invite_format": "e164", "number": "4158867900"
    }}));
    let dialled = dial(&room, json!({"endpoints": [device]}));
    let call = rings(&desk);
    assert_eq!(
        call.invite.start_line,
        "INVITE sip:+14158867900@127.0.0.97 SIP/2.0"
    );
    let _stream = answers(&room, &call);
    joined(dialled);
}

#[test]
fn line_098_a_device_may_be_written_out() {
    let room = Room::new(json!({}));
    let desk = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [routed("desk", &desk, json!({"id": "my-own-name"}))]}),
    );
    let call = rings(&desk);
    let _stream = answers(&room, &call);
    assert_eq!(joined(dialled)["endpoint_id"], "my-own-name");
    let nameless = json!({"sip": {"invite_format": "route", "route": desk.uri("desk")}});
    let data = refused(&room, json!({"endpoints": [nameless]}));
    breaks(&data, "endpoints.0.name", "required");
}

#[test]
fn line_099_a_users_devices_ring_together_and_the_first_answer_joins() {
    let room = Room::new(json!({}));
    let (desk, mobile, third) = (phone(), phone(), phone());
    let owner = user("Carol");
    let own = json!({"owner_id": owner});
    device(routed("desk", &desk, own.clone()));
    let answering = device(routed("mobile", &mobile, own.clone()));
    device(routed("third", &third, own));
    let dialled = dial(&room, json!({"endpoints": [owner]}));
    let (at_desk, at_mobile, at_third) = (rings(&desk), rings(&mobile), rings(&third));
    at_desk.respond(180, "Ringing").expect("sent");
    at_third.respond(180, "Ringing").expect("sent");
    let _stream = answers(&room, &at_mobile);
    for other in [&at_desk, &at_third] {
        let cancel = other.wait_request("CANCEL", SOON).expect("a CANCEL");
        let reason = cancel.header("Reason").expect("a reason");
        assert!(
            reason.starts_with("SIP") && reason.contains("cause=200"),
            "{reason}"
        );
    }
    let entries = entries(dialled);
    assert_eq!(entries.len(), 3);
    for entry in &entries {
        assert_eq!(entry["endpoint_id"], owner.as_str());
        if entry["device_id"] == answering.as_str() {
            assert_eq!(entry["status"], "success", "{entries:?}");
            assert_eq!(
                participant(&room, entry)["custom_channel_vars"]["owner_id"],
                owner.as_str()
            );
        } else {
            assert_eq!(
                (&entry["status"], &entry["message"]),
                (&json!("error"), &json!("LOSE_RACE"))
            );
        }
    }
}

#[test]
fn line_100_an_extension_rings_what_is_behind_it() {
    let room = Room::new(json!({}));
    let desk = phone();
    device(routed(
        "desk",
        &desk,
        json!({"caller_id": {"internal": {"name": "Reception", "number": "417"}}}),
    ));
    let dialled = dial(&room, json!({"endpoints": ["417"]}));
    let call = rings(&desk);
    let _stream = answers(&room, &call);
    let entry = joined(dialled);
    assert_eq!(entry["endpoint_id"], "417");
    let he = participant(&room, &entry);
    assert_eq!(
        (&he["caller_id_name"], &he["caller_id_number"]),
        (&json!("Reception"), &json!("417"))
    );
    // A user's extension rings his devices; one that nobody has is told as such.
    let owner = site().make(
        "users",
        json!({"first_name": "Eve", "last_name": "Person", "caller_id": {"internal": {"number": "418"}}}),
    );
    let mobile = phone();
    device(routed("mobile", &mobile, json!({"owner_id": owner["id"]})));
    let dialled = dial(&room, json!({"endpoints": ["418"]}));
    rings(&mobile).respond(486, "Busy").expect("sent");
    assert_eq!(failed(dialled), "USER_BUSY");
    assert_eq!(
        failed(dial(&room, json!({"endpoints": ["4199"]}))),
        "UNALLOCATED_NUMBER"
    );

    // A conference: whoever is there hears whoever is here. Its own number leads nowhere.
    let other = Room::new(json!({}));
    let there = other.join(&other.number, "there", Source::tone(Law::Mu, 900.0, -20.0));
    let here = room.join(&room.number, "here", Source::tone(Law::Mu, 1300.0, -20.0));
    let entry = joined(dial(&room, json!({"endpoints": [other.number]})));
    assert_eq!(
        participant(&room, &entry)["caller_id_number"],
        other.number.as_str()
    );
    assert_eq!(other.participants().len(), 2);
    assert_hearing(
        &room,
        &[&here, &there],
        &[900.0, 1300.0],
        &[&[true, false], &[false, true]],
    );
    assert_eq!(
        failed(dial(&room, json!({"endpoints": [room.number]}))),
        "EXCHANGE_ROUTING_ERROR"
    );
}

#[test]
fn line_192_a_device_can_insist_on_srtp() {
    let room = Room::new(json!({}));
    let desk = phone();
    let device = device(routed(
        "desk",
        &desk,
        json!({
            "media": {"audio": {"codecs": ["PCMU"]}, "encryption": {"enforce_security": true}}
        }),
    ));
    let dialled = dial(&room, json!({"endpoints": [device]}));
    let call = rings(&desk);
    let offer = String::from_utf8_lossy(&call.invite.body).into_owned();
    assert!(
        offer.contains(" RTP/SAVP ") && offer.contains("a=crypto:1 "),
        "{offer}"
    );
    // Without a key in the answer there is no call.
    let plain = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    call.answer(&plain).expect("sent");
    call.wait_request("BYE", SOON).expect("a BYE");
    assert_eq!(failed(dialled), "INCOMPATIBLE_DESTINATION");
    assert!(room.participants().is_empty());
}

#[test]
fn line_193_a_device_forwards_its_calls() {
    let room = Room::new(json!({}));
    let (desk, mobile) = (phone(), phone());
    device(routed(
        "mobile",
        &mobile,
        json!({"caller_id": {"internal": {"number": "429"}}}),
    ));
    let forwarding = |more: Value| {
        let mut forward = json!({"enabled": true, "number": "429", "require_keypress": false});
        forward
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        device(routed("desk", &desk, json!({"call_forward": forward})))
    };
    // In its place, or beside it.
    let dialled = dial(&room, json!({"endpoints": [forwarding(json!({}))]}));
    let call = rings(&mobile);
    let _stream = answers(&room, &call);
    participant(&room, &joined(dialled));
    assert_eq!(desk.calls(), 0);
    let dialled = dial(
        &room,
        json!({"endpoints": [forwarding(json!({"substitute": false}))]}),
    );
    let (at_mobile, at_desk) = (rings(&mobile), rings(&desk));
    at_mobile.respond(180, "Ringing").expect("sent");
    let _other = answers(&room, &at_desk);
    at_mobile.wait_request("CANCEL", SOON).expect("a CANCEL");
    let told: Vec<Value> = entries(dialled)
        .iter()
        .map(|entry| entry["status"].clone())
        .collect();
    assert_eq!(told, ["success", "error"]);

    // Where a key is asked for, an answer is not enough.
    let device = forwarding(json!({"require_keypress": true}));
    let dialled = dial(&room, json!({"endpoints": [device], "timeout": 1}));
    let call = rings(&mobile);
    let _machine = answers(&room, &call);
    call.wait_request("BYE", 2 * SOON).expect("a BYE");
    assert_eq!(failed(dialled), "NO_ANSWER");
    let dialled = dial(&room, json!({"endpoints": [device]}));
    let call = rings(&mobile);
    let stream = answers(&room, &call);
    std::thread::sleep(Duration::from_millis(500));
    assert!(!dialled.is_finished(), "it waits for the key");
    stream.press(101, 2).expect("sent");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!dialled.is_finished(), "for the right one");
    stream.press(101, 1).expect("sent");
    participant(&room, &joined(dialled));
}

#[test]
fn line_191_a_devices_codecs_are_offered_in_its_order() {
    let room = Room::new(json!({}));
    for (codecs, expected) in [
        (json!(["PCMA", "G729", "OPUS"]), &["PCMA", "opus"][..]),
        (json!(["G722"]), &["G722"]),
        (json!(["GSM"]), &["opus", "G722", "PCMU", "PCMA"]),
    ] {
        let desk = phone();
        let device = device(routed(
            "desk",
            &desk,
            json!({"media": {"audio": {"codecs": codecs}}}),
        ));
        let dialled = dial(&room, json!({"endpoints": [device]}));
        let call = rings(&desk);
        let text = String::from_utf8_lossy(&call.invite.body).into_owned();
        let offered: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '))
            .filter_map(|(_, codec)| codec.split('/').next())
            .filter(|codec| *codec != "telephone-event")
            .collect();
        assert_eq!(offered, expected, "{text}");
        call.respond(486, "Busy").expect("sent");
        failed(dialled);
    }
}

#[test]
fn line_102_there_is_at_least_one_endpoint() {
    let room = Room::new(json!({}));
    breaks(&refused(&room, json!({})), "endpoints", "required");
    breaks(&refused(&room, json!({"endpoints": []})), "endpoints", "minItems");
    let answer = room.put("", &json!({"data": {"action": "dial"}}));
    breaks(&is_error(&answer, 400, "validation error"), "data", "required");
}

#[test]
fn line_103_a_text_that_is_no_endpoint_is_told_its_place() {
    let room = Room::new(json!({}));
    let data = refused(&room, json!({"endpoints": ["abcdefgh"]}));
    let told = breaks(&data, "data.endpoints.1", "enum");
    assert_eq!(
        told["message"],
        "Value not a number, device or user ID, or SIP endpoint"
    );
    let data = refused(&room, json!({"endpoints": ["sip:"]}));
    assert_eq!(
        breaks(&data, "data.endpoints.1", "not_found")["message"],
        "ID sip: not found"
    );
}

#[test]
fn line_104_an_unknown_id_is_told() {
    let room = Room::new(json!({}));
    let id = "e".repeat(32);
    let data = refused(&room, json!({"endpoints": [id]}));
    assert_eq!(
        breaks(&data, "data.endpoints.1", "not_found")["message"],
        format!("ID {id} not found")
    );
}

#[test]
fn line_105_a_user_without_devices_is_told() {
    let room = Room::new(json!({}));
    let id = user("Dave");
    let data = refused(&room, json!({"endpoints": [id]}));
    let told = breaks(&data, "data.endpoints.1", "minItems");
    let message = format!("user {id} failed to resolve to route-able destinations");
    assert_eq!((&told["message"], &told["target"]), (&json!(message), &json!(1)));
}

#[test]
fn line_106_one_bad_endpoint_of_two_and_nothing_rings() {
    let room = Room::new(json!({}));
    let bob = phone();
    let data = refused(&room, json!({"endpoints": [bob.uri("bob"), "abcdefgh"]}));
    breaks(&data, "data.endpoints.2", "enum");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(bob.calls(), 0);
}

#[test]
fn line_107_a_disabled_device_is_not_dialled() {
    let room = Room::new(json!({}));
    let desk = phone();
    for more in [
        json!({"enabled": false}),
        json!({"do_not_disturb": {"enabled": true}}),
    ] {
        let id = device(routed("desk", &desk, more));
        let data = refused(&room, json!({"endpoints": [id]}));
        breaks(&data, "data.endpoints.1", "not_found");
    }
    assert_eq!(desk.calls(), 0);
}

#[test]
fn line_108_who_is_busy_is_told_within_a_success() {
    let room = Room::new(json!({}));
    for (status, word) in [
        (486, "USER_BUSY"),
        (603, "CALL_REJECTED"),
        (404, "UNALLOCATED_NUMBER"),
        (480, "SUBSCRIBER_ABSENT"),
        (503, "NORMAL_TEMPORARY_FAILURE"),
        (488, "INCOMPATIBLE_DESTINATION"),
    ] {
        let bob = phone();
        let dialled = dial(&room, json!({"endpoints": [bob.uri("bob")]}));
        rings(&bob).respond(status, "No").expect("sent");
        assert_eq!(failed(dialled), word, "{status}");
    }
    assert!(room.participants().is_empty());
}

#[test]
fn line_109_who_does_not_answer_in_time_is_cancelled() {
    let room = Room::new(json!({}));
    let bob = phone();
    let began = Instant::now();
    let dialled = dial(&room, json!({"endpoints": [bob.uri("bob")], "timeout": 1}));
    let call = rings(&bob);
    call.respond(180, "Ringing").expect("sent");
    call.wait_request("CANCEL", SOON).expect("a CANCEL");
    assert_eq!(failed(dialled), "NO_ANSWER");
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn line_110_the_answer_waits_for_the_called_party() {
    let room = Room::new(json!({}));
    let bob = phone();
    let dialled = dial(&room, json!({"endpoints": [bob.uri("bob")]}));
    let call = rings(&bob);
    call.respond(180, "Ringing").expect("sent");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!dialled.is_finished());
    let _stream = answers(&room, &call);
    participant(&room, &joined(dialled));
}

#[test]
fn line_111_endpoints_ring_at_the_same_time() {
    let room = Room::new(json!({}));
    let (bob, eve) = (phone(), phone());
    let dialled = dial(&room, json!({"endpoints": [bob.uri("bob"), eve.uri("eve")]}));
    let (to_bob, to_eve) = (rings(&bob), rings(&eve));
    let apart = to_eve.at.max(to_bob.at) - to_eve.at.min(to_bob.at);
    assert!(apart < Duration::from_millis(500), "{apart:?}");
    let _streams = [answers(&room, &to_eve), answers(&room, &to_bob)];
    let entries = entries(dialled);
    let ids = entries.iter().map(|entry| entry["endpoint_id"].clone());
    assert_eq!(
        ids.collect::<Vec<_>>(),
        [json!(bob.uri("bob")), json!(eve.uri("eve"))]
    );
    assert!(
        entries.iter().all(|entry| entry["status"] == "success"),
        "{entries:?}"
    );
}

#[test]
fn line_112_the_caller_id_is_shown_to_the_called_party() {
    let room = Room::new(json!({"domain": "talk.example"}));
    let bob = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [bob.uri("bob")], "caller_id_name": "Conference XYZ", "caller_id_number": "5551212"}),
    );
    let call = rings(&bob);
    call.respond(486, "Busy").expect("sent");
    failed(dialled);
    let from = call.invite.header("From").expect("From");
    assert!(
        from.starts_with("\"Conference XYZ\" <sip:5551212@talk.example>;tag="),
        "{from}"
    );
    let asserted = call.invite.header("P-Asserted-Identity");
    assert_eq!(asserted, Some("\"Conference XYZ\" <sip:5551212@talk.example>"));
}

#[test]
fn line_113_the_conferences_name_and_first_number_are_shown_by_default() {
    let room = Room::new(json!({"name": "Standup"}));
    let bob = phone();
    let dialled = dial(&room, json!({"endpoints": [bob.uri("bob")]}));
    let call = rings(&bob);
    call.respond(486, "Busy").expect("sent");
    failed(dialled);
    let from = call.invite.header("From").expect("From");
    assert!(
        from.starts_with(&format!("Standup <sip:{}@", room.number)),
        "{from}"
    );
}

#[test]
fn line_114_the_leg_has_the_call_id_that_was_asked_for() {
    let room = Room::new(json!({}));
    let (bob, eve) = (phone(), phone());
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    let dialled = dial(
        &room,
        json!({"endpoints": [bob.uri("bob"), eve.uri("eve")], "outbound_call_id": "xyz-abc"}),
    );
    let (to_bob, to_eve) = (rings(&bob), rings(&eve));
    assert_eq!(to_bob.invite.header("Call-ID"), Some("xyz-abc"));
    assert_eq!(to_eve.invite.header("Call-ID"), Some("xyz-abc-1"));
    let _stream = answers(&room, &to_bob);
    assert_eq!(socket.event("add-member")["data"]["call_id"], "xyz-abc");
    to_eve.respond(486, "Busy").expect("sent");
    let entries = entries(dialled);
    assert_eq!(entries[0]["call_id"], "xyz-abc");
    assert_eq!(participant(&room, &entries[0])["call_id"], "xyz-abc");
    let data = refused(
        &room,
        json!({"endpoints": [bob.uri("bob")], "outbound_call_id": "a b\r\nc"}),
    );
    breaks(&data, "outbound_call_id", "pattern");
}

#[test]
fn line_115_application_variables_come_back() {
    let room = Room::new(json!({}));
    let bob = phone();
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    let mut commands = Socket::open(room.site);
    commands.bind(&format!(
        "conference.command.{}",
        room.path.trim_start_matches("/conferences/")
    ));
    let body = json!({"action": "dial", "data": {
        "custom_application_vars": {"foo": "outer", "only": "outside"},
        "data": {"endpoints": [bob.uri("bob")], "custom_application_vars": {"foo": "inner", "count": 5}}
    }});
    let dialled = dial_body(&format!("{}?random=1&asked=query", room.path), body);
    let call = rings(&bob);
    let _stream = answers(&room, &call);
    let told = commands.frame(SOON).expect("a command");
    assert_eq!(
        (&told["name"], &told["data"]["application_name"]),
        (&json!("command"), &json!("dial"))
    );
    assert_eq!(told["data"]["endpoints"], json!([bob.uri("bob")]));
    let expected = json!({"foo": "inner", "only": "outside", "count": "5", "asked": "query"});
    assert_eq!(
        participant(&room, &joined(dialled))["custom_application_vars"],
        expected
    );
    assert_eq!(
        socket.event("add-member")["data"]["custom_application_vars"],
        expected
    );
}

#[test]
fn line_116_a_timeout_is_at_least_one_second() {
    let room = Room::new(json!({}));
    for (timeout, rule) in [
        (json!(0), "minimum"),
        (json!("30"), "type"),
        (json!(121), "maximum"),
    ] {
        let data = refused(
            &room,
            json!({"endpoints": ["sip:a@127.0.0.1:9"], "timeout": timeout}),
        );
        breaks(&data, "timeout", rule);
    }
}

#[test]
fn line_121_who_may_only_join_what_runs_is_not_called_otherwise() {
    let room = Room::new(json!({}));
    let bob = phone();
    let arguments = json!({"endpoints": [bob.uri("bob")], "participant_flags": ["join_existing"]});
    assert_eq!(failed(dial(&room, arguments.clone())), "conference not running");
    assert_eq!(bob.calls(), 0);
    let _one = room.member("one");
    let dialled = dial(&room, arguments);
    let call = rings(&bob);
    let _stream = answers(&room, &call);
    joined(dialled);
}

#[test]
fn line_124_an_unknown_flag_is_told() {
    let room = Room::new(json!({}));
    let data = refused(
        &room,
        json!({"endpoints": ["sip:a@127.0.0.1:9"], "participant_flags": ["mute", "invisible"]}),
    );
    assert_eq!(breaks(&data, "participant_flags.1", "enum")["value"], "invisible");
}
