//! A tick allocates nothing: proved by an allocator that counts. One test only, so that no other thread counts along.

#![allow(unsafe_code)] // an allocator is unsafe by its trait; it only forwards

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use confab_mixer::{MixFormat, Mixer, MixerStorage, Signal};

struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_thousand_ticks_allocate_nothing() {
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
            let mut out = vec![0; format.block_samples()];
            let mut larger = Some(MixerStorage::new(format, participants + 1));
            let mut old = None;
            let before = CALLS.load(Relaxed);
            for tick in 0..1000usize {
                mixer.begin();
                for (index, &slot) in slots.iter().enumerate() {
                    match (tick / 50 + index) % 3 {
                        0 => mixer.input_quiet(slot),
                        _ => mixer.input(slot, &voice),
                    };
                }
                mixer.mix();
                for &slot in &slots {
                    if mixer.signal(slot) == Signal::Own {
                        mixer.render_own(slot, &mut out);
                    }
                }
                mixer.set_muted(slots[tick % participants], tick % 7 == 0);
                mixer.set_deaf(slots[tick % participants], tick % 5 == 0);
                if tick == 500 {
                    old = larger.take().map(|storage| mixer.adopt_storage(storage));
                    let newcomer = mixer.add(true, false).unwrap();
                    mixer.remove(newcomer);
                }
            }
            assert_eq!(
                CALLS.load(Relaxed) - before,
                0,
                "{participants} participants at {rate_hz} Hz"
            );
            assert_eq!(old.map(|storage| storage.capacity()), Some(participants));
        }
    }
}
