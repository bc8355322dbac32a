//! The last comfort noise description received (RFC 3389). Owns its octets; what they mean is the codec's business.

/// Octets kept: a level and 31 reflection coefficients, more than any known sender uses.
const MAX_OCTETS: usize = 32;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NoiseParameters {
    octets: [u8; MAX_OCTETS],
    len: usize,
}

impl NoiseParameters {
    /// Keeps a payload; coefficients beyond the room are of no audible use (RFC 3389 §3.2 leaves their number open).
    pub(super) fn set(&mut self, payload: &[u8]) {
        self.len = payload.len().min(MAX_OCTETS);
        self.octets[..self.len].copy_from_slice(&payload[..self.len]);
    }

    /// The payload; `None` when none was received or it says nothing.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        (self.len > 0).then(|| &self.octets[..self.len])
    }
}
