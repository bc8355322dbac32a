//! Arbitrary lines as the frames of one WebSocket client: replies, bindings, and the frames for events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confab_api::websocket::fuzz_client_messages(data));
