//! Random joins, leaves, controls, relations and playback, compared with a model that says who hears what.
//!
//! Every participant sends a constant of his own power of two, and so does every kind of playback: the block that a
//! listener gets is then the very list of what he hears.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use confab_mixer::{Audience, MemberOptions, MixFormat, Mixer, MixerStorage, Room, Signal, SlotId, SourceId};
use proptest::prelude::*;

/// With at most this many participants the sum of 1, 2, 4 … stays far below the limiter's ceiling.
const PARTICIPANTS: usize = 12;
const TO_ALL: i16 = 1 << 12;
const TO_ONE: i16 = 1 << 13;
const TO_WAITING: i16 = 1 << 13;
/// Odd, so that it is no sum of the others.
const NOISE: i16 = 20_001;

/// What can be changed of a participant.
#[derive(Debug, Clone, Copy)]
enum Flag {
    Muted,
    Deaf,
    Held,
    Waiting,
    Ghost,
    Speaks,
    /// Something plays to him alone.
    Played,
}

#[derive(Debug, Clone)]
enum Step {
    Join {
        who: usize,
        options: MemberOptions,
    },
    Leave {
        who: usize,
    },
    Set {
        who: usize,
        flag: Flag,
        on: bool,
    },
    Relate {
        talker: usize,
        listener: usize,
        heard: bool,
    },
    PlayToAll(bool),
    /// What plays to all is kept from one listener, until it ends.
    Hide {
        listener: usize,
    },
    PlayToWaiting(bool),
    Noise(bool),
    Grow,
    RaiseRate,
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..PARTICIPANTS;
    let options =
        (any::<[bool; 4]>(), 0..4u8).prop_map(|([muted, deaf, held, waiting], odds)| MemberOptions {
            muted: muted && odds == 0,
            deaf: deaf && odds == 1,
            held: held && odds == 2,
            waiting: waiting && odds == 3,
            ..MemberOptions::default()
        });
    let flag = prop_oneof![
        Just(Flag::Muted),
        Just(Flag::Deaf),
        Just(Flag::Held),
        Just(Flag::Waiting),
        Just(Flag::Ghost),
        Just(Flag::Speaks),
        Just(Flag::Played),
    ];
    let step = prop_oneof![
        6 => (who.clone(), options).prop_map(|(who, options)| Step::Join { who, options }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        6 => (who.clone(), flag, any::<bool>()).prop_map(|(who, flag, on)| Step::Set { who, flag, on }),
        6 => (who.clone(), who.clone(), any::<bool>())
            .prop_map(|(talker, listener, heard)| Step::Relate { talker, listener, heard }),
        2 => who.prop_map(|listener| Step::Hide { listener }),
        1 => any::<bool>().prop_map(Step::PlayToAll),
        1 => any::<bool>().prop_map(Step::PlayToWaiting),
        1 => any::<bool>().prop_map(Step::Noise),
        1 => Just(Step::Grow),
        1 => Just(Step::RaiseRate),
        8 => Just(Step::Tick),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Debug, Clone, Copy)]
struct Modelled {
    slot: SlotId,
    options: MemberOptions,
    speaks: bool,
    played: Option<SourceId>,
    /// He does not hear what plays to all.
    hidden: bool,
}

impl Modelled {
    fn is_mixed(&self) -> bool {
        let MemberOptions {
            muted, held, waiting, ..
        } = self.options;
        self.speaks && !muted && !held && !waiting
    }
}

fn voice(who: usize) -> i16 {
    1 << who
}

/// The mixer under test and the model.
struct Trial {
    mixer: Mixer,
    roster: BTreeMap<usize, Modelled>,
    /// (talker, listener)
    unheard: BTreeSet<(usize, usize)>,
    to_all: Option<SourceId>,
    to_waiting: Option<SourceId>,
    noise: bool,
}

impl Trial {
    fn new() -> Self {
        let format = MixFormat::new(8000, 20).unwrap();
        let room = Room {
            participants: 1,
            relations: PARTICIPANTS * PARTICIPANTS,
            sources: PARTICIPANTS + 2,
        };
        Trial {
            mixer: Mixer::with_storage(MixerStorage::with_room(format, room), 0),
            roster: BTreeMap::new(),
            unheard: BTreeSet::new(),
            to_all: None,
            to_waiting: None,
            noise: false,
        }
    }

