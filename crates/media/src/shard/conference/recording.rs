//! What a recording takes out of a conference's mix in each tick: the full mix, what the server adds to it, what each leg does. Taps come
//! and go as boxes that are made and freed outside the shard. Knows no files, and not what is recorded for whom.

use confab_mixer::{Mixer, SlotId};

use super::ConferenceAudio;
use crate::leg::Leg;
use crate::shard::key::{ConferenceKey, LegKey, Tenants};
use crate::shard::queues::Outbox;
use crate::tap::TapSource;

/// A recording: its taps.
pub(crate) struct Recording {
    mix: Box<TapSource>,
    /// What the server adds to the mix, where tracks are recorded.
    server: Option<Box<TapSource>>,
    /// Each leg's, the latest joined first.
    tracks: Option<Box<Track>>,
}

/// The tap of what one leg adds to the mix, from its joining to its leaving.
pub(crate) struct Track {
    source: Box<TapSource>,
    /// Whose it is to be.
    leg: LegKey,
    /// Whose it is, while that one is in the mix.
    slot: Option<SlotId>,
    next: Option<Box<Track>>,
}

impl Recording {
    pub(crate) fn new(mix: Box<TapSource>, server: Option<Box<TapSource>>) -> Self {
        Recording {
            mix,
            server,
            tracks: None,
        }
    }

    /// Adds the tap of a leg.
    pub(crate) fn add(&mut self, mut track: Box<Track>) {
        track.next = self.tracks.take();
        self.tracks = Some(track);
    }

    /// Returns whether nobody reads any of it any more.
    fn is_abandoned(&self) -> bool {
        let mut taps = self.server.iter().chain([&self.mix]);
        taps.all(|tap| tap.is_abandoned()) && self.tracks().all(|track| track.source.is_abandoned())
    }

    fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::successors(self.tracks.as_deref(), |track| track.next.as_deref())
    }

    /// Calls for each leg's tap.
    fn each(&mut self, mut act: impl FnMut(&mut Track)) {
        let mut next = self.tracks.as_deref_mut();
        while let Some(track) = next {
            act(track);
            next = track.next.as_deref_mut();
        }
    }

    /// Ends the tap of a leg that leaves.
    pub(super) fn leave(&mut self, slot: SlotId) {
        self.each(|track| {
            track.slot.take_if(|its| *its == slot);
        });
    }

    /// Takes out a tap that has ended, or that nobody reads.
    fn take_ended(&mut self) -> Option<Box<Track>> {
        let mut place = &mut self.tracks;
        while place.as_ref().is_some_and(|track| !track.has_ended()) {
            place = &mut place.as_mut()?.next;
        }
        let mut ended = place.take()?;
        *place = ended.next.take();
        Some(ended)
    }

    /// Takes what was just mixed, which lies at `at_ms`. `block` is working memory of a block of the mix.
    fn take(&mut self, mixer: &mut Mixer, at_ms: u64, block: &mut [i16]) {
        let place = Place {
            at_ms,
            rate_hz: mixer.format().rate_hz(),
            samples: block.len(),
        };
        if let Some(server) = &mut self.server {
            let sounds = mixer.server_part(block);
            place.put(server, sounds.then_some(&*block));
        }
        self.each(|track| {
            if let Some(slot) = track.slot {
                place.put(&mut track.source, mixer.contribution(slot));
            }
        });
        // Last: who has read the whole finds the parts.
        let sounds = mixer.full_mix(block);
        place.put(&mut self.mix, sounds.then_some(&*block));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // One after the other, however many they are.
        let mut next = self.tracks.take();
        while let Some(mut track) = next {
            next = track.next.take();
        }
    }
}

impl Track {
    pub(crate) fn new(leg: LegKey, source: Box<TapSource>) -> Box<Self> {
        Box::new(Track {
            source,
            leg,
            slot: None,
            next: None,
        })
    }

    fn has_ended(&self) -> bool {
        self.slot.is_none() || self.source.is_abandoned()
    }
}

/// Where the blocks of one tick lie.
struct Place {
    at_ms: u64,
    rate_hz: u32,
    samples: usize,
}

impl Place {
    /// Writes a block, or that there is nothing.
    fn put(&self, tap: &mut TapSource, block: Option<&[i16]>) {
        match block.filter(|block| block.iter().any(|&sample| sample != 0)) {
            Some(block) => tap.put(self.at_ms, self.rate_hz, block),
            None => tap.put_silence(self.at_ms, self.rate_hz, self.samples),
        }
    }
}

impl ConferenceAudio {
    /// Records from the next tick on, in place of what recorded before, which is returned to be freed elsewhere. Taps of legs that are not in
    /// this conference end at once.
    pub(crate) fn record<S>(
        &mut self,
        at: ConferenceKey,
        mut recording: Box<Recording>,
        legs: &mut Tenants<Leg<S>>,
    ) -> Option<Box<Recording>> {
        recording.each(|track| {
            let leg = legs.get(track.leg.index, track.leg.generation);
            let membership = leg.and_then(|leg| leg.membership);
            track.slot = membership
                .filter(|membership| membership.conference == at)
                .map(|membership| membership.slot);
        });
        self.recording.replace(recording)
    }

    /// Records a leg that has just joined; without a recording, its tap stays.
    pub(super) fn record_leg(&mut self, slot: SlotId, track: &mut Option<Box<Track>>) {
        if let Some(recording) = &mut self.recording
            && let Some(mut track) = track.take()
        {
            track.slot = Some(slot);
            recording.add(track);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Lets the recording have what was just mixed.
    pub(super) fn record_tick(&mut self) {
        if let Some(recording) = &mut self.recording {
            let block = &mut self.block[..self.mixer.block_samples()];
            recording.take(&mut self.mixer, self.position_ms, block);
        }
    }

    /// Gives back what nobody records any more, as far as there is room; the rest waits.
    pub(super) fn give_back_recorded<S>(&mut self, outbox: &mut Outbox<S>) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        if recording.is_abandoned() {
            return outbox.give_back(&mut self.recording);
        }
        while outbox.has_room_to_give_back()
            && let Some(track) = recording.take_ended()
        {
            outbox.give_back(&mut Some(track));
        }
    }
}
