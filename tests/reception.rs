//! Callers before they are in the conference, on servers of their own: the guard against guessed PINs, and that nothing of a
//! caller stays behind wherever he goes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use confab_dsp::{Resampler, ResamplerTable};
use confab_prompts::built_in;
use confab_recording::{ImportLimits, import};
use confab_testkit::agent::{AudioOffer, Invite, Joining, Participant, Phone};
use confab_testkit::codec::Codec;
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{find, tone_dbfs};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, Server, ServerBuilder};
use serde_json::json;

const WAIT: Duration = Duration::from_secs(20);

fn start() -> ServerBuilder {
    ServerBuilder::new(env!("CARGO_BIN_EXE_confab")).set("sip.service_numbers", "[\"9000\"]")
}

fn room(server: &Server, document: serde_json::Value) -> ConferenceControl {
    ConferenceControl::create(server.api().expect("a login"), document).expect("created")
}

fn engine() -> RtpEngine {
    RtpEngine::start(EngineConfig::default()).expect("an engine")
}

fn phone_at(server: &Server, last: u8) -> Phone {
    Phone::udp_from(server.sip, IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).expect("a phone")
}

fn dial(phone: &Phone, engine: &RtpEngine, number: &str) -> Participant {
    let joining = Joining::default().sends(Source::silence(Law::Mu));
    joining.join(phone, engine, number).expect("answered")
}

fn turned_away(caller: &Participant) -> String {
    let (_, bye) = caller.call.wait_request("BYE", WAIT).expect("turned away");
    bye.header("Reason").unwrap_or_default().to_owned()
}

/// Waits until nothing is left of any call.
fn is_empty(server: &Server) {
    for gauge in [
        "confab_calls",
        "confab_legs",
        "confab_mixers",
        "confab_conferences",
        "confab_participants",
        "confab_ports_in_use",
        "confab_dialogs",
    ] {
        let left = server.wait_metrics(Duration::from_secs(45), |metrics| metrics.sum(gauge) == Some(0.0));
        left.unwrap_or_else(|metrics| panic!("{gauge}: {:?}", metrics.sum(gauge)));
    }
}

#[test]
fn guessing_pins_blocks_its_source_and_nobody_else() {
    let server = start()
        .set("pin_guard.source_tries", "5")
        .start()
        .expect("started");
    let document = json!({"conference_numbers": ["7001"], "member": {"pins": ["4711"]}, "pin_timeout": 1000});
    let conference = room(&server, document);
    let engine = engine();
    let guesser = phone_at(&server, 2);
    let mut wrong = 0;
    // Two calls of three tries: the fifth is one too many.
    for _ in 0..2 {
        let caller = dial(&guesser, &engine, "7001");
        while wrong < 5 && !caller.call.ended_by_server() {
            caller.types("1#").expect("sent");
            wrong += 1;
            if wrong == 3 {
                break;
            }
        }
        assert!(turned_away(&caller).contains("cause=403"));
    }
    let metrics = server.metrics().expect("metrics");
    assert_eq!(metrics.sum("confab_pin_sources_blocked"), Some(1.0));
    // He is not asked any more, and his right PIN would not help.
    let caller = dial(&guesser, &engine, "7001");
    caller.types("4711#").expect("sent");
    assert!(turned_away(&caller).contains("cause=403"));
    assert!(conference.participants().expect("listed").is_empty());
    // Conferences without a PIN are open to him.
    dial(&guesser, &engine, "3000").leave().expect("left");
    // Somebody else gets in.
    let rightful = phone_at(&server, 3);
    let caller = dial(&rightful, &engine, "7001");
    caller.types("4711#").expect("sent");
    conference
        .wait_participants(WAIT, |list| list.len() == 1)
        .expect("inside");
    caller.leave().expect("left");
    is_empty(&server);
    let log = server.log();
    assert!(log.contains("too many wrong PINs"), "{log}");
    assert!(!log.contains("4711") && !log.contains("127.0.0.2"), "{log}");
}

/// Where callers hang up: what they dial, what they type, how long they stay then, in ms.
const WAYS: [(&str, &str, u64); 13] = [
    // During the welcome, and while the PIN is asked for behind it.
    ("7004", "", 300),
    ("7004", "", 2600),
    // While the PIN is asked for, in the middle of it, while he is told that it was wrong, while it is judged, for the last time.
    ("7001", "", 200),
    ("7001", "47", 0),
    ("7001", "1#", 300),
    ("7001", "4711#", 0),
    ("7001", "1#1#1#", 200),
    // While the number is asked for, in the middle of it, while it is looked up, while he is told that there is none.
    ("9000", "", 200),
    ("9000", "70", 0),
    ("9000", "7001#", 0),
    ("9000", "1#", 200),
    // While he is told that he joins, with his place reserved.
    ("7002", "", 200),
    // While he is told that it is locked.
    ("7005", "", 200),
];

