//! What a recording takes out of a mix: all of it before the limiter, and its parts, which add up to it.

#![allow(clippy::unwrap_used)]

use confab_mixer::{Audience, MemberOptions, MixFormat, Mixer, MixerStorage, Room, SlotId, SourceId};
use proptest::prelude::*;

const BLOCK: usize = 160;

fn mixer(participants: usize) -> (Mixer, Vec<SlotId>) {
    let mut mixer = Mixer::new(MixFormat::new(8000, 20).unwrap(), participants, 20);
    let slots = (0..participants)
        .map(|_| mixer.add(false, false).unwrap())
        .collect();
    (mixer, slots)
}

/// The full mix and the server's part, `None` where there is nothing.
fn recorded(mixer: &mut Mixer) -> (Option<Vec<i16>>, Option<Vec<i16>>) {
    let mut out = vec![7; mixer.block_samples()];
    let full = mixer.full_mix(&mut out).then(|| out.clone());
    let server = mixer.server_part(&mut out).then(|| out.clone());
    (full, server)
}

/// The sum of all parts, in 16 bits.
fn parts(mixer: &Mixer, slots: &[SlotId], server: Option<&[i16]>) -> Vec<i16> {
    let mut sum = vec![0_i32; mixer.block_samples()];
    let contributions = slots.iter().filter_map(|&slot| mixer.contribution(slot));
    for part in contributions.chain(server) {
        for (sum, &sample) in sum.iter_mut().zip(part) {
            *sum += i32::from(sample);
        }
    }
    let saturate = |sum: &i32| (*sum).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    sum.iter().map(saturate).collect()
}

#[test]
fn the_full_mix_is_not_limited_and_has_all_that_is_for_everybody() {
    let (mut mixer, slots) = mixer(4);
    let to_all = mixer.add_source(Audience::All, -6.0206, None).unwrap();
    let private = mixer.add_source(Audience::One(slots[3]), 0.0, None).unwrap();
    mixer.set_relation(slots[0], slots[3], false);
    mixer.set_deaf(slots[3], true);
    for _ in 0..2 {
        mixer.begin();
        for (&slot, value) in slots.iter().zip([20_000, 9000, 50]) {
            mixer.input(slot, &[value; BLOCK]);
        }
        mixer.source_input(to_all, &[2000; BLOCK]);
        mixer.source_input(private, &[100; BLOCK]);
        mixer.noise_input(&[3; BLOCK]);
        mixer.mix();
    }
    let (full, server) = recorded(&mut mixer);
    assert_eq!(full, Some(vec![30_050; BLOCK]), "20000 + 9000 + 50 + 1000");
    assert_eq!(server, Some(vec![1000; BLOCK]));
    assert!(mixer.common()[BLOCK - 1] < 25_000, "what is heard is limited");
}

#[test]
fn silence_is_told_and_comfort_noise_is_the_servers() {
    let (mut mixer, slots) = mixer(2);
    mixer.set_muted(slots[0], true);
    let waiting = mixer.add_source(Audience::Waiting, 0.0, None).unwrap();
    mixer.begin();
    mixer.input(slots[0], &[9000; BLOCK]);
    mixer.input_quiet(slots[1]);
    mixer.source_input(waiting, &[100; BLOCK]);
    mixer.mix();
    assert_eq!(recorded(&mut mixer), (None, None));
    assert_eq!(mixer.contribution(slots[0]), None, "muted before every tap");
    mixer.begin();
    mixer.noise_input(&[3; BLOCK]);
    mixer.mix();
    assert_eq!(recorded(&mut mixer), (Some(vec![3; BLOCK]), Some(vec![3; BLOCK])));
    // Beside one voice only he who speaks hears the noise.
    mixer.begin();
    mixer.input(slots[1], &[9000; BLOCK]);
    mixer.noise_input(&[3; BLOCK]);
    mixer.mix();
    let (full, server) = recorded(&mut mixer);
    assert_eq!((full.unwrap()[BLOCK - 1], server), (9000, None));
}

