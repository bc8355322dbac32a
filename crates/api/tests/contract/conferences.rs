//! Checklist 44-78: conference documents.

use std::time::Duration;

use confab_conference::{Caller, ConferenceId, Role, Settings};
use confab_documents::Kind;
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn c044_to_c046_an_empty_document_gets_defaults_and_an_address() {
    let server = Server::start().await;
    let reply = server.ask("PUT", "/conferences", json!({"data": {}})).await;
    assert_eq!(reply.status, 201);
    let id = reply.data()["id"].as_str().unwrap();
    assert_eq!(
        reply.data(),
        &json!({
            "id": id, "conference_numbers": [], "play_name": false,
            "member": {"join_deaf": false, "join_muted": true, "numbers": [], "pins": []},
            "moderator": {"join_deaf": false, "join_muted": false, "numbers": [], "pins": []}
        })
    );
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(
        reply.header("location"),
        server.uri(&format!("/conferences/{id}"))
    );
    let read = server.get(&format!("/conferences/{id}")).await;
    assert_eq!((read.status.as_u16(), &read.data()["id"]), (200, &json!(id)));
}

#[tokio::test]
async fn c047_unknown_keys_round_trip() {
    let server = Server::start().await;
    let custom = json!({"deep": [{"x": null, "y": 1.5e3, "ü": "\u{1F600}"}]});
    let id = server
        .conference(json!({"custom": custom, "ui_metadata": {"ui": "monster-ui"}}))
        .await;
    let read = server.get(&format!("/conferences/{id}")).await;
    assert_eq!(
        (&read.data()["custom"], &read.data()["ui_metadata"]["ui"]),
        (&custom, &json!("monster-ui"))
    );
}

#[tokio::test]
async fn c048_to_c065_violations_come_together_under_flat_keys() {
    let server = Server::start().await;
    let data = json!({
        "name": "x".repeat(129), "owner_id": "0".repeat(31), "member": {"pins": ["12a", 1234], "join_muted": "true"},
        "conference_numbers": ["+1", "2", "2"], "profile": {"rate": 11025, "comfort-noise": 10001},
        "play_entry_tone": {}, "max_participants": 1.5
    });
    let reply = server.ask("PUT", "/conferences", json!({ "data": data })).await;
    for (field, rule) in [
        ("name", "maxLength"),
        ("owner_id", "minLength"),
        ("member.pins.0", "pattern"),
        ("member.pins.1", "type"),
        ("conference_numbers", "uniqueItems"),
        ("conference_numbers.0", "pattern"),
        ("profile.rate", "enum"),
        ("profile.comfort-noise", "maximum"),
        ("play_entry_tone", "type"),
        ("max_participants", "type"),
    ] {
        reply.breaks(field, rule);
    }
    assert_eq!(reply.data().as_object().unwrap().len(), 10);
    assert_eq!(reply.data()["name"]["maxLength"]["target"], 128);
    server
        .ask("PUT", "/conferences", json!({"data": {"name": ""}}))
        .await
        .breaks("name", "minLength");
    let repaired = server
        .ask("PUT", "/conferences", json!({"data": {"play_name": "true"}}))
        .await;
    assert_eq!(repaired.data()["play_name"], true);
}

#[tokio::test]
async fn c064_sounds_of_coming_and_going_have_to_be_sounds() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let path = format!("/conferences/{id}");
    let kept = [
        json!("tone_stream://%(500,0,440)"),
        json!("http://example.com/gong.wav"),
        json!("silence_stream://1"),
        json!(""),
        json!("true"),
        json!("false"),
        json!(false),
        json!("00112233445566778899aabbccddeeff"),
        json!("conf-has_joined"),
    ];
    for value in kept {
        let data = json!({"data": {"play_entry_tone": value, "play_exit_tone": value}});
        let reply = server.ask("PATCH", &path, data).await;
        assert_eq!(reply.status, 200, "{value}: {}", reply.text);
        assert_eq!(reply.data()["play_entry_tone"], value);
    }
    for value in [
        "beep",
        "broken",
        "silence_stream://-1",
        "say:somebody has come",
        "conf-nope",
        "fedcba9876543210fedcba9876543210",
        "/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef",
    ] {
        for (verb, path) in [("PUT", "/conferences"), ("POST", &path), ("PATCH", &path)] {
            let data = json!({
                "play_entry_tone": value, "play_exit_tone": value, "name": "",
                "profile": {"enter-sound": value, "exit-sound": value, "moh-sound": "silence_stream://-1"}
            });
            let reply = server.ask(verb, path, json!({ "data": data })).await;
            for field in [
                "play_entry_tone",
                "play_exit_tone",
                "profile.enter-sound",
                "profile.exit-sound",
            ] {
                reply.breaks(field, "invalid");
                assert_eq!(reply.data()[field]["invalid"]["value"], value);
            }
            let others = if verb == "PATCH" { 0 } else { 1 };
            assert_eq!(
                reply.data().as_object().unwrap().len(),
                4 + others,
                "{}",
                reply.text
            );
        }
    }
    let read = server.get(&path).await;
    assert_eq!(read.data()["play_entry_tone"], "conf-has_joined");
}

