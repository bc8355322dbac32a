//! Lines 82, 117 to 120, 122, 123 and 125 to 130: how whoever was dialled joins, and conferences that a dial makes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::tone_dbfs;
use confab_testkit::rtp::{CaptureMode, Source, Stream};
use serde_json::{Value, json};

use crate::dialling::{answers, dial, dial_body, entries, failed, joined, participant, phone, rings};
use crate::fixture::{Room, breaks, is_error, is_success, site, soon};
use crate::websocket::Socket;

const TONE_HZ: f64 = 900.0;
const OWN_HZ: f64 = 1300.0;

fn tone(hz: f64) -> Source {
    Source::tone(Law::Mu, hz, -20.0)
}

/// Asserts whether a tone is heard on a stream, again while the machine itself is late.
#[track_caller]
fn assert_heard(room: &Room, stream: &Stream, hz: f64, expected: bool) {
    std::thread::sleep(Duration::from_millis(250));
    in_time(&room.site.server, &room.engine, || {
        stream.set_capture(CaptureMode::Full);
        std::thread::sleep(Duration::from_millis(600));
        let samples = stream.take_capture().samples();
        let level = tone_dbfs(&samples, 8000, hz);
        if (level > -32.0) == expected {
            Ok(())
        } else {
            Err(vec![format!("{hz} Hz at {level:.0} dBFS")])
        }
    });
}

/// Does something to whoever was dialled.
fn act(room: &Room, one: &Value, action: &str) {
    let path = format!("/participants/{}", one["participant_id"]);
    is_success(&room.put(&path, &json!({"data": {"action": action}})), 202);
}

/// Returns the path of a conference that is not there.
fn made_up() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("/conferences/team-call-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn by_dial(arguments: Value) -> Value {
    json!({"action": "dial", "data": {"data": arguments}})
}

#[test]
fn line_082_a_dial_out_gets_into_a_locked_conference() {
    let room = Room::new(json!({}));
    let _one = room.member("one");
    assert_eq!(is_success(&room.act("lock"), 202), "ok");
    let bob = phone();
    let dialled = dial(&room, json!({"endpoints": [bob.uri("bob")]}));
    let _stream = answers(&room, &rings(&bob));
    participant(&room, &joined(dialled));
    assert_eq!(room.live()["is_locked"], true);
}

#[test]
fn line_117_who_is_dialled_may_join_muted() {
    let room = Room::new(json!({}));
    let one = room.member("one");
    let bob = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [bob.uri("bob")], "participant_flags": ["mute"]}),
    );
    let call = rings(&bob);
    let _stream = call.join(&room.engine, tone(OWN_HZ)).expect("an ACK");
    let he = participant(&room, &joined(dialled));
    assert_eq!((&he["speak"], &he["hear"]), (&json!(false), &json!(true)));
    assert_heard(&room, &one.participant.stream, OWN_HZ, false);
    act(&room, &he, "unmute");
    assert_heard(&room, &one.participant.stream, OWN_HZ, true);
}

#[test]
fn line_118_who_is_dialled_may_join_deaf() {
    let room = Room::new(json!({}));
    let _one = room.join(&room.number, "one", tone(TONE_HZ));
    let bob = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [bob.uri("bob")], "participant_flags": ["deaf"]}),
    );
    let call = rings(&bob);
    let stream = answers(&room, &call);
    let he = participant(&room, &joined(dialled));
    assert_eq!((&he["speak"], &he["hear"]), (&json!(true), &json!(false)));
    assert_heard(&room, &stream, TONE_HZ, false);
    act(&room, &he, "undeaf");
    assert_heard(&room, &stream, TONE_HZ, true);
}

#[test]
fn line_119_who_is_dialled_may_be_a_moderator() {
    let room = Room::new(json!({"wait_for_moderator": true}));
    let one = room.join(&room.number, "one", tone(TONE_HZ));
    let two = room.member("two");
    assert_heard(&room, &two.participant.stream, TONE_HZ, false);
    let boss = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [boss.uri("boss")], "participant_flags": ["is_moderator"]}),
    );
    let call = rings(&boss);
    let _stream = answers(&room, &call);
    assert_eq!(participant(&room, &joined(dialled))["is_moderator"], true);
    let live = room.live();
    assert_eq!((&live["moderators"], &live["members"]), (&json!(1), &json!(2)));
    assert_heard(&room, &two.participant.stream, TONE_HZ, true);
    drop(one);
}

