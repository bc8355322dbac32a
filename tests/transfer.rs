//! Participants' phones transfer: REFER to somebody else and to another conference, INVITE with Replaces; and nobody does who has not
//! shown who he is.

use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Call, Callee, Invite, Participant, Phone, SipMessage, digest};
use confab_testkit::codec::Codec;
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipAccount, BaresipConfig};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source, Stream};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const REALM: &str = "phones.example";
const PASSWORD: &str = "open-sesame";
const RATE_HZ: u32 = 8000;
const LEVEL_DBFS: f64 = -26.0;

struct Site {
    server: Server,
    api: HttpClient,
    engine: RtpEngine,
}

impl Site {
    fn with(settings: &[(&str, &str)]) -> Site {
        let builder =
            ServerBuilder::new(env!("CARGO_BIN_EXE_confab")).set("bootstrap.realm", &format!("\"{REALM}\""));
        let server = builder.set_all(settings).start().expect("started");
        let api = server.api().expect("a login");
        for user in ["ann", "carol"] {
            let data = json!({"name": user, "sip": {"username": user, "password": PASSWORD}});
            let made = api.account("PUT", "/devices", Some(&json!({ "data": data })));
            assert_eq!(made.expect("answered").status, 201);
        }
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        Site { server, api, engine }
    }

    fn first_conference(&self) -> String {
        self.server.first_conference().expect("the API").id().to_owned()
    }

    fn participants(&self, conference: &str) -> Vec<Value> {
        let path = format!("/conferences/{conference}/participants");
        let answer = self.api.account("GET", &path, None).expect("answered");
        answer.json()["data"].as_array().cloned().unwrap_or_default()
    }

    fn stranger(&self, phone: &Phone, hz: f64) -> Participant {
        Participant::join_as(phone, &self.engine, "3000", Some(tone(hz)), "x", "x").expect("joined")
    }

    /// Calls as a device, which shows its credentials when it is asked; with its audio.
    fn device_calls(&self, phone: &Phone, user: &str, hz: f64, headers: &[(&str, &str)]) -> (Call, Stream) {
        self.device_calls_number(phone, user, "3000", hz, headers)
    }

    fn device_calls_number(
        &self,
        phone: &Phone,
        user: &str,
        number: &str,
        hz: f64,
        headers: &[(&str, &str)],
    ) -> (Call, Stream) {
        let stream = self.engine.open(phone.local_addr().ip()).expect("a stream");
        let offer = AudioOffer::new(stream.local_addr()).codecs(&[Codec::Pcmu]);
        let invite = Invite::to(number, &offer).caller(user, user);
        let invite = headers
            .iter()
            .fold(invite, |invite, (name, value)| invite.header(name, value));
        let asked = phone
            .invite(invite.clone())
            .expect("sent")
            .wait_final(SOON)
            .expect("answered");
        assert_eq!(asked.status(), Some(401));
        let uri = format!("sip:{number}@{}", self.server.sip);
        let value = digest::answer(&asked, "INVITE", &uri, user, PASSWORD).expect("a challenge");
        let call = phone
            .invite(invite.header("Authorization", &value))
            .expect("sent");
        let remote = call.wait_answer(SOON).expect("answered");
        stream.set_formats(&offer.formats);
        stream.set_remote(remote.address);
        stream.set_source(Some(tone(hz)));
        (call, stream)
    }

    fn wait_participants(&self, count: f64) {
        let settled = self
            .server
            .wait_metrics(SOON, |metrics| metrics.sum("confab_participants") == Some(count));
        settled.unwrap_or_else(|last| panic!("{:?} participants", last.sum("confab_participants")));
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        self.server
            .wait_idle(SOON)
            .unwrap_or_else(|left| panic!("{left}"));
    }
}

fn tone(hz: f64) -> Source {
    Source::tone(Law::Mu, hz, LEVEL_DBFS)
}

