//! Checklist 1-34: logins, tokens, envelope, verbs, bodies, CORS, entity tags.

use std::time::Duration;

use confab_api::ApiConfig;
use confab_conference::Role;
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn c001_a_valid_api_key_gets_a_token() {
    let server = Server::start().await;
    let body = json!({"data": {"api_key": server.api_key}}).to_string();
    let reply = server.send("PUT", "/v2/api_auth", &[], &body).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.json["status"], "success");
    assert_eq!(reply.json["auth_token"].as_str().unwrap().len(), 64);
    assert_eq!(
        reply.data(),
        &json!({
            "account_id": server.account.as_str(), "account_name": "Acme Inc", "is_reseller": false,
            "reseller_id": server.account.as_str(), "language": "en-us", "apps": []
        })
    );
}

#[tokio::test]
async fn c002_an_unknown_or_malformed_api_key_gets_none() {
    let server = Server::start().await;
    let login = async |data: Value| {
        server
            .send("PUT", "/v2/api_auth", &[], &json!({ "data": data }).to_string())
            .await
    };
    let unknown = "0".repeat(64);
    let reply = login(json!({"api_key": unknown})).await;
    reply.is_error(404, "bad identifier");
    assert_eq!(reply.data(), &json!([unknown]));
    login(json!({"api_key": "short"}))
        .await
        .breaks("api_key", "minLength");
    login(json!({"api_key": "0".repeat(65)}))
        .await
        .breaks("api_key", "maxLength");
    login(json!({"api_key": 5})).await.breaks("api_key", "type");
    login(json!({})).await.breaks("api_key", "required");
    server
        .send("PUT", "/v2/api_auth", &[], "")
        .await
        .breaks("api_key", "required");
}

#[tokio::test]
async fn c006_c007_without_a_good_token_there_is_401() {
    let server = Server::start().await;
    let uri = server.uri("/conferences");
    for headers in [&[][..], &[("x-auth-token", "garbage")], &[("x-auth-token", "")]] {
        let reply = server.send("GET", &uri, headers, "").await;
        reply.is_error(401, "invalid_credentials");
        assert_eq!(reply.data(), &json!({"message": "invalid credentials"}));
        assert!(reply.json.get("version").is_none() && reply.json.get("auth_token").is_none());
    }
    server
        .send("GET", "/v2/account/conferences", &[], "")
        .await
        .is_error(401, "invalid_credentials");
}

#[tokio::test]
async fn c008_an_expired_or_revoked_token_is_told_so() {
    let server = Server::start().await;
    server.clock.advance(Duration::from_secs(3599));
    assert_eq!(server.get("/conferences").await.status, 200);
    server.clock.advance(Duration::from_secs(1));
    let reply = server.get("/conferences").await;
    reply.is_error(401, "invalid credentials");
    assert_eq!(reply.data(), &json!({}));

    let token = server.login(&server.api_key).await;
    let with = [("x-auth-token", token.as_str())];
    let info = server.send("GET", "/v2/token_auth", &with, "").await;
    assert_eq!(
        (info.status.as_u16(), &info.data()["account_id"]),
        (200, &json!(server.account.as_str()))
    );
    assert_eq!(
        info.data()["expires"].as_u64().unwrap(),
        62_167_219_200 + crate::support::START_UNIX + 2 * 3600
    );
    assert_eq!(
        server.send("DELETE", "/v2/token_auth", &with, "").await.status,
        200
    );
    server
        .send("GET", "/v2/token_auth", &with, "")
        .await
        .is_error(401, "invalid credentials");
}

#[tokio::test]
async fn c009_to_c011_a_token_may_come_in_every_carrier() {
    let server = Server::start().await;
    let (uri, token) = (server.uri("/conferences"), server.token.clone());
    let bearer = format!("bearer {token}");
    let in_body = json!({"auth_token": token, "data": {}}).to_string();
    let attempts = [
        server
            .send("GET", &format!("{uri}?auth_token={token}"), &[], "")
            .await,
        server.send("PUT", &uri, &[], &in_body).await,
        server.send("GET", &uri, &[("authorization", &bearer)], "").await,
        server
            .send("GET", &format!("{uri}?authorization={token}"), &[], "")
            .await,
        server
            .send(
                "GET",
                &format!("{uri}?auth_token={token}"),
                &[("x-auth-token", "")],
                "",
            )
            .await,
    ];
    for reply in attempts {
        assert!(reply.status.is_success(), "{}", reply.text);
        assert_eq!(reply.json["auth_token"], json!(token));
    }
    // The first carrier that holds a token counts.
    let reply = server
        .send(
            "GET",
            &format!("{uri}?auth_token={token}"),
            &[("x-auth-token", "bad")],
            "",
        )
        .await;
    reply.is_error(401, "invalid_credentials");
    server
        .send("GET", &uri, &[("authorization", "Basic dTpw")], "")
        .await
        .is_error(401, "invalid_credentials");
}

