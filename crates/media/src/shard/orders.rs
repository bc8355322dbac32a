//! How a shard carries out the commands of the control side.

use std::sync::atomic::Ordering::Relaxed;

use super::Shard;
use super::command::{Audience, Brought, Command, Garbage, Renegotiation, Returned};
use super::conference::{ConferenceAudio, Playing};
use super::key::{ConferenceKey, LegKey, Tenants};
use super::stagger::Timetable;
use crate::arrival::ClockPair;
use crate::config::JoinOptions;
use crate::io::ShardIo;
use crate::leg::Leg;
use crate::metrics::JoinRefusal;

/// Commands carried out in one turn.
const MAX_COMMANDS: usize = 1024;

impl<I: ShardIo> Shard<I> {
    pub(super) fn carry_out_commands(&mut self, clocks: ClockPair) {
        for _ in 0..MAX_COMMANDS {
            if self.bench.outbox.returned.is_full() {
                break; // what a command leaves over must have somewhere to go
            }
            let Some(command) = self.bench.queues.commands.pop() else {
                break;
            };
            if let Some(returned) = self.carry_out(command, clocks) {
                // There was room, and this is the only producer.
                drop(self.bench.outbox.returned.push(returned));
            }
        }
        let counters = self.bench.counters();
        counters.legs.store(self.legs.count(), Relaxed);
        counters.conferences.store(self.conferences.count(), Relaxed);
    }

    /// Carries out one command; returns what is left over.
    fn carry_out(&mut self, command: Command<I::Sockets>, clocks: ClockPair) -> Option<Returned<I::Sockets>> {
        let now_ns = clocks.monotonic_ns;
        let left_over = match command {
            Command::AddLeg { at, leg } => {
                self.loose.push(at.index); // one for each place at most, so there is room
                self.legs.insert(at.index, at.generation, leg).map(garbage)
            }
            Command::TakeLeg { at, bye, reply } => {
                let Some(leg) = self.take_leg(at, bye, clocks) else {
                    return Some(Returned::NoLeg { reply });
                };
                return Some(Returned::Leg { leg, reply });
            }
            Command::Renegotiate { at, new } => Some(garbage(self.renegotiate(at, new, now_ns))),
            Command::Join {
                leg,
                conference,
                options,
                mut brought,
                reply,
            } => {
                let outcome = self.join(leg, conference, options, now_ns, &mut brought);
                if let Err(refusal) = outcome {
                    self.bench.counters().join_refused(refusal);
                }
                return Some(Returned::Joined {
                    reply,
                    outcome,
                    spare: brought,
                });
            }
            Command::Leave { leg } => {
                self.leave(leg);
                None
            }
            Command::SetMuted { leg: at, muted } => {
                self.in_conference(at, |conference, leg| conference.set_muted(leg, muted));
                None
            }
            Command::SetDeaf { leg: at, deaf } => {
                self.in_conference(at, |conference, leg| conference.set_deaf(leg, deaf));
                None
            }
            Command::DigitByInfo {
                leg: at,
                digit,
                duration_ms,
            } => {
                if let Some(leg) = self.legs.get(at.index, at.generation) {
                    leg.digit_by_info(now_ns, digit, duration_ms);
                }
                None
            }
            Command::Dial { leg: at, dialling } => {
                if let Some(leg) = self.legs.get(at.index, at.generation) {
                    leg.dial(&dialling);
                }
                Some(garbage(dialling))
            }
            Command::Set { leg: at, change } => {
                self.in_conference(at, |conference, leg| conference.change(leg, change));
                None
            }
            Command::Process {
                leg: at,
                mut processing,
            } => {
                if let Some(session) = self
                    .legs
                    .get(at.index, at.generation)
                    .and_then(|leg| leg.session.as_mut())
                {
                    std::mem::swap(&mut session.processing, &mut processing);
                }
                Some(garbage(processing))
            }
            Command::Tap { leg: at, mut tap } => {
                if let Some(leg) = self.legs.get(at.index, at.generation) {
                    std::mem::swap(&mut leg.tap, &mut tap);
                }
                tap.map(garbage)
            }
            Command::SetHeard {
                conference: at,
                talker,
                listener,
                heard,
            } => {
                let mut slot_of = |leg: LegKey| {
                    let membership = self.legs.get(leg.index, leg.generation)?.membership?;
                    (membership.conference == at).then_some(membership.slot)
                };
                if let (Some(talker), Some(listener)) = (slot_of(talker), slot_of(listener))
                    && let Some(conference) = self.conferences.get(at.index, at.generation)
                {
                    conference.set_heard(talker, listener, heard);
                }
                None
            }
            Command::AddConference { at, conference } => {
                self.add_conference(at, conference, now_ns).map(garbage)
            }
            Command::RemoveConference { at } => self.remove_conference(at).map(garbage),
            Command::Grow { at, storage } => {
                Some(garbage(match self.conferences.get(at.index, at.generation) {
                    Some(conference) => conference.grow(storage),
                    None => storage,
                }))
            }
            Command::RaiseRate { at, change } => match self.conferences.get(at.index, at.generation) {
                Some(conference) => conference.raise_rate(change, &mut self.legs).map(garbage),
                None => Some(garbage(change)),
            },
            Command::SetEnergyLevel {
                conference: at,
                energy_level,
            } => {
                if let Some(conference) = self.conferences.get(at.index, at.generation) {
                    conference.set_energy_level(energy_level);
                }
                None
            }
            Command::Record {
                conference: at,
                recording,
            } => match self.conferences.get(at.index, at.generation) {
                Some(conference) => conference.record(at, recording, &mut self.legs).map(garbage),
                None => Some(garbage(recording)),
            },
            Command::Play { conference, to, play } => self.play(conference, to, play).map(garbage),
            Command::StopPlay { conference, to, what } => {
                self.for_audience(conference, to, |conference, to| conference.stop_play(to, what));
                None
            }
            Command::ChangePlay {
                conference,
                to,
                play,
                change,
            } => {
                self.for_audience(conference, to, |conference, to| {
                    conference.change_play(to, play, change);
                });
                None
            }
        };
        left_over.map(Returned::Garbage)
    }

