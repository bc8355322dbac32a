//! Sends audio through the real server, from one participant to another, over a path that loses and delays packets.
//!
//! Reads jobs as a JSON list from standard input and runs them side by side, each in a conference of its own; prints one JSON line per job.
//! `bench/quality/quality.py` makes the jobs and judges what was heard. A job:
//!
//! ```json
//! {"codec": "opus", "input": "in.raw", "output": "out.raw", "seed": 1, "loss": 0.05, "burst": 1, "jitter_ms": 0, "reorders": false,
//!  "fec_percent": 10, "bitrate_bps": 32000, "ptime_ms": 20}
//! ```
//!
//! `codec` is `pcmu`, `pcma`, `g722`, `opus` or `l16` (16 kHz). Files are mono samples of 16 bits, little-endian, at the codec's rate. Only
//! the first four keys are needed. The talker's packets pass the lossy path; those to the listener do not.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use confab_testkit::agent::{Joining, Participant, Phone};
use confab_testkit::codec::{Codec, Encoder, OpusEncoding};
use confab_testkit::netem::{Loss, NetworkPath, PathConfig};
use confab_testkit::rtp::{
    CaptureMode, EngineConfig, RtpEngine, RtpView, Source, monotonic_ns, request_real_time,
};
use confab_testkit::server::{ConferenceControl, ServerBuilder};
use serde_json::{Value, json};

/// What is still under way when the last packet was sent: playout, mixing, packets of the listener.
const TAIL: Duration = Duration::from_millis(800);
/// Below the server's own real-time priority, above everything else.
const PRIORITY: i32 = 5;
const FIRST_NUMBER: usize = 7000;

/// Sends audio through the real server over a path with losses and jitter.
#[derive(Parser)]
struct Arguments {
    /// The server's binary.
    #[arg(long, default_value = "target/release/confab")]
    server: PathBuf,
    /// A configuration key of the server and its TOML value, such as `media.max_delay_ms=300`; may be given several times.
    #[arg(long = "set", value_parser = |text: &str| {
        text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or("not KEY=VALUE")
    })]
    settings: Vec<(String, String)>,
}

struct Job {
    codec: Codec,
    input: PathBuf,
    output: PathBuf,
    seed: u64,
    path: PathConfig,
    opus: OpusEncoding,
    ptime_ms: u32,
}

impl Job {
    fn read(value: &Value) -> Result<Self> {
        let number = |key: &str, default: f64| value[key].as_f64().unwrap_or(default);
        let file = |key: &str| value[key].as_str().map(PathBuf::from).context(key.to_owned());
        let codec = match value["codec"].as_str() {
            Some("pcmu") => Codec::Pcmu,
            Some("pcma") => Codec::Pcma,
            Some("g722") => Codec::G722,
            Some("opus") => Codec::Opus,
            Some("l16") => Codec::L16(16_000),
            other => bail!("no such codec: {other:?}"),
        };
        let (loss, burst) = (number("loss", 0.0), number("burst", 1.0));
        let fec_percent = number("fec_percent", 0.0) as u8;
        let path = PathConfig {
            loss: if burst > 1.0 {
                Loss::bursts(loss, burst)
            } else {
                Loss::Uniform(loss)
            },
            jitter: Duration::from_micros((number("jitter_ms", 0.0) * 1000.0) as u64),
            jitter_reorders: value["reorders"] == true,
            ..PathConfig::default()
        };
        Ok(Self {
            codec,
            input: file("input")?,
            output: file("output")?,
            seed: number("seed", 1.0) as u64,
            path,
            opus: OpusEncoding {
                bitrate_bps: number("bitrate_bps", 0.0) as u32,
                fec: fec_percent > 0,
                loss_percent: fec_percent,
                dtx: false,
                ..OpusEncoding::default()
            },
            ptime_ms: number("ptime_ms", 20.0) as u32,
        })
    }
}

/// One packet and when it leaves the lossy path.
struct Departure {
    due: Duration,
    job: usize,
    datagram: Vec<u8>,
}

/// A job under way.
struct Run {
    job: Job,
    talker: Participant,
    listener: Participant,
    lost: u64,
    sent: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let jobs: Vec<Value> = serde_json::from_str(&text).context("standard input is no list of jobs")?;
    let jobs = jobs.iter().map(Job::read).collect::<Result<Vec<_>>>()?;

