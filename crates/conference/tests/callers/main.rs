//! What callers experience, at random: who waits, who hears hold music, when a conference ends. Compared after each step with
//! rules that are written down anew here, from what is true of those who are there.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use confab_conference::*;
use proptest::prelude::*;
use rules::{Person, Rules};

#[derive(Clone, Debug)]
enum Step {
    Enter {
        moderator: bool,
        entry: Entry,
    },
    Leave(usize),
    Kick(usize),
    Single(u8, usize),
    Keys(usize, &'static str),
    MuteAll,
    UnmuteAll,
    Lock(bool),
    Pass(u64),
    /// The play that was asked for before so many others is over.
    Over(usize),
    Rules {
        wait: bool,
        require: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..7usize;
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let entry = prop_oneof![
        3 => Just(Entry::DialIn),
        1 => flags.prop_map(|(muted, deaf, ghost, no_hold_music, join_existing)| Entry::DialOut {
            muted,
            deaf,
            ghost,
            no_hold_music,
            join_existing,
            distributes_keys: false
        }),
        1 => any::<bool>().prop_map(|ghost| Entry::Moved(Carried { ghost, ..Carried::default() })),
    ];
    let keys = prop_oneof![
        Just("*1"),
        Just("*2"),
        Just("*3"),
        Just("*4"),
        Just("*5"),
        Just("*6"),
        Just("#"),
        Just("7"),
        Just("*")
    ];
    prop_oneof![
        8 => (prop::bool::weighted(0.3), entry).prop_map(|(moderator, entry)| Step::Enter { moderator, entry }),
        4 => who.clone().prop_map(Step::Leave),
        2 => who.clone().prop_map(Step::Kick),
        6 => (0..6u8, who.clone()).prop_map(|(which, who)| Step::Single(which, who)),
        4 => (who, keys).prop_map(|(who, keys)| Step::Keys(who, keys)),
        1 => Just(Step::MuteAll),
        1 => Just(Step::UnmuteAll),
        1 => any::<bool>().prop_map(Step::Lock),
        3 => prop_oneof![Just(100u64), Just(600), Just(1000), Just(1799), Just(1800)].prop_map(Step::Pass),
        3 => (0..6usize).prop_map(Step::Over),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(wait, require)| Step::Rules { wait, require }),
    ]
}

struct Trial {
    conference: Conference,
    settings: Settings,
    rules: Rules,
    /// Everybody who was ever in, or refused.
    known: Vec<ParticipantId>,
    wall: u64,
    reading: Option<Snapshot>,
    /// Legs that are out of the mix.
    out: BTreeSet<ParticipantId>,
    /// What plays and is not over, by what was asked.
    plays: BTreeMap<PlayNumber, (Audience, Vec<MediaName>, Manner)>,
    farewells: usize,
}

impl Trial {
    fn new(wait: bool, require: bool) -> Trial {
        let settings = Settings {
            wait_for_moderator: wait,
            require_moderator: require,
            sounds: Sounds {
                kicked: Some("kicked".into()),
                ..Sounds::speaking("en-us")
            },
            ..Settings::default()
        };
        let identity = Identity {
            account_id: AccountId::from("a"),
            conference_id: ConferenceId::from("c"),
            instance_id: InstanceId::from("i"),
        };
        Trial {
            conference: Conference::new(identity, settings.clone(), Box::new(SequentialIds::default())),
            rules: Rules::new(wait || require, require),
            settings,
            known: Vec::new(),
            wall: 0,
            reading: None,
            out: BTreeSet::new(),
            plays: BTreeMap::new(),
            farewells: 0,
        }
    }

