//! A leg's sending half: which part of the current packet it shares with others, its own audio when it shares none, and
//! the numbering of what is sent. Knows nothing of sockets or of the mixer.

use confab_rtp::RtpSender;

use super::session::{MAX_PTIME_MS, Session};

/// Samples of the longest packet that we send, at 8 kHz.
const MAX_PACKET_SAMPLES: usize = 8 * MAX_PTIME_MS as usize;

/// A stream of audio that several listeners hear alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    /// The mix of everybody.
    Common,
    /// Silence for listeners who are deaf, or alone in talking.
    Silence,
}

/// Whose audio the current packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Waiting for the next packet to begin.
    Waiting,
    /// The whole packet so far is what a group of listeners hears.
    Shared(Shared),
    /// The leg's own.
    Own,
}

/// The sending half.
pub(crate) struct Output {
    pub(crate) sender: RtpSender,
    pub(crate) packing: Packing,
    /// Audio of the current packet, when it is the leg's own.
    own: Box<[i16]>,
    payload: Box<[u8]>,
    payload_len: usize,
    /// When the last block was due; the media time of what is sent follows it.
    pub(crate) last_block_ns: Option<u64>,
    pub(crate) packets_sent: u64,
    pub(crate) octets_sent: u64,
}

impl Output {
    pub(crate) fn new(sender: RtpSender) -> Self {
        Output {
            sender,
            packing: Packing::Waiting,
            own: vec![0; MAX_PACKET_SAMPLES].into_boxed_slice(),
            payload: vec![0; MAX_PACKET_SAMPLES * 2].into_boxed_slice(),
            payload_len: 0,
            last_block_ns: None,
            packets_sent: 0,
            octets_sent: 0,
        }
    }

    /// Returns the place of samples `from..to` of the leg's own packet.
    pub(crate) fn own_mut(&mut self, from: usize, to: usize) -> &mut [i16] {
        &mut self.own[from..to]
    }

    /// Encodes the leg's own packet of `samples`.
    pub(crate) fn encode_own(&mut self, session: &mut Session, samples: usize) {
        self.payload_len = session.encoder.encode(&self.own[..samples], &mut self.payload);
    }

    /// Returns the leg's own encoded packet.
    pub(crate) fn own_payload(&self) -> &[u8] {
        &self.payload[..self.payload_len]
    }

    /// Gives up the packet being filled, of which `units` had passed, and lets `further` units pass unsent.
    pub(crate) fn skip(&mut self, units: u32, further: u32) {
        let lost = if self.packing == Packing::Waiting {
            0
        } else {
            units
        };
        self.packing = Packing::Waiting;
        if lost + further > 0 {
            self.sender.skip(lost + further);
        }
    }

    /// Lets the time since the last block pass unsent: the leg joins after a pause.
    pub(crate) fn resume(&mut self, session: &Session, now_ns: u64) {
        if let Some(last_ns) = self.last_block_ns {
            let units = session.clock_rate().units(now_ns.saturating_sub(last_ns));
            self.skip(0, units as u32); // media time wraps at 32 bits (RFC 3550 §5.1)
        }
    }
}
