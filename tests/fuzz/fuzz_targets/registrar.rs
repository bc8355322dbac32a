//! Arbitrary REGISTERs, and sequences of them, of closed connections and of waits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_sip::fuzz_registrar(std::time::Instant::now(), data));
