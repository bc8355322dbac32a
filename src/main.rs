//! The confab server binary: one process that answers SIP calls, mixes conferences and serves the API.

mod admission;
mod amqp;
mod cdr;
mod cli;
mod conferences;
mod config;
mod data_lock;
mod dialling;
mod doctor;
mod first_start;
mod health;
mod http;
mod listen;
mod metrics;
mod names;
mod open_files;
mod reception;
mod recordings;
mod registrar;
mod server;
mod signalling;
mod sounds;
mod telemetry;
mod tls;
mod trunks;
mod wall_clock;
mod webhooks;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{
    cli::{Command, Serve},
    config::LogFormat,
};

/// Requests to the API make and free small values all day: a third of what they cost with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match cli::command() {
        Command::CheckConfig { config } => return cli::check_config(config.as_deref()),
        Command::Doctor { config, data_dir } => return doctor::run(config.as_deref(), data_dir.as_deref()),
        Command::Health { config } => health::check(config.as_deref()),
        Command::Serve(options) => serve(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what, and why, down to the first cause.
            eprintln!("confab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Serve) -> anyhow::Result<()> {
    let config = options.load()?;
    let log = telemetry::install(&config.log.level, config.log.format == LogFormat::Json)?;
    if let Some(limit) = open_files::raise_limit() {
        tracing::debug!(limit, "open files");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("confab")
        .build()
        .context("starting the runtime")?;
    let outcome = runtime.block_on(server::run(config, move || Ok(options.load()?), log));
    // Whatever still runs after the orderly end is not waited for.
    runtime.shutdown_background();
    outcome
}
