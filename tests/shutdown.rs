//! Signals: SIGTERM and SIGINT drain and end in time, a second one at once, SIGHUP reads the configuration again.

use std::fs;
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Invite, Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::ServerBuilder;

const BINARY: &str = env!("CARGO_BIN_EXE_confab");
const WAIT: Duration = Duration::from_secs(10);
/// What the outside interface promises.
const END_TIME: Duration = Duration::from_secs(5);
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

fn offer() -> AudioOffer {
    AudioOffer::new("127.0.0.1:40000".parse().expect("an address"))
}

#[test]
fn an_idle_server_ends_at_once_with_either_signal() {
    for signal in [SIGTERM, SIGINT] {
        let mut server = ServerBuilder::new(BINARY).start().expect("started");
        let asked = Instant::now();
        server.signal(signal).expect("sent");
        let status = server.wait_exit(END_TIME).expect("waited").expect("ended");
        println!("signal {signal}: {:?}", asked.elapsed());
        assert_eq!(status.code(), Some(0), "{}", server.log());
    }
}

#[test]
fn running_calls_get_their_bye_and_a_record_each() {
    let mut server = ServerBuilder::new(BINARY).start().expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let tcp = Phone::tcp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let tone = || Some(Source::tone(Law::Mu, 440.0, -20.0));
    let mut inside: Vec<_> = (0..20)
        .map(|_| Participant::join(&phone, &engine, "3000", tone()).expect("joined"))
        .collect();
    inside.push(Participant::join(&tcp, &engine, "3000", tone()).expect("joined"));
    let (status, took) = server.stop(END_TIME).expect("stopped");
    println!("21 calls ended in {took:?}");
    assert_eq!(status.expect("ended in time").code(), Some(0), "{}", server.log());
    for participant in &inside {
        participant
            .call
            .wait_request("BYE", Duration::from_millis(500))
            .expect("a BYE");
    }
    let records = read_records(&server.directory().join("data"));
    assert_eq!(records.len(), 21, "{records:?}");
    for participant in &inside {
        assert_eq!(
            records
                .iter()
                .filter(|line| line.contains(participant.call.call_id()))
                .count(),
            1
        );
    }
}

/// Returns the lines of all call records below the data directory.
fn read_records(directory: &std::path::Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).expect("readable").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            lines.extend(read_records(&path));
        } else if path.to_string_lossy().contains("cdr") {
            let text = fs::read_to_string(&path).expect("readable");
            for line in text.lines() {
                let record: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert!(record.is_object(), "{line}");
                lines.push(line.to_owned());
            }
        }
    }
    lines
}

#[test]
fn while_draining_new_calls_are_refused_and_a_second_signal_ends_it() {
    let mut server = ServerBuilder::new(BINARY).start().expect("started");
    let silent = Phone::udp(server.sip).expect("a phone");
    let call = silent.invite(Invite::to("3000", &offer())).expect("sent");
    call.wait_answer(WAIT).expect("answered");
    std::thread::sleep(Duration::from_millis(100));
    silent.set_answers_requests(false);
    let late = Phone::udp(server.sip).expect("a phone");
    server.signal(SIGTERM).expect("sent");
    std::thread::sleep(Duration::from_millis(200));
    let refused = late
        .invite(Invite::to("3000", &offer()))
        .expect("sent")
        .wait_final(Duration::from_secs(2));
    assert_eq!(refused.expect("answered while draining").status(), Some(503));
    let asked = Instant::now();
    server.signal(SIGTERM).expect("sent");
    let status = server.wait_exit(END_TIME).expect("waited");
    println!("second signal: {status:?} after {:?}", asked.elapsed());
    assert!(
        status.is_some() && asked.elapsed() < Duration::from_millis(500),
        "{status:?} {:?}",
        asked.elapsed()
    );
}

#[test]
fn a_peer_that_never_answers_its_bye_does_not_hold_up_the_end() {
    let mut server = ServerBuilder::new(BINARY).start().expect("started");
    let silent = Phone::udp(server.sip).expect("a phone");
    let call = silent.invite(Invite::to("3000", &offer())).expect("sent");
    call.wait_answer(WAIT).expect("answered");
    std::thread::sleep(Duration::from_millis(100));
    silent.set_answers_requests(false);
    let (status, took) = server.stop(END_TIME).expect("stopped");
    println!("ended after {took:?}");
    assert_eq!(status.expect("ended in time").code(), Some(0), "{}", server.log());
}

#[test]
fn hangup_reads_the_configuration_again() {
    let server = ServerBuilder::new(BINARY)
        .set("sip.max_calls", "1")
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let first = phone.invite(Invite::to("3000", &offer())).expect("sent");
    first.wait_answer(WAIT).expect("answered");
    let status = |phone: &Phone| {
        let call = phone.invite(Invite::to("3000", &offer())).expect("sent");
        let status = call.wait_final(WAIT).expect("a response").status();
        if status == Some(200) {
            call.bye(WAIT).expect("ended");
            server
                .wait_metrics(WAIT, |metrics| metrics.sum("confab_legs") == Some(1.0))
                .expect("its place is free");
        }
        status
    };
    // A machine that stalls is an overloaded one for a while, which refuses calls as well.
    let is_admitted = |phone: &Phone| {
        (0..20).any(|_| {
            let status = status(phone);
            assert!(matches!(status, Some(200 | 503)), "{status:?}");
            std::thread::sleep(Duration::from_millis(if status == Some(200) { 0 } else { 500 }));
            status == Some(200)
        })
    };
    assert_eq!(status(&phone), Some(503));
    let path = server.directory().join("confab.toml");
    let text = fs::read_to_string(&path).expect("readable");
    fs::write(&path, text.replace("max_calls = 1", "max_calls = 2")).expect("written");
    server.signal(SIGHUP).expect("sent");
    wait_log(&server, "sip.max_calls changed");
    assert!(is_admitted(&phone));

    fs::write(&path, "[sip]\nnonsense = 1\n").expect("written");
    server.signal(SIGHUP).expect("sent");
    wait_log(&server, "nonsense");
    assert!(is_admitted(&phone), "a broken file changes nothing");
    first.bye(WAIT).expect("ended");
}

fn wait_log(server: &confab_testkit::server::Server, word: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !server.log().contains(word) {
        assert!(
            Instant::now() < deadline,
            "'{word}' is not in the log:\n{}",
            server.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
