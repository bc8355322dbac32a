//! Owns the state of one caller between his answer and the mix.

use std::collections::VecDeque;

use confab_conference::{OwedKey, Role};
use subtle::Choice;

use crate::flow::{CallFlow, Candidate, RoleSoFar, ServiceFlow};
use crate::guard::Verdict;
use crate::pin::Entry;
use crate::prompt::{Prompt, Saying};

mod naming;
#[cfg(test)]
mod tests;

pub use self::naming::LONGEST_NAME_MS;

/// How often a caller may name a number, and how often a PIN.
pub const TRIES: u8 = 3;
/// What is played longer is broken off, in milliseconds.
pub const LONGEST_PLAY_MS: u64 = 60_000;
/// A caller who is not in the conference after this time is hung up, in milliseconds.
pub const LONGEST_STAY_MS: u64 = 600_000;
/// An answer that is held back for longer is waited for with a word, in milliseconds.
const LONGEST_SILENCE_MS: u32 = 2000;
/// Keys that are kept while nothing can be done with them yet.
const MOST_AHEAD: usize = 32;

/// What a caller has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A conference.
    Conference(Candidate),
    /// A number that asks for the number of the conference.
    Service(ServiceFlow),
    /// A conference that does not let him in: he is told why.
    Refused(CallFlow, Refused),
}

/// Why a conference does not let a caller in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is locked.
    Locked,
    /// It is full.
    Full,
}

/// What the conference says to a caller who asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It holds a place.
    Granted,
    /// It refuses, and he is told so.
    Refused(Refused),
    /// It, or the server, has no room or is ending.
    Unavailable,
}

/// Why a caller is hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many wrong numbers or PINs, of this call or of its source.
    TooManyAttempts,
    /// The conference is locked.
    Locked,
    /// The conference is full.
    Full,
    /// There is no room, or the end.
    Unavailable,
    /// He has been here for [`LONGEST_STAY_MS`].
    TimedOut,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Plays these one after another, to the caller alone; told by [`Reception::play_ended`] when all are over or cannot be heard.
    Play {
        /// Tells this play from others.
        number: u32,
        /// What.
        sayings: Vec<Saying>,
        /// The language of prompts.
        language: String,
    },
    /// Breaks off what plays.
    StopPlaying,
    /// Looks up a conference by its number; answered by [`Reception::looked_up`].
    LookUp(String),
    /// Asks the guard about a PIN; answered by [`Reception::judged`].
    Judge {
        /// It is one of the right ones.
        right: bool,
    },
    /// Asks the conference for a place; answered by [`Reception::reserved`].
    Reserve(Role),
    /// Records what the caller says; its end is told by [`Reception::recorded`]. What was recorded before is not wanted any more.
    Record,
    /// Stops recording.
    StopRecording,
    /// Lets the caller into the mix, with the name that was recorded last, if there is one. Nothing comes after it.
    Enter(Role),
    /// Ends the call. Nothing comes after it.
    HangUp(Cause),
}

/// One caller on his way to the mix.
#[derive(Debug)]
pub struct Reception {
    state: State,
    /// Where he may go, once that is known.
    candidate: Option<Candidate>,
    service: Option<ServiceFlow>,
    /// The conference that refuses him from the start.
    refused: Option<(CallFlow, Refused)>,
    number_tries: u8,
    pin_tries: u8,
    plays: u32,
    /// Typed before anything could be done with it.
    ahead: VecDeque<char>,
    /// The last entry was taken without its `#`, which may still come.
    owes_hash: bool,
    /// What may come yet when he is in the conference.
    owed: Option<OwedKey>,
    latest_end: u64,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    /// Not begun.
    Waiting,
    /// Something plays, and then something is done.
    Saying {
        play: u32,
        until: u64,
        then: Then,
    },
    /// Digits are typed.
    Entering(Entering),
    LookingUp,
    /// The guard is asked; what an entry came to.
    Judging(Option<Role>),
    /// The answer to a PIN is held back.
    Holding {
        until: u64,
        outcome: Option<Role>,
        /// What asks him to be patient.
        play: Option<u32>,
    },
    Reserving(Role),
    /// He has a place, and says his name.
    Naming(naming::Naming),
    Over,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Reserve(Role),
    Enter(Role),
    HangUp(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Number,
    Pin,
}

#[derive(Debug)]
struct Entering {
    asked: Asked,
    entry: Entry,
    /// What still plays.
    play: Option<u32>,
    /// When it is broken off, or what is typed is taken.
    until: u64,
}

impl Reception {
    /// Returns the way of a caller who has just been answered, or is about to be.
    pub fn new(start: Start) -> Reception {
        let (candidate, service, refused) = match start {
            Start::Conference(candidate) => (Some(candidate), None, None),
            Start::Service(service) => (None, Some(service), None),
            Start::Refused(flow, why) => (None, None, Some((flow, why))),
        };
        Reception {
            state: State::Waiting,
            candidate,
            service,
            refused,
            number_tries: TRIES,
            pin_tries: TRIES,
            plays: 0,
            ahead: VecDeque::new(),
            owes_hash: false,
            owed: None,
            latest_end: u64::MAX,
            outputs: VecDeque::new(),
        }
    }

