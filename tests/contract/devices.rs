//! Lines 189 and 190: devices that register.

use std::time::Duration;

use confab_testkit::agent::Device;
use serde_json::{Value, json};

use crate::fixture::{is_success, number, site, soon};
use crate::websocket::Socket;

/// Makes a device; returns its id and its user.
fn device(more: Value) -> (String, String) {
    let user = format!("desk{}", number());
    let mut data = json!({"name": user, "sip": {"username": user, "password": "open sesame"}});
    data.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    let answer = site()
        .api
        .account("PUT", "/devices", Some(&json!({ "data": data })));
    let made = is_success(&answer.expect("answered"), 201);
    (made["id"].as_str().expect("an id").to_owned(), user)
}

fn realm() -> String {
    let account = site().api.account("GET", "", None).expect("answered");
    is_success(&account, 200)["realm"]
        .as_str()
        .expect("a realm")
        .to_owned()
}

fn phone(user: &str, password: &str) -> Device {
    Device::new(site().server.sip, &realm(), user, password).expect("a socket")
}

fn register(phone: &mut Device, expires: u32) -> u16 {
    let contact = phone.contact().expect("an address");
    let answer = phone.register(&contact, expires).expect("answered");
    answer.status().expect("a status")
}

/// Says what the list of registered devices shows of these.
fn listed(ids: &[&str]) -> Vec<Value> {
    let answer = site()
        .api
        .account("GET", "/devices/status", None)
        .expect("answered");
    let listed = is_success(&answer, 200);
    let mut found = Vec::new();
    for item in listed.as_array().expect("a list") {
        if ids.contains(&item["device_id"].as_str().expect("an id")) {
            found.push(item.clone());
        }
    }
    found
}

#[test]
fn line_189_a_device_registers_by_digest_and_a_disabled_one_does_not() {
    let (_, user) = device(json!({}));
    assert_eq!(register(&mut phone(&user, "open sesame"), 120), 200);
    assert_eq!(register(&mut phone(&user, "open barley"), 120), 403);
    assert_eq!(register(&mut phone("nobody", "open sesame"), 120), 403);
    let (_, disabled) = device(json!({"enabled": false}));
    assert_eq!(register(&mut phone(&disabled, "open sesame"), 120), 403);
}

#[test]
fn line_190_the_registered_devices_are_listed_and_no_others() {
    let ((desk, user), (soft, other), (idle, _)) = (device(json!({})), device(json!({})), device(json!({})));
    let ids = [desk.as_str(), soft.as_str(), idle.as_str()];
    assert_eq!(listed(&ids), [] as [Value; 0]);
    let (mut first, mut second) = (phone(&user, "open sesame"), phone(&other, "open sesame"));
    assert_eq!(register(&mut first, 120), 200);
    assert_eq!(register(&mut second, 120), 200);
    let shown = |id: &str| json!({"device_id": id, "registered": true});
    let mut both = vec![shown(&desk), shown(&soft)];
    both.sort_by_key(ToString::to_string);
    assert_eq!(listed(&ids), both);
    assert_eq!(register(&mut first, 0), 200);
    assert_eq!(listed(&ids), [shown(&soft)]);
    // A device that is switched off is registered no more, within about a second.
    let off = json!({"data": {"enabled": false}});
    let path = format!("/devices/{soft}");
    is_success(
        &site().api.account("PATCH", &path, Some(&off)).expect("answered"),
        200,
    );
    let switched_off = std::time::Instant::now();
    soon("its registration has ended", || {
        listed(&ids).is_empty().then_some(())
    });
    assert!(
        switched_off.elapsed() < Duration::from_secs(4),
        "{:?}",
        switched_off.elapsed()
    );
    assert_eq!(register(&mut second, 120), 403);
}

#[test]
fn registrations_are_told_live_to_whoever_follows_them() {
    let (id, user) = device(json!({}));
    let (_, other) = device(json!({}));
    let mut all = Socket::open(site());
    all.bind("registration.*");
    let mut one = Socket::open(site());
    one.bind(&format!("registration.device-unregistered.{id}"));
    let (mut desk, mut beside) = (phone(&user, "open sesame"), phone(&other, "open sesame"));
    assert_eq!(register(&mut desk, 300), 200);
    let told = all.event("device-registered");
    assert_eq!(told["name"], "registration");
    assert_eq!(told["data"]["device_id"], id);
    assert_eq!(
        (&told["data"]["username"], &told["data"]["realm"]),
        (&json!(user), &json!(realm()))
    );
    // A refresh is no news.
    assert_eq!(register(&mut desk, 300), 200);
    for phone in [&mut beside, &mut desk] {
        assert_eq!(register(phone, 0), 200);
    }
    let gone = all.event("device-unregistered");
    assert_eq!(
        (&gone["data"]["device_id"], &gone["data"]["reason"]),
        (&json!(id), &json!("unregistered"))
    );
    assert_eq!(one.event("device-unregistered")["data"]["device_id"], id);
}
