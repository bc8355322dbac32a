//! What a client can send and no client should: every such request gets a clear answer, never a fault of the server.

use std::sync::LazyLock;

use confab_conference::Role;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{Reply, Server};

/// Asserts what holds for every answer, whatever was asked.
#[track_caller]
fn is_orderly(reply: &Reply, what: &str) {
    let status = reply.status.as_u16();
    assert!(status < 500, "{what}: {status} {}", reply.text);
    if reply.text.is_empty() {
        assert!(status == 304 || status == 200, "{what}: {status} without a body");
        return;
    }
    if reply.json.get("openapi").is_some() {
        return;
    }
    assert_eq!(reply.header("content-type"), "application/json", "{what}");
    assert!(!reply.header("x-request-id").is_empty(), "{what}");
    let envelope = &reply.json;
    assert_eq!(
        envelope["request_id"],
        reply.header("x-request-id"),
        "{what}: {}",
        reply.text
    );
    assert!(envelope.get("data").is_some(), "{what}: {}", reply.text);
    let is_error = status >= 400;
    assert_eq!(
        envelope["status"],
        if is_error { "error" } else { "success" },
        "{what}: {}",
        reply.text
    );
    if is_error {
        assert_eq!(envelope["error"], status.to_string(), "{what}");
        assert!(envelope["message"].is_string(), "{what}");
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{what}");
    }
    if envelope["message"] == "validation error" {
        // One flat level of fields, then rules, each with a message.
        for (field, rules) in envelope["data"].as_object().expect("fields") {
            for (rule, payload) in rules.as_object().expect("rules") {
                assert!(payload["message"].is_string(), "{what}: {field}.{rule}");
            }
        }
    }
}

