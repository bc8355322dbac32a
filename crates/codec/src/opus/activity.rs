//! What a packet says of itself about speech, read without decoding it. Owns the place of the flags; what a caller makes of
//! them is his.
//!
//! Each frame that has a SILK layer begins with one voice activity flag for each SILK frame of up to 20 ms, then a flag of
//! redundancy, for the middle channel and then for the side channel (RFC 6716 §4.2.3). They are the first symbols that the
//! range coder (§4.1) makes, each with even odds, so each is one bit, the highest first, all within the frame's first octet.

use super::raw;

/// Whether nobody speaks in a packet, as its encoder saw it: no frame of it has a voice activity flag. Frames of no or one
/// octet hold no sound (RFC 6716 §4.1, DTX). False for CELT, which has no such flags, and for what is no packet.
pub(super) fn is_inactive(packet: &[u8]) -> bool {
    let Some(flags) = packet.first().and_then(|&toc| activity_flags(toc)) else {
        return false;
    };
    let mut inactive = true;
    let parsed = raw::each_frame(packet, |frame| {
        inactive &= frame.len() <= 1 || frame[0] & flags == 0;
    });
    parsed.is_ok() && inactive
}

/// Where the voice activity flags lie in the first octet of each frame of a packet with this first octet; `None` when it has
/// none.
fn activity_flags(toc: u8) -> Option<u8> {
    let silk_frames = match toc >> 3 {
        // SILK alone: 10, 20, 40 and 60 ms in turn (RFC 6716 §3.1, table 2).
        configuration @ 0..=11 => [1, 1, 2, 3][usize::from(configuration % 4)],
        // Hybrid: 10 or 20 ms.
        12..=15 => 1,
        _ => return None,
    };
    let middle = 0xff << (8 - silk_frames);
    let is_stereo = toc & 0x04 != 0;
    let side = if is_stereo { middle >> (silk_frames + 1) } else { 0 };
    Some(middle | side)
}

#[cfg(test)]
mod tests;
