//! One conference's audio on its shard: who is in it, the mixer, the encode groups. A tick receives and decodes leg by
//! leg, mixes, and packs and sends leg by leg; but for receiving and sending it makes no system call.

use confab_mixer::{MixFormat, Mixer, MixerStorage, Signal, SlotId};
use confab_rtp::Tick;
use confab_rtp::packet::HEADER_LEN;

use super::group::EncodeGroup;
use super::key::{ConferenceKey, Tenants};
use super::workbench::{BATCH, Scratch, Workbench};
use crate::config::JoinOptions;
use crate::event::{ConferenceAudioId, LegId, MediaEvent};
use crate::io::ShardIo;
use crate::leg::input::Block;
use crate::leg::notices::EventSink;
use crate::leg::output::{Packing, Shared};
use crate::leg::session::Session;
use crate::leg::{Leg, Membership};
use crate::metrics::DropReason;
use crate::sys;

/// How many legs ahead the loading of a leg begins: about two microseconds.
const PREFETCH_AHEAD: usize = 2;

/// A leg and its place in the mix.
#[derive(Debug, Clone, Copy)]
struct Member {
    leg: u32,
    slot: SlotId,
}

/// Room for the legs of a conference, made outside the shard.
pub(crate) struct ConferenceStorage {
    mixer: MixerStorage,
    members: Vec<Member>,
}

