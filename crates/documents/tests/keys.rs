//! What each key of a conference document and of a profile does to a running conference: one test per key, named `key_` and the key
//! with underscores. The last tests hold the lists of keys against the schemas, and each key against its test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    assert_eq!(
        room.heard_by(ann),
        ["prompt:en-us/conf-waiting_for_moderator"],
        "he is told why he waits, and not that he is alone"
    );
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

/// Enters as somebody whom the server has called, with a flag.
fn called(room: &mut Room, entry: Entry) -> Result<ParticipantId, Refusal> {
    let (caller, role) = (Caller::new("called"), Role::Member);
    let reserved = room.apply(Command::Reserve { caller, role, entry })?;
    let Reply::Reserved(participant) = reserved else {
        panic!("{reserved:?}");
    };
    room.apply(Command::Join { participant })?;
    Ok(participant)
}

/// The flags of a call that the server makes: mute, deaf, ghost, no hold music, join existing.
fn flags([muted, deaf, ghost, no_hold_music, join_existing]: [bool; 5]) -> Entry {
    Entry::DialOut {
        muted,
        deaf,
        ghost,
        no_hold_music,
        join_existing,
        distributes_keys: false,
    }
}

#[test]
fn key_mute() {
    let mut room = Room::new(json!({"member": {"join_muted": true}}));
    let without = called(&mut room, flags([false; 5])).expect("he is in");
    let with = called(&mut room, flags([true, false, false, false, false])).expect("he is in");
    assert_eq!((room.state(without).muted, room.state(with).muted), (false, true));
}

#[test]
fn key_deaf() {
    let mut room = Room::new(json!({"member": {"join_deaf": true}}));
    let without = called(&mut room, flags([false; 5])).expect("he is in");
    let with = called(&mut room, flags([false, true, false, false, false])).expect("he is in");
    assert_eq!((room.state(without).deaf, room.state(with).deaf), (false, true));
}

#[test]
fn key_ghost() {
    let mut room = Room::new(json!({"max_participants": 2}));
    let ghost = called(&mut room, flags([false, false, true, false, false])).expect("he is in");
    assert!(room.state(ghost).ghost);
    assert_eq!(room.heard_by(ghost), NOTHING, "he is not told that he is alone");
    let ann = room.enter();
    assert_eq!(room.heard_by(ann), ["prompt:en-us/conf-alone", "moh:default"]);
    room.enter();
    let (caller, role, entry) = (Caller::new("call"), Role::Member, Entry::DialIn);
    let third = room.apply(Command::Reserve { caller, role, entry });
    assert_eq!(third, Err(Refusal::Full), "two of three count");
}

#[test]
fn key_disable_moh() {
    let mut room = Room::new(json!({}));
    let ann = called(&mut room, flags([false, false, false, true, false])).expect("he is in");
    assert_eq!(room.heard_by(ann), ["prompt:en-us/conf-alone"]);
}

#[test]
fn key_join_existing() {
    let entry = flags([false, false, false, false, true]);
    let mut room = Room::new(json!({}));
    assert_eq!(called(&mut room, entry), Err(Refusal::NotRunning));
    let mut room = Room::new(json!({}));
    room.enter();
    assert!(called(&mut room, entry).is_ok());
}

#[test]
fn key_is_moderator() {
    let mut room = Room::new(json!({"wait_for_moderator": true}));
    let ann = room.enter();
    let (caller, role, entry) = (Caller::new("called"), Role::Moderator, flags([false; 5]));
    let Ok(Reply::Reserved(participant)) = room.apply(Command::Reserve { caller, role, entry }) else {
        panic!("he gets in");
    };
    room.apply(Command::Join { participant }).expect("done");
    assert!(!room.state(ann).waiting, "he lets members in");
    room.control(Control::MuteAll);
    assert_eq!(
        (room.state(ann).muted, room.state(participant).muted),
        (true, false)
    );
}

