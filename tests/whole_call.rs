//! One caller's whole way, by ear: a real baresip is welcomed, types a wrong and the right PIN, is alone, hears music, is joined, mutes
//! himself and is left. What it recorded is compared with the files of `media/` and the default tones: which sound, in which order,
//! how loud, none over another, and silence where silence belongs.

use std::time::Duration;

use confab_dsp::{Resampler, ResamplerTable, ToneGenerator, ToneScript};
use confab_prompts::{built_in, music};
use confab_recording::{ImportLimits, import};
use confab_testkit::agent::{Joining, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter::rms_dbfs;
use confab_testkit::peers::{Baresip, BaresipConfig};
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, Server, ServerBuilder, exclusive};
use confab_testkit::timeline::{Heard, KnownSound, Recording};
use serde_json::json;

const RATE: u32 = 8000;
const WAIT: Duration = Duration::from_secs(20);
/// How much longer than a sound lasts the caller listens: the machine may stall meanwhile.
const PATIENCE: Duration = Duration::from_millis(800);
/// How far a sound may be from its own level, dB, coded as PCMU.
const LEVEL_DB: f64 = 1.0;
/// What is left of a sound at its edges, ms: prompts begin and end with 40 ms of silence, and what plays is faded over 10 ms.
const EDGE_MS: usize = 120;
/// Comfort noise of the default level is some −60 dBFS.
const QUIET_DBFS: f64 = -50.0;
const ENTRY: &str = "v=-7;>=2;+=.1;%(300,0,523,659);v=-7;>=3;+=.1;%(800,0,659,783)";
const EXIT: &str = "v=-7;>=2;+=.1;%(300,0,523,440);v=-7;>=3;+=.1;%(800,0,349,440)";
/// A stall may tear a whole sound; three calls in a row it does not.
const ATTEMPTS: usize = 3;
/// Music that has to be heard, ms.
const MUSIC_MS: usize = 2400;

/// What a file sounds like on a telephone.
fn on_the_telephone(file: &[u8]) -> Vec<i16> {
    let audio = import(file, ImportLimits::default()).expect("decodes");
    let mut resampler = Resampler::new();
    resampler.set(ResamplerTable::get(audio.rate_hz, RATE).expect("a rate of prompts"));
    let mut samples = vec![0; audio.samples.len()];
    let mut written = 0;
    for block in audio.samples.chunks(160) {
        written += resampler.process(block, &mut samples[written..]);
    }
    samples.truncate(written);
    samples
}

fn prompt(id: &str) -> KnownSound {
    let file = built_in("en-us", id).expect("built in").audio;
    KnownSound::new(id, on_the_telephone(file))
}

fn hold_music() -> KnownSound {
    let mut samples = on_the_telephone(music("default").expect("built in").audio);
    // Its very beginning is soft and may be lost while the call goes from one mix to the other.
    samples.drain(..RATE as usize / 2);
    samples.truncate(MUSIC_MS * RATE as usize / 1000);
    KnownSound::new("music", samples)
}

fn tone(name: &str, script: &str) -> KnownSound {
    let script = ToneScript::parse(&format!("tone_stream://{script}")).expect("a script");
    let mut generator = ToneGenerator::new(script, RATE);
    let mut samples = vec![0; 2 * RATE as usize];
    let written = generator.fill(&mut samples);
    samples.truncate(written);
    KnownSound::whole(name, samples)
}

/// The sounds of the whole call in the order in which they are heard; music is heard until something takes its place.
const ORDER: [&str; 12] = [
    "conf-welcome",
    "conf-enter_conf_pin",
    "conf-bad_pin",
    "conf-enter_conf_pin",
    "conf-joining_conference",
    "conf-alone",
    "music",
    "entry tone",
    "conf-muted",
    "exit tone",
    "conf-alone",
    "music",
];

struct Ears(Vec<KnownSound>);

impl Ears {
    fn new() -> Self {
        let ids = [
            "conf-welcome",
            "conf-enter_conf_pin",
            "conf-bad_pin",
            "conf-joining_conference",
            "conf-alone",
            "conf-muted",
        ];
        let mut sounds: Vec<KnownSound> = ids.into_iter().map(prompt).collect();
        sounds.extend([hold_music(), tone("entry tone", ENTRY), tone("exit tone", EXIT)]);
        Self(sounds)
    }

    /// Returns everything that is heard, by time.
    fn listen(&self, recording: &Recording) -> Vec<Heard> {
        let mut heard: Vec<Heard> = self.0.iter().flat_map(|sound| recording.find(sound)).collect();
        heard.sort_by_key(|heard| heard.at_ms);
        heard
    }
}