    /// Returns what is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when to call [`Reception::handle_timeout`], `None` when it is over or has not begun.
    pub fn poll_timeout(&self) -> Option<u64> {
        let own = match &self.state {
            State::Waiting | State::Over => return None,
            State::Saying { until, .. } | State::Holding { until, .. } => *until,
            State::Entering(entering) => entering.until,
            State::Naming(naming) => naming.until,
            State::LookingUp | State::Judging(_) | State::Reserving(_) => self.latest_end,
        };
        Some(own.min(self.latest_end))
    }

    /// Returns whether the caller is in the conference, or has been hung up.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Returns which key he may press yet that is no action of the conference: the `#` of his last entry, or the one that was to end
    /// a recording which has ended by itself.
    pub fn owed(&self) -> Option<OwedKey> {
        self.owed
    }

    /// Returns whether a key, or with `None` the passing of time, would have a PIN tried: callers who are being asked then need to be
    /// held against the conference as it is by then ([`Reception::update`]).
    pub fn tries_pin(&self, key: Option<char>) -> bool {
        match &self.state {
            State::Entering(entering) if entering.asked == Asked::Pin => match key {
                Some('#') => true,
                Some('0'..='9') => entering.entry.is_nearly_full(),
                Some(_) => false,
                None => entering.play.is_none(),
            },
            State::Holding { .. } => key.is_none() && !self.ahead.is_empty(),
            _ => false,
        }
    }

    /// Takes what the conference says from here on, as it has changed while he is asked.
    pub fn update(&mut self, flow: CallFlow) {
        if let Some(candidate) = &mut self.candidate {
            candidate.flow = flow;
        }
    }

    /// Begins: the caller hears and is heard from here on.
    pub fn start(&mut self, now_ms: u64) {
        if !matches!(self.state, State::Waiting) {
            return;
        }
        self.latest_end = now_ms.saturating_add(LONGEST_STAY_MS);
        if let Some((flow, why)) = self.refused.take() {
            return self.refuse(now_ms, &flow, why);
        }
        if self.service.is_some() {
            return self.ask(now_ms, Asked::Number, &[Prompt::Welcome, Prompt::EnterNumber]);
        }
        let welcome = self
            .candidate
            .as_ref()
            .is_some_and(|candidate| candidate.flow.welcome);
        self.go_on(now_ms, welcome);
    }

    /// Takes a key of the telephone: `0`–`9` and `#`, `*` begins the entry anew. Whatever plays is broken off, unless it tells
    /// why the caller is hung up.
    pub fn key(&mut self, now_ms: u64, key: char) {
        if std::mem::take(&mut self.owes_hash) && key == '#' {
            self.owed = None;
            return;
        }
        match &mut self.state {
            State::Entering(entering) => {
                if entering.play.take().is_some() {
                    self.outputs.push_back(Output::StopPlaying);
                }
                let is_complete = match key {
                    '0'..='9' => entering.entry.push(key as u8),
                    '*' => {
                        entering.entry.clear();
                        false
                    }
                    key => key == '#',
                };
                if is_complete {
                    self.owes_hash = key != '#';
                    self.complete(now_ms);
                } else {
                    let timeout_ms = self.timeout_ms();
                    if let State::Entering(entering) = &mut self.state {
                        entering.until = now_ms.saturating_add(timeout_ms);
                    }
                }
            }
            State::Saying {
                then: then @ (Then::Reserve(_) | Then::Enter(_)),
                ..
            } => {
                let then = *then;
                self.outputs.push_back(Output::StopPlaying);
                self.go_to(then);
            }
            State::Naming(_) => self.name_key(now_ms, key),
            // One more `#` behind an entry begins no other.
            State::Holding { .. } if key == '#' && self.ahead.is_empty() => {}
            State::LookingUp | State::Holding { .. } if self.ahead.len() < MOST_AHEAD => {
                self.ahead.push_back(key);
            }
            _ => {}
        }
    }

