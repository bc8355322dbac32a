//! Making an offer, and reading what comes back (RFC 3264 §5 and §7).

use crate::answer::{AudioLine, names};
use crate::capabilities::Capabilities;
use crate::crypto::{self, Security};
use crate::description::{Connection, MediaDescription, OriginLine, SessionDescription};
use crate::direction::Direction;
use crate::error::SdpError;
use crate::extended::NamedReports;
use crate::format::{
    COMFORT_NOISE, PayloadFormat, TELEPHONE_EVENT, TELEPHONE_EVENT_FMTP, payload_formats,
    payload_formats_after,
};
use crate::stream::{AudioStream, CodecChoice, ComfortNoise, LocalMedia, Negotiated, Origin, TelephoneEvent};
use crate::transport;

/// Offers every codec of ours for one `sendrecv` audio stream at `local`. For an offer within a running session
/// use [`Negotiation::offer`](crate::Negotiation::offer), which keeps what was agreed before in its place.
pub fn offer(capabilities: &Capabilities, local: LocalMedia, origin: Origin) -> SessionDescription {
    describe(capabilities, local, origin, &Earlier::default(), None)
}

/// What an offer within a session must keep (RFC 3264 §8).
#[derive(Debug, Default, Clone)]
pub(crate) struct Earlier {
    /// Our last agreed media descriptions; their number may not shrink.
    pub(crate) media: Vec<MediaDescription>,
    /// Which of them is the audio stream.
    pub(crate) audio_index: usize,
    /// The codec in use, as `name` and clock rate; it is offered first.
    pub(crate) codec: Option<(String, u32)>,
    /// Payload types that already have a meaning in this session; none may get another (§8.3.2).
    pub(crate) formats: Vec<PayloadFormat>,
}

/// Builds an offer that respects `earlier`.
pub(crate) fn describe(
    capabilities: &Capabilities,
    local: LocalMedia,
    origin: Origin,
    earlier: &Earlier,
    security: Option<&Security>,
) -> SessionDescription {
    let formats = numbered_formats(capabilities, earlier);
    let before = earlier.media.get(earlier.audio_index);
    let (protocol, crypto) = crypto::offer(security, before);
    let line = AudioLine {
        protocol,
        formats: &formats,
        direction: Direction::SendRecv,
        ptime_ms: capabilities.ptime_ms,
        max_ptime_ms: capabilities.max_ptime_ms,
        rtcp_mux: capabilities.rtcp_mux,
        reports: NamedReports::offered(capabilities.extended_reports),
        crypto: &crypto,
    };
    let mut media: Vec<MediaDescription> = earlier.media.iter().map(MediaDescription::refused).collect();
    match media.get_mut(earlier.audio_index) {
        Some(audio) => *audio = line.at(local),
        None => media.push(line.at(local)),
    }
    SessionDescription {
        origin: OriginLine::new(origin.session_id, origin.version, local.address),
        session_name: "-".to_owned(),
        connection: Some(Connection::new(local.address)),
        bandwidths: Vec::new(),
        timings: Vec::new(),
        attributes: Vec::new(),
        media,
    }
}

/// Clock rates at which DTMF events are offered: others exist, but no peer has them.
const EVENT_CLOCK_RATES: [u32; 3] = [8000, 16_000, 48_000];