#[tokio::test]
async fn odd_bodies_have_clear_answers() {
    let server = Server::start().await;
    let uri = server.uri("/conferences");
    let with = [("x-auth-token", server.token.as_str())];
    let deep = |levels: usize| {
        format!(
            r#"{{"data":{{"x":{}1{}}}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let rows = [
        (
            "a duplicate key counts last",
            r#"{"data":{"name":"a","name":"b"}}"#.to_owned(),
            "201",
        ),
        (
            "a duplicate envelope",
            r#"{"data":{},"DATA":{"name":""}}"#.into(),
            "name.minLength",
        ),
        (
            "a NUL within a text",
            r#"{"data":{"name":"a\u0000b"}}"#.into(),
            "201",
        ),
        ("a NUL between tokens", "{\u{0}}".into(), "json.invalid"),
        (
            "half a surrogate",
            r#"{"data":{"name":"\ud800"}}"#.into(),
            "json.invalid",
        ),
        ("text behind the end", r#"{"data":{}} x"#.into(), "json.invalid"),
        (
            "two documents",
            r#"{"data":{}}{"data":{}}"#.into(),
            "json.invalid",
        ),
        (
            "a number beyond all",
            r#"{"data":{"x":1e999}}"#.into(),
            "json.invalid",
        ),
        (
            "a huge number",
            r#"{"data":{"max_participants":100000000000000000000000}}"#.into(),
            "201",
        ),
        ("a tiny number", r#"{"data":{"x":1e-999}}"#.into(), "201"),
        (
            "a fraction for a count",
            r#"{"data":{"max_participants":2.5}}"#.into(),
            "max_participants.type",
        ),
        ("not a number", r#"{"data":{"x":NaN}}"#.into(), "json.invalid"),
        ("100 levels", deep(100), "data.invalid"),
        ("20 levels", deep(20), "201"),
        ("100,000 levels", deep(100_000), "json.invalid"),
        ("a list for data", r#"{"data":[{}]}"#.into(), "data.type"),
        ("a text for data", r#"{"data":"{}"}"#.into(), "data.type"),
        ("null for data", r#"{"data":null}"#.into(), "data.required"),
        ("an empty key", r#"{"data":{"":1}}"#.into(), "201"),
        (
            "private keys",
            r#"{"data":{"_id":"x","pvt_type":"y","_read_only":{"members":5}}}"#.into(),
            "201",
        ),
        (
            "a wrong type deep inside",
            r#"{"data":{"member":{"pins":[{}]}}}"#.into(),
            "member.pins.0.type",
        ),
        (
            "a text where an object is due",
            r#"{"data":{"member":"x"}}"#.into(),
            "member.type",
        ),
        (
            "ten thousand faults",
            format!(r#"{{"data":{{"flags":[{}1]}}}}"#, "1,".repeat(9_999)),
            "flags.0.type",
        ),
    ];
    for (what, body, expected) in rows {
        let reply = server.send("PUT", &uri, &with, &body).await;
        is_orderly(&reply, what);
        match expected.rsplit_once('.') {
            None => assert_eq!(reply.status.as_str(), expected, "{what}: {}", reply.text),
            Some((field, rule)) => assert!(
                reply.data()[field][rule]["message"].is_string(),
                "{what}: {}",
                &reply.text[..reply.text.len().min(400)]
            ),
        }
    }
    let list = server.get("/conferences?paginate=false").await;
    for item in list.data().as_array().expect("a list") {
        let id = item["id"].as_str().expect("an id");
        let document = server.get(&format!("/conferences/{id}")).await;
        let keys = document.data().as_object().expect("an object");
        assert!(
            !keys.keys().any(|key| key.starts_with("pvt_") || key == "_id"),
            "{}",
            document.text
        );
        assert_eq!(document.data()["_read_only"]["members"], 0);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let server = Server::start().await;
    let uri = server.uri("/conferences");
    for (body, what) in [
        (
            &b"{\"data\":{\"name\":\"\xff\xfe\"}}"[..],
            "bytes that are no UTF-8",
        ),
        (b"{\"data\":{\"name\":\"\xc0\x80\"}}", "an overlong NUL"),
        (b"{\"\xf5\":1}", "a key that is no UTF-8"),
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
    ] {
        let with = [("x-auth-token", server.token.as_str())];
        let reply = server.send_bytes("PUT", &uri, &with, body).await;
        is_orderly(&reply, what);
        reply.breaks("json", "invalid");
    }
}

#[tokio::test]
async fn odd_paths_and_queries_have_clear_answers() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A"})).await;
    let long = "x".repeat(8_000);
    let rows = [
        ("/conferences/%00".to_owned(), 404, "bad_identifier"),
        ("/conferences/%FF%FE".into(), 404, "bad_identifier"),
        (format!("/conferences/{long}"), 404, "bad_identifier"),
        ("/conferences/..%2F..%2Fetc".into(), 404, "bad_identifier"),
        ("/conferences/'%20OR%201=1--".into(), 404, "bad_identifier"),
        (
            format!("/conferences/{}", id.to_uppercase()),
            404,
            "bad_identifier",
        ),
        (
            format!("/conferences/{id}/participants/-1"),
            404,
            "bad_identifier",
        ),
        (format!("/conferences/{id}/participants/0"), 404, "bad_identifier"),
        (
            format!("/conferences/{id}/participants/99999999999999999999999"),
            404,
            "bad_identifier",
        ),
        (
            format!("/conferences/{id}/participants/1%00"),
            404,
            "bad_identifier",
        ),
        (format!("/conferences/{id}/participants/٣"), 404, "bad_identifier"),
        (format!("/conferences/{id}//"), 200, ""),
        ("/conferences//".into(), 200, ""),
        ("/conferences//x".into(), 404, "not_found"),
        ("/conferences?start_key=%00".into(), 400, "validation error"),
        ("/conferences?start_key=zzz".into(), 200, ""),
        (
            "/conferences?page_size=18446744073709551616".into(),
            400,
            "validation error",
        ),
        ("/conferences?page_size=18446744073709551615".into(), 200, ""),
        ("/conferences?page_size=1.5".into(), 400, "validation error"),
        ("/conferences?created_from=-1".into(), 400, "validation error"),
        ("/conferences?created_from=18446744073709551615".into(), 200, ""),
        (
            "/conferences?filter_=1&filter_not_=2&=3&&&%00=%00".into(),
            200,
            "",
        ),
        (format!("/conferences?filter_{}=1", "a.".repeat(2_000)), 200, ""),
        (format!("/conferences?random={long}"), 200, ""),
        ("/conferences?page_size=%FF".into(), 400, "validation error"),
        ("/conferences?pretty_print=maybe".into(), 200, ""),
    ];
    for (path, status, message) in rows {
        let encoded: String = path
            .chars()
            .map(|c| {
                if c.is_ascii() {
                    c.to_string()
                } else {
                    "%D9%A3".to_owned()
                }
            })
            .collect();
        let reply = server.get(&encoded).await;
        is_orderly(&reply, &path);
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
        if status >= 400 {
            assert_eq!(reply.json["message"], message, "{path}");
        }
    }
}

#[tokio::test]
async fn odd_headers_have_clear_answers() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A"})).await;
    let path = format!("/conferences/{id}");
    let long = "r".repeat(129);
    let rows: [(&str, &str, u16); 9] = [
        ("x-request-id", &long, 200),
        ("x-request-id", "", 200),
        ("if-none-match", ",,\"", 200),
        ("if-none-match", "W/", 200),
        ("content-type", "application/vnd.strange", 200),
        ("content-type", ";;;", 200),
        ("authorization", "Bearer", 200),
        ("x-pretty-print", "perhaps", 200),
        ("origin", "null", 200),
    ];
    for (name, value, status) in rows {
        let reply = server.ask_with("GET", &path, &[(name, value)], Value::Null).await;
        is_orderly(&reply, name);
        assert_eq!(reply.status, status, "{name}: {value}");
    }
    let reply = server
        .ask_with("GET", &path, &[("x-request-id", &long)], Value::Null)
        .await;
    assert_ne!(
        reply.json["request_id"],
        json!(long),
        "an id that long is not taken over"
    );
    for tag in ["", "*", "x", "\"x\"", "1-", "1-zz", ",", "99999999999999999999-0"] {
        let reply = server
            .ask_with("PATCH", &path, &[("if-match", tag)], json!({"data": {}}))
            .await;
        is_orderly(&reply, tag);
        assert!(
            [200, 409].contains(&reply.status.as_u16()),
            "{tag}: {}",
            reply.text
        );
    }
    let bytes = server
        .send_bytes("GET", &server.uri(&path), &[("x-auth-token", "\u{e9}")], b"")
        .await;
    bytes.is_error(401, "invalid_credentials");
}

#[tokio::test]
async fn two_writers_of_one_document_are_told_who_was_later() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A", "count": 0})).await;
    let path = format!("/conferences/{id}");
    let tag = server.get(&path).await.header("etag").to_owned();
    let with = [("if-match", tag.as_str())];
    let [one, other] = [
        json!({"data": {"name": "one"}}),
        json!({"data": {"name": "other"}}),
    ];
    let (one, other) = tokio::join!(
        server.ask_with("PATCH", &path, &with, one),
        server.ask_with("PATCH", &path, &with, other)
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    // Without If-Match both are taken, one behind the other, and none is lost.
    let writes = (0..20).map(|n| server.ask("PATCH", &path, json!({"data": {(format!("key_{n}")): n}})));
    let mut answers = Vec::new();
    for write in writes {
        answers.push(write);
    }
    let answers = join_all(answers).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let document = server.get(&path).await;
    assert!((0..20).all(|n| document.data()[format!("key_{n}")] == n));
    assert!(
        document.json["revision"]
            .as_str()
            .expect("one")
            .starts_with("22-")
    );
}

/// Runs futures side by side on this task.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut all = true;
        for (future, slot) in running.iter_mut().zip(&mut done) {
            if slot.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *slot = Some(output),
                    std::task::Poll::Pending => all = false,
                }
            }
        }
        if all {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_document_deleted_while_it_runs_leaves_the_conference_running() {
    let server = Server::start().await;
    let id = server.conference(json!({"name": "A"})).await;
    let one = server.join(&id, "one", Role::Moderator).await;
    let path = format!("/conferences/{id}");
    assert_eq!(server.ask("DELETE", &path, Value::Null).await.status, 200);
    let running = server.get(&path).await;
    assert_eq!(
        (running.status.as_u16(), &running.data()["id"]),
        (200, &json!(id))
    );
    assert!(running.json.get("revision").is_none());
    assert!(
        server
            .get("/conferences")
            .await
            .data()
            .as_array()
            .expect("a list")
            .is_empty()
    );
    server
        .ask("PATCH", &path, json!({"data": {"name": "B"}}))
        .await
        .is_error(404, "bad_identifier");
    let act = async |path: String, action: &str| {
        server
            .ask("PUT", &path, json!({"data": {"action": action}}))
            .await
            .status
            .as_u16()
    };
    assert_eq!(act(path.clone(), "lock").await, 202);
    assert_eq!(act(format!("{path}/participants/{one}"), "mute").await, 202);
    assert_eq!(act(format!("{path}/participants"), "kick").await, 202);
    server.get(&path).await.is_error(404, "bad_identifier");
    assert_eq!(act(path.clone(), "lock").await, 404);
    // The id is free again.
    let again = server
        .ask("PUT", "/conferences", json!({"data": {"id": id}}))
        .await;
    assert_eq!(again.status, 201, "{}", again.text);
}

struct World {
    runtime: Runtime,
    server: Server,
    conference: String,
    participant: u64,
}

/// One server for all random requests: what one does must not make another fail.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let (server, conference, participant) = runtime.block_on(async {
        let server = Server::start().await;
        let conference = server.conference(json!({"name": "A"})).await;
        let participant = server.join(&conference, "call", Role::Member).await;
        (server, conference, participant)
    });
    World {
        runtime,
        server,
        conference,
        participant,
    }
});

fn pick(options: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(options).prop_map(str::to_owned)
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => pick(&["{C}", "{C}", "{P}", "conferences", "participants", "users", "devices", "media", "configs", "children",
            "websockets", "webhooks", "resources", "api_key", "status", "raw", "schemas", "x", "%00", "%2F", "..", "-1"]),
        1 => "[a-zA-Z0-9%._~-]{0,40}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let below = |base: &'static str| {
        prop::collection::vec(segment(), 0..4).prop_map(move |segments| {
            segments
                .iter()
                .fold(base.to_owned(), |path, segment| format!("{path}/{segment}"))
        })
    };
    prop_oneof![
        4 => below("/v2/accounts/{A}/conferences"),
        4 => Just("/v2/accounts/{A}/conferences/{C}".to_owned()),
        4 => Just("/v2/accounts/{A}/conferences/{C}/participants".to_owned()),
        4 => Just("/v2/accounts/{A}/conferences/{C}/participants/{P}".to_owned()),
        3 => below("/v2/accounts/{A}"),
        2 => below("/v2/account"),
        1 => below("/v2"),
        1 => below(""),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        pick(&[
            "play",
            "mute",
            "relate",
            "record",
            "dial",
            "tone_stream://%(10,0,440)",
            "all",
            "deaf",
            "1",
            "\u{0}"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => pick(&["data", "action", "name", "member", "moderator", "pins", "numbers", "join_muted", "conference_numbers",
            "profile", "rate", "media_id", "participant_id", "other_participant", "relationship", "level", "db", "digits",
            "flags", "controls", "max_participants", "play_entry_tone", "owner_id", "id", "_id", "pvt_x", "endpoints",
            "ui_metadata", "enabled", "verb", "auth_token", "username", "password", "sip", "comfort-noise"]),
        1 => ".{0,10}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => json_value().prop_map(|data| json!({ "data": data }).to_string().into_bytes()),
        3 => (json_value(), json_value()).prop_map(|(action, data)| json!({ "action": action, "data": data }).to_string().into_bytes()),
        2 => json_value().prop_map(|value| value.to_string().into_bytes()),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

fn query() -> impl Strategy<Value = String> {
    let name = pick(&[
        "verb",
        "action",
        "page_size",
        "start_key",
        "paginate",
        "filter_name",
        "filter_member.pins.0",
        "has_key",
        "value_missing",
        "created_from",
        "modified_to",
        "pretty_print",
        "random",
        "ascending",
        "x",
    ]);
    let value = prop_oneof![
        pick(&[
            "true", "false", "0", "1", "GET", "put", "PATCH", "delete", "%00", "name", "mute"
        ]),
        "[a-z0-9%]{0,10}",
    ];
    prop::collection::vec((name, value), 0..3).prop_map(|pairs| {
        pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}&"))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_makes_the_server_fail(
        method in pick(&["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE"]),
        path in path(),
        query in query(),
        body in body(),
        kind in pick(&["application/json", "", "application/x-www-form-urlencoded", "image/png", "audio/x-wav", "text/plain"]),
        condition in pick(&["", "*", "\"x\"", "1-00000000000000000000000000000000"]),
    ) {
        let world = &*WORLD;
        let path = path
            .replace("{A}", world.server.account.as_str())
            .replace("{C}", &world.conference)
            .replace("{P}", &world.participant.to_string());
        let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
        prop_assume!(uri.parse::<axum::http::Uri>().is_ok() && uri.starts_with('/'));
        let mut headers = vec![("x-auth-token", world.server.token.as_str())];
        if !kind.is_empty() {
            headers.push(("content-type", &kind));
        }
        if !condition.is_empty() {
            headers.extend([("if-match", condition.as_str()), ("if-none-match", &condition)]);
        }
        let reply = world.runtime.block_on(world.server.send_bytes(&method, &uri, &headers, &body));
        let what = format!("{method} {uri} {}", String::from_utf8_lossy(&body));
        prop_assert!(reply.status.as_u16() < 500, "{what}: {}", reply.text);
        if uri.starts_with("/v2") && !["HEAD", "OPTIONS"].contains(&method.as_str()) && !reply.header("content-type").starts_with("audio/") {
            is_orderly(&reply, &what);
        }
    }
}
