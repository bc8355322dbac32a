//! PINs are guessed from several addresses at once: each is refused after as many wrong ones as it may have, whoever knows his PIN gets
//! in meanwhile, the account is told of each address, and no digit stands in any log, event or record.
//!
//! A few calls within seconds; `CONFAB_GUESSES=1000` makes it a thousand.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use confab_testkit::agent::{Joining, Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, HttpClient, Metrics, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client};

/// What the guard allows by default, as the README says.
const SOURCE_TRIES: usize = 10;
const BLOCK_S: u64 = 900;
/// Longer than the digits in a row that an id has by chance.
const RIGHT: &str = "47110815";
const WRONG: &str = "90362514";
/// Calls of one address at a time.
const LINES: usize = 5;
const TRIES: usize = 3;
/// The longest delay of an answer, and what a machine may stall.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(20);

fn calls() -> usize {
    let asked = std::env::var("CONFAB_GUESSES")
        .ok()
        .and_then(|text| text.parse().ok());
    asked.unwrap_or(36)
}

fn dial(phone: &Phone, engine: &RtpEngine, number: &str) -> Participant {
    let joining = Joining::default().sends(Source::silence(Law::Mu));
    joining.join(phone, engine, number).expect("answered")
}

/// Types a PIN, as telephone-events or with INFO.
fn types(caller: &Participant, pin: &str, by_info: bool) {
    for key in pin.chars().chain(['#']) {
        if caller.call.ended_by_server() {
            return;
        }
        if by_info {
            let body = format!("Signal={key}\r\nDuration=100\r\n");
            // The call may end meanwhile.
            let _ = caller
                .call
                .request_with_body("INFO", "application/dtmf-relay", &body, WAIT);
        } else {
            caller.types(&key.to_string()).expect("sent");
        }
    }
}

/// Guesses until he is hung up; whatever is said to him he breaks off.
fn guess(caller: &Participant, by_info: bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !caller.call.ended_by_server() {
        assert!(Instant::now() < deadline, "a guesser is not turned away");
        types(caller, WRONG, by_info);
        let next = Instant::now() + Duration::from_millis(700);
        while Instant::now() < next && !caller.call.ended_by_server() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let (_, bye) = caller.call.wait_request("BYE", WAIT).expect("turned away");
    let reason = bye.header("Reason").unwrap_or_default();
    assert!(reason.contains("cause=403"), "{reason}");
    caller.stream.close();
}

/// Collects the events of an account until it is told to end.
fn watch(
    server: &Server,
    api: &HttpClient,
    events: Arc<Mutex<Vec<Value>>>,
    ends: Arc<AtomicBool>,
) -> thread::JoinHandle<()> {
    let address: SocketAddr = server.websocket.expect("a WebSocket address");
    let stream = TcpStream::connect(address).expect("connected");
    let (mut socket, _) = client(format!("ws://{address}/"), stream).expect("a WebSocket");
    let message = json!({
        "action": "subscribe", "auth_token": api.token(),
        "data": {"account_id": api.account_id(), "binding": "conference.event.*.*"},
    });
    socket.send(Message::text(message.to_string())).expect("sent");
    let reply = socket.read().expect("a reply").into_text().expect("text");
    assert!(reply.contains("\"success\""), "{reply}");
    let timeout = Some(Duration::from_millis(100));
    socket.get_ref().set_read_timeout(timeout).expect("a timeout");
    thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            if let Ok(Message::Text(text)) = socket.read() {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                events.lock().expect("not poisoned").push(frame["data"].clone());
            }
        }
    })
}

fn counted(metrics: &Metrics, what: &str) -> f64 {
    metrics.labelled("confab_pin_guard_total", "what", what)
}

