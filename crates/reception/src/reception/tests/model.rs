//! Any order of keys, times, ends of plays and answers, against a model that knows what was typed.

use super::super::*;
use crate::flow::{NameFlow, RoleFlow};
use crate::pin::Pins;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Key(char),
    PlayEnds,
    OldPlayEnds,
    Wait(u64),
    Found(u8, Vec<String>, Vec<String>),
    NotFound,
    Judged { delay_ms: u32, blocked: bool },
    Reserved(u8),
    Recorded(bool),
    Failed,
    Start,
}

fn pins() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[1-3]{1,2}", 0..3)
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof![
        6 => prop_oneof![Just('1'), Just('2'), Just('3')],
        3 => Just('#'),
        1 => prop_oneof![Just('*'), Just('A'), Just('x'), Just('é')],
    ];
    prop_oneof![
        8 => key.prop_map(Step::Key),
        4 => Just(Step::PlayEnds),
        1 => Just(Step::OldPlayEnds),
        3 => prop_oneof![0_u64..200, 4000_u64..70_000].prop_map(Step::Wait),
        2 => (0_u8..3, pins(), pins()).prop_map(|(role, members, moderators)| Step::Found(role, members, moderators)),
        1 => Just(Step::NotFound),
        3 => (0_u32..12_000, prop::bool::weighted(0.1))
            .prop_map(|(delay_ms, blocked)| Step::Judged { delay_ms, blocked }),
        2 => (0_u8..5).prop_map(Step::Reserved),
        2 => any::<bool>().prop_map(Step::Recorded),
        1 => prop_oneof![9 => Just(Step::Start), 1 => Just(Step::Failed)],
    ]
}

fn role_of(number: u8) -> RoleSoFar {
    [RoleSoFar::Member, RoleSoFar::Moderator, RoleSoFar::Undecided][usize::from(number % 3)]
}

fn candidate(role: u8, members: &[String], moderators: &[String]) -> Candidate {
    let of = |pins: &[String]| RoleFlow {
        pins: Pins::new(pins),
        says_joining: role.is_multiple_of(2),
    };
    let flow = CallFlow {
        welcome: role == 1,
        member: of(members),
        moderator: of(moderators),
        names: (moderators.len() == 1).then_some(NameFlow {
            reviews: members.is_empty(),
        }),
        ..CallFlow::default()
    };
    Candidate::new(role_of(role), flow)
}

/// What the outputs have to agree with.
#[derive(Debug, Default)]
struct Model {
    /// Role so far and PINs of the conference that is known.
    known: Option<(RoleSoFar, Vec<String>, Vec<String>)>,
    numbers: u8,
    pins: u8,
    /// The role that a right PIN gave, and the one that the guard let pass.
    judged: Option<Role>,
    passed: Option<Role>,
    granted: bool,
    /// Something is recorded, or was.
    recording: bool,
    has_name: bool,
    over: bool,
    plays: Vec<u32>,
    now: u64,
}

impl Model {
    /// What an entry gives, written out as in the contract.
    fn gives(&self, typed: &str) -> Option<Role> {
        let (role, members, moderators) = self.known.as_ref()?;
        let has = |pins: &[String]| pins.iter().any(|pin| pin == typed);
        match role {
            RoleSoFar::Member => has(members).then_some(Role::Member),
            RoleSoFar::Moderator => has(moderators).then_some(Role::Moderator),
            _ if has(members) => Some(Role::Member),
            _ if has(moderators) => Some(Role::Moderator),
            _ => None,
        }
    }

    /// The role of who need not, or did not, type anything.
    fn free_role(&self) -> Option<Role> {
        let (role, members, moderators) = self.known.as_ref()?;
        match role {
            RoleSoFar::Moderator if moderators.is_empty() => Some(Role::Moderator),
            RoleSoFar::Member | RoleSoFar::Undecided if members.is_empty() => Some(Role::Member),
            _ => None,
        }
    }

    /// Takes what comes out; `typed` is the entry that was complete before, where there was one.
    fn drain(&mut self, reception: &mut Reception, typed: &str) {
        while let Some(output) = reception.poll_output() {
            assert!(!self.over, "{output:?} after the end");
            match output {
                Output::Play { number, sayings, .. } => {
                    assert!(!sayings.is_empty());
                    assert!(self.has_name || !sayings.contains(&Saying::Name));
                    assert!(!self.recording, "what is heard would be recorded");
                    self.plays.push(number);
                    self.numbers += u8::from(sayings.contains(&Saying::Prompt(Prompt::BadNumber)));
                    self.pins += u8::from(sayings.contains(&Saying::Prompt(Prompt::BadPin)));
                    assert!(self.numbers <= TRIES && self.pins <= TRIES, "too many tries");
                }
                Output::StopPlaying => {}
                Output::Record => {
                    assert!(self.granted && !self.recording, "{self:?}");
                    self.recording = true;
                    self.has_name = false;
                }
                Output::StopRecording => assert!(self.recording),
                Output::LookUp(number) => {
                    assert_eq!(number, typed);
                    assert!(!number.is_empty() && number.len() <= 16 && self.known.is_none());
                }
                Output::Judge { right } => {
                    assert!(self.pins < TRIES);
                    assert_eq!(right, self.gives(typed).is_some(), "{typed} {self:?}");
                    self.judged = self.gives(typed);
                }
                Output::Reserve(role) => {
                    let free = self.free_role();
                    assert!(
                        self.passed == Some(role) || free == Some(role),
                        "{role:?} {self:?}"
                    );
                }
                Output::Enter(_) => {
                    assert!(self.granted && !self.recording);
                    self.over = true;
                }
                Output::HangUp(_) => self.over = true,
            }
        }
        assert_eq!(reception.is_over(), self.over);
        assert_eq!(reception.poll_timeout().is_none(), self.over);
    }
}

