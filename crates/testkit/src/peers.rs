//! Owns the outside programs that play phones in the end-to-end tests: baresip, SIPp and espeak-ng.
//!
//! Writes their configuration, starts and ends them, reads what they leave behind. Never pretends to be one of them.

mod baresip;
mod sipp;
mod speech;

pub use baresip::{Baresip, BaresipAccount, BaresipConfig};
pub use sipp::{Sipp, SippReport, SippServer};
pub use speech::speak;

use std::io;
use std::process::{Command, Stdio};

/// Says whether a program can be started, and what to do when it cannot.
pub fn require(program: &str) -> io::Result<()> {
    let found = Command::new("which")
        .arg(program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if found.success() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{program} is not installed; tests/run installs it"),
    ))
}
