//! What somebody hears who is off the roster already, before his call ends. Beside the task, which may end meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use confab_conference::{LeaveCause, MediaName};
use confab_media::{Lane, Play, Sound, StopPlay};

use super::playing::find;
use super::work::Work;
use super::{Member, Task, note};
use crate::conferences::media::{MixPlane, To};

/// How long it is sought, and how long it is heard, at most.
const MOST_SEEKING: Duration = Duration::from_secs(2);
const MOST_HEARD: Duration = Duration::from_secs(15);

/// What is between the asking for a play and its being heard.
const ON_ITS_WAY: Duration = Duration::from_millis(150);

/// How often it is seen to whether the server ends.
const PAUSE: Duration = Duration::from_millis(100);

impl<M: MixPlane> Task<M> {
    /// Lets somebody hear something alone, neither heard nor hearing the others, and ends his call then.
    pub(super) fn say_farewell(&self, mut member: Member<M>, cause: LeaveCause, media: MediaName) {
        (member.attachment, member.counted) = (None, None);
        let (mix, shared) = (Arc::clone(&self.mix), Arc::clone(&self.shared));
        let sounds = self.sounds();
        tokio::spawn(async move {
            let leg = Arc::clone(&member.leg);
            note(M::set_muted(&leg, true).await);
            note(M::set_deaf(&leg, true).await);
            for what in [StopPlay::All, StopPlay::Background] {
                note(M::stop_play(&mix, To::One(&leg), what).await);
            }
            let found = tokio::time::timeout(MOST_SEEKING, find(&sounds, &media)).await;
            if let Ok(Ok(audible)) = found {
                let lasts: Option<Duration> = audible.sounds.iter().map(Sound::duration).sum();
                let mut left = lasts.map_or(MOST_HEARD, |lasts| (lasts + ON_ITS_WAY).min(MOST_HEARD));
                let play = Play {
                    sounds: audible.sounds,
                    ..Play::default()
                };
                if M::play(&mix, To::One(&leg), Lane::Queue, play).await.is_ok() {
                    while !left.is_zero() && !shared.draining.load(Ordering::SeqCst) {
                        let pause = left.min(PAUSE);
                        tokio::time::sleep(pause).await;
                        left -= pause;
                    }
                }
            }
            Work::HangUp(member, cause).perform().await;
        });
    }
}
