//! What one conference does, told as examples. The random sequences are in `tests/model.rs`.

mod admission;
mod announcing;
mod controls;
mod playing;
mod pressing;
mod recording;
mod talking;

use crate::*;

struct Room {
    conference: Conference,
    events: Vec<Event>,
    /// Those that are no plays.
    effects: Vec<Effect>,
    plays: Vec<Effect>,
}

impl Room {
    fn new(settings: Settings) -> Room {
        let identity = Identity {
            account_id: AccountId::from("account"),
            conference_id: ConferenceId::from("conference"),
            instance_id: InstanceId::from("instance"),
        };
        Room {
            conference: Conference::new(identity, settings, Box::new(SequentialIds::default())),
            events: Vec::new(),
            effects: Vec::new(),
            plays: Vec::new(),
        }
    }

    /// Members unmuted, so that they can talk.
    fn open() -> Room {
        Room::new(Settings {
            member: RoleSettings::default(),
            ..Settings::default()
        })
    }

    fn apply(&mut self, command: Command) -> Result<Reply, Refusal> {
        let reply = self.conference.apply(GregorianSeconds::from_unix(1_000), command);
        while let Some(output) = self.conference.poll_output() {
            match output {
                Output::Event(event) => self.events.push((*event).clone()),
                Output::Effect(play @ Effect::Play { .. }) => self.plays.push(play),
                Output::Effect(effect) => self.effects.push(effect),
            }
        }
        reply
    }

    fn reserve(&mut self, role: Role, entry: Entry) -> Result<ParticipantId, Refusal> {
        match self.apply(Command::Reserve {
            caller: Caller::new("call"),
            role,
            entry,
        })? {
            Reply::Reserved(id) => Ok(id),
            other => panic!("a reservation answered {other:?}"),
        }
    }

    fn enter(&mut self, role: Role) -> ParticipantId {
        let id = self.reserve(role, Entry::DialIn).unwrap();
        self.apply(Command::Join { participant: id }).unwrap();
        id
    }

    fn control(&mut self, control: Control) -> Result<Reply, Refusal> {
        self.apply(Command::Control(control))
    }

    fn talk(&mut self, participant: ParticipantId, talking: bool) {
        self.apply(Command::Talking { participant, talking }).unwrap();
    }

    fn pass_floor(&mut self, holder: Option<ParticipantId>) {
        self.apply(Command::Floor { holder }).unwrap();
    }

    fn state(&self, id: ParticipantId) -> ParticipantState {
        self.conference
            .snapshot()
            .unwrap()
            .participant(id)
            .unwrap()
            .clone()
    }

    fn floor(&self) -> Option<ParticipantId> {
        let snapshot = self.conference.snapshot().unwrap();
        snapshot
            .participants
            .iter()
            .find(|state| state.floor)
            .map(|state| state.id)
    }

    /// The events since the last call: name and participant number (0 for none).
    fn news(&mut self) -> Vec<(&'static str, u64)> {
        std::mem::take(&mut self.events)
            .iter()
            .map(|event| {
                (
                    event.kind.name(),
                    event.participant.as_ref().map_or(0, |state| state.id.get()),
                )
            })
            .collect()
    }
}

#[test]
fn an_instance_lives_from_the_first_join_to_the_last_leave() {
    let mut room = Room::open();
    let first = room.reserve(Role::Member, Entry::DialIn).unwrap();
    assert_eq!(room.conference.snapshot(), Err(Refusal::NotRunning));
    assert_eq!(room.control(Control::MuteAll), Err(Refusal::NotRunning));
    assert_eq!(room.news(), []);
    room.apply(Command::Join { participant: first }).unwrap();
    let second = room.enter(Role::Moderator);
    room.apply(Command::Leave {
        participant: first,
        cause: LeaveCause::HungUp,
    })
    .unwrap();
    room.apply(Command::Leave {
        participant: second,
        cause: LeaveCause::MediaTimeout,
    })
    .unwrap();
    let sequences: Vec<u64> = room.events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        room.events[4].kind,
        EventKind::DelMember(LeaveCause::MediaTimeout)
    );
    assert_eq!(
        room.news(),
        [
            ("conference-create", 0),
            ("add-member", 1),
            ("add-member", 2),
            ("del-member", 1),
            ("del-member", 2),
            ("conference-destroy", 0)
        ]
    );
    assert_eq!(room.effects, [Effect::Destroy]);
    assert!(room.conference.is_ended());
    assert_eq!(room.reserve(Role::Member, Entry::DialIn), Err(Refusal::Ended));
    assert_eq!(room.conference.snapshot(), Err(Refusal::Ended));
}

