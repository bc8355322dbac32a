//! From the mix to a leg's packet: what it hears in this block, and whose encoder makes its packet.

use confab_mixer::{Signal, SlotId};
use confab_rtp::packet::HEADER_LEN;

use super::ConferenceAudio;
use crate::io::ShardIo;
use crate::leg::Leg;
use crate::leg::dialling::{Audio, event_payload_type, fade_in, fade_out};
use crate::leg::output::{Following, Packing, Quiet, Shared};
use crate::leg::session::Session;
use crate::metrics::DropReason;
use crate::shard::group::loss_percent;
use crate::shard::workbench::Workbench;

impl ConferenceAudio {
    /// Puts this tick's block of what a listener hears into his packet, and encodes the packet when that completes it.
    /// Returns whether it is complete.
    pub(super) fn pack<S>(&mut self, leg: &mut Leg<S>, slot: SlotId, due_ns: u64) -> bool {
        let (Some(session), Some(membership)) = (&mut leg.session, &leg.membership) else {
            return false;
        };
        let group = &self.groups[membership.group];
        let output = &mut leg.output;
        output.last_block_ns = Some(due_ns);
        let begins = group.start == 0;
        if !session.sends || (output.packing == Packing::Waiting && !begins) {
            let scale = session.scale();
            output.skip(scale.units(group.start), scale.units(group.end - group.start));
            output.following = Following::Nobody;
            if !session.sends {
                output.stop_dialling();
            }
            return false;
        }
        if begins {
            output.protected = output.wants_protection && group.protects();
        }
        let common = if output.protected {
            Shared::Protected
        } else {
            Shared::Common
        };
        let heard = match self.mixer.signal(slot) {
            Signal::Own => None,
            Signal::Waiting => Some(Shared::Waiting),
            // Where nobody speaks the common mix is silence too, and shared by more.
            Signal::Silence if self.contributions > 0 => Some(Shared::Silence),
            Signal::Silence | Signal::Common => Some(common),
        };
        output.packing = match (output.packing, heard) {
            (_, Some(signal)) if begins => Packing::Shared(signal),
            (Packing::Shared(before), Some(signal)) if before == signal => Packing::Shared(signal),
            (Packing::Shared(before), _) if !begins => {
                // What the group heard so far is what this listener heard.
                session.own[..group.start].copy_from_slice(&group.pcm(before)[..group.start]);
                Packing::Own
            }
            _ => Packing::Own,
        };
        let complete = group.complete;
        if output.packing == Packing::Own {
            self.place_own(leg, slot, heard);
        }
        if let Some(signal) = heard {
            leg.output.heard = Some(signal);
        }
        if complete {
            let audio = if leg.output.dials {
                self.dial(leg)
            } else {
                Audio::Sent
            };
            match audio {
                Audio::Sent if self.pauses(leg) => self.part_from_group(leg),
                Audio::Sent => self.encode(leg),
                Audio::Faded { fades_in, fades_out } => {
                    leg.output.pause.end();
                    self.encode_faded(leg, fades_in, fades_out);
                }
                Audio::LeftOut => {
                    leg.output.pause.end();
                    self.part_from_group(leg);
                }
            }
        }
        complete
    }

    /// Finds out which telephone-events go out at the end of the leg's packet, and what becomes of its audio.
    fn dial<S>(&mut self, leg: &mut Leg<S>) -> Audio {
        let Some(session) = &leg.session else {
            return Audio::Sent;
        };
        let output = &mut leg.output;
        let timestamp = output.sender.timestamp();
        let audio = output.dialler.complete(timestamp, session.ptime_ms);
        output.dials = output.dialler.slot.is_some() || !output.dialler.is_idle();
        audio
    }

    /// Finds out whether comfort noise stands for the leg's packet, which then is not sent.
    fn pauses<S>(&mut self, leg: &mut Leg<S>) -> bool {
        let (Some(session), Some(membership)) = (&leg.session, &leg.membership) else {
            return false;
        };
        if session.noise_send_pt.is_none() {
            return false;
        }
        let group = &mut self.groups[membership.group];
        let pause = &mut leg.output.pause;
        match leg.output.packing {
            Packing::Shared(signal) if group.is_quiet(signal) => {
                let quiet = pause.quiet(session.ptime_ms, group.noise_level(signal));
                pause.packet = Some(quiet).filter(|&quiet| quiet != Quiet::Audio);
            }
            _ => pause.end(),
        }
        pause.packet.is_some()
    }

