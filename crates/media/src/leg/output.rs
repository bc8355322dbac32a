//! A leg's sending half: which part of the current packet it shares with others, whose encoder its peer's decoder
//! follows, and the numbering of what is sent. Knows nothing of sockets or of the mixer.

use confab_rtp::RtpSender;
use confab_rtp::telephone_event::EventSlot;

use super::dialling::Dialler;
use super::session::Session;

/// How long a leg's own encoder and the group's must have encoded the same before the leg goes over to the group's, for
/// codecs with a memory: by then they agree (architecture: own → group).
const AGREE_MS: u32 = 300;

/// Packets up to this score are quiet enough to go over at: about −66 dBFS.
const QUIET_SCORE: u16 = 8;

/// So are those that are quieter than the loudest by this factor, 30 dB: what the decoder then makes of the change stays
/// 40 dB below the speech (measured with Opus, whose decoders forget fastest in silence).
const QUIET_FACTOR: u32 = 32;

/// Comfort noise is described again after this time: often enough for whoever missed it, and to keep a way through a NAT open.
const DESCRIBED_MS: u32 = 1000;

/// And when its level changed by this many dB.
const LEVEL_STEP: u8 = 3;

/// A stream of audio that several listeners hear alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    /// The mix of everybody.
    Common,
    /// The same, encoded for a network that loses packets: with in-band FEC.
    Protected,
    /// Silence for listeners who are deaf, or alone in talking.
    Silence,
    /// What plays to those who wait.
    Waiting,
}

impl Shared {
    /// All of them, in their order.
    pub(crate) const ALL: [Shared; 4] = [
        Shared::Common,
        Shared::Protected,
        Shared::Silence,
        Shared::Waiting,
    ];
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

/// Which encoder the peer's decoder follows. It matters for codecs with a memory only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Following {
    /// None yet: any will do.
    Nobody,
    /// That of a group's signal.
    Group(Shared),
    /// The leg's own, which for `agreed_ms` has encoded what `signal` is, whose loudest packet had the score `loudest`.
    Own {
        signal: Option<Shared>,
        agreed_ms: u32,
        loudest: u16,
    },
}

/// What a packet in which nobody is heard is replaced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// It is sent as ever.
    Audio,
    /// A description of the noise (RFC 3389), its level in −dBov.
    Noise(u8),
    /// Nothing: the description before holds.
    Nothing,
}

/// Silence that is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pause {
    /// Milliseconds in which nobody was heard.
    quiet_ms: u32,
    /// The level described last, and how long ago in milliseconds.
    described: Option<(u8, u32)>,
    /// What becomes of the packet being completed.
    pub(crate) packet: Option<Quiet>,
}

impl Pause {
    /// Takes a packet in which nobody is heard; `level` is that of the noise in it. The first is sent: the end of what was heard
    /// may be in it.
    pub(crate) fn quiet(&mut self, ptime_ms: u16, level: u8) -> Quiet {
        let ptime_ms = u32::from(ptime_ms);
        let first = self.quiet_ms == 0;
        self.quiet_ms = self.quiet_ms.saturating_add(ptime_ms);
        if first {
            return Quiet::Audio;
        }
        match &mut self.described {
            Some((described, ago_ms))
                if *ago_ms + ptime_ms < DESCRIBED_MS && described.abs_diff(level) < LEVEL_STEP =>
            {
                *ago_ms += ptime_ms;
                Quiet::Nothing
            }
            described => {
                *described = Some((level, 0));
                Quiet::Noise(level)
            }
        }
    }

    /// Somebody is heard again.
    pub(crate) fn end(&mut self) {
        *self = Pause::default();
    }
}

/// The sending half.
pub(crate) struct Output {
    pub(crate) sender: RtpSender,
    pub(crate) packing: Packing,
    pub(crate) following: Following,
    /// The last tick in which the leg heard its own mix.
    pub(crate) own_tick: u64,
    /// What the leg heard in the last tick, unless that was its own mix.
    pub(crate) heard: Option<Shared>,
    pub(crate) payload_len: usize,
    /// Digits to send.
    pub(crate) dialler: Box<Dialler>,
    /// The peer reports loss: what it is sent should carry repair data, from the next packet on.
    pub(crate) wants_protection: bool,
    /// The current packet does, where its coding can.
    pub(crate) protected: bool,
    /// Comfort noise in place of silence.
    pub(crate) pause: Pause,
    /// The dialler has something to do in the packets to come.
    pub(crate) dials: bool,
    /// When the last block was due; the media time of what is sent follows it.
    pub(crate) last_block_ns: Option<u64>,
    pub(crate) packets_sent: u64,
    pub(crate) octets_sent: u64,
}

