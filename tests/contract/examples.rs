//! Every request line and every JSON example of the published API document, driven by curl with real ids in them. `examples.json` is
//! our transcription: what is sent where, what it answers, what it does.

use std::collections::BTreeMap;
use std::process::Command;

use confab_testkit::agent::Callee;
use confab_testkit::g711::Law;
use confab_testkit::in_time::in_time;
use confab_testkit::peers::require;
use confab_testkit::rtp::Source;
use serde_json::{Value, json};

use crate::ears::{assert_hearing, heard, lasts_ms};
use crate::fixture::{Caller, Room, SOON, is_success, number, site, soon};

const EXAMPLES: &str = include_str!("examples.json");
const NAMES: [&str; 3] = ["one", "two", "boss"];
const TONES_HZ: [f64; 3] = [700.0, 1100.0, 1700.0];
const MEDIA: &str = "tone_stream://%(400,0,440)";
const MEDIA_HZ: f64 = 440.0;

/// A conference with two members and a moderator, a tone each.
struct Scene {
    room: Room,
    callers: [Caller; 3],
}

impl Scene {
    fn open(with_tones: bool) -> Scene {
        let room = Room::new(json!({}));
        let numbers = [&room.number, &room.number, &room.moderators];
        let callers = [0, 1, 2].map(|at| {
            let source = if with_tones {
                Source::tone(Law::Mu, TONES_HZ[at], -20.0)
            } else {
                Source::silence(Law::Mu)
            };
            room.join(numbers[at], NAMES[at], source)
        });
        Scene { room, callers }
    }

    fn caller(&self, name: &str) -> &Caller {
        &self.callers[NAMES
            .iter()
            .position(|known| *known == name)
            .expect("one of them")]
    }

    /// Puts real ids into a text.
    fn fill(&self, text: &str) -> String {
        let text = text.replace("{ONE}", &self.callers[0].id.to_string());
        text.replace("{TWO}", &self.callers[1].id.to_string())
            .replace("{MEDIA}", MEDIA)
    }

    /// Sends one request as the document does: by curl, without a content type of its own.
    fn put(&self, below: &str, body: &Value) -> (u16, Value) {
        // Ids of participants are numbers in the document's examples.
        let body = body
            .to_string()
            .replace("\"{ONE}\"", "{ONE}")
            .replace("\"{TWO}\"", "{TWO}");
        self.curl(
            &format!("{}{}", self.room.path, self.fill(below)),
            &self.fill(&body),
        )
    }

    fn curl(&self, path: &str, body: &str) -> (u16, Value) {
        let site = self.room.site;
        let url = format!("http://{}{}", site.server.http, site.url(path));
        let output = Command::new("curl")
            .args(["-v", "-X", "PUT", "-d", body])
            .args([
                "-H",
                &format!("X-Auth-Token: {}", site.api.token().expect("logged in")),
            ])
            .args(["-s", "-w", "\n%{http_code}", &url])
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (text, status) = said.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
        (
            status.parse().expect("a status"),
            serde_json::from_str(text).expect("JSON"),
        )
    }

    /// Sends the example's request and checks what it answers.
    fn act(&self, example: &Value) {
        let path = example["path"].as_str().expect("a path");
        let (status, envelope) = self.put(path, &example["body"]);
        assert_eq!(status, 202, "{example}: {envelope}");
        assert_eq!(envelope["status"], "success", "{envelope}");
        assert_eq!(envelope["data"], example["answers"], "{envelope}");
        for key in ["auth_token", "node", "request_id", "timestamp", "version"] {
            assert!(envelope[key].is_string(), "{key}: {envelope}");
        }
    }

    fn names(list: &Value) -> Vec<&str> {
        let items = list.as_array().expect("a list").iter();
        items.map(|item| item.as_str().expect("a name")).collect()
    }

