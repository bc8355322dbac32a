//! Random command sequences against a reference model, and the state rebuilt from events alone.

use std::collections::{BTreeMap, BTreeSet};

use confab_conference::*;
use proptest::prelude::*;

/// One step. Participants are meant by their index among all ids given so far, so that dead ids are tried as well.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        moderator: bool,
        entry: Entry,
    },
    Join(usize),
    Release(usize),
    Leave(usize),
    Single(u8, usize),
    Set(u8, usize, u8),
    Relate(usize, usize, Relationship),
    Bulk(u8),
    Talking(usize, bool),
    Energy(usize, u16),
    Update {
        limit: Option<u32>,
        join_muted: bool,
        join_deaf: bool,
        improved: bool,
    },
    Floor(Option<usize>),
    /// To everybody, or to one.
    Play(Option<usize>),
    StopPlay(Option<usize>, bool),
    /// What became of a play, by its index among all of this instance.
    Started(usize),
    Ended(usize),
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..12usize;
    let entry = prop_oneof![
        4 => Just(Entry::DialIn),
        1 => (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(muted, deaf, ghost)| Entry::DialOut { muted, deaf, ghost }),
    ];
    let relationship = prop_oneof![
        Just(Relationship::Mute),
        Just(Relationship::Deaf),
        Just(Relationship::Clear)
    ];
    prop_oneof![
        6 => (any::<bool>(), entry).prop_map(|(moderator, entry)| Step::Reserve { moderator, entry }),
        8 => who.clone().prop_map(Step::Join),
        1 => who.clone().prop_map(Step::Release),
        3 => who.clone().prop_map(Step::Leave),
        6 => (0..7u8, who.clone()).prop_map(|(control, who)| Step::Single(control, who)),
        4 => (0..5u8, who.clone(), 0..4u8).prop_map(|(control, who, value)| Step::Set(control, who, value)),
        8 => (who.clone(), who.clone(), relationship).prop_map(|(one, other, r)| Step::Relate(one, other, r)),
        2 => (0..8u8).prop_map(Step::Bulk),
        6 => (who.clone(), any::<bool>()).prop_map(|(who, talking)| Step::Talking(who, talking)),
        4 => (who, any::<u16>()).prop_map(|(who, score)| Step::Energy(who, score)),
        1 => (proptest::option::of(0..5u32), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(limit, join_muted, join_deaf, improved)| Step::Update { limit, join_muted, join_deaf, improved }
        ),
        4 => proptest::option::of(0..12usize).prop_map(Step::Floor),
        6 => proptest::option::of(0..12usize).prop_map(Step::Play),
        2 => (proptest::option::of(0..12usize), any::<bool>()).prop_map(|(who, all)| Step::StopPlay(who, all)),
        6 => (0..20usize).prop_map(Step::Started),
        4 => (0..20usize).prop_map(Step::Ended),
        1 => prop_oneof![9 => Just(Step::Floor(None)), 1 => Just(Step::End)],
    ]
}

/// What the model knows of one participant: the flags that commands decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flags {
    moderator: bool,
    ghost: bool,
    muted: bool,
    deaf: bool,
    talking: bool,
    floor: bool,
    energy: u16,
    controls: Controls,
}

/// What operators set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Controls {
    held: bool,
    volume_in: Volume,
    volume_out: Volume,
    energy_level: u16,
    agc: bool,
    denoise: bool,
}

impl Controls {
    fn of(settings: &Settings) -> Controls {
        Controls {
            held: false,
            volume_in: Volume::default(),
            volume_out: Volume::default(),
            energy_level: settings.energy_level,
            agc: settings.auto_gain,
            denoise: settings.denoise,
        }
    }

    fn shown(state: &ParticipantState) -> Controls {
        Controls {
            held: state.held,
            volume_in: state.volume_in,
            volume_out: state.volume_out,
            energy_level: state.energy_level,
            agc: state.agc,
            denoise: state.denoise,
        }
    }
}

