//! Bounded packet storage.

/// Why a packet was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// Its sequence number is stored or was played already.
    Duplicate,
    /// Its time has passed: the place was concealed.
    Late,
    /// The buffer has no room that far ahead.
    Overflow,
    /// The payload is larger than a slot.
    TooLarge,
    /// The sequence number jumped; the packet after it decides (RFC 3550 A.1).
    SequenceJump,
    /// Audio of no duration.
    Empty,
}