    /// Does what the example says and checks what becomes of it.
    fn drive(&self, example: &Value) {
        for before in example["before"].as_array().into_iter().flatten() {
            let (status, envelope) = self.put(before[0].as_str().expect("a path"), &before[1]);
            assert_eq!(status, 202, "{envelope}");
        }
        let effect = &example["effect"];
        if effect.get("dials").is_some() {
            return self.dials(example);
        }
        if let Some(heard_by) = effect.get("heard_by") {
            return self.assert_heard(example, &Scene::names(heard_by));
        }
        self.act(example);
        if let Some(locked) = effect.get("locked") {
            assert_eq!(&self.room.live()["is_locked"], locked);
        } else if let Some(flag) = effect["flag"].as_str() {
            for (name, expected) in effect["of"].as_object().expect("names") {
                let shown = self.room.participant(self.caller(name));
                assert_eq!(&shown[flag], expected, "{name}: {example}");
            }
        } else if let Some(gone) = effect.get("gone") {
            let gone = Scene::names(gone);
            for name in &gone {
                let call = &self.caller(name).participant.call;
                call.wait_request("BYE", SOON).expect("a BYE");
            }
            let left = NAMES.len() - gone.len();
            soon("the end of the others", || {
                (self.room.participants().len() == left).then_some(())
            });
        } else {
            let tones = effect["tones"].as_object().expect("an effect that is known");
            let expected: BTreeMap<&str, [bool; 3]> = tones
                .iter()
                .map(|(listener, talkers)| {
                    let talkers = Scene::names(talkers);
                    (listener.as_str(), NAMES.map(|name| talkers.contains(&name)))
                })
                .collect();
            let rows: Vec<&[bool]> = NAMES.iter().map(|name| &expected[name][..]).collect();
            let callers: Vec<&Caller> = self.callers.iter().collect();
            assert_hearing(&self.room, &callers, &TONES_HZ, &rows);
        }
    }

    /// Does a dial of the document whose endpoints all answer, and checks its response, who has joined and how.
    fn dials(&self, example: &Value) {
        let effect = &example["effect"];
        let expected = effect["dials"].as_u64().expect("a number") as usize;
        let phone = Callee::new().expect("a phone");
        let device = |name: &str, more: Value| {
            let mut data = json!({"name": name, "sip": {"invite_format": "route", "route": phone.uri(name)}});
            if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
                data.extend(more);
            }
            site().make("devices", data)["id"]
                .as_str()
                .expect("an id")
                .to_owned()
        };
        let user = site().make("users", json!({"first_name": "A", "last_name": "B"}))["id"].clone();
        device("of-user", json!({"owner_id": user}));
        let number = number();
        device(
            "of-number",
            json!({"caller_id": {"internal": {"number": number}}}),
        );
        let body = example["body"]
            .to_string()
            .replace("{DEVICE}", &device("by-id", json!({})))
            .replace("{USER}", user.as_str().expect("an id"))
            .replace("{NUMBER}", &number)
            .replace("{URI}", phone.uri("by-uri").trim_start_matches("sip:"));
        let path = match effect["makes"].as_str() {
            Some(name) => format!("/conferences/{name}"),
            None => self.room.path.clone(),
        };
        let (answer, _streams) = std::thread::scope(|scope| {
            let answering = scope.spawn(|| {
                let join = |_| {
                    let call = phone.wait_call(SOON).expect("an INVITE");
                    let from = call.invite.header("From").expect("From");
                    assert!(from.starts_with("\"Conference XYZ\" <sip:5551212@"), "{from}");
                    call.join(&self.room.engine, Source::silence(Law::Mu))
                        .expect("an ACK")
                };
                (0..expected).map(join).collect::<Vec<_>>()
            });
            (self.curl(&path, &body), answering.join().expect("all answer"))
        });
        let (status, envelope) = answer;
        assert_eq!(
            (status, &envelope["status"]),
            (202, &json!("success")),
            "{envelope}"
        );
        let entries = envelope["data"]["endpoint_responses"]
            .as_array()
            .expect("entries");
        assert_eq!(entries.len(), expected, "{envelope}");
        let listed = is_success(&site().get(&format!("{path}/participants")), 200);
        for entry in entries {
            assert_eq!(entry["status"], "success", "{envelope}");
            let call_id = entry["call_id"].as_str().expect("a call id");
            assert_eq!(entry["message"], format!("dial resulted in call id {call_id}"));
            assert!(
                entry["job_id"].is_string() && body.contains(entry["endpoint_id"].as_str().expect("an id"))
            );
            let all = listed.as_array().expect("a list");
            let he = all
                .iter()
                .find(|one| one["call_id"] == call_id)
                .expect("he has joined");
            for (key, value) in effect["shows"].as_object().into_iter().flatten() {
                assert_eq!(&he[key], value, "{key}");
            }
        }
    }

    /// Asserts that these, and no others, hear the medium once while the example is done.
    fn assert_heard(&self, example: &Value, heard_by: &[&str]) {
        let callers: Vec<&Caller> = self.callers.iter().collect();
        in_time(&self.room.site.server, &self.room.engine, || {
            let samples = heard(&callers, 900, || self.act(example));
            let lasted = samples.iter().map(|samples| lasts_ms(samples, MEDIA_HZ));
            let wrong: Vec<String> = NAMES
                .iter()
                .zip(lasted)
                .filter(|(name, lasted)| {
                    let expected = if heard_by.contains(name) { 400 } else { 0 };
                    lasted.abs_diff(expected) > 40
                })
                .map(|(name, lasted)| format!("{name} hears it for {lasted} ms"))
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        });
    }
}

