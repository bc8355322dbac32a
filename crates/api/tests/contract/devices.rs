//! Checklist 29-31, 185-188, 190: devices.

use serde_json::{Value, json};

use crate::support::Server;

impl Server {
    /// Makes a document in a collection and returns its id.
    pub(crate) async fn made(&self, collection: &str, data: Value) -> String {
        let reply = self.ask("PUT", collection, json!({ "data": data })).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.data()["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn line_185_a_device_needs_a_name_and_nothing_else() {
    let server = Server::start().await;
    let reply = server
        .ask("PUT", "/devices", json!({"data": {"name": "Phone"}}))
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let id = reply.data()["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), server.uri(&format!("/devices/{id}")));
    assert_eq!(reply.data()["sip"]["invite_format"], "contact");
    assert_eq!(reply.data()["enabled"], true);
    server
        .ask("PUT", "/devices", json!({"data": {"sip": {}}}))
        .await
        .breaks("name", "required");
}

#[tokio::test]
async fn line_186_a_sip_username_is_unique_in_its_realm_in_any_case() {
    let server = Server::start().await;
    let phone = |username: &str| json!({"data": {"name": "Phone", "sip": {"username": username}}});
    let first = server.made("/devices", phone("Alice")["data"].clone()).await;
    let twice = server.ask("PUT", "/devices", phone("aLICE")).await;
    twice.breaks("sip.username", "unique");
    let detail = &twice.data()["sip.username"]["unique"];
    assert_eq!(detail["message"], "SIP credentials already in use");
    assert_eq!(detail["cause"], "aLICE");
    // Its own is no other's, another realm is another world, and what is deleted is free.
    let own = server
        .ask("PATCH", &format!("/devices/{first}"), phone("ALICE"))
        .await;
    assert_eq!(own.status, 200, "{}", own.text);
    let elsewhere = json!({"name": "Phone", "sip": {"username": "alice", "realm": "other.example"}});
    server.made("/devices", elsewhere.clone()).await;
    let again = server.ask("PUT", "/devices", json!({ "data": elsewhere })).await;
    again.breaks("sip.username", "unique");
    server
        .ask("DELETE", &format!("/devices/{first}"), Value::Null)
        .await;
    server.made("/devices", phone("alice")["data"].clone()).await;
}

#[tokio::test]
async fn an_address_that_proves_who_a_device_is_belongs_to_one_device() {
    let server = Server::start().await;
    let by_ip = |ip: &str| json!({"name": "Trunk", "sip": {"method": "ip", "ip": ip}});
    server.made("/devices", by_ip("192.0.2.7")).await;
    let (child, token) = server.child(&server.account).await;
    let body = json!({"data": by_ip("::ffff:192.0.2.7")}).to_string();
    let uri = format!("/v2/accounts/{child}/devices");
    let reply = server
        .send("PUT", &uri, &[("x-auth-token", token.as_str())], &body)
        .await;
    reply.breaks("sip.ip", "unique");
    assert_eq!(
        reply.data()["sip.ip"]["unique"]["message"],
        "SIP IP already in use"
    );
    // An address that is not asked for proves nothing.
    server
        .made("/devices", json!({"name": "Phone", "sip": {"ip": "192.0.2.7"}}))
        .await;
}

#[tokio::test]
async fn a_realm_of_another_account_is_refused_and_the_own_one_is_not_kept() {
    let server = Server::start().await;
    let realm = server.get("").await.data()["realm"].as_str().unwrap().to_owned();
    let own = json!({"name": "Phone", "sip": {"realm": realm.to_uppercase(), "username": "alice"}});
    let id = server.made("/devices", own).await;
    assert!(
        server.get(&format!("/devices/{id}")).await.data()["sip"]
            .get("realm")
            .is_none()
    );
    let (child, token) = server.child(&server.account).await;
    let body = json!({"data": {"name": "Spy", "sip": {"realm": realm, "username": "bob"}}}).to_string();
    let uri = format!("/v2/accounts/{child}/devices");
    let spy = server
        .send("PUT", &uri, &[("x-auth-token", token.as_str())], &body)
        .await;
    spy.breaks("sip.realm", "unique");
}

#[tokio::test]
async fn line_187_188_constraints_of_sip_settings() {
    let server = Server::start().await;
    let id = server.made("/devices", json!({"name": "Phone"})).await;
    let path = format!("/devices/{id}");
    let table = [
        (json!({"password": "1234"}), "sip.password", "minLength"),
        (json!({"password": "1".repeat(33)}), "sip.password", "maxLength"),
        (json!({"invite_format": "sideways"}), "sip.invite_format", "enum"),
        (json!({"method": "magic"}), "sip.method", "enum"),
        (json!({"expire_seconds": "soon"}), "sip.expire_seconds", "type"),
        (json!({"username": 5}), "sip.username", "type"),
    ];
    for (sip, field, rule) in table {
        let reply = server.ask("PATCH", &path, json!({"data": {"sip": sip}})).await;
        reply.breaks(field, rule);
    }
    assert_eq!(
        server.get(&path).await.json["revision"]
            .as_str()
            .unwrap()
            .split('-')
            .next(),
        Some("1")
    );
}

#[tokio::test]
async fn line_029_030_031_the_entity_tag_of_a_device_is_its_revision() {
    let server = Server::start().await;
    let id = server.made("/devices", json!({"name": "Phone"})).await;
    let path = format!("/devices/{id}");
    let first = server.get(&path).await;
    let tag = first.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", first.json["revision"].as_str().unwrap()));
    let same = server
        .ask_with("GET", &path, &[("if-none-match", &tag)], Value::Null)
        .await;
    assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
    let patched = server
        .ask("PATCH", &path, json!({"data": {"name": "Desk"}}))
        .await;
    assert_ne!(patched.header("etag"), tag);
    let changed = server
        .ask_with("GET", &path, &[("if-none-match", &tag)], Value::Null)
        .await;
    assert_eq!(
        (changed.status.as_u16(), &changed.data()["name"]),
        (200, &json!("Desk"))
    );
    let stale = server
        .ask_with(
            "POST",
            &path,
            &[("if-match", &tag)],
            json!({"data": {"name": "Old"}}),
        )
        .await;
    stale.is_error(409, "datastore_conflict");
}

#[tokio::test]
async fn line_190_only_registered_devices_have_a_status() {
    let server = Server::start().await;
    server.made("/devices", json!({"name": "Phone"})).await;
    let reply = server.get("/devices/status").await;
    assert_eq!((reply.status.as_u16(), reply.data()), (200, &json!([])));
}

#[tokio::test]
async fn a_device_goes_round_keeps_what_nobody_knows_and_shows_its_keys_in_lists() {
    let server = Server::start().await;
    let owner = server
        .made("/users", json!({"first_name": "A", "last_name": "B"}))
        .await;
    let id = server
        .made(
            "/devices",
            json!({
                "name": "Desk", "owner_id": owner, "sip": {"username": "desk", "password": "geheim!"},
                "custom": {"a": [1]}, "ui_metadata": {"ui": "x"}, "_private": 1, "pvt_type": "x", "enabled": "true"
            }),
        )
        .await;
    let path = format!("/devices/{id}");
    let got = server.get(&path).await;
    assert_eq!(
        got.data()["sip"]["password"],
        "geheim!",
        "SIP digest needs it back"
    );
    assert_eq!(got.data()["custom"], json!({"a": [1]}));
    assert_eq!(got.data()["enabled"], true);
    assert!(got.data().get("_private").is_none() && got.data().get("pvt_type").is_none());
    let posted = server.ask("POST", &path, json!({"data": got.data()})).await;
    assert_eq!((posted.status.as_u16(), posted.data()), (200, got.data()));
    let listed = server.get("/devices").await;
    assert_eq!(
        listed.data(),
        &json!([{
            "id": id, "name": "Desk", "owner_id": owner, "enabled": true, "username": "desk", "mac_address": "",
            "device_type": "sip_device", "flags": []
        }])
    );
    server.made("/devices", json!({"name": "Nobody's"})).await;
    let of_user = server.get(&format!("/users/{owner}/devices")).await;
    assert_eq!(of_user.data(), listed.data());
    server
        .get(&format!("/users/{id}/devices"))
        .await
        .is_error(404, "bad_identifier");
    let filtered = server.get("/devices?filter_sip.username=desk").await;
    assert_eq!(filtered.data().as_array().unwrap().len(), 1);
    let deleted = server.ask("DELETE", &path, Value::Null).await;
    assert_eq!(deleted.data()["_read_only"]["deleted"], true);
    for (verb, body) in [
        ("GET", Value::Null),
        ("DELETE", Value::Null),
        ("PATCH", json!({"data": {}})),
        ("POST", json!({"data": {"name": "x"}})),
    ] {
        let reply = server.ask(verb, &path, body).await;
        reply.is_error(404, "bad_identifier");
        assert_eq!(reply.data()["cause"], id.as_str());
    }
}
