//! Lines 44 to 78: conference documents, what is stored and what is refused, and their live data.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fixture::{Room, breaks, is_error, is_success, number, site, soon};

#[test]
fn line_044_an_empty_document_gets_the_defaults() {
    let mut document = site().make("conferences", json!({}));
    document["id"].take();
    let expected = json!({
        "id": null,
        "conference_numbers": [],
        "member": {"join_deaf": false, "join_muted": true, "numbers": [], "pins": []},
        "moderator": {"join_deaf": false, "join_muted": false, "numbers": [], "pins": []},
        "play_name": false,
    });
    assert_eq!(document, expected);
}

#[test]
fn line_045_a_new_document_has_an_address() {
    let answer = site().ask("PUT", "/conferences", &json!({"data": {}}));
    let id = is_success(&answer, 201)["id"].as_str().expect("an id").to_owned();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
    assert_eq!(
        answer.header("location"),
        Some(site().url(&format!("/conferences/{id}")).as_str())
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn line_046_a_new_document_can_be_read() {
    let made = site().make("conferences", json!({"name": "A"}));
    let path = format!("/conferences/{}", made["id"].as_str().expect("an id"));
    let read = is_success(&site().get(&path), 200);
    assert_eq!((&read["id"], &read["name"]), (&made["id"], &json!("A")));
}

#[test]
fn line_047_unknown_keys_are_kept() {
    let own = json!({"custom": {"a": [1, {"b": null}]}, "ui_metadata": {"ui": "monster-ui"}, "flags": ["x"]});
    let path = site().conference(own.clone());
    let read = is_success(&site().get(&path), 200);
    for (key, value) in own.as_object().expect("keys") {
        assert_eq!(&read[key], value);
    }
}

/// Asserts that a document is refused for one rule, and returns what is told about it.
#[track_caller]
fn refused(document: Value, field: &str, rule: &str) -> Value {
    breaks(&site().refuses("conferences", document), field, rule)
}

#[test]
fn line_048_a_name_has_at_most_128_characters() {
    site().conference(json!({"name": "ü".repeat(128)}));
    assert_eq!(
        refused(json!({"name": "x".repeat(129)}), "name", "maxLength")["target"],
        128
    );
}

#[test]
fn line_049_a_name_is_not_empty() {
    assert_eq!(refused(json!({"name": ""}), "name", "minLength")["target"], 1);
}

#[test]
fn line_050_an_owner_has_an_id_of_32_characters() {
    refused(json!({"owner_id": "0".repeat(31)}), "owner_id", "minLength");
    refused(json!({"owner_id": "0".repeat(33)}), "owner_id", "maxLength");
    site().conference(json!({"owner_id": "0".repeat(32)}));
}

#[test]
fn line_051_a_pin_is_made_of_digits() {
    let told = refused(json!({"member": {"pins": ["12a"]}}), "member.pins.0", "pattern");
    assert_eq!(
        (&told["target"], &told["value"]),
        (&json!("^[0-9]+$"), &json!("12a"))
    );
}

#[test]
fn line_052_a_number_is_made_of_digits() {
    refused(
        json!({"conference_numbers": ["+4930"]}),
        "conference_numbers.0",
        "pattern",
    );
    refused(
        json!({"moderator": {"numbers": ["1", "+2"]}}),
        "moderator.numbers.1",
        "pattern",
    );
}

#[test]
fn line_053_a_number_stands_in_a_list_once() {
    refused(
        json!({"conference_numbers": ["5", "5"]}),
        "conference_numbers",
        "uniqueItems",
    );
}

#[test]
fn line_054_a_number_belongs_to_one_conference() {
    let number = number();
    site().conference(json!({"conference_numbers": [number]}));
    let told = refused(json!({"conference_numbers": [number]}), "numbers", "unique");
    assert_eq!(told["cause"], json!(number));
    assert_eq!(told["message"], "Numbers already in use");
}

#[test]
fn line_055_lists_of_members_and_moderators_count_alike() {
    let (one, other) = (number(), number());
    site().conference(json!({"member": {"numbers": [one]}, "moderator": {"numbers": [other]}}));
    refused(json!({"moderator": {"numbers": [one]}}), "numbers", "unique");
    refused(json!({"conference_numbers": [other]}), "numbers", "unique");
    let told = refused(
        json!({"member": {"numbers": [other]}, "conference_numbers": [one]}),
        "numbers",
        "unique",
    );
    let cause: BTreeSet<&str> = told["cause"].as_str().expect("numbers").split(", ").collect();
    assert_eq!(cause, [one.as_str(), &other].into());
}

#[test]
fn line_056_its_own_number_is_no_conflict() {
    let number = number();
    let path = site().conference(json!({"conference_numbers": [number]}));
    let body = json!({"data": {"conference_numbers": [number], "member": {"numbers": [number]}}});
    is_success(&site().ask("POST", &path, &body), 200);
    is_success(&site().ask("PATCH", &path, &body), 200);
}

#[test]
fn line_057_a_deleted_conference_frees_its_numbers() {
    let number = number();
    let path = site().conference(json!({"conference_numbers": [number]}));
    is_success(&site().ask("DELETE", &path, &Value::Null), 200);
    site().conference(json!({"conference_numbers": [number]}));
}

#[test]
fn line_059_a_rate_is_one_of_seven() {
    for rate in [8000, 12000, 16000, 24000, 32000, 44100, 48000] {
        site().conference(json!({"profile": {"rate": rate}}));
    }
    let told = refused(json!({"profile": {"rate": 11025}}), "profile.rate", "enum");
    assert_eq!(told["target"].as_array().map(Vec::len), Some(7));
}

#[test]
fn line_060_comfort_noise_ends_at_10000() {
    site().conference(json!({"profile": {"comfort-noise": 10000}}));
    assert_eq!(
        refused(
            json!({"profile": {"comfort-noise": 10001}}),
            "profile.comfort-noise",
            "maximum"
        )["target"],
        10000
    );
}

#[test]
fn line_061_an_energy_level_ends_at_1800() {
    site().conference(json!({"profile": {"energy-level": 1800}}));
    refused(
        json!({"profile": {"energy-level": 1801}}),
        "profile.energy-level",
        "maximum",
    );
}

#[test]
fn line_062_an_interval_begins_at_10() {
    site().conference(json!({"profile": {"interval": 10}}));
    refused(json!({"profile": {"interval": 9}}), "profile.interval", "minimum");
}

#[test]
fn line_063_the_most_members_of_a_profile_begin_at_2() {
    site().conference(json!({"profile": {"max-members": 2}}));
    refused(
        json!({"profile": {"max-members": 1}}),
        "profile.max-members",
        "minimum",
    );
}

#[test]
fn line_064_a_tone_of_coming_is_a_switch_or_a_text() {
    for tone in [json!(true), json!(false), json!("tone_stream://%(200,0,440)")] {
        let path = site().conference(json!({"play_entry_tone": tone, "play_exit_tone": tone}));
        assert_eq!(is_success(&site().get(&path), 200)["play_entry_tone"], tone);
    }
    for key in ["play_entry_tone", "play_exit_tone"] {
        refused(json!({(key): {"x": 1}}), key, "type");
        refused(json!({(key): []}), key, "type");
    }
}

#[test]
fn line_065_switches_are_repaired_and_texts_are_not() {
    let document = site().make(
        "conferences",
        json!({"play_name": "true", "max_participants": "5"}),
    );
    assert_eq!(
        (&document["play_name"], &document["max_participants"]),
        (&json!(true), &json!(5))
    );
    refused(json!({"member": {"pins": [1234]}}), "member.pins.0", "type");
    refused(json!({"name": 5}), "name", "type");
}

#[test]
fn line_066_what_the_server_writes_is_not_taken_from_clients() {
    let path = site().conference(json!({"name": "A"}));
    let mut document = is_success(&site().get(&path), 200);
    document["focus"] = json!("somebody@elsewhere");
    document["_read_only"]["members"] = json!(99);
    document["pvt_account_id"] = json!("x");
    is_success(&site().ask("POST", &path, &json!({"data": document})), 200);
    let read = is_success(&site().get(&path), 200);
    assert_eq!(read["_read_only"]["members"], 0);
    assert!(
        read.get("focus").is_none() && read.get("pvt_account_id").is_none(),
        "{read}"
    );
    assert_eq!(read["name"], "A");
}

#[test]
fn line_067_post_replaces() {
    let path = site().conference(json!({"name": "A", "custom": 1, "member": {"join_muted": false}}));
    is_success(
        &site().ask("POST", &path, &json!({"data": {"flags": ["x"]}})),
        200,
    );
    let read = is_success(&site().get(&path), 200);
    assert!(
        read.get("name").is_none() && read.get("custom").is_none(),
        "{read}"
    );
    assert_eq!(
        (&read["flags"], &read["member"]["join_muted"]),
        (&json!(["x"]), &json!(true))
    );
}

#[test]
fn line_068_patch_merges() {
    let path = site().conference(json!({"name": "A", "custom": {"a": 1, "b": 2}, "flags": ["x", "y"]}));
    let change = json!({"data": {"custom": {"a": null, "c": 3}, "flags": ["z"]}});
    is_success(&site().ask("PATCH", &path, &change), 200);
    let read = is_success(&site().get(&path), 200);
    assert_eq!(read["name"], "A");
    assert_eq!(
        (&read["custom"], &read["flags"]),
        (&json!({"b": 2, "c": 3}), &json!(["z"]))
    );
}

#[test]
fn line_069_a_bad_patch_changes_nothing() {
    let path = site().conference(json!({"name": "A"}));
    let before = site().get(&path);
    let change = json!({"data": {"name": "B", "profile": {"rate": 1}}});
    let data = is_error(&site().ask("PATCH", &path, &change), 400, "validation error");
    breaks(&data, "profile.rate", "enum");
    let after = site().get(&path);
    assert_eq!(before.header("etag"), after.header("etag"));
    assert_eq!(is_success(&after, 200)["name"], "A");
}

#[test]
fn line_070_changes_of_unknown_documents_are_told_their_id() {
    let nobody = "f".repeat(32);
    for method in ["POST", "PATCH", "DELETE"] {
        let answer = site().ask(method, &format!("/conferences/{nobody}"), &json!({"data": {}}));
        let data = is_error(&answer, 404, "bad_identifier");
        assert_eq!(data, json!({"message": "bad identifier", "cause": nobody}));
    }
}

#[test]
fn line_071_a_deleted_document_says_so() {
    let path = site().conference(json!({"name": "A"}));
    let data = is_success(&site().ask("DELETE", &path, &Value::Null), 200);
    assert_eq!(
        (&data["name"], &data["_read_only"]["deleted"]),
        (&json!("A"), &json!(true))
    );
}

#[test]
fn line_072_a_deleted_document_is_gone() {
    let path = site().conference(json!({"name": "to be deleted"}));
    is_success(&site().ask("DELETE", &path, &Value::Null), 200);
    is_error(&site().get(&path), 404, "bad_identifier");
    let list = site().get("/conferences?filter_name=to%20be%20deleted");
    assert_eq!(is_success(&list, 200), json!([]));
}

#[test]
fn line_073_an_item_of_the_list_has_the_keys_of_the_view() {
    let document = json!({
        "name": "line 73", "owner_id": "0".repeat(32), "bridge_password": "secret", "custom": 1, "ui_flags": {"a": 1}
    });
    site().conference(document);
    let list = is_success(&site().get("/conferences?filter_name=line%2073"), 200);
    let item = list[0].as_object().expect("an item");
    let keys: BTreeSet<&str> = item.keys().map(String::as_str).collect();
    let expected = [
        "id",
        "name",
        "owner_id",
        "member",
        "moderator",
        "conference_numbers",
        "ui_flags",
        "flags",
        "members",
        "admins",
        "duration",
        "is_locked",
        "_read_only",
    ];
    assert_eq!(keys, expected.into());
    assert_eq!(item["flags"], json!([]));
}

#[test]
fn line_074_live_data_of_an_idle_conference_are_zero() {
    let path = site().conference(json!({}));
    let live = &is_success(&site().get(&path), 200)["_read_only"];
    for key in ["members", "moderators", "admins", "duration", "participant_count"] {
        assert_eq!(live[key], 0, "{key}");
    }
    assert_eq!(
        (&live["is_locked"], &live["participants"]),
        (&json!(false), &json!([]))
    );
}

#[test]
fn line_075_live_data_tell_who_is_there_and_for_how_long() {
    let room = Room::new(json!({}));
    let callers = [room.member("m1"), room.member("m2"), room.moderator("boss")];
    let live = room.live();
    assert_eq!(
        (&live["members"], &live["moderators"], &live["admins"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(live["participant_count"], 3);
    assert_eq!(live["participants"].as_array().map(Vec::len), Some(3));
    assert_eq!(live["is_locked"], false);
    let before = live["duration"].as_u64().expect("seconds");
    soon("a longer duration", || {
        (room.live()["duration"].as_u64().expect("seconds") > before).then_some(())
    });
    room.act("lock");
    assert_eq!(room.live()["is_locked"], true);
    let item = is_success(&site().get("/conferences?paginate=false"), 200);
    let id = room.path.rsplit('/').next().expect("an id");
    let item = item
        .as_array()
        .expect("a list")
        .iter()
        .find(|item| item["id"] == id)
        .expect("listed");
    assert_eq!(
        (&item["members"], &item["admins"], &item["is_locked"]),
        (&json!(2), &json!(1), &json!(true))
    );
    assert_eq!(item["_read_only"]["participant_count"], 3);
    drop(callers);
}

#[test]
fn line_076_live_data_stand_beside_the_document_too() {
    let room = Room::new(json!({}));
    let _one = room.member("one");
    let mut envelope = room.site.get(&room.path).json();
    // Both are of the same moment.
    assert_eq!(envelope["metadata"], envelope["data"]["_read_only"]);
    assert_eq!(envelope["metadata"].take()["participant_count"], 1);
}

#[test]
fn line_078_what_neither_runs_nor_is_stored_is_unknown() {
    let nobody = "e".repeat(32);
    let data = is_error(
        &site().get(&format!("/conferences/{nobody}")),
        404,
        "bad_identifier",
    );
    assert_eq!(data["cause"], json!(nobody));
}
