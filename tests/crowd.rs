//! A crowd comes at once: those inside hear one tone after the other, never two together, and not one for each; and who is told how
//! many there are hears that and nothing over it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use confab_dsp::{Resampler, ResamplerTable, ToneGenerator, ToneScript};
use confab_prompts::built_in;
use confab_recording::{ImportLimits, import};
use confab_testkit::agent::{Participant, Phone};
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{rms_dbfs, tone_dbfs};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine};
use confab_testkit::server::{ConferenceControl, Metrics, Server, ServerBuilder, exclusive};
use confab_testkit::timeline::{Heard, KnownSound, Recording};
use serde_json::json;

const CROWD: usize = 48;
/// Threads that place calls.
const AT_ONCE: usize = 8;
/// 20 ms at 8 kHz.
const WINDOW: usize = 160;
/// Length of the default entry tone.
const TONE: Duration = Duration::from_millis(1100);

#[test]
fn a_crowd_is_told_by_few_tones_that_do_not_overlap() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .with_tones()
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let ann = Participant::join(&phone, &engine, "3000", None).expect("joined");
    let listen = |milliseconds| {
        thread::sleep(Duration::from_millis(milliseconds));
        ann.stream.take_capture().samples()
    };
    in_time(&server, &engine, || {
        // One alone, to know how loud a tone is.
        ann.stream.set_capture(CaptureMode::Full);
        let bob = Participant::join(&phone, &engine, "3000", None).expect("joined");
        let one = loudest(&listen(1800));
        ann.stream.set_capture(CaptureMode::Full);
        let began = Instant::now();
        let crowd: Vec<Participant> = thread::scope(|scope| {
            let callers: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    scope.spawn(|| {
                        (0..CROWD / AT_ONCE)
                            .map(|_| Participant::join(&phone, &engine, "3000", None).expect("joined"))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let joined = callers
                .into_iter()
                .flat_map(|caller| caller.join().expect("calls"));
            joined.collect()
        });
        let took = began.elapsed();
        let heard = listen(3000);
        let (many, tones) = (loudest(&heard), tones(&heard));
        for participant in crowd.iter().chain([&bob]) {
            participant.leave().expect("left");
        }
        // What sounds when they go is over before the next attempt.
        thread::sleep(Duration::from_millis(3500));
        println!("{CROWD} joined in {took:?}: {tones} tones, {many:.1} dBFS against {one:.1}");
        let most = took.as_millis() / TONE.as_millis() + 2;
        let mut wrong = Vec::new();
        if (many - one).abs() > 1.0 {
            wrong.push(format!("tones overlap: {many:.1} dBFS against {one:.1}"));
        }
        if tones == 0 || tones as u128 > most {
            wrong.push(format!("{tones} tones within {took:?}"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
}

/// Callers of the large crowd, within so long.
const LARGE: usize = 200;
const WITHIN: Duration = Duration::from_secs(10);
/// Every so many of them is listened to.
const EVERY: usize = 25;
/// What a listener of G.711 may take, and what the decoded prompts do once, with what the allocator keeps of the decoding.
const BYTES_EACH: u64 = 100_000;
const BYTES_ONCE: u64 = 64_000_000;
/// Prompts begin and end with 40 ms of silence, and what plays is faded over 10 ms.
const EDGE_MS: usize = 120;

fn on_the_telephone(id: &str) -> Vec<i16> {
    let audio = import(
        built_in("en-us", id).expect("built in").audio,
        ImportLimits::default(),
    )
    .expect("decodes");
    let mut resampler = Resampler::new();
    resampler.set(ResamplerTable::get(audio.rate_hz, 8000).expect("a rate of prompts"));
    let mut samples = vec![0; audio.samples.len()];
    let mut written = 0;
    for block in audio.samples.chunks(160) {
        written += resampler.process(block, &mut samples[written..]);
    }
    samples.truncate(written);
    samples
}

fn entry_tone() -> KnownSound {
    let script = "tone_stream://v=-7;>=2;+=.1;%(300,0,523,659);v=-7;>=3;+=.1;%(800,0,659,783)";
    let mut generator = ToneGenerator::new(ToneScript::parse(script).expect("a script"), 8000);
    let mut samples = vec![0; 16_000];
    let written = generator.fill(&mut samples);
    samples.truncate(written);
    KnownSound::whole("tone", samples)
}

fn ticks(metrics: &Metrics) -> [f64; 3] {
    [
        "confab_ticks_total",
        "confab_ticks_late_total",
        "confab_ticks_skipped_total",
    ]
    .map(|name| metrics.sum(name).unwrap_or_default())
}

/// Returns the share of ticks that were late, in percent, and how many were skipped, since an earlier reading.
fn lateness(server: &Server, before: [f64; 3]) -> (f64, f64) {
    let now = ticks(&server.metrics().expect("metrics"));
    let [all, late, skipped] = [0, 1, 2].map(|at| now[at] - before[at]);
    (100.0 * late / all.max(1.0), skipped)
}

#[test]
fn two_hundred_within_ten_seconds_are_announced_in_few_tones_and_told_how_many_they_are() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let document = json!({
        "conference_numbers": ["7001"], "play_entry_tone": true, "member": {"join_muted": false},
        "profile": {"announce-count": 2},
    });
    let conference = ConferenceControl::create(server.api().expect("a login"), document).expect("created");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let sounds = [
        entry_tone(),
        KnownSound::new("there are", on_the_telephone("conf-there_are")),
        KnownSound::new("callers", on_the_telephone("conf-callers")),
    ];
    let ann = Participant::join(&phone, &engine, "7001", None).expect("joined");
    in_time(&server, &engine, || {
        let listen = |who: &Participant| {
            let recording = Recording::new(8000, who.stream.take_capture().samples());
            let mut heard: Vec<Heard> = sounds.iter().flat_map(|sound| recording.find(sound)).collect();
            heard.sort_by_key(|heard| heard.at_ms);
            heard
        };
        let (memory, before) = (
            server.usage().expect("usage"),
            ticks(&server.metrics().expect("metrics")),
        );
        thread::sleep(Duration::from_secs(3));
        let (late_before, _) = lateness(&server, before);
        ann.stream.set_capture(CaptureMode::Full);
        let (before, began, next) = (
            ticks(&server.metrics().expect("metrics")),
            Instant::now(),
            AtomicUsize::new(0),
        );
        let crowd: Vec<Participant> = thread::scope(|scope| {
            let call = || {
                let mut joined = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= LARGE {
                        return joined;
                    }
                    let due = began + WITHIN * number as u32 / LARGE as u32;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let caller = Participant::join(&phone, &engine, "7001", None).expect("joined");
                    if number.is_multiple_of(EVERY) {
                        caller.stream.set_capture(CaptureMode::Full);
                    }
                    joined.push((number, caller));
                }
            };
            let callers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(call)).collect();
            let mut joined: Vec<_> = callers
                .into_iter()
                .flat_map(|caller| caller.join().expect("calls"))
                .collect();
            joined.sort_by_key(|(number, _)| *number);
            joined.into_iter().map(|(_, caller)| caller).collect()
        });
        let took = began.elapsed();
        thread::sleep(Duration::from_secs(5));
        let (late, skipped) = lateness(&server, before);
        let grown = server
            .usage()
            .expect("usage")
            .resident_bytes
            .saturating_sub(memory.resident_bytes);
        let inside = conference.participants().expect("listed").len();
        let by_ann = listen(&ann);
        let by_others: Vec<Vec<Heard>> = crowd.iter().step_by(EVERY).map(listen).collect();
        for participant in &crowd {
            participant.leave().expect("left");
        }
        conference
            .wait_participants(Duration::from_secs(20), |list| list.len() == 1)
            .expect("alone");
        println!(
            "{LARGE} joined in {took:.1?}: {} tones; {late:.2} % of ticks late ({late_before:.2} % before), {skipped} skipped; {} MB more, {} KB each",
            by_ann.len(),
            grown / 1_000_000,
            grown / 1000 / LARGE as u64
        );
        let mut wrong = Vec::new();
        if inside != LARGE + 1 {
            wrong.push(format!("{inside} are inside"));
        }
        let most = took.as_millis() / TONE.as_millis() + 2;
        if by_ann.is_empty() || by_ann.len() as u128 > most || by_ann.iter().any(|heard| heard.name != "tone")
        {
            wrong.push(format!("Ann hears {by_ann:?}"));
        }
        if grown > BYTES_EACH * LARGE as u64 + BYTES_ONCE {
            wrong.push(format!("{grown} bytes more"));
        }
        for heard in by_others.iter().chain([&by_ann]) {
            let apart = heard
                .windows(2)
                .all(|pair| pair[1].at_ms + EDGE_MS >= pair[0].until_ms);
            let level = heard.iter().all(|heard| heard.gain_db.abs() < 1.0);
            if !apart || !level {
                wrong.push(format!("one over another: {heard:?}"));
            }
        }
        for heard in &by_others {
            let told: Vec<&str> = heard
                .iter()
                .map(|heard| heard.name.as_str())
                .filter(|name| *name != "tone")
                .collect();
            // Soon, while the number is still about right: behind one announcement at most.
            let first = heard
                .iter()
                .find(|heard| heard.name == "there are")
                .map_or(usize::MAX, |heard| heard.at_ms);
            if told != ["there are", "callers"] || first > 3000 {
                wrong.push(format!("one is told {heard:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
}

/// Returns the level of the loudest window.
fn loudest(samples: &[i16]) -> f64 {
    samples.chunks_exact(WINDOW).map(rms_dbfs).fold(-120.0, f64::max)
}

/// Returns how often the first chord of the tone begins.
fn tones(samples: &[i16]) -> usize {
    let heard: Vec<bool> = samples
        .chunks_exact(WINDOW)
        .map(|window| tone_dbfs(window, 8000, 523.0) > -26.0)
        .collect();
    // The chord is there in 300 ms: a gap of a window is none.
    heard
        .windows(3)
        .filter(|windows| !windows[0] && windows[1] && windows[2])
        .count()
}