    fn play(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Join { who, options } if !self.roster.contains_key(&who) => self.join(who, options)?,
            Step::Join { .. } => {}
            Step::Leave { who } => {
                if let Some(participant) = self.roster.remove(&who) {
                    prop_assert!(self.mixer.remove(participant.slot));
                    prop_assert!(!self.mixer.remove(participant.slot));
                    self.unheard
                        .retain(|&(talker, listener)| talker != who && listener != who);
                }
            }
            Step::Set { who, flag, on } => self.set(who, flag, on),
            Step::Relate {
                talker,
                listener,
                heard,
            } => self.relate(talker, listener, heard)?,
            Step::PlayToAll(on) => {
                self.to_all = self.switch(self.to_all, Audience::All, on);
                if !on {
                    self.roster.values_mut().for_each(|one| one.hidden = false);
                }
            }
            Step::Hide { listener } => self.hide(listener)?,
            Step::PlayToWaiting(on) => {
                self.to_waiting = self.switch(self.to_waiting, Audience::Waiting, on);
            }
            Step::Noise(on) => self.noise = on,
            Step::Grow => self.grow()?,
            Step::RaiseRate => self.raise_rate()?,
            Step::Tick => self.tick()?,
        }
        prop_assert_eq!(self.mixer.relations(), self.unheard.len());
        Ok(())
    }

    fn join(&mut self, who: usize, options: MemberOptions) -> Result<(), TestCaseError> {
        let Some(slot) = self.mixer.add_member(&options) else {
            prop_assert_eq!(self.roster.len(), self.mixer.capacity());
            return Ok(());
        };
        prop_assert!(
            self.roster.values().all(|p| p.slot != slot),
            "a place is given out once"
        );
        self.roster.insert(
            who,
            Modelled {
                slot,
                options,
                speaks: true,
                played: None,
                hidden: false,
            },
        );
        Ok(())
    }

    fn set(&mut self, who: usize, flag: Flag, on: bool) {
        let Some(participant) = self.roster.get_mut(&who) else {
            return;
        };
        let (mixer, slot) = (&mut self.mixer, participant.slot);
        match flag {
            Flag::Muted => {
                participant.options.muted = on;
                mixer.set_muted(slot, on);
            }
            Flag::Deaf => {
                participant.options.deaf = on;
                mixer.set_deaf(slot, on);
            }
            Flag::Held => {
                participant.options.held = on;
                mixer.set_held(slot, on);
            }
            Flag::Waiting => {
                participant.options.waiting = on;
                mixer.set_waiting(slot, on);
            }
            Flag::Ghost => mixer.set_ghost(slot, on),
            Flag::Speaks => participant.speaks = on,
            Flag::Played => match participant.played {
                None if on => participant.played = mixer.add_source(Audience::One(slot), 0.0, None),
                Some(source) if !on => {
                    assert!(mixer.remove_source(source) && !mixer.remove_source(source));
                    participant.played = None;
                }
                _ => {}
            },
        }
    }

    fn relate(&mut self, talker: usize, listener: usize, heard: bool) -> Result<(), TestCaseError> {
        let (Some(a), Some(b)) = (self.roster.get(&talker), self.roster.get(&listener)) else {
            return Ok(());
        };
        prop_assert_eq!(self.mixer.set_relation(a.slot, b.slot, heard), talker != listener);
        if heard {
            self.unheard.remove(&(talker, listener));
        } else if talker != listener {
            self.unheard.insert((talker, listener));
        }
        Ok(())
    }

    fn hide(&mut self, listener: usize) -> Result<(), TestCaseError> {
        if let (Some(one), Some(source)) = (self.roster.get_mut(&listener), self.to_all) {
            prop_assert!(self.mixer.hide_source(source, one.slot));
            one.hidden = true;
        }
        Ok(())
    }