    /// Changes a leg's session; returns what is left over, the session of before among it.
    fn renegotiate(&mut self, at: LegKey, mut new: Box<Renegotiation>, now_ns: u64) -> Box<Renegotiation> {
        let Renegotiation { session, group } = &mut *new;
        if let Some(leg) = self.legs.get(at.index, at.generation) {
            if let Some(conference) = conference_of(leg, &mut self.conferences) {
                conference.renegotiate(leg, session, group);
            }
            leg.renegotiate(session, now_ns);
        }
        new
    }

    fn join(
        &mut self,
        at: LegKey,
        key: ConferenceKey,
        options: JoinOptions,
        now_ns: u64,
        brought: &mut Brought,
    ) -> Result<(), JoinRefusal> {
        self.leave(at);
        let leg = self.legs.get(at.index, at.generation);
        let leg = leg.ok_or(JoinRefusal::NoLeg)?;
        let conference = self.conferences.get(key.index, key.generation);
        let conference = conference.ok_or(JoinRefusal::NoConference)?;
        conference.join(key, at.index, leg, options, now_ns, brought)?;
        self.loose.retain(|&index| index != at.index);
        Ok(())
    }

    fn take_leg(&mut self, at: LegKey, bye: bool, clocks: ClockPair) -> Option<Box<Leg<I::Sockets>>> {
        self.leave(at);
        let mut leg = self.legs.remove(at.index, at.generation)?;
        self.loose.retain(|&index| index != at.index);
        if bye && leg.report(&mut self.bench.io, clocks, true) {
            self.bench.counters().packets_out.add(1);
        }
        leg.publish();
        Some(leg)
    }

