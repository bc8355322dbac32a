//! Who gets in and in which state: roles, the lock, the limit, and documents that change meanwhile.

use super::*;

#[test]
fn join_states_follow_the_role_and_the_way_in() {
    let both = RoleSettings {
        join_muted: true,
        join_deaf: true,
    };
    let none = RoleSettings::default();
    let out = |muted, deaf| Entry::DialOut {
        muted,
        deaf,
        ghost: false,
        no_hold_music: false,
        join_existing: false,
        distributes_keys: false,
    };
    let rows = [
        (both, none, Role::Member, Entry::DialIn, (true, true)),
        (both, none, Role::Moderator, Entry::DialIn, (false, false)),
        (none, both, Role::Member, Entry::DialIn, (false, false)),
        (none, both, Role::Moderator, Entry::DialIn, (true, true)),
        (both, both, Role::Member, out(false, false), (false, false)),
        (none, none, Role::Member, out(true, false), (true, false)),
        (none, none, Role::Moderator, out(false, true), (false, true)),
    ];
    for (member, moderator, role, entry, expected) in rows {
        let mut room = Room::new(Settings {
            member,
            moderator,
            energy_level: 300,
            ..Settings::default()
        });
        let id = room.reserve(role, entry).unwrap();
        let Reply::Joined(state) = room.apply(Command::Join { participant: id }).unwrap() else {
            panic!()
        };
        assert_eq!((state.muted, state.deaf), expected, "{role:?} by {entry:?}");
        assert_eq!(state.energy_level, 300);
        assert_eq!(state.join_time, GregorianSeconds::from_unix(1_000));
        assert_eq!(
            room.news(),
            [("conference-create", 0), ("add-member", 1)],
            "no mute-member at join"
        );
        assert_eq!(room.effects, [], "the join itself carries the flags");
    }
}

#[test]
fn a_lock_while_the_first_caller_is_on_his_way_holds() {
    let mut room = Room::open();
    assert_eq!(
        room.control(Control::Lock),
        Err(Refusal::NotRunning),
        "nobody is on his way"
    );
    let first = room.reserve(Role::Member, Entry::DialIn).unwrap();
    room.control(Control::Lock).unwrap();
    room.control(Control::Unlock).unwrap();
    let second = room.reserve(Role::Member, Entry::DialIn).unwrap();
    room.control(Control::Lock).unwrap();
    assert_eq!(room.reserve(Role::Member, Entry::DialIn), Err(Refusal::Locked));
    assert_eq!(room.news(), []);
    room.apply(Command::Join { participant: first }).unwrap();
    assert_eq!(
        room.news(),
        [("conference-create", 0), ("lock", 0), ("add-member", first.get())]
    );
    room.apply(Command::Join { participant: second })
        .expect("he had his place");
    assert!(room.conference.snapshot().unwrap().locked);
}

#[test]
fn a_locked_conference_refuses_whoever_dials_in() {
    let mut room = Room::open();
    room.enter(Role::Member);
    let before = room.reserve(Role::Member, Entry::DialIn).unwrap();
    room.news();
    room.control(Control::Lock).unwrap();
    room.control(Control::Lock).unwrap();
    assert_eq!(room.news(), [("lock", 0), ("lock", 0)]);
    assert!(room.conference.snapshot().unwrap().locked);
    assert_eq!(room.reserve(Role::Member, Entry::DialIn), Err(Refusal::Locked));
    assert_eq!(room.reserve(Role::Moderator, Entry::DialIn), Err(Refusal::Locked));
    room.apply(Command::Join { participant: before })
        .expect("admitted before the lock");
    let called = Entry::CALLED;
    room.reserve(Role::Member, called).expect("dial-outs are exempt");
    room.control(Control::Unlock).unwrap();
    assert!(!room.conference.snapshot().unwrap().locked);
    room.reserve(Role::Member, Entry::DialIn).unwrap();
}

