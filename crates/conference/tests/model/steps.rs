//! The steps of a trial, and how they are drawn.

use confab_conference::*;
use proptest::prelude::*;

/// One step. Participants are meant by their index among all ids given so far, so that dead ids are tried as well.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Reserve {
        moderator: bool,
        entry: Entry,
    },
    Join(usize),
    Release(usize),
    Leave(usize),
    Single(u8, usize),
    Set(u8, usize, u8),
    Relate(usize, usize, Relationship),
    Bulk(u8),
    Talking(usize, bool),
    Energy(usize, u16),
    Update {
        limit: Option<u32>,
        join_muted: bool,
        join_deaf: bool,
        improved: bool,
    },
    Floor(Option<usize>),
    /// To everybody, or to one.
    Play(Option<usize>),
    StopPlay(Option<usize>, bool),
    /// What became of a play, by its index among all of this instance.
    Started(usize),
    Ended(usize),
    Failed(usize),
    /// A play that somebody did not hear.
    Missed(usize, usize),
    DigitsSent(usize),
    Pressed(usize),
    /// Start, stop, pause, resume.
    Record(u8),
    /// What became of the recording: whether it has begun, and whether it can be written.
    RecordingBegan(bool),
    RecordingTrouble(bool),
    End,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let who = 0..12usize;
    let entry = prop_oneof![
        4 => Just(Entry::DialIn),
        1 => carried().prop_map(Entry::Moved),
        1 => (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(muted, deaf, ghost)| Entry::DialOut { muted, deaf, ghost, no_hold_music: false, join_existing: false, distributes_keys: ghost && deaf }),
    ];
    let relationship = prop_oneof![
        Just(Relationship::Mute),
        Just(Relationship::Deaf),
        Just(Relationship::Clear)
    ];
    prop_oneof![
        6 => (any::<bool>(), entry).prop_map(|(moderator, entry)| Step::Reserve { moderator, entry }),
        8 => who.clone().prop_map(Step::Join),
        1 => who.clone().prop_map(Step::Release),
        3 => who.clone().prop_map(Step::Leave),
        6 => (0..9u8, who.clone()).prop_map(|(control, who)| Step::Single(control, who)),
        4 => (0..6u8, who.clone(), 0..4u8).prop_map(|(control, who, value)| Step::Set(control, who, value)),
        8 => (who.clone(), who.clone(), relationship).prop_map(|(one, other, r)| Step::Relate(one, other, r)),
        2 => prop_oneof![40 => 0..8u8, 1 => Just(8)].prop_map(Step::Bulk),
        6 => (who.clone(), any::<bool>()).prop_map(|(who, talking)| Step::Talking(who, talking)),
        1 => who.clone().prop_map(Step::DigitsSent),
        1 => who.clone().prop_map(Step::Pressed),
        6 => (0..4u8).prop_map(Step::Record),
        4 => prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(Step::RecordingBegan),
        2 => any::<bool>().prop_map(Step::RecordingTrouble),
        4 => (who, any::<u16>()).prop_map(|(who, score)| Step::Energy(who, score)),
        1 => (proptest::option::of(0..5u32), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(limit, join_muted, join_deaf, improved)| Step::Update { limit, join_muted, join_deaf, improved }
        ),
        4 => proptest::option::of(0..12usize).prop_map(Step::Floor),
        6 => proptest::option::of(0..12usize).prop_map(Step::Play),
        2 => (proptest::option::of(0..12usize), any::<bool>()).prop_map(|(who, all)| Step::StopPlay(who, all)),
        6 => (0..20usize).prop_map(Step::Started),
        4 => (0..20usize).prop_map(Step::Ended),
        1 => (0..20usize).prop_map(Step::Failed),
        6 => (0..20usize, 0..12usize).prop_map(|(play, who)| Step::Missed(play, who)),
        1 => prop_oneof![9 => Just(Step::Floor(None)), 1 => Just(Step::End)],
    ]
}

fn carried() -> impl Strategy<Value = Carried> {
    let flags = any::<(bool, bool, bool, bool, bool)>();
    (flags, 0..4i64).prop_map(|((muted, deaf, ghost, agc, denoise), level)| Carried {
        muted,
        deaf,
        ghost,
        volume_in: Volume::from_level(level).expect("a level"),
        volume_out: Volume::from_level(-level).expect("a level"),
        agc,
        denoise,
        distributes_keys: agc && denoise,
    })
}

/// A control that sets a value, as a step names it.
pub(crate) fn setting(which: u8, id: ParticipantId, value: u8) -> Control {
    let volume = Volume::from_level(i64::from(value)).expect("a level");
    match which {
        0 => Control::SetVolumeIn(id, volume),
        1 => Control::SetVolumeOut(id, volume),
        2 => Control::SetEnergy(id, u16::from(value)),
        3 => Control::SetAgc(id, value > 1),
        4 => Control::SetDenoise(id, value > 1),
        _ => Control::SendDigits(id, "12w#".parse().expect("digits")),
    }
}
