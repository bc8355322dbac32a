//! Signals, and the orderly end.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, timeout_at},
};

use super::Server;
use crate::{config::Config, telemetry::LogLevel, tls::TlsFile};

/// The whole end takes no longer than this; who has not finished by then is cut off.
const END_TIME: Duration = Duration::from_millis(4500);
/// Kept of it for what is to be written after the calls.
const LAST_WRITES: Duration = Duration::from_millis(500);
/// Given to BYEs to be answered, so that a lost one is sent again.
const BYE_TIME: Duration = Duration::from_secs(2);

/// Waits for SIGTERM or SIGINT. SIGHUP meanwhile reads the configuration again.
///
/// # Errors
/// The server cannot go on.
pub(super) async fn wait(
    mut config: Config,
    reload: impl Fn() -> anyhow::Result<Config>,
    log: &LogLevel,
    server: &Server,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            () = server.signalling.endpoint.gone() => {
                // Whoever supervises the process can start it again; one that answers no call cannot be told from a busy one.
                outcome = Err(anyhow::anyhow!("the SIP endpoint broke down (its last words are in the log)"));
                break;
            }
            _ = signals.hang_up.recv() => match reload() {
                Ok(fresh) => {
                    apply(&config, &fresh, log, server).await;
                    config = fresh;
                }
                Err(error) => tracing::error!("configuration not reloaded, going on as before: {error:#}"),
            },
        }
    }
    tracing::info!("ending: new calls are refused, running ones hung up");
    tokio::spawn(async move {
        signals.told_to_end().await;
        tracing::warn!("second signal, exiting at once");
        std::process::exit(1);
    });
    outcome
}

/// The signals that the server obeys.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals over from the system, which would end the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("installing signal handlers");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub(super) async fn told_to_end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Takes over what can change while running, and says what has to wait for a restart.
async fn apply(old: &Config, fresh: &Config, log: &LogLevel, server: &Server) {
    server.cdr.reopen().await;
    if old.log.level != fresh.log.level {
        match log.change(&fresh.log.level) {
            Ok(()) => tracing::info!(level = fresh.log.level, "log.level changed"),
            Err(error) => tracing::error!("{error:#}"),
        }
    }
    if old.sip.max_calls != fresh.sip.max_calls {
        server.admission.set_max_calls(fresh.sip.max_calls);
        tracing::info!(max_calls = fresh.sip.max_calls, "sip.max_calls changed");
    }
    let mut applied = vec!["log.level", "sip.max_calls"];
    applied.extend(server.reload_certificates(fresh).await);
    let waiting = old.changed_sections(fresh, &applied);
    if waiting.is_empty() {
        tracing::info!("configuration read again");
    } else {
        tracing::warn!(keys = waiting.join(", "), "changed keys that want a restart");
    }
}

impl Server {
    /// Reads certificates and keys again, whether or not their names have changed. A bad one leaves the one in use. Returns the configuration's
    /// keys of those that were read; whether TLS is switched on at all is decided at the start.
    async fn reload_certificates(&self, fresh: &Config) -> Vec<&'static str> {
        let mut keys = Vec::new();
        for (usage, certificate) in &self.certificates {
            let Some((_, files)) = fresh.tls_files().find(|(of, _)| of == usage) else {
                continue;
            };
            keys.extend([TlsFile::Certificate, TlsFile::Key].map(|file| usage.key_of(file)));
            let (certificate, files) = (certificate.clone(), files.clone());
            let reload = move || certificate.reload(&files, SystemTime::now());
            match tokio::task::spawn_blocking(reload).await {
                Ok(Ok(true)) => tracing::info!(?usage, "new certificate: new connections are shown it"),
                Ok(Ok(false)) => tracing::info!(?usage, "certificate read again: it is the same"),
                Ok(Err(error)) => tracing::error!(
                    key = usage.key_of(error.file),
                    "certificate not reloaded, going on with the one in use: {error}"
                ),
                Err(error) => {
                    tracing::error!(%error, "certificate not reloaded, going on with the one in use");
                }
            }
        }
        keys
    }

    /// Ends calls, conferences, listeners and store, in this order.
    pub(super) async fn end(self) {
        let deadline = Instant::now() + END_TIME;
        self.admission.drain();
        let _ = timeout_at(deadline, self.registry.drain()).await;
        let byes = deadline.min(Instant::now() + BYE_TIME);
        let _ = timeout_at(byes, self.all_calls_over()).await;
        let _ = self.stop.send(true);
        let _ = timeout_at(deadline - LAST_WRITES, self.trunks_task).await;
        self.calls.stop(deadline - LAST_WRITES).await;
        self.signalling.stop().await;
        for task in self.tasks {
            task.abort();
        }
        let _ = timeout_at(deadline - LAST_WRITES, self.recordings.close()).await;
        let _ = timeout_at(deadline, self.registrar_task).await;
        // What it has not listed by then is listed at the next start.
        let _ = timeout_at(deadline - LAST_WRITES / 2, self.shelf_task).await;
        // The writer ends when the last sender is gone.
        drop(self.call_server);
        drop(self.cdr);
        let _ = timeout_at(deadline, self.cdr_writer).await;
        let _ = timeout_at(deadline, self.store.close()).await;
        drop(self.media);
        tracing::info!("ended");
    }

    async fn all_calls_over(&self) {
        loop {
            if self.admission.calls() == 0 && self.signalling.endpoint.count().await.dialogs == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
