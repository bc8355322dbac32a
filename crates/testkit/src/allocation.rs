//! An allocator that counts, to prove that a piece of code neither allocates nor frees.
//!
//! ```
//! use confab_testkit::allocation::{self, CountingAllocator};
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator = CountingAllocator;
//!
//! let sum: u64 = allocation::calls_in(|| { std::hint::black_box([1, 2, 3]); });
//! assert_eq!(sum, 0);
//! assert_eq!(allocation::calls_in(|| drop(std::hint::black_box(Box::new(1)))), 2);
//! ```

#![allow(unsafe_code, reason = "the global allocator trait is unsafe")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The system allocator, with a count for each thread: what other tests do meanwhile does not disturb it.
#[derive(Debug)]
pub struct CountingAllocator;

/// Returns how often this thread has allocated, grown or freed memory. 0 for ever unless a [`CountingAllocator`] is the global
/// allocator.
pub fn calls() -> u64 {
    CALLS.with(Cell::get)
}

/// Returns how often `work` allocates, grows or frees memory on this thread.
pub fn calls_in(work: impl FnOnce()) -> u64 {
    let before = calls();
    work();
    calls() - before
}

fn count() {
    // A thread that is ending has no count any more, and nobody to ask for it.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
