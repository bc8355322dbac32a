//! The plays of one conference on their way: from the core that asks for them, by way of a fetch where one is needed, to the media
//! plane, and back as reports.
//!
//! A fetch runs beside the task, which goes on meanwhile; plays to one audience keep their order. What is still being fetched
//! when its hearer or the conference is gone is given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use confab_conference::{Audience, MediaName, PlayFailure, PlayNumber, StopPlay};
use confab_media::{ControlError, Play, PlayId};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

use super::{Task, wall};
use crate::conferences::inbox::PlayReport;
use crate::conferences::media::MixPlane;
use crate::sounds::{Audible, FetchError, Media};

/// Names of which the log says that they cannot be played; of others only at DEBUG.
const MOST_COMPLAINTS: usize = 16;

/// A fetch that has come to its end.
pub(super) struct Fetched {
    number: PlayNumber,
    audience: Audience,
    sounds: Result<Audible, FetchError>,
}

/// The plays that are not over.
#[derive(Default)]
pub(super) struct Playing {
    fetches: JoinSet<Fetched>,
    /// Not with the media plane yet, in their order.
    waiting: BTreeMap<Audience, VecDeque<Waiting>>,
    /// With the media plane.
    handed: BTreeMap<PlayId, (PlayNumber, Audience)>,
    complained: BTreeSet<MediaName>,
}

struct Waiting {
    number: PlayNumber,
    media: MediaName,
    duck_db: u8,
    content: Content,
}

enum Content {
    Here(Audible),
    Fetching(AbortHandle),
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Content::Fetching(fetch) = &self.content {
            fetch.abort();
        }
    }
}

impl Playing {
    /// Waits for the next fetch to come to its end; `None` when there is none. Cancel-safe.
    pub(super) async fn fetched(&mut self) -> Option<Result<Fetched, JoinError>> {
        self.fetches.join_next().await
    }

    /// Returns for which play, and for whom, a task fetches.
    fn fetched_by(&self, task: task::Id) -> Option<(PlayNumber, Audience)> {
        let fetches =
            |waiting: &&Waiting| matches!(&waiting.content, Content::Fetching(fetch) if fetch.id() == task);
        let mut queues = self.waiting.iter();
        queues.find_map(|(audience, queue)| Some((queue.iter().find(fetches)?.number, *audience)))
    }

    /// Gives up what was to be played to somebody who is gone.
    pub(super) fn forget(&mut self, audience: Audience) {
        self.waiting.remove(&audience);
    }

    /// Tells the operator that something cannot be played: once of each name, and not of many.
    fn complain(&mut self, media: &MediaName, what: &str, error: &dyn std::fmt::Display) {
        if self.complained.len() < MOST_COMPLAINTS && self.complained.insert(media.clone()) {
            tracing::warn!(what, %error, "nothing to play");
        } else {
            tracing::debug!(what, %error, "nothing to play");
        }
    }
}

impl<M: MixPlane> Task<M> {
    pub(super) async fn play(
        &mut self,
        number: PlayNumber,
        audience: Audience,
        media: MediaName,
        duck_db: u8,
    ) {
        let content = match self.shared.sounds.resolve(&media) {
            Ok(Media::Here(audible)) => Content::Here(audible),
            Ok(Media::Later(source)) => {
                let sounds = self.shared.sounds.clone();
                Content::Fetching(self.playing.fetches.spawn(async move {
                    Fetched {
                        number,
                        audience,
                        sounds: sounds.fetch(&source).await.inspect_err(|error| {
                            tracing::debug!(%source, %error, "a fetch failed");
                        }),
                    }
                }))
            }
            Err(problem) => {
                self.playing.complain(&media, media.as_str(), &problem);
                return self.failed(number, PlayFailure::Unknown);
            }
        };
        self.playing
            .waiting
            .entry(audience)
            .or_default()
            .push_back(Waiting {
                number,
                media,
                duck_db,
                content,
            });
        self.hand_over(audience).await;
    }