    /// Takes the end of a play. Of an earlier one it is without meaning.
    pub fn play_ended(&mut self, now_ms: u64, number: u32) {
        match &mut self.state {
            State::Saying { play, then, .. } if *play == number => {
                let then = *then;
                self.go_to(then);
            }
            State::Entering(entering) if entering.play == Some(number) => {
                entering.play = None;
                let timeout_ms = self.timeout_ms();
                if let State::Entering(entering) = &mut self.state {
                    entering.until = now_ms.saturating_add(timeout_ms);
                }
            }
            State::Holding { play, .. } if *play == Some(number) => *play = None,
            State::Naming(_) => self.name_played(now_ms, number),
            _ => {}
        }
    }

    /// Does what time asks for, if it is time.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self.poll_timeout().is_none_or(|due| due > now_ms) {
            return;
        }
        if now_ms >= self.latest_end {
            return self.hang_up(Cause::TimedOut);
        }
        match &mut self.state {
            State::Saying { play, .. } => {
                let play = *play;
                self.outputs.push_back(Output::StopPlaying);
                self.play_ended(now_ms, play);
            }
            State::Entering(entering) => match entering.play {
                Some(play) => {
                    self.outputs.push_back(Output::StopPlaying);
                    self.play_ended(now_ms, play);
                }
                None => {
                    self.owes_hash = !entering.entry.is_empty();
                    self.complete(now_ms);
                }
            },
            State::Holding { outcome, play, .. } => {
                let outcome = *outcome;
                if play.is_some() {
                    self.outputs.push_back(Output::StopPlaying);
                }
                let ahead = std::mem::take(&mut self.ahead);
                self.settle(now_ms, outcome, ahead);
            }
            State::Naming(_) => self.name_timed_out(now_ms),
            _ => {}
        }
    }

    /// Takes the answer to [`Output::LookUp`]: the conference, or that no caller can reach one by that number.
    pub fn looked_up(&mut self, now_ms: u64, found: Option<Candidate>) {
        if !matches!(self.state, State::LookingUp) {
            return;
        }
        if found.is_some() {
            self.candidate = found;
            return self.go_on(now_ms, false);
        }
        self.number_tries -= 1;
        let left = self.number_tries;
        self.missed(
            now_ms,
            left,
            Asked::Number,
            [Prompt::BadNumber, Prompt::EnterNumber],
            VecDeque::new(),
        );
    }

    /// Takes the answer to [`Output::Judge`].
    pub fn judged(&mut self, now_ms: u64, verdict: Verdict) {
        let State::Judging(outcome) = self.state else {
            return;
        };
        match verdict {
            Verdict::Blocked => self.give_up(now_ms, &[Prompt::TooManyAttempts]),
            Verdict::Pass { delay_ms: 0 } => self.settle(now_ms, outcome, VecDeque::new()),
            Verdict::Pass { delay_ms } => {
                self.ahead.clear();
                let language = self.language();
                let play = (delay_ms > LONGEST_SILENCE_MS)
                    .then(|| self.play(vec![Saying::Prompt(Prompt::PleaseHold)], language));
                self.state = State::Holding {
                    until: now_ms.saturating_add(delay_ms.into()),
                    outcome,
                    play,
                };
            }
        }
    }

    /// Takes the answer to [`Output::Reserve`].
    pub fn reserved(&mut self, now_ms: u64, reservation: Reservation) {
        let State::Reserving(role) = self.state else {
            return;
        };
        let Some(candidate) = &self.candidate else { return };
        match reservation {
            Reservation::Granted if candidate.asks_name() => self.ask_name(now_ms, role),
            Reservation::Granted => self.say_joining(now_ms, role),
            Reservation::Refused(why) => {
                let flow = candidate.flow.clone();
                self.refuse(now_ms, &flow, why);
            }
            Reservation::Unavailable => {
                let sayings = vec![Saying::Prompt(Prompt::Unavailable)];
                let language = candidate.flow.language.clone();
                self.say(now_ms, sayings, language, Then::HangUp(Cause::Unavailable));
            }
        }
    }

    /// Tells a caller who has his place that he joins, where that is said, and lets him in.
    fn say_joining(&mut self, now_ms: u64, role: Role) {
        let Some(candidate) = &self.candidate else { return };
        match candidate.flow.joining(role).cloned() {
            Some(joining) => {
                let language = candidate.flow.language.clone();
                self.say(now_ms, vec![joining], language, Then::Enter(role));
            }
            None => self.go_to(Then::Enter(role)),
        }
    }

    /// Takes that something which was asked for cannot be done.
    pub fn failed(&mut self) {
        if !matches!(self.state, State::Waiting | State::Over) {
            self.hang_up(Cause::Unavailable);
        }
    }

    /// Goes on with the conference that is known: asks for a PIN where one is needed.
    fn go_on(&mut self, now_ms: u64, welcome: bool) {
        let Some(candidate) = &self.candidate else { return };
        if let Some(role) = candidate.role_without_pin() {
            self.ahead.clear();
            if welcome {
                let language = candidate.flow.language.clone();
                let sayings = vec![Saying::Prompt(Prompt::Welcome)];
                return self.say(now_ms, sayings, language, Then::Reserve(role));
            }
            return self.go_to(Then::Reserve(role));
        }
        if candidate.is_blocked {
            return self.give_up(now_ms, &[Prompt::TooManyAttempts]);
        }
        let prompts = [Prompt::Welcome, Prompt::EnterPin];
        self.ask(now_ms, Asked::Pin, if welcome { &prompts } else { &prompts[1..] });
    }

    /// Plays prompts and lets the caller type. Who has typed ahead hears none.
    fn ask(&mut self, now_ms: u64, asked: Asked, prompts: &[Prompt]) {
        let longest = match (&self.candidate, asked) {
            (Some(Candidate { flow, .. }), Asked::Pin) => {
                flow.member.pins.longest().max(flow.moderator.pins.longest())
            }
            _ => 0,
        };
        let mut entering = Entering {
            asked,
            entry: Entry::for_longest(longest),
            play: None,
            until: now_ms,
        };
        let ahead = std::mem::take(&mut self.ahead);
        if ahead.is_empty() {
            let language = self.language();
            let sayings = prompts.iter().copied().map(Saying::Prompt).collect();
            entering.play = Some(self.play(sayings, language));
            entering.until = now_ms.saturating_add(LONGEST_PLAY_MS);
        }
        self.state = State::Entering(entering);
        let plays = self.plays;
        for key in ahead {
            self.key(now_ms, key);
            if self.plays != plays {
                // A failure: what came behind it was not meant for what is asked now.
                self.ahead.clear();
                return;
            }
        }
    }

    /// Takes what was typed.
    fn complete(&mut self, now_ms: u64) {
        let State::Entering(entering) = std::mem::replace(&mut self.state, State::LookingUp) else {
            return;
        };
        self.owed = Some(OwedKey::Hash);
        match entering.asked {
            Asked::Number if entering.entry.is_empty() => self.looked_up(now_ms, None),
            Asked::Number => self.outputs.push_back(Output::LookUp(entering.entry.number())),
            Asked::Pin => self.try_pin(now_ms, &entering.entry),
        }
    }

    /// Finds out what a PIN gives. No entry at all is no guess: the guard is not told of it.
    fn try_pin(&mut self, now_ms: u64, entry: &Entry) {
        let Some(candidate) = &self.candidate else { return };
        let flow = &candidate.flow;
        // While he typed, the conference may have come to ask for none.
        if let Some(role) = candidate.role_without_pin() {
            return self.settle(now_ms, Some(role), VecDeque::new());
        }
        if entry.is_empty() {
            let role = candidate.may_enter_empty().then_some(Role::Member);
            return self.settle(now_ms, role, VecDeque::new());
        }
        let of_members = flow.member.pins.contain(entry);
        let of_moderators = flow.moderator.pins.contain(entry);
        let (asks_members, asks_moderators) = match candidate.role {
            RoleSoFar::Member => (1, 0),
            RoleSoFar::Moderator => (0, 1),
            RoleSoFar::Undecided => (1, 1),
            RoleSoFar::Admitted(_) => (0, 0),
        };
        let is_member = bool::from(of_members & Choice::from(asks_members));
        let is_moderator = bool::from(of_moderators & Choice::from(asks_moderators));
        let role = match (is_member, is_moderator) {
            (true, _) => Some(Role::Member),
            (false, true) => Some(Role::Moderator),
            (false, false) => None,
        };
        self.state = State::Judging(role);
        self.outputs.push_back(Output::Judge {
            right: role.is_some(),
        });
    }

    /// Goes on with what a PIN has given. What was typed while that was held back counts for the next try.
    fn settle(&mut self, now_ms: u64, outcome: Option<Role>, ahead: VecDeque<char>) {
        if let Some(role) = outcome {
            return self.go_to(Then::Reserve(role));
        }
        self.pin_tries -= 1;
        let left = self.pin_tries;
        self.missed(
            now_ms,
            left,
            Asked::Pin,
            [Prompt::BadPin, Prompt::EnterPin],
            ahead,
        );
    }

    /// Tells that an entry was wrong, and lets the caller try again when he may.
    fn missed(&mut self, now_ms: u64, left: u8, asked: Asked, prompts: [Prompt; 2], ahead: VecDeque<char>) {
        self.ahead = ahead;
        if left == 0 {
            return self.give_up(now_ms, &[prompts[0], Prompt::TooManyAttempts]);
        }
        self.ask(now_ms, asked, &prompts);
    }

    fn give_up(&mut self, now_ms: u64, prompts: &[Prompt]) {
        let sayings = prompts.iter().copied().map(Saying::Prompt).collect();
        let language = self.language();
        self.say(now_ms, sayings, language, Then::HangUp(Cause::TooManyAttempts));
    }

    fn refuse(&mut self, now_ms: u64, flow: &CallFlow, why: Refused) {
        let (sound, cause) = match why {
            Refused::Locked => (&flow.locked_sound, Cause::Locked),
            Refused::Full => (&flow.full_sound, Cause::Full),
        };
        match sound {
            Some(sound) => {
                let language = flow.language.clone();
                self.say(now_ms, vec![sound.clone()], language, Then::HangUp(cause));
            }
            None => self.hang_up(cause),
        }
    }

    fn say(&mut self, now_ms: u64, sayings: Vec<Saying>, language: String, then: Then) {
        let play = self.play(sayings, language);
        self.state = State::Saying {
            play,
            until: now_ms.saturating_add(LONGEST_PLAY_MS),
            then,
        };
    }

    fn play(&mut self, sayings: Vec<Saying>, language: String) -> u32 {
        self.plays += 1;
        self.outputs.push_back(Output::Play {
            number: self.plays,
            sayings,
            language,
        });
        self.plays
    }

    fn go_to(&mut self, then: Then) {
        match then {
            Then::Reserve(role) => {
                self.state = State::Reserving(role);
                self.outputs.push_back(Output::Reserve(role));
            }
            Then::Enter(role) => {
                self.state = State::Over;
                self.outputs.push_back(Output::Enter(role));
            }
            Then::HangUp(cause) => self.hang_up(cause),
        }
    }

    fn hang_up(&mut self, cause: Cause) {
        self.state = State::Over;
        self.outputs.push_back(Output::HangUp(cause));
    }

    fn language(&self) -> String {
        let of_candidate = self.candidate.as_ref().map(|candidate| &candidate.flow.language);
        let of_service = self.service.as_ref().map(|service| &service.language);
        of_candidate.or(of_service).cloned().unwrap_or_default()
    }

    /// Returns the time to think between two keys.
    fn timeout_ms(&self) -> u64 {
        let of_candidate = self
            .candidate
            .as_ref()
            .map(|candidate| candidate.flow.pin_timeout_ms);
        let of_service = self.service.as_ref().map(|service| service.number_timeout_ms);
        of_candidate
            .or(of_service)
            .unwrap_or(crate::DEFAULT_TIMEOUT_MS)
            .into()
    }
}