#[tokio::test]
async fn every_key_that_names_a_sound_is_looked_at() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let schema: Value =
        serde_json::from_str(include_str!("../../../documents/schemas/conferences.json")).unwrap();
    let of_profiles = schema["properties"]["profile"]["properties"].as_object().unwrap();
    let mut fields: Vec<String> = of_profiles
        .keys()
        .filter(|key| key.ends_with("-sound"))
        .map(|key| format!("profile.{key}"))
        .collect();
    assert_eq!(fields.len(), 13);
    fields.extend(["play_entry_tone", "play_exit_tone", "max_members_media"].map(str::to_owned));
    for field in fields {
        let path = format!("/conferences/{id}");
        let data = |value: &str| match field.split_once('.') {
            Some((_, key)) => json!({"data": {"profile": {key: value}}}),
            None => json!({"data": {field.as_str(): value}}),
        };
        for value in ["conf-nope", "say:hello", "broken"] {
            for (verb, path) in [("PUT", "/conferences"), ("POST", &path), ("PATCH", &path)] {
                server
                    .ask(verb, path, data(value))
                    .await
                    .breaks(&field, "invalid");
            }
        }
        for value in ["", "conf-has_joined"] {
            assert_eq!(
                server.ask("PATCH", &path, data(value)).await.status,
                200,
                "{field}: {value}"
            );
        }
    }
    for field in [
        "entry_tone",
        "exit_tone",
        "moderator_entry_tone",
        "moderator_exit_tone",
    ] {
        let data = json!({"data": {field: "conf-nope"}});
        let reply = server.ask("POST", "/configs/conferences", data).await;
        reply.breaks(field, "invalid");
    }
    let words = json!({"data": {"profile": {"muted-sound": "true"}}});
    let reply = server.ask("PUT", "/conferences", words).await;
    reply.breaks("profile.muted-sound", "invalid");
}

#[tokio::test]
async fn a_document_can_be_saved_again_when_a_sound_of_it_is_gone() {
    let server = Server::start().await;
    let gone = "0123456789abcdef0123456789abcdef";
    let stored = json!({"name": "before", "play_entry_tone": gone, "profile": {"moh-sound": gone}});
    let body = stored.as_object().unwrap().clone();
    let kind = Kind::Conference;
    let made = server.store.create(&server.account, kind, body).await.unwrap();
    let path = format!("/conferences/{}", made.id);
    for verb in ["POST", "PATCH"] {
        let mut data = stored.clone();
        data["name"] = json!(verb);
        let reply = server.ask(verb, &path, json!({ "data": data })).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(
            (&reply.data()["name"], &reply.data()["profile"]["moh-sound"]),
            (&json!(verb), &json!(gone))
        );
        // What names it newly is judged, and so is another that is not there.
        data["play_exit_tone"] = json!(gone);
        data["profile"]["moh-sound"] = json!("fedcba9876543210fedcba9876543210");
        let reply = server.ask(verb, &path, json!({ "data": data })).await;
        reply.breaks("play_exit_tone", "invalid");
        reply.breaks("profile.moh-sound", "invalid");
        assert_eq!(reply.data().as_object().unwrap().len(), 2, "{}", reply.text);
    }
    let reply = server.ask("PUT", "/conferences", json!({ "data": stored })).await;
    reply.breaks("play_entry_tone", "invalid");
}

#[tokio::test]
async fn a_prompt_is_looked_for_in_the_language_of_the_conference() {
    let server = Server::start().await;
    let french = json!({"data": {"language": "fr-FR", "profile": {"alone-sound": "mine"}}});
    let reply = server.ask("PUT", "/conferences", french).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let path = format!("/conferences/{}", reply.data()["id"].as_str().unwrap());
    let change = json!({"data": {"profile": {"deaf-sound": "mine"}}});
    assert_eq!(server.ask("PATCH", &path, change.clone()).await.status, 200);
    let reply = server.ask("PUT", "/conferences", change).await;
    reply.breaks("profile.deaf-sound", "invalid");
}

