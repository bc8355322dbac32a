//! What a recording takes out of a mix: all of it before the limiter, and the part that is nobody's voice. Each participant's part is his
//! [`contribution`](Mixer::contribution). To be asked after [`mix`](Mixer::mix).
//!
//! The full mix is what a participant hears who is silent himself, hears everybody and has nothing played to him alone, before it is limited:
//! contributions with their gains, fades and lowering, and the comfort noise where it is all there is. It is the sum of its parts in 16
//! bits, saturated, sample for sample.

use super::Mixer;

impl Mixer {
    /// Writes the full mix of this tick to the beginning of `out`. Returns whether there is anything in it; if not, nothing is written.
    pub fn full_mix(&mut self, out: &mut [i16]) -> bool {
        let block = self.block_samples();
        let length = out.len().min(block);
        let out = &mut out[..length];
        if self.heard() == 0 {
            return self.noise_alone(out);
        }
        if self.mixed_sources < 2 {
            saturate(&self.storage.total, out);
            return true;
        }
        // What is cut off of the server's part is cut off here, too: else the parts were no longer those of the whole.
        self.sum_to_all(block);
        let storage = &self.storage;
        let sums = storage.total.iter().zip(&storage.rest);
        for (out, (&total, &server)) in out.iter_mut().zip(sums) {
            *out = saturated(total - server + i32::from(saturated(server)));
        }
        true
    }

    /// Writes what the server puts into the full mix of this tick: what plays to all, together, or the comfort noise. Returns whether
    /// there is any; if not, nothing is written.
    pub fn server_part(&mut self, out: &mut [i16]) -> bool {
        let block = self.block_samples();
        let length = out.len().min(block);
        let out = &mut out[..length];
        if self.heard() == 0 {
            return self.noise_alone(out);
        }
        let plays = self.mixed_sources > 0;
        if plays {
            self.sum_to_all(block);
            saturate(&self.storage.rest, out);
        }
        plays
    }

    fn noise_alone(&self, out: &mut [i16]) -> bool {
        if self.has_noise {
            out.copy_from_slice(&self.storage.noise[..out.len()]);
        }
        self.has_noise
    }
}

fn saturate(sums: &[i32], out: &mut [i16]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = saturated(sum);
    }
}

fn saturated(sum: i32) -> i16 {
    sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}