    fn apply(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.wall += 1;
        let reply = self
            .conference
            .apply(GregorianSeconds::from_unix(self.wall), command);
        while let Some(output) = self.conference.poll_output() {
            match output {
                Output::Event(event) => match &mut self.reading {
                    None => self.reading = Snapshot::begin(&event),
                    Some(reading) => reading.follow(&event).expect("done"),
                },
                Output::Effect(effect) => self.perform(effect),
            }
        }
        reply
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::SetHeld { participant, held } => {
                let changed = if held {
                    self.out.insert(participant)
                } else {
                    self.out.remove(&participant)
                };
                assert!(changed, "an effect that changes nothing");
            }
            Effect::Play {
                play,
                audience,
                media,
                manner,
                ..
            } => {
                assert!(!media.is_empty());
                let before = self.plays.insert(play, (audience, media, manner));
                assert_eq!(before, None);
            }
            Effect::CancelPlay { play, audience } => {
                let (heard_by, ..) = self.plays.remove(&play).expect("it plays");
                assert_eq!(heard_by, audience);
                // What is stopped tells its end as well.
                let _ = self.conference.play_ended(GregorianSeconds(self.wall), play);
            }
            Effect::StopPlay { audience, .. } => {
                let stopped: Vec<_> = self
                    .plays
                    .iter()
                    .filter(|(_, (heard_by, _, manner))| *heard_by == audience && *manner == Manner::Queue)
                    .map(|(&play, _)| play)
                    .collect();
                for play in stopped {
                    self.plays.remove(&play);
                    let _ = self.conference.play_ended(GregorianSeconds(self.wall), play);
                }
            }
            Effect::HangUp {
                participant,
                farewell,
                ..
            } => {
                self.farewells += usize::from(farewell.is_some());
                self.forget(participant);
            }
            _ => {}
        }
    }

    /// What is for somebody who is gone ends with him.
    fn forget(&mut self, participant: ParticipantId) {
        self.out.remove(&participant);
        self.plays
            .retain(|_, (audience, ..)| *audience != Audience::One(participant));
    }

