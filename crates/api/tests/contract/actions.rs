//! Checklist 79-81, 93: actions on a conference.

use confab_conference::Role;
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn c079_c081_lock_and_unlock_are_taken_and_shown() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let path = format!("/conferences/{id}");
    server.join(&id, "1", Role::Member).await;
    for (body, locked) in [
        (json!({"action": "lock", "data": {}}), true),
        (json!({"action": "lock"}), true),
        (json!({"data": {"action": "unlock"}}), false),
        (
            json!({"data": {"action": "lock", "ui_metadata": {"ui": "monster-ui"}}}),
            true,
        ),
        (json!({"action": "unlock", "data": {"data": {}}}), false),
    ] {
        let reply = server.ask("PUT", &path, body.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.data()),
            (202, &json!("ok")),
            "{body}"
        );
        assert_eq!(reply.json["status"], "success");
        assert_eq!(
            server.get(&path).await.data()["_read_only"]["is_locked"],
            locked,
            "{body}"
        );
    }
    let read = server.get(&path).await;
    assert!(
        read.data().get("ui_metadata").is_none(),
        "an action never writes into the document"
    );
}

#[tokio::test]
async fn an_action_on_a_conference_that_is_not_running_has_no_effect_and_is_no_error() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let path = format!("/conferences/{id}");
    assert_eq!(
        server.ask("PUT", &path, json!({"action": "lock"})).await.status,
        202
    );
    assert_eq!(server.get(&path).await.data()["_read_only"]["is_locked"], false);
    let all = format!("{path}/participants");
    assert_eq!(
        server
            .ask("PUT", &all, json!({"data": {"action": "mute"}}))
            .await
            .data(),
        &json!("ok")
    );
}

#[tokio::test]
async fn end_sends_everybody_home() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let path = format!("/conferences/{id}");
    let end = || server.ask("PUT", &path, json!({"action": "end"}));
    assert_eq!(end().await.status, 202, "what is not running is no error");
    for call in ["1", "2"] {
        server.join(&id, call, Role::Moderator).await;
    }
    let ended = end().await;
    assert_eq!((ended.status.as_u16(), ended.data()), (202, &json!("ok")));
    let after = server.get(&path).await;
    assert_eq!(after.data()["_read_only"]["participant_count"], 0);
    assert_eq!(
        server.get(&format!("{path}/participants")).await.data(),
        &json!([])
    );
}

#[tokio::test]
async fn c093_an_unknown_action_is_told_what_there_is() {
    let server = Server::start().await;
    let id = server.conference(json!({})).await;
    let path = format!("/conferences/{id}");
    let built = json!(["lock", "unlock", "play", "record", "dial", "stop_play", "end"]);
    let reply = server.ask("PUT", &path, json!({"action": "dance"})).await;
    reply.breaks("action", "enum");
    assert_eq!(
        (
            &reply.data()["action"]["enum"]["target"],
            &reply.data()["action"]["enum"]["value"]
        ),
        (&built, &json!("dance"))
    );
    // What a later version does is refused with the same list, and says why.
    for action in ["vars"] {
        let reply = server
            .ask("PUT", &path, json!({"action": action, "data": {"media_id": "x"}}))
            .await;
        reply.breaks("action", "enum");
        assert_eq!(reply.data()["action"]["enum"]["target"], built);
        assert_eq!(reply.data()["action"]["enum"]["cause"], "not in this version");
    }
    server
        .ask("PUT", &path, json!({"data": {}}))
        .await
        .breaks("action", "required");
    server
        .ask("PUT", &path, Value::Null)
        .await
        .breaks("action", "required");
    server
        .ask("PUT", &path, json!({}))
        .await
        .breaks("data", "required");
    let unknown = server
        .ask("PUT", "/conferences/nothing", json!({"action": "lock"}))
        .await;
    unknown.is_error(404, "bad_identifier");
}