#[test]
fn line_120_a_ghost_is_listed_and_heard_and_not_counted() {
    let room = Room::new(json!({"max_participants": 2}));
    let one = room.member("one");
    let _two = room.member("two");
    let ghost = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [ghost.uri("ghost")], "participant_flags": ["ghost"]}),
    );
    let call = rings(&ghost);
    let _stream = call.join(&room.engine, tone(OWN_HZ)).expect("an ACK");
    let he = participant(&room, &joined(dialled));
    assert_eq!(he["conference_channel_vars"]["member_ghost"], true);
    assert_heard(&room, &one.participant.stream, OWN_HZ, true);
    let live = room.live();
    assert_eq!(
        (&live["members"], &live["participant_count"]),
        (&json!(2), &json!(2)),
        "{live}"
    );
    let bob = phone();
    let full = dial(&room, json!({"endpoints": [bob.uri("bob")]}));
    assert_eq!(failed(full), "conference is full");
    assert_eq!(bob.calls(), 0);
}

#[test]
fn line_122_one_participants_keys_reach_the_others_and_control_nothing() {
    let room = Room::new(json!({}));
    let one = room.member("one");
    let bob = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [bob.uri("bob")], "participant_flags": ["distribute_dtmf"]}),
    );
    let call = rings(&bob);
    let stream = answers(&room, &call);
    let entry = joined(dialled);
    one.participant.stream.set_capture(CaptureMode::Full);
    // `*1` mutes whoever presses it, and `#` hangs up.
    for event in [10, 1, 11] {
        stream.press(101, event).expect("sent");
        std::thread::sleep(Duration::from_millis(250));
    }
    std::thread::sleep(Duration::from_millis(500));
    let capture = one.participant.stream.take_capture();
    let mut events: Vec<u8> = capture
        .packets()
        .iter()
        .filter(|packet| packet.payload_type == 101)
        .map(|packet| capture.payload(packet)[0])
        .collect();
    events.dedup();
    assert_eq!(events, [10, 1, 11]);
    assert_eq!(participant(&room, &entry)["speak"], true);
}

#[test]
fn line_123_hold_music_can_be_switched_off_for_one() {
    let music = json!({"profile": {"moh-sound": "tone_stream://%(60000,0,900)", "comfort-noise": 0, "alone-sound": ""}});
    for (flags, hears) in [(json!([]), true), (json!(["disable_moh"]), false)] {
        let room = Room::new(music.clone());
        let bob = phone();
        let dialled = dial(
            &room,
            json!({"endpoints": [bob.uri("bob")], "participant_flags": flags}),
        );
        let call = rings(&bob);
        let stream = answers(&room, &call);
        joined(dialled);
        assert_heard(&room, &stream, TONE_HZ, hears);
        call.hang_up().expect("answered");
    }
}

#[test]
fn line_125_flags_can_be_joined() {
    let room = Room::new(json!({}));
    let bob = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [bob.uri("bob")], "participant_flags": ["deaf", "mute", "is_moderator", "video_mute"]}),
    );
    let _stream = answers(&room, &rings(&bob));
    let he = participant(&room, &joined(dialled));
    let flags = (&he["speak"], &he["hear"], &he["is_moderator"]);
    assert_eq!(flags, (&json!(false), &json!(false), &json!(true)));
}

#[test]
fn line_126_a_dial_makes_a_conference_of_its_own_with_its_tones_off() {
    let room = Room::new(json!({}));
    for (tone, hears) in [
        (json!("tone_stream://%(1200,0,900)"), true),
        (json!(false), false),
    ] {
        let path = made_up();
        let (bob, eve) = (phone(), phone());
        let arguments = |who: String| {
            json!({"endpoints": [who], "name": "Made by a dial", "play_entry_tone": tone,
                "profile": {"moh-sound": "", "alone-sound": "", "comfort-noise": 0}})
        };
        let dialled = dial_body(&path, by_dial(arguments(bob.uri("bob"))));
        let to_bob = rings(&bob);
        let from = to_bob.invite.header("From").expect("From");
        assert!(from.starts_with("\"Made by a dial\" <sip:anonymous@"), "{from}");
        let at_bob = answers(&room, &to_bob);
        joined(dialled);
        let shown = is_success(&site().get(&path), 200);
        assert_eq!(
            (&shown["name"], &shown["play_entry_tone"]),
            (&json!("Made by a dial"), &tone)
        );
        let dialled = dial_body(&path, by_dial(arguments(eve.uri("eve"))));
        let to_eve = rings(&eve);
        at_bob.set_capture(CaptureMode::Full);
        let _at_eve = answers(&room, &to_eve);
        joined(dialled);
        std::thread::sleep(Duration::from_millis(900));
        let samples = at_bob.take_capture().samples();
        let loudest = samples
            .chunks_exact(160)
            .map(|part| tone_dbfs(part, 8000, TONE_HZ));
        let loudest = loudest.fold(f64::MIN, f64::max);
        assert_eq!(loudest > -32.0, hears, "{loudest:.0} dBFS");
    }
}