    fn who(&self, index: usize) -> ParticipantId {
        let present: Vec<_> = self.rules.people.keys().copied().collect();
        present
            .get(index)
            .copied()
            .unwrap_or(ParticipantId::new(900).expect("done"))
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Enter { moderator, entry } => self.enter(moderator, entry),
            Step::Leave(who) => {
                let participant = self.who(who);
                let cause = LeaveCause::HungUp;
                let left = self.apply(Command::Leave { participant, cause });
                self.forget(participant);
                assert_eq!(left.is_ok(), self.rules.leave(participant));
            }
            Step::Kick(who) => {
                let id = self.who(who);
                let before = self.farewells;
                let kicked = self.apply(Command::Control(Control::Kick(id))).is_ok();
                assert_eq!(self.farewells - before, usize::from(kicked));
                assert_eq!(kicked, self.rules.leave(id));
            }
            Step::Single(which, who) => {
                let id = self.who(who);
                let controls = [
                    Control::Mute(id),
                    Control::Unmute(id),
                    Control::Deaf(id),
                    Control::Undeaf(id),
                    Control::Hold(id),
                    Control::Unhold(id),
                ];
                let done = self
                    .apply(Command::Control(controls[usize::from(which)].clone()))
                    .is_ok();
                let known = self.rules.change(id, |person| match which {
                    0 => person.muted = true,
                    1 => person.muted = false,
                    2 => person.deaf = true,
                    3 => person.deaf = false,
                    4 => person.held = true,
                    _ => person.held = false,
                });
                assert_eq!(done, known);
            }
            Step::Keys(who, keys) => {
                let participant = self.who(who);
                let mut done = true;
                for key in keys.chars() {
                    done &= self.apply(Command::KeyPressed { participant, key }).is_ok();
                }
                if done {
                    self.rules.keys(participant, keys);
                }
                if keys == "#" {
                    self.forget(participant);
                }
            }
            Step::MuteAll | Step::UnmuteAll => {
                let muted = matches!(step, Step::MuteAll);
                let control = if muted {
                    Control::MuteAll
                } else {
                    Control::UnmuteAll
                };
                if self.apply(Command::Control(control)).is_ok() {
                    self.rules.mute_all(muted);
                }
            }
            Step::Lock(lock) => {
                let control = if lock { Control::Lock } else { Control::Unlock };
                if self.apply(Command::Control(control)).is_ok() {
                    self.rules.locked = lock;
                }
            }
            Step::Pass(milliseconds) => {
                self.rules.pass(milliseconds);
                let now = Moment(self.rules.now);
                let _ = self.apply(Command::Advance { now });
            }
            Step::Over(back) => {
                let over = self.plays.keys().rev().nth(back).copied();
                let queued = |play: &PlayNumber| self.plays[play].2 != Manner::Background;
                if let Some(play) = over.filter(queued) {
                    let (_, media, _) = self.plays.remove(&play).expect("it was just there");
                    if media.iter().any(|name| name.as_str().ends_with("conf-ending")) {
                        self.rules.end();
                    }
                    let _ = self.apply(Command::PlayEnded { play });
                }
            }
            Step::Rules { wait, require } => {
                self.settings.wait_for_moderator = wait;
                self.settings.require_moderator = require;
                if self.apply(Command::Update(self.settings.clone())).is_ok() {
                    self.rules.set(wait || require, require);
                }
            }
        }
        self.compare();
    }

    fn enter(&mut self, moderator: bool, entry: Entry) {
        let role = if moderator { Role::Moderator } else { Role::Member };
        let caller = Caller::new("call");
        let reply = self.apply(Command::Reserve { caller, role, entry });
        assert_eq!(reply.is_ok(), self.rules.admits(entry), "{reply:?}");
        let Ok(Reply::Reserved(participant)) = reply else {
            return;
        };
        let flags = self.conference.join_flags(participant).expect("done");
        if flags.waiting {
            self.out.insert(participant);
        }
        self.known.push(participant);
        let Ok(Reply::Joined(state)) = self.apply(Command::Join { participant }) else {
            panic!("a held place is taken");
        };
        assert_eq!(state.waiting, flags.waiting);
        let person = Person {
            moderator,
            ghost: flags.ghost,
            no_music: matches!(
                entry,
                Entry::DialOut {
                    no_hold_music: true,
                    ..
                }
            ),
            muted: state.muted,
            deaf: state.deaf,
            held: false,
            waits: false,
        };
        self.rules.enter(participant, person);
    }

    /// Who hears music without an end.
    fn music(&self) -> BTreeSet<Audience> {
        let background = self
            .plays
            .values()
            .filter(|(.., manner)| *manner == Manner::Background);
        let audiences: Vec<_> = background.map(|(audience, ..)| *audience).collect();
        let set: BTreeSet<_> = audiences.iter().copied().collect();
        assert_eq!(set.len(), audiences.len(), "two at once");
        set
    }

    fn compare(&mut self) {
        assert_eq!(self.conference.is_ended(), self.rules.ended);
        if self.rules.ended {
            return;
        }
        let Ok(fresh) = self.conference.snapshot() else {
            assert!(self.rules.people.is_empty());
            return;
        };
        assert_eq!(self.reading.as_ref(), Some(&fresh), "rebuilt from events alone");
        assert_eq!(fresh.locked, self.rules.locked);
        assert_eq!((fresh.members(), fresh.moderators()), self.rules.counts());
        for state in &fresh.participants {
            let person = &self.rules.people[&state.id];
            let shown = (state.muted, state.deaf, state.held, state.waiting);
            assert_eq!(shown, (person.muted, person.deaf, person.held, person.waits));
            assert_eq!(self.out.contains(&state.id), person.held || person.waits);
        }
        assert_eq!(fresh.participants.len(), self.rules.people.len());
        assert_eq!(self.music(), self.rules.music(), "hold music");
        let announced = |(_, media, _): &&(Audience, Vec<MediaName>, Manner)| media.len() == 1;
        let tones = self
            .plays
            .values()
            .filter(announced)
            .filter(|(audience, ..)| *audience == Audience::Everybody);
        assert!(tones.count() <= 5, "announcements pile up");
        assert_eq!(self.conference.deadline().map(|due| due.0), self.rules.deadline());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn music_waiting_counts_and_the_end_follow_the_rules(
        wait in any::<bool>(),
        require in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut trial = Trial::new(wait, require);
        for step in &steps {
            trial.take(step);
            if trial.rules.ended {
                break;
            }
        }
    }
}
