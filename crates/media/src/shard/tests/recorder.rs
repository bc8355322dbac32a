//! A recorder of a test: reads all taps of a recording and compares the sum of the parts with the whole, sample for sample.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::world::{Phone, World};
use crate::config::JoinOptions;
use crate::shard::command::Command;
use crate::shard::conference::{Recording, Track};
use crate::shard::key::{ConferenceKey, LegKey};
use crate::tap::{HIGHEST_RATE_HZ, Tap, TapBlock, TapSource, tap};

/// One leg's part.
pub(super) struct Part {
    pub(super) leg: LegKey,
    tap: Tap,
    /// A block of a time that the mix has not come to.
    ahead: Option<TapBlock>,
    samples: Vec<i16>,
    /// Where its blocks began and ended, in milliseconds, and how many there were.
    pub(super) began_ms: Option<u64>,
    pub(super) ended_ms: u64,
    pub(super) blocks: u64,
    /// Blocks with anything in them.
    pub(super) sounding: u64,
}

/// All taps of a recording.
pub(super) struct Recorder {
    mix: Tap,
    server: Tap,
    pub(super) parts: Vec<Part>,
    room_ms: usize,
    pub(super) dropped: Arc<AtomicU64>,
    /// What was recorded of the mix.
    pub(super) blocks: Vec<(TapBlock, usize)>,
    pub(super) last: Vec<i16>,
    /// Blocks of the mix, and of the server's part, with anything in them; samples of the mix.
    pub(super) sounding: u64,
    pub(super) server_sounding: u64,
    pub(super) samples: u64,
    /// Blocks in which the mix was cut off at full scale.
    pub(super) saturated: u64,
    /// Where the last block ended, and how long the gaps were before, in milliseconds.
    began: bool,
    ended_ms: u64,
    pub(super) left_out_ms: u64,
    /// Keeps no list of the blocks.
    pub(super) is_long: bool,
}

impl Recorder {
    /// Begins to record, with those who are in the conference.
    pub(super) fn start(world: &World, at: ConferenceKey, phones: &[Phone], room_ms: usize) -> Self {
        let dropped = Arc::default();
        let (mix, mix_source) = tap(room_ms, HIGHEST_RATE_HZ, Arc::clone(&dropped));
        let (server, server_source) = tap(room_ms, HIGHEST_RATE_HZ, Arc::clone(&dropped));
        let mut recorder = Recorder {
            mix,
            server,
            parts: Vec::new(),
            room_ms,
            dropped,
            blocks: Vec::new(),
            last: Vec::new(),
            sounding: 0,
            server_sounding: 0,
            samples: 0,
            saturated: 0,
            began: false,
            ended_ms: 0,
            left_out_ms: 0,
            is_long: false,
        };
        let mut recording = Box::new(Recording::new(mix_source, Some(server_source)));
        for phone in phones {
            let source = recorder.part(phone);
            recording.add(Track::new(phone.leg, source));
        }
        world.command(Command::Record {
            conference: at,
            recording,
        });
        recorder
    }

    fn part(&mut self, phone: &Phone) -> Box<TapSource> {
        let (tap, source) = tap(self.room_ms, HIGHEST_RATE_HZ, Arc::clone(&self.dropped));
        self.parts.push(Part {
            leg: phone.leg,
            tap,
            ahead: None,
            samples: Vec::new(),
            began_ms: None,
            ended_ms: 0,
            blocks: 0,
            sounding: 0,
        });
        source
    }

    /// Lets a leg join the conference that is recorded.
    pub(super) fn join(&mut self, world: &World, phone: &Phone, at: ConferenceKey, options: JoinOptions) {
        let track = Track::new(phone.leg, self.part(phone));
        world.join_with(phone, at, options, Some(track));
    }

    /// Returns the latest part of a leg.
    pub(super) fn part_of(&self, phone: &Phone) -> &Part {
        let mut parts = self.parts.iter();
        parts.rfind(|part| part.leg == phone.leg).expect("it joined")
    }

    /// Reads everything, and compares.
    pub(super) fn check(&mut self) {
        let (mut mix, mut server) = (std::mem::take(&mut self.last), Vec::new());
        let mut sum: Vec<i32> = Vec::new();
        while let Some(block) = self.mix.next(&mut mix) {
            let beside = self.server.next(&mut server).expect("as many as of the mix");
            assert_eq!((beside.at_ms, beside.rate_hz), (block.at_ms, block.rate_hz));
            assert_eq!(server.len(), mix.len());
            sum.clear();
            sum.extend(server.iter().copied().map(i32::from));
            for part in &mut self.parts {
                part.add(block, self.ended_ms, &mut sum);
            }
            let saturate = |&sum: &i32| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            assert!(
                sum.iter().map(saturate).eq(mix.iter().copied()),
                "{block:?}: {:?} and not {sum:?}",
                mix
            );
            assert_eq!(block.is_silence, mix.iter().all(|&sample| sample == 0));
            self.sounding += u64::from(!block.is_silence);
            self.server_sounding += u64::from(!beside.is_silence);
            self.saturated += u64::from(sum.iter().any(|&sum| i16::try_from(sum).is_err()));
            self.samples += mix.len() as u64;
            if self.began {
                self.left_out_ms += block.at_ms - self.ended_ms;
            }
            self.began = true;
            self.ended_ms = block.at_ms + mix.len() as u64 * 1000 / u64::from(block.rate_hz);
            if !self.is_long {
                self.blocks.push((block, mix.len()));
            }
        }
        self.last = mix;
        assert_eq!(self.dropped.load(Relaxed), 0, "the test reads in time");
    }

    /// Returns whether the recording has ended and all of it was read.
    pub(super) fn is_over(&self) -> bool {
        self.mix.is_over() && self.server.is_over()
    }
}

impl Part {
    /// Adds what the leg did in a block of the mix, the one before which ended there.
    fn add(&mut self, block: TapBlock, mix_ended_ms: u64, sum: &mut [i32]) {
        let ahead = self.ahead.take().or_else(|| self.tap.next(&mut self.samples));
        let Some(own) = ahead else { return };
        if own.at_ms != block.at_ms {
            assert!(own.at_ms > block.at_ms, "{own:?} is missing in the mix");
            self.ahead = Some(own);
            return;
        }
        assert_eq!((own.rate_hz, self.samples.len()), (block.rate_hz, sum.len()));
        for (sum, &sample) in sum.iter_mut().zip(&self.samples) {
            *sum += i32::from(sample);
        }
        let begins = self.began_ms.is_none();
        assert!(
            begins || self.ended_ms == mix_ended_ms,
            "{own:?} follows {}",
            self.ended_ms
        );
        self.began_ms.get_or_insert(own.at_ms);
        self.ended_ms = own.at_ms + sum.len() as u64 * 1000 / u64::from(own.rate_hz);
        self.blocks += 1;
        self.sounding += u64::from(!own.is_silence);
    }

    pub(super) fn is_over(&self) -> bool {
        self.ahead.is_none() && self.tap.is_over()
    }
}
