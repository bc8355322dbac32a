//! Callers who say their names before they join.

use super::*;
use crate::flow::NameFlow;

const BEEP: &str = "tone_stream://%(500,0,440)";

/// A caller whom the conference has granted his place.
fn granted(reviews: bool, says_joining: bool) -> Caller {
    let mut flow = flow(&[], &[]);
    flow.names = Some(NameFlow { reviews });
    flow.member.says_joining = says_joining;
    let mut caller = Caller::at(RoleSoFar::Member, flow);
    assert_eq!(caller.next(), Some(Output::Reserve(Role::Member)));
    caller.reception.reserved(0, Reservation::Granted);
    caller
}

impl Caller {
    /// Returns the number of the next play, and what it says.
    #[track_caller]
    fn is_played(&mut self) -> (u32, Vec<String>) {
        let Some(Output::Play { number, sayings, .. }) = self.next() else {
            panic!("silence")
        };
        let name = |saying| match saying {
            Saying::Prompt(prompt) => prompt.id().to_owned(),
            Saying::Media(name) => name,
            Saying::Name => "his name".to_owned(),
        };
        (number, sayings.into_iter().map(name).collect())
    }

    fn play_ends(&mut self, number: u32) {
        self.reception.play_ended(self.now, number);
    }

    /// Hears that he is asked, and the tone, to their end.
    #[track_caller]
    fn is_asked(&mut self) {
        let (number, sayings) = self.is_played();
        assert_eq!(sayings, ["conf-announce_your_name", BEEP]);
        self.now += 4000;
        self.play_ends(number);
        assert_eq!(self.next(), Some(Output::Record));
    }
}

#[test]
fn a_name_is_recorded_until_a_key_and_then_he_joins() {
    for said in [true, false] {
        let mut caller = granted(false, false);
        caller.is_asked();
        caller.types("7");
        assert_eq!(caller.next(), Some(Output::StopRecording));
        // What else he types, and how long it takes, changes nothing.
        caller.types("12#");
        caller.waits(3000);
        assert_eq!(caller.next(), None);
        caller.reception.recorded(caller.now, said);
        assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));
        assert_eq!(caller.next(), None);
    }
}

#[test]
fn the_joining_prompt_comes_behind_the_name() {
    let mut caller = granted(false, true);
    caller.is_asked();
    caller.types("#");
    caller.next();
    caller.reception.recorded(caller.now, true);
    assert_eq!(caller.hears(), [Prompt::Joining]);
    assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));
}

#[test]
fn a_key_leads_to_the_tone_at_once_and_none_breaks_the_tone_off() {
    let mut caller = granted(false, false);
    let (asked, _) = caller.is_played();
    caller.types("5");
    assert_eq!(caller.next(), Some(Output::StopPlaying));
    let (beep, sayings) = caller.is_played();
    assert_eq!(sayings, [BEEP]);
    caller.play_ends(asked);
    caller.types("5");
    assert_eq!(caller.next(), None);
    caller.play_ends(beep);
    assert_eq!(caller.next(), Some(Output::Record));
}

#[test]
fn a_recording_lasts_a_minute_at_most_and_may_end_by_itself() {
    let mut caller = granted(false, false);
    caller.is_asked();
    assert_eq!(
        caller.reception.poll_timeout(),
        Some(caller.now + LONGEST_NAME_MS)
    );
    caller.waits(LONGEST_NAME_MS - 1);
    assert_eq!(caller.next(), None);
    caller.waits(1);
    assert_eq!(caller.next(), Some(Output::StopRecording));

    let mut caller = granted(false, false);
    caller.is_asked();
    caller.waits(5000);
    caller.reception.recorded(caller.now, true);
    assert_eq!(
        caller.next(),
        Some(Output::Enter(Role::Member)),
        "he has fallen silent"
    );
}

