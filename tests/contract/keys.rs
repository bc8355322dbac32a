//! Lines 172 to 177: keys of the telephone.

use std::time::Duration;

use confab_testkit::g711::Law;
use confab_testkit::rtp::Source;
use serde_json::{Value, json};

use crate::ears::{assert_hearing, heard, lasts_ms};
use crate::fixture::{Caller, Room, SOON, soon};
use crate::websocket::{Socket, all_of};

/// Payload type under which the agent offers telephone-events.
const EVENTS: u8 = 101;

/// Presses keys one after the other, 140 ms each.
fn press(caller: &Caller, keys: &str) {
    for key in keys.chars() {
        let event = match key {
            '*' => 10,
            '#' => 11,
            digit => digit.to_digit(10).expect("a digit") as u8,
        };
        caller.participant.stream.press(EVENTS, event).expect("sent");
    }
}

/// A room with the usual keys, whose prompts are tones.
fn room(more: Value) -> Room {
    let mut document = json!({
        "caller_controls": "default",
        "moderator_controls": "default",
        "profile": {
            "muted-sound": "tone_stream://%(300,0,850)",
            "unmuted-sound": "tone_stream://%(300,0,1150)",
            "deaf-sound": "tone_stream://%(300,0,1450)",
            "comfort-noise": 0
        }
    });
    for (key, value) in more.as_object().expect("an object") {
        document[key] = value.clone();
    }
    Room::new(document)
}

#[track_caller]
fn becomes(room: &Room, caller: &Caller, flag: &str, expected: bool) {
    soon(flag, || {
        (room.participant(caller)[flag] == expected).then_some(())
    });
}

/// Lets what keys did not do not happen.
fn no_more() {
    std::thread::sleep(Duration::from_millis(900));
}

#[test]
fn line_172_star_1_mutes_and_unmutes_with_a_prompt_for_him_alone() {
    let room = room(json!({}));
    let ann = room.join(&room.number, "ann", Source::tone(Law::Mu, 700.0, -20.0));
    let bob = room.member("bob");
    for (speaks, prompt_hz) in [(false, 850.0), (true, 1150.0)] {
        let samples = heard(&[&ann, &bob], 800, || press(&ann, "*1"));
        becomes(&room, &ann, "speak", speaks);
        let lasted = [lasts_ms(&samples[0], prompt_hz), lasts_ms(&samples[1], prompt_hz)];
        assert!(lasted[0].abs_diff(300) <= 60 && lasted[1] == 0, "{lasted:?} ms");
        assert_hearing(&room, &[&bob], &[700.0], &[&[speaks]]);
    }
}

#[test]
fn line_173_star_4_deafens_and_undeafens() {
    let room = room(json!({}));
    let ann = room.member("ann");
    let _bob = room.join(&room.number, "bob", Source::tone(Law::Mu, 700.0, -20.0));
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    for (hears, event) in [(false, "deaf-member"), (true, "undeaf-member")] {
        press(&ann, "*4");
        assert_eq!(socket.event(event)["data"]["participant_id"], ann.id);
        becomes(&room, &ann, "hear", hears);
        // The prompt comes before.
        no_more();
        assert_hearing(&room, &[&ann], &[700.0], &[&[hears]]);
    }
}

#[test]
fn line_174_the_pound_key_hangs_up() {
    let room = room(json!({}));
    let (ann, _bob) = (room.member("ann"), room.member("bob"));
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    press(&ann, "#");
    ann.participant.call.wait_request("BYE", SOON).expect("a BYE");
    assert_eq!(socket.event("del-member")["data"]["participant_id"], ann.id);
    soon("his end", || (room.participants().len() == 1).then_some(()));
}

#[test]
fn line_175_a_document_has_keys_of_its_own_of_which_the_longest_counts() {
    let room = room(json!({
        "caller_controls": "mine",
        "controls": {"mine": [
            {"action": "deaf", "digits": "0"},
            {"action": "mute", "digits": "00"},
            {"action": "raise hand", "digits": "*9"}
        ]}
    }));
    let ann = room.member("ann");
    press(&ann, "*1");
    press(&ann, "#");
    no_more();
    assert_eq!(room.flags(&[&ann], "speak"), [true], "not one of his keys");
    press(&ann, "0");
    becomes(&room, &ann, "hear", false);
    press(&ann, "00");
    becomes(&room, &ann, "speak", false);
    assert_eq!(room.flags(&[&ann], "hear"), [false]);
    press(&ann, "*9");
    becomes(&room, &ann, "hand_raised", true);
}

#[test]
fn line_176_moderators_have_keys_of_their_own() {
    let room = room(json!({
        "moderator_controls": "lead",
        "controls": {"lead": [
            {"action": "lock", "digits": "5"},
            {"action": "mute all", "digits": "6"},
            {"action": "end", "digits": "9"}
        ]}
    }));
    let (ann, boss) = (room.member("ann"), room.moderator("boss"));
    press(&ann, "569");
    press(&boss, "*1");
    no_more();
    assert_eq!(room.flags(&[&ann, &boss], "speak"), [true, true]);
    assert_eq!(room.live()["is_locked"], false);
    press(&boss, "5");
    soon("the lock", || (room.live()["is_locked"] == true).then_some(()));
    press(&boss, "6");
    becomes(&room, &ann, "speak", false);
    assert_eq!(room.flags(&[&boss], "speak"), [true]);
    press(&boss, "9");
    ann.participant.call.wait_request("BYE", SOON).expect("a BYE");
    boss.participant.call.wait_request("BYE", SOON).expect("a BYE");
}

#[test]
fn line_177_keys_can_be_switched_off() {
    for none in ["none", "a group that nobody knows"] {
        let room = room(json!({"caller_controls": none}));
        let (ann, _bob) = (room.member("ann"), room.member("bob"));
        press(&ann, "*1");
        press(&ann, "*4");
        press(&ann, "#");
        no_more();
        let shown = room.participant(&ann);
        assert_eq!((&shown["speak"], &shown["hear"]), (&json!(true), &json!(true)));
    }
}
