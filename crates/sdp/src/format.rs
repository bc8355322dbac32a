//! Payload formats: what a payload type number of an `m=audio` line stands for.
//!
//! Owns `rtpmap` and `fmtp` reading and the static assignments of RFC 3551 §6.

use crate::capabilities::CodecCapability;
use crate::description::{Attribute, MediaDescription};

/// The encoding name of DTMF events (RFC 4733).
pub(crate) const TELEPHONE_EVENT: &str = "telephone-event";
/// The events that are taken: 0-9, *, #, A-D and hook flash.
pub(crate) const TELEPHONE_EVENT_FMTP: &str = "0-16";

/// The encoding name of comfort noise (RFC 3389).
pub(crate) const COMFORT_NOISE: &str = "CN";

/// One payload type with its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayloadFormat {
    pub(crate) payload_type: u8,
    pub(crate) name: String,
    pub(crate) clock_rate: u32,
    pub(crate) channels: u8,
    pub(crate) fmtp: Option<String>,
}

impl PayloadFormat {
    /// Whether both stand for the same encoding; the number and the parameters may differ.
    pub(crate) fn same_encoding(&self, other: &PayloadFormat) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate == other.clock_rate
            && (self.channels == other.channels || self.is_opus())
    }

    /// Whether this is the encoding of `capability`.
    pub(crate) fn is(&self, capability: &CodecCapability) -> bool {
        self.name.eq_ignore_ascii_case(&capability.name)
            && self.clock_rate == capability.clock_rate
            && (self.channels == capability.channels || self.is_opus())
    }

    /// Whether this is Opus. Its `rtpmap` must name two channels whatever is sent (RFC 7587 §7), so a peer that names
    /// another number means the same.
    fn is_opus(&self) -> bool {
        self.name.eq_ignore_ascii_case("opus")
    }

    /// Whether this is telephone-event.
    pub(crate) fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case(TELEPHONE_EVENT)
    }

    /// Whether this is comfort noise.
    pub(crate) fn is_comfort_noise(&self) -> bool {
        self.name.eq_ignore_ascii_case(COMFORT_NOISE) && self.channels == 1
    }

    /// Whether comfort noise goes with this codec: Opus has its own.
    pub(crate) fn takes_comfort_noise(&self) -> bool {
        !self.is_opus() && !self.is_telephone_event() && !self.is_comfort_noise()
    }

    /// The `a=rtpmap` line, and the `a=fmtp` line when there are parameters.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute> {
        let PayloadFormat {
            payload_type,
            name,
            clock_rate,
            channels,
            fmtp,
        } = self;
        let rtpmap = if *channels > 1 {
            format!("{payload_type} {name}/{clock_rate}/{channels}")
        } else {
            format!("{payload_type} {name}/{clock_rate}")
        };
        let fmtp = fmtp
            .as_ref()
            .map(|fmtp| Attribute::with_value("fmtp", format!("{payload_type} {fmtp}")));
        std::iter::once(Attribute::with_value("rtpmap", rtpmap)).chain(fmtp)
    }
}

/// Returns the known payload formats of an RTP media description in the order of its `m=` line, each payload type
/// once. A number without a readable `rtpmap` gets its static meaning (RFC 3551 §6) or is left out.
pub(crate) fn payload_formats(media: &MediaDescription) -> Vec<PayloadFormat> {
    payload_formats_after(media, &[])
}

/// Like [`payload_formats`], and a number without any meaning of its own has the one it has in `earlier`: some
/// peers answer a dynamic number and leave out its `rtpmap`.
pub(crate) fn payload_formats_after(
    media: &MediaDescription,
    earlier: &[PayloadFormat],
) -> Vec<PayloadFormat> {
    let mut formats: Vec<PayloadFormat> = Vec::with_capacity(media.formats.len());
    for text in &media.formats {
        let Ok(payload_type) = text.parse::<u8>() else {
            continue;
        };
        let known = formats.iter().any(|format| format.payload_type == payload_type);
        if payload_type > 127 || known {
            continue;
        }
        let format = media
            .attributes_named("rtpmap")
            .find_map(|value| rtpmap(value, payload_type))
            .or_else(|| static_format(payload_type))
            .or_else(|| {
                earlier
                    .iter()
                    .find(|format| format.payload_type == payload_type)
                    .cloned()
            });
        if let Some(mut format) = format {
            format.fmtp = media
                .attributes_named("fmtp")
                .find_map(|value| fmtp(value, payload_type));
            formats.push(format);
        }
    }
    formats
}

/// Reads `<pt> <name>/<rate>[/<channels>]` when it is about `payload_type`.
fn rtpmap(value: &str, payload_type: u8) -> Option<PayloadFormat> {
    let encoding = about(value, payload_type)?;
    let mut parts = encoding.split('/').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let clock_rate = parts.next()?.parse::<u32>().ok().filter(|rate| *rate > 0)?;
    let channels = match parts.next() {
        // The parameter is only defined as a channel count; some peers leave it empty.
        None | Some("") => 1,
        Some(count) => count.parse::<u8>().ok().filter(|count| *count > 0)?,
    };
    Some(PayloadFormat {
        payload_type,
        name: name.to_owned(),
        clock_rate,
        channels,
        fmtp: None,
    })
}

/// Reads `<pt> <parameters>` when it is about `payload_type`.
fn fmtp(value: &str, payload_type: u8) -> Option<String> {
    about(value, payload_type)
        .filter(|parameters| !parameters.is_empty())
        .map(str::to_owned)
}

/// Returns what follows the payload type number when it is `payload_type`.
fn about(value: &str, payload_type: u8) -> Option<&str> {
    let value = value.trim_ascii();
    let (number, rest) = value.split_once([' ', '\t'])?;
    (number.parse::<u8>() == Ok(payload_type)).then(|| rest.trim_ascii())
}

/// The audio encodings with a fixed payload type (RFC 3551 §6, table 4).
fn static_format(payload_type: u8) -> Option<PayloadFormat> {
    let (name, clock_rate, channels) = match payload_type {
        0 => ("PCMU", 8000, 1),
        3 => ("GSM", 8000, 1),
        4 => ("G723", 8000, 1),
        5 => ("DVI4", 8000, 1),
        6 => ("DVI4", 16000, 1),
        7 => ("LPC", 8000, 1),
        8 => ("PCMA", 8000, 1),
        9 => ("G722", 8000, 1),
        10 => ("L16", 44100, 2),
        11 => ("L16", 44100, 1),
        12 => ("QCELP", 8000, 1),
        13 => ("CN", 8000, 1),
        14 => ("MPA", 90000, 1),
        15 => ("G728", 8000, 1),
        16 => ("DVI4", 11025, 1),
        17 => ("DVI4", 22050, 1),
        18 => ("G729", 8000, 1),
        _ => return None,
    };
    Some(PayloadFormat {
        payload_type,
        name: name.to_owned(),
        clock_rate,
        channels,
        fmtp: None,
    })
}
