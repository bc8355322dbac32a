//! `confab doctor`: looks at the machine with the eyes of the configuration and says what would go wrong, and what to do about it.
//!
//! Owns the findings and how they are told; each file beside this one looks at one thing. Changes nothing: ports are bound and let go at
//! once, the data directory is written to by nobody. May run beside the server.

mod certificates;
mod machine;
mod names;
mod network;
mod storage;

use std::{fmt, path::Path, process::ExitCode};

use crate::{
    config::{Config, Overrides},
    listen,
};

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    /// A key of the configuration, or what else was looked at.
    what: String,
    /// What is there, and what to do where something is wrong.
    text: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Fine,
    /// It works, but not for everybody, or not for long.
    Doubtful,
    /// Calls or requests fail.
    Wrong,
}

impl Finding {
    fn fine(what: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Verdict::Fine, what, text)
    }

    fn doubtful(what: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Verdict::Doubtful, what, text)
    }

    fn wrong(what: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Verdict::Wrong, what, text)
    }

    fn new(verdict: Verdict, what: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding {
            verdict,
            what: what.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::Doubtful => "doubt",
            Verdict::Wrong => "WRONG",
        };
        write!(f, "{verdict:<6} {:<26} {}", self.what, self.text)
    }
}

/// Looks at everything and writes a line for each thing to standard output. Exit code 1 when something is wrong, 0 otherwise.
pub(crate) fn run(path: Option<&Path>, data_dir: Option<&Path>) -> ExitCode {
    let overrides = Overrides {
        data_dir: data_dir.map(Path::to_path_buf),
    };
    let mut config = match Config::load(path, std::env::vars_os(), &overrides) {
        Ok(config) => config,
        Err(error) => {
            println!("{}", Finding::wrong("configuration", error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let from = path.map_or("defaults and environment".to_owned(), |path| {
        path.display().to_string()
    });
    let mut findings = vec![Finding::fine("configuration", from)];
    if !listen::has_ipv6() {
        let keys = config.without_ipv6().into_iter();
        findings.extend(keys.map(|key| Finding::fine(key, "this machine has no IPv6: [::] is left out")));
    }
    let idle = config.idle_keys().into_iter();
    findings.extend(idle.map(|idle| Finding::doubtful(idle.key, format!("set, but {}", idle.why))));
    let running = storage::look(&config, &mut findings);
    network::look(&config, running, &mut findings);
    names::look(&config, &mut findings);
    certificates::look(&config, &mut findings);
    machine::look(&config, &mut findings);
    for finding in &findings {
        println!("{finding}");
    }
    let count = |verdict| {
        findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let (doubtful, wrong) = (count(Verdict::Doubtful), count(Verdict::Wrong));
    println!("{wrong} wrong, {doubtful} doubtful, {} looked at", findings.len());
    if wrong > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
