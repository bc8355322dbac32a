//! Checklist 12-14: accounts, their tree, their keys.

use confab_conference::AccountId;
use serde_json::{Value, json};

use crate::support::{Reply, Server};

impl Server {
    async fn as_of(&self, token: &str, verb: &str, uri: &str, body: Value) -> Reply {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(verb, uri, &[("x-auth-token", token)], &body).await
    }
}

#[tokio::test]
async fn line_012_013_014_a_token_reaches_its_account_and_those_below() {
    let server = Server::start().await;
    let (a, of_a) = server.child(&server.account).await;
    let (b, of_b) = server.child(&server.account).await;
    let (aa, of_aa) = server.child(&a).await;
    let collections = [
        "",
        "/conferences",
        "/devices",
        "/users",
        "/media",
        "/resources",
        "/api_key",
        "/children",
    ];
    let table: [(&str, &AccountId, u16); 9] = [
        (&server.token, &a, 200),
        (&server.token, &aa, 200),
        (&of_a, &a, 200),
        (&of_a, &aa, 200),
        (&of_a, &b, 403),
        (&of_a, &server.account, 403),
        (&of_b, &aa, 403),
        (&of_aa, &a, 403),
        (&of_aa, &aa, 200),
    ];
    for (token, account, status) in table {
        for collection in collections {
            let uri = format!("/v2/accounts/{account}{collection}");
            let reply = server.as_of(token, "GET", &uri, Value::Null).await;
            assert_eq!(reply.status, status, "{uri}: {}", reply.text);
        }
    }
    let reply = server.as_of(&of_a, "GET", "/v2/accounts/XYZ", Value::Null).await;
    reply.is_error(404, "bad identifier");
    assert_eq!(reply.data()["message"], "invalid account_id 'XYZ'");
    let uri = format!("/v2/accounts/{}", "0".repeat(32));
    server
        .as_of(&of_a, "GET", &uri, Value::Null)
        .await
        .is_error(404, "bad_identifier");
}

