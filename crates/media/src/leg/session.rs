//! What one offer/answer exchange made of a leg: codec instances, payload types, direction, source rules. Built outside
//! the shard and handed over whole.

use confab_codec::{CodecKind, Decoder, Encoder};
use confab_rtp::{ClockRate, IpNet, PayloadType, PayloadTypes, SourceRules};

use crate::config::{Latch, LegMedia};

/// Payload per packet that we send, in milliseconds.
pub(crate) const MIN_PTIME_MS: u16 = 10;
/// The most that we put into a packet.
pub(crate) const MAX_PTIME_MS: u16 = 60;

/// The negotiated half of a leg.
pub(crate) struct Session {
    pub(crate) codec: CodecKind,
    pub(crate) decoder: Box<dyn Decoder>,
    /// For packets that no other listener shares.
    pub(crate) encoder: Encoder,
    pub(crate) send_pt: PayloadType,
    pub(crate) receive_pts: PayloadTypes,
    pub(crate) telephone_event_pt: Option<PayloadType>,
    pub(crate) ptime_ms: u16,
    /// We send RTP: the direction allows it and there is an address.
    pub(crate) sends: bool,
    /// The peer's RTP is used.
    pub(crate) receives: bool,
    pub(crate) rtcp_mux: bool,
    /// Taken by the leg's source guard when the session begins.
    pub(crate) rules: Option<SourceRules>,
}

impl Session {
    /// Builds the session. Payload types above 127 cannot occur in RTP and are left out; a sending type above 127 is cut
    /// to its low bits.
    pub(crate) fn new(media: &LegMedia, latch: Latch, local_nets: &[IpNet]) -> Self {
        let receive_pts: PayloadTypes = media
            .recv_pts
            .iter()
            .filter_map(|&pt| PayloadType::new(pt))
            .collect();
        let telephone_event_pt = media.telephone_event_pt.and_then(PayloadType::new);
        let mut allowed = receive_pts;
        allowed.insert(PayloadType::COMFORT_NOISE);
        if let Some(payload_type) = telephone_event_pt {
            allowed.insert(payload_type);
        }
        let has_address = !media.remote.ip().is_unspecified() && media.remote.port() != 0;
        let rules = SourceRules {
            remote: media.remote,
            remote_rtcp: if media.rtcp_mux {
                media.remote
            } else {
                media.remote_rtcp
            },
            signalling_ip: media.signalling_ip,
            trusted_ips: media.trusted_ips.clone(),
            payload_types: allowed,
            latch,
            local_nets: local_nets.to_vec(),
        };
        Session {
            codec: media.codec,
            decoder: media.codec.decoder(),
            encoder: media.codec.encoder(),
            send_pt: PayloadType::from_low_bits(media.send_pt),
            receive_pts,
            telephone_event_pt,
            ptime_ms: fit_ptime(media.ptime_ms),
            sends: media.direction.sends() && has_address,
            receives: media.direction.receives(),
            rtcp_mux: media.rtcp_mux,
            rules: Some(rules),
        }
    }

    /// Returns the clock of the RTP timestamps.
    pub(crate) fn clock_rate(&self) -> ClockRate {
        ClockRate::new(self.codec.rtp_clock_hz()).unwrap_or(ClockRate::HZ_8000)
    }

    /// Returns how the codec's samples relate to the RTP clock.
    pub(crate) fn scale(&self) -> Scale {
        let samples_per_unit = self.codec.sample_rate_hz() / self.codec.rtp_clock_hz();
        Scale {
            samples_per_unit: samples_per_unit.max(1) as usize,
        }
    }
}

/// Decoded samples per unit of the RTP clock: 1 for most codecs, 2 for G.722 (RFC 3551 §4.5.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    samples_per_unit: usize,
}

impl Scale {
    pub(crate) fn units(self, samples: usize) -> u32 {
        samples.div_ceil(self.samples_per_unit) as u32
    }

    pub(crate) fn samples(self, units: u32) -> usize {
        units as usize * self.samples_per_unit
    }
}

/// Returns a ptime that we can send, nearest below the asked one: a multiple of 10 within 10..=60.
pub(crate) fn fit_ptime(asked_ms: u16) -> u16 {
    (asked_ms / 10 * 10).clamp(MIN_PTIME_MS, MAX_PTIME_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_ptime_becomes_one_that_we_can_send() {
        let rows = [
            (0, 10),
            (5, 10),
            (10, 10),
            (19, 10),
            (20, 20),
            (30, 30),
            (45, 40),
            (60, 60),
            (61, 60),
            (u16::MAX, 60),
        ];
        for (asked, sent) in rows {
            assert_eq!(fit_ptime(asked), sent);
        }
    }
}
