//! Owns laying what is tapped of one mix on the clock of a recording: at the file's rate, without a gap. Opens no file.
//!
//! A tap's blocks say where they lie. What is missing between them, and what comes before the first, is silence, so that all tracks of a
//! recording are equally long and lie sample on sample. At the file's own rate samples pass as they are; otherwise all tracks are
//! converted alike, with the delay of the filter (a fraction of a millisecond).

use std::collections::VecDeque;

use confab_dsp::{Resampler, ResamplerTable};

/// Milliseconds that mixes are ticked in, and blocks are whole multiples of.
const GRAIN_MS: u64 = 10;

/// The highest rate, in samples per millisecond.
const MOST_PER_MS: usize = 48;

/// Audio for a file: first silence, then samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Samples of silence before `samples`.
    pub silence: u64,
    /// What is heard then. Silence may be among it.
    pub samples: Vec<i16>,
}

impl Stretch {
    /// Returns how many samples it is long.
    pub fn len(&self) -> u64 {
        self.silence + self.samples.len() as u64
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One track of a recording, from the recording's beginning on.
#[derive(Debug)]
pub struct Track {
    rate_hz: u32,
    /// Media time of the mix at the first sample of the recording.
    origin_ms: u64,
    /// Where the next block is due, as `origin_ms`.
    due_ms: u64,
    resampler: Resampler,
    /// The rate that the resampler converts from.
    from_hz: u32,
    /// The resampler remembers something that is no silence.
    has_past: bool,
    /// Laid down and not taken yet.
    pending: Stretch,
    scratch: Vec<i16>,
    missed_ms: u64,
    /// Pauses that the track has not passed: from, and until when if that is known.
    pauses: VecDeque<(u64, Option<u64>)>,
    /// What pauses before `due_ms` have taken out.
    paused_ms: u64,
}

impl Track {
    /// Begins a track at `rate_hz`, one of [`confab_dsp::RESAMPLER_RATES_HZ`], whose first sample lies at `origin_ms` of the mix.
    pub fn new(rate_hz: u32, origin_ms: u64) -> Track {
        Track {
            rate_hz,
            origin_ms,
            due_ms: origin_ms,
            resampler: Resampler::new(),
            from_hz: rate_hz,
            has_past: false,
            pending: Stretch::default(),
            scratch: Vec::new(),
            missed_ms: 0,
            pauses: VecDeque::new(),
            paused_ms: 0,
        }
    }

    /// Lays a block of whole 10 ms at `at_ms`; `is_silence` says that all its samples are 0. What lies before the track's beginning, or before
    /// what is laid already, is left out.
    pub fn lay(&mut self, at_ms: u64, from_hz: u32, block: &[i16], is_silence: bool) {
        let ms = block.len() as u64 * 1000 / u64::from(from_hz.max(1));
        if ms == 0 || at_ms < self.due_ms || self.is_paused_at(at_ms) {
            return;
        }
        if at_ms > self.due_ms {
            self.missed_ms += at_ms - self.due_ms;
            self.be_silent_until(at_ms);
        }
        if is_silence {
            self.be_silent_until(at_ms + ms);
            return;
        }
        if self.rate_hz == from_hz {
            self.pending.samples.extend_from_slice(block);
            self.has_past = false;
        } else if self.tune(from_hz) {
            self.convert(block);
            self.has_past = true;
        } else {
            // A rate that no mix has.
            self.be_silent_until(at_ms + ms);
            return;
        }
        self.from_hz = from_hz;
        self.due_ms = at_ms + ms;
    }

    /// Makes the track reach to `at_ms`, with silence where nothing was laid.
    pub fn be_silent_until(&mut self, at_ms: u64) {
        if !self.is_paused_at(at_ms) {
            self.fill(at_ms);
        }
    }

    /// Leaves out what lies between `from_ms`, an edge of two blocks, and where [`Track::resume`] says: the track is shorter by that.
    pub fn pause(&mut self, from_ms: u64) {
        self.pauses.push_back((from_ms, None));
    }

    /// Goes on at `until_ms`, an edge of two blocks.
    pub fn resume(&mut self, until_ms: u64) {
        if let Some((_, until @ None)) = self.pauses.back_mut() {
            *until = Some(until_ms);
        }
    }

    /// Passes the pauses before `at_ms`; returns whether it lies in one.
    fn is_paused_at(&mut self, at_ms: u64) -> bool {
        while let Some(&(from_ms, until_ms)) = self.pauses.front() {
            if at_ms < from_ms {
                return false;
            }
            self.fill(from_ms);
            let Some(until_ms) = until_ms.filter(|&until_ms| at_ms >= until_ms) else {
                return true;
            };
            self.paused_ms += until_ms.saturating_sub(self.due_ms);
            self.due_ms = self.due_ms.max(until_ms);
            self.resampler.reset();
            self.has_past = false;
            self.pauses.pop_front();
        }
        false
    }

    fn fill(&mut self, at_ms: u64) {
        if at_ms <= self.due_ms {
            return;
        }
        if self.has_past {
            // What the filter still holds of the last block.
            let zeros = [0; MOST_PER_MS * GRAIN_MS as usize];
            let grain = self.from_hz as usize / 100;
            self.convert(&zeros[..grain.min(zeros.len())]);
            self.has_past = false;
            self.due_ms += GRAIN_MS;
        }
        let from = self.place(self.due_ms);
        self.due_ms = self.due_ms.max(at_ms);
        let silence = self.place(self.due_ms) - from;
        if self.pending.samples.is_empty() {
            self.pending.silence += silence;
        } else {
            let whole = self.pending.samples.len() + silence as usize;
            self.pending.samples.resize(whole, 0);
        }
    }

    /// Returns what was laid since it was last asked, in the order of the file.
    pub fn take(&mut self) -> Stretch {
        std::mem::take(&mut self.pending)
    }

    /// Returns what [`Track::take`] would.
    pub fn waiting(&self) -> &Stretch {
        &self.pending
    }

    /// Returns the media time that the track reaches to.
    pub fn reaches_ms(&self) -> u64 {
        self.due_ms
    }

    /// Returns how much was not there when what lies behind it came, in milliseconds: what a tap had no room for, or a mix that was late.
    pub fn missed_ms(&self) -> u64 {
        self.missed_ms
    }

    /// Returns where in the recording the track ends, in milliseconds: without what was paused.
    pub fn position_ms(&self) -> u64 {
        self.due_ms - self.origin_ms - self.paused_ms
    }

    /// Samples of the file before `at_ms`.
    fn place(&self, at_ms: u64) -> u64 {
        (at_ms - self.origin_ms - self.paused_ms) * u64::from(self.rate_hz) / 1000
    }

    /// Makes the resampler ready for a rate; returns whether there is a way from it.
    fn tune(&mut self, from_hz: u32) -> bool {
        let is_ready = |table: &ResamplerTable| table.from_hz() == from_hz && table.to_hz() == self.rate_hz;
        if !self.resampler.table().is_some_and(is_ready) {
            let Some(table) = ResamplerTable::get(from_hz, self.rate_hz) else {
                return false;
            };
            self.resampler.set(table);
            self.resampler.reset();
        }
        true
    }

    fn convert(&mut self, block: &[i16]) {
        self.scratch.resize(self.resampler.output_samples(block.len()), 0);
        let written = self.resampler.process(block, &mut self.scratch);
        self.pending.samples.extend_from_slice(&self.scratch[..written]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use confab_dsp::RESAMPLER_RATES_HZ;
    use proptest::prelude::*;

    /// One block of a tap: what is missing before it, in grains, its length in grains, its rate, and whether it is silent.
    fn blocks() -> impl Strategy<Value = Vec<(u64, u64, u32, bool)>> {
        let rate = prop::sample::select(RESAMPLER_RATES_HZ.to_vec());
        prop::collection::vec((0_u64..4, 1_u64..=6, rate, any::<bool>()), 0..60)
    }

    fn everything(track: &mut Track, into: &mut Vec<i16>) {
        let stretch = track.take();
        into.resize(into.len() + stretch.silence as usize, 0);
        into.extend(stretch.samples);
    }

    #[test]
    fn at_the_files_rate_every_sample_is_where_it_was() {
        let mut track = Track::new(8000, 500);
        let block: Vec<i16> = (1..=160).collect();
        track.lay(480, 8000, &block, false); // before the beginning
        track.lay(520, 8000, &block, false);
        track.lay(540, 8000, &block, true);
        track.lay(580, 8000, &block, false);
        let mut file = Vec::new();
        everything(&mut track, &mut file);
        let silence = [0; 160];
        let expected = [&silence[..], &block, &silence, &silence, &block].concat();
        assert_eq!(file, expected);
        assert_eq!((track.missed_ms(), track.reaches_ms()), (20 + 20, 600));
        assert_eq!(track.take(), Stretch::default());
    }

    #[test]
    fn what_is_paused_is_left_out_of_all_tracks_alike() {
        let mut tracks = [Track::new(8000, 0), Track::new(8000, 0)];
        let block = |tick: u64| [tick as i16 + 1; 160];
        for tick in 0..20 {
            if tick == 5 {
                tracks.iter_mut().for_each(|track| track.pause(100));
            }
            if tick == 9 {
                tracks.iter_mut().for_each(|track| track.resume(180));
            }
            tracks[0].lay(tick * 20, 8000, &block(tick), false);
        }
        // The other is late, and says nothing for a while before the pause and in it.
        for tick in [0, 1, 2, 12, 13] {
            tracks[1].lay(tick * 20, 8000, &block(tick), false);
        }
        tracks[1].be_silent_until(400);
        let [one, other] = tracks.map(|mut track| {
            let mut file = Vec::new();
            everything(&mut track, &mut file);
            assert_eq!((track.position_ms(), track.reaches_ms()), (320, 400));
            file
        });
        let heard = |file: &[i16]| -> Vec<i16> { file.chunks(160).map(|block| block[0]).collect() };
        assert_eq!(
            heard(&one),
            [1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
        );
        assert_eq!(heard(&other), [1, 2, 3, 0, 0, 0, 0, 0, 13, 14, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn silence_takes_no_room() {
        let mut track = Track::new(16_000, 0);
        for tick in 0..50 * 3600 {
            track.lay(tick * 20, 8000, &[0; 160], true);
        }
        let stretch = track.take();
        assert_eq!((stretch.silence, stretch.samples.len()), (16_000 * 3600, 0));
    }

    #[test]
    fn a_tone_is_the_same_tone_at_another_rate() {
        let tone =
            |rate: f64, n: usize| ((n as f64 * 440.0 * std::f64::consts::TAU / rate).sin() * 8000.0) as i16;
        let mut track = Track::new(16_000, 0);
        for tick in 0..100 {
            let block: Vec<i16> = (0..960).map(|n| tone(48_000.0, tick * 960 + n)).collect();
            track.lay(tick as u64 * 20, 48_000, &block, false);
        }
        let got = track.take().samples;
        assert_eq!(got.len(), 32_000);
        let far =
            (0..32_000 - 400).map(|n| (f64::from(got[n + 200]) - f64::from(tone(16_000.0, n + 200))).abs());
        // A delay of the filter of up to 0.25 ms is 0.7 rad of this tone.
        assert!(far.fold(0.0, f64::max) < 0.7 * 8000.0);
    }

    proptest! {
        #[test]
        fn a_track_is_as_long_as_its_time_whatever_came(
            rate in prop::sample::select(RESAMPLER_RATES_HZ.to_vec()),
            blocks in blocks(),
            begin in 0_u64..5,
        ) {
            let mut track = Track::new(rate, begin * 10);
            let (mut at, mut file, mut missing) = (begin * 10, Vec::new(), 0);
            for (gap, grains, from_hz, is_silence) in blocks {
                at += gap * 10;
                missing += gap * 10;
                let samples = (grains * u64::from(from_hz) / 100) as usize;
                let block = vec![if is_silence { 0 } else { 1000 }; samples];
                track.lay(at, from_hz, &block, is_silence);
                at += grains * 10;
                prop_assert!(track.reaches_ms() >= at);
                everything(&mut track, &mut file);
                let due = (track.reaches_ms() - begin * 10) * u64::from(rate) / 1000;
                prop_assert_eq!(file.len() as u64, due);
            }
            prop_assert_eq!(track.reaches_ms(), at);
            prop_assert_eq!(track.missed_ms(), missing);
        }

        #[test]
        fn tracks_at_the_files_rate_add_up_as_their_blocks_do(
            voices in prop::collection::vec(prop::collection::vec((any::<bool>(), -2000_i16..2000), 20), 1..5),
        ) {
            let mut sum = Track::new(8000, 0);
            let mut tracks: Vec<Track> = voices.iter().map(|_| Track::new(8000, 0)).collect();
            for tick in 0..20 {
                let mut mixed = [0_i16; 160];
                for (track, voice) in tracks.iter_mut().zip(&voices) {
                    let (is_there, level) = voice[tick];
                    if is_there {
                        track.lay(tick as u64 * 20, 8000, &[level; 160], level == 0);
                        mixed.iter_mut().for_each(|sample| *sample += level);
                    }
                }
                sum.lay(tick as u64 * 20, 8000, &mixed, false);
            }
            let mut added = vec![0_i16; 3200];
            for track in &mut tracks {
                track.be_silent_until(400);
                let mut file = Vec::new();
                everything(track, &mut file);
                added.iter_mut().zip(file).for_each(|(sum, sample)| *sum += sample);
            }
            let mut mix = Vec::new();
            everything(&mut sum, &mut mix);
            prop_assert_eq!(added, mix);
        }
    }
}
