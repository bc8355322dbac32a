//! Lines 131 to 152: participants, actions on one, on all, on two.

use confab_testkit::agent::Participant;
use confab_testkit::g711::Law;
use confab_testkit::rtp::Source;
use serde_json::{Value, json};

use crate::ears::assert_hearing;
use crate::fixture::{Caller, Room, SOON, breaks, is_error, is_success, soon};
use crate::websocket::{Socket, all_of};

fn is_taken(answer: &confab_testkit::server::HttpAnswer) {
    assert_eq!(is_success(answer, 202), "ok");
}

#[test]
fn line_131_a_participant_has_every_key() {
    let room = Room::new(json!({}));
    let caller = room.member("ann");
    let list = room.participants();
    let [shown] = &list[..] else { panic!("{list:?}") };
    for key in [
        "participant_id",
        "join_time",
        "duration",
        "energy_level",
        "current_energy",
    ] {
        assert!(shown[key].is_u64(), "{key}: {shown}");
    }
    for key in [
        "floor",
        "hear",
        "speak",
        "talking",
        "mute_detect",
        "video",
        "is_moderator",
    ] {
        assert!(shown[key].is_boolean(), "{key}: {shown}");
        assert!(
            shown["conference_channel_vars"][key].is_boolean(),
            "{key}: {shown}"
        );
    }
    for key in [
        "call_id",
        "conference_uuid",
        "switch_hostname",
        "caller_id_name",
        "caller_id_number",
    ] {
        assert!(
            shown[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}: {shown}"
        );
    }
    for key in ["custom_channel_vars", "custom_application_vars"] {
        assert!(shown[key].is_object(), "{key}: {shown}");
    }
    let channel = &shown["conference_channel_vars"];
    assert_eq!(channel["member_id"], shown["participant_id"]);
    assert_eq!(
        (&channel["see"], &channel["member_ghost"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        shown["conference_name"],
        room.path.rsplit('/').next().expect("an id")
    );
    assert_eq!(shown["call_id"], caller.participant.call.call_id());
    assert_eq!(
        shown["custom_channel_vars"]["account_id"],
        room.site.api.account_id()
    );
    assert_eq!(
        (&shown["hear"], &shown["speak"], &shown["is_moderator"]),
        (&json!(true), &json!(true), &json!(false))
    );
    // Gregorian seconds.
    let joined = shown["join_time"].as_u64().expect("seconds") - 62_167_219_200;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("now")
        .as_secs();
    assert!(now - joined < 60, "{joined} and {now}");
}

#[test]
fn line_132_one_participant_is_shown_as_in_the_list() {
    let room = Room::new(json!({}));
    let caller = room.member("ann");
    let (mut one, mut listed) = (room.participant(&caller), room.participants().remove(0));
    // These change by themselves.
    for key in ["duration", "current_energy", "quality"] {
        one[key].take();
        listed[key].take();
        one["conference_channel_vars"][key].take();
        listed["conference_channel_vars"][key].take();
    }
    assert_eq!(one, listed);
}

#[test]
fn line_133_an_unknown_participant_is_not_found() {
    let room = Room::new(json!({}));
    let _caller = room.member("ann");
    for id in ["99999", "0", "x", "-1"] {
        let answer = room.site.get(&format!("{}/participants/{id}", room.path));
        is_error(&answer, 404, "bad_identifier");
    }
}

#[test]
fn line_137_a_kicked_participant_gets_a_bye() {
    let room = Room::new(json!({}));
    let (caller, _other) = (room.member("ann"), room.member("bob"));
    is_taken(&room.act_on(&caller, "kick"));
    caller.participant.call.wait_request("BYE", SOON).expect("a BYE");
    soon("his end", || (room.participants().len() == 1).then_some(()));
}

#[test]
fn line_139_an_action_may_stand_at_the_top_or_in_data() {
    let room = Room::new(json!({}));
    let caller = room.member("ann");
    let below = format!("/participants/{}", caller.id);
    for (body, speaks) in [
        (json!({"action": "mute"}), false),
        (json!({"data": {"action": "unmute"}}), true),
        (json!({"action": "mute", "data": {}}), false),
        (
            json!({"data": {"action": "unmute", "ui_metadata": {"ui": "x"}}}),
            true,
        ),
    ] {
        is_taken(&room.put(&below, &body));
        assert_eq!(room.flags(&[&caller], "speak"), [speaks], "{body}");
    }
    is_taken(&room.put(&format!("{below}?action=mute"), &Value::Null));
    assert_eq!(room.flags(&[&caller], "speak"), [false]);
}

#[test]
fn line_140_an_id_is_a_number_or_its_digits() {
    let room = Room::new(json!({}));
    let (ann, bob) = (room.member("ann"), room.member("bob"));
    let answer = room.site.get(&format!("{}/participants/{}", room.path, ann.id));
    assert_eq!(is_success(&answer, 200)["participant_id"], json!(ann.id));
    for (one, other) in [
        (json!(ann.id), json!(bob.id)),
        (json!(ann.id.to_string()), json!(bob.id.to_string())),
    ] {
        relate(
            &room,
            &json!({"participant_id": one, "other_participant": other, "relationship": "mute"}),
        );
    }
}

#[test]
fn line_141_an_action_on_an_unknown_participant_is_told() {
    let room = Room::new(json!({}));
    let _caller = room.member("ann");
    for action in ["mute", "kick"] {
        let answer = room.put("/participants/99999", &json!({"data": {"action": action}}));
        let data = is_error(&answer, 404, "bad_identifier");
        assert_eq!(data, json!({"message": "bad identifier", "id": 99999}));
    }
}

/// A room with two members and a moderator.
fn assembly() -> (Room, [Caller; 3]) {
    let room = Room::new(json!({}));
    let callers = [room.member("one"), room.member("two"), room.moderator("boss")];
    (room, callers)
}

#[test]
fn line_142_muting_all_leaves_moderators_alone() {
    let (room, [one, two, boss]) = assembly();
    is_taken(&room.act_on_all("mute"));
    assert_eq!(room.flags(&[&one, &two, &boss], "speak"), [false, false, true]);
}

#[test]
fn line_143_unmuting_all_reaches_every_member_who_is_muted() {
    let (room, [one, two, boss]) = assembly();
    for caller in [&one, &boss] {
        is_taken(&room.act_on(caller, "mute"));
    }
    is_taken(&room.act_on_all("unmute"));
    assert_eq!(room.flags(&[&one, &two, &boss], "speak"), [true, true, false]);
}

#[test]
fn line_144_deafening_all_leaves_moderators_alone() {
    let (room, [one, two, boss]) = assembly();
    is_taken(&room.act_on_all("deaf"));
    assert_eq!(room.flags(&[&one, &two, &boss], "hear"), [false, false, true]);
    is_taken(&room.act_on(&boss, "deaf"));
    is_taken(&room.act_on_all("undeaf"));
    assert_eq!(room.flags(&[&one, &two, &boss], "hear"), [true, true, false]);
}

#[test]
fn line_145_kicking_all_ends_the_conference() {
    let (room, callers) = assembly();
    is_taken(&room.act_on_all("kick"));
    for caller in &callers {
        caller.participant.call.wait_request("BYE", SOON).expect("a BYE");
    }
    soon("the end", || room.participants().is_empty().then_some(()));
    let live = room.live();
    assert_eq!(
        (&live["participant_count"], &live["duration"]),
        (&json!(0), &json!(0))
    );
    is_taken(&room.act_on_all("kick"));
}

fn relate(room: &Room, data: &Value) {
    let answer = room.put(
        "/participants",
        &json!({"data": {"action": "relate", "data": data}}),
    );
    assert_eq!(is_success(&answer, 202), "relating participants", "{data}");
}

#[test]
fn line_148_without_a_relationship_relations_are_cleared() {
    let (room, [one, two, _boss]) = assembly();
    let pair = json!({"participant_id": one.id, "other_participant": two.id});
    relate(&room, &pair);
    for relationship in ["mute", "deaf", "clear"] {
        let mut data = pair.clone();
        data["relationship"] = json!(relationship);
        relate(&room, &data);
    }
}

#[test]
fn line_149_ids_of_a_relation_may_be_texts() {
    let (room, [one, two, _boss]) = assembly();
    let data = json!({"participant_id": one.id.to_string(), "other_participant": two.id.to_string(), "relationship": "deaf"});
    relate(&room, &data);
}

#[test]
fn line_150_a_faulty_relation_is_told_why() {
    let (room, [one, two, _boss]) = assembly();
    let send = |data: Value| {
        room.put(
            "/participants",
            &json!({"data": {"action": "relate", "data": data}}),
        )
    };
    let data = is_error(
        &send(json!({"participant_id": one.id, "other_participant": 99999})),
        404,
        "bad_identifier",
    );
    assert_eq!(data, json!({"message": "bad identifier", "id": 99999}));
    let both = send(json!({"participant_id": 88888, "other_participant": 99999}));
    assert_eq!(is_error(&both, 404, "bad_identifier")["id"], 99999);
    let bad = send(json!({"participant_id": one.id, "other_participant": two.id, "relationship": "hug"}));
    breaks(&is_error(&bad, 400, "validation error"), "relationship", "enum");
    let missing = is_error(&send(json!({})), 400, "validation error");
    breaks(&missing, "participant_id", "required");
    breaks(&missing, "other_participant", "required");
    let same = send(json!({"participant_id": one.id, "other_participant": one.id}));
    is_error(&same, 400, "validation error");
}

#[test]
fn line_152_relations_end_with_those_they_name() {
    let (room, [one, two, boss]) = assembly();
    let deaf = |who: &Caller, other: &Caller| {
        relate(
            &room,
            &json!({"participant_id": who.id, "other_participant": other.id, "relationship": "deaf"}),
        );
    };
    deaf(&one, &two);
    let leave = |participant: &Participant| participant.leave().expect("left");
    leave(&two.participant);
    soon("his end", || (room.participants().len() == 2).then_some(()));
    let data = json!({"participant_id": one.id, "other_participant": two.id});
    let answer = room.put(
        "/participants",
        &json!({"data": {"action": "relate", "data": data}}),
    );
    is_error(&answer, 404, "bad_identifier");
    // Who comes back is somebody new.
    let again = room.member("two");
    assert_ne!(again.id, two.id);
    deaf(&boss, &again);
}

#[test]
fn line_151_a_new_relation_takes_the_place_of_the_old_one() {
    let room = Room::new(json!({}));
    let tones = [700.0, 1100.0, 1700.0];
    let callers = ["ann", "bob", "cleo"].map(|name| {
        let at = ["ann", "bob", "cleo"]
            .iter()
            .position(|known| *known == name)
            .expect("one of them");
        room.join(&room.number, name, Source::tone(Law::Mu, tones[at], -20.0))
    });
    let [ann, bob, cleo] = &callers;
    let all = [ann, bob, cleo];
    let related = |relationship: &str| {
        relate(
            &room,
            &json!({"participant_id": ann.id, "other_participant": bob.id, "relationship": relationship}),
        );
    };
    related("mute");
    let (not_ann, not_bob) = ([false, false, true], [false, false, true]);
    let normal = [[false, true, true], [true, false, true], [true, true, false]];
    assert_hearing(&room, &all, &tones, &[&normal[0], &not_ann, &normal[2]]);
    related("deaf");
    assert_hearing(&room, &all, &tones, &[&not_bob, &normal[1], &normal[2]]);
    related("clear");
    assert_hearing(&room, &all, &tones, &[&normal[0], &normal[1], &normal[2]]);
}

/// A member and a moderator with a tone each.
fn duet() -> (Room, [Caller; 2], [f64; 2]) {
    let room = Room::new(json!({}));
    let tones = [700.0, 1100.0];
    let source = |at: usize| Source::tone(Law::Mu, tones[at], -20.0);
    let callers = [
        room.join(&room.number, "ann", source(0)),
        room.join(&room.moderators, "boss", source(1)),
    ];
    (room, callers, tones)
}

#[test]
fn line_134_who_is_muted_is_not_heard() {
    let (room, [ann, boss], tones) = duet();
    let all = [&ann, &boss];
    assert_hearing(&room, &all, &tones, &[&[false, true], &[true, false]]);
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    is_taken(&room.act_on(&ann, "mute"));
    assert_eq!(socket.event("mute-member")["data"]["speak"], false);
    assert_eq!(room.flags(&all, "speak"), [false, true]);
    assert_hearing(&room, &all, &tones, &[&[false, true], &[false, false]]);
    is_taken(&room.act_on(&boss, "mute"));
    assert_hearing(&room, &all, &tones, &[&[false, false], &[false, false]]);
}

#[test]
fn line_135_who_is_unmuted_is_heard_again() {
    let (room, [ann, boss], tones) = duet();
    let all = [&ann, &boss];
    is_taken(&room.act_on(&ann, "mute"));
    assert_hearing(&room, &all, &tones, &[&[false, true], &[false, false]]);
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    is_taken(&room.act_on(&ann, "unmute"));
    assert_eq!(socket.event("unmute-member")["data"]["speak"], true);
    assert_eq!(room.flags(&all, "speak"), [true, true]);
    assert_hearing(&room, &all, &tones, &[&[false, true], &[true, false]]);
}

#[test]
fn line_136_who_is_deaf_hears_nothing_and_is_still_heard() {
    let (room, [ann, boss], tones) = duet();
    let all = [&ann, &boss];
    let mut socket = Socket::open(room.site);
    socket.bind(&all_of(&room));
    is_taken(&room.act_on(&ann, "deaf"));
    assert_eq!(socket.event("deaf-member")["data"]["hear"], false);
    assert_eq!(room.flags(&all, "hear"), [false, true]);
    assert_hearing(&room, &all, &tones, &[&[false, false], &[true, false]]);
    is_taken(&room.act_on(&ann, "undeaf"));
    assert_eq!(socket.event("undeaf-member")["data"]["hear"], true);
    assert_eq!(room.flags(&all, "hear"), [true, true]);
    assert_hearing(&room, &all, &tones, &[&[false, true], &[true, false]]);
}