#[test]
fn an_instance_nobody_joined_ends_without_an_event() {
    let mut room = Room::open();
    let first = room.reserve(Role::Member, Entry::DialIn).unwrap();
    let second = room.reserve(Role::Member, Entry::DialIn).unwrap();
    room.apply(Command::Release { participant: first }).unwrap();
    assert!(!room.conference.is_ended());
    room.apply(Command::Release { participant: second }).unwrap();
    assert!(room.conference.is_ended());
    assert_eq!(room.news(), []);
    assert_eq!(room.effects, [Effect::Destroy]);
}

#[test]
fn an_outstanding_reservation_keeps_an_empty_instance() {
    let mut room = Room::open();
    let first = room.enter(Role::Member);
    let late = room.reserve(Role::Member, Entry::DialIn).unwrap();
    room.apply(Command::Leave {
        participant: first,
        cause: LeaveCause::HungUp,
    })
    .unwrap();
    assert_eq!(room.conference.snapshot().unwrap().participants, []);
    room.apply(Command::Join { participant: late }).unwrap();
    room.control(Control::Kick(late)).unwrap();
    assert!(room.conference.is_ended());
    let news = room.news();
    assert_eq!(
        news.iter()
            .filter(|(name, _)| *name == "conference-create")
            .count(),
        1
    );
    assert_eq!(news.last(), Some(&("conference-destroy", 0)));
}

#[test]
fn controls_repeat_their_event_but_not_their_effect() {
    let mut room = Room::open();
    let id = room.enter(Role::Moderator);
    room.news();
    for control in [
        Control::Mute(id),
        Control::Unmute(id),
        Control::Deaf(id),
        Control::Undeaf(id),
    ] {
        room.control(control.clone()).unwrap();
        room.control(control).unwrap();
    }
    let names: Vec<&str> = room.news().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "mute-member",
            "mute-member",
            "unmute-member",
            "unmute-member",
            "deaf-member",
            "deaf-member",
            "undeaf-member",
            "undeaf-member"
        ]
    );
    let participant = id;
    assert_eq!(
        room.effects,
        [
            Effect::SetMuted {
                participant,
                muted: true
            },
            Effect::SetMuted {
                participant,
                muted: false
            },
            Effect::SetDeaf {
                participant,
                deaf: true
            },
            Effect::SetDeaf {
                participant,
                deaf: false
            },
        ]
    );
}

#[test]
fn a_kick_hangs_up_and_takes_the_participant_off_at_once() {
    let mut room = Room::open();
    let stays = room.enter(Role::Member);
    let goes = room.enter(Role::Moderator);
    room.talk(goes, true);
    room.pass_floor(Some(goes));
    room.news();
    room.control(Control::Kick(goes)).unwrap();
    let gone = room.events[0].participant.clone().unwrap();
    assert!(gone.talking && gone.floor, "del-member carries the last flags");
    assert_eq!(room.events[1].participant, Some(gone));
    assert_eq!(room.events[1].kind, EventKind::DelMember(LeaveCause::Kicked));
    assert_eq!(room.news(), [("kick-member", 2), ("del-member", 2)]);
    assert_eq!(
        room.effects,
        [Effect::HangUp {
            participant: goes,
            cause: LeaveCause::Kicked,
            farewell: None,
        }]
    );
    assert_eq!(
        room.control(Control::Kick(goes)),
        Err(Refusal::UnknownParticipant(goes))
    );
    let late = Command::Leave {
        participant: goes,
        cause: LeaveCause::HungUp,
    };
    assert_eq!(room.apply(late), Err(Refusal::UnknownParticipant(goes)));
    assert_eq!(room.conference.participants().collect::<Vec<_>>(), [stays]);
}