#[test]
fn line_127_such_a_conference_has_its_most_participants() {
    let room = Room::new(json!({}));
    let path = made_up();
    let phones = [phone(), phone(), phone()];
    let uris: Vec<String> = phones.iter().map(|phone| phone.uri("x")).collect();
    let dialled = dial_body(&path, by_dial(json!({"endpoints": uris, "max_participants": 2})));
    let _streams = [&phones[0], &phones[1]].map(|phone| answers(&room, &rings(phone)));
    let entries = entries(dialled);
    let told: Vec<&Value> = entries.iter().map(|entry| &entry["status"]).collect();
    assert_eq!(told, ["success", "success", "error"]);
    assert_eq!(entries[2]["message"], "conference is full");
}

#[test]
fn line_128_such_a_conference_has_its_profile() {
    let room = Room::new(json!({}));
    let path = made_up();
    let bob = phone();
    let dialled = dial_body(
        &path,
        by_dial(json!({"endpoints": [bob.uri("bob")],
            "profile": {"energy-level": 321, "moh-sound": "tone_stream://%(60000,0,900)", "comfort-noise": 0}})),
    );
    let stream = answers(&room, &rings(&bob));
    joined(dialled);
    let shown = is_success(&site().get(&path), 200);
    assert_eq!(shown["_read_only"]["participants"][0]["energy_level"], 321);
    assert_heard(&room, &stream, TONE_HZ, true);
    let wrong = by_dial(json!({"endpoints": [bob.uri("bob")], "profile": {"rate": 11025}}));
    let answer = dial_body(&made_up(), wrong).join().expect("no panic");
    breaks(
        &is_error(&answer, 400, "validation error"),
        "profile.rate",
        "enum",
    );
}

#[test]
fn line_129_nothing_of_it_is_stored() {
    let room = Room::new(json!({}));
    let path = made_up();
    let bob = phone();
    let dialled = dial_body(
        &path,
        by_dial(json!({"endpoints": [bob.uri("bob")], "name": "Passing"})),
    );
    let call = rings(&bob);
    let _stream = answers(&room, &call);
    joined(dialled);
    let listed = is_success(&site().get("/conferences?filter_name=Passing"), 200);
    assert_eq!(listed, json!([]), "it is not listed while it runs");
    call.hang_up().expect("answered");
    soon("the end", || (site().get(&path).status == 404).then_some(()));
    // And what a dial says of a stored conference changes nothing of its document.
    let eve = phone();
    let dialled = dial(
        &room,
        json!({"endpoints": [eve.uri("eve")], "name": "Changed", "max_participants": 7}),
    );
    rings(&eve).respond(486, "Busy").expect("sent");
    failed(dialled);
    let stored = is_success(&site().get(&room.path), 200);
    assert!(
        stored["max_participants"].is_null() && stored["name"] != "Changed",
        "{stored}"
    );
}

#[test]
fn line_077_a_conference_that_runs_without_a_document_can_be_read() {
    let room = Room::new(json!({}));
    let path = made_up();
    let bob = phone();
    let dialled = dial_body(&path, by_dial(json!({"endpoints": [bob.uri("bob")]})));
    let call = rings(&bob);
    let _stream = answers(&room, &call);
    joined(dialled);
    let shown = is_success(&site().get(&path), 200);
    assert_eq!(shown["id"], path.trim_start_matches("/conferences/"));
    assert_eq!(shown["_read_only"]["members"], 1);
    let listed = is_success(&site().get(&format!("{path}/participants")), 200);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    call.hang_up().expect("answered");
}

#[test]
fn line_130_a_dial_starts_a_stored_conference() {
    let owner = "0123456789abcdef0123456789abcdef";
    let room = Room::new(json!({"name": "Stored", "owner_id": owner}));
    let mut socket = Socket::open(room.site);
    socket.bind(&crate::websocket::all_of(&room));
    assert_eq!(room.live()["participant_count"], 0);
    let bob = phone();
    let dialled = dial(&room, json!({"endpoints": [bob.uri("bob")]}));
    let call = rings(&bob);
    let _stream = answers(&room, &call);
    let he = participant(&room, &joined(dialled));
    assert_eq!(he["custom_channel_vars"]["owner_id"], owner);
    socket.event("conference-create");
    socket.event("add-member");
    assert_eq!(room.live()["members"], 1);
    call.hang_up().expect("answered");
    socket.event("del-member");
    socket.event("conference-destroy");
}
