//! Peers at awkward moments: a trunk whose calls all end at once, a CANCEL at any point of set-up, an end before the ACK.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Direction, Invite, Phone};
use confab_testkit::server::{Server, ServerBuilder, exclusive};
use serde_json::Value;

const WAIT: Duration = Duration::from_secs(10);
const END_TIME: Duration = Duration::from_secs(5);
/// More than the messages that a slow reader may leave unread in its socket at once.
const TRUNK_CALLS: usize = 300;

fn start() -> Server {
    ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started")
}

fn offer() -> AudioOffer {
    AudioOffer::new("127.0.0.1:40000".parse().expect("an address"))
}

/// The call records by Call-ID.
fn records(server: &Server) -> BTreeMap<String, Value> {
    let path = server.directory().join("data/cdr.jsonl");
    let text = fs::read_to_string(path).expect("readable");
    text.lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record");
            (record["call_id"].as_str().expect("a Call-ID").to_owned(), record)
        })
        .collect()
}

#[test]
fn all_calls_of_one_connection_get_their_bye_when_they_end_at_once() {
    let _alone = exclusive();
    let mut server = start();
    let trunk = Phone::tcp(server.sip).expect("a phone");
    let calls: Vec<_> = (0..TRUNK_CALLS)
        .map(|_| {
            let call = trunk.invite(Invite::to("3000", &offer())).expect("sent");
            call.wait_answer(WAIT).expect("answered");
            call
        })
        .collect();
    let (status, took) = server.stop(END_TIME).expect("stopped");
    println!("{TRUNK_CALLS} calls over one connection ended in {took:?}");
    assert_eq!(status.expect("ended in time").code(), Some(0), "{}", server.log());
    for call in &calls {
        call.wait_request("BYE", WAIT).expect("a BYE");
    }
    assert_eq!(records(&server).len(), TRUNK_CALLS);
}

#[test]
fn whenever_a_call_is_cancelled_its_record_tells_what_its_caller_was_told() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let mut told = BTreeMap::new();
    for round in 0..60 {
        let call = phone.invite(Invite::to("3000", &offer())).expect("sent");
        std::thread::sleep(Duration::from_micros(50 * round));
        // 481 when the refusal was acknowledged before the CANCEL came.
        call.cancel(WAIT).expect("answered");
        let status = call
            .wait_final(WAIT)
            .expect("a final response")
            .status()
            .expect("a response");
        if status == 200 {
            call.bye(WAIT).expect("ended");
        }
        told.insert(call.call_id().to_owned(), u64::from(status));
    }
    let idle = |metrics: &confab_testkit::server::Metrics| {
        [
            "confab_calls",
            "confab_participants",
            "confab_legs",
            "confab_conferences",
        ]
        .iter()
        .all(|name| metrics.sum(name) == Some(0.0))
    };
    server.wait_metrics(WAIT, idle).expect("nothing is left");
    let records = records(&server);
    for (call_id, status) in &told {
        let record = &records[call_id];
        assert_eq!(record["status"].as_u64(), Some(*status), "{record}");
        assert_eq!(record.get("participant_id").is_some(), *status == 200, "{record}");
    }
}

#[test]
fn a_late_offer_that_waits_for_its_ack_ends_with_a_record() {
    let mut server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let call = phone.invite(Invite::without_offer("3000")).expect("sent");
    call.wait_answer(WAIT).expect("answered");
    let (status, took) = server.stop(END_TIME).expect("stopped");
    println!("ended after {took:?}");
    assert_eq!(status.expect("ended in time").code(), Some(0), "{}", server.log());
    assert_eq!(records(&server)[call.call_id()]["end_cause"], "server_shutdown");
}

#[test]
fn who_is_silent_by_agreement_stays_while_he_answers() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("media.timeout_s", "1")
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let call = |direction| {
        let call = phone
            .invite(Invite::to("3000", &offer().directed(direction)))
            .expect("sent");
        call.wait_answer(WAIT).expect("answered");
        call
    };
    let may_send = call(Direction::SendOnly);
    let silent = [Direction::Inactive, Direction::RecvOnly].map(call);
    let (_, bye) = may_send
        .wait_request("BYE", 2 * WAIT)
        .expect("ten times the timeout is enough for who could send");
    assert!(
        bye.header("Reason")
            .is_some_and(|reason| reason.contains("no media")),
        "{bye}"
    );
    std::thread::sleep(Duration::from_secs(2));
    for call in silent {
        call.wait_request("OPTIONS", WAIT)
            .expect("asked whether he is there");
        assert!(!call.ended_by_server());
        call.bye(WAIT).expect("ended");
    }
}

#[test]
fn the_log_tells_why_calls_are_refused_and_not_who_called() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let refused: Vec<_> = (0..30)
        .map(|_| {
            let invite = Invite::to("4711987", &offer()).caller("0815123", "Somebody");
            let call = phone.invite(invite).expect("sent");
            assert_eq!(call.wait_final(WAIT).expect("a response").status(), Some(404));
            call.call_id().to_owned()
        })
        .collect();
    let call = phone.invite(Invite::to("3000", &offer())).expect("sent");
    call.wait_answer(WAIT).expect("answered");
    std::thread::sleep(Duration::from_millis(1500));
    call.bye(WAIT).expect("ended");
    let idle = |metrics: &confab_testkit::server::Metrics| metrics.sum("confab_calls") == Some(0.0);
    server.wait_metrics(WAIT, idle).expect("over");
    let records = records(&server);
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("call refused"));
    assert!((10..30).contains(&lines.clone().count()), "{log}");
    assert!(
        lines
            .clone()
            .all(|line| line.contains("no conference has this number")),
        "{log}"
    );
    assert!(log.contains("more calls were refused"), "{log}");
    for words in ["4711987", "0815123", "Somebody", &refused[0]] {
        assert!(!log.contains(words), "{words}: {log}");
    }
    // The record says which phone a line is about.
    let name = records[call.call_id()]["call"]
        .as_str()
        .expect("a name")
        .to_owned();
    let of_call: Vec<_> = log
        .lines()
        .filter(|line| line.contains(&format!("call={name}}}")))
        .collect();
    assert_eq!(of_call.len(), 2, "joined and ended: {log}");
}

#[test]
fn refusals_of_odd_descriptions_keep_the_peers_words_out_of_the_log() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let description = offer().to_string().replace("127.0.0.1", "239.77.1.1");
    let invite = Invite {
        number: "3000".to_owned(),
        description: Some(description),
        ..Invite::default()
    };
    let refused = phone
        .invite(invite)
        .expect("sent")
        .wait_final(WAIT)
        .expect("a response");
    assert_eq!(refused.status(), Some(488));
    assert!(!server.log().contains("239.77.1.1"), "{}", server.log());
}
