//! The bare numbers of RTP as types, so that the compiler refuses a swap. Owns their arithmetic on the 16- and 32-bit
//! circles; knows nothing about packets.

use std::fmt;
use std::num::NonZeroU32;

/// Synchronisation source identifier (RFC 3550 §3): 32 random bits that name one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// RTP payload type, 0 to 127 (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(u8);

impl PayloadType {
    /// PCMU, RFC 3551 table 4.
    pub const PCMU: Self = Self(0);
    /// PCMA, RFC 3551 table 4.
    pub const PCMA: Self = Self(8);
    /// Comfort noise at 8 kHz, RFC 3389 §4.
    pub const COMFORT_NOISE: Self = Self(13);

    /// Returns the payload type, or `None` above 127.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value < 128 { Some(Self(value)) } else { None }
    }

    /// Takes the low seven bits of `value`, as they stand in the second octet of an RTP header.
    #[must_use]
    pub const fn from_low_bits(value: u8) -> Self {
        Self(value & 0x7f)
    }

    /// Returns the number, 0 to 127.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of payload types in 128 bits: what an answer negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadTypes(u128);

impl PayloadTypes {
    /// The set with no member.
    pub const EMPTY: Self = Self(0);

    /// Adds one payload type.
    pub fn insert(&mut self, payload_type: PayloadType) {
        self.0 |= 1 << payload_type.value();
    }

    /// Returns the members of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether the set has this payload type.
    #[must_use]
    pub const fn contains(self, payload_type: PayloadType) -> bool {
        self.0 >> payload_type.value() & 1 == 1
    }
}

impl FromIterator<PayloadType> for PayloadTypes {
    fn from_iter<I: IntoIterator<Item = PayloadType>>(types: I) -> Self {
        let mut set = Self::EMPTY;
        for payload_type in types {
            set.insert(payload_type);
        }
        set
    }
}

/// 16-bit sequence number as it stands on the wire (RFC 3550 §5.1); wraps from 65535 to 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// Returns the number that follows, wrapping.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Steps from `earlier` forward to this number on the circle, 0 to 65535.
    #[must_use]
    pub const fn steps_since(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// Sequence number carried past its wraps (RFC 3550 A.1): the low 16 bits are the wire's, the rest counts cycles.
///
/// It starts one cycle above zero, so that a packet older than the first one received still has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedSequenceNumber(pub u64);

impl ExtendedSequenceNumber {
    /// The wire's 16 bits.
    #[must_use]
    pub const fn low(self) -> SequenceNumber {
        SequenceNumber(self.0 as u16)
    }
}

/// 32-bit media time as it stands on the wire, in units of the stream's [`ClockRate`]; wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// Signed units from `reference` to this timestamp, taking the shorter way round the circle.
    #[must_use]
    pub const fn signed_since(self, reference: Self) -> i32 {
        self.0.wrapping_sub(reference.0).cast_signed()
    }

    /// Returns the timestamp `units` later, wrapping.
    #[must_use]
    pub const fn wrapping_add(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }
}

/// RTP clock in Hz. For G.722 it is 8000 while the codec samples at 16000 (RFC 3551 §4.5.2), so it is not a sample rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockRate(NonZeroU32);

impl ClockRate {
    /// 8000 Hz: PCMU, PCMA, G.722, narrowband telephone-event.
    pub const HZ_8000: Self = Self(NonZeroU32::new(8000).expect("8000 is not zero"));
    /// 48000 Hz: Opus.
    pub const HZ_48000: Self = Self(NonZeroU32::new(48_000).expect("48000 is not zero"));

    /// Returns the clock rate, or `None` outside 1,000 to 384,000 Hz.
    #[must_use]
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(rate) if hz >= 1_000 && hz <= 384_000 => Some(Self(rate)),
            _ => None,
        }
    }

    /// Units per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.0.get()
    }

    /// Duration of `units` in nanoseconds, rounded down; saturates after 584 years.
    #[must_use]
    pub const fn nanoseconds(self, units: u64) -> u64 {
        let hz = self.hz() as u64;
        (units / hz)
            .saturating_mul(1_000_000_000)
            .saturating_add(units % hz * 1_000_000_000 / hz)
    }

    /// Units in `nanoseconds`, rounded down; saturates.
    #[must_use]
    pub const fn units(self, nanoseconds: u64) -> u64 {
        let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        let hz = self.hz() as u64;
        seconds
            .saturating_mul(hz)
            .saturating_add(rest * hz / 1_000_000_000)
    }
}
