use super::*;
use crate::flow::RoleFlow;
use crate::pin::Pins;

mod model;
mod naming;

/// A reception with a clock, driven by hand.
struct Caller {
    reception: Reception,
    now: u64,
}

fn flow(members: &[&str], moderators: &[&str]) -> CallFlow {
    let role = |pins: &[&str]| RoleFlow {
        pins: Pins::new(pins),
        says_joining: false,
    };
    CallFlow {
        welcome: false,
        member: role(members),
        moderator: role(moderators),
        ..CallFlow::default()
    }
}

fn service() -> Start {
    Start::Service(ServiceFlow {
        language: "de".to_owned(),
        number_timeout_ms: 5000,
    })
}

impl Caller {
    fn new(start: Start) -> Caller {
        let mut reception = Reception::new(start);
        reception.start(0);
        Caller { reception, now: 0 }
    }

    fn at(role: RoleSoFar, flow: CallFlow) -> Caller {
        Caller::new(Start::Conference(Candidate::new(role, flow)))
    }

    fn next(&mut self) -> Option<Output> {
        self.reception.poll_output()
    }

    /// Returns the prompts of the next play, which is heard to its end.
    #[track_caller]
    fn hears(&mut self) -> Vec<Prompt> {
        match self.next() {
            Some(Output::Play { number, sayings, .. }) => {
                self.reception.play_ended(self.now, number);
                sayings
                    .into_iter()
                    .map(|saying| match saying {
                        Saying::Prompt(prompt) => prompt,
                        other => panic!("{other:?}"),
                    })
                    .collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn types(&mut self, keys: &str) {
        for key in keys.chars() {
            self.now += 100;
            self.reception.key(self.now, key);
        }
    }

    /// Types a PIN; returns whether it is right. The guard lets it pass.
    #[track_caller]
    fn tries(&mut self, keys: &str) -> bool {
        self.types(keys);
        match self.next() {
            Some(Output::Judge { right }) => {
                self.reception.judged(self.now, Verdict::Pass { delay_ms: 0 });
                right
            }
            other => panic!("{other:?}"),
        }
    }

    fn waits(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.reception.handle_timeout(self.now);
    }
}

#[test]
fn the_pin_table() {
    use RoleSoFar::{Member, Moderator, Undecided};
    let (member, moderator) = (Some(Role::Member), Some(Role::Moderator));
    type Row<'a> = (RoleSoFar, &'a [&'a str], &'a [&'a str], &'a str, Option<Role>);
    // Role so far, PINs of members and moderators, what is typed, the role it gives.
    let rows: [Row<'_>; 12] = [
        (Member, &["11"], &["22"], "11#", member),
        (Member, &["11"], &["22"], "22#", None),
        (Member, &["11", "12"], &[], "12#", member),
        (Moderator, &["11"], &["22"], "22#", moderator),
        (Moderator, &["11"], &["22"], "11#", None),
        (Undecided, &["11"], &["22"], "11#", member),
        (Undecided, &["11"], &["22"], "22#", moderator),
        (Undecided, &["11"], &["11"], "11#", member),
        (Undecided, &[], &["22", "23"], "23#", moderator),
        (Undecided, &[], &["22"], "24#", None),
        (Undecided, &["11"], &[], "22#", None),
        (Undecided, &["11"], &["22"], "1*22#", moderator),
    ];
    for (role, members, moderators, keys, expected) in rows {
        let mut caller = Caller::at(role, flow(members, moderators));
        assert_eq!(caller.hears(), [Prompt::EnterPin]);
        assert_eq!(caller.tries(keys), expected.is_some(), "{role:?} {keys}");
        match expected {
            Some(role) => assert_eq!(caller.next(), Some(Output::Reserve(role)), "{keys}"),
            None => assert_eq!(caller.hears(), [Prompt::BadPin, Prompt::EnterPin], "{keys}"),
        }
    }
}

#[test]
fn no_entry_makes_a_member_where_members_have_no_pin_and_is_a_failure_elsewhere() {
    for keys in ["#", ""] {
        let mut caller = Caller::at(RoleSoFar::Undecided, flow(&[], &["22"]));
        caller.hears();
        caller.types(keys);
        caller.waits(5000);
        assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    }
    for role in [RoleSoFar::Undecided, RoleSoFar::Member, RoleSoFar::Moderator] {
        let mut caller = Caller::at(role, flow(&["11"], &["22"]));
        caller.hears();
        for _ in 0..2 {
            caller.waits(5000);
            assert_eq!(caller.hears(), [Prompt::BadPin, Prompt::EnterPin], "{role:?}");
        }
        caller.types("#");
        assert_eq!(caller.hears(), [Prompt::BadPin, Prompt::TooManyAttempts]);
        assert_eq!(caller.next(), Some(Output::HangUp(Cause::TooManyAttempts)));
        assert!(caller.reception.is_over() && caller.reception.poll_timeout().is_none());
    }
    // A moderator's number without PINs of members still wants a moderator's PIN.
    let mut caller = Caller::at(RoleSoFar::Moderator, flow(&[], &["22"]));
    caller.hears();
    caller.types("#");
    assert_eq!(caller.hears(), [Prompt::BadPin, Prompt::EnterPin]);
}

#[test]
fn time_begins_with_the_end_of_the_prompt_and_anew_with_each_key() {
    let mut slow = flow(&["11"], &[]);
    slow.pin_timeout_ms = 3000;
    let mut caller = Caller::at(RoleSoFar::Member, slow);
    assert_eq!(caller.reception.poll_timeout(), Some(LONGEST_PLAY_MS));
    caller.now = 2000;
    caller.hears();
    assert_eq!(caller.reception.poll_timeout(), Some(5000));
    caller.now = 4900;
    caller.reception.key(4900, '1');
    assert_eq!(caller.reception.poll_timeout(), Some(7900));
    caller.waits(2999);
    assert_eq!(caller.next(), None);
    caller.reception.key(caller.now, '1');
    caller.waits(3000);
    assert_eq!(caller.next(), Some(Output::Judge { right: true }));
}

#[test]
fn keys_break_prompts_off_and_count() {
    let mut greeting = flow(&["11"], &[]);
    greeting.welcome = true;
    let mut caller = Caller::at(RoleSoFar::Member, greeting);
    let Some(Output::Play {
        number,
        sayings,
        language,
    }) = caller.next()
    else {
        panic!("silence")
    };
    assert_eq!(sayings, [Prompt::Welcome, Prompt::EnterPin].map(Saying::Prompt));
    assert_eq!(language, "en-us");
    caller.types("1");
    assert_eq!(caller.next(), Some(Output::StopPlaying));
    caller.reception.play_ended(caller.now, number);
    assert!(caller.tries("1#"));
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    // The joining prompt can be cut short as well; what tells a refusal cannot.
    let mut caller = Caller::at(RoleSoFar::Member, CallFlow::default());
    assert_eq!(caller.hears(), [Prompt::Welcome]);
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    caller.reception.reserved(0, Reservation::Granted);
    assert!(matches!(caller.next(), Some(Output::Play { .. })));
    caller.types("5");
    assert_eq!(caller.next(), Some(Output::StopPlaying));
    assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));
    caller.types("55#");
    assert_eq!(caller.next(), None);
}

#[test]
fn a_service_number_leads_to_a_conference_and_its_pin() {
    let mut caller = Caller::new(service());
    assert_eq!(caller.hears(), [Prompt::Welcome, Prompt::EnterNumber]);
    caller.types("3001#11#");
    assert_eq!(caller.next(), Some(Output::LookUp("3001".to_owned())));
    assert_eq!(caller.next(), None);
    // Typed ahead: he is not asked any more, nor welcomed again.
    let mut welcoming = flow(&["11"], &[]);
    welcoming.welcome = true;
    let found = Candidate::new(RoleSoFar::Undecided, welcoming);
    caller.reception.looked_up(caller.now, Some(found));
    assert_eq!(caller.next(), Some(Output::Judge { right: true }));
    // Sixteen digits are a number.
    let mut caller = Caller::new(service());
    caller.hears();
    caller.types("1234567890123456");
    assert_eq!(caller.next(), Some(Output::LookUp("1234567890123456".to_owned())));
    // Three times unknown, and that is it. What was typed ahead of a failure is not taken for the next number.
    caller.types("77");
    for left in [2, 1] {
        caller.reception.looked_up(caller.now, None);
        assert_eq!(caller.hears(), [Prompt::BadNumber, Prompt::EnterNumber], "{left}");
        caller.types("9");
        caller.waits(5000);
        assert_eq!(caller.next(), Some(Output::LookUp("9".to_owned())));
    }
    caller.reception.looked_up(caller.now, None);
    assert_eq!(caller.hears(), [Prompt::BadNumber, Prompt::TooManyAttempts]);
    assert_eq!(caller.next(), Some(Output::HangUp(Cause::TooManyAttempts)));
}

#[test]
fn a_late_end_of_an_entry_is_no_entry() {
    let mut caller = Caller::at(RoleSoFar::Member, flow(&["1234567890123456", "12"], &[]));
    caller.hears();
    assert!(!caller.tries("1234567890123450"));
    assert!(matches!(caller.next(), Some(Output::Play { .. })));
    caller.types("#");
    assert_eq!(caller.next(), None, "it belongs to the sixteen digits");
    caller.types("12");
    assert_eq!(caller.next(), Some(Output::StopPlaying));
    caller.waits(5000);
    assert_eq!(caller.next(), Some(Output::Judge { right: true }));
    caller.reception.judged(caller.now, Verdict::Pass { delay_ms: 0 });
    caller.types("#");
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    // What is typed ahead counts for one try at most.
    let mut caller = Caller::new(service());
    caller.hears();
    caller.types("30#");
    caller.next();
    caller.types("#13#13#13#");
    let found = Candidate::new(RoleSoFar::Member, flow(&["12"], &[]));
    caller.reception.looked_up(caller.now, Some(found));
    assert_eq!(caller.hears(), [Prompt::BadPin, Prompt::EnterPin]);
    assert_eq!(caller.next(), None);
}

#[test]
fn the_guard_delays_answers_and_turns_away() {
    let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
    caller.hears();
    caller.types("11#");
    assert_eq!(caller.next(), Some(Output::Judge { right: true }));
    caller
        .reception
        .judged(caller.now, Verdict::Pass { delay_ms: 4000 });
    assert_eq!(caller.hears(), [Prompt::PleaseHold]);
    caller.waits(3999);
    assert_eq!(caller.next(), None);
    caller.waits(1);
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));

