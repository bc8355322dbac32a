//! Owns the rule by which the floor passes. Never touches the roster.
//!
//! The floor is with the loudest sustained talker:
//! 1. While its holder is silent (or there is none), the loudest participant who talks takes it at once.
//! 2. While its holder talks, another takes it when he has talked for [`FLOOR_SUSTAIN`] without a break, is louder by
//!    more than a quarter, and the floor has not moved for [`FLOOR_HOLD`].
//! 3. A holder who falls silent keeps it until somebody else talks; one who is muted or leaves gives it up.
//!
//! Loudness is a running mean of the energy scores since the participant began to talk. Equals go to the lower id.

use std::time::{Duration, Instant};

use crate::ParticipantId;

/// How long a participant must have talked before he can take the floor from one who talks.
pub const FLOOR_SUSTAIN: Duration = Duration::from_secs(1);

/// How long the floor stays with a holder who keeps talking, whoever is louder.
pub const FLOOR_HOLD: Duration = Duration::from_secs(2);

/// The weight of a new score in the running mean is 1 / 2^LOUDNESS_SHIFT.
const LOUDNESS_SHIFT: u32 = 3;

/// One participant's claim: since when he talks and how loud.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Claim {
    talking_since: Option<Instant>,
    /// Running mean of the scores, in 1/8 of a score unit.
    loudness: u32,
}

impl Claim {
    pub(crate) fn begin(&mut self, now: Instant, score: u16) {
        self.talking_since = Some(now);
        self.loudness = u32::from(score) << LOUDNESS_SHIFT;
    }

    pub(crate) fn end(&mut self) {
        self.talking_since = None;
    }

    pub(crate) fn hear(&mut self, score: u16) {
        self.loudness = self.loudness - (self.loudness >> LOUDNESS_SHIFT) + u32::from(score);
    }

    fn sustained(&self, now: Instant) -> bool {
        self.talking_since
            .is_some_and(|since| now.saturating_duration_since(since) >= FLOOR_SUSTAIN)
    }
}

/// Who has the floor and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    holder: Option<(ParticipantId, Instant)>,
}

impl Floor {
    /// Gives the floor up when `participant` has it.
    pub(crate) fn vacate(&mut self, participant: ParticipantId) {
        if self.holder() == Some(participant) {
            self.holder = None;
        }
    }

    pub(crate) fn holder(&self) -> Option<ParticipantId> {
        self.holder.map(|(id, _)| id)
    }

    /// Applies the rule to the claims, given by ascending id.
    pub(crate) fn settle<'a>(
        &mut self,
        now: Instant,
        claims: impl Iterator<Item = (ParticipantId, &'a Claim)> + Clone,
    ) {
        let talkers = claims.filter(|(_, claim)| claim.talking_since.is_some());
        let holding = self.holder.and_then(|(id, since)| {
            talkers
                .clone()
                .find(|(talker, _)| *talker == id)
                .map(|(_, claim)| (claim.loudness, since))
        });
        let next = match holding {
            None => loudest(talkers),
            Some((_, since)) if now.saturating_duration_since(since) < FLOOR_HOLD => None,
            Some((loudness, _)) => loudest(
                talkers.filter(|(_, claim)| claim.sustained(now) && claim.loudness > loudness + loudness / 4),
            ),
        };
        if let Some(id) = next {
            self.holder = Some((id, now));
        }
    }
}

fn loudest<'a>(talkers: impl Iterator<Item = (ParticipantId, &'a Claim)>) -> Option<ParticipantId> {
    talkers
        .reduce(|best, next| {
            if next.1.loudness > best.1.loudness {
                next
            } else {
                best
            }
        })
        .map(|(id, _)| id)
}