#[tokio::test]
async fn pins_can_be_typed_and_pin_timeout_is_a_time() {
    let server = Server::start().await;
    let pin = |length| "1".repeat(length);
    let longest = json!({"data": {"member": {"pins": [pin(128)]}, "pin_timeout": 700}});
    let reply = server.ask("PUT", "/conferences", longest).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    for role in ["member", "moderator"] {
        let data = json!({"data": {role: {"pins": ["1", pin(129)]}}});
        let reply = server.ask("PUT", "/conferences", data).await;
        reply.breaks(&format!("{role}.pins.1"), "maxLength");
    }
    for (timeout, rule) in [(json!("abc"), "type"), (json!(0), "minimum")] {
        let reply = server
            .ask("PUT", "/conferences", json!({"data": {"pin_timeout": timeout}}))
            .await;
        reply.breaks("pin_timeout", rule);
    }
}

#[tokio::test]
async fn c054_to_c058_numbers_are_unique_within_the_account() {
    let server = Server::start().await;
    let id = server
        .conference(json!({"conference_numbers": ["100"], "member": {"numbers": ["101"]}}))
        .await;
    let taken = json!({"data": {"moderator": {"numbers": ["101", "100", "102"]}}});
    let reply = server.ask("PUT", "/conferences", taken.clone()).await;
    reply.breaks("numbers", "unique");
    assert_eq!(
        reply.data()["numbers"]["unique"],
        json!({"message": "Numbers already in use", "cause": "100, 101"})
    );
    let path = format!("/conferences/{id}");
    let own = server
        .ask(
            "PATCH",
            &path,
            json!({"data": {"moderator": {"numbers": ["100"]}}}),
        )
        .await;
    assert_eq!(own.status, 200);
    let (child, token) = server.child(&server.account).await;
    let uri = format!("/v2/accounts/{child}/conferences");
    let elsewhere = server
        .send("PUT", &uri, &[("x-auth-token", &token)], &taken.to_string())
        .await;
    assert_eq!(elsewhere.status, 201);
    server.ask("DELETE", &path, Value::Null).await;
    assert_eq!(server.ask("PUT", "/conferences", taken).await.status, 201);
}

#[tokio::test]
async fn c066_c067_post_replaces_and_ignores_what_the_server_writes() {
    let server = Server::start().await;
    let id = server
        .conference(json!({"name": "A", "custom": 1, "max_participants": 5}))
        .await;
    let path = format!("/conferences/{id}");
    server.join(&id, "call-1", Role::Member).await;
    let mut data = server.get(&path).await.data().clone();
    assert_eq!(data["focus"], "confab@test");
    data.as_object_mut().unwrap().remove("custom");
    data["name"] = json!("B");
    let reply = server.ask("POST", &path, json!({ "data": data })).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.data()["name"], &reply.data()["id"]),
        (200, &json!("B"), &json!(id))
    );
    for gone in ["custom", "_read_only", "focus"] {
        assert!(reply.data().get(gone).is_none(), "{gone}");
    }
    assert!(reply.json["revision"].as_str().unwrap().starts_with("2-"));
    // The running instance was told.
    let updates = server.live.updates.lock().unwrap();
    let (told, settings) = updates.last().unwrap();
    assert_eq!(
        (told.as_str(), settings.name.as_str(), settings.max_participants),
        (id.as_str(), "B", Some(5))
    );
}

#[tokio::test]
async fn c068_c069_patch_merges_and_a_bad_one_changes_nothing() {
    let server = Server::start().await;
    let id = server
        .conference(json!({"name": "A", "custom": {"a": 1, "b": [1, 2]}}))
        .await;
    let path = format!("/conferences/{id}");
    let reply = server
        .ask(
            "PATCH",
            &path,
            json!({"data": {"custom": {"a": null, "b": [3]}, "name": null, "member": {"join_muted": false}}}),
        )
        .await;
    assert_eq!(reply.data()["custom"], json!({"b": [3]}));
    assert!(reply.data().get("name").is_none());
    assert_eq!(
        reply.data()["member"],
        json!({"join_deaf": false, "join_muted": false, "numbers": [], "pins": []})
    );
    server
        .ask("PATCH", &path, json!({"data": {"profile": {"interval": 9}}}))
        .await
        .breaks("profile.interval", "minimum");
    let read = server.get(&path).await;
    assert_eq!(
        (read.json["revision"].as_str(), read.data().get("profile")),
        (reply.json["revision"].as_str(), None)
    );
}

