//! The load bench. `cargo run --release -p confab-bench --bin load -- --help` says what can be set.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use confab_bench::load::{
    Crowd, Machine, Row, Scenario, ServerCrowd, measure_generator, measure_server, print_report,
};
use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, Reflector, ReflectorPace, RtpEngine, Source};
use confab_testkit::server::{ProcessUsage, ServerBuilder};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Left to the crowd to settle before a window begins: playout delays, gates, caches.
const SETTLE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(5);

/// Puts real calls over loopback on the real server and measures what they cost.
#[derive(Parser)]
struct Arguments {
    /// The server's release binary.
    #[arg(long, default_value = "target/release/confab")]
    server: PathBuf,
    /// Conferences x participants : talkers in each; may be given several times.
    #[arg(long = "scenario", value_parser = |text: &str| Scenario::parse(text).ok_or("not ROOMSxPARTICIPANTS:TALKERS"))]
    scenarios: Vec<Scenario>,
    /// Length of a measured window in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Processor core that the generator keeps to.
    #[arg(long)]
    core: Option<usize>,
    /// Media threads of the server; 0 leaves it to the server.
    #[arg(long, default_value_t = 0)]
    shards: usize,
    /// Leaves the reflectors out.
    #[arg(long)]
    no_reflector: bool,
    /// Leaves the server out: what the machine and the generator do alone.
    #[arg(long)]
    no_server: bool,
    /// Runs as the reflector of this many calls, waking at each arrival. Used by the bench itself.
    #[arg(long, hide = true)]
    reflector: Option<usize>,
    /// Makes the reflector wake every 5 ms.
    #[arg(long, hide = true)]
    ticking: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(calls) = arguments.reflector {
        let pace = if arguments.ticking {
            ReflectorPace::Tick(TICK)
        } else {
            ReflectorPace::Arrival
        };
        return reflect(calls, pace);
    }
    let scenarios = if arguments.scenarios.is_empty() {
        vec![
            Scenario {
                rooms: 1,
                per_room: 1000,
                talkers: 3,
            },
            Scenario {
                rooms: 50,
                per_room: 20,
                talkers: 2,
            },
        ]
    } else {
        arguments.scenarios.clone()
    };
    if !arguments.no_server && !arguments.server.exists() {
        bail!(
            "{} is missing: cargo build --release builds it",
            arguments.server.display()
        );
    }
    let mut rows = Vec::new();
    for scenario in &scenarios {
        if !arguments.no_server {
            rows.push(against_server(&arguments, scenario)?);
        }
        if !arguments.no_reflector {
            rows.push(against_reflector(
                &arguments,
                scenario,
                "reflector, waking at each arrival",
                &[],
            )?);
            rows.push(against_reflector(
                &arguments,
                scenario,
                "reflector, waking every 5 ms",
                &["--ticking"],
            )?);
        }
    }
    print_report(&Machine::read(), &rows);
    Ok(())
}

fn engine(arguments: &Arguments) -> Result<RtpEngine> {
    let config = EngineConfig {
        threads: arguments.threads,
        core: arguments.core,
        ..EngineConfig::default()
    };
    RtpEngine::start(config).context("starting the generator")
}

fn against_server(arguments: &Arguments, scenario: &Scenario) -> Result<Row> {
    eprintln!("{scenario}: server");
    let mut server = ServerBuilder::new(&arguments.server)
        .set("media.shards", &arguments.shards.to_string())
        .set("log.level", "\"warn\"")
        .start()?;
    let engine = engine(arguments)?;
    let phone = Phone::udp(server.sip)?;
    let resident_before = server.usage()?.resident_bytes;
    // One call keeps a shard ticking: a server without calls sleeps.
    let alone = Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu)))?;
    let single = Crowd {
        streams: vec![alone.stream.clone()],
    };
    let (_, idle) = measure_server(
        &server,
        &single,
        &engine,
        Duration::from_secs(arguments.seconds.min(10)),
    )?;
    alone.leave()?;
    let inside = ServerCrowd::join(&server, &phone, &engine, scenario)?;
    eprintln!(
        "{scenario}: {} calls up at {:.0} calls/s",
        scenario.participants(),
        inside.calls_per_second
    );
    std::thread::sleep(SETTLE);
    let length = Duration::from_secs(arguments.seconds);
    let (window, figures) = measure_server(&server, &inside.crowd, &engine, length)?;
    let quantile =
        |share: f64| inside.answer_times[((inside.answer_times.len() - 1) as f64 * share) as usize];
    let mut notes = vec![
        format!(
            "with one call, same run: share of ticks later than 5 ms {:.5}, p99.9 ≤ {:.2} ms",
            idle.late_share,
            idle.late_s.2 * 1e3
        ),
        format!(
            "set up one after the other at {:.0} calls/s; INVITE to 200 p50 {:.1?}, p99 {:.1?}",
            inside.calls_per_second,
            quantile(0.5),
            quantile(0.99)
        ),
    ];
    notes.push(format!(
        "calls refused with 503 and tried again: {}",
        inside.refused
    ));
    let lost = inside.leave()?;
    notes.push(format!("calls that the server ended by itself: {lost}"));
    let (status, took) = server.stop(Duration::from_secs(10))?;
    notes.push(format!(
        "SIGTERM: {} after {took:.1?}",
        status.map_or("no end".into(), |status| status.to_string())
    ));
    Ok(Row {
        name: "confab".into(),
        scenario: *scenario,
        window,
        server: Some(figures),
        resident_before,
        notes,
    })
}

fn against_reflector(arguments: &Arguments, scenario: &Scenario, name: &str, flags: &[&str]) -> Result<Row> {
    eprintln!("{scenario}: {name}");
    let calls = scenario.participants().to_string();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--reflector", &calls])
        .args(flags)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the reflector")?;
    let row = measure_reflector(arguments, scenario, name, &mut child);
    let _ = child.kill();
    let _ = child.wait();
    row
}

fn measure_reflector(
    arguments: &Arguments,
    scenario: &Scenario,
    name: &str,
    child: &mut Child,
) -> Result<Row> {
    let output = child.stdout.take().ok_or_else(|| anyhow!("no output pipe"))?;
    let mut addresses: Vec<SocketAddr> = Vec::with_capacity(scenario.participants());
    for line in BufReader::new(output).lines().take(scenario.participants()) {
        addresses.push(line?.parse()?);
    }
    let resident_before = ProcessUsage::of(child.id())?.resident_bytes;
    let engine = engine(arguments)?;
    let crowd = Crowd::towards(&engine, scenario, &addresses)?;
    std::thread::sleep(SETTLE);
    let window = measure_generator(
        child.id(),
        &crowd,
        &engine,
        Duration::from_secs(arguments.seconds),
    )?;
    crowd.close();
    Ok(Row {
        name: name.to_owned(),
        scenario: *scenario,
        window,
        server: None,
        resident_before,
        notes: Vec::new(),
    })
}

/// The child's part: prints one address for each call, then reflects until it is killed.
fn reflect(calls: usize, pace: ReflectorPace) -> Result<()> {
    let reflector = Reflector::open(LOCAL, calls, pace)?;
    let mut out = std::io::stdout().lock();
    for address in reflector.addresses()? {
        writeln!(out, "{address}")?;
    }
    out.flush()?;
    drop(out);
    reflector.run()
}
