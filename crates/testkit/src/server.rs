//! Owns the server under test: the real binary in its own process, with its own data directory and ports.
//!
//! Knows only the outside interface: command line, configuration, ready line, signals, `/metrics`, `/proc`. Never links the server.

mod control;
mod http;
mod kept;
mod metrics;
mod process;

pub use control::{ConferenceControl, quiet};
pub use http::{HttpAnswer, HttpClient};
pub use kept::KeptServer;
pub use metrics::Metrics;
pub use process::{ProcessUsage, signal};

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ports::PortLease;

/// How long a start may take on a loaded machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a start is tried again when another process took a port that had just been found free.
const START_TRIES: usize = 5;
/// The bootstrap account of every server started here.
pub const ACCOUNT_ID: &str = "00112233445566778899aabbccddeeff";
/// The API key of that account.
pub const API_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A file or process could not be made.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    /// It ended before it was ready.
    #[error("ended with {status} before it was ready; it said:\n{log}")]
    Ended {
        /// Exit status.
        status: ExitStatus,
        /// Standard error.
        log: String,
    },
    /// It was not ready in time.
    #[error("not ready within {START_TIMEOUT:?}; it said:\n{0}")]
    NotReady(String),
}

/// Lets only one measuring test of a test binary run at a time: on a small machine two of them would spoil each other's figures.
pub fn exclusive() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory that vanishes with its value.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a new directory under the system's place for temporary files.
    pub fn new(label: &str) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("confab-{label}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // CONFAB_KEEP leaves data directories and logs for a look after a failure.
        if std::env::var_os("CONFAB_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// What to start and how.
#[derive(Debug, Clone)]
pub struct ServerBuilder {
    binary: PathBuf,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    own_data_dir: bool,
    tones: bool,
    prompts: bool,
}

impl ServerBuilder {
    /// Prepares to start `binary` on loopback with free ports.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            settings: match crate::database::fresh() {
                url if url.is_empty() => Vec::new(),
                url => vec![("store.url".to_owned(), format!("\"{url}\""))],
            },
            environment: Vec::new(),
            own_data_dir: true,
            tones: false,
            prompts: false,
        }
    }

    /// Sets a configuration key, `section.key`, to a TOML value. The last setting of a key wins.
    #[must_use]
    pub fn set(mut self, key: &str, toml_value: &str) -> Self {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), toml_value.to_owned()));
        self
    }

    /// Sets several keys to TOML values.
    #[must_use]
    pub fn set_all(self, settings: &[(&str, &str)]) -> Self {
        settings
            .iter()
            .fold(self, |builder, (key, value)| builder.set(key, value))
    }

    /// Sets an environment variable of the process.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves the choice of the data directory to configuration and environment.
    #[must_use]
    pub fn without_data_dir(mut self) -> Self {
        self.own_data_dir = false;
        self
    }

    /// Leaves the first conference its tones when somebody comes or goes. Otherwise they are switched off, so that measurements
    /// hear what they send; a conference that a test makes is its own affair.
    #[must_use]
    pub fn with_tones(mut self) -> Self {
        self.tones = true;
        self
    }

    /// Leaves the first conference its prompts for callers. Otherwise they are switched off, so that callers are in it at once; a
    /// conference that a test makes is its own affair.
    #[must_use]
    pub fn with_prompts(mut self) -> Self {
        self.prompts = true;
        self
    }

    /// Starts the server and waits for its ready line.
    pub fn start(self) -> Result<Server, StartError> {
        let mut tries = 1;
        loop {
            match self.try_start() {
                Err(StartError::Ended { log, .. }) if tries < START_TRIES && log.contains("in use") => {
                    tries += 1
                }
                other => return other,
            }
        }
    }

    fn try_start(&self) -> Result<Server, StartError> {
        let directory = TempDir::new("server")?;
        let ports = PortLease::take(2)?;
        let (sip, admin) = (ports.address(0), ports.address(1));
        let mut settings = vec![
            ("http.bind".to_owned(), "\"127.0.0.1:0\"".to_owned()),
            ("http.admin_bind".to_owned(), format!("\"{admin}\"")),
            ("http.websocket_bind".to_owned(), "\"127.0.0.1:0\"".to_owned()),
            ("http.rate_limit".to_owned(), "false".to_owned()),
            ("sip.udp".to_owned(), format!("[\"{sip}\"]")),
            ("sip.tcp".to_owned(), format!("[\"{sip}\"]")),
            ("media.bind".to_owned(), "[\"127.0.0.1\"]".to_owned()),
            // A test machine may stall; the calls of a test that is not about overload shall get in all the same.
            ("media.max_lateness_ms".to_owned(), "0".to_owned()),
            ("bootstrap.account_id".to_owned(), format!("\"{ACCOUNT_ID}\"")),
            ("bootstrap.api_key".to_owned(), format!("\"{API_KEY}\"")),
        ];
        settings.retain(|(key, _)| self.settings.iter().all(|(other, _)| other != key));
        settings.extend(self.settings.iter().cloned());
        settings.retain(|(_, value)| !value.is_empty());
        let config = directory.path().join("confab.toml");
        fs::write(&config, to_toml(&settings))?;
        let log_path = directory.path().join("log.txt");
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(&config);
        if self.own_data_dir {
            command.arg("--data-dir").arg(directory.path().join("data"));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log_path)?);
        let started = Instant::now();
        let mut child = command.spawn()?;
        let output = child
            .stdout
            .take()
            .map(BufReader::new)
            .ok_or_else(|| io::Error::other("no output pipe"))?;
        let lines = read_lines(output);
        match wait_ready(&mut child, &lines, &log_path) {
            Ok(Ready { http, sip, websocket }) => {
                let start_time = started.elapsed();
                self.silence(http);
                Ok(Server {
                    child,
                    http,
                    sip,
                    websocket,
                    admin,
                    start_time,
                    lines: Mutex::new(lines),
                    log_path,
                    directory,
                    ended: None,
                    _ports: ports,
                })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Switches tones and prompts of the first conference off, as far as they are not wanted. Tests that start a server without it,
    /// or with another key, have none to be switched off.
    fn silence(&self, http: SocketAddr) {
        let mut quiet = serde_json::Map::new();
        if !self.tones {
            quiet.extend(control::no_tones());
        }
        if !self.prompts {
            quiet.extend(control::no_prompts());
            quiet.extend(control::no_sounds());
        }
        let quiet = json!({ "data": quiet });
        let _ = HttpClient::log_in(http, ACCOUNT_ID, API_KEY).and_then(|client| {
            let conference = ConferenceControl::of_number(client.clone(), "3000")?;
            client.account(
                "PATCH",
                &format!("/conferences/{}", conference.id()),
                Some(&quiet),
            )
        });
    }
}

/// A running server. Dropping it kills the process; [`Server::stop`] ends it properly.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Address of the API.
    pub http: SocketAddr,
    /// Address of SIP over UDP and TCP.
    pub sip: SocketAddr,
    /// Address of WebSockets.
    pub websocket: Option<SocketAddr>,
    /// Address of `/metrics`.
    pub admin: SocketAddr,
    /// Time from starting the process to its ready line.
    pub start_time: Duration,
    lines: Mutex<mpsc::Receiver<String>>,
    log_path: PathBuf,
    directory: TempDir,
    ended: Option<ExitStatus>,
    _ports: PortLease,
}