#[tokio::test]
async fn c012_c013_an_account_reaches_itself_and_what_is_below() {
    let server = Server::start().await;
    let (a, a_token) = server.child(&server.account).await;
    let (b, b_token) = server.child(&server.account).await;
    let (aa, _) = server.child(&a).await;
    let list = async |token: &str, account: &confab_conference::AccountId| {
        let uri = format!("/v2/accounts/{account}/conferences");
        server.send("GET", &uri, &[("x-auth-token", token)], "").await
    };
    assert_eq!(list(&server.token, &aa).await.status, 200);
    assert_eq!(list(&a_token, &aa).await.status, 200);
    assert_eq!(list(&a_token, &a).await.status, 200);
    list(&a_token, &b).await.is_error(403, "forbidden");
    list(&b_token, &aa).await.is_error(403, "forbidden");
    list(&a_token, &server.account).await.is_error(403, "forbidden");
    let own = server
        .send(
            "PUT",
            "/v2/account/conferences",
            &[("x-auth-token", &a_token)],
            "",
        )
        .await;
    assert!(
        own.header("location")
            .starts_with(&format!("/v2/accounts/{a}/conferences/")),
        "{}",
        own.text
    );
}

#[tokio::test]
async fn c014_c015_paths_that_lead_nowhere() {
    let server = Server::start().await;
    let with = [("x-auth-token", server.token.as_str())];
    let reply = server
        .send("GET", "/v2/accounts/short/conferences", &[], "")
        .await;
    reply.is_error(404, "bad identifier");
    assert_eq!(reply.data(), &json!({"message": "invalid account_id 'short'"}));
    let nobody = "f".repeat(32);
    let reply = server
        .send("GET", &format!("/v2/accounts/{nobody}/conferences"), &with, "")
        .await;
    reply.is_error(404, "bad_identifier");
    assert_eq!(reply.data()["cause"], json!(nobody));
    let reply = server.get("/nothings").await;
    reply.is_error(404, "not_found");
    assert_eq!(reply.data(), &json!({"message": "not found"}));
    for path in ["/", "/v2", "/v3/api_auth", "/v2/anything", "//v2/api_auth"] {
        server
            .send("GET", path, &with, "")
            .await
            .is_error(404, "not_found");
    }
    server
        .send("GET", "/v1/accounts", &with, "")
        .await
        .is_error(410, "gone");
}

#[tokio::test]
async fn c016_a_method_that_is_not_taken_is_told_what_is() {
    let server = Server::start().await;
    let reply = server.ask("PATCH", "/conferences", json!({"data": {}})).await;
    reply.is_error(405, "invalid_method");
    assert_eq!(reply.header("allow"), "GET, PUT, OPTIONS");
    assert_eq!(reply.header("access-control-allow-methods"), "GET, PUT, OPTIONS");
    assert!(
        reply
            .header("access-control-allow-headers")
            .contains("x-auth-token")
    );
    // The method is judged before account and token.
    for (method, path) in [
        ("DELETE", "/v2/accounts/x/conferences"),
        ("TRACE", "/v2/api_auth"),
        ("POST", "/v2/api_auth"),
    ] {
        server
            .send(method, path, &[], "")
            .await
            .is_error(405, "invalid_method");
    }
    server
        .ask("POST", "/conferences", json!({"data": {}}))
        .await
        .is_error(405, "invalid_method");
}

#[tokio::test]
async fn c017_to_c021_bodies_are_read_leniently() {
    let server = Server::start().await;
    let uri = server.uri("/conferences");
    let put = async |kind: &str, body: &str| {
        let mut headers = vec![("x-auth-token", server.token.as_str())];
        if !kind.is_empty() {
            headers.push(("content-type", kind));
        }
        server.send("PUT", &uri, &headers, body).await
    };
    put("application/json", "{\"data\":")
        .await
        .breaks("json", "invalid");
    let reply = put("application/json", "[]").await;
    reply.breaks("json", "invalid");
    assert_eq!(reply.data()["json"]["invalid"]["target"], "body");
    put("image/png", "PNG")
        .await
        .is_error(415, "invalid_content_type");
    for kind in [
        "application/x-www-form-urlencoded",
        "",
        "text/plain",
        "application/json;charset=UTF-8",
    ] {
        assert_eq!(
            put(kind, " {\"Data\":{\"name\":\"x\"}}").await.data()["name"],
            "x",
            "{kind}"
        );
    }
    assert_eq!(put("", "").await.status, 201);
    put("", "{}").await.breaks("data", "required");
    put("", "{\"data\":\"x\"}").await.breaks("data", "type");
    put("", "{\"data\":[]}").await.breaks("data", "type");
}