#[tokio::test]
async fn c070_to_c072_delete_is_final_and_unknown_ids_are_told() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A"})).await;
    let path = format!("/conferences/{id}");
    let participant = server.join(&id, "call-1", Role::Member).await;
    let reply = server.ask("DELETE", &path, Value::Null).await;
    assert_eq!((reply.status.as_u16(), &reply.data()["name"]), (200, &json!("A")));
    assert_eq!(reply.data()["_read_only"], json!({"deleted": true}));
    assert_eq!(server.get("/conferences").await.data(), &json!([]));
    // Nobody was kicked: the instance goes on, as one without a document.
    let running = server.get(&path).await;
    assert_eq!(
        (running.status.as_u16(), &running.data()["_read_only"]["members"]),
        (200, &json!(1))
    );
    let kick = format!("{path}/participants/{participant}");
    assert_eq!(
        server
            .ask("PUT", &kick, json!({"data": {"action": "kick"}}))
            .await
            .status,
        202
    );
    for (method, body) in [
        ("GET", Value::Null),
        ("POST", json!({"data": {}})),
        ("PATCH", json!({"data": {}})),
        ("DELETE", Value::Null),
        ("PUT", json!({"action": "lock"})),
    ] {
        let reply = server.ask(method, &path, body).await;
        reply.is_error(404, "bad_identifier");
        assert_eq!(
            reply.data(),
            &json!({"message": "bad identifier", "cause": id}),
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_chosen_id_is_honoured_when_free() {
    let server = Server::start().await;
    let id = "ab".repeat(16);
    assert_eq!(server.conference(json!({"id": id})).await, id);
    let reply = server
        .ask("PUT", "/conferences", json!({"data": {"id": id}}))
        .await;
    reply.is_error(409, "datastore_conflict");
    server
        .ask("PUT", "/conferences", json!({"data": {"id": "x"}}))
        .await
        .breaks("id", "pattern");
}

#[tokio::test]
async fn c074_c076_an_idle_conference_says_so_in_both_places() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let read = server.get(&format!("/conferences/{id}")).await;
    let idle = json!({
        "members": 0, "moderators": 0, "admins": 0, "participant_count": 0, "duration": 0, "is_locked": false,
        "participants": []
    });
    assert_eq!(read.data()["_read_only"], idle);
    assert_eq!(read.json["metadata"], idle);
    assert!(read.data().get("focus").is_none());
}

#[tokio::test]
async fn c075_a_running_conference_shows_its_live_data() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    for (call, role) in [
        ("1", Role::Member),
        ("2", Role::Member),
        ("3", Role::Moderator),
        ("ghost", Role::Member),
    ] {
        server.join(&id, call, role).await;
    }
    server.clock.advance(Duration::from_secs(7));
    let path = format!("/conferences/{id}");
    server
        .ask("PUT", &path, json!({"action": "lock", "data": {}}))
        .await;
    let read = server.get(&path).await;
    let live = &read.data()["_read_only"];
    let counts = [
        "members",
        "moderators",
        "admins",
        "participant_count",
        "duration",
        "is_locked",
        "sequence",
    ];
    let values: Vec<&Value> = counts.iter().map(|key| &live[key]).collect();
    // Ghosts are listed and not counted. create, four joins and the lock make six events.
    assert_eq!(
        values,
        [
            &json!(2),
            &json!(1),
            &json!(1),
            &json!(3),
            &json!(7),
            &json!(true),
            &json!(6)
        ]
    );
    assert_eq!(live["participants"].as_array().unwrap().len(), 4);
    assert_eq!(live["instance_id"], "instance-1");
    assert_eq!(&read.json["metadata"], live);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(server.get(&path).await.data()["_read_only"]["duration"], 8);
}

#[tokio::test]
async fn c077_c078_what_runs_without_a_document_is_found_and_what_does_neither_is_not() {
    let server = Server::start().await;
    let id = ConferenceId::from("team call");
    server.live.join(
        &server.account,
        &id,
        Settings::default(),
        Caller::new("1"),
        Role::Member,
    );
    let read = server.get("/conferences/team%20call").await;
    assert_eq!(
        (read.status.as_u16(), &read.data()["id"]),
        (200, &json!("team call"))
    );
    assert_eq!(read.data()["member"]["join_muted"], true);
    assert!(read.json.get("revision").is_none());
    assert_eq!(
        server.get("/conferences").await.data(),
        &json!([]),
        "what has no document is not listed"
    );
    let reply = server.get("/conferences/other").await;
    reply.is_error(404, "bad_identifier");
    assert_eq!(reply.data()["cause"], "other");
}

#[tokio::test]
async fn another_accounts_conference_is_unknown() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let (child, token) = server.child(&server.account).await;
    let uri = format!("/v2/accounts/{child}/conferences/{id}");
    for (method, body) in [
        ("GET", ""),
        ("PATCH", "{\"data\":{}}"),
        ("DELETE", ""),
        ("PUT", "{\"action\":\"lock\"}"),
    ] {
        let reply = server.send(method, &uri, &[("x-auth-token", &token)], body).await;
        reply.is_error(404, "bad_identifier");
    }
}
