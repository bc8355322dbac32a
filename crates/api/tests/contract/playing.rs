//! Checklist 83-88, 91, 138: plays and their stops, to all and to one; digits to one.

use confab_conference::{Audience, Effect, ParticipantId, PlayNumber, Role, StopPlay};
use serde_json::{Value, json};

use crate::support::{Reply, Server};

const TONE: &str = "tone_stream://%(500,0,440)";

struct Room {
    server: Server,
    path: String,
    id: String,
}

impl Room {
    /// A conference without tones for those who come and go.
    async fn new() -> Room {
        let server = Server::start().await;
        let quiet = json!({"play_entry_tone": false, "play_exit_tone": false});
        let id = server.conference(quiet).await;
        let path = format!("/conferences/{id}");
        Room { server, path, id }
    }

    async fn join(&self, call: &str) -> u64 {
        self.server.join(&self.id, call, Role::Member).await
    }

    async fn put(&self, below: &str, body: Value) -> Reply {
        self.server
            .ask("PUT", &format!("{}{below}", self.path), body)
            .await
    }

    fn played(&self) -> Vec<Effect> {
        std::mem::take(&mut self.server.live.played.lock().unwrap())
    }
}

fn one(id: u64) -> Audience {
    Audience::One(ParticipantId::new(id).unwrap())
}

#[track_caller]
fn is_taken(reply: &Reply) {
    assert_eq!(
        (reply.status.as_u16(), reply.data()),
        (202, &json!("ok")),
        "{}",
        reply.text
    );
}

#[tokio::test]
async fn c091_c138_a_play_reaches_its_audience_in_every_wrapping() {
    let room = Room::new().await;
    let id = room.join("1").await;
    room.join("2").await;
    let wrappings = [
        json!({"action": "play", "data": {"media_id": TONE}}),
        json!({"action": "play", "data": {"data": {"media_id": TONE}}}),
        json!({"data": {"action": "play", "data": {"media_id": TONE}}}),
        json!({"data": {"action": "play", "media_id": TONE}}),
        json!({"data": {"action": "play", "data": {"media_id": TONE}, "ui_metadata": {"ui": "x"}}}),
    ];
    let mut number = 0;
    for (below, audience) in [
        (String::new(), Audience::Everybody),
        ("/participants".to_owned(), Audience::Everybody),
        (format!("/participants/{id}"), one(id)),
    ] {
        for body in &wrappings {
            is_taken(&room.put(&below, body.clone()).await);
            number += 1;
            let play = PlayNumber(number);
            let expected = Effect::Play {
                play,
                audience,
                media: vec![TONE.into()],
                manner: confab_conference::Manner::Queue,
                duck_db: 0,
            };
            assert_eq!(room.played(), [expected], "{below} {body}");
            let wall = confab_conference::GregorianSeconds(0);
            let conference = confab_conference::ConferenceId::from(room.id.as_str());
            let ended = |core: &mut confab_conference::Conference| core.play_ended(wall, play);
            room.server
                .live
                .act(&room.server.account, &conference, ended)
                .unwrap();
        }
    }
}

#[tokio::test]
async fn what_to_stop_is_an_object_or_nothing() {
    let room = Room::new().await;
    let id = room.join("1").await;
    for below in [String::new(), format!("/participants/{id}")] {
        for (body, field) in [
            (json!({"action": "stop_play", "data": [1]}), "data"),
            (json!({"action": "stop_play", "data": {"data": [1]}}), "data.data"),
            (json!({"data": {"action": "stop_play", "data": 1}}), "data.data"),
            (json!({"action": "stop_play", "data": "all"}), "data"),
        ] {
            let reply = room.put(&below, body).await;
            reply.breaks(field, "type");
        }
        for body in [
            json!({"action": "stop_play"}),
            json!({"action": "stop_play", "data": []}),
            json!({"data": {"action": "stop_play", "data": {"affects": "current"}}}),
        ] {
            is_taken(&room.put(&below, body).await);
        }
    }
}

#[tokio::test]
async fn c086_to_c088_a_play_that_names_nothing_is_told_what_is_missing() {
    let room = Room::new().await;
    let id = room.join("1").await;
    for below in [
        String::new(),
        "/participants".to_owned(),
        format!("/participants/{id}"),
    ] {
        let reply = room.put(&below, json!({"action": "play"})).await;
        reply.breaks("data", "required");
        assert_eq!(
            reply.data()["data"]["required"]["message"],
            "action 'play' requires a data object"
        );
        let reply = room.put(&below, json!({"action": "play", "data": {}})).await;
        reply.breaks("data.media_id", "required");
        assert_eq!(
            reply.data()["data.media_id"]["required"]["message"],
            "action 'play' requires a media ID or URL"
        );
        let unknown = "0123456789abcdef0123456789abcdef";
        let reply = room
            .put(&below, json!({"action": "play", "data": {"media_id": unknown}}))
            .await;
        reply.is_error(404, "bad identifier");
        assert_eq!(reply.data(), &json!([unknown]));
        let reply = room
            .put(&below, json!({"action": "play", "data": {"media_id": "broken"}}))
            .await;
        reply.breaks("data.media_id", "invalid");
    }
    assert_eq!(room.played(), []);
}

#[tokio::test]
async fn a_play_where_nobody_is_has_no_effect_and_is_no_error() {
    let room = Room::new().await;
    for below in ["", "/participants"] {
        is_taken(
            &room
                .put(below, json!({"action": "play", "data": {"media_id": TONE}}))
                .await,
        );
        let unknown = json!({"action": "play", "data": {"media_id": "x"}});
        assert_eq!(room.put(below, unknown).await.status, 404);
    }
    is_taken(&room.put("", json!({"action": "stop_play"})).await);
    room.join("1").await;
    let reply = room
        .put(
            "/participants/99",
            json!({"action": "play", "data": {"media_id": TONE}}),
        )
        .await;
    reply.is_error(404, "bad_identifier");
}

#[tokio::test]
async fn stops_and_digits_reach_whom_they_name() {
    let room = Room::new().await;
    let id = room.join("1").await;
    let path = format!("/participants/{id}");
    is_taken(&room.put("", json!({"action": "stop_play"})).await);
    is_taken(
        &room
            .put(
                &path,
                json!({"data": {"action": "stop_play", "data": {"affects": "current"}}}),
            )
            .await,
    );
    is_taken(
        &room
            .put(&path, json!({"action": "dtmf", "data": {"digits": "12#"}}))
            .await,
    );
    let participant = ParticipantId::new(id).unwrap();
    assert_eq!(
        room.played(),
        [
            Effect::StopPlay {
                audience: Audience::Everybody,
                which: StopPlay::All
            },
            Effect::StopPlay {
                audience: one(id),
                which: StopPlay::Current
            },
            Effect::SendDigits {
                participant,
                digits: "12#".parse().unwrap()
            },
        ]
    );
    room.put(&path, json!({"action": "dtmf", "data": {"digits": "x"}}))
        .await
        .breaks("digits", "pattern");
}

#[tokio::test]
async fn plays_that_wait_have_a_bound() {
    let room = Room::new().await;
    room.join("1").await;
    let body = json!({"action": "play", "data": {"media_id": TONE}});
    for _ in 0..12 {
        is_taken(&room.put("", body.clone()).await);
    }
    room.put("", body).await.is_error(429, "too_many_requests");
}
