//! A conference's recording: begun beside the task, for a disk may take its time, and told what happens. Owns who waits to hear whether it
//! has begun; never writes one.

use std::future::pending;
use std::io;
use std::sync::Arc;

use confab_conference::{Event, RecordingChoice, Refusal};
use confab_media::TrackChoice;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::request::Answer;
use super::{Task, wall};
use crate::conferences::media::MixPlane;
use crate::recordings::{Notice, Order, Recording, Reporter};

/// Notices that wait to be read.
const NOTICES: usize = 8;

/// What became of the beginning of a recording.
type Begun = io::Result<(Recording, mpsc::Receiver<Notice>)>;

/// What is heard of a recording.
pub(super) enum News {
    Begun(Begun),
    Notice(Notice),
}

/// The recording of one conference.
#[derive(Default)]
pub(super) struct Recorder {
    begins: JoinSet<Begun>,
    /// Who asked for it and is to hear what came of it.
    waiting: Vec<Answer<()>>,
    running: Option<(Recording, mpsc::Receiver<Notice>)>,
}

impl Recorder {
    /// Returns whether a recording is about to begin.
    pub(super) fn is_beginning(&self) -> bool {
        !self.begins.is_empty()
    }

    /// Has somebody hear what comes of the recording that is about to begin.
    pub(super) fn wait(&mut self, reply: Answer<()>) {
        self.waiting.push(reply);
    }

    /// Waits for news of a recording; for ever while there is none. Cancel-safe.
    pub(super) async fn news(&mut self) -> News {
        let Recorder { begins, running, .. } = self;
        let notice = async {
            match running {
                Some((_, notices)) => notices.recv().await,
                None => None,
            }
        };
        tokio::select! {
            Some(begun) = begins.join_next() => {
                News::Begun(begun.unwrap_or_else(|error| Err(io::Error::other(error))))
            }
            Some(notice) = notice => News::Notice(notice),
            else => pending().await,
        }
    }
}

impl<M: MixPlane> Task<M> {
    pub(super) fn start_recording(&mut self, choice: RecordingChoice) {
        let order = Order {
            identity: self.core.identity().clone(),
            tracks: choice.tracks,
            format: choice.format,
        };
        let (mix, recordings) = (Arc::clone(&self.mix), self.shared.recordings.clone());
        self.recorder.begins.spawn(async move {
            let recordings = recordings.ok_or_else(|| io::Error::other("this server records nothing"))?;
            let tracks = match choice.tracks {
                true => TrackChoice::MixAndTracks,
                false => TrackChoice::Mix,
            };
            let taps = M::record(&mix, tracks).await.map_err(io::Error::other)?;
            let (notices, heard) = mpsc::channel(NOTICES);
            let recording = recordings.begin(order, taps, Reporter::new(notices)).await?;
            Ok((recording, heard))
        });
    }

    pub(super) async fn recording_news(&mut self, news: News) {
        match news {
            News::Begun(begun) => self.recording_begun(begun).await,
            News::Notice(Notice::Trouble(problem)) => {
                // Refused at the end only.
                let _ = self.core.recording_trouble(wall(), problem.as_deref());
                self.perform().await;
            }
        }
    }

    /// Takes note of what became of the beginning of a recording.
    async fn recording_begun(&mut self, begun: Begun) {
        let outcome = match begun {
            Ok((recording, notices)) => {
                let wanted = self.core.recording_started(wall(), recording.id());
                if wanted.is_ok() {
                    self.greet(&recording);
                    self.recorder.running = Some((recording, notices));
                }
                // One that nobody waits for any more ends here.
                wanted
            }
            Err(error) => {
                tracing::error!(%error, "the recording cannot be begun");
                let problem = crate::recordings::words(&error);
                // Refused at the end only.
                let _ = self.core.recording_failed(wall(), &problem);
                Err(Refusal::Recording)
            }
        };
        self.perform().await;
        for reply in std::mem::take(&mut self.recorder.waiting) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(outcome);
        }
    }

    /// Tells the recording who is there.
    fn greet(&self, recording: &Recording) {
        let Ok(snapshot) = self.core.snapshot() else {
            return;
        };
        for state in snapshot.participants {
            if let Some(member) = self.members.get(&state.id) {
                recording.greet(M::leg_id(&member.leg), state);
            }
        }
    }

    pub(super) fn pause_recording(&self, paused: bool) {
        if let Some((recording, _)) = &self.recorder.running {
            recording.pause(paused);
        }
    }

    pub(super) fn stop_recording(&mut self) {
        self.recorder.running = None;
    }

    /// Tells the recording what happened.
    pub(super) fn record_event(&self, event: &Arc<Event>) {
        if let Some((recording, _)) = &self.recorder.running {
            let participant = event.participant.as_ref();
            let member = participant.and_then(|state| self.members.get(&state.id));
            recording.hear(event, member.map(|member| M::leg_id(&member.leg)));
        }
    }
}
