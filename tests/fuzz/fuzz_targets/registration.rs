//! Arbitrary responses to our REGISTERs, silences and waits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_registration(std::time::Instant::now(), data));
