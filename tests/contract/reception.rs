//! Lines 80, 155 to 165 and 178 as far as they are about callers before they are in the conference.

use std::time::{Duration, Instant};

use confab_testkit::agent::{AudioOffer, Call, Invite, Joining, Participant, digest};
use confab_testkit::codec::Codec;
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{rms_dbfs, tone_dbfs};
use confab_testkit::rtp::{CaptureMode, Source};
use serde_json::{Value, json};

use crate::ears::lasts_ms;
use crate::fixture::{Room, SERVICE_NUMBER, SOON, is_success, number, soon};

/// How long a caller may take to be turned away: three tries with their prompts.
const TURNED_AWAY: Duration = Duration::from_secs(40);

/// A room with one number for everybody, PINs for both roles, and 600 ms to think.
fn room(more: Value) -> (Room, String) {
    let number = number();
    let mut document = json!({
        "conference_numbers": [number], "pin_timeout": 600,
        "member": {"pins": ["1234", "77"]}, "moderator": {"pins": ["9876"]},
    });
    if let Value::Object(more) = more {
        for (key, value) in more {
            document[key] = value;
        }
    }
    (Room::new(document), number)
}

fn dial(room: &Room, number: &str, caller: &str) -> Participant {
    let joining = Joining::default().sends(Source::silence(Law::Mu)).caller(caller);
    joining.join(&room.phone, &room.engine, number).expect("answered")
}

/// Waits until the caller is in and returns him as the API shows him.
fn inside(room: &Room, caller: &str) -> Value {
    soon(caller, || {
        let participants = room.participants();
        participants
            .into_iter()
            .find(|participant| participant["caller_id_number"] == caller)
    })
}

fn is_outside(room: &Room, caller: &str) -> bool {
    room.participants()
        .iter()
        .all(|participant| participant["caller_id_number"] != caller)
}

/// Waits for the BYE and returns its reason.
fn turned_away(caller: &Participant) -> String {
    let (_, bye) = caller.call.wait_request("BYE", TURNED_AWAY).expect("turned away");
    bye.header("Reason").unwrap_or_default().to_owned()
}

#[test]
fn line_080_a_caller_to_a_locked_conference_hears_why_he_is_refused() {
    let room = Room::new(json!({"profile": {"locked-sound": "tone_stream://%(400,0,620)"}}));
    let _first = room.member("first");
    is_success(&room.act("lock"), 202);
    let late = dial(&room, &room.number, "late");
    late.stream.set_capture(CaptureMode::Full);
    let reason = turned_away(&late);
    assert!(reason.contains("cause=480"), "{reason}");
    let heard = lasts_ms(&late.stream.take_capture().samples(), 620.0);
    assert!(heard >= 300, "620 Hz for {heard} ms");
    assert!(is_outside(&room, "late"));
}

#[test]
fn line_155_a_conference_number_and_a_members_pin_make_a_member() {
    let (room, number) = room(json!({}));
    let caller = dial(&room, &number, "by-rtp");
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_outside(&room, "by-rtp"), "he is asked first");
    caller.types("1234#").expect("sent");
    assert_eq!(inside(&room, "by-rtp")["is_moderator"], false);
}

#[test]
fn line_155_digits_may_come_by_info_and_in_the_audio() {
    let (room, number) = room(json!({}));
    let caller = dial(&room, &number, "by-info");
    for key in ["7", "7", "#"] {
        let body = format!("Signal={key}\r\nDuration=120\r\n");
        let answer = caller
            .call
            .request_with_body("INFO", "application/dtmf-relay", &body, SOON);
        assert_eq!(answer.expect("answered").status(), Some(200));
        // The same key twice within a moment is one press that was told in two ways.
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(inside(&room, "by-info")["is_moderator"], false);

    let in_the_audio = Joining::with(Codec::Pcmu)
        .without_telephone_events()
        .caller("in-band");
    let in_the_audio = in_the_audio.sends(Source::keys(Law::Mu, "9876#", -10.0));
    let _caller = in_the_audio
        .join(&room.phone, &room.engine, &number)
        .expect("answered");
    assert_eq!(inside(&room, "in-band")["is_moderator"], true);
}

#[test]
fn line_156_a_conference_number_and_a_moderators_pin_make_a_moderator() {
    let (room, number) = room(json!({}));
    let caller = dial(&room, &number, "boss");
    // A wrong one first: he is asked again.
    caller.types("1111#").expect("sent");
    caller.types("9876#").expect("sent");
    assert_eq!(inside(&room, "boss")["is_moderator"], true);
}

#[test]
fn a_pin_that_is_changed_while_a_caller_is_asked_counts_at_once() {
    let (room, number) = room(json!({}));
    let caller = dial(&room, &number, "late");
    caller.types("1").expect("sent");
    let change = json!({"data": {"member": {"pins": ["5555"]}}});
    is_success(&room.site.ask("PATCH", &room.path, &change), 200);
    // What he has begun with is good for nothing any more.
    caller.types("234#").expect("sent");
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_outside(&room, "late"));
    caller.types("5555#").expect("sent");
    assert_eq!(inside(&room, "late")["is_moderator"], false);
}

