//! Recording, told as examples.

use super::*;

impl Room {
    fn spoken() -> Room {
        Room::new(Settings {
            sounds: Sounds {
                speech: Some(Speech::new("en-us")),
                ..Sounds::default()
            },
            entry_tone: None,
            exit_tone: None,
            ..Settings::default()
        })
    }

    fn began(&mut self) {
        self.apply(Command::RecordingStarted { id: "4711".into() })
            .unwrap();
    }

    fn said(&mut self) -> Vec<(Audience, String)> {
        let plays = std::mem::take(&mut self.plays).into_iter();
        let said = plays.map(|play| match play {
            Effect::Play { audience, media, .. } => {
                (audience, media[0].as_str().replace("prompt:en-us/conf-", ""))
            }
            other => panic!("{other:?}"),
        });
        said.collect()
    }
}

#[test]
fn a_recording_is_told_to_whoever_watches_and_to_whoever_is_there() {
    let mut room = Room::spoken();
    room.enter(Role::Member);
    room.news();
    let choice = RecordingChoice {
        tracks: true,
        format: RecordingFormat::Wav,
    };
    room.control(Control::StartRecording { tracks: Some(true) })
        .unwrap();
    assert_eq!(room.effects, [Effect::StartRecording(choice)]);
    assert_eq!((room.news(), room.said()), (vec![], vec![]), "it has not begun");
    room.began();
    let file = room.events[0].file.clone();
    assert_eq!(file.unwrap().as_str(), "4711");
    assert_eq!(room.news(), [("start-recording", 0)]);
    room.control(Control::StartRecording { tracks: None }).unwrap();
    assert_eq!(room.effects.len(), 1, "one at a time");
    let joiner = room.enter(Role::Member);
    room.control(Control::PauseRecording).unwrap();
    room.control(Control::PauseRecording).unwrap();
    room.enter(Role::Member);
    room.control(Control::ResumeRecording).unwrap();
    room.control(Control::StopRecording).unwrap();
    room.control(Control::StopRecording).unwrap();
    let everybody = Audience::Everybody;
    let expected = [
        (everybody, "recording_started"),
        (Audience::One(joiner), "is_recorded"),
        (everybody, "recording_paused"),
        (everybody, "recording_resumed"),
        (everybody, "recording_stopped"),
    ];
    assert_eq!(
        room.said(),
        expected.map(|(audience, said)| (audience, said.to_owned()))
    );
    let names: Vec<_> = room.news().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "add-member",
            "pause-recording",
            "pause-recording",
            "add-member",
            "resume-recording",
            "stop-recording"
        ]
    );
    assert_eq!(room.control(Control::PauseRecording), Err(Refusal::NotRecording));
}

#[test]
fn a_conference_that_records_itself_begins_with_the_first_and_ends_before_its_end() {
    let mut room = Room::new(Settings {
        record: true,
        record_tracks: true,
        announces_recording: false,
        ..Room::spoken().conference.settings().clone()
    });
    let first = room.enter(Role::Member);
    assert!(room.effects.contains(&Effect::StartRecording(RecordingChoice {
        tracks: true,
        ..RecordingChoice::default()
    })));
    room.began();
    room.enter(Role::Member);
    assert_eq!(room.said(), [], "nobody is told");
    room.apply(Command::Leave {
        participant: first,
        cause: LeaveCause::HungUp,
    })
    .unwrap();
    room.news();
    room.control(Control::KickAll).unwrap();
    let names: Vec<_> = room.news().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "kick-member",
            "del-member",
            "stop-recording",
            "conference-destroy"
        ]
    );
    assert!(room.effects.ends_with(&[Effect::StopRecording, Effect::Destroy]));
}

#[test]
fn trouble_is_told_once_and_a_recording_that_cannot_be_made_is_none() {
    let mut room = Room::spoken();
    room.enter(Role::Member);
    room.news();
    room.control(Control::StartRecording { tracks: None }).unwrap();
    room.apply(Command::RecordingFailed {
        problem: "read-only".into(),
    })
    .unwrap();
    assert_eq!(room.events[0].data.as_deref(), Some("read-only"));
    room.control(Control::StartRecording { tracks: None }).unwrap();
    room.began();
    let full = || Command::RecordingTrouble {
        problem: Some("full".into()),
    };
    room.apply(full()).unwrap();
    room.apply(full()).unwrap();
    let shown = room.conference.snapshot().unwrap().recording.unwrap();
    assert_eq!(shown.problem.as_deref(), Some("full"));
    room.apply(Command::RecordingTrouble { problem: None }).unwrap();
    let names: Vec<_> = room.news().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "recording-failed",
            "start-recording",
            "recording-failing",
            "recording-recovered"
        ]
    );
}