#[test]
fn callers_who_leave_on_their_way_leave_nothing_behind() {
    let server = start().start().expect("started");
    // A prompt that never ends keeps callers where they are.
    let endless = "tone_stream://%(1000,0,500);loops=-1";
    let pins = json!({"pins": ["4711"]});
    for document in [
        json!({"conference_numbers": ["7001"], "member": pins}),
        json!({"conference_numbers": ["7002"], "member": {"play_entry_prompt": true}, "profile": {"member-enter-sound": endless}}),
        json!({"conference_numbers": ["7003"], "max_participants": 2, "max_members_media": endless, "member": {"join_muted": false}}),
        json!({"conference_numbers": ["7004"], "member": pins, "play_welcome": true}),
    ] {
        room(&server, document);
    }
    let locked = json!({"conference_numbers": ["7005"], "profile": {"locked-sound": endless}});
    let locked = room(&server, locked);
    let engine = engine();
    let phone = phone_at(&server, 1);
    let caller = dial(&phone, &engine, "7002");
    caller.stream.set_capture(CaptureMode::Full);
    std::thread::sleep(Duration::from_millis(500));
    let heard = tone_dbfs(&caller.stream.take_capture().samples(), 8000, 500.0);
    assert!(heard > -30.0, "he hears it at {heard:.0} dBFS");
    caller.leave().expect("left");
    // While he is told that there is no room for him.
    let inside = [dial(&phone, &engine, "7003"), dial(&phone, &engine, "7003")];
    let full = dial(&phone, &engine, "7003");
    std::thread::sleep(Duration::from_millis(300));
    full.leave().expect("left");
    for caller in inside {
        caller.leave().expect("left");
    }
    let within = dial(&phone, &engine, "7005");
    locked
        .wait_participants(WAIT, |list| list.len() == 1)
        .expect("inside");
    locked.act("lock").expect("locked");
    for (number, keys, stays_ms) in WAYS {
        let caller = dial(&phone, &engine, number);
        caller.types(keys).expect("sent");
        std::thread::sleep(Duration::from_millis(stays_ms));
        caller.leave().expect("left");
    }
    within.leave().expect("left");
    is_empty(&server);
    let records = std::fs::read_to_string(server.directory().join("data/cdr.jsonl")).expect("records");
    assert_eq!(records.lines().count(), 5 + WAYS.len(), "{records}");
    let words = records.split(|character: char| !character.is_ascii_alphanumeric());
    // An id may have these digits in it.
    assert!(words.into_iter().all(|word| word != "4711"), "{records}");
}

#[test]
fn a_cancel_that_crosses_the_answer_leaves_nothing_behind() {
    let server = start().start().expect("started");
    let document =
        json!({"conference_numbers": ["7001"], "member": {"pins": ["4711"]}, "play_welcome": true});
    room(&server, document);
    let phone = phone_at(&server, 1);
    let engine = engine();
    let (mut cancelled, mut answered) = (0, 0);
    for round in 0..80 {
        let number = if round % 2 == 0 { "7001" } else { "9000" };
        let stream = engine.open(phone.local_addr().ip()).expect("a stream");
        let offer = AudioOffer::new(stream.local_addr());
        let call = phone.invite(Invite::to(number, &offer)).expect("sent");
        std::thread::sleep(Duration::from_micros(100 * round));
        // Answered 200 while the INVITE is, 481 when its answer has been acknowledged already (RFC 3261 §9.2).
        call.cancel(WAIT).expect("answered");
        match call.wait_final(WAIT).expect("a final response").status() {
            Some(487) => cancelled += 1,
            // It crossed the answer: the call stands, and is ended as any other (§15).
            Some(200) => {
                answered += 1;
                std::thread::sleep(Duration::from_millis(round % 7 * 10));
                call.bye(WAIT).expect("ended");
            }
            other => panic!("{other:?}"),
        }
        stream.close();
    }
    println!("{cancelled} cancelled, {answered} had been answered before");
    assert!(answered > 0, "no CANCEL ever crossed an answer");
    is_empty(&server);
}

