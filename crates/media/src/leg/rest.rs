//! Decoded samples that wait for the next block, because packets and blocks need not be of one length. Knows nothing of
//! packets or time.

/// The samples between two blocks, in memory that never grows.
pub(crate) struct Rest {
    samples: Box<[i16]>,
    start: usize,
    end: usize,
}

impl Rest {
    /// Allocates room for this many samples.
    pub(crate) fn new(samples: usize) -> Self {
        Rest {
            samples: vec![0; samples].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Moves waiting samples into a block; returns how many.
    pub(crate) fn take(&mut self, out: &mut [i16]) -> usize {
        let count = (self.end - self.start).min(out.len());
        out[..count].copy_from_slice(&self.samples[self.start..self.start + count]);
        self.start += count;
        if self.start == self.end {
            self.clear();
        }
        count
    }

    /// Puts a frame into what is left of a block, and what does not fit into the rest. Returns the samples placed in the
    /// block. The rest must be empty.
    pub(crate) fn place(&mut self, frame: &[i16], out: &mut [i16]) -> usize {
        let count = frame.len().min(out.len());
        out[..count].copy_from_slice(&frame[..count]);
        self.keep(&frame[count..]);
        count
    }

    /// The same with `silence` zero samples before the frame.
    pub(crate) fn place_after(&mut self, silence: usize, frame: &[i16], out: &mut [i16]) -> usize {
        self.clear();
        self.append(silence, &[]);
        self.append(0, frame);
        self.take(out)
    }

    fn keep(&mut self, frame: &[i16]) {
        self.clear();
        self.append(0, frame);
    }

    /// Adds zero samples and a frame behind what waits; what there is no room for is left out.
    fn append(&mut self, silence: usize, frame: &[i16]) {
        let silence = silence.min(self.samples.len() - self.end);
        self.samples[self.end..self.end + silence].fill(0);
        self.end += silence;
        let count = frame.len().min(self.samples.len() - self.end);
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
}
