//! Hold, volumes, thresholds and relations, told as examples.

use super::*;

#[test]
fn every_setting_is_shown_announced_and_asked_for_once() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    let loud = Volume::from_level(2).unwrap();
    let low = Volume::from_db(-40.0).unwrap();
    type Shown = fn(&ParticipantState) -> bool;
    let rows: [(Control, &str, Effect, Shown); 7] = [
        (
            Control::SetVolumeIn(id, loud),
            "volume-in-member",
            Effect::SetVolumeIn {
                participant: id,
                volume: loud,
            },
            |state| state.volume_in.tenths_db() == 72 && state.volume_out == Volume::default(),
        ),
        (
            Control::SetVolumeOut(id, low),
            "volume-out-member",
            Effect::SetVolumeOut {
                participant: id,
                volume: low,
            },
            |state| state.volume_out.tenths_db() == -400,
        ),
        (
            Control::SetEnergy(id, 1800),
            "energy-level-member",
            Effect::SetEnergyLevel {
                participant: id,
                level: 1800,
            },
            |state| state.energy_level == 1800,
        ),
        (
            Control::SetAgc(id, true),
            "agc-member",
            Effect::SetAgc {
                participant: id,
                on: true,
            },
            |state| state.agc && !state.denoise,
        ),
        (
            Control::SetDenoise(id, true),
            "denoise-member",
            Effect::SetDenoise {
                participant: id,
                on: true,
            },
            |state| state.denoise,
        ),
        (
            Control::Hold(id),
            "hold-member",
            Effect::SetHeld {
                participant: id,
                held: true,
            },
            |state| state.held && !state.muted,
        ),
        (
            Control::Unhold(id),
            "unhold-member",
            Effect::SetHeld {
                participant: id,
                held: false,
            },
            |state| !state.held,
        ),
    ];
    for (control, name, effect, shown) in rows {
        room.news();
        room.effects.clear();
        for _ in 0..2 {
            room.control(control.clone()).unwrap();
        }
        assert!(shown(&room.state(id)), "{control:?}");
        assert_eq!(room.news(), [(name, 1), (name, 1)], "{control:?}");
        assert_eq!(room.effects, [effect], "{control:?}");
    }
}

#[test]
fn every_setting_of_an_unknown_participant_is_refused() {
    let mut room = Room::open();
    let known = room.enter(Role::Member);
    room.news();
    let [id, other] = [98, 99].map(|id| ParticipantId::new(id).unwrap());
    let relate = |participant, other| Control::Relate {
        participant,
        other,
        relationship: Relationship::Clear,
    };
    let rows = [
        (Control::Hold(id), id),
        (Control::Unhold(id), id),
        (Control::SetVolumeIn(id, Volume::default()), id),
        (Control::SetVolumeOut(id, Volume::default()), id),
        (Control::SetEnergy(id, 0), id),
        (Control::SetAgc(id, false), id),
        (Control::SetDenoise(id, false), id),
        (relate(id, known), id),
        (relate(known, other), other),
        (relate(id, other), other),
    ];
    for (control, unknown) in rows {
        assert_eq!(
            room.control(control.clone()),
            Err(Refusal::UnknownParticipant(unknown)),
            "{control:?}"
        );
    }
    assert_eq!(
        room.control(relate(known, known)),
        Err(Refusal::RelatedToSelf(known))
    );
    assert_eq!((room.news().len(), room.effects.len()), (0, 0));
}

#[test]
fn holding_a_talker_is_like_muting_him() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    room.talk(id, true);
    room.pass_floor(Some(id));
    room.news();
    room.control(Control::Hold(id)).unwrap();
    assert_eq!(
        room.news(),
        [("hold-member", 1), ("stop-talking", 1), ("floor-change", 0)]
    );
    room.talk(id, true);
    room.pass_floor(Some(id));
    assert_eq!(room.news(), [], "he neither talks nor has the floor");
    room.control(Control::Unhold(id)).unwrap();
    room.talk(id, true);
    room.pass_floor(Some(id));
    assert_eq!(
        room.news(),
        [("unhold-member", 1), ("start-talking", 1), ("floor-change", 1)]
    );
}

#[test]
fn a_ghost_never_has_the_floor() {
    let mut room = Room::open();
    let entry = Entry::CALLED_GHOST;
    let id = room.reserve(Role::Member, entry).unwrap();
    assert!(room.conference.join_flags(id).unwrap().ghost);
    room.apply(Command::Join { participant: id }).unwrap();
    room.pass_floor(Some(id));
    assert_eq!(room.floor(), None);
}

