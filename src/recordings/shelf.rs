//! Recordings as the API has them: each that has ended gets its media document, its files are sent and deleted. Owns how the folder and the
//! documents stay together: no recording goes because a document does not come about, and none comes back that was deleted.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use confab_api::{RecordingFile, RecordingFiles};
use confab_conference::{AccountId, GregorianSeconds};
use confab_documents::{Body, Expected, Kind, MAX_MEDIA_BYTES, SaveError, Store, is_id};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::adoption::DELETED;
use super::retention::{Limits, due};
use super::sheet::{Sheet, Stage, folder};
use super::timeline::TIMELINE;
use super::{Ended, FOLDER, unix_ms};

/// How long the shelf waits before it tries again to list what the store did not take.
const AGAIN: Duration = Duration::from_secs(10);

/// Files that a document names; those beyond are in the timeline alone.
const MOST_FILES: usize = 1000;

/// Characters that a document's name may have: the id of an ad-hoc conference may be longer.
const LONGEST_NAME: usize = 128;

/// How often the shelf looks for what is kept no longer.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// The recordings that have ended. Clones share them.
#[derive(Clone)]
pub(crate) struct Shelf {
    root: PathBuf,
    store: Store,
    limits: Limits,
}

impl Shelf {
    pub(crate) fn new(data_dir: &Path, store: Store, limits: Limits) -> Shelf {
        Shelf {
            root: data_dir.join(FOLDER),
            store,
            limits,
        }
    }

    /// Lists what ends, the oldest first, until nothing more can end; and deletes what is kept no longer.
    pub(crate) async fn run(self, mut ended: UnboundedReceiver<Ended>) {
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        loop {
            let mut next = tokio::select! {
                next = ended.recv() => match next {
                    Some(next) => next,
                    None => return,
                },
                _ = sweeps.tick(), if self.limits.are_set() => {
                    self.sweep().await;
                    continue;
                }
            };
            while let Err(error) = self.list(&mut next).await {
                tracing::warn!(recording = next.sheet.id, %error, "a recording has no document yet");
                tokio::time::sleep(AGAIN).await;
            }
            if self.limits.bytes.is_some() {
                self.sweep().await;
            }
        }
    }

