//! Owns what is shown of a participant's media. Measures nothing: whoever runs the legs fills it in.

/// A participant's media at the moment of a reading. Follows no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaState {
    /// Codec of what comes from him, as SDP names it; `None` before there is any.
    pub codec: Option<&'static str>,
    /// How he is heard.
    pub quality: Quality,
}

/// How a participant is heard: what his network and his clock do, and what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Packets that never came or came too late since he is there, in hundredths of a percent, 0..=10,000.
    pub loss_hundredths: u32,
    /// Interarrival jitter (RFC 3550 §6.4.1) in microseconds.
    pub jitter_us: u32,
    /// From his microphone to the mix in microseconds, as far as it is known: half the round trip, and what waits in the jitter buffer.
    pub delay_us: u32,
    /// Milliseconds of audio that were made up since he is there.
    pub concealed_ms: u64,
    /// Speed of his clock against ours in parts per million; `None` for the first minute or so.
    pub skew_ppm: Option<i32>,
    /// Mean opinion score by the E-model (ITU-T G.107) times a hundred, 100..=450, over his last five seconds with audio.
    pub mos_hundredths: Option<u16>,
}
