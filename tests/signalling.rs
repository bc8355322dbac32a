//! SIP as callers see it: SIPp scenarios and the agent against the real server, over UDP and TCP.

use std::time::{Duration, Instant};

use confab_testkit::agent::{
    AgentError, AudioOffer, Direction, Invite, OutOfDialog, Participant, Phone, RemoteAudio,
};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::peers::Sipp;
use confab_testkit::ports::PortLease;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, Server, ServerBuilder, exclusive, free_address};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);
const TONE_HZ: f64 = 1000.0;

fn start() -> Server {
    ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started")
}

fn create(server: &Server, document: Value) -> ConferenceControl {
    ConferenceControl::create(server.api().expect("a login"), document).expect("created")
}

fn offer() -> AudioOffer {
    AudioOffer::new("127.0.0.1:40000".parse().expect("an address"))
}

/// Calls and returns the refusal.
fn refusal(phone: &Phone, invite: Invite) -> confab_testkit::agent::SipMessage {
    let response = phone
        .invite(invite)
        .expect("sent")
        .wait_final(WAIT)
        .expect("a final response");
    assert!(
        response.status() >= Some(300),
        "admitted: {}",
        response.start_line
    );
    response
}

/// Waits until OPTIONS is answered with this status: what the server tells a load balancer follows its load within a moment.
fn wait_options(phone: &Phone, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut last = None;
    while last != Some(status) {
        assert!(
            Instant::now() < deadline,
            "OPTIONS is still answered {last:?}, not {status}"
        );
        last = phone
            .request(OutOfDialog::new("OPTIONS"), WAIT)
            .expect("answered")
            .status();
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tone_level(participant: &Participant) -> f64 {
    participant.stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(600));
    let samples = participant.stream.take_capture().samples();
    if samples.len() < 4000 {
        meter::SILENCE_DBFS
    } else {
        meter::median_tone_dbfs(&samples[..4000], 8000, TONE_HZ)
    }
}

#[test]
fn sipp_scenarios_pass_over_udp_and_tcp() {
    let _alone = exclusive();
    let server = start();
    let scenario = |name: &str| {
        Sipp::new(format!("tests/sipp/{name}.xml"), server.sip).load(5, 10, Duration::from_millis(300))
    };
    let elsewhere = PortLease::take(2).expect("free ports");
    let other_port = elsewhere.address(0).port();
    for tcp in [false, true] {
        let run = |sipp: Sipp, name: &str| {
            let sipp = if tcp { sipp.tcp() } else { sipp };
            let report = sipp.run().expect("SIPp ran");
            println!(
                "{name}, tcp {tcp}: {} ok in {:.1?}",
                report.successful, report.took
            );
            report.assert_all(5);
        };
        for name in [
            "join",
            "late_offer",
            "reliable",
            "options",
            "options_in_call",
            "unsupported_extension",
        ] {
            run(scenario(name), name);
        }
        run(
            scenario("reinvite").with("OTHER_PORT", &other_port.to_string()),
            "reinvite",
        );
        // A method that RFCs define and this server does not serve, and one that nobody knows (RFC 3261 §8.2.1, §21.5.2).
        for (method, status) in [("PUBLISH", "405"), ("MESSAGE", "405"), ("NONSENSE", "501")] {
            run(
                scenario("unsupported_method")
                    .with("METHOD", method)
                    .with("STATUS", status),
                method,
            );
        }
        run(
            scenario("refused")
                .with("STATUS", "404")
                .with("HEADER", "Subject: nobody")
                .number("987654"),
            "unknown number",
        );
    }
}

#[test]
fn refusals_tell_why() {
    let server = start();
    let locked = create(&server, json!({"conference_numbers": ["7002"]}));
    let limited = create(
        &server,
        json!({"conference_numbers": ["7003"], "max_participants": 2}),
    );
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");

    assert_eq!(
        refusal(&phone, Invite::to("79999", &offer())).status(),
        Some(404),
        "nobody has that number"
    );
    let elsewhere = Invite {
        host: Some("elsewhere.example".into()),
        ..Invite::to("3000", &offer())
    };
    assert_eq!(
        refusal(&phone, elsewhere).status(),
        Some(404),
        "not a name of this server"
    );

    let inside = Participant::join(&phone, &engine, "7002", None).expect("joined");
    // The caller joins right after the 200; a lock before would find nothing running.
    locked
        .wait_participants(WAIT, |participants| participants.len() == 1)
        .expect("inside");
    locked.act("lock").expect("done");
    // Who is kept out is answered, told, and hung up.
    let kept_out = |number: &str| {
        let call = phone.invite(Invite::to(number, &offer())).expect("sent");
        call.wait_answer(WAIT).expect("answered");
        let (_, bye) = call.wait_request("BYE", WAIT).expect("hung up");
        let reason = bye.header("Reason").unwrap_or_default().to_owned();
        assert!(reason.contains("cause=480"), "{reason}");
    };
    kept_out("7002");
    assert!(
        !inside.call.ended_by_server(),
        "a lock keeps out, it does not throw out"
    );
    inside.leave().expect("left");
    locked.wait_participants(WAIT, <[_]>::is_empty).expect("over");
    Participant::join(&phone, &engine, "7002", None)
        .expect("the lock went with its instance")
        .leave()
        .expect("left");

    let full: Vec<_> = (0..2)
        .map(|_| Participant::join(&phone, &engine, "7003", None).expect("joined"))
        .collect();
    kept_out("7003");
    // Who has not come in yet holds a place that no list shows.
    limited
        .wait_participants(WAIT, |participants| participants.len() == 2)
        .expect("inside");
    full.iter()
        .for_each(|participant| participant.leave().expect("left"));
    limited.wait_participants(WAIT, <[_]>::is_empty).expect("over");
    Participant::join(&phone, &engine, "7003", None)
        .expect("there is room again")
        .leave()
        .expect("left");
}

#[test]
fn number_formats_reach_the_same_conference() {
    let server = start();
    let control = create(&server, json!({"conference_numbers": ["4930123456"]}));
    let phone = Phone::udp(server.sip).expect("a phone");
    for number in [
        "4930123456",
        "+4930123456",
        "+49-30-123456",
        "+49(30)123.456",
        "4930123456;phone-context=x",
    ] {
        let call = phone.invite(Invite::to(number, &offer())).expect("sent");
        call.wait_answer(WAIT)
            .unwrap_or_else(|error| panic!("{number}: {error}"));
        // The caller joins right after the 200 is on its way.
        control
            .wait_participants(WAIT, |participants| participants.len() == 1)
            .unwrap_or_else(|error| panic!("{number}: {error}"));
        call.bye(WAIT).expect("ended");
        control.wait_participants(WAIT, <[_]>::is_empty).expect("left");
    }
}

#[test]
fn a_full_server_refuses_and_lives_on() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.max_calls", "10")
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let tone = || Some(Source::tone(Law::Mu, TONE_HZ, -20.0));
    let mut inside: Vec<_> = (0..10)
        .map(|_| Participant::join(&phone, &engine, "3000", None).expect("joined"))
        .collect();
    for _ in 0..5 {
        let response = refusal(&phone, Invite::to("3000", &offer()));
        assert_eq!(response.status(), Some(503));
        let seconds = response
            .header("Retry-After")
            .and_then(|value| value.split([' ', ';', '(']).next()?.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 0), "{response}");
    }
    wait_options(&phone, 503);
    inside[0].stream.set_source(tone());
    assert!(tone_level(&inside[1]) > -21.0, "running calls stay clean");
    inside.pop().expect("ten").leave().expect("left");
    server
        .wait_metrics(WAIT, |metrics| metrics.sum("confab_legs") == Some(9.0))
        .expect("its place is free");
    inside.push(Participant::join(&phone, &engine, "3000", None).expect("a place is free again"));
    inside
        .iter()
        .for_each(|participant| participant.leave().expect("left"));
    server
        .wait_metrics(WAIT, |metrics| metrics.sum("confab_legs") == Some(0.0))
        .expect("all places are free");
    wait_options(&phone, 200);
}

