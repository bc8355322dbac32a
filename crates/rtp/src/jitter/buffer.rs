//! Ordered, deduplicating, bounded storage of received packets. Owns the slots and the read point; knows nothing of time:
//! when a packet is due is the policy's business.

use super::timeline::MediaPosition;
use crate::ids::{ExtendedSequenceNumber, PayloadType, RtpTimestamp};

/// Most slots a buffer can have: one bit each in a word.
pub const MAX_SLOTS: usize = 64;

/// Part of the slots kept for packets that were overtaken by the very first one received.
const BEFORE_FIRST: u64 = 4;

/// Why a packet will not be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// Its sequence number is stored or was handed out already.
    Duplicate,
    /// Its time has passed: its place was concealed, or a later packet was handed out.
    Late,
    /// So far ahead of a packet still waiting that no slot is left.
    Overflow,
    /// The payload is larger than a slot.
    TooLarge,
    /// The sequence number jumped; the packet after it decides (RFC 3550 A.1).
    SequenceJump,
    /// Audio of no duration.
    Empty,
}

impl Rejected {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 6] = [
        Self::Duplicate,
        Self::Late,
        Self::Overflow,
        Self::TooLarge,
        Self::SequenceJump,
        Self::Empty,
    ];

    /// Name for a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Overflow => "overflow",
            Self::TooLarge => "too_large",
            Self::SequenceJump => "sequence_jump",
            Self::Empty => "empty",
        }
    }
}

/// What a packet carries, as told by the leg, which knows payload types and codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Coded audio of this many samples (`Decoder::samples`, in units of the RTP clock), at least 1.
    Audio {
        /// Duration in units of the RTP clock.
        samples: u32,
    },
    /// Coded audio after which the sender may leave out packets until it has more to say: an Opus frame without sound
    /// (RFC 7587 §3.1.3). Of this many samples, at least 1; the gap behind it is no loss.
    Dtx {
        /// Duration in units of the RTP clock.
        samples: u32,
    },
    /// Comfort noise (RFC 3389): what follows until the next audio is silence that sounds as the payload says.
    ComfortNoise,
    /// No audio at all, such as telephone-event: takes a sequence number, so that it is not taken for a loss.
    NoAudio,
}

impl Content {
    /// Duration of the audio in units of the RTP clock; `None` when there is none.
    #[must_use]
    pub const fn samples(self) -> Option<u32> {
        match self {
            Self::Audio { samples } | Self::Dtx { samples } => Some(samples),
            Self::ComfortNoise | Self::NoAudio => None,
        }
    }
}

/// Everything about a stored packet but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// Place in the stream.
    pub sequence: ExtendedSequenceNumber,
    /// Place in media time.
    pub position: MediaPosition,
    /// What it carries.
    pub content: Content,
    /// Payload type on the wire.
    pub payload_type: PayloadType,
    /// Marker bit on the wire.
    pub marker: bool,
    /// Timestamp on the wire.
    pub timestamp: RtpTimestamp,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    info: PacketInfo,
    len: usize,
}

/// Packets of one source between arrival and playout.
///
/// A packet is found by its sequence number modulo the number of slots, so insertion, lookup and removal take constant time
/// and nothing is ever moved or allocated. It lies in the lowest memory that is free: as a rule one or two packets wait, and
/// theirs is then always the same, which the processor has in its cache.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: Box<[Slot]>,
    payloads: Box<[u8]>,
    payload_capacity: usize,
    /// For slot n, where in `slots` and `payloads` its packet lies.
    places: [u8; MAX_SLOTS],
    /// Bit n: a packet lies at place n.
    taken: u64,
    /// Bit n: slot n holds a packet.
    occupied: u64,
    /// Everything below is gone; the next packet in order has this number.
    read: Option<ExtendedSequenceNumber>,
    /// Bit n: `read − 1 − n` was handed out, not given up.
    handed_out: u64,
    /// Packets missing since the last one handed out that lie below the read point.
    given_up: u64,
}

