//! What one offer/answer exchange made of a leg: codec instances, payload types, direction, source rules, and the memory
//! whose size the codec decides. Built outside the shard and handed over whole.

use std::time::Duration;

use confab_codec::{CodecKind, Coding, Encoder};
use confab_dsp::Resampler;
use confab_rtp::{ClockRate, IpNet, PayloadType, PayloadTypes, SourceRules};

use super::processing::{Processing, Wishes};
pub(crate) use super::receiving::Scale;
use super::receiving::{Receiving, clock_rate, scale};
use super::security::Security;
use crate::config::{ExtendedReports, Latch, LegMedia};
use crate::shard::bus::{RateSet, set_rates};
use crate::sys;

/// Payload per packet that we send, in milliseconds.
pub(crate) const MIN_PTIME_MS: u16 = 10;
/// The most that we put into a packet.
pub(crate) const MAX_PTIME_MS: u16 = 60;

/// Octets of payload that an Ethernet packet holds beside IPv6, UDP and RTP headers.
const MAX_PAYLOAD: usize = 1440;

/// What a session is made by beside what was negotiated: most of it is the same for all legs of a media plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionRules<'a> {
    pub(crate) latch: Latch,
    pub(crate) local_nets: &'a [IpNet],
    /// Hard upper bound of the jitter buffer's depth.
    pub(crate) max_delay: Duration,
    /// What is to be done with this leg's audio.
    pub(crate) wishes: Wishes,
}

/// The negotiated half of a leg.
pub(crate) struct Session {
    pub(crate) coding: Coding,
    pub(crate) receiving: Receiving,
    /// Codecs that the peer may change to.
    alternatives: Vec<Receiving>,
    pub(crate) processing: Processing,
    /// For packets that no other listener shares.
    pub(crate) encoder: Encoder,
    /// From the mix to the encoder's rate, for packets that no other listener shares.
    pub(crate) from_mix: Box<Resampler>,
    /// Audio of the current packet, when it is the leg's own.
    pub(crate) own: Box<[i16]>,
    pub(crate) payload: Box<[u8]>,
    pub(crate) send_pt: PayloadType,
    pub(crate) telephone_event_pt: Option<PayloadType>,
    /// Under which the peer takes comfort noise, and sends it.
    pub(crate) noise_send_pt: Option<PayloadType>,
    noise_recv_pt: Option<PayloadType>,
    /// Under which the peer takes telephone-events.
    pub(crate) event_send_pt: Option<PayloadType>,
    /// Clock of the telephone-events, where there are any.
    pub(crate) event_clock: Option<ClockRate>,
    pub(crate) ptime_ms: u16,
    /// We send RTP: the direction allows it and there is an address.
    pub(crate) sends: bool,
    /// The peer's RTP is used.
    pub(crate) receives: bool,
    pub(crate) rtcp_mux: bool,
    /// What is received and sent is SRTP. Boxed, as most legs have none.
    pub(crate) security: Option<Box<Security>>,
    pub(crate) extended_reports: ExtendedReports,
    /// Taken by the leg's source guard when the session begins.
    pub(crate) rules: Option<Box<SourceRules>>,
}

impl Session {
    /// Builds the session. Payload types above 127 cannot occur in RTP and are left out; a sending type above 127 is cut
    /// to its low bits.
    pub(crate) fn new(media: &LegMedia, shared: SessionRules<'_>) -> Self {
        let kind = media.coding.kind;
        let event = media.telephone_event;
        let in_band = event.is_none();
        let receiving = Receiving::new(kind, &media.recv_pts, shared.max_delay, in_band);
        let alternatives: Vec<_> = media
            .alternatives
            .iter()
            .map(|(kind, pts)| Receiving::new(*kind, pts, shared.max_delay, in_band))
            .collect();
        let telephone_event_pt = event.and_then(|event| PayloadType::new(event.recv_pt));
        let noise = media.comfort_noise.filter(|_| kind != CodecKind::Opus);
        let event_send_pt = event.and_then(|event| PayloadType::new(event.send_pt));
        let event_clock = event.and_then(|event| ClockRate::new(event.clock_rate_hz));
        let ptime_ms = fit_ptime(kind, media.ptime_ms);
        let samples = kind.sample_rate_hz() as usize * usize::from(ptime_ms) / 1000;
        let has_address = !media.remote.ip().is_unspecified() && media.remote.port() != 0;
        let mut session = Session {
            coding: media.coding,
            receiving,
            alternatives,
            processing: Processing::new(shared.wishes, kind.sample_rate_hz()),
            encoder: media.coding.encoder(),
            from_mix: Box::new(Resampler::new()),
            own: vec![0; samples].into_boxed_slice(),
            payload: vec![0; kind.max_payload(samples)].into_boxed_slice(),
            send_pt: PayloadType::from_low_bits(media.send_pt),
            telephone_event_pt,
            event_send_pt,
            noise_send_pt: noise.and_then(|noise| PayloadType::new(noise.send_pt)),
            noise_recv_pt: noise.and_then(|noise| PayloadType::new(noise.recv_pt)),
            event_clock,
            ptime_ms,
            sends: media.direction.sends() && has_address,
            receives: media.direction.receives(),
            rtcp_mux: media.rtcp_mux,
            security: media.srtp.as_ref().map(|keys| Box::new(Security::new(keys))),
            extended_reports: media.extended_reports,
            rules: None,
        };
        session.rules = Some(Box::new(session.source_rules(media, shared)));
        session
    }

