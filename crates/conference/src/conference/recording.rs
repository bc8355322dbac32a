//! Owns whether the conference is recorded, and who is told of it. Never records.

use std::sync::Arc;

use super::Conference;
use crate::play::Occasion;
use crate::{
    Audience, Effect, EventKind, GregorianSeconds, MediaName, ParticipantState, RecordingChoice,
    RecordingState, Refusal,
};

/// Where the instance's recording stands.
#[derive(Debug, Default)]
pub(super) enum Recording {
    /// There is none.
    #[default]
    None,
    /// It was asked for and has not begun.
    Starting,
    Running(RecordingState),
}

impl Recording {
    pub(super) fn state(&self) -> Option<&RecordingState> {
        match self {
            Recording::Running(state) => Some(state),
            Recording::None | Recording::Starting => None,
        }
    }
}

impl Conference {
    // What operators ask for.

    /// Asks for a recording, unless there is one.
    pub(super) fn record(&mut self, tracks: Option<bool>) {
        if matches!(self.recording, Recording::None) {
            self.recording = Recording::Starting;
            let choice = RecordingChoice {
                tracks: tracks.unwrap_or(self.settings.record_tracks),
                format: self.settings.record_format,
            };
            self.ask(Effect::StartRecording(choice));
        }
    }

    /// Ends the recording, if there is one.
    pub(super) fn stop_recording(&mut self, wall: GregorianSeconds) {
        // One that is about to begin finds that nobody waits for it.
        if let Recording::Running(state) = std::mem::take(&mut self.recording) {
            self.ask(Effect::StopRecording);
            self.tell_recording(wall, EventKind::StopRecording, &state.id, None);
            self.say_recording("conf-recording_stopped");
        }
    }

    /// Suspends the recording, or lets it go on. Repeating it repeats the event, but not what is said.
    pub(super) fn pause_recording(&mut self, wall: GregorianSeconds, paused: bool) -> Result<(), Refusal> {
        let Recording::Running(state) = &mut self.recording else {
            return Err(Refusal::NotRecording);
        };
        let changes = state.paused != paused;
        state.paused = paused;
        let id = Arc::clone(&state.id);
        self.ask(Effect::PauseRecording(paused));
        let (kind, prompt) = match paused {
            true => (EventKind::PauseRecording, "conf-recording_paused"),
            false => (EventKind::ResumeRecording, "conf-recording_resumed"),
        };
        self.tell_recording(wall, kind, &id, None);
        if changes {
            self.say_recording(prompt);
        }
        Ok(())
    }

    // What became of it.

    /// Takes note that the recording that was asked for has begun, and is kept under `id`. One that nobody waits for any more is refused, and to be
    /// ended.
    pub fn recording_started(&mut self, wall: GregorianSeconds, id: &str) -> Result<(), Refusal> {
        self.alive()?;
        if !matches!(self.recording, Recording::Starting) {
            return Err(Refusal::NotRecording);
        }
        let id = Arc::from(id);
        self.tell_recording(wall, EventKind::StartRecording, &id, None);
        self.recording = Recording::Running(RecordingState {
            id,
            paused: false,
            problem: None,
        });
        self.say_recording("conf-recording_started");
        Ok(())
    }

    /// Takes note that the recording that was asked for cannot be made.
    pub fn recording_failed(&mut self, wall: GregorianSeconds, problem: &str) -> Result<(), Refusal> {
        self.alive()?;
        if matches!(self.recording, Recording::Starting) {
            self.recording = Recording::None;
            self.publish_with(
                wall,
                EventKind::RecordingFailed,
                None,
                (None, Some(Arc::from(problem))),
            );
        }
        Ok(())
    }

    /// Takes note that nothing of the recording can be written at the moment, and why, or that it can again.
    pub fn recording_trouble(
        &mut self,
        wall: GregorianSeconds,
        problem: Option<&str>,
    ) -> Result<(), Refusal> {
        self.alive()?;
        if let Recording::Running(state) = &mut self.recording
            && state.problem.as_deref() != problem
        {
            state.problem = problem.map(Arc::from);
            let (id, problem) = (Arc::clone(&state.id), state.problem.clone());
            let kind = match problem {
                Some(_) => EventKind::RecordingFailing,
                None => EventKind::RecordingRecovered,
            };
            self.tell_recording(wall, kind, &id, problem);
        }
        Ok(())
    }

    // What follows from it.

    /// Begins the recording that the settings ask for, when the first has joined.
    pub(super) fn record_by_itself(&mut self) {
        if self.settings.record {
            self.record(None);
        }
    }

    /// Tells somebody who has just joined that he is recorded.
    pub(super) fn tell_recorded(&mut self, joined: &ParticipantState) {
        let is_on = matches!(&self.recording, Recording::Running(state) if !state.paused);
        if is_on
            && self.settings.announces_recording
            && !joined.ghost
            && let Some(speech) = &self.settings.sounds.speech
        {
            let media = speech.prompt("conf-is_recorded");
            self.tell(joined.id, vec![media]);
        }
    }

    fn say_recording(&mut self, prompt: &str) {
        if self.settings.announces_recording
            && self.counted() > 0
            && self.ending.is_none()
            && let Some(speech) = &self.settings.sounds.speech
        {
            let media = speech.prompt(prompt);
            self.start(Audience::Everybody, vec![media], Occasion::Notice);
        }
    }

    fn tell_recording(
        &mut self,
        wall: GregorianSeconds,
        kind: EventKind,
        id: &Arc<str>,
        problem: Option<Arc<str>>,
    ) {
        let file = MediaName::from(&**id);
        self.publish_with(wall, kind, None, (Some(file), problem));
    }
}
