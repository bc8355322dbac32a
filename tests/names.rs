//! Callers who say their names before they join, on a server of their own: what they hear, what the others hear of them, and that nothing is
//! left of those who hang up meanwhile.

use std::thread::sleep;
use std::time::{Duration, Instant};

use confab_dsp::{Resampler, ResamplerTable};
use confab_prompts::built_in;
use confab_recording::{ImportLimits, import};
use confab_testkit::agent::{Joining, Participant, Phone};
use confab_testkit::codec::Codec;
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{Match, find, tone_dbfs};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, Server, ServerBuilder};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(20);

/// The tone after which one speaks.
const BEEP_HZ: f64 = 440.0;

struct House {
    conference: ConferenceControl,
    phone: Phone,
    engine: RtpEngine,
    server: Server,
}

impl House {
    /// A server with a conference that says names, and one that does not ask again.
    fn new(configuration: &Value) -> House {
        let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .start()
            .expect("started");
        let api = server.api().expect("a login");
        let answer = api
            .account(
                "PATCH",
                "/configs/conferences",
                Some(&json!({ "data": configuration })),
            )
            .expect("answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let document = json!({
            "conference_numbers": ["7001"], "play_name": true, "pin_timeout": 1000, "profile": {"rate": 16000},
            "member": {"join_muted": false},
            "play_entry_tone": "%(200,0,1500)", "play_exit_tone": "%(200,0,1700)",
        });
        House {
            conference: ConferenceControl::create(api, document).expect("created"),
            phone: Phone::udp(server.sip).expect("a phone"),
            engine: RtpEngine::start(EngineConfig::default()).expect("an engine"),
            server,
        }
    }

    fn dial(&self, codec: Codec) -> Participant {
        let joining = Joining::with(codec).sends(Source::silence(codec));
        let caller = joining.join(&self.phone, &self.engine, "7001").expect("answered");
        caller.stream.set_capture(CaptureMode::Full);
        caller
    }

    fn has(&self, participants: usize) {
        self.conference
            .wait_participants(WAIT, |list| list.len() == participants)
            .expect("in time");
    }

    /// Lets somebody in who says nothing.
    fn silent(&self) -> Participant {
        let caller = self.dial(Codec::Pcmu);
        after_the_beep(&caller);
        caller.types("5").expect("sent");
        caller
    }
}

/// Waits until the tone was heard and is over; breaks what comes before it off.
fn after_the_beep(caller: &Participant) {
    sleep(Duration::from_millis(300));
    caller.types("5").expect("sent");
    let began = Instant::now();
    let (mut has_begun, mut heard) = (false, Vec::new());
    loop {
        assert!(began.elapsed() < WAIT, "no tone");
        sleep(Duration::from_millis(20));
        heard.extend(caller.stream.take_capture().samples());
        let last = &heard[heard.len().saturating_sub(800)..];
        let sounds = last.len() == 800 && tone_dbfs(last, 8000, BEEP_HZ) > -30.0;
        if has_begun && !sounds {
            return;
        }
        has_begun |= sounds;
    }
}

/// What a built-in prompt sounds like at a rate.
fn prompt(language: &str, id: &str, rate_hz: u32) -> Vec<i16> {
    let audio = import(
        built_in(language, id).expect("built in").audio,
        ImportLimits::default(),
    )
    .expect("decodes");
    let mut resampler = Resampler::new();
    resampler.set(ResamplerTable::get(audio.rate_hz, rate_hz).expect("a rate of prompts"));
    let mut samples = vec![0; audio.samples.len() * 4];
    let mut written = 0;
    for block in audio.samples.chunks(160) {
        written += resampler.process(block, &mut samples[written..]);
    }
    samples.truncate(written);
    samples
}

/// A name to be said: the beginning of something, so that nobody waits long for its end.
fn name(id: &str, rate_hz: u32) -> Vec<i16> {
    let mut samples = prompt("de-de", id, rate_hz);
    samples.truncate(rate_hz as usize * 14 / 10);
    samples
}

/// Lets somebody speak, who is silent afterwards.
fn says(caller: &Participant, codec: Codec, samples: &[i16], rate_hz: usize) {
    caller
        .stream
        .set_source(Some(Source::samples(codec, samples, false)));
    sleep(Duration::from_millis(
        (samples.len() * 1000 / rate_hz + 250) as u64,
    ));
    caller.stream.set_source(Some(Source::silence(codec)));
}

/// Finds something heard at a telephone, of whatever loudness.
fn heard(what: &str, sound: &[i16], at: &[i16], least: f64) -> Result<Match, String> {
    // The beginning may have been trimmed, or come before the phone listened.
    let found = find(&sound[1600..sound.len().min(9600)], at).ok_or_else(|| format!("{what}: silence"))?;
    println!("{what}: {found:?}");
    if found.correlation > least {
        Ok(found)
    } else {
        Err(format!("{what}: {found:?}"))
    }
}

/// Checks an announcement: tone, name, what is said behind it.
fn announced(heard_at: &[i16], tone_hz: f64, name: &[i16], said: &str) -> Result<(), Vec<String>> {
    let tone = heard_at
        .chunks_exact(160)
        .position(|window| tone_dbfs(window, 8000, tone_hz) > -30.0)
        .map(|window| window * 160);
    let name = heard("name", name, heard_at, 0.9);
    let behind = heard(said, &prompt("en-us", said, 8000), heard_at, 0.9);
    match (tone, name, behind) {
        (Some(tone), Ok(name), Ok(behind)) if tone < name.offset && name.offset < behind.offset => Ok(()),
        wrong => Err(vec![format!("{wrong:?}")]),
    }
}