    fn source_rules(&self, media: &LegMedia, shared: SessionRules<'_>) -> SourceRules {
        let others = self.alternatives.iter().map(|other| other.payload_types);
        let mut allowed = others.fold(self.receiving.payload_types, PayloadTypes::union);
        allowed.insert(PayloadType::COMFORT_NOISE);
        if let Some(payload_type) = self.noise_recv_pt {
            allowed.insert(payload_type);
        }
        if let Some(payload_type) = self.telephone_event_pt {
            allowed.insert(payload_type);
        }
        SourceRules {
            remote: media.remote,
            remote_rtcp: if media.rtcp_mux {
                media.remote
            } else {
                media.remote_rtcp
            },
            signalling_ip: media.signalling_ip,
            trusted_ips: media.trusted_ips.clone(),
            payload_types: allowed,
            latch: shared.latch,
            local_nets: shared.local_nets.to_vec(),
        }
    }

    /// Follows the mix to another rate in Hz.
    pub(crate) fn set_mix_rate(&mut self, mix_rate_hz: u32) {
        for receiving in std::iter::once(&mut self.receiving).chain(&mut self.alternatives) {
            set_rates(
                &mut receiving.to_mix,
                receiving.kind.sample_rate_hz(),
                mix_rate_hz,
            );
        }
        let rate_hz = self.rate_hz();
        set_rates(&mut self.from_mix, mix_rate_hz, rate_hz);
        self.encoder.set_mix_rate(mix_rate_hz);
    }

    /// Takes over what the session of before knows of streams that go on with the same codec.
    pub(crate) fn go_on_from(&mut self, before: &mut Session) {
        self.receiving.go_on_from(&mut before.receiving);
        std::mem::swap(&mut self.processing, &mut before.processing);
        if self.coding == before.coding {
            std::mem::swap(&mut self.encoder, &mut before.encoder);
            std::mem::swap(&mut self.from_mix, &mut before.from_mix);
            if self.ptime_ms == before.ptime_ms {
                std::mem::swap(&mut self.own, &mut before.own);
                std::mem::swap(&mut self.payload, &mut before.payload);
            }
        }
    }

    /// Goes on with another codec when the peer changed to one of its alternatives. Returns whether it did.
    pub(crate) fn change_codec(&mut self, payload_type: PayloadType) -> bool {
        let other = self
            .alternatives
            .iter_mut()
            .find(|other| other.payload_types.contains(payload_type));
        let Some(other) = other else { return false };
        std::mem::swap(&mut self.receiving, other);
        true
    }

    /// Returns whether a payload type is that of comfort noise.
    pub(crate) fn is_comfort_noise(&self, payload_type: PayloadType) -> bool {
        payload_type == PayloadType::COMFORT_NOISE || Some(payload_type) == self.noise_recv_pt
    }

    /// Begins to load what packing touches.
    pub(super) fn preload_sending(&self) {
        sys::prefetch(&self.coding);
        sys::prefetch(&self.payload);
        sys::prefetch(&self.sends);
    }

    /// Returns the clock of the RTP timestamps that we write.
    pub(crate) fn clock_rate(&self) -> ClockRate {
        clock_rate(self.coding.kind)
    }

    /// Returns how the samples that we encode relate to the RTP clock.
    pub(crate) fn scale(&self) -> Scale {
        scale(self.coding.kind)
    }

    /// Returns the rates of all codecs that the peer may send or be sent.
    pub(crate) fn rates(&self) -> RateSet {
        let mut rates = RateSet::default();
        rates.insert(self.rate_hz());
        for receiving in std::iter::once(&self.receiving).chain(&self.alternatives) {
            rates.insert(receiving.kind.sample_rate_hz());
        }
        rates
    }

    /// Returns the rate of what we encode, in Hz.
    pub(crate) fn rate_hz(&self) -> u32 {
        self.coding.kind.sample_rate_hz()
    }
}

/// Returns a ptime that we can send, nearest below the asked one: a multiple of 10 within 10..=60 whose payload fits into
/// a packet.
pub(crate) fn fit_ptime(kind: CodecKind, asked_ms: u16) -> u16 {
    let wanted_ms = (asked_ms / 10 * 10).clamp(MIN_PTIME_MS, MAX_PTIME_MS);
    let CodecKind::L16 { rate_hz, channels } = kind else {
        return wanted_ms;
    };
    let octets_per_10_ms = rate_hz as usize / 100 * 2 * usize::from(channels.max(1));
    let fitting_ms = (MAX_PAYLOAD / octets_per_10_ms * 10) as u16;
    wanted_ms.min(fitting_ms.max(MIN_PTIME_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_ptime_becomes_one_that_we_can_send() {
        let l16 = |rate_hz| CodecKind::L16 { rate_hz, channels: 1 };
        let rows = [
            (CodecKind::Pcmu, 0, 10),
            (CodecKind::Pcmu, 5, 10),
            (CodecKind::Pcmu, 10, 10),
            (CodecKind::Pcmu, 19, 10),
            (CodecKind::Pcmu, 20, 20),
            (CodecKind::G722, 30, 30),
            (CodecKind::Opus, 45, 40),
            (CodecKind::Opus, 60, 60),
            (CodecKind::Pcmu, 61, 60),
            (CodecKind::Pcmu, u16::MAX, 60),
            (l16(8000), 60, 60),
            (l16(16_000), 60, 40),
            (l16(44_100), 20, 10),
            (l16(48_000), 20, 10),
        ];
        for (kind, asked, sent) in rows {
            assert_eq!(fit_ptime(kind, asked), sent, "{kind:?} {asked}");
        }
    }
}
