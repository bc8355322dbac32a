//! Arbitrary payloads, losses, redundancy and silences on one decoder of any codec.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_codec::fuzz_decoders(data));
