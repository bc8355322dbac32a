//! What offer/answer agreed on, in the media plane's terms; and which addresses go into our descriptions.
//!
//! Owns the translation only: `sdp` and `media` do not know each other.

use std::net::IpAddr;

use confab_media::{CodecKind, LegMedia, MediaDirection};
use confab_sdp::{AudioStream, Direction};
use confab_sip::{Flow, Headers};

/// Where the call's signalling comes from: media may come from there, and go there (RTP source rules).
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Source address of the INVITE.
    pub(super) signalling_ip: IpAddr,
    /// Further addresses that the INVITE names in its Via and Contact headers.
    pub(super) trusted_ips: Vec<IpAddr>,
}

impl Peer {
    /// Reads the addresses of an INVITE. A header that cannot be read names no address.
    pub(super) fn of(flow: Flow, headers: &Headers) -> Self {
        let signalling_ip = flow.remote.ip();
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

    /// The leg's media for an agreed stream; `None` when its codec is none of the media plane's.
    pub(super) fn leg_media(&self, audio: &AudioStream) -> Option<LegMedia> {
        Some(LegMedia {
            remote: audio.remote,
            remote_rtcp: audio.remote_rtcp,
            rtcp_mux: audio.rtcp_mux,
            codec: codec(&audio.codec.name)?,
            send_pt: audio.codec.send_pt,
            recv_pts: audio.codec.recv_pts.clone(),
            telephone_event_pt: audio.telephone_event.map(|event| event.recv_pt),
            ptime_ms: audio.ptime_ms,
            direction: direction(audio.direction),
            signalling_ip: self.signalling_ip,
            trusted_ips: self.trusted_ips.clone(),
        })
    }
}

fn codec(name: &str) -> Option<CodecKind> {
    match name {
        "PCMU" => Some(CodecKind::Pcmu),
        "PCMA" => Some(CodecKind::Pcma),
        _ => None,
    }
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
