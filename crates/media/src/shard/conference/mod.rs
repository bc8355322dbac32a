//! One conference's audio on its shard: who is in it, the mixer, the buses and encode groups. A tick receives and decodes
//! leg by leg (`input`), mixes, and packs and sends leg by leg (`output`); but for receiving and sending it makes no
//! system call.

mod input;
mod output;
mod playback;
mod rate;
mod recording;

use confab_dsp::{ComfortNoise, NoiseLevel};
use confab_mixer::{MemberOptions, MixFormat, Mixer, MixerStorage, Room, SlotId};

use super::bus::RateBus;
use super::command::{Brought, MixChange};
use super::group::EncodeGroup;
use super::key::{ConferenceKey, Tenants};
use super::workbench::{BATCH, Workbench};
use crate::config::{ConferenceMedia, JoinOptions};
use crate::event::{ConferenceAudioId, LegId, MediaEvent};
use crate::io::ShardIo;
use crate::leg::notices::EventSink;
use crate::leg::session::Session;
use crate::leg::{Leg, Membership};
use crate::metrics::JoinRefusal;
use playback::Playback;
pub(crate) use playback::Playing;
pub(crate) use rate::RateChange;
pub(crate) use recording::{Recording, Track};

/// How many legs ahead the loading of a leg begins: about two microseconds.
const PRELOAD_AHEAD: usize = 2;

/// A leg and its place in the mix.
#[derive(Debug, Clone, Copy)]
struct Member {
    leg: u32,
    slot: SlotId,
}

/// Room for the legs of a conference, made outside the shard.
pub(crate) struct ConferenceStorage {
    mixer: MixerStorage,
    /// The same in the format before the last raise, which may have no tick yet.
    mixer_before: Option<MixerStorage>,
    members: Vec<Member>,
    /// Empty, with room for what plays to every audience.
    stages: Vec<playback::Stage>,
    /// Empty, with room for a group per leg.
    #[expect(
        clippy::vec_box,
        reason = "a group comes and goes as one box, so that it is freed elsewhere"
    )]
    groups: Vec<Box<EncodeGroup>>,
}

impl ConferenceStorage {
    /// Makes room for as many legs as the mixer has participants. `before` is the format before the last raise.
    pub(crate) fn new(format: MixFormat, before: Option<MixFormat>, room: Room) -> Self {
        ConferenceStorage {
            mixer: MixerStorage::with_room(format, room),
            mixer_before: before.map(|before| MixerStorage::with_room(before, room)),
            members: Vec::with_capacity(room.participants),
            stages: playback::stages_for(room.participants),
            groups: Vec::with_capacity(room.participants),
        }
    }
}

/// The times of one tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickTime {
    /// When the tick was due.
    pub(crate) due_ns: u64,
    /// When this turn began.
    pub(crate) now_ns: u64,
}

/// The audio of one conference.
pub(crate) struct ConferenceAudio {
    id: ConferenceAudioId,
    mixer: Mixer,
    members: Vec<Member>,
    /// The common mix at each rate.
    buses: Vec<RateBus>,
    /// What those who wait hear, in the same order.
    waiting_buses: Vec<RateBus>,
    #[expect(
        clippy::vec_box,
        reason = "a group comes and goes as one box, so that it is freed elsewhere"
    )]
    groups: Vec<Box<EncodeGroup>>,
    playback: Playback,
    /// Media time of the next block.
    position_ms: u64,
    /// Number of the tick, from 1.
    tick: u64,
    /// Legs heard in this tick.
    contributions: usize,
    floor: Option<LegId>,
    floor_told: Option<LegId>,
    /// One block of whoever is being decoded or mixed for, at the rate of the mix.
    block: Box<[i16]>,
    rate_change: Option<Box<RateChange>>,
    recording: Option<Box<Recording>>,
    noise_level: Option<NoiseLevel>,
    noise: Option<ComfortNoise>,
    /// Blocks that were denoised in this tick.
    denoised: u32,
}

