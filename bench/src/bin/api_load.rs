//! The bench of the API: lists and single documents at a fixed rate, on an idle server and beside running conferences.
//! `cargo run --release -p confab-bench --bin api_load -- --help` says what can be set.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use confab_bench::api_load::{Figures, Plan, drive};
use confab_bench::load::{Crowd, Machine, Scenario, ServerCrowd, ServerFigures, measure_server};
use confab_testkit::agent::Phone;
use confab_testkit::rtp::{EngineConfig, RtpEngine};
use confab_testkit::server::{ConferenceControl, Server, ServerBuilder};
use serde_json::json;

/// Left to calls to settle before a window begins.
const SETTLE: Duration = Duration::from_secs(3);

/// Asks a real server for conferences, half of the requests for a page and half for a document, and measures how long each takes from
/// the moment it was due.
#[derive(Parser)]
struct Arguments {
    /// The server's release binary.
    #[arg(long, default_value = "target/release/confab")]
    server: PathBuf,
    /// Conferences that are stored.
    #[arg(long, default_value_t = 1000)]
    stored: usize,
    /// Requests per second.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Items of a page.
    #[arg(long, default_value_t = 50)]
    page_size: usize,
    /// Connections that requests go over in turn.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Length of a measured window in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// What runs beside the second window: conferences x participants : talkers in each.
    #[arg(long, default_value = "50x20:2", value_parser = |text: &str| Scenario::parse(text).ok_or("no scenario; README.md says what is"))]
    beside: Scenario,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let server = ServerBuilder::new(&arguments.server)
        .set("http.rate_limit", "false")
        .start()?;
    let api = server.api()?;
    let stored: Vec<String> = (0..arguments.stored)
        .map(|n| {
            let document = json!({
                "name": format!("room {n}"),
                "conference_numbers": [(10_000 + n).to_string()],
                "member": {"pins": ["1234"]},
                "ui_metadata": {"ui": "monster-ui", "origin": "callflows"},
            });
            Ok(ConferenceControl::create(api.clone(), document)?.id().to_owned())
        })
        .collect::<Result<_>>()?;
    let plan = Plan {
        api,
        documents: stored,
        page_size: arguments.page_size,
        rate: arguments.rate,
        connections: arguments.connections,
        length: Duration::from_secs(arguments.seconds),
    };
    println!("{}", Machine::read());
    println!(
        "{} stored conferences, {} requests/s over {} connections, pages of {}",
        arguments.stored, arguments.rate, arguments.connections, arguments.page_size
    );
    drive(&Plan {
        length: Duration::from_secs(3),
        ..plan.clone()
    })?;
    let engine = RtpEngine::start(EngineConfig::default())?;
    let nobody = Crowd { streams: Vec::new() };
    let alone = window(&server, &plan, &nobody, &engine)?;
    show("without media", &alone);

    let phone = Phone::udp(server.sip)?;
    let crowd = ServerCrowd::join(&server, &phone, &engine, &arguments.beside)?;
    std::thread::sleep(SETTLE);
    let quiet = measure_server(&server, &crowd.crowd, &engine, plan.length)?.1;
    println!(
        "media without requests: {:.4} % of ticks later than 5 ms, {} skipped",
        quiet.late_share * 100.0,
        quiet.skipped
    );
    let beside = window(&server, &plan, &crowd.crowd, &engine)?;
    show(
        &format!("beside {} participants", arguments.beside.participants()),
        &beside,
    );
    let lost = crowd.leave()?;
    ensure!(lost == 0, "{lost} calls were lost");
    Ok(())
}

/// Asks for one window and measures the media meanwhile.
fn window(
    server: &Server,
    plan: &Plan,
    crowd: &Crowd,
    engine: &RtpEngine,
) -> Result<(Figures, Figures, ServerFigures)> {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| drive(plan));
        let media = measure_server(server, crowd, engine, plan.length);
        let (lists, documents) = asking.join().ok().context("the requests panicked")??;
        Ok((lists, documents, media?.1))
    })
}

fn show(what: &str, (lists, documents, media): &(Figures, Figures, ServerFigures)) {
    println!("{what}:");
    for (kind, figures) in [("list", lists), ("get", documents)] {
        println!(
            "  {kind:4} {} answers, {} failed; ms: p50 {:.2}, p99 {:.2}, p99.9 {:.2}, worst {:.2}",
            figures.answers,
            figures.failed,
            figures.ms(0.5),
            figures.ms(0.99),
            figures.ms(0.999),
            figures.ms(1.0)
        );
    }
    println!(
        "  ticks: {:.4} % later than 5 ms, {} skipped, p99.9 of lateness {:.2} ms",
        media.late_share * 100.0,
        media.skipped,
        media.late_s.2 * 1000.0
    );
}