#[test]
fn key_auto_gain() {
    for on in [true, false] {
        let mut room = Room::new(json!({"profile": {"auto-gain": on}}));
        let ann = room.enter();
        assert_eq!(room.state(ann).agc, on);
    }
}

#[test]
fn key_denoise() {
    for on in [true, false] {
        let mut room = Room::new(json!({"profile": {"denoise": on}}));
        let ann = room.enter();
        assert_eq!(room.state(ann).denoise, on);
    }
}

#[test]
fn key_interval() {
    for (interval, expected) in [(10, 10), (40, 40), (25, 20), (120, 120)] {
        let room = Room::new(json!({"profile": {"interval": interval}}));
        assert_eq!(room.conference.settings().interval_ms, expected);
    }
}

#[test]
fn key_record_tracks() {
    let choice = |profile: Value| {
        let mut room = Room::new(json!({"record": true, "profile": profile}));
        room.enter();
        let effects = room.effects.into_iter();
        let mut recorded = effects.filter_map(|effect| match effect {
            Effect::StartRecording(choice) => Some(choice.tracks),
            _ => None,
        });
        recorded.next()
    };
    assert_eq!(choice(json!({"record-tracks": true})), Some(true));
    assert_eq!(choice(json!({"record-tracks": false})), Some(false));
    assert_eq!(choice(json!({})), Some(false));
}

