//! Arbitrary values of Authorization headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_credentials(std::time::Instant::now(), data));