#[test]
fn every_control_of_an_unknown_participant_is_refused() {
    let mut room = Room::open();
    room.enter(Role::Member);
    let held = room.reserve(Role::Member, Entry::DialIn).unwrap();
    room.news();
    let stranger = ParticipantId::new(99).unwrap();
    for id in [held, stranger] {
        for control in [
            Control::Mute(id),
            Control::Unmute(id),
            Control::Deaf(id),
            Control::Undeaf(id),
            Control::Kick(id),
        ] {
            assert_eq!(room.control(control), Err(Refusal::UnknownParticipant(id)));
        }
    }
    assert_eq!(
        room.apply(Command::Join {
            participant: stranger
        }),
        Err(Refusal::UnknownParticipant(stranger))
    );
    assert_eq!(room.news(), []);
    assert_eq!(room.effects, []);
}

#[test]
fn bulk_controls_touch_members_in_need_and_kick_touches_everybody() {
    let mut room = Room::open();
    let a = room.enter(Role::Member);
    let b = room.enter(Role::Member);
    let chair = room.enter(Role::Moderator);
    room.control(Control::Mute(a)).unwrap();
    room.news();
    room.control(Control::MuteAll).unwrap();
    assert_eq!(room.news(), [("mute-member", 2)]);
    room.control(Control::UnmuteAll).unwrap();
    assert_eq!(room.news(), [("unmute-member", 1), ("unmute-member", 2)]);
    room.control(Control::Deaf(b)).unwrap();
    room.news();
    room.control(Control::DeafAll).unwrap();
    assert_eq!(room.news(), [("deaf-member", 1)]);
    room.control(Control::UndeafAll).unwrap();
    assert_eq!(room.news(), [("undeaf-member", 1), ("undeaf-member", 2)]);
    assert!(!room.state(chair).muted && !room.state(chair).deaf);
    room.talk(b, true);
    room.news();
    room.control(Control::KickAll).unwrap();
    assert_eq!(
        room.news(),
        [
            ("kick-member", 1),
            ("del-member", 1),
            ("kick-member", 2),
            ("del-member", 2),
            ("kick-member", 3),
            ("del-member", 3),
            ("conference-destroy", 0)
        ]
    );
    assert!(room.conference.is_ended());
}

#[test]
fn the_end_hangs_everybody_up_and_lets_reservations_lapse() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    let held = room.reserve(Role::Member, Entry::DialIn).unwrap();
    room.news();
    room.apply(Command::End {
        cause: LeaveCause::ServerShutdown,
    })
    .unwrap();
    assert_eq!(
        room.news(),
        [("hup-member", 1), ("del-member", 1), ("conference-destroy", 0)]
    );
    let cause = LeaveCause::ServerShutdown;
    assert_eq!(
        room.effects,
        [
            Effect::HangUp {
                participant: id,
                cause,
                farewell: None,
            },
            Effect::Destroy
        ]
    );
    assert_eq!(
        room.apply(Command::Join { participant: held }),
        Err(Refusal::Ended)
    );
    assert_eq!(room.apply(Command::End { cause }), Err(Refusal::Ended));
}

#[test]
fn a_reading_refuses_events_that_do_not_follow() {
    let mut room = Room::open();
    room.enter(Role::Member);
    room.control(Control::Lock).unwrap();
    let events = std::mem::take(&mut room.events);
    assert_eq!(Snapshot::begin(&events[1]), None);
    let mut reading = Snapshot::begin(&events[0]).unwrap();
    assert_eq!(
        reading.follow(&events[2]),
        Err(Discontinuity::Gap {
            expected: 2,
            found: 3
        })
    );
    assert_eq!(
        reading.follow(&events[0]),
        Err(Discontinuity::Gap {
            expected: 2,
            found: 1
        })
    );
    let mut foreign = events[1].clone();
    foreign.instance_id = InstanceId::from("another");
    assert!(matches!(
        reading.follow(&foreign),
        Err(Discontinuity::OtherInstance { .. })
    ));
    for event in &events[1..] {
        reading.follow(event).unwrap();
    }
    assert_eq!(reading, room.conference.snapshot().unwrap());
    assert_eq!(reading.duration_s(GregorianSeconds::from_unix(1_090)), 90);
    assert_eq!(
        reading.duration_s(GregorianSeconds::from_unix(10)),
        0,
        "the wall clock was set back"
    );
}