    /// Lets the leg go on with its own encoder from where the far decoder is.
    fn part_from_group<S>(&mut self, leg: &mut Leg<S>) {
        if let (Some(session), Some(membership)) = (&mut leg.session, &leg.membership) {
            if let Following::Group(followed) = leg.output.following {
                let group = &self.groups[membership.group];
                session.encoder.copy_state_from(group.encoder_before(followed));
            }
            leg.output.following = Following::OWN;
        }
    }

    /// Encodes the leg's completed packet, whatever it shares with others, with its begin or its end faded.
    fn encode_faded<S>(&mut self, leg: &mut Leg<S>, fades_in: bool, fades_out: bool) {
        self.part_from_group(leg);
        let (Some(session), Some(membership)) = (&mut leg.session, &leg.membership) else {
            return;
        };
        let output = &mut leg.output;
        if let Packing::Shared(signal) = output.packing {
            session
                .own
                .copy_from_slice(self.groups[membership.group].pcm(signal));
            output.packing = Packing::Own;
        }
        let kind = session.coding.kind;
        if fades_in {
            fade_in(&mut session.own, kind.sample_rate_hz());
        }
        if fades_out {
            fade_out(&mut session.own, kind.sample_rate_hz(), kind.has_memory());
        }
        encode_own(session, &mut output.payload_len);
    }

    /// Puts this tick's block into the leg's own packet.
    fn place_own<S>(&mut self, leg: &mut Leg<S>, slot: SlotId, heard: Option<Shared>) {
        let (Some(session), Some(membership)) = (&mut leg.session, &leg.membership) else {
            return;
        };
        let group = &self.groups[membership.group];
        let place = &mut session.own[group.start..group.end];
        if let Some(signal) = heard {
            return place.copy_from_slice(&group.pcm(signal)[group.start..]);
        }
        let bus = &self.buses[group.bus];
        let output = &mut leg.output;
        let begins = output.own_tick + 1 != self.tick;
        output.own_tick = self.tick;
        let is_converted = bus.rate_hz() != self.mixer.format().rate_hz();
        if self.rate_is_to_change() {
            return self.place_own_across(leg, slot, begins);
        }
        if begins && is_converted {
            // His own mix goes on from what he heard before.
            match output.heard {
                Some(Shared::Silence) => session.from_mix.reset(),
                Some(Shared::Waiting) => {
                    let waiting = &self.waiting_buses[group.bus];
                    session.from_mix.copy_from(waiting.before());
                }
                Some(Shared::Common | Shared::Protected) | None => session.from_mix.copy_from(bus.before()),
            }
        }
        if !is_converted {
            return self.mixer.render_own(slot, place);
        }
        let block = &mut self.block[..self.mixer.block_samples()];
        self.mixer.render_own(slot, block);
        let written = session.from_mix.process(block, place);
        place[written..].fill(0);
    }

    /// Encodes the leg's completed packet, or lets its group do it.
    fn encode<S>(&mut self, leg: &mut Leg<S>) {
        let (Some(session), Some(membership)) = (&mut leg.session, &leg.membership) else {
            return;
        };
        let group = &mut self.groups[membership.group];
        let output = &mut leg.output;
        let shared = match output.packing {
            Packing::Shared(signal) => Some(signal),
            Packing::Own | Packing::Waiting => None,
        };
        if !session.coding.kind.has_memory() {
            match shared {
                Some(signal) => group.encode(signal),
                None => encode_own(session, &mut output.payload_len),
            }
            return;
        }
        if let Some(signal) = shared {
            let running_ms = group.running_ms(signal);
            let joins = match output.following {
                Following::Nobody => true,
                Following::Group(followed) => group.adopt_other(signal, followed),
                following => {
                    group.adopt(signal, &session.encoder)
                        || following.may_join(signal, running_ms, confab_dsp::score(group.pcm(signal)))
                            && session.encoder.agrees_with(group.encoder_before(signal))
                }
            };
            if joins {
                output.following = Following::Group(signal);
                return group.encode(signal);
            }
            // The leg's own encoder encodes the same, until both agree.
            session.own.copy_from_slice(group.pcm(signal));
            output.packing = Packing::Own;
        }
        if let Following::Group(followed) = output.following {
            session.encoder.copy_state_from(group.encoder_before(followed));
        }
        if group.protects() {
            let class = if output.protected {
                Shared::Protected
            } else {
                Shared::Common
            };
            session.encoder.set_loss(loss_percent(class));
        }
        output.following =
            output
                .following
                .sent_own(shared, session.ptime_ms, confab_dsp::score(&session.own));
        if let Some(signal) = shared {
            group.encode(signal);
            encode_towards(session, &mut output.payload_len, group.payload(signal));
        } else {
            encode_own(session, &mut output.payload_len);
        }
    }

