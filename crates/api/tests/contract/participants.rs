//! Checklist 131-145 as far as HTTP shows it: participants and the actions on them.

use std::time::Duration;

use confab_conference::{ConferenceId, MediaState, ParticipantId, Quality, Role};
use serde_json::{Value, json};

use crate::support::{START_UNIX, Server};

struct Room {
    server: Server,
    path: String,
    id: ConferenceId,
}

impl Room {
    async fn new() -> Room {
        let server = Server::start().await;
        let id = server.conference(json!({"member": {"join_muted": false}})).await;
        Room {
            path: format!("/conferences/{id}/participants"),
            id: ConferenceId::from(id.as_str()),
            server,
        }
    }

    async fn join(&self, call_id: &str, role: Role) -> u64 {
        self.server.join(self.id.as_str(), call_id, role).await
    }

    async fn act(&self, whom: &str, action: &str) -> crate::support::Reply {
        let path = format!("{}{whom}", self.path);
        self.server
            .ask("PUT", &path, json!({"data": {"action": action}}))
            .await
    }

    async fn flags(&self, flag: &str) -> Vec<bool> {
        let list = self.server.get(&self.path).await;
        list.data()
            .as_array()
            .unwrap()
            .iter()
            .map(|state| state[flag].as_bool().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn c131_c132_a_participant_has_every_key_of_the_contract() {
    let room = Room::new().await;
    let id = room.join("call-1@host", Role::Moderator).await;
    room.server.clock.advance(Duration::from_secs(3));
    room.server
        .live
        .act(&room.server.account, &room.id, |conference| {
            let first = conference.participants().next().unwrap();
            conference
                .talking(confab_conference::GregorianSeconds(0), first, true)
                .unwrap();
            conference.energy(first, 345).unwrap();
        });
    let flags = json!({
        "floor": false, "hear": true, "speak": true, "talking": true, "mute_detect": false, "video": false,
        "is_moderator": true, "energy_level": 20, "current_energy": 345
    });
    let mut channel = flags.clone();
    channel["see"] = json!(false);
    channel["member_id"] = json!(id);
    channel["member_ghost"] = json!(false);
    let mut expected = flags;
    for (key, value) in [
        ("participant_id", json!(id)),
        ("call_id", json!("call-1@host")),
        ("conference_name", json!(room.id.as_str())),
        ("conference_uuid", json!("instance-1")),
        ("switch_hostname", json!("confab@test")),
        ("join_time", json!(62_167_219_200 + START_UNIX)),
        ("duration", json!(3)),
        ("caller_id_name", json!("Alice")),
        ("caller_id_number", json!("100")),
        ("conference_channel_vars", channel),
        (
            "custom_channel_vars",
            json!({"account_id": room.server.account.as_str(), "realm": "example.com"}),
        ),
        ("custom_application_vars", json!({"foo": "bar"})),
        ("volume_in", json!(0.0)),
        ("volume_out", json!(0.0)),
        ("hand_raised", json!(false)),
        ("waiting", json!(false)),
    ] {
        expected[key] = value;
    }
    let list = room.server.get(&room.path).await;
    assert_eq!(
        (list.data(), &list.json["page_size"]),
        (&json!([expected]), &json!(1))
    );
    let one = room.server.get(&format!("{}/{id}", room.path)).await;
    assert_eq!(one.data(), &list.data()[0]);
    let document = room.server.get(&format!("/conferences/{}", room.id)).await;
    assert_eq!(&document.data()["_read_only"]["participants"], list.data());
}

#[tokio::test]
async fn c133_c141_who_is_not_there_is_not_found() {
    let room = Room::new().await;
    assert_eq!(
        room.server.get(&room.path).await.data(),
        &json!([]),
        "an idle conference has none"
    );
    for running in [false, true] {
        if running {
            room.join("1", Role::Member).await;
        }
        for id in [
            "99",
            "0",
            "x",
            "-1",
            "+1",
            "1.0",
            "99999999999999999999999",
            "1%20",
        ] {
            for reply in [
                room.server.get(&format!("{}/{id}", room.path)).await,
                room.act(&format!("/{id}"), "mute").await,
            ] {
                reply.is_error(404, "bad_identifier");
            }
        }
    }
    let reply = room.server.get(&format!("{}/99", room.path)).await;
    assert_eq!(reply.data(), &json!({"message": "bad identifier", "id": 99}));
    let nowhere = room.server.get("/conferences/nothing/participants").await;
    nowhere.is_error(404, "bad_identifier");
}

#[tokio::test]
async fn c134_to_c137_single_actions_change_the_state_of_members_and_moderators() {
    let room = Room::new().await;
    let (first, second) = (
        room.join("1", Role::Member).await,
        room.join("2", Role::Moderator).await,
    );
    for (action, flag, expected) in [
        ("mute", "speak", false),
        ("mute", "speak", false),
        ("unmute", "speak", true),
        ("deaf", "hear", false),
        ("undeaf", "hear", true),
    ] {
        let reply = room.act(&format!("/{second}"), action).await;
        assert_eq!(
            (reply.status.as_u16(), reply.data()),
            (202, &json!("ok")),
            "{action}"
        );
        assert_eq!(room.flags(flag).await, [true, expected], "{action}");
    }
    assert_eq!(room.act(&format!("/{first}"), "kick").await.status, 202);
    room.act(&format!("/{first}"), "kick")
        .await
        .is_error(404, "bad_identifier");
    let left = room.server.get(&room.path).await;
    assert_eq!(left.data().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn c139_c140_the_action_may_stand_at_the_top_in_data_or_in_the_query() {
    let room = Room::new().await;
    let id = room.join("1", Role::Member).await;
    let path = format!("{}/{id}", room.path);
    for (body, query, speak) in [
        (json!({"action": "mute", "data": {}}), "", false),
        (json!({"data": {"action": "unmute"}}), "", true),
        (json!({"action": "mute"}), "", false),
        (Value::Null, "?action=unmute", true),
        (
            json!({"data": {"action": "mute", "data": {}}}),
            "?random=1",
            false,
        ),
    ] {
        let reply = room
            .server
            .ask("PUT", &format!("{path}{query}"), body.clone())
            .await;
        assert_eq!(reply.status, 202, "{body}");
        assert_eq!(room.flags("speak").await, [speak], "{body}");
    }
}

#[tokio::test]
async fn an_unknown_or_later_action_on_a_participant_is_told_what_there_is() {
    let room = Room::new().await;
    let id = room.join("1", Role::Member).await;
    let one = json!([
        "mute",
        "unmute",
        "deaf",
        "undeaf",
        "kick",
        "volume_in",
        "volume_out",
        "energy",
        "agc",
        "denoise",
        "dtmf",
        "hold",
        "unhold",
        "raise_hand",
        "lower_hand",
        "move",
        "play",
        "stop_play"
    ]);
    let all = json!(["mute", "unmute", "deaf", "undeaf", "kick", "relate", "play"]);
    for (whom, action, built) in [
        (format!("/{id}"), "record", &one),
        (format!("/{id}"), "dance", &one),
        (format!("/{id}"), "relate", &one),
        (String::new(), "stop_play", &all),
        (String::new(), "hold", &all),
    ] {
        let reply = room.act(&whom, action).await;
        reply.breaks("action", "enum");
        assert_eq!(&reply.data()["action"]["enum"]["target"], built, "{action}");
    }
}

#[tokio::test]
async fn c142_to_c145_bulk_actions_spare_moderators_except_kick() {
    let room = Room::new().await;
    for (call, role) in [("1", Role::Member), ("2", Role::Moderator), ("3", Role::Member)] {
        room.join(call, role).await;
    }
    for (action, flag, expected) in [
        ("mute", "speak", [false, true, false]),
        ("unmute", "speak", [true, true, true]),
        ("deaf", "hear", [false, true, false]),
        ("undeaf", "hear", [true, true, true]),
    ] {
        let reply = room.act("", action).await;
        assert_eq!(
            (reply.status.as_u16(), reply.data()),
            (202, &json!("ok")),
            "{action}"
        );
        assert_eq!(room.flags(flag).await, expected, "{action}");
    }
    assert_eq!(room.act("", "kick").await.status, 202);
    assert_eq!(room.server.get(&room.path).await.data(), &json!([]));
    assert_eq!(
        room.act("", "kick").await.status,
        202,
        "an empty conference is no error"
    );
}

#[tokio::test]
async fn hands_are_raised_and_lowered() {
    let room = Room::new().await;
    for call in ["1", "2"] {
        room.join(call, Role::Member).await;
    }
    let id = room.join("3", Role::Member).await;
    assert_eq!(room.flags("hand_raised").await, [false, false, false]);
    for (action, raised) in [("raise_hand", true), ("raise_hand", true), ("lower_hand", false)] {
        let reply = room.act(&format!("/{id}"), action).await;
        assert_eq!((reply.status.as_u16(), reply.data()), (202, &json!("ok")));
        assert_eq!(
            room.flags("hand_raised").await,
            [false, false, raised],
            "{action}"
        );
    }
    room.act("/99", "raise_hand")
        .await
        .is_error(404, "bad_identifier");
}

#[tokio::test]
async fn a_participant_is_moved_or_stays_where_he_is() {
    let room = Room::new().await;
    let id = room.join("1", Role::Member).await;
    room.join("2", Role::Member).await;
    let path = format!("{}/{id}", room.path);
    let other = room.server.conference(json!({"max_participants": 2})).await;
    let other_path = format!("/conferences/{other}");
    let order = |to: &str| json!({"action": "move", "data": {"conference_id": to}});
    let stays = async || room.server.get(&path).await.status == 200;

    let unknown = room.server.ask("PUT", &path, order("nowhere")).await;
    unknown.is_error(404, "bad_identifier");
    assert_eq!(unknown.data()["cause"], "nowhere");
    let here = room.path.split('/').nth(2).expect("an id");
    let same = room.server.ask("PUT", &path, order(here)).await;
    same.breaks("conference_id", "invalid");
    assert_eq!(same.data()["conference_id"]["invalid"]["cause"], "same");
    room.server
        .ask("PUT", &path, json!({"data": {"action": "move"}}))
        .await
        .breaks("data", "required");
    assert!(stays().await);

    // The first starts the conference, is its only participant, and locks it.
    room.act(&format!("/{id}"), "unmute").await;
    let moved = room.server.ask("PUT", &path, order(&other)).await;
    assert_eq!(moved.status, 202, "{}", moved.text);
    assert_eq!(moved.data()["conference_id"], other.as_str());
    assert!(!stays().await);
    let there = room.server.get(&format!("{other_path}/participants")).await;
    assert_eq!(there.data()[0]["participant_id"], moved.data()["participant_id"]);
    assert_eq!(there.data()[0]["call_id"], "1");
    assert_eq!(there.data()[0]["speak"], true, "taken along");

    let path = format!("{}/2", room.path);
    room.server
        .ask("PUT", &other_path, json!({"action": "lock"}))
        .await;
    let locked = room.server.ask("PUT", &path, order(&other)).await;
    locked.breaks("conference_id", "invalid");
    assert_eq!(locked.data()["conference_id"]["invalid"]["cause"], "locked");
    room.server
        .ask("PUT", &other_path, json!({"action": "unlock"}))
        .await;
    let second = room.server.ask("PUT", &path, order(&other)).await;
    assert_eq!(second.status, 202, "{}", second.text);
    let third = room.join("3", Role::Member).await;
    let full = room
        .server
        .ask("PUT", &format!("{}/{third}", room.path), order(&other))
        .await;
    full.breaks("conference_id", "invalid");
    assert_eq!(full.data()["conference_id"]["invalid"]["cause"], "full");
}

#[tokio::test]
async fn the_tag_of_the_participants_covers_their_state() {
    let room = Room::new().await;
    let id = room.join("1", Role::Member).await;
    for path in [room.path.clone(), format!("{}/{id}", room.path)] {
        let etag = room.server.get(&path).await.header("etag").to_owned();
        let again = async || {
            room.server
                .ask_with("GET", &path, &[("if-none-match", &etag)], Value::Null)
                .await
        };
        room.server.clock.advance(Duration::from_secs(1));
        assert_eq!(again().await.status, 304);
        room.act(&format!("/{id}"), "mute").await;
        assert_eq!(again().await.status, 200);
        room.act(&format!("/{id}"), "unmute").await;
    }
}

#[tokio::test]
async fn settings_of_one_participant_are_taken_and_shown() {
    let room = Room::new().await;
    let id = room.join("1", Role::Member).await;
    let path = format!("{}/{id}", room.path);
    for (body, key, shown) in [
        (
            json!({"action": "volume_in", "data": {"level": -4}}),
            "volume_in",
            json!(-14.0),
        ),
        (
            json!({"data": {"action": "volume_in", "level": 4}}),
            "volume_in",
            json!(12.7),
        ),
        (
            json!({"data": {"action": "volume_out", "data": {"db": "6.04"}}}),
            "volume_out",
            json!(6.0),
        ),
        (
            json!({"action": "energy", "data": {"level": 1800}}),
            "energy_level",
            json!(1800),
        ),
        (json!({"action": "hold"}), "speak", json!(true)),
        (json!({"action": "unhold", "data": {}}), "hear", json!(true)),
        (
            json!({"action": "agc", "data": {"enabled": true}}),
            "speak",
            json!(true),
        ),
        (
            json!({"action": "denoise", "data": {"enabled": "true"}}),
            "speak",
            json!(true),
        ),
    ] {
        let reply = room.server.ask("PUT", &path, body.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.data()),
            (202, &json!("ok")),
            "{body}"
        );
        assert_eq!(room.server.get(&path).await.data()[key], shown, "{body}");
    }
    let state = room
        .server
        .live
        .act(&room.server.account, &room.id, |conference| {
            conference.snapshot().unwrap().participants[0].clone()
        });
    assert!(state.agc && state.denoise && !state.held);
    for (body, field, rule) in [
        (json!({"action": "volume_in"}), "data", "required"),
        (json!({"action": "volume_out", "data": {}}), "level", "required"),
        (
            json!({"action": "volume_out", "data": {"level": 9999}}),
            "level",
            "maximum",
        ),
        (
            json!({"action": "volume_in", "data": {"db": -9999}}),
            "db",
            "minimum",
        ),
        (
            json!({"action": "energy", "data": {"level": 1801}}),
            "level",
            "maximum",
        ),
        (
            json!({"action": "agc", "data": {"enabled": "yes"}}),
            "enabled",
            "type",
        ),
        (json!({"action": "denoise"}), "data", "required"),
    ] {
        room.server.ask("PUT", &path, body).await.breaks(field, rule);
    }
}

impl Room {
    async fn relate(&self, arguments: Value) -> crate::support::Reply {
        let body = json!({"action": "relate", "data": arguments});
        self.server.ask("PUT", &self.path, body).await
    }

    /// Returns who hears whom: for every participant, whether each one hears him.
    async fn hearing(&self) -> Vec<Vec<bool>> {
        self.server
            .live
            .act(&self.server.account, &self.id, |conference| {
                let ids: Vec<_> = conference.participants().collect();
                let heard = |&talker| {
                    ids.iter()
                        .map(|&listener| conference.hears(listener, talker))
                        .collect()
                };
                ids.iter().map(heard).collect()
            })
    }
}

#[tokio::test]
async fn c146_to_c151_relations_are_directional_and_replace_each_other() {
    let room = Room::new().await;
    let (a, b) = (
        room.join("1", Role::Member).await,
        room.join("2", Role::Moderator).await,
    );
    room.join("3", Role::Member).await;
    let everybody = vec![vec![true; 3]; 3];
    let without = |talker: usize, listener: usize| {
        let mut hearing = everybody.clone();
        hearing[talker][listener] = false;
        hearing
    };
    for (relationship, expected) in [
        (Some("mute"), without(0, 1)),
        (Some("deaf"), without(1, 0)),
        (Some("clear"), everybody.clone()),
        (Some("mute"), without(0, 1)),
        (None, everybody.clone()),
    ] {
        let mut arguments = json!({"participant_id": a, "other_participant": b.to_string()});
        if let Some(relationship) = relationship {
            arguments["relationship"] = json!(relationship);
        }
        let reply = room.relate(arguments).await;
        assert_eq!(
            (reply.status.as_u16(), reply.data()),
            (202, &json!("relating participants")),
            "{relationship:?}"
        );
        assert_eq!(room.hearing().await, expected, "{relationship:?}");
        assert_eq!(room.flags("speak").await, [true; 3], "no flag shows it");
        assert_eq!(room.flags("hear").await, [true; 3]);
    }
}

#[tokio::test]
async fn c150_c152_relations_name_participants_and_end_with_them() {
    let room = Room::new().await;
    let nobody = room
        .relate(json!({"participant_id": 1, "other_participant": 2}))
        .await;
    nobody.is_error(404, "bad_identifier");
    assert_eq!(nobody.data()["id"], 2, "the conference is not running");
    let (a, b) = (
        room.join("1", Role::Member).await,
        room.join("2", Role::Member).await,
    );
    for (one, other, told) in [(a, 99, 99), (98, b, 98), (98, 99, 99)] {
        let reply = room
            .relate(json!({"participant_id": one, "other_participant": other}))
            .await;
        reply.is_error(404, "bad_identifier");
        assert_eq!(reply.data(), &json!({"message": "bad identifier", "id": told}));
    }
    for (arguments, field, rule) in [
        (json!({"participant_id": a}), "other_participant", "required"),
        (json!({"other_participant": b}), "participant_id", "required"),
        (
            json!({"participant_id": a, "other_participant": b, "relationship": "love"}),
            "relationship",
            "enum",
        ),
        (
            json!({"participant_id": a, "other_participant": a}),
            "other_participant",
            "invalid",
        ),
        (
            json!({"participant_id": "x", "other_participant": b}),
            "participant_id",
            "type",
        ),
    ] {
        room.relate(arguments).await.breaks(field, rule);
    }
    room.relate(json!({"participant_id": a, "other_participant": b, "relationship": "mute"}))
        .await;
    assert_eq!(room.hearing().await, [[true, false], [true, true]]);
    room.act(&format!("/{b}"), "kick").await;
    let c = room.join("3", Role::Member).await;
    assert_ne!(b, c);
    assert_eq!(room.hearing().await, [[true; 2]; 2]);
}

#[tokio::test]
async fn how_a_participant_is_heard_is_shown_and_is_no_part_of_the_tag() {
    let room = Room::new().await;
    let id = room.join("1", Role::Member).await;
    let path = format!("{}/{id}", room.path);
    let quality = |mos_hundredths| MediaState {
        codec: Some("opus"),
        quality: Quality {
            loss_hundredths: 152,
            jitter_us: 2250,
            delay_us: 41_500,
            concealed_ms: 60,
            skew_ppm: None,
            mos_hundredths,
        },
    };
    let measured = |mos_hundredths| {
        let participant = ParticipantId::new(id).unwrap();
        let mut media = room.server.live.media.lock().unwrap();
        media.insert(participant, quality(mos_hundredths));
    };
    assert!(room.server.get(&path).await.data().get("quality").is_none());
    measured(None);
    let first = room.server.get(&path).await;
    let etag = first.header("etag").to_owned();
    let expected = json!({
        "loss": 1.52, "jitter_ms": 2.25, "delay_ms": 41.5, "concealed_ms": 60, "skew_ppm": null, "mos": null
    });
    assert_eq!(first.data()["quality"], expected);
    assert_eq!(first.data()["codec"], "opus");
    measured(Some(425));
    let second = room.server.get(&path).await;
    assert_eq!(second.data()["quality"]["mos"], 4.25);
    assert_eq!(second.header("etag"), etag);
}
