//! Playback into the mix, ducking, the comfort noise.

#![allow(clippy::unwrap_used)]

use confab_mixer::{Audience, MixFormat, Mixer, Signal, SlotId, SourceId};

const BLOCK: usize = 160;

/// What plays in a tick.
type Played = [(SourceId, i16)];

fn mixer(participants: usize) -> (Mixer, Vec<SlotId>) {
    let mut mixer = Mixer::new(MixFormat::new(8000, 20).unwrap(), participants, 20);
    let slots = (0..participants)
        .map(|_| mixer.add(false, false).unwrap())
        .collect();
    (mixer, slots)
}

fn tick(mixer: &mut Mixer, inputs: &[(SlotId, i16)], played: &Played, noise: Option<i16>) {
    mixer.begin();
    put_in(mixer, inputs, played);
    if let Some(noise) = noise {
        mixer.noise_input(&[noise; BLOCK]);
    }
    mixer.mix();
}

fn put_in(mixer: &mut Mixer, inputs: &[(SlotId, i16)], played: &Played) {
    for &(slot, value) in inputs {
        mixer.input(slot, &[value; BLOCK]);
    }
    for &(source, value) in played {
        assert!(mixer.source_input(source, &[value; BLOCK]));
    }
}

fn heard(mixer: &mut Mixer, slot: SlotId) -> Vec<i16> {
    let mut out = vec![0; BLOCK];
    match mixer.signal(slot) {
        Signal::Silence => {}
        Signal::Common => out.copy_from_slice(mixer.common()),
        Signal::Waiting => out.copy_from_slice(mixer.waiting()),
        Signal::Own => mixer.render_own(slot, &mut out),
    }
    out
}

#[test]
fn each_audience_hears_its_own() {
    let (mut mixer, slots) = mixer(5);
    let [talker, _, deaf, waiting, deaf_waiting] = slots[..] else {
        unreachable!()
    };
    mixer.set_deaf(deaf, true);
    mixer.set_waiting(waiting, true);
    mixer.set_deaf(deaf_waiting, true);
    mixer.set_waiting(deaf_waiting, true);
    let add = |mixer: &mut Mixer, audience| mixer.add_source(audience, 0.0, None).unwrap();
    let to_all = add(&mut mixer, Audience::All);
    let to_waiting = add(&mut mixer, Audience::Waiting);
    let private: Vec<_> = slots
        .iter()
        .map(|&slot| add(&mut mixer, Audience::One(slot)))
        .collect();
    let rows: [(&Played, [i16; 5]); 5] = [
        (&[], [0, 1000, 0, 0, 0]),
        (&[(to_all, 100)], [100, 1100, 0, 0, 0]),
        (&[(to_waiting, 10)], [0, 1000, 0, 10, 0]),
        (&[(to_all, 100), (to_waiting, 10)], [100, 1100, 0, 10, 0]),
        (
            &[
                (to_all, 100),
                (to_waiting, 10),
                (private[0], 1),
                (private[1], 2),
                (private[2], 3),
                (private[3], 4),
                (private[4], 5),
            ],
            [101, 1102, 3, 14, 5],
        ),
    ];
    tick(&mut mixer, &[(talker, 1000)], &[], None); // the gate is open from here on
    for (played, expected) in rows {
        tick(
            &mut mixer,
            &[(talker, 1000), (waiting, 5000), (deaf_waiting, 5000)],
            played,
            None,
        );
        for (&slot, expected) in slots.iter().zip(expected) {
            assert_eq!(
                heard(&mut mixer, slot),
                [expected; BLOCK],
                "{slot:?} with {played:?}"
            );
        }
    }
    assert_eq!(mixer.signal(talker), Signal::Own);
    tick(&mut mixer, &[], &[(to_all, 100), (to_waiting, 10)], None);
    let signals: Vec<_> = slots.iter().map(|&slot| mixer.signal(slot)).collect();
    use Signal::{Common, Silence, Waiting};
    assert_eq!(
        signals,
        [Common, Common, Silence, Waiting, Silence],
        "playback is shared"
    );
}

