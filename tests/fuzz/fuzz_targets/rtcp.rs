//! Arbitrary bytes as an RTCP datagram: parse, print what was understood, parse again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_rtp::rtcp::fuzz_rtcp(data));
