//! Recordings of the real server that nothing can spoil: it is killed at random moments, its disk refuses.
//!
//! `CONFAB_KILLS=100` kills it a hundred times, and has each file opened by ffprobe and sox too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use confab_recording::{Audio, ImportLimits, import};
use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter::tone_dbfs;
use confab_testkit::random::SeededRandom;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, TempDir, exclusive};
use serde_json::{Value, json};

/// Signal that ends a process at once.
const SIGKILL: i32 = 9;

/// What a file may lack at its end.
const LACKS: Duration = Duration::from_millis(200);

fn start(data: &Path) -> Server {
    let data = format!("{:?}", data.display().to_string());
    let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .without_data_dir()
        .set("data_dir", &data)
        .set("recording.announce", "false");
    builder.start().expect("started")
}

fn account(client: &HttpClient, method: &str, path: &str, body: Option<&Value>) -> Value {
    let answer = client.account(method, path, body).expect("answered");
    assert!(answer.status < 300, "{method} {path}: {}", answer.text());
    answer.json()["data"].take()
}

fn record(client: &HttpClient, conference: &str, data: &Value) {
    let body = json!({"data": {"action": "record", "data": data}});
    account(client, "PUT", &format!("/conferences/{conference}"), Some(&body));
}

/// Waits until there are so many recordings, and returns them, the newest first.
fn listed(client: &HttpClient, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let list = account(client, "GET", "/recordings", None);
        let list = list.as_array().expect("a list");
        if list.len() == count {
            return list.clone();
        }
        assert!(Instant::now() < deadline, "{list:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The folders of all recordings.
fn folders(data: &Path) -> Vec<PathBuf> {
    let inside = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    inside(data.join("recordings"))
        .into_iter()
        .flat_map(inside)
        .collect()
}

fn play(path: &Path) -> Audio {
    let bytes = std::fs::read(path).expect("a file");
    let length = u32::from_le_bytes(*bytes[40..].first_chunk().expect("a head")) as usize;
    assert!(
        44 + length <= bytes.len(),
        "{} tells more than it has",
        path.display()
    );
    import(&bytes, ImportLimits::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Has other programs read a file, and returns how long it is by them.
fn judge(path: &Path) -> Vec<f64> {
    let path = path.to_str().expect("text");
    let sox = Command::new("soxi").args(["-D", path]).output();
    let ffprobe = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "format=duration",
            "-of",
            "csv=p=0",
            path,
        ])
        .output();
    [sox, ffprobe]
        .into_iter()
        .map(|output| {
            let output = output.expect("soxi and ffprobe are installed");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && errors.is_empty(), "{path}: {errors}");
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .expect("seconds")
        })
        .collect()
}

#[test]
fn a_server_that_is_killed_leaves_recordings_that_play() {
    let _alone = exclusive();
    let kills: usize = std::env::var("CONFAB_KILLS").map_or(3, |kills| kills.parse().expect("a number"));
    let data = TempDir::new("recordings").expect("a folder");
    let mut random = SeededRandom::new(7);
    let mut known = Vec::new();
    for kill in 0..kills {
        let mut server = start(data.path());
        let client = server.api().expect("a login");
        for recording in listed(&client, known.len()) {
            let id = recording["id"].as_str().expect("an id");
            let told = recording["duration_ms"].as_u64().expect("a duration");
            let (_, least) = known.iter().find(|(known, _)| known == id).expect("one of ours");
            assert!(
                recording["interrupted"] == true && told >= *least,
                "{recording} is to have {least} ms"
            );
        }
        let conference = server.first_conference().expect("the API").id().to_owned();
        let phone = Phone::udp(server.sip).expect("a phone");
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        let participants: Vec<_> = (0..20)
            .map(|index| {
                let source = Source::tone(Law::Mu, f64::from(400 + 100 * index), -36.0);
                let name = format!("p{index}");
                Participant::join_as(&phone, &engine, "3000", Some(source), &name, &name).expect("joined")
            })
            .collect();
        let control = server.first_conference().expect("the API");
        let are_in = |list: &[Value]| list.len() == participants.len();
        control
            .wait_participants(Duration::from_secs(10), are_in)
            .expect("all are in");
        record(
            &client,
            &conference,
            &json!({"action": "start", "tracks": kill % 2 == 1}),
        );
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(random.below(3000)));
        let lasted = began.elapsed();
        server.signal(SIGKILL).expect("killed");
        server.wait_exit(Duration::from_secs(5)).expect("gone");
        drop(participants);
        let new: Vec<_> = folders(data.path())
            .into_iter()
            .filter(|folder| known.iter().all(|(id, _)| !folder.ends_with(id)))
            .collect();
        let [folder] = &new[..] else { panic!("{new:?}") };
        let least = lasted.saturating_sub(LACKS);
        for entry in std::fs::read_dir(folder).expect("readable").flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "wav") {
                continue;
            }
            if path.ends_with("mix.wav") && least > Duration::ZERO {
                let audio = play(&path);
                let plays =
                    Duration::from_millis(audio.samples.len() as u64 * 1000 / u64::from(audio.rate_hz));
                assert!(plays >= least, "{plays:?} of {lasted:?}");
            }
            if kills > 3 {
                judge(&path);
            }
        }
        let id = folder.file_name().expect("a name").to_string_lossy().into_owned();
        known.push((id, least.as_millis() as u64));
    }
    let server = start(data.path());
    let client = server.api().expect("a login");
    for recording in listed(&client, known.len()) {
        let id = recording["id"].as_str().expect("an id");
        let document = account(&client, "GET", &format!("/recordings/{id}"), None);
        for file in document["recording"]["files"].as_array().expect("files") {
            let name = file["name"].as_str().expect("a name");
            let folder = folders(data.path())
                .into_iter()
                .find(|folder| folder.ends_with(id));
            let path = folder.expect("its folder").join(name);
            let told = file["duration_ms"].as_u64().expect("a duration");
            if told > 0 {
                assert_eq!(play(&path).samples.len() as u64 / 16, told, "{name}");
            }
        }
    }
}

