//! Lines 172 to 177: keys of the telephone.

use std::time::Duration;

use confab_testkit::agent::Joining;
use confab_testkit::g711::Law;
use confab_testkit::rtp::Source;
use serde_json::{Value, json};

use crate::ears::{assert_hearing, heard, lasts_ms};
use crate::fixture::{Caller, Room, SOON, soon};
use crate::websocket::{Socket, all_of};

/// How a key is told. Each line is held against all of them, with a fresh conference for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Telephone-events (RFC 4733).
    Events,
    /// SIP INFO.
    Info,
    /// Tones in the audio.
    Audio,
}

const WAYS: [Way; 3] = [Way::Events, Way::Info, Way::Audio];

/// Somebody with a telephone that tells keys in one way, and what it sends when none is pressed.
struct Presser {
    caller: Caller,
    way: Way,
    source: Source,
}

impl std::ops::Deref for Presser {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Presser {
    fn join(room: &Room, way: Way, number: &str, name: &str, source: Source) -> Presser {
        let mut joining = Joining::default().sends(source.clone());
        joining.telephone_events = way != Way::Audio;
        let caller = room.join_with(joining, number, name);
        Presser { caller, way, source }
    }

    /// Lets in somebody who says nothing.
    fn member(room: &Room, way: Way, name: &str) -> Presser {
        Presser::join(room, way, &room.number, name, Source::silence(Law::Mu))
    }

