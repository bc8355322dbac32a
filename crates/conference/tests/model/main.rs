//! Random command sequences against a reference model, and the state rebuilt from events alone.

mod reference;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use confab_conference::*;
use proptest::prelude::*;
use reference::{Controls, Flags, Life, Model, Recorded, Sound};
use steps::{Step, setting, step};

/// What the media plane does with one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leg {
    muted: bool,
    deaf: bool,
    controls: Controls,
}

impl Leg {
    /// A leg in the mix before any effect: neither levelled nor denoised.
    fn joined(settings: &Settings) -> Leg {
        Leg {
            muted: false,
            deaf: false,
            controls: Controls {
                agc: false,
                denoise: false,
                ..Controls::of(settings)
            },
        }
    }
}

/// The conference under test, the model, and what an observer made of the outputs.
struct Trial {
    conference: Conference,
    model: Model,
    given: Vec<ParticipantId>,
    seconds: u64,
    reading: Option<Snapshot>,
    /// The legs as the performed effects left them.
    performed: BTreeMap<ParticipantId, Leg>,
    /// (talker, listener), as the performed effects left it.
    unheard: BTreeSet<(ParticipantId, ParticipantId)>,
    /// What was asked to be played, in order.
    asked: Vec<(PlayNumber, Audience, MediaName)>,
    /// What sounds, by the events; the same media may sound to several.
    shown: Vec<Audience>,
    /// Plays asked for that could not be had, and those of which that was told.
    failed: usize,
    told_failed: usize,
    added: BTreeSet<ParticipantId>,
    deleted: BTreeSet<ParticipantId>,
    destroyed: bool,
    /// What the effects have asked for and not ended.
    records: bool,
    recordings_told: i32,
}

impl Trial {
    fn new() -> Trial {
        let identity = Identity {
            account_id: AccountId::from("a"),
            conference_id: ConferenceId::from("c"),
            instance_id: InstanceId::from("i"),
        };
        let first = ParticipantId::new(100).expect("above zero");
        let ids = Box::new(SequentialIds::starting_at(first));
        Trial {
            conference: Conference::new(identity, Settings::default(), ids),
            model: Model {
                settings: Settings::default(),
                held: BTreeMap::new(),
                present: BTreeMap::new(),
                records: BTreeMap::new(),
                plays: Vec::new(),
                recording: Recorded::No,
                locked: false,
                started: false,
                ended: false,
            },
            given: Vec::new(),
            seconds: 0,
            reading: None,
            performed: BTreeMap::new(),
            unheard: BTreeSet::new(),
            asked: Vec::new(),
            shown: Vec::new(),
            failed: 0,
            told_failed: 0,
            added: BTreeSet::new(),
            deleted: BTreeSet::new(),
            destroyed: false,
            records: false,
            recordings_told: 0,
        }
    }

    fn id(&self, index: usize) -> ParticipantId {
        // Ids that were never given are tried as well.
        self.given
            .get(index)
            .copied()
            .unwrap_or(ParticipantId::new(1 + index as u64).expect("above zero"))
    }

    fn audience(&self, who: Option<usize>) -> Audience {
        who.map_or(Audience::Everybody, |who| Audience::One(self.id(who)))
    }

    /// The number of the play with that index; plays that were never asked for are tried as well.
    fn number(&self, index: usize) -> PlayNumber {
        self.asked
            .get(index)
            .map_or(PlayNumber(1000), |(number, ..)| *number)
    }

    fn control(&mut self, control: Control) -> (Command, Result<(), Refusal>) {
        let expected = self.model.control(control.clone());
        (Command::Control(control), expected)
    }