impl ConferenceStorage {
    pub(crate) fn new(format: MixFormat, capacity: usize) -> Self {
        ConferenceStorage {
            mixer: MixerStorage::new(format, capacity),
            members: Vec::with_capacity(capacity),
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
    groups: Vec<EncodeGroup>,
    /// Media time of the next block.
    position_ms: u64,
    /// Legs heard in this tick.
    contributions: usize,
    floor: Option<LegId>,
    floor_told: Option<LegId>,
    /// One block of whoever is being decoded or mixed for.
    block: Box<[i16]>,
}

impl ConferenceAudio {
    /// Allocates the mix for `capacity` legs.
    pub(crate) fn new(id: ConferenceAudioId, format: MixFormat, energy_level: u16, capacity: usize) -> Self {
        ConferenceAudio {
            id,
            mixer: Mixer::new(format, capacity, energy_level),
            members: Vec::with_capacity(capacity),
            groups: EncodeGroup::all(),
            position_ms: 0,
            contributions: 0,
            floor: None,
            floor_told: None,
            block: vec![0; format.block_samples()].into_boxed_slice(),
        }
    }

    /// Returns the time from tick to tick.
    pub(crate) fn block_ns(&self) -> u64 {
        u64::from(self.mixer.block_ms()) * 1_000_000
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
        let ConferenceStorage { mixer, members } = *storage;
        if members.capacity() < self.members.len() {
            *storage = ConferenceStorage { mixer, members };
            return storage;
        }
        let mut members = members;
        members.clear();
        members.extend_from_slice(&self.members);
        let members = std::mem::replace(&mut self.members, members);
        *storage = ConferenceStorage {
            mixer: self.mixer.adopt_storage(mixer),
            members,
        };
        storage
    }

    /// Mixes a leg in from the next tick on. Returns whether there was room; the leg must have a session.
    pub(crate) fn join<S>(
        &mut self,
        at: ConferenceKey,
        index: u32,
        leg: &mut Leg<S>,
        options: JoinOptions,
        now_ns: u64,
    ) -> bool {
        let Some(session) = &leg.session else { return false };
        if self.members.len() == self.members.capacity() {
            return false;
        }
        let Some(group) = self.enter_group(session) else {
            return false;
        };
        let Some(slot) = self.mixer.add(options.muted, options.deaf) else {
            self.groups[group].members -= 1;
            return false;
        };
        self.members.push(Member { leg: index, slot });
        leg.output.resume(session, now_ns);
        leg.input.restart(session.clock_rate());
        leg.membership = Some(Membership {
            conference: at,
            slot,
            group,
        });
        true
    }

    /// Takes a leg out.
    pub(crate) fn leave<S>(&mut self, leg: &mut Leg<S>) {
        let Some(membership) = leg.membership.take() else {
            return;
        };
        self.members.retain(|member| member.slot != membership.slot);
        self.mixer.remove(membership.slot);
        let group = &mut self.groups[membership.group];
        group.members -= 1;
        let pending = group.pending();
        if let Some(session) = &leg.session {
            leg.output.skip(session.scale().units(pending), 0);
        }
        leg.set_talking(false);
    }

    /// Follows a leg's change of codec or packet time; called with the session of before still in place.
    pub(crate) fn renegotiate<S>(&mut self, leg: &mut Leg<S>, session: &Session) {
        let (Some(membership), Some(before)) = (&mut leg.membership, &leg.session) else {
            return;
        };
        let group = &mut self.groups[membership.group];
        if group.serves(session.codec, session.ptime_ms) {
            return;
        }
        group.members -= 1;
        leg.output.skip(before.scale().units(group.pending()), 0);
        // Every codec and packet time has a group, so the old one is never fallen back to.
        membership.group = self.enter_group(session).unwrap_or(membership.group);
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

    pub(crate) fn set_deaf<S>(&mut self, leg: &Leg<S>, deaf: bool) {
        if let Some(membership) = &leg.membership {
            self.mixer.set_deaf(membership.slot, deaf);
        }
    }

    /// Finds the session's group, and shortens the blocks until its packets are whole blocks.
    fn enter_group(&mut self, session: &Session) -> Option<usize> {
        let index = self
            .groups
            .iter()
            .position(|group| group.serves(session.codec, session.ptime_ms))?;
        self.groups[index].members += 1;
        self.mixer
            .set_block_ms(greatest_common_divisor(self.mixer.block_ms(), session.ptime_ms));
        Some(index)
    }

    /// Runs one tick: reads what came (when `receive`), decodes what is due, mixes, encodes, sends.
    pub(crate) fn tick<I: ShardIo>(
        &mut self,
        legs: &mut Tenants<Leg<I::Sockets>>,
        bench: &mut Workbench<I>,
        time: TickTime,
        receive: bool,
    ) {
        self.mixer.begin();
        for start in (0..self.members.len()).step_by(BATCH) {
            let members = start..self.members.len().min(start + BATCH);
            for (slot, index) in members.clone().enumerate() {
                self.prefetch(index + PREFETCH_AHEAD, legs);
                if let Some(leg) = legs.peek(self.members[index].leg)
                    && receive
                {
                    bench.receive_into(slot, leg);
                }
            }
            for (slot, index) in members.enumerate() {
                let member = self.members[index];
                let Some(leg) = legs.at(member.leg) else { continue };
                if receive {
                    bench.use_received(slot, leg);
                }
                self.take_input(leg, member.slot, &mut bench.scratch, &mut bench.outbox, time);
            }
        }
        self.mix(legs, &mut bench.outbox);
        for start in (0..self.members.len()).step_by(BATCH) {
            for index in start..self.members.len().min(start + BATCH) {
                let member = self.members[index];
                self.prefetch(index + PREFETCH_AHEAD, legs);
                if let Some(leg) = legs.at(member.leg)
                    && self.pack(leg, member.slot, time.due_ns)
                {
                    self.write_packet(member.leg, leg, bench);
                }
            }
            bench.send_packed(legs);
        }
        self.position_ms += u64::from(self.mixer.block_ms());
    }

    /// Starts loading a leg that is worked on next: between its ticks everybody else's packets were in the cache.
    fn prefetch<S>(&self, member: usize, legs: &Tenants<Leg<S>>) {
        if let Some(leg) = self.members.get(member).and_then(|member| legs.peek(member.leg)) {
            sys::prefetch(leg);
        }
    }

    /// Gives the mixer one block of a leg.
    fn take_input<S>(
        &mut self,
        leg: &mut Leg<S>,
        slot: SlotId,
        scratch: &mut Scratch,
        sink: &mut impl EventSink,
        time: TickTime,
    ) {
        let Some(session) = &mut leg.session else { return };
        let block = &mut self.block[..self.mixer.block_samples()];
        let tick = Tick {
            at_ns: time.due_ns,
            samples: session.scale().units(block.len()),
        };
        let unheard = self.mixer.unheard_up_to(slot);
        let filled = if session.receives {
            leg.input.fill(session, tick, block, &mut scratch.frame, unheard)
        } else {
            Block::Quiet
        };
        let report = match filled {
            Block::Audio { score } => self.mixer.input_scored(slot, block, score),
            Block::Quiet => self.mixer.input_quiet(slot),
        };
        leg.set_energy(report.score);
        if let Some(talking) = report.talking_changed {
            leg.set_talking(talking);
            if !talking {
                sink.level(MediaEvent::Energy {
                    leg: leg.id,
                    score: report.score,
                });
            }
        } else if leg.notices.is_talking() {
            leg.notices.level(time.now_ns, report.score, sink);
        }
        if leg.notices.waiting {
            leg.notices.tell(time.now_ns, sink);
        }
    }

    /// Sums the blocks, and starts or goes on with the packets that listeners share.
    fn mix<S>(&mut self, legs: &mut Tenants<Leg<S>>, sink: &mut impl EventSink) {
        let mixed = self.mixer.mix();
        self.contributions = mixed.contributions;
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
        for group in self.groups.iter_mut().filter(|group| group.members > 0) {
            group.take_block(self.position_ms, self.mixer.common());
        }
    }

    /// Puts this tick's block of what a listener hears into his packet, and encodes the packet when that completes it.
    /// Returns whether it is complete.
    fn pack<S>(&mut self, leg: &mut Leg<S>, slot: SlotId, due_ns: u64) -> bool {
        let (Some(session), Some(membership)) = (&mut leg.session, &leg.membership) else {
            return false;
        };
        let group = &mut self.groups[membership.group];
        let output = &mut leg.output;
        let scale = session.scale();
        output.last_block_ns = Some(due_ns);
        let begins = group.start == 0;
        if !session.sends || (output.packing == Packing::Waiting && !begins) {
            output.skip(scale.units(group.start), scale.units(group.end - group.start));
            return false;
        }
        let heard = match self.mixer.signal(slot) {
            Signal::Own => None,
            // Where nobody speaks the common mix is silence too, and shared by more.
            Signal::Silence if self.contributions > 0 => Some(Shared::Silence),
            // Nobody waits in this version: see the options that `join` gives.
            Signal::Waiting => Some(Shared::Silence),
            Signal::Silence | Signal::Common => Some(Shared::Common),
        };
        output.packing = match (output.packing, heard) {
            (_, Some(signal)) if begins => Packing::Shared(signal),
            (Packing::Shared(before), Some(signal)) if before == signal => Packing::Shared(signal),
            (Packing::Shared(before), _) if !begins => {
                // What the group heard so far is what this listener heard.
                let so_far = &group.pcm(before)[..group.start];
                output.own_mut(0, group.start).copy_from_slice(so_far);
                Packing::Own
            }
            _ => Packing::Own,
        };
        if output.packing == Packing::Own {
            let place = output.own_mut(group.start, group.end);
            match heard {
                Some(signal) => place.copy_from_slice(&group.pcm(signal)[group.start..]),
                None => self.mixer.render_own(slot, place),
            }
        }
        if group.complete {
            match output.packing {
                Packing::Shared(signal) => group.encode(signal),
                Packing::Own => output.encode_own(session, group.packet_samples()),
                Packing::Waiting => return false,
            }
        }
        group.complete
    }

    /// Puts a leg's completed packet among those to be sent.
    fn write_packet<I: ShardIo>(&self, index: u32, leg: &mut Leg<I::Sockets>, bench: &mut Workbench<I>) {
        let (Some(session), Some(membership)) = (&leg.session, &leg.membership) else {
            return;
        };
        let group = &self.groups[membership.group];
        let units = session.scale().units(group.packet_samples());
        if leg.rtp_to.is_none() {
            bench.counters().dropped(DropReason::SendForbidden);
            leg.output.sender.skip(units);
            return;
        }
        let payload = match leg.output.packing {
            Packing::Shared(signal) => group.payload(signal),
            Packing::Own => leg.output.own_payload(),
            Packing::Waiting => return,
        };
        let length = payload.len();
        let packet = bench.packet_for(index, HEADER_LEN + length);
        let (head, body) = packet
            .split_first_chunk_mut()
            .expect("the packet is longer than its header");
        body.copy_from_slice(payload);
        leg.output
            .sender
            .next_packet(session.send_pt, units, length)
            .write(head);
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

fn greatest_common_divisor(mut a: u16, mut b: u16) -> u16 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
