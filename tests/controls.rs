//! What the API changes about who hears whom, how loud: relate, hold, volumes, threshold, with tones over real sockets. Each change is
//! measured in both directions, and from its HTTP answer to the first changed packet.

use std::time::Duration;

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter;
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source, monotonic_ns};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, exclusive};
use serde_json::{Value, json};

/// Everybody's tone: Ann, Bob, Cleo.
const TONES_HZ: [f64; 3] = [700.0, 1100.0, 1700.0];
const LEVEL_DBFS: f64 = -22.0;
const NAMES: [&str; 3] = ["ann", "bob", "cleo"];
/// Two intervals of 20 ms and 5 ms.
const EFFECT_BOUND_MS: f64 = 45.0;

/// Levels in dB relative to what was sent, as `heard[listener][talker]`; `None`: not heard.
type Hearing = [[Option<f64>; 3]; 3];

/// Everybody hears the others as they are.
const NORMAL: Hearing = [
    [None, Some(0.0), Some(0.0)],
    [Some(0.0), None, Some(0.0)],
    [Some(0.0), Some(0.0), None],
];

struct Room {
    server: Server,
    client: HttpClient,
    conference: String,
    participants: Vec<Participant>,
    ids: Vec<u64>,
    /// Send and receive as long as they live.
    _engine: RtpEngine,
    _phone: Phone,
}

impl Room {
    fn open() -> Room {
        let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .start()
            .expect("started");
        let phone = Phone::udp(server.sip).expect("a phone");
        let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
        let participants: Vec<_> = NAMES
            .iter()
            .zip(TONES_HZ)
            .map(|(name, tone)| {
                let source = Source::tone(Law::Mu, tone, LEVEL_DBFS);
                Participant::join_as(&phone, &engine, "3000", Some(source), name, name).expect("joined")
            })
            .collect();
        let control = server.first_conference().expect("the API");
        control
            .wait_participants(Duration::from_secs(5), |list| list.len() == 3)
            .expect("all are in");
        let ids = NAMES
            .iter()
            .map(|name| control.participant(name).expect("listed"))
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        Room {
            client: server.api().expect("a login"),
            conference: control.id().to_owned(),
            server,
            participants,
            ids,
            _engine: engine,
            _phone: phone,
        }
    }

    /// Sends one action and returns when it was answered.
    fn put(&self, path: &str, body: &Value) -> u64 {
        let path = format!("/conferences/{}{path}", self.conference);
        let answer = self
            .client
            .account("PUT", &path, Some(&json!({ "data": body })))
            .expect("answered");
        assert_eq!(answer.status, 202, "{body}: {}", answer.text());
        monotonic_ns() - answer.at.elapsed().as_nanos() as u64
    }

    fn act(&self, who: usize, action: &str, data: &Value) -> u64 {
        let body = json!({"action": action, "data": data});
        self.put(&format!("/participants/{}", self.ids[who]), &body)
    }

    fn relate(&self, who: usize, other: usize, relationship: &str) -> u64 {
        let data = json!({"participant_id": self.ids[who], "other_participant": self.ids[other], "relationship": relationship});
        self.put("/participants", &json!({"action": "relate", "data": data}))
    }

    /// Does something, waits until it has its full effect, and compares what everybody hears. Returns the time from the answer
    /// to the first packet in which any listener hears something else than before, in ms.
    fn after(&self, what: &str, expected: &Hearing, act: impl FnOnce(&Room) -> u64) -> Option<f64> {
        for participant in &self.participants {
            participant.stream.set_capture(CaptureMode::Full);
        }
        let before: Vec<_> = self.measure(200);
        let answered_ns = act(self);
        for participant in &self.participants {
            participant.stream.set_capture(CaptureMode::Full);
        }
        std::thread::sleep(Duration::from_millis(1000));
        let mut first_ns: Option<u64> = None;
        for (listener, participant) in self.participants.iter().enumerate() {
            let capture = participant.stream.take_capture();
            let changed = capture.packets().iter().find(|packet| {
                let samples = capture.decode(packet);
                (0..3).any(|talker| {
                    let level = meter::tone_dbfs(&samples, 8000, TONES_HZ[talker]);
                    (level.max(-50.0) - before[listener][talker].max(-50.0)).abs() > 4.0
                })
            });
            first_ns = changed
                .map(|packet| packet.arrival_ns)
                .into_iter()
                .chain(first_ns)
                .min();
        }
        // A machine that stalls takes a piece out of a tone; what is heard is what is heard without one.
        let deviations = (0..12)
            .map(|_| self.deviations(expected))
            .find(|found| found.is_empty());
        assert!(deviations.is_some(), "{what}: {:?}", self.deviations(expected));
        Some((first_ns? as f64 - answered_ns as f64) / 1e6)
    }

