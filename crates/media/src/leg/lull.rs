//! Which packets of a leg that nobody hears are worth decoding, where the sender itself says that nobody speaks in them: now and
//! then one, to know how loud its background is. Believes the sender as long as that is found true. Decodes nothing by itself,
//! keeps no packets.

/// Packets in a row that are decoded, and found quiet, before any is left out.
const PROVED: u8 = 5;

/// Milliseconds of audio left out before a packet is listened to again. With packets of 20 ms it is every fifth.
const UNHEARD_MS: u32 = 80;

/// For how many milliseconds of its packets a sender is not believed whose background was quiet, and then loud without a flag.
const DISBELIEF_MS: u32 = 60_000;

/// The background counts as quiet up to this part of what is heard: between two packets that are listened to it may swell by
/// the rest, 2.5 dB.
const QUIET_QUARTERS: u32 = 3;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is decoded after all that was left out before it.
    Decode,
    /// It is decoded by itself, to know its score.
    Probe,
    /// It is left out, and taken to have this score.
    LeaveOut { score: u16 },
}

/// What is known of a sender's background.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lull {
    /// Quiet packets in a row that were decoded, up to [`PROVED`].
    proved: u8,
    /// Score of the last of them.
    score: u16,
    /// Milliseconds left out since.
    left_out_ms: u32,
    /// Milliseconds for which the sender is still not believed.
    disbelief_ms: u32,
}

impl Lull {
    /// Forgets how loud the background was; a sender who was not believed is not believed any sooner.
    pub(super) fn end(&mut self) {
        (self.proved, self.left_out_ms) = (0, 0);
    }

    /// Returns whether packets were left out since the last one that was decoded.
    #[cfg(test)]
    pub(super) fn has_left_out(&self) -> bool {
        self.left_out_ms > 0
    }

    /// Decides about a packet in which nobody speaks, of a leg of which scores up to `unheard` are not heard.
    pub(super) fn consider(&mut self, packet_ms: u32, unheard: u16) -> Use {
        if self.disbelief_ms > 0 {
            self.disbelief_ms = self.disbelief_ms.saturating_sub(packet_ms);
            return Use::Decode;
        }
        if self.proved < PROVED || !is_quiet(self.score, unheard) {
            return Use::Decode;
        }
        let left_out_ms = self.left_out_ms.saturating_add(packet_ms);
        if left_out_ms > UNHEARD_MS && self.left_out_ms > 0 {
            return Use::Probe;
        }
        self.left_out_ms = left_out_ms;
        Use::LeaveOut { score: self.score }
    }

    /// Notes the score of such a packet that was decoded.
    pub(super) fn decoded(&mut self, score: u16, unheard: u16) {
        (self.score, self.left_out_ms) = (score, 0);
        if score > unheard && self.proved == PROVED {
            self.disbelief_ms = DISBELIEF_MS;
        }
        self.proved = if is_quiet(score, unheard) {
            (self.proved + 1).min(PROVED)
        } else {
            0
        };
    }
}

fn is_quiet(score: u16, unheard: u16) -> bool {
    4 * u32::from(score) <= QUIET_QUARTERS * u32::from(unheard)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of so many packets of a background of this score; `true` where one is decoded.
    fn decoded(lull: &mut Lull, packets: usize, packet_ms: u32, score: u16, unheard: u16) -> Vec<bool> {
        let mut one = || match lull.consider(packet_ms, unheard) {
            Use::LeaveOut { score: believed } => {
                assert_eq!(believed, score);
                false
            }
            Use::Decode | Use::Probe => {
                lull.decoded(score, unheard);
                true
            }
        };
        (0..packets).map(|_| one()).collect()
    }

    fn is_decoded(packets: &[bool]) -> bool {
        packets.iter().all(|&decoded| decoded)
    }

    #[test]
    fn a_quiet_background_is_proved_and_then_probed() {
        for (packet_ms, left_out) in [(10, 8), (20, 4), (40, 2), (60, 1), (120, 1)] {
            let mut lull = Lull::default();
            assert!(is_decoded(&decoded(&mut lull, 5, packet_ms, 15, 20)));
            for (n, decoded) in decoded(&mut lull, 60, packet_ms, 15, 20).into_iter().enumerate() {
                assert_eq!(decoded, n % (left_out + 1) == left_out, "{packet_ms} ms: {n}");
            }
        }
    }

    #[test]
    fn a_background_near_the_level_is_decoded() {
        let mut lull = Lull::default();
        assert!(is_decoded(&decoded(&mut lull, 100, 20, 16, 20)));
        decoded(&mut lull, 10, 20, 15, 20);
        assert!(is_decoded(&decoded(&mut lull, 5, 20, 15, 19)), "the level fell");
    }

    #[test]
    fn who_was_heard_without_a_flag_is_not_believed_for_a_minute() {
        let mut lull = Lull::default();
        decoded(&mut lull, 9, 20, 3, 20);
        assert_eq!(lull.consider(20, 20), Use::Probe);
        lull.decoded(21, 20);
        // Nothing was proved any more: this contradicts nothing.
        lull.decoded(21, 20);
        lull.end();
        assert!(is_decoded(&decoded(&mut lull, 3000, 20, 3, 20)));
        assert!(!is_decoded(&decoded(&mut lull, 1, 20, 3, 20)));
    }

    #[test]
    fn what_was_proved_is_forgotten_at_its_end() {
        let mut lull = Lull::default();
        decoded(&mut lull, 7, 20, 3, 20);
        lull.end();
        assert!(is_decoded(&decoded(&mut lull, 5, 20, 3, 20)));
        assert!(!is_decoded(&decoded(&mut lull, 1, 20, 3, 20)));
    }
}
