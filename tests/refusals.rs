//! What a refused call leaves behind, and that OPTIONS foretells it.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Invite, OutOfDialog, Phone};
use confab_testkit::ports::PortLease;
use confab_testkit::server::{ConferenceControl, Server, ServerBuilder};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);

fn offer() -> AudioOffer {
    AudioOffer::new("127.0.0.1:40000".parse().expect("an address"))
}

fn options(phone: &Phone, uri: String) -> Option<u16> {
    let mut request = OutOfDialog::new("OPTIONS");
    request.uri = Some(uri);
    phone.request(request, WAIT).expect("answered").status()
}

/// Asks until the answer is `status`; what is told follows what happens within a moment.
fn wait_options(phone: &Phone, uri: &str, status: u16) {
    let deadline = Instant::now() + WAIT;
    loop {
        let answer = options(phone, uri.to_owned());
        if answer == Some(status) {
            return;
        }
        assert!(Instant::now() < deadline, "{uri}: {answer:?}, not {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn options_says_what_an_invite_would_come_to() {
    let ports = PortLease::take(4).expect("free ports");
    let range = ports.range();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("media.ports", &format!("\"{}-{}\"", range.start(), range.end()))
        .start()
        .expect("started");
    let create =
        |document| ConferenceControl::create(server.api().expect("a login"), document).expect("created");
    create(json!({"conference_numbers": ["7001"], "member": {"pins": ["1234"]}}));
    let locked = create(json!({"conference_numbers": ["7002"]}));
    let phone = Phone::udp(server.sip).expect("a phone");
    let number = |number: &str| format!("sip:{number}@{}", server.sip);
    let ready = || http_status(&server, "/health/ready");

    let host = format!("sip:{}", server.sip);
    assert_eq!(options(&phone, host.clone()), Some(200));
    assert_eq!(options(&phone, number("3000")), Some(200));
    assert_eq!(
        options(&phone, number("3999")),
        Some(404),
        "nobody has that number"
    );
    assert_eq!(options(&phone, "sip:3000@elsewhere.example".into()), Some(404));
    assert_eq!(options(&phone, "sip:elsewhere.example".into()), Some(404));
    assert_eq!(options(&phone, number("7001")), Some(200), "it asks for its PIN");
    assert_eq!(options(&phone, number("7002")), Some(200), "not running yet");
    assert_eq!(ready(), 200);

    let call = |number: &str| {
        let call = phone.invite(Invite::to(number, &offer())).expect("sent");
        call.wait_answer(WAIT).expect("answered");
        call
    };
    let first = call("7002");
    locked
        .wait_participants(WAIT, |inside| inside.len() == 1)
        .expect("inside");
    locked.act("lock").expect("done");
    assert_eq!(
        options(&phone, number("7002")),
        Some(200),
        "locked: who calls is told so"
    );
    let second = call("3000");
    // Both pairs of ports are taken now.
    assert_eq!(options(&phone, number("3000")), Some(503));
    assert_eq!(options(&phone, host.clone()), Some(503));
    assert_eq!(ready(), 503);
    for call in [first, second] {
        call.bye(WAIT).expect("ended");
    }
    wait_options(&phone, &host, 200);
    assert_eq!(ready(), 200);
}

fn http_status(server: &Server, path: &str) -> u16 {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(server.http).expect("connected");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).expect("a status line");
    status.parse().expect("a status")
}

#[test]
fn a_flood_of_refused_calls_does_not_fill_the_disk() {
    const CALLS: usize = 2000;
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server.sip).expect("connected");
    socket
        .set_read_timeout(Some(Duration::from_millis(2)))
        .expect("a timeout");
    let own = socket.local_addr().expect("an address");
    let long = "9".repeat(4000);
    let started = Instant::now();
    let mut buffer = [0; 65_535];
    for n in 0..CALLS {
        let head = |method: &str, to: &str| {
            format!(
                "{method} sip:{long}@{0} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKflood{n}\r\nMax-Forwards: 70\r\n\
                 From: <sip:{long}@{own}>;tag=f\r\nTo: <sip:x@{0}>{to}\r\nCall-ID: flood{n}\r\nCSeq: 1 {method}\r\n\
                 Contact: <sip:a@{own}>\r\nContent-Length: 0\r\n\r\n",
                server.sip
            )
        };
        socket.send(head("INVITE", "").as_bytes()).expect("sent");
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let tag = answer
            .lines()
            .find_map(|line| line.strip_prefix("To:")?.split_once(";tag="))
            .map(|(_, tag)| format!(";tag={tag}"));
        if let Some(tag) = tag {
            socket.send(head("ACK", &tag).as_bytes()).expect("sent");
        }
    }
    let phone = Phone::udp(server.sip).expect("a phone");
    let call = phone.invite(Invite::to("3000", &offer())).expect("sent");
    call.wait_answer(WAIT).expect("answered");
    call.bye(WAIT).expect("ended");

    let path = server.directory().join("data").join("cdr.jsonl");
    let deadline = Instant::now() + WAIT;
    let (records, answered) = loop {
        let text = std::fs::read_to_string(&path).expect("records");
        let records: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let answered = records.iter().filter(|record| record["status"] == 200).count();
        if answered == 1 || Instant::now() > deadline {
            break (records, answered);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(answered, 1, "an answered call has its record");
    let refused: Vec<_> = records.iter().filter(|record| record["status"] == 404).collect();
    let seconds = usize::try_from(started.elapsed().as_secs()).expect("few") + 2;
    assert!(!refused.is_empty());
    assert!(
        refused.len() <= 10 * seconds,
        "{} records in {seconds} s",
        refused.len()
    );
    for record in refused {
        for key in ["from", "to"] {
            let text = record[key].as_str().expect("a text");
            assert!(text.len() <= 256 && text.ends_with('…'), "{key}: {text}");
        }
    }
    let left_out = server
        .wait_metrics(WAIT, |metrics| {
            metrics.sum("confab_cdr_left_out_total") > Some(0.0)
        })
        .expect("counted");
    println!("left out: {:?}", left_out.sum("confab_cdr_left_out_total"));
}

#[test]
fn an_invite_over_tcp_without_the_length_of_its_body_makes_no_call() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::tcp(server.sip).expect("a phone");
    let own = phone.local_addr();
    let head = format!(
        "INVITE sip:3000@{0} SIP/2.0\r\nVia: SIP/2.0/TCP {own};branch=z9hG4bKnolength\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{own}>;tag=f\r\nTo: <sip:3000@{0}>\r\nCall-ID: nolength\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@{own};transport=tcp>\r\nContent-Type: application/sdp\r\n\r\n",
        server.sip
    );
    phone.send_raw(head.as_bytes()).expect("sent");
    phone.wait_closed(WAIT).expect("closed");
    let refused = server.wait_metrics(WAIT, |metrics| {
        metrics.sum("confab_sip_messages_total") > Some(0.0)
    });
    refused.expect("counted");
    let metrics = server.metrics().expect("metrics");
    assert_eq!(metrics.sum("confab_sip_calls"), Some(0.0));
    assert_eq!(metrics.sum("confab_calls_answered_total"), Some(0.0));
}
