//! Checklist 196, 200, 201: documents of media.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn line_196_200_201_a_media_document_is_made_listed_found_and_deleted() {
    let server = Server::start().await;
    let reply = server
        .ask(
            "PUT",
            "/media",
            json!({"data": {"name": "Jingle", "description": "x"}}),
        )
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let id = reply.data()["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), server.uri(&format!("/media/{id}")));
    assert_eq!(reply.data()["media_source"], "upload");
    assert_eq!(
        (&reply.data()["language"], &reply.data()["streamable"]),
        (&json!("en-us"), &json!(true))
    );
    server
        .made("/media", json!({"name": "Other", "media_source": "recording"}))
        .await;
    let found = server.get("/media?filter_name=Jingle").await;
    let item = json!({
        "id": id, "name": "Jingle", "language": "en-us", "media_source": "upload", "is_prompt": false, "flags": []
    });
    assert_eq!(found.data(), &json!([item]));
    assert_eq!(server.get("/media").await.data().as_array().unwrap().len(), 2);
    let path = format!("/media/{id}");
    let patched = server
        .ask("PATCH", &path, json!({"data": {"description": "y"}}))
        .await;
    assert_eq!(
        (patched.status.as_u16(), &patched.data()["name"]),
        (200, &json!("Jingle"))
    );
    assert_eq!(server.ask("DELETE", &path, Value::Null).await.status, 200);
    server.get(&path).await.is_error(404, "bad_identifier");
    assert_eq!(server.get("/media?filter_name=Jingle").await.data(), &json!([]));
}

#[tokio::test]
async fn a_prompt_is_known_by_its_language_and_name() {
    let server = Server::start().await;
    let prompt = json!({"data": {"name": "Welcome", "prompt_id": "conf-welcome", "language": "fr-FR"}});
    let made = server.ask("PUT", "/media", prompt.clone()).await;
    assert_eq!(
        (made.status.as_u16(), &made.data()["id"]),
        (201, &json!("fr-fr%2Fconf-welcome"))
    );
    assert_eq!(made.header("location"), server.uri("/media/fr-fr%2Fconf-welcome"));
    server
        .ask("PUT", "/media", prompt.clone())
        .await
        .is_error(409, "datastore_conflict");
    let path = "/media/fr-fr%2Fconf-welcome";
    assert_eq!(server.get(path).await.data()["name"], "Welcome");
    assert_eq!(server.get("/media").await.data()[0]["is_prompt"], true);
    let other = json!({"data": {"prompt_id": "conf-alone"}});
    server
        .ask("PATCH", path, other)
        .await
        .breaks("prompt_id", "invalid");
    // Nothing is left of a prompt: made anew, it begins at its first revision.
    assert_eq!(server.ask("DELETE", path, Value::Null).await.status, 200);
    let again = server.ask("PUT", "/media", prompt).await;
    assert!(
        again.json["revision"].as_str().unwrap().starts_with("1-"),
        "{}",
        again.text
    );
}

#[tokio::test]
async fn a_deletion_may_leave_nothing() {
    let server = Server::start().await;
    let wanted = "0123456789abcdef0123456789abcdef";
    for (body, revision) in [
        (Value::Null, "3-"),
        (json!({"data": {"hard_delete": true}}), "1-"),
    ] {
        server.made("/media", json!({"name": "m", "id": wanted})).await;
        assert_eq!(
            server
                .ask("DELETE", &format!("/media/{wanted}"), body)
                .await
                .status,
            200
        );
        let again = json!({"data": {"name": "m", "id": wanted}});
        let again = server.ask("PUT", "/media", again).await;
        assert!(
            again.json["revision"].as_str().unwrap().starts_with(revision),
            "{}",
            again.text
        );
        let hard = json!({"data": {"hard_delete": true}});
        server.ask("DELETE", &format!("/media/{wanted}"), hard).await;
    }
}
