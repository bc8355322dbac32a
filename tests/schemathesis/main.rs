//! Requests made from the server's own OpenAPI document, by Schemathesis: every answer has to be one that the document describes.
//!
//! Needs Python and, for the first run, the network: `cargo test --test schemathesis -- --ignored`; `tests/run` includes it. It sends
//! at least 2,000 requests within three minutes; `CONFAB_LONG=1` gives it ten.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Invite, Phone};
use confab_testkit::server::{ACCOUNT_ID, API_KEY, ConferenceControl, ServerBuilder, TempDir};
use serde_json::{Value, json};

/// The fewest requests that are enough.
const ENOUGH: u64 = 2_000;
/// Requests delete some of them.
const CONFERENCES: usize = 200;
/// Documents of every other kind.
const OTHERS: usize = 40;
/// Callers in the room that is acted on, as often as they are kicked.
const CALLERS: usize = 2;

#[test]
#[ignore = "needs Python and PyPI; tests/run runs it"]
fn every_answer_is_one_that_the_document_describes() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("fetch.enabled", "false")
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    let make = |n: usize| {
        let document = json!({"name": format!("room {n}"), "flags": ["x"]});
        ConferenceControl::create(api.clone(), document)
            .expect("made")
            .id()
            .to_owned()
    };
    let conferences: Vec<String> = (0..CONFERENCES).map(make).collect();
    let room = ConferenceControl::create(api.clone(), json!({"conference_numbers": ["6000"]})).expect("made");
    // Requests delete some of these, too.
    let made = |path: &str, data: &Value| -> Vec<Value> {
        let make = |_| {
            let answer = api
                .account("PUT", path, Some(&json!({ "data": data })))
                .expect("answered");
            assert_eq!(answer.status, 201, "{path}: {}", answer.text());
            answer.json()["data"]["id"].take()
        };
        (0..OTHERS).map(make).collect()
    };
    let accounts = made("", &json!({"name": "below"}));
    let media = made("/media", &json!({"name": "jingle"}));
    // Half of them have files.
    let file = confab_recording::wav(8000, &[0; 800]).expect("a rate of conferences");
    for id in media.iter().filter_map(Value::as_str).step_by(2) {
        let path = format!("/v2/accounts/{ACCOUNT_ID}/media/{id}/raw");
        let answer = api.send("POST", &path, &[("Content-Type", "audio/wav")], &file);
        assert_eq!(answer.expect("answered").status, 200);
    }
    let directory = TempDir::new("schemathesis").expect("a directory");
    let (world, report) = (
        directory.path().join("world.json"),
        directory.path().join("report.json"),
    );
    let facts = json!({
        "url": format!("http://{}", server.http),
        "account_id": ACCOUNT_ID,
        "api_key": API_KEY,
        "token": api.token(),
        "conferences": conferences,
        "room": room.id(),
        "accounts": accounts,
        "ids": {
            "user_id": made("/users", &json!({"first_name": "Ada", "last_name": "L"})),
            "device_id": made("/devices", &json!({"name": "phone"})),
            "media_id": media,
            "resource_id": made("/resources", &json!({"name": "trunk", "gateways": [{"server": "127.0.0.1", "ping_seconds": 0}]})),
            "webhook_id": made("/webhooks", &json!({"name": "hook", "uri": "http://127.0.0.1:9/", "hook": "all"})),
            "config_id": ["conferences"],
            "schema_name": ["conferences", "devices"],
            "auth_token": [api.token()],
        },
    });
    std::fs::write(&world, facts.to_string()).expect("written");
    let is_over = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| keep_full(&server, &room, &is_over));
        let is_long = std::env::var_os("CONFAB_LONG").is_some();
        let (seconds, examples) = if is_long { ("600", "2000") } else { ("150", "150") };
        let outcome = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/run"))
            .arg(format!("http://{}", server.http))
            .arg(&report)
            .args(["--max-time", seconds, "--max-examples", examples])
            .env("CONFAB_WORLD", &world)
            .output()
            .expect("started");
        is_over.store(true, Ordering::Relaxed);
        outcome
    });
    let said = String::from_utf8_lossy(&outcome.stdout);
    println!("{said}{}", String::from_utf8_lossy(&outcome.stderr));
    assert!(
        outcome.status.success(),
        "some answers are not as the document says"
    );
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(&report).expect("a report")).expect("JSON");
    let sent = report
        .pointer("/test_cases/generated")
        .and_then(Value::as_u64)
        .expect("a count");
    println!("{sent} requests; accepted of each operation:");
    for (operation, phases) in report["valid_rates"].as_object().into_iter().flatten() {
        let accepted: u64 = phases
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, rate)| rate["accepted"].as_u64())
            .sum();
        println!("  {accepted:5} {operation}");
    }
    assert!(sent >= ENOUGH, "only {sent} requests in time");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Calls again whenever callers were kicked or the conference was locked.
fn keep_full(server: &confab_testkit::server::Server, room: &ConferenceControl, is_over: &AtomicBool) {
    let phone = Phone::udp(server.sip).expect("a phone");
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let mut calls = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        if room.participants().is_ok_and(|list| list.len() < CALLERS) {
            let _ = room.act("unlock");
            let call = phone.invite(Invite::to("6000", &offer)).expect("sent");
            let _ = call.wait_answer(Duration::from_secs(5));
            calls.push(call);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
