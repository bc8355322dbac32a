//! Arbitrary bytes received between authentic packets, as SRTP and as SRTCP, in every suite.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_srtp::fuzz_srtp(data));
