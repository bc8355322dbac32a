//! Arbitrary values of Authorization headers, and of those that ask for them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    confab_sip::fuzz_credentials(std::time::Instant::now(), data);
    confab_sip::fuzz_challenge(data);
});