    let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
    caller.hears();
    caller.types("11#");
    caller.next();
    caller.reception.judged(caller.now, Verdict::Blocked);
    assert_eq!(caller.hears(), [Prompt::TooManyAttempts]);
    assert_eq!(caller.next(), Some(Output::HangUp(Cause::TooManyAttempts)));

    // Who is blocked is not asked at all, where there would be something to ask.
    let blocked = |flow| {
        let mut candidate = Candidate::new(RoleSoFar::Member, flow);
        candidate.is_blocked = true;
        Caller::new(Start::Conference(candidate))
    };
    assert_eq!(blocked(flow(&["11"], &[])).hears(), [Prompt::TooManyAttempts]);
    assert_eq!(
        blocked(flow(&[], &["22"])).next(),
        Some(Output::Reserve(Role::Member))
    );
}

#[test]
fn a_locked_or_full_conference_is_told_with_its_sound() {
    for (why, cause) in [(Refused::Locked, Cause::Locked), (Refused::Full, Cause::Full)] {
        let sounds = |locked: Option<Saying>| CallFlow {
            locked_sound: locked.clone(),
            full_sound: locked,
            ..flow(&[], &[])
        };
        let media = Saying::Media("tone_stream://%(100,0,440)".to_owned());
        let mut caller = Caller::at(RoleSoFar::Member, sounds(Some(media.clone())));
        caller.next();
        caller.reception.reserved(0, Reservation::Refused(why));
        let Some(Output::Play { number, sayings, .. }) = caller.next() else {
            panic!("silence")
        };
        assert_eq!(sayings, [media]);
        caller.types("123#");
        assert_eq!(caller.next(), None, "it is told to the end");
        caller.reception.play_ended(1000, number);
        assert_eq!(caller.next(), Some(Output::HangUp(cause)));

        let mut caller = Caller::new(Start::Refused(sounds(None), why));
        assert_eq!(caller.next(), Some(Output::HangUp(cause)));
    }
    let mut caller = Caller::at(RoleSoFar::Member, flow(&[], &[]));
    caller.next();
    caller.reception.reserved(0, Reservation::Unavailable);
    let Some(Output::Play { number, sayings, .. }) = caller.next() else {
        panic!("silence")
    };
    assert_eq!(sayings, [Saying::Prompt(Prompt::Unavailable)]);
    caller.reception.play_ended(1000, number);
    assert_eq!(caller.next(), Some(Output::HangUp(Cause::Unavailable)));
}