fn examples() -> Vec<Value> {
    serde_json::from_str(EXAMPLES).expect("the examples are JSON")
}

/// The issues that have still to build what some examples do.
const OPEN_ISSUES: [u64; 1] = [7];

#[test]
fn examples_of_the_document_do_what_it_says() {
    require("curl").expect("installed");
    let (mut driven, mut waiting) = (0, Vec::new());
    for example in examples() {
        println!("{}", example["example"]);
        if let Some(issue) = example["waits_for_issue"].as_u64() {
            assert!(OPEN_ISSUES.contains(&issue), "{example}");
            waiting.push(format!("{} (issue {issue})", example["example"]));
        } else if let Some(document) = example.get("document") {
            stores(document);
            driven += 1;
        } else {
            let with_tones = example["effect"].get("tones").is_some();
            Scene::open(with_tones).drive(&example);
            driven += 1;
        }
    }
    println!("{driven} examples driven; waiting: {}", waiting.join(", "));
    assert!(driven >= 20);
}

/// Asserts that a document is taken, comes back as it was, is listed as the document shows, and can be sent back whole.
fn stores(document: &Value) {
    let mut sent = document.clone();
    sent.as_object_mut().expect("an object").shift_remove("id");
    let path = site().conference(sent.clone());
    let read = is_success(&site().get(&path), 200);
    for (key, value) in sent.as_object().expect("an object") {
        assert_eq!(&read[key], value, "{key}");
    }
    for key in ["members", "admins", "duration", "is_locked", "participants"] {
        assert!(!read["_read_only"][key].is_null(), "{key}: {read}");
    }
    let back = is_success(&site().ask("POST", &path, &json!({"data": read})), 200);
    assert_eq!(back["member"], read["member"]);
    let list = is_success(&site().get("/conferences?paginate=false"), 200);
    let item = list
        .as_array()
        .expect("a list")
        .iter()
        .find(|item| item["id"] == read["id"]);
    let item = item.expect("it is listed");
    for key in [
        "id",
        "member",
        "moderator",
        "members",
        "admins",
        "duration",
        "is_locked",
    ] {
        assert!(!item[key].is_null(), "{key}: {item}");
    }
}

#[test]
fn examples_of_a_running_conference_have_the_documents_shape() {
    let scene = Scene::open(false);
    let read = is_success(&site().get(&scene.room.path), 200);
    let live = &read["_read_only"];
    assert_eq!(
        (&live["members"], &live["admins"], &live["is_locked"]),
        (&json!(2), &json!(1), &json!(false))
    );
    let participant = &live["participants"][0];
    for (key, kind) in [
        ("call_id", "text"),
        ("conference_name", "text"),
        ("conference_uuid", "text"),
        ("switch_hostname", "text"),
        ("floor", "flag"),
        ("hear", "flag"),
        ("speak", "flag"),
        ("talking", "flag"),
        ("mute_detect", "flag"),
        ("participant_id", "number"),
        ("energy_level", "number"),
        ("current_energy", "number"),
        ("video", "flag"),
        ("is_moderator", "flag"),
        ("join_time", "number"),
        ("duration", "number"),
    ] {
        let value = &participant[key];
        let fits = match kind {
            "text" => value.as_str().is_some_and(|text| !text.is_empty()),
            "flag" => value.is_boolean(),
            _ => value.is_u64(),
        };
        assert!(fits, "{key}: {participant}");
    }
}
