//! Owns what plays when: what operators ask for, and the tones when somebody comes or goes. Never knows how it sounds.

use super::Conference;
use crate::play::Occasion;
use crate::{
    Audience, Effect, EventKind, GregorianSeconds, MediaName, ParticipantId, ParticipantState, PlayFailure,
    PlayNumber, Refusal, StopPlay,
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
            let kinds = match started.occasion {
                Occasion::Asked => (EventKind::PlayFile, EventKind::PlayFileMember),
                Occasion::Entry => (EventKind::EnterSound, EventKind::EnterSound),
                Occasion::Exit => (EventKind::ExitSound, EventKind::ExitSound),
            };
            self.tell_play(wall, started.audience, started.media, kinds);
        }
        Ok(())
    }

    /// Takes note that a play is over, or was given up before it was heard. Told only of plays that were heard.
    pub fn play_ended(&mut self, wall: GregorianSeconds, play: PlayNumber) -> Result<(), Refusal> {
        self.alive()?;
        if let Some(ended) = self.plays.ended(play)
            && ended.sounds
            && ended.occasion == Occasion::Asked
        {
            self.tell_play_done(wall, ended.audience, ended.media);
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
        if let Some(failed) = self.plays.ended(play)
            && failed.occasion == Occasion::Asked
        {
            if failed.sounds {
                self.tell_play_done(wall, failed.audience, failed.media);
            } else {
                let kinds = (
                    EventKind::PlayFileFailed(failure),
                    EventKind::PlayFileMemberFailed(failure),
                );
                self.tell_play(wall, failed.audience, failed.media, kinds);
            }
        }
        Ok(())
    }

    pub(super) fn play(&mut self, audience: Audience, media: MediaName) -> Result<(), Refusal> {
        self.check_audience(audience)?;
        if self.start(audience, media, Occasion::Asked) {
            Ok(())
        } else {
            Err(Refusal::TooManyPlays)
        }
    }

    pub(super) fn stop_play(&mut self, audience: Audience, which: StopPlay) -> Result<(), Refusal> {
        self.check_audience(audience)?;
        self.ask(Effect::StopPlay { audience, which });
        Ok(())
    }

    /// Plays the tone of an occasion to everybody. A tone of this kind that has not begun to sound yet stands for all who come
    /// or go meanwhile.
    pub(super) fn sound(&mut self, occasion: Occasion) {
        let tone = match occasion {
            Occasion::Entry => &self.settings.entry_tone,
            Occasion::Exit => &self.settings.exit_tone,
            Occasion::Asked => &None,
        };
        if let Some(tone) = tone.clone() {
            self.start(Audience::Everybody, tone, occasion);
        }
    }

    /// Plays the exit tone of somebody who is off the roster already, if anybody is left to hear it.
    pub(super) fn sound_exit(&mut self, gone: &ParticipantState) {
        if !gone.ghost && self.counted() > 0 {
            self.sound(Occasion::Exit);
        }
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
            if play.occasion == Occasion::Asked {
                self.tell_play_done(wall, play.audience, play.media);
            }
        }
    }

    fn check_audience(&mut self, audience: Audience) -> Result<(), Refusal> {
        match audience {
            Audience::Everybody => Ok(()),
            Audience::One(id) => self.find(id).map(drop),
        }
    }

    /// Asks for a play; returns whether there was room for it.
    fn start(&mut self, audience: Audience, media: MediaName, occasion: Occasion) -> bool {
        let Some(play) = self.plays.add(audience, media.clone(), occasion) else {
            return false;
        };
        self.ask(Effect::Play {
            play,
            audience,
            media,
            duck_db: self.settings.duck_db,
        });
        true
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
            Audience::Everybody => self.publish_with(wall, kinds.0, None, Some(media)),
            Audience::One(id) => {
                if let Some(state) = self.roster.get(&id).cloned() {
                    self.publish_with(wall, kinds.1, Some(state), Some(media));
                }
            }
        }
    }
}
