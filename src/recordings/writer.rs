//! The thread that writes recordings to the disk. Owns their open files; waits for the disk as long as it takes, so that nobody else
//! has to. What it is given waits in a queue whose size others watch ([`Backlog`]).

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use confab_recording::Stretch;
use tokio::sync::mpsc::UnboundedSender;

use super::part::{Of, Parts};
use super::sheet::{Sheet, Stage, sync_folder};
use super::timeline::{self, LINES, Line, MOST_LINES};
use super::{Ended, Notice, Reporter};

/// How often what was written is brought to the disk, so that it outlasts the machine's stop.
const SYNC_EVERY: Duration = Duration::from_secs(10);

/// Files that may wait to be brought to the disk; those beyond have their turn the next time.
const SYNC_QUEUE: usize = 1024;

/// Octets that may wait to be written, of all recordings: some seconds of hundreds of tracks.
pub(super) const MOST_WAITING: usize = 64 << 20;

/// Octets that are under way to the thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// Returns whether there is room for so much, and takes it.
    pub(super) fn take(&self, octets: usize) -> bool {
        let has_room = self.0.load(Relaxed).saturating_add(octets) <= MOST_WAITING;
        if has_room {
            self.0.fetch_add(octets, Relaxed);
        }
        has_room
    }

    fn give_back(&self, octets: usize) {
        self.0.fetch_sub(octets, Relaxed);
    }
}

/// A recording, as the threads name it.
pub(super) type Key = u64;

/// What the thread is asked for.
pub(super) enum Job {
    /// Write a recording from here on. Its folder and the mix's first file are there.
    Open { key: Key, open: Box<Open> },
    /// Append audio to a track, which is begun where it is not there.
    Audio { key: Key, of: Of, stretch: Stretch },
    /// Audio that had no room in the queue.
    Missed { key: Key, of: Of, samples: u64 },
    /// Nothing will come of a track for a while.
    Rest { key: Key, of: Of },
    /// Keep an event.
    Line { key: Key, line: Line },
    /// End a recording. Its tracks are as long as its mix.
    Finish { key: Key },
}

/// A recording that was begun.
pub(super) struct Open {
    pub(super) folder: PathBuf,
    pub(super) sheet: Sheet,
    pub(super) mix: Parts,
    pub(super) reporter: Reporter,
}

/// Returns what a stretch takes of the backlog.
pub(super) fn weight(stretch: &Stretch) -> usize {
    stretch.samples.len() * 2 + 64
}

struct Written {
    folder: PathBuf,
    sheet: Sheet,
    tracks: Vec<(Of, Parts)>,
    lines: Option<File>,
    line_count: usize,
    reporter: Reporter,
    /// Tracks that could not be written the last time.
    failing: HashSet<usize>,
    changed: HashSet<usize>,
}

/// The thread's state.
pub(super) struct Writer {
    jobs: Receiver<Job>,
    backlog: Backlog,
    ended: UnboundedSender<Ended>,
    recordings: HashMap<Key, Written>,
    to_sync: SyncSender<File>,
    synced: Instant,
}

impl Writer {
    pub(super) fn start(
        jobs: Receiver<Job>,
        backlog: Backlog,
        ended: UnboundedSender<Ended>,
    ) -> io::Result<thread::JoinHandle<()>> {
        let (to_sync, files) = sync_channel::<File>(SYNC_QUEUE);
        thread::Builder::new()
            .name("recording-sync".into())
            .spawn(move || {
                for file in files {
                    // Tried again later; a disk that is full says so when something is written.
                    let _ = file.sync_data();
                }
            })?;
        let writer = Writer {
            jobs,
            backlog,
            ended,
            recordings: HashMap::new(),
            to_sync,
            synced: Instant::now(),
        };
        thread::Builder::new()
            .name("recording-write".into())
            .spawn(move || writer.run())
    }

