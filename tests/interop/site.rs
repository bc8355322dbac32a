//! A server with a conference in which one is talking already, and the measures of what both sides hear.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, HttpAnswer, HttpClient, Server, ServerBuilder};
use serde_json::{Value, json};

/// How long anything may take on a loaded machine.
pub(crate) const WAIT: Duration = Duration::from_secs(15);
/// What Ann says, Hz.
pub(crate) const ANN_HZ: f64 = 700.0;
/// What the peers say, Hz.
pub(crate) const PEER_HZ: f64 = 1100.0;
/// How loud all say it, dBFS.
pub(crate) const LEVEL_DBFS: f64 = -20.0;
/// The realm of the account.
pub(crate) const REALM: &str = "phones.example";
/// The password of every device.
pub(crate) const PASSWORD: &str = "open-sesame";

/// A server whose first conference, 3000, Ann is in: she says [`ANN_HZ`].
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) api: HttpClient,
    pub(crate) conference: ConferenceControl,
    pub(crate) ann: Participant,
    _engine: RtpEngine,
    _phone: Phone,
}

impl Site {
    pub(crate) fn start() -> Site {
        Site::with(&[])
    }

    /// Starts it with settings of its own, each a key and a TOML value.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Site {
        let builder = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .set("bootstrap.realm", &format!("\"{REALM}\""))
            .set("log.level", "\"debug\"");
        let server = builder.set_all(settings).start().expect("started");
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        let phone = Phone::udp(server.sip).expect("a phone");
        let tone = Source::tone(Law::Mu, ANN_HZ, LEVEL_DBFS);
        let ann = Participant::join_as(&phone, &engine, "3000", Some(tone), "ann", "Ann").expect("joined");
        Site {
            api: server.api().expect("a login"),
            conference: server.first_conference().expect("the API"),
            ann,
            server,
            _engine: engine,
            _phone: phone,
        }
    }

    /// The number of the conference at the server's UDP address.
    pub(crate) fn target(&self) -> String {
        format!("sip:3000@{}", self.server.sip)
    }

    /// Makes a device that can register; returns its id.
    pub(crate) fn device(&self, user: &str) -> String {
        let data = json!({"name": user, "sip": {"username": user, "password": PASSWORD}});
        let answer = self
            .api
            .account("PUT", "/devices", Some(&json!({ "data": data })))
            .expect("answered");
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["data"]["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until a device is registered.
    pub(crate) fn wait_registered(&self, id: &str) {
        eventually("it registers", || {
            let answer = self
                .api
                .account("GET", "/devices/status", None)
                .expect("answered")
                .json();
            let listed = answer["data"].as_array().expect("a list");
            listed.iter().any(|item| item["device_id"] == *id)
        });
    }

    /// Dials one endpoint, beside the test; the answer comes with [`entry`].
    pub(crate) fn dial(&self, arguments: Value) -> JoinHandle<HttpAnswer> {
        let api = self.api.clone();
        let path = format!("/conferences/{}", self.conference.id());
        let body = json!({"action": "dial", "data": {"data": arguments}});
        std::thread::spawn(move || api.account("PUT", &path, Some(&body)).expect("answered"))
    }

    /// Waits until so many are in, Ann among them.
    pub(crate) fn wait_participants(&self, number: usize) {
        self.conference
            .wait_participants(WAIT, |list| list.len() == number)
            .unwrap_or_else(|error| panic!("{error}; {}", self.server.log()));
    }

    /// Ann hears the peer as loud as it says it.
    #[track_caller]
    pub(crate) fn ann_hears_the_peer(&self, who: &str) {
        const SECOND: usize = 8000;
        let mut level = f64::NEG_INFINITY;
        // Jitter buffers and levels settle first.
        for _ in 0..8 {
            self.ann.stream.set_capture(CaptureMode::Full);
            std::thread::sleep(Duration::from_millis(1400));
            let samples = self.ann.stream.take_capture().samples();
            assert!(samples.len() > SECOND, "{} samples", samples.len());
            level = meter::median_tone_dbfs(&samples[..SECOND], 8000, PEER_HZ);
            if (level - LEVEL_DBFS).abs() < 1.5 {
                println!("Ann hears {who} at {level:.1} dBFS");
                return;
            }
        }
        panic!("Ann hears {who} at {level:.1} dBFS\n{}", self.server.log());
    }

    /// Ann hears no peer.
    #[track_caller]
    pub(crate) fn ann_hears_nobody(&self) {
        self.ann.stream.set_capture(CaptureMode::Full);
        std::thread::sleep(Duration::from_millis(1200));
        let samples = self.ann.stream.take_capture().samples();
        let level = meter::tone_dbfs(&samples[samples.len() / 4..], 8000, PEER_HZ);
        assert!(level < LEVEL_DBFS - 40.0, "{level:.1} dBFS");
    }

    /// Ann leaves, and nothing is left of any call.
    #[track_caller]
    pub(crate) fn leaves_nothing(self) {
        self.ann.leave().expect("left");
        self.server
            .wait_idle(WAIT)
            .unwrap_or_else(|left| panic!("{left}"));
        let log = self.server.log();
        assert!(!log.contains("panicked") && !log.contains(PASSWORD), "{log}");
    }
}

/// The one entry of a dial's answer.
#[track_caller]
pub(crate) fn entry(dial: JoinHandle<HttpAnswer>) -> Value {
    let answer = dial.join().expect("no panic");
    assert_eq!(answer.status, 202, "{}", answer.text());
    let envelope = answer.json();
    let entries = envelope["data"]["endpoint_responses"]
        .as_array()
        .expect("entries");
    assert_eq!(entries.len(), 1, "{envelope}");
    entries[0].clone()
}

/// What a peer says for so many seconds.
pub(crate) fn speech(rate_hz: u32, seconds: usize) -> Vec<i16> {
    meter::sine(PEER_HZ, LEVEL_DBFS, rate_hz, 0, seconds * rate_hz as usize)
}

/// A peer has heard Ann as loud as she says it for a second at a stretch, and never itself.
#[track_caller]
pub(crate) fn the_peer_heard_ann(who: &str, heard: &[i16], rate_hz: u32) {
    let second = rate_hz as usize;
    let levels: Vec<f64> = heard
        .windows(second)
        .step_by(second / 4)
        .map(|window| meter::median_tone_dbfs(window, rate_hz, ANN_HZ))
        .collect();
    let best = levels
        .iter()
        .copied()
        .min_by(|a, b| (a - LEVEL_DBFS).abs().total_cmp(&(b - LEVEL_DBFS).abs()));
    println!("{who} hears Ann at {best:.1?} dBFS");
    assert!(
        best.is_some_and(|level| (level - LEVEL_DBFS).abs() < 1.5),
        "{who} hears Ann at {levels:.1?} dBFS"
    );
    let own = heard
        .windows(second)
        .step_by(second / 4)
        .map(|window| meter::median_tone_dbfs(window, rate_hz, PEER_HZ))
        .fold(f64::NEG_INFINITY, f64::max);
    assert!(own < LEVEL_DBFS - 25.0, "{who} hears itself at {own:.1} dBFS");
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