/// Where the test of a key is.
enum Proof {
    /// `key_` and the key, in any file.
    Named,
    /// A function of a file, from the root of the repository.
    Test(&'static str, &'static str),
    /// The key means nothing yet: what it belongs to.
    Awaits(&'static str),
    /// The key is kept and means nothing here, for this reason.
    Kept(&'static str),
}

use Proof::{Awaits, Kept, Named, Test};

const CALLERS: &str = "tests/contract/callers.rs";
const RECEPTION: &str = "tests/contract/reception.rs";
const DIALLED: &str = "tests/contract/dialled.rs";
const RECORDINGS: &str = "tests/contract/recordings.rs";
const SHOWN: Proof = Test("tests/trunks.rs", "a_profile_says_who_is_shown_as_calling");
const PRECEDENCE: &str = "crates/documents/src/conference/tests.rs";

/// Keys of the document.
const KEYS: &[(&str, Proof)] = &[
    (
        "bridge_username",
        Test(RECEPTION, "line_184_bridge_credentials_admit_a_call"),
    ),
    (
        "bridge_password",
        Test(RECEPTION, "line_184_bridge_credentials_admit_a_call"),
    ),
    ("caller_controls", Named),
    (
        "conference_numbers",
        Test(
            RECEPTION,
            "line_155_a_conference_number_and_a_members_pin_make_a_member",
        ),
    ),
    ("controls", Named),
    (
        "domain",
        Test(
            "tests/contract/dialling.rs",
            "line_112_the_caller_id_is_shown_to_the_called_party",
        ),
    ),
    (
        "flags",
        Test(
            "tests/contract/documents.rs",
            "line_073_an_item_of_the_list_has_the_keys_of_the_view",
        ),
    ),
    (
        "focus",
        Test(
            "tests/contract/documents.rs",
            "line_066_what_the_server_writes_is_not_taken_from_clients",
        ),
    ),
    ("language", Named),
    ("max_members_media", Named),
    ("max_participants", Named),
    ("member.join_deaf", Named),
    ("member.join_muted", Named),
    (
        "member.numbers",
        Test(
            CALLERS,
            "line_153_a_member_joins_muted_unless_the_document_says_otherwise",
        ),
    ),
    ("member.pins", Named),
    ("member.play_entry_prompt", Named),
    ("moderator.join_deaf", Named),
    ("moderator.join_muted", Named),
    (
        "moderator.numbers",
        Test(CALLERS, "line_154_a_moderator_joins_unmuted"),
    ),
    ("moderator.pins", Named),
    ("moderator.play_entry_prompt", Named),
    ("moderator_controls", Named),
    ("name", Named),
    (
        "owner_id",
        Test(DIALLED, "line_130_a_dial_starts_a_stored_conference"),
    ),
    ("pin_timeout", Named),
    ("play_entry_tone", Named),
    ("play_exit_tone", Named),
    ("play_name", Named),
    ("play_welcome", Named),
    ("profile_name", Named),
    (
        "record",
        Test(RECORDINGS, "a_pause_is_left_out_and_who_is_deleted_is_gone"),
    ),
    ("require_moderator", Named),
    ("wait_for_moderator", Named),
];

/// Keys of profiles.
const PROFILE_KEYS: &[(&str, Proof)] = &[
    ("alone-sound", Named),
    ("announce-count", Named),
    ("auto-gain", Named),
    (
        "caller-controls",
        Test("crates/documents/tests/keys.rs", "key_caller_controls_of_profile"),
    ),
    ("caller-id-name", SHOWN),
    ("caller-id-number", SHOWN),
    (
        "comfort-noise",
        Test(CALLERS, "line_180_comfort_noise_is_there_or_not"),
    ),
    ("conference-flags", Named),
    ("deaf-sound", Named),
    ("denoise", Named),
    (
        "duck-db",
        Test(
            "tests/playback.rs",
            "who_speaks_lowers_what_is_played_by_so_much_and_it_comes_back",
        ),
    ),
    (
        "energy-level",
        Test(CALLERS, "line_181_the_energy_gate_blocks_who_is_quiet"),
    ),
    ("enter-sound", Named),
    ("exit-sound", Named),
    ("interval", Named),
    ("kicked-sound", Named),
    ("locked-sound", Named),
    ("max-members", Named),
    ("max-members-sound", Named),
    ("member-enter-sound", Named),
    (
        "moderator-controls",
        Test(
            "crates/documents/tests/keys.rs",
            "key_moderator_controls_of_profile",
        ),
    ),
    ("moh-sound", Named),
    ("muted-sound", Named),
    ("perpetual-sound", Named),
    (
        "rate",
        Test(
            "tests/codecs.rs",
            "a_profile_rate_of_8000_keeps_the_wide_band_out",
        ),
    ),
    ("record-tracks", Named),
    ("undeaf-sound", Named),
    ("unmuted-sound", Named),
];

/// Keys of KAZOO's default profile that no schema of ours knows: they are kept as any other.
const PROFILE_KEYS_BEYOND: &[(&str, Proof)] = &[
    ("channels", Kept("every conference is mixed in one channel")),
    (
        "member-flags",
        Kept("flags of FreeSWITCH's members are those of single calls here"),
    ),
    ("tts-engine", Awaits("speech from text")),
    ("tts-voice", Awaits("speech from text")),
];

/// Flags of participants whom the server calls. What the conference makes of a flag is tested here; that a request of the interface
/// says it belongs to dialling out.
const FLAGS: &[(&str, Proof)] = &[
    ("mute", Named),
    ("deaf", Named),
    (
        "distribute_dtmf",
        Test(
            DIALLED,
            "line_122_one_participants_keys_reach_the_others_and_control_nothing",
        ),
    ),
    ("is_moderator", Named),
    ("disable_moh", Named),
    ("ghost", Named),
    ("join_existing", Named),
    ("video_mute", Kept("there are no pictures")),
];

/// What wins over what.
const ORDER: &[(&str, Proof)] = &[
    (
        "the document, its profile, the named one, the default",
        Test(PRECEDENCE, "key_precedence_of_settings"),
    ),
    (
        "the named profile of the account, the built-in one",
        Test(PRECEDENCE, "key_precedence_of_named_profiles"),
    ),
    ("tones", Test(PRECEDENCE, "key_precedence_of_tones")),
    (
        "sounds of refusals",
        Test(
            "crates/documents/src/reception.rs",
            "key_precedence_of_sounds_of_refusals",
        ),
    ),
    (
        "waiting for moderators",
        Test(PRECEDENCE, "key_precedence_of_moderator_rules"),
    ),
    ("keys of phones", Test(PRECEDENCE, "key_precedence_of_controls")),
    ("languages", Test(PRECEDENCE, "key_precedence_of_languages")),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of all tests of the repository that begin with `key_`.
fn tests() -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                found.extend(functions(&text).filter(|name| name.starts_with("key_")));
            }
        }
    }
    let mut found = BTreeSet::new();
    for folder in ["crates", "src", "tests"] {
        walk(&root().join(folder), &mut found);
    }
    found
}