#[test]
fn a_review_is_accepted_by_one_or_by_silence_and_begins_anew_with_other_keys() {
    let heard = ["conf-your_announcement", "his name", "conf-review"];
    let mut caller = granted(true, false);
    for key in ["2", "9", "#", "*"] {
        caller.is_asked();
        caller.types("1");
        assert_eq!(caller.next(), Some(Output::StopRecording));
        caller.reception.recorded(caller.now, true);
        let (review, sayings) = caller.is_played();
        assert_eq!(sayings, heard);
        if key == "#" {
            caller.play_ends(review);
        }
        caller.types(key);
        if key != "#" {
            assert_eq!(caller.next(), Some(Output::StopPlaying));
        }
    }
    caller.is_asked();
    caller.types("5");
    caller.next();
    caller.reception.recorded(caller.now, true);
    caller.is_played();
    caller.types("1");
    assert_eq!(caller.next(), Some(Output::StopPlaying));
    assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));

    let mut caller = granted(true, false);
    caller.is_asked();
    caller.reception.recorded(caller.now, true);
    let (review, _) = caller.is_played();
    // A name may be a minute long itself: it is not broken off for that.
    caller.waits(LONGEST_NAME_MS + 1000);
    assert_eq!(caller.next(), None);
    caller.play_ends(review);
    caller.waits(4999);
    assert_eq!(caller.next(), None);
    caller.waits(1);
    assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));
}

#[test]
fn who_says_nothing_has_nothing_to_review() {
    let mut caller = granted(true, false);
    caller.is_asked();
    caller.types("5");
    caller.next();
    caller.reception.recorded(caller.now, false);
    assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));
}

#[test]
fn nobody_is_asked_who_is_known_refused_or_without_a_place() {
    let mut named = flow(&[], &[]);
    named.names = Some(NameFlow::default());
    let mut known = Candidate::new(RoleSoFar::Member, named.clone());
    known.is_named = true;
    let mut caller = Caller::new(Start::Conference(known));
    caller.next();
    caller.reception.reserved(0, Reservation::Granted);
    assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));

    let mut caller = Caller::at(RoleSoFar::Member, named);
    caller.next();
    caller.reception.recorded(0, true);
    assert_eq!(caller.next(), None, "nothing was asked for");
    caller.reception.reserved(0, Reservation::Refused(Refused::Full));
    let (_, sayings) = caller.is_played();
    assert_eq!(sayings, ["conf-max_participants"]);
}

#[test]
fn who_never_accepts_is_gone_after_ten_minutes() {
    let mut caller = granted(true, false);
    while !caller.reception.is_over() {
        assert!(caller.now <= LONGEST_STAY_MS + 5000);
        match caller.next() {
            Some(Output::Play { number, .. }) => {
                caller.now += 2000;
                caller.play_ends(number);
            }
            Some(Output::Record) => {
                caller.now += 1000;
                caller.reception.recorded(caller.now, true);
            }
            Some(_) => {}
            None => {
                caller.waits(0);
                caller.types("2");
            }
        }
    }
    assert!(std::iter::from_fn(|| caller.next()).any(|output| output == Output::HangUp(Cause::TimedOut)));
}

#[test]
fn the_key_that_was_to_end_a_recording_may_come_when_it_has_ended_by_itself() {
    // Ended by a key: nothing is owed.
    let mut caller = granted(false, false);
    caller.is_asked();
    caller.types("#");
    caller.reception.recorded(caller.now, true);
    assert_eq!(caller.reception.owed(), None);
    // By silence, and by its length.
    for milliseconds in [0, LONGEST_NAME_MS] {
        let mut caller = granted(false, false);
        caller.is_asked();
        caller.waits(milliseconds);
        caller.reception.recorded(caller.now, true);
        assert_eq!(caller.reception.owed(), Some(OwedKey::Any), "{milliseconds} ms");
    }
    // Heard again: the key that accepts it is taken, the time that does leaves one owed.
    for (key, owed) in [(Some('1'), None), (None, Some(OwedKey::Any))] {
        let mut caller = granted(true, false);
        caller.is_asked();
        caller.reception.recorded(caller.now, true);
        let (review, _) = caller.is_played();
        caller.play_ends(review);
        match key {
            Some(key) => caller.reception.key(caller.now, key),
            None => caller.waits(5000),
        }
        assert_eq!(caller.next(), Some(Output::Enter(Role::Member)));
        assert_eq!(caller.reception.owed(), owed);
    }
}