    fn play(&mut self, step: &Step) {
        let (command, expected) = match *step {
            Step::Reserve { moderator, entry } => {
                let role = if moderator { Role::Moderator } else { Role::Member };
                let caller = Caller::new(format!("call-{}", self.given.len()));
                (
                    Command::Reserve { caller, role, entry },
                    self.model.reserve(entry),
                )
            }
            Step::Join(who) => {
                let participant = self.id(who);
                (Command::Join { participant }, self.model.join(participant))
            }
            Step::Release(who) => {
                let participant = self.id(who);
                (Command::Release { participant }, self.model.release(participant))
            }
            Step::Leave(who) => {
                let participant = self.id(who);
                let cause = LeaveCause::HungUp;
                (
                    Command::Leave { participant, cause },
                    self.model.leave(participant),
                )
            }
            Step::Single(which, who) => {
                let id = self.id(who);
                let control = [
                    Control::Mute(id),
                    Control::Unmute(id),
                    Control::Deaf(id),
                    Control::Undeaf(id),
                    Control::Kick(id),
                    Control::Hold(id),
                    Control::Unhold(id),
                    Control::RaiseHand(id),
                    Control::LowerHand(id),
                ][usize::from(which)]
                .clone();
                self.control(control)
            }
            Step::Set(which, who, value) => {
                let control = setting(which, self.id(who), value);
                self.control(control)
            }
            Step::Relate(one, other, relationship) => {
                let control = Control::Relate {
                    participant: self.id(one),
                    other: self.id(other),
                    relationship,
                };
                self.control(control)
            }
            Step::Bulk(which) => {
                let control = [
                    Control::MuteAll,
                    Control::UnmuteAll,
                    Control::DeafAll,
                    Control::UndeafAll,
                    Control::Lock,
                    Control::Unlock,
                    Control::Unlock,
                    Control::KickAll,
                    Control::End,
                ][usize::from(which)]
                .clone();
                self.control(control)
            }
            Step::Talking(who, talking) => {
                let participant = self.id(who);
                let expected = self.model.with(participant, |flags| {
                    flags.talking = talking && !flags.muted && !flags.controls.held;
                });
                (Command::Talking { participant, talking }, expected)
            }
            Step::Energy(who, score) => {
                let participant = self.id(who);
                (
                    Command::Energy { participant, score },
                    self.model.with(participant, |f| f.energy = score),
                )
            }
            Step::Update {
                limit,
                join_muted,
                join_deaf,
                improved,
            } => {
                let settings = Settings {
                    max_participants: limit,
                    member: RoleSettings {
                        join_muted,
                        join_deaf,
                    },
                    auto_gain: improved,
                    denoise: improved,
                    entry_tone: (!join_muted).then(|| "tone_stream://entry".into()),
                    exit_tone: (!join_deaf).then(|| "tone_stream://exit".into()),
                    ..Settings::default()
                };
                let expected = if self.model.ended {
                    Err(Refusal::Ended)
                } else {
                    Ok(())
                };
                self.model.settings = settings.clone();
                (Command::Update(settings), expected)
            }
            Step::Floor(who) => {
                let holder = who.map(|who| self.id(who));
                (Command::Floor { holder }, self.model.pass_floor(holder))
            }
            Step::DigitsSent(who) | Step::Pressed(who) => {
                let participant = self.id(who);
                let command = match step {
                    Step::Pressed(_) => Command::KeyPressed {
                        participant,
                        key: '7',
                    },
                    _ => Command::DigitsSent { participant },
                };
                (command, self.model.with(participant, |_| ()))
            }
            Step::Play(who) => {
                let media = "asked".into();
                let audience = self.audience(who);
                self.control(Control::Play { media, audience })
            }
            Step::StopPlay(who, all) => {
                let which = if all { StopPlay::All } else { StopPlay::Current };
                let audience = self.audience(who);
                self.control(Control::StopPlay { audience, which })
            }
            Step::Started(index) => {
                let play = self.number(index);
                (
                    Command::PlayStarted { play },
                    self.model.became(index, Life::Sounds),
                )
            }
            Step::Ended(index) => {
                let play = self.number(index);
                (Command::PlayEnded { play }, self.model.became(index, Life::Over))
            }
            Step::Failed(index) => {
                let play = self.number(index);
                let failure = PlayFailure::Unreachable;
                let waits = |play: &reference::Played| play.sound == Sound::Asked && play.life == Life::Waits;
                self.failed +=
                    usize::from(!self.model.ended && self.model.plays.get(index).is_some_and(waits));
                (
                    Command::PlayFailed { play, failure },
                    self.model.became(index, Life::Over),
                )
            }
            Step::Missed(index, who) => {
                let (play, participant) = (self.number(index), self.id(who));
                (
                    Command::PlayMissed { play, participant },
                    self.model.missed(index, participant),
                )
            }
            Step::Record(which) => {
                let control = [
                    Control::StartRecording { tracks: None },
                    Control::StopRecording,
                    Control::PauseRecording,
                    Control::ResumeRecording,
                ][usize::from(which)]
                .clone();
                // It is as if it had never been asked for.
                self.records &= control != Control::StopRecording || self.model.recording != Recorded::Asked;
                self.control(control)
            }
            Step::RecordingBegan(began) => {
                let asked = self.model.recording == Recorded::Asked && !self.model.ended;
                self.records &= !asked || began;
                let command = match began {
                    true => Command::RecordingStarted { id: "r".into() },
                    false => Command::RecordingFailed { problem: "no".into() },
                };
                (command, self.model.recorded(began))
            }
            Step::RecordingTrouble(trouble) => {
                let problem = trouble.then(|| "full".into());
                let expected = self.model.recording_trouble(trouble);
                (Command::RecordingTrouble { problem }, expected)
            }
            Step::End => (
                Command::End {
                    cause: LeaveCause::ConferenceEnded,
                },
                self.model.end(),
            ),
        };
        self.seconds += 1;
        let reply = self
            .conference
            .apply(GregorianSeconds::from_unix(self.seconds), command);
        if let (Ok(Reply::Reserved(id)), Step::Reserve { moderator, entry }) = (&reply, step) {
            assert!(!self.given.contains(id), "an id was given twice");
            self.given.push(*id);
            self.model.held.insert(*id, (*moderator, *entry));
        }
        assert_eq!(reply.map(|_| ()), expected, "{step:?}");
        self.observe();
        self.compare();
    }

