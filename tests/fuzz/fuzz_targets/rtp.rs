//! Arbitrary bytes as an RTP packet: parse, read every part, print the header.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_rtp::packet::fuzz_rtp(data));
