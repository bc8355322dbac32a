//! Arbitrary bytes as an audio file: decode, mix down, convert.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_recording::fuzz::fuzz_import(data));