#[test]
fn who_guesses_is_throttled_and_who_knows_gets_in() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("log.level", "\"debug\"")
        .start()
        .expect("started");
    let api = server.api().expect("a login");
    let document =
        json!({"conference_numbers": ["7001"], "member": {"pins": [RIGHT]}, "pin_timeout": 20_000});
    let conference = ConferenceControl::create(api.clone(), document).expect("created");
    let (events, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let watcher = watch(&server, &api, Arc::clone(&events), Arc::clone(&ends));
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let calls = calls();
    let sources = (calls / 40).max(3);
    let left: Vec<AtomicUsize> = (0..sources).map(|_| AtomicUsize::new(calls / sources)).collect();
    let phone_at = |host: u8, number: usize| {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, host, 1 + number as u8));
        Phone::udp_from(server.sip, address).expect("a phone")
    };

    let phones: Vec<Phone> = (0..sources).map(|number| phone_at(2, number)).collect();
    let began = Instant::now();
    let guessing = AtomicUsize::new(sources * LINES);
    let waits = thread::scope(|scope| {
        for (number, (left, phone)) in left.iter().zip(&phones).enumerate() {
            for _ in 0..LINES {
                let (engine, guessing) = (&engine, &guessing);
                scope.spawn(move || {
                    let another = || {
                        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    };
                    while another().is_ok() {
                        guess(&dial(phone, engine, "7001"), number % 2 == 1);
                    }
                    guessing.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
        // Somebody who knows his PIN, again and again.
        let phone = phone_at(1, 0);
        let mut waits = Vec::new();
        while guessing.load(Ordering::Relaxed) > 0 {
            let caller = dial(&phone, &engine, "7001");
            let answered = Instant::now();
            types(&caller, RIGHT, waits.len() % 2 == 1);
            conference
                .wait_participants(LONGEST_WAIT, |list| list.len() == 1)
                .expect("inside");
            waits.push(answered.elapsed());
            caller.leave().expect("left");
            conference
                .wait_participants(WAIT, <[_]>::is_empty)
                .expect("outside");
            thread::sleep(Duration::from_secs(1));
        }
        waits
    });
    let took = began.elapsed();

    let metrics = server.metrics().expect("metrics");
    let figures = ["wrong", "blocked", "refused", "delayed"].map(|what| counted(&metrics, what));
    let [wrong, blocked, refused, delayed] = figures;
    let worst = waits.iter().max().expect("he came once at least");
    println!(
        "{calls} calls from {sources} sources in {took:.1?}: {wrong} wrong PINs heard, {blocked} sources refused, {refused} calls and \
         tries refused, {delayed} answers delayed; {} calls with the right PIN all got in, {worst:.1?} after the answer at worst",
        waits.len()
    );
    assert_eq!(
        wrong as usize,
        sources * SOURCE_TRIES,
        "each source has as many as it may"
    );
    assert_eq!(blocked as usize, sources);
    assert_eq!(metrics.sum("confab_pin_sources_blocked"), Some(sources as f64));
    // All calls but those in which the wrong ones were heard are refused.
    let heard_in = sources * (SOURCE_TRIES.div_ceil(TRIES) + LINES);
    assert!(refused as usize >= calls - heard_in.min(calls), "{refused}");
    assert!(sources * SOURCE_TRIES < 100 || delayed > 0.0);
    assert!(*worst < LONGEST_WAIT);

    // One event for each source; it counts in no run of the conference.
    let told = |events: &[Value]| {
        let blocks = events.iter().filter(|event| event["event"] == "pin-guard-block");
        blocks.cloned().collect::<Vec<Value>>()
    };
    let deadline = Instant::now() + WAIT;
    while told(&events.lock().expect("not poisoned")).len() < sources && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    ends.store(true, Ordering::Relaxed);
    watcher.join().expect("no panic");
    let events = events.lock().expect("not poisoned").clone();
    let blocks = told(&events);
    let named: BTreeSet<&str> = blocks
        .iter()
        .filter_map(|event| event["source"].as_str())
        .collect();
    let addresses: Vec<String> = (0..sources)
        .map(|number| format!("127.0.2.{}", 1 + number))
        .collect();
    assert_eq!(named, addresses.iter().map(String::as_str).collect());
    assert_eq!(blocks.len(), sources, "{blocks:?}");
    for event in &blocks {
        assert_eq!(
            (&event["conference_id"], &event["blocked_s"]),
            (&json!(conference.id()), &json!(BLOCK_S))
        );
        assert!(
            event.get("sequence").is_none() && event.get("instance_id").is_none(),
            "{event}"
        );
    }
    let joined = events
        .iter()
        .filter(|event| event["event"] == "add-member")
        .count();
    assert_eq!(joined, waits.len(), "nobody else was ever in the conference");

    // Nothing of all this stands anywhere.
    let records = std::fs::read_to_string(server.directory().join("data/cdr.jsonl")).expect("records");
    let written = [
        ("log", server.log()),
        ("records", records),
        ("events", json!(events).to_string()),
    ];
    for (name, text) in written {
        assert!(
            !text.contains(RIGHT) && !text.contains(WRONG),
            "digits in the {name}"
        );
    }
}
