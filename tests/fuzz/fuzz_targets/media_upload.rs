//! Arbitrary bodies of uploads in base64 and of parts, and arbitrary ranges of downloads.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_api::fuzz_media(data));
