//! Names: whether somebody answers who is asked for them.

use std::time::Duration;

use super::Finding;
use crate::{config::Config, signalling::Resolver};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    let key = "sip.name_servers";
    let servers = &config.sip.name_servers;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let answered = runtime.block_on(async {
        let resolver = Resolver::new(servers);
        let asked = tokio::time::timeout(PATIENCE, resolver.is_answered());
        asked.await.unwrap_or(false)
    });
    let whose = if servers.is_empty() {
        "those of this machine"
    } else {
        "they"
    };
    findings.push(if answered {
        Finding::fine(key, format!("{whose} answer"))
    } else {
        Finding::doubtful(
            key,
            format!(
                "{whose} do not answer: who is called by the name of a domain is not found; name servers here that do, or mend /etc/resolv.conf"
            ),
        )
    });
}
