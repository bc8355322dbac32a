//! What offer/answer agreed on, in the media plane's terms; and which addresses go into our descriptions.
//!
//! Owns the translation only: `sdp` and `media` do not know each other.

use std::net::IpAddr;

use confab_media::{
    CodecKind, Coding, ComfortNoiseMedia, ExtendedReports, LegMedia, MediaDirection, OpusSettings, SrtpMedia,
    TelephoneEventMedia,
};
use confab_sdp::{AudioStream, CodecChoice, Direction, LocalKeys};
use confab_sip::Headers;

use crate::signalling::is_private;

/// Where the call's signalling comes from: media may come from there, and go there (RTP source rules).
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Source address of the INVITE.
    pub(super) signalling_ip: IpAddr,
    /// Further addresses that the INVITE names in its Via and Contact headers.
    pub(super) trusted_ips: Vec<IpAddr>,
}

impl Peer {
    /// Reads the addresses of an INVITE from `signalling_ip`. A header that cannot be read names no address.
    pub(super) fn of(signalling_ip: IpAddr, headers: &Headers) -> Self {
        let mut trusted_ips: Vec<IpAddr> = Vec::new();
        let mut trust = |ip: Option<IpAddr>| {
            if let Some(ip) = ip.filter(|ip| *ip != signalling_ip)
                && !trusted_ips.contains(&ip)
                && trusted_ips.len() < 8
            {
                trusted_ips.push(ip);
            }
        };
        if let Ok(Some(via)) = headers.top_via() {
            trust(via.sent_by.host.ip());
            trust(via.received());
        }
        for contact in headers.contacts().unwrap_or_default() {
            trust(contact.uri.as_sip().and_then(|uri| uri.host.ip()));
        }
        Self {
            signalling_ip,
            trusted_ips,
        }
    }

    /// Returns who answered a call that was placed to `signalling_ip`, by the Contact of his response.
    pub(super) fn answered(signalling_ip: IpAddr, headers: &Headers) -> Self {
        // The Via of a response is our own.
        let mut contacts = Headers::new();
        contacts.copy_all(headers, &confab_sip::HeaderName::Contact);
        Self::of(signalling_ip, &contacts)
    }

    /// The same peer after a re-INVITE, which may have come from another address. The topmost Via says from which: the
    /// endpoint notes it there.
    pub(super) fn moved(&self, headers: &Headers) -> Self {
        let via = headers.top_via().ok().flatten();
        let received = via.and_then(|via| via.received());
        Self::of(received.unwrap_or(self.signalling_ip), headers)
    }

    /// The leg's media for an agreed stream; `None` when its codec is none of the media plane's.
    pub(super) fn leg_media(&self, audio: &AudioStream) -> Option<LegMedia> {
        Some(LegMedia {
            remote: audio.remote,
            remote_rtcp: audio.remote_rtcp,
            rtcp_mux: audio.rtcp_mux,
            srtp: audio.srtp.as_ref().map(|keys| SrtpMedia {
                send: keys.send.clone(),
                receive: keys.receive.clone(),
                receive_mki: keys.receive_mki,
            }),
            extended_reports: ExtendedReports {
                voip_metrics: audio.extended_reports.voip_metrics,
                receiver_round_trip: audio.extended_reports.receiver_round_trip,
            },
            coding: coding(&audio.codec)?,
            send_pt: audio.codec.send_pt,
            recv_pts: audio.codec.recv_pts.clone(),
            alternatives: audio
                .alternatives
                .iter()
                .filter_map(|choice| Some((kind(choice)?, choice.recv_pts.clone())))
                .collect(),
            telephone_event: audio.telephone_event.map(|event| TelephoneEventMedia {
                send_pt: event.send_pt,
                recv_pt: event.recv_pt,
                clock_rate_hz: event.clock_rate,
            }),
            comfort_noise: audio.comfort_noise.map(|noise| ComfortNoiseMedia {
                send_pt: noise.send_pt,
                recv_pt: noise.recv_pt,
            }),
            ptime_ms: audio.ptime_ms,
            direction: direction(audio.direction),
            signalling_ip: self.signalling_ip,
            trusted_ips: self.trusted_ips.clone(),
        })
    }
}

