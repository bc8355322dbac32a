//! The thread that takes what the mixes give and lays it on the recordings' clocks. Owns the taps. Never touches the disk, so that no disk
//! makes it miss anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use confab_conference::{Event, EventKind, ParticipantId, ParticipantState};
use confab_media::{LegId, RecordingTaps, Tap, TrackTaps};
use confab_recording::Track;

use super::part::Of;
use super::timeline::Line;
use super::writer::{Backlog, Job, Key, weight};

/// How often the taps are read.
const ROUND: Duration = Duration::from_millis(20);

/// How much audio is written at a time, in milliseconds: with the round, less than 200 ms are lost whatever becomes of the server.
const PIECE_MS: u64 = 100;

/// The same for silence of a track.
const SILENT_PIECE_MS: u64 = 1000;

/// How long a leg's audio waits to be known whose it is, in milliseconds.
const STRANGER_MS: u64 = 2000;

/// What the thread is asked for.
pub(super) enum Request {
    /// Record from here on.
    Begin { key: Key, begin: Box<Begin> },
    /// Something happened in the conference; with the leg of the participant, where it is about one.
    Event {
        key: Key,
        event: Arc<Event>,
        leg: Option<LegId>,
    },
    /// Somebody was there when it began.
    Greet {
        key: Key,
        leg: LegId,
        state: Box<ParticipantState>,
    },
    /// Leave out what comes, or go on.
    Pause { key: Key, paused: bool },
    /// End the recording.
    End { key: Key },
}

/// A recording that begins.
pub(super) struct Begin {
    pub(super) taps: RecordingTaps,
    pub(super) rate_hz: u32,
}

/// One track on its way from its tap to its file.
struct Lane {
    of: Option<Of>,
    leg: Option<LegId>,
    /// `None` when it has given everything, and for the server's, which is with those to come.
    tap: Option<Tap>,
    track: Option<Track>,
    /// Where in the recording it began, in milliseconds.
    since_ms: u64,
    missed_ms: u64,
}

impl Lane {
    fn new(of: Option<Of>, leg: Option<LegId>, tap: Option<Tap>, since_ms: u64) -> Lane {
        Lane {
            of,
            leg,
            tap,
            track: None,
            since_ms,
            missed_ms: 0,
        }
    }
}

struct Running {
    key: Key,
    rate_hz: u32,
    mix: Lane,
    /// The server's and the legs', in the order in which they came.
    lanes: Vec<Lane>,
    /// Those of the server and of legs to come.
    tracks: Option<TrackTaps>,
    people: HashMap<LegId, ParticipantId>,
    /// Where the mix's audio began, on its clock, and how far it has come.
    origin_ms: Option<u64>,
    clock_ms: u64,
    /// From when, and until when where that is known.
    pauses: Vec<(u64, Option<u64>)>,
}

/// The thread's state.
pub(super) struct Collector {
    requests: Receiver<Request>,
    jobs: Sender<Job>,
    backlog: Backlog,
    running: Vec<Running>,
    samples: Vec<i16>,
}

impl Collector {
    pub(super) fn start(
        requests: Receiver<Request>,
        jobs: Sender<Job>,
        backlog: Backlog,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let collector = Collector {
            requests,
            jobs,
            backlog,
            running: Vec::new(),
            samples: Vec::new(),
        };
        std::thread::Builder::new()
            .name("recording-taps".into())
            .spawn(move || collector.run())
    }