fn level_of(stream: &Stream, frequency_hz: f64) -> f64 {
    stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(1300));
    let samples = stream.take_capture().samples();
    assert!(samples.len() >= RATE_HZ as usize, "{} samples", samples.len());
    meter::tone_dbfs(&samples[..RATE_HZ as usize], RATE_HZ, frequency_hz)
}

fn refer(call: &Call, to: &str, more: &[(&str, &str)]) -> SipMessage {
    let headers: Vec<_> = [("Refer-To", to)]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    call.request("REFER", &headers, SOON).expect("answered")
}

/// Waits for the last NOTIFY of a REFER, and returns what it tells.
#[track_caller]
fn told(call: &Call) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let all = call.requests("NOTIFY");
        let last = all
            .iter()
            .find(|notify| notify.header("Subscription-State") == Some("terminated;reason=noresource"));
        if let Some(last) = last {
            assert_eq!(&all[0].body[..], b"SIP/2.0 100 Trying\r\n");
            return String::from_utf8_lossy(&last.body).trim().to_owned();
        }
        assert!(Instant::now() < deadline, "{all:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nobody_is_called_for_whom_has_not_shown_who_he_is() {
    let _alone = exclusive();
    let site = Site::with(&[]);
    let (phone, callee) = (
        Phone::udp(site.server.sip).expect("a phone"),
        Callee::new().expect("a phone"),
    );
    let x = site.stranger(&phone, 700.0);
    let target = callee.uri("bob");
    let asked = refer(&x.call, &format!("<{target}>"), &[]);
    assert_eq!(asked.status(), Some(401));
    // Another conference of the account is no less closed.
    assert_eq!(
        refer(&x.call, &format!("<sip:3001@{REALM}>"), &[]).status(),
        Some(401)
    );
    let uri = x.call.remote_target();
    let answer = |password| digest::answer(&asked, "REFER", &uri, "ann", password).expect("a challenge");
    let wrong = refer(
        &x.call,
        &format!("<{target}>"),
        &[("Authorization", &answer("guess"))],
    );
    assert_eq!(wrong.status(), Some(403));
    assert_eq!(callee.calls(), 0);
    let right = refer(
        &x.call,
        &format!("<{target}>"),
        &[("Authorization", &answer(PASSWORD))],
    );
    assert_eq!(right.status(), Some(202));
    let incoming = callee.wait_call(SOON).expect("an INVITE");
    let referred_by = incoming.invite.header("Referred-By").expect("there");
    assert_eq!(referred_by, format!("<sip:ann@{REALM}>"));
    incoming.respond(486, "Busy Here").expect("sent");
    assert_eq!(told(&x.call), "SIP/2.0 486 Busy Here");
    x.leave().expect("left");
    site.nothing_is_left();
}

#[test]
fn a_blind_transfer_calls_somebody_who_comes_as_who_has_sent_him() {
    let _alone = exclusive();
    let site = Site::with(&[("sip.anonymous_dial_in", "false")]);
    let conference = site.first_conference();
    let callee = Callee::new().expect("a phone");
    let phones = [0, 1].map(|_| Phone::udp(site.server.sip).expect("a phone"));
    let (ann, _) = site.device_calls(&phones[0], "ann", 700.0, &[]);
    let (carol, hears) = site.device_calls(&phones[1], "carol", 500.0, &[]);
    site.wait_participants(2.0);
    let listed = site.participants(&conference);
    let ann_id = listed
        .iter()
        .find(|one| one["caller_id_number"] == "ann")
        .expect("listed")["participant_id"]
        .clone();
    let mute = json!({"data": {"action": "mute"}});
    let path = format!("/conferences/{conference}/participants/{ann_id}");
    let muted = site.api.account("PUT", &path, Some(&mute)).expect("answered");
    assert!(muted.status < 300, "{}", muted.text());

    assert_eq!(
        refer(&ann, &format!("<{}>", callee.uri("bob")), &[]).status(),
        Some(202)
    );
    // One at a time.
    assert_eq!(
        refer(&ann, &format!("<{}>", callee.uri("eve")), &[]).status(),
        Some(491)
    );
    let incoming = callee.wait_call(SOON).expect("an INVITE");
    assert!(incoming.invite.header("Replaces").is_none());
    // RFC 3261 §18.1.1: what is longer goes over TCP, which not every phone has.
    let length = incoming.invite.to_bytes().len();
    assert!(length < 1200, "{length} octets");
    incoming.respond(180, "Ringing").expect("sent");
    let bob = incoming.join(&site.engine, tone(1100.0)).expect("an ACK");
    assert_eq!(told(&ann), "SIP/2.0 200 OK");
    ann.bye(SOON).expect("left");
    site.wait_participants(2.0);
    let listed = site.participants(&conference);
    let he = listed
        .iter()
        .find(|one| one["caller_id_number"] == "bob")
        .expect("listed");
    assert_eq!(he["speak"], json!(false), "as ann was: {he}");
    assert!(
        (level_of(&bob, 500.0) - LEVEL_DBFS).abs() < 1.0,
        "bob hears carol"
    );
    assert!(level_of(&hears, 1100.0) < LEVEL_DBFS - 40.0, "and is muted");
    incoming.hang_up().expect("answered");
    carol.bye(SOON).expect("left");
    site.nothing_is_left();
}

