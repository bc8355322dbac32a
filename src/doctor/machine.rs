//! The machine: its clock, and what this user may have of it.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::process::{Resource, getrlimit};

use super::{Finding, Verdict};
use crate::config::Config;

/// Capability to set priorities (capabilities(7)): its bit in the masks of `/proc`.
const CAP_SYS_NICE: u32 = 23;
/// Sockets of one call, and files that the server has open beside calls.
const FILES_PER_CALL: u64 = 2;
const FILES_BESIDE: u64 = 512;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    findings.push(priority(
        getrlimit(Resource::Rtprio).maximum,
        fs::read_to_string("/proc/self/status")
            .unwrap_or_default()
            .as_str(),
    ));
    let room = (config.media.ports.end() - config.media.ports.start()) as usize / 2;
    let calls = if config.sip.max_calls > 0 {
        config.sip.max_calls.min(room)
    } else {
        room
    };
    findings.push(open_files(getrlimit(Resource::Nofile).maximum, calls as u64));
    let built = std::env::current_exe()
        .and_then(|path| path.metadata()?.modified())
        .ok();
    findings.push(clock(SystemTime::now(), built, is_kept_in_time()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    findings.push(if cores < 2 {
        Finding::doubtful("cores", "one: signalling and mixing share it")
    } else {
        Finding::fine("cores", cores.to_string())
    });
}

/// Says whether mixing may have real-time priority: by the limit on priorities, `None` for no limit, or by a capability.
fn priority(limit: Option<u64>, status: &str) -> Finding {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let capable = mask.is_some_and(|mask| mask >> CAP_SYS_NICE & 1 == 1);
    let what = "real-time priority";
    if capable || limit.is_none_or(|limit| limit > 0) {
        Finding::fine(what, "mixing may have it")
    } else {
        Finding::doubtful(
            what,
            "mixing may not have it, and is late when others work: LimitRTPRIO=99 for systemd, --cap-add SYS_NICE for containers",
        )
    }
}

/// Says whether as many calls as are allowed may have their sockets; `None` for no limit.
fn open_files(limit: Option<u64>, calls: u64) -> Finding {
    let (what, wanted) = ("open files", calls * FILES_PER_CALL + FILES_BESIDE);
    match limit {
        Some(limit) if limit < wanted => {
            let fitting = limit.saturating_sub(FILES_BESIDE) / FILES_PER_CALL;
            let text =
                format!("{limit}, enough for {fitting} calls of {calls}: LimitNOFILE={wanted} for systemd");
            Finding::doubtful(what, text)
        }
        Some(limit) => Finding::fine(what, format!("{limit}, enough for {calls} calls")),
        None => Finding::fine(what, "no limit"),
    }
}

/// Whether some program keeps the clock right, by what such programs leave behind. `None` when nothing tells.
fn is_kept_in_time() -> Option<bool> {
    let there = |path: &str| Path::new(path).exists();
    let kept = [
        "/run/systemd/timesync/synchronized",
        "/run/chrony/chronyd.pid",
        "/run/ntpd.pid",
        "/run/ntpsec/ntpd.pid",
    ];
    if kept.into_iter().any(there) {
        Some(true)
    } else if there("/run/systemd/timesync") {
        Some(false)
    } else {
        None
    }
}

/// Says whether the clock can be right: it is not when this program is from the future.
fn clock(now: SystemTime, built: Option<SystemTime>, kept: Option<bool>) -> Finding {
    let what = "clock";
    let ahead = built.and_then(|built| built.duration_since(now).ok());
    if ahead.is_some_and(|ahead| ahead > Duration::from_secs(86_400)) {
        return Finding::wrong(
            what,
            "before the time at which this program was made: set it, or certificates and nonces fail",
        );
    }
    let (verdict, text) = match kept {
        Some(true) => (Verdict::Fine, "kept in time by a program of this machine"),
        Some(false) => (
            Verdict::Doubtful,
            "systemd-timesyncd runs and has not reached a server",
        ),
        None => (
            Verdict::Fine,
            "plausible; whether something keeps it in time is not to be seen here",
        ),
    };
    Finding::new(verdict, what, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_comes_by_limit_or_by_capability() {
        let status = |mask: &str| format!("Name:\tconfab\nCapEff:\t{mask}\nThreads:\t1\n");
        for (limit, mask, verdict) in [
            (Some(0), "0000000000000000", Verdict::Doubtful),
            (Some(0), "0000000000800000", Verdict::Fine),
            (Some(0), "000001ffff7fffff", Verdict::Doubtful),
            (Some(99), "0000000000000000", Verdict::Fine),
            (None, "0", Verdict::Fine),
            (Some(0), "junk", Verdict::Doubtful),
        ] {
            assert_eq!(
                priority(limit, &status(mask)).verdict,
                verdict,
                "{limit:?} {mask}"
            );
        }
    }

    #[test]
    fn files_have_to_be_enough_for_the_calls() {
        assert_eq!(open_files(Some(1024), 8192).verdict, Verdict::Doubtful);
        assert!(open_files(Some(1024), 8192).text.contains("256 calls of 8192"));
        assert_eq!(open_files(Some(1024), 256).verdict, Verdict::Fine);
        assert_eq!(open_files(None, 8192).verdict, Verdict::Fine);
    }

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let days = |days: u64| now + Duration::from_secs(days * 86_400);
        assert_eq!(clock(now, Some(days(2)), Some(true)).verdict, Verdict::Wrong);
        assert_eq!(clock(now, Some(days(1)), Some(true)).verdict, Verdict::Fine);
        assert_eq!(clock(now, None, Some(false)).verdict, Verdict::Doubtful);
        assert_eq!(clock(now, None, None).verdict, Verdict::Fine);
    }
}
