//! What plays when, and what is told of it.

use super::*;

fn played(room: &mut Room) -> Vec<(PlayNumber, Audience, String)> {
    let plays = std::mem::take(&mut room.plays).into_iter();
    plays
        .map(|effect| match effect {
            Effect::Play {
                play,
                audience,
                media,
                ..
            } => {
                let names: Vec<_> = media.iter().map(MediaName::as_str).collect();
                (play, audience, names.join(" "))
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

fn media_of(room: &mut Room) -> Vec<String> {
    played(room).into_iter().map(|(_, _, media)| media).collect()
}

fn play(room: &mut Room, audience: Audience, media: &str) -> Result<Reply, Refusal> {
    let media = media.into();
    room.control(Control::Play { media, audience })
}

#[test]
fn tones_sound_for_those_who_are_in_when_somebody_comes_or_goes() {
    let mut room = Room::open();
    let first = room.enter(Role::Member);
    assert_eq!(media_of(&mut room), [""; 0], "nobody is there to hear the first");
    let second = room.enter(Role::Moderator);
    let (entry, audience, media) = played(&mut room).remove(0);
    assert_eq!(
        (audience, media.as_str()),
        (Audience::Everybody, MediaName::ENTRY_TONE)
    );
    room.enter(Role::Member);
    assert_eq!(
        media_of(&mut room),
        [""; 0],
        "the tone that has yet to sound is for him too"
    );
    room.news();
    room.apply(Command::PlayStarted { play: entry }).unwrap();
    assert_eq!(room.events[0].file, Some(MediaName::ENTRY_TONE.into()));
    assert_eq!(room.news(), [("enter-sound", 0)]);
    let fourth = room.enter(Role::Member);
    assert_eq!(media_of(&mut room), [MediaName::ENTRY_TONE]);
    room.control(Control::Kick(fourth)).unwrap();
    assert_eq!(media_of(&mut room), [MediaName::EXIT_TONE]);
    for id in [second, first] {
        let cause = LeaveCause::HungUp;
        room.apply(Command::Leave {
            participant: id,
            cause,
        })
        .unwrap();
    }
    assert_eq!(media_of(&mut room), [""; 0], "one exit tone waits already");
    assert!(
        room.news().iter().all(|(name, _)| !name.starts_with("play")),
        "no event tells of tones"
    );
}

#[test]
fn nobody_hears_a_tone_for_ghosts_and_for_himself() {
    let mut room = Room::open();
    let ghost = Entry::CALLED_GHOST;
    let stays = room.enter(Role::Member);
    let hidden = room.reserve(Role::Member, ghost).unwrap();
    room.apply(Command::Join { participant: hidden }).unwrap();
    let cause = LeaveCause::HungUp;
    room.apply(Command::Leave {
        participant: hidden,
        cause,
    })
    .unwrap();
    room.apply(Command::Leave {
        participant: stays,
        cause,
    })
    .unwrap();
    assert_eq!(media_of(&mut room), [""; 0]);
    let mut room = Room::open();
    for _ in 0..2 {
        room.enter(Role::Member);
    }
    played(&mut room);
    room.control(Control::KickAll).unwrap();
    assert_eq!(media_of(&mut room), [""; 0], "nobody is left");
}

#[test]
fn settings_choose_the_tones_at_once() {
    let mut room = Room::open();
    room.enter(Role::Member);
    let settings = |entry_tone: Option<&str>| Settings {
        entry_tone: entry_tone.map(MediaName::from),
        exit_tone: None,
        ..Settings::default()
    };
    room.apply(Command::Update(settings(Some("%(100,0,440)"))))
        .unwrap();
    let second = room.enter(Role::Member);
    assert_eq!(media_of(&mut room), ["%(100,0,440)"]);
    room.apply(Command::Update(settings(None))).unwrap();
    room.enter(Role::Member);
    room.control(Control::Kick(second)).unwrap();
    assert_eq!(media_of(&mut room), [""; 0]);
}

#[test]
fn a_play_is_told_from_its_first_sound_to_its_end() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    room.news();
    for (audience, begins, ends, who) in [
        (Audience::Everybody, "play-file", "play-file-done", 0),
        (
            Audience::One(id),
            "play-file-member",
            "play-file-member-done",
            id.get(),
        ),
    ] {
        play(&mut room, audience, "http://x/y.wav").unwrap();
        let (number, to, media) = played(&mut room).remove(0);
        assert_eq!((to, media.as_str()), (audience, "http://x/y.wav"));
        assert!(room.conference.awaits_play(number));
        assert_eq!(room.news(), [], "it does not sound yet");
        room.apply(Command::PlayStarted { play: number }).unwrap();
        let event = room.events[0].clone();
        assert_eq!(event.file.as_ref().map(MediaName::as_str), Some("http://x/y.wav"));
        assert_eq!(event.kind.is_about_leg(), who != 0);
        room.apply(Command::PlayEnded { play: number }).unwrap();
        room.apply(Command::PlayEnded { play: number }).unwrap();
        room.apply(Command::PlayStarted { play: number }).unwrap();
        assert_eq!(room.news(), [(begins, who), (ends, who)]);
        assert!(!room.conference.awaits_play(number));
    }
    play(&mut room, Audience::Everybody, "http://x/missing.wav").unwrap();
    let (number, ..) = played(&mut room).remove(0);
    room.apply(Command::PlayEnded { play: number }).unwrap();
    assert_eq!(room.news(), [], "what never sounded is not told");
}

#[test]
fn what_cannot_be_had_is_told_with_its_reason_and_makes_way() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    room.enter(Role::Member);
    let (entry, ..) = played(&mut room).remove(0);
    room.news();
    let fail = |room: &mut Room, play| {
        let failure = PlayFailure::Timeout;
        room.apply(Command::PlayFailed { play, failure }).unwrap();
    };
    fail(&mut room, entry);
    assert_eq!(room.news(), [], "no event tells of tones");
    for (audience, name, who) in [
        (Audience::Everybody, "play-file-failed", 0),
        (Audience::One(id), "play-file-member-failed", id.get()),
    ] {
        play(&mut room, audience, "http://x/y.wav").unwrap();
        let (number, ..) = played(&mut room).remove(0);
        fail(&mut room, number);
        let event = room.events[0].clone();
        assert_eq!(event.file.as_ref().map(MediaName::as_str), Some("http://x/y.wav"));
        assert_eq!(event.kind.is_about_leg(), who != 0);
        assert!(
            matches!(
                event.kind,
                EventKind::PlayFileFailed(PlayFailure::Timeout)
                    | EventKind::PlayFileMemberFailed(PlayFailure::Timeout)
            ),
            "{event:?}"
        );
        fail(&mut room, number);
        assert_eq!(room.news(), [(name, who)], "told once");
        assert!(!room.conference.awaits_play(number));
    }
    // What was heard is over, whatever became of it.
    play(&mut room, Audience::Everybody, "m").unwrap();
    let (number, ..) = played(&mut room).remove(0);
    room.apply(Command::PlayStarted { play: number }).unwrap();
    fail(&mut room, number);
    assert_eq!(room.news(), [("play-file", 0), ("play-file-done", 0)]);
    for (number, failure) in PlayFailure::ALL.into_iter().enumerate() {
        assert_eq!(failure as usize, number, "{}", failure.as_str());
    }
}

#[test]
fn what_plays_ends_with_who_hears_it() {
    let mut room = Room::open();
    let stays = room.enter(Role::Member);
    let goes = room.enter(Role::Member);
    played(&mut room);
    for audience in [Audience::Everybody, Audience::One(goes)] {
        play(&mut room, audience, "m").unwrap();
        let (number, ..) = played(&mut room).remove(0);
        room.apply(Command::PlayStarted { play: number }).unwrap();
    }
    room.news();
    room.control(Control::Kick(goes)).unwrap();
    let gone = goes.get();
    assert_eq!(
        room.news(),
        [
            ("kick-member", gone),
            ("play-file-member-done", gone),
            ("del-member", gone)
        ]
    );
    room.control(Control::Kick(stays)).unwrap();
    let last = stays.get();
    let told = [
        ("kick-member", last),
        ("del-member", last),
        ("play-file-done", 0),
        ("conference-destroy", 0),
    ];
    assert_eq!(room.news(), told);
}

#[test]
fn plays_and_stops_name_somebody_who_is_there_and_have_a_bound() {
    let mut room = Room::open();
    let nobody = ParticipantId::new(77).unwrap();
    assert_eq!(
        play(&mut room, Audience::Everybody, "m"),
        Err(Refusal::NotRunning)
    );
    let id = room.enter(Role::Member);
    let unknown = Err(Refusal::UnknownParticipant(nobody));
    assert_eq!(play(&mut room, Audience::One(nobody), "m"), unknown);
    let which = StopPlay::Current;
    let audience = Audience::One(nobody);
    assert_eq!(room.control(Control::StopPlay { audience, which }), unknown);
    let digits = "12w#A".parse().unwrap();
    assert_eq!(room.control(Control::SendDigits(nobody, digits)), unknown);
    for audience in [Audience::Everybody, Audience::One(id)] {
        for _ in 0..12 {
            play(&mut room, audience, "m").unwrap();
        }
        assert_eq!(play(&mut room, audience, "m"), Err(Refusal::TooManyPlays));
    }
    let (number, ..) = played(&mut room).remove(0);
    room.apply(Command::PlayEnded { play: number }).unwrap();
    play(&mut room, Audience::Everybody, "m").unwrap();
    room.effects.clear();
    room.news();
    let audience = Audience::Everybody;
    room.control(Control::StopPlay { audience, which }).unwrap();
    room.control(Control::SendDigits(id, digits)).unwrap();
    let participant = id;
    assert_eq!(room.news(), [], "not sent yet");
    room.apply(Command::DigitsSent { participant: id }).unwrap();
    assert_eq!(room.news(), [("dtmf-member", id.get())]);
    assert_eq!(
        room.effects,
        [
            Effect::StopPlay { audience, which },
            Effect::SendDigits { participant, digits }
        ]
    );
}