#[test]
fn sources_are_bounded_and_end_with_their_listener() {
    let (mut mixer, slots) = mixer(2);
    let room = mixer.room().sources;
    let sources: Vec<_> = (0..room)
        .map(|_| mixer.add_source(Audience::One(slots[0]), 0.0, None).unwrap())
        .collect();
    assert_eq!(mixer.add_source(Audience::All, 0.0, None), None);
    mixer.begin();
    assert!(mixer.source_input(sources[0], &[7; BLOCK]));
    mixer.remove(slots[0]);
    assert_eq!(mixer.add_source(Audience::One(slots[0]), 0.0, None), None);
    let newcomer = mixer.add(false, false).unwrap();
    assert_eq!(newcomer, slots[0]);
    assert!(
        sources
            .iter()
            .all(|&source| !mixer.source_input(source, &[7; BLOCK]) && !mixer.remove_source(source))
    );
    mixer.mix();
    assert_eq!(
        mixer.signal(newcomer),
        Signal::Silence,
        "not what played to the one before"
    );
    assert!(mixer.add_source(Audience::All, 0.0, None).is_some());
}

#[test]
fn several_that_play_to_one_are_added_up_and_may_be_taken_away() {
    let (mut mixer, slots) = mixer(2);
    let values = [1, 20, 300, 4000];
    let sources = values.map(|_| mixer.add_source(Audience::One(slots[1]), 0.0, None).unwrap());
    let other = mixer.add_source(Audience::One(slots[0]), 0.0, None).unwrap();
    for gone in 0..=values.len() {
        mixer.begin();
        mixer.source_input(other, &[7; BLOCK]);
        for (&source, value) in sources.iter().zip(values) {
            mixer.source_input(source, &[value; BLOCK]);
        }
        // Each time another one goes within the tick, the middle ones first.
        let order = [1, 2, 0, 3];
        let taken = &order[..gone];
        if let Some(&last) = taken.last() {
            assert!(mixer.remove_source(sources[last]));
        }
        mixer.mix();
        let left: i16 = (0..values.len())
            .filter(|n| !taken.contains(n))
            .map(|n| values[n])
            .sum();
        assert_eq!(heard(&mut mixer, slots[1]), [left; BLOCK], "{gone} gone");
        assert_eq!(heard(&mut mixer, slots[0]), [7; BLOCK]);
    }
}

#[test]
fn a_source_has_its_gain_and_short_blocks_end_in_silence() {
    let (mut mixer, slots) = mixer(1);
    let source = mixer.add_source(Audience::All, -6.0206, None).unwrap();
    mixer.begin();
    mixer.source_input(source, &[1000; 3]);
    mixer.mix();
    assert_eq!(mixer.common()[..5], [500, 500, 500, 0, 0]);
    mixer.set_source_gain(source, 0.0);
    tick(&mut mixer, &[], &[(source, 1000)], None);
    assert_eq!(heard(&mut mixer, slots[0])[40..], [1000; 120]);
    tick(&mut mixer, &[], &[(source, 32_767)], None);
    assert_eq!(
        heard(&mut mixer, slots[0]),
        [32_767; BLOCK],
        "alone it passes bit-exactly"
    );
    assert!(mixer.remove_source(source));
    mixer.mix();
    assert_eq!(heard(&mut mixer, slots[0]), [0; BLOCK]);
}

#[test]
fn speech_lowers_what_plays_and_is_not_touched_itself() {
    // audience of the source, who speaks, whether that lowers it
    let rows = [
        ("all", 0, true),
        ("one", 0, true),
        ("one", 1, false), // his own voice does not take his prompt from him
        ("waiting", 0, false),
    ];
    for (audience, speaker, lowered) in rows {
        let (mut mixer, slots) = mixer(3);
        mixer.set_waiting(slots[2], true);
        let (audience, listener) = match audience {
            "all" => (Audience::All, slots[1]),
            "one" => (Audience::One(slots[1]), slots[1]),
            _ => (Audience::Waiting, slots[2]),
        };
        let source = mixer.add_source(audience, 0.0, Some(12.0412)).unwrap();
        tick(&mut mixer, &[], &[(source, 4000)], None);
        assert_eq!(heard(&mut mixer, listener), [4000; BLOCK]);
        let speaks = [(slots[speaker], 1000)];
        for _ in 0..7 {
            tick(&mut mixer, &speaks, &[(source, 4000)], None);
            heard(&mut mixer, listener);
        }
        let speech = if speaker == 0 && listener == slots[1] {
            1000
        } else {
            0
        };
        let expected = speech + if lowered { 1000 } else { 4000 };
        let out = heard_again(&mut mixer, &speaks, source, listener);
        assert!(
            out.iter().all(|s| s.abs_diff(expected) <= 1),
            "{audience:?}: {out:?}"
        );
        // The talking ends 800 ms after the last word; a second later all is as before.
        for _ in 0..92 {
            tick(&mut mixer, &[(slots[speaker], 0)], &[(source, 4000)], None);
            heard(&mut mixer, listener);
        }
        assert_eq!(
            heard_again(&mut mixer, &[], source, listener),
            [4000; BLOCK],
            "{audience:?}"
        );
    }
}