#[test]
fn nobody_stays_for_ever() {
    // A sound without an end.
    let mut caller = Caller::at(RoleSoFar::Member, CallFlow::default());
    caller.next();
    caller.waits(LONGEST_PLAY_MS);
    assert_eq!(caller.next(), Some(Output::StopPlaying));
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    // A conference that does not answer.
    caller.waits(LONGEST_STAY_MS);
    assert_eq!(caller.next(), Some(Output::HangUp(Cause::TimedOut)));
    // Somebody who begins anew over and over.
    let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
    caller.hears();
    while !caller.reception.is_over() {
        assert!(caller.now <= LONGEST_STAY_MS, "he is still here");
        caller.types("1*");
        caller.waits(100);
    }
}

#[test]
fn nothing_typed_is_shown() {
    let mut caller = Caller::at(RoleSoFar::Member, flow(&["7351"], &[]));
    caller.hears();
    caller.types("735");
    let shown = format!("{:?}", caller.reception);
    assert!(!shown.contains("735"), "{shown}");
}

#[test]
fn who_need_not_have_a_pin_is_asked_whatever_the_guard_says_of_his_source() {
    let candidate = |role, members: &[&str], moderators: &[&str]| {
        let mut candidate = Candidate::new(role, flow(members, moderators));
        candidate.is_blocked = candidate.needs_pin();
        candidate
    };
    let mut caller = Caller::new(Start::Conference(candidate(RoleSoFar::Undecided, &[], &["22"])));
    assert_eq!(caller.hears(), [Prompt::EnterPin]);
    caller.types("#");
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    for (role, members) in [
        (RoleSoFar::Undecided, &["11"][..]),
        (RoleSoFar::Moderator, &[][..]),
    ] {
        let mut caller = Caller::new(Start::Conference(candidate(role, members, &["22"])));
        assert_eq!(caller.hears(), [Prompt::TooManyAttempts], "{role:?}");
    }
}

