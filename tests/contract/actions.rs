//! Lines 79 to 93: actions on a conference, in every wrapping.

use confab_testkit::agent::{AudioOffer, Invite};
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::tone_dbfs;
use confab_testkit::rtp::{CaptureMode, Source};
use serde_json::{Value, json};

use crate::fixture::{Caller, Room, SOON, breaks, is_error, is_success};
use crate::websocket::{Socket, all_of};

#[test]
fn line_079_a_conference_can_be_locked() {
    let room = Room::new(json!({}));
    let _one = room.member("one");
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    let answer = room.put("", &json!({"action": "lock", "data": {}}));
    assert_eq!(is_success(&answer, 202), "ok");
    assert_eq!(socket.event("lock")["name"], "event");
    assert_eq!(room.live()["is_locked"], true);
    assert_eq!(is_success(&room.act("lock"), 202), "ok", "once more does no harm");
}

#[test]
fn line_081_an_unlocked_conference_takes_callers_again() {
    let room = Room::new(json!({}));
    let _one = room.member("one");
    room.act("lock");
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let refused = room.phone.invite(Invite::to(&room.number, &offer)).expect("sent");
    refused
        .wait_request("BYE", 2 * SOON)
        .expect("nobody comes in while it is locked");
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    assert_eq!(is_success(&room.act("unlock"), 202), "ok");
    assert_eq!(socket.event("unlock")["name"], "event");
    assert_eq!(room.live()["is_locked"], false);
    room.member("two");
}

#[test]
fn line_086_a_play_names_its_medium() {
    let room = Room::new(json!({}));
    let answer = room.put("", &json!({"action": "play", "data": {}}));
    let data = is_error(&answer, 400, "validation error");
    assert_eq!(
        breaks(&data, "data.media_id", "required")["message"],
        "action 'play' requires a media ID or URL"
    );
}

#[test]
fn line_087_a_play_has_arguments() {
    let room = Room::new(json!({}));
    for body in [json!({"action": "play"}), json!({"data": {"action": "play"}})] {
        let data = is_error(&room.put("", &body), 400, "validation error");
        assert_eq!(
            breaks(&data, "data", "required")["message"],
            "action 'play' requires a data object"
        );
    }
}

#[test]
fn line_088_unknown_media_are_told() {
    let room = Room::new(json!({}));
    let media = "d".repeat(32);
    let answer = room.put("", &json!({"action": "play", "data": {"media_id": media}}));
    assert_eq!(is_error(&answer, 404, "bad identifier"), json!([media]));
}

const TONE_HZ: f64 = 440.0;

/// Says whether a tone is heard while something is done and half a second after it.
fn hears(caller: &Caller, act: impl FnOnce()) -> bool {
    caller.participant.stream.set_capture(CaptureMode::Full);
    act();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let samples = caller.participant.stream.take_capture().samples();
    samples
        .chunks_exact(160)
        .any(|window| tone_dbfs(window, 8000, TONE_HZ) > -25.0)
}

#[test]
fn line_091_every_wrapping_of_a_play_is_understood() {
    let room = Room::new(json!({}));
    let caller = room.join(&room.number, "one", Source::silence(Law::Mu));
    let media = json!({"media_id": "tone_stream://%(200,0,440)"});
    let ui = json!({"media_id": "tone_stream://%(200,0,440)", "ui_metadata": {"ui": "x"}});
    let wrappings: [(&str, Value); 7] = [
        ("", json!({"action": "play", "data": media})),
        ("", json!({"action": "play", "data": {"data": media}})),
        ("", json!({"data": {"action": "play", "data": media}})),
        (
            "",
            json!({"data": {"action": "play", "media_id": "tone_stream://%(200,0,440)"}}),
        ),
        ("", json!({"action": "play", "data": ui})),
        (
            "",
            json!({"data": {"action": "play", "data": media, "ui_metadata": {"ui": "x"}}}),
        ),
        ("?action=play", json!({"data": media})),
    ];
    for (query, body) in wrappings {
        in_time(&room.site.server, &room.engine, || {
            let heard = hears(&caller, || {
                assert_eq!(is_success(&room.put(query, &body), 202), "ok", "{body}");
            });
            if heard {
                Ok(())
            } else {
                Err(vec![format!("{query} {body} is not heard")])
            }
        });
    }
}

#[test]
fn line_093_an_unknown_action_is_told_which_there_are() {
    let room = Room::new(json!({}));
    for below in ["", "/participants"] {
        let answer = room.put(below, &json!({"data": {"action": "levitate"}}));
        let data = is_error(&answer, 400, "validation error");
        let told = breaks(&data, "action", "enum");
        assert_eq!(told["value"], "levitate");
        let target = told["target"].as_array().expect("a list");
        assert!(target.contains(&json!("play")), "{told}");
    }
    let data = is_error(&room.put("", &json!({"data": {}})), 400, "validation error");
    breaks(&data, "action", "required");
}