fn heard_again(mixer: &mut Mixer, inputs: &[(SlotId, i16)], source: SourceId, listener: SlotId) -> Vec<i16> {
    tick(mixer, inputs, &[(source, 4000)], None);
    heard(mixer, listener)
}

#[test]
fn what_begins_or_pauses_while_somebody_talks_is_lowered_from_the_first_sample() {
    let (mut mixer, slots) = mixer(2);
    let early = mixer.add_source(Audience::All, 0.0, Some(12.0412)).unwrap();
    let speaks = [(slots[0], 1000)];
    for _ in 0..8 {
        mixer.begin();
        mixer.input(slots[0], &[1000; BLOCK]);
        assert!(mixer.source_quiet(early), "it pauses");
        assert_eq!(mixer.mix().contributions, 1, "and is not mixed");
        assert_eq!(mixer.signal(slots[0]), Signal::Silence);
    }
    let late = mixer.add_source(Audience::All, 0.0, Some(12.0412)).unwrap();
    let own = mixer
        .add_source(Audience::One(slots[0]), 0.0, Some(12.0412))
        .unwrap();
    for (source, expected) in [(early, 1000), (late, 1000), (own, 4000)] {
        tick(&mut mixer, &speaks, &[(source, 4000)], None);
        assert!(!mixer.source_quiet(source), "it has given");
        let out = heard(&mut mixer, slots[0]);
        assert!(out.iter().all(|s| s.abs_diff(expected) <= 1), "{out:?}");
    }
}

#[test]
fn those_who_wait_hear_the_same_signal_in_its_pauses() {
    let (mut mixer, slots) = mixer(2);
    mixer.set_waiting(slots[1], true);
    let signal = |mixer: &mut Mixer, played: &Played| {
        tick(mixer, &[(slots[0], 1000)], played, None);
        mixer.signal(slots[1])
    };
    assert_eq!(signal(&mut mixer, &[]), Signal::Silence);
    let source = mixer.add_source(Audience::Waiting, 0.0, None).unwrap();
    assert_eq!(signal(&mut mixer, &[(source, 500)]), Signal::Waiting);
    assert_eq!(mixer.waiting(), [500; BLOCK]);
    assert_eq!(signal(&mut mixer, &[]), Signal::Waiting);
    assert_eq!(mixer.waiting(), [0; BLOCK]);
    assert!(mixer.remove_source(source));
    assert_eq!(signal(&mut mixer, &[]), Signal::Silence);
}

#[test]
fn ducking_makes_no_steps() {
    let (mut mixer, slots) = mixer(2);
    let source = mixer.add_source(Audience::All, 0.0, Some(30.0)).unwrap();
    let mut last = 10_000;
    for step in 0..160 {
        let speaks = (20..40).contains(&step);
        // The talker's own mix is the music alone.
        let inputs = [(slots[0], if speaks { 1000 } else { 0 })];
        tick(&mut mixer, &inputs, &[(source, 10_000)], None);
        for sample in heard(&mut mixer, slots[0]) {
            assert!(sample.abs_diff(last) <= 40, "step of {}", sample.abs_diff(last));
            last = sample;
        }
    }
    assert_eq!(last, 10_000);
}

#[test]
fn comfort_noise_is_heard_by_whom_nobody_speaks_to() {
    let (mut mixer, slots) = mixer(4);
    let [talker, listener, deaf, related] = slots[..] else {
        unreachable!()
    };
    mixer.set_deaf(deaf, true);
    mixer.set_relation(talker, related, false);
    mixer.begin();
    assert!(mixer.wants_noise());
    mixer.noise_input(&[5; BLOCK]);
    assert_eq!(mixer.mix().contributions, 1, "the common mix is not silence");
    use Signal::{Common, Own, Silence};
    let signals: Vec<_> = slots.iter().map(|&slot| mixer.signal(slot)).collect();
    assert_eq!(signals, [Common, Common, Silence, Common]);
    assert_eq!(mixer.common(), [5; BLOCK]);
    for _ in 0..2 {
        tick(&mut mixer, &[(talker, 1000)], &[], Some(5));
    }
    let signals: Vec<_> = slots.iter().map(|&slot| mixer.signal(slot)).collect();
    assert_eq!(signals, [Own, Common, Silence, Own]);
    let values: Vec<_> = slots.iter().map(|&slot| heard(&mut mixer, slot)[159]).collect();
    assert_eq!(values, [5, 1000, 0, 5], "speech is not mixed with noise");
    mixer.set_relation(talker, related, true);
    mixer.begin();
    mixer.input(talker, &[1000; BLOCK]);
    assert!(mixer.wants_noise(), "the talker hears nobody");
    mixer.input(listener, &[1000; BLOCK]);
    assert!(!mixer.wants_noise());
}