#[test]
fn an_answer_that_takes_long_is_waited_for_with_a_word_and_what_is_typed_counts_for_the_next_try() {
    let held = |delay_ms| {
        let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
        caller.hears();
        caller.types("12#");
        assert_eq!(caller.next(), Some(Output::Judge { right: false }));
        caller.reception.judged(caller.now, Verdict::Pass { delay_ms });
        caller
    };
    let mut caller = held(2000);
    assert_eq!(caller.next(), None, "two seconds are no time");
    // A second # behind the entry is no entry, and what was typed is not lost.
    caller.types("#1");
    caller.waits(2000);
    assert_eq!(caller.next(), None, "who types is asked no more");
    assert!(caller.tries("1#"));

    let mut caller = held(4000);
    assert_eq!(caller.hears(), [Prompt::PleaseHold]);
    caller.types("##");
    caller.waits(4000);
    assert_eq!(caller.hears(), [Prompt::BadPin, Prompt::EnterPin]);
    assert!(caller.tries("11#"));
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));

    // What still says so when the time is over is broken off.
    let mut caller = held(2001);
    assert!(matches!(caller.next(), Some(Output::Play { .. })));
    assert!(!caller.reception.tries_pin(None));
    caller.types("11#");
    assert!(caller.reception.tries_pin(None));
    caller.waits(2001);
    assert_eq!(caller.next(), Some(Output::StopPlaying));
    assert_eq!(caller.next(), Some(Output::Judge { right: true }));
}

#[test]
fn the_pins_of_the_moment_count() {
    let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
    caller.hears();
    let before = |caller: &Caller| ['1', '#', '*'].map(|key| caller.reception.tries_pin(Some(key)));
    assert_eq!(before(&caller), [false, true, false]);
    caller.types("22");
    assert!(caller.reception.tries_pin(None), "time takes what he has typed");
    caller.reception.update(flow(&["22"], &[]));
    assert!(caller.tries("#"));
    let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
    caller.hears();
    caller.reception.update(flow(&["22"], &[]));
    assert!(!caller.tries("11#"), "what was taken away is good for nothing");
    // Sixteen digits fill an entry.
    caller.hears();
    caller.types("111111111111111");
    assert!(caller.reception.tries_pin(Some('1')));
    caller.reception.update(flow(&[], &[]));
    caller.types("1");
    assert_eq!(
        caller.next(),
        Some(Output::Reserve(Role::Member)),
        "none is asked for any more"
    );
}

#[test]
fn what_ends_an_entry_may_come_when_he_is_in() {
    let mut caller = Caller::at(RoleSoFar::Member, flow(&[], &[]));
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    assert_eq!(caller.reception.owed(), None, "he was asked nothing");
    for (keys, owed) in [("11#", Some(OwedKey::Hash)), ("11", Some(OwedKey::Hash))] {
        let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
        caller.hears();
        caller.types(keys);
        caller.waits(5000);
        assert_eq!(caller.next(), Some(Output::Judge { right: true }));
        caller.reception.judged(caller.now, Verdict::Pass { delay_ms: 0 });
        assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
        caller.reception.reserved(caller.now, Reservation::Granted);
        assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));
        assert_eq!(caller.reception.owed(), owed, "{keys}");
    }
    // It has come: nothing is owed.
    let mut caller = Caller::at(RoleSoFar::Member, flow(&["11"], &[]));
    caller.hears();
    caller.types("11");
    caller.waits(5000);
    caller.types("#");
    assert_eq!(caller.reception.owed(), None);
}