/// Draws the keys of a call.
pub(super) fn fresh_keys() -> LocalKeys {
    let mut random = [0; LocalKeys::OCTETS];
    rand::fill(&mut random);
    LocalKeys::new(&random)
}

fn kind(choice: &CodecChoice) -> Option<CodecKind> {
    CodecKind::by_name(&choice.name, choice.clock_rate, choice.channels)
}

/// The codec with what the peer likes to receive.
fn coding(choice: &CodecChoice) -> Option<Coding> {
    let opus = OpusSettings::from_fmtp(choice.fmtp.as_deref().unwrap_or_default());
    Some(Coding::new(kind(choice)?, opus))
}

fn direction(direction: Direction) -> MediaDirection {
    match direction {
        Direction::SendRecv => MediaDirection::SendRecv,
        Direction::SendOnly => MediaDirection::SendOnly,
        Direction::RecvOnly => MediaDirection::RecvOnly,
        Direction::Inactive => MediaDirection::Inactive,
    }
}

/// The configured media address to open a leg on for a peer that is reached at `peer`: one of its family.
pub(super) fn bind_address(binds: &[IpAddr], peer: IpAddr) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    binds
        .iter()
        .copied()
        .find(|bind| bind.is_ipv4() == peer.is_ipv4())
}

/// The address that leads back to a peer whose description says `media`: a private one of a peer that is heard from a
/// public address means nothing here, even when a network of ours has the same numbers.
pub(super) fn way_back(media: IpAddr, signalling: IpAddr) -> IpAddr {
    let same_family = media.is_ipv4() == signalling.is_ipv4();
    if same_family && is_private(media) && !is_private(signalling) {
        signalling
    } else {
        media
    }
}

#[cfg(test)]
mod tests {
    use confab_sip::HeaderName;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_way_back_to_a_phone_behind_a_nat_is_the_one_it_came() {
        let rows = [
            // media, signalling, way back
            ("192.168.1.5", "203.0.113.9", "203.0.113.9"),
            ("100.64.1.5", "203.0.113.9", "203.0.113.9"),
            ("192.168.1.5", "192.168.1.5", "192.168.1.5"),
            ("10.2.0.5", "10.1.0.9", "10.2.0.5"),
            ("198.51.100.4", "203.0.113.9", "198.51.100.4"),
            ("198.51.100.4", "10.1.0.9", "198.51.100.4"),
            ("fd00::5", "2001:db8::9", "2001:db8::9"),
            ("2001:db8::5", "203.0.113.9", "2001:db8::5"),
            ("fd00::5", "203.0.113.9", "fd00::5"),
        ];
        for (media, signalling, expected) in rows {
            assert_eq!(
                way_back(ip(media), ip(signalling)),
                ip(expected),
                "{media} {signalling}"
            );
        }
    }

    #[test]
    fn a_peer_that_moved_is_known_by_its_new_address() {
        let headers = |via: &str| {
            let mut headers = Headers::new();
            headers.push(HeaderName::Via, format!("SIP/2.0/UDP {via};branch=z9hG4bKa"));
            headers.push(HeaderName::Contact, "<sip:a@10.0.0.5>".to_owned());
            headers
        };
        let peer = Peer::of(ip("203.0.113.9"), &headers("10.0.0.5;received=203.0.113.9"));
        assert_eq!(peer.trusted_ips, [ip("10.0.0.5")]);
        let moved = peer.moved(&headers("10.0.0.6;received=198.51.100.7"));
        assert_eq!(moved.signalling_ip, ip("198.51.100.7"));
        assert_eq!(moved.trusted_ips, [ip("10.0.0.6"), ip("10.0.0.5")]);
        assert_eq!(
            moved.moved(&headers("10.0.0.6")).signalling_ip,
            ip("198.51.100.7")
        );
    }
}