    /// Takes in what a fetch has brought.
    pub(super) async fn absorb_fetch(&mut self, fetched: Result<Fetched, JoinError>) {
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "a fetch broke down");
                match self.playing.fetched_by(error.id()) {
                    Some((number, audience)) => Fetched {
                        number,
                        audience,
                        sounds: Err(FetchError::Decoder),
                    },
                    None => return,
                }
            }
        };
        let (number, audience) = (fetched.number, fetched.audience);
        let Some(queue) = self.playing.waiting.get_mut(&audience) else {
            return;
        };
        let Some(at) = queue.iter().position(|waiting| waiting.number == number) else {
            return;
        };
        match fetched.sounds {
            Ok(audible) => queue[at].content = Content::Here(audible),
            Err(error) => {
                let failure = error.failure();
                if let Some(waiting) = queue.remove(at) {
                    let what = match self.shared.sounds.resolve(&waiting.media) {
                        Ok(Media::Later(source)) => source.to_string(),
                        _ => String::new(),
                    };
                    self.playing.complain(&waiting.media, &what, &error);
                }
                self.failed(number, failure);
            }
        }
        self.hand_over(audience).await;
    }

    /// Hands the media plane what is next for an audience, as far as it is there.
    async fn hand_over(&mut self, audience: Audience) {
        while let Some(queue) = self.playing.waiting.get_mut(&audience) {
            let next = queue.pop_front_if(|next| matches!(next.content, Content::Here(_)));
            if queue.is_empty() {
                self.playing.waiting.remove(&audience);
            }
            let Some(mut next) = next else { return };
            let Content::Here(audible) = &mut next.content else {
                return;
            };
            let play = Play {
                sounds: std::mem::take(&mut audible.sounds),
                repeat: audible.repeat,
                duck_db: (next.duck_db > 0).then(|| f32::from(next.duck_db)),
                ..Play::default()
            };
            let number = next.number;
            if !self.core.awaits_play(number) {
                continue;
            }
            let mix = Arc::clone(&self.mix);
            let handed = match audience {
                Audience::Everybody => M::play(&mix, None, play).await,
                Audience::One(participant) => match self.leg(participant) {
                    Some(leg) => M::play(&mix, Some(&leg), play).await,
                    None => return self.over(number),
                },
            };
            match handed {
                Ok(id) => {
                    self.playing.handed.insert(id, (number, audience));
                }
                // Who was to hear it has gone.
                Err(ControlError::LegClosed | ControlError::NotInConference) => self.over(number),
                Err(error) => {
                    tracing::debug!(%error, "the media plane did not take a play");
                    self.failed(number, PlayFailure::Media);
                }
            }
        }
    }

    pub(super) async fn stop_play(&mut self, audience: Audience, which: StopPlay) {
        let leg = match audience {
            Audience::Everybody => None,
            Audience::One(participant) => match self.leg(participant) {
                Some(leg) => Some(leg),
                None => return,
            },
        };
        let sounds = self
            .playing
            .handed
            .values()
            .any(|(_, heard_by)| *heard_by == audience);
        let (given_up, told) = match which {
            StopPlay::All => (usize::MAX, sounds.then_some(confab_media::StopPlay::All)),
            StopPlay::Current if sounds => (0, Some(confab_media::StopPlay::Current)),
            StopPlay::Current => (1, None),
        };
        if let Some(what) = told {
            let mix = Arc::clone(&self.mix);
            super::note(M::stop_play(&mix, leg.as_deref(), what).await);
        }
        for _ in 0..given_up {
            let queue = self.playing.waiting.get_mut(&audience);
            let Some(next) = queue.and_then(VecDeque::pop_front) else {
                break;
            };
            self.over(next.number);
        }
        self.hand_over(audience).await;
    }

    /// Tells the core what became of plays.
    pub(super) fn absorb_plays(&mut self, reports: impl IntoIterator<Item = PlayReport>) {
        for report in reports {
            match report {
                PlayReport::Started(id) => {
                    if let Some((number, _)) = self.playing.handed.get(&id) {
                        // Refused at the end only.
                        let _ = self.core.play_started(wall(), *number);
                    }
                }
                PlayReport::Ended(id) => {
                    if let Some((number, _)) = self.playing.handed.remove(&id) {
                        self.over(number);
                    }
                }
            }
        }
    }

    /// Tells the core that nothing of a play will be heard, and counts it.
    fn failed(&mut self, number: PlayNumber, failure: PlayFailure) {
        self.shared.play_failed(failure);
        // Refused at the end only, when nobody asks any more.
        let _ = self.core.play_failed(wall(), number, failure);
    }

    fn over(&mut self, number: PlayNumber) {
        // Refused at the end only, when nobody asks any more.
        let _ = self.core.play_ended(wall(), number);
    }
}