#[test]
fn the_profile_switches_what_joiners_begin_with() {
    let mut room = Room::new(Settings {
        auto_gain: true,
        denoise: true,
        ..Settings::default()
    });
    let participant = room.enter(Role::Member);
    let state = room.state(participant);
    assert!(state.agc && state.denoise);
    let on = true;
    assert_eq!(
        room.effects,
        [
            Effect::SetAgc { participant, on },
            Effect::SetDenoise { participant, on }
        ]
    );
    room.control(Control::SetAgc(participant, false)).unwrap();
    room.apply(Command::Update(Settings::default())).unwrap();
    assert!(room.state(participant).denoise, "who is in is left alone");
    let later = room.enter(Role::Member);
    assert!(!room.state(later).denoise);
}

/// One step of a table: whose record about whom, what it says, and who then does not hear whom, listener first.
type Row = (
    usize,
    usize,
    Relationship,
    &'static [(usize, usize)],
    &'static [(usize, usize, bool)],
);

#[test]
fn relations_are_records_of_their_own() {
    use Relationship::{Clear, Deaf, Mute};
    let mut room = Room::open();
    let ids = [0, 1, 2].map(|_| room.enter(Role::Member));
    room.news();
    // The last column is what the media plane is asked for: talker, listener, heard.
    let rows: [Row; 12] = [
        (0, 1, Clear, &[], &[]),
        (0, 1, Mute, &[(1, 0)], &[(0, 1, false)]),
        (0, 1, Mute, &[(1, 0)], &[]),
        (1, 0, Deaf, &[(1, 0)], &[]), // the same once more, in a record of the other's
        (0, 1, Clear, &[(1, 0)], &[]), // which stands
        (1, 0, Clear, &[], &[(0, 1, true)]),
        (0, 1, Mute, &[(1, 0)], &[(0, 1, false)]),
        (0, 1, Deaf, &[(0, 1)], &[(0, 1, true), (1, 0, false)]), // replaces it
        (1, 0, Deaf, &[(0, 1), (1, 0)], &[(0, 1, false)]),
        (2, 0, Mute, &[(0, 1), (0, 2), (1, 0)], &[(2, 0, false)]),
        (0, 1, Clear, &[(0, 2), (1, 0)], &[(1, 0, true)]),
        (0, 2, Clear, &[(0, 2), (1, 0)], &[]), // not his record
    ];
    for (step, (one, other, relationship, unheard, asked)) in rows.into_iter().enumerate() {
        room.effects.clear();
        room.control(Control::Relate {
            participant: ids[one],
            other: ids[other],
            relationship,
        })
        .unwrap();
        for listener in 0..3 {
            for talker in 0..3 {
                assert_eq!(
                    room.conference.hears(ids[listener], ids[talker]),
                    !unheard.contains(&(listener, talker)),
                    "step {step}: {listener} hears {talker}"
                );
            }
        }
        let asked: Vec<Effect> = asked
            .iter()
            .map(|&(talker, listener, heard)| {
                Effect::SetHeard(Hearing {
                    talker: ids[talker],
                    listener: ids[listener],
                    heard,
                })
            })
            .collect();
        assert_eq!(room.effects, asked, "step {step}");
    }
    assert_eq!(room.news(), [], "no event tells of relations");
    assert!(
        !room.state(ids[0]).muted && !room.state(ids[0]).deaf,
        "and no flag"
    );
}

#[test]
fn relations_end_when_either_leaves() {
    for leaver in [0, 1] {
        let mut room = Room::open();
        let ids = [0, 1, 2].map(|_| room.enter(Role::Member));
        for (one, other) in [(0, 1), (1, 0), (1, 2)] {
            room.control(Control::Relate {
                participant: ids[one],
                other: ids[other],
                relationship: Relationship::Mute,
            })
            .unwrap();
        }
        room.effects.clear();
        room.apply(Command::Leave {
            participant: ids[leaver],
            cause: LeaveCause::HungUp,
        })
        .unwrap();
        assert!(room.conference.hears(ids[1], ids[0]) && room.conference.hears(ids[0], ids[1]));
        assert_eq!(room.conference.hears(ids[2], ids[1]), leaver == 1);
        assert_eq!(room.effects, [], "leaving the mix ends them there");
    }
}
