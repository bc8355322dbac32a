//! Arbitrary bytes as the body of an INFO request that tells a digit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_info_digit(data));
