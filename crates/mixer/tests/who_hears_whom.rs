//! Random joins, leaves, mutes and deafenings, compared with a model that says who hears whom.
//!
//! Every participant sends a constant of his own power of two: the block that a listener gets is then the very list of
//! those whom he hears.

use std::collections::BTreeMap;

use confab_mixer::{MixFormat, Mixer, MixerStorage, Signal, SlotId};
use proptest::prelude::*;

/// With at most this many participants the sum of 1, 2, 4 … stays far below the limiter's ceiling.
const PARTICIPANTS: usize = 12;

#[derive(Debug, Clone)]
enum Step {
    Join { who: usize, muted: bool, deaf: bool },
    Leave { who: usize },
    Mute { who: usize, muted: bool },
    Deaf { who: usize, deaf: bool },
    Speak { who: usize, speaks: bool },
    Grow,
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..PARTICIPANTS;
    let step = prop_oneof![
        3 => (who.clone(), any::<bool>(), any::<bool>()).prop_map(|(who, muted, deaf)| Step::Join { who, muted, deaf }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, muted)| Step::Mute { who, muted }),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, deaf)| Step::Deaf { who, deaf }),
        2 => (who, any::<bool>()).prop_map(|(who, speaks)| Step::Speak { who, speaks }),
        1 => Just(Step::Grow),
        6 => Just(Step::Tick),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Debug, Clone, Copy)]
struct Modelled {
    slot: SlotId,
    muted: bool,
    deaf: bool,
    speaks: bool,
}

fn voice(who: usize) -> i16 {
    1 << who
}

/// What the model says a listener hears, as the sum of voices.
fn expected(roster: &BTreeMap<usize, Modelled>, listener: usize) -> i16 {
    if roster[&listener].deaf {
        return 0;
    }
    roster
        .iter()
        .filter(|&(&who, p)| who != listener && p.speaks && !p.muted)
        .map(|(&who, _)| voice(who))
        .sum()
}

fn tick(mixer: &mut Mixer, roster: &BTreeMap<usize, Modelled>) -> Result<(), TestCaseError> {
    mixer.begin();
    for (&who, participant) in roster {
        if participant.speaks {
            mixer.input(participant.slot, &[voice(who); 160]);
        } else {
            mixer.input_quiet(participant.slot);
        }
    }
    let mixed = mixer.mix();
    prop_assert_eq!(
        mixed.contributions,
        roster.values().filter(|p| p.speaks && !p.muted).count()
    );
    for (&who, participant) in roster {
        let mut heard = [0; 160];
        match mixer.signal(participant.slot) {
            Signal::Silence => {}
            Signal::Common => heard.copy_from_slice(mixer.common()),
            Signal::Own => mixer.render_own(participant.slot, &mut heard),
        }
        prop_assert_eq!(heard, [expected(roster, who); 160], "listener {}", who);
    }
    Ok(())
}

proptest! {
    #[test]
    fn everybody_hears_exactly_those_whom_the_model_names(steps in steps()) {
        let format = MixFormat::new(8000, 20).unwrap();
        let mut mixer = Mixer::new(format, 1, 0);
        let mut roster: BTreeMap<usize, Modelled> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Join { who, muted, deaf } if !roster.contains_key(&who) => match mixer.add(muted, deaf) {
                    Some(slot) => {
                        prop_assert!(roster.values().all(|p| p.slot != slot), "a place is given out once");
                        roster.insert(who, Modelled { slot, muted, deaf, speaks: true });
                    }
                    None => prop_assert_eq!(roster.len(), mixer.capacity()),
                },
                Step::Leave { who } => {
                    if let Some(participant) = roster.remove(&who) {
                        prop_assert!(mixer.remove(participant.slot));
                        prop_assert!(!mixer.remove(participant.slot));
                    }
                }
                Step::Mute { who, muted } => {
                    if let Some(participant) = roster.get_mut(&who) {
                        participant.muted = muted;
                        mixer.set_muted(participant.slot, muted);
                    }
                }
                Step::Deaf { who, deaf } => {
                    if let Some(participant) = roster.get_mut(&who) {
                        participant.deaf = deaf;
                        mixer.set_deaf(participant.slot, deaf);
                    }
                }
                Step::Speak { who, speaks } => {
                    if let Some(participant) = roster.get_mut(&who) {
                        participant.speaks = speaks;
                    }
                }
                Step::Grow if mixer.capacity() < 64 => {
                    let capacity = mixer.capacity();
                    let old = mixer.adopt_storage(MixerStorage::new(format, capacity * 2));
                    prop_assert_eq!((old.capacity(), mixer.capacity()), (capacity, capacity * 2));
                }
                Step::Join { .. } | Step::Grow => {}
                Step::Tick => tick(&mut mixer, &roster)?,
            }
        }
        tick(&mut mixer, &roster)?;
    }
}