/// Returns what is typed now.
fn typed(reception: &Reception) -> String {
    match &reception.state {
        State::Entering(entering) => entering.entry.number(),
        _ => String::new(),
    }
}

/// Returns the first entry of what was typed ahead.
fn first_entry(ahead: &VecDeque<char>) -> String {
    let mut entry = String::new();
    for key in ahead {
        match key {
            '#' => break,
            '*' => entry.clear(),
            '0'..='9' if entry.len() < 16 => entry.push(*key),
            _ => {}
        }
    }
    entry
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_nobody_enters_without_his_pin_and_everybody_ends(
        steps in proptest::collection::vec(step(), 0..120),
        first in proptest::option::of((0_u8..3, pins(), pins())),
    ) {
        let mut model = Model::default();
        let start = match &first {
            Some((role, members, moderators)) => {
                model.known = Some((role_of(*role), members.clone(), moderators.clone()));
                Start::Conference(candidate(*role, members, moderators))
            }
            None => Start::Service(ServiceFlow { language: "x".into(), number_timeout_ms: 5000 }),
        };
        let mut reception = Reception::new(start);
        reception.start(0);
        model.drain(&mut reception, "");
        for step in steps {
            let now = model.now;
            let mut entry = typed(&reception);
            match step {
                Step::Key(key) => {
                    if key.is_ascii_digit() {
                        entry.push(key);
                    }
                    reception.key(now, key);
                }
                Step::PlayEnds => {
                    if let Some(number) = model.plays.last() {
                        reception.play_ended(now, *number);
                    }
                }
                Step::OldPlayEnds => {
                    if let Some(number) = model.plays.first().filter(|_| model.plays.len() > 1) {
                        reception.play_ended(now, *number);
                    }
                }
                Step::Wait(time) => {
                    if matches!(reception.state, State::Holding { .. }) {
                        entry = first_entry(&reception.ahead);
                    }
                    model.now += time;
                    reception.handle_timeout(model.now);
                }
                Step::Found(role, members, moderators) => {
                    let found = candidate(role, &members, &moderators);
                    if matches!(reception.state, State::LookingUp) {
                        model.known = Some((role_of(role), members, moderators));
                        entry = first_entry(&reception.ahead);
                    }
                    reception.looked_up(now, Some(found));
                }
                Step::NotFound => reception.looked_up(now, None),
                Step::Judged { delay_ms, blocked } => {
                    if matches!(reception.state, State::Judging(_)) {
                        model.passed = if blocked { None } else { model.judged };
                    }
                    let verdict = if blocked { Verdict::Blocked } else { Verdict::Pass { delay_ms } };
                    reception.judged(now, verdict);
                }
                Step::Reserved(how) => {
                    let reservation = match how {
                        0 => Reservation::Refused(Refused::Locked),
                        1 => Reservation::Refused(Refused::Full),
                        2 => Reservation::Unavailable,
                        _ => Reservation::Granted,
                    };
                    let asked = matches!(reception.state, State::Reserving(_));
                    model.granted |= asked && reservation == Reservation::Granted;
                    reception.reserved(now, reservation);
                }
                Step::Recorded(is_something) => {
                    if std::mem::take(&mut model.recording) {
                        model.has_name = is_something;
                    }
                    reception.recorded(now, is_something);
                }
                Step::Failed => reception.failed(),
                Step::Start => reception.start(now),
            }
            model.drain(&mut reception, &entry);
        }
        // Left alone, he is gone before long.
        for _ in 0..50 {
            let Some(due) = reception.poll_timeout() else { break };
            prop_assert!(due <= LONGEST_STAY_MS);
            let entry = match reception.state {
                State::Holding { .. } => first_entry(&reception.ahead),
                _ => typed(&reception),
            };
            model.now = model.now.max(due);
            reception.handle_timeout(model.now);
            model.drain(&mut reception, &entry);
        }
        prop_assert!(reception.is_over());
    }
}