    /// Returns what is not heard as expected over the next 800 ms.
    fn deviations(&self, expected: &Hearing) -> Vec<String> {
        for participant in &self.participants {
            participant.stream.set_capture(CaptureMode::Full);
        }
        let heard = self.measure(800);
        let pairs = (0..3).flat_map(|listener| (0..3).map(move |talker| (listener, talker)));
        pairs
            .filter_map(|(listener, talker)| {
                let level = heard[listener][talker] - LEVEL_DBFS;
                let wanted = expected[listener][talker];
                let fits = wanted.map_or(level < -30.0, |relative| (level - relative).abs() < 1.0);
                let (listener, talker) = (NAMES[listener], NAMES[talker]);
                (!fits).then(|| format!("{listener} hears {talker} at {level:+.1} dB, not {wanted:?}"))
            })
            .collect()
    }

    /// Returns the levels of the tones at each listener over the next milliseconds.
    fn measure(&self, milliseconds: u64) -> Vec<[f64; 3]> {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.participants
            .iter()
            .map(|participant| {
                let samples = participant.stream.take_capture().samples();
                TONES_HZ.map(|tone| meter::median_tone_dbfs(&samples, 8000, tone))
            })
            .collect()
    }
}

/// What is heard when some pairs (listener, talker) are changed.
fn but(changes: &[(usize, usize, Option<f64>)]) -> Hearing {
    let mut hearing = NORMAL;
    for &(listener, talker, level) in changes {
        hearing[listener][talker] = level;
    }
    hearing
}

#[test]
fn every_control_changes_what_it_says_and_clears() {
    let _alone = exclusive();
    let room = Room::open();
    let (ann, bob, cleo) = (0, 1, 2);
    let gone = None;
    let mut delays = Vec::new();
    let mut step = |what: &str, expected: Hearing, act: &dyn Fn(&Room) -> u64| {
        delays.push((what.to_owned(), room.after(what, &expected, act)));
    };
    let none = json!({});
    step("relate mute", but(&[(bob, ann, gone)]), &|room| {
        room.relate(ann, bob, "mute")
    });
    step(
        "relate deaf too",
        but(&[(bob, ann, gone), (ann, cleo, gone)]),
        &|room| room.relate(ann, cleo, "deaf"),
    );
    step("clear of one pair", but(&[(ann, cleo, gone)]), &|room| {
        room.relate(ann, bob, "clear")
    });
    step("clear of the other", NORMAL, &|room| {
        room.relate(ann, cleo, "clear")
    });
    step("mute", but(&[(bob, ann, gone), (cleo, ann, gone)]), &|room| {
        room.act(ann, "mute", &none)
    });
    step("unmute", NORMAL, &|room| room.act(ann, "unmute", &none));
    step("deaf", but(&[(bob, ann, gone), (bob, cleo, gone)]), &|room| {
        room.act(bob, "deaf", &none)
    });
    step("undeaf", NORMAL, &|room| room.act(bob, "undeaf", &none));
    let held = but(&[
        (cleo, ann, gone),
        (cleo, bob, gone),
        (ann, cleo, gone),
        (bob, cleo, gone),
    ]);
    step("hold", held, &|room| room.act(cleo, "hold", &none));
    step("unhold", NORMAL, &|room| room.act(cleo, "unhold", &none));
    let quieter = but(&[(bob, ann, Some(-10.0)), (cleo, ann, Some(-10.0))]);
    step("volume_in", quieter, &|room| {
        room.act(ann, "volume_in", &json!({"db": -10}))
    });
    step("volume_in back", NORMAL, &|room| {
        room.act(ann, "volume_in", &json!({"level": 0}))
    });
    let louder = but(&[(bob, ann, Some(7.2)), (bob, cleo, Some(7.2))]);
    step("volume_out", louder, &|room| {
        room.act(bob, "volume_out", &json!({"level": 2}))
    });
    step("volume_out back", NORMAL, &|room| {
        room.act(bob, "volume_out", &json!({"db": 0}))
    });
    for (what, delay) in &delays {
        println!("{what}: first changed packet {delay:.1?} ms after the answer");
        let delay = delay.unwrap_or_else(|| panic!("{what} changed nothing"));
        assert!(delay <= EFFECT_BOUND_MS, "{what}: {delay:.1} ms");
    }
    // A threshold above his level closes his gate within the second that it takes to close.
    let shut = but(&[(bob, ann, gone), (cleo, ann, gone)]);
    room.after("energy", &shut, |room| {
        let answered = room.act(ann, "energy", &json!({"level": 1800}));
        std::thread::sleep(Duration::from_millis(1000));
        answered
    });
    room.after("energy back", &NORMAL, |room| {
        room.act(ann, "energy", &json!({"level": 20}))
    });
    assert!(!room.server.log().contains("panicked"), "{}", room.server.log());
}