    fn observe(&mut self) {
        while let Some(output) = self.conference.poll_output() {
            match output {
                Output::Event(event) => self.hear(&event),
                Output::Effect(effect) => self.perform(effect),
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        assert!(!self.destroyed, "an event after conference-destroy");
        assert_eq!(
            event.kind.is_about_leg(),
            event.participant.is_some() && event.kind.name() != "floor-change"
        );
        match &mut self.reading {
            None => {
                self.reading = Some(Snapshot::begin(event).expect("the first event is conference-create"))
            }
            Some(reading) => reading.follow(event).expect("events follow without gaps"),
        }
        if let Some(state) = &event.participant {
            assert!(
                !(state.is_silenced() && state.talking),
                "silent and talking: {event:?}"
            );
        }
        let plays = event.kind.name().starts_with("play-file");
        let tones = matches!(event.kind, EventKind::EnterSound | EventKind::ExitSound);
        let recording = event.kind.name().contains("recording") && event.kind != EventKind::RecordingFailed;
        assert_eq!(plays || tones || recording, event.file.is_some(), "{event:?}");
        if plays {
            self.hear_play(event);
        }
        match event.kind {
            EventKind::StartRecording => self.recordings_told += 1,
            EventKind::StopRecording => self.recordings_told -= 1,
            _ => {}
        }
        match (event.kind, &event.participant) {
            (EventKind::AddMember, Some(state)) => {
                assert!(self.added.insert(state.id), "add-member twice");
                let leg = self
                    .performed
                    .entry(state.id)
                    .or_insert_with(|| Leg::joined(&self.model.settings));
                (leg.muted, leg.deaf) = (state.muted, state.deaf);
            }
            (EventKind::DelMember(_), Some(state)) => {
                assert!(!self.shown.contains(&Audience::One(state.id)), "it plays on");
                assert!(self.added.contains(&state.id) && self.deleted.insert(state.id));
                self.performed.remove(&state.id);
                self.unheard
                    .retain(|&(talker, listener)| talker != state.id && listener != state.id);
            }
            (EventKind::ConferenceDestroy, None) => {
                assert_eq!(self.added, self.deleted, "somebody was still in");
                assert_eq!(self.shown, [], "it plays on");
                assert_eq!(self.recordings_told, 0, "it records on");
                self.destroyed = true;
            }
            (_, Some(state)) => {
                assert!(self.added.contains(&state.id) && !self.deleted.contains(&state.id));
            }
            (_, None) => {}
        }
    }

    fn hear_play(&mut self, event: &Event) {
        assert_eq!(event.file, Some("asked".into()), "tones are not told");
        let audience = event
            .participant
            .as_ref()
            .map_or(Audience::Everybody, |state| Audience::One(state.id));
        if event.kind.name().ends_with("-done") {
            let at = self.shown.iter().position(|shown| *shown == audience);
            self.shown.swap_remove(at.expect("it was told to sound"));
        } else if event.kind.name().ends_with("-failed") {
            self.told_failed += 1;
        } else {
            self.shown.push(audience);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Play {
                play,
                audience,
                media,
                ..
            } => {
                assert!(self.asked.iter().all(|(known, ..)| *known < play), "numbers rise");
                self.asked.push((play, audience, media[0].clone()));
            }
            Effect::CancelPlay { .. } => panic!("nothing is cancelled in silence"),
            Effect::StopPlay { audience, .. } => {
                if let Audience::One(id) = audience {
                    assert!(self.performed.contains_key(&id));
                }
            }
            Effect::SetMuted { participant, muted } => {
                self.tell(participant, |leg| {
                    std::mem::replace(&mut leg.muted, muted) != muted
                });
            }
            Effect::SetDeaf { participant, deaf } => {
                self.tell(participant, |leg| std::mem::replace(&mut leg.deaf, deaf) != deaf);
            }
            Effect::SetHeld { participant, held } => {
                self.tell(participant, |leg| {
                    std::mem::replace(&mut leg.controls.held, held) != held
                });
            }
            Effect::SetVolumeIn { participant, volume } => {
                self.tell(participant, |leg| {
                    std::mem::replace(&mut leg.controls.volume_in, volume) != volume
                });
            }
            Effect::SetVolumeOut { participant, volume } => {
                self.tell(participant, |leg| {
                    std::mem::replace(&mut leg.controls.volume_out, volume) != volume
                });
            }
            Effect::SetEnergyLevel { participant, level } => {
                self.tell(participant, |leg| {
                    std::mem::replace(&mut leg.controls.energy_level, level) != level
                });
            }
            Effect::SetAgc { participant, on } => {
                self.tell(participant, |leg| {
                    std::mem::replace(&mut leg.controls.agc, on) != on
                });
            }
            Effect::SetDenoise { participant, on } => {
                self.tell(participant, |leg| {
                    std::mem::replace(&mut leg.controls.denoise, on) != on
                });
            }
            Effect::DistributeKeys { participant } => {
                // Once, when he joins.
                self.tell(participant, |_| true);
            }
            Effect::Transfer { participant, .. } | Effect::Execute { participant, .. } => {
                assert!(self.performed.contains_key(&participant), "a key of nobody");
            }
            Effect::SendDigits { participant, .. } => {
                assert!(self.performed.contains_key(&participant), "digits to nobody");
            }
            Effect::StartRecording(_) => {
                assert!(!std::mem::replace(&mut self.records, true), "one at a time");
            }
            Effect::StopRecording => assert!(std::mem::replace(&mut self.records, false)),
            Effect::PauseRecording(_) => assert!(self.records),
            Effect::SetHeard(hearing) => self.set_heard(hearing),
            Effect::HangUp { participant, .. } => {
                assert!(self.performed.contains_key(&participant), "hung up twice");
            }
            Effect::Destroy => assert!(self.conference.is_ended()),
        }
    }

    /// Changes a leg, which is in the mix or about to be announced.
    fn tell(&mut self, participant: ParticipantId, change: impl FnOnce(&mut Leg) -> bool) {
        let leg = self
            .performed
            .entry(participant)
            .or_insert_with(|| Leg::joined(&self.model.settings));
        assert!(change(leg), "an effect that changes nothing");
    }

    fn set_heard(&mut self, hearing: Hearing) {
        let Hearing {
            talker,
            listener,
            heard,
        } = hearing;
        assert!(self.performed.contains_key(&talker) && self.performed.contains_key(&listener));
        let changed = if heard {
            self.unheard.remove(&(talker, listener))
        } else {
            self.unheard.insert((talker, listener))
        };
        assert!(changed, "an effect that changes nothing");
    }

    fn compare_plays(&self) {
        assert_eq!(self.asked.len(), self.model.plays.len());
        for ((_, audience, media), play) in self.asked.iter().zip(&self.model.plays) {
            let tones = match play.sound {
                Sound::Asked => ["asked", "asked"],
                Sound::Entry => [MediaName::ENTRY_TONE, "tone_stream://entry"],
                Sound::Exit => [MediaName::EXIT_TONE, "tone_stream://exit"],
            };
            assert_eq!(*audience, play.audience);
            assert!(tones.contains(&media.as_str()), "{media:?}");
        }
        let mut shown = self.shown.clone();
        let plays = self.model.plays.iter();
        let mut expected: Vec<_> = plays
            .filter(|play| play.is_shown())
            .map(|play| play.audience)
            .collect();
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected, "what sounds is what was told");
        assert_eq!(self.told_failed, self.failed);
    }

    fn compare(&self) {
        assert_eq!(self.conference.is_ended(), self.model.ended);
        assert_eq!(self.destroyed, self.model.ended && self.model.started);
        self.compare_plays();
        let Ok(mut fresh) = self.conference.snapshot() else {
            assert!(self.model.ended || !self.model.started);
            return;
        };
        assert_eq!(fresh.locked, self.model.locked);
        let recorded = fresh
            .recording
            .as_ref()
            .map(|shown| (shown.paused, shown.problem.is_some()));
        match self.model.recording {
            Recorded::Yes { paused, trouble } => assert_eq!(recorded, Some((paused, trouble))),
            _ => assert_eq!(recorded, None),
        }
        let flags: BTreeMap<ParticipantId, Flags> = fresh
            .participants
            .iter()
            .map(|state| {
                let flags = Flags {
                    moderator: state.role == Role::Moderator,
                    ghost: state.ghost,
                    muted: state.muted,
                    deaf: state.deaf,
                    talking: state.talking,
                    floor: state.floor,
                    energy: state.current_energy,
                    hand_raised: state.hand_raised,
                    controls: Controls::shown(state),
                };
                (state.id, flags)
            })
            .collect();
        assert_eq!(flags, self.model.present);
        for state in &fresh.participants {
            let shown = Leg {
                muted: state.muted,
                deaf: state.deaf,
                controls: Controls::shown(state),
            };
            assert_eq!(self.performed[&state.id], shown, "the legs do what is shown");
        }
        assert_eq!(self.unheard, self.model.unheard(), "who does not hear whom");
        for talker in &fresh.participants {
            for listener in &fresh.participants {
                assert_eq!(
                    self.conference.hears(listener.id, talker.id),
                    !self.unheard.contains(&(talker.id, listener.id))
                );
            }
        }
        let mut reading = self
            .reading
            .clone()
            .expect("a running conference has announced itself");
        for state in fresh.participants.iter_mut().chain(&mut reading.participants) {
            state.current_energy = 0;
        }
        assert_eq!(reading, fresh, "rebuilt from events alone");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_commands_agrees_with_the_model_and_with_its_own_events(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.play(step);
        }
    }
}
