//! Owns one program that takes commands on its standard input and tells what happens on its standard output.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program. Dropping it kills the process.
pub(super) struct Console {
    child: Child,
    input: ChildStdin,
    output: PathBuf,
}

impl Console {
    /// Starts a command; what it prints goes to a file.
    pub(super) fn start(mut command: Command, output: PathBuf) -> io::Result<Console> {
        let file = File::create(&output)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let input = child.stdin.take().ok_or_else(|| io::Error::other("no input"))?;
        Ok(Console { child, input, output })
    }

    /// Gives it a line.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")?;
        self.input.flush()
    }

    /// Returns what it has printed.
    pub(super) fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed something so many times.
    pub(super) fn wait(&self, text: &str, times: usize, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        while self.printed().matches(text).count() < times {
            if Instant::now() > deadline {
                let message = format!(
                    "'{text}' did not come within {timeout:?}, but:\n{}",
                    self.printed()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub(super) fn wait_end(&mut self, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                let message = format!("it did not end:\n{}", self.printed());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
