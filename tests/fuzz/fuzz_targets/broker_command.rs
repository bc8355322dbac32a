//! Arbitrary bytes as a command of a message broker.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_api::fuzz_broker_command(data));
