//! A turn allocates nothing, receiving, mixing and sending included. The allocator counts for one thread at a time, so
//! other tests do not disturb it.

#![allow(unsafe_code)] // an allocator is unsafe by its trait; it only forwards

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::world::{World, steady};
use crate::shard::command::Command;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count() {
    // A thread that is ending has no counter any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

fn calls() -> u64 {
    CALLS.with(Cell::get)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_allocator_counts() {
    let before = calls();
    drop(Box::new([0u8; 100]));
    assert_eq!(calls() - before, 2);
}

#[test]
fn a_thousand_ticks_of_whole_turns_allocate_nothing() {
    for participants in [2, 3, 50] {
        let mut world = World::new();
        let mut phones = world.legs(participants);
        world.room(&phones, 20);
        let (loud, quiet) = (steady(8031), steady(0));
        let mut larger = Some(World::storage(participants + 5));
        world.turns(100);
        let before = calls();
        for tick in 0..1000 {
            for (number, phone) in phones.iter_mut().enumerate() {
                let talks = (tick / 25 + number) % 3 == 0;
                if (tick + number) % 97 != 0 {
                    world.speak(phone, if talks { &loud } else { &quiet });
                }
            }
            let leg = phones[tick % participants].leg;
            world.command(Command::SetMuted {
                leg,
                muted: tick % 7 == 0,
            });
            world.command(Command::SetDeaf {
                leg,
                deaf: tick % 5 == 0,
            });
            if tick == 500
                && let Some(storage) = larger.take()
            {
                let at = crate::shard::key::ConferenceKey {
                    index: 0,
                    generation: 1,
                };
                world.command(Command::Grow { at, storage });
            }
            world.turns(4);
            while world.events.pop().is_ok() {}
            world.forget();
        }
        assert_eq!(calls() - before, 0, "{participants} participants");
        let metrics = world.metrics();
        assert!(metrics.ticks >= 1000 && metrics.ticks_skipped == 0);
        assert!(metrics.packets_out >= 1000 * participants as u64, "{metrics:?}");
    }
}
