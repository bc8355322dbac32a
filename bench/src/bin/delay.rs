//! The delay bench: from the sending of a talker's packet to the arrival of the packet in which a listener hears it, through the real
//! server over loopback. README.md says how it is measured.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use confab_bench::delay::{Heard, Hit, loop_of, period, place, punctual, quantile};
use confab_testkit::agent::{Joining, Phone};
use confab_testkit::codec::{Codec, OpusEncoding};
use confab_testkit::rtp::{CaptureMode, EngineConfig, RtpEngine, Source};
use confab_testkit::server::{ConferenceControl, Metrics, Server, ServerBuilder};
use serde_json::json;

const PTIME_NS: u64 = 20_000_000;
/// Half a millisecond: 40 phases of sending within a packet's time.
const QUANTUM: Duration = Duration::from_micros(500);
const PHASES: usize = 40;
/// A packet of the generator that left later than this after its time does not count.
const SLACK_NS: u64 = 1_000_000;
/// A side that is later than this was stopped: the server takes it for jitter, and waits longer for a while.
const STALL_NS: u64 = 5_000_000;
const RECOVERY_NS: u64 = 10_000_000_000;
const SETTLE: Duration = Duration::from_secs(4);
const GENERATOR_CORE: usize = 0;
const SHARD_CORE: usize = 1;

/// Measures the delay through the real server.
#[derive(Parser)]
struct Arguments {
    /// The server's release binary.
    #[arg(long, default_value = "target/release/confab")]
    server: PathBuf,
    /// Length of each measurement in seconds, at most 290.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..=290))]
    seconds: u64,
    /// Participants of each room.
    #[arg(long, default_value_t = 100)]
    participants: usize,
    /// Only rooms whose name contains this.
    #[arg(long, default_value = "")]
    room: String,
    /// Leaves threads on whichever cores they are.
    #[arg(long)]
    unpinned: bool,
}

/// One measured room.
struct Room {
    name: &'static str,
    talkers: Codec,
    /// One packet of so many is lost on its way to the server.
    loses_one_in: u16,
    listeners: &'static [Codec],
}

const ROOMS: [Room; 3] = [
    Room {
        name: "all PCMU",
        talkers: Codec::Pcmu,
        loses_one_in: 0,
        listeners: &[Codec::Pcmu],
    },
    Room {
        name: "PCMU and an Opus listener",
        talkers: Codec::Pcmu,
        loses_one_in: 0,
        listeners: &[Codec::Pcmu, Codec::Opus],
    },
    Room {
        name: "Opus talkers with FEC, 5 % lost",
        talkers: Codec::Opus,
        loses_one_in: 20,
        listeners: &[Codec::Pcmu, Codec::Opus],
    },
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(
        arguments.participants > PHASES + 2,
        "at least {} participants",
        PHASES + 3
    );
    println!(
        "| room | listener | marks heard | delay p50 / p99 ms | left out, as the generator was late | without a stall in the 10 s before: marks, p50 / p99 ms | frames too late, of all |"
    );
    println!("|---|---|---|---|---|---|---|");
    for room in ROOMS.iter().filter(|room| room.name.contains(&arguments.room)) {
        measure(&arguments, room).with_context(|| room.name.to_owned())?;
    }
    Ok(())
}

fn measure(arguments: &Arguments, room: &Room) -> Result<()> {
    let mut server = ServerBuilder::new(&arguments.server)
        .set("media.shards", "1")
        .set("log.level", "\"warn\"")
        .start()?;
    let engine = RtpEngine::start(EngineConfig {
        quantum: QUANTUM,
        core: (!arguments.unpinned).then_some(GENERATOR_CORE),
        ..EngineConfig::default()
    })?;
    if !arguments.unpinned {
        pin_shard(&server)?;
    }
    let phone = Phone::udp(server.sip)?;
    let document = json!({"conference_numbers": ["7000"], "member": {"join_muted": false}});
    ConferenceControl::create(server.api()?, document).context("creating the conference")?;
    let join = |codec| Joining::with(codec).join(&phone, &engine, "7000");
    // The engine deals out phases in the order in which streams open.
    let talkers = (0..PHASES)
        .map(|_| join(room.talkers))
        .collect::<Result<Vec<_>, _>>()?;
    let listeners = room
        .listeners
        .iter()
        .map(|codec| join(*codec))
        .collect::<Result<Vec<_>, _>>()?;
    let others = arguments
        .participants
        .saturating_sub(talkers.len() + listeners.len());
    let silent: Vec<_> = (0..others).map(|_| join(Codec::Pcmu)).collect::<Result<_, _>>()?;
    for participant in listeners.iter().chain(&silent) {
        let codec = participant.remote.codec().unwrap_or(Codec::Pcmu);
        participant.stream.set_source(Some(Source::silence(codec)));
    }
    let mut sources: Vec<Source> = (0..PHASES).map(|talker| talk(talker, room)).collect();
    for listener in &listeners {
        listener.stream.set_capture(CaptureMode::Full);
    }
    for (talker, source) in talkers.iter().zip(sources.drain(..)) {
        talker.stream.set_losing(room.loses_one_in);
        talker.stream.log_sends();
        talker.stream.set_source(Some(source));
    }
    std::thread::sleep(SETTLE);
    let before = server.metrics()?;
    let lateness = engine.lateness();
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    let after = server.metrics()?;
    let lateness = engine.lateness().since(&lateness);
    let sends: Vec<Vec<(u16, u64)>> = talkers.iter().map(|talker| talker.stream.take_sends()).collect();
    std::thread::sleep(Duration::from_millis(300));
    for (listener, codec) in listeners.iter().zip(room.listeners) {
        let heard = Heard::new(&listener.stream.take_capture(), *codec);
        report(room, *codec, &heard, &sends, &frames(&before, &after));
    }
    println!(
        "\ngenerator late p99 {} µs, p99.9 {} µs; under SCHED_FIFO: generator {}, shards {} of {}\n",
        lateness.quantile_us(0.99),
        lateness.quantile_us(0.999),
        engine.is_real_time(),
        after.sum("confab_shards_realtime").unwrap_or(f64::NAN),
        after.sum("confab_shards").unwrap_or(f64::NAN),
    );
    for participant in talkers.iter().chain(&listeners).chain(&silent) {
        participant.call.send_bye()?;
    }
    server.stop(Duration::from_secs(10))?;
    Ok(())
}

