//! Arbitrary scripts of messages, commands and waits against the SIP endpoint; at the end nothing may be left.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_endpoint(std::time::Instant::now(), data));