#[tokio::test]
async fn an_account_is_made_below_another_one_and_read_changed_and_deleted() {
    let server = Server::start().await;
    let body = json!({"data": {"name": "Branch", "custom": 1}});
    let made = server.as_of(&server.token, "PUT", "/v2/accounts", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.data()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v2/accounts/{id}"));
    for (key, value) in [
        ("enabled", json!(true)),
        ("language", json!("en-us")),
        ("timezone", json!("UTC")),
        ("is_reseller", json!(false)),
        ("reseller_id", json!(server.account.as_str())),
        ("superduper_admin", json!(false)),
        ("custom", json!(1)),
    ] {
        assert_eq!(made.data()[key], value, "{key}");
    }
    assert!(made.data()["created"].is_u64());
    let realm = made.data()["realm"].as_str().unwrap().to_owned();
    assert!(!realm.is_empty());
    let uri = format!("/v2/accounts/{id}");
    let of = |verb: &'static str, uri: String, body: Value| {
        let (server, token) = (&server, server.token.clone());
        async move { server.as_of(&token, verb, &uri, body).await }
    };
    // What was read may be written back, and without a realm it keeps its own.
    let shown = of("GET", uri.clone(), Value::Null).await;
    assert_eq!(shown.data(), made.data());
    let posted = of("POST", uri.clone(), json!({"data": shown.data()})).await;
    assert_eq!((posted.status.as_u16(), posted.data()), (200, shown.data()));
    let posted = of("POST", uri.clone(), json!({"data": {"name": "Branch 2"}})).await;
    assert_eq!(
        (&posted.data()["realm"], posted.data().get("custom")),
        (&json!(realm), None)
    );
    let taken = of(
        "PATCH",
        format!("/v2/accounts/{}", server.account),
        json!({"data": {"realm": realm}}),
    )
    .await;
    taken.breaks("realm", "unique");
    of("PATCH", uri.clone(), json!({"data": {"name": ""}}))
        .await
        .breaks("name", "minLength");
    of("PUT", "/v2/accounts".into(), json!({"data": {}}))
        .await
        .breaks("name", "required");

    let below = of("PUT", uri.clone(), json!({"data": {"name": "Desk"}})).await;
    assert_eq!(below.status, 201, "{}", below.text);
    let below = below.data()["id"].as_str().unwrap().to_owned();
    let ids = |reply: &Reply| -> Vec<String> {
        let mut ids: Vec<String> = reply
            .data()
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let mut both = vec![id.clone(), below.clone()];
    both.sort();
    assert_eq!(ids(&server.get("/children").await), std::slice::from_ref(&id));
    assert_eq!(ids(&server.get("/descendants").await), both);
    let above = of("GET", format!("/v2/accounts/{below}/parents"), Value::Null).await;
    let mut expected = vec![id.clone(), server.account.to_string()];
    expected.sort();
    assert_eq!(ids(&above), expected);

    of("DELETE", uri.clone(), Value::Null)
        .await
        .breaks("account", "invalid");
    assert_eq!(
        of("DELETE", format!("/v2/accounts/{below}"), Value::Null)
            .await
            .status,
        200
    );
    let deleted = of("DELETE", uri.clone(), Value::Null).await;
    assert_eq!(deleted.data()["_read_only"]["deleted"], true);
    of("GET", uri, Value::Null).await.is_error(404, "bad_identifier");
    assert_eq!(server.get("/descendants").await.data(), &json!([]));
    server
        .ask("DELETE", "", Value::Null)
        .await
        .breaks("account", "invalid");
}

#[tokio::test]
async fn a_deleted_account_is_gone_with_its_tokens_and_keys_and_its_realm_is_free() {
    let server = Server::start().await;
    let (child, token) = server.child(&server.account).await;
    let key = server.store.api_key(&child).await.unwrap().unwrap();
    let uri = format!("/v2/accounts/{child}");
    let realm = server.as_of(&token, "GET", &uri, Value::Null).await.data()["realm"].clone();
    let phone = json!({"data": {"name": "p", "sip": {"method": "ip", "ip": "192.0.2.9"}}});
    let devices = format!("{uri}/devices");
    assert_eq!(
        server.as_of(&token, "PUT", &devices, phone.clone()).await.status,
        201
    );
    assert_eq!(
        server.as_of(&token, "DELETE", &uri, Value::Null).await.status,
        200
    );
    assert_eq!(
        server
            .as_of(&token, "GET", "/v2/token_auth", Value::Null)
            .await
            .status,
        401
    );
    assert_eq!(
        server
            .as_of(&token, "GET", "/v2/account/devices", Value::Null)
            .await
            .status,
        401
    );
    let login = json!({"data": {"api_key": key}}).to_string();
    let refused = server.send("PUT", "/v2/api_auth", &[], &login).await;
    refused.is_error(404, "bad identifier");
    let again = json!({"data": {"name": "Again", "realm": realm}});
    assert_eq!(server.ask("PUT", "", again).await.status, 201);
    assert_eq!(server.ask("PUT", "/devices", phone).await.status, 201);
}

#[tokio::test]
async fn a_disabled_account_is_locked_out_until_one_above_lets_it_in() {
    let server = Server::start().await;
    let (child, token) = server.child(&server.account).await;
    let key = server.store.api_key(&child).await.unwrap().unwrap();
    let uri = format!("/v2/accounts/{child}");
    let body = json!({"data": {"enabled": false}});
    assert_eq!(server.as_of(&server.token, "PATCH", &uri, body).await.status, 200);
    let login = json!({"data": {"api_key": key}}).to_string();
    let refused = server.send("PUT", "/v2/api_auth", &[], &login).await;
    refused.is_error(423, "locked");
    assert!(refused.data()["account"]["disabled"]["message"].is_string());
    server
        .as_of(&token, "GET", &uri, Value::Null)
        .await
        .is_error(423, "locked");
    assert_eq!(
        server.as_of(&server.token, "GET", &uri, Value::Null).await.status,
        200
    );
    let body = json!({"data": {"enabled": true}});
    assert_eq!(server.as_of(&server.token, "PATCH", &uri, body).await.status, 200);
    assert_eq!(server.as_of(&token, "GET", &uri, Value::Null).await.status, 200);
    let body = json!({"data": {"enabled": false}});
    server.ask("PATCH", "", body).await.breaks("enabled", "invalid");
}

#[tokio::test]
async fn an_api_key_is_shown_and_renewed() {
    let server = Server::start().await;
    let shown = server.get("/api_key").await;
    assert_eq!(shown.data(), &json!({"api_key": server.api_key}));
    let renewed = server.ask("PUT", "/api_key", Value::Null).await;
    let key = renewed.data()["api_key"].as_str().unwrap().to_owned();
    assert!(key.len() == 64 && key != server.api_key);
    server.login(&key).await;
    let old = json!({"data": {"api_key": server.api_key}}).to_string();
    server
        .send("PUT", "/v2/api_auth", &[], &old)
        .await
        .is_error(404, "bad identifier");
}

#[tokio::test]
async fn a_new_realm_takes_the_devices_along_and_never_over_another_device() {
    let server = Server::start().await;
    let phone = |sip: Value| json!({"name": "Phone", "sip": sip});
    server.made("/devices", phone(json!({"username": "alice"}))).await;
    server
        .made(
            "/devices",
            phone(json!({"username": "alice", "realm": "second.example"})),
        )
        .await;
    let body = json!({"data": {"realm": "second.example"}});
    server.ask("PATCH", "", body).await.breaks("realm", "unique");
    let body = json!({"data": {"realm": "Third.Example"}});
    assert_eq!(
        server.ask("PATCH", "", body).await.data()["realm"],
        "third.example"
    );
    let again = json!({"data": phone(json!({"username": "alice"}))});
    server
        .ask("PUT", "/devices", again)
        .await
        .breaks("sip.username", "unique");
    // A realm in which others have devices is taken too.
    let body = json!({"data": {"name": "Child", "realm": "second.example"}});
    server.ask("PUT", "", body).await.breaks("realm", "unique");
}