#[test]
fn a_second_key_behind_a_pin_does_not_hang_up() {
    let (room, number) = room(json!({
        "caller_controls": "default", "play_welcome": false, "member": {"pins": ["1234"], "play_entry_prompt": false}
    }));
    let caller = dial(&room, &number, "twice");
    caller.types("1234##").expect("sent");
    let _in = inside(&room, "twice");
    std::thread::sleep(Duration::from_millis(1200));
    assert!(!caller.call.ended_by_server());
    caller.types("#").expect("sent");
    caller.call.wait_request("BYE", SOON).expect("hung up");
}

#[test]
fn line_157_three_wrong_pins_end_the_call() {
    let (room, number) = room(json!({}));
    let caller = dial(&room, &number, "guesser");
    for pin in ["1#", "12345#", "987#"] {
        assert!(!caller.call.ended_by_server(), "{pin}");
        caller.types(pin).expect("sent");
    }
    let reason = turned_away(&caller);
    assert!(reason.contains("cause=403"), "{reason}");
    assert!(is_outside(&room, "guesser"));
}

#[test]
fn line_158_a_moderators_pin_is_not_good_at_a_members_number() {
    let number = number();
    let (room, _) = room(json!({
        "conference_numbers": [],
        "member": {"numbers": [number], "pins": ["1234"]},
    }));
    let caller = dial(&room, &number, "crafty");
    for _ in 0..3 {
        caller.types("9876#").expect("sent");
    }
    turned_away(&caller);
    assert!(is_outside(&room, "crafty"));
}

#[test]
fn line_159_no_entry_makes_a_member_where_members_have_no_pin() {
    let (open, number) = room(json!({"member": {"pins": []}}));
    let caller = dial(&open, &number, "silent");
    caller.types("#").expect("sent");
    assert_eq!(inside(&open, "silent")["is_moderator"], false);

    let (closed, number) = room(json!({}));
    let caller = dial(&closed, &number, "silent");
    caller.types("#").expect("sent");
    turned_away(&caller);
    assert!(is_outside(&closed, "silent"));
}

#[test]
fn line_160_the_welcome_can_be_switched_off() {
    for welcome in [true, false] {
        let room = Room::new(json!({"play_welcome": welcome}));
        let caller = dial(&room, &room.number, "guest");
        caller.stream.set_capture(CaptureMode::Full);
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(
            is_outside(&room, "guest"),
            welcome,
            "he is in at once when nothing is said"
        );
        let loudness = rms_dbfs(&caller.stream.take_capture().samples());
        assert_eq!(loudness > -45.0, welcome, "{loudness:.0} dBFS");
        inside(&room, "guest");
    }
}

#[test]
fn line_161_the_service_number_asks_for_the_conference() {
    let (room, number) = room(json!({"member": {"pins": ["1234"]}}));
    let caller = dial(&room, SERVICE_NUMBER, "lost");
    caller.types("123456789#").expect("sent");
    caller.types(&format!("{number}#")).expect("sent");
    caller.types("1234#").expect("sent");
    inside(&room, "lost");

    let caller = dial(&room, SERVICE_NUMBER, "hopeless");
    for unknown in ["1#", "2#", "#"] {
        caller.types(unknown).expect("sent");
    }
    let reason = turned_away(&caller);
    assert!(reason.contains("cause=403"), "{reason}");
}

#[test]
fn line_162_a_pin_ends_with_its_key_or_with_time() {
    // The default of five seconds, which begins anew with each digit.
    let number = number();
    let room = Room::new(json!({"member": {"pins": ["12"], "numbers": [number]}}));
    let caller = dial(&room, &number, "slow");
    caller.types("1").expect("sent");
    std::thread::sleep(Duration::from_secs(3));
    let typed = Instant::now();
    caller.types("2").expect("sent");
    std::thread::sleep(Duration::from_millis(4500).saturating_sub(typed.elapsed()));
    assert!(is_outside(&room, "slow"), "after {:?}", typed.elapsed());
    inside(&room, "slow");
}

#[test]
fn line_165_a_full_conference_refuses_with_a_sound() {
    let room = Room::new(json!({
        "max_participants": 2, "max_members_media": "tone_stream://%(400,0,820)",
    }));
    let _inside = [room.member("first"), room.member("second")];
    let third = dial(&room, &room.number, "third");
    third.stream.set_capture(CaptureMode::Full);
    let reason = turned_away(&third);
    assert!(reason.contains("cause=480"), "{reason}");
    let heard = lasts_ms(&third.stream.take_capture().samples(), 820.0);
    assert!(heard >= 300, "820 Hz for {heard} ms");
    assert!(is_outside(&room, "third"));
}

