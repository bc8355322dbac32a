//! The lock on the data directory: one server at a time works in it.
//!
//! Owns the lock file and nothing else in the directory. The lock is the system's (flock), so that it ends with the
//! process, however that ends; the file stays.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};

/// Name of the file that is locked.
pub(crate) const LOCK_FILE: &str = "confab.lock";

/// Holds the data directory for as long as it lives.
#[derive(Debug)]
pub(crate) struct DataLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl DataLock {
    /// Takes the lock of `data_dir`, which is made when it is not there.
    ///
    /// # Errors
    /// Another process has it, or the directory cannot be written to.
    pub(crate) fn take(data_dir: &Path) -> anyhow::Result<Self> {
        let shown = data_dir.display();
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("data_dir: cannot make {shown} (set data_dir to a writable folder)"))?;
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o640);
        let file = options.open(data_dir.join(LOCK_FILE)).with_context(|| {
            format!("data_dir: cannot write to {shown} (set data_dir to a writable folder)")
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                bail!("data_dir: another server works in {shown} (end it, or give this one another data_dir)")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("data_dir: cannot lock {shown}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_until_he_lets_go() {
        let directory = std::env::temp_dir().join(format!("confab-lock-{}", std::process::id()));
        let first = DataLock::take(&directory).unwrap();
        let error = DataLock::take(&directory).unwrap_err().to_string();
        assert!(error.contains("another server works in"), "{error}");
        drop(first);
        drop(DataLock::take(&directory).unwrap());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
