//! A reading of a conference, advanced by the events alone as a client would do it, equals a fresh reading: all in JSON. Left out are what
//! grows by itself (`duration`) and what no event tells (`current_energy`, and of the media `codec` and `quality`, which are not read here).

use std::sync::Arc;

use confab_conference::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{EventMessage, Origin};
use crate::state::ApiConfig;
use crate::view::Viewpoint;

/// What a client keeps.
struct Client {
    reading: Map<String, Value>,
}

/// Keys of an event that tell of a participant.
const PARTICIPANT: &[&str] = &[
    "participant_id",
    "call_id",
    "join_time",
    "caller_id_name",
    "caller_id_number",
    "floor",
    "hear",
    "speak",
    "talking",
    "mute_detect",
    "video",
    "is_moderator",
    "energy_level",
    "volume_in",
    "volume_out",
    "hand_raised",
    "waiting",
    "conference_channel_vars",
    "custom_channel_vars",
    "custom_application_vars",
];

impl Client {
    fn follow(&mut self, event: &Value) {
        let expected = self.reading["sequence"].as_u64().unwrap() + 1;
        assert_eq!(event["sequence"], expected, "no event may be missing");
        assert_eq!(event["instance_id"], self.reading["instance_id"]);
        self.reading["sequence"] = expected.into();
        let id = &event["participant_id"];
        let mut participants = match self.reading["participants"].take() {
            Value::Array(participants) => participants,
            other => panic!("{other}"),
        };
        match event["event"].as_str().unwrap() {
            "lock" => self.reading["is_locked"] = true.into(),
            "unlock" => self.reading["is_locked"] = false.into(),
            "floor-change" => {
                for participant in &mut participants {
                    let has = participant["participant_id"] == *id;
                    participant["floor"] = has.into();
                    participant["conference_channel_vars"]["floor"] = has.into();
                }
            }
            "del-member" => participants.retain(|participant| participant["participant_id"] != *id),
            _ if event["event_name"] == "participant_event" => {
                let place = participants
                    .iter()
                    .position(|participant| participant["participant_id"] == *id);
                let place = place.unwrap_or_else(|| {
                    participants.push(json!({
                        "conference_name": event["conference_id"],
                        "conference_uuid": event["instance_id"],
                        "switch_hostname": event["node"],
                    }));
                    participants.len() - 1
                });
                for key in PARTICIPANT {
                    participants[place][*key] = event[*key].clone();
                }
            }
            _ => {}
        }
        participants.sort_by_key(|participant| participant["participant_id"].as_u64());
        let count = |wanted: fn(&Value) -> bool| {
            let counted = participants
                .iter()
                .filter(|participant| participant["conference_channel_vars"]["member_ghost"] == false);
            Value::from(counted.filter(|participant| wanted(participant)).count())
        };
        let moderators = count(|participant| participant["is_moderator"] == true);
        self.reading.insert("admins".into(), moderators.clone());
        self.reading.insert("moderators".into(), moderators);
        self.reading.insert(
            "members".into(),
            count(|participant| participant["is_moderator"] == false),
        );
        self.reading.insert("participant_count".into(), count(|_| true));
        self.reading.insert("participants".into(), participants.into());
    }
}

/// Returns a reading without what no event tells.
fn comparable(mut reading: Value) -> Map<String, Value> {
    let reading = reading.as_object_mut().unwrap();
    reading.shift_remove("duration");
    for participant in reading["participants"].as_array_mut().unwrap() {
        let participant = participant.as_object_mut().unwrap();
        participant.shift_remove("duration");
        participant.shift_remove("current_energy");
        participant["conference_channel_vars"]
            .as_object_mut()
            .unwrap()
            .shift_remove("current_energy");
    }
    std::mem::take(reading)
}

