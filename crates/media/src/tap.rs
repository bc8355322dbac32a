//! Audio on its way out of a shard: a bounded ring of samples between the shard, which writes and never waits, and whoever records,
//! who reads when he likes. Owns how blocks lie in the ring; never decides what is tapped, nor what becomes of it.
//!
//! A block says where it lies on the clock of the mix and at which rate, so that what the ring had no room for is seen by the reader as
//! a gap of the right length in the right place, and a reader of several taps of one mix can lay them side by side. Silence takes no room
//! but for saying so.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rtrb::{Consumer, Producer, RingBuffer};

/// Words of the ring before the samples of a block: kind, samples, rate (2), place (4).
const HEAD: usize = 8;

/// The highest rate of audio in Hz, decoded or mixed.
pub(crate) const HIGHEST_RATE_HZ: u32 = 48_000;

/// The shortest block, in milliseconds.
const SHORTEST_BLOCK_MS: usize = 10;

/// Kinds of blocks: with its samples behind it, or silence.
const AUDIO: i16 = 0;
const SILENCE: i16 = 1;

/// Where a tapped block lies and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapBlock {
    /// Media time of the mix at its first sample, in milliseconds. It goes on without a gap from block to block; what is missing was
    /// dropped, or time in which the shard was too late to mix.
    pub at_ms: u64,
    /// Samples per second. Changes where the peer changes its codec, or the mix its rate.
    pub rate_hz: u32,
    /// It is digital silence: the peer pauses, or sends nothing; or nothing is mixed.
    pub is_silence: bool,
}

/// The reading end of a tap. Dropping it ends the tap: the shard writes no more.
#[derive(Debug)]
pub struct Tap {
    ring: Consumer<i16>,
}

impl Tap {
    /// Takes the next block, its samples into `samples` in place of what was there; `None` when there is none now.
    pub fn next(&mut self, samples: &mut Vec<i16>) -> Option<TapBlock> {
        let [kind, count, rate_high, rate_low, place @ ..] = self.head()?;
        let word = |word: i16| u64::from(word.cast_unsigned());
        let is_silence = kind == SILENCE;
        let count = usize::from(count.cast_unsigned());
        // Head and samples are written one after the other: the samples may not be here yet.
        let stored = if is_silence { 0 } else { count };
        let chunk = self.ring.read_chunk(HEAD + stored).ok()?;
        samples.clear();
        if is_silence {
            samples.resize(count, 0);
        } else {
            let (first, second) = chunk.as_slices();
            samples.extend(first.iter().chain(second).skip(HEAD));
        }
        chunk.commit_all();
        Some(TapBlock {
            at_ms: place.into_iter().fold(0, |place, part| place << 16 | word(part)),
            rate_hz: (word(rate_high) << 16 | word(rate_low)) as u32,
            is_silence,
        })
    }

    /// Reads the next block's head, and leaves it where it is.
    fn head(&mut self) -> Option<[i16; HEAD]> {
        let chunk = self.ring.read_chunk(HEAD).ok()?;
        let (first, second) = chunk.as_slices();
        let mut head = [0; HEAD];
        head[..first.len()].copy_from_slice(first);
        head[first.len()..].copy_from_slice(second);
        Some(head)
    }

    /// Returns whether nothing more will come: what was tapped is gone, or was given another tap, and everything has been read.
    pub fn is_over(&self) -> bool {
        self.ring.is_abandoned() && self.ring.is_empty()
    }
}

/// The writing end of a tap, on the shard.
#[derive(Debug)]
pub(crate) struct TapSource {
    ring: Producer<i16>,
    /// Blocks that found no room, of all taps.
    dropped: Arc<AtomicU64>,
}

/// Makes a tap with room for so many milliseconds at any rate up to this one in Hz.
pub(crate) fn tap(room_ms: usize, rate_hz: u32, dropped: Arc<AtomicU64>) -> (Tap, Box<TapSource>) {
    let samples = (room_ms * rate_hz as usize).div_ceil(1000);
    let room = samples + room_ms.div_ceil(SHORTEST_BLOCK_MS) * HEAD;
    let (mut producer, mut consumer) = RingBuffer::new(room);
    // Written to once, so that the shard does not wait for memory that the system gives at the first use.
    if let Ok(zeros) = producer.write_chunk(room) {
        zeros.commit_all();
    }
    if let Ok(zeros) = consumer.read_chunk(room) {
        zeros.commit_all();
    }
    let source = TapSource {
        ring: producer,
        dropped,
    };
    (Tap { ring: consumer }, Box::new(source))
}

impl TapSource {
    /// Writes a block that lies at `at_ms`; one without room is dropped and counted. Neither waits nor allocates.
    pub(crate) fn put(&mut self, at_ms: u64, rate_hz: u32, block: &[i16]) {
        self.write(AUDIO, at_ms, rate_hz, block.len(), block);
    }

