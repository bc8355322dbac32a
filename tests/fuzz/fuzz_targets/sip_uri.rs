//! Arbitrary bytes as a SIP URI and as an address with a display name: parse, print, compare.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_uri(data));