/// A control that sets a value, as a step names it.
fn setting(which: u8, id: ParticipantId, value: u8) -> Control {
    let volume = Volume::from_level(i64::from(value)).expect("a level");
    match which {
        0 => Control::SetVolumeIn(id, volume),
        1 => Control::SetVolumeOut(id, volume),
        2 => Control::SetEnergy(id, u16::from(value)),
        3 => Control::SetAgc(id, value > 1),
        _ => Control::SetDenoise(id, value > 1),
    }
}

/// What the model knows of a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Played {
    audience: Audience,
    sound: Sound,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    Asked,
    Entry,
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Waits,
    Sounds,
    Over,
}

impl Played {
    fn of(audience: Audience, sound: Sound) -> Played {
        let life = Life::Waits;
        Played {
            audience,
            sound,
            life,
        }
    }

    /// Told and not over.
    fn is_shown(&self) -> bool {
        self.sound == Sound::Asked && self.life == Life::Sounds
    }
}

/// The reference: a plain account of the rules, without events and effects.
#[derive(Debug)]
struct Model {
    settings: Settings,
    held: BTreeMap<ParticipantId, (bool, Entry)>,
    present: BTreeMap<ParticipantId, Flags>,
    records: BTreeMap<(ParticipantId, ParticipantId), Relationship>,
    /// What was asked to be played, in order; the last are the newest.
    plays: Vec<Played>,
    locked: bool,
    started: bool,
    ended: bool,
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

impl Model {
    fn reserve(&self, entry: Entry) -> Result<(), Refusal> {
        let limit = self.settings.max_participants.filter(|&limit| limit > 1);
        let count = self.present.values().filter(|flags| !flags.ghost).count()
            + self.held.values().filter(|(_, entry)| !entry.is_ghost()).count();
        if self.ended {
            Err(Refusal::Ended)
        } else if self.locked && entry == Entry::DialIn {
            Err(Refusal::Locked)
        } else if !entry.is_ghost() && limit.is_some_and(|limit| count >= limit as usize) {
            Err(Refusal::Full)
        } else {
            Ok(())
        }
    }

    fn join(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        let (moderator, entry) = self.held.remove(&id).ok_or(Refusal::UnknownParticipant(id))?;
        let role = if moderator {
            self.settings.moderator
        } else {
            self.settings.member
        };
        let (muted, deaf) = match entry {
            Entry::DialIn => (role.join_muted, role.join_deaf),
            Entry::DialOut { muted, deaf, .. } => (muted, deaf),
        };
        let ghost = entry.is_ghost();
        let controls = Controls::of(&self.settings);
        self.present.insert(
            id,
            Flags {
                moderator,
                ghost,
                muted,
                deaf,
                talking: false,
                floor: false,
                energy: 0,
                controls,
            },
        );
        self.started = true;
        if !ghost && self.counted() > 1 {
            self.tone(Sound::Entry);
        }
        Ok(())
    }

    fn with(&mut self, id: ParticipantId, change: impl FnOnce(&mut Flags)) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        self.present
            .get_mut(&id)
            .map(change)
            .ok_or(Refusal::UnknownParticipant(id))
    }

    fn gone(&mut self, known: bool, id: ParticipantId) -> Result<(), Refusal> {
        let refused = if self.ended {
            Refusal::Ended
        } else {
            Refusal::UnknownParticipant(id)
        };
        self.ended |= self.held.is_empty() && self.present.is_empty() && known;
        if self.ended {
            self.end_plays(|_| true);
        }
        if known { Ok(()) } else { Err(refused) }
    }

    fn counted(&self) -> usize {
        self.present.values().filter(|flags| !flags.ghost).count()
    }