    fn run(mut self) {
        loop {
            match self.jobs.recv_timeout(SYNC_EVERY) {
                Ok(job) => self.perform(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.synced.elapsed() >= SYNC_EVERY {
                self.synced = Instant::now();
                self.sync();
            }
        }
        // The server ends: nothing is left to come.
        let keys: Vec<Key> = self.recordings.keys().copied().collect();
        for key in keys {
            self.finish(key);
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Open { key, open } => {
                let Open {
                    folder,
                    sheet,
                    mix,
                    reporter,
                } = *open;
                let written = Written {
                    folder,
                    sheet,
                    tracks: vec![(Of::Mix, mix)],
                    lines: None,
                    line_count: 0,
                    reporter,
                    failing: HashSet::new(),
                    changed: HashSet::new(),
                };
                self.recordings.insert(key, written);
            }
            Job::Audio { key, of, stretch } => {
                if let Some(written) = self.recordings.get_mut(&key) {
                    let track = written.track(of);
                    let outcome = written.tracks[track].1.write(&stretch);
                    written.came_of(track, outcome);
                }
                self.backlog.give_back(weight(&stretch));
            }
            Job::Missed { key, of, samples } => {
                if let Some(written) = self.recordings.get_mut(&key) {
                    let track = written.track(of);
                    written.tracks[track].1.miss(samples);
                    let slow = io::Error::other("the disk is too slow");
                    written.came_of(track, Err(slow));
                }
            }
            Job::Rest { key, of } => {
                if let Some(written) = self.recordings.get_mut(&key) {
                    let track = written.track(of);
                    let outcome = written.tracks[track].1.rest();
                    written.came_of(track, outcome);
                }
            }
            Job::Line { key, line } => {
                if let Some(written) = self.recordings.get_mut(&key) {
                    written.note(&line);
                }
            }
            Job::Finish { key } => self.finish(key),
        }
    }

    /// Has what was written brought to the disk by the thread beside this one.
    fn sync(&mut self) {
        for written in self.recordings.values_mut() {
            for track in std::mem::take(&mut written.changed) {
                if let Some(file) = written.tracks[track].1.handle()
                    && self.to_sync.try_send(file).is_err()
                {
                    written.changed.insert(track);
                }
            }
        }
    }

    fn finish(&mut self, key: Key) {
        if let Some(written) = self.recordings.remove(&key) {
            let ended = written.finish();
            // Nobody lists it when the server ends: the next start does.
            let _ = self.ended.send(ended);
        }
    }
}

impl Written {
    fn track(&mut self, of: Of) -> usize {
        let known = self.tracks.iter().position(|(known, _)| *known == of);
        known.unwrap_or_else(|| {
            let parts = Parts::new(&self.folder, of, self.sheet.rate_hz);
            self.tracks.push((of, parts));
            self.tracks.len() - 1
        })
    }

    fn came_of(&mut self, track: usize, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => {
                self.changed.insert(track);
                if self.failing.remove(&track) && self.failing.is_empty() {
                    tracing::info!(recording = self.sheet.id, "the recording can be written again");
                    self.reporter.tell(Notice::Trouble(None));
                }
            }
            Err(error) => {
                let is_first = self.failing.is_empty();
                self.failing.insert(track);
                if is_first {
                    tracing::error!(recording = self.sheet.id, %error, "the recording cannot be written");
                    self.reporter.tell(Notice::Trouble(Some(words(&error))));
                }
            }
        }
    }

    fn note(&mut self, line: &Line) {
        if self.line_count >= MOST_LINES {
            return;
        }
        self.line_count += 1;
        let Ok(mut text) = serde_json::to_vec(line) else {
            return;
        };
        text.push(b'\n');
        if self.lines.is_none() {
            let mut options = OpenOptions::new();
            self.lines = options
                .append(true)
                .create(true)
                .open(self.folder.join(LINES))
                .ok();
        }
        let written = self.lines.as_mut().map(|file| file.write_all(&text));
        if let Some(Err(error)) = written {
            tracing::debug!(%error, "an event is missing in the timeline");
        }
    }

    fn finish(mut self) -> Ended {
        self.lines = None;
        let mut problem = None;
        for (_, parts) in std::mem::take(&mut self.tracks) {
            let (files, outcome) = parts.finish();
            self.sheet.files.extend(files);
            problem = problem.or(outcome.err());
        }
        self.sheet.close();
        let outcome = seal(&self.folder, &mut self.sheet);
        if let Some(error) = problem.or(outcome.err()) {
            tracing::error!(recording = self.sheet.id, %error, "the end of the recording was not written as it should");
            self.reporter.tell(Notice::Trouble(Some(words(&error))));
        }
        Ended {
            folder: self.folder,
            sheet: self.sheet,
        }
    }
}

impl Sheet {
    /// Takes from the files how long it is.
    pub(super) fn close(&mut self) {
        let mix = self.files.iter().filter(|file| file.of == "mix");
        self.duration_ms = mix.map(|file| file.duration_ms).sum();
        self.stage = Stage::Written;
    }
}

/// Writes what belongs beside the audio of a recording that is whole.
pub(super) fn seal(folder: &Path, sheet: &mut Sheet) -> io::Result<()> {
    timeline::compose(folder, sheet)?;
    sheet.write(folder)?;
    sync_folder(folder)
}

/// Returns what an operator is told of an error.
pub(crate) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".to_owned(),
        io::ErrorKind::PermissionDenied => "the folder may not be written".to_owned(),
        _ => error.to_string(),
    }
}
