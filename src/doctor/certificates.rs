//! Certificates: whether they can be used, and for how long; authorities: whether there are any.

use std::time::{Duration, SystemTime};

use super::Finding;
use crate::{
    config::Config,
    tls::{TlsFile, authorities},
};

/// How long before its end a certificate should have been renewed.
const SOON: Duration = Duration::from_secs(14 * 86_400);

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    let now = SystemTime::now();
    for (usage, files) in config.tls_files() {
        let name = files.certificate.display();
        let key = usage.key_of(TlsFile::Certificate);
        let finding = if let Err(error) = files.check().and_then(|()| files.check_time(now)) {
            Finding::wrong(usage.key_of(error.file), error.text)
        } else if files.check_time(now + SOON).is_err() {
            Finding::doubtful(
                key,
                format!("{name} ends within 14 days: renew it, then kill -HUP the server"),
            )
        } else {
            Finding::fine(key, format!("{name} is good for 14 days and more"))
        };
        findings.push(finding);
    }
    for (key, file) in config.authorities() {
        findings.push(match authorities(file) {
            Ok(roots) => Finding::fine(key, format!("{} has {} of them", file.display(), roots.len())),
            Err(text) => Finding::wrong(key, text),
        });
    }
}
