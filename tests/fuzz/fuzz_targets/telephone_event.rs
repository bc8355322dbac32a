//! A sequence of telephone-event packets and ticks.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_rtp::telephone_event::fuzz_telephone_event(data));