#[test]
fn the_brake_holds_for_transfers_too_and_what_nobody_has_is_not_found() {
    let _alone = exclusive();
    let site = Site::with(&[("sip.anonymous_dial_in", "false"), ("outbound.deny", "[\"@*\"]")]);
    let callee = Callee::new().expect("a phone");
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let rows = [
        (format!("<{}>", callee.uri("bob")), "SIP/2.0 403 Forbidden"),
        (format!("<sip:4711@{REALM}>"), "SIP/2.0 404 Not Found"),
        (
            format!("<sip:abcdefgh@{}>", site.server.sip),
            "SIP/2.0 404 Not Found",
        ),
    ];
    for (target, expected) in rows {
        let (ann, _) = site.device_calls(&phone, "ann", 700.0, &[]);
        assert_eq!(refer(&ann, &target, &[]).status(), Some(202));
        assert_eq!(told(&ann), expected, "{target}");
        ann.bye(SOON).expect("left");
    }
    let (ann, _) = site.device_calls(&phone, "ann", 700.0, &[]);
    for (target, status) in [
        ("<tel:+49301234>".to_owned(), 416),
        (format!("<sip:3000@{REALM}>"), 482),
        (
            format!("<sip:3000@{REALM}?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>"),
            404,
        ),
        (format!("<{};method=BYE>", callee.uri("bob")), 501),
    ] {
        assert_eq!(refer(&ann, &target, &[]).status(), Some(status), "{target}");
    }
    assert_eq!(callee.calls(), 0);
    ann.bye(SOON).expect("left");
    site.nothing_is_left();
}

