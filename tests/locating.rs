//! Where the servers of a domain are: what the DNS says of it is tried in its order until one answers, and is asked again only when it has run out. And
//! what is too long for a datagram.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use confab_testkit::agent::{Callee, Incoming, SipMessage};
use confab_testkit::dns::{DnsRecord, DnsServer};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpAnswer, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);

struct Site {
    server: Server,
    conference: String,
}

impl Site {
    fn start(dns: &DnsServer) -> Site {
        let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .set("sip.name_servers", &format!("[\"{}\"]", dns.address()))
            .start()
            .expect("started");
        let conference = server.first_conference().expect("the API").id().to_owned();
        Site { server, conference }
    }

    /// Dials with an INVITE that is longer than 1300 octets.
    fn dial_at_length(&self, uri: &str) -> std::thread::JoinHandle<HttpAnswer> {
        let long: serde_json::Map<String, Value> = (0..8)
            .map(|number| (format!("X-Long-{number}"), json!("x".repeat(160))))
            .collect();
        let sip = json!({"invite_format": "route", "route": uri, "custom_sip_headers": {"out": long}});
        self.dial_endpoint(json!({"name": "Long", "sip": sip}))
    }

    fn dial(&self, uri: &str) -> std::thread::JoinHandle<HttpAnswer> {
        self.dial_endpoint(json!(uri))
    }

    fn dial_endpoint(&self, endpoint: Value) -> std::thread::JoinHandle<HttpAnswer> {
        let api = self.server.api().expect("a login");
        let path = format!("/conferences/{}", self.conference);
        let body = json!({"action": "dial", "data": {"data": {"endpoints": [endpoint], "timeout": 20}}});
        std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"))
    }
}

fn outcome(dial: std::thread::JoinHandle<HttpAnswer>) -> Value {
    dial.join().expect("no panic").json()["data"]["endpoint_responses"][0].clone()
}

fn here(name: &'static str) -> (&'static str, DnsRecord) {
    (name, DnsRecord::Address([127, 0, 0, 1].into()))
}

fn srv(name: &'static str, priority: u16, port: u16, target: &'static str) -> (&'static str, DnsRecord) {
    let record = DnsRecord::Srv {
        priority,
        weight: 10,
        port,
        target,
    };
    (name, record)
}

fn rule(preference: u16, service: &'static str, replacement: &'static str) -> (&'static str, DnsRecord) {
    let record = DnsRecord::Naptr {
        order: 10,
        preference,
        service,
        replacement,
    };
    ("example.test", record)
}

fn branch(call: &Incoming) -> String {
    let via = call.invite.header("Via").expect("a Via");
    via.split("branch=").nth(1).expect("a branch").to_owned()
}

#[test]
fn the_servers_of_a_domain_are_tried_in_order_until_one_answers() {
    let _alone = exclusive();
    let full = Callee::new().expect("a phone");
    let answers = Callee::new().expect("a phone");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound")
        .port();
    let dns = DnsServer::start(vec![
        // What is preferred is by TCP, where nobody listens; then over UDP one without room, one that is silent, one that answers.
        rule(1, "SIP+D2T", "_sip._tcp.example.test"),
        rule(2, "SIP+D2U", "_sip._udp.example.test"),
        srv("_sip._tcp.example.test", 1, closed, "gone.example.test"),
        srv(
            "_sip._udp.example.test",
            3,
            answers.address().port(),
            "third.example.test",
        ),
        srv(
            "_sip._udp.example.test",
            1,
            full.address().port(),
            "first.example.test",
        ),
        srv(
            "_sip._udp.example.test",
            2,
            silent.local_addr().expect("bound").port(),
            "second.example.test",
        ),
        here("gone.example.test"),
        here("first.example.test"),
        here("second.example.test"),
        here("third.example.test"),
    ])
    .expect("a name server");
    let site = Site::start(&dns);
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let began = Instant::now();
    let dial = site.dial("sip:bob@example.test");
    let first = full.wait_call(WAIT).expect("called");
    assert!(
        first
            .invite
            .start_line
            .starts_with("INVITE sip:bob@example.test "),
        "{:?}",
        first.invite
    );
    first.respond(503, "Service Unavailable").expect("sent");
    let last = answers.wait_call(WAIT).expect("called");
    assert!(
        began.elapsed() > Duration::from_secs(3),
        "the silent one had its time"
    );
    assert_ne!(branch(&first), branch(&last), "a transaction each");
    let _stream = last
        .join(&engine, Source::tone(Law::Mu, 700.0, -26.0))
        .expect("joined");
    let told = outcome(dial);
    assert_eq!(told["status"], "success", "{told} {}", site.server.log());
    last.hang_up().expect("ended");

    // Again: everything is known still.
    let asked = dns.questions();
    assert!(asked >= 7, "{asked}");
    let dial = site.dial("sip:bob@example.test");
    full.wait_call(WAIT)
        .expect("called")
        .respond(486, "Busy Here")
        .expect("sent");
    assert_eq!(
        outcome(dial)["message"],
        "USER_BUSY",
        "who is busy is busy: nobody else is asked"
    );
    assert_eq!(dns.questions(), asked);
}

