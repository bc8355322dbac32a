//! The plays of a conference as the control side knows them: until the shard has given one back and it is freed, it is
//! counted. Knows nothing of what is heard.

use std::sync::{Arc, Weak};

use crate::playback::{Asked, Clip, Kind, Lane, PLAY_QUEUE, PlayId, Sound, StopPlay};
use crate::shard::command::Audience;

/// One play.
struct Alive {
    id: PlayId,
    to: Audience,
    lane: Lane,
    asked: Weak<Asked>,
    /// It was not told to stop.
    counts: bool,
}

/// The plays of one conference.
#[derive(Default)]
pub(super) struct Plays(Vec<Alive>);

impl Plays {
    /// Returns how many plays there are.
    pub(super) fn count(&mut self) -> usize {
        self.0.retain(|play| play.asked.strong_count() > 0);
        self.0.len()
    }

    /// Returns whether one more may wait for these hearers: one plays, the others wait.
    pub(super) fn may_wait(&self, to: Audience) -> bool {
        self.queue_of(to).count() <= PLAY_QUEUE
    }

    fn queue_of(&self, to: Audience) -> impl Iterator<Item = &Alive> {
        self.0.iter().filter(move |play| {
            let waits = play.counts && play.to == to && play.lane == Lane::Queue;
            waits && play.asked.upgrade().is_some_and(|asked| !asked.is_over())
        })
    }

    /// Returns whether these hearers have this play, and it has neither ended nor been told to stop.
    pub(super) fn has(&self, to: Audience, id: PlayId) -> bool {
        self.0.iter().any(|play| {
            let is_it = play.id == id && play.to == to && play.counts;
            is_it && play.asked.upgrade().is_some_and(|asked| !asked.is_over())
        })
    }

    pub(super) fn add(&mut self, id: PlayId, to: Audience, lane: Lane, asked: &Arc<Asked>) {
        self.0.push(Alive {
            id,
            to,
            lane,
            asked: Arc::downgrade(asked),
            counts: true,
        });
    }

    /// Makes room for others at once where plays are told to stop.
    pub(super) fn stopped(&mut self, to: Audience, what: StopPlay) {
        let current = self.queue_of(to).next().map(|play| play.id);
        for play in self.0.iter_mut().filter(|play| play.to == to) {
            play.counts &= !match what {
                StopPlay::Current => Some(play.id) == current,
                StopPlay::All => play.lane == Lane::Queue,
                StopPlay::Background => false,
                StopPlay::Id(id) => play.id == id,
            };
        }
    }

    /// Returns what is to be converted when the rate of the mix changes.
    pub(super) fn clips(&self) -> Vec<Clip> {
        let alive = self.0.iter().filter_map(|play| play.asked.upgrade());
        alive.flat_map(|asked| clips_of(&asked.play.sounds)).collect()
    }
}

/// Returns the clips among some sounds.
pub(super) fn clips_of(sounds: &[Sound]) -> Vec<Clip> {
    let clips = sounds.iter().filter_map(|sound| match &sound.0 {
        Kind::Clip(clip) => Some(clip.clone()),
        Kind::Tones(_) => None,
    });
    clips.collect()
}

/// Converts clips for mixes of this rate where that was not done before. Takes time, so it is done beside the runtime's
/// threads.
pub(super) async fn convert(mut clips: Vec<Clip>, rate_hz: u32) {
    clips.retain(|clip| clip.at(rate_hz).is_none());
    if clips.is_empty() {
        return;
    }
    let work = move || {
        for clip in &clips {
            clip.convert(rate_hz);
        }
    };
    match tokio::runtime::Handle::try_current() {
        // A runtime that is ending needs nothing converted.
        Ok(runtime) => drop(runtime.spawn_blocking(work).await),
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playback::Play;

    #[test]
    fn what_is_over_or_told_to_stop_makes_room() {
        let mut plays = Plays::default();
        let play = |plays: &mut Plays, id, to, lane| {
            let asked = Asked::new(Play::default());
            plays.add(PlayId(id), to, lane, &asked);
            asked
        };
        let mut asked: Vec<_> = (0..=PLAY_QUEUE as u64)
            .map(|id| {
                assert!(plays.may_wait(Audience::Everybody));
                play(&mut plays, id, Audience::Everybody, Lane::Queue)
            })
            .collect();
        assert!(!plays.may_wait(Audience::Everybody));
        assert!(plays.may_wait(Audience::Waiting), "another queue");
        let background = play(&mut plays, 99, Audience::Everybody, Lane::Background);
        asked.remove(3);
        assert!(plays.may_wait(Audience::Everybody));
        asked.push(play(&mut plays, 98, Audience::Everybody, Lane::Queue));
        assert!(!plays.may_wait(Audience::Everybody));
        let over = asked.remove(5);
        let is_there = |plays: &Plays, id| plays.has(Audience::Everybody, PlayId(id));
        assert!(is_there(&plays, 6) && is_there(&plays, 99));
        over.set_over();
        drop(over);
        assert!(!is_there(&plays, 6) && !is_there(&plays, 3) && !plays.has(Audience::Waiting, PlayId(7)));
        assert!(plays.may_wait(Audience::Everybody));
        asked.push(play(&mut plays, 100, Audience::Everybody, Lane::Queue));
        for (what, room) in [
            (StopPlay::Background, 0),
            (StopPlay::Current, 1),
            (StopPlay::Id(PlayId(7)), 2),
            (StopPlay::Id(PlayId(7)), 2),
            (StopPlay::All, PLAY_QUEUE + 1),
        ] {
            plays.stopped(Audience::Waiting, what);
            plays.stopped(Audience::Everybody, what);
            let waiting = plays.queue_of(Audience::Everybody).count();
            assert_eq!(PLAY_QUEUE + 1 - waiting, room, "{what:?}");
        }
        assert_eq!(
            plays.count(),
            PLAY_QUEUE + 2,
            "they are there until they are freed"
        );
        drop((asked, background));
        assert_eq!(plays.count(), 0);
    }
}
