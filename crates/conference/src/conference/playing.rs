//! Owns what plays when: what operators ask for, and what became of everything that plays. Never knows how it sounds.

use super::Conference;
use crate::play::{Occasion, Outstanding};
use crate::{
    Audience, Effect, EventKind, GregorianSeconds, MediaName, ParticipantId, PlayFailure, PlayNumber,
    Refusal, StopPlay,
};

impl Conference {
    /// Returns whether the play was asked for and is not over: nobody needs it otherwise.
    pub fn awaits_play(&self, play: PlayNumber) -> bool {
        self.plays.has(play)
    }

    /// Takes note that a play can be heard. Of a play that is not outstanding any more nothing is told.
    pub fn play_started(&mut self, wall: GregorianSeconds, play: PlayNumber) -> Result<(), Refusal> {
        self.alive()?;
        if let Some(started) = self.plays.started(play) {
            // What one participant is told later is no other tone.
            let is_later = matches!(started.occasion, Occasion::Entry | Occasion::Exit)
                && started.audience != Audience::Everybody;
            if is_later {
                return Ok(());
            }
            let kinds = match started.occasion {
                Occasion::Asked => (EventKind::PlayFile, EventKind::PlayFileMember),
                Occasion::Entry => (EventKind::EnterSound, EventKind::EnterSound),
                Occasion::Exit => (EventKind::ExitSound, EventKind::ExitSound),
                Occasion::Ending | Occasion::Notice | Occasion::Prompt | Occasion::Background => {
                    return Ok(());
                }
            };
            self.tell_play(wall, started.audience, started.media, kinds);
        }
        Ok(())
    }

    /// Takes note that a play is over, or was given up before it was heard. Told only of plays that were heard.
    pub fn play_ended(&mut self, wall: GregorianSeconds, play: PlayNumber) -> Result<(), Refusal> {
        self.alive()?;
        if let Some(ended) = self.plays.ended(play) {
            if ended.sounds && ended.occasion == Occasion::Asked {
                self.tell_play_done(wall, ended.audience, ended.media.clone());
            }
            self.go_on_after(wall, play, &ended);
        }
        Ok(())
    }

    /// Takes note that a play will not be heard because what it names cannot be had. One that was heard is over by that.
    pub fn play_failed(
        &mut self,
        wall: GregorianSeconds,
        play: PlayNumber,
        failure: PlayFailure,
    ) -> Result<(), Refusal> {
        self.alive()?;
        if let Some(failed) = self.plays.ended(play) {
            match failed.occasion {
                Occasion::Asked if failed.sounds => {
                    self.tell_play_done(wall, failed.audience, failed.media.clone());
                }
                Occasion::Asked => {
                    let kinds = (
                        EventKind::PlayFileFailed(failure),
                        EventKind::PlayFileMemberFailed(failure),
                    );
                    self.tell_play(wall, failed.audience, failed.media.clone(), kinds);
                }
                _ => {}
            }
            self.go_on_after(wall, play, &failed);
        }
        Ok(())
    }

    pub(super) fn play(&mut self, audience: Audience, media: MediaName) -> Result<(), Refusal> {
        self.check_audience(audience)?;
        let started = self.start(audience, vec![media], Occasion::Asked);
        started.map(drop).ok_or(Refusal::TooManyPlays)
    }

    pub(super) fn stop_play(&mut self, audience: Audience, which: StopPlay) -> Result<(), Refusal> {
        self.check_audience(audience)?;
        self.ask(Effect::StopPlay { audience, which });
        Ok(())
    }

    /// Ends what plays to somebody who is about to leave.
    pub(super) fn end_plays_of(&mut self, wall: GregorianSeconds, id: ParticipantId) {
        for play in self.plays.forget(Audience::One(id)) {
            self.tell_play_done(wall, play.audience, play.media);
        }
    }

    /// Ends what plays to everybody.
    pub(super) fn end_plays_of_all(&mut self, wall: GregorianSeconds) {
        for play in self.plays.forget(Audience::Everybody) {
            self.tell_play_done(wall, play.audience, play.media);
        }
    }

    fn check_audience(&mut self, audience: Audience) -> Result<(), Refusal> {
        match audience {
            Audience::Everybody | Audience::Waiting => Ok(()),
            Audience::One(id) => self.find(id).map(drop),
        }
    }

    /// Asks for a play; `None` when there is no room for it, or nothing to be heard.
    pub(super) fn start(
        &mut self,
        audience: Audience,
        media: Vec<MediaName>,
        occasion: Occasion,
    ) -> Option<PlayNumber> {
        let first = media.first()?.clone();
        let play = self.plays.add(audience, first, occasion)?;
        self.ask(Effect::Play {
            play,
            audience,
            media,
            manner: occasion.manner(audience),
            duck_db: self.settings.duck_db,
        });
        Some(play)
    }

    /// Stops a play if it is not over.
    pub(super) fn cancel(&mut self, play: PlayNumber) {
        if let Some(audience) = self.plays.audience(play) {
            self.ask(Effect::CancelPlay { play, audience });
        }
    }

    /// Does what was to be done when a play is over.
    fn go_on_after(&mut self, wall: GregorianSeconds, play: PlayNumber, over: &Outstanding) {
        match over.occasion {
            Occasion::Entry | Occasion::Exit => {
                self.forget_announcement(play);
                self.announce_next(over.audience, over.occasion);
            }
            Occasion::Ending => self.end_as_announced(wall, play),
            Occasion::Asked | Occasion::Notice | Occasion::Prompt | Occasion::Background => {}
        }
    }

    fn tell_play_done(&mut self, wall: GregorianSeconds, audience: Audience, media: MediaName) {
        let kinds = (EventKind::PlayFileDone, EventKind::PlayFileMemberDone);
        self.tell_play(wall, audience, media, kinds);
    }

    /// Publishes the first of two kinds for a play to everybody, the second for one to one participant.
    fn tell_play(
        &mut self,
        wall: GregorianSeconds,
        audience: Audience,
        media: MediaName,
        kinds: (EventKind, EventKind),
    ) {
        match audience {
            Audience::Everybody => self.publish_with(wall, kinds.0, None, (Some(media), None)),
            Audience::One(id) => {
                if let Some(state) = self.roster.get(&id).cloned() {
                    self.publish_with(wall, kinds.1, Some(state), (Some(media), None));
                }
            }
            // Operators ask for nothing there.
            Audience::Waiting => {}
        }
    }
}