    fn run(mut self) {
        loop {
            let request = match self.running.is_empty() {
                true => self.requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.requests.recv_timeout(ROUND),
            };
            match request {
                Ok(request) => {
                    self.handle(request);
                    while let Ok(request) = self.requests.try_recv() {
                        self.handle(request);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.round();
        }
        for mut recording in std::mem::take(&mut self.running) {
            recording.pump(&mut self.samples);
            recording.end(&self.jobs, &self.backlog);
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Begin { key, begin } => {
                let mut recording = Running::new(key, *begin);
                recording.pump(&mut self.samples);
                self.running.push(recording);
            }
            Request::Event { key, event, leg } => {
                if let Some(recording) = self.find(key) {
                    let line = recording.hear(&event, leg);
                    if let Some(line) = line {
                        let _ = self.jobs.send(Job::Line { key, line });
                    }
                }
            }
            Request::Greet { key, leg, state } => {
                if let Some(recording) = self.find(key) {
                    recording.people.insert(leg, state.id);
                    for line in Line::present(&state) {
                        let _ = self.jobs.send(Job::Line { key, line });
                    }
                }
            }
            Request::Pause { key, paused } => {
                if let Some(at) = self.running.iter().position(|known| known.key == key) {
                    self.running[at].pump(&mut self.samples);
                    self.running[at].pause(paused);
                }
            }
            Request::End { key } => {
                if let Some(at) = self.running.iter().position(|known| known.key == key) {
                    let mut recording = self.running.swap_remove(at);
                    recording.pump(&mut self.samples);
                    recording.end(&self.jobs, &self.backlog);
                }
            }
        }
    }

    fn find(&mut self, key: Key) -> Option<&mut Running> {
        self.running.iter_mut().find(|known| known.key == key)
    }

    fn round(&mut self) {
        for recording in &mut self.running {
            recording.pump(&mut self.samples);
            recording.hand_on(false, &self.jobs, &self.backlog);
        }
    }
}

impl Running {
    fn new(key: Key, begin: Begin) -> Running {
        let Begin { taps, rate_hz } = begin;
        let RecordingTaps { mix, tracks } = taps;
        let mut recording = Running {
            key,
            rate_hz,
            mix: Lane::new(Some(Of::Mix), None, Some(mix), 0),
            lanes: Vec::new(),
            tracks,
            people: HashMap::new(),
            origin_ms: None,
            clock_ms: 0,
            pauses: Vec::new(),
        };
        if recording.tracks.is_some() {
            recording.lanes.push(Lane::new(Some(Of::Server), None, None, 0));
        }
        recording
    }

    /// Reads all taps.
    fn pump(&mut self, samples: &mut Vec<i16>) {
        let here = self.position_ms();
        // Legs before blocks: a leg comes out before the first block that it is part of.
        while let Some(new) = self.tracks.as_mut().and_then(TrackTaps::next_leg) {
            self.lanes
                .push(Lane::new(None, Some(new.leg), Some(new.tap), here));
        }
        let (rate_hz, pauses) = (self.rate_hz, &self.pauses);
        let (origin, clock) = (&mut self.origin_ms, &mut self.clock_ms);
        for lane in std::iter::once(&mut self.mix).chain(&mut self.lanes) {
            let tap = match (lane.of, &mut self.tracks) {
                (Some(Of::Server), Some(tracks)) => Some(&mut tracks.server),
                _ => lane.tap.as_mut(),
            };
            let Some(tap) = tap else {
                continue;
            };
            // Asked before it is read: what is over and read empty gives nothing more.
            let is_over = tap.is_over();
            while let Some(block) = tap.next(samples) {
                let begun = *origin.get_or_insert(block.at_ms);
                let track = lane.track.get_or_insert_with(|| {
                    let mut track = Track::new(rate_hz, begun);
                    for &(from_ms, until_ms) in pauses {
                        track.pause(from_ms);
                        until_ms.into_iter().for_each(|until_ms| track.resume(until_ms));
                    }
                    track.be_silent_until(block.at_ms);
                    track
                });
                let end_ms = block.at_ms + samples.len() as u64 * 1000 / u64::from(block.rate_hz.max(1));
                *clock = end_ms.max(*clock);
                track.lay(block.at_ms, block.rate_hz, samples, block.is_silence);
            }
            if is_over {
                lane.tap = None;
            }
        }
    }

    /// Returns where in the recording its mix is.
    fn position_ms(&self) -> u64 {
        self.mix.track.as_ref().map_or(0, Track::position_ms)
    }

    fn hear(&mut self, event: &Event, leg: Option<LegId>) -> Option<Line> {
        let id = event.participant.as_ref().map(|state| state.id);
        match (event.kind, leg, id) {
            (EventKind::AddMember, Some(leg), Some(id)) => drop(self.people.insert(leg, id)),
            (EventKind::DelMember(_), _, Some(id)) => {
                // His audio is named before he is forgotten.
                self.name();
                self.people.retain(|_, known| *known != id);
            }
            _ => {}
        }
        Line::of(self.position_ms(), event)
    }

    fn pause(&mut self, paused: bool) {
        let at_ms = self.clock_ms;
        match self.pauses.last_mut() {
            Some((_, until @ None)) if !paused => *until = Some(at_ms),
            None | Some((_, Some(_))) if paused => self.pauses.push((at_ms, None)),
            _ => return,
        }
        for lane in std::iter::once(&mut self.mix).chain(&mut self.lanes) {
            match (&mut lane.track, paused) {
                (Some(track), true) => track.pause(at_ms),
                (Some(track), false) => track.resume(at_ms),
                (None, _) => {}
            }
        }
    }

    /// Says whose the lanes are, as far as that is known.
    fn name(&mut self) {
        for lane in &mut self.lanes {
            if let (None, Some(leg)) = (lane.of, lane.leg) {
                lane.of = self.people.get(&leg).map(|id| Of::Participant(id.get()));
            }
        }
    }

    /// Gives the writer what is there.
    fn hand_on(&mut self, all: bool, jobs: &Sender<Job>, backlog: &Backlog) {
        self.name();
        let (here, key, rate_hz) = (self.position_ms(), self.key, u64::from(self.rate_hz));
        for lane in std::iter::once(&mut self.mix).chain(&mut self.lanes) {
            let Some(track) = &mut lane.track else {
                continue;
            };
            let is_stranger = lane.of.is_none();
            if is_stranger && !all && here.saturating_sub(lane.since_ms) < STRANGER_MS {
                continue;
            }
            let of = *lane.of.get_or_insert(Of::Leg(lane.leg.map_or(0, |leg| leg.0)));
            let missed = track.missed_ms() - lane.missed_ms;
            if missed > 0 {
                lane.missed_ms += missed;
                let participant = match of {
                    Of::Participant(id) => Some(id),
                    _ => None,
                };
                let line = Line::gap(track.position_ms(), participant, missed);
                let _ = jobs.send(Job::Line { key, line });
            }
            let waiting = track.waiting();
            let least = match (of, waiting.samples.is_empty()) {
                (Of::Mix, _) | (_, false) => PIECE_MS,
                _ => SILENT_PIECE_MS,
            };
            if waiting.is_empty() || (!all && waiting.len() * 1000 < least * rate_hz) {
                continue;
            }
            let stretch = track.take();
            let job = match backlog.take(weight(&stretch)) {
                true => Job::Audio { key, of, stretch },
                false => Job::Missed {
                    key,
                    of,
                    samples: stretch.len(),
                },
            };
            let _ = jobs.send(job);
            if lane.tap.is_none() && lane.leg.is_some() {
                let _ = jobs.send(Job::Rest { key, of });
            }
        }
    }

    /// Ends the recording: all tracks are as long as the mix.
    fn end(mut self, jobs: &Sender<Job>, backlog: &Backlog) {
        for lane in &mut self.lanes {
            if let Some(track) = &mut lane.track {
                track.be_silent_until(self.clock_ms);
            }
        }
        self.hand_on(true, jobs, backlog);
        let _ = jobs.send(Job::Finish { key: self.key });
    }
}
