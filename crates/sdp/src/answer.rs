//! Answering an offer (RFC 3264 §6).
//!
//! The first audio stream that can be served gets an answer, every other stream is refused in its place.

use crate::capabilities::{Capabilities, CodecCapability, CodecPreference};
use crate::crypto::{self, Crypto, Security};
use crate::description::{Attribute, Connection, MediaDescription, OriginLine, SessionDescription};
use crate::direction::Direction;
use crate::error::SdpError;
use crate::extended::NamedReports;
use crate::format::{PayloadFormat, TELEPHONE_EVENT_FMTP, payload_formats};
use crate::stream::{AudioStream, CodecChoice, ComfortNoise, LocalMedia, Negotiated, Origin, TelephoneEvent};
use crate::transport;

/// Answers `offer` for the leg at `local`, which is not secured.
///
/// The answer names one codec, so that no later packet can arrive in another one, with the payload type numbers of
/// the offer (RFC 3264 §6.1), and the direction that mirrors the offer's.
///
/// # Errors
/// Why the first audio stream could not be served, or [`SdpError::NoAudio`] when there is none. Streams of other
/// kinds, and audio streams beside a served one, are never an error.
pub fn answer(
    offer: &SessionDescription,
    capabilities: &Capabilities,
    local: LocalMedia,
    origin: Origin,
) -> Result<Negotiated, SdpError> {
    answer_secured(offer, capabilities, local, origin, None)
}

/// Answers `offer` as [`answer`] does, with `security` for streams that offer keys. Those come before others: some phones offer a
/// stream twice, with keys and without.
pub(crate) fn answer_secured(
    offer: &SessionDescription,
    capabilities: &Capabilities,
    local: LocalMedia,
    origin: Origin,
    security: Option<&Security>,
) -> Result<Negotiated, SdpError> {
    let mut refusal = None;
    let mut accepted = None;
    let audio = |(_, media): &(usize, &MediaDescription)| media.is_audio() && media.port != 0;
    let mut streams: Vec<_> = offer.media.iter().enumerate().filter(audio).collect();
    if security.is_some() {
        streams.sort_by_key(|(_, media)| media.attribute("crypto").is_none());
    }
    for (media_index, _) in streams {
        match answer_audio(offer, media_index, capabilities, local, security) {
            Ok(stream) => {
                accepted = Some(stream);
                break;
            }
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let (audio, description) = accepted.ok_or(refusal.unwrap_or(SdpError::NoAudio))?;
    let media = offer.media.iter().map(MediaDescription::refused);
    let mut media: Vec<MediaDescription> = media.collect();
    media[audio.media_index] = description;
    let description = SessionDescription {
        origin: OriginLine::new(origin.session_id, origin.version, local.address),
        session_name: "-".to_owned(),
        connection: Some(Connection::new(local.address)),
        bandwidths: Vec::new(),
        timings: offer.timings.clone(),
        attributes: Vec::new(),
        media,
    };
    Ok(Negotiated { description, audio })
}

/// Answers one audio stream, or says why not.
fn answer_audio(
    offer: &SessionDescription,
    media_index: usize,
    capabilities: &Capabilities,
    local: LocalMedia,
    security: Option<&Security>,
) -> Result<(AudioStream, MediaDescription), SdpError> {
    let media = &offer.media[media_index];
    let secured = crypto::answer(media, security)?;
    let formats = payload_formats(media);
    let (format, capability) = choose_codec(media, &formats, capabilities)?;
    let remote = transport::remote(offer, media, local.address)?;
    let event = choose_telephone_event(&formats, format, capabilities);
    let noise = choose_comfort_noise(&formats, format, capabilities);
    let rtcp_mux = capabilities.rtcp_mux
        && media.attribute("rtcp-mux").is_some()
        && transport::fits_rtcp_mux(format.payload_type)
        && [event, noise]
            .into_iter()
            .flatten()
            .all(|format| transport::fits_rtcp_mux(format.payload_type));
    let reports = NamedReports::read(offer, media).answered(capabilities.extended_reports);
    let (crypto, srtp) = secured.unzip();
    let can_send = Direction::new(!remote.on_hold, true);
    let direction = offer.direction_of(media).reversed().and(can_send);
    let audio = AudioStream {
        media_index,
        remote: remote.rtp,
        remote_rtcp: if rtcp_mux { remote.rtp } else { remote.rtcp },
        rtcp_mux,
        srtp,
        extended_reports: reports.agreed(reports),
        direction,
        codec: CodecChoice {
            name: capability.name.clone(),
            clock_rate: capability.clock_rate,
            channels: capability.channels,
            send_pt: format.payload_type,
            recv_pts: vec![format.payload_type],
            fmtp: format.fmtp.clone(),
        },
        alternatives: Vec::new(),
        telephone_event: event.map(|event| TelephoneEvent {
            send_pt: event.payload_type,
            recv_pt: event.payload_type,
            clock_rate: event.clock_rate,
        }),
        comfort_noise: noise.map(|noise| ComfortNoise {
            send_pt: noise.payload_type,
            recv_pt: noise.payload_type,
        }),
        ptime_ms: transport::ptime_ms(offer, media, capabilities.ptime_ms, capabilities.max_ptime_ms),
        hold: !direction.sends(),
    };
    let mut ours = vec![PayloadFormat {
        fmtp: capability.fmtp.clone(),
        ..format.clone()
    }];
    ours.extend(event.map(|event| PayloadFormat {
        fmtp: Some(TELEPHONE_EVENT_FMTP.to_owned()),
        ..event.clone()
    }));
    ours.extend(noise.map(|noise| PayloadFormat {
        fmtp: None,
        ..noise.clone()
    }));
    let description = AudioLine {
        protocol: &media.protocol,
        formats: &ours,
        direction,
        ptime_ms: audio.ptime_ms,
        max_ptime_ms: capabilities.max_ptime_ms,
        rtcp_mux,
        reports,
        crypto: crypto.as_slice(),
    };
    Ok((audio, description.at(local)))
}

/// Picks the codec by the order of whoever has the preference.
fn choose_codec<'a>(
    media: &MediaDescription,
    formats: &'a [PayloadFormat],
    capabilities: &'a Capabilities,
) -> Result<(&'a PayloadFormat, &'a CodecCapability), SdpError> {
    let codecs = &capabilities.codecs;
    let choice = match capabilities.preference {
        CodecPreference::Offerer => formats
            .iter()
            .find_map(|format| Some((format, codecs.iter().find(|codec| format.is(codec))?))),
        CodecPreference::Ours => codecs
            .iter()
            .find_map(|codec| Some((formats.iter().find(|format| format.is(codec))?, codec))),
    };
    choice.ok_or_else(|| SdpError::NoCommonCodec {
        offered: names(media, formats),
    })
}

/// Names the formats of a stream for an error: `name/rate` where known, else the number as written.
pub(crate) fn names(media: &MediaDescription, formats: &[PayloadFormat]) -> Vec<String> {
    let name = |text: &String| {
        let known = formats
            .iter()
            .find(|format| text.parse() == Ok(format.payload_type));
        known.map_or_else(
            || text.clone(),
            |format| format!("{}/{}", format.name, format.clock_rate),
        )
    };
    media.formats.iter().take(16).map(name).collect()
}

/// Picks the telephone-event format at the codec's clock rate (RFC 4733 §2.1), else the one at 8000 Hz, which
/// peers with wideband codecs often have as their only one.
pub(crate) fn choose_telephone_event<'a>(
    formats: &'a [PayloadFormat],
    codec: &PayloadFormat,
    capabilities: &Capabilities,
) -> Option<&'a PayloadFormat> {
    if !capabilities.telephone_event {
        return None;
    }
    let at = |rate| {
        formats
            .iter()
            .find(move |format| format.is_telephone_event() && format.clock_rate == rate)
    };
    at(codec.clock_rate).or_else(|| at(8000))
}

