//! Session descriptions and offer/answer for audio calls.
//!
//! # What it is for
//! A SIP call agrees on its media by exchanging two session descriptions: an offer and an answer. This crate reads
//! the peer's, writes ours, and says what follows for the media plane: where to send, which codec and payload
//! types, in which direction, with which packet time.
//!
//! It is lenient in and strict out: [`SessionDescription::parse`] takes what phones, softphones, trunks and
//! browsers really send; the text form of a [`SessionDescription`] is what RFC 8866 says.
//!
//! # What it deliberately does not do
//! It opens no socket, knows no SIP message, resolves no host name and keeps no clock. It serves one audio stream
//! per call over RTP/AVP and, where the call has keys, RTP/SAVP (RTP/AVPF and RTP/SAVPF as well); video, fax, data and further
//! audio streams are refused in their place with port 0. It does not decide whether an address may be sent to: that is the media plane's
//! source and destination policy.
//!
//! # Main types
//! - [`SessionDescription`]: the description as a value.
//! - [`Capabilities`]: what this side can do; codecs are data.
//! - [`answer()`], [`offer()`], [`accept_answer`]: the pure functions of one exchange.
//! - [`Negotiation`]: the exchanges of one call in sequence, with the version of `o=` and stable payload types.
//! - [`Negotiated`], [`AudioStream`]: the result.
//! - [`SdpError`]: why not, with SIP status and `Warning` value.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use confab_sdp::{Capabilities, Direction, LocalMedia, Negotiation, SessionDescription};
//!
//! let offer = SessionDescription::parse(
//!     b"v=0\r\no=- 7 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
//!       m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
//! )?;
//! let local = LocalMedia { address: "192.0.2.1".parse().unwrap(), port: 16384, rtcp_port: 16385 };
//! let mut negotiation = Negotiation::new(Arc::new(Capabilities::default()), local, 4711);
//! let agreed = negotiation.answer(&offer)?;
//! assert_eq!(agreed.audio.codec.name, "PCMA");
//! assert_eq!(agreed.audio.remote, "192.0.2.9:40000".parse().unwrap());
//! assert_eq!(agreed.audio.direction, Direction::SendRecv);
//! assert!(agreed.description.to_string().contains("m=audio 16384 RTP/AVP 8 101\r\n"));
//! # Ok::<(), confab_sdp::SdpError>(())
//! ```
//!
//! # Specifications
//! RFC 8866 (SDP), RFC 3264 (offer/answer), RFC 3551 (audio profile, static payload types), RFC 4568 (keys of SRTP), RFC 4585 §4 (AVPF
//! profile name), RFC 4733 (telephone-event), RFC 3605 (`a=rtcp`), RFC 3611 §5 (`a=rtcp-xr`), RFC 5761
//! (rtcp-mux), RFC 8643 (keys beside RTP/AVP), RFC 6157 §5 (hold without `0.0.0.0`), RFC 3261 §20.43 (warnings).

mod answer;
mod capabilities;
mod crypto;
mod description;
mod direction;
mod error;
mod extended;
mod format;
mod fuzz;
mod negotiation;
mod offer;
mod parse;
mod stream;
mod transport;

pub use answer::answer;
pub use capabilities::{Capabilities, CodecCapability, CodecPreference, MIN_PTIME_MS};
pub use crypto::{LocalKeys, SrtpKeys, SrtpPolicy};
pub use description::{
    Attribute, Bandwidth, Connection, MediaDescription, OriginLine, SessionDescription, Timing,
};
pub use direction::Direction;
pub use error::SdpError;
pub use fuzz::fuzz_sdp;
pub use negotiation::Negotiation;
pub use offer::{accept_answer, offer};
pub use parse::{MAX_BYTES, MAX_FORMATS, MAX_LINES, MAX_MEDIA};
pub use stream::{
    AudioStream, CodecChoice, ComfortNoise, ExtendedReports, LocalMedia, Negotiated, Origin, TelephoneEvent,
};
