//! A tick allocates nothing: proved by an allocator that counts what this thread does.

use std::sync::Barrier;

use confab_mixer::{Audience, MixFormat, Mixer, MixerStorage, Room, Signal};
use confab_testkit::allocation::{CountingAllocator, calls};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn only_the_calls_of_the_own_thread_count() {
    let before = calls();
    drop(Box::new([0u8; 100]));
    assert_eq!(calls() - before, 2);
    let turn = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            turn.wait();
            (0..100).for_each(|size| drop(vec![0u8; size + 1]));
            turn.wait();
        });
        let before = calls();
        turn.wait();
        turn.wait();
        assert_eq!(calls() - before, 0);
    });
}

#[test]
fn ticks_allocate_nothing() {
    for (rate_hz, interval_ms) in [(8000, 20), (48_000, 10), (48_000, 120)] {
        for participants in [2, 3, 50] {
            let format = MixFormat::new(rate_hz, interval_ms).unwrap();
            let mut mixer = Mixer::new(format, participants, 20);
            let slots: Vec<_> = (0..participants)
                .map(|_| mixer.add(false, false).unwrap())
                .collect();
            let voice: Vec<i16> = (0..format.block_samples())
                .map(|i| (i as i16 % 97) * 300)
                .collect();
            let mut out = vec![0; 2 * format.block_samples()];
            let room = Room {
                participants: participants + 1,
                relations: 100,
                sources: 20,
            };
            let mut larger = Some(MixerStorage::with_room(format, room));
            let higher = MixFormat::new(format.rate_hz() * 2, interval_ms);
            let mut faster = higher.map(|format| MixerStorage::with_room(format, room));
            let to_all = mixer.add_source(Audience::All, -6.0, Some(12.0)).unwrap();
            let to_waiting = mixer.add_source(Audience::Waiting, 0.0, None).unwrap();
            let mut old = None;
            let before = calls();
            for tick in 0..300usize {
                mixer.begin();
                for (index, &slot) in slots.iter().enumerate() {
                    match (tick / 50 + index) % 3 {
                        0 => mixer.input_quiet(slot),
                        _ => mixer.input(slot, &voice),
                    };
                }
                mixer.source_input(to_all, &voice);
                mixer.source_input(to_waiting, &voice);
                let chosen = slots[tick % participants];
                let private = mixer.add_source(Audience::One(chosen), 3.0, Some(6.0)).unwrap();
                mixer.source_input(private, &voice);
                mixer.hide_source(to_all, chosen);
                mixer.keep_apart(chosen);
                if mixer.wants_noise() {
                    mixer.noise_input(&voice);
                }
                mixer.mix();
                for &slot in &slots {
                    if mixer.signal(slot) == Signal::Own {
                        mixer.render_own(slot, &mut out);
                    }
                }
                mixer.set_muted(slots[tick % participants], tick % 7 == 0);
                mixer.set_deaf(chosen, tick % 5 == 0);
                mixer.set_held(chosen, tick % 11 == 0);
                mixer.set_waiting(chosen, tick % 13 == 0);
                mixer.set_input_gain(chosen, (tick % 20) as f32 - 10.0);
                mixer.set_output_gain(chosen, (tick % 3) as f32);
                mixer.set_relation(chosen, slots[(tick * 7 + 1) % participants], tick % 3 == 0);
                mixer.remove_source(private);
                if tick == 100 {
                    old = larger.take().map(|storage| mixer.adopt_storage(storage));
                    let newcomer = mixer.add(true, false).unwrap();
                    mixer.remove(newcomer);
                }
                if tick == 200 {
                    faster = faster.map(|storage| mixer.adopt_format(storage));
                }
            }
            assert_eq!(calls() - before, 0, "{participants} participants at {rate_hz} Hz");
            assert_eq!(old.map(|storage| storage.capacity()), Some(participants));
            assert_eq!(faster.is_some(), mixer.format() != format, "the rate rose");
        }
    }
}
