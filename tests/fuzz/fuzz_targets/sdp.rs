//! Arbitrary bytes as a session description: parse, print, answer, re-offer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sdp::fuzz_sdp(data));