#[test]
fn a_source_to_all_can_be_kept_from_one_until_it_ends() {
    let (mut mixer, slots) = mixer(3);
    let [talker, told, other] = slots[..] else {
        unreachable!()
    };
    let tone = mixer.add_source(Audience::All, 0.0, None).unwrap();
    let prompt = mixer.add_source(Audience::One(told), 0.0, None).unwrap();
    assert!(mixer.hide_source(tone, told) && mixer.hide_source(tone, told));
    assert!(!mixer.hide_source(prompt, other), "it is not for all");
    let speech = [(talker, 1000)];
    tick(&mut mixer, &speech, &[], None); // the gate is open from here on
    let rows: [(&Played, [i16; 3]); 3] = [
        (&[(tone, 100), (prompt, 7)], [100, 1007, 1100]),
        // The prompt is over and the tone is not: he does not hear the rest of it.
        (&[(tone, 100)], [100, 1000, 1100]),
        (&[], [0, 1000, 1000]),
    ];
    for (played, expected) in rows {
        tick(&mut mixer, &speech, played, None);
        for (&slot, expected) in slots.iter().zip(expected) {
            assert_eq!(
                heard(&mut mixer, slot),
                [expected; BLOCK],
                "{slot:?} with {played:?}"
            );
        }
    }
    // One ends where the next begins.
    let next = mixer.add_source(Audience::All, 0.0, None).unwrap();
    mixer.hide_source(next, told);
    tick(&mut mixer, &speech, &[(tone, 100), (next, 200)], None);
    assert_eq!(heard(&mut mixer, told), [1000; BLOCK]);
    assert_eq!(heard(&mut mixer, other), [1300; BLOCK]);
    mixer.remove_source(tone);
    tick(&mut mixer, &speech, &[(next, 200)], None);
    assert_eq!(heard(&mut mixer, told), [1000; BLOCK]);
    mixer.remove_source(next);
    let later = mixer.add_source(Audience::All, 0.0, None).unwrap();
    tick(&mut mixer, &speech, &[(later, 300)], None);
    assert_eq!(heard(&mut mixer, told), [1300; BLOCK]);
    tick(&mut mixer, &[], &[(later, 300)], None);
    assert_eq!(
        mixer.signal(told),
        mixer.signal(other),
        "he is like everybody again"
    );
}

#[test]
fn who_is_kept_apart_hears_those_who_speak_and_what_is_for_him() {
    let (mut mixer, slots) = mixer(3);
    let [talker, told, other] = slots[..] else {
        unreachable!()
    };
    let long = mixer.add_source(Audience::All, 0.0, None).unwrap();
    let own = mixer.add_source(Audience::One(told), 0.0, None).unwrap();
    let speech = [(talker, 1000)];
    let played: &Played = &[(long, 100), (own, 7)];
    tick(&mut mixer, &speech, played, None);
    // Within one tick to nothing, and back.
    let rows = [
        (true, 1107, 1007),
        (true, 1007, 1007),
        (true, 1007, 1007),
        (false, 1007, 1107),
        (false, 1107, 1107),
    ];
    for (apart, first, last) in rows {
        mixer.begin();
        assert_eq!(apart && mixer.keep_apart(told), apart);
        put_in(&mut mixer, &speech, played);
        mixer.mix();
        let block = heard(&mut mixer, told);
        assert!((block[0] - first).abs() <= 1, "{} and not {first}", block[0]);
        assert_eq!(block[BLOCK - 1], last);
        assert_eq!(heard(&mut mixer, other), [1100; BLOCK]);
    }
    mixer.remove_source(own);
    for _ in 0..2 {
        tick(&mut mixer, &speech, &[(long, 100)], None);
        heard(&mut mixer, told);
    }
    tick(&mut mixer, &speech, &[(long, 100)], None);
    assert_eq!(
        mixer.signal(told),
        mixer.signal(other),
        "he is like everybody again"
    );
    assert!(mixer.remove(other) && !mixer.keep_apart(other), "he is gone");
}
