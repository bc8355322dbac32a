//! Owns what this crate asks of the recordings' files. Never opens one.

use std::io;

use async_trait::async_trait;
use confab_conference::AccountId;

/// A file of a recording, opened.
#[derive(Debug)]
pub struct RecordingFile {
    /// Its name, such as `mix.wav`.
    pub name: String,
    /// Its type.
    pub content_type: &'static str,
    /// Bytes that it has.
    pub length: u64,
    /// Other bytes have another one.
    pub etag: String,
    /// Where they are read from.
    pub file: std::fs::File,
}

/// The files of recordings that have ended. Implemented by the server.
#[async_trait]
pub trait RecordingFiles: Send + Sync {
    /// Opens a file of a recording, or without a name the first of its mix; `None` when there is none.
    ///
    /// # Errors
    /// Those of the disk.
    async fn open(
        &self,
        account: &AccountId,
        id: &str,
        name: Option<&str>,
    ) -> io::Result<Option<RecordingFile>>;

    /// Deletes all files of a recording. One that is not there is no error.
    ///
    /// # Errors
    /// Those of the disk.
    async fn delete(&self, account: &AccountId, id: &str) -> io::Result<()>;
}

/// There are no recordings.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRecordings;

#[async_trait]
impl RecordingFiles for NoRecordings {
    async fn open(&self, _: &AccountId, _: &str, _: Option<&str>) -> io::Result<Option<RecordingFile>> {
        Ok(None)
    }

    async fn delete(&self, _: &AccountId, _: &str) -> io::Result<()> {
        Ok(())
    }
}
