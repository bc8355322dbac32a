//! Crowds, names, prompts to one.

use super::*;

fn named(room: &mut Room, name: Option<String>) -> ParticipantId {
    let participant = room.reserve(Role::Member, Entry::DialIn).unwrap();
    if let Some(name) = name {
        let name = MediaName::from(name.as_str());
        room.apply(Command::Name { participant, name }).unwrap();
    }
    room.apply(Command::Join { participant }).unwrap();
    participant
}

/// Plays that were asked for: number, audience, names.
fn asked(room: &mut Room) -> Vec<(PlayNumber, Audience, Vec<String>)> {
    let plays = std::mem::take(&mut room.plays).into_iter();
    plays
        .map(|effect| match effect {
            Effect::Play {
                play,
                audience,
                media,
                ..
            } => (
                play,
                audience,
                media.iter().map(|name| name.as_str().to_owned()).collect(),
            ),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn announcements(room: &mut Room) -> Vec<(PlayNumber, Vec<String>)> {
    let all = asked(room)
        .into_iter()
        .filter(|(_, to, _)| *to == Audience::Everybody);
    all.map(|(play, _, media)| (play, media)).collect()
}

fn with_names() -> Settings {
    Settings {
        entry_tone: Some("entry".into()),
        exit_tone: None,
        sounds: Sounds {
            names: true,
            ..Sounds::speaking("en-us")
        },
        ..Settings::default()
    }
}

#[test]
fn a_crowd_is_announced_as_one_however_fast_it_comes() {
    let mut room = Room::new(with_names());
    let mut said = Vec::new();
    for number in 0..200 {
        named(&mut room, (number % 2 == 0).then(|| format!("name{number}")));
        let new = announcements(&mut room);
        said.extend(new);
        assert!(said.len() <= 1, "one at a time");
    }
    let (first, words) = said.remove(0);
    assert_eq!(words, ["entry", "prompt:en-us/conf-someone_joined"]);
    room.apply(Command::PlayStarted { play: first }).unwrap();
    room.apply(Command::PlayEnded { play: first }).unwrap();
    let [(second, words)] = &announcements(&mut room)[..] else {
        panic!("one for all the others");
    };
    assert_eq!(
        words[1..],
        ["prompt:en-us/say:number:198+conf-people_have_joined"]
    );
    room.apply(Command::PlayEnded { play: *second }).unwrap();
    assert_eq!(announcements(&mut room), []);
}

#[test]
fn a_few_are_announced_by_their_names_and_those_who_go_beside_those_who_come() {
    let mut room = Room::new(with_names());
    let ids: Vec<_> = (0..4)
        .map(|n| named(&mut room, Some(format!("name{n}"))))
        .collect();
    let (first, _) = announcements(&mut room).remove(0);
    for id in &ids[1..3] {
        let (participant, cause) = (*id, LeaveCause::HungUp);
        room.apply(Command::Leave { participant, cause }).unwrap();
    }
    let went = announcements(&mut room);
    assert_eq!(went[0].1, ["name1", "prompt:en-us/conf-has_left"]);
    room.apply(Command::PlayFailed {
        play: first,
        failure: PlayFailure::Unknown,
    })
    .unwrap();
    let came = announcements(&mut room);
    let joined = "prompt:en-us/conf-has_joined";
    assert_eq!(came[0].1, ["entry", "name2", joined, "name3", joined]);
}

#[test]
fn what_becomes_of_one_is_told_him_once_and_the_newest_counts() {
    let mut room = Room::new(Settings {
        sounds: Sounds::speaking("en-us"),
        ..Settings::default()
    });
    let (id, _) = (room.enter(Role::Member), room.enter(Role::Member));
    asked(&mut room);
    room.effects.clear();
    room.control(Control::Unmute(id)).unwrap();
    room.control(Control::Unmute(id)).unwrap();
    let told = asked(&mut room);
    assert_eq!(
        told.len(),
        2,
        "he is told so though nothing changed the second time"
    );
    assert_eq!(told[1].2, ["prompt:en-us/conf-unmuted"]);
    room.control(Control::Deaf(id)).unwrap();
    assert_eq!(asked(&mut room)[0].2, ["prompt:en-us/conf-deaf"]);
    let cancelled = Effect::CancelPlay {
        play: told[1].0,
        audience: Audience::One(id),
    };
    assert!(room.effects.contains(&cancelled), "{:?}", room.effects);
}

#[test]
fn a_moderator_has_his_own_tone_unless_there_is_none() {
    for (entry_tone, expected) in [(Some("tone"), vec!["own"]), (None, vec![])] {
        let mut room = Room::new(Settings {
            entry_tone: entry_tone.map(MediaName::from),
            sounds: Sounds {
                moderator_entry: Some("own".into()),
                ..Sounds::default()
            },
            ..Settings::default()
        });
        room.enter(Role::Member);
        room.enter(Role::Moderator);
        let words: Vec<_> = announcements(&mut room)
            .into_iter()
            .flat_map(|(_, words)| words)
            .collect();
        assert_eq!(words, expected);
    }
}

fn missed(room: &mut Room, play: PlayNumber, participant: ParticipantId) {
    room.apply(Command::PlayMissed { play, participant }).unwrap();
}

#[test]
fn who_was_told_something_hears_afterwards_who_came_and_went() {
    let mut room = Room::new(Settings {
        entry_tone: Some("entry".into()),
        exit_tone: Some("exit".into()),
        ..Settings::default()
    });
    let [told, other] = [0, 1].map(|_| room.enter(Role::Member));
    let (first, _) = announcements(&mut room).remove(0);
    missed(&mut room, first, told);
    let later = asked(&mut room);
    assert_eq!(
        (later[0].1, &later[0].2[..]),
        (Audience::One(told), &["entry".to_owned()][..])
    );
    room.events.clear();
    room.apply(Command::PlayStarted { play: first }).unwrap();
    room.apply(Command::PlayEnded { play: first }).unwrap();
    // One tone stands for all of its kind until it begins.
    room.enter(Role::Member);
    let (second, _) = announcements(&mut room).remove(0);
    missed(&mut room, second, told);
    assert_eq!(asked(&mut room), []);
    room.apply(Command::Leave {
        participant: other,
        cause: LeaveCause::HungUp,
    })
    .unwrap();
    let (third, _) = announcements(&mut room).remove(0);
    missed(&mut room, third, told);
    assert_eq!(asked(&mut room)[0].2, ["exit"]);
    room.apply(Command::PlayStarted { play: later[0].0 }).unwrap();
    missed(&mut room, second, told);
    let again = asked(&mut room);
    assert_eq!(again.len(), 1, "the first one sounds already");
    let tones = room
        .events
        .iter()
        .filter(|event| event.kind == EventKind::EnterSound);
    assert_eq!(tones.count(), 1, "it is no other tone");
    // Who could not have heard it is told nothing.
    room.apply(Command::PlayStarted { play: again[0].0 }).unwrap();
    room.control(Control::Deaf(told)).unwrap();
    missed(&mut room, second, told);
    assert_eq!(asked(&mut room), []);
    // What is over cannot be missed.
    room.apply(Command::PlayEnded { play: second }).unwrap();
    room.control(Control::Undeaf(told)).unwrap();
    missed(&mut room, second, told);
    assert_eq!(asked(&mut room), []);
}

#[test]
fn a_crowd_that_one_has_missed_is_named_or_counted_to_him() {
    let mut room = Room::new(with_names());
    let told = named(&mut room, None);
    let mut plays = Vec::new();
    let mut alone = Vec::new();
    for number in 0..6 {
        named(&mut room, Some(format!("name{number}")));
        let new = asked(&mut room);
        for (play, audience, words) in new {
            match audience {
                Audience::Everybody => plays.push(play),
                to if to == Audience::One(told)
                    && words[0] != "prompt:en-us/conf-alone"
                    && words[0] != "moh:default" =>
                {
                    alone.push((play, words));
                }
                _ => {}
            }
        }
        let play = *plays.last().expect("it is announced");
        missed(&mut room, play, told);
        room.apply(Command::PlayEnded { play }).unwrap();
    }
    let new = asked(&mut room).into_iter();
    alone.extend(
        new.filter(|(_, to, _)| *to == Audience::One(told))
            .map(|(play, _, words)| (play, words)),
    );
    let joined = "prompt:en-us/conf-has_joined";
    assert_eq!(alone.len(), 1, "one at a time: {alone:?}");
    assert_eq!(alone[0].1, ["entry", "name0", joined]);
    let name = |number: usize| MediaName::from(format!("name{number}").as_str());
    assert!(room.conference.will_announce(&name(2)), "it is kept for him");
    room.apply(Command::PlayEnded { play: alone[0].0 }).unwrap();
    let rest = asked(&mut room);
    assert_eq!(
        rest[0].2[1..],
        ["prompt:en-us/say:number:5+conf-people_have_joined"]
    );
    assert!(!room.conference.will_announce(&name(2)));
    room.apply(Command::PlayEnded { play: rest[0].0 }).unwrap();
    assert_eq!(asked(&mut room), []);
}

#[test]
fn a_member_is_told_why_he_waits_until_he_need_not() {
    let mut room = Room::new(Settings {
        wait_for_moderator: true,
        sounds: Sounds::speaking("en-us"),
        ..Settings::default()
    });
    let waits = room.enter(Role::Member);
    let told = asked(&mut room);
    assert_eq!(told[0].1, Audience::One(waits));
    assert_eq!(told[0].2, ["prompt:en-us/conf-waiting_for_moderator"]);
    assert_eq!(told[1].1, Audience::Waiting, "music comes behind it");
    room.enter(Role::Moderator);
    let cancelled = Effect::CancelPlay {
        play: told[0].0,
        audience: Audience::One(waits),
    };
    assert!(room.effects.contains(&cancelled), "{:?}", room.effects);
}

#[test]
fn the_end_is_said_over_whatever_plays_and_nobody_is_told_that_he_is_alone() {
    for members in [1, 2] {
        let mut room = Room::new(Settings {
            require_moderator: true,
            entry_tone: None,
            sounds: Sounds::speaking("en-us"),
            ..Settings::default()
        });
        let boss = room.enter(Role::Moderator);
        let ids: Vec<_> = (0..members).map(|_| room.enter(Role::Member)).collect();
        room.control(Control::Play {
            media: "long".into(),
            audience: Audience::Everybody,
        })
        .unwrap();
        room.control(Control::Mute(ids[0])).unwrap();
        let before: Vec<PlayNumber> = asked(&mut room).into_iter().map(|(play, ..)| play).collect();
        room.effects.clear();
        let participant = boss;
        let cause = LeaveCause::HungUp;
        room.apply(Command::Leave { participant, cause }).unwrap();
        let mut said = asked(&mut room);
        // Music is heard behind it only.
        said.retain(|(_, _, media)| media[0] != MediaName::HOLD_MUSIC);
        let [(tone, _, _), (_, Audience::Everybody, ending)] = said.as_slice() else {
            panic!("{members}: {said:?}")
        };
        assert_eq!(*ending, ["prompt:en-us/conf-ending"]);
        let cancelled: Vec<PlayNumber> = room
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::CancelPlay { play, .. } => Some(*play),
                _ => None,
            })
            .collect();
        assert!(
            cancelled.contains(tone),
            "the tone of the moderator's going: {cancelled:?}"
        );
        let still = before.iter().filter(|play| room.conference.awaits_play(**play));
        assert!(
            still.clone().all(|play| cancelled.contains(play)),
            "{cancelled:?}"
        );
    }
}