#[test]
fn a_call_over_tcp_carries_audio_both_ways() {
    let server = start();
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let (tcp, udp) = (
        Phone::tcp(server.sip).expect("a phone"),
        Phone::udp(server.sip).expect("a phone"),
    );
    let tone = || Some(Source::tone(Law::A, TONE_HZ, -20.0));
    let talker = Participant::join_as(&tcp, &engine, "3000", tone(), "1", "tcp").expect("joined");
    let listener = Participant::join_as(&udp, &engine, "3000", None, "2", "udp").expect("joined");
    assert!((tone_level(&listener) + 20.0).abs() < 1.0);
    let control = server.first_conference().expect("the API");
    control
        .act_on(control.participant("1").expect("listed"), "kick")
        .expect("done");
    talker
        .call
        .wait_request("BYE", WAIT)
        .expect("the BYE takes the connection of the call");
    listener.leave().expect("left");
}

#[test]
fn a_late_offer_is_answered_in_the_ack_and_carries_audio() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let talker = Participant::join(
        &phone,
        &engine,
        "3000",
        Some(Source::tone(Law::Mu, TONE_HZ, -20.0)),
    )
    .expect("joined");
    let stream = engine.open(phone.local_addr().ip()).expect("a stream");
    let call = phone.invite(Invite::without_offer("3000")).expect("sent");
    let remote = call.wait_answer(WAIT).expect("an offer in the 200");
    assert!(
        remote.payload_types.starts_with(&[0]) || remote.payload_types.contains(&8),
        "{remote:?}"
    );
    std::thread::sleep(Duration::from_millis(700));
    assert!(call.answers_seen() >= 2, "a 200 without ACK is repeated");
    let offer = AudioOffer::new(stream.local_addr()).only(Law::A);
    call.ack(Some(&offer)).expect("sent");
    stream.set_remote(remote.address);
    let late = Participant {
        call,
        stream,
        offer,
        remote,
        refused: 0,
    };
    assert!((tone_level(&late) + 20.0).abs() < 1.0);
    assert!(late.stream.counts().received > 0);
    late.leave().expect("left");
    talker.leave().expect("left");
}

