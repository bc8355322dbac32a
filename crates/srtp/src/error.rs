//! Why a packet was not protected, or not let through.

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// It is shorter than its header, its tag and its index, or no RTP or RTCP packet.
    #[error("no packet of the protected form")]
    Malformed,
    /// Its tag is not that of the key: damaged, forged, or of another key.
    #[error("the packet does not authenticate")]
    Authentication,
    /// It was received before, or is so old that nobody knows.
    #[error("the packet was received before or is too old")]
    Replay,
    /// As many packets as one key is good for have been sent (RFC 3711 §9.2).
    #[error("the key is used up")]
    Exhausted,
    /// The buffer has no room for what protection adds.
    #[error("no room for the tag")]
    NoRoom,
}
