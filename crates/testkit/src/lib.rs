//! Virtual clock, network emulator, SIP/RTP test agent and meters for tests and benches.
