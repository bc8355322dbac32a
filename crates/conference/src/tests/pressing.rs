//! Keys do what the controls of the interface do, and tell the same.

use super::*;

/// A room in which everybody has a key for every action, the first of them `00`.
fn room_of_keys() -> (Room, Vec<&'static str>) {
    let mut map = KeyMap::none();
    for (number, name) in KeyAction::NAMES.iter().enumerate() {
        assert!(map.bind(
            &format!("{number:02}"),
            KeyAction::parse(name, Some("data")).unwrap()
        ));
    }
    let room = Room::new(Settings {
        member: RoleSettings::default(),
        member_keys: map.clone(),
        moderator_keys: map,
        sounds: Sounds::speaking("en-us"),
        ..Settings::default()
    });
    (room, KeyAction::NAMES.to_vec())
}

fn press(room: &mut Room, participant: ParticipantId, name: &str) {
    let number = KeyAction::NAMES.iter().position(|known| *known == name).unwrap();
    for key in format!("{number:02}").chars() {
        room.apply(Command::KeyPressed { participant, key }).unwrap();
    }
    room.events.retain(|event| event.kind.name() != "dtmf-member");
}

#[test]
fn a_key_and_the_control_of_the_same_meaning_come_to_the_same() {
    type Row = (&'static str, fn(ParticipantId) -> Control);
    let table: &[Row] = &[
        ("mute", Control::Mute),
        ("mute on", Control::Mute),
        ("mute off", Control::Unmute),
        ("deaf", Control::Deaf),
        ("deaf on", Control::Deaf),
        ("deaf off", Control::Undeaf),
        ("energy up", |id| Control::SetEnergy(id, 220)),
        ("energy dn", |id| Control::SetEnergy(id, 0)),
        ("energy equ", |id| Control::SetEnergy(id, 20)),
        ("vol talk up", |id| {
            Control::SetVolumeIn(id, Volume::from_level(1).unwrap())
        }),
        ("vol talk dn", |id| {
            Control::SetVolumeIn(id, Volume::from_level(-1).unwrap())
        }),
        ("vol talk zero", |id| Control::SetVolumeIn(id, Volume::default())),
        ("vol listen up", |id| {
            Control::SetVolumeOut(id, Volume::from_level(1).unwrap())
        }),
        ("vol listen dn", |id| {
            Control::SetVolumeOut(id, Volume::from_level(-1).unwrap())
        }),
        ("vol listen zero", |id| {
            Control::SetVolumeOut(id, Volume::default())
        }),
        ("raise hand", Control::RaiseHand),
        ("lock", |_| Control::Lock),
        ("mute all", |_| Control::MuteAll),
        ("end", |_| Control::End),
    ];
    for (name, control) in table {
        let outcome = |by_key: bool| {
            let (mut room, _) = room_of_keys();
            let (boss, _) = (room.enter(Role::Moderator), room.enter(Role::Member));
            room.events.clear();
            room.effects.clear();
            if by_key {
                press(&mut room, boss, name);
            } else {
                room.control(control(boss)).unwrap();
            }
            let effects: Vec<_> = room
                .effects
                .iter()
                .filter(|effect| !matches!(effect, Effect::CancelPlay { .. }))
                .cloned()
                .collect();
            let mut state = room.conference.snapshot().ok();
            if let Some(state) = &mut state {
                state.sequence = 0;
            }
            (room.news(), effects, state)
        };
        assert_eq!(outcome(true), outcome(false), "{name}");
    }
}

#[test]
fn toggles_go_back_and_forth() {
    let (mut room, _) = room_of_keys();
    let (boss, ann) = (room.enter(Role::Moderator), room.enter(Role::Member));
    for on in [true, false] {
        press(&mut room, ann, "mute");
        assert_eq!(room.state(ann).muted, on);
        press(&mut room, ann, "raise hand");
        assert_eq!(room.state(ann).hand_raised, on);
        press(&mut room, boss, "lock");
        assert_eq!(room.conference.snapshot().unwrap().locked, on);
    }
    for both in [true, false] {
        press(&mut room, ann, "deaf mute");
        let state = room.state(ann);
        assert_eq!((state.muted, state.deaf), (both, both));
    }
    for muted in [true, false] {
        press(&mut room, boss, "mute all");
        assert_eq!((room.state(ann).muted, room.state(boss).muted), (muted, false));
    }
    room.news();
    press(&mut room, ann, "event");
    assert_eq!(room.events[0].data.as_deref(), Some("data"));
    assert_eq!(room.news(), [("key-event-member", ann.get())]);
}

#[test]
fn what_only_moderators_may_is_refused_to_members_with_a_prompt() {
    let (mut room, _) = room_of_keys();
    let (_boss, ann) = (room.enter(Role::Moderator), room.enter(Role::Member));
    room.plays.clear();
    room.news();
    for name in ["floor", "mute all", "end"] {
        press(&mut room, ann, name);
        let Some(Effect::Play { audience, media, .. }) = room.plays.pop() else {
            panic!("he is told so");
        };
        assert_eq!(audience, Audience::One(ann));
        assert_eq!(media[0].as_str(), "prompt:en-us/conf-not_allowed", "{name}");
    }
    assert_eq!(room.news(), []);
}

#[test]
fn the_floor_is_taken_whoever_talks_until_it_is_given_back() {
    let (mut room, _) = room_of_keys();
    let (boss, ann) = (room.enter(Role::Moderator), room.enter(Role::Member));
    press(&mut room, boss, "floor");
    assert_eq!(room.floor(), Some(boss));
    room.pass_floor(Some(ann));
    assert_eq!(room.floor(), Some(boss));
    press(&mut room, boss, "floor");
    assert_eq!(room.floor(), Some(ann), "she talks on");
    press(&mut room, boss, "floor");
    room.control(Control::Mute(boss)).unwrap();
    assert_eq!(room.floor(), Some(ann), "who is muted has it no more");
    room.control(Control::Unmute(boss)).unwrap();
    press(&mut room, boss, "floor");
    room.control(Control::Mute(ann)).unwrap();
    press(&mut room, boss, "floor");
    assert_eq!(room.floor(), None, "who is muted does not get it");
    room.control(Control::Unmute(ann)).unwrap();
    press(&mut room, boss, "floor");
    room.pass_floor(None);
    press(&mut room, boss, "floor");
    assert_eq!(room.floor(), None, "nobody talks");
    room.pass_floor(Some(ann));
    press(&mut room, boss, "floor");
    room.apply(Command::Leave {
        participant: ann,
        cause: LeaveCause::HungUp,
    })
    .unwrap();
    press(&mut room, boss, "floor");
    assert_eq!(room.floor(), None, "she has gone");
}

#[test]
fn a_key_that_is_owed_from_before_is_no_action_for_a_while() {
    // How it is owed, when it comes, what is pressed, and whether it ends the call.
    let table = [
        (None, 0, '#', true),
        (Some(OwedKey::Hash), 0, '#', false),
        (Some(OwedKey::Hash), OwedKey::WAIT_MS, '#', false),
        (Some(OwedKey::Hash), OwedKey::WAIT_MS + 1, '#', true),
        (Some(OwedKey::Any), 500, '#', false),
    ];
    for (owed, at, key, ends) in table {
        let mut room = Room::new(Settings::default());
        room.apply(Command::Advance { now: Moment(5000) }).unwrap();
        let participant = room.reserve(Role::Member, Entry::DialIn).unwrap();
        if let Some(key) = owed {
            room.apply(Command::Owes { participant, key }).unwrap();
        }
        room.apply(Command::Join { participant }).unwrap();
        let now = Moment(5000 + at);
        room.apply(Command::Advance { now }).unwrap();
        room.events.clear();
        room.apply(Command::KeyPressed { participant, key }).unwrap();
        assert_eq!(!room.events.is_empty(), ends, "{owed:?} at {at}");
        if !ends {
            room.apply(Command::KeyPressed { participant, key }).unwrap();
            assert!(!room.events.is_empty(), "one is owed, and no more");
        }
    }
    // Another key than the one that is owed means what it means.
    let mut room = Room::new(Settings::default());
    let participant = room.reserve(Role::Member, Entry::DialIn).unwrap();
    let key = OwedKey::Hash;
    room.apply(Command::Owes { participant, key }).unwrap();
    room.apply(Command::Join { participant }).unwrap();
    for key in ['*', '3'] {
        room.apply(Command::KeyPressed { participant, key }).unwrap();
    }
    assert!(!room.state(participant).muted);
}

#[test]
fn where_any_key_is_owed_the_first_of_several_still_begins_them() {
    // What is pressed, how many of it events tell, and whether it mutes.
    for (keys, told, mutes) in [
        ("*1", 2, true),
        ("*", 1, false),
        ("7*1", 2, true),
        ("1*1", 2, true),
    ] {
        let mut room = Room::new(Settings {
            member: RoleSettings::default(),
            ..Settings::default()
        });
        let participant = room.reserve(Role::Member, Entry::DialIn).unwrap();
        let key = OwedKey::Any;
        room.apply(Command::Owes { participant, key }).unwrap();
        room.apply(Command::Join { participant }).unwrap();
        room.events.clear();
        for key in keys.chars() {
            room.apply(Command::KeyPressed { participant, key }).unwrap();
        }
        let pressed = |event: &&Event| event.kind.name() == "dtmf-member";
        assert_eq!(room.events.iter().filter(pressed).count(), told, "{keys}");
        assert_eq!(room.state(participant).muted, mutes, "{keys}");
    }
}

#[test]
fn members_who_wait_may_not_lock_and_may_mute() {
    let mut map = KeyMap::default();
    map.bind("5", KeyAction::Lock);
    let mut room = Room::new(Settings {
        wait_for_moderator: true,
        member_keys: map,
        ..Settings::default()
    });
    let ann = room.enter(Role::Member);
    let pressed = |room: &mut Room, keys: &str| {
        for key in keys.chars() {
            let participant = ann;
            room.apply(Command::KeyPressed { participant, key }).unwrap();
        }
    };
    pressed(&mut room, "5*3");
    assert!(!room.conference.snapshot().unwrap().locked && !room.state(ann).muted);
    room.enter(Role::Moderator);
    pressed(&mut room, "5");
    assert!(room.conference.snapshot().unwrap().locked);
}

#[test]
fn a_transfer_is_asked_for_and_its_failure_is_told() {
    let (mut room, _) = room_of_keys();
    let ann = room.enter(Role::Member);
    press(&mut room, ann, "transfer");
    let number = "data".into();
    let participant = ann;
    assert_eq!(
        room.effects.last(),
        Some(&Effect::Transfer { participant, number })
    );
    for (why, prompt) in [
        (None, "conf-bad_conf"),
        (Some(Refusal::Locked), "conf-locked"),
        (Some(Refusal::Full), "conf-max_participants"),
        (Some(Refusal::MovedToSame(ann)), "conf-not_allowed"),
    ] {
        room.conference.transfer_failed(ann, why.as_ref()).unwrap();
        room.control(Control::RaiseHand(ann)).unwrap();
        let said = format!("prompt:en-us/{prompt}");
        let is_said = |effect: &Effect| matches!(effect, Effect::Play { media, .. } if media.iter().any(|name| name.as_str() == said));
        assert!(room.plays.iter().any(is_said), "{prompt}");
    }
    let nobody = room.reserve(Role::Member, Entry::DialIn).unwrap();
    let unknown = Err(Refusal::UnknownParticipant(nobody));
    assert_eq!(room.conference.transfer_failed(nobody, None), unknown);
}

#[test]
fn an_application_is_told_with_its_data_and_run_by_nobody() {
    let (mut room, _) = room_of_keys();
    let ann = room.enter(Role::Member);
    press(&mut room, ann, "execute_application");
    let told = room.events.last().expect("an event");
    assert_eq!(
        (told.kind.name(), told.data.as_deref()),
        ("key-event-member", Some("data"))
    );
    let (participant, application) = (ann, "data".into());
    assert_eq!(
        room.effects.last(),
        Some(&Effect::Execute {
            participant,
            application
        })
    );
}