#[test]
fn a_server_louder_than_full_scale_is_cut_off_in_the_whole_as_in_its_part() {
    let (mut mixer, slots) = mixer(1);
    let sources = [(); 2].map(|()| mixer.add_source(Audience::All, 0.0, None).unwrap());
    for _ in 0..2 {
        mixer.begin();
        mixer.input(slots[0], &[-10_000; BLOCK]);
        for source in sources {
            mixer.source_input(source, &[20_000; BLOCK]);
        }
        mixer.mix();
    }
    let (full, server) = recorded(&mut mixer);
    assert_eq!(server, Some(vec![i16::MAX; BLOCK]));
    assert_eq!(full.unwrap(), vec![22_767; BLOCK]);
}

#[test]
fn a_shorter_place_gets_the_beginning() {
    let (mut mixer, slots) = mixer(1);
    mixer.begin();
    mixer.input(slots[0], &[9000; BLOCK]);
    mixer.mix();
    let mut out = [0; 3];
    assert!(mixer.full_mix(&mut out));
    assert_eq!(out, mixer.contribution(slots[0]).unwrap()[..3]);
    assert!(mixer.full_mix(&mut []));
}

#[derive(Debug, Clone)]
enum Step {
    Add(MemberOptions),
    Remove(usize),
    Mute(usize, bool),
    Hold(usize, bool),
    Gain(usize, f32),
    Level(u16),
    Play(Audience, f32, Option<f32>),
    PlayToOne(usize),
    Stop(usize),
    SourceGain(usize, f32),
    Block(u16),
    Raise(u32),
    Grow,
    Tick(Vec<Option<i16>>, Vec<Option<i16>>, Option<i16>),
}

fn step() -> impl Strategy<Value = Step> {
    let value = || prop::option::weighted(0.8, any::<i16>());
    let values = || prop::collection::vec(value(), 0..8);
    let duck = || prop::option::of(0f32..40.0);
    prop_oneof![
        2 => (any::<bool>(), any::<bool>(), -20f32..20.0).prop_map(|(muted, waiting, input_gain_db)| {
            Step::Add(MemberOptions { muted, waiting, input_gain_db, ..MemberOptions::default() })
        }),
        1 => (0..8_usize).prop_map(Step::Remove),
        2 => (0..8_usize, any::<bool>()).prop_map(|(who, on)| Step::Mute(who, on)),
        1 => (0..8_usize, any::<bool>()).prop_map(|(who, on)| Step::Hold(who, on)),
        2 => (0..8_usize, -40f32..20.0).prop_map(|(who, decibels)| Step::Gain(who, decibels)),
        1 => (0..1800_u16).prop_map(Step::Level),
        2 => (-20f32..20.0, duck()).prop_map(|(gain, duck)| Step::Play(Audience::All, gain, duck)),
        1 => (-20f32..20.0, duck()).prop_map(|(gain, duck)| Step::Play(Audience::Waiting, gain, duck)),
        1 => (0..8_usize).prop_map(Step::PlayToOne),
        1 => (0..8_usize).prop_map(Step::Stop),
        1 => (0..8_usize, -40f32..20.0).prop_map(|(which, gain)| Step::SourceGain(which, gain)),
        1 => prop::sample::select(vec![10_u16, 20]).prop_map(Step::Block),
        1 => prop::sample::select(vec![16_000_u32, 24_000, 48_000]).prop_map(Step::Raise),
        1 => Just(Step::Grow),
        12 => (values(), values(), prop::option::of(-30..30_i16)).prop_map(|(a, b, c)| Step::Tick(a, b, c)),
    ]
}

/// Samples of a tick that make up no steady value.
fn wave(peak: i16, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| {
            if n % 7 < 4 {
                peak
            } else {
                peak.saturating_neg() / (n as i16 % 5 + 1)
            }
        })
        .collect()
}

