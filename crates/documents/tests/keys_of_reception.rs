//! What each key of a conference document does to callers before they are in the conference: one test per key, named `key_` and the key
//! with underscores. `keys.rs` has those of the running conference and the list of all.

use confab_conference::{AccountId, GregorianSeconds, Role};
use confab_documents::{DialPlan, Document, Kind, Revision, call_flow, check_conference};
use confab_reception::{
    Candidate, Output, Prompt, Reception, Refused, Reservation, RoleSoFar, Saying, Start, Verdict,
};
use serde_json::{Value, json};

/// A caller of a conference of a document.
struct Caller {
    reception: Reception,
    now: u64,
}

impl Caller {
    fn of(document: Value, role: RoleSoFar) -> Caller {
        let body = document.as_object().expect("an object").clone();
        check_conference(body.clone()).expect("a good document");
        let document = Document {
            account_id: AccountId::from("a"),
            kind: Kind::Conference,
            id: "c".into(),
            revision: Revision::of("c", 1, ""),
            created: GregorianSeconds(0),
            modified: GregorianSeconds(0),
            body,
        };
        let flow = call_flow(&document, None, "en-us");
        let mut reception = Reception::new(Start::Conference(Candidate::new(role, flow)));
        reception.start(0);
        Caller { reception, now: 0 }
    }

