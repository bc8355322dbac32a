//! The last packets of a stream that nobody hears: they are not decoded, but before the stream is heard again the decoder
//! is led up to it. Decodes nothing by itself.

use super::lull::Lull;

/// Packets kept: 100 ms of the usual 20 ms.
const PACKETS: usize = 5;

/// Octets of the largest packet that is kept: 20 ms at 200 kbit/s.
const OCTETS: usize = 512;

/// A ring of payloads.
pub(super) struct Skipped {
    payloads: [[u8; OCTETS]; PACKETS],
    lengths: [usize; PACKETS],
    /// Place of the next one.
    next: usize,
    count: usize,
    /// Which packets they are, where the leg is not muted.
    pub(super) lull: Lull,
}

impl Skipped {
    pub(super) fn new() -> Self {
        Skipped {
            payloads: [[0; OCTETS]; PACKETS],
            lengths: [0; PACKETS],
            next: 0,
            count: 0,
            lull: Lull::default(),
        }
    }

    /// Forgets the stream.
    pub(super) fn restart(&mut self) {
        self.clear();
        self.lull = Lull::default();
    }

    /// Gives up what is kept.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Keeps a payload in the place of the oldest. One that is too large is not kept, nor are those before it.
    pub(super) fn keep(&mut self, payload: &[u8]) {
        let Some(place) = self.payloads[self.next].get_mut(..payload.len()) else {
            return self.clear();
        };
        place.copy_from_slice(payload);
        self.lengths[self.next] = payload.len();
        self.next = (self.next + 1) % PACKETS;
        self.count = (self.count + 1).min(PACKETS);
    }

    /// Takes the oldest payload out.
    pub(super) fn take(&mut self) -> Option<&[u8]> {
        let at = (self.next + PACKETS - self.count) % PACKETS;
        self.count = self.count.checked_sub(1)?;
        Some(&self.payloads[at][..self.lengths[at]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(skipped: &mut Skipped) -> Vec<u8> {
        let mut first = Vec::new();
        while let Some(payload) = skipped.take() {
            first.push(payload[0]);
        }
        first
    }

    #[test]
    fn the_last_packets_come_out_in_order() {
        let mut skipped = Skipped::new();
        assert_eq!(taken(&mut skipped), [0; 0]);
        for n in 1..=3 {
            skipped.keep(&[n, 0]);
        }
        assert_eq!(taken(&mut skipped), [1, 2, 3]);
        for n in 1..=9 {
            skipped.keep(&[n; 7]);
        }
        assert_eq!(taken(&mut skipped), [5, 6, 7, 8, 9]);
        skipped.keep(&[1]);
        skipped.keep(&[2; OCTETS + 1]);
        skipped.keep(&[3; OCTETS]);
        assert_eq!(taken(&mut skipped), [3], "nothing from before a gap");
    }
}