#[test]
fn a_recording_that_cannot_be_begun_is_refused_and_one_that_cannot_be_written_goes_on() {
    let _alone = exclusive();
    let data = TempDir::new("refusing").expect("a folder");
    let server = start(data.path());
    let client = server.api().expect("a login");
    let conference = server.first_conference().expect("the API").id().to_owned();
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let source = Some(Source::tone(Law::Mu, 1000.0, -20.0));
    let _ann = Participant::join_as(&phone, &engine, "3000", source, "ann", "ann").expect("joined");
    let control = server.first_conference().expect("the API");
    let is_in = |list: &[Value]| list.len() == 1;
    control
        .wait_participants(Duration::from_secs(5), is_in)
        .expect("he is in");
    let path = format!("/conferences/{conference}");
    let ask = |what: &str| {
        let body = json!({"data": {"action": "record", "data": {"action": what}}});
        client.account("PUT", &path, Some(&body)).expect("answered")
    };
    // A file is where the folder should be.
    std::fs::write(data.path().join("recordings"), "").expect("written");
    let refused = ask("start");
    assert_eq!(
        (refused.status, refused.json()["message"].as_str()),
        (503, Some("recording_failed"))
    );
    assert_eq!(
        account(&client, "GET", &path, None)["_read_only"]["recording"],
        Value::Null
    );
    std::fs::remove_file(data.path().join("recordings")).expect("removed");
    assert_eq!(ask("start").status, 202);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(ask("stop").status, 202);
    let recording = &listed(&client, 1)[0];
    let id = recording["id"].as_str().expect("an id");
    let audio = play(&folders(data.path())[0].join("mix.wav"));
    let level = tone_dbfs(&audio.samples[8000..16_000], audio.rate_hz, 1000.0);
    assert!((level + 20.0).abs() < 1.0, "{level:.1} dBFS in {id}");
}