#[tokio::test]
async fn c022_to_c024_the_envelope_is_complete() {
    let server = Server::start().await;
    let reply = server
        .ask_with(
            "PUT",
            "/conferences",
            &[("x-request-id", "my-id")],
            json!({"data": {}}),
        )
        .await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("x-request-id"), "my-id");
    let envelope = &reply.json;
    assert_eq!(envelope["request_id"], "my-id");
    assert_eq!(envelope["status"], "success");
    assert_eq!(envelope["node"], "confab@test");
    assert_eq!(envelope["timestamp"], "2026-11-22T06:00:00Z");
    assert_eq!(envelope["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(envelope["auth_token"], json!(server.token));
    assert!(envelope["revision"].as_str().unwrap().starts_with("1-"));
    assert_eq!(
        reply.header("etag"),
        format!("\"{}\"", envelope["revision"].as_str().unwrap())
    );

    let one = server.get("/conferences").await;
    let two = server.get("/conferences").await;
    assert_ne!(one.json["request_id"], two.json["request_id"]);
    assert_eq!(one.text.lines().count(), 1);
    assert!(
        server
            .get("/conferences?pretty_print=true")
            .await
            .text
            .lines()
            .count()
            > 5
    );
    let pretty = server
        .ask_with("GET", "/conferences", &[("x-pretty-print", "true")], Value::Null)
        .await;
    assert!(pretty.text.lines().count() > 5);
}

#[tokio::test]
async fn c025_c026_browsers_are_let_in() {
    let server = Server::start().await;
    let reply = server
        .send(
            "OPTIONS",
            &server.uri("/conferences"),
            &[("origin", "http://x")],
            "",
        )
        .await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    assert_eq!(reply.header("access-control-allow-methods"), "GET, PUT, OPTIONS");
    assert_eq!(reply.header("access-control-max-age"), "86400");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let reply = server
        .ask_with("GET", "/conferences", &[("origin", "http://x")], Value::Null)
        .await;
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert!(reply.header("access-control-expose-headers").contains("etag"));
    assert_eq!(
        server
            .get("/conferences")
            .await
            .header("access-control-allow-origin"),
        ""
    );
}

#[tokio::test]
async fn c027_post_may_stand_for_another_verb() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A"})).await;
    let path = format!("/conferences/{id}");
    let reply = server
        .ask(
            "POST",
            "/conferences",
            json!({"verb": "put", "data": {"name": "B"}}),
        )
        .await;
    assert_eq!(reply.status, 201);
    let reply = server
        .ask("POST", &format!("{path}?verb=PATCH"), json!({"data": {"x": 1}}))
        .await;
    assert_eq!(
        (&reply.data()["name"], &reply.data()["x"]),
        (&json!("A"), &json!(1))
    );
    assert_eq!(
        server
            .ask("POST", &format!("{path}?verb=get"), Value::Null)
            .await
            .data()["name"],
        "A"
    );
    server
        .ask("POST", "/conferences?verb=patch", json!({"data": {}}))
        .await
        .is_error(405, "invalid_method");
    server
        .ask("POST", &format!("{path}?verb=move"), json!({"data": {}}))
        .await
        .is_error(405, "invalid_method");
    let reply = server
        .ask_with(
            "POST",
            &path,
            &[("x-http-method-override", "DELETE")],
            json!({"data": {}}),
        )
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        server
            .ask("POST", &format!("{path}?verb=delete"), Value::Null)
            .await
            .status,
        200
    );
    server.get(&path).await.is_error(404, "bad_identifier");
    // Only POST carries another verb.
    assert_eq!(server.get("/conferences?verb=delete").await.status, 200);
}

