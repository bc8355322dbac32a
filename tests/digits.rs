//! Keys of the telephone through the real server: told by SIP INFO, in RTP, or both ways at once.

use std::time::Duration;

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::ServerBuilder;
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Payload type under which the agent offers telephone-events.
const EVENTS: u8 = 101;
const RELAY: &str = "application/dtmf-relay";

/// Presses that the record of the only call counts.
fn digits_in_record(records: &str) -> u64 {
    let mut lines = records.lines();
    let record: Value = serde_json::from_str(lines.next().expect("a record")).expect("JSON");
    assert!(lines.next().is_none(), "{records}");
    record["media"]["digits"].as_u64().expect("a count")
}

#[test]
fn a_press_counts_once_however_many_ways_it_is_told() {
    let mut server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let source = Source::tone(Law::Mu, 440.0, -20.0);
    let participant = Participant::join(&phone, &engine, "3000", Some(source)).expect("joined");
    assert!(
        participant.remote.payload_types.contains(&EVENTS),
        "telephone-events are agreed"
    );
    let info = |kind: &str, body: &str| {
        participant
            .call
            .request_with_body("INFO", kind, body, TIMEOUT)
            .expect("answered")
    };

    // Both ways, as many phones do when told to: one press.
    participant.stream.press(EVENTS, 5).expect("sent");
    let answer = info(RELAY, "Signal=5\r\nDuration=100\r\n");
    assert_eq!(answer.status(), Some(200), "{}", answer.start_line);
    std::thread::sleep(Duration::from_millis(1500));
    // The other way round, and then by INFO alone.
    assert_eq!(info(RELAY, "Signal= 7\nDuration= 140").status(), Some(200));
    participant.stream.press(EVENTS, 7).expect("sent");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(info("application/dtmf", "#\r\n").status(), Some(200));
    // No presses: what is not understood, and a flash.
    let refused = info("text/plain", "5");
    assert_eq!(refused.status(), Some(415), "{}", refused.start_line);
    assert_eq!(
        refused.header("Accept"),
        Some("application/dtmf-relay, application/dtmf")
    );
    assert_eq!(info(RELAY, "Signal=\r\n").status(), Some(400));
    assert_eq!(info(RELAY, "Signal=16\r\nDuration=300\r\n").status(), Some(200));
    let options = participant
        .call
        .request("OPTIONS", &[], TIMEOUT)
        .expect("answered");
    let allowed = options.header("Allow").unwrap_or_default();
    assert!(allowed.contains("INFO"), "{allowed}");

    std::thread::sleep(Duration::from_millis(700));
    participant.leave().expect("left");
    let path = server.directory().join("data/cdr.jsonl");
    server.stop(TIMEOUT).expect("stopped");
    let records = std::fs::read_to_string(path).expect("records");
    assert_eq!(digits_in_record(&records), 3, "{records}");
}

#[test]
fn digits_asked_for_through_the_api_reach_the_phone_of_one_participant() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let participants = ["ann", "bob"].map(|name| {
        let source = Source::tone(Law::Mu, 440.0, -20.0);
        let joined = Participant::join_as(&phone, &engine, "3000", Some(source), name, name);
        let participant = joined.expect("joined");
        participant.stream.set_capture(CaptureMode::Full);
        participant
    });
    let control = server.first_conference().expect("the API");
    control
        .wait_participants(TIMEOUT, |list| list.len() == 2)
        .expect("both are in");
    let id = control.participant("bob").expect("listed");
    let path = format!("/conferences/{}/participants/{id}", control.id());
    let client = server.api().expect("a login");
    let act = |digits: &str| {
        let body = json!({"data": {"action": "dtmf", "data": {"digits": digits}}});
        let answer = client.account("PUT", &path, Some(&body)).expect("answered");
        answer.status
    };
    let shown = client.account("GET", &path, None).expect("answered");
    let shown = &shown.json()["data"];
    assert_eq!(shown["codec"], "PCMU");
    for key in ["loss", "jitter_ms", "delay_ms", "concealed_ms"] {
        assert!(shown["quality"][key].is_number(), "{key}: {shown}");
    }
    assert_eq!(act("12E"), 400);
    assert_eq!(act("42#"), 202);
    std::thread::sleep(Duration::from_millis(1500));
    let [ann, bob] = participants.each_ref().map(|participant| {
        let capture = participant.stream.take_capture();
        capture
            .packets()
            .iter()
            .filter(|packet| packet.payload_type == EVENTS)
            .map(|packet| (packet.marker, capture.payload(packet).to_vec()))
            .collect::<Vec<_>>()
    });
    assert!(ann.is_empty(), "{ann:?}");
    let begun: Vec<u8> = bob
        .iter()
        .filter(|(marker, _)| *marker)
        .map(|(_, payload)| payload[0])
        .collect();
    assert_eq!(begun, [4, 2, 11]);
    let ends = bob.iter().filter(|(_, payload)| payload[1] & 0x80 != 0).count();
    assert_eq!(ends, 9, "three of each");
}