#[test]
fn a_phone_that_holds_is_not_heard_and_gets_nothing() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let tone = Source::tone(Law::Mu, TONE_HZ, -20.0);
    let holder = Participant::join(&phone, &engine, "3000", Some(tone)).expect("joined");
    let listener =
        Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu))).expect("joined");
    let hears = |level: std::ops::Range<f64>| (0..20).any(|_| level.contains(&tone_level(&listener)));
    assert!(hears(-21.0..-19.0));
    let null = "0.0.0.0".parse().expect("an address");
    let mut offer = holder.offer.clone();
    for direction in [Direction::SendOnly, Direction::SendRecv] {
        // Held by its direction, then by the null address; its hold music goes on coming.
        let mut hold = offer.clone().directed(direction);
        if direction == Direction::SendRecv {
            hold.address.set_ip(null);
        }
        let response = holder.call.reinvite(&hold, WAIT).expect("a final response");
        assert_eq!(response.status(), Some(200), "{response}");
        std::thread::sleep(Duration::from_millis(200));
        let before = holder.stream.counts().received;
        for _ in 0..3 {
            assert!(tone_level(&listener) < -60.0, "{direction:?}");
        }
        assert!(holder.stream.counts().received <= before + 1, "{direction:?}");

        let mut back = hold.directed(Direction::SendRecv);
        back.address = holder.offer.address;
        let response = holder.call.reinvite(&back, WAIT).expect("a final response");
        assert_eq!(response.status(), Some(200), "{response}");
        assert!(hears(-21.0..-19.0), "{direction:?}");
        offer = back;
    }
}

