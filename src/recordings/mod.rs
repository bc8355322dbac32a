//! Recordings: what is taken out of mixes goes into files that are good at every moment. Owns the folder of recordings, the two threads
//! that fill it ([`collector`], [`writer`]) and what is found there at the start ([`adoption`]). Never decides what is recorded.
//!
//! ```text
//! shard ─ taps ─> collector: tracks on one clock ─ queue, 64 MB ─> writer: WAV files, events ─> shelf: media document
//! ```

mod adoption;
mod collector;
mod part;
mod retention;
mod sheet;
mod shelf;
mod timeline;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use confab_conference::{Event, Identity, ParticipantState, RecordingFormat};
use confab_media::{LegId, RecordingTaps};
use tokio::sync::mpsc;

use self::collector::{Begin, Collector, Request};
use self::part::{Of, Parts};
use self::sheet::{Sheet, Stage, folder, sync_folder};
use self::writer::{Backlog, Job, Open, Writer};

pub(crate) use self::adoption::adopt;
pub(crate) use self::retention::Limits;
pub(crate) use self::shelf::Shelf;
pub(crate) use self::writer::words;

/// The folder within the data directory.
const FOLDER: &str = "recordings";

/// What is told of a recording that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Nothing can be written at the moment, and why; `None` when it can again.
    Trouble(Option<String>),
}

/// Where notices go. Never waits.
pub(crate) struct Reporter(mpsc::Sender<Notice>);

impl Reporter {
    pub(crate) fn new(notices: mpsc::Sender<Notice>) -> Reporter {
        Reporter(notices)
    }

    fn tell(&self, notice: Notice) {
        // The conference has ended, or does not read for so long that the newest state is not news.
        let _ = self.0.try_send(notice);
    }
}

/// A recording whose files are whole.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) folder: PathBuf,
    pub(crate) sheet: Sheet,
}

/// What is to be recorded.
pub(crate) struct Order {
    pub(crate) identity: Identity,
    pub(crate) tracks: bool,
    pub(crate) format: RecordingFormat,
}

/// The recordings of the server. Clones share them.
#[derive(Clone)]
pub(crate) struct Recordings {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    rate_hz: u32,
    announces: bool,
    last_key: AtomicU64,
    requests: Mutex<Option<Sender<Request>>>,
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A recording that goes on. Dropping it ends it.
pub(crate) struct Recording {
    key: u64,
    id: String,
    requests: Sender<Request>,
}

impl Recordings {
    /// Starts the threads. Recordings lie in `data_dir`, at `rate_hz`; those that end are told to `ended`.
    pub(crate) fn start(
        data_dir: &Path,
        rate_hz: u32,
        announces: bool,
        ended: mpsc::UnboundedSender<Ended>,
    ) -> io::Result<Recordings> {
        let backlog = Backlog::default();
        let (jobs, for_writer) = channel();
        let (requests, for_collector) = channel();
        let threads = vec![
            Collector::start(for_collector, jobs.clone(), backlog.clone())?,
            Writer::start(for_writer, backlog, ended)?,
        ];
        Ok(Recordings {
            shared: Arc::new(Shared {
                root: data_dir.join(FOLDER),
                rate_hz,
                announces,
                last_key: AtomicU64::default(),
                requests: Mutex::new(Some(requests)),
                jobs: Mutex::new(Some(jobs)),
                threads: Mutex::new(threads),
            }),
        })
    }

    /// Returns whether participants are told that they are recorded.
    pub(crate) fn announces(&self) -> bool {
        self.shared.announces
    }

    /// Makes the files of a recording, and records what `taps` give from here on.
    ///
    /// # Errors
    /// Those of the disk; then nothing is left of it.
    pub(crate) async fn begin(
        &self,
        order: Order,
        taps: RecordingTaps,
        reporter: Reporter,
    ) -> io::Result<Recording> {
        let Order {
            identity,
            tracks,
            format,
        } = order;
        let id = format!("{:032x}", rand::random::<u128>());
        let started_ms = unix_ms();
        let sheet = Sheet {
            name: format!("conference_{}_{}", identity.conference_id, started_ms / 1000),
            id: id.clone(),
            account_id: identity.account_id.to_string(),
            conference_id: identity.conference_id.to_string(),
            instance_id: identity.instance_id.to_string(),
            started_ms,
            rate_hz: self.shared.rate_hz,
            tracks,
            format: format.as_str().to_owned(),
            stage: Stage::Recording,
            interrupted: false,
            duration_ms: 0,
            files: Vec::new(),
        };
        let root = self.shared.root.clone();
        let made = tokio::task::spawn_blocking(move || make(&root, sheet));
        let (folder, sheet, mix) = made.await.map_err(io::Error::other)??;
        let key = self.shared.last_key.fetch_add(1, Ordering::Relaxed);
        let ends = || io::Error::other("the server ends");
        let requests = lock(&self.shared.requests).clone().ok_or_else(ends)?;
        let jobs = lock(&self.shared.jobs).clone().ok_or_else(ends)?;
        let open = Box::new(Open {
            folder,
            sheet,
            mix,
            reporter,
        });
        jobs.send(Job::Open { key, open }).map_err(|_| ends())?;
        let begin = Box::new(Begin {
            taps,
            rate_hz: self.shared.rate_hz,
        });
        requests.send(Request::Begin { key, begin }).map_err(|_| ends())?;
        Ok(Recording { key, id, requests })
    }

    /// Ends what is still recorded, and returns when everything is written. Nothing is recorded from here on.
    pub(crate) async fn close(&self) {
        lock(&self.shared.requests).take();
        lock(&self.shared.jobs).take();
        let threads = std::mem::take(&mut *lock(&self.shared.threads));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the recordings broke down");
                }
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "the recordings were not waited for");
        }
    }
}

impl Recording {
    /// Returns the id under which it is kept.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Tells what happened in the conference, with the leg of the participant.
    pub(crate) fn hear(&self, event: &Arc<Event>, leg: Option<LegId>) {
        let event = Arc::clone(event);
        self.ask(Request::Event {
            key: self.key,
            event,
            leg,
        });
    }

    /// Tells of somebody who was there when it began.
    pub(crate) fn greet(&self, leg: LegId, state: ParticipantState) {
        let state = Box::new(state);
        self.ask(Request::Greet {
            key: self.key,
            leg,
            state,
        });
    }

    /// Leaves out what comes, or lets it in again.
    pub(crate) fn pause(&self, paused: bool) {
        self.ask(Request::Pause {
            key: self.key,
            paused,
        });
    }

    fn ask(&self, request: Request) {
        // Refused when the server ends and everything has been ended already.
        let _ = self.requests.send(request);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.ask(Request::End { key: self.key });
    }
}

/// Makes the folder of a recording and its first file.
fn make(root: &Path, sheet: Sheet) -> io::Result<(PathBuf, Sheet, Parts)> {
    let folder = folder(root, &sheet.account_id, &sheet.id);
    std::fs::create_dir_all(&folder)?;
    let mut mix = Parts::new(&folder, Of::Mix, sheet.rate_hz);
    let made = mix
        .begin()
        .and_then(|()| sheet.write(&folder))
        .and_then(|()| folder.parent().map_or(Ok(()), sync_folder));
    if let Err(error) = made {
        // Nothing was recorded yet.
        let _ = std::fs::remove_dir_all(&folder);
        return Err(error);
    }
    Ok((folder, sheet, mix))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Held for single moves: what a panic leaves behind is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
