//! Arbitrary orders of keys, times, ends of plays and answers on a caller's way into a conference.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_reception::fuzz::fuzz_visit(data));