#[test]
fn hold_codec_and_address_change_by_reinvite() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let talker = Participant::join(
        &phone,
        &engine,
        "3000",
        Some(Source::tone(Law::Mu, TONE_HZ, -20.0)),
    )
    .expect("joined");
    let mut listener =
        Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu))).expect("joined");
    assert!((tone_level(&listener) + 20.0).abs() < 1.0);
    let reinvite = |listener: &Participant, offer: &AudioOffer| {
        let response = listener.call.reinvite(offer, WAIT).expect("a final response");
        assert_eq!(response.status(), Some(200), "{response}");
        RemoteAudio::parse(&response.body).expect("an answer")
    };

    let held = listener.offer.clone().directed(Direction::Inactive);
    assert_eq!(reinvite(&listener, &held).direction, Direction::Inactive);
    std::thread::sleep(Duration::from_millis(100));
    let before = listener.stream.counts().received;
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        listener.stream.counts().received <= before + 1,
        "an inactive stream gets nothing"
    );

    let resumed = held.clone().directed(Direction::SendRecv);
    assert_eq!(reinvite(&listener, &resumed).direction, Direction::SendRecv);
    assert!((tone_level(&listener) + 20.0).abs() < 1.0, "resumed");

    let other_law = AudioOffer {
        version: resumed.version + 1,
        ..resumed
    }
    .only(Law::A);
    assert_eq!(reinvite(&listener, &other_law).law(), Some(Law::A));
    listener.stream.set_source(Some(Source::silence(Law::A)));
    std::thread::sleep(Duration::from_millis(100));
    listener.stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(200));
    let types: Vec<u8> = listener
        .stream
        .take_capture()
        .packets()
        .iter()
        .map(|packet| packet.payload_type)
        .collect();
    assert!(
        !types.is_empty() && types.iter().all(|kind| *kind == 8),
        "{types:?}"
    );
    assert!((tone_level(&listener) + 20.0).abs() < 1.0, "other codec");

    let moved = engine.open(phone.local_addr().ip()).expect("a stream");
    let elsewhere = AudioOffer {
        address: moved.local_addr(),
        version: other_law.version + 1,
        ..other_law
    };
    listener.remote = reinvite(&listener, &elsewhere);
    let old = std::mem::replace(&mut listener.stream, moved);
    listener.stream.set_remote(listener.remote.address);
    listener
        .stream
        .set_source(Some(Source::tone(Law::A, 700.0, -20.0)));
    std::thread::sleep(Duration::from_millis(200));
    let at_old = old.counts().received;
    assert!((tone_level(&listener) + 20.0).abs() < 1.0, "other address");
    assert!(
        old.counts().received <= at_old + 1,
        "nothing goes to the old address"
    );
    talker.stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(600));
    let heard = talker.stream.take_capture().samples();
    assert!(
        (meter::median_tone_dbfs(&heard[..4000], 8000, 700.0) + 20.0).abs() < 1.0,
        "and is heard from the new one"
    );
    listener.leave().expect("left");
    talker.leave().expect("left");
}

#[test]
fn a_reinvite_without_an_offer_keeps_the_participant() {
    let mut server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let control = server.first_conference().expect("the API");
    let tone = Source::tone(Law::Mu, TONE_HZ, -20.0);
    let _talker = Participant::join(&phone, &engine, "3000", Some(tone)).expect("joined");
    let listener =
        Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu))).expect("joined");
    // A machine that stalls may spoil one measurement.
    let hears = || (0..5).any(|_| (tone_level(&listener) + 20.0).abs() < 1.0);
    let in_room = || {
        control
            .wait_participants(WAIT, |participants| participants.len() == 2)
            .expect("both are on the roster");
        assert!(!listener.call.ended_by_server());
    };
    let late = |answer: &AudioOffer| {
        let response = listener
            .call
            .reinvite_without_offer(WAIT)
            .expect("a final response");
        assert_eq!(response.status(), Some(200), "{response}");
        let offered = RemoteAudio::parse(&response.body).expect("an offer");
        assert_eq!(
            offered.direction,
            Direction::SendRecv,
            "whatever was agreed before"
        );
        listener.call.ack(Some(answer)).expect("sent");
        std::thread::sleep(Duration::from_millis(200));
        in_room();
    };

    let mut answer = listener.offer.clone();
    answer.version += 1;
    late(&answer);
    assert!(hears(), "still in the mix");

    answer = answer.directed(Direction::Inactive);
    let held = listener.call.reinvite(&answer, WAIT).expect("a final response");
    assert_eq!(held.status(), Some(200), "{held}");
    in_room();
    answer = answer.directed(Direction::SendRecv);
    late(&answer);
    assert!(hears(), "back from hold");
    answer = answer.directed(Direction::Inactive);
    late(&answer);

    let call_id = listener.call.call_id().to_owned();
    let (status, took) = server.stop(WAIT).expect("told to end");
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(
        took < Duration::from_millis(1500),
        "no call had to be cut off: {took:?}"
    );
    listener.call.wait_request("BYE", WAIT).expect("the end is said");
    let records = std::fs::read_to_string(server.directory().join("data/cdr.jsonl")).expect("records");
    assert!(records.contains(&call_id), "{records}");
}

