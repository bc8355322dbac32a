//! Owns one run of SIPp with a scenario file, as who calls or as who is called.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::require;
use crate::ports::PortLease;
use crate::server::TempDir;

/// What SIPp is to do.
#[derive(Debug, Clone)]
pub struct Sipp {
    scenario: PathBuf,
    replacements: Vec<(String, String)>,
    target: SocketAddr,
    number: String,
    calls: u32,
    per_second: u32,
    hold: Duration,
    echo: bool,
    tcp: bool,
    loss_percent: u32,
    timeout: Duration,
}

/// How a run went.
#[derive(Debug, Clone, Default)]
pub struct SippReport {
    /// Calls that went through the scenario to its end.
    pub successful: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Requests and responses sent again.
    pub retransmissions: u64,
    /// Wall time of the run.
    pub took: Duration,
    /// What SIPp wrote about errors.
    pub errors: String,
}

impl Sipp {
    /// Runs `scenario` once against `target`, calling number 3000.
    pub fn new(scenario: impl AsRef<Path>, target: SocketAddr) -> Self {
        Self {
            scenario: scenario.as_ref().to_owned(),
            replacements: Vec::new(),
            target,
            number: "3000".to_owned(),
            calls: 1,
            per_second: 10,
            hold: Duration::from_millis(500),
            echo: false,
            tcp: false,
            loss_percent: 0,
            timeout: Duration::from_secs(60),
        }
    }

    /// Replaces `@NAME@` in the scenario.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.replacements.push((format!("@{name}@"), value.to_owned()));
        self
    }

    /// Sets the number to call.
    #[must_use]
    pub fn number(mut self, number: &str) -> Self {
        self.number = number.to_owned();
        self
    }

    /// Makes `calls` calls, `per_second` of them each second, each held for `hold`.
    #[must_use]
    pub fn load(mut self, calls: u32, per_second: u32, hold: Duration) -> Self {
        (self.calls, self.per_second, self.hold) = (calls, per_second, hold);
        self.timeout =
            Duration::from_secs(u64::from(calls / per_second.max(1))) + hold + Duration::from_secs(60);
        self
    }

    /// Sends received audio back to the server.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Loses this share of all messages, in both directions, percent.
    #[must_use]
    pub fn losing(mut self, percent: u32) -> Self {
        self.loss_percent = percent;
        self
    }

    /// Uses one TCP connection.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Runs to the end.
    pub fn run(self) -> io::Result<SippReport> {
        require("sipp")?;
        let directory = TempDir::new("sipp")?;
        let path = directory.path();
        let mut scenario = fs::read_to_string(&self.scenario)?;
        for (name, value) in &self.replacements {
            scenario = scenario.replace(name, value);
        }
        fs::write(path.join("scenario.xml"), scenario)?;
        // Audio and video with a port for RTCP each.
        let ports = PortLease::take(6)?;
        let (local, media) = (ports.address(0), ports.address(2));
        let mut command = Command::new("sipp");
        command
            .current_dir(path)
            .arg(self.target.to_string())
            .args(["-sf", "scenario.xml", "-nostdin"]);
        command.args([
            "-s",
            &self.number,
            "-m",
            &self.calls.to_string(),
            "-l",
            &self.calls.to_string(),
        ]);
        command.args([
            "-r",
            &self.per_second.to_string(),
            "-d",
            &self.hold.as_millis().to_string(),
        ]);
        command.args(["-i", &local.ip().to_string(), "-p", &local.port().to_string()]);
        command.args(["-mi", &media.ip().to_string(), "-mp", &(media.port()).to_string()]);
        command.args(["-t", if self.tcp { "t1" } else { "u1" }]);
        command.args([
            "-timeout",
            &format!("{}s", self.timeout.as_secs()),
            "-timeout_error",
        ]);
        command.args([
            "-recv_timeout",
            "20000",
            "-trace_stat",
            "-stf",
            "stat.csv",
            "-fd",
            "1",
        ]);
        command.args(["-trace_err", "-error_file", "errors.txt"]);
        if self.echo {
            command.arg("-rtp_echo");
        }
        if self.loss_percent > 0 {
            command.args(["-lost", &self.loss_percent.to_string()]);
        }
        let started = Instant::now();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path.join("stderr.txt"))?);
        let status = command.status()?;
        let took = started.elapsed();
        let text = |name: &str| fs::read(path.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
        let statistics = text("stat.csv").unwrap_or_default();
        let mut report = parse_statistics(&statistics);
        report.took = took;
        report.errors = format!(
            "{status}\n{}{}",
            text("errors.txt").unwrap_or_default(),
            text("stderr.txt").unwrap_or_default(),
        );
        Ok(report)
    }
}

