//! Recording a conference, and what becomes of the files.

use std::time::{Duration, Instant};

use confab_recording::{Audio, ImportLimits, import};
use confab_testkit::g711::Law;
use confab_testkit::meter::tone_dbfs;
use confab_testkit::rtp::Source;
use serde_json::{Value, json};

use crate::ears::{heard, lasts_ms};
use crate::fixture::{Room, breaks, is_error, is_success, soon};

const TONES_HZ: [u32; 3] = [599, 1103, 1861];

fn record(room: &Room, data: &Value) -> Value {
    let body = json!({"data": {"action": "record", "data": data}});
    is_success(&room.put("", &body), 202)
}

/// Returns the recordings of a room's conference, the newest first.
fn recordings(room: &Room) -> Vec<Value> {
    let id = room.path.rsplit('/').next().expect("an id");
    let path = format!("/recordings?filter_source_id={id}");
    let list = is_success(&room.site.get(&path), 200);
    list.as_array().expect("a list").clone()
}

/// Returns the only recording of a room's conference, with its document.
fn recorded(room: &Room) -> Value {
    let item = soon("the recording", || match &recordings(room)[..] {
        [] => None,
        [only] => Some(only.clone()),
        more => panic!("{more:?}"),
    });
    let path = format!("/recordings/{}", item["id"].as_str().expect("an id"));
    is_success(&room.site.get(&path), 200)
}

fn audio(room: &Room, path: &str) -> Audio {
    let answer = room
        .site
        .ask_with("GET", path, &[("Accept", "audio/wav")], &Value::Null);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("audio/wav"))
    );
    import(&answer.body, ImportLimits::default()).expect("it can be played")
}

/// Returns how loud a tone is in the whole seconds of it.
fn level(audio: &Audio, hz: u32) -> f64 {
    let second = audio.rate_hz as usize;
    let last = audio.samples.chunks_exact(second).last().expect("a second");
    tone_dbfs(last, audio.rate_hz, f64::from(hz))
}

fn talkers(room: &Room) -> Vec<crate::fixture::Caller> {
    let each = TONES_HZ.iter().enumerate();
    each.map(|(at, &hz)| {
        let source = Source::tone(Law::Mu, f64::from(hz), -20.0);
        room.join(&room.number, &format!("talker{at}"), source)
    })
    .collect()
}

#[test]
fn line_089_a_recording_has_everybodys_voice() {
    let room = Room::new(json!({}));
    let _talkers = talkers(&room);
    let began = Instant::now();
    assert_eq!(record(&room, &json!({"action": "start"})), "starting recording");
    let id = room.live()["recording"]["id"].as_str().expect("an id").to_owned();
    // A second start changes nothing.
    record(&room, &json!({"action": "start"}));
    assert_eq!(room.live()["recording"]["id"], id);
    std::thread::sleep(Duration::from_millis(4500));
    assert_eq!(record(&room, &json!({"action": "stop"})), "stopping recording");
    let took = began.elapsed().as_millis() as u64;
    assert_eq!(room.live()["recording"], Value::Null);
    let document = recorded(&room);
    assert_eq!(document["id"], id);
    assert_eq!(document["media_source"], "recording");
    assert_eq!(document["source_type"], "conference");
    let conference = room.path.rsplit('/').next().expect("an id");
    assert_eq!(document["source_id"], conference);
    let name = document["name"].as_str().expect("a name");
    assert!(name.starts_with(&format!("conference_{conference}_")), "{name}");
    let audio = audio(&room, &format!("/media/{id}/raw"));
    assert_eq!(audio.rate_hz, 16_000);
    let told = document["recording"]["duration_ms"].as_u64().expect("a duration");
    assert_eq!(told, audio.samples.len() as u64 / 16);
    assert!((4400..=took).contains(&told), "{told} ms of {took}");
    for hz in TONES_HZ {
        let level = level(&audio, hz);
        assert!((level + 20.0).abs() < 1.5, "{hz} Hz at {level:.1} dBFS");
    }
}