impl JitterBuffer {
    /// Allocates `slots` (rounded up to a power of two, 2 to [`MAX_SLOTS`]) of `payload_capacity` octets each.
    #[must_use]
    pub fn new(slots: usize, payload_capacity: usize) -> Self {
        let slots = slots.clamp(2, MAX_SLOTS).next_power_of_two();
        let vacant = Slot {
            info: PacketInfo::VACANT,
            len: 0,
        };
        Self {
            slots: vec![vacant; slots].into_boxed_slice(),
            payloads: vec![0; slots * payload_capacity].into_boxed_slice(),
            payload_capacity,
            places: [0; MAX_SLOTS],
            taken: 0,
            occupied: 0,
            read: None,
            handed_out: 0,
            given_up: 0,
        }
    }

    /// Tells whether a packet could be stored.
    ///
    /// # Errors
    /// [`Rejected::TooLarge`], [`Rejected::Duplicate`], [`Rejected::Late`] or [`Rejected::Overflow`].
    pub fn check(&self, sequence: ExtendedSequenceNumber, payload_len: usize) -> Result<(), Rejected> {
        if payload_len > self.payload_capacity {
            return Err(Rejected::TooLarge);
        }
        let Some(read) = self.read else { return Ok(()) };
        if sequence < read {
            let age = u32::try_from(read.0 - 1 - sequence.0).unwrap_or(u32::MAX);
            let was_heard = self.handed_out.checked_shr(age).unwrap_or(0) & 1 == 1;
            return Err(if was_heard {
                Rejected::Duplicate
            } else {
                Rejected::Late
            });
        }
        let slots = self.slots.len() as u64;
        if sequence.0 - read.0 >= slots {
            // Packets still missing make room; packets stored do not.
            let fits = self
                .front()
                .is_none_or(|front| sequence.0 - front.sequence.0 < slots);
            return if fits { Ok(()) } else { Err(Rejected::Overflow) };
        }
        let stored = self.occupied & 1 << self.slot_of(sequence) != 0;
        if stored { Err(Rejected::Duplicate) } else { Ok(()) }
    }

    /// Stores a copy of a packet.
    ///
    /// # Errors
    /// As [`check`](Self::check); the buffer is unchanged.
    pub fn insert(&mut self, info: PacketInfo, payload: &[u8]) -> Result<(), Rejected> {
        let sequence = info.sequence;
        self.check(sequence, payload.len())?;
        let slots = self.slots.len() as u64;
        let room_before = ExtendedSequenceNumber(sequence.0.saturating_sub(slots / BEFORE_FIRST));
        match self.read {
            None => self.read = Some(room_before),
            Some(read) if sequence.0 - read.0 < slots => {}
            Some(_) if self.is_empty() => self.give_up_to(room_before),
            Some(_) => self.give_up_to(ExtendedSequenceNumber(sequence.0 - (slots - 1))),
        }
        let slot = self.slot_of(sequence);
        // There is a free one: every packet stored takes one, and this one's slot is empty.
        let place = self.taken.trailing_ones() as usize;
        self.slots[place] = Slot {
            info,
            len: payload.len(),
        };
        let start = place * self.payload_capacity;
        self.payloads[start..start + payload.len()].copy_from_slice(payload);
        self.places[slot] = place as u8;
        self.taken |= 1 << place;
        self.occupied |= 1 << slot;
        Ok(())
    }

    /// The stored packet with the lowest number.
    #[must_use]
    pub fn front(&self) -> Option<&PacketInfo> {
        self.front_slot()
            .map(|slot| &self.slots[self.place_of(slot)].info)
    }

    /// The front packet with its payload.
    #[must_use]
    pub fn front_packet(&self) -> Option<(&PacketInfo, &[u8])> {
        let place = self.place_of(self.front_slot()?);
        Some((&self.slots[place].info, self.payload(place)))
    }

    /// How many packets are missing between the last one handed out and the front one; 0 when empty.
    #[must_use]
    pub fn missing_before_front(&self) -> u64 {
        match (self.front(), self.read) {
            (Some(front), Some(read)) => self.given_up + (front.sequence.0 - read.0),
            _ => 0,
        }
    }

