//! Owns one sound server without sound cards: what a program plays is recorded from one sink, and another is what it hears for a microphone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use confab_testkit::peers::require;
use confab_testkit::server::TempDir;

/// Everything is at this rate, Hz.
pub(super) const RATE_HZ: u32 = 8000;

/// A running PulseAudio with its recorder and its talker. Dropping it kills all of them.
pub(super) struct Pulse {
    children: Vec<Child>,
    directory: TempDir,
}

impl Pulse {
    /// Starts it; the microphone says `says`, over and over for as long as that is.
    pub(super) fn start(says: &[i16]) -> io::Result<Pulse> {
        require("pulseaudio")?;
        require("pacat")?;
        let directory = TempDir::new("pulse")?;
        let path = directory.path();
        let socket = path.join("socket");
        let script = format!(
            "load-module module-native-protocol-unix socket={} auth-anonymous=1\n\
             load-module module-null-sink sink_name=ear rate={RATE_HZ} channels=1\n\
             load-module module-null-sink sink_name=mouth rate={RATE_HZ} channels=1\n\
             set-default-sink ear\nset-default-source mouth.monitor\n",
            socket.display()
        );
        fs::write(path.join("script.pa"), script)?;
        let says: Vec<u8> = says.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        fs::write(path.join("says.raw"), says)?;
        let mut pulse = Pulse {
            children: Vec::new(),
            directory,
        };
        let script = pulse.path().join("script.pa");
        let mut server = pulse.command("pulseaudio");
        server
            .args([
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "-F",
            ])
            .arg(script);
        pulse.spawn(server)?;
        let deadline = Instant::now() + Duration::from_secs(15);
        while !socket.exists() || !pulse.is_ready() {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "pulseaudio is not ready"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let raw = ["--raw", "--rate=8000", "--channels=1", "--format=s16le"];
        let mut recorder = pulse.command("pacat");
        recorder.args(["--record", "-d", "ear.monitor"]).args(raw);
        recorder.stdout(File::create(pulse.path().join("heard.raw"))?);
        pulse.spawn(recorder)?;
        let mut talker = pulse.command("pacat");
        talker.args(["--playback", "-d", "mouth"]).args(raw);
        talker.stdin(File::open(pulse.path().join("says.raw"))?);
        pulse.spawn(talker)?;
        Ok(pulse)
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a program that finds this server.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .env(
                "PULSE_SERVER",
                format!("unix:{}", self.path().join("socket").display()),
            )
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn spawn(&mut self, mut command: Command) -> io::Result<()> {
        self.children.push(command.spawn()?);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let mut asked = self.command("pactl");
        let asked = asked
            .args(["list", "short", "sinks"])
            .stdout(Stdio::piped())
            .output();
        asked.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains("mouth"))
    }

    /// Returns what was played until now.
    pub(super) fn heard(&self) -> io::Result<Vec<i16>> {
        let path: PathBuf = self.path().join("heard.raw");
        let bytes = fs::read(path)?;
        let samples = bytes
            .chunks_exact(2)
            .map(|two| i16::from_le_bytes([two[0], two[1]]));
        Ok(samples.collect())
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