/// A running SIPp that is called. Dropping it kills the process.
#[derive(Debug)]
pub struct SippServer {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    started: Instant,
    ended: bool,
    _ports: PortLease,
}

impl SippServer {
    /// Starts `scenario` for `calls` calls, with `@NAME@` replaced; what it hears it sends back.
    pub fn start(scenario: impl AsRef<Path>, calls: u32, replacements: &[(&str, &str)]) -> io::Result<Self> {
        require("sipp")?;
        let directory = TempDir::new("sipp")?;
        let path = directory.path();
        let mut text = fs::read_to_string(scenario)?;
        for (name, value) in replacements {
            text = text.replace(&format!("@{name}@"), value);
        }
        fs::write(path.join("scenario.xml"), text)?;
        let ports = PortLease::take(6)?;
        let (local, media) = (ports.address(0), ports.address(2));
        let child = Command::new("sipp")
            .current_dir(path)
            .args([
                "-sf",
                "scenario.xml",
                "-nostdin",
                "-rtp_echo",
                "-m",
                &calls.to_string(),
            ])
            .args(["-i", &local.ip().to_string(), "-p", &local.port().to_string()])
            .args(["-mi", &media.ip().to_string(), "-mp", &media.port().to_string()])
            .args([
                "-t",
                "u1",
                "-timeout",
                "60s",
                "-timeout_error",
                "-recv_timeout",
                "20000",
            ])
            .args([
                "-trace_stat",
                "-stf",
                "stat.csv",
                "-fd",
                "1",
                "-trace_err",
                "-error_file",
                "errors.txt",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path.join("stderr.txt"))?)
            .spawn()?;
        let server = Self {
            child,
            address: local,
            started: Instant::now(),
            ended: false,
            directory,
            _ports: ports,
        };
        // It is there once its port is taken.
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::UdpSocket::bind(local).is_ok() {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "SIPp does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Returns the URI under which it is called.
    pub fn uri(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.address)
    }

    /// Waits until it has had its calls.
    pub fn finish(mut self) -> io::Result<SippReport> {
        let status = self.child.wait()?;
        self.ended = true;
        let path = self.directory.path();
        let text = |name: &str| fs::read(path.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
        let mut report = parse_statistics(&text("stat.csv").unwrap_or_default());
        report.took = self.started.elapsed();
        report.errors = format!(
            "{status}\n{}{}",
            text("errors.txt").unwrap_or_default(),
            text("stderr.txt").unwrap_or_default(),
        );
        Ok(report)
    }
}

impl Drop for SippServer {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl SippReport {
    /// Panics unless exactly `calls` calls went well and none failed.
    #[track_caller]
    pub fn assert_all(&self, calls: u64) {
        let first: Vec<&str> = self.errors.lines().take(30).collect();
        assert_eq!(
            (self.successful, self.failed),
            (calls, 0),
            "successful, failed; SIPp:\n{}",
            first.join("\n")
        );
    }
}

/// Reads the last line of SIPp's statistics by the column names of its first.
fn parse_statistics(text: &str) -> SippReport {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
    let values: Vec<&str> = lines.last().unwrap_or_default().split(';').collect();
    let cumulative = |name: &str| {
        let index = names.iter().position(|known| *known == name)?;
        values.get(index)?.parse::<u64>().ok()
    };
    SippReport {
        successful: cumulative("SuccessfulCall(C)").unwrap_or(0),
        failed: cumulative("FailedCall(C)").unwrap_or(0),
        retransmissions: cumulative("Retransmissions(C)").unwrap_or(0),
        ..SippReport::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_statistics_counts() {
        let text = "StartTime;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);Retransmissions(C);\nx;1;1;0;0;\nx;4;5;1;7;\n";
        let report = parse_statistics(text);
        assert_eq!(
            (report.successful, report.failed, report.retransmissions),
            (5, 1, 7)
        );
        assert_eq!(parse_statistics("").successful, 0);
    }
}
