//! A leg's SRTP: what it receives is let through and decrypted, what it sends is protected. Built outside the shard; what a re-INVITE
//! replaces goes back there to be freed. Never decides from where a leg is sent to.

use confab_srtp::{Protector, SrtpError, Unprotector};

use crate::config::SrtpMedia;
use crate::metrics::DropReason;

/// Octets of the longest datagram that is decrypted: as long as any that is received.
const ROOM: usize = crate::shard::workbench::MAX_DATAGRAM;

/// Packets under a new key after which none under the one before it is expected any more: two seconds of them.
const OVERLAP: u32 = 100;

/// The keys of a leg, at work.
pub(crate) struct Security {
    keys: SrtpMedia,
    pub(crate) protector: Box<Protector>,
    /// `None` only in what goes back to be freed.
    receiving: Option<Box<Unprotector>>,
    /// Of the key before this one: the peer changes when it gets our answer, and packets are on the way.
    earlier: Option<Box<Unprotector>>,
    /// Packets under the new key that `earlier` is kept in use for.
    overlap: u32,
    decrypted: Box<[u8]>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Rtp,
    Rtcp,
}

impl Security {
    /// Takes the keys in.
    pub(crate) fn new(keys: &SrtpMedia) -> Self {
        Security {
            protector: Box::new(Protector::new(&keys.send, None)),
            receiving: Some(Box::new(Unprotector::new(&keys.receive, keys.receive_mki))),
            earlier: None,
            overlap: 0,
            decrypted: vec![0; ROOM].into_boxed_slice(),
            keys: keys.clone(),
        }
    }

    /// Goes on with what was negotiated before: under the same key with its counters, under another one with the place of the streams.
    pub(crate) fn go_on_from(&mut self, before: &mut Security) {
        if self.keys.send == before.keys.send {
            std::mem::swap(&mut self.protector, &mut before.protector);
        }
        if (&self.keys.receive, self.keys.receive_mki) == (&before.keys.receive, before.keys.receive_mki) {
            std::mem::swap(&mut self.receiving, &mut before.receiving);
            std::mem::swap(&mut self.earlier, &mut before.earlier);
            self.overlap = before.overlap;
        } else if let (Some(now), Some(earlier)) = (&mut self.receiving, before.receiving.take()) {
            now.go_on_from(&earlier);
            self.earlier = Some(earlier);
            self.overlap = OVERLAP;
        }
    }

    /// Decrypts a received RTP packet.
    pub(crate) fn open_rtp(&mut self, packet: &[u8]) -> Result<&[u8], DropReason> {
        self.open(packet, Kind::Rtp)
    }

    /// Decrypts a received RTCP packet.
    pub(crate) fn open_rtcp(&mut self, packet: &[u8]) -> Result<&[u8], DropReason> {
        self.open(packet, Kind::Rtcp)
    }

    fn open(&mut self, packet: &[u8], kind: Kind) -> Result<&[u8], DropReason> {
        let place = self.decrypted.get_mut(..packet.len());
        let place = place.ok_or(DropReason::Oversized)?;
        let mut open = |by: &mut Option<Box<Unprotector>>| {
            let by = by.as_mut().ok_or(SrtpError::Authentication)?;
            place.copy_from_slice(packet);
            match kind {
                Kind::Rtp => by.unprotect_rtp(place),
                Kind::Rtcp => by.unprotect_rtcp(place),
            }
        };
        let mut opened = open(&mut self.receiving);
        match opened {
            Ok(_) => self.overlap = self.overlap.saturating_sub(1),
            Err(_) if self.overlap > 0 => opened = open(&mut self.earlier),
            Err(_) => {}
        }
        match opened {
            Ok(length) => Ok(&self.decrypted[..length]),
            Err(SrtpError::Replay) => Err(DropReason::Replayed),
            Err(SrtpError::Malformed) => Err(DropReason::Malformed),
            Err(_) => Err(DropReason::Unauthentic),
        }
    }
}
