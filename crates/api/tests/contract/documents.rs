//! What documents of every kind have in common, trunks, configurations, schemas.

use std::collections::BTreeSet;

use confab_conference::ConferenceId;
use serde_json::{Value, json};

use crate::support::Server;

/// One collection and a document that may be made there.
fn collections() -> [(&'static str, Value); 5] {
    [
        ("/conferences", json!({"name": "n"})),
        ("/devices", json!({"name": "n"})),
        ("/media", json!({"name": "n"})),
        (
            "/resources",
            json!({"name": "n", "gateways": [{"server": "gw.example"}]}),
        ),
        ("/users", json!({"first_name": "n", "last_name": "n"})),
    ]
}

#[tokio::test]
async fn every_kind_is_paged_filtered_and_chosen_by_id_alike() {
    let server = Server::start().await;
    for (collection, document) in collections() {
        for n in 0..5 {
            let mut document = document.clone();
            document["number"] = n.into();
            server.made(collection, document).await;
        }
        let (mut seen, mut key) = (BTreeSet::new(), String::new());
        for expected in [2, 2, 1] {
            let page = server
                .get(&format!(
                    "{collection}?has_key=number&page_size=2&start_key={key}"
                ))
                .await;
            assert_eq!(page.json["page_size"], expected, "{collection}");
            seen.extend(
                page.data()
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["id"].to_string()),
            );
            key = page.json["next_start_key"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
        }
        assert_eq!((seen.len(), key.as_str()), (5, ""), "{collection}");
        for (query, count) in [
            ("filter_number=3", 1),
            ("has_key=number&filter_not_number=3", 4),
            ("filter_number=7", 0),
            ("has_key=number&created_from=99999999999", 0),
        ] {
            let found = server.get(&format!("{collection}?{query}")).await;
            assert_eq!(
                found.data().as_array().unwrap().len(),
                count,
                "{collection}?{query}"
            );
        }
        let all = server
            .get(&format!("{collection}?paginate=false&has_key=number"))
            .await;
        assert!(all.data().as_array().unwrap().len() == 5 && all.json.get("page_size").is_none());
        let tag = all.header("etag").to_owned();
        let uri = format!("{collection}?paginate=false&has_key=number");
        let same = server
            .ask_with("GET", &uri, &[("if-none-match", &tag)], Value::Null)
            .await;
        assert_eq!(same.status, 304, "{collection}");
        let mut chosen = document.clone();
        chosen["id"] = "00112233445566778899aabbccddeeff".into();
        let made = server.ask("PUT", collection, json!({"data": chosen})).await;
        assert_eq!(made.data()["id"], chosen["id"], "{}", made.text);
        let twice = server.ask("PUT", collection, json!({"data": chosen})).await;
        twice.is_error(409, "datastore_conflict");
        chosen["id"] = "team".into();
        server
            .ask("PUT", collection, json!({"data": chosen}))
            .await
            .breaks("id", "pattern");
        server
            .ask("PATCH", collection, json!({"data": {}}))
            .await
            .is_error(405, "invalid_method");
    }
}

#[tokio::test]
async fn no_kind_fails_on_what_a_client_can_send() {
    let server = Server::start().await;
    let mut deep = json!(1);
    for _ in 0..110 {
        deep = json!({ "a": deep });
    }
    for (collection, document) in collections() {
        let id = server.made(collection, document.clone()).await;
        let path = format!("{collection}/{id}");
        let mut too_deep = document.clone();
        too_deep["custom"] = deep.clone();
        server
            .ask("PUT", collection, json!({"data": too_deep}))
            .await
            .breaks("data", "invalid");
        let mut wrong = document.clone();
        wrong["flags"] = json!("red");
        server
            .ask("POST", &path, json!({ "data": wrong }))
            .await
            .breaks("flags", "type");
        let uri = server.uri(&path);
        let token = ("x-auth-token", server.token.as_str());
        let doubled = r#"{"data":{"custom":1,"custom":2,"nul":"a\u0000b"}}"#;
        let doubled = server.send("PATCH", &uri, &[token], doubled).await;
        assert_eq!(
            (doubled.status.as_u16(), &doubled.data()["custom"]),
            (200, &json!(2)),
            "{collection}"
        );
        assert_eq!(server.get(&path).await.data()["nul"], "a\u{0}b");
        for odd in ["%00", "%FF", "..", "a%2Fb", "%F0%9F%92%A9"] {
            for verb in ["GET", "POST", "PATCH", "DELETE"] {
                let body = if verb == "GET" {
                    Value::Null
                } else {
                    json!({ "data": document })
                };
                let reply = server.ask(verb, &format!("{collection}/{odd}"), body).await;
                assert_eq!(reply.status, 404, "{verb} {collection}/{odd}: {}", reply.text);
            }
        }
        for body in [json!([]), json!({"data": []}), json!({"data": "x"}), json!({})] {
            let reply = server.ask("PUT", collection, body.clone()).await;
            assert_eq!(reply.status, 400, "{collection} {body}: {}", reply.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_at_once_lose_nothing_and_one_of_two_who_expect_a_revision_is_told() {
    let server = std::sync::Arc::new(Server::start().await);
    let id = server.made("/devices", json!({"name": "n"})).await;
    let path = format!("/devices/{id}");
    let tag = server.get(&path).await.header("etag").to_owned();
    let tasks: Vec<_> = (0..8)
        .map(|n: u32| {
            let (server, path, tag) = (server.clone(), path.clone(), tag.clone());
            tokio::spawn(async move {
                let merged = json!({"data": { format!("key{n}"): n }});
                assert_eq!(server.ask("PATCH", &path, merged).await.status, 200);
                let body = json!({"data": {"winner": n}});
                server
                    .ask_with("PATCH", &path, &[("if-match", &tag)], body)
                    .await
                    .status
                    .as_u16()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 409, "every one has patched before");
    }
    let device = server.get(&path).await;
    assert!(
        (0..8).all(|n| device.data()[format!("key{n}")] == json!(n)),
        "{}",
        device.text
    );
    assert!(device.json["revision"].as_str().unwrap().starts_with("9-"));
}

#[tokio::test]
async fn a_trunk_keeps_gateways_rules_and_weight() {
    let server = Server::start().await;
    let id = server
        .made(
            "/resources",
            json!({
                "name": "World", "weight_cost": "20", "rules": ["^\\+1(\\d{10})$"],
                "gateways": [{"server": "gw.example", "username": "u", "password": "p", "port": 5080}]
            }),
        )
        .await;
    let path = format!("/resources/{id}");
    let trunk = server.get(&path).await;
    assert_eq!(trunk.data()["weight_cost"], 20);
    assert_eq!(
        trunk.data()["gateways"],
        json!([{
            "server": "gw.example", "username": "u", "password": "p", "port": 5080, "enabled": true,
            "invite_format": "e164", "register": false
        }])
    );
    // Nothing watches it here.
    assert_eq!(server.get("/resources/status").await.data(), &json!([]));
    let listed = server.get("/resources").await;
    let item = json!({"id": id, "name": "World", "enabled": true, "weight_cost": 20, "flags": []});
    assert_eq!(listed.data(), &json!([item]));
    let wrong = json!({"data": {"rules": ["^1", "(["]}});
    server
        .ask("PATCH", &path, wrong)
        .await
        .breaks("rules.1", "invalid");
    let wrong = json!({"data": {"gateways": [{"port": 0}]}});
    let wrong = server.ask("PATCH", &path, wrong).await;
    wrong.breaks("gateways.0.server", "required");
    wrong.breaks("gateways.0.port", "minimum");
}

#[tokio::test]
async fn a_configuration_is_made_by_its_first_write_and_its_profiles_are_what_names_mean() {
    let server = Server::start().await;
    let path = "/configs/conferences";
    server.get(path).await.is_error(404, "bad_identifier");
    let id = server.conference(json!({"profile_name": "board"})).await;
    let document = async || {
        let id = ConferenceId::from(id.as_str());
        server
            .store
            .conference(&server.account, &id)
            .await
            .unwrap()
            .unwrap()
    };
    let rate = async || server.store.settings(&document().await).await.unwrap().rate_hz;
    assert_eq!(rate().await, None);
    server.join(&id, "call-1", confab_conference::Role::Member).await;
    server.live.updates.lock().unwrap().clear();
    let profiles = json!({"data": {"profiles": {"board": {"rate": "32000", "enter-sound": "%(100,0,440)"}}}});
    let reply = server.ask("PATCH", path, profiles).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    let profiles = json!({"data": {"profiles": {"board": {"rate": "32000", "enter-sound": "tone_stream://%(100,0,440)"}}}});
    let reply = server.ask("PATCH", path, profiles).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.data()["id"]),
        (200, &json!("conferences")),
        "{}",
        reply.text
    );
    assert!(reply.json["revision"].as_str().unwrap().starts_with("1-"));
    assert_eq!(rate().await, Some(32000));
    let told = server.live.updates.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "the running conference is told");
    assert_eq!(
        (told[0].0.as_str(), told[0].1.rate_hz),
        (id.as_str(), Some(32000))
    );
    // Groups of controls are kept, with their rules.
    let groups = json!({"data": {"controls": {"mine": [{"action": "mute", "digits": "1"}]}}});
    assert_eq!(
        server.ask("PATCH", path, groups).await.data()["profiles"]["board"]["rate"],
        32000
    );
    for (wrong, field, rule) in [
        (
            json!({"profiles": {"board": {"rate": 11025}}}),
            "profiles.board.rate",
            "enum",
        ),
        (
            json!({"profiles": {"a.b": {"exit-sound": "nothing known"}}}),
            "profiles.a%2Eb.exit-sound",
            "invalid",
        ),
        (
            json!({"controls": {"mine": [{"digits": "1"}]}}),
            "controls.mine.0.action",
            "required",
        ),
        (json!({"profiles": []}), "profiles", "type"),
    ] {
        server
            .ask("PATCH", path, json!({ "data": wrong }))
            .await
            .breaks(field, rule);
    }
    let replaced = server.ask("POST", path, json!({"data": {"x": 1}})).await;
    assert_eq!(replaced.data(), &json!({"id": "conferences", "x": 1}));
    assert_eq!(rate().await, None);
    assert_eq!(server.ask("DELETE", path, Value::Null).await.status, 200);
    server.get(path).await.is_error(404, "bad_identifier");
    let stale = server.ask_with(
        "POST",
        path,
        &[("if-match", "\"1-0123456789abcdef0123456789abcdef\"")],
        json!({"data": {}}),
    );
    stale.await.is_error(404, "bad_identifier");
    let again = server.ask("POST", path, json!({"data": {}})).await;
    assert!(
        again.json["revision"].as_str().unwrap().starts_with("5-"),
        "{}",
        again.text
    );
    let other = server
        .ask(
            "POST",
            "/configs/mine.own",
            json!({"data": {"profiles": "anything"}}),
        )
        .await;
    assert_eq!(other.status, 200, "{}", other.text);
    server
        .ask("POST", "/configs/no%20name", json!({"data": {}}))
        .await
        .is_error(404, "bad_identifier");
}

#[tokio::test]
async fn the_schemas_are_published_to_everybody() {
    let server = Server::start().await;
    let names = server.send("GET", "/v2/schemas", &[], "").await;
    assert_eq!(names.status, 200, "{}", names.text);
    let names: Vec<&str> = names
        .data()
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for name in [
        "accounts",
        "conferences",
        "devices",
        "media",
        "resources",
        "users",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    for name in names {
        let schema = server.send("GET", &format!("/v2/schemas/{name}/"), &[], "").await;
        assert_eq!(
            (schema.status.as_u16(), &schema.data()["type"]),
            (200, &json!("object")),
            "{name}"
        );
    }
    let devices = server.send("GET", "/v2/schemas/devices", &[], "").await;
    assert_eq!(
        devices.data()["properties"]["sip"]["properties"]["password"]["minLength"],
        5
    );
    server
        .send("GET", "/v2/schemas/nothing", &[], "")
        .await
        .is_error(404, "bad_identifier");
}