    fn tone(&mut self, sound: Sound) {
        let wanted = match sound {
            Sound::Entry => self.settings.entry_tone.is_some(),
            _ => self.settings.exit_tone.is_some(),
        };
        let waits = |play: &Played| play.sound == sound && play.life == Life::Waits;
        if wanted && !self.plays.iter().any(waits) {
            self.plays.push(Played::of(Audience::Everybody, sound));
        }
    }

    fn audience(&self, audience: Audience) -> Result<(), Refusal> {
        match audience {
            _ if self.ended => Err(Refusal::Ended),
            _ if !self.started => Err(Refusal::NotRunning),
            Audience::One(id) if !self.present.contains_key(&id) => Err(Refusal::UnknownParticipant(id)),
            _ => Ok(()),
        }
    }

    fn play(&mut self, audience: Audience) -> Result<(), Refusal> {
        self.audience(audience)?;
        let mine = |play: &&Played| {
            play.audience == audience && play.sound == Sound::Asked && play.life != Life::Over
        };
        if self.plays.iter().filter(mine).count() == 12 {
            return Err(Refusal::TooManyPlays);
        }
        self.plays.push(Played::of(audience, Sound::Asked));
        Ok(())
    }

    fn became(&mut self, play: usize, life: Life) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        if let Some(play) = self.plays.get_mut(play)
            && play.life != Life::Over
        {
            play.life = life;
        }
        Ok(())
    }

    fn end_plays(&mut self, of: impl Fn(Audience) -> bool) {
        for play in self.plays.iter_mut().filter(|play| of(play.audience)) {
            play.life = Life::Over;
        }
    }

    fn leave(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        let gone = self.present.remove(&id);
        let known = gone.is_some();
        self.end_plays(|audience| audience == Audience::One(id));
        if gone.is_some_and(|gone| !gone.ghost) && self.counted() > 0 {
            self.tone(Sound::Exit);
        }
        self.records.retain(|&(one, other), _| one != id && other != id);
        self.gone(known, id)
    }

    fn release(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        let known = self.held.remove(&id).is_some();
        self.gone(known, id)
    }

    fn control(&mut self, control: Control) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        let may_precede = matches!(control, Control::Lock | Control::Unlock) && !self.held.is_empty();
        if !self.started && !may_precede {
            return Err(Refusal::NotRunning);
        }
        let quieten = |flags: &mut Flags| {
            flags.talking = false;
            flags.floor = false;
        };
        let mute = |flags: &mut Flags| {
            flags.muted = true;
            quieten(flags);
        };
        match control {
            Control::Mute(id) => self.with(id, mute),
            Control::Unmute(id) => self.with(id, |flags| flags.muted = false),
            Control::Deaf(id) => self.with(id, |flags| flags.deaf = true),
            Control::Undeaf(id) => self.with(id, |flags| flags.deaf = false),
            Control::Kick(id) => self.leave(id),
            Control::Hold(id) => self.with(id, |flags| {
                flags.controls.held = true;
                quieten(flags);
            }),
            Control::Unhold(id) => self.with(id, |flags| flags.controls.held = false),
            Control::SetVolumeIn(id, volume) => self.with(id, |flags| flags.controls.volume_in = volume),
            Control::SetVolumeOut(id, volume) => self.with(id, |flags| flags.controls.volume_out = volume),
            Control::SetEnergy(id, level) => self.with(id, |flags| flags.controls.energy_level = level),
            Control::SetAgc(id, on) => self.with(id, |flags| flags.controls.agc = on),
            Control::SetDenoise(id, on) => self.with(id, |flags| flags.controls.denoise = on),
            Control::Relate {
                participant,
                other,
                relationship,
            } => self.relate(participant, other, relationship),
            Control::MuteAll => self.members(mute),
            Control::UnmuteAll => self.members(|flags| flags.muted = false),
            Control::DeafAll => self.members(|flags| flags.deaf = true),
            Control::UndeafAll => self.members(|flags| flags.deaf = false),
            Control::Play { audience, .. } => self.play(audience),
            Control::StopPlay { audience, .. } => self.audience(audience),
            Control::SendDigits(id, _) => self.with(id, |_| ()),
            Control::KickAll => {
                self.present.clear();
                self.records.clear();
                self.end_plays(|audience| audience != Audience::Everybody);
                self.ended = self.held.is_empty();
                if self.ended {
                    self.end_plays(|_| true);
                }
                Ok(())
            }
            Control::Lock => {
                self.locked = true;
                Ok(())
            }
            Control::Unlock => {
                self.locked = false;
                Ok(())
            }
        }
    }

    fn relate(
        &mut self,
        one: ParticipantId,
        other: ParticipantId,
        relationship: Relationship,
    ) -> Result<(), Refusal> {
        self.with(other, |_| ())?;
        self.with(one, |_| ())?;
        if one == other {
            return Err(Refusal::RelatedToSelf(one));
        }
        self.records.insert((one, other), relationship);
        Ok(())
    }

    /// Returns every ordered pair of which the listener, second, does not hear the talker.
    fn unheard(&self) -> BTreeSet<(ParticipantId, ParticipantId)> {
        let pairs = self
            .records
            .iter()
            .filter_map(|(&(one, other), record)| match record {
                Relationship::Mute => Some((one, other)),
                Relationship::Deaf => Some((other, one)),
                Relationship::Clear => None,
            });
        pairs.collect()
    }

    fn members(&mut self, change: impl Fn(&mut Flags)) -> Result<(), Refusal> {
        self.present
            .values_mut()
            .filter(|flags| !flags.moderator)
            .for_each(change);
        Ok(())
    }

    fn pass_floor(&mut self, holder: Option<ParticipantId>) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        if let Some(id) = holder.filter(|id| !self.present.contains_key(id)) {
            return Err(Refusal::UnknownParticipant(id));
        }
        for (&id, flags) in &mut self.present {
            flags.floor = Some(id) == holder && !flags.muted && !flags.controls.held && !flags.ghost;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        self.held.clear();
        self.present.clear();
        self.end_plays(|_| true);
        self.ended = true;
        Ok(())
    }
}

