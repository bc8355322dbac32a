//! A sequence of pushes and pulls on the playout of one stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_rtp::jitter::fuzz_jitter_buffer(data));
