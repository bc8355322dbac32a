//! What each key of a conference document and of a profile does to a running conference: one test per key, named `key_` and the key
//! with underscores. The last test lists the keys that have none and whom they wait for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use confab_conference::*;
use confab_documents::{Document, Kind, Revision, settings};
use serde_json::{Value, json};

/// A conference of a document, and what came of it.
struct Room {
    conference: Conference,
    events: Vec<&'static str>,
    /// What was asked to be played: to whom, what, how.
    plays: Vec<(Audience, String, Manner)>,
    effects: Vec<Effect>,
}

impl Room {
    fn new(document: Value) -> Room {
        let body = document.as_object().expect("an object").clone();
        confab_documents::check_conference(body.clone()).expect("a good document");
        let document = Document {
            account_id: AccountId::from("a"),
            kind: Kind::Conference,
            id: "c".into(),
            revision: Revision::of("c", 1, ""),
            created: GregorianSeconds(0),
            modified: GregorianSeconds(0),
            body,
        };
        let identity = Identity {
            account_id: AccountId::from("a"),
            conference_id: ConferenceId::from("c"),
            instance_id: InstanceId::from("i"),
        };
        Room {
            conference: Conference::new(identity, settings(&document), Box::new(SequentialIds::default())),
            events: Vec::new(),
            plays: Vec::new(),
            effects: Vec::new(),
        }
    }