/// The names of the tests of a file.
fn functions(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        match line.strip_prefix("fn ") {
            Some(rest) if std::mem::take(&mut marked) => rest.split('(').next().map(str::to_owned),
            _ => {
                marked = line == "#[test]" || (marked && line.starts_with("#["));
                None
            }
        }
    })
}

#[test]
fn every_key_has_a_test_or_an_owner() {
    let tests = tests();
    let mut missing = Vec::new();
    let all = [KEYS, PROFILE_KEYS, PROFILE_KEYS_BEYOND, FLAGS, ORDER];
    for (key, proof) in all.into_iter().flatten() {
        let has_one = match proof {
            Named => tests.contains(&format!("key_{}", key.replace(['.', '-'], "_"))),
            Test(file, name) => {
                let text = fs::read_to_string(root().join(file)).unwrap_or_default();
                functions(&text).any(|function| function == *name)
            }
            Awaits(whom) => {
                println!("{key}: awaits {whom}");
                true
            }
            Kept(why) => {
                println!("{key}: means nothing: {why}");
                true
            }
        };
        if !has_one {
            missing.push(*key);
        }
    }
    assert_eq!(missing, NOTHING, "keys without a test");
}

/// The keys of the properties of a schema, those of `member` and `moderator` with these before them.
fn properties(schema: &Value) -> BTreeSet<String> {
    let properties = schema["properties"].as_object().expect("properties");
    let mut keys = BTreeSet::new();
    for (key, schema) in properties {
        match schema.get("properties").and_then(Value::as_object) {
            Some(_) if key == "profile" => {}
            Some(below) => keys.extend(below.keys().map(|below| format!("{key}.{below}"))),
            None => {
                keys.insert(key.clone());
            }
        }
    }
    keys
}

fn listed(keys: &[(&str, Proof)]) -> BTreeSet<String> {
    keys.iter().map(|(key, _)| (*key).to_owned()).collect()
}

#[test]
fn the_lists_of_keys_are_those_of_the_schemas() {
    let schema = |text: &str| serde_json::from_str::<Value>(text).expect("a schema");
    let conference = schema(include_str!("../schemas/conferences.json"));
    let configuration = schema(include_str!("../schemas/configs.conferences.json"));
    assert_eq!(properties(&conference), listed(KEYS));
    let of_profiles = listed(PROFILE_KEYS);
    assert_eq!(properties(&conference["properties"]["profile"]), of_profiles);
    let named = &configuration["properties"]["profiles"]["additionalProperties"];
    assert_eq!(properties(named), of_profiles, "of the account");
}

#[test]
fn every_key_of_a_profile_that_is_read_is_listed() {
    let read = [
        include_str!("../src/conference.rs"),
        include_str!("../src/conference/sounds.rs"),
        include_str!("../src/conference/controls.rs"),
        include_str!("../src/reception.rs"),
    ];
    let known = listed(PROFILE_KEYS);
    let mut found = BTreeSet::new();
    for text in read {
        let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
        for literal in before_tests.split('"').skip(1).step_by(2) {
            let is_key = literal.trim_matches('-').contains('-')
                && literal
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            if is_key && !["en-us", "wait-mod"].contains(&literal) {
                found.insert(literal.to_owned());
            }
        }
    }
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(found.len() > 20, "the sources are read as expected: {found:?}");
}
