//! Arbitrary bytes as a SIP datagram and as a SIP stream: parse, read every header, print, answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_message(data));