    /// Presses keys one after the other.
    fn press(&self, keys: &str) {
        let participant = &self.caller.participant;
        match self.way {
            Way::Events => participant.types(keys).expect("sent"),
            Way::Info => {
                for key in keys.chars() {
                    let body = format!("Signal={key}\r\nDuration=120\r\n");
                    let answer =
                        participant
                            .call
                            .request_with_body("INFO", "application/dtmf-relay", &body, SOON);
                    assert_eq!(answer.expect("answered").status(), Some(200));
                    // The same key twice within a moment is one press that was told in two ways.
                    std::thread::sleep(Duration::from_millis(250));
                }
            }
            Way::Audio => {
                let stream = &participant.stream;
                stream.set_source(Some(Source::keys(Law::Mu, keys, -10.0)));
                let lasts_ms = 500 + 200 * keys.chars().count() as u64;
                std::thread::sleep(Duration::from_millis(lasts_ms + 100));
                stream.set_source(Some(self.source.clone()));
            }
        }
    }
}

/// A room with the usual keys, whose prompts are tones.
fn room(more: Value) -> Room {
    let mut document = json!({
        "caller_controls": "default",
        "moderator_controls": "default",
        "profile": {
            "muted-sound": "tone_stream://%(300,0,2000)",
            "unmuted-sound": "tone_stream://%(300,0,2300)",
            "deaf-sound": "tone_stream://%(300,0,2600)",
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
    for way in WAYS {
        let room = room(json!({}));
        let ann = Presser::join(
            &room,
            way,
            &room.number,
            "ann",
            Source::tone(Law::Mu, 600.0, -20.0),
        );
        let bob = room.member("bob");
        for (speaks, prompt_hz) in [(false, 2000.0), (true, 2300.0)] {
            let samples = heard(&[&ann, &bob], 800, || ann.press("*1"));
            becomes(&room, &ann, "speak", speaks);
            let lasted = [lasts_ms(&samples[0], prompt_hz), lasts_ms(&samples[1], prompt_hz)];
            assert!(
                lasted[0].abs_diff(300) <= 60 && lasted[1] == 0,
                "{way:?}: {lasted:?} ms"
            );
            assert_hearing(&room, &[&bob], &[600.0], &[&[speaks]]);
        }
    }
}

#[test]
fn line_173_star_4_deafens_and_undeafens() {
    for way in WAYS {
        let room = room(json!({}));
        let ann = Presser::member(&room, way, "ann");
        let _bob = room.join(&room.number, "bob", Source::tone(Law::Mu, 600.0, -20.0));
        let mut socket = Socket::open(room.site);
        socket.bind(&all_of(&room));
        for (hears, event) in [(false, "deaf-member"), (true, "undeaf-member")] {
            ann.press("*4");
            assert_eq!(socket.event(event)["data"]["participant_id"], ann.id, "{way:?}");
            becomes(&room, &ann, "hear", hears);
            // The prompt comes before.
            no_more();
            assert_hearing(&room, &[&ann], &[600.0], &[&[hears]]);
        }
    }
}

#[test]
fn line_174_the_pound_key_hangs_up() {
    for way in WAYS {
        let room = room(json!({}));
        let (ann, _bob) = (Presser::member(&room, way, "ann"), room.member("bob"));
        let mut socket = Socket::open(room.site);
        socket.bind(&all_of(&room));
        ann.press("#");
        ann.participant.call.wait_request("BYE", SOON).expect("a BYE");
        assert_eq!(
            socket.event("del-member")["data"]["participant_id"],
            ann.id,
            "{way:?}"
        );
        soon("his end", || (room.participants().len() == 1).then_some(()));
    }
}

#[test]
fn line_175_a_document_has_keys_of_its_own_of_which_the_longest_counts() {
    for way in WAYS {
        let room = room(json!({
            "caller_controls": "mine",
            "controls": {"mine": [
                {"action": "deaf", "digits": "0"},
                {"action": "mute", "digits": "00"},
                {"action": "raise hand", "digits": "*9"}
            ]}
        }));
        let ann = Presser::member(&room, way, "ann");
        ann.press("*1");
        ann.press("#");
        no_more();
        assert_eq!(
            room.flags(&[&ann], "speak"),
            [true],
            "{way:?}: not one of his keys"
        );
        ann.press("0");
        becomes(&room, &ann, "hear", false);
        ann.press("00");
        becomes(&room, &ann, "speak", false);
        assert_eq!(room.flags(&[&ann], "hear"), [false]);
        ann.press("*9");
        becomes(&room, &ann, "hand_raised", true);
    }
}

#[test]
fn line_176_moderators_have_keys_of_their_own() {
    for way in WAYS {
        let room = room(json!({
            "moderator_controls": "lead",
            "controls": {"lead": [
                {"action": "lock", "digits": "5"},
                {"action": "mute all", "digits": "6"},
                {"action": "end", "digits": "9"}
            ]}
        }));
        let ann = Presser::member(&room, way, "ann");
        let boss = Presser::join(&room, way, &room.moderators, "boss", Source::silence(Law::Mu));
        ann.press("569");
        boss.press("*1");
        no_more();
        assert_eq!(room.flags(&[&ann, &boss], "speak"), [true, true], "{way:?}");
        assert_eq!(room.live()["is_locked"], false);
        boss.press("5");
        soon("the lock", || (room.live()["is_locked"] == true).then_some(()));
        boss.press("6");
        becomes(&room, &ann, "speak", false);
        assert_eq!(room.flags(&[&boss], "speak"), [true]);
        boss.press("9");
        ann.participant.call.wait_request("BYE", SOON).expect("a BYE");
        boss.participant.call.wait_request("BYE", SOON).expect("a BYE");
    }
}

#[test]
fn line_177_keys_can_be_switched_off() {
    for (none, way) in [
        ("none", Way::Events),
        ("none", Way::Info),
        ("none", Way::Audio),
        ("a group that nobody knows", Way::Events),
    ] {
        let room = room(json!({"caller_controls": none}));
        let (ann, _bob) = (Presser::member(&room, way, "ann"), room.member("bob"));
        ann.press("*1");
        ann.press("*4");
        ann.press("#");
        no_more();
        let shown = room.participant(&ann);
        assert_eq!(
            (&shown["speak"], &shown["hear"]),
            (&json!(true), &json!(true)),
            "{way:?}"
        );
    }
}

#[test]
fn a_key_moves_to_another_conference_of_the_account_by_its_number() {
    let other = room(json!({}));
    let room = room(json!({"caller_controls": "ways", "controls": {"ways": [
        {"action": "transfer", "digits": "1", "data": other.number},
        {"action": "transfer", "digits": "2", "data": "000111"},
        {"action": "execute_application", "digits": "3", "data": "playback hello.wav"},
    ]}}));
    let (ann, _bob) = (Presser::member(&room, Way::Events, "ann"), room.member("bob"));
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    ann.press("3");
    assert_eq!(socket.event("key-event-member")["data"]["participant_id"], ann.id);
    ann.press("2");
    no_more();
    assert_eq!(room.participants().len(), 2, "that leads nowhere");
    ann.press("1");
    let gone = socket.event("del-member");
    assert_eq!(gone["data"]["participant_id"], ann.id);
    soon("her arrival", || {
        let there = other.participants();
        there
            .iter()
            .any(|state| state["caller_id_number"] == "ann")
            .then_some(())
    });
    assert_eq!(room.participants().len(), 1);
    assert!(!ann.participant.call.ended_by_server());
}
