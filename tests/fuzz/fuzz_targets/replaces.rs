//! Arbitrary bytes as the value of a Replaces header.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_replaces(data));