#[test]
fn line_090_a_recording_is_started_or_stopped_nothing_else() {
    let room = Room::new(json!({}));
    let _caller = room.member("somebody");
    let refuse = |data: &Value| {
        let body = json!({"data": {"action": "record", "data": data}});
        is_error(&room.put("", &body), 400, "validation error")
    };
    let missing = refuse(&json!({}));
    let told = breaks(&missing, "data.action", "required");
    assert_eq!(told["message"], "recording requires an action");
    for wrong in [json!("begin"), json!(5), json!("START"), json!([])] {
        let told = breaks(&refuse(&json!({"action": wrong})), "data.action", "enum");
        assert_eq!(told["value"], wrong);
        let target = told["target"].as_array().expect("a list");
        assert!(
            target.contains(&json!("start")) && target.contains(&json!("stop")),
            "{told}"
        );
    }
    breaks(
        &refuse(&json!({"action": "start", "tracks": "some"})),
        "tracks",
        "type",
    );
    breaks(&refuse(&json!({"action": "pause"})), "data.action", "invalid");
    assert_eq!(room.live()["recording"], Value::Null);
    // Nothing to stop is no error.
    record(&room, &json!({"action": "stop"}));
}

#[test]
fn line_092_every_wrapping_of_a_record_is_understood() {
    let room = Room::new(json!({}));
    let _caller = room.member("somebody");
    type Wrap = fn(&str) -> (String, Value);
    let wrappings: [Wrap; 6] = [
        |what| {
            (
                String::new(),
                json!({"action": "record", "data": {"action": what}}),
            )
        },
        |what| {
            (
                String::new(),
                json!({"action": "record", "data": {"data": {"action": what}}}),
            )
        },
        |what| {
            (
                String::new(),
                json!({"data": {"action": "record", "data": {"action": what}}}),
            )
        },
        |what| {
            let data = json!({"action": what});
            (
                String::new(),
                json!({"action": "record", "data": {"action": "record", "data": data}}),
            )
        },
        |what| ("?action=record".to_owned(), json!({"data": {"action": what}})),
        |what| {
            (
                "?action=record".to_owned(),
                json!({"data": {"data": {"action": what}}}),
            )
        },
    ];
    for wrap in wrappings {
        for (what, did) in [("start", "starting recording"), ("stop", "stopping recording")] {
            let (query, body) = wrap(what);
            assert_eq!(is_success(&room.put(&query, &body), 202), did, "{body}");
            assert_eq!(room.live()["recording"].is_object(), what == "start", "{body}");
        }
    }
    soon("six recordings", || (recordings(&room).len() == 6).then_some(()));
}