/// Our formats with their payload types: codecs, the one in use first, then one telephone-event per clock rate.
fn numbered_formats(capabilities: &Capabilities, earlier: &Earlier) -> Vec<PayloadFormat> {
    let mut numbering = Numbering {
        taken: earlier.formats.clone(),
    };
    let mut codecs: Vec<_> = capabilities.codecs.iter().collect();
    if let Some((name, clock_rate)) = &earlier.codec {
        codecs.sort_by_key(|codec| codec.name != *name || codec.clock_rate != *clock_rate);
    }
    let mut formats = Vec::with_capacity(codecs.len() + 1);
    let mut clock_rates = Vec::new();
    let mut noise_rates = Vec::new();
    for codec in codecs {
        let format = PayloadFormat {
            payload_type: 0,
            name: codec.name.clone(),
            clock_rate: codec.clock_rate,
            channels: codec.channels,
            fmtp: codec.fmtp.clone(),
        };
        if format.takes_comfort_noise() && !noise_rates.contains(&codec.clock_rate) {
            noise_rates.push(codec.clock_rate);
        }
        formats.extend(numbering.assign(format, codec.static_pt));
        if EVENT_CLOCK_RATES.contains(&codec.clock_rate) && !clock_rates.contains(&codec.clock_rate) {
            clock_rates.push(codec.clock_rate);
        }
    }
    for clock_rate in clock_rates.into_iter().filter(|_| capabilities.telephone_event) {
        let format = PayloadFormat {
            payload_type: 0,
            name: TELEPHONE_EVENT.to_owned(),
            clock_rate,
            channels: 1,
            fmtp: Some(TELEPHONE_EVENT_FMTP.to_owned()),
        };
        // 101 is no assignment, only what nearly everybody uses at 8000 Hz.
        formats.extend(numbering.assign(format, (clock_rate == 8000).then_some(101)));
    }
    for clock_rate in noise_rates.into_iter().filter(|_| capabilities.comfort_noise) {
        let format = PayloadFormat {
            payload_type: 0,
            name: COMFORT_NOISE.to_owned(),
            clock_rate,
            channels: 1,
            fmtp: None,
        };
        // 13 is the number at 8000 Hz (RFC 3551 §6); other rates have none of their own.
        formats.extend(numbering.assign(format, (clock_rate == 8000).then_some(13)));
    }
    formats
}

/// Hands out payload types.
struct Numbering {
    taken: Vec<PayloadFormat>,
}

impl Numbering {
    /// Numbers `format`: as it was before in this session, else `preferred`, else the first free dynamic number
    /// (RFC 3551 §6). `None` when no number is left.
    fn assign(&mut self, format: PayloadFormat, preferred: Option<u8>) -> Option<PayloadFormat> {
        let before = self.taken.iter().find(|taken| taken.same_encoding(&format));
        let payload_type = match before {
            Some(before) => before.payload_type,
            None => preferred
                .into_iter()
                .chain(96..=127)
                .find(|number| self.is_free(*number))?,
        };
        let format = PayloadFormat {
            payload_type,
            ..format
        };
        self.taken.push(format.clone());
        Some(format)
    }

    fn is_free(&self, payload_type: u8) -> bool {
        self.taken.iter().all(|taken| taken.payload_type != payload_type)
    }
}

/// Reads the answer to `our_offer`.
///
/// Sends with the payload types of the answer and receives by those of the offer (RFC 3264 §7). The first codec of
/// the answer is the one to send; others it names stand in [`AudioStream::alternatives`].
///
/// # Errors
/// [`SdpError::Refused`] when the answer disables the audio stream or has none in its place, otherwise why what it
/// says cannot be used.
pub fn accept_answer(
    our_offer: &SessionDescription,
    answer: &SessionDescription,
) -> Result<Negotiated, SdpError> {
    accept_secured(our_offer, answer, None)
}