impl Server {
    /// Returns an API client that is logged in with the bootstrap account's key.
    pub fn api(&self) -> io::Result<HttpClient> {
        HttpClient::log_in(self.http, ACCOUNT_ID, API_KEY)
    }

    /// Returns the remote control of the conference that every server starts with.
    pub fn first_conference(&self) -> io::Result<ConferenceControl> {
        ConferenceControl::of_number(self.api()?, "3000")
    }

    /// Reads `/metrics`.
    pub fn metrics(&self) -> io::Result<Metrics> {
        let answer = HttpClient::anonymous(self.admin).request("GET", "/metrics", None)?;
        if answer.status == 200 {
            Ok(Metrics::parse(&answer.text()))
        } else {
            Err(io::Error::other(format!(
                "/metrics answered {}: {}",
                answer.status,
                answer.text()
            )))
        }
    }

    /// Reads `/metrics` until `wanted` holds; the last reading comes back as the error.
    pub fn wait_metrics(
        &self,
        timeout: Duration,
        wanted: impl Fn(&Metrics) -> bool,
    ) -> Result<Metrics, Metrics> {
        let deadline = Instant::now() + timeout;
        loop {
            let metrics = self.metrics().unwrap_or_default();
            if wanted(&metrics) {
                return Ok(metrics);
            }
            if Instant::now() >= deadline {
                return Err(metrics);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until no call has left anything behind: no call, leg, port, conference or participant.
    ///
    /// # Errors
    /// What is left when the time is over.
    pub fn wait_idle(&self, timeout: Duration) -> Result<(), String> {
        const GAUGES: [&str; 5] = [
            "confab_calls",
            "confab_legs",
            "confab_ports_in_use",
            "confab_conferences",
            "confab_participants",
        ];
        let idle = self.wait_metrics(timeout, |metrics| {
            GAUGES.iter().all(|gauge| metrics.sum(gauge) == Some(0.0))
        });
        let Err(last) = idle else { return Ok(()) };
        let left: Vec<_> = GAUGES.iter().map(|gauge| (gauge, last.sum(gauge))).collect();
        Err(format!("left: {left:?}"))
    }

    /// Returns processor time and memory used so far.
    pub fn usage(&self) -> io::Result<ProcessUsage> {
        ProcessUsage::of(self.child.id())
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the server's directory: `data/`, `confab.toml`, `log.txt`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns what the server has written to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    /// Returns what the server wrote to standard output after its ready line.
    pub fn further_output(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.try_iter().collect()
    }

    /// Sends a signal, one of the `libc::SIG…` numbers.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        process::signal(self.child.id(), signal)
    }

    /// Waits for the process to end by itself and returns how; `None` when it is still there after `timeout`.
    pub fn wait_exit(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        while self.ended.is_none() && Instant::now() < deadline {
            self.ended = self.child.try_wait()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(self.ended)
    }

    /// Ends the server with SIGTERM and returns exit status and the time it took.
    pub fn stop(&mut self, timeout: Duration) -> io::Result<(Option<ExitStatus>, Duration)> {
        let asked = Instant::now();
        self.signal(libc::SIGTERM)?;
        let status = self.wait_exit(timeout)?;
        Ok((status, asked.elapsed()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the server's log ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Finds a loopback address whose port is free for UDP and TCP alike.
pub fn free_address() -> io::Result<SocketAddr> {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
}

fn to_toml(settings: &[(String, String)]) -> String {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for (key, value) in settings {
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        let line = format!("{name} = {value}\n");
        match sections.iter_mut().find(|(known, _)| *known == section) {
            Some((_, lines)) => lines.push_str(&line),
            None => sections.push((section, line)),
        }
    }
    // Keys outside any section have to come first in TOML.
    sections.sort_by_key(|(section, _)| !section.is_empty());
    let print = |(section, lines): &(&str, String)| match *section {
        "" => lines.clone(),
        section => format!("[{section}]\n{lines}"),
    };
    sections.iter().map(print).collect()
}

fn read_lines(output: impl BufRead + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        output
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
            .ok();
    });
    receiver
}

fn wait_ready(
    child: &mut Child,
    lines: &mpsc::Receiver<String>,
    log_path: &Path,
) -> Result<Ready, StartError> {
    let deadline = Instant::now() + START_TIMEOUT;
    let log = || fs::read_to_string(log_path).unwrap_or_default();
    while Instant::now() < deadline {
        if let Ok(line) = lines.recv_timeout(Duration::from_millis(20)) {
            return parse_ready(&line)
                .ok_or_else(|| StartError::NotReady(format!("first line: {line}\n{}", log())));
        }
        if let Some(status) = child.try_wait()? {
            return Err(StartError::Ended { status, log: log() });
        }
    }
    Err(StartError::NotReady(log()))
}

/// The addresses of a server that is ready.
#[derive(Debug, PartialEq, Eq)]
struct Ready {
    http: SocketAddr,
    sip: SocketAddr,
    websocket: Option<SocketAddr>,
}

/// Reads `confab ready http=ADDR sip=ADDR`, and `websocket=ADDR` where it is told.
fn parse_ready(line: &str) -> Option<Ready> {
    let words = line.strip_prefix("confab ready ")?;
    let address = |name: &str| {
        words.split(' ').find_map(|word| {
            word.strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<SocketAddr>()
                .ok()
        })
    };
    Some(Ready {
        http: address("http")?,
        sip: address("sip")?,
        websocket: address("websocket"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read_and_nothing_else_passes_for_it() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let ready = |websocket| Ready {
            http: address(8000),
            sip: address(5060),
            websocket,
        };
        let line = "confab ready http=127.0.0.1:8000 sip=127.0.0.1:5060";
        assert_eq!(parse_ready(line), Some(ready(None)));
        let line = format!("{line} websocket=127.0.0.1:5555");
        assert_eq!(parse_ready(&line), Some(ready(Some(address(5555)))));
        for line in [
            "",
            "confab ready",
            "confab ready http=x sip=127.0.0.1:1",
            "ready http=127.0.0.1:1 sip=127.0.0.1:1",
        ] {
            assert_eq!(parse_ready(line), None, "{line}");
        }
    }

    #[test]
    fn settings_become_sections_with_plain_keys_first() {
        let settings = [
            ("sip.udp", "[]"),
            ("data_dir", "\"d\""),
            ("http.bind", "\"b\""),
            ("sip.tcp", "[]"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            to_toml(&settings),
            "data_dir = \"d\"\n[sip]\nudp = []\ntcp = []\n[http]\nbind = \"b\"\n"
        );
    }
}
