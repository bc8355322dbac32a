//! Logs: one `tracing` subscriber on standard error, as text or JSON, whose level can be changed while running.
//!
//! Owns the global subscriber; never writes to standard output, which belongs to the ready line.

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

/// Changes the log level of the running process.
pub(crate) struct LogLevel(reload::Handle<EnvFilter, tracing_subscriber::Registry>);

/// Installs the subscriber. `level` is a filter such as `info` or `info,confab_sip=debug`; `json` selects one JSON
/// object per line.
///
/// # Errors
/// A filter that cannot be parsed, or a second installation.
pub(crate) fn install(level: &str, json: bool) -> anyhow::Result<LogLevel> {
    let filter = parse_filter(level)?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init()
    } else {
        registry
            .with(fmt::layer().with_ansi(false).with_writer(std::io::stderr))
            .try_init()
    }
    .context("installing the log subscriber")?;
    Ok(LogLevel(handle))
}

impl LogLevel {
    /// Switches to another filter from the next event on.
    ///
    /// # Errors
    /// A filter that cannot be parsed.
    pub(crate) fn change(&self, level: &str) -> anyhow::Result<()> {
        self.0
            .reload(parse_filter(level)?)
            .context("changing the log level")
    }
}

/// Whose complaints are told in a line of our own: the readers of audio files, the broker's client. And who would write tokens into the
/// log, as part of the messages that it sees. `level` may still ask for theirs.
const QUIET: &str = "symphonia=off,lapin=off,tungstenite=info,tokio_tungstenite=info";

fn parse_filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{QUIET},{level}"))
        .with_context(|| format!("log.level: '{level}' is not a log filter"))
}
