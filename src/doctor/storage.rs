//! The data directory: whether it can be written to, how much room there is, who works in it, and who can read the key.

use std::{
    fs::{File, TryLockError},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access, statvfs};

use super::Finding;
use crate::{config::Config, data_lock};

/// Room below which a day of calls and recordings may not fit, bytes.
const LITTLE_ROOM: u64 = 1 << 30;

/// Looks at the data directory. Returns whether a server works in it now.
pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) -> bool {
    let what = "data_dir";
    let directory = &config.data_dir;
    let shown = directory.display();
    let there = nearest(directory);
    if access(&there, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let nearest = there.display();
        let text = format!(
            "{shown}: {nearest} cannot be written to; let the server's user write there, or set data_dir"
        );
        findings.push(Finding::wrong(what, text));
        return false;
    }
    match statvfs(&there) {
        Ok(room) => {
            let free = room.f_bavail.saturating_mul(room.f_frsize);
            let megabytes = free / 1_000_000;
            findings.push(if free < LITTLE_ROOM {
                Finding::doubtful(
                    what,
                    format!("{shown}: {megabytes} MB are free; recordings want more"),
                )
            } else {
                Finding::fine(what, format!("{shown}: {megabytes} MB free"))
            });
        }
        Err(error) => findings.push(Finding::doubtful(
            what,
            format!("{shown}: room unknown ({error})"),
        )),
    }
    if let Some(finding) = key_file(&directory.join("confab.key")) {
        findings.push(finding);
    }
    if !config.store_url.0.is_empty() {
        findings.push(Finding::fine(
            "store.url",
            "a PostgreSQL database; whether it answers is told at start and by /health/ready",
        ));
    }
    let running = is_running(&directory.join(data_lock::LOCK_FILE));
    if running {
        let text = "a server works in data_dir: its ports are not tried";
        findings.push(Finding::fine("server", text));
    }
    running
}

/// Returns the directory itself, or the nearest one above it that exists: there it would be made.
fn nearest(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let found = absolute.ancestors().find(|path| path.exists());
    found.unwrap_or(Path::new("/")).to_path_buf()
}

/// Says who can read the key that seals passwords, if there is one.
fn key_file(path: &Path) -> Option<Finding> {
    let mode = path.metadata().ok()?.permissions().mode();
    let what = "key file";
    Some(if mode & 0o077 == 0 {
        Finding::fine(what, "for its owner alone")
    } else {
        let shown = path.display();
        Finding::doubtful(what, format!("{shown} can be read by others: chmod 600 {shown}"))
    })
}

fn is_running(lock: &Path) -> bool {
    let Ok(file) = File::open(lock) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_key_that_others_can_read_is_doubtful() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        assert_eq!(key_file(&path), None);
        std::fs::write(&path, "secret").expect("written");
        for (mode, verdict) in [
            (0o600, Verdict::Fine),
            (0o640, Verdict::Doubtful),
            (0o604, Verdict::Doubtful),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(key_file(&path).expect("a finding").verdict, verdict, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(nearest(&folder.path().join("a/b/c")), folder.path());
    }

    #[test]
    fn a_server_is_known_by_its_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join(data_lock::LOCK_FILE);
        assert!(!is_running(&lock));
        let held = crate::data_lock::DataLock::take(folder.path()).expect("taken");
        assert!(is_running(&lock));
        drop(held);
        assert!(!is_running(&lock));
    }
}
