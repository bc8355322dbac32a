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
    assert_eq!(told.len(), 1, "nothing changed the second time");
    assert_eq!(told[0].2, ["prompt:en-us/conf-unmuted"]);
    room.control(Control::Deaf(id)).unwrap();
    assert_eq!(asked(&mut room)[0].2, ["prompt:en-us/conf-deaf"]);
    let cancelled = Effect::CancelPlay {
        play: told[0].0,
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