#[test]
fn a_refer_to_another_conference_takes_his_call_there() {
    let _alone = exclusive();
    let site = Site::with(&[("sip.anonymous_dial_in", "false")]);
    let body = json!({"data": {"name": "Other", "member": {"numbers": ["3001"]}}});
    let made = site
        .api
        .account("PUT", "/conferences", Some(&body))
        .expect("answered");
    assert_eq!(made.status, 201, "{}", made.text());
    let other = made.json()["data"]["id"].as_str().expect("an id").to_owned();
    let closed = json!({"data": {"name": "Closed", "member": {"numbers": ["3002"], "pins": ["4711"]}}});
    let made = site.api.account("PUT", "/conferences", Some(&closed));
    assert_eq!(made.expect("answered").status, 201);
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let (ann, _) = site.device_calls(&phone, "ann", 700.0, &[]);
    let past_the_pin = refer(&ann, &format!("<sip:3002@{}>", site.server.sip), &[]);
    assert_eq!(past_the_pin.status(), Some(403), "he is asked for a PIN there");
    let to = format!("<sip:3001@{}>", site.server.sip);
    let quiet = refer(&ann, &to, &[("Refer-Sub", "false"), ("Supported", "norefersub")]);
    assert_eq!(
        (quiet.status(), quiet.header("Refer-Sub")),
        (Some(200), Some("false"))
    );
    let deadline = Instant::now() + SOON;
    while site.participants(&other).len() != 1 {
        assert!(Instant::now() < deadline, "he is not there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(ann.requests("NOTIFY").is_empty(), "he wanted to hear nothing");
    let back = refer(&ann, &format!("<sip:3000@{}>", site.server.sip), &[]);
    assert_eq!(back.status(), Some(202));
    assert_eq!(told(&ann), "SIP/2.0 200 OK");
    assert!(!ann.ended_by_server());
    assert_eq!(site.participants(&site.first_conference()).len(), 1);
    ann.bye(SOON).expect("left");
    site.nothing_is_left();
}

#[test]
fn an_attended_transfer_replaces_the_call_that_the_phone_has_with_somebody() {
    let _alone = exclusive();
    let site = Site::with(&[("sip.anonymous_dial_in", "false")]);
    let callee = Callee::new().expect("a phone");
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let (ann, hears) = site.device_calls(&phone, "ann", 700.0, &[]);
    let to = format!(
        "<{}?Replaces=own%40ann%3Bto-tag%3Dbob1%3Bfrom-tag%3Dann1>",
        callee.uri("bob")
    );
    assert_eq!(refer(&ann, &to, &[]).status(), Some(202));
    let incoming = callee.wait_call(SOON).expect("an INVITE");
    assert!(
        incoming
            .invite
            .start_line
            .starts_with(&format!("INVITE {} ", callee.uri("bob")))
    );
    assert_eq!(
        incoming.invite.header("Replaces"),
        Some("own@ann;to-tag=bob1;from-tag=ann1")
    );
    assert!(incoming.invite.lists("Require", "replaces"));
    let bob = incoming.join(&site.engine, tone(1100.0)).expect("an ACK");
    assert_eq!(told(&ann), "SIP/2.0 200 OK");
    assert!(
        (level_of(&hears, 1100.0) - LEVEL_DBFS).abs() < 1.0,
        "ann hears bob"
    );
    bob.close();
    ann.bye(SOON).expect("left");
    incoming.hang_up().expect("answered");
    site.nothing_is_left();
}

#[test]
fn an_invite_with_replaces_takes_the_place_of_a_participant() {
    let _alone = exclusive();
    let site = Site::with(&[]);
    let conference = site.first_conference();
    let phones = [0, 1, 2].map(|_| Phone::udp(site.server.sip).expect("a phone"));
    let x = site.stranger(&phones[0], 700.0);
    let y = site.stranger(&phones[1], 500.0);
    site.wait_participants(2.0);
    let before = site.participants(&conference);
    let (ours, theirs) = x.call.tags();
    let named = format!("{};to-tag={theirs};from-tag={ours}", x.call.call_id());

    // Who has not shown who he is takes nobody's place, and hears nothing of whether there is one.
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    for (named, status) in [(named.clone(), 401), ("a;to-tag=1;from-tag=2".to_owned(), 481)] {
        let invite = Invite::to("3000", &offer).header("Replaces", &named);
        let refused = phones[2]
            .invite(invite)
            .expect("sent")
            .wait_final(SOON)
            .expect("answered");
        assert_eq!(refused.status(), Some(status), "{named}");
    }
    let (carol, hears) = site.device_calls(
        &phones[2],
        "carol",
        1100.0,
        &[("Replaces", &named), ("Require", "replaces")],
    );
    let (_, bye) = x.call.wait_request("BYE", SOON).expect("the old call is over");
    assert!(bye.header("Reason").expect("why").contains("200"), "{bye:?}");
    std::thread::sleep(Duration::from_millis(300));
    let after = site.participants(&conference);
    let ids = |all: &[Value]| {
        all.iter()
            .map(|one| one["participant_id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&after), ids(&before), "the same participants");
    assert!(
        (level_of(&y.stream, 1100.0) - LEVEL_DBFS).abs() < 1.0,
        "she is heard"
    );
    assert!(level_of(&y.stream, 700.0) < LEVEL_DBFS - 40.0, "he is not");
    assert!((level_of(&hears, 500.0) - LEVEL_DBFS).abs() < 1.0, "she hears");
    let shown = |all: &[Value]| {
        all.iter()
            .map(|one| one["caller_id_number"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&before), ["x", "x"]);
    assert_eq!(shown(&after), ["carol", "x"], "who is there now is shown");
    let vars = &after[0]["conference_channel_vars"];
    assert_eq!(after[0]["caller_id_name"], "carol", "{vars}");
    assert_eq!(
        after[0]["custom_channel_vars"]["username"], "carol",
        "{}",
        after[0]
    );
    // He is still the one that the API knows, and can be sent away.
    let kick = json!({"data": {"action": "kick"}});
    let his = after
        .iter()
        .find(|one| one["call_id"] == x.call.call_id())
        .expect("listed");
    let path = format!("/conferences/{conference}/participants/{}", his["participant_id"]);
    let kicked = site.api.account("PUT", &path, Some(&kick)).expect("answered");
    assert!(kicked.status < 300, "{}", kicked.text());
    carol.wait_request("BYE", SOON).expect("sent away");
    y.leave().expect("left");
    site.nothing_is_left();
}

/// The value of Replaces that names a call of the phone, as it stands in a Refer-To.
fn named(call: &Call) -> String {
    let (ours, theirs) = call.tags();
    let call_id = call.call_id().replace('@', "%40");
    format!("{call_id}%3Bto-tag%3D{theirs}%3Bfrom-tag%3D{ours}")
}

#[test]
fn a_phone_with_two_calls_here_takes_the_place_of_the_one_with_the_other() {
    let _alone = exclusive();
    let site = Site::with(&[("sip.anonymous_dial_in", "false")]);
    let make = |data: Value| {
        let made = site
            .api
            .account("PUT", "/conferences", Some(&json!({ "data": data })));
        let made = made.expect("answered");
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["data"]["id"].as_str().expect("an id").to_owned()
    };
    let other = make(json!({
        "name": "Other", "member": {"numbers": ["3001"], "join_muted": false}, "max_participants": 2
    }));
    make(json!({"name": "Closed", "member": {"numbers": ["3002"], "pins": ["4711"]}}));
    let phones = [0, 1, 2, 3].map(|_| Phone::udp(site.server.sip).expect("a phone"));
    let (ann, hears) = site.device_calls(&phones[0], "ann", 700.0, &[]);
    let (second, _) = site.device_calls_number(&phones[1], "ann", "3001", 900.0, &[]);
    let (carol, carol_hears) = site.device_calls_number(&phones[2], "carol", "3001", 500.0, &[]);
    // He is asked for his PIN, and has no place to give.
    let (asked, _) = site.device_calls_number(&phones[3], "ann", "3002", 300.0, &[]);
    site.wait_participants(3.0);
    let act = |path: &str, action: &str| {
        let body = json!({"data": {"action": action}});
        let done = site.api.account("PUT", path, Some(&body)).expect("answered");
        assert!(done.status < 300, "{}", done.text());
    };
    let path = format!("/conferences/{other}");
    act(&path, "lock");
    let all = site.participants(&other);
    let his = all.iter().find(|one| one["caller_id_number"] == "ann");
    let his = &his.expect("listed")["participant_id"];
    act(&format!("{path}/participants/{his}"), "deaf");
    let target = |call: &Call| format!("<{}?Replaces={}>", call.remote_target(), named(call));

    assert_eq!(refer(&ann, &target(&ann), &[]).status(), Some(482));
    assert_eq!(refer(&ann, &target(&asked), &[]).status(), Some(202));
    assert_eq!(told(&ann), "SIP/2.0 480 Temporarily Unavailable");
    assert!(!ann.ended_by_server());

    let (ann, hears) = {
        // A REFER of its own subscription: the one before has told its end.
        ann.bye(SOON).expect("left");
        hears.close();
        site.device_calls(&phones[0], "ann", 700.0, &[])
    };
    assert_eq!(refer(&ann, &target(&second), &[]).status(), Some(202));
    assert_eq!(told(&ann), "SIP/2.0 200 OK");
    let (_, bye) = second.wait_request("BYE", SOON).expect("the other call is over");
    assert!(bye.header("Reason").expect("why").contains("replaced"), "{bye:?}");
    let deadline = Instant::now() + SOON;
    loop {
        let numbers: Vec<_> = site
            .participants(&other)
            .iter()
            .map(|one| {
                (
                    one["caller_id_number"].clone(),
                    one["hear"].clone(),
                    one["call_id"].clone(),
                )
            })
            .collect();
        let expected = [
            (json!("carol"), json!(true), json!(carol.call_id())),
            (json!("ann"), json!(false), json!(ann.call_id())),
        ];
        if numbers == expected {
            break;
        }
        assert!(Instant::now() < deadline, "{numbers:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // What is told of who comes and goes is over by then.
    std::thread::sleep(Duration::from_secs(2));
    let level = level_of(&carol_hears, 700.0);
    assert!(
        (level - LEVEL_DBFS).abs() < 1.0,
        "his first call is heard there: {level}"
    );
    assert!(
        level_of(&hears, 500.0) < LEVEL_DBFS - 40.0,
        "and is deaf, as the other was"
    );
    ann.bye(SOON).expect("left");
    asked.bye(SOON).expect("left");
    carol.bye(SOON).expect("left");
    site.nothing_is_left();
}

#[test]
fn baresip_transfers_and_hangs_up_when_it_is_told_that_it_went_well() {
    let _alone = exclusive();
    let site = Site::with(&[]);
    let callee = Callee::new().expect("a phone");
    let phone = Phone::udp(site.server.sip).expect("a phone");
    let x = site.stranger(&phone, 700.0);
    let account = BaresipAccount {
        realm: REALM.to_owned(),
        server: site.server.sip,
        transport: "udp",
        password: PASSWORD.to_owned(),
        expires_s: 120,
    };
    let says = meter::sine(440.0, -20.0, 8000, 0, 8000 * 60);
    let ann = Baresip::start(&BaresipConfig::registering("ann", account, says)).expect("baresip");
    ann.wait_log("200 OK", SOON).expect("registered");
    ann.dial(&format!("sip:3000@{}", site.server.sip))
        .expect("dialled");
    ann.wait_established(SOON).expect("answered");
    site.wait_participants(2.0);
    ann.transfer(&callee.uri("bob")).expect("a transfer");
    let incoming = callee.wait_call(SOON).expect("an INVITE");
    assert_eq!(
        incoming.invite.header("Referred-By").expect("there"),
        format!("<sip:ann@{REALM}>")
    );
    let bob = incoming.join(&site.engine, tone(1100.0)).expect("an ACK");
    // It hangs up by itself: it is in the conference no more, and bob is.
    site.wait_participants(2.0);
    let deadline = Instant::now() + SOON;
    loop {
        let listed = site.participants(&site.first_conference());
        let numbers: Vec<_> = listed.iter().map(|one| one["caller_id_number"].clone()).collect();
        if numbers == [json!("x"), json!("bob")] {
            break;
        }
        assert!(Instant::now() < deadline, "{numbers:?}\n{}", ann.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        (level_of(&bob, 700.0) - LEVEL_DBFS).abs() < 1.0,
        "bob hears the other"
    );
    assert!(
        (level_of(&x.stream, 1100.0) - LEVEL_DBFS).abs() < 1.0,
        "and is heard"
    );
    incoming.hang_up().expect("answered");
    x.leave().expect("left");
    site.nothing_is_left();
}
