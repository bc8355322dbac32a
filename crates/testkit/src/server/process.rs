//! Owns what the operating system says about a process, and signals to it.

use std::fs;
use std::io;
use std::time::Duration;

/// Processor time and memory of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessUsage {
    /// User and system time of all its threads that are alive.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: usize,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl ProcessUsage {
    /// Reads the figures of process `id` from `/proc`: time in nanoseconds from the scheduler, not in clock ticks.
    pub fn of(id: u32) -> io::Result<Self> {
        let mut cpu_ns = 0u64;
        let mut threads = 0;
        for entry in fs::read_dir(format!("/proc/{id}/task"))? {
            let text = fs::read_to_string(entry?.path().join("schedstat")).unwrap_or_default();
            cpu_ns += text
                .split(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or(0);
            threads += 1;
        }
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident_kb = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()
        });
        let resident_bytes = resident_kb.unwrap_or(0) * 1024;
        let descriptors = fs::read_dir(format!("/proc/{id}/fd"))?.count();
        Ok(Self {
            cpu: Duration::from_nanos(cpu_ns),
            resident_bytes,
            threads,
            descriptors,
        })
    }
}

/// Sends a signal, one of the `libc::SIG…` numbers, to a process that this one has started.
#[allow(unsafe_code)]
pub fn signal(id: u32, signal: i32) -> io::Result<()> {
    let id = libc::pid_t::try_from(id).map_err(io::Error::other)?;
    // SAFETY: kill takes two integers and touches no memory of ours.
    if unsafe { libc::kill(id, signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_used_time_and_memory() {
        let usage = ProcessUsage::of(std::process::id()).expect("readable");
        assert!(
            usage.cpu > Duration::ZERO && usage.resident_bytes > 100_000,
            "{usage:?}"
        );
        assert!(usage.threads >= 1 && usage.descriptors >= 3, "{usage:?}");
    }
}
