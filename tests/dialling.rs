//! Calls that the API has placed: real phones ring, answer, refuse and are heard, and nothing is left behind.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use confab_testkit::agent::{Callee, Device, Participant, Phone};
use confab_testkit::codec::Codec;
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipAccount, BaresipConfig, SippServer};
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
        Site::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> Site {
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"));
        let server = builder.set_all(settings).start().expect("started");
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

    /// Returns the record of a call, once it is written.
    fn record_of(&self, call_id: &str) -> Value {
        let path = self.server.directory().join("data/cdr.jsonl");
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let records = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(found) = records.into_iter().find(|record| record["call_id"] == call_id) {
                return found;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "no record of {call_id} in {text}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
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

fn tone_samples(rate_hz: u32, frequency_hz: f64, seconds: u32) -> Vec<i16> {
    let amplitude = 32768.0 * 10f64.powf(LEVEL_DBFS / 20.0);
    (0..rate_hz * seconds)
        .map(|at| {
            let phase = std::f64::consts::TAU * frequency_hz * f64::from(at) / f64::from(rate_hz);
            (amplitude * phase.sin()) as i16
        })
        .collect()
}

/// Waits until no call has left anything behind.
#[track_caller]
fn nothing_is_left(site: &Site) {
    site.server
        .wait_idle(SOON)
        .unwrap_or_else(|left| panic!("{left}"));
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

#[test]
fn sipp_refuses_rings_for_ever_and_answers_late() {
    let _alone = exclusive();
    let site = Site::start();
    for (status, word) in [
        ("486 Busy Here", "USER_BUSY"),
        ("603 Decline", "CALL_REJECTED"),
        ("404 Not Found", "UNALLOCATED_NUMBER"),
        ("480 Temporarily Unavailable", "SUBSCRIBER_ABSENT"),
    ] {
        let peer = SippServer::start("tests/sipp/uas_refuse.xml", 1, &[("STATUS", status)]).expect("SIPp");
        let entries = entries(site.dial(json!({"endpoints": [peer.uri("bob")]})));
        assert_eq!(entries[0]["message"], word, "{entries:?}");
        peer.finish().expect("ended").assert_all(1);
    }
    let peer = SippServer::start("tests/sipp/uas_no_answer.xml", 1, &[]).expect("SIPp");
    let told = entries(site.dial(json!({"endpoints": [peer.uri("bob")], "timeout": 2})));
    assert_eq!(
        (&told[0]["status"], &told[0]["message"]),
        (&json!("error"), &json!("NO_ANSWER"))
    );
    peer.finish().expect("ended").assert_all(1);
    assert!(site.participants().is_empty());

    // Early media is no answer; what SIPp hears it sends back.
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let tone = Source::tone(Law::Mu, 700.0, LEVEL_DBFS);
    let ann = Participant::join_as(&phone, &site.engine, "3000", Some(tone), "ann", "Ann").expect("joined");
    let peer = SippServer::start("tests/sipp/uas_late_answer.xml", 1, &[]).expect("SIPp");
    let began = std::time::Instant::now();
    let told = entries(site.dial(json!({"endpoints": [peer.uri("bob")]})));
    assert_eq!(told[0]["status"], "success", "{told:?}");
    assert!(
        began.elapsed() > Duration::from_millis(1400),
        "{:?}",
        began.elapsed()
    );
    assert!(
        (level_of(&ann.stream, 700.0) - LEVEL_DBFS).abs() < 1.0,
        "the echo comes back"
    );
    let bob = site
        .participants()
        .into_iter()
        .find(|one| one["call_id"] == told[0]["call_id"]);
    let bob = bob.expect("listed")["participant_id"].clone();
    let path = format!("/conferences/{}/participants/{bob}", site.conference);
    let kick = site
        .api
        .account("PUT", &path, Some(&json!({"data": {"action": "kick"}})));
    assert_eq!(kick.expect("answered").status, 202);
    peer.finish().expect("ended").assert_all(1);
    ann.leave().expect("left");
    nothing_is_left(&site);
}

#[test]
fn baresip_answers_and_is_heard_both_ways() {
    let _alone = exclusive();
    let site = Site::start();
    for (codec, secured) in [
        (Codec::Pcmu, None),
        (Codec::G722, None),
        (Codec::Opus, Some("srtp-mand")),
    ] {
        let rate_hz = codec.rate_hz();
        let says: Vec<i16> = tone_samples(rate_hz, 1100.0, 20);
        let config = BaresipConfig {
            codec,
            media_encryption: secured,
            ..BaresipConfig::new("bob", "", says)
        };
        let mut bob = Baresip::start(&config).expect("baresip");
        let phone = Phone::udp(site.server.sip).expect("a phone");
        let tone = Source::tone(Law::Mu, 700.0, LEVEL_DBFS);
        let ann =
            Participant::join_as(&phone, &site.engine, "3000", Some(tone), "ann", "Ann").expect("joined");
        let uri = bob.uri().expect("it listens");
        let endpoint = match secured {
            None => json!(uri),
            Some(_) => json!({"name": "Secured", "sip": {"invite_format": "route", "route": uri},
                "media": {"encryption": {"enforce_security": true}}}),
        };
        let told = entries(site.dial(json!({"endpoints": [endpoint]})));
        assert_eq!(told[0]["status"], "success", "{told:?}\n{}", bob.log());
        bob.wait_established(SOON).expect("established");
        let level = level_of(&ann.stream, 1100.0);
        assert!(
            (level - LEVEL_DBFS).abs() < 1.5,
            "{codec:?}: ann hears baresip at {level:.1} dBFS"
        );
        std::thread::sleep(Duration::from_millis(1500));
        bob.hang_up().expect("it hangs up");
        let heard = bob.heard().expect("a recording");
        let second = rate_hz as usize;
        let middle = heard.len() / 2;
        assert!(heard.len() > 2 * second, "{} samples", heard.len());
        let level = meter::tone_dbfs(&heard[middle..middle + second / 2], rate_hz, 700.0);
        assert!(
            (level - LEVEL_DBFS).abs() < 1.5,
            "{codec:?}: baresip hears ann at {level:.1} dBFS"
        );
        ann.leave().expect("left");
        nothing_is_left(&site);
    }
}

#[test]
fn a_registered_baresip_is_dialled_by_its_user() {
    let _alone = exclusive();
    let site = Site::start();
    let made = |collection: &str, data: Value| {
        let answer = site
            .api
            .account("PUT", &format!("/{collection}"), Some(&json!({ "data": data })));
        answer.expect("answered").json()["data"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let realm = site.api.account("GET", "", None).expect("answered").json()["data"]["realm"].clone();
    let realm = realm.as_str().expect("a realm");
    let user = made("users", json!({"first_name": "Bob", "last_name": "Person"}));
    let phones = ["bob-desk", "bob-soft"].map(|name| {
        made(
            "devices",
            json!({"name": name, "owner_id": user, "sip": {"username": name, "password": "open-sesame"}}),
        );
        let account = BaresipAccount {
            realm: realm.to_owned(),
            server: site.server.sip,
            transport: "udp",
            password: "open-sesame".to_owned(),
            expires_s: 300,
        };
        let says = tone_samples(RATE_HZ, 1100.0, 20);
        Baresip::start(&BaresipConfig::registering(name, account, says)).expect("baresip")
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let status = site
            .api
            .account("GET", "/devices/status", None)
            .expect("answered")
            .json();
        if status["data"].as_array().is_some_and(|all| all.len() == 2) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{status}\n{}",
            phones[0].log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let tone = Source::tone(Law::Mu, 700.0, LEVEL_DBFS);
    let ann = Participant::join_as(&phone, &site.engine, "3000", Some(tone), "ann", "Ann").expect("joined");
    let told = entries(site.dial(json!({"endpoints": [user]})));
    let mut outcomes: Vec<&str> = told
        .iter()
        .filter_map(|entry| entry["message"].as_str())
        .collect();
    outcomes.sort_unstable();
    assert!(
        outcomes.len() == 2 && outcomes[0] == "LOSE_RACE" && outcomes[1].starts_with("dial resulted"),
        "{told:?}"
    );
    assert_eq!(
        site.participants().len(),
        2,
        "the other one was cancelled or ended"
    );
    let level = level_of(&ann.stream, 1100.0);
    assert!(
        (level - LEVEL_DBFS).abs() < 1.5,
        "ann hears baresip at {level:.1} dBFS"
    );
    drop(phones);
    ann.leave().expect("left");
}

#[test]
fn a_call_is_answered_a_challenge_and_a_record_is_kept() {
    let _alone = exclusive();
    let site = Site::start();
    let callee = Callee::new().expect("a phone");
    let device = json!({"name": "Server", "sip": {
        "invite_format": "route", "route": callee.uri("service"), "username": "confab", "password": "secret-word"
    }});
    let dial = site.dial(json!({"endpoints": [device]}));
    let first = callee.wait_call(SOON).expect("an INVITE");
    assert!(first.invite.header("Authorization").is_none());
    let asks = "Digest realm=\"far.example\", nonce=\"5ccc069c403eb\", algorithm=MD5, qop=\"auth\"";
    first
        .respond_with(401, "Unauthorized", &[("WWW-Authenticate", asks)])
        .expect("sent");
    let second = callee.wait_call(SOON).expect("an INVITE");
    assert_eq!(second.invite.header("Call-ID"), first.invite.header("Call-ID"));
    let answer = second.invite.header("Authorization").expect("an answer");
    assert!(
        answer.contains("username=\"confab\"") && answer.contains("realm=\"far.example\""),
        "{answer}"
    );
    assert!(!answer.contains("secret-word"));
    second.respond(486, "Busy Here").expect("sent");
    assert_eq!(entries(dial)[0]["message"], "USER_BUSY");
    nothing_is_left(&site);
    let record = site.record_of(first.invite.header("Call-ID").expect("a Call-ID"));
    assert_eq!(
        (&record["direction"], &record["status"]),
        (&json!("outbound"), &json!(486))
    );
    assert_eq!(
        (&record["to"], &record["from"]),
        (&json!("service"), &json!("3000"))
    );
    assert_eq!(record["conference_id"], site.conference.as_str());
}

#[test]
fn what_rings_is_cancelled_when_the_conference_or_the_server_ends() {
    let _alone = exclusive();
    let mut site = Site::start();
    let callee = Callee::new().expect("a phone");
    let dial = site.dial(json!({"endpoints": [callee.uri("bob")]}));
    let call = callee.wait_call(SOON).expect("an INVITE");
    call.respond(180, "Ringing").expect("sent");
    std::thread::sleep(Duration::from_millis(200));
    let path = format!("/conferences/{}", site.conference);
    let end = site.api.account("PUT", &path, Some(&json!({"action": "end"})));
    assert_eq!(end.expect("answered").status, 202);
    call.wait_request("CANCEL", SOON).expect("a CANCEL");
    assert_eq!(entries(dial)[0]["message"], "NORMAL_CLEARING");
    nothing_is_left(&site);

    // A client that goes away changes nothing: the call goes on.
    let body = json!({"action": "dial", "data": {"endpoints": [callee.uri("eve")]}}).to_string();
    let request = format!(
        "PUT /v2/accounts/{}{path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nContent-Length: {}\r\n\r\n{body}",
        site.api.account_id(),
        site.api.token().expect("logged in"),
        body.len()
    );
    let mut client = TcpStream::connect(site.server.http).expect("connected");
    client.write_all(request.as_bytes()).expect("sent");
    let call = callee.wait_call(SOON).expect("an INVITE");
    drop(client);
    std::thread::sleep(Duration::from_millis(300));
    let _stream = call.join(&site.engine, Source::silence(Law::Mu)).expect("an ACK");
    let joined = site
        .server
        .wait_metrics(SOON, |metrics| metrics.sum("confab_participants") == Some(1.0));
    joined.unwrap_or_else(|_| panic!("he has not joined"));

    let dial = site.dial(json!({"endpoints": [callee.uri("joe")]}));
    let ringing = callee.wait_call(SOON).expect("an INVITE");
    ringing.respond(180, "Ringing").expect("sent");
    std::thread::sleep(Duration::from_millis(200));
    let (status, took) = site.server.stop(Duration::from_secs(6)).expect("stopped");
    assert!(
        status.is_some_and(|status| status.success()) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(ringing.has_request("CANCEL") && call.has_request("BYE"));
    drop(dial);
}

#[test]
fn an_account_calls_whom_it_may_and_as_many_as_it_may() {
    let _alone = exclusive();
    let site = Site::with(&[
        ("outbound.allow", "[\"@127.0.0.1\", \"@10.0.0.1\"]"),
        ("outbound.deny", "[\"@10.0.0.1\", \"+1900\"]"),
        ("outbound.concurrent", "2"),
        ("outbound.per_minute", "4"),
    ]);
    let callee = Callee::new().expect("a phone");
    let told = entries(site.dial(json!({"endpoints": [
        "sip:a@10.0.0.1", "sip:a@192.0.2.1", format!("sip:+19005551234@{}", callee.address())
    ]})));
    assert!(
        told.iter()
            .all(|entry| entry["message"] == "OUTGOING_CALL_BARRED"),
        "{told:?}"
    );
    assert_eq!(callee.calls(), 0);
    let three = [callee.uri("a"), callee.uri("b"), callee.uri("c")];
    let dial = site.dial(json!({"endpoints": three}));
    let two = [
        callee.wait_call(SOON).expect("one"),
        callee.wait_call(SOON).expect("two"),
    ];
    for call in &two {
        call.respond(486, "Busy Here").expect("sent");
    }
    let told: Vec<Value> = entries(dial)
        .iter()
        .map(|entry| entry["message"].clone())
        .collect();
    assert_eq!(told, ["USER_BUSY", "USER_BUSY", "SWITCH_CONGESTION"]);
    for _ in 0..2 {
        let dial = site.dial(json!({"endpoints": [callee.uri("a")]}));
        callee
            .wait_call(SOON)
            .expect("a call")
            .respond(486, "Busy Here")
            .expect("sent");
        entries(dial);
    }
    let told = entries(site.dial(json!({"endpoints": [callee.uri("a")]})));
    assert_eq!(told[0]["message"], "SWITCH_CONGESTION", "four in a minute");
    assert_eq!(callee.calls(), 4);
}

#[test]
fn sipp_wants_a_longer_session_and_its_provisional_responses_acknowledged() {
    let _alone = exclusive();
    let site = Site::start();
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let tone = Source::tone(Law::Mu, 700.0, LEVEL_DBFS);
    let ann = Participant::join_as(&phone, &site.engine, "3000", Some(tone), "ann", "Ann").expect("joined");
    let peer = SippServer::start("tests/sipp/uas_reliable.xml", 1, &[]).expect("SIPp");
    let told = entries(site.dial(json!({"endpoints": [peer.uri("bob")]})));
    assert_eq!(told[0]["status"], "success", "{told:?}");
    assert!(
        (level_of(&ann.stream, 700.0) - LEVEL_DBFS).abs() < 1.0,
        "the answer of the 183 counts: the echo comes back"
    );
    let path = format!("/conferences/{}", site.conference);
    let bob = site
        .participants()
        .into_iter()
        .find(|one| one["call_id"] == told[0]["call_id"]);
    let bob = bob.expect("listed")["participant_id"].clone();
    let kick = json!({"data": {"action": "kick"}});
    let kicked = site
        .api
        .account("PUT", &format!("{path}/participants/{bob}"), Some(&kick));
    assert_eq!(kicked.expect("answered").status, 202);
    peer.finish().expect("ended").assert_all(1);
    ann.leave().expect("left");
    nothing_is_left(&site);
}

#[test]
fn a_registered_phone_sends_a_call_elsewhere_and_nobody_else_does() {
    let _alone = exclusive();
    let site = Site::with(&[
        ("bootstrap.realm", "\"phones.example\""),
        ("outbound.deny", "[\"@127.0.0.9\"]"),
    ]);
    let device = |user: &str| {
        let data = json!({"name": user, "sip": {"username": user, "password": "open-sesame"}});
        let made = site
            .api
            .account("PUT", "/devices", Some(&json!({ "data": data })));
        let made = made.expect("answered");
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["data"]["id"].as_str().expect("an id").to_owned()
    };
    let (ann, _carol) = (device("ann"), device("carol"));
    let phones = [0, 1, 2].map(|_| Callee::new().expect("a phone"));
    let registers = |user: &str, phone: &Callee| {
        let mut registrant =
            Device::new(site.server.sip, "phones.example", user, "open-sesame").expect("a socket");
        // As a proxy would: not from where it is reached.
        let answer = registrant.register(&format!("<{}>", phone.uri(user)), 120);
        assert_eq!(answer.expect("answered").status(), Some(200));
        registrant
    };
    let kept = [registers("ann", &phones[0]), registers("carol", &phones[1])];
    let redirect = |phone: &Callee, to: &str| {
        let call = phone.wait_call(SOON).expect("an INVITE");
        let headers = [("Contact", to)];
        call.respond_with(302, "Moved Temporarily", &headers)
            .expect("sent");
        call
    };
    // To a number of the account, whose phone sends it on to a URI; the best first.
    let dial = site.dial(json!({"endpoints": [ann], "timeout": 20}));
    redirect(
        &phones[0],
        "<sip:nobody@phones.example>;q=0.1, <sip:carol@phones.example>;q=0.9",
    );
    redirect(&phones[1], &format!("<{}>", phones[2].uri("dave")));
    let call = phones[2].wait_call(SOON).expect("an INVITE");
    let _dave = call
        .join(&site.engine, Source::tone(Law::Mu, 500.0, LEVEL_DBFS))
        .expect("an ACK");
    let entry = entries(dial).remove(0);
    assert_eq!(entry["status"], "success", "{entry}");
    assert_eq!(site.participants()[0]["caller_id_number"], "dave");
    call.hang_up().expect("answered");

    for (contact, calls) in [
        // Back to itself, into the conference, where nobody may call.
        (phones[0].uri("ann"), 1),
        ("sip:3000@phones.example".to_owned(), 1),
        ("sip:eve@127.0.0.9".to_owned(), 1),
    ] {
        let before = phones.iter().map(Callee::calls).sum::<usize>();
        let dial = site.dial(json!({"endpoints": [ann], "timeout": 5}));
        redirect(&phones[0], &format!("<{contact}>"));
        let entry = entries(dial).remove(0);
        assert_eq!(entry["message"], "REDIRECTION_TO_NEW_DESTINATION", "{contact}");
        assert_eq!(
            phones.iter().map(Callee::calls).sum::<usize>(),
            before + calls,
            "{contact}"
        );
    }
    // Who is not known chooses nobody.
    let dial = site.dial(json!({"endpoints": [phones[0].uri("eve")], "timeout": 5}));
    redirect(&phones[0], &format!("<{}>", phones[2].uri("dave")));
    assert_eq!(entries(dial)[0]["message"], "REDIRECTION_TO_NEW_DESTINATION");
    assert_eq!(phones[2].calls(), 1);
    drop(kept);
    nothing_is_left(&site);
}
