//! The plays of one conference on their way: from the core that asks for them, by way of a fetch where one is needed, to the media
//! plane, and back as reports.
//!
//! A fetch runs beside the task, which goes on meanwhile; plays to one audience keep their order. What is still being fetched
//! when its hearer or the conference is gone is given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use confab_conference::{Audience, Manner, MediaName, PlayFailure, PlayNumber, StopPlay};
use confab_media::{ControlError, Lane, Play, PlayId, Repeat};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

use super::{Task, wall};
use crate::conferences::inbox::PlayReport;
use crate::conferences::media::{MixPlane, To};
use crate::sounds::{Audible, FetchError, Media, Sounds};

/// Names of which the log says that they cannot be played; of others only at DEBUG.
const MOST_COMPLAINTS: usize = 16;

/// How long what plays to one waits for an announcement that was asked for before and is still being fetched. Longer, and he is told of it
/// afterwards.
const MOST_WAITING: Duration = Duration::from_secs(1);

/// A play that the core asks for.
pub(super) struct Order {
    pub(super) number: PlayNumber,
    pub(super) audience: Audience,
    pub(super) media: Vec<MediaName>,
    pub(super) manner: Manner,
    pub(super) duck_db: u8,
}

/// Plays that are heard one after the other: those to an audience, in the queue or in the background.
type Line = (Audience, Lane);

/// A fetch that has come to its end.
pub(super) struct Fetched {
    number: PlayNumber,
    line: Line,
    sounds: Result<Audible, FetchError>,
}

/// The plays that are not over.
#[derive(Default)]
pub(super) struct Playing {
    fetches: JoinSet<Fetched>,
    /// Not with the media plane yet, in their order.
    waiting: BTreeMap<Line, VecDeque<Waiting>>,
    /// With the media plane.
    handed: BTreeMap<PlayId, Handed>,
    complained: BTreeSet<MediaName>,
}

struct Handed {
    number: PlayNumber,
    line: Line,
    manner: Manner,
}

impl Handed {
    /// Returns whether an operator asked for it, for these.
    fn is_asked(&self, audience: Audience) -> bool {
        self.line.0 == audience && self.manner == Manner::Queue
    }
}

struct Waiting {
    number: PlayNumber,
    since: Instant,
    media: Vec<MediaName>,
    manner: Manner,
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
    fn fetched_by(&self, task: task::Id) -> Option<(PlayNumber, Line)> {
        let fetches =
            |waiting: &&Waiting| matches!(&waiting.content, Content::Fetching(fetch) if fetch.id() == task);
        let mut queues = self.waiting.iter();
        queues.find_map(|(line, queue)| Some((queue.iter().find(fetches)?.number, *line)))
    }

    /// Returns until when what is next in a line waits for an announcement that comes before it and is not there yet.
    fn waits_until(&self, line: &Line, next: &Waiting) -> Option<Instant> {
        let (Audience::One(_), Lane::Queue) = line else {
            return None;
        };
        let announced = self.waiting.get(&(Audience::Everybody, Lane::Queue))?.front()?;
        let waits = announced.manner == Manner::Announcement && announced.number < next.number;
        waits.then(|| next.since + MOST_WAITING)
    }