#[test]
fn a_cancelled_call_leaves_nothing_behind() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let (mut cancelled, mut answered) = (0, 0);
    for _ in 0..20 {
        let call = phone.invite(Invite::to("3000", &offer())).expect("sent");
        // Whichever wins the race is right (RFC 3261 §9.2); the CANCEL itself is answered in any case.
        assert_eq!(call.cancel(WAIT).expect("answered").status(), Some(200));
        match call.wait_final(WAIT).expect("a final response").status() {
            Some(487) => cancelled += 1,
            Some(200) => {
                answered += 1;
                call.bye(WAIT).expect("ended");
            }
            other => panic!("{other:?}"),
        }
    }
    println!("{cancelled} cancelled, {answered} had been answered before");
    let control = server.first_conference().expect("the API");
    control
        .wait_participants(WAIT, <[_]>::is_empty)
        .expect("nobody is left");
    server
        .wait_metrics(WAIT, |m| {
            m.sum("confab_legs") == Some(0.0) && m.sum("confab_ports_in_use") == Some(0.0)
        })
        .expect("no leg is left");
}

#[test]
fn video_is_declined_and_audio_taken() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let mut with_video = offer();
    with_video.extra_lines = vec!["m=video 40002 RTP/AVP 99".into(), "a=rtpmap:99 H264/90000".into()];
    let call = phone.invite(Invite::to("3000", &with_video)).expect("sent");
    let answer = call.wait_answer(WAIT).expect("answered");
    assert_eq!(answer.media_ports.len(), 2, "one line for each offered");
    assert!(answer.media_ports[0].1 != 0);
    assert_eq!(answer.media_ports[1], ("video".to_owned(), 0));
    call.bye(WAIT).expect("ended");
}

#[test]
fn requests_outside_their_call_are_told_so() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let call = phone.invite(Invite::to("3000", &offer())).expect("sent");
    call.wait_answer(WAIT).expect("answered");
    call.bye(WAIT).expect("ended");
    assert_eq!(
        call.bye(WAIT).expect("answered").status(),
        Some(481),
        "a second BYE"
    );
    let stray = OutOfDialog::new("BYE");
    assert_eq!(phone.request(stray, WAIT).expect("answered").status(), Some(481));
    let register = phone
        .request(OutOfDialog::new("REGISTER"), WAIT)
        .expect("answered");
    assert_eq!(register.status(), Some(401));
    assert!(register.header("WWW-Authenticate").is_some(), "{register}");
    let publish = phone
        .request(OutOfDialog::new("PUBLISH"), WAIT)
        .expect("answered");
    assert_eq!(publish.status(), Some(405));
    assert!(
        publish.lists("Allow", "INVITE") && !publish.lists("Allow", "PUBLISH"),
        "{publish}"
    );
    let timed_out = phone.request(OutOfDialog::new("ACK"), Duration::from_millis(300));
    assert!(
        matches!(timed_out, Err(AgentError::TimedOut { .. })),
        "an ACK is never answered"
    );
}

#[test]
fn a_call_over_ipv6_carries_audio() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("this machine has no IPv6");
        return;
    }
    let address = format!("[::1]:{}", free_address().expect("a port").port());
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("sip.udp", &format!("[\"{address}\"]"))
        .set("sip.tcp", &format!("[\"{address}\"]"))
        .set("media.bind", "[\"::1\"]")
        .start()
        .expect("started");
    assert!(server.sip.is_ipv6());
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let tone = Source::tone(Law::Mu, TONE_HZ, -20.0);
    let talker = Participant::join(&phone, &engine, "3000", Some(tone)).expect("joined");
    let listener = Participant::join(&phone, &engine, "3000", None).expect("joined");
    assert!(listener.remote.address.is_ipv6(), "{:?}", listener.remote);
    assert!((tone_level(&listener) + 20.0).abs() < 1.0);
    talker.leave().expect("left");
    listener.leave().expect("left");
}

#[test]
fn the_contact_of_a_conference_says_what_it_is() {
    let server = start();
    let phone = Phone::udp(server.sip).expect("a phone");
    let call = phone.invite(Invite::to("3000", &offer())).expect("sent");
    let response = call.wait_final(WAIT).expect("a response");
    assert_eq!(response.status(), Some(200));
    assert!(
        response
            .header("Contact")
            .is_some_and(|contact| contact.contains("isfocus")),
        "{response}"
    );
    assert!(response.lists("Allow", "OPTIONS"), "{response}");
    call.bye(WAIT).expect("ended");
}