/// Picks the comfort noise at the codec's clock rate (RFC 3389 §4).
fn choose_comfort_noise<'a>(
    formats: &'a [PayloadFormat],
    codec: &PayloadFormat,
    capabilities: &Capabilities,
) -> Option<&'a PayloadFormat> {
    let fits = |format: &&PayloadFormat| format.is_comfort_noise() && format.clock_rate == codec.clock_rate;
    let wanted = capabilities.comfort_noise && codec.takes_comfort_noise();
    formats.iter().find(fits).filter(|_| wanted)
}

/// What an `m=audio` line of ours says.
pub(crate) struct AudioLine<'a> {
    pub(crate) protocol: &'a str,
    pub(crate) formats: &'a [PayloadFormat],
    pub(crate) direction: Direction,
    pub(crate) ptime_ms: u16,
    pub(crate) max_ptime_ms: u16,
    pub(crate) rtcp_mux: bool,
    pub(crate) reports: NamedReports,
    pub(crate) crypto: &'a [Crypto],
}

impl AudioLine<'_> {
    /// Builds the media description for the sockets at `local`.
    pub(crate) fn at(&self, local: LocalMedia) -> MediaDescription {
        let mut attributes: Vec<Attribute> =
            self.formats.iter().flat_map(PayloadFormat::attributes).collect();
        attributes.extend(self.crypto.iter().map(Crypto::attribute));
        attributes.push(Attribute::with_value("ptime", self.ptime_ms.to_string()));
        attributes.push(Attribute::with_value("maxptime", self.max_ptime_ms.to_string()));
        attributes.push(Attribute::flag(self.direction.as_str()));
        // With rtcp-mux agreed on, the port is the RTP one. In an offer both are named (RFC 5761 §5.1.1).
        if self.rtcp_mux {
            attributes.push(Attribute::flag("rtcp-mux"));
        }
        attributes.extend(self.reports.attribute());
        if Some(local.rtcp_port) != local.port.checked_add(1) {
            attributes.push(Attribute::with_value("rtcp", local.rtcp_port.to_string()));
        }
        MediaDescription {
            kind: "audio".to_owned(),
            port: local.port,
            port_count: None,
            protocol: self.protocol.to_owned(),
            formats: self
                .formats
                .iter()
                .map(|format| format.payload_type.to_string())
                .collect(),
            connections: Vec::new(),
            bandwidths: Vec::new(),
            attributes,
        }
    }
}