    /// Returns when something has waited long enough for what is not there yet.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let lines = self.waiting.iter();
        let next = lines.filter_map(|(line, queue)| {
            let next = queue.front()?;
            let is_here = matches!(next.content, Content::Here(_));
            self.waits_until(line, next).filter(|_| is_here)
        });
        next.min()
    }

    /// Gives up what was to be played to somebody who is gone.
    pub(super) fn forget(&mut self, audience: Audience) {
        self.waiting.retain(|(heard_by, _), _| *heard_by != audience);
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
    pub(super) async fn play(&mut self, order: Order) {
        let Order {
            number,
            audience,
            media,
            manner,
            duck_db,
        } = order;
        let lane = match manner {
            Manner::Queue | Manner::Announcement | Manner::Prompt => Lane::Queue,
            Manner::Background => Lane::Background,
        };
        let line = (audience, lane);
        let sounds = self.sounds();
        let mut found = Vec::with_capacity(media.len());
        for name in &media {
            if let Some(spoken) = self.names.audible(name) {
                found.push(Media::Here(spoken));
                continue;
            }
            match sounds.resolve(name) {
                Ok(part) => found.push(part),
                Err(problem) => self.playing.complain(name, name.as_str(), &problem),
            }
        }
        if found.is_empty() {
            return self.failed(number, PlayFailure::Unknown);
        }
        let content = match here(&found) {
            Some(sounds) => Content::Here(sounds),
            None => {
                let sounds = sounds.clone();
                Content::Fetching(self.playing.fetches.spawn(async move {
                    Fetched {
                        number,
                        line,
                        sounds: obtain(&sounds, found).await,
                    }
                }))
            }
        };
        self.playing.waiting.entry(line).or_default().push_back(Waiting {
            number,
            since: Instant::now(),
            media,
            manner,
            duck_db,
            content,
        });
        self.hand_over(line).await;
    }

    /// Returns what names of media mean for the account of the conference.
    pub(super) fn sounds(&self) -> Sounds {
        self.shared.sounds.of(&self.core.identity().account_id)
    }

    /// Takes in what a fetch has brought.
    pub(super) async fn absorb_fetch(&mut self, fetched: Result<Fetched, JoinError>) {
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "a fetch broke down");
                match self.playing.fetched_by(error.id()) {
                    Some((number, line)) => Fetched {
                        number,
                        line,
                        sounds: Err(FetchError::Decoder),
                    },
                    None => return,
                }
            }
        };
        let (number, line) = (fetched.number, fetched.line);
        let Some(queue) = self.playing.waiting.get_mut(&line) else {
            return;
        };
        let Some(at) = queue.iter().position(|waiting| waiting.number == number) else {
            return;
        };
        match fetched.sounds {
            Ok(audible) => queue[at].content = Content::Here(audible),
            Err(error) => {
                let failure = error.failure();
                if let Some(name) = queue.remove(at).and_then(|waiting| waiting.media.last().cloned()) {
                    let what = match self.sounds().resolve(&name) {
                        Ok(Media::Later(source)) => source.to_string(),
                        _ => String::new(),
                    };
                    self.playing.complain(&name, &what, &error);
                }
                self.failed(number, failure);
            }
        }
        self.hand_over(line).await;
    }

    /// Hands the media plane what is next in a line, as far as it is there, and what has waited for that.
    async fn hand_over(&mut self, line: Line) {
        self.hand_over_one(line).await;
        if line == (Audience::Everybody, Lane::Queue) {
            self.hand_over_the_rest().await;
        }
    }

    /// Hands the media plane what waits for no announcement any more.
    pub(super) async fn hand_over_the_rest(&mut self) {
        let lines = self.playing.waiting.keys().copied();
        let single = |(audience, lane): &Line| matches!(audience, Audience::One(_)) && *lane == Lane::Queue;
        for line in lines.filter(single).collect::<Vec<_>>() {
            self.hand_over_one(line).await;
        }
    }

    async fn hand_over_one(&mut self, line: Line) {
        let (audience, lane) = line;
        let now = Instant::now();
        loop {
            let Some(next) = self.playing.waiting.get(&line).and_then(VecDeque::front) else {
                return;
            };
            if self
                .playing
                .waits_until(&line, next)
                .is_some_and(|until| until > now)
            {
                return;
            }
            let Some(queue) = self.playing.waiting.get_mut(&line) else {
                return;
            };
            let next = queue.pop_front_if(|next| matches!(next.content, Content::Here(_)));
            if queue.is_empty() {
                self.playing.waiting.remove(&line);
            }
            let Some(mut next) = next else { return };
            let Content::Here(audible) = &mut next.content else {
                return;
            };
            let is_one = matches!(audience, Audience::One(_));
            let play = Play {
                sounds: std::mem::take(&mut audible.sounds),
                repeat: match lane {
                    Lane::Queue => audible.repeat,
                    Lane::Background => Repeat::Forever,
                },
                duck_db: (next.duck_db > 0).then(|| f32::from(next.duck_db)),
                gives_way: is_one,
                announces: next.manner == Manner::Announcement,
                ..Play::default()
            };
            let (number, manner) = (next.number, next.manner);
            if !self.core.awaits_play(number) {
                continue;
            }
            let handed = match self.hearer(audience) {
                Some(leg) => M::play(&self.mix, to(audience, leg.as_deref()), lane, play).await,
                None => return self.over(number),
            };
            match handed {
                Ok(id) => {
                    self.playing.handed.insert(id, Handed { number, line, manner });
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

    /// Returns the leg that an audience is, if it is one alone; `None` when that is gone.
    fn hearer(&self, audience: Audience) -> Option<Option<Arc<M::Leg>>> {
        match audience {
            Audience::Everybody | Audience::Waiting => Some(None),
            Audience::One(participant) => self.leg(participant).map(Some),
        }
    }

    /// Stops what operators play to an audience, and nothing that the conference says of itself.
    pub(super) async fn stop_play(&mut self, audience: Audience, which: StopPlay) {
        let Some(leg) = self.hearer(audience) else { return };
        let most = match which {
            StopPlay::All => usize::MAX,
            StopPlay::Current => 1,
        };
        let handed = self.playing.handed.iter();
        let asked = handed.filter(|(_, play)| play.is_asked(audience));
        let handed: Vec<PlayId> = asked.map(|(&id, _)| id).take(most).collect();
        for &id in &handed {
            let what = confab_media::StopPlay::Id(id);
            super::note(M::stop_play(&self.mix, to(audience, leg.as_deref()), what).await);
        }
        let line = (audience, Lane::Queue);
        let mut given_up = Vec::new();
        if let Some(queue) = self.playing.waiting.get_mut(&line) {
            let most = most.saturating_sub(handed.len());
            queue.retain(|waiting| {
                let is_hit = waiting.manner == Manner::Queue && given_up.len() < most;
                if is_hit {
                    given_up.push(waiting.number);
                }
                !is_hit
            });
        }
        for number in given_up {
            self.over(number);
        }
        self.hand_over(line).await;
    }

    /// Stops one play, be it with the media plane or on its way there.
    pub(super) async fn cancel_play(&mut self, number: PlayNumber, audience: Audience) {
        let mut handed = self.playing.handed.iter();
        if let Some((&id, _)) = handed.find(|(_, play)| play.number == number) {
            if let Some(leg) = self.hearer(audience) {
                let what = confab_media::StopPlay::Id(id);
                super::note(M::stop_play(&self.mix, to(audience, leg.as_deref()), what).await);
            }
            return;
        }
        for lane in [Lane::Queue, Lane::Background] {
            let line = (audience, lane);
            if let Some(queue) = self.playing.waiting.get_mut(&line) {
                queue.retain(|waiting| waiting.number != number);
                self.hand_over(line).await;
            }
        }
        self.over(number);
    }

    /// Tells the core what became of plays.
    pub(super) fn absorb_plays(&mut self, reports: impl IntoIterator<Item = PlayReport>) {
        for report in reports {
            match report {
                PlayReport::Started(id) => {
                    if let Some(play) = self.playing.handed.get(&id) {
                        // Refused at the end only.
                        let _ = self.core.play_started(wall(), play.number);
                    }
                }
                PlayReport::Missed(id, participant) => {
                    if let Some(play) = self.playing.handed.get(&id) {
                        // Refused when he has left.
                        let _ = self.core.play_missed(play.number, participant);
                    }
                }
                PlayReport::Ended(id) => {
                    if let Some(play) = self.playing.handed.remove(&id) {
                        self.over(play.number);
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

/// Returns whom the media plane is to play to.
fn to<L>(audience: Audience, leg: Option<&L>) -> To<'_, L> {
    match (audience, leg) {
        (Audience::Waiting, _) => To::Waiting,
        (_, Some(leg)) => To::One(leg),
        (_, None) => To::Everybody,
    }
}

/// Returns what is to be heard if all of it is there.
fn here(found: &[Media]) -> Option<Audible> {
    let mut whole = Audible::default();
    for part in found {
        match part {
            Media::Here(part) => whole.append(part.clone()),
            Media::Later(_) => return None,
        }
    }
    Some(whole)
}

/// Obtains what is not there. Of several parts those that cannot be had are left out.
///
/// # Errors
/// Nothing of it can be had: why the last part cannot.
async fn obtain(sounds: &Sounds, found: Vec<Media>) -> Result<Audible, FetchError> {
    let mut whole = Audible::default();
    let mut missing = None;
    for part in found {
        match part {
            Media::Here(part) => whole.append(part),
            Media::Later(source) => match sounds.fetch(&source).await {
                Ok(part) => whole.append(part),
                Err(error) => {
                    tracing::debug!(%source, %error, "a fetch failed");
                    missing = Some(error);
                }
            },
        }
    }
    match missing {
        Some(error) if whole.sounds.is_empty() => Err(error),
        _ => Ok(whole),
    }
}

/// Finds what one name means, however long that takes.
///
/// # Errors
/// Why there is nothing to hear.
pub(super) async fn find(sounds: &Sounds, name: &MediaName) -> Result<Audible, PlayFailure> {
    let found = sounds.resolve(name).map_err(|_| PlayFailure::Unknown)?;
    obtain(sounds, vec![found]).await.map_err(|error| error.failure())
}