#[test]
fn debug_output_of_a_caller_shows_neither_name_nor_number() {
    let caller = Caller {
        caller_id_name: "Ada".into(),
        caller_id_number: "4930123".into(),
        ..Caller::new("call-7")
    };
    let text = format!("{caller:?}");
    assert!(text.contains("call-7") && !text.contains("Ada") && !text.contains("4930123"));
}

#[test]
fn ids_parse_and_print() {
    assert_eq!("17".parse::<ParticipantId>().unwrap().to_string(), "17");
    for wrong in ["0", "-1", "x", "", "18446744073709551616"] {
        assert!(wrong.parse::<ParticipantId>().is_err(), "{wrong}");
    }
    assert_eq!(ConferenceId::from("3000").as_str(), "3000");
}

#[test]
fn a_key_that_was_pressed_is_told() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    room.news();
    for key in ['5', 'D'] {
        let pressed = Command::KeyPressed { participant: id, key };
        room.apply(pressed).unwrap();
        assert_eq!(room.events[0].kind, EventKind::KeyMember(key));
        assert_eq!(room.news(), [("dtmf-member", 1)]);
    }
    let unknown = ParticipantId::new(9).unwrap();
    let pressed = Command::KeyPressed {
        participant: unknown,
        key: '5',
    };
    assert_eq!(room.apply(pressed), Err(Refusal::UnknownParticipant(unknown)));
}

#[test]
fn every_event_name_is_listed_once_and_on_its_side() {
    let kinds = [
        EventKind::ConferenceCreate,
        EventKind::ConferenceDestroy,
        EventKind::Lock,
        EventKind::Unlock,
        EventKind::FloorChange,
        EventKind::AddMember,
        EventKind::DelMember(LeaveCause::HungUp),
        EventKind::KickMember,
        EventKind::HupMember,
        EventKind::StartTalking,
        EventKind::StopTalking,
        EventKind::MuteMember,
        EventKind::UnmuteMember,
        EventKind::DeafMember,
        EventKind::UndeafMember,
        EventKind::HoldMember,
        EventKind::UnholdMember,
        EventKind::VolumeInMember,
        EventKind::VolumeOutMember,
        EventKind::EnergyLevelMember,
        EventKind::AgcMember,
        EventKind::DenoiseMember,
        EventKind::RaiseHandMember,
        EventKind::LowerHandMember,
        EventKind::PlayFile,
        EventKind::PlayFileDone,
        EventKind::PlayFileMember,
        EventKind::PlayFileMemberDone,
        EventKind::PlayFileFailed(PlayFailure::Unknown),
        EventKind::PlayFileMemberFailed(PlayFailure::Unknown),
        EventKind::EnterSound,
        EventKind::ExitSound,
        EventKind::StartRecording,
        EventKind::StopRecording,
        EventKind::PauseRecording,
        EventKind::ResumeRecording,
        EventKind::RecordingFailed,
        EventKind::RecordingFailing,
        EventKind::RecordingRecovered,
        EventKind::DtmfMember,
        EventKind::KeyMember('1'),
        EventKind::KeyEventMember,
        EventKind::PinGuardBlock { seconds: 900 },
        EventKind::ReleaseMember,
        EventKind::ReplaceMember,
    ];
    let mut listed: Vec<&str> = [EventKind::LEG_NAMES, EventKind::CONFERENCE_NAMES].concat();
    for kind in kinds {
        let names = if kind.is_about_leg() {
            EventKind::LEG_NAMES
        } else {
            EventKind::CONFERENCE_NAMES
        };
        assert!(names.contains(&kind.name()), "{kind:?}");
        listed.retain(|name| *name != kind.name());
    }
    assert_eq!(listed, [""; 0], "names of no event");
}