impl ConferenceAudio {
    /// Allocates the mix for `capacity` legs.
    pub(crate) fn new(
        id: ConferenceAudioId,
        format: MixFormat,
        media: &ConferenceMedia,
        capacity: usize,
    ) -> Self {
        let noise_level = NoiseLevel::from_profile(media.comfort_noise);
        ConferenceAudio {
            id,
            mixer: Mixer::new(format, capacity, media.energy_level),
            members: Vec::with_capacity(capacity),
            buses: RateBus::all(format),
            waiting_buses: RateBus::all(format),
            groups: Vec::with_capacity(capacity),
            playback: Playback::new(capacity),
            position_ms: 0,
            tick: 0,
            contributions: 0,
            floor: None,
            floor_told: None,
            block: vec![0; format.block_samples()].into_boxed_slice(),
            rate_change: None,
            recording: None,
            noise_level,
            noise: noise(noise_level, format),
            denoised: 0,
        }
    }

    /// Returns the time from tick to tick.
    pub(crate) fn block_ns(&self) -> u64 {
        u64::from(self.mixer.block_ms()) * 1_000_000
    }

    /// Returns the rate of the mix in Hz.
    fn rate_hz(&self) -> u32 {
        self.mixer.format().rate_hz()
    }

    /// Returns how many legs are in it.
    pub(crate) fn legs(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn set_energy_level(&mut self, energy_level: u16) {
        self.mixer.set_energy_level(energy_level);
    }

    /// Moves into larger storage; returns the old to be freed elsewhere.
    pub(crate) fn grow(&mut self, mut storage: Box<ConferenceStorage>) -> Box<ConferenceStorage> {
        if storage.members.capacity() < self.members.len() || storage.groups.capacity() < self.groups.len() {
            return storage;
        }
        let ConferenceStorage {
            mut mixer,
            mut mixer_before,
            mut members,
            stages,
            mut groups,
        } = *storage;
        let raises = match &mut self.rate_change {
            Some(change) => change.grow(&mut mixer),
            None => false,
        };
        if !raises {
            mixer = self.mixer.adopt_storage(mixer);
        } else if let Some(before) = mixer_before.take() {
            mixer_before = Some(self.mixer.adopt_storage(before));
        }
        members.clear();
        members.extend_from_slice(&self.members);
        groups.clear();
        groups.append(&mut self.groups);
        let members = std::mem::replace(&mut self.members, members);
        let groups = std::mem::replace(&mut self.groups, groups);
        *storage = ConferenceStorage {
            mixer,
            mixer_before,
            members,
            stages: self.playback.grow(stages),
            groups,
        };
        storage
    }

    /// Mixes a leg in from the next tick on, if there is room. What it brought along is used when no group serves it yet and when this is
    /// recorded with tracks; what is left of that afterwards is to be freed elsewhere.
    pub(crate) fn join<S>(
        &mut self,
        at: ConferenceKey,
        index: u32,
        leg: &mut Leg<S>,
        options: JoinOptions,
        now_ns: u64,
        brought: &mut Brought,
    ) -> Result<(), JoinRefusal> {
        if self.members.len() == self.members.capacity() {
            return Err(JoinRefusal::Members);
        }
        let mix_rate_hz = self.rate_hz();
        let session = leg.session.as_mut().ok_or(JoinRefusal::NotStarted)?;
        let group = self
            .enter_group(session, &mut brought.group)
            .ok_or(JoinRefusal::Groups)?;
        let options = MemberOptions {
            muted: options.muted,
            deaf: options.deaf,
            ghost: options.ghost,
            waiting: options.held,
            ..MemberOptions::default()
        };
        let Some(slot) = self.mixer.add_member(&options) else {
            self.leave_group(group);
            return Err(JoinRefusal::Slots);
        };
        self.members.push(Member { leg: index, slot });
        self.record_leg(slot, &mut brought.track);
        session.set_mix_rate(mix_rate_hz);
        session.receiving.restart();
        leg.output.resume(session, now_ns);
        leg.membership = Some(Membership {
            conference: at,
            slot,
            group,
        });
        Ok(())
    }

    /// Takes a leg out.
    pub(crate) fn leave<S>(&mut self, leg: &mut Leg<S>) {
        let Some(membership) = leg.membership.take() else {
            return;
        };
        self.members.retain(|member| member.slot != membership.slot);
        self.playback.leave(membership.slot);
        if let Some(recording) = &mut self.recording {
            recording.leave(membership.slot);
        }
        self.mixer.remove(membership.slot);
        self.leave_group(membership.group);
        let pending = self.groups[membership.group].pending();
        if let Some(session) = &leg.session {
            leg.output.skip(session.scale().units(pending), 0);
        }
        leg.output.stop_dialling();
        leg.distributes_digits = false;
        leg.set_talking(false);
    }

    /// Follows a leg's change of codec or packet time to `session`; called with the session of before still in place.
    pub(crate) fn renegotiate<S>(
        &mut self,
        leg: &mut Leg<S>,
        session: &mut Session,
        group: &mut Option<Box<EncodeGroup>>,
    ) {
        session.set_mix_rate(self.rate_hz());
        let (Some(membership), Some(before)) = (&mut leg.membership, &leg.session) else {
            return;
        };
        if self.groups[membership.group].serves(session.coding, session.ptime_ms) {
            return;
        }
        let pending = self.groups[membership.group].pending();
        leg.output.skip(before.scale().units(pending), 0);
        leg.output.following = crate::leg::output::Following::Nobody;
        self.leave_group(membership.group);
        // There is room for a group per leg, so the old one is never fallen back to.
        membership.group = self.enter_group(session, group).unwrap_or(membership.group);
    }

    /// Empties the conference before it is given back; notes the places of its legs.
    pub(crate) fn dismiss<S>(&mut self, legs: &mut Tenants<Leg<S>>, dismissed: &mut Vec<u32>) {
        while let Some(member) = self.members.pop() {
            if let Some(leg) = legs.at(member.leg) {
                self.leave(leg);
                dismissed.push(member.leg);
            }
        }
    }

    pub(crate) fn set_muted<S>(&mut self, leg: &mut Leg<S>, muted: bool) {
        if let Some(membership) = &leg.membership
            && self.mixer.set_muted(membership.slot, muted)
        {
            leg.set_talking(false);
        }
    }

    /// Changes a leg in the mix.
    pub(crate) fn change<S>(&mut self, leg: &mut Leg<S>, change: MixChange) {
        let Some(Membership { slot, .. }) = leg.membership else {
            return;
        };
        let stopped_talking = match change {
            MixChange::Held(held) => self.mixer.set_waiting(slot, held),
            MixChange::InputGainDb(decibels) => {
                self.mixer.set_input_gain(slot, decibels);
                false
            }
            MixChange::OutputGainDb(decibels) => {
                self.mixer.set_output_gain(slot, decibels);
                false
            }
            MixChange::DistributeDigits(on) => {
                leg.distributes_digits = on;
                false
            }
            MixChange::EnergyLevel(energy_level) => {
                self.mixer.set_member_energy_level(slot, energy_level);
                false
            }
        };
        if stopped_talking {
            leg.set_talking(false);
        }
    }

    /// Lets a listener hear a talker, or not. The control side has seen to the room for it.
    pub(crate) fn set_heard(&mut self, talker: SlotId, listener: SlotId, heard: bool) {
        self.mixer.set_relation(talker, listener, heard);
    }

    pub(crate) fn set_deaf<S>(&mut self, leg: &Leg<S>, deaf: bool) {
        if let Some(membership) = &leg.membership {
            self.mixer.set_deaf(membership.slot, deaf);
        }
    }

    /// Finds the session's group, or takes in the one that was brought along, and shortens the blocks until its packets
    /// are whole blocks. `None` when there is no room, which does not occur while there is room for the leg.
    fn enter_group(&mut self, session: &Session, brought: &mut Option<Box<EncodeGroup>>) -> Option<usize> {
        let found = self
            .groups
            .iter()
            .position(|group| group.serves(session.coding, session.ptime_ms));
        let index = match found {
            Some(index) => index,
            None => self.take_group(brought)?,
        };
        let group = &mut self.groups[index];
        if group.members == 0 {
            let bus = self
                .buses
                .iter()
                .position(|bus| bus.rate_hz() == group.rate_hz())?;
            group.bus = bus;
            if self.buses[bus].users == 0 {
                for buses in [&mut self.buses, &mut self.waiting_buses] {
                    buses[bus].open(self.mixer.format().rate_hz());
                }
            }
            self.buses[bus].users += 1;
        }
        group.members += 1;
        self.mixer
            .set_block_ms(greatest_common_divisor(self.mixer.block_ms(), session.ptime_ms));
        Some(index)
    }

    /// Puts a new group where one is empty, or behind the others.
    fn take_group(&mut self, brought: &mut Option<Box<EncodeGroup>>) -> Option<usize> {
        let group = brought.as_mut()?;
        if let Some(index) = self.groups.iter().position(|group| group.members == 0) {
            std::mem::swap(&mut self.groups[index], group);
            return Some(index);
        }
        if self.groups.len() == self.groups.capacity() {
            return None;
        }
        self.groups.extend(brought.take());
        Some(self.groups.len() - 1)
    }

    fn leave_group(&mut self, index: usize) {
        let group = &mut self.groups[index];
        group.members -= 1;
        if group.members == 0 {
            self.buses[group.bus].users -= 1;
        }
    }

    /// Runs one tick: reads what came (when `receive`), decodes what is due, mixes, encodes, sends.
    pub(crate) fn tick<I: ShardIo>(
        &mut self,
        legs: &mut Tenants<Leg<I::Sockets>>,
        bench: &mut Workbench<I>,
        time: TickTime,
        receive: bool,
    ) {
        self.tick += 1;
        self.denoised = 0;
        self.mixer.begin();
        for start in (0..self.members.len()).step_by(BATCH) {
            let members = start..self.members.len().min(start + BATCH);
            for (slot, index) in members.clone().enumerate() {
                self.preload(index + PRELOAD_AHEAD, legs, Leg::preload_receiving);
                if let Some(leg) = legs.peek(self.members[index].leg)
                    && receive
                {
                    bench.receive_into(slot, leg);
                    leg.preload_stream();
                }
            }
            for (slot, index) in members.enumerate() {
                let member = self.members[index];
                let Some(leg) = legs.at(member.leg) else { continue };
                if receive {
                    bench.use_received(slot, leg);
                }
                self.take_input(leg, member.slot, &mut bench.scratch, &mut bench.outbox, time);
                if leg.distributes_digits {
                    self.distribute_digits(index, legs);
                }
            }
        }
        self.mix(legs, &mut bench.outbox);
        for start in (0..self.members.len()).step_by(BATCH) {
            for index in start..self.members.len().min(start + BATCH) {
                let member = self.members[index];
                self.preload(index + PRELOAD_AHEAD, legs, Leg::preload_sending);
                if !bench.has_room() {
                    bench.send_packed(legs);
                }
                if let Some(leg) = legs.at(member.leg)
                    && self.pack(leg, member.slot, time.due_ns)
                {
                    self.write_packet(member.leg, leg, bench);
                }
            }
            bench.send_packed(legs);
        }
        self.playback.tell(self.id, &mut bench.outbox);
        self.give_back_recorded(&mut bench.outbox);
        self.position_ms += u64::from(self.mixer.block_ms());
        if self.rate_change.is_some() {
            self.end_change(legs);
            bench.outbox.give_back(&mut self.rate_change);
        }
    }

    /// Sends a member's keys on to all other legs.
    fn distribute_digits<S>(&self, from: usize, legs: &mut Tenants<Leg<S>>) {
        while let Some(press) = legs.at(self.members[from].leg).and_then(Leg::take_distributed) {
            for (index, member) in self.members.iter().enumerate() {
                if index != from
                    && let Some(leg) = legs.at(member.leg)
                {
                    leg.pass_digit_on(press);
                }
            }
        }
    }

    /// Begins to load a part of a leg that is worked on soon: between its ticks everybody else's packets were in the cache.
    fn preload<S>(&self, member: usize, legs: &Tenants<Leg<S>>, part: impl Fn(&Leg<S>)) {
        if let Some(leg) = self.members.get(member).and_then(|member| legs.peek(member.leg)) {
            part(leg);
        }
    }

    /// Sums the blocks, and starts or goes on with the packets that listeners share.
    fn mix<S>(&mut self, legs: &mut Tenants<Leg<S>>, sink: &mut impl EventSink) {
        let raises = self.rate_is_to_change();
        let block = &mut self.block[..self.mixer.block_samples()];
        self.playback.play(&mut self.mixer, block, raises, legs);
        if let Some(noise) = &mut self.noise
            && self.mixer.wants_noise()
        {
            let block = &mut self.block[..self.mixer.block_samples()];
            noise.fill(block);
            self.mixer.noise_input(block);
        }
        let mixed = self.mixer.mix();
        self.contributions = mixed.contributions;
        self.record_tick();
        if mixed.floor_changed {
            self.floor = self.mixer.floor().and_then(|slot| self.leg_at(slot, legs));
        }
        if self.floor != self.floor_told
            && sink.event(MediaEvent::Floor {
                conference: self.id,
                leg: self.floor,
            })
        {
            self.floor_told = self.floor;
        }
        let block_ms = self.mixer.block_ms();
        let nobody_plays = !self.mixer.plays_to_waiting();
        for (bus, waiting) in self.buses.iter_mut().zip(&mut self.waiting_buses) {
            if bus.users > 0 {
                bus.take(self.mixer.common(), block_ms, mixed.contributions == 0);
                waiting.take(self.mixer.waiting(), block_ms, nobody_plays);
            }
        }
        if self.rate_change.is_some() {
            self.change_rate();
        }
        for group in self.groups.iter_mut().filter(|group| group.members > 0) {
            let (common, waiting) = (&self.buses[group.bus], &self.waiting_buses[group.bus]);
            group.take_block(self.position_ms, common.block(), waiting.block(), mixed.quiet);
        }
    }

    /// Leaves out `ticks`: media time passes, nothing is mixed or sent.
    pub(crate) fn skip<S>(&mut self, legs: &mut Tenants<Leg<S>>, ticks: u64) {
        let milliseconds = ticks * u64::from(self.mixer.block_ms());
        for member in &self.members {
            let Some(leg) = legs.at(member.leg) else { continue };
            let (Some(session), Some(membership)) = (&leg.session, &leg.membership) else {
                continue;
            };
            let pending = session.scale().units(self.groups[membership.group].pending());
            let further = session.clock_rate().units(milliseconds * 1_000_000);
            leg.output.skip(pending, further as u32); // media time wraps at 32 bits (RFC 3550 §5.1)
        }
        self.position_ms += milliseconds;
    }

    fn leg_at<S>(&self, slot: SlotId, legs: &mut Tenants<Leg<S>>) -> Option<LegId> {
        let member = self.members.iter().find(|member| member.slot == slot)?;
        legs.at(member.leg).map(|leg| leg.id)
    }
}

/// Makes the source of a mix's comfort noise. Its seed may be any: nobody compares two mixes.
fn noise(level: Option<NoiseLevel>, format: MixFormat) -> Option<ComfortNoise> {
    level.map(|level| ComfortNoise::new(level, format.rate_hz(), 1))
}

fn greatest_common_divisor(mut a: u16, mut b: u16) -> u16 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
