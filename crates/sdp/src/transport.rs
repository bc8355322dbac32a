//! Where and how the peer wants its audio: address, ports, packet time. The parts of an audio media
//! description that are read the same way in an offer and in an answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::capabilities::MIN_PTIME_MS;
use crate::description::{MediaDescription, SessionDescription};
use crate::error::SdpError;

/// The addresses of a peer's audio stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) rtp: SocketAddr,
    pub(crate) rtcp: SocketAddr,
    /// The address forbids sending.
    pub(crate) on_hold: bool,
}

/// Reads the address that `media` is wanted at and checks that `local` can send to it.
pub(crate) fn remote(
    description: &SessionDescription,
    media: &MediaDescription,
    local: IpAddr,
) -> Result<Remote, SdpError> {
    let connection = description.connection_of(media).ok_or(SdpError::NoConnection)?;
    if connection.is_hold() {
        let unspecified = connection.ip().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let rtp = SocketAddr::new(unspecified, media.port);
        return Ok(Remote {
            rtp,
            rtcp: rtcp(media, rtp),
            on_hold: true,
        });
    }
    let ip = connection.ip().ok_or_else(|| SdpError::NotAnIpAddress {
        address: connection.address.clone(),
    })?;
    if !is_unicast(ip) {
        return Err(SdpError::NotUnicast { address: ip });
    }
    if ip.is_ipv4() != local.to_canonical().is_ipv4() {
        return Err(SdpError::AddressFamily { remote: ip, local });
    }
    let rtp = SocketAddr::new(ip, media.port);
    Ok(Remote {
        rtp,
        rtcp: rtcp(media, rtp),
        on_hold: false,
    })
}

fn is_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_multicast() && !broadcast
}

/// Where RTCP goes without rtcp-mux: `a=rtcp:port [IN IP4|IP6 address]` (RFC 3605), else the port after RTP's. An
/// address there that could not be sent to is left aside for the one of the `c=` line.
fn rtcp(media: &MediaDescription, rtp: SocketAddr) -> SocketAddr {
    let next = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    let Some(value) = media.attribute("rtcp") else {
        return next;
    };
    let mut fields = value.split_ascii_whitespace();
    let port = fields
        .next()
        .and_then(|port| port.parse::<u16>().ok())
        .filter(|port| *port != 0);
    let Some(port) = port else { return next };
    let address = fields
        .nth(2)
        .and_then(|address| address.parse::<IpAddr>().ok())
        .map(|ip| ip.to_canonical())
        .filter(|ip| ip.is_ipv4() == rtp.is_ipv4() && is_unicast(*ip) && !ip.is_unspecified());
    SocketAddr::new(address.unwrap_or(rtp.ip()), port)
}

/// The packet time to send with, ms: the peer's `ptime`, else `default_ms`, under the peer's `maxptime`, rounded
/// down to a multiple of 10 and kept between [`MIN_PTIME_MS`] and `max_ms`.
pub(crate) fn ptime_ms(
    description: &SessionDescription,
    media: &MediaDescription,
    default_ms: u16,
    max_ms: u16,
) -> u16 {
    let wanted = asked_ms(description, media, "ptime").unwrap_or(default_ms);
    let wanted = wanted.min(asked_ms(description, media, "maxptime").unwrap_or(u16::MAX));
    (wanted / 10 * 10).clamp(MIN_PTIME_MS, max_ms.max(MIN_PTIME_MS))
}

/// Reads `ptime` or `maxptime`, which some peers write at session level. Fractions occur with codecs of odd frame
/// lengths and are cut.
pub(crate) fn asked_ms(
    description: &SessionDescription,
    media: &MediaDescription,
    name: &str,
) -> Option<u16> {
    let text = media.attribute(name).or_else(|| description.attribute(name))?;
    let whole = text.trim_ascii().split('.').next()?;
    whole.parse::<u16>().ok().filter(|ms| *ms > 0)
}

/// Whether the payload type can share a port with RTCP: 64 to 95 would look like RTCP packets (RFC 5761 §4).
pub(crate) fn fits_rtcp_mux(payload_type: u8) -> bool {
    !(64..=95).contains(&payload_type)
}
