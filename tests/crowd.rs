//! A crowd comes at once: those inside hear one tone after the other, never two together, and not one for each.

use std::thread;
use std::time::{Duration, Instant};

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::in_time::in_time;
use confab_testkit::meter::{rms_dbfs, tone_dbfs};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine};
use confab_testkit::server::ServerBuilder;

const CROWD: usize = 48;
/// Threads that place calls.
const AT_ONCE: usize = 8;
/// 20 ms at 8 kHz.
const WINDOW: usize = 160;
/// Length of the default entry tone.
const TONE: Duration = Duration::from_millis(1100);

#[test]
fn a_crowd_is_told_by_few_tones_that_do_not_overlap() {
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
