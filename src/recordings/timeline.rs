//! Who was there, who talked and who was muted when, on the recording's clock. While it is recorded, a line for each event
//! (`events.jsonl`); in the end, `timeline.json`. Owns both forms. Never hears audio.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use confab_conference::{Event, EventKind, ParticipantState};
use serde::{Deserialize, Serialize};

use super::sheet::{AudioFile, Sheet, replace};

/// The events' file, and what is made of it.
pub(super) const LINES: &str = "events.jsonl";
pub(crate) const TIMELINE: &str = "timeline.json";

/// Events that are kept of a recording; what comes beyond is left out, and said to be.
pub(super) const MOST_LINES: usize = 500_000;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Where in the recording.
    pub(super) at_ms: u64,
    pub(super) event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) participant_id: Option<u64>,
    /// With those who are there from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) who: Option<Who>,
    /// How long something was missing or paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) length_ms: Option<u64>,
}

/// Who somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Who {
    pub(super) name: String,
    pub(super) number: String,
    pub(super) call_id: String,
    pub(super) moderator: bool,
    pub(super) muted: bool,
    pub(super) deaf: bool,
}

impl Line {
    /// Returns what is kept of an event of the conference, if anything is.
    pub(super) fn of(at_ms: u64, event: &Event) -> Option<Line> {
        let is_kept = matches!(
            event.kind,
            EventKind::DelMember(_)
                | EventKind::StartTalking
                | EventKind::StopTalking
                | EventKind::MuteMember
                | EventKind::UnmuteMember
                | EventKind::DeafMember
                | EventKind::UndeafMember
                | EventKind::HoldMember
                | EventKind::UnholdMember
                | EventKind::ReleaseMember
                | EventKind::PauseRecording
                | EventKind::ResumeRecording
        );
        let state = event.participant.as_ref();
        match (event.kind, state) {
            (EventKind::AddMember, Some(state)) => Some(Line::joined(at_ms, state)),
            _ if is_kept => Some(Line {
                at_ms,
                event: event.kind.name().to_owned(),
                participant_id: state.map(|state| state.id.get()),
                who: None,
                length_ms: None,
            }),
            _ => None,
        }
    }

    /// Returns the line of somebody who is there from here on.
    pub(super) fn joined(at_ms: u64, state: &ParticipantState) -> Line {
        Line {
            at_ms,
            event: "add-member".to_owned(),
            participant_id: Some(state.id.get()),
            who: Some(Who {
                name: state.caller.caller_id_name.clone(),
                number: state.caller.caller_id_number.clone(),
                call_id: state.caller.call_id.clone(),
                moderator: state.role == confab_conference::Role::Moderator,
                muted: state.muted,
                deaf: state.deaf,
            }),
            length_ms: None,
        }
    }

    /// Returns the lines of somebody who was there when it began, and may have been talking.
    pub(super) fn present(state: &ParticipantState) -> Vec<Line> {
        let mut lines = vec![Line::joined(0, state)];
        if state.talking {
            lines.push(Line {
                at_ms: 0,
                event: EventKind::StartTalking.name().to_owned(),
                participant_id: Some(state.id.get()),
                who: None,
                length_ms: None,
            });
        }
        lines
    }

    /// Returns the line of audio that is missing, and silence in the files.
    pub(super) fn gap(at_ms: u64, participant_id: Option<u64>, length_ms: u64) -> Line {
        Line {
            at_ms,
            event: "gap".to_owned(),
            participant_id,
            who: None,
            length_ms: Some(length_ms),
        }
    }
}

#[derive(Debug, Serialize)]
struct Timeline<'a> {
    recording_id: &'a str,
    account_id: &'a str,
    conference_id: &'a str,
    name: &'a str,
    /// RFC 3339 UTC.
    started: String,
    rate: u32,
    duration_ms: u64,
    files: &'a [AudioFile],
    participants: Vec<Participant>,
    spurts: Vec<Spurt>,
    events: Vec<Line>,
    /// More happened than is kept.
    truncated: bool,
}

#[derive(Debug, Serialize)]
struct Participant {
    participant_id: u64,
    #[serde(flatten)]
    who: Who,
    join_ms: u64,
    leave_ms: u64,
}

/// Somebody talks.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Spurt {
    participant_id: u64,
    begin_ms: u64,
    end_ms: u64,
}

/// Makes the timeline of a recording of what was kept of its events, in the place of one that is there.
pub(super) fn compose(folder: &Path, sheet: &Sheet) -> io::Result<()> {
    let lines = match File::open(folder.join(LINES)) {
        Ok(file) => read(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let timeline = arrange(sheet, lines);
    replace(folder, TIMELINE, &serde_json::to_vec_pretty(&timeline)?)
}

/// Reads the lines that are whole: the last may not be.
fn read(file: File) -> Vec<Line> {
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines
        .filter_map(|line| serde_json::from_str(&line).ok())
        .take(MOST_LINES)
        .collect()
}

fn arrange(sheet: &Sheet, lines: Vec<Line>) -> Timeline<'_> {
    let end = sheet.duration_ms;
    let truncated = lines.len() >= MOST_LINES;
    let mut participants: Vec<Participant> = Vec::new();
    let mut spurts = Vec::new();
    let mut talks: BTreeMap<u64, u64> = BTreeMap::new();
    let mut events = Vec::new();
    for line in lines {
        let at = line.at_ms.min(end);
        let Some(id) = line.participant_id else {
            events.push(line);
            continue;
        };
        let mut falls_silent = || {
            if let Some(begin_ms) = talks.remove(&id) {
                spurts.push(Spurt {
                    participant_id: id,
                    begin_ms,
                    end_ms: at,
                });
            }
        };
        match line.event.as_str() {
            "add-member" => participants.push(Participant {
                participant_id: id,
                who: line.who.unwrap_or_default(),
                join_ms: at,
                leave_ms: end,
            }),
            "del-member" => {
                falls_silent();
                if let Some(gone) = participants.iter_mut().rfind(|known| known.participant_id == id) {
                    gone.leave_ms = at;
                }
            }
            "start-talking" => drop(talks.entry(id).or_insert(at)),
            "stop-talking" => falls_silent(),
            _ => events.push(line),
        }
    }
    spurts.extend(talks.into_iter().map(|(participant_id, begin_ms)| Spurt {
        participant_id,
        begin_ms,
        end_ms: end,
    }));
    spurts.sort_by_key(|spurt| (spurt.begin_ms, spurt.participant_id));
    Timeline {
        recording_id: &sheet.id,
        account_id: &sheet.account_id,
        conference_id: &sheet.conference_id,
        name: &sheet.name,
        started: crate::wall_clock::rfc3339(
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(sheet.started_ms),
        ),
        rate: sheet.rate_hz,
        duration_ms: end,
        files: &sheet.files,
        participants,
        spurts,
        events,
        truncated,
    }
}