    fn switch(&mut self, source: Option<SourceId>, audience: Audience, on: bool) -> Option<SourceId> {
        match source {
            None if on => Some(self.mixer.add_source(audience, 0.0, None).unwrap()),
            Some(source) if !on => {
                assert!(self.mixer.remove_source(source));
                None
            }
            unchanged => unchanged,
        }
    }

    fn grow(&mut self) -> Result<(), TestCaseError> {
        let room = self.mixer.room();
        if room.participants < 64 {
            let larger = Room {
                participants: room.participants * 2,
                ..room
            };
            let old = self
                .mixer
                .adopt_storage(MixerStorage::with_room(self.mixer.format(), larger));
            prop_assert_eq!((old.room(), self.mixer.room()), (room, larger));
        }
        Ok(())
    }

    fn raise_rate(&mut self) -> Result<(), TestCaseError> {
        let rate_hz = self.mixer.format().rate_hz();
        if let Some(format) = MixFormat::new(rate_hz * 2, 20) {
            let old = self
                .mixer
                .adopt_format(MixerStorage::with_room(format, self.mixer.room()));
            prop_assert_eq!(old.room(), self.mixer.room());
            prop_assert_eq!(self.mixer.format(), format);
        }
        Ok(())
    }

    /// What the model says a listener hears, as a sum.
    fn expected(&self, listener: usize) -> i16 {
        let MemberOptions { deaf, waiting, .. } = self.roster[&listener].options;
        let mut heard = 0;
        if !deaf && !waiting {
            heard = self
                .roster
                .iter()
                .filter(|&(&who, p)| {
                    who != listener && p.is_mixed() && !self.unheard.contains(&(who, listener))
                })
                .map(|(&who, _)| voice(who))
                .sum::<i16>();
            let hears_it = self.to_all.is_some() && !self.roster[&listener].hidden;
            heard += if hears_it { TO_ALL } else { 0 };
            if heard == 0 && self.noise {
                heard = NOISE;
            }
        } else if !deaf && self.to_waiting.is_some() {
            heard = TO_WAITING;
        }
        heard
            + if self.roster[&listener].played.is_some() {
                TO_ONE
            } else {
                0
            }
    }

    fn put_in(&mut self) {
        let mixer = &mut self.mixer;
        let block = mixer.block_samples();
        mixer.begin();
        for (source, value) in [(self.to_all, TO_ALL), (self.to_waiting, TO_WAITING)] {
            if let Some(source) = source {
                assert!(mixer.source_input(source, &vec![value; block]));
                assert!(!mixer.source_input(source, &[]), "once in a tick");
            }
        }
        for (&who, participant) in &self.roster {
            if let Some(source) = participant.played {
                assert!(mixer.source_input(source, &vec![TO_ONE; block]));
            }
            if participant.speaks {
                mixer.input(participant.slot, &vec![voice(who); block]);
            } else {
                mixer.input_quiet(participant.slot);
            }
        }
        if self.noise && mixer.wants_noise() {
            mixer.noise_input(&vec![NOISE; block]);
        }
    }

    fn tick(&mut self) -> Result<(), TestCaseError> {
        self.put_in();
        let mixed = self.mixer.mix();
        let voices = self.roster.values().filter(|p| p.is_mixed()).count();
        let sounds = voices + usize::from(self.to_all.is_some());
        let noise = usize::from(sounds == 0 && self.noise);
        prop_assert_eq!(mixed.contributions, sounds + noise);
        for (&who, participant) in &self.roster {
            let mut heard = vec![0; self.mixer.block_samples()];
            match self.mixer.signal(participant.slot) {
                Signal::Silence => {}
                Signal::Common => heard.copy_from_slice(self.mixer.common()),
                Signal::Waiting => heard.copy_from_slice(self.mixer.waiting()),
                Signal::Own => self.mixer.render_own(participant.slot, &mut heard),
            }
            let expected = self.expected(who);
            prop_assert!(
                heard.iter().all(|&sample| sample == expected),
                "listener {who} hears {} instead of {expected}",
                heard[0]
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_hears_exactly_what_the_model_names(steps in steps()) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.play(step)?;
        }
        trial.tick()?;
    }
}