/// Compares what was heard with what should have been.
fn judge(recording: &Recording, heard: &[Heard]) -> Vec<String> {
    let mut wrong = Vec::new();
    let names: Vec<&str> = heard.iter().map(|heard| heard.name.as_str()).collect();
    if names != ORDER {
        wrong.push(format!("heard {names:?}"));
    }
    for heard in heard.iter().filter(|heard| heard.gain_db.abs() > LEVEL_DB) {
        wrong.push(format!("{} is {:+.1} dB", heard.name, heard.gain_db));
    }
    for pair in heard.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        let name = format!("{} and {}", one.name, next.name);
        if next.at_ms + EDGE_MS < one.until_ms {
            wrong.push(format!("{name} overlap: {} and {} ms", one.until_ms, next.at_ms));
        }
        let between = recording.between(one.until_ms + EDGE_MS, next.at_ms.saturating_sub(EDGE_MS));
        let level = rms_dbfs(between);
        if one.name != "music" && next.name != "music" && between.len() > 800 && level > QUIET_DBFS {
            wrong.push(format!("{level:.0} dBFS between {name}"));
        }
    }
    wrong
}

fn length(id: &str) -> Duration {
    let samples = on_the_telephone(built_in("en-us", id).expect("built in").audio).len();
    Duration::from_millis(samples as u64 * 1000 / u64::from(RATE))
}

#[test]
fn a_caller_hears_what_he_should_when_he_should_from_the_welcome_to_the_last_tone() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let document = json!({
        "member": {"numbers": ["7001"], "pins": ["4711"], "join_muted": false, "play_entry_prompt": true},
        "moderator": {"numbers": ["7002"], "play_entry_prompt": false},
        "play_welcome": true, "play_entry_tone": true, "play_exit_tone": true,
        // Nobody is hurried: the machine may stall while keys are on their way.
        "pin_timeout": 20_000, "profile_name": "default", "caller_controls": "default",
    });
    let conference = ConferenceControl::create(server.api().expect("a login"), document).expect("created");
    let ears = Ears::new();
    for attempt in 1..=ATTEMPTS {
        let recording = call(&server, &conference);
        let heard = ears.listen(&recording);
        for heard in &heard {
            println!(
                "{:>6} – {:>6} ms  {:+5.2} dB  {:>4.0} %  {}",
                heard.at_ms,
                heard.until_ms,
                heard.gain_db,
                heard.share * 100.0,
                heard.name
            );
        }
        let wrong = judge(&recording, &heard);
        if wrong.is_empty() {
            return misses_what_is_missing(&ears, &recording, &heard);
        }
        println!("attempt {attempt}: {wrong:?}");
    }
    panic!("not once as it should be");
}

/// The judge has to miss a sound that is taken out.
fn misses_what_is_missing(ears: &Ears, recording: &Recording, heard: &[Heard]) {
    for name in ["conf-muted", "exit tone"] {
        let missing = heard.iter().find(|heard| heard.name == name).expect("heard");
        let silenced = recording.without(missing.at_ms, missing.until_ms);
        let sound = ears.0.iter().find(|sound| sound.name() == name).expect("known");
        assert_eq!(silenced.find(sound), [], "{name}");
        let others: Vec<Heard> = heard.iter().filter(|heard| heard.name != name).cloned().collect();
        let wrong = judge(&silenced, &others);
        assert!(!wrong.is_empty(), "{name} was not missed");
    }
}

/// Makes the whole call and returns what the caller heard.
fn call(server: &Server, conference: &ConferenceControl) -> Recording {
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let phone = Phone::udp(server.sip).expect("a phone");
    let asked = length("conf-enter_conf_pin");
    let silence = vec![0; 180 * RATE as usize];
    let listen = |time: Duration| std::thread::sleep(time + PATIENCE);
    let target = format!("sip:7001@{}", server.sip);
    let mut caller = Baresip::start(&BaresipConfig::new("caller", &target, silence)).expect("baresip");
    caller.wait_established(WAIT).expect("answered");
    listen(length("conf-welcome") + asked);
    caller.press("99#").expect("pressed");
    listen(length("conf-bad_pin") + asked);
    caller.press("4711#").expect("pressed");
    conference
        .wait_participants(WAIT, |list| list.len() == 1)
        .expect("inside");
    listen(length("conf-alone") + Duration::from_millis(MUSIC_MS as u64 + 500));
    let joining = Joining::default().sends(Source::silence(Law::Mu));
    let other = joining.join(&phone, &engine, "7002").expect("answered");
    conference
        .wait_participants(WAIT, |list| list.len() == 2)
        .expect("both");
    listen(Duration::from_millis(1100));
    let is_muted = |list: &[serde_json::Value]| list.iter().any(|caller| caller["speak"] == false);
    // A machine that stalls between the two keys makes two of them: half a second is all that they have.
    let mutes = |_| {
        caller.press("*1").expect("pressed");
        conference
            .wait_participants(Duration::from_secs(5), is_muted)
            .is_ok()
    };
    assert!((0..5).any(mutes), "he is not muted");
    listen(length("conf-muted"));
    other.leave().expect("left");
    conference
        .wait_participants(WAIT, |list| list.len() == 1)
        .expect("one");
    listen(Duration::from_millis(1100 + MUSIC_MS as u64 + 500) + length("conf-alone"));
    caller.hang_up().expect("ended");
    conference.wait_participants(WAIT, <[_]>::is_empty).expect("over");
    Recording::new(RATE, caller.heard().expect("recorded"))
}
