//! Owns the printed report: one table that can be pasted into bench/README.md.

use std::process::Command;
use std::{fmt, fs};

use super::{Scenario, ServerFigures, Window};

/// Where a run took place.
pub struct Machine {
    cores: usize,
    model: String,
    kernel: String,
    commit: String,
}

impl Machine {
    /// Reads what the system says about itself.
    pub fn read() -> Self {
        let file = |path| fs::read_to_string(path).unwrap_or_default();
        let model = file("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                Some(
                    line.strip_prefix("model name")?
                        .split_once(':')?
                        .1
                        .trim()
                        .to_owned(),
                )
            })
            .unwrap_or_default();
        let commit = Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .output();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            model,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit
                .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores of {}, Linux {}, commit {}",
            self.cores, self.model, self.kernel, self.commit
        )
    }
}

/// One measured program under one scenario.
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Under which load.
    pub scenario: Scenario,
    /// The window.
    pub window: Window,
    /// The server's own figures, where it was the server.
    pub server: Option<ServerFigures>,
    /// Resident memory before the first call.
    pub resident_before: u64,
    /// Further remarks.
    pub notes: Vec<String>,
}

impl Row {
    fn cpu_ms(&self) -> f64 {
        self.window
            .cpu_ms_per_participant_second(self.scenario.participants())
    }
}

/// Prints all rows; ratios are taken to the reflectors of the same scenario.
pub fn print_report(machine: &Machine, rows: &[Row]) {
    println!("\n{machine}");
    println!(
        "\n| scenario | program | CPU ms per participant-second | ratio to it | KB per participant | generator: core share, late p99 / p99.9 µs | packets sent / back / missing |"
    );
    println!("|---|---|---|---|---|---|---|");
    for row in rows {
        let server = rows
            .iter()
            .find(|other| other.scenario == row.scenario && other.server.is_some());
        let ratio = match (row.server.is_some(), server) {
            (false, Some(server)) => format!("{:.2}", server.cpu_ms() / row.cpu_ms()),
            _ => "–".to_owned(),
        };
        let memory = row.window.resident_bytes.saturating_sub(row.resident_before) as f64
            / 1024.0
            / row.scenario.participants() as f64;
        let generator = &row.window.generator;
        println!(
            "| {} | {} | {:.4} | {ratio} | {memory:.1} | {:.2}, {} / {} | {} / {} / {} |",
            row.scenario,
            row.name,
            row.cpu_ms(),
            generator.core_share,
            generator.late_us.0,
            generator.late_us.1,
            generator.sent,
            generator.received,
            generator.missing,
        );
    }
    for row in rows {
        let Some(server) = &row.server else { continue };
        println!("\n{} on {}:", row.name, row.scenario);
        println!(
            "- tick lateness p50 ≤ {:.2} ms, p99 ≤ {:.2} ms, p99.9 ≤ {:.2} ms; share later than 5 ms {:.5}; skipped {}",
            server.late_s.0 * 1e3,
            server.late_s.1 * 1e3,
            server.late_s.2 * 1e3,
            server.late_share,
            server.skipped,
        );
        println!(
            "- mixing part of a tick p99 ≤ {:.2} ms; packets sent {}, dropped {}; shards under SCHED_FIFO {} of {}",
            server.tick_s * 1e3,
            server.sent,
            server.dropped,
            server.real_time_shards.0,
            server.real_time_shards.1,
        );
        let generator = if row.window.generator.real_time {
            "under SCHED_FIFO"
        } else {
            "without real-time priority"
        };
        println!(
            "- generator {generator}, its worst turn {} µs late",
            row.window.generator.late_us.2
        );
        row.notes.iter().for_each(|note| println!("- {note}"));
    }
}
