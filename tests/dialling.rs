//! Calls that the API has placed: real phones ring, answer, refuse and are heard, and nothing is left behind.

use std::time::Duration;

use confab_testkit::agent::{Callee, Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source, Stream};
use confab_testkit::server::{HttpAnswer, HttpClient, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);
const RATE_HZ: u32 = 8000;
const LEVEL_DBFS: f64 = -26.0;

/// A server, an operator, and the ready conference.
struct Site {
    server: Server,
    api: HttpClient,
    engine: RtpEngine,
    conference: String,
}

impl Site {
    fn start() -> Site {
        let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .start()
            .expect("started");
        let conference = server.first_conference().expect("the API").id().to_owned();
        Site {
            api: server.api().expect("a login"),
            engine: RtpEngine::start(EngineConfig::default()).expect("an engine"),
            conference,
            server,
        }
    }

    /// Dials, beside the test; the answer comes with `join`.
    fn dial(&self, arguments: Value) -> std::thread::JoinHandle<HttpAnswer> {
        self.dial_at(&self.conference, arguments)
    }

    fn dial_at(&self, conference: &str, arguments: Value) -> std::thread::JoinHandle<HttpAnswer> {
        let api = self.api.clone();
        let path = format!("/conferences/{conference}");
        let body = json!({"action": "dial", "data": {"data": arguments}});
        std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"))
    }

    fn participants(&self) -> Vec<Value> {
        let path = format!("/conferences/{}/participants", self.conference);
        let answer = self.api.account("GET", &path, None).expect("answered");
        answer.json()["data"].as_array().cloned().unwrap_or_default()
    }
}

/// The entries of a dial's answer.
#[track_caller]
fn entries(dial: std::thread::JoinHandle<HttpAnswer>) -> Vec<Value> {
    let answer = dial.join().expect("no panic");
    assert_eq!(answer.status, 202, "{}", answer.text());
    let envelope = answer.json();
    assert_eq!(envelope["status"], "success");
    envelope["data"]["endpoint_responses"]
        .as_array()
        .unwrap_or_else(|| panic!("{envelope}"))
        .clone()
}

fn level_of(stream: &Stream, frequency_hz: f64) -> f64 {
    stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(1300));
    let samples = stream.take_capture().samples();
    assert!(samples.len() >= RATE_HZ as usize, "{} samples", samples.len());
    meter::tone_dbfs(&samples[..RATE_HZ as usize], RATE_HZ, frequency_hz)
}

#[test]
fn who_is_dialled_is_heard_and_hears() {
    let _alone = exclusive();
    let site = Site::start();
    let callee = Callee::new().expect("a phone");
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let tone = |hz| Source::tone(Law::Mu, hz, LEVEL_DBFS);
    let ann =
        Participant::join_as(&phone, &site.engine, "3000", Some(tone(700.0)), "ann", "Ann").expect("joined");

    let dial = site.dial(json!({
        "endpoints": [callee.uri("bob")], "caller_id_name": "Café \"Nord\"", "caller_id_number": "5551212"
    }));
    let call = callee.wait_call(SOON).expect("an INVITE");
    assert!(
        call.invite
            .start_line
            .starts_with(&format!("INVITE {} ", callee.uri("bob")))
    );
    call.respond(180, "Ringing").expect("sent");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!dial.is_finished(), "it waits for the answer");
    assert_eq!(site.participants().len(), 1);
    let bob = call.join(&site.engine, tone(1100.0)).expect("an ACK");
    let entries = entries(dial);
    assert_eq!(entries.len(), 1);
    let call_id = call.invite.header("Call-ID").expect("a Call-ID");
    assert_eq!(entries[0]["status"], "success", "{entries:?}");
    assert_eq!(entries[0]["call_id"], call_id);
    assert_eq!(entries[0]["endpoint_id"], callee.uri("bob"));
    let listed = site.participants();
    let he = listed
        .iter()
        .find(|one| one["call_id"] == call_id)
        .expect("listed");
    assert_eq!(
        (&he["speak"], &he["hear"], &he["caller_id_number"]),
        (&json!(true), &json!(true), &json!("bob"))
    );

    assert!((level_of(&bob, 700.0) - LEVEL_DBFS).abs() < 1.0, "bob hears ann");
    assert!(
        (level_of(&ann.stream, 1100.0) - LEVEL_DBFS).abs() < 1.0,
        "ann hears bob"
    );
    assert!(
        level_of(&bob, 1100.0) < LEVEL_DBFS - 40.0,
        "bob does not hear himself"
    );

    call.hang_up().expect("a BYE is answered");
    let gone = site
        .server
        .wait_metrics(SOON, |metrics| metrics.sum("confab_participants") == Some(1.0));
    gone.unwrap_or_else(|last| panic!("still there: {:?}", last.sum("confab_participants")));
    ann.leave().expect("left");
}