    /// Writes so many samples of silence.
    pub(crate) fn put_silence(&mut self, at_ms: u64, rate_hz: u32, samples: usize) {
        self.write(SILENCE, at_ms, rate_hz, samples, &[]);
    }

    /// Returns whether nobody reads any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    fn write(&mut self, kind: i16, at_ms: u64, rate_hz: u32, count: usize, block: &[i16]) {
        if self.ring.is_abandoned() {
            return; // nobody reads any more; it is freed when the shard is told, or sees to it
        }
        let words = |value: u64| [48, 32, 16, 0].map(|shift| ((value >> shift) as u16).cast_signed());
        let [_, _, rate_high, rate_low] = words(rate_hz.into());
        let [a, b, c, d] = words(at_ms);
        let has_room = self.ring.slots() >= HEAD + block.len();
        match u16::try_from(count) {
            Ok(count) if has_room => {
                let head = [kind, count.cast_signed(), rate_high, rate_low, a, b, c, d];
                // There is room for both, and this is the only producer.
                let _ = self.ring.push_entire_slice(&head);
                let _ = self.ring.push_entire_slice(block);
            }
            _ => {
                self.dropped.fetch_add(1, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_come_out_as_they_went_in() {
        let dropped = Arc::new(AtomicU64::new(0));
        let (mut tap, mut source) = tap(100, HIGHEST_RATE_HZ, Arc::clone(&dropped));
        let mut samples = vec![7; 3];
        assert_eq!(tap.next(&mut samples), None);
        source.put(u64::MAX - 1, 192_000, &[i16::MIN, -1, i16::MAX]);
        source.put_silence(1 << 40, 44_100, 441);
        let block = tap.next(&mut samples);
        let expected = |at_ms, rate_hz, is_silence| TapBlock {
            at_ms,
            rate_hz,
            is_silence,
        };
        assert_eq!(block, Some(expected(u64::MAX - 1, 192_000, false)));
        assert_eq!(samples, [i16::MIN, -1, i16::MAX]);
        assert_eq!(tap.next(&mut samples), Some(expected(1 << 40, 44_100, true)));
        assert_eq!(samples, [0; 441]);
        assert!(!tap.is_over());
        source.put(0, 8000, &[]);
        drop(source);
        assert!(!tap.is_over() && tap.next(&mut samples).is_some() && tap.is_over());
    }

    #[test]
    fn a_full_ring_drops_what_comes_and_counts_it() {
        let dropped = Arc::new(AtomicU64::new(0));
        let (mut tap, mut source) = tap(20, HIGHEST_RATE_HZ, Arc::clone(&dropped));
        for number in 0..5 {
            source.put(number * 10, 48_000, &[number as i16; 480]);
        }
        assert_eq!(dropped.load(Relaxed), 3);
        let mut samples = Vec::new();
        assert_eq!(tap.next(&mut samples).map(|block| block.at_ms), Some(0));
        source.put(50, 48_000, &[5; 480]);
        let rest: Vec<u64> = std::iter::from_fn(|| tap.next(&mut samples))
            .map(|block| block.at_ms)
            .collect();
        assert_eq!(rest, [10, 50], "the gap is where it was");
        drop(tap);
        source.put(60, 48_000, &[6; 480]);
        assert_eq!(dropped.load(Relaxed), 3, "nobody misses it");
    }

    proptest! {
        #[test]
        fn whatever_fits_arrives_in_order(
            steps in proptest::collection::vec((any::<bool>(), 0_usize..700, 0_usize..4), 1..80),
        ) {
            let (mut tap, mut source) = tap(20, HIGHEST_RATE_HZ, Arc::default());
            let (mut waiting, mut used) = (std::collections::VecDeque::new(), 0);
            let mut samples = Vec::new();
            for (number, (is_silence, count, taken)) in steps.into_iter().enumerate() {
                let block: Vec<i16> = (0..count).map(|n| (n * 31 + number) as i16).collect();
                let needs = HEAD + if is_silence { 0 } else { count };
                if is_silence {
                    source.put_silence(number as u64, 8000, count);
                } else {
                    source.put(number as u64, 8000, &block);
                }
                if used + needs <= 20 * 48 + 2 * HEAD {
                    used += needs;
                    waiting.push_back((number as u64, is_silence, block));
                }
                for _ in 0..taken {
                    let expected = waiting.pop_front();
                    let block = tap.next(&mut samples);
                    prop_assert_eq!(block.map(|block| block.at_ms), expected.as_ref().map(|(at, ..)| *at));
                    if let Some((_, is_silence, block)) = expected {
                        used -= HEAD + if is_silence { 0 } else { block.len() };
                        prop_assert_eq!(samples.len(), block.len());
                        prop_assert!(is_silence || samples == block);
                    }
                }
            }
        }
    }
}