impl Output {
    pub(crate) fn new(sender: RtpSender, dialler: Box<Dialler>) -> Self {
        Output {
            sender,
            packing: Packing::Waiting,
            following: Following::Nobody,
            own_tick: 0,
            heard: None,
            payload_len: 0,
            wants_protection: false,
            protected: false,
            pause: Pause::default(),
            dialler,
            dials: false,
            last_block_ns: None,
            packets_sent: 0,
            octets_sent: 0,
        }
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
        self.following = Following::Nobody;
    }

    /// Takes the telephone-events that go out with the completed packet.
    pub(crate) fn dialler_slot(&mut self) -> Option<EventSlot> {
        if !self.dials {
            return None;
        }
        let slot = self.dialler.slot.take();
        self.dials = !self.dialler.is_idle();
        slot
    }

    /// Forgets digits that cannot be sent: the leg sends nothing.
    pub(crate) fn stop_dialling(&mut self) {
        if std::mem::take(&mut self.dials) {
            self.dialler.forget();
        }
    }
}

impl Following {
    /// Goes on from the far decoder's state with the leg's own encoder, which has encoded nothing since.
    pub(crate) const OWN: Following = Following::Own {
        signal: None,
        agreed_ms: 0,
        loudest: 0,
    };

    /// Notes a packet of the leg's own encoder that carried `signal`, or something else, at this score.
    pub(crate) fn sent_own(self, signal: Option<Shared>, ptime_ms: u16, score: u16) -> Following {
        let (agreed_ms, loudest) = match self {
            Following::Own {
                signal: before,
                agreed_ms,
                loudest,
            } if before == signal && signal.is_some() => (agreed_ms, loudest),
            _ => (0, 0),
        };
        Following::Own {
            signal,
            agreed_ms: match signal {
                Some(_) => agreed_ms.saturating_add(u32::from(ptime_ms)),
                None => 0,
            },
            loudest: loudest.max(score),
        }
    }

    /// Returns whether the leg may go over to the group's encoder of `signal`, which has run for `running_ms`, with a packet
    /// of this score.
    pub(crate) fn may_join(self, signal: Shared, running_ms: u32, score: u16) -> bool {
        let Following::Own {
            signal: Some(before),
            agreed_ms,
            loudest,
        } = self
        else {
            return false;
        };
        before == signal
            && agreed_ms.min(running_ms) >= AGREE_MS
            && (score <= QUIET_SCORE || u32::from(score) * QUIET_FACTOR <= u32::from(loudest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_joins_a_group_once_both_encoders_agree_and_the_packet_is_quiet() {
        let own = |signal, agreed_ms| Following::Own {
            signal,
            agreed_ms,
            loudest: 3200,
        };
        let common = Shared::Common;
        let rows = [
            (Following::Nobody, 1000, 0, false),
            (own(None, 0), 1000, 0, false),
            (own(Some(Shared::Silence), 1000), 1000, 0, false),
            (own(Some(common), 280), 1000, 0, false),
            (own(Some(common), 1000), 280, 0, false),
            (own(Some(common), 300), 300, 0, true),
            (own(Some(common), 300), 300, 100, true),
            (own(Some(common), 9000), 9000, 101, false),
        ];
        for (following, running_ms, score, joins) in rows {
            assert_eq!(
                following.may_join(common, running_ms, score),
                joins,
                "{following:?} {running_ms} ms, score {score}"
            );
        }
    }

    #[test]
    fn silence_is_described_at_its_beginning_at_changes_and_once_a_second() {
        let mut pause = Pause::default();
        let mut packets: Vec<_> = (0..53).map(|_| pause.quiet(20, 127)).collect();
        assert_eq!(packets[0], Quiet::Audio);
        assert_eq!(packets[1], Quiet::Noise(127));
        assert!(packets[2..51].iter().all(|&packet| packet == Quiet::Nothing));
        assert_eq!(packets.split_off(51), [Quiet::Noise(127), Quiet::Nothing]);
        assert_eq!(pause.quiet(20, 125), Quiet::Nothing);
        assert_eq!(pause.quiet(20, 60), Quiet::Noise(60));
        pause.end();
        assert_eq!(
            [pause.quiet(20, 60), pause.quiet(20, 60)],
            [Quiet::Audio, Quiet::Noise(60)]
        );
    }

    #[test]
    fn agreement_is_counted_in_whole_packets_of_one_signal() {
        let mut following = Following::Group(Shared::Common);
        for (signal, score, agreed_ms, loudest) in [
            (None, 700, 0, 700),
            (Some(Shared::Common), 5, 20, 5),
            (Some(Shared::Common), 90, 40, 90),
            (Some(Shared::Common), 3, 60, 90),
            (Some(Shared::Silence), 0, 20, 0),
            (None, 700, 0, 700),
            (Some(Shared::Silence), 0, 20, 0),
        ] {
            following = following.sent_own(signal, 20, score);
            let expected = Following::Own {
                signal,
                agreed_ms,
                loudest,
            };
            assert_eq!(following, expected);
        }
    }
}
