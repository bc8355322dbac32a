//! Peers at awkward moments: a trunk whose calls all end at once, a CANCEL at any point of set-up, an end before the ACK.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use confab_testkit::agent::{AudioOffer, Invite, Phone};
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
