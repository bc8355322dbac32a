//! Moving a participant to another conference: his call goes on, and his audio goes with him, be the other conference's mix in the same
//! media thread or in another one.

use std::time::Duration;

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, HttpClient, ServerBuilder};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);
const LEVEL_DBFS: f64 = -22.0;
const TONE_HZ: f64 = 1100.0;
/// What nobody sends is below this.
const SILENT_DBFS: f64 = -50.0;

fn order(client: &HttpClient, from: &str, participant: u64, to: &str) -> confab_testkit::server::HttpAnswer {
    let path = format!("/conferences/{from}/participants/{participant}");
    let body = json!({"data": {"action": "move", "data": {"conference_id": to}}});
    client.account("PUT", &path, Some(&body)).expect("answered")
}

/// What a listener hears of the tone, in dBFS.
fn hears(listener: &Participant) -> f64 {
    listener.stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(500));
    let samples = listener.stream.take_capture().samples();
    meter::tone_dbfs(&samples, 8000, TONE_HZ)
}

#[test]
fn a_participant_is_moved_with_his_call_and_his_audio() {
    // Two media threads: conferences are spread over both.
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("media.shards", "2")
        .start()
        .expect("started");
    let client = server.api().expect("a login");
    let number = |number: &str| {
        let document = json!({"conference_numbers": [number], "member": {"join_muted": false}});
        ConferenceControl::create(client.clone(), document).expect("made")
    };
    let rooms = [number("4001"), number("4002"), number("4003")];
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let listeners: Vec<_> = ["4001", "4002", "4003"]
        .iter()
        .map(|number| Participant::join(&phone, &engine, number, None).expect("joined"))
        .collect();
    let tone = Source::tone(Law::Mu, TONE_HZ, LEVEL_DBFS);
    let talker = Participant::join_as(&phone, &engine, "4001", Some(tone), "ann", "ann").expect("joined");
    rooms[0]
        .wait_participants(WAIT, |list| list.len() == 2)
        .expect("both are in");

    let mut known: Vec<u64> = Vec::new();
    // Every ordered pair of rooms once: at least one move crosses from one thread to the other and back.
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1), (1, 0)] {
        let before = rooms[from].participant("ann").expect("listed");
        known.push(before);
        let answer = order(&client, rooms[from].id(), before, rooms[to].id());
        assert_eq!(answer.status, 202, "{}", answer.text());
        // Both have happened when the answer comes.
        let there = rooms[to].participant("ann").expect("listed there");
        let told = answer.json()["data"].take();
        assert_eq!(
            told,
            json!({"conference_id": rooms[to].id(), "participant_id": there})
        );
        assert!(!known.contains(&there), "a new id: {there} of {known:?}");
        assert!(rooms[from].participant("ann").is_err(), "gone from the first");
        in_time(&server, &engine, || {
            std::thread::sleep(Duration::from_millis(200));
            let is_wrong = |(room, listener): (usize, &Participant)| {
                let heard = hears(listener);
                let is_right = if room == to {
                    (heard - LEVEL_DBFS).abs() < 1.0
                } else {
                    heard < SILENT_DBFS
                };
                (!is_right).then(|| format!("{from} to {to}: room {room} hears {heard} dBFS"))
            };
            let wrong: Vec<String> = listeners.iter().enumerate().filter_map(is_wrong).collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        });
    }
    assert!(!talker.call.ended_by_server(), "the call goes on");

    refusals(&client, &rooms);
    talker.leave().expect("left");
    for listener in &listeners {
        listener.leave().expect("left");
    }
    let calls = server.wait_metrics(WAIT, |metrics| metrics.sum("confab_calls") == Some(0.0));
    calls.expect("no call is left behind");
}

/// Whoever is refused stays where he is.
fn refusals(client: &HttpClient, rooms: &[ConferenceControl; 3]) {
    let ann = rooms[0].participant("ann").expect("listed");
    let cause = |to: &str| {
        let answer = order(client, rooms[0].id(), ann, to);
        let told = answer.json()["data"]["conference_id"]["invalid"]["cause"].take();
        (answer.status, told)
    };
    assert_eq!(cause(rooms[0].id()), (400, json!("same")));
    assert_eq!(cause("0123456789abcdef0123456789abcdef"), (404, Value::Null));
    rooms[1].act("lock").expect("locked");
    assert_eq!(cause(rooms[1].id()), (400, json!("locked")));
    let limit = json!({"data": {"max_participants": 2}});
    let path = format!("/conferences/{}", rooms[2].id());
    let patched = client.account("PATCH", &path, Some(&limit)).expect("answered");
    assert_eq!(patched.status, 200, "{}", patched.text());
    // The listener is in, and ann comes and goes: two are as many as may be in.
    let answer = order(client, rooms[0].id(), ann, rooms[2].id());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let listener = rooms[1].participants().expect("listed")[0]["participant_id"].as_u64();
    let full = order(client, rooms[1].id(), listener.expect("an id"), rooms[2].id());
    assert_eq!(full.status, 400, "{}", full.text());
    assert_eq!(full.json()["data"]["conference_id"]["invalid"]["cause"], "full");
    assert_eq!(rooms[1].participants().expect("listed").len(), 1);
}

#[test]
fn end_hangs_everybody_up() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let room = server.first_conference().expect("the API");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let callers: Vec<_> = (0..3)
        .map(|_| Participant::join(&phone, &engine, "3000", None).expect("joined"))
        .collect();
    room.wait_participants(WAIT, |list| list.len() == 3)
        .expect("all are in");
    room.act("end").expect("ended");
    for caller in &callers {
        caller.call.wait_request("BYE", WAIT).expect("hung up");
    }
    assert_eq!(room.participants().expect("listed").len(), 0);
}
