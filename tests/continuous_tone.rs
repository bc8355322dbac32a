//! One continuous tone beside fifty other participants: what arrives is what was sent, sample by sample, without a gap.

use std::time::{Duration, Instant};

use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::meter::{self, Comparison};
use confab_testkit::rtp::{Capture, CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ServerBuilder, exclusive};

const OTHERS: usize = 50;
/// Repeats only every ten seconds, so that an inserted or missing frame cannot hide behind the period.
const TONE_HZ: f64 = 1003.7;

/// What is compared at a time. A virtual machine may stop both of its cores at once; a window in which packets were sent late and
/// something differs says nothing of the server and is not counted.
const WINDOW: Duration = Duration::from_secs(2);
/// For this long after a late packet a jitter buffer may rightly change its delay: first to wait for the next such, then back.
const AFTERMATH: Duration = Duration::from_secs(30);
/// How many windows may be tried for each that must be identical.
const PATIENCE: usize = 8;
/// Lateness of the sender, µs, that every playout margin covers.
const SENDER_LATENESS_US: u64 = 2_000;

/// What has to arrive identical: sixty seconds; ten minutes with `CONFAB_LONG=1`.
fn duration() -> Duration {
    Duration::from_secs(if std::env::var_os("CONFAB_LONG").is_some() {
        600
    } else {
        60
    })
}

#[test]
fn a_continuous_tone_beside_fifty_others_arrives_bit_by_bit() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let phone = Phone::udp(server.sip).expect("a phone");
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let others: Vec<_> = (0..OTHERS)
        .map(|_| Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu))).expect("joined"))
        .collect();
    let tone = Source::tone(Law::Mu, TONE_HZ, -20.0);
    let talker = Participant::join(&phone, &engine, "3000", Some(tone.clone())).expect("joined");

    // The start of the tone is faded in and the playout delay is still settling: the promise is about what follows.
    std::thread::sleep(Duration::from_secs(2));
    let mut run = Run {
        engine: &engine,
        others: &others,
        tone: &tone,
        late_at: None,
    };
    let needed = (duration().as_secs() / WINDOW.as_secs()) as usize;
    let (mut identical, mut tried) = (0, 0);
    while identical < needed && tried < needed * PATIENCE {
        tried += 1;
        match run.measure() {
            Outcome::Identical => identical += 1,
            Outcome::SentLate(what) => {
                println!("window {tried}: {what}; the sender itself was late, which does not count");
            }
        }
    }
    println!("{identical} of {tried} windows of {WINDOW:?} identical");
    assert_eq!(
        identical, needed,
        "in {tried} windows this machine did not let the sender keep its own schedule"
    );
    talker.leave().expect("left");
    others.iter().for_each(|other| other.leave().expect("left"));
}

/// A conference in full run.
struct Run<'a> {
    engine: &'a RtpEngine,
    others: &'a [Participant],
    tone: &'a Source,
    /// When a packet was last sent late.
    late_at: Option<Instant>,
}

enum Outcome {
    Identical,
    /// Something differs, and packets were sent later than a jitter buffer without jitter has to allow for.
    SentLate(String),
}

impl Run<'_> {
    /// Listens for one [`WINDOW`]. Panics when something differs although every packet was sent in time for a while.
    fn measure(&mut self) -> Outcome {
        let engine_before = self.engine.lateness();
        let listeners = [
            &self.others[0],
            &self.others[OTHERS / 2],
            &self.others[OTHERS - 1],
        ];
        listeners
            .iter()
            .for_each(|listener| listener.stream.set_capture(CaptureMode::Full));
        let missing = || {
            self.others
                .iter()
                .map(|other| other.stream.counts().missing)
                .sum::<u64>()
        };
        let missing_before = missing();
        let start = Instant::now();
        std::thread::sleep(WINDOW);
        let captures: Vec<Capture> = listeners
            .iter()
            .map(|listener| listener.stream.take_capture())
            .collect();
        let took = start.elapsed();
        let late = self.engine.lateness().since(&engine_before);
        if late.quantile_us(1.0) > SENDER_LATENESS_US {
            self.late_at = Some(Instant::now());
        }
        let sent: Vec<i16> = self.tone.decoded().repeat(took.as_secs() as usize / 10 + 2);
        let mut checks = captures.iter().map(|capture| check(capture, &sent, took));
        let missing = missing() - missing_before;
        let outcome = checks.find_map(Result::err).or_else(|| {
            (missing > 0).then(|| format!("{missing} packets missing at one of the {OTHERS} listeners"))
        });
        match outcome {
            None => Outcome::Identical,
            Some(what) if self.late_at.is_some_and(|at| at.elapsed() < AFTERMATH) => Outcome::SentLate(what),
            Some(what) => panic!("{what}"),
        }
    }
}

/// Says what differs, if anything.
fn check(capture: &Capture, sent: &[i16], took: Duration) -> Result<(), String> {
    let report = capture.sequence_report(160);
    if !report.is_continuous() {
        return Err(format!("{report:?}"));
    }
    let expected = took.as_millis() as i64 / 20;
    let packets = capture.packets().len() as i64;
    if (packets - expected).abs() > 3 {
        return Err(format!("{packets} packets in {took:?}"));
    }
    let samples = capture.samples();
    match meter::compare(sent, &samples, 800) {
        Comparison::Identical { compared, .. } if compared == samples.len() => Ok(()),
        Comparison::Identical { .. } => Err("the reference is too short".to_owned()),
        Comparison::Differs { at, differing, .. } => Err(format!(
            "sample {at} (packet {}, {:.1} s) is the first of {differing} that differ",
            at / 160,
            at as f64 / 8000.0
        )),
        Comparison::NotFound => Err(format!(
            "the first 100 ms heard stand nowhere in the tone: {:?}",
            &samples[..80]
        )),
    }
}
