//! What a listener is sent: a codec with its settings, and the encoder made from both. Owns no codec's arithmetic.

use crate::codec::CodecKind;
use crate::g711::Law;
use crate::g722::G722Encoder;
use crate::l16;
use crate::opus::{OpusEncoder, OpusSettings};

/// A codec with everything that decides how a signal is encoded: listeners of one signal whose codings are equal can share
/// one encoded payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coding {
    /// The codec.
    pub kind: CodecKind,
    /// Settings of Opus; the default for every other codec.
    pub opus: OpusSettings,
}

impl Coding {
    /// A codec with what the listener's description asked for. What makes no difference to the payload is set to its default,
    /// so that equal payloads have equal codings.
    #[must_use]
    pub fn new(kind: CodecKind, opus: OpusSettings) -> Self {
        let opus = match kind {
            CodecKind::Opus => opus.for_encoding(),
            _ => OpusSettings::default(),
        };
        Self { kind, opus }
    }

    /// The rate in Hz that holds all the listener can hear, and by all likelihood all it sends: what a mix should have for it.
    #[must_use]
    pub const fn bandwidth_rate_hz(self) -> u32 {
        match self.kind {
            CodecKind::Opus if self.opus.max_playback_rate_hz != 0 => self.opus.max_playback_rate_hz,
            kind => kind.sample_rate_hz(),
        }
    }

    /// Makes an encoder; this is the only allocation of its life.
    #[must_use]
    pub fn encoder(self) -> Encoder {
        let state = match self.kind {
            CodecKind::Pcmu => State::G711(Law::Mu),
            CodecKind::Pcma => State::G711(Law::A),
            CodecKind::G722 => State::G722(Box::new(G722Encoder::new())),
            CodecKind::L16 { channels, .. } => State::L16 { channels },
            CodecKind::Opus => State::Opus(OpusEncoder::new(self.opus)),
        };
        Encoder { coding: self, state }
    }
}

impl From<CodecKind> for Coding {
    /// The codec with its default settings.
    fn from(kind: CodecKind) -> Self {
        Self::new(kind, OpusSettings::default())
    }
}

/// One outgoing stream's encoder. No method allocates.
#[derive(Debug, Clone)]
pub struct Encoder {
    coding: Coding,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    G711(Law),
    G722(Box<G722Encoder>),
    L16 { channels: u8 },
    Opus(OpusEncoder),
}

impl Encoder {
    /// What the encoder was made for.
    #[must_use]
    pub const fn coding(&self) -> Coding {
        self.coding
    }

    /// Encodes one packet's samples, mono at [`CodecKind::sample_rate_hz`], into the front of `out`; returns the number of
    /// octets written.
    ///
    /// Opus takes 10 to 60 ms in steps of 10 ms, G.722 pairs of samples, the others any number. `out` must hold
    /// [`CodecKind::max_payload`] of `pcm.len()` octets; samples that do not fit are left out.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        match &mut self.state {
            State::G711(law) => law.encode(pcm, out),
            State::G722(encoder) => encoder.encode(pcm, out),
            State::L16 { channels } => l16::encode(pcm, *channels, out),
            State::Opus(encoder) => encoder.encode(pcm, out),
        }
    }

    /// Encodes as [`encode`](Self::encode) does, and leads the state towards that of another encoder of the same coding, which
    /// made `payload` of the same samples: until both [agree](Self::agrees_with).
    ///
    /// G.722 only (a shorter `payload` bounds what it encodes), at the cost of some noise near the quantiser's own: two encoders that once differed would go on differing
    /// for ever. Every other codec encodes as always.
    pub fn encode_towards(&mut self, pcm: &[i16], payload: &[u8], out: &mut [u8]) -> usize {
        match &mut self.state {
            State::G722(encoder) => encoder.encode_towards(pcm, payload, out),
            _ => self.encode(pcm, out),
        }
    }

    /// Takes over another encoder's state, so that its stream can be continued here and the far decoder hears no break.
    ///
    /// Returns false, having done nothing, when the codings differ.
    pub fn copy_state_from(&mut self, other: &Self) -> bool {
        if self.coding != other.coding {
            return false;
        }
        match (&mut self.state, &other.state) {
            (State::G722(mine), State::G722(theirs)) => mine.clone_from(theirs),
            (State::Opus(mine), State::Opus(theirs)) => mine.copy_state_from(theirs),
            _ => {}
        }
        true
    }

    /// Returns whether the far decoder may be led over from this encoder's stream to the other's, now that both have encoded
    /// the same for a while: for G.722 when their states are equal, to which [`encode_towards`](Self::encode_towards) leads them; for Opus, whose
    /// states never do but whose decoder forgets within a packet or two, at any time.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (&self.state, &other.state) {
            (State::G722(mine), State::G722(theirs)) => mine.agrees_with(theirs),
            _ => self.coding == other.coding,
        }
    }

    /// Told the highest rate in Hz that the encoded signal has content for, so that a narrowband mix is not coded as fullband;
    /// makes a difference to Opus only.
    pub fn set_mix_rate(&mut self, rate_hz: u32) {
        if let State::Opus(encoder) = &mut self.state {
            encoder.set_mix_rate(rate_hz);
        }
    }

    /// Told the share of packets, 0 to 100 %, that the network loses on the way to the listener: how much redundancy Opus adds
    /// when its settings have in-band FEC.
    pub fn set_loss(&mut self, percent: u8) {
        if let State::Opus(encoder) = &mut self.state {
            encoder.set_loss(percent);
        }
    }
}
