//! The memory of a mixer, made and freed outside the tick.

use crate::format::MixFormat;
use crate::relation::Relations;
use crate::slot::{Exceptions, MAX_SLOTS, Slot};
use crate::source::SourcePlace;

/// Sources that storage made for participants alone has room for.
const USUAL_SOURCES: usize = 8;
/// Relations that it has room for: some, and some more for each participant.
const USUAL_RELATIONS: usize = 64;
const USUAL_RELATIONS_EACH: usize = 16;

/// What a mixer has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Participants, at most [`MAX_SLOTS`].
    pub participants: usize,
    /// Ordered pairs of which one does not hear the other.
    pub relations: usize,
    /// Sources of playback, at most [`MAX_SLOTS`].
    pub sources: usize,
}

impl Room {
    /// Returns the room that a conference of so many participants usually needs.
    pub fn for_participants(participants: usize) -> Self {
        let participants = participants.min(MAX_SLOTS);
        let every_pair = participants.saturating_mul(participants.saturating_sub(1));
        Room {
            participants,
            relations: every_pair.min(USUAL_RELATIONS + USUAL_RELATIONS_EACH * participants),
            sources: USUAL_SOURCES,
        }
    }
}

/// The memory of a mixer, made outside the tick.
#[derive(Debug)]
pub struct MixerStorage {
    pub(crate) format: MixFormat,
    pub(crate) slots: Vec<Option<Slot>>,
    /// One for each place, meaningful where there is a participant.
    pub(crate) exceptions: Vec<Exceptions>,
    /// Free places, the lowest last, so that it is given out first.
    pub(crate) free: Vec<u32>,
    /// Contributions, one full block per place.
    pub(crate) blocks: Vec<i16>,
    /// Who contributes in this tick.
    pub(crate) contributors: Vec<u32>,
    pub(crate) relations: Relations,
    pub(crate) sources: Vec<SourcePlace>,
    /// Playback, one full block per place.
    pub(crate) source_blocks: Vec<i16>,
    /// Which sources play in this tick.
    pub(crate) playing: Vec<u32>,
    /// The sum of the mix.
    pub(crate) total: Vec<i32>,
    /// The sum without one contributor, while his own mix is made; working memory else.
    pub(crate) rest: Vec<i32>,
    pub(crate) common: Vec<i16>,
    /// What those who wait hear.
    pub(crate) waiting: Vec<i16>,
    pub(crate) noise: Vec<i16>,
}

impl MixerStorage {
    /// Makes storage for `capacity` participants (at most [`MAX_SLOTS`]) of a mix in the given format, and for what they
    /// usually need.
    pub fn new(format: MixFormat, capacity: usize) -> Self {
        Self::with_room(format, Room::for_participants(capacity))
    }

    /// Makes storage of a given size.
    pub fn with_room(format: MixFormat, room: Room) -> Self {
        let participants = room.participants.min(MAX_SLOTS);
        let sources = room.sources.min(MAX_SLOTS);
        let block = format.block_samples();
        let unused = Exceptions::new(format.rate_hz(), &crate::MemberOptions::default());
        MixerStorage {
            format,
            slots: vec![None; participants],
            exceptions: vec![unused; participants],
            free: (0..participants as u32).rev().collect(),
            blocks: vec![0; participants * block],
            contributors: Vec::with_capacity(participants),
            relations: Relations::with_room(room.relations),
            sources: vec![SourcePlace::default(); sources],
            source_blocks: vec![0; sources * block],
            playing: Vec::with_capacity(sources),
            total: vec![0; block],
            rest: vec![0; block],
            common: vec![0; block],
            waiting: vec![0; block],
            noise: vec![0; block],
        }
    }

    /// Returns for how many participants there is room.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Returns what there is room for.
    pub fn room(&self) -> Room {
        Room {
            participants: self.slots.len(),
            relations: self.relations.room(),
            sources: self.sources.len(),
        }
    }

    /// Returns whether this has room for all that there is room for in `other`, of the same format.
    pub fn outgrows(&self, other: &MixerStorage) -> bool {
        let (room, others) = (self.room(), other.room());
        self.format == other.format
            && room.participants >= others.participants
            && room.relations >= others.relations
            && room.sources >= others.sources
    }

    /// Returns whether everything that `other` keeps fits in here.
    pub(crate) fn holds(&self, other: &MixerStorage) -> bool {
        self.slots.len() >= other.slots.len()
            && self.sources.len() >= other.sources.len()
            && self.relations.room() >= other.relations.count()
            // Storage that was in use is not taken again.
            && self.free.len() == self.slots.len()
            && self.sources.iter().all(SourcePlace::is_free)
    }

    /// Takes over everybody and everything that lasts from tick to tick.
    pub(crate) fn take_over(&mut self, other: &MixerStorage) {
        let (participants, sources) = (other.slots.len(), other.sources.len());
        self.slots[..participants].copy_from_slice(&other.slots);
        self.exceptions[..participants].copy_from_slice(&other.exceptions);
        self.free.truncate(self.slots.len() - participants);
        self.free.extend_from_slice(&other.free); // within what was allocated
        self.relations.take_over(&other.relations);
        self.sources[..sources].copy_from_slice(&other.sources);
    }
}