/// The mixer with everybody who is in it and everything that plays.
struct House {
    mixer: Mixer,
    slots: Vec<SlotId>,
    sources: Vec<SourceId>,
}

impl House {
    fn slot(&self, who: usize) -> Option<SlotId> {
        self.slots.get(who).copied()
    }

    fn change(&mut self, step: &Step) {
        let mixer = &mut self.mixer;
        match *step {
            Step::Add(ref options) => self.slots.extend(mixer.add_member(options)),
            Step::Remove(who) => {
                if who < self.slots.len() {
                    mixer.remove(self.slots.remove(who));
                }
            }
            Step::Play(audience, gain_db, duck_db) => {
                self.sources.extend(mixer.add_source(audience, gain_db, duck_db));
            }
            Step::Stop(which) => {
                if which < self.sources.len() {
                    mixer.remove_source(self.sources.remove(which));
                }
            }
            Step::SourceGain(which, gain_db) => {
                if let Some(&source) = self.sources.get(which) {
                    mixer.set_source_gain(source, gain_db);
                }
            }
            Step::Level(level) => mixer.set_energy_level(level),
            Step::Block(milliseconds) => mixer.set_block_ms(milliseconds),
            Step::Raise(rate_hz) => {
                let format = MixFormat::new(rate_hz, 20).unwrap();
                mixer.adopt_format(MixerStorage::with_room(format, mixer.room()));
            }
            Step::Grow => {
                let room = mixer.room();
                let larger = Room {
                    participants: room.participants + 1,
                    ..room
                };
                mixer.adopt_storage(MixerStorage::with_room(mixer.format(), larger));
            }
            Step::PlayToOne(who) => {
                if let Some(slot) = self.slot(who) {
                    let source = self.mixer.add_source(Audience::One(slot), 0.0, None);
                    self.sources.extend(source);
                }
            }
            Step::Mute(who, muted) => {
                if let Some(slot) = self.slot(who) {
                    self.mixer.set_muted(slot, muted);
                }
            }
            Step::Hold(who, held) => {
                if let Some(slot) = self.slot(who) {
                    self.mixer.set_held(slot, held);
                }
            }
            Step::Gain(who, decibels) => {
                if let Some(slot) = self.slot(who) {
                    self.mixer.set_input_gain(slot, decibels);
                }
            }
            Step::Tick(ref said, ref played, noise) => self.tick(said, played, noise),
        }
    }

    fn tick(&mut self, said: &[Option<i16>], played: &[Option<i16>], noise: Option<i16>) {
        let mixer = &mut self.mixer;
        let samples = mixer.block_samples();
        mixer.begin();
        for (&slot, value) in self.slots.iter().zip(said) {
            match value {
                Some(peak) => mixer.input(slot, &wave(*peak, samples)),
                None => mixer.input_quiet(slot),
            };
        }
        for (&source, value) in self.sources.iter().zip(played) {
            match value {
                Some(peak) => mixer.source_input(source, &wave(*peak, samples)),
                None => mixer.source_quiet(source),
            };
        }
        if let Some(noise) = noise {
            mixer.noise_input(&wave(noise, samples));
        }
        mixer.mix();
    }
}

proptest! {
    #[test]
    fn the_parts_add_up_to_the_full_mix_whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        let (mixer, slots) = mixer(6);
        let mut house = House { mixer, slots, sources: Vec::new() };
        for step in &steps {
            house.change(step);
            if !matches!(step, Step::Tick(..)) {
                continue;
            }
            let (full, server) = recorded(&mut house.mixer);
            let sum = parts(&house.mixer, &house.slots, server.as_deref());
            match full {
                Some(full) => prop_assert_eq!(full, sum),
                None => prop_assert!(sum.iter().all(|&sample| sample == 0)),
            }
        }
    }
}