    let mut builder = ServerBuilder::new(&arguments.server);
    for (key, value) in &arguments.settings {
        builder = builder.set(key, value);
    }
    let server = builder.start().context("the server did not start")?;
    let phone = Phone::udp(server.sip)?;
    let engine = RtpEngine::start(EngineConfig::default())?;
    let mut departures = Vec::new();
    let mut runs = Vec::new();
    for (index, job) in jobs.into_iter().enumerate() {
        let number = (FIRST_NUMBER + index).to_string();
        let document = json!({
            "name": format!("pass {index}"), "conference_numbers": [number], "member": {"join_muted": false}
        });
        ConferenceControl::create(server.api()?, document)?;
        let run = enter(job, index, &phone, &engine, &number, &mut departures)?;
        runs.push(run);
    }
    departures.sort_by_key(|departure| departure.due);
    // The first thing a server hears of a stream is no measure of it.
    std::thread::sleep(Duration::from_millis(300));
    for run in &runs {
        run.listener.stream.set_capture(CaptureMode::Full);
    }
    let late = send(&departures, &runs)?;
    std::thread::sleep(TAIL);

    let metrics = server.metrics()?;
    let listening_late = engine.lateness();
    for run in &runs {
        let capture = run.listener.stream.take_capture();
        let heard = capture.samples_of(run.job.codec);
        ensure!(
            !heard.is_empty(),
            "{}: nothing was heard",
            run.job.input.display()
        );
        let bytes: Vec<u8> = heard.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(&run.job.output, bytes)?;
        let units = run.job.codec.rtp_clock_hz() * run.job.ptime_ms / 1000;
        let report = capture.sequence_report(units);
        println!(
            "{}",
            json!({
                "output": run.job.output, "sent": run.sent, "lost": run.lost, "heard_packets": report.received,
                "heard_missing": report.missing, "sender_worst_late_us": late.as_micros() as u64,
                "engine_worst_late_us": listening_late.max_us(),
                "skipped_ticks": metrics.sum("confab_ticks_skipped_total").unwrap_or(0.0),
            })
        );
        run.talker.leave()?;
        run.listener.leave()?;
    }
    Ok(())
}

/// Brings a talker and a listener into a conference and lists the talker's packets as they leave the lossy path.
fn enter(
    job: Job,
    index: usize,
    phone: &Phone,
    engine: &RtpEngine,
    number: &str,
    departures: &mut Vec<Departure>,
) -> Result<Run> {
    let octets = std::fs::read(&job.input).with_context(|| job.input.display().to_string())?;
    let (pairs, _) = octets.as_chunks::<2>();
    let pcm: Vec<i16> = pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
    let joining = || Joining::with(job.codec).ptime(job.ptime_ms);
    let listener = joining()
        .sends(Source::silence(job.codec))
        .join(phone, engine, number)?;
    let talker = joining().join(phone, engine, number)?;

    let mut encoder = Encoder::new(job.codec, job.ptime_ms, job.opus);
    let units = job.codec.rtp_clock_hz() * job.ptime_ms / 1000;
    let mut path = NetworkPath::new(job.path.clone(), job.seed);
    let start = Instant::now();
    // Each job at its own phase of a packet time.
    let phase = Duration::from_micros(index as u64 * 3700 % (u64::from(job.ptime_ms) * 1000));
    let mut sent_at = start + phase;
    for (number, samples) in pcm.chunks_exact(job.codec.samples_in(job.ptime_ms)).enumerate() {
        let mut datagram = Vec::new();
        RtpView {
            marker: number == 0,
            payload_type: job.codec.payload_type(),
            sequence: (number as u16).wrapping_add(1000),
            timestamp: (number as u32).wrapping_mul(units),
            ssrc: talker.stream.ssrc(),
            payload: &encoder.encode(samples),
        }
        .write(&mut datagram);
        path.send(sent_at, datagram);
        sent_at += Duration::from_millis(u64::from(job.ptime_ms));
    }
    while let Some(at) = path.next_at() {
        if let Some(datagram) = path.poll(at) {
            departures.push(Departure {
                due: at - start,
                job: index,
                datagram,
            });
        }
    }
    let counters = path.counters();
    Ok(Run {
        job,
        talker,
        listener,
        lost: counters.lost,
        sent: counters.sent,
    })
}

/// Sends everything when it is due; returns how late the worst packet was.
fn send(departures: &[Departure], runs: &[Run]) -> Result<Duration> {
    request_real_time(PRIORITY);
    let start_ns = monotonic_ns();
    let mut worst_ns = 0;
    for departure in departures {
        let due_ns = start_ns + departure.due.as_nanos() as u64;
        std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())));
        worst_ns = worst_ns.max(monotonic_ns().saturating_sub(due_ns));
        let talker = &runs[departure.job].talker;
        talker
            .stream
            .send_raw(&departure.datagram, talker.remote.address)?;
    }
    Ok(Duration::from_nanos(worst_ns))
}