    /// Removes the front packet and gives up those missing before it. Its payload stays readable until the next insertion.
    pub fn pop_front(&mut self) -> Option<(PacketInfo, &[u8])> {
        let slot = self.front_slot()?;
        let place = self.place_of(slot);
        let info = self.slots[place].info;
        self.occupied &= !(1 << slot);
        self.taken &= !(1 << place);
        self.advance_read(ExtendedSequenceNumber(info.sequence.0 + 1), true);
        self.given_up = 0;
        Some((info, self.payload(place)))
    }

    /// Gives up what is missing before the front packet, once its stream begins to play.
    pub fn begin_at_front(&mut self) {
        if let Some(&PacketInfo { sequence, .. }) = self.front() {
            self.advance_read(sequence, false);
            self.given_up = 0;
        }
    }

    /// Forgets all packets and the read point.
    pub fn clear(&mut self) {
        self.occupied = 0;
        self.taken = 0;
        self.read = None;
        self.handed_out = 0;
        self.given_up = 0;
    }

    /// Where the next packet will lie: what is kept of it, and memory of which it fills the beginning.
    pub(super) fn next_place(&self) -> (&Slot, &[u8]) {
        let place = self.taken.trailing_ones() as usize % self.slots.len();
        let start = place * self.payload_capacity;
        (
            &self.slots[place],
            &self.payloads[start..start + self.payload_capacity],
        )
    }

    /// Packets stored.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.occupied.count_ones() as usize
    }

    /// Tells whether no packet is stored.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Most packets the buffer can hold.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.slots.len()
    }

    fn give_up_to(&mut self, to: ExtendedSequenceNumber) {
        self.given_up += self.read.map_or(0, |read| to.0 - read.0);
        self.advance_read(to, false);
    }

    /// Moves the read point up; `last_heard` tells whether the packet just below it was handed out.
    fn advance_read(&mut self, to: ExtendedSequenceNumber, last_heard: bool) {
        let steps = self.read.map_or(u64::MAX, |read| to.0 - read.0);
        let shifted = u32::try_from(steps)
            .ok()
            .and_then(|steps| self.handed_out.checked_shl(steps))
            .unwrap_or(0);
        self.handed_out = shifted | u64::from(last_heard);
        self.read = Some(to);
    }

    fn payload(&self, place: usize) -> &[u8] {
        let start = place * self.payload_capacity;
        &self.payloads[start..start + self.slots[place].len]
    }

    fn place_of(&self, slot: usize) -> usize {
        usize::from(self.places[slot])
    }

    fn slot_of(&self, sequence: ExtendedSequenceNumber) -> usize {
        (sequence.0 % self.slots.len() as u64) as usize
    }

    /// First occupied slot from the read point on, going round.
    fn front_slot(&self) -> Option<usize> {
        if self.occupied == 0 {
            return None;
        }
        let slots = self.slots.len();
        let first = self.slot_of(self.read?);
        let from_first = self.occupied >> first;
        let steps = if from_first != 0 {
            from_first.trailing_zeros() as usize
        } else {
            slots - first + self.occupied.trailing_zeros() as usize
        };
        Some((first + steps) % slots)
    }
}

