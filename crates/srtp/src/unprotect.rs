//! The receiving side: what authenticates under the key and is new is let through, decrypted. Owns what is known of each stream:
//! its rollover counter and which packets came. That comes into being with the first packet that authenticates, never before, so
//! that nobody without the key can make anything grow or go away.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::error::SrtpError;
use crate::header::{RTCP_CLEAR, rtcp_ssrc, rtp_header_len, rtp_ssrc, sequence_number};
use crate::key::{MasterKey, Mki};
use crate::replay::ReplayWindow;
use crate::rollover::estimate;
use crate::transform::{ENCRYPTED, Transform};

/// Streams that are remembered: who sends more of them under one key makes the oldest forgotten.
const STREAMS: usize = 4;
/// Octets of the longest packet whose beginning may have been missed.
const LONGEST_FIRST: usize = 2048;

/// Lets through what is received under one master key.
pub struct Unprotector {
    rtp: Transform,
    rtcp: Transform,
    mki: Option<Mki>,
    streams: Streams,
    reports: Streams,
    /// Where streams were under the key before this one.
    before: Streams,
}

impl Unprotector {
    /// Takes a key in, and the identifier that stands in each packet if the peer said so.
    #[must_use]
    pub fn new(key: &MasterKey, mki: Option<Mki>) -> Unprotector {
        Unprotector {
            rtp: Transform::for_rtp(key),
            rtcp: Transform::for_rtcp(key),
            mki,
            streams: Streams::default(),
            reports: Streams::default(),
            before: Streams::default(),
        }
    }

    /// Learns where streams were under the key of before. Peers differ in whether their rollover counter begins anew with a key.
    pub fn go_on_from(&mut self, before: &Unprotector) {
        self.before = before.streams;
    }

    /// Returns the SSRC whose packets are let through by what is known of it. `None` before the first one.
    #[must_use]
    pub fn knows(&self, ssrc: u32) -> bool {
        self.streams.get(ssrc).is_some()
    }

    /// Checks and decrypts an RTP packet in place, and returns how long it is without what protection added.
    ///
    /// # Errors
    /// [`SrtpError`] says why it is not to be used; its octets are worthless then.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let len = strip_mki(self.mki.as_ref(), &self.rtp, packet)?;
        let plain = len.checked_sub(self.rtp.tag_len()).ok_or(SrtpError::Malformed)?;
        let header = rtp_header_len(&packet[..plain]).ok_or(SrtpError::Malformed)?;
        let (ssrc, sequence_number) = (rtp_ssrc(packet), sequence_number(packet));
        let Some(window) = self.streams.get(ssrc) else {
            let index = self.open_first(packet, header, plain)?;
            self.streams.insert(ssrc, index);
            return Ok(plain);
        };
        let index = estimate(window.highest(), sequence_number);
        if !window.is_new(index) {
            return Err(SrtpError::Replay);
        }
        self.rtp.open_rtp(packet, header, plain, ssrc, index)?;
        self.streams.note(ssrc, index);
        Ok(plain)
    }

    /// Checks and decrypts an RTCP packet in place, and returns how long it is without what protection added.
    ///
    /// # Errors
    /// As [`unprotect_rtp`](Self::unprotect_rtp).
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let len = strip_mki(self.mki.as_ref(), &self.rtcp, packet)?;
        let at = self.rtcp.rtcp_index_at(len).ok_or(SrtpError::Malformed)?;
        let word = packet[at..].first_chunk().ok_or(SrtpError::Malformed)?;
        let word = u32::from_be_bytes(*word);
        let added = crate::transform::RTCP_INDEX_LEN + self.rtcp.tag_len();
        let plain = len.checked_sub(added).ok_or(SrtpError::Malformed)?;
        let ssrc = rtcp_ssrc(&packet[..plain]).ok_or(SrtpError::Malformed)?;
        let index = u64::from(word & !ENCRYPTED);
        if self.reports.get(ssrc).is_some_and(|window| !window.is_new(index)) {
            return Err(SrtpError::Replay);
        }
        self.rtcp.open_rtcp(packet, RTCP_CLEAR, plain, ssrc, word)?;
        self.reports.note(ssrc, index);
        Ok(plain)
    }

    /// Opens the first packet of a stream and returns its index: its rollover counter is 0, unless the stream was there under another key, or
    /// the packets before its first wrap were lost.
    fn open_first(&self, packet: &mut [u8], header: usize, plain: usize) -> Result<u64, SrtpError> {
        let (ssrc, sequence_number) = (rtp_ssrc(packet), sequence_number(packet));
        let begins = u64::from(sequence_number);
        let goes_on = self
            .before
            .get(ssrc)
            .map(|window| estimate(window.highest(), sequence_number));
        let wrapped = (sequence_number < 0x8000).then_some(begins + 0x1_0000);
        let mut guesses = [goes_on, wrapped];
        guesses.sort_by_key(|guess| guess.is_none());
        let mut copy = [0; LONGEST_FIRST];
        let copied = guesses[0].is_some() && packet.len() <= LONGEST_FIRST;
        if copied {
            copy[..packet.len()].copy_from_slice(packet);
        }
        let mut outcome = self.rtp.open_rtp(packet, header, plain, ssrc, begins);
        if outcome.is_ok() {
            return Ok(begins);
        }
        for guess in guesses.into_iter().flatten().filter(|_| copied) {
            packet.copy_from_slice(&copy[..packet.len()]);
            outcome = self.rtp.open_rtp(packet, header, plain, ssrc, guess);
            if outcome.is_ok() {
                return Ok(guess);
            }
        }
        Err(SrtpError::Authentication)
    }
}

impl fmt::Debug for Unprotector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unprotector")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// Takes the identifier out of a packet and returns how long it is without.
fn strip_mki(mki: Option<&Mki>, transform: &Transform, packet: &mut [u8]) -> Result<usize, SrtpError> {
    let Some(mki) = mki.map(Mki::as_bytes) else {
        return Ok(packet.len());
    };
    let len = packet.len().checked_sub(mki.len()).ok_or(SrtpError::Malformed)?;
    let at = if transform.has_separate_tag() {
        len.checked_sub(transform.tag_len()).ok_or(SrtpError::Malformed)?
    } else {
        len
    };
    if !bool::from(packet[at..at + mki.len()].ct_eq(mki)) {
        return Err(SrtpError::Authentication);
    }
    packet.copy_within(at + mki.len().., at);
    Ok(len)
}

/// Which packets of which streams came.
#[derive(Debug, Clone, Copy, Default)]
struct Streams {
    /// The one that began last comes first.
    streams: [Option<(u32, ReplayWindow)>; STREAMS],
}

impl Streams {
    fn get(&self, ssrc: u32) -> Option<&ReplayWindow> {
        let mut streams = self.streams.iter().flatten();
        streams.find(|(of, _)| *of == ssrc).map(|(_, window)| window)
    }

    fn insert(&mut self, ssrc: u32, index: u64) {
        self.streams.rotate_right(1);
        self.streams[0] = Some((ssrc, ReplayWindow::new(index)));
    }

    /// Notes an authentic packet.
    fn note(&mut self, ssrc: u32, index: u64) {
        let mut streams = self.streams.iter_mut().flatten();
        match streams.find(|(of, _)| *of == ssrc) {
            Some((_, window)) => window.note(index),
            None => self.insert(ssrc, index),
        }
    }
}