/// Reads the answer to `our_offer` as [`accept_answer`] does, which had keys of `security`.
pub(crate) fn accept_secured(
    our_offer: &SessionDescription,
    answer: &SessionDescription,
    security: Option<&Security>,
) -> Result<Negotiated, SdpError> {
    let offered = our_offer
        .media
        .iter()
        .enumerate()
        .find(|(_, media)| media.is_audio() && media.port != 0);
    let (media_index, ours) = offered.ok_or(SdpError::NoAudio)?;
    let theirs = answer
        .media
        .get(media_index)
        .filter(|media| media.is_audio() && media.port != 0)
        .ok_or(SdpError::Refused)?;
    let srtp = crypto::accept(ours, theirs, security)?;
    let local = our_offer
        .connection_of(ours)
        .and_then(Connection::ip)
        .ok_or(SdpError::NoConnection)?;
    let remote = transport::remote(answer, theirs, local)?;
    let our_formats = payload_formats(ours);
    let their_formats = payload_formats_after(theirs, &our_formats);
    let mut codecs = agreed_codecs(&our_formats, &their_formats).into_iter();
    let codec = codecs.next().ok_or_else(|| SdpError::NoCommonCodec {
        offered: names(theirs, &their_formats),
    })?;
    let telephone_event = agreed_telephone_event(&our_formats, &their_formats, codec.clock_rate);
    let comfort_noise = agreed_comfort_noise(&our_formats, &their_formats, &codec);
    let rtcp_mux = ours.attribute("rtcp-mux").is_some() && theirs.attribute("rtcp-mux").is_some();
    let reports = NamedReports::read(our_offer, ours).agreed(NamedReports::read(answer, theirs));
    let direction = answer
        .direction_of(theirs)
        .reversed()
        .and(our_offer.direction_of(ours))
        .and(Direction::new(!remote.on_hold, true));
    let our_ms = |name| transport::asked_ms(our_offer, ours, name);
    let default_ms = our_ms("ptime").unwrap_or(20);
    let ptime_ms = transport::ptime_ms(answer, theirs, default_ms, our_ms("maxptime").unwrap_or(60));
    let audio = AudioStream {
        media_index,
        remote: remote.rtp,
        remote_rtcp: if rtcp_mux { remote.rtp } else { remote.rtcp },
        rtcp_mux,
        srtp,
        extended_reports: reports,
        direction,
        codec,
        alternatives: codecs.collect(),
        telephone_event,
        comfort_noise,
        ptime_ms,
        hold: !direction.sends(),
    };
    Ok(Negotiated {
        description: our_offer.clone(),
        audio,
    })
}

/// Pairs the codecs of the answer with those of the offer, in the order of the answer.
fn agreed_codecs(ours: &[PayloadFormat], theirs: &[PayloadFormat]) -> Vec<CodecChoice> {
    let mut choices: Vec<CodecChoice> = Vec::new();
    let codecs = |format: &&PayloadFormat| !format.is_telephone_event() && !format.is_comfort_noise();
    for their in theirs.iter().filter(codecs) {
        let Some(our) = ours.iter().find(|our| our.same_encoding(their)) else {
            continue;
        };
        if choices
            .iter()
            .any(|choice| choice.recv_pts.contains(&our.payload_type))
        {
            continue;
        }
        let mut recv_pts = vec![our.payload_type];
        if ours.iter().all(|our| our.payload_type != their.payload_type) {
            recv_pts.push(their.payload_type);
        }
        choices.push(CodecChoice {
            name: our.name.clone(),
            clock_rate: our.clock_rate,
            channels: our.channels,
            send_pt: their.payload_type,
            recv_pts,
            fmtp: their.fmtp.clone(),
        });
    }
    choices
}

/// Pairs the comfort noise of the answer with ours, at the codec's clock rate.
fn agreed_comfort_noise(
    ours: &[PayloadFormat],
    theirs: &[PayloadFormat],
    codec: &CodecChoice,
) -> Option<ComfortNoise> {
    let at = |format: &&PayloadFormat| format.is_comfort_noise() && format.clock_rate == codec.clock_rate;
    let (our, their) = (ours.iter().find(at)?, theirs.iter().find(at)?);
    let goes_with_codec = ours
        .iter()
        .any(|format| format.name == codec.name && format.takes_comfort_noise());
    goes_with_codec.then_some(ComfortNoise {
        send_pt: their.payload_type,
        recv_pt: our.payload_type,
    })
}

/// Pairs the telephone-event format of the answer with ours: at the codec's clock rate, else at 8000 Hz.
fn agreed_telephone_event(
    ours: &[PayloadFormat],
    theirs: &[PayloadFormat],
    codec_clock_rate: u32,
) -> Option<TelephoneEvent> {
    [codec_clock_rate, 8000].into_iter().find_map(|clock_rate| {
        let at = |format: &&PayloadFormat| format.is_telephone_event() && format.clock_rate == clock_rate;
        let (our, their) = (ours.iter().find(at)?, theirs.iter().find(at)?);
        Some(TelephoneEvent {
            send_pt: their.payload_type,
            recv_pt: our.payload_type,
            clock_rate,
        })
    })
}