    /// Puts a leg's completed packet among those to be sent.
    pub(super) fn write_packet<I: ShardIo>(
        &self,
        index: u32,
        leg: &mut Leg<I::Sockets>,
        bench: &mut Workbench<I>,
    ) {
        let (Some(session), Some(membership)) = (&mut leg.session, &leg.membership) else {
            return;
        };
        let group = &self.groups[membership.group];
        let units = session.scale().units(group.packet_samples());
        let slot = leg.output.dialler_slot();
        if leg.rtp_to.is_none() {
            bench.counters().dropped(DropReason::SendForbidden);
            leg.output.sender.skip(units);
            leg.output.pause.packet = None;
            return;
        }
        if let Some(slot) = slot
            && let Some(payload_type) = event_payload_type(session)
        {
            for event in slot.packets() {
                let length = event.payload.len();
                let header =
                    leg.output
                        .sender
                        .event_packet(payload_type, event.timestamp, event.marker, length);
                let (head, body) = packet_for(bench, index, length);
                body.copy_from_slice(&event.payload);
                header.write(head);
                protect(session, bench);
            }
            if slot.replaces_audio {
                return leg.output.sender.skip(units);
            }
        }
        if let Some(quiet) = leg.output.pause.packet.take() {
            if let (Quiet::Noise(level), Some(payload_type)) = (quiet, session.noise_send_pt) {
                let timestamp = leg.output.sender.timestamp();
                let header = leg.output.sender.event_packet(payload_type, timestamp, false, 1);
                let (head, body) = packet_for(bench, index, 1);
                body[0] = level;
                header.write(head);
                protect(session, bench);
            }
            return leg.output.sender.skip(units);
        }
        let payload = match leg.output.packing {
            Packing::Shared(signal) => group.payload(signal),
            Packing::Own => &session.payload[..leg.output.payload_len],
            Packing::Waiting => return,
        };
        let length = payload.len();
        let (head, body) = packet_for(bench, index, length);
        body.copy_from_slice(payload);
        leg.output
            .sender
            .next_packet(session.send_pt, units, length)
            .write(head);
        protect(session, bench);
    }
}

/// Protects the packet that was written last, where the leg has keys.
fn protect<I: ShardIo>(session: &mut Session, bench: &mut Workbench<I>) {
    if let Some(security) = &mut session.security {
        bench.protect_packed(&mut security.protector);
    }
}

/// Returns the places of header and payload of a packet to be sent.
fn packet_for<I: ShardIo>(
    bench: &mut Workbench<I>,
    index: u32,
    payload_len: usize,
) -> (&mut [u8; HEADER_LEN], &mut [u8]) {
    bench
        .packet_for(index, HEADER_LEN + payload_len)
        .split_first_chunk_mut()
        .expect("the packet is longer than its header")
}

/// Encodes the leg's own packet.
fn encode_own(session: &mut Session, payload_len: &mut usize) {
    *payload_len = session.encoder.encode(&session.own, &mut session.payload);
}

/// Encodes the leg's own packet of what its group encoded as `payload`, so that both encoders come to agree.
fn encode_towards(session: &mut Session, payload_len: &mut usize, payload: &[u8]) {
    *payload_len = session
        .encoder
        .encode_towards(&session.own, payload, &mut session.payload);
}