#[test]
fn a_domain_without_services_is_its_own_server_and_one_that_is_not_there_is_nobody() {
    let _alone = exclusive();
    let phone = Callee::new().expect("a phone");
    let dns = DnsServer::start(vec![
        here("plain.test"),
        srv("_sip._udp.none.test", 0, 5060, "."),
        here("none.test"),
    ])
    .expect("a name server");
    let site = Site::start(&dns);
    let dial = site.dial(&format!("sip:bob@plain.test:{}", phone.address().port()));
    phone
        .wait_call(WAIT)
        .expect("called")
        .respond(486, "Busy Here")
        .expect("sent");
    assert_eq!(outcome(dial)["message"], "USER_BUSY");
    for uri in ["sip:bob@nowhere.test", "sip:bob@none.test"] {
        assert_eq!(
            outcome(site.dial(uri))["message"],
            "NO_ROUTE_DESTINATION",
            "{uri}"
        );
    }
}

#[test]
fn what_is_too_long_for_a_datagram_goes_by_tcp_and_by_udp_where_nobody_takes_it() {
    let _alone = exclusive();
    let dns = DnsServer::start(Vec::new()).expect("a name server");
    let site = Site::start(&dns);
    let phone = Callee::new().expect("a phone");
    let dial = site.dial_at_length(&phone.uri("bob"));
    let call = phone.wait_call(WAIT).expect("called");
    assert!(
        call.invite
            .header("Via")
            .expect("a Via")
            .starts_with("SIP/2.0/UDP ")
    );
    assert!(call.invite.to_bytes().len() > 1300);
    call.respond(486, "Busy Here").expect("sent");
    assert_eq!(outcome(dial)["message"], "USER_BUSY");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    let dial = site.dial_at_length(&format!("sip:bob@{address}"));
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(WAIT)).expect("set");
    let mut buffer = Vec::new();
    let mut next = |stream: &mut std::net::TcpStream| {
        let mut piece = [0; 4096];
        loop {
            if let Some(message) = SipMessage::take_from_stream(&mut buffer) {
                return message;
            }
            let length = stream.read(&mut piece).expect("read");
            assert_ne!(length, 0, "closed");
            buffer.extend_from_slice(&piece[..length]);
        }
    };
    let invite = next(&mut stream);
    assert!(
        invite.header("Via").expect("a Via").starts_with("SIP/2.0/TCP "),
        "{invite:?}"
    );
    let refusal = SipMessage::response(&invite, 486, "Busy Here");
    stream.write_all(&refusal.to_bytes()).expect("written");
    assert_eq!(next(&mut stream).method(), Some("ACK"));
    assert_eq!(outcome(dial)["message"], "USER_BUSY");
}