#[derive(Clone, Debug)]
enum Step {
    Enter { moderator: bool, entry: Entry },
    Leave(u64),
    Control(u8, u64, u8),
    Talking(u64, bool),
    Energy(u64, u16),
    Floor(Option<u64>),
    Key(u64),
    Play(u64),
    Replace(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 1..8u64;
    let entry = prop_oneof![
        2 => Just(Entry::DialIn),
        1 => (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(muted, deaf, ghost)| Entry::DialOut { muted, deaf, ghost, no_hold_music: false, join_existing: false, distributes_keys: false }),
    ];
    prop_oneof![
        4 => (any::<bool>(), entry).prop_map(|(moderator, entry)| Step::Enter { moderator, entry }),
        1 => who.clone().prop_map(Step::Leave),
        12 => (0..21u8, who.clone(), 0..5u8).prop_map(|(control, who, value)| Step::Control(control, who, value)),
        4 => (who.clone(), any::<bool>()).prop_map(|(who, talking)| Step::Talking(who, talking)),
        1 => (who.clone(), any::<u16>()).prop_map(|(who, score)| Step::Energy(who, score)),
        2 => proptest::option::of(who.clone()).prop_map(Step::Floor),
        1 => who.clone().prop_map(Step::Key),
        2 => who.clone().prop_map(Step::Play),
        1 => who.prop_map(Step::Replace),
    ]
}

fn control(which: u8, id: ParticipantId, value: u8) -> Control {
    let volume = Volume::from_level(i64::from(value) - 2).unwrap();
    match which {
        0 => Control::Mute(id),
        1 => Control::Unmute(id),
        2 => Control::Deaf(id),
        3 => Control::Undeaf(id),
        4 => Control::Kick(id),
        5 => Control::Hold(id),
        6 => Control::Unhold(id),
        7 => Control::SetVolumeIn(id, volume),
        8 => Control::SetVolumeOut(id, volume),
        9 => Control::SetEnergy(id, u16::from(value)),
        10 => Control::SetAgc(id, value > 1),
        11 => Control::SetDenoise(id, value > 1),
        12 => Control::MuteAll,
        13 => Control::UnmuteAll,
        14 => Control::DeafAll,
        15 => Control::UndeafAll,
        16 => Control::Lock,
        17 => Control::Unlock,
        18 => Control::RaiseHand(id),
        19 => Control::LowerHand(id),
        _ => Control::Play {
            media: "tone_stream://%(50,0,440)".into(),
            audience: Audience::One(id),
        },
    }
}

/// Performs a step, or has it refused; returns the events that came of it.
fn perform(conference: &mut Conference, wall: GregorianSeconds, step: &Step) -> Vec<Arc<Event>> {
    let id = |number: u64| ParticipantId::new(number).unwrap();
    let command = match step {
        Step::Enter { moderator, entry } => {
            let role = if *moderator { Role::Moderator } else { Role::Member };
            let mut caller = Caller::new(format!("call.{}@x", wall.0));
            caller.account_id = Some(AccountId::from("a1"));
            caller.channel_vars.insert("owner_id".into(), "o".into());
            match conference.reserve(caller, role, *entry) {
                Ok(participant) => Command::Join { participant },
                Err(_) => return Vec::new(),
            }
        }
        Step::Leave(who) => Command::Leave {
            participant: id(*who),
            cause: LeaveCause::HungUp,
        },
        Step::Control(which, who, value) => Command::Control(control(*which, id(*who), *value)),
        Step::Talking(who, talking) => Command::Talking {
            participant: id(*who),
            talking: *talking,
        },
        Step::Energy(who, score) => Command::Energy {
            participant: id(*who),
            score: *score,
        },
        Step::Floor(holder) => Command::Floor {
            holder: holder.map(id),
        },
        Step::Key(who) => Command::KeyPressed {
            participant: id(*who),
            key: ['*', '1', '5', '4'][wall.0 as usize % 4],
        },
        Step::Replace(who) => {
            let mut caller = Caller::new("another call");
            caller.caller_id_name = format!("Somebody of {}", wall.0);
            caller.caller_id_number = "4711".into();
            Command::Replace {
                participant: id(*who),
                caller,
            }
        }
        Step::Play(number) => Command::PlayStarted {
            play: PlayNumber(*number),
        },
    };
    // Refused as it may be: then nothing has happened.
    let _ = conference.apply(wall, command);
    let mut events = Vec::new();
    while let Some(output) = conference.poll_output() {
        if let Output::Event(event) = output {
            events.push(event);
        }
    }
    events
}

proptest! {
    #[test]
    fn a_reading_and_the_events_after_it_equal_a_fresh_reading(
        steps in prop::collection::vec(step(), 2..60), taken_after in 0..20usize,
    ) {
        let identity = Identity {
            account_id: AccountId::from("a1"),
            conference_id: ConferenceId::from("c1"),
            instance_id: InstanceId::from("i1"),
        };
        let ids = Box::new(SequentialIds::default());
        let settings = Settings { wait_for_moderator: steps.len() % 2 == 0, ..Settings::default() };
        let mut conference = Conference::new(identity, settings, ids);
        let config = ApiConfig { node: "host1".into(), ..ApiConfig::default() };
        let origin = Origin { node: "host1".into(), ..Origin::default() };
        let mut client: Option<Client> = None;
        for (number, step) in steps.iter().enumerate() {
            let wall = GregorianSeconds(1000 + number as u64);
            let events = perform(&mut conference, wall, step);
            let viewpoint = Viewpoint { config: &config, now: wall };
            let fresh = conference.snapshot().ok();
            if let Some(client) = &mut client {
                for event in &events {
                    // As it is sent.
                    let text = super::body::of_event(&origin, event).to_string();
                    client.follow(&serde_json::from_str(&text).unwrap());
                }
            }
            let Some(fresh) = fresh else {
                if conference.is_ended() {
                    break;
                }
                continue;
            };
            let fresh = comparable(viewpoint.read_only(Some(&fresh)));
            match &client {
                Some(client) => {
                    let followed = comparable(Value::Object(client.reading.clone()));
                    prop_assert_eq!(followed, fresh, "after {:?}", step);
                }
                None if number >= taken_after => client = Some(Client { reading: fresh }),
                None => {}
            }
        }
    }
}

#[test]
fn the_reading_is_that_of_the_messages() {
    // The bus sends what the test above follows.
    let event = Arc::new(super::tests::event(2, EventKind::AddMember));
    let message = EventMessage::new(Arc::clone(&event), Arc::default(), true);
    let sent: Value = serde_json::from_slice(&message.data()).unwrap();
    assert_eq!(sent, super::body::of_event(&Origin::default(), &event));
}