#[test]
fn a_name_is_recorded_and_the_others_hear_it_when_its_owner_comes_and_goes() {
    let _alone = confab_testkit::server::exclusive();
    let house = House::new(&json!({}));
    let ann = house.silent();
    house.has(1);
    // Wideband, so that what narrowband phones hear was converted.
    let (spoken, name) = (name("conf-alone", 16_000), name("conf-alone", 8000));
    in_time(&house.server, &house.engine, || {
        let bob = house.dial(Codec::G722);
        bob.stream.set_capture(CaptureMode::Count);
        sleep(Duration::from_millis(300));
        bob.types("5").expect("sent");
        sleep(Duration::from_millis(1000));
        says(&bob, Codec::G722, &spoken, 16_000);
        let lasts = Duration::from_millis((spoken.len() / 16 + 3000) as u64);
        let _before = ann.stream.take_capture();
        bob.types("5").expect("sent");
        house.has(2);
        sleep(lasts);
        let came = ann.stream.take_capture().samples();
        bob.leave().expect("left");
        house.has(1);
        sleep(lasts);
        let went = ann.stream.take_capture().samples();
        let came = announced(&came, 1500.0, &name, "conf-has_joined");
        came.and(announced(&went, 1700.0, &name, "conf-has_left"))
    });
}

#[test]
fn a_name_is_heard_again_and_may_be_said_again_where_the_account_says_so() {
    let _alone = confab_testkit::server::exclusive();
    let house = House::new(&json!({"review_name": true}));
    let ann = house.silent();
    house.has(1);
    let [wrong, right] = ["conf-kicked", "conf-ending"].map(|id| name(id, 8000));
    in_time(&house.server, &house.engine, || {
        let bob = house.dial(Codec::Pcmu);
        let mut findings = Vec::new();
        for (name, key) in [(&wrong, "2"), (&right, "1")] {
            after_the_beep(&bob);
            says(&bob, Codec::Pcmu, name, 8000);
            let _before = bob.stream.take_capture();
            let _before = ann.stream.take_capture();
            bob.types("#").expect("sent");
            let review = prompt("en-us", "conf-your_announcement", 8000).len() + name.len();
            sleep(Duration::from_millis((review / 8 + 800) as u64));
            findings.extend(heard("review", name, &bob.stream.take_capture().samples(), 0.95).err());
            bob.types(key).expect("sent");
        }
        house.has(2);
        sleep(Duration::from_millis((right.len() / 8 + 3000) as u64));
        let came = ann.stream.take_capture().samples();
        findings.extend(
            announced(&came, 1500.0, &right, "conf-has_joined")
                .err()
                .into_iter()
                .flatten(),
        );
        if heard("the first try", &wrong, &came, 0.9).is_ok() {
            findings.push("what was not accepted is heard".to_owned());
        }
        bob.leave().expect("left");
        house.has(1);
        if findings.is_empty() {
            return Ok(());
        }
        // Before the next attempt he has gone for all ears.
        sleep(Duration::from_millis((right.len() / 8 + 3000) as u64));
        Err(findings)
    });
}

#[test]
fn who_says_nothing_or_hangs_up_leaves_no_name() {
    let house = House::new(&json!({"review_name": true}));
    let metrics = || house.server.metrics().expect("metrics");
    let failed = metrics().sum("confab_plays_failed_total");
    // While he is asked, while he hears the tone, while he speaks, and while he hears himself.
    house.dial(Codec::Pcmu).leave().expect("left");
    let caller = house.dial(Codec::Pcmu);
    sleep(Duration::from_millis(300));
    caller.types("5").expect("sent");
    sleep(Duration::from_millis(200));
    caller.leave().expect("left");
    for reviews in [false, true] {
        let caller = house.dial(Codec::Pcmu);
        after_the_beep(&caller);
        says(&caller, Codec::Pcmu, &name("conf-alone", 8000), 8000);
        if reviews {
            caller.types("5").expect("sent");
            sleep(Duration::from_millis(600));
        }
        caller.leave().expect("left");
    }
    for gauge in [
        "confab_calls",
        "confab_legs",
        "confab_mixers",
        "confab_conferences",
        "confab_ports_in_use",
    ] {
        let left = house
            .server
            .wait_metrics(WAIT, |metrics| metrics.sum(gauge) == Some(0.0));
        left.unwrap_or_else(|metrics| panic!("{gauge}: {:?}", metrics.sum(gauge)));
    }
    // Who says nothing joins without a name, when a key says so, or after a while.
    let ann = house.silent();
    house.has(1);
    in_time(&house.server, &house.engine, || {
        let bob = house.dial(Codec::Pcma);
        after_the_beep(&bob);
        let began = Instant::now();
        let _before = ann.stream.take_capture();
        house.has(2);
        let waited = began.elapsed();
        assert!(waited > Duration::from_secs(6), "he had {waited:?} to begin");
        sleep(Duration::from_millis(4000));
        let said = ann.stream.take_capture().samples();
        bob.leave().expect("left");
        house.has(1);
        let somebody = prompt("en-us", "conf-someone_joined", 8000);
        heard("somebody", &somebody, &said, 0.9).map_err(|wrong| vec![wrong])
    });
    assert_eq!(metrics().sum("confab_tap_blocks_dropped_total"), Some(0.0));
    assert_eq!(metrics().sum("confab_plays_failed_total"), failed);
}
