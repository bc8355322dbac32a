//! The load bench. `cargo run --release -p confab-bench --bin load -- --help` says what can be set.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use confab_bench::load::{
    Contender, Crowd, Machine, Row, Scenario, ServerCrowd, measure_generator, measure_server, print_duel,
    print_report, run_duel,
};
use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, Reflector, ReflectorPace, RtpEngine, Source};
use confab_testkit::server::{ProcessUsage, Server, ServerBuilder, signal};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Left to the crowd to settle before a window begins: playout delays, gates, caches.
const SETTLE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(5);
const STOP: i32 = 19;

/// Puts real calls over loopback on the real server and measures what they cost.
#[derive(Parser)]
struct Arguments {
    /// The server's release binary; several are compared with --rounds.
    #[arg(long = "server", default_value = "target/release/confab")]
    servers: Vec<PathBuf>,
    /// Conferences x participants : talkers in each, then codecs of the talkers and of the others, as README.md says; may be given
    /// several times.
    #[arg(long = "scenario", value_parser = |text: &str| Scenario::parse(text).ok_or("no scenario; README.md says what is"))]
    scenarios: Vec<Scenario>,
    /// Keeps all servers under all scenarios, and the reflectors, ready beside each other, and measures them in turn in so many
    /// rounds.
    #[arg(long, default_value_t = 0)]
    rounds: usize,
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
        vec![Scenario::pcmu(1, 1000, 3), Scenario::pcmu(50, 20, 2)]
    } else {
        arguments.scenarios.clone()
    };
    let missing = arguments.servers.iter().find(|server| !server.exists());
    if let Some(server) = missing.filter(|_| !arguments.no_server) {
        bail!("{} is missing: cargo build --release builds it", server.display());
    }
    if arguments.rounds > 0 {
        return duel(&arguments, &scenarios);
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

fn start_server(arguments: &Arguments, binary: &Path) -> Result<Server> {
    ServerBuilder::new(binary)
        .set("media.shards", &arguments.shards.to_string())
        .set("log.level", "\"warn\"")
        .start()
        .with_context(|| format!("starting {}", binary.display()))
}

/// Compares in rounds.
fn duel(arguments: &Arguments, scenarios: &[Scenario]) -> Result<()> {
    let engine = engine(arguments)?;
    let mut servers = Vec::new();
    for binary in arguments.servers.iter().filter(|_| !arguments.no_server) {
        for scenario in scenarios {
            eprintln!("{scenario}: {}", binary.display());
            let server = start_server(arguments, binary)?;
            let phone = Phone::udp(server.sip)?;
            let inside = ServerCrowd::join(&server, &phone, &engine, scenario)?;
            // Stopped until its turn, so that those who come later find the machine free.
            inside.crowd.set_paused(true);
            signal(server.id(), STOP)?;
            servers.push((binary.display().to_string(), scenario, server, phone, inside));
        }
    }
    let paces = [
        ("reflector, waking at each arrival", &[][..]),
        ("reflector, waking every 5 ms", &["--ticking"][..]),
    ];
    let mut reflectors = Vec::new();
    for (name, flags) in paces.into_iter().filter(|_| !arguments.no_reflector) {
        let (child, addresses) = start_reflector(&scenarios[0], flags)?;
        let crowd = Crowd::towards(&engine, &scenarios[0], &addresses)?;
        reflectors.push((name, child, crowd));
    }
    let standing = servers
        .iter()
        .map(|(name, scenario, server, _, inside)| Contender {
            name: name.clone(),
            scenario: (*scenario).clone(),
            process: server.id(),
            crowd: &inside.crowd,
            windows: Vec::new(),
        });
    let bare = reflectors.iter().map(|(name, child, crowd)| Contender {
        name: (*name).to_owned(),
        scenario: scenarios[0].clone(),
        process: child.0.id(),
        crowd,
        windows: Vec::new(),
    });
    let mut contenders: Vec<Contender<'_>> = standing.chain(bare).collect();
    let length = Duration::from_secs(arguments.seconds);
    run_duel(&mut contenders, &engine, arguments.rounds, length)?;
    print_duel(&contenders);
    drop(contenders);
    for (_, _, mut server, _, _) in servers {
        server.stop(Duration::from_secs(10))?;
    }
    Ok(())
}

fn against_server(arguments: &Arguments, scenario: &Scenario) -> Result<Row> {
    eprintln!("{scenario}: server");
    let mut server = start_server(arguments, &arguments.servers[0])?;
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
        scenario: scenario.clone(),
        window,
        server: Some(figures),
        resident_before,
        notes,
    })
}

fn against_reflector(arguments: &Arguments, scenario: &Scenario, name: &str, flags: &[&str]) -> Result<Row> {
    eprintln!("{scenario}: {name}");
    let (child, addresses) = start_reflector(scenario, flags)?;
    let resident_before = ProcessUsage::of(child.0.id())?.resident_bytes;
    let engine = engine(arguments)?;
    let crowd = Crowd::towards(&engine, scenario, &addresses)?;
    std::thread::sleep(SETTLE);
    let length = Duration::from_secs(arguments.seconds);
    let window = measure_generator(child.0.id(), &crowd, &engine, length)?;
    crowd.close();
    Ok(Row {
        name: name.to_owned(),
        scenario: scenario.clone(),
        window,
        server: None,
        resident_before,
        notes: Vec::new(),
    })
}

/// A process that ends with its value.
struct Reflecting(Child);

impl Drop for Reflecting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a reflector in a process of its own; returns an address for each participant.
fn start_reflector(scenario: &Scenario, flags: &[&str]) -> Result<(Reflecting, Vec<SocketAddr>)> {
    let calls = scenario.participants();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--reflector", &calls.to_string()])
        .args(flags)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the reflector")?;
    let output = child.stdout.take();
    let child = Reflecting(child);
    let output = output.ok_or_else(|| anyhow!("no output pipe"))?;
    let lines = BufReader::new(output).lines().take(calls);
    let addresses = lines
        .map(|line| line?.parse().context("an address of the reflector"))
        .collect::<Result<Vec<SocketAddr>>>()?;
    Ok((child, addresses))
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
