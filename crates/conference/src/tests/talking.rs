//! Who talks, how loud, and who has the floor.

use super::*;

#[test]
fn muting_a_talker_stops_him_talking_and_frees_the_floor() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    room.talk(id, true);
    room.pass_floor(Some(id));
    room.news();
    room.control(Control::Mute(id)).unwrap();
    assert!(room.events.iter().all(|event| {
        event
            .participant
            .as_ref()
            .is_none_or(|state| state.muted && !state.talking)
    }));
    assert_eq!(
        room.news(),
        [("mute-member", 1), ("stop-talking", 1), ("floor-change", 0)]
    );
    room.talk(id, true);
    assert_eq!(room.news(), [], "a muted leg does not start talking");
    assert!(!room.state(id).talking);
    room.talk(id, false);
    assert_eq!(room.news(), []);
}

#[test]
fn talking_is_announced_once_per_change() {
    let mut room = Room::open();
    let id = room.enter(Role::Member);
    room.news();
    for talking in [true, true, false, false, true] {
        room.talk(id, talking);
    }
    assert_eq!(
        room.news(),
        [("start-talking", 1), ("stop-talking", 1), ("start-talking", 1)]
    );
}

#[test]
fn the_floor_is_announced_when_it_moves_and_has_one_holder() {
    let mut room = Room::open();
    let a = room.enter(Role::Member);
    let b = room.enter(Role::Member);
    room.news();
    assert_eq!(room.floor(), None);
    for holder in [Some(a), Some(a), Some(b), None, None] {
        room.pass_floor(holder);
        assert_eq!(room.floor(), holder);
    }
    assert_eq!(
        room.news(),
        [("floor-change", 1), ("floor-change", 2), ("floor-change", 0)]
    );
}

#[test]
fn neither_the_muted_nor_the_unknown_get_the_floor() {
    let mut room = Room::open();
    let a = room.enter(Role::Member);
    let b = room.enter(Role::Member);
    room.pass_floor(Some(a));
    room.control(Control::Mute(b)).unwrap();
    room.news();
    room.pass_floor(Some(b));
    assert_eq!(room.floor(), None, "it left its holder all the same");
    assert_eq!(room.news(), [("floor-change", 0)]);
    room.pass_floor(Some(a));
    let stranger = ParticipantId::new(99).unwrap();
    let refused = room.apply(Command::Floor {
        holder: Some(stranger),
    });
    assert_eq!(refused, Err(Refusal::UnknownParticipant(stranger)));
    assert_eq!(room.floor(), Some(a));
}

#[test]
fn energy_is_kept_without_an_event() {
    let mut room = Room::open();
    let participant = room.enter(Role::Member);
    room.news();
    for score in [0, 700, u16::MAX] {
        room.apply(Command::Energy { participant, score }).unwrap();
        assert_eq!(room.state(participant).current_energy, score);
    }
    assert_eq!(room.news(), []);
}