/// What the media plane does with one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leg {
    muted: bool,
    deaf: bool,
    controls: Controls,
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
    added: BTreeSet<ParticipantId>,
    deleted: BTreeSet<ParticipantId>,
    destroyed: bool,
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
            added: BTreeSet::new(),
            deleted: BTreeSet::new(),
            destroyed: false,
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
        assert_eq!(plays, event.file.is_some(), "{event:?}");
        if plays {
            self.hear_play(event);
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
                self.asked.push((play, audience, media));
            }
            Effect::StopPlay { audience, .. } => {
                if let Audience::One(id) = audience {
                    assert!(self.performed.contains_key(&id));
                }
            }
            Effect::SendDigits { participant, .. } => {
                assert!(self.performed.contains_key(&participant));
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

    fn compare(&self) {
        assert_eq!(self.conference.is_ended(), self.model.ended);
        assert_eq!(self.destroyed, self.model.ended && self.model.started);
        let asked: Vec<_> = self
            .asked
            .iter()
            .map(|(_, audience, media)| (*audience, media.as_str()))
            .collect();
        let names = |sound| match sound {
            Sound::Asked => "asked",
            Sound::Entry => "entry",
            Sound::Exit => "exit",
        };
        assert_eq!(asked.len(), self.model.plays.len());
        for ((audience, media), play) in asked.iter().zip(&self.model.plays) {
            assert_eq!(*audience, play.audience);
            let by_default = [MediaName::ENTRY_TONE, MediaName::EXIT_TONE].contains(media);
            assert!(by_default && play.sound != Sound::Asked || media.ends_with(names(play.sound)));
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
        let Ok(mut fresh) = self.conference.snapshot() else {
            assert!(self.model.ended || !self.model.started);
            return;
        };
        assert_eq!(fresh.locked, self.model.locked);
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