    fn apply(&mut self, command: Command) -> Result<Reply, Refusal> {
        let reply = self.conference.apply(GregorianSeconds(0), command);
        while let Some(output) = self.conference.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event.kind.name()),
                Output::Effect(Effect::Play {
                    audience,
                    media,
                    manner,
                    ..
                }) => {
                    let names: Vec<_> = media.iter().map(MediaName::as_str).collect();
                    self.plays.push((audience, names.join(" "), manner));
                }
                Output::Effect(effect) => self.effects.push(effect),
            }
        }
        reply
    }

    fn enter_as(&mut self, role: Role, name: Option<&str>) -> ParticipantId {
        let (caller, entry) = (Caller::new("call"), Entry::DialIn);
        let Ok(Reply::Reserved(participant)) = self.apply(Command::Reserve { caller, role, entry }) else {
            panic!("he gets in");
        };
        if let Some(name) = name {
            let name = name.into();
            self.apply(Command::Name { participant, name }).expect("done");
        }
        self.apply(Command::Join { participant }).expect("done");
        participant
    }

    fn enter(&mut self) -> ParticipantId {
        self.enter_as(Role::Member, None)
    }

    fn lead(&mut self) -> ParticipantId {
        self.enter_as(Role::Moderator, None)
    }

    fn leave(&mut self, participant: ParticipantId) {
        let cause = LeaveCause::HungUp;
        self.apply(Command::Leave { participant, cause }).expect("done");
    }

    fn press(&mut self, participant: ParticipantId, keys: &str) {
        for key in keys.chars() {
            self.apply(Command::KeyPressed { participant, key })
                .expect("done");
        }
    }

    fn control(&mut self, control: Control) {
        self.apply(Command::Control(control)).expect("done");
    }

    fn state(&self, id: ParticipantId) -> ParticipantState {
        let snapshot = self.conference.snapshot().expect("done");
        snapshot.participant(id).expect("he is in").clone()
    }

    /// Takes what was played to an audience.
    fn heard(&mut self, audience: Audience) -> Vec<String> {
        let (his, others) = std::mem::take(&mut self.plays)
            .into_iter()
            .partition(|(to, ..)| *to == audience);
        self.plays = others;
        his.into_iter().map(|(_, media, _)| media).collect()
    }

    fn heard_by(&mut self, id: ParticipantId) -> Vec<String> {
        self.heard(Audience::One(id))
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn key_name() {
    let room = Room::new(json!({"name": "Board"}));
    assert_eq!(room.conference.settings().name, "Board");
}

#[test]
fn key_caller_controls() {
    let mut room = Room::new(json!({"caller_controls": "none"}));
    let (ann, boss) = (room.enter(), room.lead());
    room.press(ann, "*3");
    room.press(boss, "*1");
    assert!(room.state(ann).muted && room.state(boss).muted);
}

#[test]
fn key_moderator_controls() {
    let mut room = Room::new(json!({"moderator_controls": "none"}));
    let (ann, boss) = (room.enter(), room.lead());
    room.press(ann, "*3");
    room.press(boss, "*1");
    assert!(!room.state(ann).muted && !room.state(boss).muted);
}

#[test]
fn key_controls() {
    let mut room = Room::new(json!({
        "controls": {"default": [{"action": "raise hand", "digits": "7"}, {"action": "event", "digits": "8", "data": "x"}]}
    }));
    let ann = room.enter();
    room.press(ann, "*37");
    assert!(room.state(ann).muted && room.state(ann).hand_raised);
    room.press(ann, "8");
    assert_eq!(room.events.last(), Some(&"key-event-member"));
}

#[test]
fn key_wait_for_moderator() {
    let mut room = Room::new(json!({"wait_for_moderator": true}));
    let ann = room.enter();
    assert!(room.state(ann).waiting);
    assert_eq!(room.heard(Audience::Waiting), ["moh:default"]);
    assert_eq!(room.heard_by(ann), NOTHING, "he is not told that he is alone");
    room.control(Control::Unmute(ann));
    room.control(Control::Mute(ann));
    let boss = room.lead();
    let state = room.state(ann);
    assert!(
        !state.waiting && state.muted,
        "what was done to him meanwhile stays"
    );
    assert!(room.events.contains(&"release-member"));
    room.leave(boss);
    let late = room.enter();
    assert!(!room.state(late).waiting);
}

#[test]
fn key_require_moderator() {
    let mut room = Room::new(json!({"require_moderator": true}));
    let ann = room.enter();
    assert!(room.state(ann).waiting);
    let boss = room.lead();
    room.leave(boss);
    assert!(!room.conference.is_ended());
    assert!(
        room.heard(Audience::Everybody)
            .contains(&"prompt:en-us/conf-ending".to_owned())
    );
    let due = room.conference.deadline().expect("an end");
    assert!(due.0 <= 2000);
    let now = due;
    room.apply(Command::Advance { now }).expect("done");
    assert!(room.conference.is_ended());
}

#[test]
fn key_language() {
    let mut room = Room::new(json!({"language": "de-de"}));
    let ann = room.enter();
    assert_eq!(room.heard_by(ann), ["prompt:de-de/conf-alone", "moh:default"]);
}

#[test]
fn key_play_name() {
    let mut room =
        Room::new(json!({"play_name": true, "play_entry_tone": "%(1,0,1)", "play_exit_tone": false}));
    let _first = room.enter();
    let ann = room.enter_as(Role::Member, Some("ann.wav"));
    assert_eq!(
        room.heard(Audience::Everybody),
        ["%(1,0,1) ann.wav prompt:en-us/conf-has_joined"]
    );
    room.leave(ann);
    assert_eq!(
        room.heard(Audience::Everybody),
        ["ann.wav prompt:en-us/conf-has_left"]
    );
}

#[test]
fn key_play_entry_tone() {
    for (tone, expected) in [
        (json!(false), vec![]),
        (json!("%(1,0,1)"), vec!["%(1,0,1)"]),
        (json!(true), vec![MediaName::ENTRY_TONE]),
    ] {
        let mut room = Room::new(json!({"play_entry_tone": tone}));
        room.enter();
        assert_eq!(room.heard(Audience::Everybody), NOTHING, "nobody is there");
        room.enter();
        assert_eq!(room.heard(Audience::Everybody), expected);
    }
}

#[test]
fn key_play_exit_tone() {
    for (tone, expected) in [(json!(false), vec![]), (json!("%(1,0,1)"), vec!["%(1,0,1)"])] {
        let mut room = Room::new(json!({"play_exit_tone": tone, "play_entry_tone": false}));
        let (_first, second) = (room.enter(), room.enter());
        room.leave(second);
        assert_eq!(room.heard(Audience::Everybody), expected);
    }
}

#[test]
fn key_max_participants() {
    let mut room = Room::new(json!({"max_participants": 2}));
    room.enter();
    room.enter();
    let (caller, role, entry) = (Caller::new("call"), Role::Moderator, Entry::DialIn);
    assert_eq!(
        room.apply(Command::Reserve { caller, role, entry }),
        Err(Refusal::Full)
    );
}

#[test]
fn key_member_join_muted() {
    for muted in [true, false] {
        let mut room = Room::new(json!({"member": {"join_muted": muted}}));
        let ann = room.enter();
        assert_eq!(room.state(ann).muted, muted);
    }
}

#[test]
fn key_member_join_deaf() {
    let mut room = Room::new(json!({"member": {"join_deaf": true}}));
    let ann = room.enter();
    assert!(room.state(ann).deaf);
    assert_eq!(room.heard_by(ann), NOTHING, "he hears neither prompt nor music");
    room.control(Control::Undeaf(ann));
    assert_eq!(room.heard_by(ann), ["prompt:en-us/conf-undeaf", "moh:default"]);
}

#[test]
fn key_moderator_join_muted() {
    let mut room = Room::new(json!({"moderator": {"join_muted": true}}));
    let boss = room.lead();
    assert!(room.state(boss).muted);
}

#[test]
fn key_moderator_join_deaf() {
    let mut room = Room::new(json!({"moderator": {"join_deaf": true}}));
    let boss = room.lead();
    assert!(room.state(boss).deaf);
}

#[test]
fn key_profile_name() {
    let mut room = Room::new(json!({"profile_name": "page"}));
    let ann = room.enter();
    assert_eq!(room.heard_by(ann), NOTHING);
    assert_eq!(room.conference.settings().rate_hz, Some(8000));
}

#[test]
fn key_alone_sound() {
    let mut room = Room::new(json!({"profile": {"alone-sound": "%(1,0,1)"}}));
    let ann = room.enter();
    assert_eq!(room.heard_by(ann), ["%(1,0,1)"]);
    let bob = room.enter();
    assert_eq!((room.heard_by(ann).len(), room.heard_by(bob).len()), (0, 0));
    room.leave(ann);
    assert_eq!(room.heard_by(bob), ["%(1,0,1)"]);
}

#[test]
fn key_moh_sound() {
    let mut room = Room::new(json!({"profile": {"moh-sound": "%(9,0,1)"}}));
    let ann = room.enter();
    assert_eq!(room.heard_by(ann), ["%(9,0,1)"]);
    let bob = room.enter();
    let stopped = |effect: &Effect| matches!(effect, Effect::CancelPlay { audience, .. } if *audience == Audience::One(ann));
    assert!(room.effects.iter().any(stopped));
    room.control(Control::Hold(bob));
    assert_eq!(room.heard(Audience::Waiting), ["%(9,0,1)"]);
}

#[test]
fn key_announce_count() {
    let mut room = Room::new(json!({"profile": {"announce-count": 3}}));
    let ids = [room.enter(), room.enter(), room.enter()];
    let heard = ids.map(|id| room.heard_by(id));
    assert_eq!(heard[..2], [Vec::<String>::new(), Vec::new()]);
    assert_eq!(
        heard[2],
        ["prompt:en-us/conf-there_are+say:number:3+conf-callers"]
    );
}

#[test]
fn key_caller_controls_of_profile() {
    let mut room = Room::new(json!({"profile": {"caller-controls": "none"}}));
    let ann = room.enter();
    room.press(ann, "*3");
    assert!(room.state(ann).muted);
}

#[test]
fn key_moderator_controls_of_profile() {
    let mut room = Room::new(json!({"profile": {"moderator-controls": "none"}}));
    let boss = room.lead();
    room.press(boss, "*1");
    assert!(!room.state(boss).muted);
}

#[test]
fn key_muted_sound() {
    for (sound, expected) in [("%(1,0,1)", vec!["%(1,0,1)"]), ("", vec![])] {
        let mut room = Room::new(json!({"profile": {"muted-sound": sound}, "member": {"join_muted": false}}));
        let ann = room.enter();
        room.control(Control::Mute(ann));
        assert_eq!(room.heard_by(ann), expected);
        assert_eq!(room.plays.len(), 0, "to him alone");
    }
    let mut room = Room::new(json!({}));
    let ann = room.enter();
    assert!(
        !room.heard_by(ann).contains(&"prompt:en-us/conf-muted".to_owned()),
        "not for joining muted"
    );
    let mut stuck = Room::new(json!({"caller_controls": "none"}));
    let ann = stuck.enter();
    assert!(
        stuck
            .heard_by(ann)
            .contains(&"prompt:en-us/conf-cannot_unmute".to_owned())
    );
}

#[test]
fn key_unmuted_sound() {
    let mut room = Room::new(json!({"profile": {"unmuted-sound": "%(1,0,1)"}}));
    let ann = room.enter();
    room.press(ann, "*1");
    assert_eq!(room.heard_by(ann), ["%(1,0,1)"]);
}

#[test]
fn key_deaf_sound() {
    let mut room = Room::new(json!({"profile": {"deaf-sound": "%(1,0,1)"}}));
    let ann = room.enter();
    room.press(ann, "*4");
    assert_eq!(room.heard_by(ann), ["%(1,0,1)"]);
}

#[test]
fn key_undeaf_sound() {
    let mut room = Room::new(json!({"profile": {"undeaf-sound": "%(1,0,1)"}}));
    let ann = room.enter();
    room.press(ann, "*4*4");
    assert_eq!(room.heard_by(ann), ["%(1,0,1)"]);
}

#[test]
fn key_kicked_sound() {
    for (profile, expected) in [
        (json!({}), None),
        (json!({"kicked-sound": "%(1,0,1)"}), Some("%(1,0,1)")),
    ] {
        let mut room = Room::new(json!({"profile": profile}));
        let (ann, _) = (room.enter(), room.enter());
        room.control(Control::Kick(ann));
        let said = room.effects.iter().find_map(|effect| match effect {
            Effect::HangUp { farewell, .. } => Some(farewell.as_ref().map(MediaName::as_str)),
            _ => None,
        });
        assert_eq!(said, Some(expected));
    }
}

#[test]
fn key_perpetual_sound() {
    let mut room = Room::new(json!({"profile": {"perpetual-sound": "%(9,0,1)"}}));
    room.enter();
    let expected = (Audience::Everybody, "%(9,0,1)".to_owned(), Manner::Background);
    assert_eq!(room.plays, [expected]);
}

#[test]
fn key_conference_flags() {
    let mut room = Room::new(json!({"profile": {"conference-flags": "wait-mod"}}));
    let ann = room.enter();
    assert!(room.state(ann).waiting);
}

#[test]
fn key_enter_sound() {
    let mut room = Room::new(json!({"profile": {"enter-sound": "%(1,0,1)"}}));
    room.enter();
    room.enter();
    assert_eq!(room.heard(Audience::Everybody), ["%(1,0,1)"]);
}

#[test]
fn key_exit_sound() {
    let mut room = Room::new(json!({"profile": {"exit-sound": "%(1,0,1)", "enter-sound": ""}}));
    let (_first, second) = (room.enter(), room.enter());
    room.leave(second);
    assert_eq!(room.heard(Audience::Everybody), ["%(1,0,1)"]);
}

#[test]
fn key_max_members() {
    let mut room = Room::new(json!({"profile": {"max-members": 2}}));
    room.enter();
    room.enter();
    let (caller, role, entry) = (Caller::new("call"), Role::Member, Entry::DialIn);
    assert_eq!(
        room.apply(Command::Reserve { caller, role, entry }),
        Err(Refusal::Full)
    );
}

/// Keys of the document, then of profiles (with `-`), and who has to write a test for those that have none.
const KEYS: &[(&str, &str)] = &[
    ("bridge_username", "tests/contract, line 184"),
    ("bridge_password", "tests/contract, line 184"),
    ("caller_controls", ""),
    ("conference_numbers", "tests/contract, line 155"),
    ("controls", ""),
    ("domain", "tests/contract, line 112"),
    ("flags", "documents: tests/contract, line 42"),
    ("focus", "documents: tests/contract, line 66"),
    ("language", ""),
    ("max_members_media", ""),
    ("max_participants", ""),
    ("member.join_deaf", ""),
    ("member.join_muted", ""),
    ("member.numbers", "tests/contract, line 153"),
    ("member.pins", ""),
    ("member.play_entry_prompt", ""),
    ("moderator.join_deaf", ""),
    ("moderator.join_muted", ""),
    ("moderator.numbers", "tests/contract, line 154"),
    ("moderator.pins", ""),
    ("moderator.play_entry_prompt", ""),
    ("moderator_controls", ""),
    ("name", ""),
    ("owner_id", "tests/contract, line 130"),
    ("pin_timeout", ""),
    ("play_entry_tone", ""),
    ("play_exit_tone", ""),
    ("play_name", ""),
    ("play_welcome", ""),
    ("profile_name", ""),
    ("record", "recording"),
    ("require_moderator", ""),
    ("wait_for_moderator", ""),
    ("alone-sound", ""),
    ("announce-count", ""),
    ("auto-gain", "media plane: shard/tests/settings.rs"),
    ("caller-controls of_profile", ""),
    ("caller-id-name", "dialling out"),
    ("caller-id-number", "dialling out"),
    ("channels", "nobody: every conference is mixed in one channel"),
    ("comfort-noise", "tests/contract, line 180"),
    ("conference-flags", ""),
    ("deaf-sound", ""),
    ("denoise", "media plane: shard/tests/settings.rs"),
    ("duck-db", "tests/playback.rs"),
    ("energy-level", "tests/contract, line 181"),
    ("enter-sound", ""),
    ("exit-sound", ""),
    ("interval", "media plane: shard/tests/timing.rs"),
    ("kicked-sound", ""),
    ("locked-sound", ""),
    ("max-members", ""),
    ("max-members-sound", ""),
    ("member-enter-sound", ""),
    (
        "member-flags",
        "nobody: all flags of FreeSWITCH are those of single calls here",
    ),
    ("moderator-controls of_profile", ""),
    ("moh-sound", ""),
    ("muted-sound", ""),
    ("perpetual-sound", ""),
    ("rate", "tests/contract, line 182"),
    ("tts-engine", "speech from text"),
    ("tts-voice", "speech from text"),
    ("undeaf-sound", ""),
    ("unmuted-sound", ""),
];

/// The names of all tests of the repository that begin with `key_`.
fn tests() -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                for (at, _) in text.match_indices("fn key_") {
                    let name = text[at + 3..].split('(').next().unwrap_or_default();
                    found.insert(name.to_owned());
                }
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    for folder in ["crates", "src", "tests"] {
        walk(&root.join(folder), &mut found);
    }
    found
}

#[test]
fn every_key_has_a_test_or_an_owner() {
    let tests = tests();
    let mut missing = Vec::new();
    for (key, owner) in KEYS {
        let name = format!("key_{}", key.replace(['.', '-', ' '], "_"));
        if tests.contains(&name) {
            continue;
        }
        if owner.is_empty() {
            missing.push(*key);
        } else {
            println!("{key}: no test of its own; {owner}");
        }
    }
    assert_eq!(missing, NOTHING, "keys without a test");
}