    /// Returns what he hears next, to its end, and in which language.
    #[track_caller]
    fn hears(&mut self) -> (Vec<Saying>, String) {
        match self.reception.poll_output() {
            Some(Output::Play {
                number,
                sayings,
                language,
            }) => {
                self.reception.play_ended(self.now, number);
                (sayings, language)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Types a PIN and returns the role that it gives.
    fn types(&mut self, pin: &str) -> Option<Role> {
        for key in pin.chars().chain(['#']) {
            self.reception.key(self.now, key);
        }
        match self.reception.poll_output() {
            Some(Output::Judge { .. }) => {}
            other => panic!("{other:?}"),
        }
        self.reception.judged(self.now, Verdict::Pass { delay_ms: 0 });
        match self.reception.poll_output() {
            Some(Output::Reserve(role)) => Some(role),
            _ => None,
        }
    }

    fn told(mut self, reservation: Reservation) -> Option<Saying> {
        while !matches!(self.reception.poll_output(), Some(Output::Reserve(_)) | None) {
            self.reception.play_ended(self.now, 1);
        }
        self.reception.reserved(self.now, reservation);
        match self.reception.poll_output() {
            Some(Output::Play { mut sayings, .. }) => sayings.pop(),
            _ => None,
        }
    }
}

fn media(name: &str) -> Option<Saying> {
    Some(Saying::Media(name.to_owned()))
}

fn prompts(prompts: &[Prompt]) -> Vec<Saying> {
    prompts.iter().copied().map(Saying::Prompt).collect()
}

#[test]
fn key_play_welcome() {
    let heard = |document| Caller::of(document, RoleSoFar::Undecided).hears().0;
    let pins = json!({"pins": ["1"]});
    let welcomed = prompts(&[Prompt::Welcome, Prompt::EnterPin]);
    assert_eq!(heard(json!({ "member": pins })), welcomed);
    assert_eq!(heard(json!({"play_welcome": true, "member": pins})), welcomed);
    assert_eq!(
        heard(json!({"play_welcome": false, "member": pins})),
        prompts(&[Prompt::EnterPin])
    );
}

#[test]
fn key_member_pins() {
    let document =
        json!({"play_welcome": false, "member": {"pins": ["12", "34"]}, "moderator": {"pins": ["56"]}});
    for (pin, role) in [
        ("12", Some(Role::Member)),
        ("34", Some(Role::Member)),
        ("56", None),
    ] {
        let mut caller = Caller::of(document.clone(), RoleSoFar::Member);
        caller.hears();
        assert_eq!(caller.types(pin), role, "{pin}");
    }
}

#[test]
fn key_moderator_pins() {
    let document = json!({"play_welcome": false, "member": {"pins": ["12"]}, "moderator": {"pins": ["56"]}});
    for (so_far, pin, role) in [
        (RoleSoFar::Moderator, "56", Some(Role::Moderator)),
        (RoleSoFar::Moderator, "12", None),
        (RoleSoFar::Undecided, "56", Some(Role::Moderator)),
    ] {
        let mut caller = Caller::of(document.clone(), so_far);
        caller.hears();
        assert_eq!(caller.types(pin), role, "{so_far:?} {pin}");
    }
}

fn joining(role: RoleSoFar, document: Value) -> Option<Saying> {
    Caller::of(document, role).told(Reservation::Granted)
}

#[test]
fn key_member_play_entry_prompt() {
    let off = json!({"play_welcome": false, "member": {"play_entry_prompt": false}});
    assert_eq!(joining(RoleSoFar::Member, off.clone()), None);
    assert_eq!(
        joining(RoleSoFar::Moderator, off),
        Some(Saying::Prompt(Prompt::Joining))
    );
    let unset = json!({"play_welcome": false});
    assert_eq!(
        joining(RoleSoFar::Member, unset),
        Some(Saying::Prompt(Prompt::Joining))
    );
}

#[test]
fn key_moderator_play_entry_prompt() {
    let off = json!({"play_welcome": false, "moderator": {"play_entry_prompt": false}});
    assert_eq!(joining(RoleSoFar::Moderator, off.clone()), None);
    assert_eq!(
        joining(RoleSoFar::Member, off),
        Some(Saying::Prompt(Prompt::Joining))
    );
}

#[test]
fn key_member_enter_sound() {
    let document = json!({"play_welcome": false, "profile": {"member-enter-sound": "%(1,0,1)"}});
    assert_eq!(joining(RoleSoFar::Member, document), media("%(1,0,1)"));
}

#[test]
fn key_pin_timeout() {
    let mut caller = Caller::of(
        json!({"play_welcome": false, "pin_timeout": 700, "member": {"pins": ["1"]}}),
        RoleSoFar::Member,
    );
    caller.hears();
    assert_eq!(caller.reception.poll_timeout(), Some(700));
}

fn refused(document: Value, why: Refused) -> Option<Saying> {
    Caller::of(document, RoleSoFar::Member).told(Reservation::Refused(why))
}

#[test]
fn key_max_members_media() {
    let document = json!({"max_members_media": "%(1,0,1)", "profile": {"max-members-sound": "%(1,0,2)"}});
    assert_eq!(refused(document, Refused::Full), media("%(1,0,1)"));
}

#[test]
fn key_max_members_sound() {
    let document = json!({"profile": {"max-members-sound": "%(1,0,2)"}});
    assert_eq!(refused(document, Refused::Full), media("%(1,0,2)"));
    assert_eq!(refused(json!({}), Refused::Full), media("conf-max_participants"));
}

#[test]
fn key_locked_sound() {
    let document = json!({"profile": {"locked-sound": "%(1,0,3)"}});
    assert_eq!(refused(document, Refused::Locked), media("%(1,0,3)"));
    assert_eq!(
        refused(json!({}), Refused::Locked),
        media("conf-max_participants")
    );
    assert_eq!(
        refused(json!({"profile": {"locked-sound": ""}}), Refused::Locked),
        None
    );
}

#[test]
fn key_play_name_has_callers_say_their_names() {
    let heard = |document| {
        let mut caller = Caller::of(document, RoleSoFar::Member);
        while !matches!(caller.reception.poll_output(), Some(Output::Reserve(_))) {}
        caller.reception.reserved(0, Reservation::Granted);
        caller.hears().0
    };
    let silent = json!({"play_welcome": false, "play_name": false});
    assert_eq!(heard(silent), prompts(&[Prompt::Joining]));
    let asked = heard(json!({"play_welcome": false, "play_name": true}));
    assert_eq!(asked[0], Saying::Prompt(Prompt::AnnounceYourName));
    assert_eq!(asked[1..], [media("tone_stream://%(500,0,440)").expect("a tone")]);
}

#[test]
fn prompts_are_in_the_conferences_language_and_numbers_keep_their_digits() {
    let mut caller = Caller::of(json!({"language": "fr-ca"}), RoleSoFar::Member);
    assert_eq!(caller.hears().1, "fr-ca");
    assert_eq!(DialPlan::of(None, "fr").forms("3000"), ["3000"]);
}
