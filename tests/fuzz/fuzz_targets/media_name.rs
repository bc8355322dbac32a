//! Names of prompts, phrases and hold music, as users of the API write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_prompts::fuzz::fuzz_media_name(data));