    fn leave(&mut self, at: LegKey) {
        let loose = &mut self.loose;
        if let Some(leg) = self.legs.get(at.index, at.generation)
            && let Some(conference) = conference_of(leg, &mut self.conferences)
        {
            conference.leave(leg);
            loose.push(at.index);
        }
    }

    /// Plays something in a conference; one that is not there leaves it over.
    fn play(&mut self, at: ConferenceKey, to: Audience, play: Box<Playing>) -> Option<Box<Playing>> {
        let Some(conference) = self.conferences.get(at.index, at.generation) else {
            return Some(play);
        };
        match to {
            Audience::Everybody => conference.play(play, confab_mixer::Audience::All),
            Audience::Waiting => conference.play(play, confab_mixer::Audience::Waiting),
            Audience::One(leg) => {
                let there = self.legs.get(leg.index, leg.generation);
                let member = there.filter(|there| is_member(there, at));
                conference.play_to(play, member.map(|there| (leg.index, &*there)));
            }
        }
        None
    }

    /// Does something about what these hearers of a conference have to hear.
    fn for_audience(
        &mut self,
        at: ConferenceKey,
        to: Audience,
        act: impl FnOnce(&mut ConferenceAudio, confab_mixer::Audience),
    ) {
        let audience = match to {
            Audience::Everybody => Some(confab_mixer::Audience::All),
            Audience::Waiting => Some(confab_mixer::Audience::Waiting),
            Audience::One(leg) => {
                let there = self.legs.get(leg.index, leg.generation);
                let membership = there.and_then(|there| there.membership);
                membership
                    .filter(|membership| membership.conference == at)
                    .map(|membership| confab_mixer::Audience::One(membership.slot))
            }
        };
        if let Some(audience) = audience
            && let Some(conference) = self.conferences.get(at.index, at.generation)
        {
            act(conference, audience);
        }
    }

    fn in_conference(&mut self, at: LegKey, act: impl FnOnce(&mut ConferenceAudio, &mut Leg<I::Sockets>)) {
        if let Some(leg) = self.legs.get(at.index, at.generation)
            && let Some(conference) = conference_of(leg, &mut self.conferences)
        {
            act(conference, leg);
        }
    }

    /// Takes a conference in; it ticks when the least is to be done.
    fn add_conference(
        &mut self,
        at: ConferenceKey,
        conference: Box<ConferenceAudio>,
        now_ns: u64,
    ) -> Option<Box<ConferenceAudio>> {
        let mut timetable = Timetable::new(conference.block_ns());
        for index in 0..self.conferences.end() {
            if let Some(other) = self.conferences.peek(index as u32) {
                let due_ns = self.due_ns[index].saturating_sub(self.origin_ns);
                timetable.enter(due_ns, other.block_ns(), other.legs());
            }
        }
        let due_ns = self.origin_ns + timetable.quietest(now_ns.saturating_sub(self.origin_ns) + 1);
        if let Some(due) = self.due_ns.get_mut(at.index as usize) {
            *due = due_ns;
        }
        self.conferences.insert(at.index, at.generation, conference)
    }

    fn remove_conference(&mut self, at: ConferenceKey) -> Option<Box<ConferenceAudio>> {
        let mut conference = self.conferences.remove(at.index, at.generation)?;
        conference.dismiss(&mut self.legs, &mut self.loose);
        self.due_ns[at.index as usize] = u64::MAX;
        Some(conference)
    }
}

fn is_member<S>(leg: &Leg<S>, conference: ConferenceKey) -> bool {
    leg.membership
        .is_some_and(|membership| membership.conference == conference)
}

/// Hides what a box holds: it is only to be freed.
fn garbage<T: Send + 'static>(boxed: Box<T>) -> Garbage {
    boxed
}

/// Returns the conference that a leg is in.
fn conference_of<'c, S>(
    leg: &Leg<S>,
    conferences: &'c mut Tenants<ConferenceAudio>,
) -> Option<&'c mut ConferenceAudio> {
    let key = leg.membership?.conference;
    conferences.get(key.index, key.generation)
}