impl PacketInfo {
    const VACANT: Self = Self {
        sequence: ExtendedSequenceNumber(0),
        position: MediaPosition(0),
        content: Content::NoAudio,
        payload_type: PayloadType::PCMU,
        marker: false,
        timestamp: RtpTimestamp(0),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(sequence: u64) -> PacketInfo {
        PacketInfo {
            sequence: ExtendedSequenceNumber(sequence),
            ..PacketInfo::VACANT
        }
    }

    fn insert(buffer: &mut JitterBuffer, sequence: u64) -> Result<(), Rejected> {
        buffer.insert(info(sequence), &sequence.to_be_bytes())
    }

    fn drain(buffer: &mut JitterBuffer) -> Vec<u64> {
        let mut out = Vec::new();
        while let Some((info, payload)) = buffer.pop_front() {
            assert_eq!(payload, info.sequence.0.to_be_bytes());
            out.push(info.sequence.0);
        }
        out
    }

    #[test]
    fn packets_come_out_in_order_however_they_went_in() {
        for start in [0_u64, 1, 127, 32_767, 65_534, 65_535].map(|s| s + 65_536) {
            let mut buffer = JitterBuffer::new(8, 8);
            for step in [0, 3, 1, 2, 5, 4] {
                assert_eq!(insert(&mut buffer, start + step), Ok(()));
            }
            assert_eq!(drain(&mut buffer), (start..start + 6).collect::<Vec<_>>());
        }
    }

    #[test]
    fn each_rejection_has_its_reason() {
        let mut buffer = JitterBuffer::new(4, 8);
        assert_eq!(buffer.insert(info(100), &[0; 9]), Err(Rejected::TooLarge));
        assert_eq!(insert(&mut buffer, 100), Ok(()));
        buffer.begin_at_front();
        assert_eq!(insert(&mut buffer, 100), Err(Rejected::Duplicate), "stored");
        assert_eq!(insert(&mut buffer, 103), Ok(()));
        assert_eq!(insert(&mut buffer, 104), Err(Rejected::Overflow));
        assert_eq!(
            insert(&mut buffer, 99),
            Err(Rejected::Late),
            "before the read point"
        );
        assert_eq!(drain(&mut buffer), [100, 103]);
        assert_eq!(insert(&mut buffer, 100), Err(Rejected::Duplicate), "handed out");
        assert_eq!(insert(&mut buffer, 103), Err(Rejected::Duplicate), "handed out");
        assert_eq!(insert(&mut buffer, 101), Err(Rejected::Late), "given up");
        assert_eq!(insert(&mut buffer, 102), Err(Rejected::Late), "given up");
    }

    #[test]
    fn an_empty_buffer_follows_the_stream_over_any_gap() {
        let mut buffer = JitterBuffer::new(4, 8);
        insert(&mut buffer, 100).unwrap();
        drain(&mut buffer);
        for sequence in 3000..3003 {
            assert_eq!(insert(&mut buffer, sequence), Ok(()));
            assert_eq!(buffer.missing_before_front(), 2899);
        }
        assert_eq!(drain(&mut buffer), [3000, 3001, 3002]);
    }

    #[test]
    fn missing_packets_are_counted_until_they_come() {
        let mut buffer = JitterBuffer::new(64, 8);
        insert(&mut buffer, 100).unwrap();
        buffer.begin_at_front();
        buffer.pop_front();
        insert(&mut buffer, 103).unwrap();
        assert_eq!(buffer.missing_before_front(), 2);
        insert(&mut buffer, 101).unwrap();
        assert_eq!(buffer.missing_before_front(), 0);
        assert_eq!(drain(&mut buffer), [101, 103]);
    }

    #[test]
    fn packets_long_missing_make_room() {
        let mut buffer = JitterBuffer::new(8, 8);
        insert(&mut buffer, 100).unwrap();
        drain(&mut buffer);
        for sequence in 107..114 {
            assert_eq!(insert(&mut buffer, sequence), Ok(()), "{sequence}");
            assert_eq!(buffer.missing_before_front(), 6);
        }
        assert_eq!(insert(&mut buffer, 115), Err(Rejected::Overflow));
        assert_eq!(insert(&mut buffer, 102), Err(Rejected::Late));
        assert_eq!(insert(&mut buffer, 106), Ok(()));
        assert_eq!(buffer.missing_before_front(), 5);
    }

    #[test]
    fn packets_that_do_not_wait_lie_in_the_same_memory() {
        let mut buffer = JitterBuffer::new(32, 8);
        for sequence in 100..200 {
            let _ = insert(&mut buffer, sequence); // stored in the round before, but for the first
            insert(&mut buffer, sequence + 1).unwrap();
            assert!(buffer.taken < 4);
            buffer.pop_front();
        }
        buffer.clear();
        assert_eq!(buffer.taken, 0);
    }

    #[test]
    fn a_cleared_buffer_starts_anywhere() {
        let mut buffer = JitterBuffer::new(4, 8);
        insert(&mut buffer, 1000).unwrap();
        buffer.clear();
        assert!(buffer.is_empty());
        assert_eq!(insert(&mut buffer, 5), Ok(()));
        assert_eq!(buffer.len(), 1);
    }
}