#[test]
fn the_limit_counts_places_held_and_moderators_but_no_ghosts() {
    let ghost = Entry::CALLED_GHOST;
    for unlimited in [None, Some(0), Some(1)] {
        let mut room = Room::new(Settings {
            max_participants: unlimited,
            ..Settings::default()
        });
        for _ in 0..5 {
            room.enter(Role::Member);
        }
    }
    let mut room = Room::new(Settings {
        max_participants: Some(2),
        ..Settings::default()
    });
    let id = room.reserve(Role::Member, ghost).unwrap();
    room.apply(Command::Join { participant: id }).unwrap();
    let first = room.enter(Role::Member);
    let held = room.reserve(Role::Member, Entry::DialIn).unwrap();
    assert_eq!(room.reserve(Role::Moderator, Entry::DialIn), Err(Refusal::Full));
    let called = Entry::CALLED;
    assert_eq!(room.reserve(Role::Member, called), Err(Refusal::Full));
    room.reserve(Role::Member, ghost).expect("ghosts are not limited");
    room.apply(Command::Release { participant: held }).unwrap();
    room.enter(Role::Moderator);
    let snapshot = room.conference.snapshot().unwrap();
    assert_eq!(
        (
            snapshot.members(),
            snapshot.moderators(),
            snapshot.participant_count()
        ),
        (1, 1, 2)
    );
    assert_eq!(snapshot.participants.len(), 3);
    room.apply(Command::Leave {
        participant: first,
        cause: LeaveCause::HungUp,
    })
    .unwrap();
    room.enter(Role::Member);
    room.apply(Command::Update(Settings {
        max_participants: Some(3),
        ..Settings::default()
    }))
    .unwrap();
    room.enter(Role::Member);
    assert_eq!(room.reserve(Role::Member, Entry::DialIn), Err(Refusal::Full));
}

#[test]
fn a_changed_document_meets_later_joiners_only() {
    let mut room = Room::new(Settings::default());
    let early = room.enter(Role::Member);
    let held = room.reserve(Role::Member, Entry::DialIn).unwrap();
    assert_eq!(
        room.conference.join_flags(held),
        Ok(JoinFlags {
            muted: true,
            deaf: false,
            ghost: false,
            waiting: false,
        })
    );
    let changed = Settings {
        member: RoleSettings::default(),
        energy_level: 77,
        ..Settings::default()
    };
    room.apply(Command::Update(changed)).unwrap();
    assert_eq!(
        room.conference.join_flags(held),
        Ok(JoinFlags {
            muted: false,
            deaf: false,
            ghost: false,
            waiting: false,
        })
    );
    room.apply(Command::Join { participant: held }).unwrap();
    assert!(room.state(early).muted);
    assert_eq!(room.state(early).energy_level, 20);
    assert!(!room.state(held).muted);
    assert_eq!(
        room.state(held).energy_level,
        20,
        "the running mix keeps its threshold"
    );
}

#[test]
fn who_takes_the_place_of_another_needs_none_of_his_own() {
    let mut room = Room::new(Settings {
        max_participants: Some(2),
        ..Settings::default()
    });
    let (first, _) = (room.enter(Role::Member), room.enter(Role::Moderator));
    room.control(Control::Lock).unwrap();
    let carried = Carried {
        muted: true,
        ..Carried::default()
    };
    let entry = Entry::InPlaceOf(first, carried);
    let second = room.reserve(Role::Member, entry).unwrap();
    room.apply(Command::Join { participant: second }).unwrap();
    room.apply(Command::Leave {
        participant: first,
        cause: LeaveCause::HungUp,
    })
    .unwrap();
    let snapshot = room.conference.snapshot().unwrap();
    assert_eq!((snapshot.participant_count(), snapshot.moderators()), (2, 1));
    assert!(
        snapshot
            .participants
            .iter()
            .any(|one| one.id == second && one.muted)
    );
    assert_eq!(
        room.reserve(Role::Member, entry),
        Err(Refusal::UnknownParticipant(first)),
        "a place is given once"
    );
}

#[test]
fn who_takes_over_a_leg_shows_himself_under_the_same_id() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    let before = room.conference.snapshot().unwrap().participants.remove(0);
    room.news();
    let caller = Caller {
        caller_id_name: "Eve".into(),
        caller_id_number: "17".into(),
        ..Caller::new("another")
    };
    let replace = |participant| Command::Replace {
        participant,
        caller: caller.clone(),
    };
    room.apply(replace(id)).unwrap();
    assert_eq!(room.news(), [("replace-member", id.get())]);
    let after = room.conference.snapshot().unwrap().participants.remove(0);
    let expected = ParticipantState {
        caller: Caller {
            call_id: before.caller.call_id.clone(),
            ..caller.clone()
        },
        ..before
    };
    assert_eq!(after, expected);
    let nobody = ParticipantId::new(99).unwrap();
    let refused = room.apply(replace(nobody)).unwrap_err();
    assert_eq!(refused, Refusal::UnknownParticipant(nobody));
}
