//! Arbitrary text as a tone script: parse, state its duration, play its beginning.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_dsp::tone::fuzz_tone_grammar(data));