/// Calls the id of a room, the second time with what was asked for; returns the answer to that.
fn bridge(room: &Room, user: &str, password: &str, headers: &[(&str, &str)], caller: &str) -> (Call, u16) {
    let id = room.path.rsplit('/').next().expect("an id");
    let offer = AudioOffer::new("127.0.0.1:40000".parse().expect("an address"));
    let invite = Invite::to(id, &offer).caller(caller, caller);
    let challenge = room
        .phone
        .invite(invite.clone())
        .expect("sent")
        .wait_final(SOON)
        .expect("answered");
    assert_eq!(challenge.status(), Some(401), "{}", challenge.start_line);
    let uri = format!("sip:{id}@{}", room.site.server.sip);
    let answer = digest::answer(&challenge, "INVITE", &uri, user, password).expect("a challenge");
    let invite = headers.iter().fold(
        invite.header("Authorization", &answer),
        |invite, (name, value)| invite.header(name, value),
    );
    let call = room.phone.invite(invite).expect("sent");
    let status = call
        .wait_final(SOON)
        .expect("answered")
        .status()
        .expect("a status");
    (call, status)
}

#[test]
fn line_184_bridge_credentials_admit_a_call() {
    let room = Room::new(json!({
        "bridge_username": "peer", "bridge_password": "open sesame",
        "member": {"pins": ["1234"]}, "moderator": {"pins": ["9876"]},
    }));
    let (_member, status) = bridge(&room, "peer", "open sesame", &[], "bridged");
    assert_eq!(status, 200);
    assert_eq!(
        inside(&room, "bridged")["is_moderator"],
        false,
        "and no PIN is asked for"
    );
    let flags = [("X-Conf-Flags-Moderator", "true")];
    let (_boss, status) = bridge(&room, "peer", "open sesame", &flags, "boss");
    assert_eq!(status, 200);
    assert_eq!(inside(&room, "boss")["is_moderator"], true);
    for (user, password) in [("peer", "guess"), ("other", "open sesame")] {
        assert_eq!(bridge(&room, user, password, &[], "guesser").1, 403, "{user}");
    }
    // A conference without credentials, or none at all, admits nobody and does not tell which it is.
    let bare = Room::new(json!({}));
    assert_eq!(bridge(&bare, "", "", &[], "nobody").1, 403);
    let nowhere = Room {
        path: "/conferences/0123456789abcdef0123456789abcdef".to_owned(),
        ..bare
    };
    assert_eq!(bridge(&nowhere, "peer", "open sesame", &[], "nobody").1, 403);
}

/// Waits until the tone after which one speaks was heard and is over; what asks for the name is broken off.
fn after_the_beep(caller: &Participant) {
    std::thread::sleep(Duration::from_millis(300));
    caller.types("5").expect("sent");
    caller.stream.set_capture(CaptureMode::Full);
    let mut heard = Vec::new();
    soon("the tone", || {
        heard.extend(caller.stream.take_capture().samples());
        let is_over = heard.len() > 1600 && lasts_ms(&heard[heard.len() - 1600..], 440.0) == 0;
        (is_over && lasts_ms(&heard, 440.0) > 300).then_some(())
    });
}

#[test]
fn line_178_names_are_announced_as_they_were_recorded() {
    let room = Room::new(json!({
        "play_name": true, "play_entry_tone": "%(200,0,1500)", "play_exit_tone": "%(200,0,1700)",
    }));
    let ann = dial(&room, &room.number, "ann");
    after_the_beep(&ann);
    ann.types("#").expect("sent");
    inside(&room, "ann");
    in_time(&room.site.server, &room.engine, || {
        let bob = dial(&room, &room.number, "bob");
        after_the_beep(&bob);
        assert!(is_outside(&room, "bob"));
        bob.stream.set_source(Some(Source::tone(Law::Mu, 700.0, -20.0)));
        std::thread::sleep(Duration::from_millis(1000));
        bob.stream.set_source(Some(Source::silence(Law::Mu)));
        std::thread::sleep(Duration::from_millis(300));
        let _before = ann.stream.take_capture();
        bob.types("#").expect("sent");
        inside(&room, "bob");
        let mut wrong = Vec::new();
        for tone in [1500.0, 1700.0] {
            std::thread::sleep(Duration::from_millis(4000));
            let heard = ann.stream.take_capture().samples();
            let (sounds, named) = (lasts_ms(&heard, tone), lasts_ms(&heard, 700.0));
            let last = heard
                .chunks(160)
                .rposition(|window| tone_dbfs(window, 8000, 700.0) > -30.0);
            let behind =
                last.map(|last| rms_dbfs(&heard[(last * 160 + 4000).min(heard.len() - 8000)..][..8000]));
            if sounds.abs_diff(200) > 40
                || named.abs_diff(1000) > 80
                || behind.is_none_or(|level| level < -40.0)
            {
                wrong.push(format!(
                    "{tone} Hz {sounds} ms, the name {named} ms, behind it {behind:?}"
                ));
            }
            if tone == 1500.0 {
                bob.leave().expect("left");
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
}