    /// Deletes what is kept no longer. What the store does not give up now goes the next time.
    async fn sweep(&self) {
        let (root, limits) = (self.root.clone(), self.limits);
        let found = tokio::task::spawn_blocking(move || due(&root, limits, unix_ms())).await;
        for sheet in found.unwrap_or_default() {
            let account = AccountId::from(sheet.account_id.as_str());
            let gone = self
                .store
                .delete(&account, Kind::Media, &sheet.id, &Expected::Anything)
                .await;
            let outcome = match gone {
                Ok(_) | Err(SaveError::NotFound) => self
                    .delete(&account, &sheet.id)
                    .await
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match outcome {
                Ok(()) => tracing::info!(recording = sheet.id, "a recording is kept no longer"),
                Err(error) => {
                    tracing::warn!(recording = sheet.id, error, "a recording is still there");
                }
            }
        }
    }

    /// Makes the document of a recording.
    async fn list(&self, ended: &mut Ended) -> Result<(), SaveError> {
        let Ended { folder, sheet } = ended;
        let account = AccountId::from(sheet.account_id.as_str());
        let made = self.store.create(&account, Kind::Media, document(sheet)).await;
        match made {
            Ok(_) => {}
            // An earlier try was cut off behind it.
            Err(SaveError::Conflict) => {}
            Err(SaveError::NotFound) => {
                tracing::warn!(recording = sheet.id, folder = %folder.display(), "the account of a recording is gone; its files stay");
            }
            Err(SaveError::Invalid(violations)) => {
                tracing::error!(recording = sheet.id, folder = %folder.display(), ?violations, "a recording has no document; its files stay");
            }
            Err(error) => return Err(error),
        }
        sheet.stage = Stage::Listed;
        let (folder, sheet) = (folder.clone(), sheet.clone());
        let written = tokio::task::spawn_blocking(move || sheet.write(&folder)).await;
        if let Ok(Err(error)) = written {
            // It is listed again at the next start, and found to be.
            tracing::warn!(%error, "a recording's sheet could not be written");
        }
        Ok(())
    }

    /// Returns the folder of a recording, if there may be one of that name.
    fn folder(&self, account: &AccountId, id: &str) -> Option<PathBuf> {
        (is_id(account.as_str()) && is_id(id)).then(|| folder(&self.root, account.as_str(), id))
    }
}

/// Returns the document of a recording.
fn document(sheet: &Sheet) -> Body {
    let started = GregorianSeconds::from_unix(sheet.started_ms / 1000);
    let mix: u64 = sheet
        .files
        .iter()
        .filter(|file| file.of == "mix")
        .map(|file| file.octets)
        .sum();
    let mut value = json!({
        "id": sheet.id,
        "name": sheet.name.chars().take(LONGEST_NAME).collect::<String>(),
        "media_source": "recording",
        "source_type": "conference",
        "source_id": sheet.conference_id,
        "content_type": "audio/wav",
        "streamable": true,
        "recording": {
            "conference_id": sheet.conference_id,
            "instance_id": sheet.instance_id,
            "started": started.0,
            "duration_ms": sheet.duration_ms,
            "rate": sheet.rate_hz,
            "tracks": sheet.tracks,
            "interrupted": sheet.interrupted,
            "timeline": TIMELINE,
            "files": &sheet.files[..sheet.files.len().min(MOST_FILES)],
        },
    });
    if let Value::Object(body) = &mut value {
        // The schema wants an id of ours; an ad-hoc conference has another.
        if mix <= MAX_MEDIA_BYTES as u64 {
            // What is longer has no number in the schema; the files have theirs.
            body.insert("content_length".into(), mix.into());
        }
        if !is_id(&sheet.conference_id) {
            body.shift_remove("source_id");
        }
        return std::mem::take(body);
    }
    Body::new()
}

#[async_trait]
impl RecordingFiles for Shelf {
    async fn open(
        &self,
        account: &AccountId,
        id: &str,
        name: Option<&str>,
    ) -> io::Result<Option<RecordingFile>> {
        let Some(folder) = self.folder(account, id) else {
            return Ok(None);
        };
        let name = name.map(str::to_owned);
        let opened = tokio::task::spawn_blocking(move || open(&folder, name.as_deref()));
        opened.await.map_err(io::Error::other)?
    }

    async fn delete(&self, account: &AccountId, id: &str) -> io::Result<()> {
        let Some(folder) = self.folder(account, id) else {
            return Ok(());
        };
        let deleted = tokio::task::spawn_blocking(move || delete(&folder));
        deleted.await.map_err(io::Error::other)?
    }
}

/// Opens a file of a recording: the one of that name, or the first of the mix.
fn open(folder: &Path, name: Option<&str>) -> io::Result<Option<RecordingFile>> {
    let sheet = match Sheet::read(folder) {
        Ok(sheet) => sheet,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (name, content_type) = match name {
        Some(TIMELINE) => (TIMELINE.to_owned(), "application/json"),
        name => {
            let is_wanted = |known: &str| name.is_none_or(|name| name == known);
            match sheet.files.iter().find(|file| is_wanted(&file.name)) {
                Some(file) => (file.name.clone(), "audio/wav"),
                None => return Ok(None),
            }
        }
    };
    let file = match std::fs::File::open(folder.join(&name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    Ok(Some(RecordingFile {
        etag: format!("{}-{name}-{length}", sheet.id),
        name,
        content_type,
        length,
        file,
    }))
}

/// Deletes a folder: from the moment that it has its new name, it is gone.
fn delete(folder: &Path) -> io::Result<()> {
    let mut gone = folder.as_os_str().to_owned();
    gone.push(DELETED);
    match std::fs::rename(folder, &gone) {
        Ok(()) => std::fs::remove_dir_all(gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
