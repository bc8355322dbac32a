//! One call's offers and answers over time (RFC 3264 §8).
//!
//! Owns what must stay or grow from one exchange to the next: the version in `o=`, the places of the media
//! descriptions, the meaning of payload types, the offer that waits for its answer. It does not know which SIP
//! message carries what.

use std::sync::Arc;

use crate::answer::answer_secured;
use crate::capabilities::Capabilities;
use crate::crypto::{LocalKeys, Security};
use crate::description::SessionDescription;
use crate::error::SdpError;
use crate::format::{PayloadFormat, payload_formats};
use crate::offer::{Earlier, accept_secured, describe};
use crate::stream::{AudioStream, LocalMedia, Negotiated, Origin};

/// The offer/answer state of one call.
///
/// Use [`answer`](Negotiation::answer) for an offer of the peer; [`offer`](Negotiation::offer) and then
/// [`accept_answer`](Negotiation::accept_answer) when the peer sent none (late offer) or for a re-INVITE of ours.
/// A failure leaves what was agreed before untouched (RFC 3261 §14.1).
#[derive(Debug, Clone)]
pub struct Negotiation {
    capabilities: Arc<Capabilities>,
    local: LocalMedia,
    session_id: u64,
    security: Option<Security>,
    sent: Option<SessionDescription>,
    open_offer: Option<SessionDescription>,
    earlier: Earlier,
    audio: Option<AudioStream>,
}

impl Negotiation {
    /// Starts with nothing agreed. `session_id` is a random number below 2^63.
    pub fn new(capabilities: Arc<Capabilities>, local: LocalMedia, session_id: u64) -> Self {
        Negotiation {
            capabilities,
            local,
            session_id,
            security: None,
            sent: None,
            open_offer: None,
            earlier: Earlier::default(),
            audio: None,
        }
    }

    /// Gives the call keys, so that its stream is secured as [`Capabilities::srtp`] says.
    #[must_use]
    pub fn with_keys(self, keys: LocalKeys) -> Self {
        let policy = self.capabilities.srtp;
        Negotiation {
            security: Some(Security { policy, keys }),
            ..self
        }
    }

    /// The stream agreed on last.
    pub fn audio(&self) -> Option<&AudioStream> {
        self.audio.as_ref()
    }

    /// Whether an offer of ours waits for its answer.
    pub fn has_open_offer(&self) -> bool {
        self.open_offer.is_some()
    }

    /// Uses other sockets or another address from the next description on.
    pub fn set_local(&mut self, local: LocalMedia) {
        self.local = local;
    }

    /// Answers an offer of the peer. The version in `o=` grows by one when the answer differs from the description
    /// sent before, and stays when it does not.
    ///
    /// # Errors
    /// See [`answer`](crate::answer()). What was agreed before stays.
    pub fn answer(&mut self, offer: &SessionDescription) -> Result<Negotiated, SdpError> {
        let mut negotiated = answer_secured(
            offer,
            &self.capabilities,
            self.local,
            self.origin(),
            self.security.as_ref(),
        )?;
        self.stamp(&mut negotiated.description);
        self.open_offer = None;
        self.agree(&negotiated, offer);
        Ok(negotiated)
    }

    /// Makes an offer and keeps it open. In a running session it has the media descriptions agreed before in their
    /// places, those other than audio disabled, and the same payload type numbers.
    pub fn offer(&mut self) -> SessionDescription {
        let mut description = describe(
            &self.capabilities,
            self.local,
            self.origin(),
            &self.earlier,
            self.security.as_ref(),
        );
        self.stamp(&mut description);
        self.open_offer = Some(description.clone());
        description
    }

    /// Takes the answer to the open offer.
    ///
    /// # Errors
    /// [`SdpError::NoOpenOffer`], or see [`accept_answer`](crate::accept_answer). The offer is closed either way.
    pub fn accept_answer(&mut self, answer: &SessionDescription) -> Result<Negotiated, SdpError> {
        let offer = self.open_offer.take().ok_or(SdpError::NoOpenOffer)?;
        let negotiated = accept_secured(&offer, answer, self.security.as_ref())?;
        self.agree(&negotiated, answer);
        Ok(negotiated)
    }

    /// Forgets the open offer: the peer refused the request that carried it.
    pub fn withdraw_offer(&mut self) {
        self.open_offer = None;
    }

    fn origin(&self) -> Origin {
        Origin {
            session_id: self.session_id,
            version: 1,
        }
    }

    /// Sets the version: that of the last description sent if nothing else differs, else one more.
    fn stamp(&mut self, description: &mut SessionDescription) {
        if let Some(sent) = &self.sent {
            description.origin.version = sent.origin.version;
            if description != sent {
                description.origin.version = sent.origin.version.saturating_add(1);
            }
        }
        self.sent = Some(description.clone());
    }

    /// Notes what both sides said.
    fn agree(&mut self, negotiated: &Negotiated, theirs: &SessionDescription) {
        let index = negotiated.audio.media_index;
        let codec = &negotiated.audio.codec;
        self.earlier.audio_index = index;
        self.earlier.codec = Some((codec.name.clone(), codec.clock_rate));
        self.earlier.media.clone_from(&negotiated.description.media);
        for description in [theirs, &negotiated.description] {
            for format in description
                .media
                .get(index)
                .map(payload_formats)
                .unwrap_or_default()
            {
                self.note(format);
            }
        }
        self.audio = Some(negotiated.audio.clone());
    }

    fn note(&mut self, format: PayloadFormat) {
        self.earlier
            .formats
            .retain(|known| known.payload_type != format.payload_type);
        self.earlier.formats.push(format);
    }
}