#[test]
fn tracks_are_as_long_as_the_mix_and_have_a_voice_each() {
    let room = Room::new(json!({}));
    let talkers = talkers(&room);
    record(&room, &json!({"action": "start", "tracks": true}));
    std::thread::sleep(Duration::from_millis(4000));
    let guest = room.join(&room.number, "guest", Source::tone(Law::A, 2371.0, -20.0));
    std::thread::sleep(Duration::from_millis(500));
    is_success(&room.act_on(&guest, "kick"), 202);
    std::thread::sleep(Duration::from_millis(500));
    is_success(&room.act_on(&talkers[2], "mute"), 202);
    std::thread::sleep(Duration::from_millis(1500));
    record(&room, &json!({"action": "stop"}));
    let document = recorded(&room);
    let files = document["recording"]["files"].as_array().expect("files");
    let duration = &document["recording"]["duration_ms"];
    assert!(
        files.iter().all(|file| file["duration_ms"] == *duration),
        "{files:?}"
    );
    let path = |name: &str| {
        format!(
            "/recordings/{}/files/{name}",
            document["id"].as_str().expect("an id")
        )
    };
    let of = |id: u64| {
        let file = files
            .iter()
            .find(|file| file["participant_id"] == id)
            .expect("his file");
        audio(&room, &path(file["name"].as_str().expect("a name")))
    };
    for (at, talker) in talkers.iter().enumerate() {
        let track = of(talker.id);
        for (other, hz) in TONES_HZ.into_iter().enumerate() {
            let level = level(&track, hz);
            let heard = other == at && at != 2; // the third is muted at the end
            assert_eq!(
                level > -23.0,
                heard,
                "{hz} Hz at {level:.1} dBFS in the track of {at}"
            );
        }
    }
    let answer = room.site.get(&path("timeline.json"));
    let timeline = answer.json();
    let people = timeline["participants"].as_array().expect("participants");
    assert_eq!(people.len(), 4, "{timeline}");
    let guest = people
        .iter()
        .find(|who| who["number"] == "guest")
        .expect("he was there");
    assert!(guest["join_ms"].as_u64() > Some(3500) && guest["leave_ms"].as_u64() < duration.as_u64());
    let spurts = timeline["spurts"].as_array().expect("spurts");
    assert!(
        spurts
            .iter()
            .any(|spurt| spurt["participant_id"] == talkers[0].id),
        "{timeline}"
    );
    let events = timeline["events"].as_array().expect("events");
    assert!(
        events.iter().any(|event| event["event"] == "mute-member"),
        "{timeline}"
    );
}

#[test]
fn a_pause_is_left_out_and_who_is_deleted_is_gone() {
    let room = Room::new(json!({"record": true}));
    let began = Instant::now();
    let _caller = room.join(&room.number, "tone", Source::tone(Law::Mu, 1103.0, -20.0));
    soon("the recording", || {
        room.live()["recording"].is_object().then_some(())
    });
    std::thread::sleep(Duration::from_millis(1500));
    record(&room, &json!({"action": "pause"}));
    assert_eq!(room.live()["recording"]["paused"], true);
    std::thread::sleep(Duration::from_millis(3000));
    record(&room, &json!({"action": "resume"}));
    std::thread::sleep(Duration::from_millis(1000));
    is_success(&room.act("end"), 202);
    let document = recorded(&room);
    let told = document["recording"]["duration_ms"].as_u64().expect("a duration");
    // On a busy machine everything takes longer, but for what was paused.
    let took = began.elapsed().as_millis() as u64;
    assert!(told >= 2300 && told + 3000 <= took, "{told} ms of {took}");
    let id = document["id"].as_str().expect("an id");
    let raw = format!("/media/{id}/raw");
    let part = room
        .site
        .ask_with("GET", &raw, &[("Range", "bytes=0-3")], &Value::Null);
    assert_eq!((part.status, &part.body[..]), (206, &b"RIFF"[..]));
    is_success(
        &room
            .site
            .ask("DELETE", &format!("/recordings/{id}"), &Value::Null),
        200,
    );
    for path in [raw, format!("/media/{id}"), format!("/recordings/{id}")] {
        assert_eq!(room.site.get(&path).status, 404, "{path}");
    }
    assert_eq!(recordings(&room), Vec::<Value>::new());
}

#[test]
fn a_recording_is_played_by_its_id() {
    let room = Room::new(json!({}));
    let talker = room.join(&room.number, "talker", Source::tone(Law::Mu, 1103.0, -20.0));
    record(&room, &json!({"action": "start"}));
    std::thread::sleep(Duration::from_millis(3500));
    record(&room, &json!({"action": "stop"}));
    let document = recorded(&room);
    let listener = room.member("listener");
    is_success(&room.act_on(&talker, "kick"), 202);
    std::thread::sleep(Duration::from_millis(500));
    let heard = heard(&[&listener], 5000, || {
        let body = json!({"data": {"action": "play", "data": {"media_id": document["id"]}}});
        is_success(&room.put("", &body), 202);
    });
    // Behind what says that it begins.
    let lasts = lasts_ms(&heard[0], 1103.0);
    assert!(lasts > 1000, "heard for {lasts} ms");
}
