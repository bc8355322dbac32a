//! Owns how a caller comes to say his name: asked, after a tone, heard again where he may, until there is one or he says none. Knows no
//! audio: what is recorded is with the shell.

use confab_conference::{OwedKey, Role};

use super::{LONGEST_PLAY_MS, Output, Reception, State};
use crate::prompt::{Prompt, Saying};

/// The longest recording of a name, in milliseconds.
pub const LONGEST_NAME_MS: u64 = 60_000;

/// The tone after which a caller speaks: 440 Hz, half a second.
const BEEP: &str = "tone_stream://%(500,0,440)";

/// A caller who has his place, and is asked for his name before he joins.
#[derive(Debug)]
pub(super) struct Naming {
    role: Role,
    stage: Stage,
    /// When he is waited for no longer.
    pub(super) until: u64,
}

/// How far he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// He is asked; a key leads to the tone at once.
    Asked(u32),
    /// He hears the tone. Keys are without meaning.
    Beep(u32),
    /// He speaks, until a key.
    Speaking,
    /// What was recorded is made ready.
    Ending,
    /// He hears it again, then he has time to think: `1` accepts, other keys begin anew.
    Reviewing(Option<u32>),
}

impl Reception {
    /// Asks for the name of a caller who has his place.
    pub(super) fn ask_name(&mut self, now_ms: u64, role: Role) {
        self.owed = None;
        let sayings = vec![Saying::Prompt(Prompt::AnnounceYourName), beep()];
        self.play_for_name(now_ms, role, sayings, Stage::Asked);
    }

    /// Takes a key.
    pub(super) fn name_key(&mut self, now_ms: u64, key: char) {
        let State::Naming(Naming { role, stage, .. }) = self.state else {
            return;
        };
        match stage {
            Stage::Asked(_) => {
                self.outputs.push_back(Output::StopPlaying);
                self.play_for_name(now_ms, role, vec![beep()], Stage::Beep);
            }
            Stage::Speaking => self.stop_recording(role),
            Stage::Reviewing(play) => {
                if play.is_some() {
                    self.outputs.push_back(Output::StopPlaying);
                }
                if key == '1' {
                    self.owed = None;
                    self.say_joining(now_ms, role);
                } else {
                    self.ask_name(now_ms, role);
                }
            }
            Stage::Beep(_) | Stage::Ending => {}
        }
    }

    /// Takes the end of a play.
    pub(super) fn name_played(&mut self, now_ms: u64, number: u32) {
        let State::Naming(Naming { role, stage, .. }) = self.state else {
            return;
        };
        match stage {
            Stage::Asked(play) | Stage::Beep(play) if play == number => {
                self.outputs.push_back(Output::Record);
                self.name_stage(role, Stage::Speaking, now_ms.saturating_add(LONGEST_NAME_MS));
            }
            Stage::Reviewing(Some(play)) if play == number => {
                let until = now_ms.saturating_add(self.timeout_ms());
                self.name_stage(role, Stage::Reviewing(None), until);
            }
            _ => {}
        }
    }

    /// Does what time asks for: what plays, or is said, is broken off; who thinks too long accepts.
    pub(super) fn name_timed_out(&mut self, now_ms: u64) {
        let State::Naming(Naming { role, stage, .. }) = self.state else {
            return;
        };
        match stage {
            Stage::Asked(play) | Stage::Beep(play) | Stage::Reviewing(Some(play)) => {
                self.outputs.push_back(Output::StopPlaying);
                self.name_played(now_ms, play);
            }
            Stage::Speaking => {
                self.owed = Some(OwedKey::Any);
                self.stop_recording(role);
            }
            Stage::Reviewing(None) => {
                self.owed = Some(OwedKey::Any);
                self.say_joining(now_ms, role);
            }
            Stage::Ending => {}
        }
    }

    /// Takes the end of a recording, which comes after [`Output::StopRecording`], or before it when the caller has fallen silent:
    /// whether there is anything in it.
    pub fn recorded(&mut self, now_ms: u64, is_something: bool) {
        let State::Naming(Naming { role, stage, .. }) = self.state else {
            return;
        };
        if !matches!(stage, Stage::Speaking | Stage::Ending) {
            return;
        }
        if stage == Stage::Speaking {
            self.owed = Some(OwedKey::Any);
        }
        let names = self.candidate.as_ref().and_then(|candidate| candidate.flow.names);
        if is_something && names.is_some_and(|names| names.reviews) {
            let sayings = vec![
                Saying::Prompt(Prompt::YourAnnouncement),
                Saying::Name,
                Saying::Prompt(Prompt::Review),
            ];
            return self.play_for_name(now_ms, role, sayings, |play| Stage::Reviewing(Some(play)));
        }
        self.say_joining(now_ms, role);
    }

    fn stop_recording(&mut self, role: Role) {
        self.outputs.push_back(Output::StopRecording);
        self.name_stage(role, Stage::Ending, self.latest_end);
    }

    fn play_for_name(&mut self, now_ms: u64, role: Role, sayings: Vec<Saying>, stage: fn(u32) -> Stage) {
        let language = self.language();
        let play = self.play(sayings, language);
        let longest = if matches!(stage(play), Stage::Reviewing(_)) {
            LONGEST_NAME_MS + LONGEST_PLAY_MS
        } else {
            LONGEST_PLAY_MS
        };
        self.name_stage(role, stage(play), now_ms.saturating_add(longest));
    }

    fn name_stage(&mut self, role: Role, stage: Stage, until: u64) {
        self.state = State::Naming(Naming { role, stage, until });
    }
}

fn beep() -> Saying {
    Saying::Media(BEEP.to_owned())
}