fn talk(talker: usize, room: &Room) -> Source {
    let samples = loop_of(talker, PHASES, room.talkers);
    Source::samples(room.talkers, &samples, true).opus(OpusEncoding {
        fec: true,
        loss_percent: 10,
        ..OpusEncoding::default()
    })
}

/// Keeps the media threads of the server off the generator's core.
fn pin_shard(server: &Server) -> io::Result<()> {
    for entry in std::fs::read_dir(format!("/proc/{}/task", server.id()))? {
        let path = entry?.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let thread = path.file_name().unwrap_or_default();
        if name.starts_with("confab-media") {
            Command::new("taskset")
                .args(["-pc", &SHARD_CORE.to_string()])
                .arg(thread)
                .stdout(Stdio::null())
                .status()?;
        }
    }
    Ok(())
}

/// Packets received, and those of them that came too late to be heard.
fn frames(before: &Metrics, after: &Metrics) -> (f64, f64) {
    let gain = |name: &str, label: &str, value: &str| {
        after.labelled(name, label, value) - before.labelled(name, label, value)
    };
    (
        gain("confab_rtp_packets_total", "direction", "in"),
        gain("confab_rtp_dropped_total", "reason", "late"),
    )
}

fn report(room: &Room, codec: Codec, heard: &Heard, sends: &[Vec<(u16, u64)>], frames: &(f64, f64)) {
    let (mut hits, mut left_out) = (Vec::<Hit>::new(), 0);
    let mut stalls: Vec<u64> = Vec::new();
    for (talker, sends) in sends.iter().enumerate() {
        let in_time = punctual(sends, PTIME_NS, SLACK_NS);
        let stalled = punctual(sends, PTIME_NS, STALL_NS);
        let late = sends.iter().zip(stalled).filter(|(_, in_time)| !in_time);
        stalls.extend(late.map(|((_, sent_ns), _)| *sent_ns));
        // The first loop opens gates and starts playout.
        for index in (place(talker)..sends.len()).step_by(period(PHASES)).skip(1) {
            match heard.find(talker, sends[index].1) {
                Some(_) if !in_time[index] => left_out += 1,
                Some(hit) => hits.push(hit),
                None => {}
            }
        }
    }
    let is_stalled = |hit: &&Hit| hit.gap_ns > PTIME_NS + STALL_NS;
    stalls.extend(hits.iter().filter(is_stalled).map(|hit| hit.at_ns));
    stalls.sort_unstable();
    let is_calm = |hit: &&Hit| {
        let before = stalls.partition_point(|stall_ns| *stall_ns <= hit.at_ns);
        before
            .checked_sub(1)
            .is_none_or(|index| hit.at_ns - stalls[index] > RECOVERY_NS)
    };
    let mut all: Vec<f64> = hits.iter().map(|hit| hit.delay_ms).collect();
    let mut calm: Vec<f64> = hits.iter().filter(is_calm).map(|hit| hit.delay_ms).collect();
    println!(
        "| {} | {codec:?} | {} | {:.1} / {:.1} | {left_out} | {}, {:.1} / {:.1} | {} of {} |",
        room.name,
        all.len(),
        quantile(&mut all, 0.5),
        quantile(&mut all, 0.99),
        calm.len(),
        quantile(&mut calm, 0.5),
        quantile(&mut calm, 0.99),
        frames.1,
        frames.0,
    );
}
