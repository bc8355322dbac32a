//! Decoded samples that wait for the next block, because packets and blocks need not be of one length. Knows nothing of
//! packets or time.

/// The samples between two blocks, in memory that never grows. Silence before them is counted, not stored: where nothing else
/// waits the memory is not touched.
pub(crate) struct Rest {
    /// Zero samples before the others.
    silence: usize,
    samples: Box<[i16]>,
    start: usize,
    end: usize,
    /// All that waits is silence in the place of audio that was left out, of this score.
    left_out: Option<u16>,
}

impl Rest {
    /// Allocates room for this many samples.
    pub(crate) fn new(samples: usize) -> Self {
        Rest {
            silence: 0,
            samples: vec![0; samples].into_boxed_slice(),
            start: 0,
            end: 0,
            left_out: None,
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.silence, self.start, self.end, self.left_out) = (0, 0, 0, None);
    }

    /// Returns the score of the audio that was left out, when silence in its place is all that waits.
    pub(crate) fn left_out(&self) -> Option<u16> {
        self.left_out
    }

    /// Moves waiting samples into a block; returns how many.
    pub(crate) fn take(&mut self, out: &mut [i16]) -> usize {
        let silence = self.silence.min(out.len());
        let (zeros, out) = out.split_at_mut(silence);
        zeros.fill(0);
        self.silence -= silence;
        let count = (self.end - self.start).min(out.len());
        out[..count].copy_from_slice(&self.samples[self.start..self.start + count]);
        self.start += count;
        if self.silence == 0 && self.start == self.end {
            self.clear();
        }
        silence + count
    }

    /// Puts a frame into what is left of a block, and what does not fit into the rest. Returns the samples placed in the
    /// block. The rest must be empty.
    pub(crate) fn place(&mut self, frame: &[i16], out: &mut [i16]) -> usize {
        let count = frame.len().min(out.len());
        out[..count].copy_from_slice(&frame[..count]);
        self.clear();
        self.append(&frame[count..]);
        count
    }

    /// The same with `silence` zero samples before the frame.
    pub(crate) fn place_after(&mut self, silence: usize, frame: &[i16], out: &mut [i16]) -> usize {
        self.clear();
        self.silence = silence.min(self.samples.len());
        self.append(frame);
        self.take(out)
    }

    /// The same with `silence` alone, which stands for audio of this score.
    pub(crate) fn place_left_out(&mut self, silence: usize, score: u16, out: &mut [i16]) -> usize {
        self.clear();
        self.silence = silence.min(self.samples.len());
        self.left_out = Some(score);
        self.take(out)
    }

    /// Adds a frame behind what waits; what there is no room for is left out.
    fn append(&mut self, frame: &[i16]) {
        let room = self.samples.len() - self.silence - self.end;
        let count = frame.len().min(room);
        self.samples[self.end..self.end + count].copy_from_slice(&frame[..count]);
        self.end += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_out_in_order_whatever_the_blocks() {
        let mut rest = Rest::new(8);
        let mut out = [0; 3];
        assert_eq!(rest.place(&[1, 2, 3, 4, 5], &mut out), 3);
        assert_eq!(out, [1, 2, 3]);
        assert_eq!(rest.take(&mut out[..1]), 1);
        assert_eq!(out[0], 4);
        assert_eq!((rest.take(&mut out), out[0]), (1, 5));
        assert_eq!(rest.take(&mut out), 0);
        assert_eq!(rest.place_after(2, &[7, 8, 9], &mut out), 3);
        assert_eq!(out, [0, 0, 7]);
        assert_eq!((rest.take(&mut out), out[0], out[1]), (2, 8, 9));
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        let mut rest = Rest::new(4);
        let mut out = [9; 2];
        assert_eq!(rest.place_after(3, &[5, 6, 7], &mut out), 2);
        assert_eq!(rest.take(&mut out), 2);
        assert_eq!(out, [0, 5]);
        assert_eq!(rest.take(&mut out), 0);
    }

    #[test]
    fn silence_tells_what_it_stands_for_until_it_is_over() {
        let mut rest = Rest::new(8);
        let mut out = [9; 2];
        assert_eq!(rest.place_left_out(3, 7, &mut out), 2);
        assert_eq!((out, rest.left_out()), ([0, 0], Some(7)));
        assert_eq!((rest.take(&mut out), rest.left_out()), (1, None));
        rest.place_left_out(3, 7, &mut out);
        rest.place_after(3, &[], &mut out);
        assert_eq!(rest.left_out(), None);
        assert_eq!(rest.place_left_out(1, 7, &mut out), 1);
        assert_eq!(rest.left_out(), None);
    }
}