#[tokio::test]
async fn c028_a_body_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let body = |length: usize| {
        let frame = r#"{"data":{},"pad":""}"#.len();
        format!(r#"{{"data":{{}},"pad":"{}"}}"#, "x".repeat(length - frame))
    };
    let with = [("x-auth-token", server.token.as_str())];
    let reply = server
        .send("PUT", &server.uri("/conferences"), &with, &body(8_000_001))
        .await;
    reply.is_error(413, "request_too_large");
    assert_eq!(reply.data()["file"]["maxSize"]["target"], 8_000_000);
    assert_eq!(
        server
            .send("PUT", &server.uri("/conferences"), &with, &body(8_000_000))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn c029_to_c034_entity_tags_follow_document_and_live_state() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A"})).await;
    let path = format!("/conferences/{id}");
    let first = server.get(&path).await;
    let etag = first.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", first.json["revision"].as_str().unwrap()));
    assert_eq!(first.header("cache-control"), "no-cache");
    let again = async |etag: &str| {
        server
            .ask_with("GET", &path, &[("if-none-match", etag)], Value::Null)
            .await
    };
    let reply = again(&etag).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (304, ""));
    assert_eq!(reply.header("etag"), etag);
    assert_eq!(again(&format!("\"x\", W/{etag}")).await.status, 304);
    assert_eq!(again("*").await.status, 304);
    assert_eq!(again("\"x\"").await.status, 200);
    assert_eq!(server.get(&format!("{path}?random=1")).await.header("etag"), etag);

    // A change of the document makes another tag.
    server.ask("PATCH", &path, json!({"data": {"x": 1}})).await;
    let reply = again(&etag).await;
    assert_eq!(reply.status, 200);
    let etag = reply.header("etag").to_owned();

    // So does a change of the live state, under the same revision; time passing does not.
    server.join(&id, "call-1", Role::Member).await;
    let reply = again(&etag).await;
    assert_eq!(reply.status, 200);
    assert_ne!(reply.header("etag"), etag);
    assert!(etag.contains(reply.json["revision"].as_str().unwrap()));
    let etag = reply.header("etag").to_owned();
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(again(&etag).await.status, 304);

    // What changes something is never answered 304 or 412.
    for (method, body) in [("PUT", json!({"action": "lock"})), ("PATCH", json!({"data": {}}))] {
        let reply = server
            .ask_with(method, &path, &[("if-none-match", "*")], body)
            .await;
        assert!(reply.status.is_success(), "{}", reply.text);
    }
    assert_eq!(again(&etag).await.status, 200);
}

#[tokio::test]
async fn if_match_with_an_old_revision_is_a_conflict() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A"})).await;
    let path = format!("/conferences/{id}");
    let old = server.get(&path).await.header("etag").to_owned();
    server.join(&id, "call-1", Role::Member).await;
    // The tag of a running conference holds the revision as well.
    let live = server.get(&path).await.header("etag").to_owned();
    assert_ne!(old, live);
    let patch = async |tag: &str| {
        server
            .ask_with("PATCH", &path, &[("if-match", tag)], json!({"data": {}}))
            .await
    };
    assert_eq!(patch(&live).await.status, 200);
    for method in ["PATCH", "POST", "DELETE"] {
        let reply = server
            .ask_with(method, &path, &[("if-match", &old)], json!({"data": {}}))
            .await;
        reply.is_error(409, "datastore_conflict");
        assert_eq!(reply.data(), &json!({"message": "conflicting documents"}));
    }
    patch("\"nonsense\"").await.is_error(409, "datastore_conflict");
    let current = server.get(&path).await.header("etag").to_owned();
    assert_eq!(patch(&format!("{old}, {current}")).await.status, 200);
    assert_eq!(patch("*").await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_too_much_is_told_so() {
    let server = Server::with_config(ApiConfig::default()).await;
    let first = server.get("/conferences").await;
    assert_eq!(first.json["tokens"], json!({"consumed": 1, "remaining": 99}));
    for _ in 0..99 {
        assert_eq!(server.get("/conferences").await.status, 200);
    }
    let reply = server.get("/conferences").await;
    reply.is_error(429, "too_many_requests");
    assert_eq!(reply.data(), &json!({"message": "too many requests"}));
    server.clock.advance(Duration::from_millis(100));
    assert_eq!(server.get("/conferences").await.status, 200);
    // Logins have a budget of their own: one at the start of this test, one more fits.
    server.login(&server.api_key).await;
    server
        .send("PUT", "/v2/api_auth", &[], "")
        .await
        .is_error(429, "too_many_requests");
    // OPTIONS costs nothing.
    for _ in 0..200 {
        assert_eq!(server.send("OPTIONS", "/v2/api_auth", &[], "").await.status, 200);
    }
}

#[tokio::test]
async fn a_faulty_body_is_judged_after_token_and_account() {
    let server = Server::start().await;
    server
        .send("PUT", &server.uri("/conferences"), &[], "{")
        .await
        .is_error(401, "invalid_credentials");
    let (a, _) = server.child(&server.account).await;
    let (_, b_token) = server.child(&server.account).await;
    let uri = format!("/v2/accounts/{a}/conferences");
    server
        .send("PUT", &uri, &[("x-auth-token", &b_token)], "{")
        .await
        .is_error(403, "forbidden");
}

#[tokio::test]
async fn a_closed_store_is_503() {
    let server = Server::start().await;
    server.store.close().await;
    let reply = server.get("/conferences").await;
    reply.is_error(503, "datastore_unreachable");
    assert!(!reply.text.contains("confab.db"), "the cause stays in the log");
}