#[test]
fn a_server_that_ends_lets_nobody_wait_for_his_prompt() {
    let mut server = start().start().expect("started");
    room(
        &server,
        json!({"conference_numbers": ["7001"], "member": {"pins": ["4711"]}}),
    );
    let engine = engine();
    let phone = phone_at(&server, 1);
    let callers = [dial(&phone, &engine, "7001"), dial(&phone, &engine, "9000")];
    let began = Instant::now();
    let (status, took) = server.stop(WAIT).expect("stopped");
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    for caller in callers {
        let (_, bye) = caller.call.wait_request("BYE", WAIT).expect("told");
        assert!(
            bye.header("Reason")
                .is_some_and(|reason| reason.contains("shutting down"))
        );
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_wideband_caller_types_his_pin_and_is_heard_from_then_on_only() {
    let server = start().start().expect("started");
    let document =
        json!({"conference_numbers": ["7001"], "moderator": {"numbers": ["7002"], "pins": ["4711"]}});
    let conference = room(&server, document);
    let engine = engine();
    let phone = phone_at(&server, 1);
    let listener = dial(&phone, &engine, "7001");
    listener.types("#").expect("sent");
    conference
        .wait_participants(WAIT, |list| list.len() == 1)
        .expect("inside");
    let talking = Joining::with(Codec::G722).sends(Source::tone(Codec::G722, 1000.0, -20.0));
    let talker = talking.join(&phone, &engine, "7002").expect("answered");
    let level = || {
        listener.stream.set_capture(CaptureMode::Full);
        std::thread::sleep(Duration::from_millis(500));
        tone_dbfs(&listener.stream.take_capture().samples(), 8000, 1000.0)
    };
    let before = level();
    assert!(
        before < -60.0,
        "he is heard at {before:.0} dBFS while he is asked"
    );
    talker.types("4711#").expect("sent");
    conference
        .wait_participants(WAIT, |list| list.len() == 2)
        .expect("inside");
    std::thread::sleep(Duration::from_millis(200));
    let after = level();
    assert!(after > -25.0, "he is heard at {after:.0} dBFS");
}

/// What a built-in prompt sounds like on a telephone, without its beginning, which may be over before the phone listens.
fn prompt(language: &str, id: &str) -> Vec<i16> {
    let file = built_in(language, id).expect("built in").audio;
    let audio = import(file, ImportLimits::default()).expect("decodes");
    let mut resampler = Resampler::new();
    resampler.set(ResamplerTable::get(audio.rate_hz, 8000).expect("a rate of prompts"));
    let mut samples = vec![0; audio.samples.len()];
    let mut written = 0;
    for block in audio.samples.chunks(160) {
        written += resampler.process(block, &mut samples[written..]);
    }
    samples[2400..written].to_vec()
}

/// Returns when each prompt begins to be heard, in ms, or says which is not.
fn begins(prompts: &[(&str, &str)], heard: &[i16]) -> Result<Vec<usize>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut begins = Vec::new();
    for (language, id) in prompts {
        match find(&prompt(language, id), heard) {
            Some(found) if found.correlation > 0.95 && found.gain_db.abs() < 0.5 => {
                begins.push(found.offset / 8);
            }
            other => wrong.push(format!("{language} {id}: {other:?}")),
        }
    }
    if wrong.is_empty() { Ok(begins) } else { Err(wrong) }
}

#[test]
fn prompts_are_heard_one_behind_another_in_the_conferences_language_or_the_next_best() {
    let _alone = confab_testkit::server::exclusive();
    let server = start().start().expect("started");
    let speaking = |number: &str, language: &str| {
        let document = json!({
            "conference_numbers": [number], "language": language, "play_welcome": true,
            "moderator": {"pins": ["4711"], "play_entry_prompt": true}, "pin_timeout": 800,
        });
        room(&server, document)
    };
    let rooms = [speaking("7001", "de-AT"), speaking("7002", "fr")];
    let engine = engine();
    let phone = phone_at(&server, 1);
    for (conference, number, language) in [(&rooms[0], "7001", "de-de"), (&rooms[1], "7002", "en-us")] {
        in_time(&server, &engine, || {
            let caller = dial(&phone, &engine, number);
            caller.stream.set_capture(CaptureMode::Full);
            let length = |id| prompt(language, id).len() / 8 + 300;
            let asked = length("conf-welcome") + length("conf-enter_conf_pin");
            std::thread::sleep(Duration::from_millis(asked as u64 + 100));
            // One wrong, and the right one after he was asked again.
            caller.types("0#").expect("sent");
            let again = length("conf-bad_pin") + length("conf-enter_conf_pin");
            std::thread::sleep(Duration::from_millis(again as u64 + 100));
            caller.types("4711#").expect("sent");
            conference
                .wait_participants(WAIT, |list| list.len() == 1)
                .expect("inside");
            std::thread::sleep(Duration::from_millis(100));
            let heard = caller.stream.take_capture().samples();
            caller.leave().expect("left");
            conference.wait_participants(WAIT, <[_]>::is_empty).expect("over");
            let order = [
                "conf-welcome",
                "conf-enter_conf_pin",
                "conf-bad_pin",
                "conf-joining_conference",
            ];
            let at = begins(&order.map(|id| (language, id)), &heard)?;
            // The second prompt is heard twice; which of the two is found does not matter.
            if at[0] < at[2] && at[2] < at[3] && at[0] < at[1] {
                Ok(())
            } else {
                Err(vec![format!("{language}: {at:?}")])
            }
        });
    }
}
